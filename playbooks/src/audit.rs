//! The audit trail: append-only, and each entry hashes the one before, so that a change or a gap shows.

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::Moment;

/// Something that happened and must stay known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Moment,
    /// Who: a person, or `weir`.
    pub actor: String,
    /// The case it belongs to.
    pub case: Option<String>,
    /// The run it belongs to.
    pub run: Option<String>,
    /// What, in one word: `step_failed`, `case_closed`.
    pub what: String,
    /// For people.
    pub text: String,
    /// For machines.
    #[serde(default)]
    pub detail: Value,
}

/// The actor of what nobody did by hand.
pub const WEIR: &str = "weir";

/// A note in its place in the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// What happened.
    pub note: Note,
    /// Hash of the entry before; empty for the first.
    pub previous: String,
    /// Hash of this entry.
    pub hash: String,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail was changed at entry {seq}: {why}")]
pub struct Broken {
    /// The first entry that does not fit.
    pub seq: u64,
    /// How.
    pub why: &'static str,
}

impl Entry {
    /// The next entry of a chain.
    #[must_use]
    pub fn seal(seq: u64, previous: &str, note: Note) -> Self {
        let hash = digest(seq, previous, &note);
        Self { seq, note, previous: previous.to_owned(), hash }
    }
}

/// Checks a chain from its first entry.
///
/// Errors: the first entry that was changed, left out or put in.
pub fn verify(entries: &[Entry]) -> Result<(), Broken> {
    let mut previous = "";
    for (entry, seq) in entries.iter().zip(1..) {
        let broken = |why| Err(Broken { seq, why });
        if entry.seq != seq {
            return broken("an entry is missing");
        }
        if entry.previous != previous {
            return broken("it does not follow the entry before it");
        }
        if entry.hash != digest(seq, previous, &entry.note) {
            return broken("its content does not match its hash");
        }
        previous = &entry.hash;
    }
    Ok(())
}

fn digest(seq: u64, previous: &str, note: &Note) -> String {
    let mut hasher = blake3::Hasher::new();
    let at = note.at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let detail = note.detail.to_string();
    let (case, run) = (note.case.as_deref().unwrap_or_default(), note.run.as_deref().unwrap_or_default());
    for part in [&seq.to_string(), previous, &at, &note.actor, case, run, &note.what, &note.text, &detail] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain() -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..5_i64 {
            let note = Note {
                at: Moment::from_timestamp_millis(n * 1_000).unwrap(),
                actor: WEIR.into(),
                case: Some("c".into()),
                run: None,
                what: "step".into(),
                text: format!("n {n}"),
                detail: json!({ "n": n }),
            };
            let previous = entries.last().map_or(String::new(), |entry| entry.hash.clone());
            entries.push(Entry::seal(n as u64 + 1, &previous, note));
        }
        entries
    }

    #[test]
    fn untouched_chain_holds() {
        assert_eq!(verify(&chain()), Ok(()));
    }

    #[test]
    fn changed_removed_or_reordered_entry_shows() {
        let mut changed = chain();
        changed[2].note.text = "nothing happened".into();
        assert_eq!(verify(&changed).unwrap_err().seq, 3);
        let mut removed = chain();
        removed.remove(1);
        assert_eq!(verify(&removed).unwrap_err().seq, 2);
        let mut swapped = chain();
        swapped.swap(0, 1);
        assert_eq!(verify(&swapped).unwrap_err().seq, 1);
        let mut resealed = chain();
        let mut note = resealed[3].note.clone();
        note.actor = "nobody".into();
        resealed[3] = Entry::seal(4, &resealed[3].previous.clone(), note);
        assert_eq!(verify(&resealed).unwrap_err().seq, 5, "a resealed entry no longer carries the next one");
    }
}
