//! What is wrong with a dump, and where.

use p2pdma_pci::Bdf;

/// A text that is not what `lspci` prints, or a spoilt one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lspci, line {line}: {problem}")]
pub struct LspciError {
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub problem: LspciProblem,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LspciProblem {
    /// It is larger than any dump.
    #[error("the text is larger than {most} bytes")]
    TooLarge {
        /// The most that is read.
        most: usize,
    },
    /// No line begins with the address of a function.
    #[error("there is no function in it: expected the output of lspci -xxxx -vvv")]
    NoFunctions,
    /// No function has digits.
    #[error("there are no registers in it: run lspci with -xxxx, as root")]
    NoRegisters,
    /// A line of digits that is none.
    #[error("the registers of {bdf} are not readable here: expected 16 bytes in hexadecimal")]
    BadRow {
        /// The function.
        bdf: Bdf,
    },
    /// A line of digits that does not follow the one before.
    #[error("the registers of {bdf} go on at {found:#x}, and {expected:#x} was expected")]
    Order {
        /// The function.
        bdf: Bdf,
        /// Where the line says that it is.
        found: usize,
        /// Where it should be.
        expected: usize,
    },
    /// A function's registers end where no dump ends.
    #[error(
        "the registers of {bdf} end after {bytes:#x} bytes: lines are missing before the next function"
    )]
    Missing {
        /// The function.
        bdf: Bdf,
        /// How many there are.
        bytes: usize,
    },
    /// One function twice.
    #[error("{bdf} is there twice: see line {first}")]
    Repeated {
        /// The function.
        bdf: Bdf,
        /// Where it is first.
        first: usize,
    },
}
