//! From the text of a hunt to a plan: the engine's own, over the rows that the archive has.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::error::{codes, nearest};
use weir_engine::{Catalog, Diagnostic, plan_batch};

use super::relations::{self, Relations};

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
    .map_err(|diagnostics| diagnostics.into_iter().map(suggest_fixed).collect())
}

/// The planner knows the project's names; the tables that every archive has are suggested here.
fn suggest_fixed(diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.code != codes::UNKNOWN_RELATION || diagnostic.hint.is_some() {
        return diagnostic;
    }
    let tables = relations::fixed();
    let name = diagnostic.message.split('`').nth(1).unwrap_or_default();
    let hint = nearest(name, tables.iter().map(|table| table.name.as_str()));
    diagnostic.maybe_hint(hint)
}
