//! A controller's way to its subsystem.

use std::cell::OnceCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Signals, Subsystem, SubsystemState};

/// The subsystem, as one controller has it.
#[derive(Debug)]
pub(crate) enum Access {
    /// No other controller can have one, so there is nothing to lock.
    Alone(Box<SubsystemState>),
    Shared(Subsystem),
}

impl Access {
    /// Keeps others out, if nobody else has a handle to the subsystem.
    pub(crate) fn alone(self) -> Self {
        match self {
            Self::Shared(Subsystem { state, signals }) => match Arc::try_unwrap(state) {
                Ok(state) => Self::Alone(Box::new(
                    state.into_inner().unwrap_or_else(PoisonError::into_inner),
                )),
                Err(state) => Self::Shared(Subsystem { state, signals }),
            },
            alone => alone,
        }
    }

    #[inline]
    pub(crate) fn signals(&self) -> &Signals {
        match self {
            Self::Alone(state) => &state.signals,
            Self::Shared(handle) => &handle.signals,
        }
    }

    /// The subsystem's state, which is locked when it is first looked at: fetching commands and completing
    /// them needs nothing of it.
    #[inline]
    pub(crate) fn open(&mut self) -> Opened<'_> {
        match self {
            Self::Alone(state) => Opened::Own(state),
            Self::Shared(handle) => Opened::Shared { handle, state: OnceCell::new() },
        }
    }
}

/// A subsystem's state, at hand.
pub(crate) enum Opened<'a> {
    Own(&'a mut SubsystemState),
    Shared { handle: &'a Subsystem, state: OnceCell<MutexGuard<'a, SubsystemState>> },
}

impl Deref for Opened<'_> {
    type Target = SubsystemState;

    #[inline]
    fn deref(&self) -> &SubsystemState {
        match self {
            Self::Own(state) => state,
            Self::Shared { handle, state } => state.get_or_init(|| handle.lock()),
        }
    }
}

impl DerefMut for Opened<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut SubsystemState {
        match self {
            Self::Own(state) => state,
            Self::Shared { handle, state } => {
                let held = state.take().unwrap_or_else(|| handle.lock());
                *state = OnceCell::from(held);
                match state.get_mut() {
                    Some(state) => state,
                    None => unreachable!("it was just locked"),
                }
            }
        }
    }
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}
