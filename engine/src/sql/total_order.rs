//! The total order (time, uid) on the batch side. DataFusion breaks ties as it likes; a stream does not. So the plan is
//! rewritten: the uid of each row is carried up from its source to the functions that depend on how ties are broken, and
//! these sort by it too.
//!
//! A row of a look-up join, of an `EXISTS` or of a branch of a `UNION` has the uid of its event, a pair the hash of both.
//! What a `GROUP BY` or `DISTINCT` gives has none here; its ties stay as they come.

mod pair;
mod picked;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, Join, JoinType, LogicalPlan, Projection, SubqueryAlias, TableScan, Union, Window, WindowFrame,
    WindowFrameUnits, cast,
};

use super::first_seen;
use super::in_order;
use super::sequence::MARK;
use crate::catalog::system;
use picked::Picked;

/// The same plan, with the same columns, where functions that depend on the order of rows see them in the total order.
pub(super) fn in_total_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut has_order = false;
    plan.apply_with_subqueries(|node| {
        has_order |= match node {
            LogicalPlan::Window(_) => true,
            LogicalPlan::Aggregate(aggregate) => in_order::is_ordered(aggregate),
            _ => false,
        };
        Ok(if has_order { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if has_order { Carrier::default().exact(plan) } else { Ok(plan) }
}

/// A plan that may have further columns behind its own, and the uid of each row, where it is wanted and known.
struct Carried {
    plan: LogicalPlan,
    uid: Option<Expr>,
}

/// Carries uids, each under a name of its own.
#[derive(Default)]
struct Carrier {
    columns: usize,
}

impl Carrier {
    /// The plan with the columns that it had.
    fn exact(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::clone(plan.schema());
        let Carried { plan, .. } = self.carry(plan, false)?;
        only(plan, &schema)
    }

    fn carry(&mut self, plan: LogicalPlan, wanted: bool) -> Result<Carried> {
        let plan = plan.map_subqueries(|subquery| Ok(Transformed::yes(self.exact(subquery)?)))?.data;
        match plan {
            LogicalPlan::TableScan(scan) => {
                Ok(Carried { uid: uid_of(&scan).filter(|_| wanted), plan: LogicalPlan::TableScan(scan) })
            }
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, wanted),
            LogicalPlan::Projection(projection) => self.projection(projection, wanted),
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => self.same_rows(&plan, wanted),
            LogicalPlan::Window(window) => self.window(window, wanted),
            LogicalPlan::Aggregate(aggregate) if in_order::is_ordered(&aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(union) if wanted => self.union(union),
            LogicalPlan::Join(join) => self.join(join, wanted),
            LogicalPlan::Subquery(subquery) => {
                let inner = self.exact(subquery.subquery.as_ref().clone())?;
                Ok(Carried { plan: LogicalPlan::Subquery(subquery.with_plan(Arc::new(inner))), uid: None })
            }
            leaf if leaf.inputs().is_empty() => Ok(Carried { plan: leaf, uid: None }),
            other => {
                let inputs = other.inputs().into_iter().cloned().map(|input| self.exact(input));
                let inputs = inputs.collect::<Result<Vec<_>>>()?;
                Ok(Carried { plan: other.with_new_exprs(other.expressions(), inputs)?, uid: None })
            }
        }
    }

    /// A node whose rows are some of those below it.
    fn same_rows(&mut self, plan: &LogicalPlan, wanted: bool) -> Result<Carried> {
        let mut uid = None;
        let mut inputs = vec![];
        for input in plan.inputs() {
            let below = self.carry(input.clone(), wanted)?;
            uid = below.uid;
            inputs.push(below.plan);
        }
        Ok(Carried { plan: plan.with_new_exprs(plan.expressions(), inputs)?, uid })
    }

    fn alias(&mut self, alias: SubqueryAlias, wanted: bool) -> Result<Carried> {
        let Carried { mut plan, uid } = self.carry(alias.input.as_ref().clone(), wanted)?;
        let uid = match uid {
            Some(Expr::Column(column)) => Some(column),
            Some(uid) => {
                let name = self.name();
                let columns = plan.schema().columns().into_iter().map(Expr::Column);
                let columns = columns.chain([uid.alias(&name)]).collect();
                plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
                Some(Column::new_unqualified(name))
            }
            None => None,
        };
        let uid = uid.map(|column| Expr::Column(Column::new(Some(alias.alias.clone()), column.name)));
        let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias)?);
        Ok(Carried { plan, uid })
    }

    fn projection(&mut self, projection: Projection, wanted: bool) -> Result<Carried> {
        let below = self.carry(projection.input.as_ref().clone(), wanted)?;
        let mut columns = projection.expr;
        let uid = below.uid.map(|uid| {
            let name = self.name();
            columns.push(uid.alias(&name));
            Expr::Column(Column::new_unqualified(name))
        });
        Ok(Carried { plan: LogicalPlan::Projection(Projection::try_new(columns, Arc::new(below.plan))?), uid })
    }

    /// The functions of one node sort by the same, so those that sort by the uid too have a node of their own.
    fn window(&mut self, window: Window, wanted: bool) -> Result<Carried> {
        let Carried { mut plan, uid } = self.carry(window.input.as_ref().clone(), true)?;
        let mut functions = window.window_expr;
        if let Some(uid) = &uid {
            let mut sorted = vec![];
            let mut others = vec![];
            for function in functions {
                match with_ties_broken(function, uid)? {
                    (function, true) => sorted.push(function),
                    (function, false) => others.push(function),
                }
            }
            functions = others;
            if !sorted.is_empty() {
                plan = LogicalPlan::Window(Window::try_new(sorted, Arc::new(plan))?);
            }
        }
        if !functions.is_empty() {
            plan = LogicalPlan::Window(Window::try_new(functions, Arc::new(plan))?);
        }
        Ok(Carried { plan, uid: uid.filter(|_| wanted) })
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<Carried> {
        let Carried { plan, uid } = self.carry(aggregate.input.as_ref().clone(), true)?;
        let functions = aggregate.aggr_expr.into_iter();
        let functions = functions.map(|function| in_order::with_ties_broken(function, uid.as_ref())).collect();
        let aggregate = Aggregate::try_new(Arc::new(plan), aggregate.group_expr, functions)?;
        Ok(Carried { plan: LogicalPlan::Aggregate(aggregate), uid: None })
    }

    fn union(&mut self, union: Union) -> Result<Carried> {
        let branches = union
            .inputs
            .iter()
            .map(|input| Ok((Arc::clone(input.schema()), self.carry(input.as_ref().clone(), true)?)));
        let branches: Vec<(DFSchemaRef, Carried)> = branches.collect::<Result<_>>()?;
        if branches.iter().any(|(_, branch)| branch.uid.is_none()) {
            let inputs = branches.into_iter().map(|(schema, branch)| Ok(Arc::new(only(branch.plan, &schema)?)));
            let inputs = inputs.collect::<Result<_>>()?;
            return Ok(Carried { plan: LogicalPlan::Union(Union { inputs, schema: union.schema }), uid: None });
        }
        let name = self.name();
        let mut inputs = vec![];
        for (schema, Carried { plan, uid }) in branches {
            let columns = schema.columns().into_iter().map(Expr::Column);
            let columns = columns.chain(uid.map(|uid| cast(uid, DataType::Utf8View).alias(&name))).collect();
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?)));
        }
        let fields = union.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let uid = (None, Arc::new(Field::new(&name, DataType::Utf8View, true)));
        let schema = DFSchema::new_with_metadata(fields.chain([uid]).collect(), union.schema.metadata().clone())?;
        let plan = LogicalPlan::Union(Union { inputs, schema: Arc::new(schema) });
        Ok(Carried { plan, uid: Some(Expr::Column(Column::new_unqualified(name))) })
    }

    fn join(&mut self, join: Join, wanted: bool) -> Result<Carried> {
        let keeps_left = !matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
        let keeps_right = !matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
        let left = self.carry(join.left.as_ref().clone(), wanted && keeps_left)?;
        let right = self.carry(join.right.as_ref().clone(), wanted && keeps_right)?;
        let uid = match (left.uid, right.uid) {
            (Some(left), Some(right)) => Some(pair::uid_of_pair(left, right)),
            (left, right) => left.or(right),
        };
        let join = LogicalPlan::Join(join);
        Ok(Carried { plan: join.with_new_exprs(join.expressions(), vec![left.plan, right.plan])?, uid })
    }

    /// A name that nobody has.
    fn name(&mut self) -> String {
        self.columns += 1;
        format!("{MARK}uid {}", self.columns)
    }
}

