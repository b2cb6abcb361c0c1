//! The registers of functions, ports and host bridges: how they look at first, and what the fabric reads
//! out of them after each write.

use p2pdma_pci::Width;
use p2pdma_pci::topology::{self, EgressVector, Known, Link, LinkStatus};
use p2pdma_spec::pci::acs::{self, AcsCapability, AcsControl};
use p2pdma_spec::pci::aer;
use p2pdma_spec::pci::ats::{self, AtsControl};
use p2pdma_spec::pci::bridge::{BridgeControl, MemoryWindow, PrefetchableWindow};
use p2pdma_spec::pci::capability::{CapabilityId, ExtendedCapabilityId};
use p2pdma_spec::pci::class::{ClassCode, ClassRevision};
use p2pdma_spec::pci::config::{self, Command, HeaderLayout, Status, type0, type1};
use p2pdma_spec::pci::express::LinkCapabilities;
use p2pdma_spec::pci::express::{
    self, DeviceCapabilities, DeviceControl, DeviceStatus, ExpressCapabilities, PortType, TlpSize,
};
use p2pdma_spec::pci::msix::{self, MessageControl, TableLocation};

use crate::aer::CORRECTABLE_MASK;
use crate::builder::AcsConfig;
use crate::config::{ConfigBuilder, ConfigImage};
use crate::endpoint::{Description, MsixDescription, Reset};
use crate::timing::Packets;
use crate::tree::{Acs, BridgeDecode, Function, Port, PortKind};

/// What software may write of the command register: decode, bus master, interrupt disable.
const COMMAND: Command =
    Command::new().with_memory_space(true).with_bus_master(true).with_interrupt_disable(true);

/// Device Control after a reset (PCIe 6.0 §7.5.3.4).
const DEVICE_CONTROL: DeviceControl = DeviceControl::new()
    .with_relaxed_ordering(true)
    .with_no_snoop(true)
    .with_max_payload(TlpSize::B128)
    .with_max_read_request(TlpSize::B512);
/// What software may write of it. Initiate Function Level Reset always reads as zero, so it is no stored bit;
/// the rest belongs to capabilities that are not there.
const DEVICE_CONTROLS: DeviceControl = DeviceControl::new()
    .with_correctable_error_reporting(true)
    .with_non_fatal_error_reporting(true)
    .with_fatal_error_reporting(true)
    .with_unsupported_request_reporting(true)
    .with_relaxed_ordering(true)
    .with_max_payload(TlpSize::from_bits(7))
    .with_no_snoop(true)
    .with_max_read_request(TlpSize::from_bits(7));

/// What software clears of Status and Secondary Status by writing one (PCIe 6.0 §7.5.1.1.4, §7.5.1.3.7).
const ERROR_STATUS: Status = Status::new()
    .with_master_data_parity_error(true)
    .with_signaled_target_abort(true)
    .with_received_target_abort(true)
    .with_received_master_abort(true)
    .with_system_error(true)
    .with_detected_parity_error(true);
/// The same of Device Status (PCIe 6.0 §7.5.3.5).
const DEVICE_STATUS: DeviceStatus = DeviceStatus::new()
    .with_correctable_error(true)
    .with_non_fatal_error(true)
    .with_fatal_error(true)
    .with_unsupported_request(true);

/// AER is version 2, ACS and ATS version 1, in the revision of the specification that is followed.
const AER_VERSION: u8 = 2;
const AER_SIZE: u16 = 0x48;
const ACS_SIZE: u16 = 16;
const ATS_SIZE: u16 = 8;

/// The identity of a function, in configuration space's order.
#[derive(Debug, Clone, Copy)]
struct Identity {
    vendor: u16,
    device: u16,
    class: ClassCode,
    revision: u8,
}

fn header(layout: HeaderLayout, multi_function: bool, identity: Identity) -> ConfigBuilder {
    let mut builder = ConfigBuilder::new(layout, multi_function);
    builder.set(config::offset::VENDOR_ID, &identity.vendor.to_le_bytes());
    builder.set(config::offset::DEVICE_ID, &identity.device.to_le_bytes());
    let class =
        ClassRevision::new().with_class_code(identity.class).with_revision(identity.revision);
    builder.clears(config::offset::STATUS, &ERROR_STATUS.into_bits().to_le_bytes());
    builder.set(config::offset::CLASS_REVISION, &class.into_bits().to_le_bytes());
    builder
}

