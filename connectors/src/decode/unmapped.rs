//! The fields of a record that its stream does not declare, kept as one JSON object in text.

use hashbrown::HashMap;

use super::arena::Arena;
use super::scan::{Kind, Token};
use super::text;

/// The undeclared members of one record.
#[derive(Debug, Default)]
pub(crate) struct Unmapped {
    members: Vec<(Token, Token)>,
}

impl Unmapped {
    pub(crate) fn clear(&mut self) {
        self.members.clear();
    }

    pub(crate) fn note(&mut self, key: Token, value: Token) {
        self.members.push((key, value));
    }

    /// Writes the object; `None` if there is nothing to keep. Of a repeated key the last value is kept.
    pub(crate) fn write(&mut self, payload: &[u8], arena: &mut Arena) -> Option<u128> {
        if self.members.is_empty() {
            return None;
        }
        self.drop_repeated(payload);
        Some(arena.write(|out| {
            for (at, (key, value)) in self.members.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
                out.extend_from_slice(key.of(payload));
                out.extend_from_slice(b"\":");
                text::minify(with_quotes(*value).of(payload), out);
            }
            out.push(b'}');
        }))
    }

    fn drop_repeated(&mut self, payload: &[u8]) {
        // A record may hold a hundred thousand keys: comparing each with each would be an attack to fall for.
        if self.members.len() <= 16 {
            let names: Vec<&[u8]> = self.members.iter().map(|(key, _)| key.of(payload)).collect();
            if names.iter().enumerate().all(|(at, name)| !names[at + 1..].contains(name)) {
                return;
            }
        }
        let last: HashMap<&[u8], usize> =
            self.members.iter().enumerate().map(|(at, (key, _))| (key.of(payload), at)).collect();
        let mut at = 0;
        self.members.retain(|(key, _)| {
            at += 1;
            last.get(key.of(payload)) == Some(&(at - 1))
        });
    }
}

fn with_quotes(token: Token) -> Token {
    match token.kind() {
        Kind::Plain | Kind::Escaped => Token::new(token.kind(), token.start() - 1, token.end() + 1),
        _ => token,
    }
}
