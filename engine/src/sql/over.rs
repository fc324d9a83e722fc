//! Lowering of `OVER`: which frames can run on a stream, and how long each has to remember.

use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Operator, TryCast, Window, WindowFrameBound, WindowFrameUnits,
};

use super::first_seen;
use super::lower::{Lowered, Lowering, Refusal, column_index, names, physical, relaxed, unsupported};
use super::window_kind::span_in_words;
use super::window_table::interval_us;
use crate::error::codes;
use crate::graph::{Edge, OverFrame, OverFunction, OverKind, OverSpec, Spec};

/// Lowers window functions over `below`; `condition` is what must hold of their output, if a filter stands over them.
pub(super) fn lower(
    lowering: &mut Lowering<'_>,
    window: &Window,
    below: Lowered,
    condition: Option<&Expr>,
) -> Result<Lowered, Refusal> {
    let calls = window.window_expr.iter().map(call).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = calls.first() else { return Err(unsupported("an OVER without a function")) };
    let partition = &first.params.partition_by;
    if calls.iter().any(|call| call.params.partition_by != *partition) {
        return Err(unsupported("a SELECT whose PARTITION BY differ only in their ORDER BY"));
    }
    let input = window.input.schema();
    one_row_each(&calls, &below)?;
    calls.iter().try_for_each(|call| in_order_of_time(call, window, &below))?;
    let bounds = Bounds {
        window_us: below.window.as_ref().and_then(|columns| {
            let is_end = |column: usize| columns.starts.contains(&column) || columns.ends.contains(&column);
            let of_window = |key: &Expr| column_index(key, input).is_some_and(is_end);
            partition.iter().any(of_window).then(|| Some(columns.windows.fixed()?.size_us())).flatten()
        }),
        lag: condition.and_then(|condition| {
            let conjuncts = split_conjunction(condition);
            let bound = |conjunct: &&Expr| lag_bound(conjunct, window, &below);
            conjuncts.iter().filter_map(bound).max_by_key(|(rows, us)| (*rows, std::cmp::Reverse(*us)))
        }),
    };
    let functions =
        calls.iter().map(|call| function(call, window, &bounds)).collect::<Result<Vec<OverFunction>, Refusal>>()?;
    if below.is_early {
        lowering.settle(below.node);
    }
    let keys = lowering.physical_all(partition, input)?;
    let frames: Vec<String> = functions.iter().map(kept_in_words).collect();
    let what = format!("over {} keep {}", names(&window.window_expr), frames.join(", "));
    let schema = relaxed(&window.schema);
    let edge = Edge::by(below.node, keys.clone());
    let mut fixed = below.fixed.clone();
    fixed.resize(schema.fields().len(), false);
    let node = lowering.graph.add(&what, Spec::Over(OverSpec { keys, functions }), vec![edge], schema);
    Ok(Lowered { node, is_early: false, fixed, ..below })
}

/// Refuses rows that are in several windows, and for `first_seen` those that are no events.
fn one_row_each(calls: &[&WindowFunction], below: &Lowered) -> Result<(), Refusal> {
    let refused = |message: &str, hint: &str| Err(Refusal::new(codes::UNSUPPORTED, message, hint));
    let in_several = below.window.as_ref().is_some_and(|window| !window.windows.is_tumbling());
    match calls.iter().any(|call| first_seen::is_first_seen(call)) {
        true if in_several || !below.is_row_level => refused(
            match below.is_row_level {
                true => "`first_seen` does not look at rows that are in several windows",
                false => "`first_seen` looks at events, not at the results of windows",
            },
            "ask it in a WITH of the stream, and read the window from that",
        ),
        false if in_several => refused(
            "OVER does not run over rows that are in several windows",
            "use OVER on the stream itself, or aggregate per window first",
        ),
        _ => Ok(()),
    }
}

/// What a function remembers of each key, in words.
pub(crate) fn kept_in_words(function: &OverFunction) -> String {
    let OverFunction { kind, frame, .. } = function;
    if matches!(kind, OverKind::FirstSeen) {
        return format!("one entry, when it was last seen, for {}", span_in_words(frame.horizon_us + 1));
    }
    let horizon = span_in_words(frame.horizon_us);
    match frame.rows {
        Some(1) => format!("the last row within {horizon}"),
        Some(rows) => format!("the last {rows} rows within {horizon}"),
        None => format!("the rows of the last {horizon}"),
    }
}

