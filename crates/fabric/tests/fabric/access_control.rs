//! Access control services: all seven controls, at ports and in multi-function devices, for requests,
//! completions and translated requests.

use p2pdma_fabric::{AcsConfig, Attributes, Builder, PayloadClass, TlpErrorKind};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{ConfigSpace as _, Iova, Width};
use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::capability::ExtendedCapabilityId;

use crate::support::{Stage, build, function, host, host_bridge, port, switched};

const NONE: AcsControl = AcsControl::new();

/// The way that payload took: straight to the peer, through the root, or not at all.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Local,
    Root,
    Failed(TlpErrorKind),
    Lost,
}

/// Below one switch, with these controls at the client's and at the provider's port.
fn below_switch(client: AcsControl, provider: AcsControl) -> Stage {
    let bits = [0, 0, client.into_bits(), provider.into_bits()];
    switched(IommuMode::Off, PeerPolicy::Forward, bits)
}

fn way(stage: &Stage, before: p2pdma_fabric::Counters) -> Option<Way> {
    let passed = stage.fabric.counters().since(&before);
    let local = passed.peer_local.of(PayloadClass::Data) > 0;
    let root = passed.peer_through_root.of(PayloadClass::Data) > 0;
    match (local, root) {
        (true, false) => Some(Way::Local),
        (false, true) => Some(Way::Root),
        _ => None,
    }
}

fn read(stage: &Stage, attributes: Attributes) -> Way {
    let (at, before) = (Iova(stage.memory("b")), stage.fabric.counters());
    let answer = stage.act("a", move |port| port.read(at, &mut [0; 8], attributes));
    match answer {
        Ok(_) => way(stage, before).unwrap_or(Way::Lost),
        Err(error) => Way::Failed(error.kind),
    }
}

fn write(stage: &Stage, attributes: Attributes) -> Way {
    let (at, before) = (Iova(stage.memory("b")), stage.fabric.counters());
    stage.act("a", move |port| port.write(at, &[1; 8], attributes).unwrap());
    way(stage, before).unwrap_or(Way::Lost)
}

#[test]
fn request_redirect_sends_requests_up_where_they_would_turn() {
    let redirect = NONE.with_request_redirect(true);
    let stage = below_switch(redirect, NONE);
    // The completions still take the short way: only Completion Redirect would change that.
    assert_eq!(
        (write(&stage, Attributes::DATA), read(&stage, Attributes::DATA)),
        (Way::Root, Way::Local)
    );
    let stage = below_switch(NONE, redirect);
    assert_eq!(
        (write(&stage, Attributes::DATA), read(&stage, Attributes::DATA)),
        (Way::Local, Way::Local)
    );
}

#[test]
fn completion_redirect_sends_completions_up_unless_relaxed() {
    let redirect = NONE.with_completion_redirect(true);
    let stage = below_switch(NONE, redirect);
    assert_eq!(read(&stage, Attributes::DATA), Way::Root);
    assert_eq!(read(&stage, Attributes::DATA.relaxed()), Way::Local);
    assert_eq!(write(&stage, Attributes::DATA), Way::Local);
    let stage = below_switch(redirect, NONE);
    assert_eq!(read(&stage, Attributes::DATA), Way::Local);
}

#[test]
fn a_redirected_completion_is_lost_where_the_root_complex_does_not_forward() {
    let bits = [0, 0, 0, NONE.with_completion_redirect(true).into_bits()];
    let stage = switched(IommuMode::Off, PeerPolicy::Refuse, bits);
    assert_eq!(read(&stage, Attributes::DATA), Way::Failed(TlpErrorKind::CompletionTimeout));
    assert_eq!(stage.fabric.errors("a").unwrap().completion_timeouts, 1);
}

#[test]
fn source_validation_drops_what_bears_a_foreign_requester() {
    let stage = below_switch(NONE.with_source_validation(true), NONE);
    let forged = Attributes { forged_requester: Some(0x0900), ..Attributes::DATA };
    assert_eq!(write(&stage, Attributes::DATA), Way::Local);
    assert_eq!(write(&stage, forged), Way::Lost);
    assert_eq!(read(&stage, forged), Way::Failed(TlpErrorKind::CompleterAbort));
    assert_eq!(stage.fabric.errors("sw0.0").unwrap().acs_violations, 2);
    // AER says so too: ACS Violation is bit 21 of the uncorrectable status.
    let port = p2pdma_pci::Bdf::new(0, 2, 0, 0).unwrap();
    assert_ne!(stage.fabric.config(port).read(0x104, Width::Dword).unwrap() & 1 << 21, 0);
}

