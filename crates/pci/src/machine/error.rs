//! What is wrong with a machine file, and where.

use std::fmt;

/// A place in a machine file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)
    }
}

/// A machine file that describes no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: {problem}", position.line, position.column)]
pub struct MachineError {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// What.
    pub problem: Box<Problem>,
}

/// What is wrong. Names of keys and components are as the file has them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that means nothing where it stands.
    #[error("unknown key '{key}' in {place}{}", suggested(suggestion.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The table it stands in.
        place: &'static str,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A key that must be there is not.
    #[error("{place} needs the key '{key}'")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The table that lacks it.
        place: &'static str,
    },
    /// A value of the wrong type.
    #[error("'{key}' must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What was expected, with an example.
        expected: &'static str,
        /// What it is, in TOML's words.
        found: &'static str,
    },
    /// A value of the right type that is not understood.
    #[error("'{key}' is \"{value}\": expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// A number outside its range.
    #[error("'{key}' is {value}: expected {low} to {high}")]
    OutOfRange {
        /// The key.
        key: String,
        /// The number.
        value: String,
        /// The least allowed.
        low: u64,
        /// The most allowed.
        high: u64,
    },
    /// A name that cannot be one.
    #[error("\"{name}\" cannot be a name: expected letters, digits, '-' and '_', at most 20")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two components of one name.
    #[error("the name \"{name}\" is taken: see {first}")]
    DuplicateName {
        /// The name.
        name: String,
        /// Where it was first given.
        first: Position,
    },
    /// A name that nothing has.
    #[error("there is no {kind} \"{name}\"{}", suggested(suggestion.as_deref()))]
    UnknownName {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// The one that was probably meant.
        suggestion: Option<String>,
    },
    /// A switch does not have so many ports.
    #[error("{switch} has no port {port}: it has ports 0 to {}", ports - 1)]
    NoSuchPort {
        /// The switch.
        switch: String,
        /// The number asked for.
        port: String,
        /// How many ports it has.
        ports: u8,
    },
    /// Two things on one link that cannot share it: a switch and something else.
    #[error("{second} cannot be below {port}: {other} is, see {position}")]
    LinkTaken {
        /// The port.
        port: String,
        /// What is there already.
        other: String,
        /// Where that is described.
        position: Position,
        /// What came second.
        second: String,
    },
    /// Two functions of one device have one number.
    #[error("{second} cannot be function {number} below {port}: {other} is, see {position}")]
    FunctionTaken {
        /// The port.
        port: String,
        /// The function number.
        number: u8,
        /// What has it already.
        other: String,
        /// Where that is described.
        position: Position,
        /// What came second.
        second: String,
    },
    /// A device without function 0 is not found by software (PCIe 6.0 §7.5.1.1.9).
    #[error("the device below {port} has no function 0; {name} is function {number}")]
    NoFunctionZero {
        /// The port.
        port: String,
        /// One of its functions.
        name: String,
        /// That function's number.
        number: u8,
    },
    /// A switch that is below itself, directly or by way of others.
    #[error("{switch} is below itself")]
    Circle {
        /// The switch.
        switch: String,
    },
    /// A host bridge has room for 31 root ports beside its own device 00.0.
    #[error("{host_bridge} has more than {most} root ports")]
    TooManyRootPorts {
        /// The host bridge.
        host_bridge: String,
        /// The most it can have.
        most: usize,
    },
    /// A domain has 256 buses; every port needs one for what is below it.
    #[error("{host_bridge} needs {needed} buses from {first} on, and there are {room}")]
    TooManyBuses {
        /// The host bridge.
        host_bridge: String,
        /// Its root bus.
        first: u16,
        /// The buses that it and all below it need.
        needed: usize,
        /// How many there are up to the next host bridge or the end of the domain.
        room: usize,
    },
    /// Redirection cannot be switched off where there is no ACS.
    #[error("{name} has no ACS (acs = \"none\"), so there is no redirection to disable")]
    NothingToDisable {
        /// The port or function.
        name: String,
    },
    /// Memory that does not fit its BAR.
    #[error("{what} ends at {end:#x} bytes, beyond its BAR of {bar:#x} bytes")]
    BeyondBar {
        /// The memory: `cmb`.
        what: &'static str,
        /// Its end in the BAR.
        end: u64,
        /// The BAR's size.
        bar: u64,
    },
    /// Two memories in one BAR.
    #[error("'{second}' is in BAR{bar}, where '{first}' is")]
    BarTaken {
        /// The BAR.
        bar: u8,
        /// What is there.
        first: &'static str,
        /// What came second.
        second: &'static str,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

fn suggested(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}
