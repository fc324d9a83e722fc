//! How far apart in time two rows may lie that a join condition lets match.
//!
//! Conditions are read as linear inequalities between the times of both sides: `l.time <= r.time + INTERVAL '5 minutes'`,
//! `r.time - l.time < INTERVAL '1 hour'`, `l.window_start = r.window_start`, in any arrangement. What is not understood
//! bounds nothing, so a bound is always implied by the condition.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, TryCast};

/// A side of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The time of a row as a column tells it: the row's own time plus something from `least` to `most` (microseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOf {
    pub(super) side: Side,
    pub(super) least: i64,
    pub(super) most: i64,
}

/// What is known of `right time - left time`; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Distance {
    pub(super) least: Option<i64>,
    pub(super) most: Option<i64>,
}

impl Distance {
    pub(super) const ANY: Self = Self { least: None, most: None };

    /// Both hold.
    pub(super) fn and(self, other: Self) -> Self {
        let tighter = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (known, None) | (None, known) => known,
        };
        Self { least: tighter(self.least, other.least, i64::max), most: tighter(self.most, other.most, i64::min) }
    }

    /// One of them holds.
    fn or(self, other: Self) -> Self {
        let wider = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| Some(pick(a?, b?));
        Self { least: wider(self.least, other.least, i64::min), most: wider(self.most, other.most, i64::max) }
    }
}

/// What a condition says of the distance; `time_of` knows which columns are times.
pub(super) fn distance(condition: &Expr, time_of: &dyn Fn(&Expr) -> Option<TimeOf>) -> Distance {
    match condition {
        Expr::Alias(alias) => distance(&alias.expr, time_of),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            distance(left, time_of).and(distance(right, time_of))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            distance(left, time_of).or(distance(right, time_of))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right, time_of),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            compared(expr, Operator::GtEq, low, time_of).and(compared(expr, Operator::LtEq, high, time_of))
        }
        _ => Distance::ANY,
    }
}

/// What `left op right` says.
pub(super) fn compared(left: &Expr, op: Operator, right: &Expr, time_of: &dyn Fn(&Expr) -> Option<TimeOf>) -> Distance {
    let difference = || linear(left, time_of)?.minus(linear(right, time_of)?);
    let Some(difference) = difference() else { return Distance::ANY };
    // An interval that is compared is ordered by its parts: a day is more than any number of hours.
    if difference.has_days && difference.has_pure_span {
        return Distance::ANY;
    }
    match op {
        Operator::LtEq => difference.at_most(0),
        Operator::Lt => difference.at_most(-1),
        Operator::GtEq => difference.negated().map_or(Distance::ANY, |difference| difference.at_most(0)),
        Operator::Gt => difference.negated().map_or(Distance::ANY, |difference| difference.at_most(-1)),
        Operator::Eq => {
            let reversed = difference.negated().map_or(Distance::ANY, |difference| difference.at_most(0));
            difference.at_most(0).and(reversed)
        }
        _ => Distance::ANY,
    }
}

/// `left` times of the left row and `right` times of the right row, plus something from `least` to `most`.
#[derive(Debug, Clone, Copy)]
struct Linear {
    left: i64,
    right: i64,
    least: i64,
    most: i64,
    /// Whether an interval with days is part of it.
    has_days: bool,
    /// Whether one side of the comparison is a span of time rather than an instant.
    has_pure_span: bool,
}

impl Linear {
    fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            left: self.left + other.left,
            right: self.right + other.right,
            least: self.least.checked_add(other.least)?,
            most: self.most.checked_add(other.most)?,
            has_days: self.has_days || other.has_days,
            has_pure_span: self.has_pure_span || other.has_pure_span,
        })
    }

    fn negated(self) -> Option<Self> {
        Some(Self {
            left: -self.left,
            right: -self.right,
            least: self.most.checked_neg()?,
            most: self.least.checked_neg()?,
            ..self
        })
    }

    /// The difference of two sides of a comparison.
    fn minus(self, other: Self) -> Option<Self> {
        let is_span = self.left + self.right == 0 || other.left + other.right == 0;
        let difference = self.plus(other.negated()?)?;
        Some(Self { has_pure_span: is_span, ..difference })
    }

    /// What follows if this is at most `limit`.
    fn at_most(self, limit: i64) -> Distance {
        let Some(slack) = limit.checked_sub(self.least) else { return Distance::ANY };
        match (self.left, self.right) {
            (-1, 1) => Distance { least: None, most: Some(slack) },
            (1, -1) => Distance { least: slack.checked_neg(), most: None },
            _ => Distance::ANY,
        }
    }
}

fn linear(expr: &Expr, time_of: &dyn Fn(&Expr) -> Option<TimeOf>) -> Option<Linear> {
    if let Some(TimeOf { side, least, most }) = time_of(expr) {
        let (left, right) = if side == Side::Left { (1, 0) } else { (0, 1) };
        return Some(Linear { left, right, least, most, has_days: false, has_pure_span: false });
    }
    match expr {
        Expr::Alias(alias) => linear(&alias.expr, time_of),
        Expr::Literal(value, _) => span(value),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            linear(left, time_of)?.plus(linear(right, time_of)?)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            linear(left, time_of)?.plus(linear(right, time_of)?.negated()?)
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            keeps_microseconds(field.data_type()).then(|| linear(expr, time_of)).flatten()
        }
        Expr::Negative(expr) => linear(expr, time_of)?.negated(),
        _ => None,
    }
}

/// Whether a cast to this type keeps an instant or a span to the microsecond, or makes NULL of it.
fn keeps_microseconds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, None)
            | DataType::Duration(TimeUnit::Microsecond | TimeUnit::Nanosecond)
            | DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)
    )
}

/// A literal span of whole microseconds. Months have no fixed length.
fn span(value: &ScalarValue) -> Option<Linear> {
    let (days, us) = match value {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 && value.nanoseconds % 1000 == 0 => {
            (i64::from(value.days), value.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(value)) => (i64::from(value.days), i64::from(value.milliseconds) * 1000),
        ScalarValue::DurationSecond(Some(seconds)) => (0, seconds.checked_mul(1_000_000)?),
        ScalarValue::DurationMillisecond(Some(ms)) => (0, ms.checked_mul(1000)?),
        ScalarValue::DurationMicrosecond(Some(us)) => (0, *us),
        ScalarValue::DurationNanosecond(Some(ns)) if ns % 1000 == 0 => (0, ns / 1000),
        _ => return None,
    };
    let us = days.checked_mul(86_400_000_000)?.checked_add(us)?;
    Some(Linear { left: 0, right: 0, least: us, most: us, has_days: days != 0, has_pure_span: false })
}

#[cfg(test)]
mod tests;
