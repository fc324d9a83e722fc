//! The uid of a pair that a join makes, as the operator hashes it (`operator/join.rs`).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::identity::Uid;

static PAIR: LazyLock<ScalarUDF> =
    LazyLock::new(|| ScalarUDF::new_from_impl(Pair { signature: Signature::any(2, Volatility::Immutable) }));

/// The uid of a pair of rows; a side without a row has none.
pub(super) fn uid_of_pair(left: Expr, right: Expr) -> Expr {
    PAIR.call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Pair {
    signature: Signature,
}

impl ScalarUDFImpl for Pair {
    fn name(&self) -> &'static str {
        "uid_of_pair"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sides =
            args.args.into_iter().map(|side| Ok(cast(&side.into_array(args.number_rows)?, &DataType::Utf8View)?));
        let sides: Vec<ArrayRef> = sides.collect::<Result<_>>()?;
        let [left, right] = &sides[..] else { return plan_err!("a pair has two sides") };
        let bytes = |side: &ArrayRef, row: usize| {
            let text = side.is_valid(row).then(|| side.as_string_view().value(row).to_owned());
            text.and_then(|text| Uid::try_from(text).ok()).map_or_else(Vec::new, |uid| uid.0.to_vec())
        };
        let uids =
            (0..args.number_rows).map(|row| Some(Uid::of_pair(&bytes(left, row), &bytes(right, row)).to_string()));
        Ok(ColumnarValue::Array(Arc::new(uids.collect::<StringViewArray>())))
    }
}
