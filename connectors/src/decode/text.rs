//! Text out of JSON: escapes undone, white space taken out. Both copy; values without either are borrowed by the caller.

use std::borrow::Cow;

use super::scan::{Kind, Token};

/// The value of a key or string: its bytes, with escapes undone if there are any.
pub(crate) fn content(string: Token, text: &[u8]) -> Cow<'_, [u8]> {
    let bytes = string.of(text);
    if string.kind() != Kind::Escaped {
        return Cow::Borrowed(bytes);
    }
    let mut value = Vec::new();
    unescape(bytes, &mut value);
    Cow::Owned(value)
}

/// Appends the value of a string that the scanner has passed, without its quotes.
///
/// A surrogate that has no partner becomes U+FFFD: such strings are legal JSON and come from real systems.
pub(crate) fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let taken = match text[at + 1] {
            b'b' => push(out, 0x08),
            b'f' => push(out, 0x0c),
            b'n' => push(out, b'\n'),
            b'r' => push(out, b'\r'),
            b't' => push(out, b'\t'),
            b'u' => unicode(&text[at..], out),
            byte => push(out, byte),
        };
        text = &text[at + taken..];
    }
    out.extend_from_slice(text);
}

fn push(out: &mut Vec<u8>, byte: u8) -> usize {
    out.push(byte);
    2
}

/// One `\uXXXX`, or two of them that are a pair; says how many bytes they take.
fn unicode(text: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = hex(&text[2..6]);
    let mut taken = 6;
    let mut point = unit;
    if (0xd800..0xdc00).contains(&unit) && text.get(6..8) == Some(b"\\u") {
        let low = hex(&text[8..12]);
        if (0xdc00..0xe000).contains(&low) {
            point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            taken = 12;
        }
    }
    let character = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, byte| value * 16 + char::from(*byte).to_digit(16).unwrap_or(0))
}

/// Whether JSON text may contain white space between its tokens (white space inside its strings counts too).
pub(crate) fn has_space(json: &[u8]) -> bool {
    json.iter().any(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
}

/// Appends valid JSON text without the white space between its tokens.
pub(crate) fn minify(mut json: &[u8], out: &mut Vec<u8>) {
    if !has_space(json) {
        out.extend_from_slice(json);
        return;
    }
    while let Some(quote) = memchr::memchr(b'"', json) {
        squeeze(&json[..quote], out);
        let mut end = quote + 1;
        // The text is valid: every string ends, and a backslash is followed by what it escapes.
        while let Some(at) = memchr::memchr2(b'"', b'\\', &json[end..]) {
            end += at + 1;
            if json[end - 1] == b'"' {
                break;
            }
            end += 1;
        }
        out.extend_from_slice(&json[quote..end]);
        json = &json[end..];
    }
    squeeze(json, out);
}

fn squeeze(json: &[u8], out: &mut Vec<u8>) {
    out.extend(json.iter().filter(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> String {
        let mut out = Vec::new();
        unescape(text.as_bytes(), &mut out);
        String::from_utf8(out).expect("unescaping gives UTF-8")
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped(r#"C:\\a\"\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00x"#), "C:\\a\"/\u{8}\u{c}\n\r\t\0é😀x");
    }

    #[test]
    fn a_surrogate_without_partner_becomes_the_replacement_character() {
        assert_eq!(unescaped(r"\ud83d"), "\u{fffd}");
        assert_eq!(unescaped(r"\ud83dx\ude00"), "\u{fffd}x\u{fffd}");
        assert_eq!(unescaped(r"\ud83d\u0041"), "\u{fffd}A");
        assert_eq!(unescaped(r"\ud83d\ud83d\ude00"), "\u{fffd}😀");
    }

    #[test]
    fn white_space_goes_between_tokens_and_stays_in_strings() {
        let mut out = Vec::new();
        minify(b"{ \"a b\" : [ 1 ,\t\"x \\\" y\\\\\" , { } ]\n}", &mut out);
        assert_eq!(out, b"{\"a b\":[1,\"x \\\" y\\\\\",{}]}");
    }
}
