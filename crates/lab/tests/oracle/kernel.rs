//! What a kernel did and said, in a boot or in the record of one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr as _;

use p2pdma_pci::Bdf;

/// Client and provider.
pub(crate) type Pair = (Bdf, Bdf);

/// What was seen of a boot.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Who lends memory.
    pub(crate) providers: Vec<Bdf>,
    /// What came of each read.
    pub(crate) reads: BTreeMap<Pair, Read>,
    /// What the kernel said about each pair, without the client's name in front.
    pub(crate) messages: BTreeMap<Pair, Vec<String>>,
    /// The machine, as read in the guest.
    pub(crate) snapshot: String,
}

/// What came of a read into lent memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// It succeeded.
    Right,
    /// It "succeeded", and the bytes are not those.
    Astray,
    /// It failed, with this error.
    Failed(i32),
}

impl Observed {
    /// What came of a boot: what the guest's program printed, and the kernel's log.
    pub(crate) fn of_boot(out: &str, log: &str) -> Self {
        let (lines, snapshot) = out.split_once("snapshot\n").unwrap();
        let mut observed = Self { snapshot: snapshot.to_owned(), ..Self::default() };
        lines.lines().for_each(|line| observed.line(line));
        observed.messages = messages(log);
        observed
    }

    /// What was recorded under a name.
    pub(crate) fn recorded(name: &str) -> Self {
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let snapshot = read(path(name, "snapshot"));
        let mut observed = Self { snapshot, ..Self::default() };
        read(path(name, "kernel")).lines().for_each(|line| observed.line(line));
        observed
    }

    /// Records it under a name.
    pub(crate) fn record(&self, name: &str) {
        let mut text = String::new();
        for provider in &self.providers {
            writeln!(text, "provider {provider}").unwrap();
        }
        for ((client, provider), read) in &self.reads {
            writeln!(text, "pair {client} {provider} {read}").unwrap();
            for said in self.messages.get(&(*client, *provider)).into_iter().flatten() {
                writeln!(text, "said {client} {provider} {said}").unwrap();
            }
        }
        std::fs::write(path(name, "kernel"), text).unwrap();
        std::fs::write(path(name, "snapshot"), &self.snapshot).unwrap();
    }

    fn line(&mut self, line: &str) {
        let bdf = |text: &str| Bdf::from_str(text).unwrap();
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        match (word(), word(), word(), word()) {
            ("client", ..) => {}
            ("provider", provider, ..) => self.providers.push(bdf(provider)),
            ("pair", client, provider, result) => {
                self.reads.insert((bdf(client), bdf(provider)), Read::of(result));
            }
            ("said", client, provider, text) => {
                let pair = (bdf(client), bdf(provider));
                self.messages.entry(pair).or_default().push(text.to_owned());
            }
            _ => panic!("{line}"),
        }
    }
}

/// The file of a record.
fn path(name: &str, end: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/records");
    PathBuf::from(format!("{folder}/{name}.{end}"))
}

impl Read {
    fn of(text: &str) -> Self {
        match text {
            "right" => Self::Right,
            "wrong" => Self::Astray,
            number => Self::Failed(number.parse().unwrap()),
        }
    }
}

impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Right => f.write_str("right"),
            Self::Astray => f.write_str("wrong"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// What drivers/pci/p2pdma.c said between one mark and the next.
fn messages(log: &str) -> BTreeMap<Pair, Vec<String>> {
    let mut found: BTreeMap<Pair, Vec<String>> = BTreeMap::new();
    let mut pair = None;
    for line in log.lines() {
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        if let Some((client, provider)) =
            text.strip_prefix("peer_reads: ").and_then(|pair| pair.split_once(' '))
        {
            pair = Some((Bdf::from_str(client).unwrap(), Bdf::from_str(provider).unwrap()));
        } else if let Some(pair) = pair
            && let Some(said) = said(text, pair.0)
        {
            found.entry(pair).or_default().push(said.to_owned());
        }
    }
    found
}

/// A line of the client's device, or the one of a host bridge, behind the device's name.
fn said(text: &str, client: Bdf) -> Option<&str> {
    let (device, said) = text.split_once(": ")?;
    let about = ["ACS redirect", "to disable ACS", "cannot be used for peer-to-peer"];
    let of_client = device.ends_with(&client.to_string());
    let ours = match said.starts_with("Host bridge not in P2PDMA whitelist") {
        true => device.starts_with("pci"),
        false => of_client && about.iter().any(|begin| said.starts_with(begin)),
    };
    ours.then_some(said)
}
