//! An earlier run beside this one.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{RowDocument, SystemDocument};
use super::spread::{Interval, Spread};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::table;
use crate::output::units;

/// What `bench -o json` printed, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Baseline {
    schema: String,
    machine: String,
    source: String,
    destination: String,
    system: Option<SystemDocument>,
    round_bytes: u64,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    block_bytes: u64,
    queue_depth: u32,
    threads: u32,
    /// Whether an application ran beside it: `null`, or what it got done.
    application: serde_json::Value,
    peer_to_peer: Way,
    through_host_memory: Way,
}

#[derive(Debug, Deserialize)]
struct Way {
    measured_gb_per_second: Option<Spread>,
}

/// What is compared with an earlier run: it has to be the same there.
pub(super) struct Subject<'a> {
    pub(super) machine: &'a str,
    pub(super) ends: [&'a str; 2],
    pub(super) system: Option<&'a SystemDocument>,
    pub(super) round_bytes: u64,
}

/// One way, now over then.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct ChangeDocument {
    /// The rate as a multiple of the earlier one, of the medians.
    pub(super) ratio: f64,
    /// Where the true ratio is.
    pub(super) interval: Interval,
    /// What that shows.
    pub(super) difference: Difference,
}

/// What two runs show. `none-seen` is not the same as none: more rounds may show one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Difference {
    NoneSeen,
    Faster,
    Slower,
}

/// Both ways of a row, now over then.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct ComparisonDocument {
    pub(super) peer_to_peer: ChangeDocument,
    pub(super) through_host_memory: ChangeDocument,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
        let wrong = |reason: String| {
            let message = format!("{}: {reason}", path.display());
            Failure::new(Exit::Usage, "BASELINE", message)
                .remedy("a baseline is what 'p2pdma bench -o json' has printed")
        };
        let baseline: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        match baseline.schema.as_str() {
            "p2pdma/bench" => Ok(baseline),
            other => Err(wrong(format!("it is '{other}', not 'p2pdma/bench'"))),
        }
    }

    /// Refuses what cannot be compared; says what is to be kept in mind where it can.
    pub(super) fn check(&self, now: &Subject<'_>) -> Result<Option<String>> {
        let [source, destination] = now.ends;
        let differ = |what: &str, then: &str, now: &str| {
            Err(Failure::new(Exit::Usage, "BASELINE", format!("{what} {then}, and now {now}"))
                .remedy("compare runs of the same devices with rounds of the same size"))
        };
        if self.machine != now.machine {
            return differ("the baseline is of the machine", &self.machine, now.machine);
        }
        let same = match (&self.system, now.system) {
            // Names may change from boot to boot, and devices are what they were.
            (Some(then), Some(now)) => then.devices().eq(now.devices()),
            (None, None) => self.source == source && self.destination == destination,
            _ => false,
        };
        if !same {
            let of = |source: &str, destination: &str| format!("{source} to {destination}");
            let (then, now) = (of(&self.source, &self.destination), of(source, destination));
            return differ("the baseline is of other devices:", &then, &now);
        }
        if self.round_bytes != now.round_bytes {
            let [then, now] = [self.round_bytes, now.round_bytes].map(units::exact_bytes);
            return differ("the baseline has rounds of", &then, &now);
        }
        let (then, now) = (self.system.as_ref(), now.system);
        Ok(then.zip(now).and_then(|(then, now)| now.changed_since(then)))
    }

    /// Compares a row, if the baseline has it.
    pub(super) fn compare(&self, row: &RowDocument) -> Option<ComparisonDocument> {
        let same = |then: &&Row| {
            (then.block_bytes, then.queue_depth, then.threads)
                == (row.block_bytes, row.queue_depth, row.threads)
                && then.application.is_null() == row.application.is_none()
        };
        let then = self.rows.iter().find(same)?;
        let change = |now: Option<Spread>, then: &Way| {
            Some(ChangeDocument::new(now?, then.measured_gb_per_second?))
        };
        let (peer, bounce) = (&row.peer_to_peer, &row.through_host_memory);
        Some(ComparisonDocument {
            peer_to_peer: change(peer.measured_gb_per_second, &then.peer_to_peer)?,
            through_host_memory: change(bounce.measured_gb_per_second, &then.through_host_memory)?,
        })
    }
}

impl ChangeDocument {
    fn new(now: Spread, then: Spread) -> Self {
        let interval = now.interval.over(then.interval);
        let difference = match interval {
            // Of one round nothing is known but that round.
            Interval { confidence, .. } if confidence <= 0.5 => Difference::NoneSeen,
            Interval { lower, .. } if lower > 1.0 => Difference::Faster,
            Interval { upper, .. } if upper < 1.0 => Difference::Slower,
            Interval { .. } => Difference::NoneSeen,
        };
        Self { ratio: now.median / then.median, interval, difference }
    }
}

/// A table with two lines for each row that both runs have.
pub(super) fn text(rows: &[RowDocument]) -> String {
    let header = ["block", "depth", "", "now/then", "interval", "confidence", ""];
    let lines = rows.iter().filter_map(|row| Some((row, row.baseline?)));
    let lines = lines.flat_map(|(row, comparison)| {
        let lead = [units::bytes(row.block_bytes), row.queue_depth.to_string()];
        let none = [String::new(), String::new()];
        [
            line(lead, "peer", &comparison.peer_to_peer),
            line(none, "bounce", &comparison.through_host_memory),
        ]
    });
    table::numbers(&header, lines)
}

fn line(lead: [String; 2], name: &str, change: &ChangeDocument) -> Vec<String> {
    let difference = match change.difference {
        Difference::NoneSeen => "no difference seen",
        Difference::Faster => "faster",
        Difference::Slower => "slower",
    };
    let mut line = Vec::from(lead);
    line.extend([name.to_owned(), format!("{:.2}", change.ratio), change.interval.text(2)]);
    line.extend([format!("{:.3}", change.interval.confidence), difference.to_owned()]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, high: f64, confidence: f64) -> Spread {
        let median = f64::midpoint(low, high);
        let interval = Interval { lower: low, upper: high, confidence };
        Spread { lower_quartile: low, median, upper_quartile: high, interval }
    }

    #[test]
    fn only_intervals_that_do_not_meet_are_a_difference() {
        let change = |now, then| ChangeDocument::new(now, then).difference;
        let then = spread(1.0, 2.0, 0.96);
        assert_eq!(change(spread(2.1, 3.0, 0.96), then), Difference::Faster);
        assert_eq!(change(spread(0.5, 0.9, 0.96), then), Difference::Slower);
        assert_eq!(change(spread(1.9, 3.0, 0.96), then), Difference::NoneSeen);
        assert_eq!(change(spread(2.1, 3.0, 0.5), then), Difference::NoneSeen);
        let change = ChangeDocument::new(spread(2.0, 4.0, 0.96), then);
        assert!(
            (change.ratio - 2.0).abs() < 1e-9 && (change.interval.confidence - 0.92).abs() < 1e-9
        );
        assert_eq!((change.interval.lower, change.interval.upper), (1.0, 4.0));
    }
}
