//! Creating, deleting, attaching and detaching namespaces (NVMe Base 2.1 §5.1.20 and §5.1.21).

use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{
    AdminOpcode, NamespaceAttachmentCdw10, NamespaceAttachmentSelect, NamespaceManagementCdw10,
    NamespaceManagementCdw11, NamespaceManagementSelect,
};
use p2pdma_spec::nvme::identify::ControllerList;
use p2pdma_spec::nvme::namespace::NamespaceCreation;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use zerocopy::IntoBytes as _;

use super::AdminData;
use crate::{Controller, Error};

impl Controller {
    /// Creates a namespace of the NVM Command Set; returns its identifier. No controller is attached to
    /// it yet.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn create_namespace(&self, namespace: &NamespaceCreation) -> Result<u32, Error> {
        let select = NamespaceManagementSelect::CREATE;
        let entry = SubmissionEntry {
            cdw10: NamespaceManagementCdw10::new().with_sel(select).into(),
            cdw11: NamespaceManagementCdw11::new().with_csi(CommandSet::NVM).into(),
            ..SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, 0)
        };
        Ok(self.admin(entry, AdminData::Send(namespace.as_bytes()))?.dword0())
    }

    /// Deletes a namespace, or all of them with [`NSID_ALL`](p2pdma_spec::nvme::NSID_ALL).
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn delete_namespace(&self, nsid: u32) -> Result<(), Error> {
        let select = NamespaceManagementSelect::DELETE;
        let entry = SubmissionEntry {
            cdw10: NamespaceManagementCdw10::new().with_sel(select).into(),
            ..SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, nsid)
        };
        self.admin(entry, AdminData::None).map(drop)
    }

    /// Attaches a namespace to controllers, by their identifiers.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn attach_namespace(&self, nsid: u32, controllers: &[u16]) -> Result<(), Error> {
        self.change_attachment(nsid, controllers, NamespaceAttachmentSelect::ATTACH)
    }

    /// Detaches a namespace from controllers, by their identifiers.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn detach_namespace(&self, nsid: u32, controllers: &[u16]) -> Result<(), Error> {
        self.change_attachment(nsid, controllers, NamespaceAttachmentSelect::DETACH)
    }

    fn change_attachment(
        &self,
        nsid: u32,
        controllers: &[u16],
        select: NamespaceAttachmentSelect,
    ) -> Result<(), Error> {
        let (count, most) = (controllers.len(), ControllerList::CAPACITY);
        if count == 0 || count > most {
            let (count, most) = (count as u64, most as u64);
            return Err(Error::Count { what: "controllers", count, most });
        }
        let list = ControllerList::new(controllers.iter().copied());
        let entry = SubmissionEntry {
            cdw10: NamespaceAttachmentCdw10::new().with_sel(select).into(),
            ..SubmissionEntry::new(AdminOpcode::NAMESPACE_ATTACHMENT, nsid)
        };
        self.admin(entry, AdminData::Send(list.as_bytes())).map(drop)
    }
}
