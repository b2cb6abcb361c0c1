//! Every register, dword and code of the crate keeps every value, and prints it.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::{fs, io};

use p2pdma_spec::{nvme, pci};
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRunner;

/// Each value with one bit set, each with one bit clear, the two extremes, and 256 others; for 8 and 16 bits
/// all values.
trait Samples: Copy + Debug + PartialEq + 'static {
    fn samples() -> Vec<Self>;
}

macro_rules! exhaustive {
    ($($int:ty),+) => {$(
        impl Samples for $int {
            fn samples() -> Vec<Self> {
                (0..=<$int>::MAX).collect()
            }
        }
    )+};
}
exhaustive!(u8, u16);

macro_rules! sampled {
    ($($int:ty: $next:ident),+) => {$(
        impl Samples for $int {
            fn samples() -> Vec<Self> {
                let walking = (0..<$int>::BITS).map(|bit| 1 << bit);
                let mut samples = vec![0, <$int>::MAX];
                samples.extend(walking.clone());
                samples.extend(walking.map(|bits: $int| !bits));
                let mut runner = TestRunner::deterministic();
                samples.extend((0..256).map(|_| runner.rng().$next()));
                samples
            }
        }
    )+};
}
sampled!(u32: next_u32, u64: next_u64);

/// Checks a register; returns how many values it tried.
fn check_register<T, I>(name: &str) -> usize
where
    T: From<I> + Copy + Debug + Display + PartialEq + Default,
    I: Samples + From<T> + Default,
{
    assert_eq!(I::from(T::default()), I::default(), "{name} is zero by default");
    let samples = I::samples();
    for bits in &samples {
        let register = T::from(*bits);
        assert_eq!(I::from(register), *bits, "{name} keeps reserved bits");
        assert_eq!(T::from(I::from(register)), register, "{name}");
        assert!(!register.to_string().is_empty(), "{name} of {bits:?}");
        assert!(format!("{register:?}").contains(name), "{name} of {bits:?}");
    }
    samples.len()
}

/// Checks a code; returns how many values it tried.
fn check_code<T, I>(name: &str, known: &[T], words: fn(T) -> Option<&'static str>) -> usize
where
    T: From<I> + Copy + Debug + Display + PartialEq,
    I: Samples + From<T>,
{
    let samples = I::samples();
    for bits in &samples {
        let code = T::from(*bits);
        assert_eq!(I::from(code), *bits, "{name}");
        assert_eq!(words(code).is_some(), known.contains(&code), "{name} {bits:?}");
        let hexadecimal = code.to_string().starts_with("0x");
        assert_eq!(hexadecimal, words(code).is_none(), "{name} {bits:?}");
    }
    let distinct: HashSet<_> = known.iter().map(|code| words(*code)).collect();
    assert_eq!(distinct.len(), known.len(), "{name}: two values have the same words");
    samples.len()
}

macro_rules! registers {
    ($int:ty: $($first:ident $(:: $rest:ident)* { $($Type:ident)+ })+) => {{
        let mut values = 0;
        let mut types = 0;
        $({
            use $first $(:: $rest)* as module;
            $(
                values += check_register::<module::$Type, $int>(stringify!($Type));
                types += 1;
            )+
        })+
        println!("{types} registers of {} with {values} values", stringify!($int));
        types
    }};
}

macro_rules! codes {
    ($int:ty: $($first:ident $(:: $rest:ident)* { $($Type:ident)+ })+) => {{
        let mut values = 0;
        let mut types = 0;
        $({
            use $first $(:: $rest)* as module;
            $(
                let (known, words) = (module::$Type::KNOWN, module::$Type::name);
                values += check_code::<module::$Type, $int>(stringify!($Type), known, words);
                types += 1;
            )+
        })+
        println!("{types} codes of {} with {values} values", stringify!($int));
        types
    }};
}

/// How often a declaration begins a line of the crate's sources.
fn declared(folder: &Path, declaration: &str) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        count += if path.is_dir() {
            declared(&path, declaration)?
        } else {
            let text = fs::read_to_string(&path)?;
            text.lines().filter(|line| line.starts_with(declaration)).count()
        };
    }
    Ok(count)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn nvme_registers_8() -> usize {
    registers!(u8:
        nvme::feature {
            LbaRangeAttributes TimestampAttributes
        }
        nvme::identify {
            ActivePowerWorkload Anacap Apsta Bpcap Cmic ControllerResourceTypes Crcap Dsto Fcatt
            Fna Frmw IdlePowerScale Kpioc Kpiocap Lpa Mec Nvmsr Nwpc Plsi PowerLossScales
            QueueEntrySizes SecondaryState Tmpthha Trattr UuidEntryHeader VendorSpecificCommands
            Vwc Vwci
        }
        nvme::log {
            ActiveFirmware AnaStateByte CriticalWarning EnduranceGroupFeatures
            EnduranceGroupWarning SelfTestCompletion SelfTestOperation SelfTestStatus
            ValidDiagnostics
        }
        nvme::namespace {
            Dlfeat Dpc Dps Flbas Fpi IndependentNsfeat Kpios Mc NamespaceAttributes
            NamespaceStatus Nmic Nsfeat Pic Pifa Rescap
        }
        nvme::protection {
            Prinfo
        }
        nvme::sgl {
            SglIdentifier
        }
    )
}

