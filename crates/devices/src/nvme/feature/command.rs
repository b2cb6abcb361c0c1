//! The two commands.

use p2pdma_pci::Duration;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{GetFeaturesCdw10, Select, SetFeaturesCdw10};
use p2pdma_spec::nvme::feature::{
    Arbitration, ErrorRecovery, FeatureId, HostBehaviorSupport, HostIdentifierSize,
    InterruptCoalescing, InterruptVectorConfiguration, IoCommandSetProfile, NumberOfQueues,
    TemperatureThreshold, ThresholdType, Timestamp, TimestampOrigin, VolatileWriteCache,
    WriteAtomicityNormal, WriteProtection, WriteProtectionState,
};
use p2pdma_spec::nvme::log::CriticalWarning;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::super::admin::{fetch_data, send_data};
use super::super::engine::Engine;
use super::super::jobs::Job;
use super::super::nvm::Env;
use super::super::reply::{CommandResult, Failure};
use super::{Features, Kind};

impl Engine {
    pub(crate) fn get_features(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let cdw10 = GetFeaturesCdw10::from(entry.cdw10);
        let kind = Kind::of(cdw10.fid(), &env.subsystem)?;
        let select = cdw10.sel();
        if select.into_bits() > Select::SUPPORTED.into_bits() {
            return Err(Status::INVALID_FIELD.into());
        }
        if kind.namespace_specific && select != Select::SUPPORTED {
            env.subsystem.attached(entry.nsid.get(), self.limits.attached)?;
        }
        if select == Select::SUPPORTED {
            return Ok(u64::from(kind.capabilities().into_bits()));
        }
        // Where nothing is saved, what is saved is the default (NVMe Base 2.1 §5.1.11).
        let current = select == Select::CURRENT;
        let features = &self.features;
        let dword = match kind.id {
            FeatureId::TEMPERATURE_THRESHOLD => {
                let threshold = features.threshold(TemperatureThreshold::from(entry.cdw11));
                let (now, default) = threshold.ok_or(Status::INVALID_FIELD)?;
                u32::from(if current { now } else { default }.0)
            }
            FeatureId::ERROR_RECOVERY => {
                let map = match select {
                    Select::CURRENT => Some(&features.recovery),
                    Select::SAVED => Some(&features.saved_recovery),
                    _ => None,
                };
                map.and_then(|map| map.get(&entry.nsid.get())).copied().unwrap_or(0)
            }
            FeatureId::NUMBER_OF_QUEUES => features.queues.into_bits(),
            FeatureId::INTERRUPT_VECTOR_CONFIGURATION => {
                let asked = InterruptVectorConfiguration::from(entry.cdw11);
                let disabled = features.coalescer.disabled(asked.iv());
                let disabled = disabled.ok_or(Status::INVALID_FIELD)? && current;
                InterruptVectorConfiguration::new()
                    .with_iv(asked.iv())
                    .with_cd(disabled)
                    .into_bits()
            }
            FeatureId::KEEP_ALIVE_TIMER => {
                let timeout = features.keep_alive.filter(|_| current);
                let millis = timeout.map_or(0, |(timeout, _)| timeout.picos() / 1_000_000_000);
                u32::try_from(millis).unwrap_or(u32::MAX)
            }
            FeatureId::NAMESPACE_WRITE_PROTECTION => {
                let namespace = env.subsystem.attached(entry.nsid.get(), self.limits.attached)?;
                let protected = namespace.write_protected && current;
                let state = if protected {
                    WriteProtectionState::WRITE_PROTECT
                } else {
                    WriteProtectionState::NONE
                };
                WriteProtection::new().with_wps(state).into_bits()
            }
            FeatureId::TIMESTAMP
            | FeatureId::HOST_BEHAVIOR_SUPPORT
            | FeatureId::HOST_IDENTIFIER => {
                return self.get_structure(env, entry, kind.id, current);
            }
            id => match select {
                Select::CURRENT => features.dword(id),
                Select::SAVED => {
                    let saved = features.saved.get(&id.into_bits()).copied();
                    saved.unwrap_or(Features::default_of(id))
                }
                _ => Features::default_of(id),
            },
        };
        Ok(u64::from(dword))
    }