/// Device 00.0 of a root bus: an identity, on which allowlists are keyed.
pub(crate) fn host_bridge(vendor: u16, device: u16) -> ConfigImage {
    let class = ClassCode::HOST_BRIDGE;
    header(HeaderLayout::TYPE0, false, Identity { vendor, device, class, revision: 0 }).build()
}

/// A type 1 function.
pub(crate) fn port(
    kind: PortKind,
    link: &LinkStatus,
    acs: Option<&AcsConfig>,
    number: u8,
) -> ConfigImage {
    // Red Hat's generic root port and TI's XIO3130 switch, as QEMU has them.
    let (vendor, device) = match kind {
        PortKind::Root => (0x1b36, 0x000c),
        PortKind::Upstream => (0x104c, 0x8232),
        PortKind::Downstream => (0x104c, 0x8233),
    };
    let identity = Identity { vendor, device, class: ClassCode::PCI_BRIDGE, revision: 0 };
    let mut builder = header(HeaderLayout::TYPE1, false, identity);
    builder.writable(config::offset::COMMAND, &COMMAND.into_bits().to_le_bytes());
    bridge_windows(&mut builder);
    let port_type = match kind {
        PortKind::Root => PortType::ROOT_PORT,
        PortKind::Upstream => PortType::UPSTREAM_PORT,
        PortKind::Downstream => PortType::DOWNSTREAM_PORT,
    };
    express(&mut builder, port_type, link, number, false);
    error_reporting(&mut builder, kind == PortKind::Root);
    if let Some(acs) = acs {
        access_control(&mut builder, acs, PORT_CONTROLS);
    }
    builder.build()
}

fn bridge_windows(builder: &mut ConfigBuilder) {
    builder.writable(type1::PRIMARY_BUS, &[0xff; 3]);
    builder.set(type1::MEMORY_BASE, &MemoryWindow::CLOSED.base.to_le_bytes());
    builder.set(type1::MEMORY_LIMIT, &MemoryWindow::CLOSED.limit.to_le_bytes());
    builder.set(type1::PREFETCHABLE_BASE, &PrefetchableWindow::CLOSED.base.to_le_bytes());
    builder.set(type1::PREFETCHABLE_LIMIT, &PrefetchableWindow::CLOSED.limit.to_le_bytes());
    for register in [
        type1::MEMORY_BASE,
        type1::MEMORY_LIMIT,
        type1::PREFETCHABLE_BASE,
        type1::PREFETCHABLE_LIMIT,
    ] {
        builder.writable(register, &0xfff0_u16.to_le_bytes());
    }
    builder.writable(type1::PREFETCHABLE_BASE_UPPER, &[0xff; 4]);
    builder.writable(type1::PREFETCHABLE_LIMIT_UPPER, &[0xff; 4]);
    builder.clears(type1::SECONDARY_STATUS, &ERROR_STATUS.into_bits().to_le_bytes());
    // The other bits of Bridge Control do nothing here.
    builder.set(type1::BRIDGE_CONTROL, &[0, 0]);
    let control = BridgeControl::new().with_serr(true).with_secondary_bus_reset(true);
    builder.writable(type1::BRIDGE_CONTROL, &control.into_bits().to_le_bytes());
}

/// An endpoint's function.
pub(crate) fn function(
    description: &Description,
    multi_function: bool,
    link: &LinkStatus,
    acs: Option<&AcsConfig>,
) -> ConfigImage {
    let Description { vendor, device, class, revision, .. } = *description;
    let identity = Identity { vendor, device, class, revision };
    let mut builder = header(HeaderLayout::TYPE0, multi_function, identity);
    builder.writable(config::offset::COMMAND, &COMMAND.into_bits().to_le_bytes());
    builder.set(type0::SUBSYSTEM_VENDOR_ID, &description.subsystem_vendor.to_le_bytes());
    builder.set(type0::SUBSYSTEM_ID, &description.subsystem.to_le_bytes());
    for bar in &description.bars {
        let at = config::offset::BAR0 + 4 * u16::from(bar.index.get());
        let (low, high) = bar.kind.encode(0);
        let (low_mask, high_mask) = bar.kind.sizing(bar.len);
        builder.set(at, &low.to_le_bytes());
        builder.writable(at, &(low_mask & !low).to_le_bytes());
        if bar.kind.registers() == 2 {
            builder.set(at + 4, &high.to_le_bytes()).writable(at + 4, &high_mask.to_le_bytes());
        }
    }
    express(&mut builder, PortType::ENDPOINT, link, 0, description.function_level_reset);
    if let Some(msix) = description.msix {
        message_signaled(&mut builder, msix);
    }
    error_reporting(&mut builder, false);
    if let Some(acs) = acs {
        access_control(&mut builder, acs, FUNCTION_CONTROLS);
    }
    if description.address_translation {
        address_translation(&mut builder);
    }
    builder.build()
}

