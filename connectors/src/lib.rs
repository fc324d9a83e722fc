//! The outside, not meaning: Kafka, files, formats, the archive, responders and stores. The only library room with I/O.
//!
//! Reading order for what comes in: [`position`] (where records lie), [`decode`] (bytes to Arrow), [`source`] (what a source
//! gives), [`file`] and [`kafka`] (two sources), [`dead_letter`] (what was refused). For what stays: [`location`] (where), [`state`] (manifests and snapshots), [`archive`]
//! (Delta tables), [`table`] (look-up tables), [`store`] (runs, cases and audit). For what goes out: [`responders`]. For tests:
//! [`failpoint`].

pub mod archive;
pub mod dead_letter;
pub mod decode;
pub mod failpoint;
pub mod file;
pub mod kafka;
pub mod location;
pub mod position;
pub mod responders;
pub mod source;
pub mod state;
pub mod store;
pub mod table;
