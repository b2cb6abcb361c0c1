//! A PCIe fabric in software: root complexes, switches, endpoints, an IOMMU, host memory, time.
//!
//! Put a machine together with [`Builder`], or from a machine file with [`Fabric::from_machine`]; plug
//! device models in (anything that implements [`Endpoint`]), and drive them through [`Fabric::open`], which hands out functions as hardware
//! platforms do. Requests are routed by address decode; bus mastering, access control services and the
//! IOMMU are applied in the router, in one place.
//!
//! **Invariant: peer to peer happens in the router.** A model emits addresses and never learns whether
//! they are host memory, a peer or nothing. No model has peer-to-peer code.
//!
//! **Invariant: one event at a time.** No model's code runs inside another model's access, and two runs
//! of the same calls make the same events at the same instants.
//!
//! It models no device and knows no driver. Below it are `p2pdma-pci` (the seam, addresses, time),
//! `p2pdma-mem` and `p2pdma-spec`.

#![forbid(unsafe_code)]

mod acs;
mod aer;
mod bell;
mod builder;
mod config;
mod counters;
mod deliver;
mod endpoint;
mod error;
mod event;
mod fabric;
mod fault;
mod host;
mod iommu;
mod machine;
mod msix;
mod plug;
mod port;
mod registers;
mod route;
mod state;
mod tap;
mod timing;
mod tlp;
mod topology;
mod trace;
mod transfer;
mod tree;

pub use bell::Bell;
pub use builder::{
    AcsConfig, Builder, FunctionConfig, HostBridgeConfig, HostBridgeId, PortConfig, PortId,
};
pub use counters::{Counters, ErrorCounters, LinkCounters, Traffic};
pub use endpoint::{
    BarDescription, BarMemory, Closed, Description, Endpoint, MemoryRegion, MsixDescription, Reset,
    TimerId,
};
pub use error::Error;
pub use fabric::{Fabric, FabricConfig, FunctionInfo, StreamId, VirtualClock};
pub use fault::{Fault, FaultKind, FaultStatus, Site};
pub use host::function::FabricFunction;
pub use host::stream::StreamReport;
pub use iommu::{FaultReason, FaultRecord, Permission};
pub use port::Port;
pub use timing::{Timing, TimingModel};
pub use tlp::{Access, AddressType, Attributes, PayloadClass, TlpError, TlpErrorKind};
pub use trace::{Trace, TraceRecord, TracedRoute};
