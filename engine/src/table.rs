//! A look-up table as the engine sees it: whole, and of one version.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::identity::Uid;

/// All rows of a look-up table at one version. Tables swap whole, and one answer holds per version.
#[derive(Debug, Clone, PartialEq)]
pub struct TableVersion {
    /// The table, by its name in the catalog.
    pub name: Arc<str>,
    /// Hash of its content; equal content is the same version.
    pub version: Uid,
    /// Its rows, in the columns that the catalog declares.
    pub rows: RecordBatch,
}
