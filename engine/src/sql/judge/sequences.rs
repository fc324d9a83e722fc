//! The rows of a match that `DEFINE` and `MEASURES` speak of, as relations beside those of the `SELECT`.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::{Cte, Expr, Select, SymbolDefinition, TableFactor, TableWithJoins};

use super::{columns_of, plan_from};
use crate::sql::match_recognize::WITHIN;
use crate::sql::plan::Planner;
use crate::sql::sequence::{AGGREGATES, spoken_of};

/// The columns of all rows that are spoken of; `None` where there is no `MATCH_RECOGNIZE`, or nothing is known of what it
/// reads.
pub(super) fn rows_of_matches(planner: &Planner<'_>, select: &Select, ctes: &[Cte]) -> Option<DFSchema> {
    let schemas = factors(select).filter_map(|factor| match factor {
        TableFactor::MatchRecognize { table, measures, symbols, .. } => {
            let from = TableWithJoins { relation: table.as_ref().clone(), joins: vec![] };
            let input = columns_of(plan_from(planner, &[from], ctes).ok()?);
            let rows = spoken_of(&input, measures, symbols).ok()?;
            Some(with_aggregates(planner, rows, symbols))
        }
        _ => None,
    });
    schemas.reduce(|one, other| one.join(&other).unwrap_or(one))
}

/// Aggregates over the rows of a variable are columns too, called by their number.
fn with_aggregates(planner: &Planner<'_>, rows: DFSchema, symbols: &[SymbolDefinition]) -> DFSchema {
    let aggregates = symbols.iter().filter(|symbol| symbol.symbol.value.starts_with(AGGREGATES));
    let typed = aggregates.enumerate().filter_map(|(number, symbol)| {
        let expr = planner.coerced(&symbol.definition, &rows).ok()?;
        let field = Field::new(number.to_string(), expr.get_type(&rows).ok()?, true);
        Some((Some(TableReference::bare(AGGREGATES)), Arc::new(field)))
    });
    let typed = DFSchema::new_with_metadata(typed.collect(), std::collections::HashMap::new());
    typed.and_then(|typed| rows.join(&typed)).unwrap_or(rows)
}

/// The conditions of all definitions.
pub(super) fn conditions(select: &Select) -> impl Iterator<Item = &Expr> {
    let symbols = factors(select).flat_map(|factor| match factor {
        TableFactor::MatchRecognize { symbols, .. } => symbols.as_slice(),
        _ => &[],
    });
    let is_condition =
        |symbol: &&SymbolDefinition| symbol.symbol.value != WITHIN && !symbol.symbol.value.starts_with(AGGREGATES);
    symbols.filter(is_condition).map(|symbol| &symbol.definition)
}

/// What stands behind `FROM`, without what is joined in brackets.
pub(super) fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)))
}
