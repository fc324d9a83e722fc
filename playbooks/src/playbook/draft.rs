//! A playbook as far as it can be read, so that one mistake does not hide the next.

use crate::problem::{Problem, Span};

use super::{Outside, Playbook, read};

/// What could be read of a text.
#[derive(Debug)]
pub struct Draft {
    /// The playbook; steps that could not be read are missing in it. `None` where the text is no mapping at all.
    pub(super) playbook: Option<Playbook>,
    /// What steps that could not be read say about the outside.
    pub(super) strays: Vec<Stray>,
    /// Everything that is wrong with the text alone.
    pub(super) problems: Vec<Problem>,
}

/// What a step that could not be read says about the outside.
#[derive(Debug, Default)]
pub(super) struct Stray {
    /// Its responder, and where it is named.
    pub(super) responder: Option<(String, Span)>,
    /// Its table, and where it is named.
    pub(super) table: Option<(String, Span)>,
}

impl Draft {
    /// Reads as much of a text as can be read.
    #[must_use]
    pub fn read(text: &str) -> Self {
        read::draft(text)
    }

    /// Checks what the text says about the outside, and gives the playbook where its text has no mistake, together with
    /// everything that is wrong, in the order of the text. A playbook that names what does not exist is given all the
    /// same: its other steps can run.
    #[must_use]
    pub fn link(self, outside: &Outside<'_>) -> (Option<Playbook>, Vec<Problem>) {
        let mut linked: Vec<Problem> = self.playbook.iter().flat_map(|playbook| playbook.link(outside)).collect();
        linked.extend(self.strays.iter().flat_map(|stray| stray.link(outside)));
        let (playbook, mut problems) = match self.finish() {
            Ok(playbook) => (Some(playbook), Vec::new()),
            Err(problems) => (None, problems),
        };
        problems.append(&mut linked);
        problems.sort_by_key(|problem| problem.span);
        (playbook, problems)
    }

    pub(super) fn finish(mut self) -> Result<Playbook, Vec<Problem>> {
        match self.playbook {
            Some(playbook) if self.problems.is_empty() => Ok(playbook),
            _ => {
                self.problems.sort_by_key(|problem| problem.span);
                Err(self.problems)
            }
        }
    }
}
