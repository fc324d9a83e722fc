//! What the epoch protocol decides, as functions of what is known. They do nothing themselves, so the tests can try them in
//! every order in which two processes, a crash at any point and a lost answer can bring them.

/// Whether the state knows less than a sink has `done`. Going on would deliver other outputs under numbers that are taken.
pub(super) const fn is_set_back(newest: u64, done: u64) -> bool {
    done > newest
}

/// Where a sink stands whose cursor is a note beside the manifests. A process that was overtaken may still write an older
/// one; but what is deleted was delivered.
pub(super) fn noted_cursor(note: Option<u64>, oldest_manifest: Option<u64>) -> u64 {
    note.unwrap_or(0).max(oldest_manifest.map_or(0, |oldest| oldest.saturating_sub(1)))
}

/// The epoch that a sink delivers next; `None` if it has delivered all that is committed.
pub(super) const fn due(cursor: u64, committed: u64) -> Option<u64> {
    if cursor < committed { Some(cursor + 1) } else { None }
}

/// The first epoch that is still needed: the slowest sink goes on behind its cursor.
pub(super) fn needed_from(committed: u64, cursors: impl Iterator<Item = u64>) -> u64 {
    cursors.fold(committed, u64::min)
}

#[cfg(test)]
mod model;
