//! Identify (NVMe Base 2.1 §5.1.13, NVM Command Set 1.1 §4.1.5).

use p2pdma_spec::nvme::admin::{Cns, IdentifyCdw10, IdentifyCdw11};
use p2pdma_spec::nvme::identify::{
    Cdfs, Cmic, CommandSetVector, CommandSets, ControllerList, ControllerType, Ctratt, Dsto,
    FlushBehavior, Fna, Frmw, Fuses, IDENTIFY_SIZE, IdentifyController, IdentifyControllerNvm, Lpa,
    NamespaceDescriptor, NamespaceList, Nwpc, Oacs, Oaes, Oncs, PowerStateDescriptor,
    QueueEntrySizes, SglSupport, Sgls, Vwc,
};
use p2pdma_spec::nvme::namespace::{
    Deallocated, Dlfeat, Dpc, Dps, ExtendedLbaFormat, Flbas, IdentifyNamespace,
    IdentifyNamespaceIndependent, IdentifyNamespaceNvm, IndependentNsfeat, Mc, NamespaceAttributes,
    NamespaceStatus, Nmic,
};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::Vs;
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::nvme::{CommandSet, NSID_ALL};
use zerocopy::FromZeros as _;

use super::admin::send_data;
use super::engine::Engine;
use super::event::{ERROR_LOG_LAST, EVENT_REQUEST_LIMIT_Z};
use super::feature::{ARBITRATION_BURST, WARNING_TEMPERATURE};
use super::namespace::{Format, Namespace};
use super::nvm::{Env, MAX_COPY_BLOCKS, MAX_COPY_RANGES, MAX_SOURCE_BLOCKS};
use super::reply::{CommandResult, Failure};
use super::subsystem::SubsystemState;

/// Abort commands that may be outstanding, minus 1 (ACL).
const ABORT_LIMIT_Z: u8 = 3;
/// Granularity of the keep-alive timer in units of 100 ms (KAS).
const KEEP_ALIVE_UNITS: u16 = 1;

impl Engine {
    pub(crate) fn identify(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let cdw10 = IdentifyCdw10::from(entry.cdw10);
        let set = IdentifyCdw11::from(entry.cdw11).csi();
        let (cns, nsid, cntid) = (cdw10.cns(), entry.nsid.get(), cdw10.cntid());
        if names_command_set(cns) && set != CommandSet::NVM {
            return Err(Status::INVALID_COMMAND_SET.into());
        }
        let structure = match cns {
            Cns::CONTROLLER => bytes(&self.identify_controller(&env.subsystem)),
            Cns::COMMAND_SET_CONTROLLER => bytes(&identify_controller_nvm()),
            Cns::COMMAND_SETS => bytes(&self.command_sets(&env.subsystem, cntid)?),
            Cns::ACTIVE_NAMESPACES
            | Cns::COMMAND_SET_ACTIVE_NAMESPACES
            | Cns::ALLOCATED_NAMESPACES
            | Cns::COMMAND_SET_ALLOCATED_NAMESPACES => {
                let active =
                    matches!(cns, Cns::ACTIVE_NAMESPACES | Cns::COMMAND_SET_ACTIVE_NAMESPACES);
                bytes(&self.namespace_list(&env.subsystem, nsid, active)?)
            }
            Cns::ATTACHED_CONTROLLERS => {
                let namespace = env.subsystem.allocated(nsid)?.ok_or(Status::INVALID_FIELD)?;
                let attached = SubsystemState::controllers_of(namespace.attached);
                bytes(&ControllerList::new(attached.filter(|id| *id >= cntid)))
            }
            Cns::CONTROLLERS => {
                let count = u16::try_from(env.subsystem.controllers.len()).unwrap_or(u16::MAX);
                bytes(&ControllerList::new(cntid.min(count)..count))
            }
            Cns::NAMESPACE_DESCRIPTORS => {
                let namespace = env.subsystem.attached(nsid, self.limits.attached)?;
                descriptors(namespace)
            }
            _ if is_about_namespace(cns) => {
                self.identify_namespace(&mut env.subsystem, cns, nsid)?
            }
            _ => return Err(Status::INVALID_FIELD.into()),
        };
        send_data(env, &self.limits, entry, &structure[..])?;
        Ok(0)
    }

