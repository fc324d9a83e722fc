//! What the engine is asked to run: plain `SELECT`s with a few settings. It does not know what a detection is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
pub use datafusion::common::ScalarValue;

use crate::error::Place;

/// One `SELECT` to run, and what becomes of its rows.
#[derive(Debug, Clone)]
pub struct Query {
    /// The detection's id; part of every alert id.
    pub id: Arc<str>,
    /// The text of the `SELECT`.
    pub sql: String,
    /// Line and column of the file at which `sql` begins, so that places in diagnostics fit the file.
    pub start: Place,
    /// Values of `$name` parameters.
    pub params: BTreeMap<String, ScalarValue>,
    /// By how many microseconds events may be late and count in windows all the same; 0 for not at all.
    pub allowed_lateness_us: i64,
    /// Repeats within this many microseconds per `cooldown_keys` are suppressed; `None` for no cooldown.
    pub cooldown_us: Option<i64>,
    /// Output columns that say whose repeats are meant.
    pub cooldown_keys: Vec<String>,
    /// SQL conditions over the output columns; a hit for which one is true is marked with its name.
    pub exceptions: Vec<Exception>,
    /// What the query's alerts look like to `FROM alerts`, in the order of [`Published::columns`] of the program.
    pub publish: Vec<PublishedValue>,
}

/// A named condition that hides hits.
#[derive(Debug, Clone)]
pub struct Exception {
    /// The exception's name.
    pub name: Arc<str>,
    /// An SQL condition over the output columns.
    pub condition: String,
}

/// The derived stream that all queries publish to, and its columns; `FROM <name>` reads it.
///
/// Its first two columns are always `time` and `uid` (text); a query's [`Query::publish`] gives the others.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The name behind `FROM`, usually `alerts`.
    pub name: String,
    /// The further columns, by name and type.
    pub columns: Vec<(String, DataType)>,
}

/// Where the value of a published column comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PublishedValue {
    /// The same for every alert of the query (may be a NULL of the column's type).
    Constant(ScalarValue),
    /// An output column, cast to the published type, or the constant where it is NULL or the query has no such column.
    Column {
        /// The output column's name.
        name: String,
        /// What stands in for NULL.
        default: ScalarValue,
    },
    /// What the text of an output column stands for, compared without case, or the constant where it stands for
    /// nothing or the query has no such column.
    Mapped {
        /// The output column's name.
        name: String,
        /// Each text, in lower case, and the value of the published type that it stands for.
        values: Vec<(String, ScalarValue)>,
        /// What stands in for any other text and for NULL.
        default: ScalarValue,
    },
}
