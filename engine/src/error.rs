//! What an author is told when a text is wrong: a stable code, a place, a sentence and a way out.
//!
//! A [`Diagnostic`] never knows the file system; whoever read the text adds the file's name. Loaders collect
//! diagnostics and return all of them, so that one run of `weir check` shows everything.

use std::fmt;

use serde::Serialize;

/// A position in a text. Both numbers start at 1; a column counts characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place a byte offset of `text` stands for.
    #[must_use]
    pub fn of_offset(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { line: line as u32, column: column as u32 }
    }
}

/// A stretch of a text, from its first character to the one after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// The first character.
    pub start: Place,
    /// One past the last character.
    pub end: Place,
}

impl Span {
    /// A span of one character.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self { start: place, end: Place { column: place.column + 1, ..place } }
    }
}

/// How loud a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The text cannot be used.
    Error,
    /// The text can be used, and its author should look.
    Warning,
}

/// One thing that is wrong with a text, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub level: Level,
    /// Stable name of the kind of mistake, for example `D012`. Codes are listed in [`codes`].
    pub code: &'static str,
    /// File as given on the command line or found in the project folder; set by the loader.
    pub file: Option<String>,
    /// Where in the text; `None` where the text as a whole is meant.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Error, code, file: None, span: None, message: message.into(), hint: None }
    }

    /// A warning without a place.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, message) }
    }

    /// The same, with its place.
    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Span>>) -> Self {
        self.span = span.into();
        self
    }

    /// The same, with a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with a way out where there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The same, in a file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some(Span { start, .. }) = self.span {
            write!(f, "{}:{}: ", start.line, start.column)?;
        } else if self.file.is_some() {
            f.write_str(" ")?;
        }
        write!(f, "{} {}", self.code, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Diagnostic {}

/// The name among `candidates` that `name` was probably meant to be, as a hint.
///
/// Limit: names further than a third of their length away are not suggested.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3).div_ceil(3))
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// A number with its noun, as in `1 file` and `2 files`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Why the engine stopped. None of these can be caused by the content of an event.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An Arrow kernel refused its input.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// An expression or accumulator of DataFusion failed as a whole.
    #[error("datafusion: {0}")]
    DataFusion(#[from] datafusion::error::DataFusionError),
    /// A batch came for a stream that no query reads, or in another shape than its columns.
    #[error("a batch of stream `{stream}` does not fit: {reason}")]
    Batch {
        /// The stream of the batch.
        stream: String,
        /// What does not fit.
        reason: String,
    },
    /// A table is needed and was not given.
    #[error("look-up table `{0}` has no version")]
    MissingTable(String),
    /// A snapshot is not of this format, or not of this program.
    #[error("snapshot: {0}")]
    Snapshot(String),
    /// Bytes that are no frame of this format.
    #[error("frame: {0}")]
    Frame(String),
}

/// Every code a text can be refused with, and what it stands for.
pub mod codes {
    /// The text is not SQL of this dialect.
    pub const SYNTAX: &str = "D001";
    /// A detection is one `SELECT`; this is several statements, or another kind of statement.
    pub const NOT_ONE_SELECT: &str = "D002";
    /// No stream, view or table of that name.
    pub const UNKNOWN_RELATION: &str = "D003";
    /// No column of that name in scope.
    pub const UNKNOWN_COLUMN: &str = "D004";
    /// A name that several columns answer to.
    pub const AMBIGUOUS_COLUMN: &str = "D005";
    /// Types that do not go together.
    pub const WRONG_TYPE: &str = "D006";
    /// A function that does not exist or is not allowed.
    pub const UNKNOWN_FUNCTION: &str = "D007";
    /// A parameter without a value.
    pub const UNKNOWN_PARAMETER: &str = "D008";
    /// A detection without a time column.
    pub const NO_TIME: &str = "D010";
    /// A window over something that is not the stream's event time.
    pub const WRONG_WINDOW_TIME: &str = "D011";
    /// State that could grow for ever.
    pub const UNBOUNDED: &str = "D012";
    /// `ORDER BY`, `LIMIT` or another clause that has no meaning on a stream.
    pub const NOT_ON_A_STREAM: &str = "D013";
    /// A function whose value changes from run to run.
    pub const NON_DETERMINISTIC: &str = "D014";
    /// Detections that read each other's alerts in a circle.
    pub const CYCLE: &str = "D015";
    /// A construct that this version does not run.
    pub const UNSUPPORTED: &str = "D016";
    /// What the planner refuses for a reason of its own.
    pub const PLAN: &str = "D017";
    /// Two objects of one name.
    pub const DUPLICATE_NAME: &str = "D018";
    /// A column named twice or reserved.
    pub const BAD_COLUMN: &str = "D019";
    /// A `WITH (...)` option that is unknown, missing or malformed.
    pub const BAD_OPTION: &str = "D020";
    /// A setting that names a column which the detection does not produce.
    pub const NOT_AN_OUTPUT: &str = "D021";
}
