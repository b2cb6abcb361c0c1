//! Log pages (NVMe Base 2.1 §5.1.12).

use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, LogPageRequest};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::log::{
    ActiveFirmware, ChangedNamespaces, CommandEffects, CommandsEffects, EffectScope,
    FeatureEffects, FeaturesEffects, FirmwareSlots, LogPageId, LogPageSupport, SmartHealth,
    SupportedLogPages,
};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::IntoBytes as _;

use super::dma::Use;
use super::engine::Engine;
use super::feature::{KINDS, TEMPERATURE};
use super::media::ZEROES;
use super::nvm::Env;
use super::pmr::Pmr;
use super::prp;
use super::reply::{CommandResult, Failure};
use super::segments::Segments;
use super::subsystem::SubsystemState;

/// The pages that there are.
const PAGES: [LogPageId; 8] = [
    LogPageId::SUPPORTED_LOG_PAGES,
    LogPageId::ERROR_INFORMATION,
    LogPageId::SMART_HEALTH,
    LogPageId::FIRMWARE_SLOT,
    LogPageId::CHANGED_ATTACHED_NAMESPACES,
    LogPageId::COMMANDS_EFFECTS,
    LogPageId::FEATURES_EFFECTS,
    LogPageId::NVME_MI_EFFECTS,
];

/// Bytes of the page about NVMe-MI commands (NVMe Base 2.1 §5.1.12.1.19), of which there are none here.
const MANAGEMENT_EFFECTS: usize = 4096;

/// More changed namespaces than this are not listed one by one (NVMe Base 2.1 §5.1.12.1.5).
const MOST_CHANGED: usize = 1024;

impl Engine {
    /// The part of a page that was asked for; what lies beyond its end is zeroes.
    pub(crate) fn get_log_page(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let request = LogPageRequest::parse(entry);
        let failed = env.dma.own().pmr.as_ref().is_some_and(Pmr::has_failed);
        let page = self.page(&mut env.subsystem, &request, entry.nsid.get(), failed)?;
        if request.ot || !request.offset.is_multiple_of(4) {
            return Err(Status::INVALID_FIELD.into());
        }
        let offset = usize::try_from(request.offset).ok().filter(|&at| at <= page.len());
        let offset = offset.ok_or(Status::INVALID_FIELD)?;
        let len = u32::try_from(request.bytes()).ok();
        let len = len.filter(|&len| len <= self.limits.max_transfer);
        let len = len.ok_or(Status::INVALID_FIELD)?;
        let mut segments = Segments::default();
        prp::walk(&mut env.dma, entry.dptr, len, self.limits.page, Use::ReadData, &mut segments)?;
        let there = &page[offset..];
        let there = &there[..there.len().min(len as usize)];
        segments.scatter(&mut env.dma, there)?;
        let mut missing = len as usize - there.len();
        while missing > 0 {
            let piece = missing.min(ZEROES.len());
            segments.scatter(&mut env.dma, &ZEROES[..piece])?;
            missing -= piece;
        }
        if !request.rae {
            self.events.clear(request.lid);
            if request.lid == LogPageId::CHANGED_ATTACHED_NAMESPACES {
                env.subsystem.forget_changes(self.limits.controller);
            }
        }
        Ok(0)
    }

    fn page(
        &self,
        subsystem: &mut SubsystemState,
        request: &LogPageRequest,
        nsid: u32,
        region_failed: bool,
    ) -> Result<Vec<u8>, Failure> {
        let page = match request.lid {
            LogPageId::SUPPORTED_LOG_PAGES => supported_pages().as_bytes().to_vec(),
            LogPageId::ERROR_INFORMATION => self.errors.page().as_bytes().to_vec(),
            // There is one health for all namespaces (LPA).
            LogPageId::SMART_HEALTH if !matches!(nsid, 0 | NSID_ALL) => {
                subsystem.allocated(nsid)?;
                return Err(Status::INVALID_FIELD.into());
            }
            LogPageId::SMART_HEALTH => self.health(subsystem, region_failed).as_bytes().to_vec(),
            LogPageId::FIRMWARE_SLOT => {
                let afi = ActiveFirmware::new().with_current(1);
                let mut slots = FirmwareSlots { afi, ..FirmwareSlots::default() };
                slots.frs[0] = subsystem.names.firmware;
                slots.as_bytes().to_vec()
            }
            LogPageId::CHANGED_ATTACHED_NAMESPACES => {
                self.changed_namespaces(subsystem).as_bytes().to_vec()
            }
            LogPageId::COMMANDS_EFFECTS => commands_effects().as_bytes().to_vec(),
            LogPageId::FEATURES_EFFECTS => features_effects(subsystem).as_bytes().to_vec(),
            LogPageId::NVME_MI_EFFECTS => vec![0; MANAGEMENT_EFFECTS],
            _ => return Err(Status::INVALID_LOG_PAGE.into()),
        };
        Ok(page)
    }

