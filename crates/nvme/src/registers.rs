//! The controller's registers, and what must be true of them (NVMe Base 2.1 §3.1.4).

use p2pdma_pci::{Bar, Bdf, Duration};
use p2pdma_spec::nvme::queue::{MAX_IO_ENTRIES, MIN_ENTRIES};
use p2pdma_spec::nvme::registers::{
    Aqa, Cap, Cc, Csts, Vs, completion_doorbell, offset, submission_doorbell,
};

use crate::{Error, PAGE};

/// The registers in BAR 0.
#[derive(Debug)]
pub(crate) struct Registers {
    pub(crate) bdf: Bdf,
    pub(crate) bar: Bar,
}

impl Registers {
    pub(crate) fn new(bdf: Bdf, bar: Bar) -> Self {
        Self { bdf, bar }
    }

    /// Reads the capabilities, and refuses what cannot be or cannot be used.
    pub(crate) fn capabilities(&self) -> Result<Capabilities, Error> {
        let bits = self.bar.read64(offset::CAP)?;
        if bits == u64::MAX {
            return Err(self.gone());
        }
        let cap = Cap::from_bits(bits);
        let refuse =
            |field, value, reason| Err(Error::Implausible { bdf: self.bdf, field, value, reason });
        if cap.mpsmin() > cap.mpsmax() {
            return refuse("CAP.MPSMIN", cap.mpsmin().into(), "it exceeds CAP.MPSMAX");
        }
        if cap.min_page_size() > PAGE {
            return refuse("CAP.MPSMIN", cap.mpsmin().into(), "pages of 4 KiB are not supported");
        }
        if cap.max_queue_entries() < MIN_ENTRIES {
            return refuse("CAP.MQES", cap.mqes_z().into(), "queues have at least 2 entries");
        }
        let doorbells = self.doorbells(cap.dstrd());
        let Some(io_queues) = doorbells.checked_sub(1) else {
            return refuse("CAP.DSTRD", cap.dstrd().into(), "the doorbells lie outside BAR 0");
        };
        if !(cap.css_nvm() || cap.css_io_command_sets() || cap.css_admin_only()) {
            return refuse("CAP.CSS", 0, "there is no command set");
        }
        let version = Vs::from_bits(self.bar.read32(offset::VS)?);
        Ok(Capabilities { cap, version, io_queues })
    }

    /// How many queue pairs, the admin queues included, have both doorbells in the BAR: 0 to 65536.
    fn doorbells(&self, dstrd: u8) -> u32 {
        let fits = |qid| completion_doorbell(qid, dstrd).saturating_add(4) <= self.bar.len();
        let (mut fitting, mut first_outside) = (0, u32::from(u16::MAX) + 1);
        while fitting < first_outside {
            let middle = u32::midpoint(fitting, first_outside);
            if u16::try_from(middle).is_ok_and(fits) {
                fitting = middle + 1;
            } else {
                first_outside = middle;
            }
        }
        fitting
    }

    /// Controller status.
    ///
    /// # Errors
    /// [`Error::Gone`] if the register reads as all ones, which no controller reports.
    pub(crate) fn status(&self) -> Result<Csts, Error> {
        let status = Csts::from_bits(self.read(offset::CSTS)?);
        if status == Csts::GONE { Err(self.gone()) } else { Ok(status) }
    }

    /// Controller configuration.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub(crate) fn configuration(&self) -> Result<Cc, Error> {
        let bits = self.read(offset::CC)?;
        if bits == u32::MAX { Err(self.gone()) } else { Ok(Cc::from_bits(bits)) }
    }

    pub(crate) fn configure(&self, cc: Cc) -> Result<(), Error> {
        self.write(offset::CC, cc.into_bits())
    }

    /// Where the admin queues are.
    pub(crate) fn set_admin_queues(&self, entries: u32, sq: u64, cq: u64) -> Result<(), Error> {
        let [low, high, ..] = entries.saturating_sub(1).to_le_bytes();
        let size_z = u16::from_le_bytes([low, high]) & 0xFFF;
        let aqa = Aqa::new().with_asqs_z(size_z).with_acqs_z(size_z);
        self.write(offset::AQA, aqa.into_bits())?;
        self.write64(offset::ASQ, sq)?;
        self.write64(offset::ACQ, cq)
    }

    pub(crate) fn read(&self, offset: u64) -> Result<u32, Error> {
        Ok(self.bar.read32(offset)?)
    }

    pub(crate) fn write(&self, offset: u64, value: u32) -> Result<(), Error> {
        Ok(self.bar.write32(offset, value)?)
    }

    pub(crate) fn write64(&self, offset: u64, value: u64) -> Result<(), Error> {
        Ok(self.bar.write64(offset, value)?)
    }

    pub(crate) fn gone(&self) -> Error {
        Error::Gone { bdf: self.bdf }
    }
}

/// What the controller can do, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities {
    pub(crate) cap: Cap,
    pub(crate) version: Vs,
    /// How many I/O queue pairs have their doorbells in the BAR.
    pub(crate) io_queues: u32,
}

impl Capabilities {
    /// The most entries that an I/O queue can have.
    pub(crate) fn max_entries(&self) -> u32 {
        self.cap.max_queue_entries().min(MAX_IO_ENTRIES)
    }

    /// How long the controller may take to become ready or idle, in milliseconds. A controller that
    /// claims to take no time at all gets the shortest that it can claim.
    pub(crate) fn ready_timeout(&self, cap: Duration) -> Duration {
        let claimed = Duration::from_millis(u64::from(self.cap.timeout_ms()));
        claimed.max(Duration::from_millis(500)).min(cap)
    }

    pub(crate) fn submission_doorbell(&self, qid: u16) -> u64 {
        submission_doorbell(qid, self.cap.dstrd())
    }

    pub(crate) fn completion_doorbell(&self, qid: u16) -> u64 {
        completion_doorbell(qid, self.cap.dstrd())
    }
}
