//! The outside, not meaning: Kafka, files, formats, the archive, responders and stores. The only library room with I/O.
//!
//! Reading order for what comes in: [`position`] (where records lie), [`decode`] (bytes to Arrow), [`source`] (what a source
//! gives), [`file`] (files as a source). For what stays: [`location`] (where), [`state`] (manifests and snapshots), [`archive`]
//! (Delta tables), [`table`] (look-up tables).

pub mod archive;
pub mod decode;
pub mod file;
pub mod location;
pub mod position;
pub mod source;
pub mod state;
pub mod table;
