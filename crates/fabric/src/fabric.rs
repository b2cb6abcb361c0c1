//! The handle to a fabric: everything that a test, a tool or a platform does with one.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_pci::{Bdf, Clock, ConfigSpace, Duration, Instant, Iova, Width};
use p2pdma_spec::pci::config::SIZE;

use crate::builder::FunctionConfig;
use crate::counters::{Counters, ErrorCounters};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fault::{Fault, FaultStatus};
use crate::host::enumerate::{configure_slot, enumerate};
use crate::host::function::FabricFunction;
use crate::host::stream::StreamReport;
use crate::iommu::{FaultRecord, Permission};
use crate::plug;
use crate::state::State;
use crate::trace::Trace;

/// A machine in software, running.
///
/// Cloning is cheap and gives another handle to the same machine. Every call takes the machine's one
/// lock; none is needed per command, since drivers ring doorbells and poll per batch.
#[derive(Debug, Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The present in picoseconds as the last holder of the lock left it, for those who only look at the
    /// clock.
    now: AtomicU64,
}

/// The machine, held.
pub(crate) struct Held<'a> {
    state: MutexGuard<'a, State>,
    now: &'a AtomicU64,
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.now.store(self.state.now().picos(), Release);
    }
}

/// An endpoint's function, as the machine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Where it is.
    pub bdf: Bdf,
    /// Its name in the machine's description.
    pub name: String,
    /// The how-manieth function it is that was ever plugged in, from 0: it tells one from another that
    /// took its place.
    pub serial: usize,
}

/// An application on the host, started by [`Fabric::start_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamId(usize);

