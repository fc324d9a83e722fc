//! The uids that rows have on a stream, as a column of a plan on the batch side: rows of one time go by them.
//!
//! A row of a stream has its own; what filters, projects or unites passes it on; a pair, a window and a sequence have a hash
//! of what caused them, the same as that of the operators. Of other rows, which a stream never has, the content is hashed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, Extension, Filter, Join, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Sort, SubqueryAlias, Union, Volatility, Window, lit,
};

use super::plan::extension;
use super::sequence::Sequence;
use super::window_kind::Windows;
use super::window_table::{WINDOW_END, WINDOW_START, WindowTable};
use crate::canonical::encode_rows;
use crate::catalog::{TIME_TYPE, system};
use crate::identity::Uid;

/// The name of the column.
pub(crate) const UID: &str = "\u{1}uid";
/// Its type: hexadecimal digits, as the archive has them.
pub(crate) const UID_TYPE: DataType = DataType::Utf8View;

/// The uids of both sides of a join.
const LEFT: &str = "\u{1}left uid";
const RIGHT: &str = "\u{1}right uid";

/// The same rows with their uids, and the column that has them; `None` if they are those of a look-up table or constants.
pub(super) fn identified(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Expr)>> {
    Ok(with_uids(plan)?.map(|plan| {
        let uid = uid_of(&plan);
        (plan, uid)
    }))
}

/// The same for rows that may go by their content, where they are no events.
pub(super) fn with_uid(plan: &LogicalPlan) -> Result<(LogicalPlan, Expr)> {
    Ok(match identified(plan)? {
        Some(known) => known,
        None => (by_content(plan)?, ident(UID)),
    })
}

fn with_uids(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if plan.schema().fields().iter().any(|field| field.name() == UID) {
        return Ok(Some(plan.clone()));
    }
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let place = scan.projected_schema.index_of_column_by_name(None, system::UID);
            let Some(place) = place else { return Ok(None) };
            let uid = Expr::Column(Column::from(scan.projected_schema.qualified_field(place)));
            Some(added(plan.clone(), datafusion::logical_expr::cast(uid, UID_TYPE), UID)?)
        }
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => None,
        LogicalPlan::SubqueryAlias(alias) => of_input(&alias.input, |input| {
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?))
        })?,
        LogicalPlan::Filter(filter) => {
            of_input(&filter.input, |input| Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), input)?)))?
        }
        LogicalPlan::Sort(sort) => {
            of_input(&sort.input, |input| Ok(LogicalPlan::Sort(Sort { input, ..sort.clone() })))?
        }
        LogicalPlan::Limit(limit) => {
            of_input(&limit.input, |input| Ok(LogicalPlan::Limit(Limit { input, ..limit.clone() })))?
        }
        LogicalPlan::Window(window) => of_input(&window.input, |input| {
            Ok(LogicalPlan::Window(Window::try_new(window.window_expr.clone(), input)?))
        })?,
        LogicalPlan::Projection(projection) => of_input(&projection.input, |input| {
            let uid = uid_of(&input).alias(UID);
            let exprs = projection.expr.iter().cloned().chain([uid]).collect();
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
        })?,
        LogicalPlan::Union(union) => Some(of_union(union)?),
        LogicalPlan::Join(join) => of_join(join)?,
        LogicalPlan::Aggregate(aggregate) => Some(of_groups(plan, aggregate)?),
        _ => match (extension::<WindowTable>(plan), extension::<Sequence>(plan)) {
            (Some(window), _) => of_window_table(window)?,
            (None, Some(sequence)) => Some(sequence.identified()?),
            (None, None) => Some(by_content(plan)?),
        },
    })
}

fn of_input(
    input: &LogicalPlan,
    around: impl FnOnce(Arc<LogicalPlan>) -> Result<LogicalPlan>,
) -> Result<Option<LogicalPlan>> {
    with_uids(input)?.map(|input| around(Arc::new(input))).transpose()
}

/// Each branch with its columns in their order, then the uid.
fn of_union(union: &Union) -> Result<LogicalPlan> {
    let branch = |input: &Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
        let unknown = || (input.as_ref().clone(), lit(ScalarValue::Utf8View(None)));
        let (plan, uid) = identified(input)?.unwrap_or_else(unknown);
        let columns = input.schema().columns().into_iter().map(Expr::Column).chain([uid.alias(UID)]);
        Ok(Arc::new(LogicalPlanBuilder::from(plan).project(columns)?.build()?))
    };
    let inputs = union.inputs.iter().map(branch).collect::<Result<Vec<_>>>()?;
    let uid = Arc::new(Field::new(UID, UID_TYPE, true));
    let fields = union.schema.iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field)));
    let schema = DFSchema::new_with_metadata(fields.chain([(None, uid)]).collect(), HashMap::new())?;
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::new(schema) }))
}