/// What bounds a frame that has no interval of its own.
struct Bounds {
    /// The length of the window that the key contains.
    window_us: Option<i64>,
    /// A row passes only if so many rows before it are within so many microseconds.
    lag: Option<(u64, i64)>,
}

fn call(expr: &Expr) -> Result<&WindowFunction, Refusal> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        other => Err(unsupported(&format!("`{other}` as a window function"))),
    }
}

fn in_order_of_time(call: &WindowFunction, window: &Window, below: &Lowered) -> Result<(), Refusal> {
    let params = &call.params;
    let wrong = |message: String| {
        Err(Refusal::new(
            codes::WRONG_WINDOW_TIME,
            message,
            "write OVER (PARTITION BY ... ORDER BY time ...) with the event time alone; rows of one time are in the order of their uid",
        ))
    };
    let [order] = params.order_by.as_slice() else {
        return wrong(match params.order_by.len() {
            0 => "this OVER has no ORDER BY, so its value would depend on rows that are yet to come".to_owned(),
            _ => "this OVER orders by more than the event time".to_owned(),
        });
    };
    let column = column_index(&order.expr, window.input.schema());
    let is_time = |column| below.times().any(|time| time.is_exact() && time.column == column);
    if !column.is_some_and(is_time) {
        if first_seen::is_first_seen(call) {
            return Err(Refusal::new(
                codes::WRONG_WINDOW_TIME,
                format!("`first_seen` goes by `{}`, which is not the event time here", order.expr),
                "let the SELECT below give the event time the name `time`",
            ));
        }
        return wrong(format!("this OVER orders by `{}`, which is not the event time", order.expr));
    }
    if !order.asc {
        return wrong("this OVER orders from the newest to the oldest, but a stream goes the other way".to_owned());
    }
    Ok(())
}

fn function(call: &WindowFunction, window: &Window, bounds: &Bounds) -> Result<OverFunction, Refusal> {
    let WindowFunctionParams { args, filter, null_treatment, distinct, .. } = &call.params;
    if first_seen::is_first_seen(call) {
        // What lies the interval before a row is not seen by it.
        let horizon_us = first_seen::interval_of(call)?.saturating_sub(1);
        let frame = OverFrame { horizon_us, rows: None, with_peers: false };
        return Ok(OverFunction { kind: OverKind::FirstSeen, arg: None, filter: None, frame });
    }
    let input = window.input.schema();
    let name = call.fun.name();
    if *null_treatment == Some(NullTreatment::IgnoreNulls) {
        return Err(unsupported("IGNORE NULLS"));
    }
    if *distinct && name != "count" {
        return Err(unsupported(&format!("`{name}(DISTINCT ...) OVER`")));
    }
    let whole = |at: usize| args.get(at).map_or(Ok(1), |arg| positive(arg, name));
    let kind = match (name, args.len()) {
        ("count", 1) if *distinct => OverKind::CountDistinct,
        ("count", 1) => OverKind::Count,
        ("sum", 1) => OverKind::Sum,
        ("avg" | "mean", 1) => OverKind::Average,
        ("min", 1) => OverKind::Min,
        ("max", 1) => OverKind::Max,
        ("first_value", 1) => OverKind::First,
        ("last_value", 1) => OverKind::Last,
        ("nth_value", 2) => OverKind::Nth(whole(1)?),
        ("lag", 1..=3) => OverKind::Lag(default_of(args.get(2))?),
        ("row_number", 0) => OverKind::RowNumber,
        _ => return Err(refused(name)),
    };
    check_types(&kind, args.first(), window, name)?;
    let frame = match kind {
        OverKind::Lag(_) => OverFrame { rows: Some(whole(1)?), with_peers: false, horizon_us: 0 },
        OverKind::RowNumber => OverFrame { rows: None, with_peers: false, horizon_us: 0 },
        _ => frame_of(&call.params)?,
    };
    let frame = bounded(frame, &kind, bounds, name)?;
    let is_constant =
        matches!((&kind, args.first()), (OverKind::Count, Some(Expr::Literal(value, _))) if !value.is_null());
    let arg = args.first().filter(|_| !is_constant).map(|arg| physical(arg, input)).transpose()?;
    let filter = filter.as_deref().map(|filter| physical(filter, input)).transpose()?;
    Ok(OverFunction { kind, arg, filter, frame })
}

