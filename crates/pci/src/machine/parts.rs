//! The machine as a whole: host, IOMMU, timing.

use super::error::{MachineError, Problem};
use super::model::{Host, Timing, TimingModel};
use super::reader::{Field, Form, Name, Table};
use super::value;
use crate::topology::{Cpu, CpuVendor, IommuMode};

type Result<T> = std::result::Result<T, MachineError>;

const HOST: Form = Form {
    place: "[host]",
    keys: &["cpu", "memory", "memory-channels", "memory-bandwidth", "memory-latency"],
};
const IOMMU: Form = Form { place: "[iommu]", keys: &["mode"] };
const OS: Form = Form { place: "[os]", keys: &["disable-acs-redir"] };
const TIMING: Form = Form {
    place: "[timing]",
    keys: &["model", "switch-hop", "root-hop", "max-payload", "max-read-request"],
};

pub(super) fn host(root: &Table<'_>) -> Result<Host> {
    let mut host = Host {
        cpu: Cpu { vendor: CpuVendor::Intel, family: 6 },
        memory: 1 << 30,
        memory_channels: None,
        memory_bandwidth: None,
        memory_latency: None,
    };
    let Some(table) = root.read("host", |field| field.table(&HOST))? else {
        return Ok(host);
    };
    if let Some(cpu) = table.read("cpu", value::cpu)? {
        host.cpu = cpu;
    }
    if let Some(memory) = table.read("memory", memory)? {
        host.memory = memory;
    }
    let channels = table.read("memory-channels", |field| field.small(1..=64))?;
    host.memory_channels = channels.map(u32::from);
    host.memory_bandwidth = table.read("memory-bandwidth", value::rate)?;
    host.memory_latency = table.read("memory-latency", value::time)?;
    Ok(host)
}

fn memory(field: &Field<'_>) -> Result<u64> {
    const LEAST: u64 = 16 << 20;
    const MOST: u64 = 1 << 44;
    let bytes = value::size(field)?;
    if bytes.is_multiple_of(4096) && (LEAST..=MOST).contains(&bytes) {
        return Ok(bytes);
    }
    Err(field.bad_value(&value::shown(field), "16M to 16T, in multiples of 4k"))
}

pub(super) fn iommu(root: &Table<'_>) -> Result<IommuMode> {
    let Some(table) = root.read("iommu", |field| field.table(&IOMMU))? else {
        return Ok(IommuMode::Off);
    };
    table.need("mode")?.choice(&[
        ("off", IommuMode::Off),
        ("passthrough", IommuMode::Passthrough),
        ("translate", IommuMode::Translate),
    ])
}

/// The ports and functions on which the kernel is told to disable ACS redirection.
pub(super) fn disable_acs_redir(root: &Table<'_>) -> Result<Vec<Name>> {
    let Some(table) = root.read("os", |field| field.table(&OS))? else {
        return Ok(Vec::new());
    };
    let Some(field) = table.get("disable-acs-redir") else {
        return Ok(Vec::new());
    };
    let items = field.list("a list of names such as [\"rp0\", \"sw0.1\"]")?;
    items.iter().map(|item| item.name("a name such as \"sw0.1\"")).collect()
}

pub(super) fn timing(root: &Table<'_>) -> Result<Timing> {
    let Some(table) = root.read("timing", |field| field.table(&TIMING))? else {
        return Ok(Timing::default());
    };
    let model = table
        .need("model")?
        .choice(&[("ideal", TimingModel::Ideal), ("pcie", TimingModel::Pcie)])?;
    Ok(Timing {
        model,
        switch_hop: table.read("switch-hop", value::time)?,
        root_hop: table.read("root-hop", value::time)?,
        max_payload: table.read("max-payload", packet_size)?,
        max_read_request: table.read("max-read-request", packet_size)?,
    })
}

/// A size that Device Control can say (PCIe 6.0 §7.5.3.4).
fn packet_size(field: &Field<'_>) -> Result<u16> {
    let value = field.integer(128..=4096)?;
    match u16::try_from(value) {
        Ok(size) if size.is_power_of_two() => Ok(size),
        _ => Err(field.error(Problem::BadValue {
            key: field.key.clone(),
            value: value.to_string(),
            expected: "128, 256, 512, 1024, 2048 or 4096".to_owned(),
        })),
    }
}
