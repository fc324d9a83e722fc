//! A state that cannot be written for a while: an epoch is written again until it can, and meanwhile nothing is read.
//!
//! A disk that is full, or a bucket that cannot be reached, is mended by somebody else, and an end of the process would
//! mend nothing. What was read and is not committed stays in memory, so reading pauses until it is.

use std::time::Duration;

use tokio::sync::watch;
use weir_connectors::kafka::Budget;
use weir_connectors::state::StateError;

use super::Progress;

/// How long to wait before the state is written again: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long the state may fail before the process is given up; whoever watches over it hears of that.
const STATE_PATIENCE: Duration = Duration::from_secs(600);

/// Tries again what the state refuses.
pub(super) struct Retry {
    budget: Budget,
    /// More than sources may have on the way, so that they read nothing while it is taken.
    all: usize,
    stopping: watch::Receiver<bool>,
    progress: watch::Sender<Progress>,
    patience: Duration,
}

impl Retry {
    pub(super) fn new(
        budget: Budget,
        all: usize,
        stopping: watch::Receiver<bool>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self { budget, all, stopping, progress, patience: STATE_PATIENCE }
    }

    /// Lets whoever asks know why nothing is read; nobody is woken by it.
    fn tell(&self, waiting: Option<String>) {
        self.progress.send_if_modified(|progress| {
            progress.waiting = waiting;
            false
        });
    }

    /// Does `work` until it succeeds, unless trying again cannot help, the pipeline stops, or it takes too long.
    ///
    /// # Errors
    /// The last error of `work`.
    pub(super) async fn until_done<T, F>(&mut self, epoch: u64, mut work: impl FnMut() -> F) -> Result<T, StateError>
    where
        F: Future<Output = Result<T, StateError>>,
    {
        let mut paused = None;
        let mut wait = BACK_OFF.0;
        let begun = tokio::time::Instant::now();
        loop {
            match work().await {
                Ok(done) => {
                    if paused.is_some() {
                        tracing::info!(epoch, "the state can be written again; reading goes on");
                        self.tell(None);
                    }
                    return Ok(done);
                }
                Err(error) if !error.is_retriable() || *self.stopping.borrow() => return Err(error),
                Err(error) if begun.elapsed() >= self.patience => return Err(error),
                Err(error) => {
                    let wait_ms = wait.as_millis() as u64;
                    tracing::warn!(epoch, wait_ms, %error, "the state cannot be written; nothing is read until it can");
                    self.tell(Some(format!("the state cannot be written: {error}")));
                }
            }
            paused.get_or_insert_with(|| self.budget.take(self.all));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // With the sender goes the pipeline.
                changed = self.stopping.changed() => if changed.is_err() { tokio::time::sleep(wait).await },
            }
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use weir_connectors::location::Location;
    use weir_connectors::state::{Manifest, StateStore};

    use super::*;

    fn failure() -> StateError {
        let source = object_store::Error::Generic { store: "test", source: "no space left".into() };
        StateError::Store { action: "write", path: "p".into(), place: "here".into(), source: Box::new(source) }
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_and_nothing_is_read_meanwhile() {
        let budget = Budget::new(100);
        let (_stop, stopping) = watch::channel(false);
        let progress = watch::Sender::new(Progress::default());
        let mut retry = Retry::new(budget.clone(), 100, stopping, progress.clone());
        let tries = Cell::new(0);
        let had_room = Cell::new(vec![]);
        let done = retry.until_done(1, || {
            tries.set(tries.get() + 1);
            let mut seen = had_room.take();
            seen.push((budget.has_room(), progress.borrow().waiting.is_none()));
            had_room.set(seen);
            std::future::ready(if tries.get() < 3 { Err(failure()) } else { Ok("done") })
        });
        assert_eq!(done.await.unwrap(), "done");
        let waiting = (false, false);
        assert_eq!(had_room.take(), [(true, true), waiting, waiting], "reading pauses with the first failure");
        assert!(budget.has_room() && progress.borrow().waiting.is_none(), "and goes on when the state does");
    }

    #[tokio::test]
    async fn a_stop_and_the_end_of_patience_give_the_error_back() {
        let (stop, stopping) = watch::channel(true);
        let mut retry = Retry::new(Budget::new(100), 100, stopping, watch::Sender::default());
        let failed = retry.until_done(1, || std::future::ready(Err::<(), _>(failure()))).await;
        assert!(failed.unwrap_err().is_retriable());
        stop.send_replace(false);
        retry.patience = Duration::ZERO;
        let failed = retry.until_done(1, || std::future::ready(Err::<(), _>(failure()))).await;
        assert!(failed.unwrap_err().is_retriable());
    }

    #[tokio::test]
    async fn a_fence_is_not_tried_again() {
        let place = Location::memory();
        let (one, two) = (StateStore::new(&place), StateStore::new(&place));
        two.commit(&Manifest::new(1)).await.unwrap();
        let (_stop, stopping) = watch::channel(false);
        let mut retry = Retry::new(Budget::new(100), 100, stopping, watch::Sender::default());
        let manifest = Manifest::new(1);
        let tries = Cell::new(0);
        let failed = retry.until_done(1, || {
            tries.set(tries.get() + 1);
            one.commit(&manifest)
        });
        assert!(matches!(failed.await, Err(StateError::Fenced { epoch: 1, .. })));
        assert_eq!(tries.get(), 1);
    }
}
