//! Names are found as authors mean them, and DataFusion plans what comes out as it stands.

mod names;
mod relations;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::registry::{FunctionRegistry, MemoryFunctionRegistry};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{ContextProvider, ParserOptions, SqlToRel};

use super::*;
use crate::catalog::Catalog;
use crate::error::Place;
use crate::sql::parse::{Runs, parse_select};
use crate::sql::parse_catalog;

const STREAMS: &str = r#"
CREATE STREAM sysmon (
  UtcTime TIMESTAMP, Computer STRING, EventID INT, Image STRING, CommandLine STRING,
  user STRUCT<name STRING, Uid BIGINT>, actor STRUCT<user STRUCT<Name STRING, type STRING>>, tags STRING[],
  items ARRAY<STRUCT<Name STRING>>, "event.code" STRING, Hash STRING, hash STRING
) WITH (topic = 'a', event_time = 'UtcTime');
CREATE STREAM auth (time TIMESTAMP, user_name STRING, src_ip STRING, status STRING, user STRUCT<name STRING>)
  WITH (event_time = 'time');
CREATE STREAM raw (ts TIMESTAMP, host STRING) WITH (event_time = 'ts', columns = 'open');
CREATE STREAM other (ts TIMESTAMP) WITH (event_time = 'ts', columns = 'open');
CREATE STREAM nested (meta STRUCT<time TIMESTAMP>, x INT) WITH (event_time = 'meta.time');
CREATE TABLE intel (domain STRING, ip STRING, score INT) WITH (location = 'intel.csv');
"#;

struct Known(Catalog);

impl Relations for Known {
    fn columns(&self, name: &str) -> Option<RelationColumns> {
        match self.0.get(name)? {
            crate::Relation::Stream(stream) => Some(RelationColumns::of_stream(&stream)),
            crate::Relation::Table(table) => Some(RelationColumns::of_table(&table)),
            crate::Relation::View(_) => None,
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.names().map(str::to_owned).collect()
    }
}

/// The least that DataFusion's planner needs.
struct Context {
    catalog: Catalog,
    open: BTreeMap<String, BTreeSet<String>>,
    options: ConfigOptions,
    functions: MemoryFunctionRegistry,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Context {
    fn new() -> Self {
        let text = STREAMS.to_owned();
        let (catalog, diagnostics) = parse_catalog(&[("streams.sql".to_owned(), text)]);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let mut functions = MemoryFunctionRegistry::new();
        for function in SessionStateDefaults::default_scalar_functions() {
            functions.register_udf(function).unwrap();
        }
        for function in SessionStateDefaults::default_aggregate_functions() {
            functions.register_udaf(function).unwrap();
        }
        for function in SessionStateDefaults::default_window_functions() {
            functions.register_udwf(function).unwrap();
        }
        let planners = SessionStateDefaults::default_expr_planners();
        Self { catalog, open: BTreeMap::new(), options: ConfigOptions::default(), functions, planners }
    }

    fn names(&self) -> BTreeSet<String> {
        self.functions.udfs().into_iter().chain(self.functions.udafs()).chain(self.functions.udwfs()).collect()
    }

    fn resolve(&self, sql: &str) -> Result<Resolved, Vec<Diagnostic>> {
        let params = BTreeMap::from([("n".to_owned(), ScalarValue::from(5_i64))]);
        let query = parse_select(sql, Place::START, Runs::OnArchive, &params).map_err(|refused| refused.diagnostics)?;
        let (resolved, diagnostics) = resolve(query, &Known(self.catalog.clone()), &self.names());
        if diagnostics.is_empty() { Ok(resolved) } else { Err(diagnostics) }
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> datafusion::error::Result<Arc<dyn TableSource>> {
        let relation =
            Known(self.catalog.clone()).columns(name.table()).filter(|relation| relation.name == name.table());
        let Some(relation) = relation else {
            return datafusion::common::plan_err!("no {name}");
        };
        let open = self.open.get(&relation.name).cloned().unwrap_or_default();
        let open = open.into_iter().map(|name| Arc::new(Field::new(name, DataType::Utf8View, true)));
        let fields: Vec<_> = relation.columns.iter().chain(relation.hidden.iter()).cloned().chain(open).collect();
        Ok(Arc::new(LogicalTableSource::new(Arc::new(Schema::new(fields)))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.udf(name).ok()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<datafusion::logical_expr::HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.udaf(name).ok()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.udwf(name).ok()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.udfs().into_iter().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.udafs().into_iter().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.udwfs().into_iter().collect()
    }
}

/// Resolves and plans; the output columns of the resolver and of the plan must agree.
fn plan(sql: &str) -> LogicalPlan {
    let mut context = Context::new();
    let resolved = context.resolve(sql).unwrap_or_else(|diagnostics| panic!("{sql}: {}", told(&diagnostics)));
    context.open = resolved.open_columns;
    let options = ParserOptions::new().with_enable_ident_normalization(false);
    let text = resolved.query.to_string();
    let statement = datafusion::sql::sqlparser::ast::Statement::Query(resolved.query);
    let plan = SqlToRel::new_with_options(&context, options)
        .sql_statement_to_plan(statement)
        .unwrap_or_else(|error| panic!("{sql}\n{text}\n{error}"));
    let expected: Vec<_> = resolved.output.iter().map(|column| column.name.as_str()).collect();
    let planned: Vec<_> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(expected, planned, "{sql}\n{text}");
    plan
}

fn output(sql: &str) -> String {
    plan(sql).schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ")
}

/// What the names of a text become, on one line.
fn exact(sql: &str) -> String {
    plan(sql);
    let resolved = Context::new().resolve(sql).unwrap();
    resolved.query.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refusal(sql: &str) -> String {
    match Context::new().resolve(sql) {
        Ok(resolved) => panic!("{sql} was accepted: {}", resolved.query),
        Err(diagnostics) => told(&diagnostics),
    }
}
