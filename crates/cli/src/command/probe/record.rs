//! What probes have shown, kept for `doctor`: one file per SSD and memory in the state folder.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2pdma::linux::Survey;
use p2pdma::topology::Topology;
use p2pdma::{Bdf, Platform as _, Probed, ProviderId, Storage};
use serde::{Deserialize, Serialize};

use crate::args::State;
use crate::context;
use crate::failure::Result;
use crate::output::Output;
use crate::platform::AnyPlatform;

/// What a probe has shown, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The kernel's release.
    kernel: String,
    /// The client's address.
    client: String,
    /// What tells the client's block device from all others.
    identity: Option<String>,
    /// The memory.
    provider: String,
    /// A digest of the topology, by this version of the command: another one means that something changed.
    topology: u64,
    /// When, in seconds since 1970.
    when: u64,
    /// Transfers whose bytes were all right, into the memory and out of it.
    fills: u32,
    drains: u32,
    /// What was wrong.
    error: Option<String>,
}

impl Record {
    /// Of a probe on this machine; on the fabric nothing is worth remembering.
    pub(super) fn new(
        platform: &AnyPlatform,
        client: Bdf,
        provider: ProviderId,
        outcome: &Result<Probed>,
    ) -> Option<Self> {
        let linux = platform.linux()?;
        let probed = outcome.as_ref().copied().unwrap_or_default();
        let when = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(Self {
            kernel: release(linux.survey()),
            client: client.to_string(),
            identity: identity(linux.survey(), client),
            provider: provider.to_string(),
            topology: digest(&*linux.topology().ok()?),
            when: when.map_or(0, |since| since.as_secs()),
            fills: probed.fills,
            drains: probed.drains,
            error: outcome.as_ref().err().map(|failure| failure.parts().1.to_owned()),
        })
    }

    /// In a line: what came of it, when, and whether it still says anything.
    pub(crate) fn text(&self, survey: &Survey, client: Bdf) -> String {
        let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(self.when));
        let hours = age.map_or(0, |age| age.as_secs() / 3600);
        let what = match &self.error {
            None if self.drains > 0 => "passed, both ways".to_owned(),
            None => "passed, into the memory".to_owned(),
            Some(error) => format!("failed: {error}"),
        };
        let current = self.kernel == release(survey)
            && self.identity == identity(survey, client)
            && self.topology == digest(&survey.topology);
        let stale =
            if current { "" } else { "; the kernel, the device or the topology is another now" };
        format!("{what}; {hours} h ago on Linux {}{stale}", self.kernel)
    }
}

/// Keeping a record is not what was asked for: where that fails it is said, and no more.
pub(super) trait Keep {
    fn keep(&self, state: &State, out: &Output);
}

impl Keep for Option<Record> {
    fn keep(&self, state: &State, out: &Output) {
        let Some(record) = self else { return };
        let kept = place(state, &record.client, &record.provider).and_then(|path| {
            let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let text = serde_json::to_string_pretty(record).ok()?;
            folder.and_then(|()| std::fs::write(&path, text)).ok()
        });
        if kept.is_none() {
            out.note("the result could not be kept: name a folder with --state-dir");
        }
    }
}

/// What the last probe of a pair has shown.
pub(crate) fn remembered(state: &State, client: Bdf, provider: Bdf) -> Option<Record> {
    let path = place(state, &client.to_string(), &format!("{provider}/p2pmem"))?;
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn place(state: &State, client: &str, provider: &str) -> Option<PathBuf> {
    let Ok(Storage::Folder(folder)) = context::storage(state) else { return None };
    let name = format!("{client}-{provider}.json").replace([':', '/'], "_");
    Some(folder.join("probes").join(name))
}

/// The kernel's release.
pub(crate) fn release(survey: &Survey) -> String {
    survey.system.release.value().map_or_else(|| "?".to_owned(), ToString::to_string)
}

/// The first namespace's own name.
pub(crate) fn identity(survey: &Survey, client: Bdf) -> Option<String> {
    let mut devices = survey.blocks.devices.value()?.iter();
    let own = devices.find(|device| device.function == Some(client))?;
    own.identity.value()?.as_deref().map(str::to_owned)
}

/// Addresses, identities and access control of all functions, and what the IOMMU does; nothing that changes by use.
pub(crate) fn digest(topology: &Topology) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", topology.host().iommu).hash(&mut hasher);
    for node in topology.nodes() {
        node.bdf.hash(&mut hasher);
        node.id.to_string().hash(&mut hasher);
        format!("{:?}", node.acs).hash(&mut hasher);
    }
    hasher.finish()
}
