//! Functions that refuse some values, made to give NULL for these.
//!
//! Without this, one value that a function refuses would make the whole expression around it NULL, so that a sender could
//! hide an event behind `chr(n) = 'a' OR command LIKE '%evil%'`; and a hunt would fail as a whole.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::nulled;
use crate::rows::concat_arrays;

/// Functions that fail for some values of their arguments.
const REFUSING: &[&str] = &[
    "abs",
    "arrow_cast",
    "chr",
    "date_part",
    "decode",
    "encode",
    "factorial",
    "from_unixtime",
    "gcd",
    "lcm",
    "lpad",
    "make_date",
    "make_time",
    "power",
    "repeat",
    "rpad",
    "split_part",
    "substr",
    "to_char",
    "to_date",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
];

/// Functions that fail for some patterns; a constant pattern is the author's, and is refused when planned.
const REFUSING_PATTERNS: &[&str] =
    &["regexp_count", "regexp_extract", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// The call with a total function in the place of one that refuses values; `None` where nothing has to change.
pub(super) fn total_call(call: &ScalarFunction) -> Option<Expr> {
    let name = call.func.name();
    let has_open_pattern = || call.args.iter().skip(1).any(|arg| !matches!(arg, Expr::Literal(..)));
    let refuses = REFUSING.contains(&name) || (REFUSING_PATTERNS.contains(&name) && has_open_pattern());
    if !refuses || call.func.inner().is::<TotalFunction>() {
        return None;
    }
    let total = ScalarUDF::new_from_impl(TotalFunction { inner: Arc::clone(&call.func) });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(total), call.args.clone())))
}

/// A function that is NULL where the one inside fails.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TotalFunction {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for TotalFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        match self.inner.invoke_with_args(args.clone()) {
            Ok(values) => Ok(values),
            Err(_) if rows > 1 && !is_constant => {
                let half = rows / 2;
                let first = self.invoke_with_args(slice(&args, 0, half))?.into_array(half)?;
                let second = self.invoke_with_args(slice(&args, half, rows - half))?.into_array(rows - half)?;
                Ok(ColumnarValue::Array(concat_arrays(&[first, second])?))
            }
            Err(_) => {
                nulled::count(rows);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_field.data_type())?))
            }
        }
    }
}

/// The arguments for some of the rows.
fn slice(args: &ScalarFunctionArgs, from: usize, rows: usize) -> ScalarFunctionArgs {
    let of_rows = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(values) => ColumnarValue::Array(values.slice(from, rows)),
        constant => constant.clone(),
    };
    ScalarFunctionArgs { args: args.args.iter().map(of_rows).collect(), number_rows: rows, ..args.clone() }
}
