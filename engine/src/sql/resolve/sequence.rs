//! `MATCH_RECOGNIZE`: variables of the pattern, and expressions that speak of rows of a match.

mod rows;
mod shape;

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    AfterMatchSkip, Expr, Ident, MatchRecognizePattern, Measure, OrderByExpr, Spanned, SymbolDefinition, TableFactor,
    VisitMut,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use self::rows::Rewriter;
use super::Resolver;
use super::from::{alias_of, written_column};
use super::scope::{Scope, Source, means};
use super::shape::{Column, Shape};
use crate::catalog::TIME_TYPE;
use crate::error::{Diagnostic, codes, nearest};
use crate::sql::interval;
use crate::sql::match_recognize::{WITHIN, Written};
use crate::sql::parse::spot;
use crate::sql::sequence::{AGGREGATES, CLASSIFIER, EACH_ROW, MARK, MATCH, MATCH_TIME};
use crate::sql::tokens::{exact, span_of};

/// The relation that is matched, and the variables of the pattern.
struct Matched {
    source: Source,
    variables: Vec<String>,
}

impl Resolver<'_> {
    /// Makes the names of a `MATCH_RECOGNIZE` exact; what comes out has its keys and measures.
    pub(super) fn match_recognize(&mut self, factor: &mut TableFactor, span: SqlSpan) -> Option<Source> {
        let Written { table, partition_by, order_by, measures, skip, pattern, symbols, alias } = Written::of(factor)?;
        let inner = self.factor(table);
        let [source] = &inner.sources[..] else {
            let message = "MATCH_RECOGNIZE reads one stream, view or SELECT";
            self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(span)));
            return None;
        };
        let source = source.clone();
        let outside = std::mem::replace(&mut self.scopes, vec![inner]);
        let told = self.diagnostics.len();
        let mut columns = self.partition(partition_by, &source);
        let keys_are_right = self.diagnostics.len() == told;
        self.order(order_by, span);
        self.scopes = outside;
        let variables = self.pattern(pattern);
        let matched = Matched { source, variables };
        self.skip(skip, &matched);
        self.within(symbols, pattern);
        let made = self.definitions(symbols, &matched);
        columns.extend(self.measures(measures, &matched, symbols, made, &columns));
        if matched.source.broken {
            return None;
        }
        if !keys_are_right {
            columns.extend(perhaps_keys(partition_by, &matched.source, &columns));
        }
        let alias = alias.get_or_insert_with(|| alias_of(&matched.source.alias, span));
        if !alias.columns.is_empty() {
            let message = "new names for the columns go into MEASURES ... AS name";
            self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(alias.name.span)));
        }
        alias.name = exact(&alias.name.value, alias.name.span);
        Some(Source { alias: alias.name.value.clone(), columns, open: None, span: alias.name.span, broken: false })
    }

    fn partition(&mut self, keys: &mut [Expr], source: &Source) -> Vec<Column> {
        let mut columns: Vec<Column> = vec![];
        for key in keys {
            let place = spot(key);
            let told = self.diagnostics.len();
            let shape = self.expr(key);
            match written_column(key) {
                Some((_, name)) if columns.iter().any(|column| column.name == name) => {
                    let message = format!("`{name}` stands twice behind PARTITION BY");
                    self.diagnostics.push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(place));
                }
                Some((_, name)) => columns.push(Column::new(name, shape)),
                None if source.broken || self.diagnostics.len() > told => {}
                None => {
                    let message = "PARTITION BY takes columns";
                    let hint = "give the expression a name in a WITH before it";
                    self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place).hint(hint));
                }
            }
        }
        columns
    }

    fn order(&mut self, order_by: &mut [OrderByExpr], span: SqlSpan) {
        let hint = "write ORDER BY and the event time, in ascending order";
        let wrong = |message: &str, at| Diagnostic::error(codes::WRONG_WINDOW_TIME, message).at(at).hint(hint);
        let [order, more @ ..] = order_by else {
            self.diagnostics
                .push(wrong("MATCH_RECOGNIZE does not say by which time its rows are in order", span_of(span)));
            return;
        };
        if let Some(second) = more.first() {
            let message = "sequences go by the event time alone; rows of one time go by their identity";
            self.diagnostics.push(wrong(message, spot(&second.expr)));
        }
        if order.options.asc == Some(false) || order.options.nulls_first.is_some() {
            self.diagnostics.push(wrong("sequences go forward in time", spot(&order.expr)));
        }
        let place = spot(&order.expr);
        if let Shape::Leaf(data_type) = self.expr(&mut order.expr)
            && !data_type.is_temporal()
        {
            let message = format!("`{}` is no time by which rows could follow each other", order.expr);
            self.diagnostics.push(wrong(&message, place));
        }
    }

    fn skip(&mut self, skip: &mut Option<AfterMatchSkip>, matched: &Matched) {
        if let Some(AfterMatchSkip::ToFirst(name) | AfterMatchSkip::ToLast(name)) = skip {
            self.variable(name, matched);
        }
    }

    /// Makes the name of a variable exact; one that is not in the pattern is told.
    fn variable(&mut self, name: &mut Ident, matched: &Matched) -> bool {
        if let Some(known) = matched.variables.iter().find(|variable| means(name, variable)) {
            *name = exact(known, name.span);
            return true;
        }
        self.diagnostics.push(unknown_variable(name, &matched.variables));
        false
    }

    /// `WITHIN` is what bounds the rows that are kept.
    fn within(&mut self, symbols: &mut [SymbolDefinition], pattern: &MatchRecognizePattern) {
        let hint = "write WITHIN behind the pattern: PATTERN (...) WITHIN INTERVAL '10 minutes' DEFINE ...";
        match symbols.iter_mut().find(|symbol| symbol.symbol.value == WITHIN) {
            Some(within) => {
                self.span_of_time(&mut within.definition, hint);
                if let Expr::Interval(interval) = &within.definition {
                    let refused = interval::unreadable(interval).or_else(|| interval::refuse_length(interval, hint));
                    self.diagnostics.extend(refused);
                }
            }
            None => {
                let message =
                    "unbounded state: this MATCH_RECOGNIZE has no WITHIN, so it would wait for ever for what follows";
                self.diagnostics
                    .push(Diagnostic::error(codes::UNBOUNDED, message).at(shape::place(pattern)).hint(hint));
            }
        }
    }

    /// Resolves the conditions; gives the aggregates that they are made of.
    fn definitions(&mut self, symbols: &mut [SymbolDefinition], matched: &Matched) -> Vec<SymbolDefinition> {
        let mut aggregates = vec![];
        let mut defined: BTreeSet<String> = BTreeSet::new();
        for SymbolDefinition { symbol, definition } in symbols.iter_mut().filter(|symbol| symbol.symbol.value != WITHIN)
        {
            let written = symbol.clone();
            if !self.variable(symbol, matched) {
                continue;
            }
            if !defined.insert(symbol.value.clone()) {
                let message = format!("`{}` is defined twice", written.value);
                self.diagnostics.push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(span_of(written.span)));
            }
            let defining = matched.variables.iter().position(|variable| *variable == symbol.value);
            self.of_rows(definition, defining, matched, &mut aggregates);
        }
        aggregates
    }

    fn measures(
        &mut self,
        measures: &mut [Measure],
        matched: &Matched,
        symbols: &mut Vec<SymbolDefinition>,
        mut aggregates: Vec<SymbolDefinition>,
        keys: &[Column],
    ) -> Vec<Column> {
        let mut columns: Vec<Column> = vec![];
        for Measure { expr, alias } in measures {
            let shape = self.of_rows(expr, None, matched, &mut aggregates);
            if keys.iter().chain(&columns).any(|column| column.name.eq_ignore_ascii_case(&alias.value)) {
                let message = format!("there are two columns `{}`", alias.value);
                self.diagnostics.push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(span_of(alias.span)));
            }
            *alias = exact(&alias.value, alias.span);
            columns.push(Column::new(alias.value.clone(), shape));
        }
        // Conditions and measures may speak of aggregates, so these are defined first.
        symbols.splice(0..0, aggregates);
        columns
    }

    /// Resolves an expression over the rows of a match.
    fn of_rows(
        &mut self,
        expr: &mut Expr,
        defining: Option<usize>,
        matched: &Matched,
        aggregates: &mut Vec<SymbolDefinition>,
    ) -> Shape {
        let first = aggregates.len();
        let mut rewriter = Rewriter::new(&matched.variables, &matched.source, defining, first);
        let std::ops::ControlFlow::Continue(()) = expr.visit(&mut rewriter);
        let Rewriter { designators, aggregates: more, diagnostics, .. } = rewriter;
        if !diagnostics.is_empty() {
            self.diagnostics.extend(diagnostics);
            return Shape::Unknown;
        }
        aggregates.extend(more);
        let relation = |alias: String, columns: Vec<Column>, open: Option<String>| Source {
            alias,
            columns,
            open,
            span: matched.source.span,
            broken: matched.source.broken,
        };
        let of_rows = |alias: String| relation(alias, matched.source.columns.clone(), matched.source.open.clone());
        let mut sources: Vec<Source> = designators.keys().cloned().chain([EACH_ROW.to_owned()]).map(of_rows).collect();
        let numbers = (0..aggregates.len()).map(|number| Column::new(number.to_string(), Shape::Unknown));
        sources.push(relation(AGGREGATES.to_owned(), numbers.collect(), None));
        let text = Shape::Leaf(arrow::datatypes::DataType::Utf8View);
        let of_match = vec![Column::new(CLASSIFIER, text), Column::new(MATCH_TIME, Shape::Leaf(TIME_TYPE))];
        sources.push(relation(MATCH.to_owned(), of_match, None));
        let outside = std::mem::replace(&mut self.scopes, vec![Scope { sources, ..Scope::default() }]);
        let told = self.diagnostics.len();
        for aggregate in &mut aggregates[first..] {
            self.expr(&mut aggregate.definition);
        }
        let shape = self.expr(expr);
        self.scopes = outside;
        let mut readable: Vec<(String, String)> = designators.into_iter().collect();
        readable.push((EACH_ROW.to_owned(), matched.source.alias.clone()));
        for diagnostic in &mut self.diagnostics[told..] {
            for (name, meant) in &readable {
                diagnostic.message = diagnostic.message.replace(name.as_str(), meant);
                diagnostic.hint = diagnostic.hint.take().map(|hint| hint.replace(name.as_str(), meant));
            }
            debug_assert!(!diagnostic.message.contains(MARK), "a made-up name in a message");
        }
        shape
    }

    fn pattern(&mut self, pattern: &mut MatchRecognizePattern) -> Vec<String> {
        let mut variables = vec![];
        shape::name(pattern, &mut variables);
        self.diagnostics.extend(shape::refused(pattern, variables.len()));
        variables
    }
}