#[test]
fn every_foreign_requester_is_caught_by_source_validation() {
    let stage = below_switch(NONE.with_source_validation(true), NONE);
    let (at, own) = (Iova(stage.memory("b")), stage.bdf("a").bus());
    let caught = stage.act("a", move |port| {
        let mut caught = 0;
        for requester in 0..=u16::MAX {
            let forged = Attributes { forged_requester: Some(requester), ..Attributes::DATA };
            let error = port.read(at, &mut [0; 1], forged).unwrap_err().kind;
            // From a bus below the port it may come; its completion goes to whom it names.
            let below = requester.to_be_bytes()[0] == own;
            let expected =
                if below { TlpErrorKind::CompletionTimeout } else { TlpErrorKind::CompleterAbort };
            assert_eq!(error, expected, "{requester:#06x}");
            caught += u32::from(!below);
        }
        caught
    });
    assert_eq!(caught, 65_536 - 256);
}

#[test]
fn translation_blocking_stops_translated_requests_only() {
    let stage = below_switch(NONE.with_translation_blocking(true), NONE);
    assert_eq!(write(&stage, Attributes::DATA.translated()), Way::Lost);
    assert_eq!(write(&stage, Attributes::DATA), Way::Local);
    assert_eq!(stage.fabric.errors("sw0.0").unwrap().acs_violations, 1);
}

#[test]
fn direct_translated_frees_translated_requests_from_redirection() {
    let control = NONE.with_request_redirect(true).with_direct_translated(true);
    let stage = below_switch(control, NONE);
    assert_eq!(write(&stage, Attributes::DATA.translated()), Way::Local);
    assert_eq!(write(&stage, Attributes::DATA), Way::Root);
}

/// Egress control at the client's port, with the provider's port (number 1) listed or not.
#[test]
fn egress_control_blocks_or_redirects_what_is_listed() {
    for (listed, redirect, expected) in [
        (false, false, Way::Local),
        (true, false, Way::Lost),
        (false, true, Way::Local),
        (true, true, Way::Root),
    ] {
        let control = NONE.with_egress_control(true).with_request_redirect(redirect);
        let stage = below_switch(control, NONE);
        let port = p2pdma_pci::Bdf::new(0, 2, 0, 0).unwrap();
        let config = stage.fabric.config(port);
        let config: &dyn p2pdma_pci::ConfigSpace = &config;
        let acs = config
            .extended_capability(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES)
            .unwrap()
            .unwrap();
        config.write(acs + 8, Width::Dword, u32::from(listed) << 1).unwrap();
        assert_eq!(write(&stage, Attributes::DATA), expected, "{listed} {redirect}");
    }
}

/// Two switches, one below the other; `a` in the lower one, `b` in the upper one.
fn two_deep(lower: AcsControl, middle: AcsControl) -> Stage {
    let mut builder = Builder::new(host(IommuMode::Off), 64 << 20);
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let root = builder.root_port(bridge, port("rp0", Some(0))).unwrap();
    let upper = vec![port("sw0.0", Some(middle.into_bits())), port("sw0.1", Some(0))];
    let upper = builder.switch(root, "sw0", upper).unwrap();
    let below = vec![port("sw1.0", Some(lower.into_bits())), port("sw1.1", Some(0))];
    let below = builder.switch(upper[0], "sw1", below).unwrap();
    let devices = [(below[0], "a"), (below[1], "c"), (upper[1], "b")];
    build(builder, devices.map(|(port, name)| (port, function(name, 0))).into())
}

#[test]
fn redirection_acts_only_where_a_request_would_turn() {
    let redirect = NONE.with_request_redirect(true);
    // At the lower port the request goes up anyway; the kernel counts that bit all the same.
    assert_eq!(write(&two_deep(redirect, NONE), Attributes::DATA), Way::Local);
    assert_eq!(write(&two_deep(NONE, redirect), Attributes::DATA), Way::Root);
    let stage = two_deep(redirect, NONE);
    let topology = stage.fabric.topology().unwrap();
    let kernel = topology.route(stage.bdf("a"), stage.bdf("b"));
    assert!(kernel.require().is_err());
}

