//! `FROM`: relations, `WITH` queries, derived tables, joins.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::names::{Found, in_scope};
use super::scope::{Merged, Scope, Source, means};
use super::shape::Column;
use super::{RelationColumns, Resolver};
use crate::error::{Diagnostic, codes, counted, nearest};
use crate::sql::parse::spot;
use crate::sql::tokens::{exact, span_of};

/// A relation or `WITH` query that a name behind `FROM` means.
pub(super) struct Named {
    /// The name it is planned under.
    pub(super) planned: String,
    /// The name it is called by if it has no alias.
    pub(super) called: String,
    pub(super) columns: Vec<Column>,
    /// The stream, if it is open.
    pub(super) open: Option<String>,
    /// The exact path of the column that windows go by.
    pub(super) time: Option<String>,
    pub(super) is_relation: bool,
}

impl Resolver<'_> {
    /// Everything behind one `FROM`.
    pub(super) fn from(&mut self, tables: &mut [TableWithJoins]) -> Scope {
        let mut scope = Scope::default();
        for table in tables {
            let chain = self.chain_of_joins(table);
            self.add(&mut scope, chain);
        }
        scope
    }

    /// `a JOIN b ON ... JOIN c ...`: a condition sees what stands before it.
    fn chain_of_joins(&mut self, table: &mut TableWithJoins) -> Scope {
        let mut left = self.factor(&mut table.relation);
        for join in &mut table.joins {
            let right = self.factor(&mut join.relation);
            name_side(&mut join.join_operator);
            let mut both = left.clone();
            self.add(&mut both, right.clone());
            let coalesced = matches!(join.join_operator, JoinOperator::FullOuter(_));
            let from_right = matches!(
                join.join_operator,
                JoinOperator::Right(_)
                    | JoinOperator::RightOuter(_)
                    | JoinOperator::RightSemi(_)
                    | JoinOperator::RightAnti(_)
            );
            match constraint(&mut join.join_operator) {
                Some(JoinConstraint::On(condition)) => {
                    self.scopes.push(both);
                    self.expr(condition);
                    both = self.scopes.pop().unwrap_or_default();
                }
                Some(constraint @ JoinConstraint::Using(_)) => {
                    self.using(constraint, &left, &right, &mut both, (from_right, coalesced));
                }
                _ => {}
            }
            left = match join.join_operator {
                JoinOperator::LeftSemi(_) | JoinOperator::LeftAnti(_) => left,
                JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => right,
                _ => both,
            };
        }
        left
    }

    /// Puts more relations beside those of a scope; two may not have one name.
    fn add(&mut self, scope: &mut Scope, more: Scope) {
        for source in more.sources {
            let taken = scope.sources.iter().any(|other| other.alias.to_lowercase() == source.alias.to_lowercase());
            if taken {
                let message = format!("two relations are called `{}` here", source.alias);
                let hint = format!("give one of them another name: ... AS {}2", source.alias);
                self.diagnostics
                    .push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(span_of(source.span)).hint(hint));
                continue;
            }
            scope.sources.push(source);
        }
        scope.merged.extend(more.merged);
    }

    pub(super) fn factor(&mut self, factor: &mut TableFactor) -> Scope {
        let span = datafusion::sql::sqlparser::ast::Spanned::span(factor);
        let source = match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let source = match args {
                    Some(args) => self.window_table(name, alias, &mut args.args, span),
                    None => self.table(name, alias),
                };
                let called = alias.as_ref().map(|alias| &alias.name);
                source.or_else(|| called.or(name.0.last()?.as_ident()).map(Source::broken))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let columns = self.query(subquery);
                Some(self.derived(columns, alias, span))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                if let Some(alias) = alias {
                    let message = "an alias for a whole join is not supported";
                    self.diagnostics.push(
                        Diagnostic::error(codes::UNSUPPORTED, message)
                            .at(span_of(alias.name.span))
                            .hint("give each relation an alias"),
                    );
                }
                return self.chain_of_joins(table_with_joins);
            }
            TableFactor::MatchRecognize { .. } => self.match_recognize(factor, span),
            other => {
                let message = "this kind of table is not supported";
                self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(spot(other)));
                None
            }
        };
        Scope { sources: source.into_iter().collect(), ..Scope::default() }
    }

    fn table(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Option<Source> {
        let written = self.relation_ident(name)?;
        let Named { planned, called, mut columns, open, is_relation, .. } = self.named(&written)?;
        *name = ObjectName::from(exact(&planned, written.span));
        match alias {
            Some(alias) => {
                if is_relation && !alias.columns.is_empty() {
                    let message = "new names for the columns go with a SELECT, not with a relation";
                    self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(alias.name.span)));
                } else {
                    self.rename(&mut columns, alias);
                }
                alias.name = exact(&alias.name.value, alias.name.span);
            }
            None if planned != called => *alias = Some(alias_of(&called, written.span)),
            None => {}
        }
        let (alias, span) = match alias {
            Some(alias) => (alias.name.value.clone(), alias.name.span),
            None => (called, written.span),
        };
        Some(Source { alias, columns, open, span, broken: false })
    }

    /// The one part of a relation's name.
    pub(super) fn relation_ident(&mut self, name: &ObjectName) -> Option<Ident> {
        if let [part] = &name.0[..]
            && let Some(ident) = part.as_ident()
        {
            return Some(ident.clone());
        }
        let message = format!("there is no relation `{name}`; a relation's name has one part");
        self.diagnostics.push(Diagnostic::error(codes::UNKNOWN_RELATION, message).at(spot(name)));
        None
    }

    /// What a name behind `FROM` means; a name that means nothing is told. `None` also where it means something faulty.
    pub(super) fn named(&mut self, written: &Ident) -> Option<Named> {
        if let Some(cte) = self.ctes.iter().rev().find(|cte| means(written, &cte.name)) {
            let time = cte.columns.iter().find(|column| column.name.eq_ignore_ascii_case("time"));
            return Some(Named {
                planned: cte.planned.clone(),
                called: cte.name.clone(),
                time: time.map(|column| column.name.clone()),
                columns: cte.columns.clone(),
                open: None,
                is_relation: false,
            });
        }
        let relation = self.relations.columns(&written.value).filter(|relation| means(written, &relation.name));
        let Some(RelationColumns { name, columns, hidden, open, time, is_faulty }) = relation else {
            let names = self.relations.names();
            let known = names.iter().map(String::as_str).chain(self.ctes.iter().map(|cte| cte.name.as_str()));
            let message = format!("there is no stream, view or table `{}`", written.value);
            self.diagnostics.push(
                Diagnostic::error(codes::UNKNOWN_RELATION, message)
                    .at(span_of(written.span))
                    .maybe_hint(nearest(&written.value, known)),
            );
            return None;
        };
        self.read.insert(name.clone());
        if is_faulty {
            self.reads_faulty = true;
            return None;
        }
        let visible = columns.iter().map(|field| Column::of_field(field, false));
        let columns = visible.chain(hidden.iter().map(|field| Column::of_field(field, true))).collect();
        let open = open.then(|| name.clone());
        Some(Named { planned: name.clone(), called: name, columns, open, time, is_relation: true })
    }

    /// A `SELECT` behind `FROM`; one without a name gets one, so that its columns can be told from others.
    fn derived(&mut self, mut columns: Vec<Column>, alias: &mut Option<TableAlias>, span: SqlSpan) -> Source {
        match alias {
            Some(alias) => {
                self.rename(&mut columns, alias);
                alias.name = exact(&alias.name.value, alias.name.span);
                Source { alias: alias.name.value.clone(), columns, open: None, span: alias.name.span, broken: false }
            }
            None => {
                self.unnamed += 1;
                let name = format!("_{}", self.unnamed);
                *alias = Some(alias_of(&name, span));
                Source { alias: name, columns, open: None, span, broken: false }
            }
        }
    }

    /// `AS t (a, b)` gives the columns other names.
    pub(super) fn rename(&mut self, columns: &mut [Column], alias: &mut TableAlias) {
        if alias.columns.is_empty() {
            return;
        }
        if alias.columns.len() != columns.len() {
            let there = counted(columns.len(), "column");
            let message = format!("`{}` has {there}, not {}", alias.name.value, alias.columns.len());
            self.diagnostics.push(Diagnostic::error(codes::BAD_COLUMN, message).at(span_of(alias.name.span)));
        }
        for (column, new) in columns.iter_mut().zip(&mut alias.columns) {
            column.name.clone_from(&new.name.value);
            new.name = exact(&new.name.value, new.name.span);
        }
    }

    /// `USING (a)` becomes `ON left.a = right.a`, and `a` alone means the two of them.
    fn using(
        &mut self,
        constraint: &mut JoinConstraint,
        left: &Scope,
        right: &Scope,
        both: &mut Scope,
        (from_right, coalesced): (bool, bool),
    ) {
        let JoinConstraint::Using(names) = constraint else {
            return;
        };
        let mut condition: Option<Expr> = None;
        for name in names.iter() {
            let Some(ident) = self.relation_ident(name) else { return };
            let sides = [left, right].map(|side| in_scope(side, std::slice::from_ref(&ident)).ok().flatten());
            let [Some(left), Some(right)] = sides else {
                if both.sources.iter().any(|source| source.broken) {
                    continue;
                }
                let message = format!("`{}` is not one column on each side of the join", ident.value);
                self.diagnostics.push(
                    Diagnostic::error(codes::UNKNOWN_COLUMN, message)
                        .at(span_of(ident.span))
                        .hint("write the condition with ON"),
                );
                continue;
            };
            let equal = binary(left.expr.clone(), BinaryOperator::Eq, right.expr.clone());
            condition = Some(match condition {
                Some(before) => binary(before, BinaryOperator::And, equal),
                None => equal,
            });
            merge(both, &ident, left, right, from_right, coalesced);
        }
        if let Some(condition) = condition {
            *constraint = JoinConstraint::On(condition);
        }
    }
}

