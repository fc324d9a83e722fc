//! Lowering of joins of two streams. Their condition has to say how far apart in time two rows may lie; that is what
//! lets either side forget.

use std::sync::Arc;

use arrow::row::{RowConverter, SortField};
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, Operator};

use super::lower::{Lowered, Lowering, Refusal, physical, relaxed};
use super::time_bound::{Distance, Side, TimeOf, compared, distance};
use super::time_column::TimeColumn;
use crate::error::codes;
use crate::graph::{Edge, JoinKind, JoinSpec, Spec};
use crate::sql::window_kind::span_in_words;

const HINT: &str = "say in the condition how far apart the two may be: \
    ... AND r.time BETWEEN l.time - INTERVAL '5 minutes' AND l.time + INTERVAL '5 minutes'";

/// Why `NOT IN (SELECT ...)` does not run.
pub(super) fn not_in() -> Refusal {
    Refusal::new(
        codes::UNSUPPORTED,
        "NOT IN (SELECT ...) finds nothing at all once a NULL is among what is selected",
        "write NOT EXISTS (SELECT 1 FROM r WHERE r.key = l.key), and of a stream r also AND r.time BETWEEN ...",
    )
}

/// Lowers a join of two streams.
pub(super) fn lower(lowering: &mut Lowering<'_>, join: &Join) -> Result<Lowered, Refusal> {
    if join.null_aware {
        return Err(not_in());
    }
    let (kind, is_swapped) = kind_of(join.join_type)?;
    let mut sides = [lowering.lower_rows(&join.left)?, lowering.lower_rows(&join.right)?];
    for side in &mut sides {
        if side.is_early {
            lowering.settle(side.node);
            side.is_early = false;
        }
        let schema = &lowering.graph.nodes[side.node].schema;
        let fields: Vec<_> = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        if !RowConverter::supports_fields(&fields) {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "a column of this join has a type that cannot be remembered",
                "select only the columns that are needed, without maps and unions",
            ));
        }
    }
    let bound = distance_of(join, &sides);
    let bound = if is_swapped { turned(bound) } else { bound };
    let (Some(least_us), Some(most_us)) = (bound.least, bound.most) else {
        return Err(unbounded(bound));
    };

    let mut keys = (vec![], vec![]);
    for (left, right) in &join.on {
        keys.0.push(physical(left, join.left.schema())?);
        keys.1.push(physical(right, join.right.schema())?);
    }
    let pair = join.left.schema().join(join.right.schema())?;
    let residual = join.filter.as_ref().map(|filter| physical(filter, &pair)).transpose()?;
    let what = format!(
        "join {} from {} to {} on {}",
        join.join_type,
        span_in_words(least_us),
        span_in_words(most_us),
        condition(join)
    );
    let [left, right] = sides;
    let edges = vec![Edge::by(left.node, keys.0.clone()), Edge::by(right.node, keys.1.clone())];
    let spec = JoinSpec {
        kind,
        is_swapped,
        least_us,
        most_us,
        keys: if is_swapped { [keys.1, keys.0] } else { [keys.0, keys.1] },
        residual,
        pair_schema: relaxed(&pair),
        null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
    };
    let node = lowering.graph.add(&what, Spec::Join(spec), edges, relaxed(&join.schema));
    Ok(joined(node, kind, is_swapped, (least_us, most_us), left, right))
}

/// The join as seen from the side whose rows are kept, and whether that is the right one.
fn kind_of(join_type: JoinType) -> Result<(JoinKind, bool), Refusal> {
    Ok(match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Left, true),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "EXISTS or IN of a stream beside OR, or within an expression, does not run",
                "let it stand alone in WHERE, joined by AND; for OR write two SELECTs with UNION ALL",
            ));
        }
        JoinType::Full => {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "a FULL JOIN of two streams does not run",
                "write a LEFT JOIN, and a second detection for what only the right side has",
            ));
        }
    })
}

