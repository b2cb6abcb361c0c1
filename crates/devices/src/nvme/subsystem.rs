//! What controllers share: namespaces, their media, and what is counted about them.

mod access;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_fabric::Bell;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::status::Status;

use super::config::{ControllerConfig, Names, SubsystemConfig};
use super::controller::NvmeController;
use super::media::MediaClock;
use super::namespace::Namespace;
use crate::Error;

pub(crate) use access::{Access, Opened};

/// An NVM subsystem: one set of namespaces, one or more controllers.
///
/// Cloning gives another handle to the same subsystem.
#[derive(Debug, Clone)]
pub struct Subsystem {
    state: Arc<Mutex<SubsystemState>>,
    signals: Arc<Signals>,
}

/// What controllers tell each other beside the lock.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// How many NVM subsystem resets there were. A register read must not wait for the lock: it may
    /// happen while another controller of the subsystem runs.
    resets: AtomicU32,
}

impl Signals {
    /// Resets every controller: each notices before it does anything else.
    pub(crate) fn reset_all(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn resets(&self) -> u32 {
        self.resets.load(Relaxed)
    }
}

/// As many bits as there are in a namespace's set of controllers.
const MAX_CONTROLLERS: u16 = 128;

/// The largest NSID, so that a scan of all namespaces stays short.
const MAX_NAMESPACES: u32 = 4096;

impl Subsystem {
    /// Builds a subsystem without controllers.
    ///
    /// # Errors
    /// What is wrong with the description, or with a file under a namespace.
    pub fn new(config: SubsystemConfig) -> Result<Self, Error> {
        let names = Names::new(&config)?;
        let count = u32::try_from(config.namespaces.len()).unwrap_or(u32::MAX);
        if config.max_namespaces < count.max(1) || config.max_namespaces > MAX_NAMESPACES {
            let value = u64::from(config.max_namespaces);
            let allowed = "1 to 4096, and no less than there are namespaces";
            return Err(Error::Value { what: "the largest namespace identifier", value, allowed });
        }
        if config.spare_capacity >= 1 << 62 {
            let (what, value) = ("the spare capacity", config.spare_capacity);
            return Err(Error::Value { what, value, allowed: "less than 2^62 bytes" });
        }
        let signals = Arc::<Signals>::default();
        let mut state = SubsystemState {
            names,
            signals: Arc::clone(&signals),
            namespaces: Vec::new(),
            clock: config.timing.map(MediaClock::new),
            unallocated: config.spare_capacity,
            write_cache: false,
            health: Health::default(),
            controllers: Vec::new(),
            created: 0,
            layouts: 0,
        };
        for namespace in config.namespaces {
            let nguid = state.next_identifier();
            let mut namespace = Namespace::new(namespace, nguid)?;
            namespace.layout = state.next_layout();
            state.write_cache |= namespace.volatile;
            state.namespaces.push(Some(Box::new(namespace)));
        }
        state.namespaces.resize_with(config.max_namespaces as usize, || None);
        Ok(Self { state: Arc::new(Mutex::new(state)), signals })
    }

    /// Adds a controller.
    ///
    /// # Errors
    /// What is wrong with its description, or [`Error::TooManyControllers`].
    pub fn controller(&self, config: ControllerConfig) -> Result<NvmeController, Error> {
        config.check()?;
        let mut state = self.lock();
        let id = u16::try_from(state.controllers.len()).unwrap_or(u16::MAX);
        if id >= MAX_CONTROLLERS {
            return Err(Error::TooManyControllers { max: MAX_CONTROLLERS });
        }
        let controller = NvmeController::with(self.clone(), id, config)?;
        state.controllers.push(ControllerNotes::default());
        for namespace in state.namespaces.iter_mut().flatten() {
            let free = namespace.shared || namespace.attached == 0;
            if namespace.attach_new && free {
                namespace.attached |= 1 << id;
            }
        }
        Ok(controller)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SubsystemState> {
        // A panic elsewhere cannot leave it half changed in a way that would matter to memory safety;
        // the tests are what finds it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct SubsystemState {
    pub(crate) names: Names,
    /// By NSID minus 1.
    pub(crate) namespaces: Vec<Option<Box<Namespace>>>,
    pub(crate) clock: Option<MediaClock>,
    /// Bytes that are in no namespace.
    pub(crate) unallocated: u64,
    /// Whether there is a volatile write cache (VWC): any namespace that it was built with has one.
    pub(crate) write_cache: bool,
    pub(crate) health: Health,
    /// By controller identifier.
    pub(crate) controllers: Vec<ControllerNotes>,
    /// How many namespaces were ever made.
    created: u32,
    /// How many layouts there ever were.
    layouts: u64,
    signals: Arc<Signals>,
}

/// What the subsystem knows of a controller.
#[derive(Debug, Default)]
pub(crate) struct ControllerNotes {
    /// Namespaces of which something changed since the log page was read.
    pub(crate) changed: BTreeSet<u32>,
    /// Whether the controller has not yet looked.
    pub(crate) news: bool,
    /// Tells it to look, once it was enabled.
    pub(crate) bell: Option<Bell>,
    /// Whether it was enabled, and not shut down since: a loss of power is not expected.
    in_use: bool,
    /// How many losses of power it has seen.
    power_cycles: u64,
}

/// What the health log page counts. Which commands count where is told by the NVM Command Set: bytes read those of
/// Read, Compare and Verify; bytes written those of Write and Copy; read commands are Read, Compare and Copy; write
/// commands are Write and Copy (revision 1.2, §1.4.2.7 to §1.4.2.10).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    pub(crate) read_commands: u64,
    pub(crate) write_commands: u64,
    /// In bytes, without metadata.
    pub(crate) read: u64,
    /// In bytes, without metadata.
    pub(crate) written: u64,
    pub(crate) media_errors: u64,
    pub(crate) power_cycles: u64,
    pub(crate) unsafe_shutdowns: u64,
}

impl SubsystemState {
    /// The namespace with an NSID, if it is attached to a controller, which is given as its bit (NVMe Base 2.1 §3.2.1.2 to §3.2.1.4).
    #[inline]
    pub(crate) fn attached(
        &mut self,
        nsid: u32,
        controller: u128,
    ) -> Result<&mut Namespace, Status> {
        // Zero becomes the largest number, which is beyond the end as well.
        let index = nsid.wrapping_sub(1) as usize;
        match self.namespaces.get_mut(index) {
            Some(Some(namespace)) if namespace.attached & controller != 0 => Ok(namespace),
            Some(_) => Err(Status::INVALID_FIELD),
            None if nsid == NSID_ALL => Err(Status::INVALID_FIELD),
            None => Err(Status::INVALID_NAMESPACE_OR_FORMAT),
        }
    }

