//! What the epoch protocol decides, as functions of what is known. They do nothing themselves, so the tests can try them in
//! every order in which two processes, a crash at any point and a lost answer can bring them.

/// What a start finds: the state was set back behind what was delivered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epoch {delivered} was delivered, but the newest epoch of the state is {newest}")]
pub(super) struct SetBack {
    /// The sink's cursor.
    pub(super) delivered: u64,
    /// The newest manifest; 0 where there is none.
    pub(super) newest: u64,
}

/// The epoch that a start goes on behind, given the newest manifest and what the outputs' cursor says.
///
/// # Errors
/// The state knows less than the sink: going on would deliver other outputs under numbers that are taken.
pub(super) fn resume_behind(newest: Option<u64>, delivered: u64) -> Result<u64, SetBack> {
    let newest = newest.unwrap_or(0);
    if delivered > newest { Err(SetBack { delivered, newest }) } else { Ok(newest) }
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
