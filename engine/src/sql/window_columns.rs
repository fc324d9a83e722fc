//! The columns that hold the ends of a row's window. Where an aggregate reads overlapping windows, rows are not copied
//! into each of them: these columns stay empty, and only the aggregate and conditions on windows may name them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;

use super::lower::{Lowered, Refusal};
use super::window_kind::Windows;
use super::window_table::{WINDOW_END, WINDOW_START};
use crate::error::codes;

impl Lowered {
    /// Takes the parts of a condition that speak of windows alone, where rows do not carry these; gives the rest.
    pub(super) fn take_window_conditions(&mut self, predicate: &Expr, input: &DFSchema) -> Result<Vec<Expr>, Refusal> {
        let mut rest = vec![];
        for part in split_conjunction(predicate) {
            let Some(window) = self.window.as_mut().filter(|window| window.is_hollow) else {
                rest.push(part.clone());
                continue;
            };
            let name_of = |column: &Column| {
                let index = input.maybe_index_of_column(column)?;
                let is_end = window.ends.contains(&index).then_some(WINDOW_END);
                window.starts.contains(&index).then_some(WINDOW_START).or(is_end)
            };
            let columns = part.column_refs();
            if columns.is_empty() || columns.iter().any(|column| name_of(column).is_none()) {
                self.refuse_hollow(part, input)?;
                rest.push(part.clone());
                continue;
            }
            let named = part.clone().transform(|expr| {
                Ok(match &expr {
                    Expr::Column(column) => match name_of(column) {
                        Some(name) => Transformed::yes(datafusion::prelude::ident(name)),
                        None => Transformed::no(expr),
                    },
                    _ => Transformed::no(expr),
                })
            })?;
            window.conditions.push(named.data);
        }
        Ok(rest)
    }

    /// Refuses an expression over the ends of windows that rows do not carry.
    pub(crate) fn refuse_hollow(&self, expr: &Expr, input: &DFSchema) -> Result<(), Refusal> {
        let Some(window) = self.window.as_ref().filter(|window| window.is_hollow) else { return Ok(()) };
        let is_end = |index: usize| window.starts.contains(&index) || window.ends.contains(&index);
        match expr.column_refs().into_iter().find(|column| input.maybe_index_of_column(column).is_some_and(is_end)) {
            None => Ok(()),
            Some(column) => Err(Refusal::new(
                codes::UNSUPPORTED,
                format!("`{}` is computed with before GROUP BY, where a row is in several windows", column.name),
                "say it of window_start and window_end alone, group by the plain columns, and compute with them in SELECT",
            )),
        }
    }
}

/// The columns that hold the ends of a row's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowColumns {
    pub(crate) windows: Windows,
    pub(crate) starts: Vec<usize>,
    pub(crate) ends: Vec<usize>,
    /// Whether these columns are empty, because the aggregate above has the windows from the rows' times.
    pub(crate) is_hollow: bool,
    /// What must hold of a window whose ends the rows do not carry, over columns of these names.
    pub(crate) conditions: Vec<Expr>,
}
