//! Every structure that lies in memory keeps every byte, needs no alignment, and prints.

use std::fmt::Debug;
use std::path::Path;
use std::{fs, io};

use p2pdma_spec::{nvme, pci};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Checks a structure with any bytes; returns its size.
fn check<T>(name: &str) -> Result<usize, TestError<Vec<u8>>>
where
    T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy + PartialEq + Debug,
{
    assert_eq!(align_of::<T>(), 1, "{name}");
    let read = |bytes: &[u8]| T::read_from_bytes(bytes).map_err(|_| TestCaseError::fail("size"));
    let pattern = proptest::collection::vec(any::<u8>(), 1..64);
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&pattern, |pattern| {
        let mut bytes: Vec<u8> = pattern.iter().copied().cycle().take(size_of::<T>()).collect();
        let structure = read(&bytes)?;
        prop_assert_eq!(structure.as_bytes(), &bytes[..], "{}", name);
        prop_assert!(!format!("{structure:?}").is_empty(), "{}", name);
        let last = bytes.len() - 1;
        bytes[last] ^= 0x80;
        prop_assert!(structure != read(&bytes)?, "{} ignores its last bit", name);
        Ok(())
    })?;
    Ok(size_of::<T>())
}

macro_rules! structures {
    ($($first:ident $(:: $rest:ident)* { $($Type:ident)+ })+) => {{
        let mut bytes = 0;
        let mut types = 0;
        $({
            use $first $(:: $rest)* as module;
            $(
                bytes += check::<module::$Type>(stringify!($Type)).unwrap();
                types += 1;
            )+
        })+
        println!("{types} structures of {bytes} bytes together, 256 times each");
        types
    }};
}

/// How often a declaration occurs in the crate's sources.
fn declared(folder: &Path, declaration: &str) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        count += if path.is_dir() {
            declared(&path, declaration)?
        } else {
            fs::read_to_string(&path)?.matches(declaration).count()
        };
    }
    Ok(count)
}

#[test]
fn structures_keep_every_byte() {
    let count = structures!(
        nvme::feature {
            AutonomousPowerStateTable HostBehaviorSupport HostMemoryBufferAttributes
            HostMemoryDescriptor LbaRange Timestamp
        }
        nvme::identify {
            CommandSets ControllerList DomainAttributes DomainList EnduranceGroupList
            IdentifyController IdentifyControllerNvm NamespaceDescriptorHeader
            NamespaceGranularity NamespaceGranularityList NamespaceList NvmSetAttributes
            NvmSetList PowerStateDescriptor PrimaryControllerCapabilities
            SecondaryController SecondaryControllerList UuidEntry UuidList
        }
        nvme::log {
            AnaGroup AnaHeader CommandsEffects EnduranceGroup ErrorEntry FeaturesEffects
            FirmwareSlots PersistentEventHeader PersistentEventLogHeader
            ReservationNotification SanitizeStatus SelfTestLog SelfTestResult SmartHealth
            SupportedLogPages TelemetryController TelemetryHost
        }
        nvme::namespace {
            IdentifyNamespace IdentifyNamespaceIndependent IdentifyNamespaceNvm
            NamespaceCreation
        }
        nvme::nvm {
            CopyRange0 CopyRange1 CopyRange2 CopyRange3 DatasetRange RegistrationData
        }
        nvme::protection {
            ProtectionInfo16 ProtectionInfo32 ProtectionInfo64
        }
        nvme::queue {
            CompletionEntry DataPointer SubmissionEntry
        }
        nvme::sgl {
            SglDescriptor
        }
        pci::msix {
            TableEntry
        }
    );
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let declared = declared(&sources, "#[repr(C)]\npub struct ").unwrap();
    assert_eq!(count, declared, "a structure is missing in this list");
}
