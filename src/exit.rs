//! How a command ends: done, or with failures found, or because of somebody. The numbers are a promise to scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Done,
    /// The work itself found failures: a test failed, a check failed. Exit code 1.
    FoundFailures,
}

/// Whose fault it is that a command could not do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Wrong usage or configuration: the person at the keyboard can mend it. Exit code 2.
    Usage,
    /// The outside failed: a disk, a broker, a server. Exit code 3.
    Outside,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct CommandError {
    fault: Fault,
    source: anyhow::Error,
}

/// What every command returns.
pub(crate) type CommandResult = Result<Outcome, CommandError>;

impl CommandError {
    /// The caller asked for something that cannot be done as asked.
    pub(crate) fn usage(message: impl Into<anyhow::Error>) -> Self {
        Self { fault: Fault::Usage, source: message.into() }
    }

    /// Something outside of the program failed.
    pub(crate) fn outside(message: impl Into<anyhow::Error>) -> Self {
        Self { fault: Fault::Outside, source: message.into() }
    }

    /// The exit code that tells a script whose fault it was.
    pub(crate) fn code(&self) -> ExitCode {
        match self.fault {
            Fault::Usage => ExitCode::from(2),
            Fault::Outside => ExitCode::from(3),
        }
    }

    /// Whether the reader of our output has gone away, as `| head` does; that is not an error.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.source
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for CommandError {
    /// What was attempted, then every cause behind it, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

/// Output that cannot be written is the outside's fault.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::outside(error)
    }
}

/// Says whose fault an error is, at the place where that is known.
pub(crate) trait Blame<T> {
    /// The person at the keyboard can mend it.
    fn usage(self) -> Result<T, CommandError>;
    /// The outside failed.
    fn outside(self) -> Result<T, CommandError>;
}

impl<T, E: Into<anyhow::Error>> Blame<T> for Result<T, E> {
    fn usage(self) -> Result<T, CommandError> {
        self.map_err(CommandError::usage)
    }

    fn outside(self) -> Result<T, CommandError> {
        self.map_err(CommandError::outside)
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::FoundFailures => Self::from(1),
        }
    }
}
