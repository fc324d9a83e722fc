//! `approx_percentile_cont(x, p)` and `approx_median(x)` by a sketch that does not depend on the order of its input, in the
//! place of DataFusion's t-digest, which does.
//!
//! The sketch counts values by sign, exponent and the first bits of their fraction, which keeps their order. It is merged by
//! adding counts, so every way to cut the input gives the same.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, UInt64Type};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, Signature, TypeSignature, TypeSignatureClass, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

/// How many bits of a value's fraction are left out: eight are kept, so whole numbers up to 512 are exact and others are
/// less than 0.4 percent too near to zero.
const BITS_LEFT_OUT: u32 = 52 - 8;

/// All of them.
pub(super) fn functions() -> Vec<AggregateUDF> {
    [Function::Percentile, Function::Median].map(|of| AggregateUDF::new_from_impl(Percentile::new(of))).into()
}

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    /// `approx_percentile_cont(x, p)`, or `approx_percentile_cont(p) WITHIN GROUP (ORDER BY x)`.
    Percentile,
    /// `approx_median(x)`.
    Median,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    of: Function,
    signature: Signature,
}

impl Percentile {
    fn new(of: Function) -> Self {
        let number = || {
            let float = TypeSignatureClass::Native(logical_float64());
            Coercion::new_implicit(float, vec![TypeSignatureClass::Numeric], NativeType::Float64)
        };
        let arguments = match of {
            Function::Percentile => vec![number(), number()],
            Function::Median => vec![number()],
        };
        Self { of, signature: Signature::new(TypeSignature::Coercible(arguments), Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        match self.of {
            Function::Percentile => "approx_percentile_cont",
            Function::Median => "approx_median",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.of == Function::Percentile
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let percentile = match (self.of, args.exprs) {
            (Function::Median, _) => Some(0.5),
            (Function::Percentile, [_, percentile]) => {
                let literal = (percentile.as_ref() as &dyn Any).downcast_ref::<Literal>();
                literal.and_then(|literal| percentile_of(literal.value()))
            }
            _ => None,
        };
        let Some(percentile) = percentile else { return plan_err!("{PERCENTILE}") };
        let is_descending = args.order_bys.first().is_some_and(|sort| sort.options.descending);
        let percentile = if is_descending { 1.0 - percentile } else { percentile };
        Ok(Box::new(Sketch { percentile, counts: BTreeMap::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |name: &str, item: DataType| {
            Arc::new(Field::new_list(format!("{}[{name}]", args.name), Field::new_list_field(item, true), false))
        };
        Ok(vec![list("places", DataType::Int64), list("counts", DataType::UInt64)])
    }
}

/// What a percentile is.
const PERCENTILE: &str = "the percentile is a constant from 0 to 1, as in approx_percentile_cont(x, 0.95)";

/// A constant as a percentile.
pub(super) fn percentile_of(value: &ScalarValue) -> Option<f64> {
    let ScalarValue::Float64(Some(percentile)) = value.cast_to(&DataType::Float64).ok()? else { return None };
    (0.0..=1.0).contains(&percentile).then_some(percentile)
}

/// Counts of values by their place.
#[derive(Debug)]
struct Sketch {
    percentile: f64,
    counts: BTreeMap<i64, u64>,
}

/// The place of a value: greater values have greater places. NaN has none.
fn place_of(value: f64) -> Option<i64> {
    // 0.0 and -0.0 are one value.
    let magnitude = (value.abs().to_bits() >> BITS_LEFT_OUT).cast_signed();
    (!value.is_nan()).then_some(if value < 0.0 { -magnitude } else { magnitude })
}

/// The value of a place that is nearest to zero.
fn value_of(place: i64) -> f64 {
    let magnitude = f64::from_bits(place.unsigned_abs() << BITS_LEFT_OUT);
    if place < 0 { -magnitude } else { magnitude }
}

impl Accumulator for Sketch {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        for place in values.iter().flatten().filter_map(place_of) {
            *self.counts.entry(place).or_default() += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (places, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in 0..places.len() {
            let (places, counts) = (places.value(row), counts.value(row));
            let places = places.as_primitive::<Int64Type>().values().iter();
            for (place, count) in places.zip(counts.as_primitive::<UInt64Type>().values()) {
                *self.counts.entry(*place).or_default() += count;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let places: Vec<_> = self.counts.keys().map(|place| ScalarValue::Int64(Some(*place))).collect();
        let counts: Vec<_> = self.counts.values().map(|count| ScalarValue::UInt64(Some(*count))).collect();
        let list = |values: &[ScalarValue], item| ScalarValue::List(ScalarValue::new_list_nullable(values, item));
        Ok(vec![list(&places, &DataType::Int64), list(&counts, &DataType::UInt64)])
    }

    /// The value of nearest rank: the least one that has so large a part of all up to it.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total: u64 = self.counts.values().sum();
        let rank = (self.percentile * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let place = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        Ok(ScalarValue::Float64(place.map(|(place, _)| value_of(*place))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * size_of::<(i64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    fn sketch(values: impl IntoIterator<Item = f64>, percentile: f64) -> Sketch {
        let mut sketch = Sketch { percentile, counts: BTreeMap::new() };
        let values: Float64Array = values.into_iter().map(Some).collect();
        sketch.update_batch(&[Arc::new(values)]).expect("numbers");
        sketch
    }

    fn answer(mut sketch: Sketch) -> Option<f64> {
        match sketch.evaluate().expect("a sketch has a value") {
            ScalarValue::Float64(value) => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(answer(sketch(hundred(), 0.95)), Some(95.0));
        assert_eq!(answer(sketch(hundred().map(|value| -value), 0.05)), Some(-96.0));
        assert_eq!(answer(sketch(hundred(), 0.0)), Some(1.0));
        assert_eq!(answer(sketch(hundred(), 1.0)), Some(100.0));
        assert_eq!(answer(sketch([], 0.5)), None);
        assert_eq!(answer(sketch([f64::NAN, 7.0], 1.0)), Some(7.0));
    }

    #[test]
    fn others_are_near() {
        for step in 0..2000 {
            let value = 1.37_f64.powi(step % 200 - 100) * f64::from(step + 1);
            for value in [value, -value] {
                let told = answer(sketch([value], 0.5)).expect("one value");
                assert!((told - value).abs() <= value.abs() * 0.004 && told.abs() <= value.abs(), "{told} for {value}");
            }
        }
    }

    #[test]
    fn places_keep_the_order_of_values() {
        let values =
            [f64::NEG_INFINITY, -1e300, -513.0, -2.0, -1e-300, 0.0, 1e-300, 1.0, 1.01, 513.0, 1e300, f64::INFINITY];
        let places: Vec<i64> = values.iter().filter_map(|value| place_of(*value)).collect();
        assert!(places.is_sorted() && places.len() == values.len(), "{places:?}");
        assert_eq!(place_of(-0.0), place_of(0.0));
    }

    #[test]
    fn every_cut_and_order_gives_the_same() {
        let values: Vec<f64> = (0..500).map(|n| f64::from(n * 7919 % 997) * 1.5 - 300.0).collect();
        let whole = sketch(values.clone(), 0.9);
        let mut merged = sketch([], 0.9);
        for part in values.chunks(7).rev() {
            let states = sketch(part.iter().rev().copied(), 0.9).state().expect("state");
            let states = states.iter().map(|state| state.to_array().expect("an array")).collect::<Vec<_>>();
            merged.merge_batch(&states).expect("own state");
        }
        assert_eq!(merged.counts, whole.counts);
        assert_eq!(answer(merged), answer(whole));
    }
}
