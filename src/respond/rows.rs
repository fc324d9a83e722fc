//! What happened to actions and cases, for those who keep or read it: the archive and detections.

use weir_playbooks::journal::{Change, ChangeOf};

use super::Respond;

impl Respond {
    /// The next changes after a number, in order, and so many at most.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn changes_of(&self, of: ChangeOf, after: u64, count_max: usize) -> anyhow::Result<Vec<Change>> {
        Ok(self.inner.journal(move |journal| journal.changes(of, after, count_max)).await?)
    }

    /// The number of the last change of all.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn last_change(&self) -> anyhow::Result<u64> {
        Ok(self.inner.journal(|journal| journal.last_change()).await?)
    }
}
