//! How many bytes may lie between the thread that reads and whoever works on what was read.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bounded number of bytes. Readers ask whether there is room; what was read holds a [`Permit`] until it is dropped.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

/// Bytes that are in use; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Inner>,
    bytes: usize,
}

impl Inner {
    fn used(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { bytes_max, used: Mutex::new(0), freed: Condvar::new() }))
    }

    /// Takes bytes. That may go over the bound by the one batch that was being read when it was reached.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Permit {
        *self.0.used() += bytes;
        Permit { budget: Arc::clone(&self.0), bytes }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        *self.0.used()
    }

    /// Whether more may be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        *self.0.used() < self.0.bytes_max
    }

    /// Waits until at most half is in use; `false` if that did not happen in time.
    pub(super) fn wait_for_half(&self, timeout: Duration) -> bool {
        let half = self.0.bytes_max / 2;
        let waited = self.0.freed.wait_timeout_while(self.0.used(), timeout, |used| *used > half);
        let (used, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *used <= half
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.used() -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_gives_its_bytes_back() {
        let budget = Budget::new(100);
        let (first, second) = (budget.take(60), budget.take(60));
        assert!(!budget.has_room());
        assert!(!budget.wait_for_half(Duration::ZERO));
        drop(first);
        assert!(budget.has_room() && !budget.wait_for_half(Duration::ZERO));
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.wait_for_half(Duration::from_secs(60))
        });
        drop(second);
        assert!(waiter.join().is_ok_and(|has_room| has_room));
        assert_eq!(budget.used(), 0);
    }
}
