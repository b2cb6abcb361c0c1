//! Bytes by path, as counted by the platform and not as planned.

/// User data that went each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes that devices wrote to host memory and read from it, or the processor in their place where an end is a
    /// device's memory. A bounce counts twice.
    pub host_memory: u64,
    /// Bytes that crossed the links of root ports, both directions together, whoever sent them.
    pub root_ports: u64,
    /// Bytes between devices that turned around below the root.
    pub peer_local: u64,
    /// Bytes between devices that went through a root complex.
    pub peer_through_root: u64,
}

impl Traffic {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            host_memory: self.host_memory.saturating_sub(earlier.host_memory),
            root_ports: self.root_ports.saturating_sub(earlier.root_ports),
            peer_local: self.peer_local.saturating_sub(earlier.peer_local),
            peer_through_root: self.peer_through_root.saturating_sub(earlier.peer_through_root),
        }
    }
}