fn pci_registers_8() -> usize {
    registers!(u8:
        pci::config {
            Bist HeaderType
        }
    )
}

fn nvme_registers_16() -> usize {
    registers!(u16:
        nvme::identify {
            Aocs Cdfs Fuses Hctma Oacs Ofcs Oncs PowerStateFlags
        }
        nvme::log {
            EffectScope ParameterErrorLocation Sstat
        }
        nvme::nvm {
            SourceOptions
        }
        nvme::status {
            CompletionStatus
        }
    )
}

fn pci_registers_16() -> usize {
    registers!(u16:
        pci::acs {
            AcsCapability AcsControl
        }
        pci::ats {
            AtsCapability AtsControl
        }
        pci::bridge {
            BridgeControl
        }
        pci::capability {
            CapabilityHeader
        }
        pci::config {
            Command Status
        }
        pci::express {
            DeviceControl DeviceControl2 DeviceStatus ExpressCapabilities LinkControl LinkControl2
            LinkStatus LinkStatus2 RootCapabilities RootControl SlotControl SlotStatus
        }
        pci::msix {
            MessageControl
        }
        pci::power {
            PowerCapabilities PowerControl
        }
    )
}

fn nvme_registers_32() -> usize {
    registers!(u32:
        nvme::admin {
            AbortCdw10 AbortResult AsyncEventResult CreateCompletionQueueCdw11 CreateQueueCdw10
            CreateSubmissionQueueCdw11 CreateSubmissionQueueCdw12 DeleteQueueCdw10
            DeviceSelfTestCdw10 DirectiveCdw11 FirmwareCommitCdw10 FirmwareCommitResult
            FormatNvmCdw10 GetFeaturesCdw10 GetLogPageCdw10 GetLogPageCdw11 GetLogPageCdw14
            IdentifyCdw10 IdentifyCdw11 NamespaceAttachmentCdw10 NamespaceManagementCdw10
            NamespaceManagementCdw11 SanitizeCdw10 SecurityCdw10 SetFeaturesCdw10 UuidIndexCdw14
            VirtualizationManagementCdw10 VirtualizationManagementCdw11
        }
        nvme::cmb {
            Cmbebs Cmbloc Cmbsts Cmbswtp Cmbsz
        }
        nvme::feature {
            Arbitration AsyncEventConfiguration AutonomousPowerStates BootPartitionProtection
            EnduranceGroupEventConfiguration ErrorRecovery FeatureCapabilities
            FlexibleDataPlacement HostIdentifierSize HostMemoryBuffer InterruptCoalescing
            InterruptVectorConfiguration IoCommandSetProfile LbaRangeCount LbaStatusAttributes
            NonOperationalPowerState NumberOfQueues PerformanceCharacteristics PowerLossSignaling
            PowerManagement ReadRecoveryLevel ReservationNotificationMask ReservationPersistence
            SanitizeConfig SpinupControl TemperatureThreshold ThermalManagement VolatileWriteCache
            WriteAtomicityNormal WriteProtection
        }
        nvme::identify {
            Ctratt NamespaceGranularityAttributes Oaes Rpmbs Sanicap Sgls
        }
        nvme::log {
            CommandEffects FeatureEffects LogPageSupport
        }
        nvme::namespace {
            ExtendedLbaFormat LbaFormat
        }
        nvme::nvm {
            CopyCdw12 CopyCdw13 DatasetManagementCdw10 DatasetManagementCdw11 LogicalBlockTags
            RangeAttributes ReadWriteCdw12 ReadWriteCdw13 ReservationAcquireCdw10
            ReservationRegisterCdw10 ReservationReleaseCdw10 WriteZeroesCdw12
        }
        nvme::pmr {
            Pmrcap Pmrctl Pmrebs Pmrmscl Pmrsts Pmrswtp
        }
        nvme::queue {
            Cdw0
        }
        nvme::registers {
            Aqa Bpinfo Bprsel Cc Crto Csts Vs
        }
    )
}