#[test]
fn upstream_forwarding_decides_at_the_port_above_a_redirect() {
    // `a` to `c`, both in the lower switch: redirected at a's port, the request meets sw0.0.
    for (forwarding, expected) in [(false, Way::Local), (true, Way::Root)] {
        let middle = NONE.with_upstream_forwarding(forwarding);
        let stage = two_deep(NONE.with_request_redirect(true), middle);
        let (at, before) = (Iova(stage.memory("c")), stage.fabric.counters());
        stage.act("a", move |port| port.write(at, &[1; 8], Attributes::DATA).unwrap());
        assert_eq!(way(&stage, before), Some(expected), "{forwarding}");
        let arrived = stage.puppet("c").memory.read_value::<[u8; 8]>(0).unwrap();
        assert_eq!(arrived, [1; 8]);
    }
}

/// Two functions of one device below a root port.
fn two_functions(own: AcsControl, port_control: AcsControl) -> Stage {
    let mut builder = Builder::new(host(IommuMode::Off), 64 << 20);
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let root = builder.root_port(bridge, port("rp0", Some(port_control.into_bits()))).unwrap();
    let with_acs = |name, number| {
        let mut config = function(name, number);
        config.acs = Some(AcsConfig { control: own, egress: 0b11 });
        (root, config)
    };
    build(builder, vec![with_acs("a", 0), with_acs("b", 1)])
}

#[test]
fn functions_of_one_device_meet_inside_it_unless_redirected() {
    let up = NONE.with_upstream_forwarding(true);
    let redirect = NONE.with_request_redirect(true);
    assert_eq!(write(&two_functions(NONE, NONE), Attributes::DATA), Way::Local);
    let links = two_functions(NONE, NONE).fabric.counters().root_data();
    assert_eq!(links, 0, "nothing leaves the device");
    assert_eq!(write(&two_functions(NONE, redirect), Attributes::DATA), Way::Local);
    assert_eq!(write(&two_functions(redirect, up), Attributes::DATA), Way::Root);
    assert_eq!(write(&two_functions(redirect, NONE), Attributes::DATA), Way::Root);
    let egress = NONE.with_egress_control(true);
    assert_eq!(write(&two_functions(egress, NONE), Attributes::DATA), Way::Lost);
    let completion = NONE.with_completion_redirect(true);
    assert_eq!(read(&two_functions(completion, up), Attributes::DATA), Way::Root);
    assert_eq!(read(&two_functions(completion, NONE), Attributes::DATA), Way::Root);
}

#[test]
fn translated_requests_are_honoured_only_from_functions_with_ats_on() {
    for (ats, expected) in [(false, true), (true, false)] {
        let stage = switched(IommuMode::Translate, PeerPolicy::Forward, [0; 4]);
        let config = stage.fabric.config(stage.bdf("a"));
        let config: &dyn p2pdma_pci::ConfigSpace = &config;
        let at = config
            .extended_capability(ExtendedCapabilityId::ADDRESS_TRANSLATION_SERVICE)
            .unwrap()
            .unwrap()
            + 6;
        config.write(at, Width::Word, u32::from(ats) << 15).unwrap();
        let blocked = stage.act("a", |port| {
            port.read(Iova(0x20_0000), &mut [0; 4], Attributes::DATA.translated()).is_err()
        });
        assert_eq!(blocked, expected, "{ats}");
        assert_eq!(stage.fabric.take_iommu_faults().1, u64::from(blocked));
    }
}

/// Source validation, translation blocking and upstream forwarding are of ports that face down.
#[test]
fn functions_have_the_controls_of_functions() {
    let every = AcsControl::from_bits(0x7f);
    let stage = two_functions(every, every);
    let controls = |bdf: p2pdma_pci::Bdf| {
        let config = stage.fabric.config(bdf);
        let config: &dyn p2pdma_pci::ConfigSpace = &config;
        let acs = config.extended_capability(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES);
        let acs = acs.unwrap().unwrap();
        config.write(acs + 6, Width::Word, 0x7f).unwrap();
        [4, 6].map(|register| config.read(acs + register, Width::Word).unwrap() & 0x7f)
    };
    assert_eq!(controls(stage.bdf("a")), [0x6c; 2]);
    assert_eq!(controls(p2pdma_pci::Bdf::new(0, 0, 1, 0).unwrap()), [0x7f; 2]);
}
