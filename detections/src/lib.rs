//! Detections: security, not dataflow. Texts become detections, hits become alerts, and rule tests hold them to their word.
//!
//! There is no I/O and no clock here: texts, rows and today's date are handed in. Reading order: [`detection`] (what one
//! is), [`header`] (how it is written), [`entity`] and [`published`](mod@published) (what `FROM alerts` sees), [`alert`]
//! (what the world sees), [`exceptions`] (what a team does not want to see).

pub mod alert;
pub mod codes;
pub mod compile;
pub mod detection;
mod document;
pub mod entity;
pub mod exceptions;
pub mod header;
pub mod junit;
pub mod library;
pub mod own;
pub mod published;
pub mod row;
pub mod rule_test;
pub mod schema;

pub use alert::ocsf;
pub use compile::{Compiled, Texts, compile};
pub use detection::{Confidence, Delivery, Detection, Param, Severity, Status};
pub use entity::EntityKind;
pub use exceptions::Exception;
pub use header::parse;
pub use own::{coverage, own_streams};
pub use published::{ALERTS, published};
pub use schema::schema;
