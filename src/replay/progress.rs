//! How far a replay is, on a terminal; nowhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use weir_connectors::source::SourceOutput;

use crate::stdout;

/// One line on standard error that is gone at the end.
pub(super) struct Progress {
    bar: ProgressBar,
    events: u64,
    bytes: u64,
}

impl Progress {
    /// Shows nothing before the first events, and nothing at all where results are printed to the same terminal.
    pub(super) fn new(results_are_printed: bool) -> Self {
        let is_shown = std::io::stderr().is_terminal() && !(results_are_printed && stdout::is_terminal());
        let bar = if is_shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, events: 0, bytes: 0 }
    }

    /// Notes events that were read.
    pub(super) fn events(&mut self, output: &SourceOutput) {
        self.events += (output.batch.rows.num_rows() + output.rejected.len()) as u64;
        self.bytes += output.bytes;
        let (events, bytes) = (HumanCount(self.events), HumanBytes(self.bytes));
        self.bar.set_message(format!("{events} events, {bytes} of {}", output.partition.topic));
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
