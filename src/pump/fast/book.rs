//! The book of fast alerts: which are on their way, what became of the others, and up to which epoch all is settled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_connectors::kafka::{Left, LeftReason};

/// What became of the fast alerts of one detection since the pipeline started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FastCounts {
    /// Sent.
    pub(crate) sent: u64,
    /// Left to the exact path, by reason as in [`LeftReason::ALL`].
    pub(crate) left: [u64; LeftReason::ALL.len()],
}

/// Fast alerts, by a number of their own. Shards write into it and so does the client, so nothing here takes long.
pub(in crate::pump) struct Book(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    next: usize,
    /// The detection of each that is on its way.
    on_the_way: BTreeMap<usize, usize>,
    counts: BTreeMap<usize, FastCounts>,
    /// Epochs with what may still be on its way: each with the number before which all of it stands.
    epochs: VecDeque<(u64, usize)>,
    left: Untold,
}

/// What was left since it was told last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Untold {
    /// How many alerts.
    pub(super) count: u64,
    /// The last of them.
    pub(super) last: Option<Left>,
}

impl Book {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// One more is on its way.
    pub(super) fn enter(&self, detection: usize) -> usize {
        let mut pages = self.pages();
        let number = pages.next;
        pages.next += 1;
        pages.on_the_way.insert(number, detection);
        number
    }

    /// One was sent or left.
    pub(super) fn settle(&self, number: usize, settled: Result<(), Left>) {
        let mut pages = self.pages();
        let Some(detection) = pages.on_the_way.remove(&number) else { return };
        let counts = pages.counts.entry(detection).or_default();
        match settled {
            Ok(()) => counts.sent += 1,
            Err(left) => {
                let reasons = LeftReason::ALL.iter().zip(&mut counts.left);
                reasons.filter(|(reason, _)| **reason == left.reason).for_each(|(_, count)| *count += 1);
                pages.left.count += 1;
                pages.left.last = Some(left);
            }
        }
    }

    /// Everything entered so far belongs to this epoch or to earlier ones.
    pub(in crate::pump) fn close(&self, epoch: u64) {
        let mut pages = self.pages();
        let next = pages.next;
        pages.epochs.push_back((epoch, next));
    }

    /// The first epoch of which something is still on its way.
    pub(in crate::pump) fn unsettled_from(&self) -> Option<u64> {
        let mut pages = self.pages();
        let first = pages.on_the_way.first_key_value().map_or(usize::MAX, |(number, _)| *number);
        while pages.epochs.front().is_some_and(|(_, before)| *before <= first) {
            pages.epochs.pop_front();
        }
        pages.epochs.front().map(|(epoch, _)| *epoch)
    }

    /// What became of the alerts of each detection.
    pub(super) fn counts(&self) -> BTreeMap<usize, FastCounts> {
        self.pages().counts.clone()
    }

    /// What was left since this was asked last.
    pub(super) fn take_untold(&self) -> Untold {
        std::mem::take(&mut self.pages().left)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Plain data that each change leaves whole: a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(reason: LeftReason) -> Result<(), Left> {
        Err(Left { reason, said: reason.as_str().to_owned() })
    }

    #[test]
    fn every_alert_is_counted_as_sent_or_as_left_with_its_reason() {
        let book = Book::new();
        let numbers: Vec<_> = [7, 7, 8, 7].map(|detection| book.enter(detection)).into();
        book.settle(numbers[0], Ok(()));
        book.settle(numbers[1], left(LeftReason::NoAnswer));
        book.settle(numbers[2], left(LeftReason::QueueFull));
        // Whoever tells twice is heard once.
        book.settle(numbers[0], left(LeftReason::Refused));
        let of_seven = FastCounts { sent: 1, left: [0, 1, 0, 0] };
        let of_eight = FastCounts { sent: 0, left: [1, 0, 0, 0] };
        assert_eq!(book.counts(), [(7, of_seven), (8, of_eight)].into());
        let untold = book.take_untold();
        assert_eq!((untold.count, untold.last.map(|left| left.reason)), (2, Some(LeftReason::QueueFull)));
        assert_eq!(book.take_untold(), Untold::default());
    }

    #[test]
    fn an_epoch_is_settled_when_all_up_to_its_end_is() {
        let book = Book::new();
        assert_eq!(book.unsettled_from(), None);
        let (first, second) = (book.enter(0), book.enter(0));
        book.close(4);
        let third = book.enter(0);
        book.close(5);
        book.close(6);
        assert_eq!(book.unsettled_from(), Some(4));
        book.settle(first, Ok(()));
        book.settle(third, Ok(()));
        assert_eq!(book.unsettled_from(), Some(4), "the second is still on its way");
        let fourth = book.enter(0);
        book.close(7);
        book.settle(second, left(LeftReason::NoAnswer));
        assert_eq!(book.unsettled_from(), Some(7), "what was left is settled too");
        book.settle(fourth, Ok(()));
        assert_eq!(book.unsettled_from(), None);
    }
}
