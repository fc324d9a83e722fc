//! Identity: the `uid` of a record and the id of an alert. Both are hashes of content, never of position or clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 128 bits of BLAKE3, printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Uid(pub [u8; 16]);

impl Uid {
    /// The uid of a record: BLAKE3-128 of its stream and its raw bytes, or of the sender's own id where the stream
    /// declares one.
    #[must_use]
    pub fn of_record(stream: &str, identity: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(stream.len() as u32).to_le_bytes());
        hasher.update(stream.as_bytes());
        hasher.update(identity);
        Self::finish(&hasher)
    }

    /// The id of what `parts` caused.
    #[must_use]
    pub fn of_cause<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::of_cause_bytes(&cause(parts))
    }

    /// The id of a [`cause`].
    pub(crate) fn of_cause_bytes(cause: &[u8]) -> Self {
        Self::finish(blake3::Hasher::new().update(cause))
    }

    /// The uid of a pair of rows, in the order in which their sides stand in the text; a side without a row is empty.
    #[must_use]
    pub(crate) fn of_pair(left: &[u8], right: &[u8]) -> Self {
        Self::of_cause([b"join".as_slice(), left, right])
    }

    fn finish(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }
}

/// What an id is hashed from: each part with its length, so that no two lists collide by concatenation.
pub(crate) fn cause<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.to_string()
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a uid is 32 hexadecimal digits, not {0:?}")]
pub struct NotAUid(pub String);

impl TryFrom<String> for Uid {
    type Error = NotAUid;

    fn try_from(text: String) -> Result<Self, NotAUid> {
        if text.len() != 32 || !text.is_ascii() {
            return Err(NotAUid(text));
        }
        let mut bytes = [0; 16];
        for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
            match u8::from_str_radix(&text[at..at + 2], 16) {
                Ok(value) => *byte = value,
                Err(_) => return Err(NotAUid(text)),
            }
        }
        Ok(Self(bytes))
    }
}

impl std::str::FromStr for Uid {
    type Err = NotAUid;

    fn from_str(text: &str) -> Result<Self, NotAUid> {
        Self::try_from(text.to_owned())
    }
}
