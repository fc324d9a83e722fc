//! A person decides: answers a question, closes a case. Closing starts the `on_close` steps of the case's playbooks, which
//! close its tickets.

use anyhow::{Context as _, bail};
use weir_playbooks::case::Verdict;
use weir_playbooks::journal::{Journal, JournalError, RunFilter, Write};
use weir_playbooks::playbook::Part;
use weir_playbooks::run::Run;

use super::{CONFLICTS_MAX, Respond, desk, now};

impl Respond {
    /// Answers a question; the run goes on at once.
    ///
    /// # Errors
    /// There is no such question, it is answered or expired, or the person may not answer it.
    pub(crate) async fn decide(&self, run: &str, step: Option<&str>, approved: bool, by: &str) -> anyhow::Result<()> {
        let (run, step, by) = (run.to_owned(), step.map(str::to_owned), by.to_owned());
        let decided = self.blocking(move |journal| desk::decide(journal, &run, step.as_deref(), approved, &by, now()));
        decided.await?;
        self.inner.journaled.send_modify(|count| *count += 1);
        self.inner.answered.notify_waiters();
        Ok(())
    }

    /// Closes a case with its verdict, cancels what still waits, and starts the `on_close` steps. Returns the runs that this started.
    ///
    /// # Errors
    /// There is no such case, it is closed, or the journal cannot be used.
    pub(crate) async fn close_case(
        &self,
        id: &str,
        verdict: Verdict,
        comment: Option<&str>,
        by: &str,
    ) -> anyhow::Result<Vec<String>> {
        for _ in 0..CONFLICTS_MAX {
            let (id, comment, by) = (id.to_owned(), comment.map(str::to_owned), by.to_owned());
            let closing = self.closing_playbooks();
            let close =
                move |journal: &mut dyn Journal| close(journal, &id, verdict, comment.as_deref(), &by, &closing);
            match self.blocking(close).await {
                Ok(runs) => {
                    self.inner.journaled.send_modify(|count| *count += 1);
                    self.inner.answered.notify_waiters();
                    let ids = runs.iter().map(|run| run.id.clone()).collect();
                    runs.into_iter().for_each(|run| self.spawn(run));
                    return Ok(ids);
                }
                Err(error) if matches!(error.downcast_ref(), Some(JournalError::Conflict(_))) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("case {id}: the journal changes faster than it can be read")
    }

    fn closing_playbooks(&self) -> Vec<String> {
        let playbooks = self.inner.setup.playbooks.values();
        playbooks.filter(|playbook| !playbook.on_close.steps.is_empty()).map(|playbook| playbook.id.clone()).collect()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Journal) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        // The journal's own errors pass through as they are, so that a conflict can be told from the rest.
        self.inner.journal(move |journal| Ok(work(journal))).await.context("cannot use the journal")?
    }
}

fn close(
    journal: &mut dyn Journal,
    id: &str,
    verdict: Verdict,
    comment: Option<&str>,
    by: &str,
    closing: &[String],
) -> anyhow::Result<Vec<Run>> {
    let at = now();
    let mut case = desk::find_case(journal, id)?;
    let from = case.version;
    let note = case.close(verdict, comment, by, at)?;
    let filter = RunFilter { case: Some(case.id.clone()), ..RunFilter::default() };
    let mut writes = vec![Write::Case { case: case.clone(), from }, Write::Note(note)];
    let mut started = Vec::new();
    let of_case = journal.runs(&filter)?;
    // What still waits, for an answer or a responder, must not act on a case that has its verdict.
    for mut run in of_case.iter().filter(|run| !run.status.is_end()).cloned() {
        run.version += 1;
        run.cancel("the case was closed", by, at);
        let notes = run.take_notes();
        writes.push(Write::Run(run));
        writes.extend(notes.into_iter().map(Write::Note));
    }
    let opened = of_case.iter().filter(|run| run.part == Part::Steps && closing.contains(&run.playbook));
    for earlier in opened {
        // A ticket is closed once; after a reopening the second closing finds its run and leaves the ticket.
        let closing = Run::id_of(&earlier.alert.uid, &earlier.playbook, Part::OnClose, earlier.mode);
        let has_closed = of_case.iter().any(|run| run.id == closing);
        if has_closed {
            continue;
        }
        let (mut run, note) =
            Run::start(earlier.alert.clone(), &earlier.playbook, Part::OnClose, earlier.mode, earlier.case.clone(), at);
        run.inherit(earlier);
        writes.extend([Write::StartRun(run.clone()), Write::Note(note)]);
        started.push(run);
    }
    journal.write(&writes)?;
    Ok(started)
}