fn pci_registers_32() -> usize {
    registers!(u32:
        pci::aer {
            AdvancedErrorControl CorrectableErrors ErrorSource RootErrorCommand RootErrorStatus
            UncorrectableErrors
        }
        pci::bar {
            BarRegister
        }
        pci::capability {
            ExtendedCapabilityHeader
        }
        pci::class {
            ClassRevision
        }
        pci::express {
            DeviceCapabilities DeviceCapabilities2 LinkCapabilities LinkCapabilities2 RootStatus
            SlotCapabilities
        }
        pci::msix {
            TableLocation VectorControl
        }
        pci::resizable_bar {
            ResizableBarCapability ResizableBarControl
        }
        pci::tlp {
            HeaderSender HeaderStart
        }
    )
}

fn nvme_registers_64() -> usize {
    registers!(u64:
        nvme::cmb {
            Cmbmsc
        }
        nvme::feature {
            AutonomousPowerState
        }
        nvme::identify {
            CommandSetVector
        }
        nvme::registers {
            Cap
        }
    )
}

fn nvme_codes_8() -> usize {
    codes!(u8:
        nvme {
            CommandSet
        }
        nvme::admin {
            AdminOpcode AsyncErrorInfo AsyncEventType AsyncHealthInfo AsyncImmediateInfo
            AsyncIoCommandInfo AsyncNoticeInfo Cns CommitAction DirectiveType
            NamespaceAttachmentSelect NamespaceManagementSelect QueuePriority ResourceType
            SanitizeAction SecureErase Select SelfTestCode VirtualizationAction
        }
        nvme::cmb {
            SizeUnits ThroughputUnits
        }
        nvme::feature {
            BootPartitionState FeatureId LbaRangeType PowerLossMode TemperatureSelect
            ThresholdType TimestampOrigin WriteProtectionState
        }
        nvme::identify {
            ControllerType DiscoveryControllerType FlushBehavior LbaMigrationQueueFormat
            NamespaceIdType NoDeallocateModifies PowerScale RpmbBootProtection SglSupport
            UuidAssociation
        }
        nvme::log {
            AnaState LogPageId PersistentEventType ReservationNotificationType SanitizeState
            SelfTestOutcome TelemetryScope
        }
        nvme::namespace {
            Deallocated IoImpacted PreferredSizes QualifiedFormat RelativePerformance
            StorageTagMasking
        }
        nvme::nvm {
            AccessFrequency AccessLatency AcquireAction CommandExtension CopyFormat NvmOpcode
            PersistChange RegisterAction ReleaseAction ReservationType
        }
        nvme::pmr {
            HealthStatus TimeUnits
        }
        nvme::protection {
            ProtectionFormat ProtectionType
        }
        nvme::queue {
            DataTransfer Direction Fuse
        }
        nvme::registers {
            Arbitration BootReadStatus CommandSetSelection PowerScope ShutdownNotification
            ShutdownStatus
        }
        nvme::sgl {
            DescriptorSubType DescriptorType
        }
        nvme::status {
            FabricsStatus StatusCodeType
        }
    )
}

fn pci_codes_8() -> usize {
    codes!(u8:
        pci::bar {
            MemoryType
        }
        pci::capability {
            CapabilityId
        }
        pci::config {
            HeaderLayout
        }
        pci::express {
            Indicator LinkSpeed PortType TlpSize
        }
        pci::power {
            PowerState
        }
    )
}

fn pci_codes_16() -> usize {
    codes!(u16:
        pci::capability {
            ExtendedCapabilityId
        }
    )
}

fn pci_codes_32() -> usize {
    codes!(u32:
        pci::class {
            ClassCode
        }
    )
}

#[test]
fn registers_keep_every_bit() {
    let count = nvme_registers_8()
        + pci_registers_8()
        + nvme_registers_16()
        + pci_registers_16()
        + nvme_registers_32()
        + pci_registers_32()
        + nvme_registers_64();
    let declared = declared(&sources(), "#[bitfield(").unwrap();
    assert_eq!(count, declared, "a register is missing in this list");
}

#[test]
fn codes_keep_every_value() {
    let count = nvme_codes_8() + pci_codes_8() + pci_codes_16() + pci_codes_32();
    let declared = declared(&sources(), "open_enum! {").unwrap();
    assert_eq!(count, declared, "a code is missing in this list");
}
