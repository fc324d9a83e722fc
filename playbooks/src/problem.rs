//! What an author of a playbook or responder is told: a stable code, a place, a sentence and a way out.
//!
//! This room knows no other room, so it has a small type of its own; the program turns it into the diagnostics that
//! `weir check` prints.

use std::fmt;

use serde::Serialize;

/// A position in a text; both numbers start at 1 and columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A stretch of a text: from its first character to just behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// The first character.
    pub start: Place,
    /// The place behind the last character.
    pub end: Place,
}

impl Span {
    /// The first character of a text.
    pub const START: Self = Self::at(Place::START);

    /// The one character at a place.
    #[must_use]
    pub const fn at(start: Place) -> Self {
        Self { start, end: Place { line: start.line, column: start.column + 1 } }
    }
}

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable name of the kind of mistake; see [`codes`].
    pub code: &'static str,
    /// The words that are wrong.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.span.start;
        write!(f, "{line}:{column}: {} {}", self.code, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Problem {}

/// The name among `candidates` that `name` was probably meant to be.
pub(crate) fn meant<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3).div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The name among `candidates` that `name` was probably meant to be, as a hint; all of them where few exist.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match meant(name, candidates.iter().copied()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if !candidates.is_empty() && candidates.len() <= 24 => {
            Some(format!("known here: {}", candidates.join(", ")))
        }
        None => None,
    }
}

/// The codes that one kind of file uses for the mistakes every kind of file can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) yaml: &'static str,
    pub(crate) unknown_key: &'static str,
    pub(crate) missing_key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) field: &'static str,
}

/// Every code of this room and what it stands for.
pub mod codes {
    use super::Family;

    /// A playbook that is not YAML.
    pub const PLAYBOOK_YAML: &str = "P001";
    /// A key that playbooks do not have.
    pub const PLAYBOOK_KEY: &str = "P002";
    /// A key that must be there.
    pub const PLAYBOOK_MISSING: &str = "P003";
    /// A value of the wrong type or out of range.
    pub const PLAYBOOK_VALUE: &str = "P004";
    /// `${...}` or a condition that names an unknown field.
    pub const PLAYBOOK_FIELD: &str = "P005";
    /// A condition that cannot be read.
    pub const CONDITION_SYNTAX: &str = "P006";
    /// A condition that compares things that do not go together.
    pub const CONDITION_TYPES: &str = "P007";
    /// A step that is no OpenC2 action, or an action on a target it does not have.
    pub const UNKNOWN_ACTION: &str = "P008";
    /// A responder of that name does not exist.
    pub const UNKNOWN_RESPONDER: &str = "P009";
    /// No responder, or not this one, can carry the step out.
    pub const CANNOT_CARRY_OUT: &str = "P010";
    /// Several responders could carry the step out and the step does not say which.
    pub const AMBIGUOUS_RESPONDER: &str = "P011";
    /// Two steps or playbooks of one name.
    pub const DUPLICATE_ID: &str = "P012";
    /// A look-up in a table that does not exist.
    pub const UNKNOWN_TABLE: &str = "P013";

    /// A responder file that is not YAML.
    pub const RESPONDER_YAML: &str = "R001";
    /// A key that responder files do not have.
    pub const RESPONDER_KEY: &str = "R002";
    /// A key that must be there.
    pub const RESPONDER_MISSING: &str = "R003";
    /// A value of the wrong type or out of range.
    pub const RESPONDER_VALUE: &str = "R004";
    /// `${...}` that names an unknown field or filter.
    pub const RESPONDER_FIELD: &str = "R005";
    /// An operation described twice, or two responders of one name.
    pub const RESPONDER_DUPLICATE: &str = "R006";
    /// An operation that no step can ask for.
    pub const UNKNOWN_OPERATION: &str = "R007";
    /// A base URL or setting that cannot be used.
    pub const BAD_BASE_URL: &str = "R008";

    pub(crate) const P: Family = Family {
        yaml: PLAYBOOK_YAML,
        unknown_key: PLAYBOOK_KEY,
        missing_key: PLAYBOOK_MISSING,
        value: PLAYBOOK_VALUE,
        field: PLAYBOOK_FIELD,
    };
    pub(crate) const R: Family = Family {
        yaml: RESPONDER_YAML,
        unknown_key: RESPONDER_KEY,
        missing_key: RESPONDER_MISSING,
        value: RESPONDER_VALUE,
        field: RESPONDER_FIELD,
    };
}
