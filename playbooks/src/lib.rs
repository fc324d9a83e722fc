//! Consequences, not SQL: what is done about an alert, by whom, and with whose approval.
//!
//! This room does no I/O: no sockets, files, clocks, tasks or randomness. Requests go out as data, outcomes come in as
//! data, and time is an argument; so replay, dry runs and crash tests are ordinary function calls.
//!
//! Read in this order:
//!
//! * [`facts`]: what is known about an alert;
//! * [`playbook`]: a trigger and a short list of typed steps, read from YAML;
//! * [`openc2`]: commands and their undo;
//! * [`responder`]: how a command becomes HTTP calls of one vendor;
//! * [`run`]: the state machine that carries one playbook out for one alert;
//! * [`guard`]: never-touch lists and limits, asked before anything leaves;
//! * [`case`] and [`audit`]: what people see and what must stay known;
//! * [`journal`]: where all that is kept, as a trait with one conformance suite;
//! * [`library`]: what is shipped.
//!
//! Invariants, each with a test: a value from a log never changes the structure of a request; one alert starts one run
//! of a playbook; a run is journaled before a request leaves and goes on at its step after a crash; nothing leaves in
//! a dry run; every command names its undo or says that it has none.

pub mod audit;
mod body;
pub mod case;
mod duration;
mod expr;
pub mod facts;
mod fields;
pub mod guard;
pub mod http;
pub mod journal;
pub mod library;
pub mod openc2;
pub mod playbook;
pub mod problem;
pub mod responder;
pub mod run;
#[cfg(test)]
mod sample;
pub mod schema;
mod template;
mod yaml;

pub use body::Body;
pub use expr::Condition;
pub use fields::ENTITY_KINDS;
pub use template::{RenderError, Template};
