//! Get Features and Set Features (NVMe Base 2.1 §5.1.11 and §5.1.25).

use p2pdma_spec::nvme::admin::{AdminOpcode, GetFeaturesCdw10, Select, SetFeaturesCdw10};
use p2pdma_spec::nvme::feature::{FeatureId, NumberOfQueues};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use zerocopy::little_endian::U32;

use super::{Admin, AdminData, AdminReply, Request};
use crate::shared::Shared;
use crate::{Controller, Error};

/// A value to set.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Which feature.
    pub fid: FeatureId,
    /// The namespace, for a feature that each has; else 0.
    pub nsid: u32,
    /// Command Dword 11: the feature's own type in [`p2pdma_spec::nvme::feature`] makes it.
    pub dword11: u32,
    /// Command Dword 12, which few features have.
    pub dword12: u32,
    /// Data, which few features have.
    pub data: &'a [u8],
    /// Whether the value is to outlive resets and power cycles.
    pub save: bool,
}

impl Setting<'_> {
    /// A value of 32 bits, until the next reset.
    #[must_use]
    pub fn new(fid: FeatureId, dword11: impl Into<u32>) -> Self {
        Self { fid, nsid: 0, dword11: dword11.into(), dword12: 0, data: &[], save: false }
    }
}

impl Shared {
    pub(crate) fn set_feature(
        &self,
        admin: &mut Admin,
        setting: &Setting<'_>,
    ) -> Result<u32, Error> {
        let entry = SubmissionEntry {
            cdw10: SetFeaturesCdw10::new().with_fid(setting.fid).with_sv(setting.save).into(),
            cdw11: U32::new(setting.dword11),
            cdw12: U32::new(setting.dword12),
            ..SubmissionEntry::new(AdminOpcode::SET_FEATURES, setting.nsid)
        };
        let none = setting.data.is_empty();
        let data = if none { AdminData::None } else { AdminData::Send(setting.data) };
        let timeout = self.options.admin_timeout;
        Ok(self.execute(admin, Request { entry, data, timeout })?.dword0())
    }

    /// Asks for `wanted` I/O queue pairs; returns how many there may be.
    pub(crate) fn request_queues(&self, admin: &mut Admin, wanted: u16) -> Result<u32, Error> {
        let Some(wanted) = NumberOfQueues::of(wanted, wanted) else {
            return Ok(0);
        };
        let setting = Setting::new(FeatureId::NUMBER_OF_QUEUES, wanted);
        let granted = NumberOfQueues::from_bits(self.set_feature(admin, &setting)?);
        // FFFFh is no number (NVMe Base 2.1 §5.1.25.2.1), and the doorbells limit what it can mean.
        let queues = granted.submission_queues().min(granted.completion_queues());
        Ok(queues.min(u16::MAX.into()).min(self.capabilities.io_queues))
    }
}

impl Controller {
    /// Sets a feature; returns Dword 0 of the completion.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn set_feature(&self, setting: &Setting<'_>) -> Result<u32, Error> {
        self.shared.set_feature(&mut *self.shared.admin()?, setting)
    }

    /// Gets a feature's value, and `len` bytes of its data if it has some. `dword11` is 0 for most.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn feature(
        &self,
        fid: FeatureId,
        select: Select,
        nsid: u32,
        dword11: u32,
        len: usize,
    ) -> Result<AdminReply, Error> {
        let entry = SubmissionEntry {
            cdw10: GetFeaturesCdw10::new().with_fid(fid).with_sel(select).into(),
            cdw11: U32::new(dword11),
            ..SubmissionEntry::new(AdminOpcode::GET_FEATURES, nsid)
        };
        let data = if len == 0 { AdminData::None } else { AdminData::Receive(len) };
        self.admin(entry, data)
    }
}
