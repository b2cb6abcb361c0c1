//! Format NVM (NVMe Base 2.1 §5.1.10).

use p2pdma_spec::nvme::admin::{AdminOpcode, FormatNvmCdw10};
use p2pdma_spec::nvme::queue::SubmissionEntry;

use super::{AdminData, Request};
use crate::{Controller, Error};

impl Controller {
    /// Formats a namespace: all its data are lost, and views of it made before are void. Waits until it
    /// is done, at most [`Options::format_timeout`](crate::Options::format_timeout).
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn format(&self, nsid: u32, format: FormatNvmCdw10) -> Result<(), Error> {
        let entry = SubmissionEntry {
            cdw10: format.into(),
            ..SubmissionEntry::new(AdminOpcode::FORMAT_NVM, nsid)
        };
        let timeout = self.shared.options.format_timeout;
        let request = Request { entry, data: AdminData::None, timeout };
        self.shared.execute(&mut *self.shared.admin()?, request).map(drop)
    }
}