    /// The structures about one namespace. One that is not active, or not allocated, has nothing but
    /// zeroes; the broadcast value asks for what all have in common (NVMe Base 2.1 §5.1.13.2).
    fn identify_namespace(
        &self,
        subsystem: &mut SubsystemState,
        cns: Cns,
        nsid: u32,
    ) -> Result<Box<[u8; IDENTIFY_SIZE]>, Failure> {
        let allocated = matches!(
            cns,
            Cns::ALLOCATED_NAMESPACE
                | Cns::COMMAND_SET_ALLOCATED_NAMESPACE
                | Cns::INDEPENDENT_ALLOCATED_NAMESPACE
        );
        let controller = self.limits.attached;
        let common = nsid == NSID_ALL && !allocated;
        let namespace = if common { None } else { subsystem.allocated(nsid)? };
        let namespace =
            namespace.filter(|namespace| allocated || namespace.attached & controller != 0);
        Ok(match (cns, namespace) {
            (Cns::NAMESPACE, None) if common => bytes(&identify_common()),
            (Cns::NAMESPACE | Cns::ALLOCATED_NAMESPACE, Some(namespace)) => {
                bytes(&identify_one(namespace))
            }
            (Cns::COMMAND_SET_NAMESPACE, None) if common => bytes(&identify_nvm()),
            (Cns::COMMAND_SET_NAMESPACE | Cns::COMMAND_SET_ALLOCATED_NAMESPACE, Some(_)) => {
                bytes(&identify_nvm())
            }
            (
                Cns::INDEPENDENT_NAMESPACE | Cns::INDEPENDENT_ALLOCATED_NAMESPACE,
                Some(namespace),
            ) => bytes(&identify_independent(namespace)),
            (_, None) => Box::new([0; IDENTIFY_SIZE]),
            _ => return Err(Status::INVALID_FIELD.into()),
        })
    }

    fn namespace_list(
        &self,
        subsystem: &SubsystemState,
        after: u32,
        active: bool,
    ) -> Result<NamespaceList, Failure> {
        if after >= NSID_ALL - 1 {
            return Err(Status::INVALID_NAMESPACE_OR_FORMAT.into());
        }
        let controller = self.limits.attached;
        let listed = subsystem.iter().filter(|(nsid, namespace)| {
            *nsid > after && (!active || namespace.attached & controller != 0)
        });
        Ok(NamespaceList::new(listed.map(|(nsid, _)| nsid)))
    }

    fn command_sets(&self, subsystem: &SubsystemState, cntid: u16) -> Result<CommandSets, Failure> {
        if cntid != u16::MAX && usize::from(cntid) >= subsystem.controllers.len() {
            return Err(Status::INVALID_CONTROLLER_ID.into());
        }
        let mut sets = CommandSets::default();
        sets.combinations[0].set(CommandSetVector::new().with_nvm(true));
        Ok(sets)
    }

    fn identify_controller(&self, subsystem: &SubsystemState) -> IdentifyController {
        let names = &subsystem.names;
        let several = subsystem.controllers.len() > 1;
        let allocated: u128 =
            subsystem.iter().map(|(_, namespace)| u128::from(namespace.capacity)).sum();
        let spare = u128::from(subsystem.unallocated);
        let copy = Cdfs::new().with_cdf0s(true).with_cdf2s(true);
        let mut power = PowerStateDescriptor::new_zeroed();
        power.mp.set(2500);
        let mut psd = [PowerStateDescriptor::new_zeroed(); 32];
        psd[0] = power;
        IdentifyController {
            vid: self.identity.vendor.into(),
            ssvid: self.identity.subsystem_vendor.into(),
            sn: names.serial,
            mn: names.model,
            fr: names.firmware,
            rab: ARBITRATION_BURST,
            cmic: Cmic::new().with_mctrs(several).with_mports(several),
            mdts: self.identity.mdts,
            cntlid: self.limits.controller.into(),
            ver: Vs::V2_1.into(),
            oaes: Oaes::new().with_nsan(true).into(),
            ctratt: Ctratt::new().with_hids(true).into(),
            cntrltype: ControllerType::IO,
            oacs: Oacs::new()
                .with_fnvms(true)
                .with_fwds(true)
                .with_nms(true)
                .with_dbcs(true)
                .into(),
            acl_z: ABORT_LIMIT_Z,
            aerl_z: EVENT_REQUEST_LIMIT_Z,
            frmw: Frmw::new().with_ffsro(true).with_nofs(1).with_fawr(true),
            lpa: Lpa::new().with_cses(true).with_lpeds(true).with_mlps(true),
            elpe_z: ERROR_LOG_LAST,
            wctemp: WARNING_TEMPERATURE.into(),
            cctemp: WARNING_TEMPERATURE.into(),
            tnvmcap: (allocated + spare).into(),
            unvmcap: spare.into(),
            dsto: Dsto::new(),
            kas: KEEP_ALIVE_UNITS.into(),
            sqes: QueueEntrySizes::SUBMISSION,
            cqes: QueueEntrySizes::COMPLETION,
            nn: subsystem.largest().into(),
            oncs: optional_commands().into(),
            fuses: Fuses::new().with_fcws(true).into(),
            fna: Fna::new().with_cryes(true),
            vwc: Vwc::new().with_vwcp(subsystem.write_cache).with_fb(FlushBehavior::ALL_SUPPORTED),
            nwpc: Nwpc::new().with_nwpwps(true),
            cdfs: copy.into(),
            sgls: sgl_support().into(),
            mnan: subsystem.largest().into(),
            subnqn: names.nqn,
            psd,
            ..IdentifyController::new_zeroed()
        }
    }
}

