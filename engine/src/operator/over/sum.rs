//! Sums of floats from which values can be taken away again.

/// A sum in two doubles, about 32 digits, so that what rounding leaves behind when a value goes is too small to be seen.
/// Values that are not finite are counted beside it, since they could not be taken away.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FloatSum {
    high: f64,
    low: f64,
    nans: u32,
    infinite: u32,
    negative_infinite: u32,
}

/// Finite values are summed as if smaller by this factor, so that their sum is finite too.
const SCALE: f64 = 1.0 / (1_u64 << 40) as f64;

impl FloatSum {
    pub(super) fn add(&mut self, value: f64) {
        match self.special(value) {
            Some(count) => *count += 1,
            None => self.shift(value * SCALE),
        }
    }

    pub(super) fn subtract(&mut self, value: f64) {
        match self.special(value) {
            Some(count) => *count -= 1,
            None => self.shift(-(value * SCALE)),
        }
    }

    fn special(&mut self, value: f64) -> Option<&mut u32> {
        match value {
            value if value.is_nan() => Some(&mut self.nans),
            f64::INFINITY => Some(&mut self.infinite),
            f64::NEG_INFINITY => Some(&mut self.negative_infinite),
            _ => None,
        }
    }

    /// Knuth's two-sum: the sum and its error, exactly.
    fn shift(&mut self, value: f64) {
        let sum = self.high + value;
        let part = sum - self.high;
        let error = (self.high - (sum - part)) + (value - part);
        let low = self.low + error;
        self.high = sum + low;
        self.low = low - (self.high - sum);
    }

    pub(super) fn value(&self) -> f64 {
        match (self.nans, self.infinite, self.negative_infinite) {
            (0, 0, 0) => (self.high + self.low) / SCALE,
            (0, _, 0) => f64::INFINITY,
            (0, 0, _) => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_leaves_nothing_behind() {
        let mut sum = FloatSum::default();
        [0.1, 1e15, 0.2, f64::INFINITY, f64::NAN, f64::MAX, f64::MAX].into_iter().for_each(|value| sum.add(value));
        assert!(sum.value().is_nan());
        sum.subtract(f64::NAN);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.subtract(f64::INFINITY);
        assert_eq!(sum.value(), f64::INFINITY, "the sum itself is too large");
        let mut sum = FloatSum::default();
        [0.1, 1e15, 0.2].into_iter().for_each(|value| sum.add(value));
        sum.subtract(1e15);
        assert!((sum.value() - 0.3).abs() < 1e-14, "{}", sum.value());
    }
}
