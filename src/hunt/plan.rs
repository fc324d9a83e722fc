//! From the text of a hunt to a plan. The one place that knows who plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::config::Dialect;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use weir_engine::error::codes;
use weir_engine::{Catalog, Diagnostic};

use super::relations::Relations;

/// Plans one `SELECT`; whatever else the text may be is refused.
pub(super) async fn plan(
    context: &SessionContext,
    catalog: &Catalog,
    relations: &Relations,
    text: &str,
    params: &BTreeMap<String, ScalarValue>,
) -> Result<LogicalPlan, Vec<Diagnostic>> {
    let planning = async {
        for (name, provider) in relations.iter() {
            context.register_table(TableReference::bare(name), Arc::clone(provider))?;
        }
        register_views(context, catalog).await?;
        let plan = select(context, text).await?;
        let values = params.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        plan.with_param_values(values.collect::<std::collections::HashMap<String, _>>())
    };
    planning.await.map_err(|error| vec![Diagnostic::error(codes::PLAN, error.strip_backtrace())])
}

/// A view may read another, so they are tried until no further one can be planned.
async fn register_views(context: &SessionContext, catalog: &Catalog) -> Result<(), DataFusionError> {
    let mut waiting: Vec<_> = catalog.views().collect();
    loop {
        let before = waiting.len();
        let mut rest = Vec::new();
        for view in waiting {
            match select(context, &view.sql).await {
                Ok(plan) => {
                    let frame = context.execute_logical_plan(plan).await?;
                    context.register_table(TableReference::bare(view.name.as_str()), frame.into_view())?;
                }
                Err(_) => rest.push(view),
            }
        }
        if rest.is_empty() || rest.len() == before {
            return Ok(());
        }
        waiting = rest;
    }
}

async fn select(context: &SessionContext, text: &str) -> Result<LogicalPlan, DataFusionError> {
    let state = context.state();
    let statement = state.sql_to_statement(text, &Dialect::Generic)?;
    let is_select = matches!(&statement, Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)));
    if !is_select {
        return Err(DataFusionError::Plan("a hunt is one SELECT".to_owned()));
    }
    let plan = state.statement_to_plan(statement).await?;
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan)?;
    Ok(plan)
}
