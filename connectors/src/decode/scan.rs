//! The JSON scanner: walks over one text, checks its grammar (RFC 8259) and notes where values lie. It builds nothing.
//!
//! Strings are passed over eight bytes at a time; that is most of what a log record consists of. The text must be valid
//! UTF-8 already, so that any cut at a quote is a character boundary.

use std::fmt;
use std::num::NonZeroU64;

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
    Missing = 1,
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
///
/// Kind, start and end share one word, because a token is made, passed on and stored for every value of every record: in
/// three fields it went through memory, and waiting for that took a third of the whole decoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(NonZeroU64);

/// Bits of a start or an end. The kind takes four.
const OFFSET_BITS: u32 = 30;

/// The length of the longest text that can be scanned.
pub(crate) const TEXT_BYTES_MAX: usize = (1 << OFFSET_BITS) - 1;

impl Token {
    /// The token of a key that is not there.
    pub(crate) const MISSING: Self = Self(NonZeroU64::MIN);

    #[inline]
    pub(crate) fn new(kind: Kind, start: usize, end: usize) -> Self {
        let word = (end as u64) << (OFFSET_BITS + 4) | (start as u64) << 4 | kind as u64;
        // No kind is zero, so the word never is.
        NonZeroU64::new(word).map_or(Self::MISSING, Self)
    }

    #[inline]
    pub(crate) fn kind(self) -> Kind {
        const KINDS: [Kind; 16] = {
            use Kind::{Array, Escaped, False, Missing, Null, Number, Object, Plain, True};
            let mut kinds = [Missing; 16];
            let all = [Missing, Null, True, False, Number, Plain, Escaped, Object, Array];
            let mut at = 0;
            while at < all.len() {
                kinds[all[at] as usize] = all[at];
                at += 1;
            }
            kinds
        };
        KINDS[(self.0.get() & 0xf) as usize]
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        (self.0.get() >> 4) as usize & TEXT_BYTES_MAX
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        (self.0.get() >> (OFFSET_BITS + 4)) as usize
    }

    /// Its bytes in the text it was read from.
    #[inline]
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start()..self.end()]
    }

    /// The same token in a text that begins `offset` bytes earlier.
    pub(crate) fn moved(self, offset: usize) -> Self {
        Self::new(self.kind(), self.start() + offset, self.end() + offset)
    }

    /// Whether it says nothing: absent, or `null`.
    #[inline]
    pub(crate) fn is_nothing(self) -> bool {
        matches!(self.kind(), Kind::Missing | Kind::Null)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}..{}", self.kind(), self.start(), self.end())
    }
}

/// A place in a text, moving forward.
///
/// `None` from any of its methods is the end of the scan; [`Scanner::fault`] then says why. It is a small value that is
/// copied: the loop over a record's keys works on a copy, which the compiler keeps in registers.
#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth_left: u32,
    is_too_deep: bool,
    survey: Survey,
}

impl<'a> Scanner<'a> {
    /// At the start of `text`, which may nest `depth_max` objects and arrays.
    ///
    /// Limit: texts of [`TEXT_BYTES_MAX`]; callers refuse longer ones.
    pub(crate) fn new(text: &'a [u8], depth_max: u32) -> Self {
        Self::surveyed(text, depth_max, Survey { is_ascii: false, has_control: true })
    }

    /// The same for a text that was looked over before.
    pub(crate) fn surveyed(text: &'a [u8], depth_max: u32, survey: Survey) -> Self {
        Self { text, at: 0, depth_left: depth_max, is_too_deep: false, survey }
    }

    /// What ended the scan: where it stands is where it could not go on.
    pub(crate) fn fault(&self) -> Fault {
        if self.is_too_deep {
            Fault::TooDeep
        } else if self.at >= self.text.len() {
            Fault::Truncated
        } else {
            Fault::Invalid(self.at)
        }
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
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes the next byte that is not white space, which must be this one.
    #[inline(always)]
    fn expect(&mut self, wanted: u8) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Goes into an object or array whose opening bracket is next; `true` if it is empty and was left again.
    #[inline(always)]
    pub(crate) fn open(&mut self, close: u8) -> Option<bool> {
        self.at += 1;
        if self.depth_left == 0 {
            self.is_too_deep = true;
            return None;
        }
        let is_empty = self.peek()? == close;
        self.at += usize::from(is_empty);
        self.depth_left -= u32::from(!is_empty);
        Some(is_empty)
    }

    /// After a value: `true` if another follows, `false` if the bracket closed.
    #[inline(always)]
    pub(crate) fn goes_on(&mut self, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        let goes_on = byte == b',';
        if !goes_on && byte != close {
            return None;
        }
        self.at += 1;
        self.depth_left += u32::from(!goes_on);
        Some(goes_on)
    }

    /// A key and its colon.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<Token> {
        self.expect(b'"')?;
        let key = self.string()?;
        self.expect(b':')?;
        Some(key)
    }

