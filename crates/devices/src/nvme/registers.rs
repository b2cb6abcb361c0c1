//! The controller's registers (NVMe Base 2.1 §3.1.4).

use p2pdma_spec::nvme::cmb::Cmbmsc;
use p2pdma_spec::nvme::pmr::{Pmrctl, Pmrmscl};
use p2pdma_spec::nvme::queue::MAX_ADMIN_ENTRIES;
use p2pdma_spec::nvme::registers::{
    Aqa, Arbitration, Cap, Cc, CommandSetSelection, Crto, Csts, NSSR_RESET, Vs, offset,
};

use super::config::ControllerConfig;
use super::dma::OwnMemory;

/// CAP.TO and CRTO count in units of this many picoseconds: 500 ms.
const TIMEOUT_UNIT: u64 = 500_000_000_000;

/// What the registers hold.
#[derive(Debug)]
pub(crate) struct Registers {
    pub(crate) cap: Cap,
    pub(crate) cc: Cc,
    pub(crate) csts: Csts,
    pub(crate) aqa: Aqa,
    pub(crate) asq: u64,
    pub(crate) acq: u64,
    crto: Crto,
    /// INTMS and INTMC: kept for whoever reads them back; MSI-X has masks of its own.
    interrupt_mask: u32,
}

/// What a register write sets off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// CC was written; this is what it held before.
    Configured(Cc),
    SubsystemReset,
}

/// Addresses of the admin queues: bits 11 to 0 are reserved.
const QUEUE_ADDRESS: u64 = !0xFFF;

impl Registers {
    pub(crate) fn new(config: &ControllerConfig) -> Self {
        let units = config.ready_after.picos().div_ceil(TIMEOUT_UNIT).clamp(1, 255);
        let timeout = u16::try_from(units).unwrap_or(255);
        let cap = Cap::new()
            .with_mqes_z(u16::try_from(config.max_queue_entries - 1).unwrap_or(u16::MAX))
            .with_cqr(true)
            .with_ams_weighted_round_robin(config.weighted_round_robin)
            .with_to(u8::try_from(timeout).unwrap_or(u8::MAX))
            .with_dstrd(config.doorbell_stride)
            .with_nssrs(true)
            .with_css_nvm(true)
            .with_css_io_command_sets(true)
            .with_mpsmax(config.max_page_size)
            .with_pmrs(config.pmr.is_some())
            .with_cmbs(config.cmb.is_some())
            .with_crwms(true);
        Self {
            cap,
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            crto: Crto::new().with_crwmt(timeout),
            interrupt_mask: 0,
        }
    }

    /// Back to the values of after a reset, but for what a Controller Reset leaves
    /// (NVMe Base 2.1 §3.7.2).
    pub(crate) fn reset(&mut self) {
        let nssro = self.csts.nssro();
        (self.cc, self.csts) = (Cc::new(), Csts::new().with_nssro(nssro));
        self.interrupt_mask = 0;
    }

    /// The rest, which only other resets take.
    pub(crate) fn reset_admin_queues(&mut self) {
        (self.aqa, self.asq, self.acq) = (Aqa::new(), 0, 0);
    }

    /// Whether CC and the admin queues are such that the controller can work (NVMe Base 2.1 §3.5.1).
    pub(crate) fn is_startable(&self) -> bool {
        let cc = self.cc;
        let page = (self.cap.mpsmin()..=self.cap.mpsmax()).contains(&cc.mps());
        let command_set = matches!(
            cc.css(),
            CommandSetSelection::NVM
                | CommandSetSelection::ALL_SUPPORTED
                | CommandSetSelection::ADMIN_ONLY
        );
        let arbitration = match cc.ams() {
            Arbitration::ROUND_ROBIN => true,
            Arbitration::WEIGHTED_ROUND_ROBIN => self.cap.ams_weighted_round_robin(),
            _ => false,
        };
        let sizes = self.aqa.asqs_z() > 0 && self.aqa.acqs_z() > 0;
        let aligned = (self.asq | self.acq).is_multiple_of(cc.page_size());
        page && command_set && arbitration && sizes && aligned
    }

    /// Entries of the admin queues: submission, completion.
    pub(crate) fn admin_sizes(&self) -> (u32, u32) {
        let entries = |z: u16| (u32::from(z) + 1).min(MAX_ADMIN_ENTRIES);
        (entries(self.aqa.asqs_z()), entries(self.aqa.acqs_z()))
    }

