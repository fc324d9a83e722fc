//! Followers: each sink goes through the manifests in order, at its own pace, with a cursor of its own.

use std::time::Duration;

use anyhow::bail;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_connectors::failpoint;
use weir_connectors::state::{Output, StateError, StateStore};

use super::{Progress, protocol};

/// How long to wait before a failed delivery is tried again: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How often what no sink needs any more is deleted.
const RETENTION_PERIOD: Duration = Duration::from_secs(30);

/// What became of one attempt to deliver an epoch.
pub(super) enum Attempt {
    /// It is delivered, and the sink's cursor says so.
    Done,
    /// It can be tried again.
    Later(anyhow::Error),
}

/// Something that epochs are delivered to.
pub(super) trait Sink: Send + 'static {
    /// Its name in logs.
    fn name(&self) -> &'static str;

    /// Delivers an epoch and moves the sink's own cursor with it. Delivering again changes nothing.
    ///
    /// # Errors
    /// What cannot be mended by trying again; the pipeline ends.
    fn deliver(&mut self, epoch: u64, outputs: Vec<Output>) -> impl Future<Output = anyhow::Result<Attempt>> + Send;
}

/// Delivers every committed epoch above `cursor`, and after a stop all that are left.
pub(super) async fn follow(
    mut sink: impl Sink,
    state: StateStore,
    cursor: watch::Sender<u64>,
    mut progress: watch::Receiver<Progress>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        // Asked first: what was committed before the stop is seen by then.
        let is_last = *stopping.borrow();
        let committed = progress.borrow_and_update().epoch;
        loop {
            let at = *cursor.borrow();
            let Some(epoch) = protocol::due(at, committed) else { break };
            if !deliver(&mut sink, &state, epoch, &mut stopping).await? {
                return Ok(());
            }
            cursor.send_replace(epoch);
        }
        if is_last {
            return Ok(());
        }
        if *stopping.borrow() {
            continue;
        }
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            changed = stopping.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Delivers one epoch, however often it takes; false if the process stops before it is done.
async fn deliver(
    sink: &mut impl Sink,
    state: &StateStore,
    epoch: u64,
    stopping: &mut watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let name = sink.name();
    let mut outputs = None;
    let mut wait = BACK_OFF.0;
    loop {
        match attempt(sink, state, epoch, &mut outputs).await? {
            Attempt::Done => return Ok(true),
            Attempt::Later(error) => {
                let wait_ms = wait.as_millis() as u64;
                tracing::warn!(sink = name, epoch, wait_ms, error = format!("{error:#}"), "not delivered yet");
            }
        }
        if *stopping.borrow() {
            tracing::warn!(sink = name, epoch, "stopped before this was delivered; the next start goes on here");
            return Ok(false);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.changed() => {}
        }
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// Reads the outputs of an epoch, unless an attempt before has read them, and hands them to the sink.
async fn attempt(
    sink: &mut impl Sink,
    state: &StateStore,
    epoch: u64,
    outputs: &mut Option<Vec<Output>>,
) -> anyhow::Result<Attempt> {
    let outputs = match outputs {
        Some(outputs) => outputs,
        None => match read(state, epoch).await {
            Ok(Some(read)) => outputs.insert(read),
            Ok(None) => bail!("{} still needs epoch {epoch}, whose manifest is gone", sink.name()),
            Err(error) if error.is_retriable() => return Ok(Attempt::Later(error.into())),
            Err(error) => return Err(error.into()),
        },
    };
    sink.deliver(epoch, outputs.clone()).await
}

async fn read(state: &StateStore, epoch: u64) -> Result<Option<Vec<Output>>, StateError> {
    match state.manifest(epoch).await? {
        Some(manifest) => state.read_outputs(&manifest).await.map(Some),
        None => Ok(None),
    }
}

/// Deletes what lies below the slowest cursor, every now and then.
pub(super) fn spawn_retention(
    state: StateStore,
    cursors: Vec<watch::Receiver<u64>>,
    progress: &watch::Receiver<Progress>,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) {
    let (progress, mut stopping) = (progress.clone(), stopping.clone());
    tasks.spawn(async move {
        while !*stopping.borrow() {
            tokio::select! {
                () = tokio::time::sleep(failpoint::span("retention.period_ms", RETENTION_PERIOD)) => {}
                _ = stopping.changed() => {}
            }
            let committed = progress.borrow().epoch;
            let slowest = protocol::needed_from(committed, cursors.iter().map(|cursor| *cursor.borrow()));
            match state.retain_from(slowest).await {
                Ok(0) => {}
                Ok(deleted) => tracing::debug!(deleted, below = slowest, "old state deleted"),
                Err(error) => tracing::warn!(%error, "old state cannot be deleted; it only takes room"),
            }
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use weir_connectors::location::Location;
    use weir_connectors::state::Manifest;

    use super::*;

    /// Delivers to a list; while it is at the first epoch, the second is committed and the pipeline stops.
    struct Slow {
        delivered: Arc<Mutex<Vec<u64>>>,
        state: StateStore,
        progress: watch::Sender<Progress>,
        stop: watch::Sender<bool>,
    }

    impl Sink for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        async fn deliver(&mut self, epoch: u64, _outputs: Vec<Output>) -> anyhow::Result<Attempt> {
            self.delivered.lock().unwrap().push(epoch);
            if epoch == 1 {
                self.state.commit(&Manifest::new(2)).await?;
                self.progress.send_replace(Progress { epoch: 2, ..Progress::default() });
                self.stop.send_replace(true);
            }
            Ok(Attempt::Done)
        }
    }

    #[tokio::test]
    async fn what_is_committed_while_a_sink_is_busy_is_delivered_before_a_stop() {
        let state = StateStore::new(&Location::memory());
        state.commit(&Manifest::new(1)).await.unwrap();
        let (progress, seen) = watch::channel(Progress { epoch: 1, ..Progress::default() });
        let (stop, stopping) = watch::channel(false);
        let (cursor, at) = watch::channel(0);
        let delivered = Arc::default();
        let sink = Slow { delivered: Arc::clone(&delivered), state: state.clone(), progress, stop };
        follow(sink, state, cursor, seen, stopping).await.unwrap();
        assert_eq!((*delivered.lock().unwrap()).as_slice(), [1, 2]);
        assert_eq!(*at.borrow(), 2);
    }
}
