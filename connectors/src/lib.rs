//! The outside, not meaning: Kafka, files, formats, archive, responders and stores.

pub mod location;
pub mod state;
pub mod table;
