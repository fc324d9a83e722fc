//! Frames whose length is not of the kind of what they go by: a span of time over a number, a number over a time.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::WindowFrameUnits as PlannedUnits;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{WindowFrame as PlannedFrame, WindowFrameBound as PlannedBound};
use datafusion::sql::sqlparser::ast::{
    Expr, Value, ValueWithSpan, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec,
};

use super::Text;
use crate::error::{Diagnostic, codes};
use crate::sql::types::type_name;

/// Whether a frame may have a number where a span of time belongs: DataFusion takes it for months.
pub(super) fn may_be_bad(call: &WindowFunction) -> bool {
    let PlannedFrame { units, start_bound, end_bound, .. } = &call.params.window_frame;
    let is_of_months = |bound: &PlannedBound| match bound {
        PlannedBound::Preceding(span) | PlannedBound::Following(span) => match span {
            ScalarValue::IntervalMonthDayNano(Some(span)) => span.months != 0,
            ScalarValue::IntervalYearMonth(Some(months)) => *months != 0,
            _ => false,
        },
        PlannedBound::CurrentRow => false,
    };
    *units == PlannedUnits::Range && (is_of_months(start_bound) || is_of_months(end_bound))
}

/// What is wrong with the frame of an `OVER` or of a named window.
pub(super) fn bad(
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
    text: &Text<'_>,
    spec: &WindowSpec,
) -> Option<Diagnostic> {
    let WindowSpec { order_by, window_frame: Some(frame), .. } = spec else { return None };
    let WindowFrame { units: WindowFrameUnits::Range, start_bound, end_bound } = frame else { return None };
    let [order] = &order_by[..] else { return None };
    let data_type = type_of(&order.expr)?;
    let mut lengths = std::iter::once(start_bound).chain(end_bound).filter_map(|bound| match bound {
        WindowFrameBound::Preceding(Some(length)) | WindowFrameBound::Following(Some(length)) => Some(length.as_ref()),
        _ => None,
    });
    let of_time = matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    if of_time {
        return lengths.find(|length| is_number(length)).map(|length| without_unit(text, length));
    }
    lengths.find(|length| !is_number(length)).map(|length| not_by_time(text, &order.expr, &data_type, length))
}

/// The parser takes a text for a span of time, which is told when it is read.
fn is_number(length: &Expr) -> bool {
    matches!(length, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }))
}

fn without_unit(text: &Text<'_>, length: &Expr) -> Diagnostic {
    let message = format!("`{}` has no unit, and this RANGE goes by a time", text.quoted(length));
    let hint = "write a span of time: RANGE INTERVAL '5 minutes' PRECEDING; \
                for a number of rows: ROWS 5 PRECEDING";
    Diagnostic::error(codes::WRONG_TYPE, message).at(text.whole(length)).hint(hint)
}

fn not_by_time(text: &Text<'_>, order: &Expr, data_type: &DataType, length: &Expr) -> Diagnostic {
    let (order_text, length) = (text.quoted(order), text.quoted(length));
    let message =
        format!("this RANGE is a span of time, and `{order_text}`, by which it goes, is {}", type_name(data_type));
    let hint = format!("order by the event time: ORDER BY time RANGE {length} PRECEDING");
    Diagnostic::error(codes::WRONG_WINDOW_TIME, message).at(text.whole(order)).hint(hint)
}