fn express(
    builder: &mut ConfigBuilder,
    port_type: PortType,
    link: &LinkStatus,
    number: u8,
    function_level_reset: bool,
) {
    let at = builder.capability(CapabilityId::PCI_EXPRESS, express::CAPABILITY_SIZE);
    builder.offsets().express = at;
    let capabilities = ExpressCapabilities::new().with_version(2).with_port_type(port_type);
    builder.set(at + express::offset::CAPABILITIES, &capabilities.into_bits().to_le_bytes());
    let device = DeviceCapabilities::new()
        .with_role_based_error_reporting(true)
        .with_function_level_reset(function_level_reset);
    builder.set(at + express::offset::DEVICE_CAPABILITIES, &device.into_bits().to_le_bytes());
    let control = at + express::offset::DEVICE_CONTROL;
    builder.set(control, &DEVICE_CONTROL.into_bits().to_le_bytes());
    builder.writable(control, &DEVICE_CONTROLS.into_bits().to_le_bytes());
    let status = at + express::offset::DEVICE_STATUS;
    builder.clears(status, &DEVICE_STATUS.into_bits().to_le_bytes());
    let capability = LinkCapabilities::new()
        .with_max_speed(link.max.speed)
        .with_max_width(link.max.width)
        .with_port_number(number);
    builder.set(at + express::offset::LINK_CAPABILITIES, &capability.into_bits().to_le_bytes());
    let status = trained(link.current).into_bits();
    builder.set(at + express::offset::LINK_STATUS, &status.to_le_bytes());
}

/// Says which payloads are supported, of a function or port that has never been written to.
pub(crate) fn support_payload(config: &mut ConfigImage, max_payload: TlpSize) {
    let at = config.offsets.express + express::offset::DEVICE_CAPABILITIES;
    let capabilities = DeviceCapabilities::from_bits(config.read(at, Width::Dword));
    config.force(at, capabilities.with_max_payload(max_payload).into_bits());
    config.make_initial();
}

pub(crate) fn device_control(config: &ConfigImage) -> DeviceControl {
    DeviceControl::from_bits(word(config, config.offsets.express + express::offset::DEVICE_CONTROL))
}

/// How a function or port cuts what it sends. What a program asks for beyond what is supported has no
/// effect; the specification does not say what it would do (PCIe 6.0 §7.5.3.4).
fn decode_packets(config: &ConfigImage) -> Packets {
    let at = config.offsets.express + express::offset::DEVICE_CAPABILITIES;
    let supported = DeviceCapabilities::from_bits(config.read(at, Width::Dword)).max_payload();
    let control = device_control(config);
    let payload = control.max_payload().into_bits().min(supported.into_bits());
    Packets::new(TlpSize::from_bits(payload), control.max_read_request())
}

fn trained(link: Option<Link>) -> express::LinkStatus {
    link.map_or(express::LinkStatus::new(), |link| {
        express::LinkStatus::new().with_speed(link.speed).with_width(link.width)
    })
}

/// Shows in a port's registers what its link was trained to.
pub(crate) fn show_link(config: &mut ConfigImage, link: Option<Link>) {
    let at = config.offsets.express + express::offset::LINK_CONTROL;
    // Link Status is the upper half of the dword that begins with Link Control.
    let control = config.read(at, Width::Word);
    config.force(at, u32::from(trained(link).into_bits()) << 16 | control);
}