/// A pair is caused by its two rows; a row that is joined with a table, or only looked for, is itself.
fn of_join(join: &Join) -> Result<Option<LogicalPlan>> {
    let (left, right) = (identified(&join.left)?, identified(&join.right)?);
    let kept = |side: Option<(LogicalPlan, Expr)>, name: &str, otherwise: &Arc<LogicalPlan>| match side {
        Some((plan, uid)) => Ok(Arc::new(added(plan, uid, name)?)),
        None => Ok::<_, datafusion::error::DataFusionError>(Arc::clone(otherwise)),
    };
    let (with_left, with_right) = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (left.is_some(), false),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (false, right.is_some()),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (left.is_some(), right.is_some()),
    };
    let uid = match (with_left, with_right) {
        (true, true) => Cause::Pair.of(vec![ident(LEFT), ident(RIGHT)]),
        (true, false) => ident(LEFT),
        (false, true) => ident(RIGHT),
        (false, false) => return Ok(None),
    };
    let joined = Join::try_new(
        kept(left.filter(|_| with_left), LEFT, &join.left)?,
        kept(right.filter(|_| with_right), RIGHT, &join.right)?,
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(Some(added(LogicalPlan::Join(joined), uid, UID)?))
}

/// A row that is in several windows becomes several rows, each with a uid of its own.
fn of_window_table(window: &WindowTable) -> Result<Option<LogicalPlan>> {
    let Some((input, uid)) = identified(&window.input)? else { return Ok(None) };
    let table = WindowTable::try_new(input, window.time.clone(), window.windows, window.keys.clone())?;
    let ends = table.ends();
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(table) });
    if window.windows.is_tumbling() || window.windows.is_sessions() {
        return Ok(Some(plan));
    }
    Ok(Some(added(plan, Cause::WindowedRow.of([uid].into_iter().chain(ends).collect()), UID)?))
}

/// A group of a window is caused by its keys and the ends of its window, one of a session by its keys and its beginning.
fn of_groups(plan: &LogicalPlan, aggregate: &Aggregate) -> Result<LogicalPlan> {
    let (mut keys, mut start, mut end, mut is_session) = (vec![], None, None, false);
    let columns = plan.schema().columns();
    for (expr, column) in aggregate.group_expr.iter().zip(columns) {
        match window_end(&aggregate.input, expr) {
            Some((name, windows)) => {
                is_session |= windows.is_sessions();
                let place = if name == WINDOW_START { &mut start } else { &mut end };
                place.get_or_insert(Expr::Column(column));
            }
            None => keys.push(Expr::Column(column)),
        }
    }
    let cause = match (start, end) {
        (Some(start), _) if is_session => Cause::Session.of(keys.into_iter().chain([start]).collect()),
        (Some(start), Some(end)) => Cause::Window.of(keys.into_iter().chain([start, end]).collect()),
        _ => return by_content(plan),
    };
    added(plan.clone(), cause, UID)
}

/// Which end of which windows a column of a plan is, if any.
fn window_end(plan: &LogicalPlan, expr: &Expr) -> Option<(&'static str, Windows)> {
    let column = match expr {
        Expr::Column(column) => column,
        Expr::Alias(alias) => return window_end(plan, &alias.expr),
        _ => return None,
    };
    let place = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::Projection(projection) => window_end(&projection.input, projection.expr.get(place)?),
        LogicalPlan::SubqueryAlias(alias) => {
            window_end(&alias.input, &Expr::Column(alias.input.schema().columns().get(place)?.clone()))
        }
        LogicalPlan::Filter(filter) => window_end(&filter.input, expr),
        LogicalPlan::Join(join) => {
            let side = |side: &LogicalPlan| side.schema().has_column(column).then(|| window_end(side, expr)).flatten();
            side(&join.left).or_else(|| side(&join.right))
        }
        _ => {
            let window = extension::<WindowTable>(plan)?;
            let width = window.input.schema().fields().len();
            [WINDOW_START, WINDOW_END].get(place.checked_sub(width)?).map(|name| (*name, window.windows))
        }
    }
}

