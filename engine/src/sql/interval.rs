//! `INTERVAL '5 minutes'` as it is written: whether it can be read, and how long it is.

use arrow::compute::kernels::cast_utils::{IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config};
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{Expr, Interval, Value, ValueWithSpan};

use super::parse::spot;
use crate::error::{Diagnostic, codes, nearest};

/// Units that an author may have meant.
const UNITS: [&str; 9] =
    ["microseconds", "milliseconds", "seconds", "minutes", "hours", "days", "weeks", "months", "years"];

/// Whether a word is a unit of time.
pub(super) fn is_unit(word: &str) -> bool {
    let word = word.to_lowercase();
    UNITS.iter().any(|unit| *unit == word || unit.strip_suffix('s') == Some(&word))
}

/// Says that a constant interval cannot be read, or only by guessing its unit.
pub(super) fn unreadable(interval: &Interval) -> Option<Diagnostic> {
    let text = written(interval)?;
    if text.trim().parse::<f64>().is_ok() {
        let message = format!("`{}` has no unit", interval.value);
        let minutes = if text.trim() == "1" { "minute" } else { "minutes" };
        let hint = format!("write one behind it: INTERVAL '{} {minutes}', or seconds, hours or days", text.trim());
        return Some(Diagnostic::error(codes::WRONG_TYPE, message).at(spot(interval.value.as_ref())).hint(hint));
    }
    if read(&text).is_some() {
        return None;
    }
    let message = format!("`{}` is no span of time", interval.value);
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty() && !is_unit(word));
    let hint = words
        .into_iter()
        .find_map(|word| nearest(word, UNITS))
        .unwrap_or_else(|| "write one such as INTERVAL '30 seconds', '5 minutes', '1 hour' or '2 days'".to_owned());
    Some(Diagnostic::error(codes::WRONG_TYPE, message).at(spot(interval.value.as_ref())).hint(hint))
}

/// Says that an interval has no fixed length, or none. One that is not constant, or that cannot be read, is told elsewhere.
pub(super) fn refuse_length(interval: &Interval, hint: &str) -> Option<Diagnostic> {
    let value = read(&written(interval)?)?;
    let message = match microseconds(value) {
        Some(us) if us > 0 => return None,
        Some(_) => format!("`{interval}` is not longer than nothing"),
        None => format!("`{interval}` is not a number of days or of shorter units"),
    };
    Some(Diagnostic::error(codes::WRONG_TYPE, message).at(spot(interval.value.as_ref())).hint(hint))
}

/// The text of a constant interval, with its unit.
fn written(interval: &Interval) -> Option<String> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::Number(text, _), .. }) =
        interval.value.as_ref()
    else {
        return None;
    };
    Some(match &interval.leading_field {
        Some(field) => format!("{text} {field}"),
        None => text.clone(),
    })
}

fn read(text: &str) -> Option<IntervalMonthDayNano> {
    parse_interval_month_day_nano_config(text, IntervalParseConfig::new(IntervalUnit::Second)).ok()
}

/// Months have no fixed length.
fn microseconds(value: IntervalMonthDayNano) -> Option<i64> {
    let days = i64::from(value.days).checked_mul(86_400_000_000)?;
    (value.months == 0).then(|| days.checked_add(value.nanoseconds / 1000)).flatten()
}
