//! One dotted name, found: relation, column, fields.

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, Subscript, Value};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::Resolver;
use super::scope::{Scope, Source, means};
use super::shape::{Column, Shape};
use crate::error::{Diagnostic, codes, nearest};
use crate::sql::tokens::{exact, span_of};
use crate::sql::types::type_name;

/// What a name turned out to mean: an expression, what is inside, and how many parts of the name that used up.
pub(super) struct Found {
    pub(super) expr: Expr,
    pub(super) shape: Shape,
    used: usize,
}

/// A name that several columns answer to.
pub(super) struct Ambiguous {
    name: String,
    candidates: Vec<String>,
}

/// The open streams of one `SELECT` that would answer to a name, and whether the name says which one it means.
struct OpenCandidates {
    level: usize,
    sources: Vec<Source>,
    qualified: bool,
}

pub(super) type Lookup = Result<Option<Found>, Ambiguous>;

/// A column of a relation, written out.
pub(super) fn column_expr(alias: &str, column: &str, span: SqlSpan) -> Expr {
    Expr::CompoundIdentifier(vec![exact(alias, span), exact(column, span)])
}

/// The part of the text that a dotted name takes.
pub(super) fn name_span(parts: &[Ident]) -> SqlSpan {
    parts.iter().fold(SqlSpan::empty(), |span, part| span.union(&part.span))
}

fn dotted(parts: &[Ident]) -> String {
    parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
}

