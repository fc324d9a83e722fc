//! What the planner refuses, in an author's words and at the smallest expression that it refuses.

use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{self, Spanned, Visit, Visitor};

use super::lower::Refusal;
use super::plan::Planner;
use super::tokens::{place_of_word, span_of};
use crate::error::{Diagnostic, Place, Span, codes, nearest};

/// The diagnostics for a failure to plan `query`: the planner stops at the first mistake, so each expression is tried
/// by itself for further ones. Places in the syntax tree are places of the file already.
pub(crate) fn explain(
    planner: &Planner<'_>,
    query: &ast::Query,
    error: &DataFusionError,
    start: Place,
) -> Vec<Diagnostic> {
    let first = message_of(error);
    let failing = failing(planner, query);
    let of_failing = |one: &Failing| said(&one.message, narrowed(&one.expr, &one.message));
    let mut diagnostics = failing.iter().filter(|one| one.is_sure()).map(of_failing).collect::<Vec<_>>();
    if !failing.iter().any(|one| one.is_sure() && one.message == first) {
        let found = failing.iter().find(|one| one.message == first).or_else(|| failing.first());
        let span = diagnostic_span(error).or_else(|| found.and_then(|one| narrowed(&one.expr, &one.message)));
        // Where an expression fails by itself, the planner's own words about the whole add nothing.
        if diagnostics.is_empty() {
            diagnostics.push(said(&first, Some(span.unwrap_or_else(|| Span::at(start)))));
        }
    }
    diagnostics
}

fn said(message: &str, span: Option<Span>) -> Diagnostic {
    let (code, hint) = classify(message);
    Diagnostic::error(code, in_our_words(message)).at(span).maybe_hint(hint)
}

/// The place of a failing expression: of the constant that it is about, if there is one.
fn narrowed(expr: &ast::Expr, message: &str) -> Option<Span> {
    let whole = span_of(expr.span());
    let ast::Expr::Function(function) = expr else { return whole };
    let ast::FunctionArguments::List(list) = &function.args else { return whole };
    let constants = list.args.iter().filter_map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(value))) => Some(value),
        _ => None,
    });
    let about = |value: &&ast::ValueWithSpan| message.contains(&format!("cannot read {}", value.value));
    constants.into_iter().find(about).and_then(|value| span_of(value.span)).or(whole)
}

/// What the planner says about types, as an author would.
fn in_our_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("Cannot infer common argument type for comparison operation ")
        && let Some((left, operator, right)) = operands(rest)
    {
        return format!("`{operator}` cannot compare {left} with {right}");
    }
    if let Some(rest) = message.strip_prefix("Cannot coerce arithmetic expression ")
        && let Some((left, operator, right)) = operands(rest.trim_end_matches(" to valid types"))
    {
        return format!("`{operator}` cannot be applied to {left} and {right}");
    }
    if let Some(rest) = message.strip_prefix("There isn't a common type to coerce ")
        && let Some((types, operator)) = rest.trim_end_matches(" expression").rsplit_once(" in ")
        && let Some((left, right)) = types.split_once(" and ")
    {
        return format!("`{operator}` cannot compare {} with {}", sql_type(left), sql_type(right));
    }
    if let Some(name) = message.split("call to '").nth(1).and_then(|rest| rest.split('\'').next()) {
        let given = message.split("coercion from ").nth(1).and_then(|rest| rest.split(" to the signature").next());
        return match given {
            Some(given) => {
                let types = given.trim_matches(['[', ']']).split(", ").map(sql_type).collect::<Vec<_>>();
                format!("`{name}` does not take {}", types.join(", "))
            }
            None => format!("`{name}` does not take these arguments"),
        };
    }
    message.to_owned()
}

