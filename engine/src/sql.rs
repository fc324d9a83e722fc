//! SQL: from an author's text to names and types that a planner can trust.
//!
//! Reading order: [`dialect`] (what SQL looks like here), [`tokens`] (text to words with places), [`flink`] (Flink's windows
//! in short form), [`match_recognize`] (sequences in the form that the parser reads), [`as_of`] (the version of a
//! look-up table), [`parse`] (one `SELECT` and nothing else), [`params`] (`$name`), [`depth`] and [`balance`] (no text is too
//! deep for the stack), [`hints`] (the usual mistakes), [`refuse`] (what has no meaning on a stream), [`ddl`] (`CREATE STREAM`, `VIEW` and `TABLE`),
//! [`types`] (column types and durations), [`resolve`] (every name made exact), [`written`] (what stands for an output
//! column); [`judge`] and [`failure`] (what is wrong with expressions); then [`plan`], [`first_seen`] and [`total_order`] (what looks at more rows than one, and in which order), [`lower`].
//!
//! Every diagnostic of these modules has a place in the author's file: tokens are moved to it before they are parsed,
//! so that places in syntax trees, in messages of sqlparser and in DataFusion's own spans agree.

mod aggregate;
mod as_of;
mod balance;
mod batch_rules;
mod ddl;
mod depth;
pub(crate) mod dialect;
pub(crate) mod failure;
pub(crate) mod first_seen;
pub(crate) mod flink;
pub(crate) mod functions;
mod hints;
mod identified;
pub(crate) mod in_order;
mod interval;
mod join;
mod judge;
mod lookup;
pub(crate) mod lower;
mod match_recognize;
mod monotone;
mod nulled;
pub(crate) mod over;
mod params;
pub(crate) mod parse;
pub(crate) mod plan;
mod refuse;
pub(crate) mod resolve;
mod security;
pub(crate) mod sequence;
mod session;
mod sketch;
mod time_bound;
mod time_column;
pub(crate) mod tokens;
pub(crate) mod total;
mod total_function;
mod total_order;
mod types;
mod under;
mod window_batch;
pub(crate) mod window_columns;
pub(crate) mod window_kind;
pub(crate) mod window_table;
mod written;

pub use batch_rules::batch_rules;
pub use ddl::{parse_catalog, parse_catalog_beside};
pub use parse::parameters;
pub use plan::{check_condition, plan_batch};
pub use sequence::BatchSequence;
pub use types::{BadDuration, parse_duration_us};
pub use written::{Written, written, written_names};
