//! Long chains of `AND` and `OR` made shallow. The parser leans them to the left, one level per operator; a rule with a
//! thousand alternatives would then overflow the stack of whoever walks the tree. Order and meaning stay.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, VisitMut, VisitorMut};

/// Chains up to this long stay as they are.
const CHAIN_MAX: usize = 16;

/// Makes every chain of the tree shallow.
pub(super) fn balance(tree: &mut impl VisitMut) {
    let ControlFlow::Continue(()) = tree.visit(&mut Balancing);
}

struct Balancing;

impl VisitorMut for Balancing {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        for wanted in [BinaryOperator::Or, BinaryOperator::And] {
            if chain_length(expr, &wanted) > CHAIN_MAX {
                let operands = take_operands(expr, &wanted);
                *expr = join(operands, &wanted);
            }
        }
        ControlFlow::Continue(())
    }
}

fn chain_length(mut expr: &Expr, wanted: &BinaryOperator) -> usize {
    let mut length = 0;
    while let Expr::BinaryOp { left, op, .. } = expr
        && op == wanted
    {
        length += 1;
        expr = left;
    }
    length
}

/// Takes the chain apart, from the left to the right.
fn take_operands(expr: &mut Expr, wanted: &BinaryOperator) -> Vec<Expr> {
    let hole = || Expr::Value(Value::Null.with_empty_span());
    let mut rest = std::mem::replace(expr, hole());
    let mut operands = Vec::new();
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == *wanted => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                operands.reverse();
                return operands;
            }
        }
    }
}

fn join(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        operands = pairs;
    }
    operands.pop().unwrap_or_else(|| Expr::Value(Value::Null.with_empty_span()))
}
