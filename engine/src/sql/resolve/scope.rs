//! What a name can mean at one place of a text: the relations behind `FROM`, and the aliases of the `SELECT`.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::shape::Column;

/// One relation behind `FROM`, under the name by which this `SELECT` calls it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) alias: String,
    pub(super) columns: Vec<Column>,
    /// The open stream that these are the columns of: any other name is one too.
    pub(super) open: Option<String>,
    /// Where the alias stands in the text.
    pub(super) span: SqlSpan,
    /// The relation does not exist, which was told; what it might have had is not told again.
    pub(super) broken: bool,
}

/// A column that `USING` made out of two.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) column: Column,
    /// How it is written out.
    pub(super) expr: Expr,
    /// The columns it stands for, by relation and exact name.
    pub(super) parts: Vec<(String, String)>,
}

/// Everything that the names of one `SELECT` can mean.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) sources: Vec<Source>,
    pub(super) merged: Vec<Merged>,
    /// Aliases of the `SELECT` list, where a clause may use them.
    pub(super) aliases: Vec<Column>,
    /// Whether an alias hides a column of that name, as in `ORDER BY`.
    pub(super) aliases_first: bool,
    /// Aliases that exist but may not be used here; for hints only.
    pub(super) forbidden_aliases: Vec<String>,
    pub(super) clause: Clause,
}

/// What is being read of a `SELECT`, as far as it matters to functions that look at more rows than one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Clause {
    /// Where the rows that a function could look at are none or not clear.
    #[default]
    Elsewhere,
    /// A part of a `WHERE` that is more than the function alone.
    Where,
    /// Where a function may look at the rows of the `SELECT`.
    Rows,
}

/// Whether a written name means an exact one: quoted names exactly, others without regard to case.
pub(super) fn means(written: &Ident, exact: &str) -> bool {
    if written.quote_style.is_some() {
        written.value == exact
    } else {
        written.value == exact || written.value.to_lowercase() == exact.to_lowercase()
    }
}

impl Source {
    /// The columns that a written name can mean.
    pub(super) fn matching<'a>(&'a self, name: &'a Ident) -> impl Iterator<Item = &'a Column> {
        self.columns.iter().filter(|column| means(name, &column.name))
    }

    /// A relation that does not exist.
    pub(super) fn broken(alias: &Ident) -> Self {
        Self { alias: alias.value.clone(), columns: Vec::new(), open: None, span: alias.span, broken: true }
    }

    pub(super) fn visible(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.hidden)
    }
}

impl Scope {
    pub(super) fn source(&self, name: &Ident) -> Option<&Source> {
        self.sources.iter().find(|source| means(name, &source.alias))
    }

    /// Whether `USING` has put this column of this relation into another.
    pub(super) fn is_merged(&self, alias: &str, column: &str) -> bool {
        self.merged.iter().any(|merged| merged.parts.iter().any(|(left, right)| left == alias && right == column))
    }

    /// Every name that could have been meant, for hints.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.sources.iter().flat_map(|source| source.columns.iter().map(|column| column.name.as_str()));
        let relations = self.sources.iter().map(|source| source.alias.as_str());
        columns.chain(self.aliases.iter().map(|column| column.name.as_str())).chain(relations)
    }
}