    /// Any one value, passed over whole.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Option<Token> {
        if self.peek()? == b'"' {
            self.at += 1;
            return self.string();
        }
        let (token, moved) = self.other();
        *self = moved;
        token
    }

    /// A value that is no string. Takes and gives copies, so that the caller's own scanner may stay in registers.
    fn other(mut self) -> (Option<Token>, Self) {
        let token = match self.text[self.at] {
            b'{' => self.object(),
            b'[' => self.array(),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        };
        (token, self)
    }

    fn object(&mut self) -> Option<Token> {
        let start = self.at;
        let mut goes_on = !self.open(b'}')?;
        while goes_on {
            self.key()?;
            self.value()?;
            goes_on = self.goes_on(b'}')?;
        }
        Some(Token::new(Kind::Object, start, self.at))
    }

    fn array(&mut self) -> Option<Token> {
        let start = self.at;
        let mut goes_on = !self.open(b']')?;
        while goes_on {
            self.value()?;
            goes_on = self.goes_on(b']')?;
        }
        Some(Token::new(Kind::Array, start, self.at))
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Option<Token> {
        let start = self.at;
        let rest = &self.text[start..];
        if !rest.starts_with(word) {
            if word.starts_with(rest) {
                self.at = self.text.len();
            }
            return None;
        }
        self.at += word.len();
        Some(Token::new(kind, start, self.at))
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Token> {
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
        Some(Token::new(Kind::Number, start, self.at))
    }

    /// The rest of a string whose opening quote was taken.
    #[inline(always)]
    fn string(&mut self) -> Option<Token> {
        let start = self.at;
        self.at = plain_end(self.text, start, self.survey);
        if *self.text.get(self.at)? == b'"' {
            self.at += 1;
            return Some(Token::new(Kind::Plain, start, self.at - 1));
        }
        let (end, is_whole) = escaped_end(self.text, self.at, self.survey);
        self.at = end;
        if !is_whole {
            return None;
        }
        self.at += 1;
        Some(Token::new(Kind::Escaped, start, end))
    }
}

/// The closing quote of a string from its first byte on that is not plain; or, with `false`, where it is broken.
fn escaped_end(text: &[u8], mut at: usize, survey: Survey) -> (usize, bool) {
    loop {
        match text.get(at) {
            Some(b'"') => return (at, true),
            Some(b'\\') => match escape_end(text, at) {
                Ok(end) => at = end,
                Err(broken) => return (broken, false),
            },
            _ => return (at, false),
        }
        at = plain_end(text, at, survey);
    }
}

/// One past an escape that begins at a backslash; or where it is broken.
fn escape_end(text: &[u8], at: usize) -> Result<usize, usize> {
    let digits = match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(at + 2),
        Some(b'u') => at + 2..at + 6,
        Some(_) => return Err(at),
        None => return Err(text.len()),
    };
    for at in digits.clone() {
        if !text.get(at).ok_or(text.len())?.is_ascii_hexdigit() {
            return Err(at);
        }
    }
    Ok(digits.end)
}

/// What a look over all bytes of a text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) is_ascii: bool,
    pub(crate) has_control: bool,
}

impl Survey {
    /// One pass of two instructions per sixteen bytes; it saves most texts the check of their UTF-8, and their strings the
    /// search for control characters.
    pub(crate) fn of(text: &[u8]) -> Self {
        let (all, least) = text.iter().fold((0, u8::MAX), |(all, least), byte| (all | byte, least.min(*byte)));
        Self { is_ascii: all < 0x80, has_control: least < 0x20 }
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first byte from `at` on that a plain string does not contain: a quote, a backslash or a control character.
///
/// Eight bytes are judged together in one word. (Vector instructions are not to be had in safe code: the compiler makes
/// them of a loop over sixteen bytes, but reads the result back through memory, which costs more than they save.)
/// Source: "Bit Twiddling Hacks", Sean Eron Anderson, "Determine if a word has a byte less than n".
#[inline(always)]
fn plain_end(text: &[u8], at: usize, survey: Survey) -> usize {
    let is_simple = survey.is_ascii && !survey.has_control;
    if is_simple { first_mark(text, at, ascii_marks) } else { first_mark(text, at, any_marks) }
}

#[inline(always)]
fn first_mark(text: &[u8], mut at: usize, marks: impl Fn(u64) -> u64) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = marks(u64::from_le_bytes(*chunk));
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

/// Marks the high bit of every quote and backslash. Without high bits in the text no byte disturbs another.
#[inline(always)]
fn ascii_marks(word: u64) -> u64 {
    let is_other = |wanted: u8| (word ^ (ONES * u64::from(wanted))) + (HIGHS - ONES);
    !(is_other(b'"') & is_other(b'\\')) & HIGHS
}

/// Marks the high bit of every quote, backslash and control character. A borrow can mark a byte *above* a marked one in
/// vain, never below, so the lowest mark is exact.
#[inline(always)]
fn any_marks(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Token, Fault> {
        let mut scanner = Scanner::new(text.as_bytes(), 128);
        let token = scanner.value().ok_or_else(|| scanner.fault())?;
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
        for (stop, filler) in
            [(b'"', 0xc3), (b'\\', 0xff), (0, b'a'), (0x1f, b' '), (b'"', b'!'), (b'\\', b'#'), (b'"', 0x7f)]
        {
            for distance in 0..40 {
                let mut text = vec![filler; distance];
                text.push(stop);
                text.extend([b'"'; 9]);
                let survey = Survey::of(&text);
                assert_eq!(plain_end(&text, 0, survey), distance, "{stop} after {filler}, {survey:?}");
            }
        }
    }
}