/// Rows that no stream has go by what is in them.
fn by_content(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let uid = if columns.is_empty() { lit(ScalarValue::Utf8View(None)) } else { Cause::Content.of(columns) };
    added(plan.clone(), uid, UID)
}

/// The columns of a plan but for uids, and one more.
fn added(plan: LogicalPlan, expr: Expr, name: &str) -> Result<LogicalPlan> {
    let is_uid = |column: &Column| [UID, LEFT, RIGHT].contains(&column.name.as_str());
    let columns = plan.schema().columns().into_iter().filter(|column| !is_uid(column)).map(Expr::Column);
    let columns: Vec<Expr> = columns.chain([expr.alias(name)]).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The uid column of a plan that has one.
fn uid_of(plan: &LogicalPlan) -> Expr {
    let found = plan.schema().columns().into_iter().find(|column| column.name == UID);
    found.map_or_else(|| ident(UID), Expr::Column)
}

fn ident(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// What a row that is no event is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// The bytes by which equal keys come together; no uid, but made of the same encoding.
    Key,
    /// Two uids.
    Pair,
    /// Keys, then the ends of a window.
    Window,
    /// Keys, then the beginning of a session.
    Session,
    /// A uid and the ends of a window.
    WindowedRow,
    /// All columns.
    Content,
}

impl Cause {
    /// The call that computes it.
    pub(super) fn of(self, args: Vec<Expr>) -> Expr {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::new_from_impl(CauseFunction { cause: self, signature }).call(args)
    }
}

/// A function that nobody can write.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CauseFunction {
    cause: Cause,
    signature: Signature,
}

impl ScalarUDFImpl for CauseFunction {
    fn name(&self) -> &'static str {
        match self.cause {
            Cause::Key => "key_of",
            Cause::Pair => "uid_of_pair",
            Cause::Window => "uid_of_window",
            Cause::Session => "uid_of_session",
            Cause::WindowedRow => "uid_of_windowed_row",
            Cause::Content => "uid_of_content",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.cause == Cause::Key { DataType::Binary } else { UID_TYPE })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let args = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let values: ArrayRef = match (self.cause, &args[..]) {
            (Cause::Key, keys) => Arc::new(BinaryArray::from_iter_values(encode_rows(keys, rows)?)),
            (Cause::Pair, [left, right]) => {
                let (left, right) = (uids(left)?, uids(right)?);
                let bytes = |uid: Option<Uid>| uid.map_or_else(Vec::new, |uid| uid.0.to_vec());
                text((0..rows).map(|row| Uid::of_pair(&bytes(left[row]), &bytes(right[row]))))
            }
            (Cause::Window, [keys @ .., start, end]) => {
                let (start, end) = (instants(start)?, instants(end)?);
                let keys = encode_rows(keys, rows)?;
                text((0..rows).map(|row| Uid::of_cause([b"window".as_slice(), &keys[row], &start[row], &end[row]])))
            }
            (Cause::Session, [keys @ .., start]) => {
                let (start, keys) = (instants(start)?, encode_rows(keys, rows)?);
                text((0..rows).map(|row| Uid::of_cause([b"session".as_slice(), &keys[row], &start[row]])))
            }
            (Cause::WindowedRow, [uid, start, end]) => {
                let (uid, start, end) = (uids(uid)?, instants(start)?, instants(end)?);
                let bytes = |row: usize| uid[row].unwrap_or(Uid([0; 16])).0;
                let cause =
                    |row: usize| Uid::of_cause([b"windowed row".as_slice(), &bytes(row), &start[row], &end[row]]);
                text((0..rows).map(cause))
            }
            (_, columns) => {
                let content = encode_rows(columns, rows)?;
                text(content.iter().map(|content| Uid::of_cause([b"content".as_slice(), content])))
            }
        };
        Ok(ColumnarValue::Array(values))
    }
}

fn text(uids: impl Iterator<Item = Uid>) -> ArrayRef {
    Arc::new(uids.map(|uid| Some(uid.to_string())).collect::<StringViewArray>())
}

fn uids(column: &ArrayRef) -> Result<Vec<Option<Uid>>> {
    let text = cast(column, &UID_TYPE)?;
    Ok(text.as_string_view().iter().map(|text| text.and_then(|text| text.parse().ok())).collect())
}

/// The bytes of the instants of a column, as operators hash them.
fn instants(column: &ArrayRef) -> Result<Vec<[u8; 8]>> {
    let times = cast(column, &TIME_TYPE)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    Ok((0..times.len()).map(|row| times.value(row).to_le_bytes()).collect())
}
