//! The machine file: a whole machine in one TOML text, from which the software fabric and the lab are
//! both built.
//!
//! [`Machine::parse`] reads it. Whatever is wrong, the error says where and what was expected.
//!
//! ```
//! use p2pdma_pci::machine::{Below, Machine};
//!
//! let text = r#"
//!     name = "two-ssds"
//!     about = "Two SSDs below a switch; the first has a controller memory buffer"
//!
//!     [[host-bridge]]
//!     name = "host0"
//!     id = "8086:29c0"
//!     p2p = "refuse"
//!
//!     [[root-port]]
//!     name = "rp0"
//!     on = "host0"
//!
//!     [[switch]]
//!     name = "sw0"
//!     below = "rp0"
//!     ports = 2
//!
//!     [[nvme]]
//!     name = "nvme0"
//!     below = "sw0.0"
//!     cmb = "64M"
//!     [[nvme.namespace]]
//!     size = "1G"
//!
//!     [[nvme]]
//!     name = "nvme1"
//!     below = "sw0.1"
//!     [[nvme.namespace]]
//!     size = "1G"
//! "#;
//! let machine = Machine::parse(text, "two-ssds.toml")?;
//! let Below::Switch(switch) = &machine.host_bridges[0].ports[0].below else {
//!     panic!("a switch is below the root port");
//! };
//! assert_eq!(switch.ports[1].name, "sw0.1");
//! # Ok::<(), p2pdma_pci::machine::MachineError>(())
//! ```
//!
//! # Values
//!
//! | kind | written | means |
//! |---|---|---|
//! | size | `"4k"` `"64M"` `"2G"` `"1T"`, `"KiB"` … `"TiB"` | binary |
//! | | `"500MB"` (`kB` `MB` `GB` `TB`), `4096` | decimal; bytes |
//! | time | `"115ns"` (`ps` `ns` `us` `ms` `s`) | |
//! | rate | `7`, `25.6` | decimal GB/s |
//! | link | `"gen4 x16"` | `gen1` to `gen6`; `x1` `x2` `x4` `x8` `x16` |
//! | name | `"nvme0"` | letters, digits, `-`, `_`; at most 20; unique in the file |
//! | port | `"rp0"`, `"sw0.1"` | a root port; port 1 of a switch |
//! | acs | `"none"` | no ACS capability |
//! | | `["RR", "CR"]`, `[]` | the capability, with these controls on: `SV TB RR CR UF EC DT`, or as `lspci` names them |
//!
//! # Keys
//!
//! **Top**: `name` (needed; letters, digits, `-`, `_`; at most 64: it is a folder's name too), `about`.
//!
//! **`[host]`**: `cpu` = `"GenuineIntel/6"` (vendor string of CPUID and family, decimal or `0x`; the
//! kernel trusts `"AuthenticAMD/0x17"` and later with peer-to-peer traffic) · `memory` = `"1G"` ·
//! `memory-channels` · `memory-bandwidth` (a rate, of one channel) · `memory-latency` (a time).
//!
//! **`[iommu]`**: `mode` = `"off"`, `"passthrough"` or `"translate"`. Off without the table.
//!
//! **`[os]`**: `disable-acs-redir` = list of ports and functions: the kernel's boot parameter, by name.
//! It has the last word over `acs`: RR, CR and EC are off there.
//!
//! **`[timing]`**: `model` = `"ideal"` (nothing takes time; so it is without the table) or `"pcie"` ·
//! `switch-hop`, `root-hop` (times) · `max-payload`, `max-read-request` (bytes, 128 to 4096).
//!
//! **`[[host-bridge]]`**: `name` · `id` = `"8086:29c0"`, of the device 00.0 on its root bus, by which the
//! kernel's list of allowed host bridges knows it · `p2p` = what the root complex really does with
//! requests between root ports: `"forward"` them, `"refuse"` them, or `"lose"` writes and return all
//! ones · `bus` = its root bus, by default the next free one.
//!
//! **`[[root-port]]`**: `name` · `on` = host bridge · `link` = what it can do, `"gen4 x16"` · `acs`.
//! Root ports are devices 1, 2, … of the root bus in the file's order.
//!
//! **`[[switch]]`**: `name` · `below` = port · `ports` = 1 to 32 · `link`, `link-max` of the upstream port
//! · `port-link`, `acs`, `egress` for all downstream ports · `[switch.port.1]` with `link`, `acs`,
//! `egress` for port 1 alone.
//!
//! **Devices**, `[[nvme]]`, `[[bar-memory]]`, `[[data-mover]]`: `name` · `below` = port · `function` = 0 to
//! 7, default 0; several below one port are the functions of one device · `link` = what it trains to
//! with a port that can do more (`"gen4 x4"` for NVMe, else `"gen4 x16"`) · `link-max` = what it could
//! do, default `link`: a higher one describes a down-trained link · `acs` (`RR CR EC DT`), `egress`, for functions of a
//! multi-function device.
//!
//! **`[[nvme]]`** too: `[[nvme.namespace]]` with `size`, `block` = 512 or 4096, `metadata` = 0, 8, 16 or 64,
//! `protection` = 0 to 3, `media` = `"persistent"`, `"memory"` or `"null"` · `cmb` = size, or a table with
//! `size`, `bar` = 2 or 4, `bar-size`, `offset`, `uses` = list of `sqs cqs lists rds wds` (all) · `pmr` =
//! size, or a table with `size` and `bar` (4) · `queues` = I/O queue pairs, 1 to 4095 (64) · `queue-entries` (1024) ·
//! `mdts` = `"512k"`, `"8k"` to `"256M"`, or `"none"` · `read-latency`, `write-latency` (times), `read-bandwidth`,
//! `write-bandwidth` (rates) · `subsystem` = a name: the controllers that give the same one share their namespaces;
//! the lab builds that, the software fabric does not.
//!
//! **`[[bar-memory]]`** too: `size` · `window` = how much of it the BAR shows, by default all.
//!
//! # What is left out
//!
//! A port without `acs` has the capability, with the controls that Linux sets: none without IOMMU; SV, RR,
//! CR and UF with one, in either mode. A device without `acs` has none. `egress` lists the ports of the
//! switch, or functions of the device, that egress control (EC) guards.

