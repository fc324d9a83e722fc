//! The functions that SQL may call: DataFusion's, without those that read files, networks or clocks, and ours.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, Volatility, WindowUDF};

/// Every function by lower-case name and alias, made once.
pub(crate) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);

/// What can be called, by lower-case name.
#[derive(Debug)]
pub(crate) struct Functions {
    pub(crate) scalar: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    pub(crate) aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub(crate) window: HashMap<String, Arc<WindowUDF>>,
    pub(crate) expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    fn new() -> Self {
        let state = SessionStateBuilder::new().with_default_features().build();
        let deterministic = |function: &Arc<ScalarUDF>| function.signature().volatility == Volatility::Immutable;
        let mut scalar: HashMap<String, Arc<ScalarUDF>> = HashMap::new();
        for (name, function) in state.scalar_functions() {
            if deterministic(function) {
                scalar.insert(name.to_lowercase(), Arc::clone(function));
            }
        }
        for function in super::security::functions() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                scalar.insert(name.to_owned(), Arc::new(function.clone()));
            }
        }
        let mut aggregate = state.aggregate_functions().clone();
        for function in super::sketch::functions() {
            aggregate.insert(function.name().to_owned(), Arc::new(function));
        }
        let mut window = state.window_functions().clone();
        window.insert(super::first_seen::NAME.to_owned(), Arc::new(super::first_seen::function()));
        Self {
            scalar,
            higher_order: state.higher_order_functions().clone(),
            aggregate,
            window,
            expr_planners: state.expr_planners().to_vec(),
        }
    }

    /// Every name, for hints and for name resolution.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.scalar
            .keys()
            .chain(self.higher_order.keys())
            .chain(self.aggregate.keys())
            .chain(self.window.keys())
            .map(String::as_str)
            .collect()
    }
}
