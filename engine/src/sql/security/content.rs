//! What a text is made of, and what it hides.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 as attackers and senders write it: with or without padding, and with stray bits behind the last byte.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Shannon entropy over the characters of a text, in bits per character; 0 for a text without characters.
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    let mut ascii = [0_u32; 128];
    let mut total = 0_u32;
    for character in text.chars() {
        total = total.saturating_add(1);
        match ascii.get_mut(character as usize) {
            Some(count) => *count += 1,
            None => *counts.entry(character).or_default() += 1,
        }
    }
    // The characters come in their own order, so that equal texts give equal sums to the last bit.
    let counts = ascii.into_iter().chain(counts.into_values()).filter(|count| *count > 0);
    let bits = counts.map(|count| {
        let share = f64::from(count) / f64::from(total);
        share * -share.log2()
    });
    // The zero turns a sum of -0.0 into one that looks like nothing.
    bits.sum::<f64>() + 0.0
}

/// The text behind Base64, in the standard or the URL-safe alphabet, with or without padding and line breaks. Bytes that
/// look like UTF-16LE, as `powershell -EncodedCommand` takes them, are read as such; others must be UTF-8.
pub(super) fn decode_base64(text: &str) -> Option<String> {
    let letters: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let bytes = LENIENT.decode(letters).ok()?;
    if is_utf16le(&bytes) {
        // PowerShell puts a sign for what it cannot read and runs the rest, so the rest must be seen.
        let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text));
    }
    String::from_utf8(bytes).ok()
}

/// A byte order mark, or a zero in at least half of the high bytes and in none of the low ones.
fn is_utf16le(bytes: &[u8]) -> bool {
    if bytes.starts_with(&[0xff, 0xfe]) {
        return true;
    }
    let pairs = bytes.len() / 2;
    let high_zeros = bytes.chunks_exact(2).filter(|pair| pair[1] == 0).count();
    let low_zeros = bytes.chunks_exact(2).filter(|pair| pair[0] == 0).count();
    pairs > 0 && low_zeros == 0 && high_zeros * 2 >= pairs
}