    /// Features that are more than a dword.
    fn get_structure(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
        id: FeatureId,
        current: bool,
    ) -> CommandResult {
        let features = &self.features;
        match id {
            FeatureId::TIMESTAMP => {
                let now = env.dma.now();
                let stamp = if current { features.timestamp(now) } else { Timestamp::default() };
                send_data(env, &self.limits, entry, stamp.as_bytes())?;
            }
            FeatureId::HOST_BEHAVIOR_SUPPORT => {
                let none = HostBehaviorSupport::new_zeroed();
                let behavior = if current { &features.behavior } else { &none };
                send_data(env, &self.limits, entry, behavior.as_bytes())?;
            }
            _ => {
                let extended = HostIdentifierSize::from(entry.cdw11).exhid();
                let none = [0; 16];
                let identifier = if current { &features.host_identifier } else { &none };
                let bytes = if extended { &identifier[..] } else { &identifier[..8] };
                send_data(env, &self.limits, entry, bytes)?;
            }
        }
        Ok(0)
    }

    pub(crate) fn set_features(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let cdw10 = SetFeaturesCdw10::from(entry.cdw10);
        let kind = Kind::of(cdw10.fid(), &env.subsystem)?;
        let nsid = entry.nsid.get();
        if cdw10.sv() && !kind.saveable {
            return Err(Status::FEATURE_NOT_SAVEABLE.into());
        }
        if !kind.changeable {
            return Err(Status::FEATURE_NOT_CHANGEABLE.into());
        }
        if kind.namespace_specific {
            return self.set_for_namespace(env, entry, kind, cdw10.sv());
        }
        if nsid != 0 && nsid != NSID_ALL {
            env.subsystem.allocated(nsid)?;
            return Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC.into());
        }
        let dword = match kind.id {
            FeatureId::TEMPERATURE_THRESHOLD => return self.set_threshold(env, entry),
            FeatureId::NUMBER_OF_QUEUES => return self.set_queues(entry),
            FeatureId::INTERRUPT_VECTOR_CONFIGURATION => return self.set_vector(entry),
            FeatureId::KEEP_ALIVE_TIMER => return self.set_keep_alive(env, entry),
            FeatureId::TIMESTAMP
            | FeatureId::HOST_BEHAVIOR_SUPPORT
            | FeatureId::HOST_IDENTIFIER => return self.set_structure(env, entry, kind.id),
            id => self.take_dword(env, entry, id)?,
        };
        let key = kind.id.into_bits();
        self.features.current.insert(key, dword);
        if cdw10.sv() {
            self.features.saved.insert(key, dword);
        }
        if kind.id == FeatureId::ASYNC_EVENT_CONFIGURATION {
            self.warn(env, CriticalWarning::from_bits(u8::MAX));
        }
        Ok(0)
    }

    /// A dword, checked, stripped of what is reserved, and put into effect.
    fn take_dword(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
        id: FeatureId,
    ) -> Result<u32, Failure> {
        let dword = entry.cdw11.get();
        Ok(match id {
            FeatureId::ARBITRATION => {
                let given = Arbitration::from_bits(dword);
                let known = Arbitration::new()
                    .with_ab(given.ab())
                    .with_lpw_z(given.lpw_z())
                    .with_mpw_z(given.mpw_z())
                    .with_hpw_z(given.hpw_z());
                self.arbiter.set(known);
                known.into_bits()
            }
            FeatureId::POWER_MANAGEMENT => {
                Features::power_state(dword).ok_or(Status::INVALID_FIELD)?
            }
            FeatureId::VOLATILE_WRITE_CACHE => {
                let wanted = VolatileWriteCache::from_bits(dword).wce();
                if !wanted {
                    // What waits is written now, what comes as it comes.
                    env.subsystem.flush(self.limits.attached)?;
                }
                self.limits.write_through = !wanted;
                VolatileWriteCache::new().with_wce(wanted).into_bits()
            }
            FeatureId::INTERRUPT_COALESCING => {
                let given = InterruptCoalescing::from_bits(dword);
                let known =
                    InterruptCoalescing::new().with_thr_z(given.thr_z()).with_time(given.time());
                self.features.coalescer.set(known);
                known.into_bits()
            }
            FeatureId::WRITE_ATOMICITY_NORMAL => {
                let given = WriteAtomicityNormal::from_bits(dword);
                WriteAtomicityNormal::new().with_dn(given.dn()).into_bits()
            }
            // There is one combination of command sets, of index 0.
            FeatureId::IO_COMMAND_SET_PROFILE => {
                if IoCommandSetProfile::from_bits(dword).iocsci() != 0 {
                    return Err(Status::COMMAND_SET_COMBINATION_REJECTED.into());
                }
                0
            }
            FeatureId::SOFTWARE_PROGRESS_MARKER => dword & 0xFF,
            _ => dword,
        })
    }

    fn set_for_namespace(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
        kind: Kind,
        save: bool,
    ) -> CommandResult {
        let (nsid, controller) = (entry.nsid.get(), self.limits.attached);
        let mine: Vec<u32> = if nsid == NSID_ALL {
            let all = env.subsystem.iter();
            let mine = all.filter(|(_, namespace)| namespace.attached & controller != 0);
            mine.map(|(nsid, _)| nsid).collect()
        } else {
            env.subsystem.attached(nsid, controller)?;
            vec![nsid]
        };
        if kind.id == FeatureId::ERROR_RECOVERY {
            let given = ErrorRecovery::from(entry.cdw11);
            if given.dulbe() {
                // No namespace reports deallocated blocks as errors (NSFEAT.DAE).
                return Err(Status::INVALID_FIELD.into());
            }
            let known = ErrorRecovery::new().with_tler(given.tler()).into_bits();
            for nsid in mine {
                self.features.recovery.insert(nsid, known);
                if save {
                    self.features.saved_recovery.insert(nsid, known);
                }
            }
            return Ok(0);
        }
        let protect = match WriteProtection::from(entry.cdw11).wps() {
            WriteProtectionState::NONE => false,
            WriteProtectionState::WRITE_PROTECT => true,
            _ => return Err(Status::INVALID_FIELD.into()),
        };
        for nsid in mine {
            let namespace = env.subsystem.attached(nsid, controller)?;
            namespace.set_write_protected(protect)?;
            let others = namespace.attached & !controller;
            env.subsystem.note_change(nsid, others);
        }
        Ok(0)
    }

    fn set_threshold(&mut self, env: &Env<'_, '_>, entry: &SubmissionEntry) -> CommandResult {
        let given = TemperatureThreshold::from(entry.cdw11);
        if self.features.threshold(given).is_none() {
            return Err(Status::INVALID_FIELD.into());
        }
        if given.thsel() == ThresholdType::OVER {
            self.features.over = given.tmpth();
        } else {
            self.features.under = given.tmpth();
        }
        self.warn(env, CriticalWarning::new().with_ttc(true));
        Ok(0)
    }

    /// All queues are allocated, whatever is asked for; but not while there are any.
    fn set_queues(&mut self, entry: &SubmissionEntry) -> CommandResult {
        let given = NumberOfQueues::from(entry.cdw11);
        if given.nsq_z() == u16::MAX || given.ncq_z() == u16::MAX {
            return Err(Status::INVALID_FIELD.into());
        }
        if self.queues.any_io() {
            return Err(Status::COMMAND_SEQUENCE_ERROR.into());
        }
        Ok(u64::from(self.features.queues.into_bits()))
    }

    fn set_vector(&mut self, entry: &SubmissionEntry) -> CommandResult {
        let given = InterruptVectorConfiguration::from(entry.cdw11);
        if self.features.coalescer.disabled(given.iv()).is_none() {
            return Err(Status::INVALID_FIELD.into());
        }
        self.features.coalescer.set_disabled(given.iv(), given.cd());
        Ok(0)
    }

    fn set_keep_alive(&mut self, env: &mut Env<'_, '_>, entry: &SubmissionEntry) -> CommandResult {
        let (millis, now) = (entry.cdw11.get(), env.dma.now());
        let timeout = Duration::from_millis(u64::from(millis));
        self.features.keep_alive = (millis > 0).then_some((timeout, now));
        if millis > 0 && !self.features.keep_alive_watched {
            self.features.keep_alive_watched = true;
            self.later(env, now + timeout, || Job::KeepAlive);
        }
        Ok(0)
    }

    fn set_structure(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
        id: FeatureId,
    ) -> CommandResult {
        match id {
            FeatureId::TIMESTAMP => {
                let mut stamp = Timestamp::default();
                fetch_data(env, &self.limits, entry, stamp.as_mut_bytes())?;
                let now = env.dma.now();
                self.features.timestamp = (stamp.millis(), TimestampOrigin::HOST, now);
            }
            FeatureId::HOST_BEHAVIOR_SUPPORT => {
                let mut behavior = HostBehaviorSupport::new_zeroed();
                fetch_data(env, &self.limits, entry, behavior.as_mut_bytes())?;
                let flags = [behavior.acre, behavior.etdas, behavior.lbafee, behavior.hdisns];
                if flags.iter().any(|flag| *flag > 1) {
                    return Err(Status::INVALID_FIELD.into());
                }
                self.limits.copy_between_namespaces = behavior.cdfe.get().cdf2s();
                self.features.behavior = behavior;
            }
            _ => {
                let extended = HostIdentifierSize::from(entry.cdw11).exhid();
                let mut identifier = [0; 16];
                let bytes = if extended { &mut identifier[..] } else { &mut identifier[..8] };
                fetch_data(env, &self.limits, entry, bytes)?;
                self.features.host_identifier = identifier;
            }
        }
        Ok(0)
    }
}