    /// Reads any bytes of the register area. Doorbells and what is reserved read as zero.
    pub(crate) fn read(&self, own: &OwnMemory, at: u64, data: &mut [u8]) {
        let mut read: Option<(u64, [u8; 4])> = None;
        for (offset, byte) in (at..).zip(data) {
            let word = offset & !3;
            let bytes = match read {
                // Each register is read once per access: PMRSTS does something when it is read.
                Some((same, bytes)) if same == word => bytes,
                _ => self.dword(own, word).to_le_bytes(),
            };
            read = Some((word, bytes));
            let [a, b, c, d] = bytes;
            *byte = match offset & 3 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            };
        }
    }

    fn dword(&self, own: &OwnMemory, at: u64) -> u32 {
        if let Some(value) = own_memory_register(own, at) {
            return value;
        }
        match at {
            offset::CAP => low(self.cap.into_bits()),
            HIGH_CAP => high(self.cap.into_bits()),
            offset::VS => Vs::V2_1.into_bits(),
            offset::INTMS | offset::INTMC => self.interrupt_mask,
            offset::CC => self.cc.into_bits(),
            offset::CSTS => self.csts.into_bits(),
            offset::AQA => self.aqa.into_bits(),
            offset::ASQ => low(self.asq),
            HIGH_ASQ => high(self.asq),
            offset::ACQ => low(self.acq),
            HIGH_ACQ => high(self.acq),
            offset::CRTO => self.crto.into_bits(),
            _ => 0,
        }
    }

    /// Writes a register of 32 bits, or half of one of 64.
    pub(crate) fn write(&mut self, own: &mut OwnMemory, at: u64, value: u32) -> Effect {
        let locked = self.cc.en();
        match at {
            offset::INTMS => self.interrupt_mask |= value,
            offset::INTMC => self.interrupt_mask &= !value,
            offset::CC => {
                let before = self.cc;
                self.cc = self.accept(Cc::from_bits(value));
                return Effect::Configured(before);
            }
            offset::CSTS if Csts::from_bits(value).nssro() => self.csts.set_nssro(false),
            offset::NSSR if value == NSSR_RESET => return Effect::SubsystemReset,
            // The admin queues stay as they are while they are in use.
            offset::AQA if !locked => {
                let aqa = Aqa::from_bits(value);
                self.aqa = Aqa::new().with_asqs_z(aqa.asqs_z()).with_acqs_z(aqa.acqs_z());
            }
            offset::ASQ if !locked => self.asq = with_low(self.asq, value) & QUEUE_ADDRESS,
            HIGH_ASQ if !locked => self.asq = with_high(self.asq, value),
            offset::ACQ if !locked => self.acq = with_low(self.acq, value) & QUEUE_ADDRESS,
            HIGH_ACQ if !locked => self.acq = with_high(self.acq, value),
            _ => write_own_memory_register(own, at, value),
        }
        Effect::Nothing
    }

    /// What of a new CC takes effect: while enabled, most fields do not change (NVMe Base 2.1 §3.1.4.5).
    fn accept(&self, new: Cc) -> Cc {
        let old = self.cc;
        let fixed = if old.en() { old } else { new };
        Cc::new()
            .with_en(new.en())
            .with_css(fixed.css())
            .with_mps(fixed.mps())
            .with_ams(fixed.ams())
            .with_shn(new.shn())
            .with_iosqes(new.iosqes())
            .with_iocqes(new.iocqes())
    }
}

/// Registers of the controller's own memories, if it has them.
fn own_memory_register(own: &OwnMemory, at: u64) -> Option<u32> {
    if let Some(cmb) = &own.cmb {
        match at {
            offset::CMBLOC => return Some(cmb.capabilities().0.into_bits()),
            offset::CMBSZ => return Some(cmb.capabilities().1.into_bits()),
            offset::CMBMSC => return Some(low(cmb.control.into_bits())),
            HIGH_CMBMSC => return Some(high(cmb.control.into_bits())),
            offset::CMBSTS => return Some(cmb.status.into_bits()),
            _ => {}
        }
    }
    let pmr = own.pmr.as_ref()?;
    match at {
        offset::PMRCAP => Some(pmr.capabilities().into_bits()),
        offset::PMRCTL => Some(pmr.control().into_bits()),
        offset::PMRSTS => Some(pmr.read_status().into_bits()),
        offset::PMRMSCL => Some(pmr.space().0.into_bits()),
        offset::PMRMSCU => Some(pmr.space().1),
        _ => None,
    }
}

fn write_own_memory_register(own: &mut OwnMemory, at: u64, value: u32) {
    let (cmb_window, pmr_window) = (own.cmb_window(), own.pmr_window());
    match (at, &mut own.cmb, &mut own.pmr) {
        (offset::CMBMSC, Some(cmb), _) => {
            let control = with_low(cmb.control.into_bits(), value);
            cmb.set_control(Cmbmsc::from_bits(control), pmr_window);
        }
        (HIGH_CMBMSC, Some(cmb), _) => {
            let control = with_high(cmb.control.into_bits(), value);
            cmb.set_control(Cmbmsc::from_bits(control), pmr_window);
        }
        (offset::PMRCTL, _, Some(pmr)) => pmr.set_control(Pmrctl::from_bits(value)),
        (offset::PMRMSCL, _, Some(pmr)) => {
            let upper = pmr.space().1;
            pmr.set_space(Pmrmscl::from_bits(value), upper, cmb_window);
        }
        (offset::PMRMSCU, _, Some(pmr)) => {
            let lower = pmr.space().0;
            pmr.set_space(lower, value, cmb_window);
        }
        _ => return,
    }
    own.refresh();
}

const HIGH_CAP: u64 = offset::CAP + 4;
const HIGH_ASQ: u64 = offset::ASQ + 4;
const HIGH_ACQ: u64 = offset::ACQ + 4;
const HIGH_CMBMSC: u64 = offset::CMBMSC + 4;

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn with_low(value: u64, low: u32) -> u64 {
    value >> 32 << 32 | u64::from(low)
}

fn with_high(value: u64, high: u32) -> u64 {
    u64::from(low(value)) | u64::from(high) << 32
}