/// What a `SELECT` can name where a key is wrong: what the key was meant to be, which is told once, and what it is.
fn perhaps_keys(keys: &[Expr], source: &Source, known: &[Column]) -> Vec<Column> {
    let written = keys.iter().filter_map(|key| match key {
        Expr::Identifier(name) => Some(Column::new(name.value.clone(), Shape::Unknown)),
        _ => None,
    });
    let is_new = |column: &Column| !known.iter().any(|other| other.name.eq_ignore_ascii_case(&column.name));
    let perhaps = source.columns.iter().cloned().chain(written).filter(is_new);
    perhaps.map(|column| Column { hidden: true, ..column }).collect()
}

/// Says that a variable is not in the pattern. Short names are all alike, so for them all variables are told.
fn unknown_variable(name: &Ident, variables: &[String]) -> Diagnostic {
    let known = variables.iter().map(String::as_str);
    let message = format!("there is no variable `{}` in the PATTERN", name.value);
    let meant = nearest(&name.value, known).filter(|_| name.value.chars().count() > 2);
    let are = if variables.len() == 1 { "variable is" } else { "variables are" };
    let hint = meant.unwrap_or_else(|| format!("its {are} {}", variables.join(", ")));
    Diagnostic::error(codes::UNKNOWN_COLUMN, message).at(span_of(name.span)).hint(hint)
}

/// The place of a whole part of the tree.
fn place_of(part: &impl Spanned) -> Option<crate::error::Span> {
    span_of(part.span())
}
