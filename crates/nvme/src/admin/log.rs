//! Log pages (NVMe Base 2.1 §5.1.12).

use p2pdma_spec::nvme::admin::LogPageRequest;
use p2pdma_spec::nvme::identify::NamespaceList;
use p2pdma_spec::nvme::log::{
    CommandsEffects, ErrorEntry, FirmwareSlots, LogPageId, SmartHealth, SupportedLogPages,
};
use p2pdma_spec::nvme::{CommandSet, NSID_ALL};
use zerocopy::FromBytes;

use super::{AdminData, Request};
use crate::{Controller, Error};

/// The longest piece of a log page that is read at a time: two pages, which need no list.
const PIECE: usize = 8192;

impl Controller {
    /// Reads a log page. `request` says which, and where to begin; its length is replaced by `len`,
    /// which is rounded up to dwords.
    ///
    /// A controller that takes no offsets (LPA.LPEDS) is asked for at most 8 KiB.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`]. [`Error::TooLong`] if the controller takes
    /// no offsets and the page is longer than a command can return.
    pub fn log_page(
        &self,
        mut request: LogPageRequest,
        nsid: u32,
        len: usize,
    ) -> Result<Vec<u8>, Error> {
        if len > PIECE && !self.identity().lpa.lpeds() {
            return Err(Error::TooLong { len: len as u64, most: PIECE as u64 });
        }
        let mut page = Vec::new();
        let begin = request.offset;
        let mut admin = self.shared.admin()?;
        while page.len() < len {
            let piece = (len - page.len()).min(PIECE).next_multiple_of(4);
            request.numd_z = u32::try_from(piece / 4 - 1).unwrap_or(u32::MAX);
            request.offset = begin.saturating_add(page.len() as u64);
            let entry = request.command(nsid);
            let data = AdminData::Receive(piece);
            let timeout = self.shared.options.admin_timeout;
            let reply = self.shared.execute(&mut admin, Request { entry, data, timeout })?;
            page.extend_from_slice(&reply.data);
        }
        page.truncate(len);
        Ok(page)
    }

    fn log<T: FromBytes>(&self, lid: LogPageId, nsid: u32) -> Result<Box<T>, Error> {
        let len = size_of::<T>();
        let page = self.log_page(LogPageRequest::new(lid, 1), nsid, len)?;
        let short = Error::Length { what: "a log page", expected: len as u64, actual: 0 };
        T::read_from_bytes(&page).map(Box::new).map_err(|_| short)
    }

    /// Health information of the whole controller.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn smart_log(&self) -> Result<Box<SmartHealth>, Error> {
        self.log(LogPageId::SMART_HEALTH, NSID_ALL)
    }

    /// The last errors, newest first: as many as the controller keeps, at most 128 if it takes no
    /// offsets.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn error_log(&self) -> Result<Vec<ErrorEntry>, Error> {
        let kept = usize::from(self.identity().elpe_z) + 1;
        let most = if self.identity().lpa.lpeds() { kept } else { PIECE / size_of::<ErrorEntry>() };
        let len = kept.min(most) * size_of::<ErrorEntry>();
        let request = LogPageRequest::new(LogPageId::ERROR_INFORMATION, 1);
        let page = self.log_page(request, NSID_ALL, len)?;
        let entries = page.chunks_exact(size_of::<ErrorEntry>());
        let entries = entries.filter_map(|bytes| ErrorEntry::read_from_bytes(bytes).ok());
        Ok(entries.filter(|entry| entry.error_count.get() != 0).collect())
    }

    /// The firmware slots.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn firmware_log(&self) -> Result<Box<FirmwareSlots>, Error> {
        self.log(LogPageId::FIRMWARE_SLOT, NSID_ALL)
    }

    /// Namespaces that changed since this was last read; `None` if there are more than the page holds.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn changed_namespaces(&self) -> Result<Option<Vec<u32>>, Error> {
        let lid = LogPageId::CHANGED_ATTACHED_NAMESPACES;
        let list: Box<NamespaceList> = self.log(lid, NSID_ALL)?;
        let nsids: Vec<u32> = list.iter().collect();
        Ok((nsids.first() != Some(&NSID_ALL)).then_some(nsids))
    }

    /// Which log pages there are.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn supported_logs(&self) -> Result<Box<SupportedLogPages>, Error> {
        self.log(LogPageId::SUPPORTED_LOG_PAGES, NSID_ALL)
    }

    /// Which commands there are, and what they do. The I/O commands are those of `set`.
    ///
    /// # Errors
    /// As [`Controller::log_page`].
    pub fn effects_log(&self, set: CommandSet) -> Result<Box<CommandsEffects>, Error> {
        let mut request = LogPageRequest::new(LogPageId::COMMANDS_EFFECTS, 1);
        request.csi = set;
        let len = size_of::<CommandsEffects>();
        let page = self.log_page(request, NSID_ALL, len)?;
        let short = Error::Length { what: "a log page", expected: len as u64, actual: 0 };
        CommandsEffects::read_from_bytes(&page).map(Box::new).map_err(|_| short)
    }
}