/// What the whole condition says of `right time - left time`, as the engine has these times.
fn distance_of(join: &Join, sides: &[Lowered; 2]) -> Distance {
    let schemas = [join.left.schema(), join.right.schema()];
    let time_of = |expr: &Expr| {
        let Expr::Column(column) = expr else { return None };
        [Side::Left, Side::Right].into_iter().zip(schemas).zip(sides).find_map(|((side, schema), lowered)| {
            let index = schema.maybe_index_of_column(column)?;
            let known = lowered.times().find(|time| time.column == index)?;
            Some(TimeOf { side, least: known.behind_us.checked_neg()?, most: known.ahead_us })
        })
    };
    let of_keys = join.on.iter().map(|(left, right)| compared(left, Operator::Eq, right, &time_of));
    let of_filter = join.filter.as_ref().map_or(Distance::ANY, |filter| distance(filter, &time_of));
    of_keys.fold(of_filter, Distance::and)
}

/// The same, seen from the other side.
fn turned(distance: Distance) -> Distance {
    Distance { least: distance.most.and_then(i64::checked_neg), most: distance.least.and_then(i64::checked_neg) }
}

fn unbounded(bound: Distance) -> Refusal {
    let message = match (bound.least, bound.most) {
        (None, None) => "unbounded state: this join has no time bound, so both sides would be remembered for ever",
        _ => "unbounded state: this join is bounded in time on one side only, so rows would be remembered for ever",
    };
    Refusal::new(codes::UNBOUNDED, message, HINT)
}

/// What is known of the joined rows. Each column that tells a time is as far behind the new time as the new time is
/// ahead of the one before.
fn joined(
    node: usize,
    kind: JoinKind,
    is_swapped: bool,
    (least, most): (i64, i64),
    left: Lowered,
    right: Lowered,
) -> Lowered {
    let left_width = left.fixed.len();
    let (kept, other) = if is_swapped { (right, left) } else { (left, right) };
    // How far the time of the output is ahead of each side's own: at least and at most.
    let (of_kept, of_other) = match kind {
        JoinKind::Inner => {
            (Some((least.max(0), most.max(0))), Some(((-most.max(-i64::MAX)).max(0), (-least.max(-i64::MAX)).max(0))))
        }
        JoinKind::Left => (Some((least.max(0).min(most.max(0)), most.max(0))), None),
        JoinKind::Semi => (Some((0, 0)), None),
        JoinKind::Anti => (Some((most.max(0), most.max(0))), None),
    };
    let has_other = matches!(kind, JoinKind::Inner | JoinKind::Left);
    let shift_kept = if is_swapped && has_other { left_width } else { 0 };
    let shift_other = if is_swapped { 0 } else { left_width };
    let moved = |side: &Lowered, ahead: Option<(i64, i64)>, shift: usize| {
        let Some((least, most)) = ahead else { return vec![] };
        let times = side.times().map(|time| TimeColumn {
            column: time.column + shift,
            behind_us: time.behind_us.saturating_add(most),
            ahead_us: time.ahead_us.saturating_sub(least),
        });
        times.collect::<Vec<_>>()
    };
    let mut times = moved(&kept, of_kept, shift_kept);
    times.extend(moved(&other, of_other, shift_other));
    let mut tables: Vec<Arc<str>> = kept.tables.into_iter().chain(other.tables).collect();
    tables.sort();
    tables.dedup();
    let width = kept.fixed.len() + if has_other { other.fixed.len() } else { 0 };
    Lowered {
        node,
        time: None,
        lagging: vec![],
        // A window was assigned by the row's own time, which a semi join alone keeps.
        window: kept.window.filter(|_| kind == JoinKind::Semi),
        is_row_level: true,
        is_early: false,
        fixed: vec![true; width],
        tables,
    }
    .with_times(times)
}

/// What a join matches by, in SQL's words.
pub(super) fn condition(join: &Join) -> String {
    let equals = match join.null_equality {
        NullEquality::NullEqualsNothing => "=",
        NullEquality::NullEqualsNull => "IS NOT DISTINCT FROM",
    };
    let keys = join.on.iter().map(|(left, right)| format!("{left} {equals} {right}"));
    keys.chain(join.filter.iter().map(|filter| format!("({filter})"))).collect::<Vec<_>>().join(" AND ")
}
