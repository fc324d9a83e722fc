//! How far a long scan is, on standard error and only for a person.

use std::io::IsTerminal;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that shows itself once a scan takes longer than a moment.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar for at most `bytes_max` bytes; most hunts read fewer, because statistics exclude files.
    pub(super) fn start(bytes_max: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(bytes_max), ProgressDrawTarget::stderr_with_hz(5));
        let style = "{spinner} {elapsed} {wide_bar} {binary_bytes} of at most {binary_total_bytes}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows that so many bytes have been read.
    pub(super) fn show(&self, bytes: u64) {
        if self.0.elapsed() > Duration::from_secs(1) {
            self.0.set_position(bytes);
        }
    }

    /// Writes results without tearing the bar.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The bytes that all scans of a plan have read.
pub(super) fn bytes_read(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned")).map_or(0, |sum| sum.as_usize());
    own as u64 + plan.children().into_iter().map(|child| bytes_read(child.as_ref())).sum::<u64>()
}
