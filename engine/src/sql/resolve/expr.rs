//! Expressions: every name inside made exact, and what is known about the value.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, Expr, Ident, Query, SetExpr, StructField, Subscript, Value, ValueWithSpan,
};

use super::Resolver;
use super::casts::exact_type;
use super::names::append_access;
use super::shape::Shape;
use crate::error::{Diagnostic, codes, counted};
use crate::sql::interval;
use crate::sql::parse::spot;
use crate::sql::tokens::span_of;

impl Resolver<'_> {
    /// Makes the names of an expression exact.
    pub(super) fn expr(&mut self, expr: &mut Expr) -> Shape {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => self.access(expr),
            Expr::Function(function) => self.function(function),
            Expr::BinaryOp { .. } => self.chain(expr),
            Expr::Value(_) => Shape::Unknown,
            Expr::TypedString(typed) => {
                let place = span_of(typed.value.span);
                self.tell(exact_type(&mut typed.data_type, place));
                Shape::Unknown
            }
            Expr::Nested(inner) => self.expr(inner),
            Expr::Case { operand, conditions, else_result, .. } => self.case(operand, conditions, else_result),
            Expr::Exists { subquery, .. } => {
                self.subquery(subquery, false);
                Shape::Unknown
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expr(expr);
                self.scalar_query(subquery);
                Shape::Unknown
            }
            Expr::Subquery(subquery) => self.scalar_query(subquery),
            Expr::Struct { values, fields } => self.struct_literal(values, fields),
            Expr::Dictionary(fields) => {
                let fields = fields.iter_mut().map(|field| (field.key.value.clone(), self.expr(&mut field.value)));
                Shape::Struct(fields.collect::<Vec<_>>().into())
            }
            Expr::Array(array) => {
                let shapes: Vec<_> = array.elem.iter_mut().map(|item| self.expr(item)).collect();
                Shape::List(Arc::new(shapes.into_iter().reduce(Shape::or).unwrap_or(Shape::Unknown)))
            }
            Expr::Named { expr, .. } => self.expr(expr),
            Expr::RLike { .. } => {
                regex_operator(expr);
                self.expr(expr)
            }
            other => self.children(other),
        }
    }

    /// `a + b + c` leans to the left; walking down its spine keeps the stack flat.
    fn chain(&mut self, expr: &mut Expr) -> Shape {
        let mut spine = expr;
        while let Expr::BinaryOp { left, right, .. } = spine {
            self.expr(right);
            spine = left;
        }
        self.expr(spine);
        Shape::Unknown
    }

    fn case(
        &mut self,
        operand: &mut Option<Box<Expr>>,
        conditions: &mut [CaseWhen],
        else_result: &mut Option<Box<Expr>>,
    ) -> Shape {
        if let Some(operand) = operand {
            self.expr(operand);
        }
        let mut shape = Shape::Unknown;
        for CaseWhen { condition, result } in conditions {
            self.expr(condition);
            shape = shape.or(self.expr(result));
        }
        match else_result {
            Some(result) => shape.or(self.expr(result)),
            None => shape,
        }
    }

    fn struct_literal(&mut self, values: &mut [Expr], fields: &[StructField]) -> Shape {
        let mut known = Vec::with_capacity(values.len());
        for (at, value) in values.iter_mut().enumerate() {
            let name = match (&*value, fields.get(at)) {
                (Expr::Named { name, .. }, _) => name.value.clone(),
                (_, Some(StructField { field_name: Some(name), .. })) => name.value.clone(),
                _ => format!("c{at}"),
            };
            known.push((name, self.expr(value)));
        }
        Shape::Struct(known.into())
    }

    /// A name, and what is taken out of it: `a.b`, `a.b[1].c`, `f(x).c`.
    fn access(&mut self, expr: &mut Expr) -> Shape {
        let (mut parts, root, chain) = taken_apart(expr);
        let mut chain = chain.into_iter().peekable();
        let (mut value, mut shape) = match root {
            Some(mut root) => {
                let shape = self.expr(&mut root);
                (root, shape)
            }
            None => {
                while let Some(AccessExpr::Dot(Expr::Identifier(part))) = chain.peek() {
                    parts.push(part.clone());
                    chain.next();
                }
                self.name(&parts)
            }
        };
        for access in chain {
            (value, shape) = self.one_access(value, shape, access);
        }
        *expr = value;
        shape
    }

    fn one_access(&mut self, value: Expr, shape: Shape, access: AccessExpr) -> (Expr, Shape) {
        match access {
            AccessExpr::Dot(Expr::Identifier(field)) => self.fields(value, shape, &[field]),
            AccessExpr::Dot(other) => {
                let message = format!("a field has a name, not `{other}`");
                self.diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(spot(&other)));
                (value, Shape::Unknown)
            }
            AccessExpr::Subscript(Subscript::Index {
                index: Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), span }),
            }) => {
                let field = Ident::with_quote_and_span('"', span, name);
                self.fields(value, shape, &[field])
            }
            AccessExpr::Subscript(Subscript::Index { mut index }) => {
                self.expr(&mut index);
                (append_access(value, AccessExpr::Subscript(Subscript::Index { index })), shape.item())
            }
            AccessExpr::Subscript(Subscript::Slice { mut lower_bound, mut upper_bound, mut stride }) => {
                for bound in [&mut lower_bound, &mut upper_bound, &mut stride].into_iter().flatten() {
                    self.expr(bound);
                }
                let slice = AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride });
                (append_access(value, slice), shape)
            }
        }
    }

    /// Expressions whose names are simply those of their parts.
    fn children(&mut self, expr: &mut Expr) -> Shape {
        match expr {
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. } => drop(self.expr(inner)),
            Expr::Cast { expr: inner, data_type, .. } => {
                let place = spot(inner.as_ref());
                self.tell(exact_type(data_type, place));
                self.expr(inner);
            }
            Expr::Interval(interval) => {
                self.diagnostics.extend(interval::unreadable(interval));
                self.expr(&mut interval.value);
            }
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::Like { expr: left, pattern: right, .. }
            | Expr::ILike { expr: left, pattern: right, .. }
            | Expr::SimilarTo { expr: left, pattern: right, .. }
            | Expr::AnyOp { left, right, .. }
            | Expr::AllOp { left, right, .. }
            | Expr::AtTimeZone { timestamp: left, time_zone: right }
            | Expr::Position { expr: left, r#in: right } => self.both(left, right),
            Expr::Between { expr: inner, low, high, .. } => {
                self.expr(inner);
                self.both(low, high);
            }
            Expr::InList { expr: inner, list, .. } => {
                self.expr(inner);
                self.all(list);
            }
            Expr::Tuple(items) => self.all(items),
            Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
                self.expr(inner);
                self.all(substring_from.iter_mut().chain(substring_for).map(Box::as_mut));
            }
            Expr::Trim { expr: inner, trim_what, trim_characters, .. } => {
                self.expr(inner);
                self.all(trim_what.iter_mut().map(Box::as_mut));
                self.all(trim_characters.iter_mut().flatten());
            }
            Expr::Overlay { expr: inner, overlay_what, overlay_from, overlay_for } => {
                self.expr(inner);
                self.both(overlay_what, overlay_from);
                self.all(overlay_for.iter_mut().map(Box::as_mut));
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => self.all(sets.iter_mut().flatten()),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    self.both(&mut entry.key, &mut entry.value);
                }
            }
            other => {
                let message = "this expression is not supported";
                self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(spot(other)));
            }
        }
        Shape::Unknown
    }

    fn tell(&mut self, outcome: Result<(), Diagnostic>) {
        self.diagnostics.extend(outcome.err());
    }

    fn both(&mut self, left: &mut Expr, right: &mut Expr) {
        self.expr(left);
        self.expr(right);
    }

    fn all<'b>(&mut self, exprs: impl IntoIterator<Item = &'b mut Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    /// A query inside an expression that gives one value per row.
    pub(super) fn scalar_query(&mut self, query: &mut Query) -> Shape {
        let told = self.diagnostics.len();
        let columns = self.subquery(query, true);
        if columns.len() > 1
            && self.diagnostics.len() == told
            && let SetExpr::Select(select) = query.body.as_ref()
        {
            let message = format!("this SELECT stands for one value, and it has {}", counted(columns.len(), "column"));
            let place = select.projection.get(1).and_then(spot);
            let hint = "select one column; for several, write EXISTS (SELECT 1 FROM ... WHERE a = b AND c = d)";
            self.diagnostics.push(Diagnostic::error(codes::PLAN, message).at(place).hint(hint));
        }
        columns.into_iter().next().map_or(Shape::Unknown, |column| column.shape)
    }
}

/// `a RLIKE b` is `a ~ b`, which is what DataFusion knows.
fn regex_operator(expr: &mut Expr) {
    let taken = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
    *expr = match taken {
        Expr::RLike { negated, expr: left, pattern: right, .. } => {
            let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
            Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }))
        }
        other => other,
    };
}

/// The leading name of an expression, or its root that is no name, and what is taken out of it.
fn taken_apart(expr: &mut Expr) -> (Vec<Ident>, Option<Expr>, Vec<AccessExpr>) {
    match std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span())) {
        Expr::Identifier(part) => (vec![part], None, Vec::new()),
        Expr::CompoundIdentifier(parts) => (parts, None, Vec::new()),
        Expr::CompoundFieldAccess { root, access_chain } => match *root {
            Expr::Identifier(part) => (vec![part], None, access_chain),
            Expr::CompoundIdentifier(parts) => (parts, None, access_chain),
            root => (Vec::new(), Some(root), access_chain),
        },
        other => (Vec::new(), Some(other), Vec::new()),
    }
}
