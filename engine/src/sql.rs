//! SQL: from an author's text to names and types that a planner can trust.
//!
//! Reading order: [`dialect`] (what SQL looks like here), [`tokens`] (text to words with places), [`flink`] (Flink's windows
//! in short form), [`parse`] (one `SELECT` and nothing else), [`params`] (`$name`), [`depth`] and [`balance`] (no text is too
//! deep for the stack), [`refuse`] (what has no meaning on a stream), [`ddl`] (`CREATE STREAM`, `VIEW` and `TABLE`),
//! [`types`] (column types and durations), [`resolve`] (every name made exact).
//!
//! Every diagnostic of these modules has a place in the author's file: tokens are moved to it before they are parsed,
//! so that places in syntax trees, in messages of sqlparser and in DataFusion's own spans agree.

mod balance;
mod ddl;
mod depth;
pub(crate) mod dialect;
pub(crate) mod flink;
mod params;
pub(crate) mod parse;
mod refuse;
pub(crate) mod resolve;
mod tokens;
mod types;

pub use ddl::parse_catalog;
pub use types::{BadDuration, parse_duration_us};
