//! Every name of a `SELECT` made exact: unquoted names found without regard to case, quoted ones exactly, struct paths
//! field by field; `*` written out. What comes out is planned as it stands, with identifier normalisation off.
//!
//! Shape of the result: a column is `"relation"."column"`, a field inside it is `"relation"."column"['field']` (which,
//! unlike a longer dotted name, DataFusion also plans inside correlated subqueries), every relation and derived table has
//! an alias, every column of every `SELECT` has a name, and `USING` is an `ON`.

mod casts;
mod expr;
mod first_seen;
mod from;
mod functions;
mod names;
mod scope;
mod select;
mod sequence;
mod shape;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Fields;
use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use crate::catalog::{Stream, Table};
use crate::error::Diagnostic;
pub(crate) use from::demand_nothing;
use scope::{Scope, Source};
pub(crate) use shape::Column;

/// What stands behind `FROM`, as the planner knows it.
pub(crate) trait Relations {
    /// The columns of the relation of that name, whatever its case.
    fn columns(&self, name: &str) -> Option<RelationColumns>;
    /// Every relation's exact name, for hints.
    fn names(&self) -> Vec<String>;
}

/// The columns of one relation.
#[derive(Debug, Clone)]
pub(crate) struct RelationColumns {
    /// The relation's exact name.
    pub(crate) name: String,
    /// Its columns, in the order of `SELECT *`.
    pub(crate) columns: Fields,
    /// Columns that can be named but do not belong to `SELECT *`.
    pub(crate) hidden: Fields,
    /// Whether any other name is a column too.
    pub(crate) open: bool,
    /// The exact path of the column that windows go by if none is named.
    pub(crate) time: Option<String>,
    /// Whether it has mistakes of its own, which are told where it is made. What is said of its columns would only follow.
    pub(crate) is_faulty: bool,
}

impl RelationColumns {
    /// The columns of a stream: the declared ones, and the system columns hidden.
    pub(crate) fn of_stream(stream: &Stream) -> Self {
        let hidden = stream.all_columns().iter().skip(stream.columns.len()).cloned().collect();
        Self {
            name: stream.name.clone(),
            columns: stream.columns.clone(),
            hidden,
            open: stream.open,
            time: Some(stream.event_time.clone()),
            is_faulty: false,
        }
    }

    /// The columns of a look-up table.
    pub(crate) fn of_table(table: &Table) -> Self {
        Self {
            name: table.name.clone(),
            columns: table.columns.clone(),
            hidden: Fields::empty(),
            open: false,
            time: None,
            is_faulty: false,
        }
    }

    /// The columns of a view or of a derived stream; windows go by its column `time`, if it has one.
    pub(crate) fn of_output(name: impl Into<String>, columns: Fields) -> Self {
        let time = columns.iter().find(|field| field.name().eq_ignore_ascii_case("time"));
        Self {
            name: name.into(),
            time: time.map(|field| field.name().clone()),
            columns,
            hidden: Fields::empty(),
            open: false,
            is_faulty: false,
        }
    }

    /// A relation with mistakes of its own.
    pub(crate) fn faulty(name: impl Into<String>) -> Self {
        Self { is_faulty: true, ..Self::of_output(name, Fields::empty()) }
    }
}

/// A `SELECT` whose names are exact, as far as they mean something.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The `SELECT`.
    pub(crate) query: Box<Query>,
    /// Its output columns, by exact name and in order.
    #[cfg_attr(not(test), expect(dead_code, reason = "the planner has them from the plan; tests read them here"))]
    pub(crate) output: Vec<Column>,
    /// Undeclared columns that it reads of open streams: nullable text, by the stream's name.
    pub(crate) open_columns: BTreeMap<String, BTreeSet<String>>,
    /// Whether it reads a relation that has mistakes of its own, so that it cannot be planned.
    pub(crate) reads_faulty: bool,
}

/// Makes every name of a `SELECT` exact, and says which ones mean nothing or more than one thing. These stay as they are
/// written; the others can be judged all the same. `functions` are the names that can be called, in lower case.
pub(crate) fn resolve(
    mut query: Box<Query>,
    relations: &dyn Relations,
    functions: &BTreeSet<String>,
) -> (Resolved, Vec<Diagnostic>) {
    let mut resolver = Resolver::new(relations, functions);
    let output = resolver.query(&mut query);
    let Resolver { open_columns, reads_faulty, diagnostics, .. } = resolver;
    (Resolved { query, output, open_columns, reads_faulty }, sorted(diagnostics))
}

/// Makes every name of a condition over one row exact, such as an exception's over the output of a query.
///
/// Columns come out qualified by `relation`.
///
/// # Errors
/// All names that mean nothing or more than one thing.
pub(crate) fn resolve_condition(
    mut condition: Expr,
    relation: &str,
    columns: &Fields,
    functions: &BTreeSet<String>,
) -> Result<Expr, Vec<Diagnostic>> {
    let mut resolver = Resolver::new(&Nothing, functions);
    let columns = columns.iter().map(|field| Column::of_field(field, false)).collect();
    let source = Source { alias: relation.to_owned(), columns, open: None, span: SqlSpan::empty(), broken: false };
    resolver.scopes.push(Scope { sources: vec![source], ..Scope::default() });
    resolver.expr(&mut condition);
    if resolver.diagnostics.is_empty() { Ok(condition) } else { Err(sorted(resolver.diagnostics)) }
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    diagnostics
}

/// A condition over one row reads no relation.
struct Nothing;

impl Relations for Nothing {
    fn columns(&self, _name: &str) -> Option<RelationColumns> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A `WITH` query: its name as written, the name it is planned under, and its columns.
struct Cte {
    name: String,
    planned: String,
    columns: Vec<Column>,
}

/// The walk over one tree.
struct Resolver<'a> {
    relations: &'a dyn Relations,
    functions: &'a BTreeSet<String>,
    /// From the outermost `SELECT` to the one at hand.
    scopes: Vec<Scope>,
    /// `WITH` queries in sight, the nearest last.
    ctes: Vec<Cte>,
    /// Every name a `WITH` query was planned under so far.
    planned: BTreeSet<String>,
    read: BTreeSet<String>,
    reads_faulty: bool,
    open_columns: BTreeMap<String, BTreeSet<String>>,
    /// For names of derived tables that have none.
    unnamed: usize,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    fn new(relations: &'a dyn Relations, functions: &'a BTreeSet<String>) -> Self {
        Self {
            relations,
            functions,
            scopes: Vec::new(),
            ctes: Vec::new(),
            planned: BTreeSet::new(),
            read: BTreeSet::new(),
            reads_faulty: false,
            open_columns: BTreeMap::new(),
            unnamed: 0,
            diagnostics: Vec::new(),
        }
    }
}
