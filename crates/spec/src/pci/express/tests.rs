//! Registers of real devices, and the arithmetic of links.

use super::*;
use crate::pci::express::{LinkSpeed, LinkWidth};

#[test]
fn capability_of_an_nvme_ssd() {
    // "Express (v2) Endpoint, IntMsgNum 0"; "MaxPayload 128 bytes, PhantFunc 0", "ExtTag+ ... FLReset+".
    let flags = ExpressCapabilities::from_bits(0x0002);
    assert_eq!(flags.port_type(), PortType::ENDPOINT);
    assert!(!flags.port_type().is_bridge());
    let capabilities = DeviceCapabilities::from_bits(0x1000_8FE0);
    assert_eq!(capabilities.max_payload().bytes(), Some(128));
    assert_eq!(
        capabilities.to_string(),
        "MaxPayload=128 bytes PhantFunc=0 ExtTag+ RBE+ FLReset+ TEE-IO-"
    );
    let control = DeviceControl::from_bits(0x293F);
    assert_eq!(control.max_payload(), TlpSize::B256);
    assert_eq!(control.max_read_request(), TlpSize::B512);
    assert!(control.relaxed_ordering() && control.no_snoop());
}

#[test]
fn link_of_an_ssd_of_generation_4_in_a_slot_of_generation_3() {
    let capabilities = LinkCapabilities::from_bits(0x0043_7844);
    assert_eq!(capabilities.max_speed(), LinkSpeed::GEN4);
    assert_eq!(capabilities.max_width(), LinkWidth::X4);
    let status = LinkStatus::from_bits(0x1043);
    assert_eq!(
        status.to_string(),
        "Speed=8GT/s Width=x4 Train- SlotClk+ DLActive- BWMgmt- ABWMgmt-"
    );
    let capabilities2 = LinkCapabilities2::from_bits(0x0180_001E);
    assert!(capabilities2.to_string().starts_with("Supported Link Speeds=2.5-16GT/s Crosslink-"));
}

#[test]
fn ports_that_face_downstream_are_where_acs_applies() {
    let downstream: Vec<_> =
        (0..16).map(PortType::from_bits).filter(|port| port.faces_downstream()).collect();
    assert_eq!(downstream, [PortType::ROOT_PORT, PortType::DOWNSTREAM_PORT]);
    assert!(downstream.iter().all(|port| port.is_bridge()));
}

#[test]
fn slot_of_a_hot_plug_port() {
    let capabilities = SlotCapabilities::from_bits(0x0010_0060);
    assert!(capabilities.hot_plug() && capabilities.hot_plug_surprise());
    assert_eq!(capabilities.physical_slot_number(), 2);
    let control = SlotControl::from_bits(0x15C0);
    assert_eq!(control.attention_indicator(), Indicator::OFF);
    assert_eq!(control.power_indicator(), Indicator::ON);
    assert!(control.power_off() && control.data_link_state_enable());
}

#[test]
fn bytes_per_second_of_a_lane() {
    // 2.5 GT/s at 8b/10b is 250 MB/s; 8 GT/s at 128b/130b is 984.6 MB/s; flits lose 14 of 256 bytes.
    let expected =
        [250_000_000, 500_000_000, 984_615_384, 1_969_230_769, 3_938_461_538, 7_562_500_000];
    for (speed, bytes) in LinkSpeed::KNOWN.iter().zip(expected) {
        assert_eq!(speed.bytes_per_second(), bytes, "{speed}");
    }
    assert_eq!(LinkSpeed::from_bits(0).bytes_per_second(), 0);
    assert_eq!(LinkSpeed::from_bits(15).bytes_per_second(), 0);
}

#[test]
fn sets_of_speeds() {
    for speed in LinkSpeed::KNOWN {
        let set = SpeedVector::up_to(*speed);
        assert!(set.contains(*speed) && set.contains(LinkSpeed::GEN1));
        assert_eq!(u32::from(speed.into_bits()), set.into_bits().count_ones());
    }
    assert_eq!(SpeedVector::up_to(LinkSpeed::GEN1).to_string(), "2.5GT/s");
    assert_eq!(SpeedVector::up_to(LinkSpeed::GEN6).to_string(), "2.5-64GT/s");
    assert_eq!(SpeedVector::from_bits(0b101).to_string(), "2.5GT/s,8GT/s");
    assert_eq!(SpeedVector::from_bits(0).to_string(), "0x00");
    assert!(!SpeedVector::from_bits(0x7F).contains(LinkSpeed::from_bits(0)));
    assert!(!SpeedVector::from_bits(0xFF).contains(LinkSpeed::from_bits(15)));
}

#[test]
fn tlp_sizes() {
    for code in 0..8 {
        let size = TlpSize::from_bits(code);
        assert_eq!(size.bytes().and_then(TlpSize::from_bytes), (code < 6).then_some(size));
    }
    assert_eq!(TlpSize::from_bytes(129), None);
    assert_eq!(TlpSize::from_bytes(8192), None);
}

#[test]
fn widths_print_as_lanes() {
    let defined: Vec<_> = (0..64).filter(|w| LinkWidth::from_bits(*w).is_defined()).collect();
    assert_eq!(defined, [1, 2, 4, 8, 16]);
    assert_eq!(LinkWidth::from_bits(12).to_string(), "x12");
}