fn message_signaled(builder: &mut ConfigBuilder, msix: MsixDescription) {
    let at = builder.capability(CapabilityId::MSI_X, msix::CAPABILITY_SIZE);
    builder.offsets().msix = at;
    let control = MessageControl::new().with_table_size_z(msix.vectors.saturating_sub(1));
    let writable = MessageControl::new().with_enable(true).with_function_mask(true);
    builder.set(at + msix::offset::MESSAGE_CONTROL, &control.into_bits().to_le_bytes());
    builder.writable(at + msix::offset::MESSAGE_CONTROL, &writable.into_bits().to_le_bytes());
    for (register, place) in
        [(msix::offset::TABLE, msix.table), (msix::offset::PENDING_BIT_ARRAY, msix.pending)]
    {
        let place = u32::try_from(place).ok().and_then(|at| TableLocation::at(msix.bar.get(), at));
        let bits = place.unwrap_or_default().into_bits();
        builder.set(at + register, &bits.to_le_bytes());
    }
}

fn error_reporting(builder: &mut ConfigBuilder, root: bool) {
    let at =
        builder.extended(ExtendedCapabilityId::ADVANCED_ERROR_REPORTING, AER_VERSION, AER_SIZE);
    builder.offsets().aer = at;
    let uncorrectable = aer::UncorrectableErrors::DEFINED.into_bits().to_le_bytes();
    builder.clears(at + aer::offset::UNCORRECTABLE_STATUS, &uncorrectable);
    builder.writable(at + aer::offset::UNCORRECTABLE_MASK, &uncorrectable);
    let severity = aer::UncorrectableErrors::DEFAULT_SEVERITY.into_bits();
    builder.set(at + aer::offset::UNCORRECTABLE_SEVERITY, &severity.to_le_bytes());
    builder.writable(at + aer::offset::UNCORRECTABLE_SEVERITY, &uncorrectable);
    let correctable = aer::CorrectableErrors::DEFINED.into_bits().to_le_bytes();
    builder.clears(at + aer::offset::CORRECTABLE_STATUS, &correctable);
    builder.set(at + aer::offset::CORRECTABLE_MASK, &CORRECTABLE_MASK.into_bits().to_le_bytes());
    builder.writable(at + aer::offset::CORRECTABLE_MASK, &correctable);
    if root {
        builder.clears(at + aer::offset::ROOT_ERROR_STATUS, &[0x7f]);
    }
    builder.sticky(at, AER_SIZE);
}

/// Bits 6:0 name the same controls in capability and control.
const PORT_CONTROLS: AcsControl = AcsControl::from_bits(0x7f);
/// Source validation, translation blocking and upstream forwarding are of ports that face down (PCIe 6.0
/// §7.7.11.2).
const FUNCTION_CONTROLS: AcsControl = AcsControl::new()
    .with_request_redirect(true)
    .with_completion_redirect(true)
    .with_egress_control(true)
    .with_direct_translated(true);

/// The capability, with those controls that there are.
fn access_control(builder: &mut ConfigBuilder, config: &AcsConfig, every: AcsControl) {
    let at = builder.extended(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES, 1, ACS_SIZE);
    builder.offsets().acs = at;
    let capability =
        AcsCapability::from_bits(every.into_bits()).with_egress_control_vector_size(EGRESS_BITS);
    builder.set(at + acs::offset::CAPABILITY, &capability.into_bits().to_le_bytes());
    let control = config.control.into_bits() & every.into_bits();
    builder.set(at + acs::offset::CONTROL, &control.to_le_bytes());
    builder.writable(at + acs::offset::CONTROL, &every.into_bits().to_le_bytes());
    builder.set(at + acs::offset::EGRESS_CONTROL_VECTOR, &config.egress.to_le_bytes());
    builder.writable(at + acs::offset::EGRESS_CONTROL_VECTOR, &[0xff; 8]);
}

/// How many ports or functions egress control can tell apart here.
const EGRESS_BITS: u8 = 64;

fn address_translation(builder: &mut ConfigBuilder) {
    let at = builder.extended(ExtendedCapabilityId::ADDRESS_TRANSLATION_SERVICE, 1, ATS_SIZE);
    builder.offsets().ats = at;
    let enable = AtsControl::new().with_enable(true).into_bits();
    builder.writable(at + ats::offset::CONTROL, &enable.to_le_bytes());
}

