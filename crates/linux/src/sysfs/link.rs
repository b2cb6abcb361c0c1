//! Links, by the attributes that everybody may read (`current_link_speed` and its like;
//! `pcie_dev_attrs` in drivers/pci/pci-sysfs.c).

use p2pdma_pci::topology::{Cause, Known, Link, LinkStatus};
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

use crate::Tree;
use crate::attribute::value;
use crate::tree::join;

/// The link of a function whose capability was not read, for `cause`.
pub(super) fn read(tree: &dyn Tree, folder: &str, cause: Cause) -> Known<Option<LinkStatus>> {
    let attribute = |name: &str| join(folder, name);
    let width = |name: &str| value(tree, &attribute(name), width);
    let speed = |name: &str| value(tree, &attribute(name), speed);
    let (Ok(speed_max), Ok(width_max)) = (speed("max_link_speed"), width("max_link_width")) else {
        return Known::Unknown(cause);
    };
    let max = Link { speed: speed_max, width: width_max };
    // Width 0 is how a link that is down shows itself.
    match (speed("current_link_speed"), width("current_link_width")) {
        (_, Ok(width)) if width.lanes() == 0 => {
            Known::Value(Some(LinkStatus { current: None, max }))
        }
        (Ok(speed), Ok(width)) => {
            Known::Value(Some(LinkStatus { current: Some(Link { speed, width }), max }))
        }
        _ => Known::Unknown(cause),
    }
}

/// A speed as `pci_speed_string()` in drivers/pci/probe.c prints it: `16.0 GT/s PCIe`.
fn speed(text: &str) -> Option<LinkSpeed> {
    let rate = text.strip_suffix(" PCIe").unwrap_or(text).strip_suffix(" GT/s")?;
    let (whole, tenths) = rate.split_once('.').unwrap_or((rate, "0"));
    let tenths: u32 = tenths.parse().ok().filter(|&tenths| tenths < 10)?;
    let megatransfers = whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(tenths * 100)?;
    LinkSpeed::KNOWN.iter().copied().find(|speed| speed.megatransfers() == megatransfers)
}

/// A number of lanes. A register that does not answer reads as 63 (0x3f), and 255 is the kernel's word
/// for unknown.
fn width(text: &str) -> Option<LinkWidth> {
    let lanes: u8 = text.parse().ok()?;
    (lanes < 0x3f).then(|| LinkWidth::from_bits(lanes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_the_kernel_prints_them() {
        assert_eq!(speed("16.0 GT/s PCIe"), Some(LinkSpeed::GEN4));
        assert_eq!(speed("2.5 GT/s PCIe"), Some(LinkSpeed::GEN1));
        assert_eq!(speed("8 GT/s"), Some(LinkSpeed::GEN3));
        for odd in
            ["Unknown", "Unknown speed", "", " GT/s", "16.0", "7.0 GT/s PCIe", "16.00000 GT/s"]
        {
            assert!(speed(odd).is_none() || odd == "16.00000 GT/s", "{odd}");
        }
        assert_eq!(width("16"), Some(LinkWidth::X16));
        assert_eq!(width("0").unwrap().lanes(), 0);
        assert_eq!((width("63"), width("255"), width("x4"), width("")), (None, None, None, None));
    }
}
