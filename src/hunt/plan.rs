//! From the text of a hunt to a plan: the engine's own, over the rows that the archive has.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::{Catalog, Diagnostic, plan_batch};

use super::relations::Relations;

/// Plans one `SELECT`; whatever else the text may be is refused.
pub(super) fn plan(
    catalog: &Catalog,
    relations: &Relations,
    text: &str,
    params: &BTreeMap<String, ScalarValue>,
) -> Result<LogicalPlan, Vec<Diagnostic>> {
    plan_batch(catalog, text, params, &|name| {
        relations.get(name).map(|provider| provider_as_source(Arc::clone(provider)))
    })
}
