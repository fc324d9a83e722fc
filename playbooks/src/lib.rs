//! Consequences.

mod body;
mod duration;
pub mod expr;
pub mod facts;
mod fields;
pub mod http;
pub mod openc2;
pub mod playbook;
pub mod problem;
pub mod responder;
mod template;
mod yaml;
