//! How many bytes collections take, from what they know of themselves: nothing is walked through. And how they give back
//! what they do not need any more.

use std::collections::HashMap;
use std::hash::Hash;

/// Tables with room for fewer entries stay as they are.
const ROOM_MIN: usize = 64;

/// What the allocator adds to a value of its own, headers and rounding together.
pub(super) const OWN_BYTES: usize = 16;

/// A hash table of the standard library with room for `capacity` entries.
pub(super) const fn of_table<T>(capacity: usize) -> usize {
    // One byte of control per slot, and an eighth of the slots stays free.
    capacity * 8 / 7 * (size_of::<T>() + 1)
}

/// Gives memory back once most entries of a table have gone.
pub(super) fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > ROOM_MIN && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

/// A tree of the standard library: its nodes are two thirds full as they grow.
pub(super) const fn of_tree<T>(entries: usize) -> usize {
    entries * size_of::<T>() * 3 / 2
}

/// A value of its own with so many bytes in it.
pub(super) const fn of_box(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + OWN_BYTES }
}
