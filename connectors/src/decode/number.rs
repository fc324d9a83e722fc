//! Numbers from decimal text: exactly, or not at all.

/// A decimal text as the whole number it stands for; `None` where it is none, has a fraction, or is out of range.
///
/// `1e3`, `4624.0` and `007` are whole numbers; `4624x`, ` 1` and `1.5` are not.
pub(crate) fn integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    if digits.len() <= 18 {
        let mut value = 0_i64;
        let mut all = true;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            all &= digit < 10;
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        if all {
            return Some(i128::from(if negative { -value } else { value }));
        }
    }
    let value = scaled(digits)?;
    Some(if negative { -value } else { value })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// `digits[.digits][e[sign]digits]` as a whole number.
fn scaled(text: &[u8]) -> Option<i128> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() || (point.is_some() && fraction.is_empty()) {
        return None;
    }
    // Zeros at either end change the scale, not the value; without them 38 digits are enough for any type.
    let mut value = 0_i128;
    let mut held_zeros = 0_u32;
    for byte in whole.iter().chain(fraction) {
        match byte {
            b'0' => held_zeros += u32::from(value != 0),
            b'1'..=b'9' => {
                value = value.checked_mul(10_i128.checked_pow(held_zeros + 1)?)?;
                value = value.checked_add(i128::from(byte - b'0'))?;
                held_zeros = 0;
            }
            _ => return None,
        }
    }
    let scale = i64::from(held_zeros) + exponent - fraction.len() as i64;
    match (value, u32::try_from(scale)) {
        (0, _) => Some(0),
        (_, Ok(scale)) => value.checked_mul(10_i128.checked_pow(scale)?),
        (_, Err(_)) => None,
    }
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond a million every value but zero is out of range anyway.
    let value = digits.iter().fold(0_i64, |value, byte| (value * 10 + i64::from(byte - b'0')).min(1_000_000));
    Some(if negative { -value } else { value })
}

/// A decimal text as the nearest floating-point number; `None` where it is none or too large.
pub(crate) fn float(text: &[u8]) -> Option<f64> {
    // Rust also reads words such as "inf" and "nan"; a log field that says so is no number.
    if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    let value = std::str::from_utf8(text).ok()?.parse::<f64>().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("4624", Some(4624)),
            ("-0", Some(0)),
            ("+5", Some(5)),
            ("007", Some(7)),
            ("1e3", Some(1000)),
            ("1.50e2", Some(150)),
            ("4624.0", Some(4624)),
            ("0e999999999999", Some(0)),
            ("0.0", Some(0)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808)),
            ("-18446744073709551616.000", Some(-18_446_744_073_709_551_616)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("100000000000000000000e-20", Some(1)),
            ("4624x", None),
            ("", None),
            ("-", None),
            (" 1", None),
            ("1.5", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e400", None),
            ("1-1", None),
            ("0x10", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn words_and_infinities_are_no_numbers() {
        for text in ["inf", "NaN", "infinity", "1e400", "-1e400", "", "1x", "--1"] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
        assert_eq!(float(b"1e-400"), Some(0.0));
        assert!(float(b"-0").is_some_and(f64::is_sign_negative));
    }
}