mod devices;
mod error;
mod model;
mod parts;
mod ports;
pub(crate) mod reader;
mod resolve;
mod value;

pub use error::{MachineError, Position, Problem};
pub use model::{
    AcsSetting, BarMemory, Below, Cmb, CmbUses, Function, Host, HostBridge, Machine, Media,
    MediaTiming, Model, Namespace, Nvme, PeerPolicy, Pmr, Port, Switch, Timing, TimingModel,
};
pub use value::{ParseSizeError, parse_size};

use toml::de::DeTable;

use crate::topology::IommuMode;

use reader::{Form, Source, Table};
use resolve::Parts;

const ROOT: Form = Form {
    place: "the machine file",
    keys: &[
        "name",
        "about",
        "host",
        "iommu",
        "os",
        "timing",
        "host-bridge",
        "root-port",
        "switch",
        "nvme",
        "bar-memory",
        "data-mover",
    ],
};

impl Machine {
    /// Reads a machine file. `file` is what messages call it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str, file: &str) -> Result<Self, MachineError> {
        Self::parse_with(text, file, None)
    }

    /// Reads a machine file, with another IOMMU than it says, and the access control that follows from
    /// it. `None` takes what the file says.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse_with(
        text: &str,
        file: &str,
        iommu: Option<IommuMode>,
    ) -> Result<Self, MachineError> {
        let source = Source { file, text };
        let document = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.error(at, Problem::Syntax(error.message().to_owned()))
        })?;
        let span = document.span();
        let root = Table::open(source, &ROOT, &span, document.get_ref())?;
        let name = value::machine_name(&root.need("name")?)?;
        let about = root.read("about", |field| field.text("a string"))?;
        root.need("host-bridge")?;
        let described = parts::iommu(&root)?;
        let iommu = iommu.unwrap_or(described);
        let parts = Parts {
            host_bridges: ports::host_bridges(&root)?,
            root_ports: ports::root_ports(&root)?,
            switches: ports::switches(&root)?,
            functions: devices::functions(&root)?,
            disable_acs_redir: parts::disable_acs_redir(&root)?,
            iommu,
        };
        Ok(Self {
            name,
            about: about.unwrap_or_default().to_owned(),
            host: parts::host(&root)?,
            iommu,
            timing: parts::timing(&root)?,
            host_bridges: resolve::resolve(source, &parts)?,
        })
    }
}