/// Whether a window function of that name runs over a stream.
pub(super) fn runs(name: &str) -> bool {
    const RUNNING: &[&str] =
        &["avg", "count", "first_value", "lag", "last_value", "max", "min", "nth_value", "row_number", "sum"];
    RUNNING.contains(&name) || name == first_seen::NAME
}

/// Why a window function does not run over a stream.
pub(super) fn refused(name: &str) -> Refusal {
    match name {
        "lead" => Refusal::new(
            codes::UNSUPPORTED,
            "`lead` looks at rows that are yet to come",
            "turn it round: lag(...) at the later row says the same of the pair",
        ),
        _ => Refusal::new(
            codes::UNSUPPORTED,
            format!("`{name} OVER` does not run on a stream yet"),
            "count, count(DISTINCT ...), sum, avg, min, max, first_value, last_value, nth_value, lag and row_number do",
        ),
    }
}

fn positive(arg: &Expr, name: &str) -> Result<u64, Refusal> {
    let value = match arg {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(value)) => u64::try_from(value).ok(),
            _ => None,
        },
        _ => None,
    };
    value
        .filter(|value| *value > 0 && *value <= 1_000_000)
        .ok_or_else(|| unsupported(&format!("`{name}` with `{arg}` rather than a whole number from 1")))
}

fn default_of(arg: Option<&Expr>) -> Result<ScalarValue, Refusal> {
    match arg {
        None => Ok(ScalarValue::Null),
        Some(Expr::Literal(value, _)) => Ok(value.clone()),
        Some(other) => Err(unsupported(&format!("`lag` with the default `{other}`, which is no constant"))),
    }
}

fn check_types(kind: &OverKind, arg: Option<&Expr>, window: &Window, name: &str) -> Result<(), Refusal> {
    let Some(arg) = arg else { return Ok(()) };
    let data_type = arg.get_type(window.input.schema())?;
    let fits = match kind {
        OverKind::Count | OverKind::RowNumber => true,
        OverKind::Sum => data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64),
        OverKind::Average => data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64),
        _ => RowConverter::supports_fields(&[SortField::new(data_type.clone())]) && !data_type.is_null(),
    };
    if fits { Ok(()) } else { Err(unsupported(&format!("`{name}` over a value of type {data_type}"))) }
}

/// The frame as it is written; a horizon of `i64::MAX` stands for none.
fn frame_of(params: &WindowFunctionParams) -> Result<OverFrame, Refusal> {
    let frame = &params.window_frame;
    if frame.end_bound != WindowFrameBound::CurrentRow {
        return Err(Refusal::new(
            codes::UNSUPPORTED,
            "this frame does not end at the current row",
            "let it end there: RANGE INTERVAL '5 minutes' PRECEDING, or ROWS 5 PRECEDING",
        ));
    }
    let (rows, horizon_us, with_peers) = match (&frame.units, &frame.start_bound) {
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(span)) if span.is_null() => (None, i64::MAX, true),
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(span)) => {
            let span_us = interval_us(&Expr::Literal(span.clone(), None));
            (None, span_us.map_err(|error| Refusal::from(error).about("RANGE"))?, true)
        }
        (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => (None, 0, true),
        (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => (Some(0), i64::MAX, false),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(count)) if count.is_null() => (None, i64::MAX, false),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(count)) => match count.cast_to(&DataType::UInt64)? {
            ScalarValue::UInt64(Some(count)) => (Some(count), i64::MAX, false),
            _ => return Err(unsupported("this number of rows")),
        },
        _ => return Err(unsupported("this kind of frame")),
    };
    Ok(OverFrame { horizon_us, rows, with_peers })
}