impl Fabric {
    pub(crate) fn new(state: State) -> Self {
        let now = AtomicU64::new(state.now().picos());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), now }) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Held<'_> {
        // A panic elsewhere leaves the state as consistent as a failing machine's; the models' own
        // tests are what finds it.
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        Held { state, now: &self.shared.now }
    }

    /// Every endpoint function that is plugged in, in the order of the description.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionInfo> {
        let state = self.lock();
        let tree = &state.machine.tree;
        let present = tree.functions.iter().enumerate().filter(|(_, function)| function.present);
        let info = |(index, function): (usize, &crate::tree::Function)| FunctionInfo {
            bdf: tree.function_bdf(index),
            name: function.name.clone(),
            serial: index,
        };
        present.map(info).collect()
    }

    /// Where the function with a name is.
    ///
    /// # Errors
    /// [`Error::NoSuchName`].
    pub fn find(&self, name: &str) -> Result<Bdf, Error> {
        let found = self.functions().into_iter().find(|function| function.name == name);
        found
            .map(|function| function.bdf)
            .ok_or_else(|| Error::NoSuchName { name: name.to_owned() })
    }

    /// Opens a function for a driver.
    ///
    /// # Errors
    /// [`Error::NoFunction`] if no endpoint is there.
    pub fn open(&self, bdf: Bdf) -> Result<FabricFunction, Error> {
        let function = self.lock().machine.tree.function_at(bdf);
        let function = function.ok_or(Error::NoFunction { bdf })?;
        Ok(FabricFunction::new(self.clone(), bdf, function))
    }

    /// Configuration space of whatever is at a place, bridges included; all ones where nothing is.
    #[must_use]
    pub fn config(&self, bdf: Bdf) -> FabricConfig {
        FabricConfig { fabric: self.clone(), bdf }
    }

    /// The machine's clock, whose `relax` lets events happen until the processor may notice one.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        VirtualClock { fabric: self.clone() }
    }

    /// Lets one event happen; false if none waits.
    pub fn step(&self) -> bool {
        self.lock().step()
    }

    /// How many events have happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.lock().happened
    }

    /// All traffic so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().totals()
    }

    /// Errors reported so far by the function or port with a name.
    ///
    /// # Errors
    /// [`Error::NoSuchName`].
    pub fn errors(&self, name: &str) -> Result<ErrorCounters, Error> {
        let state = self.lock();
        let tree = &state.machine.tree;
        let function = tree.functions.iter().find(|function| function.name == name);
        let port = tree.ports.iter().find(|port| port.name == name);
        let found = function.map(|function| function.errors).or(port.map(|port| port.errors));
        found.ok_or_else(|| Error::NoSuchName { name: name.to_owned() })
    }

    /// Interrupt messages that belonged to no vector.
    #[must_use]
    pub fn spurious_interrupts(&self) -> u64 {
        self.lock().interrupts.spurious
    }

    /// Takes the IOMMU's fault records: the last 256, oldest first, and how many there were in all.
    #[must_use]
    pub fn take_iommu_faults(&self) -> (Vec<FaultRecord>, u64) {
        let mut state = self.lock();
        (state.fault_log.take(), state.fault_log.total)
    }

    /// Starts a new trace that keeps the last `kept` records, and a hash and a count of all.
    pub fn start_trace(&self, kept: usize) {
        let mut state = self.lock();
        state.trace = Some(Trace::keeping(kept));
        state.retap();
    }

    /// The trace so far, if one was started.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        self.lock().trace.clone()
    }

    /// Arms a fault.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.lock();
        state.faults.inject(fault);
        state.retap();
    }

    /// Every fault that was injected, and whether it struck.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.lock().faults.status().to_vec()
    }

    /// Changes what a function may do with a buffer or window that was mapped for it at `iova`, where the
    /// IOMMU translates. In force at once.
    ///
    /// # Errors
    /// [`Error::NoFunction`], or [`Error::NoMapping`] if no mapping begins there.
    pub fn permit(&self, bdf: Bdf, iova: Iova, permission: Permission) -> Result<(), Error> {
        let mut state = self.lock();
        let function = state.machine.tree.function_at(bdf).ok_or(Error::NoFunction { bdf })?;
        if !state.machine.tree.functions[function].domain.permit(iova, permission) {
            return Err(Error::NoMapping { bdf, iova });
        }
        state.remapped();
        Ok(())
    }

    /// Pulls a function out of its slot, whatever it is doing. Its model comes along, to be looked at
    /// or plugged in again; it is `None` if it was pulled out before.
    ///
    /// # Errors
    /// [`Error::NoFunction`] if no endpoint was ever there.
    pub fn remove(&self, bdf: Bdf) -> Result<Option<Box<dyn Endpoint>>, Error> {
        let mut state = self.lock();
        let tree = &state.machine.tree;
        let removed = |&index: &usize| {
            let function = &tree.functions[index];
            !function.present && function.endpoint.is_some() && tree.function_bdf(index) == bdf
        };
        let index = tree.function_at(bdf).or_else(|| (0..tree.functions.len()).find(removed));
        let index = index.ok_or(Error::NoFunction { bdf })?;
        state.unplug(index);
        Ok(state.machine.tree.functions[index].endpoint.take())
    }

    /// Plugs a device into the slot below a port, and configures it within the port's windows.
    ///
    /// # Errors
    /// [`Error::NoSuchName`], [`Error::LinkTaken`], or what is wrong with the device. One that does not
    /// fit the windows stays plugged in, without addresses: [`Error::NoWindow`].
    pub fn insert(
        &self,
        port: &str,
        functions: Vec<(FunctionConfig, Box<dyn Endpoint>)>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        let index = state.port_named(port)?;
        let max_payload = state.machine.timing.model().max_payload;
        let tree = &mut state.machine.tree;
        let present: Vec<bool> = tree.functions.iter().map(|function| function.present).collect();
        tree.ports[index].functions.retain(|&function| present[function]);
        let device = functions.first().map(|(config, _)| config.link.max);
        plug::plug(tree, index, functions, max_payload)?;
        if let Some(device) = device {
            state.train_link(index, device);
        }
        state.changed();
        configure_slot(&mut state, index)
    }

    /// Takes the link below a port down, or brings it up again. What is below is reset when it goes down,
    /// and configured anew within the port's windows when it comes back.
    ///
    /// # Errors
    /// [`Error::NoSuchName`]; [`Error::NoWindow`] or [`Error::NoBus`] if the windows have become too small.
    pub fn set_link(&self, port: &str, up: bool) -> Result<(), Error> {
        let mut state = self.lock();
        let port = state.port_named(port)?;
        state.set_link(port, up);
        if up { configure_slot(&mut state, port) } else { Ok(()) }
    }

    /// Cuts the machine's power and restores it: everything volatile is gone, and nothing is
    /// enumerated.
    pub fn power_cut(&self) {
        self.lock().power_cut();
    }

    /// Lets the firmware enumerate the machine again.
    ///
    /// # Errors
    /// [`Error::NoBus`] or [`Error::NoWindow`].
    pub fn enumerate(&self) -> Result<(), Error> {
        enumerate(&mut self.lock())
    }

    /// Starts an application that streams through host memory; `None` without a timing model.
    #[must_use]
    pub fn start_stream(&self) -> Option<StreamId> {
        self.lock().start_stream().map(StreamId)
    }

    /// What an application got so far.
    #[must_use]
    pub fn stream(&self, stream: StreamId) -> StreamReport {
        self.lock().stream_report(stream.0, false)
    }

    /// Ends an application; returns what it got.
    pub fn stop_stream(&self, stream: StreamId) -> StreamReport {
        self.lock().stream_report(stream.0, true)
    }
}

/// The clock of a fabric.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    fabric: Fabric,
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        let picos = self.fabric.shared.now.load(Acquire);
        Instant::ZERO + Duration::from_picos(picos)
    }

    fn relax(&self) {
        self.fabric.lock().relax();
    }
}

/// Configuration space of a place in a fabric.
#[derive(Debug, Clone)]
pub struct FabricConfig {
    fabric: Fabric,
    bdf: Bdf,
}

impl FabricConfig {
    fn check(&self, offset: u16, width: Width) -> Result<(), p2pdma_pci::Error> {
        let reason = if !offset.is_multiple_of(width.bytes()) {
            "it is not aligned to its width"
        } else if offset >= SIZE {
            "configuration space ends at 4096"
        } else {
            return Ok(());
        };
        Err(p2pdma_pci::Error::Config { bdf: self.bdf, offset, reason })
    }
}

impl ConfigSpace for FabricConfig {
    fn read(&self, offset: u16, width: Width) -> Result<u32, p2pdma_pci::Error> {
        self.check(offset, width)?;
        Ok(self.fabric.lock().config_read(self.bdf, offset, width))
    }

    fn write(&self, offset: u16, width: Width, value: u32) -> Result<(), p2pdma_pci::Error> {
        self.check(offset, width)?;
        self.fabric.lock().config_write(self.bdf, offset, width, value);
        Ok(())
    }
}
