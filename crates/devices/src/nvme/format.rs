//! Commands that make, attach and format namespaces (NVMe Base 2.1 §5.1.10, §5.1.20, §5.1.21).

use p2pdma_spec::nvme::admin::{
    FormatNvmCdw10, NamespaceAttachmentCdw10, NamespaceAttachmentSelect, NamespaceManagementCdw10,
    NamespaceManagementCdw11, NamespaceManagementSelect, SecureErase,
};
use p2pdma_spec::nvme::identify::ControllerList;
use p2pdma_spec::nvme::namespace::NamespaceCreation;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::nvme::{CommandSet, NSID_ALL};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::admin::fetch_data;
use super::engine::Engine;
use super::media::MOST_MEMORY;
use super::namespace::{Format, Namespace};
use super::nvm::Env;
use super::reply::CommandResult;
use super::subsystem::SubsystemState;

impl Engine {
    pub(crate) fn format_nvm(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let (cdw10, nsid) = (FormatNvmCdw10::from(entry.cdw10), entry.nsid.get());
        let controller = self.limits.attached;
        if !SecureErase::KNOWN.contains(&cdw10.ses()) {
            return Err(Status::INVALID_FIELD.into());
        }
        let format = Format::of(cdw10.format_index(), cdw10.mset(), cdw10.pi(), cdw10.pil());
        let format = format.ok_or(Status::INVALID_FORMAT)?;
        let nsids = if nsid == NSID_ALL {
            let all = env.subsystem.iter();
            let mine = all.filter(|(_, namespace)| namespace.attached & controller != 0);
            mine.map(|(nsid, _)| nsid).collect()
        } else {
            env.subsystem.attached(nsid, controller)?;
            vec![nsid]
        };
        for nsid in &nsids {
            let namespace = env.subsystem.attached(*nsid, controller)?;
            if namespace.write_protected {
                return Err(Status::NAMESPACE_WRITE_PROTECTED.into());
            }
            if namespace.capacity < u64::from(format.stride()) {
                return Err(Status::INVALID_FORMAT.into());
            }
        }
        for nsid in nsids {
            let layout = env.subsystem.next_layout();
            let namespace = env.subsystem.attached(nsid, controller)?;
            namespace.layout = layout;
            namespace.reformat(format)?;
            let others = namespace.attached & !controller;
            env.subsystem.note_change(nsid, others);
        }
        Ok(0)
    }

    pub(crate) fn namespace_management(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        match NamespaceManagementCdw10::from(entry.cdw10).sel() {
            NamespaceManagementSelect::CREATE => self.create_namespace(env, entry),
            NamespaceManagementSelect::DELETE => {
                self.delete_namespaces(&mut env.subsystem, entry.nsid.get())
            }
            _ => Err(Status::INVALID_FIELD.into()),
        }
    }

    fn create_namespace(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        if NamespaceManagementCdw11::from(entry.cdw11).csi() != CommandSet::NVM {
            return Err(Status::COMMAND_SET_NOT_SUPPORTED.into());
        }
        let mut wanted = NamespaceCreation::new_zeroed();
        fetch_data(env, &self.limits, entry, wanted.as_mut_bytes())?;
        let subsystem = &mut *env.subsystem;
        let blocks = wanted.nsze.get();
        if wanted.ncap.get() != blocks {
            return Err(Status::THIN_PROVISIONING_NOT_SUPPORTED.into());
        }
        let elsewhere = wanted.nvmsetid.get() != 0
            || wanted.endgid.get() != 0
            || wanted.anagrpid.get() != 0
            || wanted.nphndls.get() != 0;
        if blocks == 0 || elsewhere {
            return Err(Status::INVALID_FIELD.into());
        }
        let (flbas, dps) = (wanted.flbas, wanted.dps);
        let format = Format::of(flbas.format_index(), flbas.mtelba(), dps.pit(), dps.pip());
        let format = format.ok_or(Status::INVALID_FORMAT)?;
        let bytes = u128::from(blocks) * u128::from(format.stride());
        if bytes > u128::from(subsystem.unallocated.min(MOST_MEMORY)) {
            return Err(Status::NAMESPACE_INSUFFICIENT_CAPACITY.into());
        }
        let free = subsystem.namespaces.iter().position(Option::is_none);
        let index = free.ok_or(Status::NAMESPACE_ID_UNAVAILABLE)?;
        let nguid = subsystem.next_identifier();
        let mut namespace = Namespace::create(blocks, format, wanted.nmic.shrns(), nguid);
        namespace.layout = subsystem.next_layout();
        subsystem.unallocated -= namespace.capacity;
        subsystem.namespaces[index] = Some(Box::new(namespace));
        Ok(index as u64 + 1)
    }

    fn delete_namespaces(&self, subsystem: &mut SubsystemState, nsid: u32) -> CommandResult {
        if nsid != NSID_ALL {
            subsystem.allocated(nsid)?.ok_or(Status::INVALID_FIELD)?;
        }
        let gone: Vec<u32> = subsystem
            .iter()
            .map(|(each, _)| each)
            .filter(|&each| nsid == NSID_ALL || each == nsid)
            .collect();
        for nsid in gone {
            let Some(slot) = subsystem.namespaces.get_mut(nsid as usize - 1) else { continue };
            let Some(namespace) = slot else { continue };
            namespace.clear()?;
            let (capacity, attached) = (namespace.capacity, namespace.attached);
            *slot = None;
            subsystem.unallocated += capacity;
            subsystem.note_change(nsid, attached & !self.limits.attached);
        }
        Ok(0)
    }

    pub(crate) fn namespace_attachment(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let select = NamespaceAttachmentCdw10::from(entry.cdw10).sel();
        let attach = match select {
            NamespaceAttachmentSelect::ATTACH => true,
            NamespaceAttachmentSelect::DETACH => false,
            _ => return Err(Status::INVALID_FIELD.into()),
        };
        let mut list = ControllerList::default();
        fetch_data(env, &self.limits, entry, list.as_mut_bytes())?;
        let subsystem = &mut *env.subsystem;
        let controllers = subsystem.controllers.len();
        let nsid = entry.nsid.get();
        let namespace = subsystem.allocated(nsid)?.ok_or(Status::INVALID_FIELD)?;
        let count = usize::from(list.numid.get());
        let known = list.iter().all(|id| usize::from(id) < controllers);
        if count == 0 || count > ControllerList::CAPACITY || !known {
            return Err(Status::CONTROLLER_LIST_INVALID.into());
        }
        let set = list.iter().fold(0_u128, |set, id| set | 1 << id);
        if attach {
            if namespace.attached & set != 0 {
                return Err(Status::NAMESPACE_ALREADY_ATTACHED.into());
            }
            if !namespace.shared && (namespace.attached | set).count_ones() > 1 {
                return Err(Status::NAMESPACE_IS_PRIVATE.into());
            }
            namespace.attached |= set;
        } else {
            if namespace.attached & set != set {
                return Err(Status::NAMESPACE_NOT_ATTACHED.into());
            }
            namespace.attached &= !set;
        }
        subsystem.note_change(nsid, set);
        Ok(0)
    }
}
