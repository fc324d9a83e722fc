//! A journal in memory: for tests, and for runs that need not survive.

use crate::audit::Entry;
use crate::case::{Case, CaseStatus};
use crate::run::Run;

use super::{
    Approval, ApprovalFilter, AuditFilter, CaseFilter, Change, ChangeOf, Journal, JournalError, RunFilter, Write,
    of_case, of_run,
};

/// A journal that ends with its process.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    runs: Vec<Run>,
    cases: Vec<Case>,
    approvals: Vec<Approval>,
    audit: Vec<Entry>,
    changes: Vec<(ChangeOf, Change)>,
}

impl Memory {
    fn apply(&mut self, write: &Write, together: &[Write]) -> Result<(), JournalError> {
        match write {
            Write::StartRun(run) => {
                if self.runs.iter().any(|known| known.id == run.id) {
                    return Err(JournalError::Exists(run.id.clone()));
                }
                self.runs.push(run.clone());
                self.note_changes(ChangeOf::Actions, of_run(None, run));
            }
            Write::Run(run) => {
                let known = self.runs.iter_mut().find(|known| known.id == run.id);
                let known = known.ok_or_else(|| JournalError::Missing(run.id.clone()))?;
                if known.version + 1 != run.version {
                    return Err(JournalError::Conflict(run.id.clone()));
                }
                let before = std::mem::replace(known, run.clone());
                self.note_changes(ChangeOf::Actions, of_run(Some(&before), run));
            }
            Write::OpenCase(case) => {
                if self.cases.iter().any(|known| known.id == case.id) {
                    return Err(JournalError::Exists(case.id.clone()));
                }
                self.cases.push(case.clone());
                self.note_changes(ChangeOf::Cases, vec![of_case(case, together)]);
            }
            Write::Case { case, from } => {
                let known = self.cases.iter_mut().find(|known| known.id == case.id);
                let known = known.ok_or_else(|| JournalError::Missing(case.id.clone()))?;
                if known.version != *from {
                    return Err(JournalError::Conflict(case.id.clone()));
                }
                *known = case.clone();
                self.note_changes(ChangeOf::Cases, vec![of_case(case, together)]);
            }
            Write::Ask(approval) => {
                let same = |known: &Approval| known.run == approval.run && known.step == approval.step;
                if !self.approvals.iter().any(same) {
                    self.approvals.push(approval.clone());
                }
            }
            Write::Decide { run, step, decision } => {
                let known = self.approvals.iter_mut().find(|known| known.run == *run && known.step == *step);
                let known = known.ok_or_else(|| JournalError::Missing(format!("question {step} of {run}")))?;
                if known.decision.is_some() {
                    return Err(JournalError::Answered(format!("question {step} of {run}")));
                }
                known.decision = Some(decision.clone());
            }
            Write::Note(note) => {
                let previous = self.audit.last().map_or("", |entry| entry.hash.as_str());
                let entry = Entry::seal(self.audit.len() as u64 + 1, previous, note.clone());
                self.audit.push(entry);
            }
        }
        Ok(())
    }

    fn note_changes(&mut self, of: ChangeOf, rows: Vec<serde_json::Value>) {
        for row in rows {
            let seq = self.changes.len() as u64 + 1;
            self.changes.push((of, Change { seq, row }));
        }
    }
}

impl Journal for Memory {
    fn write(&mut self, writes: &[Write]) -> Result<(), JournalError> {
        let mut changed = self.clone();
        writes.iter().try_for_each(|write| changed.apply(write, writes))?;
        *self = changed;
        Ok(())
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<Run>, JournalError> {
        Ok(self.runs.iter().filter(|run| filter.takes(run)).cloned().collect())
    }

    fn cases(&mut self, filter: &CaseFilter) -> Result<Vec<Case>, JournalError> {
        Ok(self.cases.iter().filter(|case| filter.takes(case)).cloned().collect())
    }

    fn approvals(&mut self, filter: &ApprovalFilter) -> Result<Vec<Approval>, JournalError> {
        let takes = |approval: &&Approval| {
            filter.run.as_ref().is_none_or(|run| *run == approval.run) && (!filter.open || approval.decision.is_none())
        };
        Ok(self.approvals.iter().filter(takes).cloned().collect())
    }

    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>, JournalError> {
        let takes = |entry: &&Entry| {
            (filter.case.is_none() || filter.case == entry.note.case)
                && (filter.run.is_none() || filter.run == entry.note.run)
                && entry.seq > filter.after
        };
        Ok(self.audit.iter().filter(takes).cloned().collect())
    }

    fn changes(&mut self, of: ChangeOf, after: u64, count_max: usize) -> Result<Vec<Change>, JournalError> {
        let wanted = self.changes.iter().filter(|(about, change)| *about == of && change.seq > after);
        Ok(wanted.take(count_max).map(|(_, change)| change.clone()).collect())
    }

    fn last_change(&mut self) -> Result<u64, JournalError> {
        Ok(self.changes.len() as u64)
    }
}

impl RunFilter {
    /// Whether a run is meant.
    #[must_use]
    pub fn takes(&self, run: &Run) -> bool {
        self.id.as_ref().is_none_or(|id| *id == run.id)
            && self.alert.as_ref().is_none_or(|alert| *alert == run.alert.uid)
            && (self.case.is_none() || self.case == run.case)
            && (!self.unfinished || !run.status.is_end())
            && self.status.is_none_or(|status| status == run.status)
            && self.since.is_none_or(|since| run.updated >= since)
    }
}

impl CaseFilter {
    /// Whether a case is meant.
    #[must_use]
    pub fn takes(&self, case: &Case) -> bool {
        self.id.as_ref().is_none_or(|id| *id == case.id)
            && self.status.is_none_or(|status| status == case.status)
            && (!self.unclosed || case.status != CaseStatus::Closed)
            && self.alert.as_ref().is_none_or(|alert| case.has(alert))
            && self.about.as_ref().is_none_or(|things| things.iter().any(|(kind, value)| case.is_about(kind, value)))
            && self.since.is_none_or(|since| case.updated >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::journal::conformance;

    #[test]
    fn memory_keeps_the_promises_of_a_journal() {
        conformance::all(&mut || Box::new(Memory::default()));
    }
}
