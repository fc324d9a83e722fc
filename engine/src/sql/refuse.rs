//! What a `SELECT` may not say: statements in disguise, clauses without a meaning on a stream, and constructs that this
//! version does not run. Nothing is ignored in silence.

mod misplaced;
mod values;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, JoinConstraint, JoinOperator, LimitClause, OrderByKind, Query, RowsPerMatch, Select, SelectItem,
    SetExpr, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::flink::WINDOW_FUNCTIONS;
use super::judge::Text;
use super::parse::{Runs, spot};
use super::tokens::{span_of, word_before};
use crate::error::{Diagnostic, Place, Span, codes};

/// What is refused of a tree, in no particular order.
#[derive(Default)]
pub(super) struct Refusals {
    /// Whatever names there are may mean something else because of it.
    pub(super) of_clauses: Vec<Diagnostic>,
    /// Calls and values, which leave every name what it is.
    pub(super) of_values: Vec<Diagnostic>,
}

/// Everything in the tree that is refused.
pub(super) fn refuse(tree: &impl Visit, tokens: &[TokenWithSpan], text: &Text<'_>, runs: Runs) -> Refusals {
    let on_streams = runs == Runs::OnStreams;
    let of_values = if on_streams { values::refuse(tree, tokens, text) } else { Vec::new() };
    let mut refusing = Refusing { tokens, text, on_streams, diagnostics: Vec::new() };
    let ControlFlow::Continue(()) = tree.visit(&mut refusing);
    Refusals { of_clauses: refusing.diagnostics, of_values }
}

