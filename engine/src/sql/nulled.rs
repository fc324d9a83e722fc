//! How many values could not be computed and are NULL.
//!
//! Functions of an expression have nobody to tell it to, so that they count on their thread; whoever evaluates the
//! expression there takes the count.

use std::cell::Cell;

use arrow::array::Array as _;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

thread_local! {
    static NULLED: Cell<u64> = const { Cell::new(0) };
}

/// Counts values that are NULL because they could not be computed.
pub(super) fn count(values: usize) {
    NULLED.set(NULLED.get() + values as u64);
}

/// What was counted on this thread since the last time.
pub(super) fn take() -> u64 {
    NULLED.take()
}

/// `nullif(divisor, 0)`, which counts the zeros.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Divisor {
    nullif: Arc<ScalarUDF>,
}

impl Divisor {
    pub(super) fn of(nullif: &Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { nullif: Arc::clone(nullif) })
    }
}

impl ScalarUDFImpl for Divisor {
    fn name(&self) -> &str {
        self.nullif.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.nullif.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.nullif.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.nullif.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.nullif.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let nulls = |value: Option<&ColumnarValue>| match value {
            Some(ColumnarValue::Array(values)) => values.null_count(),
            _ => 0,
        };
        let before = nulls(args.args.first());
        let divisors = self.nullif.invoke_with_args(args)?;
        count(nulls(Some(&divisors)).saturating_sub(before));
        Ok(divisors)
    }
}
