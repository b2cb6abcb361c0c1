//! Identify, typed (NVMe Base 2.1 §5.1.13).

use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, IdentifyCdw10, IdentifyCdw11};
use p2pdma_spec::nvme::identify::{
    ControllerList, IDENTIFY_SIZE, IdentifyController, IdentifyControllerNvm, NamespaceDescriptor,
    NamespaceDescriptors, NamespaceList,
};
use p2pdma_spec::nvme::namespace::{IdentifyNamespace, IdentifyNamespaceNvm};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use zerocopy::FromBytes;

use super::{Admin, AdminData, AdminReply, Request};
use crate::shared::Shared;
use crate::{Controller, Error};

/// What Identify is asked for.
#[derive(Debug, Clone, Copy)]
struct Question {
    cns: Cns,
    nsid: u32,
    set: CommandSet,
}

impl Question {
    fn new(cns: Cns, nsid: u32) -> Self {
        Self { cns, nsid, set: CommandSet::NVM }
    }
}

impl Shared {
    fn identify_bytes(&self, admin: &mut Admin, ask: Question) -> Result<AdminReply, Error> {
        let entry = SubmissionEntry {
            cdw10: IdentifyCdw10::new().with_cns(ask.cns).into(),
            cdw11: IdentifyCdw11::new().with_csi(ask.set).into(),
            ..SubmissionEntry::new(AdminOpcode::IDENTIFY, ask.nsid)
        };
        let data = AdminData::Receive(IDENTIFY_SIZE);
        self.execute(admin, Request { entry, data, timeout: self.options.admin_timeout })
    }

    fn identify<T: FromBytes>(&self, admin: &mut Admin, ask: Question) -> Result<T, Error> {
        let reply = self.identify_bytes(admin, ask)?;
        let most = IDENTIFY_SIZE as u64;
        let len = size_of::<T>() as u64;
        reply.value().ok_or(Error::TooLong { len, most })
    }

    pub(crate) fn identify_controller(
        &self,
        admin: &mut Admin,
    ) -> Result<Box<IdentifyController>, Error> {
        let identify: IdentifyController =
            self.identify(admin, Question::new(Cns::CONTROLLER, 0))?;
        Ok(Box::new(identify))
    }

    /// All active namespaces in order, at most `most`.
    ///
    /// # Errors
    /// [`Error::Implausible`] if the list is not in increasing order: it could go on for ever.
    pub(crate) fn active_namespaces(
        &self,
        admin: &mut Admin,
        most: usize,
    ) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        let mut last = 0;
        while found.len() < most {
            let question = Question::new(Cns::ACTIVE_NAMESPACES, last);
            let list: NamespaceList = self.identify(admin, question)?;
            let mut count = 0;
            for nsid in list.iter() {
                if nsid <= last {
                    let (field, value) = ("Active Namespace ID list", nsid.into());
                    let reason = "it is not in increasing order";
                    return Err(Error::Implausible { bdf: self.bdf(), field, value, reason });
                }
                last = nsid;
                count += 1;
                found.push(nsid);
            }
            // FFFFFFFEh and above cannot be asked about (NVMe Base 2.1 §5.1.13.2.2).
            if count < NamespaceList::CAPACITY || last >= 0xFFFF_FFFE {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// The command set of a namespace.
    pub(crate) fn command_set(&self, admin: &mut Admin, nsid: u32) -> Result<CommandSet, Error> {
        let question = Question::new(Cns::NAMESPACE_DESCRIPTORS, nsid);
        let reply = self.identify_bytes(admin, question)?;
        let set = NamespaceDescriptors::new(&reply.data).find_map(|descriptor| match descriptor {
            NamespaceDescriptor::Csi(set) => Some(set),
            _ => None,
        });
        Ok(set.unwrap_or(CommandSet::NVM))
    }

    pub(crate) fn identify_namespace(
        &self,
        admin: &mut Admin,
        nsid: u32,
    ) -> Result<Box<IdentifyNamespace>, Error> {
        let identify: IdentifyNamespace =
            self.identify(admin, Question::new(Cns::NAMESPACE, nsid))?;
        Ok(Box::new(identify))
    }

    pub(crate) fn identify_namespace_nvm(
        &self,
        admin: &mut Admin,
        nsid: u32,
    ) -> Result<Box<IdentifyNamespaceNvm>, Error> {
        let question = Question::new(Cns::COMMAND_SET_NAMESPACE, nsid);
        let identify: IdentifyNamespaceNvm = self.identify(admin, question)?;
        Ok(Box::new(identify))
    }
}

impl Controller {
    /// Asks for Identify Controller again; [`Controller::identity`] is what it said when it was opened.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn identify(&self) -> Result<Box<IdentifyController>, Error> {
        self.shared.identify_controller(&mut *self.shared.admin()?)
    }

    /// Asks for the NVM Command Set's own part of Identify Controller.
    ///
    /// # Errors
    /// As [`Controller::identify`].
    pub fn identify_nvm(&self) -> Result<Box<IdentifyControllerNvm>, Error> {
        let question = Question::new(Cns::COMMAND_SET_CONTROLLER, 0);
        let identify: IdentifyControllerNvm =
            self.shared.identify(&mut *self.shared.admin()?, question)?;
        Ok(Box::new(identify))
    }

    /// Asks for the active namespaces.
    ///
    /// # Errors
    /// As [`Controller::identify`]; [`Error::Implausible`] if the list is not in increasing order.
    pub fn active_namespaces(&self) -> Result<Vec<u32>, Error> {
        let most = self.shared.options.max_namespaces;
        self.shared.active_namespaces(&mut *self.shared.admin()?, most)
    }

    /// Asks for Identify Namespace, unchecked; [`Controller::namespace`] checks it.
    ///
    /// # Errors
    /// As [`Controller::identify`].
    pub fn identify_namespace(&self, nsid: u32) -> Result<Box<IdentifyNamespace>, Error> {
        self.shared.identify_namespace(&mut *self.shared.admin()?, nsid)
    }

    /// Asks for the controllers that a namespace is attached to, from number `first` on.
    ///
    /// # Errors
    /// As [`Controller::identify`].
    pub fn attached_controllers(&self, nsid: u32, first: u16) -> Result<Vec<u16>, Error> {
        let cdw10 = IdentifyCdw10::new().with_cns(Cns::ATTACHED_CONTROLLERS).with_cntid(first);
        let entry = SubmissionEntry {
            cdw10: cdw10.into(),
            ..SubmissionEntry::new(AdminOpcode::IDENTIFY, nsid)
        };
        let reply = self.admin(entry, AdminData::Receive(IDENTIFY_SIZE))?;
        let list: Option<ControllerList> = reply.value();
        Ok(list.map(|list| list.iter().collect()).unwrap_or_default())
    }
}
