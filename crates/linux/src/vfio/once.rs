//! What can be open but once.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// Things by their names, each opened by whoever asks first and shared by those who ask later. One that another thread is
/// closing is waited for: until then the kernel takes it for open.
pub(super) struct Once<K, T> {
    /// Held by who opens one. Who looks, or closes, does without.
    opening: Mutex<()>,
    /// Each is here until it is closed.
    open: Mutex<BTreeMap<K, Weak<T>>>,
    /// One of them was.
    closed: Condvar,
}

impl<K, T> Default for Once<K, T> {
    fn default() -> Self {
        Self { opening: Mutex::default(), open: Mutex::default(), closed: Condvar::new() }
    }
}

impl<K: Ord + Copy, T> Once<K, T> {
    /// The one of that name, if it is open.
    pub(super) fn get(&self, key: K) -> Option<Arc<T>> {
        lock(&self.open).get(&key)?.upgrade()
    }

    /// All that are open.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        lock(&self.open).values().filter_map(Weak::upgrade).collect()
    }

    /// The one of that name, opened by `open` if it is not yet. What `open` makes calls [`Once::closed`] when it is gone.
    pub(super) fn get_or<E>(
        &self,
        key: K,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let _opening = lock(&self.opening);
        if let Some(open) = self.await_closed(key) {
            return Ok(open);
        }
        let new = Arc::new(open()?);
        lock(&self.open).insert(key, Arc::downgrade(&new));
        Ok(new)
    }

    /// The one that is open; waits while it is being closed.
    fn await_closed(&self, key: K) -> Option<Arc<T>> {
        let mut open = lock(&self.open);
        loop {
            match open.get(&key).map(Weak::upgrade) {
                Some(Some(found)) => return Some(found),
                Some(None) => open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner),
                None => return None,
            }
        }
    }

    /// The one of that name is closed.
    pub(super) fn closed(&self, key: K) {
        let mut open = lock(&self.open);
        if open.get(&key).is_some_and(|one| one.strong_count() == 0) {
            open.remove(&key);
        }
        drop(open);
        self.closed.notify_all();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps of handles, and an allocator whose calls do not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// What the kernel would say: how many are open at once, and how often one was opened.
    #[derive(Default)]
    struct Kernel {
        once: Once<u32, One>,
        open: AtomicU32,
        opened: AtomicU32,
    }

    /// It takes a while to be opened, and to be closed.
    struct One(Arc<Kernel>);

    impl One {
        fn open(kernel: &Arc<Kernel>) -> Result<Self, &'static str> {
            thread::sleep(Duration::from_millis(2));
            kernel.opened.fetch_add(1, SeqCst);
            match kernel.open.fetch_add(1, SeqCst) {
                0 => Ok(Self(Arc::clone(kernel))),
                _ => Err("it is open already"),
            }
        }
    }

    impl Drop for One {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(2));
            self.0.open.fetch_sub(1, SeqCst);
            self.0.once.closed(7);
        }
    }

    #[test]
    fn whoever_asks_at_the_same_time_gets_the_same_one() {
        let kernel = Arc::new(Kernel::default());
        let ask = || kernel.once.get_or(7, || One::open(&kernel)).unwrap();
        thread::scope(|scope| {
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            let got: Vec<_> = asking.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(got.iter().all(|one| Arc::ptr_eq(one, &got[0])));
            assert_eq!((kernel.once.all().len(), kernel.opened.load(SeqCst)), (1, 1));
        });
        assert!(kernel.once.get(7).is_none() && kernel.once.all().is_empty());
    }

    #[test]
    fn one_that_is_being_closed_is_waited_for() {
        let kernel = Arc::new(Kernel::default());
        let again =
            || (0..20).for_each(|_| drop(kernel.once.get_or(7, || One::open(&kernel)).unwrap()));
        thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(again))));
        println!("opened {} times", kernel.opened.load(SeqCst));
        assert!(kernel.opened.load(SeqCst) > 1 && kernel.once.get(7).is_none());
    }

    #[test]
    fn what_could_not_be_opened_is_tried_again() {
        let once = Once::<u32, u32>::default();
        assert_eq!(once.get_or(1, || Err("no")), Err("no"));
        assert_eq!(once.get_or(1, || Ok::<_, ()>(5)).as_deref(), Ok(&5));
    }
}
