//! `WITH`, `SELECT` and what joins them: scopes opened and closed, `*` written out, every output column named.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Distinct, ExcludeSelectItem, Expr, GroupByExpr, Ident, NamedWindowExpr, ObjectName, OrderBy,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetQuantifier, Spanned,
    Subscript, Value, ValueWithSpan, WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::from::written_column;
use super::functions::lower;
use super::names::column_expr;
use super::scope::{Clause, Scope, Source, means};
use super::shape::{Column, Shape};
use super::{Cte, Resolver};
use crate::error::{Diagnostic, Place, Span, codes, counted, nearest};
use crate::sql::parse::spot;
use crate::sql::tokens::{exact, span_of};

/// One item of a `SELECT` list, resolved.
struct Item {
    item: SelectItem,
    column: Column,
    /// Whether it has a name of its own making, which later clauses may use.
    aliased: bool,
    span: SqlSpan,
}

impl Resolver<'_> {
    /// A query whose columns are used by name.
    pub(super) fn query(&mut self, query: &mut Query) -> Vec<Column> {
        self.subquery(query, true)
    }

    /// A query; `named` says whether anyone reads its columns, which then need different names.
    pub(super) fn subquery(&mut self, query: &mut Query, named: bool) -> Vec<Column> {
        let outer = self.ctes.len();
        if let Some(with) = &mut query.with {
            self.with(with);
        }
        let columns = self.body(&mut query.body, query.order_by.as_mut(), named);
        self.ctes.truncate(outer);
        columns
    }

    fn with(&mut self, with: &mut With) {
        let first = self.ctes.len();
        for cte in &mut with.cte_tables {
            let mut columns = self.query(&mut cte.query);
            self.rename(&mut columns, &mut cte.alias);
            let Ident { value: name, span, .. } = cte.alias.name.clone();
            if self.ctes[first..].iter().any(|other| other.name.to_lowercase() == name.to_lowercase()) {
                let message = format!("there are two WITH queries `{name}`");
                self.diagnostics.push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(span_of(span)));
            }
            let planned = self.planned_name(&name);
            cte.alias.name = exact(&planned, span);
            self.ctes.push(Cte { name, planned, columns });
        }
    }

    /// DataFusion refuses a `WITH` query that hides another, so each is planned under a name of its own.
    fn planned_name(&mut self, name: &str) -> String {
        let mut planned = name.to_owned();
        let mut number = 1;
        while !self.planned.insert(planned.to_lowercase()) {
            number += 1;
            planned = format!("{name}_{number}");
        }
        planned
    }

    fn body(&mut self, body: &mut SetExpr, order_by: Option<&mut OrderBy>, named: bool) -> Vec<Column> {
        let columns = match body {
            SetExpr::Select(select) => return self.select(select, order_by, named),
            SetExpr::Query(query) => self.subquery(query, named),
            SetExpr::SetOperation { left, right, set_quantifier, .. } => {
                let told = self.diagnostics.len();
                let left = self.body(left, None, named);
                let place = spot(right.as_ref());
                let right = self.body(right, None, named);
                if self.diagnostics.len() == told && left.len() != right.len() && !is_by_name(*set_quantifier) {
                    self.uneven(left.len(), right.len(), place);
                }
                united(left, right, *set_quantifier)
            }
            SetExpr::Values(values) => {
                let mut columns: Vec<Column> = Vec::new();
                for row in &mut values.rows {
                    for (at, value) in row.content.iter_mut().enumerate() {
                        let shape = self.expr(value);
                        if at == columns.len() {
                            columns.push(Column::new(format!("column{}", at + 1), shape));
                        }
                    }
                }
                columns
            }
            // The parser's guard has refused everything else.
            _ => Vec::new(),
        };
        if let Some(order_by) = order_by {
            self.scopes.push(Scope { aliases: columns.clone(), aliases_first: true, ..Scope::default() });
            self.order_by(order_by);
            self.scopes.pop();
        }
        columns
    }

    fn uneven(&mut self, left: usize, right: usize, place: Option<Span>) {
        let message = format!("this SELECT has {}, and the one before it {left}", counted(right, "column"));
        let place = place.map(|Span { start, .. }| Span { start, end: Place { column: start.column + 6, ..start } });
        let hint = "the columns of a UNION go by their order; write NULL AS name for one that is missing";
        self.diagnostics.push(Diagnostic::error(codes::PLAN, message).at(place).hint(hint));
    }

    fn select(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>, named: bool) -> Vec<Column> {
        let mut scope = self.from(&mut select.from);
        scope.forbidden_aliases = select.projection.iter().filter_map(written_alias).collect();
        self.scopes.push(scope);
        if let Some(condition) = &mut select.selection {
            self.condition_of_where(condition);
        }
        let of_rows = if is_grouped(select) { Clause::Elsewhere } else { Clause::Rows };
        let projection = std::mem::take(&mut select.projection);
        let items = self.in_clause(of_rows, |resolver| resolver.projection(projection, named));
        if named {
            self.check_names(&items);
        }
        let aliases = items.iter().filter(|item| item.aliased).map(|item| item.column.clone()).collect();
        let columns = items.iter().map(|item| item.column.clone()).collect();
        select.projection = items.into_iter().map(|item| item.item).collect();
        for window in &mut select.named_window {
            lower(&mut window.0);
            match &mut window.1 {
                NamedWindowExpr::NamedWindow(name) => lower(name),
                NamedWindowExpr::WindowSpec(spec) => self.window(spec),
            }
        }
        self.use_aliases(aliases, false);
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(|expr| drop(self.expr(expr)));
        }
        if let Some(condition) = &mut select.having {
            self.expr(condition);
        }
        if let Some(condition) = &mut select.qualify {
            self.in_clause(of_rows, |resolver| drop(resolver.expr(condition)));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.aliases_first = true;
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(|expr| drop(self.expr(expr)));
        }
        if let Some(order_by) = order_by {
            self.order_by(order_by);
        }
        self.scopes.pop();
        columns
    }

    fn use_aliases(&mut self, aliases: Vec<Column>, first: bool) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.aliases = aliases;
            scope.aliases_first = first;
            scope.forbidden_aliases.clear();
        }
    }

    fn order_by(&mut self, order_by: &mut OrderBy) {
        if let OrderByKind::Expressions(exprs) = &mut order_by.kind {
            self.order_by_exprs(exprs);
        }
    }

    fn projection(&mut self, items: Vec<SelectItem>, named: bool) -> Vec<Item> {
        let mut resolved = Vec::with_capacity(items.len());
        for item in items {
            let span = item.span();
            match item {
                SelectItem::UnnamedExpr(expr) => resolved.push(self.unnamed_item(expr, span)),
                SelectItem::ExprWithAlias { mut expr, alias } => {
                    let shape = self.expr(&mut expr);
                    let column = Column::new(&alias.value, shape);
                    let alias = exact(alias.value, alias.span);
                    resolved.push(Item {
                        item: SelectItem::ExprWithAlias { expr, alias },
                        column,
                        aliased: true,
                        span,
                    });
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) if !named => resolved.push(one(span)),
                SelectItem::Wildcard(options) => self.star(None, &options, span, &mut resolved),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    self.star(Some(&name), &options, span, &mut resolved);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _)
                | SelectItem::ExprWithAliases { .. } => {
                    let message = "this form of SELECT item is not supported";
                    self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(span)));
                }
            }
        }
        resolved
    }

    /// An item without a name is called by its column or field, or else as it is written.
    fn unnamed_item(&mut self, mut expr: Expr, span: SqlSpan) -> Item {
        let text = expr.to_string();
        let merged = self.merged_name(&expr);
        let shape = self.expr(&mut expr);
        if let Some((_, name)) = written_column(&expr)
            && merged.as_ref().is_none_or(|merged| *merged == name)
        {
            let column = Column::new(name, shape);
            return Item { item: SelectItem::UnnamedExpr(expr), column, aliased: false, span };
        }
        let name = merged.or_else(|| last_field(&expr)).unwrap_or(text);
        let column = Column::new(&name, shape);
        Item { item: SelectItem::ExprWithAlias { expr, alias: exact(name, span) }, column, aliased: true, span }
    }

    /// The name of the column that `USING` made, if the expression is its name.
    fn merged_name(&self, expr: &Expr) -> Option<String> {
        let Expr::Identifier(ident) = expr else { return None };
        let merged = self.scopes.last()?.merged.iter().find(|merged| means(ident, &merged.column.name))?;
        Some(merged.column.name.clone())
    }

    /// `*` or `relation.*`, written out.
    fn star(
        &mut self,
        qualifier: Option<&ObjectName>,
        options: &WildcardAdditionalOptions,
        span: SqlSpan,
        into: &mut Vec<Item>,
    ) {
        let Some(scope) = self.scopes.last().cloned() else {
            return;
        };
        let sources: Vec<&Source> = match qualifier {
            None => scope.sources.iter().collect(),
            Some(name) => {
                let Some(ident) = self.relation_ident(name) else { return };
                let Some(source) = scope.source(&ident) else {
                    let hint = nearest(&ident.value, scope.sources.iter().map(|source| source.alias.as_str()));
                    let message = format!("there is no relation `{}` here", ident.value);
                    self.diagnostics.push(
                        Diagnostic::error(codes::UNKNOWN_RELATION, message).at(span_of(ident.span)).maybe_hint(hint),
                    );
                    return;
                };
                vec![source]
            }
        };
        if let Some(open) = sources.iter().find(|source| source.open.is_some()) {
            let message = format!("`*` has no end on the open stream `{}`", open.alias);
            self.diagnostics
                .push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(span)).hint("name the columns"));
            return;
        }
        if sources.iter().any(|source| source.broken) {
            return;
        }
        let mut left_out = left_out(options);
        let mut columns: Vec<(Column, Expr, bool)> = Vec::new();
        if qualifier.is_none() {
            columns.extend(scope.merged.iter().map(|merged| (merged.column.clone(), merged.expr.clone(), true)));
        }
        for source in &sources {
            for column in source.visible() {
                if qualifier.is_some() || !scope.is_merged(&source.alias, &column.name) {
                    columns.push((column.clone(), column_expr(&source.alias, &column.name, span), false));
                }
            }
        }
        let mut unknown: Vec<Ident> = Vec::new();
        left_out.retain(|ident| {
            let known = columns.iter().any(|(column, ..)| means(ident, &column.name));
            if !known {
                unknown.push(ident.clone());
            }
            known
        });
        for ident in unknown {
            let hint = nearest(&ident.value, columns.iter().map(|(column, ..)| column.name.as_str()));
            let message = format!("there is no column `{}` to leave out", ident.value);
            self.diagnostics
                .push(Diagnostic::error(codes::UNKNOWN_COLUMN, message).at(span_of(ident.span)).maybe_hint(hint));
        }
        columns.retain(|(column, ..)| !left_out.iter().any(|ident| means(ident, &column.name)));
        into.extend(columns.into_iter().map(|(column, expr, aliased)| {
            let column = Column { hidden: false, ..column };
            let aliased = aliased && written_column(&expr).is_none_or(|(_, name)| name != column.name);
            let item = if aliased {
                SelectItem::ExprWithAlias { expr, alias: exact(&column.name, span) }
            } else {
                SelectItem::UnnamedExpr(expr)
            };
            Item { item, column, aliased, span }
        }));
    }

    /// Two output columns of one name could not be told apart, neither by an outer `SELECT` nor in an alert.
    fn check_names(&mut self, items: &[Item]) {
        let mut seen = HashSet::new();
        for item in items {
            if !seen.insert(item.column.name.as_str()) {
                let message = format!("two columns of this SELECT are called `{}`", item.column.name);
                self.diagnostics.push(
                    Diagnostic::error(codes::BAD_COLUMN, message)
                        .at(span_of(item.span))
                        .hint("give one of them another name with AS"),
                );
            }
        }
    }
}

fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
}

/// What `EXISTS (SELECT * ...)` selects: anything.
fn one(span: SqlSpan) -> Item {
    let expr = Expr::Value(Value::Number("1".to_owned(), false).with_span(span));
    let item = SelectItem::ExprWithAlias { expr, alias: exact("1", span) };
    Item { item, column: Column::new("1", Shape::Unknown), aliased: false, span }
}

fn written_alias(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    }
}

/// The last field that an access takes.
fn last_field(expr: &Expr) -> Option<String> {
    let Expr::CompoundFieldAccess { access_chain, .. } = expr else {
        return None;
    };
    match access_chain.last()? {
        AccessExpr::Subscript(Subscript::Index {
            index: Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }),
        }) => Some(name.clone()),
        _ => None,
    }
}

/// The columns that `* EXCEPT (...)` or `* EXCLUDE (...)` leaves out.
fn left_out(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let except = options.opt_except.iter().flat_map(|except| {
        std::iter::once(&except.first_element).chain(&except.additional_elements).cloned().collect::<Vec<_>>()
    });
    let names: &[ObjectName] = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => &[],
    };
    let exclude = names.iter().filter_map(|name| name.0.last()?.as_ident().cloned());
    except.chain(exclude).collect()
}

const fn is_by_name(quantifier: SetQuantifier) -> bool {
    matches!(quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName)
}

/// The columns of a UNION: those of the left side, and by name also what only the right side has.
fn united(left: Vec<Column>, right: Vec<Column>, quantifier: SetQuantifier) -> Vec<Column> {
    if is_by_name(quantifier) {
        let more: Vec<_> =
            right.into_iter().filter(|column| !left.iter().any(|other| other.name == column.name)).collect();
        return left.into_iter().chain(more).collect();
    }
    let mut right = right.into_iter();
    left.into_iter()
        .map(|column| {
            let other = right.next().map_or(Shape::Unknown, |column| column.shape);
            Column { shape: column.shape.or(other), ..column }
        })
        .collect()
}
