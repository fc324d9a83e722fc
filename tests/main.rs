//! The integration tests: one binary, so that the heavy crates are linked once.

mod support;

mod bad_input; // broken, hostile and absurd records
mod captures; // recordings of real attacks
mod check; // all mistakes at once
mod cli; // the command line as scripts use it
mod content; // the shipped content, as a user gets it
mod demo; // the phishing incident, end to end
mod docker; // the container's project
mod duckdb; // the golden cases of the engine, answered by DuckDB
mod kafka; // the real process on a real broker
mod kafka_bounds; // a detection that remembers too much
mod kafka_coverage; // what was evaluated, and the metrics
mod kafka_edits; // a project that is edited while it runs
mod kafka_fast; // alerts before their epoch ends
mod kafka_faults; // a broker that is not there, or goes away
mod kill; // sudden deaths of the real process, at any moment and at every named point
mod panther; // correlations of others, written as detections
mod readme; // the README's commands, typed in an empty folder
mod replay; // recorded events, however packed, spread or computed
mod rooms; // which room may use which, and what no file may contain