/// The same frame with a horizon, from whatever gives it one.
fn bounded(frame: OverFrame, kind: &OverKind, bounds: &Bounds, name: &str) -> Result<OverFrame, Refusal> {
    let is_lag = matches!(kind, OverKind::Lag(_));
    let has_interval = !is_lag && !matches!(kind, OverKind::RowNumber) && frame.horizon_us < i64::MAX;
    if has_interval {
        return Ok(frame);
    }
    if let Some(horizon_us) = bounds.window_us {
        return Ok(OverFrame { horizon_us, ..frame });
    }
    if frame.rows == Some(0) {
        return Ok(OverFrame { horizon_us: 0, ..frame });
    }
    match (frame.rows, bounds.lag) {
        (Some(rows), Some((passed, horizon_us))) if rows <= passed => Ok(OverFrame { horizon_us, ..frame }),
        _ => Err(Refusal::new(
            codes::UNBOUNDED,
            format!("unbounded state: `{name} OVER` would remember every key for ever"),
            match is_lag {
                true => {
                    "say how old the earlier row may be: QUALIFY time - lag(time) OVER (...) <= INTERVAL '1 hour'; or read FROM TUMBLE(...) and add window_start, window_end to PARTITION BY"
                }
                false if name == "row_number" => {
                    "read FROM TUMBLE(...) and add window_start, window_end to PARTITION BY"
                }
                false => {
                    "give the frame a length: RANGE INTERVAL '1 hour' PRECEDING; or read FROM TUMBLE(...) and add window_start, window_end to PARTITION BY"
                }
            },
        )),
    }
}

/// What a conjunct says of the age of an earlier row: how many rows back, and how many microseconds at most. A row whose
/// earlier row is older, or is forgotten and so NULL, does not pass it.
fn lag_bound(conjunct: &Expr, window: &Window, below: &Lowered) -> Option<(u64, i64)> {
    let lag = |expr: &Expr| lag_of_time(expr, window, below);
    let is_time = |expr: &Expr| is_time(expr, window, below);
    let at_most = |small: &Expr, big: &Expr| -> Option<(u64, i64)> {
        if let Some((left, right)) = operands(small, Operator::Minus)
            && is_time(left)
        {
            // time - lag <= span, or time - span <= lag.
            return lag(right).zip(span(big)).or_else(|| lag(big).zip(span(right)));
        }
        // time <= lag + span.
        let (left, right) = operands(big, Operator::Plus).filter(|_| is_time(small))?;
        lag(left).zip(span(right)).or_else(|| lag(right).zip(span(left)))
    };
    let bound = match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Lt | Operator::LtEq, right }) => at_most(left, right),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Gt | Operator::GtEq, right }) => at_most(right, left),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            at_most(expr, high).or_else(|| at_most(low, expr))
        }
        _ => None,
    };
    bound.filter(|(_, us)| *us >= 0)
}

fn operands(expr: &Expr, operator: Operator) -> Option<(&Expr, &Expr)> {
    match uncast(expr) {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == operator => Some((left, right)),
        _ => None,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => uncast(expr),
        Expr::Alias(alias) => uncast(&alias.expr),
        other => other,
    }
}

/// The column itself: a cast to another precision may move an instant.
fn is_time(expr: &Expr, window: &Window, below: &Lowered) -> bool {
    column_index(expr, &window.schema).is_some_and(|column| Some(column) == below.time)
}

/// How many rows back a column looks, if it is `lag` of the event time without a default.
fn lag_of_time(expr: &Expr, window: &Window, below: &Lowered) -> Option<u64> {
    let width = window.input.schema().fields().len();
    let function = window.window_expr.get(column_index(expr, &window.schema)?.checked_sub(width)?)?;
    let WindowFunction { fun, params } = call(function).ok()?;
    let is_of_time = column_index(params.args.first()?, window.input.schema()) == below.time && below.time.is_some();
    let is_plain =
        params.args.get(2).is_none_or(|default| matches!(default, Expr::Literal(value, _) if value.is_null()));
    if fun.name() != "lag" || !is_of_time || !is_plain {
        return None;
    }
    params.args.get(1).map_or(Some(1), |rows| positive(rows, "lag").ok())
}

fn span(expr: &Expr) -> Option<i64> {
    match uncast(expr) {
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(us)), _) => Some(*us),
        Expr::Literal(ScalarValue::DurationNanosecond(Some(ns)), _) => Some(ns.div_euclid(1000)),
        Expr::Literal(ScalarValue::DurationMillisecond(Some(ms)), _) => ms.checked_mul(1000),
        Expr::Literal(ScalarValue::DurationSecond(Some(seconds)), _) => seconds.checked_mul(1_000_000),
        other => interval_us(other).ok(),
    }
}
