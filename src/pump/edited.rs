//! What an edit means for what was counted: one line for each detection that is not as it was.

use std::collections::BTreeMap;

use weir_connectors::state::Manifest;
use weir_engine::{Continuation, Reason, WorkerSnapshot};

use super::Setup;
use super::shard::ShardSnapshot;

/// Compares what is about to run with what ran when `last` was written, and says what is different.
pub(super) fn tell(setup: &Setup, last: &Manifest, saved: &[ShardSnapshot]) {
    let parts: Vec<WorkerSnapshot> = saved.iter().map(|part| part.worker.clone()).collect();
    let continuations = setup.rules.program.continuations(&parts);
    let ids = setup.rules.detections.iter().map(|detection| &*detection.id);
    let mut is_same = 0;
    // What becomes of those in quarantine is said where that is decided.
    for (id, continuation) in ids.zip(continuations).filter(|(id, _)| !last.quarantined.contains_key(*id)) {
        match fate(id, continuation, &last.detections, &setup.digests) {
            None => is_same += 1,
            Some(fate) => tracing::info!(detection = id, "{fate}"),
        }
    }
    for id in last.detections.keys().filter(|id| !setup.digests.contains_key(*id)) {
        tracing::info!(detection = id, "removed: its state is dropped");
    }
    tracing::info!(detections = is_same, "unchanged: their state is kept");
}

/// What becomes of a detection, in words; `None` where nothing does.
fn fate(
    id: &str,
    continuation: Continuation,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Option<String> {
    let Some(before) = before.get(id) else {
        let goes_on = match continuation {
            Continuation::Stateless => "it has nothing to count",
            Continuation::Anew(_) => "starts empty",
            Continuation::Same | Continuation::Restated => "goes on with what others have counted",
        };
        return Some(format!("new: {goes_on}"));
    };
    let is_own = now.get(id) != Some(before);
    let kept = match continuation {
        Continuation::Same if is_own => "state kept",
        Continuation::Same => return None,
        Continuation::Stateless => "it has nothing to count",
        Continuation::Restated => "counts kept, its threshold or columns changed",
        Continuation::Anew(Reason::OtherRows) => "state lost because other events reach what it counts",
        Continuation::Anew(Reason::OtherOperator) => "state lost because it counts something else",
    };
    Some(format!("{}: {kept}", if is_own { "edited" } else { "what it reads was edited" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_detection_is_said_in_words() {
        let before = [("old".to_owned(), "1".to_owned()), ("edited".to_owned(), "2".to_owned())].into();
        let now = [("old".to_owned(), "1".to_owned()), ("edited".to_owned(), "3".to_owned())].into();
        let told = |id: &str, continuation| fate(id, continuation, &before, &now).unwrap_or_default();
        assert_eq!(told("old", Continuation::Same), "");
        assert_eq!(told("edited", Continuation::Same), "edited: state kept");
        assert_eq!(told("edited", Continuation::Restated), "edited: counts kept, its threshold or columns changed");
        let lost = Continuation::Anew(Reason::OtherRows);
        let because = "state lost because other events reach what it counts";
        assert_eq!(told("old", lost), format!("what it reads was edited: {because}"));
        assert_eq!(told("new", lost), "new: starts empty");
        assert_eq!(told("new", Continuation::Same), "new: goes on with what others have counted");
    }
}
