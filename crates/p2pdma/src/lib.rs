//! Peer-to-peer DMA: plan a transfer between devices, carry it out, prove which way the bytes went.
//!
//! ```
//! use std::ops::ControlFlow;
//! use std::sync::Arc;
//! use p2pdma::{End, Ends, FabricPlatform, Job, Plan, Platform, Policy, Storage, Wish};
//!
//! let machine = p2pdma::presets::machine("default", None)?;
//! let platform = FabricPlatform::new(&machine, &Storage::Ephemeral, Default::default())?;
//! let [from, to] = ["nvme0", "nvme1"].map(|name| platform.find(name).expect("it is in the file"));
//! let (source, sink) = (End::Client(from), End::Client(to));
//! let wish = Wish { source, sink, via: None, block: 128 << 10, policy: Policy::Require, barrier: None };
//! let plan = Plan::on(&platform, wish)?;
//! let job = Job { from: 0, to: 0, len: 1 << 20, block: 128 << 10, depth: 8 };
//! let memory = Arc::new(plan.memory(&platform, job.memory())?);
//! let (mut source, mut sink) = (platform.namespace(from, 1)?, platform.namespace(to, 1)?);
//! let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
//! let report = p2pdma::run(&platform, plan, ends, &memory, job, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(report.traffic.map(|traffic| traffic.host_memory), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - A [`Platform`] is a machine: [`FabricPlatform`] is one in software. It has [`Client`]s, which start
//!   requests (SSDs), and [`Provider`]s, which lend memory (controller memory buffers, BARs, the host).
//! - A [`Plan`] says who moves what through which memory, why that one, and why no other; or it is a
//!   [`NoPath`] with the evidence.
//! - [`run`] carries it out and returns a [`Report`]: bytes by path, as counted and not as planned. A plan
//!   that requires peer to peer and put user data into host memory fails.
//!
//! It draws no conclusions from a status: [`verify`] reads both ends again by another way.
//!
//! Below are the fabric, the device models, the NVMe driver, and the seams that they meet at.

#![forbid(unsafe_code)]

mod client;
pub mod doctor;
mod error;
mod memory;
mod models;
mod pattern;
mod platform;
pub mod presets;
mod traffic;
mod transfer;

pub use client::HostClient;
pub use error::Error;
pub use memory::{PeerMemory, ProviderKind};
pub use platform::{
    Attachment, Capabilities, Client, Done, FabricPlatform, Footing, LinuxPlatform, Member,
    Members, Op, Platform, Provider, ProviderId, Storage, Stripes, Ticket, Untested, VfioPlatform,
    Volume,
};
pub use traffic::Traffic;
pub use transfer::{
    Barrier, Candidate, Durable, End, Ends, Failed, Job, Journal, JournalError, Labels, Leg,
    Mismatch, Next, NoPath, ParsePolicyError, Parts, Pipeline, Plan, Policy, Portion, Probe,
    Probed, Progress, Reach, Rejected, Report, Shape, Stage, Step, Unexpected, Via, Why, Wish,
    read_by_host, run, verify,
};

// The words of the layers below that appear in this one's signatures.
pub use p2pdma_devices as devices;
pub use p2pdma_fabric as fabric;
pub use p2pdma_linux as linux;
pub use p2pdma_linux::{HostClock, IommuFault};
pub use p2pdma_nvme as nvme;
pub use p2pdma_pci::lists;
pub use p2pdma_pci::machine;
pub use p2pdma_pci::topology;
pub use p2pdma_pci::{BarIndex, Bdf, Clock, Duration, Instant, ParseBdfError, nearest};

/// The guide's page about the library: what it shows is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/library.md")]
struct Guide;
