//! Counts of values that did not fit their type, by column or, inside of structs and lists, by path.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use chrono_tz::Tz;

use super::columns::each_misfit;
use super::scan::Token;

/// The counts since they were last taken.
pub(super) struct Misfits {
    by_column: Vec<u64>,
    /// By path, such as `user.org.id` and `items[].size`. As many as the type has parts, and no more.
    by_path: BTreeMap<String, u64>,
}

impl Misfits {
    pub(super) fn new(columns: usize) -> Self {
        Self { by_column: vec![0; columns], by_path: BTreeMap::new() }
    }

    /// Notes how many values of a record did not fit in a column whose value is not made of others.
    pub(super) fn count(&mut self, column: usize, count: u64) {
        self.by_column[column] += count;
    }

    /// Looks again at a value of which so many parts did not fit, and notes which ones.
    pub(super) fn count_parts(
        &mut self,
        (column, field): (usize, &Field),
        token: Token,
        payload: &[u8],
        zone: Tz,
        count: u64,
    ) {
        let name = field.name();
        let (mut parts, mut path) = (0, name.clone());
        each_misfit(token, field.data_type(), (payload, zone), &mut path, &mut |path| {
            if path == name {
                return;
            }
            parts += 1;
            // Only the first of its path is worth a text of its own.
            if let Some(count) = self.by_path.get_mut(path) {
                *count += 1;
            } else {
                self.by_path.insert(path.to_owned(), 1);
            }
        });
        // What is left is the value as a whole.
        self.count(column, count.saturating_sub(parts));
    }

    /// The counts, columns first in their order. Begins again at zero.
    pub(super) fn take(&mut self, schema: &SchemaRef) -> Vec<(Arc<str>, u64)> {
        let counts = self.by_column.iter_mut().map(std::mem::take);
        let columns = schema.fields().iter().zip(counts).filter(|(_, count)| *count > 0);
        let columns = columns.map(|(field, count)| (field.name().as_str().into(), count));
        columns.chain(std::mem::take(&mut self.by_path).into_iter().map(|(path, count)| (path.into(), count))).collect()
    }
}

/// Whether values of a type have parts that can be misfits by themselves.
pub(super) const fn has_parts(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_) | DataType::List(_))
}
