//! What the verbose lines of a function say beyond its registers.

use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::{Acs, AcsBit, Cause, Known};
use p2pdma_spec::pci::acs::{AcsCapability, AcsControl};
use p2pdma_spec::pci::bar::{BarKind, BarRegister};
use p2pdma_spec::pci::config::{COMPATIBLE_SIZE, offset::BAR0};

use crate::{Bar, Config};

/// The verbose lines of a function.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Whether there are any.
    pub(super) verbose: bool,
    /// Whether capabilities were not readable.
    pub(super) denied: bool,
    pub(super) driver: Option<String>,
    pub(super) numa_node: Option<u32>,
    pub(super) iommu_group: Option<u32>,
    /// Sizes of regions, by number.
    sizes: [Option<u64>; 6],
    /// Whether an extended capability was shown.
    extended: bool,
    acs_at: Option<u16>,
    acs_capability: Option<AcsControl>,
    acs_control: Option<AcsControl>,
}

impl Facts {
    /// Takes in a line.
    pub(super) fn line(&mut self, line: &str) {
        let line = line.trim_start();
        let Some((key, value)) = line.split_once(':') else { return };
        let value = value.trim();
        let number = || value.split(' ').next().and_then(|text| text.parse().ok());
        match key {
            "Control" | "Flags" => self.verbose = true,
            "Kernel driver in use" => self.driver = Some(value.to_owned()),
            "NUMA node" => self.numa_node = number(),
            "IOMMU group" => self.iommu_group = number(),
            "Capabilities" if value == "<access denied>" => self.denied = true,
            "Capabilities" => self.capability(value),
            "ACSCap" => self.acs_capability = bits(value),
            "ACSCtl" => self.acs_control = bits(value),
            _ => {
                if let Some(index) = key.strip_prefix("Region ") {
                    let place =
                        index.parse().ok().and_then(|index: usize| self.sizes.get_mut(index));
                    if let Some(place) = place {
                        *place = size(value);
                    }
                }
            }
        }
    }

    /// `[148 v1] Access Control Services`
    fn capability(&mut self, value: &str) {
        let at = value.strip_prefix('[').and_then(|rest| rest.split([' ', ']']).next());
        let at = at.and_then(|at| u16::from_str_radix(at, 16).ok());
        let Some(at) = at.filter(|&at| at >= COMPATIBLE_SIZE) else { return };
        self.extended = true;
        if value.contains("Access Control Services") {
            self.acs_at = Some(at);
        }
    }

    /// The ACS capability, by these lines; `unread` where they do not tell.
    pub(super) fn acs(&self, config: &Config, unread: Known<Option<Acs>>) -> Known<Option<Acs>> {
        // The digits end before extended space and so follow all verbose lines.
        let complete = config.bytes().len() == usize::from(COMPATIBLE_SIZE) && !self.denied;
        if !complete {
            return unread;
        }
        match (self.acs_at, self.acs_capability, self.acs_control) {
            (Some(at), Some(capability), Some(control)) => Known::Value(Some(Acs {
                offset: Some(at),
                capability: AcsCapability::from_bits(capability.into_bits()),
                control,
                egress: Known::Unknown(Cause::NotCaptured),
            })),
            // Others were readable and shown, and this one is not among them.
            (None, None, None) if self.extended => Known::Value(None),
            _ => unread,
        }
    }
}

/// `SrcValid+ TransBlk- …`: all seven, or nothing.
fn bits(value: &str) -> Option<AcsControl> {
    let mut control = AcsControl::new();
    let mut seen = 0;
    for word in value.split_ascii_whitespace() {
        let (name, on) = match (word.strip_suffix('+'), word.strip_suffix('-')) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => continue,
        };
        let Some(bit) = AcsBit::from_name(name) else { continue };
        seen |= bit.mask();
        if on {
            control = bit.set(control);
        }
    }
    (seen == 0x7f).then_some(control)
}

/// `… [size=16K]`, in binary units.
fn size(value: &str) -> Option<u64> {
    let (_, rest) = value.rsplit_once("[size=")?;
    let (text, _) = rest.split_once(']')?;
    p2pdma_pci::machine::parse_size(text).ok()
}

/// A BAR, if it has an address, and whether its register takes the next one too. `None` if it is not
/// implemented.
pub(super) fn bar(config: &Config, index: BarIndex, facts: &Facts) -> Option<(Option<Bar>, bool)> {
    let at = BAR0 + 4 * u16::from(index.get());
    let register = BarRegister::from_bits(*config.dword(at).value()?);
    let kind = register.kind()?;
    let wide = matches!(kind, BarKind::Memory64 { .. });
    let address = crate::sysfs_register(config, index);
    let size = facts.sizes.get(usize::from(index)).copied().flatten();
    let bar = address.map(|address| Bar {
        index,
        address,
        size: size.map_or(Known::Unknown(Cause::NotCaptured), Known::Value),
        memory: kind != BarKind::Io,
        prefetchable: matches!(
            kind,
            BarKind::Memory32 { prefetchable: true } | BarKind::Memory64 { prefetchable: true }
        ),
        wide,
    });
    Some((bar, wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_verbose_dump() {
        let mut facts = Facts::default();
        for line in [
            "\tControl: I/O- Mem+ BusMaster+",
            "\tNUMA node: 1",
            "\tIOMMU group: 27",
            "\tRegion 0: Memory at f7a00000 (64-bit, non-prefetchable) [size=16K]",
            "\tRegion 2: Memory at 10810000 (64-bit, prefetchable) [disabled] [size=256M]",
            "\tCapabilities: [40] Power Management version 3",
            "\tCapabilities: [148 v1] Access Control Services",
            "\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
            "\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
            "\tKernel driver in use: nvme",
        ] {
            facts.line(line);
        }
        assert!(facts.verbose && facts.extended && !facts.denied);
        assert_eq!((facts.numa_node, facts.iommu_group), (Some(1), Some(27)));
        assert_eq!(facts.driver.as_deref(), Some("nvme"));
        assert_eq!(facts.sizes[0], Some(16 << 10));
        assert_eq!(facts.sizes[2], Some(256 << 20));
        assert_eq!(facts.acs_control.unwrap().into_bits(), 0x1d);
        assert_eq!(facts.acs_at, Some(0x148));
        // Half a line tells nothing.
        assert_eq!(bits("SrcValid+ TransBlk- ReqRedir+ Cmplt"), None);
    }
}
