//! Functions that detections need and DataFusion does not have.

use datafusion::logical_expr::ScalarUDF;

/// All of them.
pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![]
}
