use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};
use proptest::prelude::*;

use super::*;

/// Registers set in a space of so many bytes.
fn space(len: usize, registers: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, value) in registers {
        if let Some(place) = bytes.get_mut(*at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
    bytes
}

fn whole(bytes: Vec<u8>) -> Config {
    let size = bytes.len();
    Config::new(bytes, Known::Value(size), Cause::Unreadable)
}

/// A root port with a PCI Express capability at 0x40 and ACS at 0x148.
fn port(len: usize) -> Vec<u8> {
    space(
        len,
        &[
            (0x00, &[0x36, 0x1b, 0x0c, 0x00, 0x07, 0x05, 0x10, 0x00, 0x00, 0x00, 0x04, 0x06]),
            (0x0e, &[0x81]),
            (0x18, &[0x00, 0x01, 0x03]),
            (0x34, &[0x40]),
            // Root port, gen4 x16 capable, DLL active reporting; runs at gen3 x8.
            (0x40, &[0x10, 0x50, 0x42, 0x00]),
            (0x4c, &[0x04, 0x01, 0x10, 0x05]),
            (0x52, &[0x83, 0x20]),
            (0x100, &[0x01, 0x00, 0x82, 0x14]),
            (0x148, &[0x0d, 0x00, 0x01, 0x00, 0x5f, 0x00, 0x1d, 0x00]),
        ],
    )
}

const NEEDS_ROOT: Known<Option<u16>> = Known::Unknown(Cause::NeedsRoot);

#[test]
fn a_root_port_is_read_whole() {
    let config = whole(port(4096));
    assert_eq!(config.id(), Some((0x1b36, 0x000c)));
    assert_eq!(config.kind(ClassCode::default()), Kind::RootPort);
    assert_eq!(config.buses(), Known::Value(Some([0, 1, 3])));
    assert_eq!(config.port_number(), 5);
    let acs = config.acs();
    let acs = acs.value().unwrap().as_ref().unwrap();
    assert_eq!((acs.offset, acs.control.into_bits()), (Some(0x148), 0x1d));
    let link = config.link().value().unwrap().unwrap();
    let status = |speed, width| Link { speed, width };
    assert_eq!(link.max, status(LinkSpeed::GEN4, LinkWidth::X16));
    assert_eq!(link.current, Some(status(LinkSpeed::GEN3, LinkWidth::X8)));
    // The data link layer is down: what the register says of speed and width is of no meaning.
    let mut down = port(4096);
    down[0x53] = 0x00;
    assert_eq!(whole(down).link().value().unwrap().unwrap().current, None);
}

#[test]
fn what_was_not_read_is_not_known() {
    let size = Known::Value(4096);
    for len in [0, 64, 256] {
        let config = Config::new(port(len.max(0x149))[..len].to_vec(), size, Cause::NeedsRoot);
        assert_eq!(config.acs(), Known::Unknown(Cause::NeedsRoot), "{len}");
        let kind = config.kind(ClassCode::PCI_BRIDGE);
        assert_eq!(kind, if len == 256 { Kind::RootPort } else { Kind::UnreadBridge });
    }
    // A space of 256 bytes has no ACS, whoever reads it.
    let config = Config::new(port(256)[..64].to_vec(), Known::Value(256), Cause::NeedsRoot);
    assert_eq!(config.acs(), Known::Value(None));
    assert_eq!(config.capability(CapabilityId::PCI_EXPRESS), NEEDS_ROOT);
    // A dump of 256 bytes does not say how many there are.
    let dump = Config::new(port(256), Known::Unknown(Cause::NotCaptured), Cause::NotCaptured);
    assert_eq!(dump.acs(), Known::Unknown(Cause::NotCaptured));
    let mut conventional = port(256);
    (conventional[0x06], conventional[0x0b]) = (0, 1);
    let size = Known::Unknown(Cause::NotCaptured);
    assert_eq!(Config::new(conventional, size, Cause::NotCaptured).acs(), Known::Value(None));
}

#[test]
fn a_function_that_does_not_answer_says_nothing() {
    let config = whole(vec![0xff; 4096]);
    assert!(!config.answers());
    assert_eq!(config.acs(), Known::Unknown(Cause::Unreadable));
    assert_eq!(config.link(), Known::Unknown(Cause::Unreadable));
    assert_eq!(config.command().cause(), Some(Cause::Unreadable));
    assert_eq!(config.id(), None);
}

#[test]
fn spoilt_lists_answer_nothing() {
    let spoil = |changes: &[(usize, &[u8])]| {
        let mut bytes = port(4096);
        for (at, value) in changes {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        whole(bytes)
    };
    let unreadable = Some(Cause::Unreadable);
    // Into the header; a loop; onto all ones.
    assert_eq!(spoil(&[(0x34, &[0x08])]).express().cause(), unreadable);
    let looping = spoil(&[(0x34, &[0x60]), (0x60, &[0x01, 0x64]), (0x64, &[0x05, 0x60])]);
    assert_eq!(looping.express().cause(), unreadable);
    assert_eq!(looping.kind(ClassCode::default()), Kind::UnreadBridge);
    assert_eq!(spoil(&[(0x34, &[0x60]), (0x60, &[0xff, 0xff])]).express().cause(), unreadable);
    // A loop behind what is looked for does not matter: the kernel does not get there either.
    assert!(spoil(&[(0x41, &[0x40])]).express().value().is_some());
    // Extended: a loop, into the first 256 bytes, onto nothing, no answer, cut off by the end.
    for next in [&[0x01, 0x00, 0x01, 0x10][..], &[0x01, 0x00, 0x01, 0x04], &[1, 0, 1, 0x90]] {
        assert_eq!(spoil(&[(0x100, next)]).acs().cause(), unreadable, "{next:x?}");
    }
    assert_eq!(spoil(&[(0x100, &[0xff; 4])]).acs().cause(), unreadable);
    assert_eq!(spoil(&[(0x14e, &[0xff; 2])]).acs().cause(), unreadable);
    let last = spoil(&[(0x102, &[0xc1, 0xff]), (0xffc, &[0x0d, 0, 1, 0])]);
    assert_eq!(last.acs().cause(), unreadable);
    assert_eq!(spoil(&[(0x100, &[0; 4])]).acs(), Known::Value(None));
    assert_eq!(spoil(&[(0x100, &[1, 0, 1, 0])]).acs(), Known::Value(None));
}

#[test]
fn egress_vectors_are_read_as_long_as_they_are() {
    let mut bytes = port(4096);
    bytes[0x14c..0x158].copy_from_slice(&[0x7f, 40, 0x20, 0, 0x02, 0, 0, 0, 0x01, 0, 0, 0]);
    let config = whole(bytes);
    let acs = config.acs();
    let vector = acs.value().unwrap().as_ref().unwrap().egress.clone();
    let vector = vector.value().unwrap();
    let listed: Vec<u8> = (0..=255).filter(|&peer| vector.lists(peer)).collect();
    assert_eq!(listed, [1, 32]);
    let cut = Config::new(config.bytes()[..0x155].to_vec(), Known::Value(4096), Cause::NotCaptured);
    let acs = cut.acs();
    assert_eq!(acs.value().unwrap().as_ref().unwrap().egress.cause(), Some(Cause::NotCaptured));
}

proptest! {
    /// Whatever the bytes are, and however many: no panic, and what is known stays the same when more
    /// of the space is read.
    #[test]
    fn more_bytes_contradict_nothing(
        changes in prop::collection::vec((0_usize..4096, any::<u8>()), 0..24),
        hot in prop::collection::vec((prop::sample::select(vec![
            0x06, 0x0e, 0x34, 0x40, 0x41, 0x42, 0x100, 0x101, 0x102, 0x103, 0x148, 0x14a, 0x14b,
        ]), any::<u8>()), 0..4),
        len in prop::sample::select(vec![0_usize, 1, 63, 64, 65, 128, 255, 256, 257, 1000, 4095]),
    ) {
        let mut bytes = port(4096);
        for (at, value) in changes.into_iter().chain(hot) {
            bytes[at] = value;
        }
        let part = Config::new(bytes[..len].to_vec(), Known::Value(4096), Cause::NeedsRoot);
        let all = whole(bytes);
        fn agree<T: PartialEq>(part: Known<T>, all: Known<T>) -> bool {
            part.cause() == Some(Cause::NeedsRoot) || part.cause() == Some(Cause::Unreadable)
                || part == all
        }
        if all.answers() {
            let (some, rest) = (part.acs(), all.acs());
            let same = match (some, rest) {
                (Known::Value(Some(a)), Known::Value(Some(b))) => {
                    a.control == b.control && agree(a.egress, b.egress)
                }
                (a, b) => agree(a, b),
            };
            prop_assert!(same);
            prop_assert!(agree(part.express(), all.express()));
            prop_assert!(agree(part.buses(), all.buses()));
            prop_assert!(agree(part.command(), all.command()));
        }
    }
}

#[test]
fn what_a_bridge_forwards_is_its_open_windows() {
    let windows = |registers: &[(usize, &[u8])]| {
        let mut bytes = port(256);
        for (at, value) in registers {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        whole(bytes).windows()
    };
    // 0xfe00_0000 to 0xfe1f_ffff, and 0x70_0000_0000 to 0x70_07ff_ffff.
    let memory: (usize, &[u8]) = (0x20, &[0x00, 0xfe, 0x10, 0xfe]);
    let prefetchable: (usize, &[u8]) =
        (0x24, &[0x01, 0x00, 0xf1, 0x07, 0x70, 0, 0, 0, 0x70, 0, 0, 0]);
    let both = [0xfe00_0000..0xfe20_0000, 0x70_0000_0000..0x70_0800_0000];
    assert_eq!(windows(&[memory, prefetchable]), both);
    // Closed: the base is above the limit.
    let closed: (usize, &[u8]) = (0x20, &[0xf0, 0xff, 0x00, 0x00]);
    assert_eq!(windows(&[closed, prefetchable]), both[1..]);
    // No bridge has none, and of what was not read nothing is said.
    assert!(windows(&[memory, prefetchable, (0x0e, &[0x00])]).is_empty());
    assert!(Config::new(port(0x20), Known::Value(256), Cause::NeedsRoot).windows().is_empty());
}