struct Refusing<'a> {
    tokens: &'a [TokenWithSpan],
    text: &'a Text<'a>,
    on_streams: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Visitor for Refusing<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.statements(query);
        if self.on_streams {
            self.order_and_limit(query);
        }
        if let Some(with) = &query.with
            && with.recursive
        {
            self.unsupported("WITH RECURSIVE", span_of(with.with_token.0.span));
        }
        if !query.pipe_operators.is_empty() {
            self.unsupported("the pipe operator `|>`", spot(query));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let place = span_of(select.select_token.0.span);
        if select.into.is_some() {
            let at = word_before(self.tokens, "INTO", None);
            self.not_a_select("SELECT INTO writes a table; a SELECT only reads", at);
        }
        if let Some(Distinct::On(exprs)) = &select.distinct
            && self.on_streams
        {
            let at = exprs.first().and_then(spot).or(place);
            self.not_on_a_stream("DISTINCT ON", at, "group by the columns instead");
        }
        let absent = [
            ("TOP", select.top.is_some()),
            ("LATERAL VIEW", !select.lateral_views.is_empty()),
            ("PREWHERE", select.prewhere.is_some()),
            ("CONNECT BY", !select.connect_by.is_empty()),
            ("CLUSTER BY", !select.cluster_by.is_empty()),
            ("DISTRIBUTE BY", !select.distribute_by.is_empty()),
            ("SORT BY", !select.sort_by.is_empty()),
            ("SELECT AS STRUCT", select.value_table_mode.is_some()),
            ("EXCLUDE behind the SELECT list", select.exclude.is_some()),
        ];
        for (what, _) in absent.into_iter().filter(|(_, present)| *present) {
            self.unsupported(what, place);
        }
        self.diagnostics.extend(misplaced::misplaced(select, self.text));
        for item in &select.projection {
            self.item(item);
        }
        for table in &select.from {
            for join in &table.joins {
                self.join(&join.join_operator, spot(&join.relation));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let at = spot(factor);
        match factor {
            TableFactor::Table { name, args, version, sample, with_ordinality, .. } => {
                if version.is_some() {
                    self.unsupported("this version clause", at);
                }
                if sample.is_some() {
                    self.unsupported("TABLESAMPLE", at);
                }
                if *with_ordinality {
                    self.unsupported("WITH ORDINALITY", at);
                }
                let function = name.to_string().to_uppercase();
                if args.is_some() && !WINDOW_FUNCTIONS.contains(&function.as_str()) {
                    self.unsupported(&format!("the table function `{name}`"), at);
                }
            }
            TableFactor::Derived { lateral, sample, .. } => {
                if *lateral {
                    self.unsupported("LATERAL", at);
                }
                if sample.is_some() {
                    self.unsupported("TABLESAMPLE", at);
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                for join in &table_with_joins.joins {
                    self.join(&join.join_operator, spot(&join.relation));
                }
            }
            TableFactor::MatchRecognize { rows_per_match, .. } => {
                if matches!(rows_per_match, Some(RowsPerMatch::AllRows(_))) {
                    let at = word_before(self.tokens, "ALL", None).or(at);
                    let message = "ALL ROWS PER MATCH is not supported";
                    let hint = "write ONE ROW PER MATCH, and take what is needed of each row into MEASURES";
                    self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(at).hint(hint));
                }
            }
            TableFactor::Pivot { .. } => self.unsupported("PIVOT", at),
            TableFactor::Unpivot { .. } => self.unsupported("UNPIVOT", at),
            _ => self.unsupported("this kind of table", at),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Prior(_) => self.unsupported("PRIOR", spot(expr)),
            Expr::OuterJoin(_) => self.unsupported("the `(+)` of an outer join", spot(expr)),
            Expr::MatchAgainst { .. } => self.unsupported("MATCH ... AGAINST", spot(expr)),
            Expr::Lambda(_) => self.unsupported("a lambda", spot(expr)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Refusing<'_> {
    fn statements(&mut self, query: &Query) {
        if let Some(word) = foreign_body(&query.body) {
            let at = word_before(self.tokens, word, None).or_else(|| spot(query));
            self.not_a_select(&format!("one SELECT is allowed here, not {word}"), at);
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            let at = word_before(self.tokens, "FOR", None);
            self.not_a_select("FOR UPDATE and its like lock rows; a SELECT only reads", at);
        }
    }

    fn order_and_limit(&mut self, query: &Query) {
        if let Some(order_by) = &query.order_by {
            let first = match &order_by.kind {
                OrderByKind::Expressions(exprs) => exprs.first().and_then(spot),
                OrderByKind::All(_) => None,
            };
            let at = self.word("ORDER", first);
            self.not_on_a_stream("ORDER BY", at, "remove it; a stream has no end at which it could be sorted");
        }
        if let Some(limit) = &query.limit_clause {
            let (word, first) = match limit {
                LimitClause::LimitOffset { limit: Some(expr), .. } => ("LIMIT", spot(expr)),
                LimitClause::LimitOffset { offset, .. } => {
                    ("OFFSET", offset.as_ref().and_then(|offset| spot(&offset.value)))
                }
                LimitClause::OffsetCommaLimit { offset, .. } => ("LIMIT", spot(offset)),
            };
            let at = self.word(word, first);
            self.not_on_a_stream(word, at, "remove it; `cooldown` in the header limits how often alerts repeat");
        }
        if let Some(fetch) = &query.fetch {
            let at = self.word("FETCH", fetch.quantity.as_ref().and_then(spot));
            self.not_on_a_stream("FETCH", at, "remove it; `cooldown` in the header limits how often alerts repeat");
        }
    }

    /// The last such word before the clause's first expression.
    fn word(&self, word: &str, first: Option<Span>) -> Option<Span> {
        let before: Option<Place> = first.map(|span| span.start);
        word_before(self.tokens, word, before).or(first)
    }

    fn item(&mut self, item: &SelectItem) {
        let options = match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => options,
            SelectItem::ExprWithAliases { .. } => {
                return self.unsupported("several aliases for one expression", spot(item));
            }
            _ => return,
        };
        let odd = options.opt_ilike.is_some()
            || options.opt_replace.is_some()
            || options.opt_rename.is_some()
            || options.opt_alias.is_some();
        if odd {
            self.unsupported("this form of `*`", spot(item));
        }
    }

    fn join(&mut self, operator: &JoinOperator, at: Option<Span>) {
        let Some(constraint) = constraint_of(operator) else { return self.unsupported("this kind of join", at) };
        if matches!(constraint, JoinConstraint::None) && !matches!(operator, JoinOperator::CrossJoin(_)) {
            let message = "a JOIN needs a condition";
            self.diagnostics.push(
                Diagnostic::error(codes::SYNTAX, message).at(at).hint("add ON ..., USING (...), or write CROSS JOIN"),
            );
        }
        if matches!(constraint, JoinConstraint::Natural) {
            self.diagnostics.push(
                Diagnostic::error(codes::UNSUPPORTED, "NATURAL JOIN would change its meaning when a column is added")
                    .at(at)
                    .hint("name the columns: JOIN ... USING (a, b)"),
            );
        }
    }

    fn not_a_select(&mut self, message: &str, at: Option<Span>) {
        self.diagnostics.push(Diagnostic::error(codes::NOT_ONE_SELECT, message).at(at));
    }

    fn not_on_a_stream(&mut self, what: &str, at: Option<Span>, hint: &str) {
        let message = format!("{what} has no meaning on a stream");
        self.diagnostics.push(Diagnostic::error(codes::NOT_ON_A_STREAM, message).at(at).hint(hint));
    }

    fn unsupported(&mut self, what: &str, at: Option<Span>) {
        self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, format!("{what} is not supported yet")).at(at));
    }
}

/// What a join demands of its rows; `None` for kinds of joins that are not supported.
pub(super) const fn constraint_of(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint) => Some(constraint),
        _ => None,
    }
}

/// The word of a body that does not select, such as an `INSERT` behind a `WITH`.
fn foreign_body(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => None,
        SetExpr::SetOperation { left, right, .. } => foreign_body(left).or_else(|| foreign_body(right)),
        SetExpr::Insert(_) => Some("INSERT"),
        SetExpr::Update(_) => Some("UPDATE"),
        SetExpr::Delete(_) => Some("DELETE"),
        SetExpr::Merge(_) => Some("MERGE"),
        SetExpr::Table(_) => Some("TABLE"),
    }
}