impl Resolver<'_> {
    /// Whether a name that is not found may belong to a relation of which nothing is known.
    fn may_be_of_a_broken_source(&self, parts: &[Ident]) -> bool {
        let qualifier = parts.first().filter(|_| parts.len() > 1);
        match qualifier.and_then(|first| self.scopes.iter().rev().find_map(|scope| scope.source(first))) {
            Some(source) => source.broken,
            None => self.scopes.iter().flat_map(|scope| &scope.sources).any(|source| source.broken),
        }
    }

    /// Finds a dotted name and gives what stands for it; a name that means nothing is told and left as it is.
    pub(super) fn name(&mut self, parts: &[Ident]) -> (Expr, Shape) {
        match self.find(parts) {
            Ok(Some(found)) => {
                let rest = &parts[found.used..];
                self.fields(found.expr, found.shape, rest)
            }
            Ok(None) => {
                if !self.may_be_of_a_broken_source(parts) {
                    let diagnostic = self.unknown(parts);
                    self.diagnostics.push(diagnostic);
                }
                (as_typed(parts), Shape::Unknown)
            }
            Err(Ambiguous { name, candidates }) => {
                let hint = format!("write one of {}", candidates.join(", "));
                self.diagnostics.push(
                    Diagnostic::error(codes::AMBIGUOUS_COLUMN, format!("`{name}` could mean several columns"))
                        .at(span_of(name_span(parts)))
                        .hint(hint),
                );
                (as_typed(parts), Shape::Unknown)
            }
        }
    }

    /// Looks from the inside out, for declared columns first; an open stream answers to what nobody declares.
    fn find(&mut self, parts: &[Ident]) -> Lookup {
        let mut declared = None;
        for (level, scope) in self.scopes.iter().enumerate().rev() {
            if let Some(found) = in_scope(scope, parts)? {
                declared = Some((level, found));
                break;
            }
        }
        let Some(open) = self.open_candidates(parts) else {
            return Ok(declared.map(|(_, found)| found));
        };
        let OpenCandidates { level: open_level, sources, qualified } = open;
        let name = dotted(if qualified { &parts[1..] } else { parts });
        let mut candidates: Vec<_> = sources.iter().map(|source| format!("{}.{name}", source.alias)).collect();
        match (declared, &sources[..]) {
            (Some((level, found)), _) if level >= open_level => Ok(Some(found)),
            (Some(_), _) if !qualified => {
                candidates.push(format!("`{name}` of the outer SELECT with its relation in front"));
                Err(Ambiguous { name, candidates })
            }
            (_, [source]) => {
                let expr = column_expr(&source.alias, &name, name_span(parts));
                if let Some(stream) = source.open.clone() {
                    self.open_columns.entry(stream).or_default().insert(name);
                }
                Ok(Some(Found { expr, shape: Shape::Leaf(arrow::datatypes::DataType::Utf8View), used: parts.len() }))
            }
            _ => Err(Ambiguous { name, candidates }),
        }
    }

    /// The open streams that a name could belong to: the one whose name stands in front of it, or those of the nearest
    /// `SELECT` that has one.
    fn open_candidates(&self, parts: &[Ident]) -> Option<OpenCandidates> {
        let [first, rest @ ..] = parts else { return None };
        let qualifier = self.scopes.iter().enumerate().rev().find_map(|(level, scope)| {
            (!rest.is_empty()).then(|| scope.source(first)).flatten().map(|source| (level, source))
        });
        if let Some((level, source)) = qualifier {
            return source.open.is_some().then(|| OpenCandidates {
                level,
                sources: vec![source.clone()],
                qualified: true,
            });
        }
        self.scopes.iter().enumerate().rev().find_map(|(level, scope)| {
            let sources: Vec<_> = scope.sources.iter().filter(|source| source.open.is_some()).cloned().collect();
            (!sources.is_empty()).then_some(OpenCandidates { level, sources, qualified: false })
        })
    }

    /// Goes into a value, field by field.
    pub(super) fn fields(&mut self, expr: Expr, shape: Shape, path: &[Ident]) -> (Expr, Shape) {
        path.iter().fold((expr, shape), |(expr, shape), field| {
            let (name, shape) = self.field(&shape, field);
            (field_access(expr, name, field.span), shape)
        })
    }

    /// The exact name of a field, and what is inside it.
    fn field(&mut self, shape: &Shape, written: &Ident) -> (String, Shape) {
        let told = |message: String, hint: Option<String>| {
            Diagnostic::error(codes::UNKNOWN_COLUMN, message).at(span_of(written.span)).maybe_hint(hint)
        };
        let diagnostic = match shape {
            Shape::Unknown => return (written.value.clone(), Shape::Unknown),
            Shape::Struct(fields) => {
                let matching: Vec<_> = fields.iter().filter(|(name, _)| means(written, name)).collect();
                match matching[..] {
                    [(name, shape)] => return (name.clone(), shape.clone()),
                    [] => {
                        let names = fields.iter().map(|(name, _)| name.as_str());
                        told(
                            format!("there is no field `{}`", written.value),
                            nearest(&written.value, names.clone()).or_else(|| {
                                Some(format!("the fields are {}", names.take(12).collect::<Vec<_>>().join(", ")))
                            }),
                        )
                    }
                    ref several => {
                        let names: Vec<_> = several.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                        let hint = format!("write one of {}", names.join(", "));
                        Diagnostic::error(
                            codes::AMBIGUOUS_COLUMN,
                            format!("`{}` could mean several fields", written.value),
                        )
                        .at(span_of(written.span))
                        .hint(hint)
                    }
                }
            }
            Shape::List(_) => told(
                format!("a list has no field `{}`", written.value),
                Some("take a member first, as in tags[1]".to_owned()),
            ),
            Shape::Leaf(data_type) => told(format!("{} has no field `{}`", type_name(data_type), written.value), None),
        };
        self.diagnostics.push(diagnostic);
        (written.value.clone(), Shape::Unknown)
    }

    /// Says what is wrong with a name that means nothing.
    fn unknown(&self, parts: &[Ident]) -> Diagnostic {
        let [first, rest @ ..] = parts else {
            return Diagnostic::error(codes::UNKNOWN_COLUMN, "an empty name");
        };
        let qualified = self.scopes.iter().rev().find_map(|scope| scope.source(first));
        if let (Some(source), [column, ..]) = (qualified, rest) {
            let names = source.columns.iter().map(|column| column.name.as_str());
            let hint = nearest(&column.value, names).or_else(|| known_columns(source));
            return Diagnostic::error(
                codes::UNKNOWN_COLUMN,
                format!("`{}` has no column `{}`", source.alias, column.value),
            )
            .at(span_of(column.span))
            .maybe_hint(hint);
        }
        if let (Some(source), []) = (qualified, rest)
            && let Some(column) = source.visible().next()
        {
            let message = format!("`{}` is a whole row and no column", first.value);
            let names: Vec<_> = source.visible().map(|column| column.name.as_str()).take(12).collect();
            let hint =
                format!("write `{}.{}`, or one of its columns alone: {}", source.alias, column.name, names.join(", "));
            return Diagnostic::error(codes::UNKNOWN_COLUMN, message).at(span_of(first.span)).hint(hint);
        }
        let what = if rest.is_empty() { "column" } else { "relation or column" };
        let forbidden = self
            .scopes
            .last()
            .is_some_and(|scope| rest.is_empty() && scope.forbidden_aliases.iter().any(|alias| means(first, alias)));
        let hint = if forbidden {
            Some("it is an alias of this SELECT, which is made later; repeat its expression, or put the SELECT into a WITH".to_owned())
        } else if self.scopes.iter().all(|scope| scope.sources.is_empty() && scope.aliases.is_empty()) {
            Some("this SELECT has no FROM, so it has no columns".to_owned())
        } else {
            nearest(&first.value, self.scopes.iter().rev().flat_map(Scope::names)).or_else(|| {
                if first.quote_style.is_some() && rest.is_empty() {
                    return Some(format!("a text is written in single quotes: '{}'", first.value));
                }
                let scope = self.scopes.last()?;
                if let [source] = &scope.sources[..] { known_columns(source) } else { None }
            })
        };
        Diagnostic::error(codes::UNKNOWN_COLUMN, format!("there is no {what} `{}`", first.value))
            .at(span_of(first.span))
            .maybe_hint(hint)
    }
}

