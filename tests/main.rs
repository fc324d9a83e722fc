//! The integration tests: one binary, so that the heavy crates are linked once.

mod support;

mod cli; // the command line as scripts use it
mod docker; // the container's project
mod rooms; // which room may use which, and what no file may contain
