use datafusion::logical_expr::{col, lit};

use super::*;

fn us(us: i64) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, us * 1000))
}

fn days(days: i32) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, days, 0))
}

/// `l` and `r` are the rows' own times, `s` lies ten behind the right row's, `o` from three behind to two before it.
fn known(expr: &Expr) -> Option<TimeOf> {
    let Expr::Column(column) = expr else { return None };
    let (side, least, most) = match column.name.as_str() {
        "l" => (Side::Left, 0, 0),
        "r" => (Side::Right, 0, 0),
        "s" => (Side::Right, -10, -10),
        "o" => (Side::Right, -3, 2),
        _ => return None,
    };
    Some(TimeOf { side, least, most })
}

fn of(condition: Expr) -> (Option<i64>, Option<i64>) {
    let distance = distance(&condition, &known);
    (distance.least, distance.most)
}

#[test]
fn every_arrangement_says_the_same() {
    let (l, r) = (|| col("l"), || col("r"));
    for condition in [
        r().between(l() - us(2), l() + us(5)),
        r().gt_eq(l() - us(2)).and(r().lt_eq(l() + us(5))),
        (l() - us(2)).lt_eq(r()).and((r() - us(5)).lt_eq(l())),
        (r() - l()).gt_eq(us(-2)).and((r() - l()).lt_eq(us(5))),
        (l() - r()).between(us(-5), us(2)),
        l().between(r() - us(5), us(2) + r()),
        r().gt(l() - us(3)).and(r().lt(l() + us(6))),
    ] {
        assert_eq!(of(condition.clone()), (Some(-2), Some(5)), "{condition}");
    }
    assert_eq!(of(l().eq(r())), (Some(0), Some(0)));
    assert_eq!(of(r().lt_eq(l() + days(1))), (None, Some(86_400_000_000)));
}

#[test]
fn what_is_not_implied_is_not_concluded() {
    let (l, r) = (|| col("l"), || col("r"));
    for condition in [
        l().not_eq(r()),
        r().between(l(), l() + us(5)).is_true(),
        r().lt_eq(col("x")),
        (l() + r()).lt_eq(us(5)),
        l().lt_eq(l() + us(5)),
        r().lt_eq(lit(ScalarValue::new_interval_mdn(1, 0, 0)) + l()),
        r().lt_eq(l() + lit(ScalarValue::new_interval_mdn(0, 0, 1))),
        // Compared as an interval, two hours are less than a day, and so are fifty.
        (r() - l()).lt_eq(days(1)),
        r().lt_eq(l()).or(col("x").eq(lit(1))),
    ] {
        assert_eq!(of(condition.clone()), (None, None), "{condition}");
    }
}

#[test]
fn alternatives_bound_by_the_wider() {
    let (l, r) = (|| col("l"), || col("r"));
    let near = r().between(l(), l() + us(5));
    assert_eq!(of(near.clone().or(r().between(l() - us(9), l()))), (Some(-9), Some(5)));
    assert_eq!(of(near.and(r().lt(l() + us(3)))), (Some(0), Some(2)));
}

#[test]
fn columns_beside_the_rows_own_time_shift_and_widen() {
    let l = || col("l");
    assert_eq!(of(col("s").eq(l())), (Some(10), Some(10)));
    assert_eq!(of(col("o").between(l(), l() + us(5))), (Some(-2), Some(8)));
}