pub(crate) fn word(config: &ConfigImage, offset: u16) -> u16 {
    let [low, high, ..] = config.read(offset, Width::Word).to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn byte(config: &ConfigImage, offset: u16) -> u8 {
    config.read(offset, Width::Byte).to_le_bytes()[0]
}

fn command(config: &ConfigImage) -> Command {
    Command::from_bits(word(config, config::offset::COMMAND))
}

/// A port's or function's access control, as the registers have it now.
fn decode_acs(config: &ConfigImage) -> Acs {
    let at = config.offsets.acs;
    if at == 0 {
        return Acs::default();
    }
    let control = AcsControl::from_bits(word(config, at + acs::offset::CONTROL));
    let vector = at + acs::offset::EGRESS_CONTROL_VECTOR;
    let half = |offset| u64::from(config.read(offset, Width::Dword));
    Acs { control, egress: half(vector + 4) << 32 | half(vector) }
}

/// The capability at `at`, in the topology's words.
pub(crate) fn topology_acs(config: &ConfigImage, at: u16) -> topology::Acs {
    let vector = at + acs::offset::EGRESS_CONTROL_VECTOR;
    let words = [vector, vector + 4].map(|register| config.read(register, Width::Dword));
    topology::Acs {
        offset: Some(at),
        capability: AcsCapability::from_bits(word(config, at + acs::offset::CAPABILITY)),
        control: AcsControl::from_bits(word(config, at + acs::offset::CONTROL)),
        egress: Known::Value(EgressVector::from_registers(words.to_vec())),
    }
}

impl Port {
    /// Reads the registers after a write or reset.
    pub(crate) fn decode_registers(&mut self) {
        let config = &self.config;
        let memory = MemoryWindow {
            base: word(config, type1::MEMORY_BASE),
            limit: word(config, type1::MEMORY_LIMIT),
        };
        let prefetchable = PrefetchableWindow {
            base: word(config, type1::PREFETCHABLE_BASE) | 1,
            limit: word(config, type1::PREFETCHABLE_LIMIT) | 1,
            base_upper: config.read(type1::PREFETCHABLE_BASE_UPPER, Width::Dword),
            limit_upper: config.read(type1::PREFETCHABLE_LIMIT_UPPER, Width::Dword),
        };
        let command = command(config);
        let memory =
            memory.range().map(|range| (u64::from(*range.start()), u64::from(*range.end())));
        let prefetchable = prefetchable.range().map(|range| (*range.start(), *range.end()));
        // The reversed pair that stands for a closed window.
        const CLOSED: (u64, u64) = (1, 0);
        self.decode = BridgeDecode {
            secondary: byte(config, type1::SECONDARY_BUS),
            subordinate: byte(config, type1::SUBORDINATE_BUS),
            memory: memory.unwrap_or(CLOSED),
            prefetchable: prefetchable.unwrap_or(CLOSED),
            memory_enable: command.memory_space(),
            bus_master: command.bus_master(),
        };
        self.acs = decode_acs(config);
        self.packets = decode_packets(config);
    }
}

impl Function {
    /// Returns every register to its initial value; but a function-level reset leaves Max_Payload_Size as it
    /// is (PCIe 6.0 §6.6.2).
    pub(crate) fn reset_registers(&mut self, kind: Reset) {
        let before = device_control(&self.config).max_payload();
        self.config.reset(kind);
        if kind == Reset::FunctionLevel {
            let control = device_control(&self.config).with_max_payload(before).into_bits();
            let at = self.config.offsets.express + express::offset::DEVICE_CONTROL;
            self.config.write(at, Width::Word, u32::from(control));
        }
    }

    /// Reads the registers after a write or reset.
    pub(crate) fn decode_registers(&mut self) {
        let config = &self.config;
        let command = command(config);
        self.memory_enable = command.memory_space();
        self.bus_master = command.bus_master();
        for bar in &mut self.bars {
            let at = config::offset::BAR0 + 4 * u16::from(bar.index.get());
            let wide = bar.kind.registers() == 2;
            let upper = if wide { config.read(at + 4, Width::Dword) } else { 0 };
            let address = bar.kind.address(config.read(at, Width::Dword), upper);
            // An address of zero is one that nobody has assigned.
            bar.address = Some(address).filter(|&address| address != 0);
        }
        if let Some(msix) = &mut self.msix {
            let control = word(config, config.offsets.msix + msix::offset::MESSAGE_CONTROL);
            let control = MessageControl::from_bits(control);
            (msix.enabled, msix.function_mask) = (control.enable(), control.function_mask());
        }
        let ats = config.offsets.ats;
        let enabled = |at| AtsControl::from_bits(word(config, at + ats::offset::CONTROL)).enable();
        self.domain.translated_allowed = ats != 0 && enabled(ats);
        self.acs = decode_acs(config);
        self.packets = decode_packets(config);
    }
}
