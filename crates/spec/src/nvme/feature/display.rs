//! Features in words.

use core::fmt;

use super::{
    Arbitration, AsyncEventConfiguration, AutonomousPowerStates, BootPartitionProtection,
    EnduranceGroupEventConfiguration, ErrorRecovery, FeatureId, HostIdentifierSize,
    HostMemoryBuffer, InterruptCoalescing, InterruptVectorConfiguration, IoCommandSetProfile,
    LbaRangeCount, LbaStatusAttributes, NonOperationalPowerState, NumberOfQueues,
    PerformanceCharacteristics, PowerLossSignaling, PowerManagement, ReservationNotificationMask,
    ReservationPersistence, SanitizeConfig, SpinupControl, TemperatureThreshold, ThermalManagement,
    VolatileWriteCache, WriteAtomicityNormal, WriteProtection,
};

/// Prints the dword of a feature: Command Dword 11 of Set Features, or Dword 0 of the completion of Get
/// Features. Where the feature has no fields in it, prints the number.
///
/// # Errors
/// Only what the formatter returns.
pub fn display_feature(fid: FeatureId, dword: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Display as _;
    match fid {
        FeatureId::ARBITRATION => Arbitration::from_bits(dword).fmt(f),
        FeatureId::POWER_MANAGEMENT => PowerManagement::from_bits(dword).fmt(f),
        FeatureId::LBA_RANGE_TYPE => LbaRangeCount::from_bits(dword).fmt(f),
        FeatureId::TEMPERATURE_THRESHOLD => TemperatureThreshold::from_bits(dword).fmt(f),
        FeatureId::ERROR_RECOVERY => ErrorRecovery::from_bits(dword).fmt(f),
        FeatureId::VOLATILE_WRITE_CACHE => VolatileWriteCache::from_bits(dword).fmt(f),
        FeatureId::NUMBER_OF_QUEUES => NumberOfQueues::from_bits(dword).fmt(f),
        FeatureId::INTERRUPT_COALESCING => InterruptCoalescing::from_bits(dword).fmt(f),
        FeatureId::INTERRUPT_VECTOR_CONFIGURATION => {
            InterruptVectorConfiguration::from_bits(dword).fmt(f)
        }
        FeatureId::WRITE_ATOMICITY_NORMAL => WriteAtomicityNormal::from_bits(dword).fmt(f),
        FeatureId::ASYNC_EVENT_CONFIGURATION => AsyncEventConfiguration::from_bits(dword).fmt(f),
        FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION => {
            AutonomousPowerStates::from_bits(dword).fmt(f)
        }
        FeatureId::HOST_MEMORY_BUFFER => HostMemoryBuffer::from_bits(dword).fmt(f),
        FeatureId::KEEP_ALIVE_TIMER => write!(f, "KATO={dword} ms"),
        FeatureId::HOST_CONTROLLED_THERMAL_MANAGEMENT => ThermalManagement::from_bits(dword).fmt(f),
        FeatureId::NON_OPERATIONAL_POWER_STATE => NonOperationalPowerState::from_bits(dword).fmt(f),
        FeatureId::LBA_STATUS_ATTRIBUTES => LbaStatusAttributes::from_bits(dword).fmt(f),
        FeatureId::SANITIZE_CONFIG => SanitizeConfig::from_bits(dword).fmt(f),
        FeatureId::ENDURANCE_GROUP_EVENT_CONFIGURATION => {
            EnduranceGroupEventConfiguration::from_bits(dword).fmt(f)
        }
        FeatureId::IO_COMMAND_SET_PROFILE => IoCommandSetProfile::from_bits(dword).fmt(f),
        FeatureId::SPINUP_CONTROL => SpinupControl::from_bits(dword).fmt(f),
        FeatureId::POWER_LOSS_SIGNALING => PowerLossSignaling::from_bits(dword).fmt(f),
        FeatureId::PERFORMANCE_CHARACTERISTICS => {
            PerformanceCharacteristics::from_bits(dword).fmt(f)
        }
        FeatureId::SOFTWARE_PROGRESS_MARKER => write!(f, "PBSLC={}", dword & 0xFF),
        FeatureId::HOST_IDENTIFIER => HostIdentifierSize::from_bits(dword).fmt(f),
        FeatureId::RESERVATION_NOTIFICATION_MASK => {
            ReservationNotificationMask::from_bits(dword).fmt(f)
        }
        FeatureId::RESERVATION_PERSISTENCE => ReservationPersistence::from_bits(dword).fmt(f),
        FeatureId::NAMESPACE_WRITE_PROTECTION => WriteProtection::from_bits(dword).fmt(f),
        FeatureId::BOOT_PARTITION_WRITE_PROTECTION => {
            BootPartitionProtection::from_bits(dword).fmt(f)
        }
        _ => write!(f, "{dword:#010x}"),
    }
}
