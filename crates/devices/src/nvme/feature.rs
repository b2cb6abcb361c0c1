//! Features: Set Features and Get Features (NVMe Base 2.1 §5.1.11 and §5.1.25).

mod coalescing;
mod command;

use std::collections::BTreeMap;

use p2pdma_pci::{Duration, Instant};
use p2pdma_spec::nvme::feature::{
    Arbitration, AsyncEventConfiguration, FeatureCapabilities, FeatureId, HostBehaviorSupport,
    InterruptCoalescing, NumberOfQueues, PowerManagement, TemperatureSelect, TemperatureThreshold,
    ThresholdType, Timestamp, TimestampAttributes, TimestampOrigin, VolatileWriteCache,
};
use p2pdma_spec::nvme::log::CriticalWarning;
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::nvme::temperature::Kelvin;
use zerocopy::FromZeros as _;

use super::config::ControllerConfig;
use super::subsystem::SubsystemState;
use coalescing::Coalescer;

/// The temperature that the model reports: 40 °C.
pub(crate) const TEMPERATURE: Kelvin = Kelvin(313);
/// Above this it would warn (WCTEMP), which is the default threshold: 85 °C.
pub(crate) const WARNING_TEMPERATURE: Kelvin = Kelvin(358);
/// The recommended arbitration burst as a power of two (RAB), which is the default.
pub(crate) const ARBITRATION_BURST: u8 = 5;

/// A kind of feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) id: FeatureId,
    saveable: bool,
    pub(crate) namespace_specific: bool,
    changeable: bool,
}

const fn kind(id: FeatureId, saveable: bool, namespace_specific: bool, changeable: bool) -> Kind {
    Kind { id, saveable, namespace_specific, changeable }
}

/// Every feature that there is here.
pub(crate) const KINDS: [Kind; 17] = [
    kind(FeatureId::ARBITRATION, true, false, true),
    kind(FeatureId::POWER_MANAGEMENT, true, false, true),
    kind(FeatureId::TEMPERATURE_THRESHOLD, false, false, true),
    kind(FeatureId::ERROR_RECOVERY, true, true, true),
    kind(FeatureId::VOLATILE_WRITE_CACHE, true, false, true),
    kind(FeatureId::NUMBER_OF_QUEUES, false, false, true),
    kind(FeatureId::INTERRUPT_COALESCING, true, false, true),
    kind(FeatureId::INTERRUPT_VECTOR_CONFIGURATION, false, false, true),
    kind(FeatureId::WRITE_ATOMICITY_NORMAL, true, false, true),
    kind(FeatureId::ASYNC_EVENT_CONFIGURATION, true, false, true),
    kind(FeatureId::TIMESTAMP, false, false, true),
    kind(FeatureId::KEEP_ALIVE_TIMER, false, false, true),
    kind(FeatureId::HOST_BEHAVIOR_SUPPORT, false, false, true),
    kind(FeatureId::IO_COMMAND_SET_PROFILE, false, false, true),
    kind(FeatureId::SOFTWARE_PROGRESS_MARKER, true, false, true),
    kind(FeatureId::HOST_IDENTIFIER, false, false, true),
    kind(FeatureId::NAMESPACE_WRITE_PROTECTION, false, true, true),
];

impl Kind {
    /// The feature with an identifier, if there is one here.
    pub(crate) fn of(id: FeatureId, subsystem: &SubsystemState) -> Result<Self, Status> {
        let found = KINDS.into_iter().find(|kind| kind.id == id && kind.exists(subsystem));
        found.ok_or(Status::INVALID_FIELD)
    }

    /// Without a volatile write cache there is nothing to switch (NVMe Base 2.1 §5.1.25.1.4).
    pub(crate) fn exists(self, subsystem: &SubsystemState) -> bool {
        self.id != FeatureId::VOLATILE_WRITE_CACHE || subsystem.write_cache
    }

    fn capabilities(self) -> FeatureCapabilities {
        FeatureCapabilities::new()
            .with_saveable(self.saveable)
            .with_namespace_specific(self.namespace_specific)
            .with_changeable(self.changeable)
    }
}

/// What the features are set to.
#[derive(Debug)]
pub(crate) struct Features {
    /// Features that are a dword and apply to the controller. What is not here has its default.
    current: BTreeMap<u8, u32>,
    /// Of those, what survives resets and losses of power.
    saved: BTreeMap<u8, u32>,
    /// Error recovery by namespace.
    recovery: BTreeMap<u32, u32>,
    saved_recovery: BTreeMap<u32, u32>,
    over: Kelvin,
    under: Kelvin,
    queues: NumberOfQueues,
    timestamp: (u64, TimestampOrigin, Instant),
    keep_alive: Option<(Duration, Instant)>,
    /// Whether a job waits for the keep-alive timer.
    pub(crate) keep_alive_watched: bool,
    pub(crate) behavior: HostBehaviorSupport,
    host_identifier: [u8; 16],
    coalescer: Coalescer,
}

