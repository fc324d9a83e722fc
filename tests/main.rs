//! The integration tests: one binary, so that the heavy crates are linked once.

mod rooms; // which room may use which, and what no file may contain
