//! What Identify returns about namespaces (NVMe Base 2.1 §5.1.13.2.8, NVM Command Set 1.1 §4.1.5).

mod attributes;
mod identify;
mod independent;
mod management;
mod nvm;

pub use attributes::{
    Deallocated, Dlfeat, Dpc, Dps, Flbas, Fpi, Kpios, LbaFormat, Mc, NamespaceAttributes, Nmic,
    Nsfeat, PreferredSizes, RelativePerformance, Rescap,
};
pub use identify::IdentifyNamespace;
pub use independent::{
    IdentifyNamespaceIndependent, IndependentNsfeat, IoImpacted, NamespaceStatus,
};
pub use management::{NamespaceCreation, PlacementHandles};
pub use nvm::{
    ExtendedLbaFormat, IdentifyNamespaceNvm, Pic, Pifa, QualifiedFormat, StorageTagMasking,
};

/// The most LBA formats that a namespace can choose from.
pub const MAX_LBA_FORMATS: usize = 64;

#[cfg(test)]
mod tests;