/// Splits `Int64 = Utf8View` into its parts.
fn operands(text: &str) -> Option<(String, String, String)> {
    let operators = text.split_whitespace().filter(|word| !word.chars().any(char::is_alphanumeric) || *word == "IS");
    let operator = operators.into_iter().next()?.to_owned();
    let (left, right) = text.split_once(&format!(" {operator} "))?;
    Some((sql_type(left), operator, sql_type(right)))
}

/// A type by its name in SQL.
fn sql_type(text: &str) -> String {
    let text = text.trim();
    let found = text.parse().ok().map(|data_type| super::types::type_name(&data_type));
    found.unwrap_or_else(|| text.to_owned())
}

/// The innermost message, without the names of DataFusion's phases.
pub(super) fn message_of(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = text
        .strip_prefix("Error during planning: ")
        .or_else(|| text.strip_prefix("Schema error: "))
        .or_else(|| text.strip_prefix("This feature is not implemented: "))
        .unwrap_or(&text);
    text.lines().next().unwrap_or(text).trim_end_matches('.').to_owned()
}

fn classify(message: &str) -> (&'static str, Option<String>) {
    let lower = message.to_lowercase();
    if lower.contains("invalid function") || lower.contains("unknown function") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        return (codes::UNKNOWN_FUNCTION, nearest(name, super::functions::FUNCTIONS.names()));
    }
    let is_type = ["coerce", "coercion", "comparison operation", "type", "cast", "call to '"]
        .iter()
        .any(|word| lower.contains(word));
    if is_type {
        return (codes::WRONG_TYPE, Some("convert one side with CAST, or correct the declared type".to_owned()));
    }
    (codes::PLAN, None)
}

fn diagnostic_span(error: &DataFusionError) -> Option<Span> {
    let DataFusionError::Diagnostic(diagnostic, _) = error else { return None };
    diagnostic.span.map(|span| Span {
        start: Place { line: span.start.line as u32, column: span.start.column as u32 },
        end: Place { line: span.end.line as u32, column: span.end.column as u32 },
    })
}

/// What the planner or its optimiser refuses for a reason of its own.
pub(super) fn of_planning(error: &DataFusionError) -> Refusal {
    let text = error.strip_backtrace();
    // The parser of regular expressions draws the pattern over several lines and says what is wrong in the last one.
    if text.contains("regex parse error") {
        let wrong = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be read");
        let message = format!("a regular expression cannot be read: {wrong}");
        let hint = "write it as Rust's regex crate reads it: without look-around and backreferences, and with a backslash \
                    before a sign that is meant as such";
        return Refusal::new(codes::PLAN, message, hint).about(pattern_word(&text));
    }
    Refusal { code: codes::PLAN, message: message_of(error), hint: None, about: None }
}

/// A function's name where the message has one.
fn pattern_word(text: &str) -> &'static str {
    ["regexp_like", "regexp_match", "regexp_replace", "regexp_count", "regexp_instr"]
        .into_iter()
        .find(|name| text.contains(name))
        .unwrap_or("regexp_like")
}

/// The place of what a plan was refused for. A plan keeps none, so it is found by the words that stand for it: the names
/// and keywords of the message, else those that the code is about. A refusal can name its word itself.
pub(crate) fn place_of_refusal(sql: &str, start: Place, refusal: &Refusal) -> Span {
    let usual: &[&str] = match refusal.code {
        codes::UNBOUNDED => &["GROUP", "OVER", "DISTINCT", "JOIN", "EXISTS", "FROM"],
        codes::WRONG_WINDOW_TIME => &["TUMBLE", "SESSION", "MATCH_RECOGNIZE", "OVER", "SELECT"],
        codes::NOT_ON_A_STREAM => &["ORDER", "LIMIT", "JOIN", "SELECT"],
        codes::UNSUPPORTED => &["JOIN", "OVER", "UNION", "SELECT"],
        codes::NO_TIME => &["SELECT"],
        _ => &[],
    };
    let about = refusal.about.as_deref().into_iter();
    let mut words = about.chain(words_of(&refusal.message)).chain(usual.iter().copied());
    words.find_map(|word| place_of_word(sql, start, word)).unwrap_or_else(|| Span::at(start))
}

