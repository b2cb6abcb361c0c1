//! What time things take, when time is modelled.
//!
//! Loosely timed, as in TLM-2.0: data moves at once, and the transfer's answer is the instant at which
//! it would be complete. Each link direction and each host memory channel is occupied for as long as
//! the bytes take, so that contention shows.

mod channels;
mod links;
mod packets;

use p2pdma_pci::Duration;
use p2pdma_spec::pci::express::TlpSize;

pub(crate) use channels::HostChannels;
pub(crate) use links::{Hop, Lanes, LinkState, Trip, Wires};
pub(crate) use packets::{Burst, Packets};

/// Whether transfers take time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Timing {
    /// Nothing takes any time.
    #[default]
    Ideal,
    /// Links, hops and host memory take time as given.
    Modelled(TimingModel),
}

/// The constants of the timing model. The defaults are those of a recent server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimingModel {
    /// Largest payload of a packet that every function supports, and that the firmware programs as
    /// Max_Payload_Size. What a function's Device Control says then is what cuts its packets.
    pub max_payload: TlpSize,
    /// Largest read request: what the firmware programs as Max_Read_Request_Size.
    pub max_read_request: TlpSize,
    /// From one port of a switch to another. About 115 ns were measured on a Gen5 switch.
    pub switch_hop: Duration,
    /// Through a root port and the root complex, one way.
    pub root_hop: Duration,
    /// From a device's core to its link, and back.
    pub endpoint: Duration,
    /// A read or write of host memory, without the channel's occupancy; and what a processor that polls
    /// needs to see what a device has just written, which its caches do not have.
    pub host_memory: Duration,
    /// How many channels host memory has, interleaved every 4 KiB.
    pub host_channels: u32,
    /// Bytes per second of one channel, both directions together.
    pub host_channel_rate: u64,
}

impl Timing {
    /// The constants; without a timing model, those that packets are counted by.
    pub(crate) fn model(&self) -> TimingModel {
        match self {
            Self::Ideal => TimingModel::default(),
            Self::Modelled(model) => *model,
        }
    }
}

impl Default for TimingModel {
    fn default() -> Self {
        Self {
            max_payload: TlpSize::B256,
            max_read_request: TlpSize::B512,
            switch_hop: Duration::from_nanos(115),
            root_hop: Duration::from_nanos(150),
            endpoint: Duration::from_nanos(50),
            host_memory: Duration::from_nanos(80),
            host_channels: 1,
            // DDR4-3200: 64 bits at 3200 MT/s.
            host_channel_rate: 25_600_000_000,
        }
    }
}