/// The columns of a schema, out of a plan that has them and maybe others.
fn only(plan: LogicalPlan, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == schema.fields().len() {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// The uid of each event, where the rows have one: those of the archive's tables of streams.
fn uid_of(scan: &TableScan) -> Option<Expr> {
    let place = scan.projected_schema.index_of_column_by_name(None, system::UID)?;
    Some(Expr::Column(Column::from(scan.projected_schema.qualified_field(place))))
}

/// A function of a window, under the same name, that sees rows of one time in the order of their uid; and whether it now
/// sorts by it.
fn with_ties_broken(function: Expr, uid: &Expr) -> Result<(Expr, bool)> {
    let name = function.schema_name().to_string();
    let (inner, name) = match function {
        Expr::Alias(alias) => (*alias.expr, alias.name),
        other => (other, name),
    };
    let Expr::WindowFunction(call) = inner else { return Ok((inner.alias(name), false)) };
    let (call, sorts) = sorted(*call, uid)?;
    Ok((Expr::WindowFunction(Box::new(call)).alias(name), sorts))
}

/// The call that sees rows in the total order, where there is an order and it matters for ties; and whether it now sorts
/// by the uid.
fn sorted(mut call: WindowFunction, uid: &Expr) -> Result<(WindowFunction, bool)> {
    let Some(last) = call.params.order_by.last().cloned() else { return Ok((call, false)) };
    let by_uid = Sort { expr: uid.clone(), ..last };
    let (name, by_rows) = (call.fun.name().to_owned(), call.params.window_frame.units == WindowFrameUnits::Rows);
    match name.as_str() {
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" => return Ok((call, false)),
        first_seen::NAME => call.params.args.push(uid.clone()),
        // They have no frame, and one of an interval allows no second column.
        "lag" | "lead" | "row_number" | "ntile" => call.params.window_frame = WindowFrame::new(Some(false)),
        _ if by_rows => {}
        _ => {
            return Ok(match Picked::of(&call, by_uid.asc) {
                Some(picked) => (picked.call(call, uid)?, false),
                None => (call, false),
            });
        }
    }
    call.params.order_by.push(by_uid);
    Ok((call, true))
}