/// The names of SQL that a message is about: what it quotes, then its keywords. A column has its relation in front, which
/// the author may not have written.
fn words_of(message: &str) -> impl Iterator<Item = &str> {
    let quoted = message.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split(['(', ' ']).next());
    let is_keyword = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    let keywords = message.split('`').step_by(2).flat_map(|plain| plain.split(|c: char| !c.is_alphanumeric()));
    quoted.chain(keywords.filter(is_keyword))
}

/// An expression that cannot be planned by itself, though all of its parts can.
struct Failing {
    expr: ast::Expr,
    message: String,
}

impl Failing {
    /// Whether it is wrong wherever it stands: its types, or a constant in it. What else fails by itself, such as the
    /// name of another clause, may be right where it stands.
    fn is_sure(&self) -> bool {
        let message = self.message.as_str();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        says(&["common argument type", "Cannot coerce", "common type to coerce", "` cannot read '"])
            || says(&["` does not take ", "Failed to coerce arguments", "` takes text, not"])
    }
}

/// The smallest expressions of the `SELECT`s of the query that have no type over that select's relations.
fn failing(planner: &Planner<'_>, query: &ast::Query) -> Vec<Failing> {
    let mut selects = Selects { with: query.with.as_ref(), found: vec![] };
    let _done: ControlFlow<()> = query.visit(&mut selects);
    let of_select = |select: ast::Select| {
        let schema = match planner.plan_from(&select.from, selects.with) {
            Ok(LogicalPlan::Projection(projection)) => projection.input.schema().as_ref().clone(),
            Ok(plan) => plan.schema().as_ref().clone(),
            Err(_) => return vec![],
        };
        let mut smallest = Smallest { planner, schema: &schema, depth: 0, failing: vec![] };
        let _done: ControlFlow<()> = select.visit(&mut smallest);
        smallest.failing
    };
    selects.found.into_iter().flat_map(of_select).collect()
}

struct Selects<'q> {
    with: Option<&'q ast::With>,
    found: Vec<ast::Select>,
}

impl Visitor for Selects<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let ast::SetExpr::Select(select) = query.body.as_ref() {
            self.found.push(select.as_ref().clone());
        }
        ControlFlow::Continue(())
    }
}

/// Visits children before parents, so an expression that fails and holds none that failed is the smallest.
struct Smallest<'s, 'p> {
    planner: &'s Planner<'p>,
    schema: &'s datafusion::common::DFSchema,
    /// How many sub-queries are open; theirs is another schema, and they are visited by themselves.
    depth: usize,
    failing: Vec<Failing>,
}

impl Smallest<'_, '_> {
    fn holds_a_failing_one(&self, expr: &ast::Expr) -> bool {
        let Some(whole) = span_of(expr.span()) else { return !self.failing.is_empty() };
        let within = |span: Span| whole.start <= span.start && span.end <= whole.end;
        self.failing.iter().any(|one| span_of(one.expr.span()).is_none_or(within))
    }
}

impl Visitor for Smallest<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let is_checkable = matches!(
            expr,
            ast::Expr::BinaryOp { .. }
                | ast::Expr::Function(_)
                | ast::Expr::Like { .. }
                | ast::Expr::ILike { .. }
                | ast::Expr::Between { .. }
                | ast::Expr::InList { .. }
                | ast::Expr::UnaryOp { .. }
                | ast::Expr::Case { .. }
                | ast::Expr::Cast { .. }
        );
        if self.depth == 0
            && is_checkable
            && let Err(error) = self.planner.coerced(expr, self.schema)
            && !self.holds_a_failing_one(expr)
        {
            self.failing.push(Failing { expr: expr.clone(), message: message_of(&error) });
        }
        ControlFlow::Continue(())
    }
}