/// Whether a structure belongs to one command set.
fn names_command_set(cns: Cns) -> bool {
    matches!(
        cns,
        Cns::COMMAND_SET_NAMESPACE
            | Cns::COMMAND_SET_CONTROLLER
            | Cns::COMMAND_SET_ACTIVE_NAMESPACES
            | Cns::COMMAND_SET_ALLOCATED_NAMESPACES
            | Cns::COMMAND_SET_ALLOCATED_NAMESPACE
    )
}

/// Whether a structure is about one namespace: what there is of them is looked at before the namespace is.
fn is_about_namespace(cns: Cns) -> bool {
    matches!(
        cns,
        Cns::NAMESPACE
            | Cns::ALLOCATED_NAMESPACE
            | Cns::COMMAND_SET_NAMESPACE
            | Cns::COMMAND_SET_ALLOCATED_NAMESPACE
            | Cns::INDEPENDENT_NAMESPACE
            | Cns::INDEPENDENT_ALLOCATED_NAMESPACE
    )
}

fn optional_commands() -> Oncs {
    Oncs::new()
        .with_nvmcmps(true)
        .with_nvmwusv(true)
        .with_nvmdsmsv(true)
        .with_nvmwzsv(true)
        .with_ssfs(true)
        .with_tss(true)
        .with_nvmvfys(true)
        .with_nvmcpys(true)
}

fn sgl_support() -> Sgls {
    Sgls::new()
        .with_support(SglSupport::ANY_ALIGNMENT)
        .with_bit_bucket(true)
        .with_longer_than_data(true)
        .with_mptr_sgl(true)
}

fn identify_controller_nvm() -> IdentifyControllerNvm {
    IdentifyControllerNvm { ver: Vs::new().with_mjr(1).with_mnr(1).into(), ..Default::default() }
}

/// What every namespace can be.
fn identify_common() -> IdentifyNamespace {
    let mut identify = IdentifyNamespace::new_zeroed();
    identify.nlbaf_z = Format::LAST;
    for (slot, format) in identify.lbaf.iter_mut().zip(Format::list()) {
        slot.set(format);
    }
    identify.mc = Mc::new().with_mtelbas(true).with_mtsbs(true);
    identify.dpc = Dpc::new()
        .with_pit1s(true)
        .with_pit2s(true)
        .with_pit3s(true)
        .with_piifb(true)
        .with_piilb(true);
    identify.dlfeat = Dlfeat::new().with_drb(Deallocated::ZEROES).with_wzds(true);
    identify.mssrl.set(MAX_SOURCE_BLOCKS);
    identify.mcl.set(MAX_COPY_BLOCKS);
    identify.msrc_z = MAX_COPY_RANGES - 1;
    identify
}

fn identify_one(namespace: &Namespace) -> IdentifyNamespace {
    let format = &namespace.format;
    let mut identify = identify_common();
    identify.nsze.set(namespace.blocks);
    identify.ncap.set(namespace.blocks);
    identify.nuse.set(namespace.blocks);
    identify.flbas = Flbas::new().with_format_index(format.index).with_mtelba(format.extended);
    identify.dps = Dps::new().with_pit(format.protection).with_pip(format.information_first);
    identify.nmic = Nmic::new().with_shrns(namespace.shared);
    identify.nvmcap.set(u128::from(namespace.capacity));
    identify.nsattr = NamespaceAttributes::new().with_cwp(namespace.write_protected);
    identify.nguid = namespace.nguid;
    identify.eui64 = namespace.eui64;
    identify
}

/// Every format has the 16-bit guard and no storage tag.
fn identify_nvm() -> IdentifyNamespaceNvm {
    let mut identify = IdentifyNamespaceNvm::default();
    for slot in identify.elbaf.iter_mut().take(usize::from(Format::LAST) + 1) {
        slot.set(ExtendedLbaFormat::new());
    }
    identify
}

fn identify_independent(namespace: &Namespace) -> IdentifyNamespaceIndependent {
    IdentifyNamespaceIndependent {
        nsfeat: IndependentNsfeat::new().with_vwcnp(!namespace.volatile),
        nmic: Nmic::new().with_shrns(namespace.shared),
        nsattr: NamespaceAttributes::new().with_cwp(namespace.write_protected),
        nstat: NamespaceStatus::new().with_nrdy(true),
        ..Default::default()
    }
}

fn descriptors(namespace: &Namespace) -> Box<[u8; IDENTIFY_SIZE]> {
    let mut list = Box::new([0; IDENTIFY_SIZE]);
    let mut rest = Some(&mut list[..]);
    let entries = [
        NamespaceDescriptor::Eui64(namespace.eui64),
        NamespaceDescriptor::Nguid(namespace.nguid),
        NamespaceDescriptor::Csi(CommandSet::NVM),
    ];
    for entry in entries {
        rest = rest.and_then(|buffer| entry.put(buffer));
    }
    list
}

/// A structure of 4096 bytes, as bytes.
fn bytes<T: zerocopy::IntoBytes + zerocopy::Immutable>(structure: &T) -> Box<[u8; IDENTIFY_SIZE]> {
    let mut copy = Box::new([0; IDENTIFY_SIZE]);
    let source = structure.as_bytes();
    copy[..source.len()].copy_from_slice(source);
    copy
}
