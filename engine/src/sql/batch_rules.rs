//! How the batch side is turned into something that runs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::output_requirements::OutputRequirements;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::ExecutionPlan;

/// DataFusion's rules for physical plans, and one that mends what they break.
#[must_use]
pub fn batch_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let check = rules.iter().position(|rule| rule.name() == SanityCheckPlan::new().name());
    rules.insert(check.unwrap_or(rules.len()), Arc::new(OrderAgain));
    rules
}

/// Sorts again where a sort was left out for a reason that is gone.
///
/// After the order of rows has been seen to, projections are pushed down, and what was relied on is lost: that a key is
/// constant (`upper(k) = 'A'` below a view), or that two columns are equal. Such an `OVER` is then refused (DataFusion 55).
#[derive(Debug)]
struct OrderAgain;

impl PhysicalOptimizerRule for OrderAgain {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if SanityCheckPlan::new().optimize(Arc::clone(&plan), config).is_ok() {
            return Ok(plan);
        }
        // The order of the whole answer is a requirement too.
        let plan = OutputRequirements::new_add_mode().optimize(plan, config)?;
        let plan = EnsureRequirements::new().optimize(plan, config)?;
        OutputRequirements::new_remove_mode().optimize(plan, config)
    }

    fn name(&self) -> &'static str {
        "OrderAgain"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
