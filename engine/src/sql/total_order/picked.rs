//! `first_value`, `last_value` and `nth_value` over frames that take rows by their time: of the rows of one time, a frame
//! has all or none, and these functions pick one of them, by the total order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, partition};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};

/// Shape: the value, the uid, and what the rows are ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Picked {
    which: Which,
    is_ascending: bool,
    signature: Signature,
}

/// The row of a frame that is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    First,
    Last,
    /// From one.
    Nth(usize),
}

impl Picked {
    /// What a call picks, if it is one that does.
    pub(super) fn of(call: &WindowFunction, is_ascending: bool) -> Option<Self> {
        if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return None;
        }
        let which = match (call.fun.name(), call.params.args.get(1)) {
            ("first_value", _) => Which::First,
            ("last_value", _) => Which::Last,
            ("nth_value", Some(Expr::Literal(ScalarValue::Int64(Some(nth)), _))) => {
                Which::Nth(usize::try_from(*nth).ok().filter(|nth| *nth > 0)?)
            }
            _ => return None,
        };
        Some(Self { which, is_ascending, signature: Signature::variadic_any(Volatility::Immutable) })
    }

    /// The call that picks by the total order.
    pub(super) fn call(self, call: WindowFunction, uid: &Expr) -> Result<WindowFunction> {
        let Some(value) = call.params.args.first() else { return plan_err!("`{}` has no value", call.fun.name()) };
        let order = call.params.order_by.iter().map(|order| order.expr.clone());
        let args = [value.clone(), uid.clone()].into_iter().chain(order).collect();
        let fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(self)));
        Ok(WindowFunction { fun, params: WindowFunctionParams { args, ..call.params } })
    }
}

impl WindowUDFImpl for Picked {
    fn name(&self) -> &'static str {
        match self.which {
            Which::First => "first_value",
            Which::Last => "last_value",
            Which::Nth(_) => "nth_value",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition { which: self.which, is_ascending: self.is_ascending, order: None }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let value = args.get_input_field(0).map_or(DataType::Null, |value| value.data_type().clone());
        Ok(Arc::new(Field::new(args.name(), value, true)))
    }
}

/// The rows of one key.
#[derive(Debug)]
struct Partition {
    which: Which,
    is_ascending: bool,
    /// The rows in the total order; made when first asked.
    order: Option<Vec<usize>>,
}

impl PartitionEvaluator for Partition {
    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<ScalarValue> {
        let [value, uid, by @ ..] = values else { return plan_err!("a row is picked by its order") };
        let order = match &self.order {
            Some(order) => order,
            None => self.order.insert(total_order(uid, by, self.is_ascending)?),
        };
        let place = match self.which {
            Which::First => frame.clone().next(),
            Which::Last => frame.clone().next_back(),
            Which::Nth(nth) => frame.clone().nth(nth - 1),
        };
        match place {
            Some(place) => ScalarValue::try_from_array(value, order[place]),
            None => ScalarValue::try_from(value.data_type()),
        }
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}

/// Rows that are ordered already, and those that `by` does not tell apart by their uid.
fn total_order(uid: &ArrayRef, by: &[ArrayRef], is_ascending: bool) -> Result<Vec<usize>> {
    let uid = cast(uid, &DataType::Utf8View)?;
    let uid = uid.as_string_view();
    let of = |row: &usize| uid.is_valid(*row).then(|| uid.value(*row));
    let mut order: Vec<usize> = (0..uid.len()).collect();
    for peers in partition(by)?.ranges() {
        order[peers].sort_by(|one, other| match is_ascending {
            true => of(one).cmp(&of(other)),
            false => of(other).cmp(&of(one)),
        });
    }
    Ok(order)
}