    fn changed_namespaces(&self, subsystem: &SubsystemState) -> ChangedNamespaces {
        let controller = usize::from(self.limits.controller);
        let Some(notes) = subsystem.controllers.get(controller) else {
            return ChangedNamespaces::default();
        };
        if notes.changed.len() > MOST_CHANGED {
            ChangedNamespaces::new([NSID_ALL])
        } else {
            ChangedNamespaces::new(notes.changed.iter().copied())
        }
    }

    fn health(&self, subsystem: &SubsystemState, region_failed: bool) -> SmartHealth {
        let health = &subsystem.health;
        let units = |bytes: u64| u128::from(bytes.div_ceil(512_000));
        SmartHealth {
            critical_warning: self.features.warning(region_failed),
            composite_temperature: TEMPERATURE.into(),
            available_spare: 100,
            available_spare_threshold: 10,
            data_units_read: units(health.read).into(),
            data_units_written: units(health.written).into(),
            host_read_commands: u128::from(health.read_commands).into(),
            host_write_commands: u128::from(health.write_commands).into(),
            power_cycles: u128::from(health.power_cycles).into(),
            unexpected_power_losses: u128::from(health.unsafe_shutdowns).into(),
            media_errors: u128::from(health.media_errors).into(),
            error_log_entries: u128::from(self.errors.count()).into(),
            ..SmartHealth::default()
        }
    }
}

fn supported_pages() -> SupportedLogPages {
    let mut pages = SupportedLogPages::default();
    for lid in PAGES {
        pages.0[usize::from(lid.into_bits())].set(LogPageSupport::new().with_lsupp(true));
    }
    pages
}

/// The commands that [`Engine::admin_command`] and [`begin`](super::nvm::begin) know.
fn commands_effects() -> CommandsEffects {
    let mut log = CommandsEffects::default();
    let supported = CommandEffects::new().with_csupp(true);
    let controller = supported.with_csp(EffectScope::new().with_controller(true));
    let namespace = supported.with_csp(EffectScope::new().with_namespace(true));
    let inventory = supported.with_nic(true).with_csp(EffectScope::new().with_subsystem(true));
    let changes = namespace.with_lbcc(true);
    let admin = [
        (AdminOpcode::DELETE_SUBMISSION_QUEUE, controller),
        (AdminOpcode::CREATE_SUBMISSION_QUEUE, controller),
        (AdminOpcode::GET_LOG_PAGE, controller),
        (AdminOpcode::DELETE_COMPLETION_QUEUE, controller),
        (AdminOpcode::CREATE_COMPLETION_QUEUE, controller),
        (AdminOpcode::IDENTIFY, controller),
        (AdminOpcode::ABORT, controller),
        (AdminOpcode::SET_FEATURES, controller.with_ccc(true)),
        (AdminOpcode::GET_FEATURES, controller),
        (AdminOpcode::ASYNC_EVENT_REQUEST, controller),
        (AdminOpcode::NAMESPACE_MANAGEMENT, inventory.with_cse(1)),
        (AdminOpcode::FIRMWARE_COMMIT, controller),
        (AdminOpcode::FIRMWARE_IMAGE_DOWNLOAD, controller),
        (AdminOpcode::NAMESPACE_ATTACHMENT, inventory.with_cse(1)),
        (AdminOpcode::KEEP_ALIVE, controller),
        (AdminOpcode::DOORBELL_BUFFER_CONFIG, controller),
        (AdminOpcode::FORMAT_NVM, changes.with_ncc(true).with_cse(1)),
    ];
    for (opcode, effects) in admin {
        log.admin[usize::from(opcode.into_bits())].set(effects);
    }
    let io = [
        (NvmOpcode::FLUSH, namespace),
        (NvmOpcode::WRITE, changes),
        (NvmOpcode::READ, namespace),
        (NvmOpcode::WRITE_UNCORRECTABLE, changes),
        (NvmOpcode::COMPARE, namespace),
        (NvmOpcode::WRITE_ZEROES, changes),
        (NvmOpcode::DATASET_MANAGEMENT, changes),
        (NvmOpcode::VERIFY, namespace),
        (NvmOpcode::COPY, changes),
    ];
    for (opcode, effects) in io {
        log.io[usize::from(opcode.into_bits())].set(effects);
    }
    log
}

fn features_effects(subsystem: &SubsystemState) -> FeaturesEffects {
    let mut log = FeaturesEffects::default();
    for kind in KINDS.into_iter().filter(|kind| kind.exists(subsystem)) {
        let scope = EffectScope::new()
            .with_namespace(kind.namespace_specific)
            .with_controller(!kind.namespace_specific);
        let effects = FeatureEffects::new()
            .with_fsupp(true)
            .with_ncc(kind.id == FeatureId::NAMESPACE_WRITE_PROTECTION)
            .with_fsp(scope);
        log.0[usize::from(kind.id.into_bits())].set(effects);
    }
    log
}
