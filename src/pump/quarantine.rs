//! Detections in quarantine: those whose state goes beyond its budget, or of which an operator failed. That is decided at
//! the end of an epoch and stands in its manifest, with an alert about it; from the next barrier on their operators get no
//! rows and remember nothing. It ends when the detection is edited, when the limit that it reached is raised, or where an
//! operator failed with another version of Weir.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_connectors::state::{Manifest, Quarantine, QuarantineReason};
use weir_detections::Detection;
use weir_engine::{Excess, Limit, StateBudget};

use super::Setup;
use super::shard::Part;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who is in quarantine.
pub(super) struct Wards {
    budget: StateBudget,
    by_id: BTreeMap<String, Quarantine>,
    /// The same by the index of the detection, for the shards.
    queries: Arc<BTreeSet<usize>>,
}

impl Wards {
    /// Who stays in quarantine behind the last process.
    pub(super) fn resume(setup: &Setup, last: Option<&Manifest>) -> Self {
        let budget = setup.budget;
        let mut by_id = BTreeMap::new();
        for (id, quarantine) in last.iter().flat_map(|last| &last.quarantined) {
            let Some(digest) = setup.digests.get(id) else { continue };
            if *digest != quarantine.digest {
                tracing::info!(detection = id, "edited: out of quarantine, begins without state");
            } else if is_over(&quarantine.reason, budget) {
                let why = "a limit was raised or Weir is another";
                tracing::info!(detection = id, "{why}: out of quarantine, begins without state");
            } else {
                tracing::warn!(detection = id, reason = in_words(&quarantine.reason), "stays in quarantine");
                by_id.insert(id.clone(), quarantine.clone());
            }
        }
        let queries = setup.rules.detections.iter().enumerate();
        let queries = queries.filter(|(_, detection)| by_id.contains_key(&*detection.id)).map(|(index, _)| index);
        Self { budget, queries: Arc::new(queries.collect()), by_id }
    }

    /// Those in quarantine, by the index of the detection.
    pub(super) fn queries(&self) -> Arc<BTreeSet<usize>> {
        Arc::clone(&self.queries)
    }

    /// Those in quarantine, by id, as the manifest has them.
    pub(super) const fn by_id(&self) -> &BTreeMap<String, Quarantine> {
        &self.by_id
    }

    /// Judges what the shards remember at the end of an epoch, and what of them failed; gives the ids of those who go.
    pub(super) fn judge(&mut self, setup: &Setup, parts: &[Part], epoch: u64) -> Vec<String> {
        let mut gone = vec![];
        for fault in parts.iter().flat_map(|part| &part.faults) {
            for query in &fault.queries {
                let reason = QuarantineReason::Fault { said: fault.reason.clone(), version: VERSION.to_owned() };
                gone.extend(self.put(setup, *query, reason, epoch));
            }
        }
        let of_nodes = of_nodes(parts);
        for Excess { query, bytes, limit } in setup.rules.program.excess(&of_nodes, &self.queries, self.budget) {
            let bytes = bytes as u64;
            let reason = match limit {
                Limit::Each => QuarantineReason::OwnState { bytes, limit: self.budget.of_each as u64 },
                Limit::All => QuarantineReason::AllState { bytes, limit: self.budget.of_all as u64 },
            };
            gone.extend(self.put(setup, query, reason, epoch));
        }
        gone
    }

    fn put(&mut self, setup: &Setup, query: usize, reason: QuarantineReason, epoch: u64) -> Option<String> {
        let detection: &Detection = setup.rules.detections.get(query)?;
        let id = detection.id.to_string();
        if self.by_id.contains_key(&id) {
            return None;
        }
        tracing::error!(detection = id, reason = in_words(&reason), "in quarantine: sees no more events");
        let digest = setup.digests.get(&id).cloned().unwrap_or_default();
        self.by_id.insert(id.clone(), Quarantine { digest, epoch, reason });
        Arc::make_mut(&mut self.queries).insert(query);
        Some(id)
    }
}

/// What all shards remember together, by operator.
pub(super) fn of_nodes(parts: &[Part]) -> Vec<usize> {
    let mut sum = vec![0; parts.iter().map(|part| part.state_bytes.len()).max().unwrap_or(0)];
    for part in parts {
        sum.iter_mut().zip(&part.state_bytes).for_each(|(sum, bytes)| *sum += bytes);
    }
    sum
}

/// Whether a reason does not hold any more: the limit that was reached is greater now, or the program is another.
fn is_over(reason: &QuarantineReason, budget: StateBudget) -> bool {
    match reason {
        QuarantineReason::OwnState { limit, .. } => budget.of_each as u64 > *limit,
        QuarantineReason::AllState { limit, .. } => budget.of_all as u64 > *limit,
        QuarantineReason::Fault { version, .. } => version != VERSION,
    }
}

/// A reason in words, for logs and for the alert.
pub(super) fn in_words(reason: &QuarantineReason) -> String {
    match reason {
        QuarantineReason::OwnState { bytes, limit } => {
            format!("its state has {bytes} bytes, and [engine] detection_memory_mb allows {limit}")
        }
        QuarantineReason::AllState { bytes, limit } => format!(
            "all state together is more than the {limit} bytes that [engine] memory_mb allows, and with {bytes} bytes \
             it had the largest share"
        ),
        QuarantineReason::Fault { said, .. } => format!("an operator of it failed: {said}"),
    }
}

/// The bytes and the limit of a reason, where it has some.
pub(super) const fn bytes_of(reason: &QuarantineReason) -> Option<(u64, u64)> {
    match reason {
        QuarantineReason::OwnState { bytes, limit } | QuarantineReason::AllState { bytes, limit } => {
            Some((*bytes, *limit))
        }
        QuarantineReason::Fault { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_limit_and_another_version_end_it_and_nothing_else_does() {
        let budget = |of_each: usize, of_all: usize| StateBudget { of_each, of_all };
        let own = QuarantineReason::OwnState { bytes: 11, limit: 10 };
        let all = QuarantineReason::AllState { bytes: 11, limit: 20 };
        assert!(is_over(&own, budget(11, 1)) && !is_over(&own, budget(10, 99)) && !is_over(&own, budget(9, 99)));
        assert!(is_over(&all, budget(1, 21)) && !is_over(&all, budget(99, 20)));
        let fault =
            |version: &str| QuarantineReason::Fault { said: "panicked".to_owned(), version: version.to_owned() };
        assert!(!is_over(&fault(VERSION), budget(usize::MAX, usize::MAX)));
        assert!(is_over(&fault("0.0.0"), budget(1, 1)));
    }
}