    /// The allocated namespace with an NSID; `None` if there is none, as long as there could be one.
    pub(crate) fn allocated(&mut self, nsid: u32) -> Result<Option<&mut Namespace>, Status> {
        let index = nsid.wrapping_sub(1) as usize;
        let slot = self.namespaces.get_mut(index).ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        Ok(slot.as_deref_mut())
    }

    /// How a namespace is laid out: a number that no other namespace has, nor the same one once it was
    /// formatted.
    pub(crate) fn layout(&self, nsid: u32) -> Option<u64> {
        let slot = self.namespaces.get(nsid.wrapping_sub(1) as usize)?;
        slot.as_ref().map(|namespace| namespace.layout)
    }

    /// The number of a new layout.
    pub(crate) fn next_layout(&mut self) -> u64 {
        self.layouts += 1;
        self.layouts
    }

    /// The largest NSID.
    pub(crate) fn largest(&self) -> u32 {
        u32::try_from(self.namespaces.len()).unwrap_or(u32::MAX)
    }

    /// Every allocated namespace with its NSID, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Namespace)> {
        let numbered = (1..).zip(&self.namespaces);
        numbered.filter_map(|(nsid, namespace)| Some((nsid, namespace.as_deref()?)))
    }

    /// The controllers of a set of bits.
    pub(crate) fn controllers_of(set: u128) -> impl Iterator<Item = u16> {
        (0..MAX_CONTROLLERS).filter(move |id| set >> id & 1 == 1)
    }

    /// Tells controllers that something about a namespace changed.
    pub(crate) fn note_change(&mut self, nsid: u32, controllers: u128) {
        for (id, notes) in self.controllers.iter_mut().enumerate() {
            if controllers >> id & 1 == 1 {
                notes.news |= notes.changed.insert(nsid);
                if let Some(bell) = &notes.bell {
                    bell.ring();
                }
            }
        }
    }

    /// A controller was enabled; `bell` wakes it for news.
    pub(crate) fn enabled(&mut self, controller: u16, bell: Bell) {
        if let Some(notes) = self.controllers.get_mut(usize::from(controller)) {
            (notes.in_use, notes.bell) = (true, Some(bell));
        }
    }

    /// A controller was told that its power may go.
    pub(crate) fn shut_down(&mut self, controller: u16) {
        if let Some(notes) = self.controllers.get_mut(usize::from(controller)) {
            notes.in_use = false;
        }
    }

    /// The controller's host has read what changed.
    pub(crate) fn forget_changes(&mut self, controller: u16) {
        if let Some(notes) = self.controllers.get_mut(usize::from(controller)) {
            notes.changed.clear();
        }
    }

    /// Makes durable what was written to a controller's namespaces: to all of them, even after one failed.
    pub(crate) fn flush(&mut self, controller: u128) -> Result<(), Status> {
        let mine = self.namespaces.iter_mut().flatten();
        let mine = mine.filter(|namespace| namespace.attached & controller != 0);
        let mut result = Ok(());
        for namespace in mine {
            result = result.and(namespace.flush());
        }
        result
    }

    /// An identifier that no other namespace of any run with the same serial number order has: FNV-1a of
    /// the serial number, and a count.
    pub(crate) fn next_identifier(&mut self) -> [u8; 16] {
        self.created += 1;
        let hash = |seed: u64| {
            let serial = self.names.serial.0.iter();
            serial.fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        };
        let high = hash(0xcbf2_9ce4_8422_2325).to_be_bytes();
        let low = (hash(0x8422_2325) << 32 | u64::from(self.created)).to_be_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high);
        id[8..].copy_from_slice(&low);
        id
    }

    /// A controller lost its power. Each of them says so, one after the other; the first one counts.
    pub(crate) fn power_cut(&mut self, controller: u16) {
        let Some(notes) = self.controllers.get_mut(usize::from(controller)) else { return };
        let known = notes.power_cycles < self.health.power_cycles;
        if !known {
            self.lose_power();
        }
        if let Some(notes) = self.controllers.get_mut(usize::from(controller)) {
            notes.power_cycles = self.health.power_cycles;
        }
    }

    fn lose_power(&mut self) {
        for namespace in self.namespaces.iter_mut().flatten() {
            namespace.power_cut();
        }
        if let Some(clock) = &mut self.clock {
            clock.reset();
        }
        self.health.power_cycles += 1;
        // NVMe Base 2.1 §5.1.12.1.3: without a shutdown notification before it, it was not expected.
        let in_use = self.controllers.iter_mut();
        let surprised = in_use.fold(false, |any, notes| std::mem::take(&mut notes.in_use) | any);
        self.health.unsafe_shutdowns += u64::from(surprised);
    }
}