fn merge(both: &mut Scope, ident: &Ident, left: Found, right: Found, from_right: bool, coalesced: bool) {
    let name = written_column(&left.expr).map_or_else(|| ident.value.clone(), |(_, column)| column);
    let mut parts = Vec::new();
    for side in [&left, &right] {
        match written_column(&side.expr) {
            Some(part) => parts.push(part),
            None => {
                // The side is itself made of two columns, which were merged before.
                let before = both.merged.iter().find(|merged| merged.expr == side.expr);
                parts.extend(before.into_iter().flat_map(|merged| merged.parts.clone()));
            }
        }
    }
    both.merged.retain(|merged| {
        let inside = merged.parts.iter().any(|part| parts.contains(part));
        if inside {
            parts.extend(merged.parts.iter().filter(|part| !parts.contains(part)).cloned().collect::<Vec<_>>());
        }
        !inside
    });
    let shape = left.shape.or(right.shape);
    let expr = match (coalesced, from_right) {
        (true, _) => call("coalesce", vec![left.expr, right.expr]),
        (false, true) => right.expr,
        (false, false) => left.expr,
    };
    both.merged.push(Merged { column: Column::new(name, shape), expr, parts });
}

/// The relation and name of a column that is written out.
pub(super) fn written_column(expr: &Expr) -> Option<(String, String)> {
    match expr {
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [relation, column] => Some((relation.value.clone(), column.value.clone())),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn alias_of(name: &str, span: SqlSpan) -> TableAlias {
    TableAlias { explicit: true, name: exact(name, span), columns: Vec::new(), at: None }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(Ident::new(name)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `SEMI JOIN` is `LEFT SEMI JOIN`, which is what DataFusion knows.
fn name_side(operator: &mut JoinOperator) {
    let taken = std::mem::replace(operator, JoinOperator::CrossApply);
    *operator = match taken {
        JoinOperator::Semi(constraint) => JoinOperator::LeftSemi(constraint),
        JoinOperator::Anti(constraint) => JoinOperator::LeftAnti(constraint),
        other => other,
    };
}

/// Makes a join one of all rows with all: its columns are the same.
pub(crate) fn demand_nothing(operator: &mut JoinOperator) {
    if let Some(constraint) = constraint(operator)
        && !matches!(constraint, JoinConstraint::None)
    {
        *constraint = JoinConstraint::On(Expr::Value(Value::Boolean(true).with_empty_span()));
    }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint) => Some(constraint),
        _ => None,
    }
}