fn known_columns(source: &Source) -> Option<String> {
    let names: Vec<_> = source.visible().map(|column| column.name.as_str()).collect();
    (!names.is_empty() && names.len() <= 12)
        .then(|| format!("the columns of `{}` are {}", source.alias, names.join(", ")))
}

/// The columns of one scope that a name can mean, without open streams.
pub(super) fn in_scope(scope: &Scope, parts: &[Ident]) -> Lookup {
    let [first, rest @ ..] = parts else { return Ok(None) };
    if scope.aliases_first
        && let Some(found) = alias(scope, first)
    {
        return Ok(Some(found));
    }
    let span = name_span(parts);
    if let (Some(source), [column, ..]) = (scope.source(first), rest) {
        let matching: Vec<_> = source.matching(column).map(|column| (source, column)).collect();
        if let Some((source, column)) = only(&matching, column)? {
            let expr = column_expr(&source.alias, &column.name, span);
            return Ok(Some(Found { expr, shape: column.shape.clone(), used: 2 }));
        }
    }
    if let Some(merged) = scope.merged.iter().find(|merged| means(first, &merged.column.name)) {
        return Ok(Some(Found { expr: merged.expr.clone(), shape: merged.column.shape.clone(), used: 1 }));
    }
    let matching: Vec<_> = scope
        .sources
        .iter()
        .flat_map(|source| source.matching(first).map(move |column| (source, column)))
        .filter(|(source, column)| !scope.is_merged(&source.alias, &column.name))
        .collect();
    match only(&matching, first)? {
        Some((source, column)) => {
            let expr = column_expr(&source.alias, &column.name, span);
            Ok(Some(Found { expr, shape: column.shape.clone(), used: 1 }))
        }
        None => Ok(alias(scope, first)),
    }
}

/// An alias of the `SELECT` list.
fn alias(scope: &Scope, name: &Ident) -> Option<Found> {
    let column = scope.aliases.iter().find(|column| means(name, &column.name))?;
    let expr = Expr::Identifier(exact(&column.name, name.span));
    Some(Found { expr, shape: column.shape.clone(), used: 1 })
}

/// The single match, if there is one.
fn only<'a>(
    matching: &[(&'a Source, &'a Column)],
    name: &Ident,
) -> Result<Option<(&'a Source, &'a Column)>, Ambiguous> {
    match matching {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let quoted = several
                .iter()
                .any(|(_, column)| several.iter().filter(|(_, other)| other.name == column.name).count() == 1);
            let candidates = several.iter().map(|(source, column)| {
                let column = if quoted { format!("\"{}\"", column.name) } else { column.name.clone() };
                format!("{}.{column}", source.alias)
            });
            Err(Ambiguous { name: name.value.clone(), candidates: candidates.collect() })
        }
    }
}

/// A field of an expression, in the form that DataFusion plans everywhere.
pub(super) fn field_access(root: Expr, name: String, span: SqlSpan) -> Expr {
    let access =
        AccessExpr::Subscript(Subscript::Index { index: Expr::Value(Value::SingleQuotedString(name).with_span(span)) });
    append_access(root, access)
}

/// One more access behind an expression.
pub(super) fn append_access(root: Expr, access: AccessExpr) -> Expr {
    match root {
        Expr::CompoundFieldAccess { root, mut access_chain } => {
            access_chain.push(access);
            Expr::CompoundFieldAccess { root, access_chain }
        }
        root => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: vec![access] },
    }
}

fn as_typed(parts: &[Ident]) -> Expr {
    match parts {
        [one] => Expr::Identifier(one.clone()),
        several => Expr::CompoundIdentifier(several.to_vec()),
    }
}
