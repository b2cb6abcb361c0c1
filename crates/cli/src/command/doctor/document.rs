//! `doctor` as data.

use p2pdma::doctor::{Finding, Level, Volume};
use p2pdma::topology::{MapType, ReasonCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::output::document::{ErrorDocument, VerdictDocument};
use crate::output::matrix::Matrix;
use crate::subject::Subject;

/// What `doctor` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DoctorDocument {
    /// The machine's name.
    machine: String,
    /// What it is.
    about: String,
    /// Where this is from: fabric, linux, snapshot or lspci.
    source: &'static str,
    /// What was found.
    findings: Vec<FindingDocument>,
    /// How many pairs of a client and another function's memory have which answer.
    pairs: PairsDocument,
    /// Mounted volumes on block devices.
    volumes: Vec<VolumeDocument>,
}

/// Counts of pairs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PairsDocument {
    /// By bus address, below the root.
    direct: usize,
    /// Through a host bridge that is allowed to carry it.
    through_host_bridge: usize,
    /// Without a path.
    not_supported: usize,
    /// Not known.
    unknown: usize,
    /// How many of those with a path cannot be used: the kernel does not lend the memory, the client
    /// starts no such requests, or data are lost.
    unusable: usize,
}

/// Something that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FindingDocument {
    /// ok, note, unknown or hinders.
    level: &'static str,
    /// What it is about.
    about: String,
    /// The code that explains it.
    code: Option<String>,
    /// What was found.
    text: String,
    /// What to do about it.
    remedy: Option<String>,
}

/// A pair, with all that led to the answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DoctorPairDocument {
    /// The verdict with its evidence.
    pub(super) verdict: VerdictDocument,
    /// The kernel's map type with users' lists of host bridges counted; null if it is not known.
    pub(super) map_type: Option<String>,
    /// Whether it passes by a user's entry only, and the kernel would refuse.
    pub(super) by_user_entry: bool,
    /// Whether switches turn all untranslated packets of the pair below the root.
    pub(super) bus_local: bool,
    /// What was found about the two functions and the kernel's interface to them.
    pub(super) findings: Vec<FindingDocument>,
    /// Why there is no path, or why it is not known; null if there is one.
    pub(super) error: Option<ErrorDocument>,
}

/// The mounted volumes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VolumesDocument {
    /// Those on block devices.
    pub(super) volumes: Vec<VolumeDocument>,
}

/// A mounted volume.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VolumeDocument {
    /// Where it is mounted.
    pub(super) mount: String,
    /// The block device.
    pub(super) device: String,
    /// Its file system.
    pub(super) file_system: String,
    /// The functions that it is on.
    pub(super) functions: Vec<String>,
    /// direct, through-host-bridge, no or unknown.
    pub(super) answer: &'static str,
    /// Why not, or why it is not known.
    pub(super) code: Option<String>,
    /// Whose memory is best for it.
    pub(super) provider: Option<String>,
    /// The distance to it.
    pub(super) distance: Option<u32>,
}

/// The word for a level.
pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::Good => "ok",
        Level::Note => "note",
        Level::Unknown => "unknown",
        Level::Hinders => "hinders",
    }
}

impl FindingDocument {
    /// As data.
    pub(crate) fn of(finding: &Finding) -> Self {
        Self {
            level: level(finding.level),
            about: finding.about.clone(),
            code: finding.code.map(|code| code.to_string()),
            text: finding.text.clone(),
            remedy: finding.remedy.clone(),
        }
    }
}

impl VolumeDocument {
    /// As data.
    pub(crate) fn of(volume: &Volume) -> Self {
        let answer = volume.answer();
        let word = match answer {
            Ok(best) if best.pair.map_type == Some(MapType::ThroughHostBridge) => {
                "through-host-bridge"
            }
            Ok(_) => "direct",
            Err(ReasonCode::UnknownNeedRoot) => "unknown",
            Err(_) => "no",
        };
        Self {
            mount: volume.point.clone(),
            device: volume.device.to_string(),
            file_system: volume.file_system.to_string(),
            functions: volume.functions.iter().map(ToString::to_string).collect(),
            answer: word,
            code: answer.err().map(|code| code.to_string()),
            provider: answer.ok().map(|best| best.provider.to_string()),
            distance: answer.ok().map(|best| best.pair.distance.into()),
        }
    }
}

/// The whole machine.
pub(super) fn whole(
    subject: &Subject,
    findings: &[Finding],
    matrix: &Matrix<'_>,
    volumes: &[Volume],
) -> DoctorDocument {
    let [direct, through_host_bridge, not_supported, unknown] = matrix.counts();
    DoctorDocument {
        machine: subject.name(),
        about: subject.about(),
        source: subject.source(),
        findings: findings.iter().map(FindingDocument::of).collect(),
        pairs: PairsDocument {
            direct,
            through_host_bridge,
            not_supported,
            unknown,
            unusable: matrix.unusable(),
        },
        volumes: volumes.iter().map(VolumeDocument::of).collect(),
    }
}