impl Features {
    pub(crate) fn new(config: &ControllerConfig) -> Self {
        let queues = NumberOfQueues::of(config.max_io_queues, config.max_io_queues);
        Self {
            current: BTreeMap::new(),
            saved: BTreeMap::new(),
            recovery: BTreeMap::new(),
            saved_recovery: BTreeMap::new(),
            over: WARNING_TEMPERATURE,
            under: Kelvin(0),
            queues: queues.unwrap_or_default(),
            timestamp: (0, TimestampOrigin::RESET, Instant::ZERO),
            keep_alive: None,
            keep_alive_watched: false,
            behavior: HostBehaviorSupport::new_zeroed(),
            host_identifier: [0; 16],
            coalescer: Coalescer::new(config.vectors),
        }
    }

    /// Back to what was saved, or else the defaults.
    pub(crate) fn reset(&mut self) {
        self.current = self.saved.clone();
        self.recovery = self.saved_recovery.clone();
        (self.over, self.under) = (WARNING_TEMPERATURE, Kelvin(0));
        self.keep_alive = None;
        self.keep_alive_watched = false;
        self.timestamp = (0, TimestampOrigin::RESET, Instant::NEVER);
        self.behavior = HostBehaviorSupport::new_zeroed();
        self.host_identifier = [0; 16];
        self.coalescer.reset();
        self.coalescer
            .set(InterruptCoalescing::from_bits(self.dword(FeatureId::INTERRUPT_COALESCING)));
    }

    /// The controller begins to work.
    pub(crate) fn start(&mut self, now: Instant) {
        self.timestamp = (0, TimestampOrigin::RESET, now);
    }

    fn default_of(id: FeatureId) -> u32 {
        match id {
            FeatureId::ARBITRATION => Arbitration::new().with_ab(ARBITRATION_BURST).into_bits(),
            FeatureId::VOLATILE_WRITE_CACHE => VolatileWriteCache::new().with_wce(true).into_bits(),
            _ => 0,
        }
    }

    /// A feature of the controller that is a dword.
    fn dword(&self, id: FeatureId) -> u32 {
        self.current.get(&id.into_bits()).copied().unwrap_or(Self::default_of(id))
    }

    pub(crate) fn arbitration(&self) -> Arbitration {
        Arbitration::from_bits(self.dword(FeatureId::ARBITRATION))
    }

    /// Whether writes may wait in a cache.
    pub(crate) fn write_cache(&self) -> bool {
        VolatileWriteCache::from_bits(self.dword(FeatureId::VOLATILE_WRITE_CACHE)).wce()
    }

    pub(crate) fn async_events(&self) -> AsyncEventConfiguration {
        AsyncEventConfiguration::from_bits(self.dword(FeatureId::ASYNC_EVENT_CONFIGURATION))
    }

    /// What the health log page warns of.
    pub(crate) fn warning(&self, region_failed: bool) -> CriticalWarning {
        let hot = TEMPERATURE >= self.over || TEMPERATURE <= self.under;
        CriticalWarning::new().with_ttc(hot).with_pmrro(region_failed)
    }

    /// How long until the keep-alive timer expires; `None` if it is off.
    pub(crate) fn keep_alive_left(&self, now: Instant) -> Option<Duration> {
        let (timeout, last) = self.keep_alive?;
        Some((last + timeout).since(now))
    }

    /// The host is alive.
    pub(crate) fn keep_alive(&mut self, now: Instant) {
        if let Some((_, last)) = &mut self.keep_alive {
            *last = now;
        }
    }

    fn timestamp(&self, now: Instant) -> Timestamp {
        let (millis, origin, set) = self.timestamp;
        let millis = millis.wrapping_add(now.since(set).picos() / 1_000_000_000);
        let mut stamp = Timestamp::from_millis(millis & 0xFFFF_FFFF_FFFF).unwrap_or_default();
        stamp.attributes = TimestampAttributes::new().with_to(origin);
        stamp
    }

    /// A threshold that is asked about, and the value that it would have by default.
    fn threshold(&self, select: TemperatureThreshold) -> Option<(Kelvin, Kelvin)> {
        match (select.tmpsel(), select.thsel()) {
            (TemperatureSelect::COMPOSITE, ThresholdType::OVER) => {
                Some((self.over, WARNING_TEMPERATURE))
            }
            (TemperatureSelect::COMPOSITE, ThresholdType::UNDER) => Some((self.under, Kelvin(0))),
            _ => None,
        }
    }

    fn power_state(dword: u32) -> Option<u32> {
        // There is one power state.
        let management = PowerManagement::from_bits(dword);
        (management.ps() == 0).then(|| PowerManagement::new().with_wh(management.wh()).into_bits())
    }
}
