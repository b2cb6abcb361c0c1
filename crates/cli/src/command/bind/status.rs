//! `bind status`: how devices are bound.

use std::io;

use p2pdma::linux::Survey;
use p2pdma::linux::bind::{Binding, Uses};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Format;
use crate::output::Output;
use crate::output::csv::{Csv, optional};
use crate::output::table;

/// What `bind status` prints as JSON, and `bind give` of what it gave.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BindDocument {
    /// The devices.
    devices: Vec<BindingDocument>,
}

/// A device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BindingDocument {
    /// Its address.
    bdf: String,
    /// Its driver; null without one.
    driver: Option<String>,
    /// Whether that is vfio-pci.
    taken: bool,
    /// Its IOMMU group; null if no IOMMU is in charge of it.
    group: Option<u32>,
    /// The others of that group, with their drivers: `0000:03:00.1 (nvme)`.
    shared_with: Vec<String>,
    /// What stands on it: `nvme0n1 is mounted at /mnt`.
    uses: Vec<String>,
}

impl BindDocument {
    pub(super) fn new(survey: &Survey, bindings: &[Binding]) -> Self {
        let uses = Uses::read(survey);
        let device = |binding: &Binding| BindingDocument {
            bdf: binding.bdf.to_string(),
            driver: binding.driver.clone(),
            taken: binding.is_taken(),
            group: binding.group,
            shared_with: binding.others.iter().map(other).collect(),
            uses: uses.of(binding.bdf),
        };
        Self { devices: bindings.iter().map(device).collect() }
    }

    pub(super) fn print(&self, out: &Output) -> io::Result<()> {
        match out.format() {
            Format::Table => out.text(&self.text()),
            Format::Csv => {
                let mut csv = Csv::new(&["bdf", "driver", "group", "shared_with", "uses"]);
                for device in &self.devices {
                    csv.row([
                        device.bdf.clone(),
                        optional(device.driver.as_ref()),
                        optional(device.group),
                        device.shared_with.join(" "),
                        device.uses.join("; "),
                    ]);
                }
                out.text(csv.text())
            }
            Format::Json => out.document("p2pdma/bind", self),
            Format::Jsonl => {
                let mut devices = self.devices.iter();
                devices.try_for_each(|device| out.document("p2pdma/bind-device", device))
            }
        }
    }

    fn text(&self) -> String {
        if self.devices.is_empty() {
            return "no NVMe controller is there, and nothing is bound to vfio-pci\n".to_owned();
        }
        table::rows(self.devices.iter().map(|device| {
            let driver = device.driver.clone().unwrap_or_else(|| "no driver".to_owned());
            let group = match device.group {
                Some(number) => format!("IOMMU group {number}"),
                None => "no IOMMU group".to_owned(),
            };
            let shared = match device.shared_with.as_slice() {
                [] => "alone".to_owned(),
                others => format!("with {}", others.join(", ")),
            };
            vec![device.bdf.clone(), driver, group, shared, device.uses.join(", ")]
        }))
    }
}

fn other((bdf, driver): &(p2pdma::Bdf, Option<String>)) -> String {
    format!("{bdf} ({})", driver.as_deref().unwrap_or("no driver"))
}
