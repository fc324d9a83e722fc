//! The JSON scanner: walks over one text, checks its grammar (RFC 8259) and notes where values lie. It builds nothing.
//!
//! Strings are passed over eight bytes at a time; that is most of what a log record consists of. The text must be valid
//! UTF-8 already, so that any cut at a quote is a character boundary.

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends in the middle of a value.
    Truncated,
    /// It goes against the grammar at this byte.
    Invalid(usize),
    /// Objects and arrays are nested deeper than the limit.
    TooDeep,
}

/// What kind of value lies somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no such key.
    Missing,
    Null,
    True,
    False,
    Number,
    /// A string without escapes: its bytes are its value.
    Plain,
    /// A string with at least one escape.
    Escaped,
    Object,
    Array,
}

/// Where a value lies in the text. For strings that is without the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Token {
    /// The token of a key that is not there.
    pub(crate) const MISSING: Self = Self { kind: Kind::Missing, start: 0, end: 0 };

    fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self { kind, start: start as u32, end: end as u32 }
    }

    /// Its bytes in the text it was read from.
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// Whether it says nothing: absent, or `null`.
    pub(crate) fn is_nothing(self) -> bool {
        matches!(self.kind, Kind::Missing | Kind::Null)
    }
}

/// A place in a text, moving forward.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth_left: u32,
}

impl<'a> Scanner<'a> {
    /// At the start of `text`, which may nest `depth_max` objects and arrays.
    ///
    /// Limit: texts of 4 GiB; callers refuse records long before.
    pub(crate) fn new(text: &'a [u8], depth_max: u32) -> Self {
        Self { text, at: 0, depth_left: depth_max }
    }

    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Passes over the mark that some systems write at the start of a file.
    pub(crate) fn skip_byte_order_mark(&mut self) {
        if self.text.starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
        }
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<u8, Fault> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Fault::Truncated)
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Takes the next byte that is not white space if it is this one.
    #[inline]
    pub(crate) fn eat(&mut self, wanted: u8) -> Result<bool, Fault> {
        let found = self.peek()? == wanted;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Goes into an object or array whose opening bracket is next; `true` if it is empty and was left again.
    #[inline]
    pub(crate) fn open(&mut self, close: u8) -> Result<bool, Fault> {
        self.at += 1;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Fault::TooDeep)?;
        let is_empty = self.eat(close)?;
        self.depth_left += u32::from(is_empty);
        Ok(is_empty)
    }

    /// After a value: `true` if another follows, `false` if the bracket closed.
    #[inline]
    pub(crate) fn goes_on(&mut self, close: u8) -> Result<bool, Fault> {
        let byte = self.peek()?;
        if byte == b',' {
            self.at += 1;
            return Ok(true);
        }
        if byte == close {
            self.at += 1;
            self.depth_left += 1;
            return Ok(false);
        }
        Err(Fault::Invalid(self.at))
    }

    /// A key and its colon.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Token, Fault> {
        if !self.eat(b'"')? {
            return Err(Fault::Invalid(self.at));
        }
        let key = self.string()?;
        if !self.eat(b':')? {
            return Err(Fault::Invalid(self.at));
        }
        Ok(key)
    }

    /// Any one value, passed over whole.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Token, Fault> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string()
            }
            b'{' => self.object(),
            b'[' => self.array(),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Fault::Invalid(self.at)),
        }
    }

    fn object(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        if !self.open(b'}')? {
            loop {
                self.key()?;
                self.value()?;
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        Ok(Token::new(Kind::Object, start, self.at))
    }

    fn array(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        if !self.open(b']')? {
            loop {
                self.value()?;
                if !self.goes_on(b']')? {
                    break;
                }
            }
        }
        Ok(Token::new(Kind::Array, start, self.at))
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<Token, Fault> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(Token::new(kind, start, self.at));
        }
        Err(if word.starts_with(rest) { Fault::Truncated } else { Fault::Invalid(start) })
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        Err(if start == self.text.len() { Fault::Truncated } else { Fault::Invalid(start) })
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        self.at += usize::from(self.text[start] == b'-');
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Token::new(Kind::Number, start, self.at))
    }

    /// The rest of a string whose opening quote was taken.
    #[inline]
    fn string(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let mut kind = Kind::Plain;
        loop {
            self.at = plain_end(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Token::new(kind, start, self.at - 1));
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return Err(Fault::Invalid(self.at)),
                None => return Err(Fault::Truncated),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let digits = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            Some(_) => return Err(Fault::Invalid(self.at)),
            None => return Err(Fault::Truncated),
        };
        for at in self.at + 2..self.at + 2 + digits {
            match self.text.get(at) {
                Some(byte) if byte.is_ascii_hexdigit() => {}
                Some(_) => return Err(Fault::Invalid(at)),
                None => return Err(Fault::Truncated),
            }
        }
        self.at += 2 + digits;
        Ok(())
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first byte from `at` on that a plain string does not contain: a quote, a backslash or a control character.
///
/// Eight bytes are looked at together. A borrow can mark a byte *above* a marked one in vain, never below, so the lowest
/// mark is exact. Source: "Bit Twiddling Hacks", Sean Eron Anderson, "Determine if a word has a byte less than n".
#[inline]
fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let marks = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let marks = marks & HIGHS;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Token, Fault> {
        let mut scanner = Scanner::new(text.as_bytes(), 128);
        let token = scanner.value()?;
        if scanner.is_at_end() { Ok(token) } else { Err(Fault::Invalid(scanner.at())) }
    }

    #[test]
    fn what_is_cut_is_truncated_and_what_is_wrong_is_invalid() {
        let text = r#"{"a":[1,-2.5e+3,true,null,"x\u00e9\n"],"b":{"c":false}}"#;
        for cut in 0..text.len() {
            assert_eq!(whole(&text[..cut]).err(), Some(Fault::Truncated), "{}", &text[..cut]);
        }
        assert!(whole(text).is_ok());
        for wrong in [
            "{1:2}",
            "{\"a\" 1}",
            "[1 2]",
            "01",
            "+1",
            "[1,]",
            "{\"a\":1,}",
            "\"\\x\"",
            "\"\u{1}\"",
            "nul!",
            "[1}",
            "1.e5",
            "tru]",
        ] {
            assert!(matches!(whole(wrong), Err(Fault::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(whole(&nested(128)).is_ok());
        assert_eq!(whole(&nested(129)).err(), Some(Fault::TooDeep));
        assert_eq!(whole(&"[".repeat(100_000)).err(), Some(Fault::TooDeep));
    }

    #[test]
    fn the_end_of_plain_text_is_found_at_every_distance() {
        for stop in [b'"', b'\\', 0, 0x1f] {
            for distance in 0..40 {
                let mut text = vec![0xc3; distance];
                text.push(stop);
                text.extend([b'"'; 9]);
                assert_eq!(plain_end(&text, 0), distance, "{stop}");
            }
        }
    }
}
