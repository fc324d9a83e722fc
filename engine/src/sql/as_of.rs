//! `JOIN t FOR SYSTEM_TIME AS OF e.time`: the rows of a look-up table that were valid at an instant. Each row says from
//! when to when in the columns `valid_from` and `valid_to`, where NULL has no end; the clause becomes a part of the join's
//! condition, so that everything behind it sees an ordinary join.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, Query, Select, Spanned, TableFactor, TableVersion,
    Value, VisitMut, VisitorMut,
};

use super::parse::spot;
use crate::error::{Diagnostic, codes};

/// The column that holds the first instant at which a row is valid.
const VALID_FROM: &str = "valid_from";
/// The column that holds the first instant at which it no longer is.
const VALID_TO: &str = "valid_to";

/// Rewrites every such clause of a query; what cannot be rewritten is told and taken out.
pub(super) fn rewrite(query: &mut Query) -> Vec<Diagnostic> {
    let mut rewriting = Rewriting { diagnostics: vec![] };
    let ControlFlow::Continue(()) = query.visit(&mut rewriting);
    rewriting.diagnostics
}

struct Rewriting {
    diagnostics: Vec<Diagnostic>,
}

impl VisitorMut for Rewriting {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for table in &mut select.from {
            let place = spot(&table.relation);
            if taken(&mut table.relation).is_some() {
                self.refuse(
                    "FOR SYSTEM_TIME AS OF goes with the table that is joined, not with the first relation",
                    place,
                );
            }
            for join in &mut table.joins {
                let place = spot(&join.relation);
                let Some((instant, name)) = taken(&mut join.relation) else { continue };
                match on(&mut join.join_operator) {
                    Some(condition) => {
                        let joined = std::mem::replace(condition, Expr::value(Value::Boolean(true)));
                        *condition = and(Expr::Nested(Box::new(joined)), valid_at(&name, &instant));
                    }
                    None => self.refuse("FOR SYSTEM_TIME AS OF needs a join with ON", place),
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Rewriting {
    fn refuse(&mut self, message: &str, place: Option<crate::error::Span>) {
        let hint = "write FROM stream e JOIN table FOR SYSTEM_TIME AS OF e.time AS t ON t.key = e.key";
        self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place).hint(hint));
    }
}

/// The instant that a relation is asked for, and the name its columns go by. Other kinds of versions stay, to be refused.
fn taken(relation: &mut TableFactor) -> Option<(Expr, Ident)> {
    let TableFactor::Table { name, alias, version, .. } = relation else { return None };
    let instant = match version.take() {
        Some(TableVersion::ForSystemTimeAsOf(instant)) => instant,
        other => {
            *version = other;
            return None;
        }
    };
    let called = alias.as_ref().map(|alias| alias.name.clone()).or_else(|| name.0.last()?.as_ident().cloned())?;
    Some((instant, called))
}

fn on(operator: &mut JoinOperator) -> Option<&mut Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition))
        | JoinOperator::Left(JoinConstraint::On(condition))
        | JoinOperator::LeftOuter(JoinConstraint::On(condition))
        | JoinOperator::Semi(JoinConstraint::On(condition))
        | JoinOperator::LeftSemi(JoinConstraint::On(condition))
        | JoinOperator::Anti(JoinConstraint::On(condition))
        | JoinOperator::LeftAnti(JoinConstraint::On(condition)) => Some(condition),
        _ => None,
    }
}

/// `t.valid_from <= instant AND (t.valid_to IS NULL OR instant < t.valid_to)`
fn valid_at(table: &Ident, instant: &Expr) -> Expr {
    let column = |name: &str| Expr::CompoundIdentifier(vec![table.clone(), Ident::with_span(instant.span(), name)]);
    let has_begun = binary(column(VALID_FROM), BinaryOperator::LtEq, instant.clone());
    let has_no_end = Expr::IsNull(Box::new(column(VALID_TO)));
    let has_not_ended = binary(instant.clone(), BinaryOperator::Lt, column(VALID_TO));
    let still = Expr::Nested(Box::new(binary(has_no_end, BinaryOperator::Or, has_not_ended)));
    and(has_begun, still)
}

fn and(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::And, right)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::parse::{Runs, parse_select};
    use crate::error::{Diagnostic, Place};

    fn parsed(sql: &str) -> Result<String, Vec<String>> {
        let query = parse_select(sql, Place::START, Runs::OnStreams, &BTreeMap::new());
        let words = |found: Vec<Diagnostic>| found.into_iter().map(|one| one.message).collect();
        query.map(|query| query.to_string()).map_err(|refused| words(refused.diagnostics))
    }

    #[test]
    fn the_instant_becomes_a_part_of_the_condition() {
        let sql = "SELECT e.time, a.owner FROM e LEFT JOIN assets FOR SYSTEM_TIME AS OF e.time AS a ON a.ip = e.ip OR e.ip IS NULL";
        let written = "SELECT e.time, a.owner FROM e LEFT JOIN assets AS a ON (a.ip = e.ip OR e.ip IS NULL) \
                       AND a.valid_from <= e.time AND (a.valid_to IS NULL OR e.time < a.valid_to)";
        assert_eq!(parsed(sql), Ok(written.to_owned()));
    }

    #[test]
    fn a_table_without_an_alias_goes_by_its_own_name() {
        let written = parsed("SELECT 1 FROM e JOIN assets FOR SYSTEM_TIME AS OF e.time ON assets.ip = e.ip");
        assert!(written.is_ok_and(|text| text.contains("assets.valid_from <= e.time")));
    }

    #[test]
    fn what_cannot_be_rewritten_is_told() {
        for sql in [
            "SELECT 1 FROM assets FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-01'",
            "SELECT 1 FROM e JOIN assets FOR SYSTEM_TIME AS OF e.time USING (ip)",
            "SELECT 1 FROM e CROSS JOIN assets FOR SYSTEM_TIME AS OF e.time",
        ] {
            let found = parsed(sql).expect_err("refused");
            assert!(found[0].starts_with("FOR SYSTEM_TIME AS OF"), "{sql}: {found:?}");
        }
        let found = parsed("SELECT 1 FROM e JOIN assets VERSION AS OF 3 ON assets.ip = e.ip").expect_err("refused");
        assert!(found[0].contains("this version clause"), "{found:?}");
    }
}
