//! The epochs of an engine as a process writes them: the first whole, the others as changes, all through bytes.

use crate::{Engine, Outputs, Scope, WorkerSnapshot};

/// What each worker has written so far.
#[derive(Default)]
pub(super) struct Epochs {
    chains: Vec<Vec<WorkerSnapshot>>,
}

impl Epochs {
    /// Ends an epoch; gives what is stated with it.
    pub(super) fn end(&mut self, engine: &mut Engine) -> Outputs {
        let scope = if self.chains.is_empty() { Scope::Whole } else { Scope::Changes };
        let (outputs, saved) = engine.end_epoch(scope).expect("operators can be saved");
        self.chains.resize(saved.len(), vec![]);
        for (chain, snapshot) in self.chains.iter_mut().zip(&saved) {
            let bytes = snapshot.to_bytes().expect("bytes");
            chain.push(WorkerSnapshot::from_bytes(&bytes).expect("own bytes"));
        }
        outputs
    }

    /// The state at the end of the last epoch.
    pub(super) fn state(self) -> Vec<WorkerSnapshot> {
        let fold = |chain: Vec<WorkerSnapshot>| {
            let whole = WorkerSnapshot::fold(chain).expect("a whole state and its changes");
            WorkerSnapshot::from_bytes(&whole.to_bytes().expect("bytes")).expect("own bytes")
        };
        self.chains.into_iter().map(fold).collect()
    }
}
