//! Instants from the many ways in which logs write them.
//!
//! Understood: RFC 3339; `2020-01-02 03:04:05.678` with `-` or `/`, `T` or a space, a fraction of any length after `.` or
//! `,`, and a zone (`Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+01`) or none; a date alone; and seconds, milliseconds,
//! microseconds or nanoseconds since 1970 as a number or as digits, told apart by magnitude.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::number;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// A text as microseconds since 1970-01-01T00:00:00Z. A time written without a zone is meant in `zone`.
pub(crate) fn instant(text: &[u8], zone: Tz) -> Option<i64> {
    let text = text.trim_ascii();
    if matches!(text.get(4), Some(b'-' | b'/')) && text[0].is_ascii_digit() { civil(text, zone) } else { epoch(text) }
}

/// A number as microseconds since 1970. Below 10^11 it counts seconds, below 10^14 milliseconds, below 10^17
/// microseconds, and nanoseconds from there on: each unit covers the years 1973 to 5138.
pub(crate) fn epoch(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let whole_len = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(whole_len);
    let (whole, fraction) = match rest {
        [] => (number::integer(whole)?, &[][..]),
        [b'.', fraction @ ..] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => {
            (number::integer(whole)?, fraction)
        }
        // With an exponent. Such a writer rounded already, so a float loses nothing more.
        _ => {
            let value = number::float(digits)?;
            let us = value * unit_ns(value as i128) as f64 / 1000.0;
            let us = if negative { -us } else { us }.floor();
            return (us.abs() < 9.0e18).then_some(us as i64);
        }
    };
    let unit = unit_ns(whole);
    let fraction = fraction
        .iter()
        .take(9)
        .fold((0_i128, 1_i128), |(value, scale), byte| (value * 10 + i128::from(byte - b'0'), scale * 10));
    let ns = whole.checked_mul(unit)?.checked_add(fraction.0 * unit / fraction.1)?;
    i64::try_from(if negative { -ns } else { ns }.div_euclid(1000)).ok()
}

fn unit_ns(value: i128) -> i128 {
    if value < 100_000_000_000 {
        1_000_000_000
    } else if value < 100_000_000_000_000 {
        1_000_000
    } else if value < 100_000_000_000_000_000 {
        1_000
    } else {
        1
    }
}

/// A date, and perhaps a time of day and a zone.
fn civil(text: &[u8], zone: Tz) -> Option<i64> {
    // Almost all times are written `2020-01-02T03:04:05`, with or without a fraction and a zone behind it.
    if let Some((us, mut cursor)) = to_the_second(text) {
        if matches!(cursor.peek(), Some(b'.' | b',')) {
            cursor.at += 1;
            return in_zone(us + cursor.fraction_us()?, cursor, zone);
        }
        return in_zone(us, cursor, zone);
    }
    let mut cursor = Cursor { text, at: 0 };
    let year = cursor.digits(4)?;
    let separator = cursor.next()?;
    let month = cursor.digits(2)?;
    if cursor.next()? != separator {
        return None;
    }
    let day = cursor.digits(2)?;
    let mut us = days(year, month, day)? * DAY_US;
    if matches!(cursor.peek(), Some(b'T' | b't' | b' ')) {
        cursor.at += 1;
        us += time_of_day(&mut cursor)?;
    }
    in_zone(us, cursor, zone)
}

/// The first nineteen bytes of a time, if they are written in the usual way.
#[inline]
fn to_the_second(text: &[u8]) -> Option<(i64, Cursor<'_>)> {
    let head = text.first_chunk::<19>()?;
    let mut has_other = false;
    let mut pair = |at: usize| {
        let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        has_other |= tens > 9 || ones > 9;
        i64::from(tens) * 10 + i64::from(ones)
    };
    let (year, month, day) = (pair(0) * 100 + pair(2), pair(5), pair(8));
    let (hour, minute, second) = (pair(11), pair(14), pair(17));
    let is_usual = head[4] == b'-' && head[7] == b'-' && head[13] == b':' && head[16] == b':';
    let is_separate = matches!(head[10], b'T' | b' ');
    if has_other || !is_usual || !is_separate || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + (hour * 60 + minute) * 60 + second;
    Some((seconds * SECOND_US, Cursor { text, at: 19 }))
}

/// A civil time with the zone that stands behind it, or else in the stream's zone.
#[inline]
fn in_zone(us: i64, mut cursor: Cursor<'_>, zone: Tz) -> Option<i64> {
    match offset(&mut cursor)? {
        Some(offset_us) => Some(us - offset_us),
        None if zone == Tz::UTC => Some(us),
        None => local(us, zone),
    }
}

/// `HH:MM[:SS[.fraction]]` in microseconds. A leap second is the first instant of the next minute.
fn time_of_day(cursor: &mut Cursor<'_>) -> Option<i64> {
    let hour = cursor.digits(2)?;
    if cursor.next()? != b':' {
        return None;
    }
    let minute = cursor.digits(2)?;
    let mut second = 0;
    let mut fraction_us = 0;
    if cursor.peek() == Some(b':') {
        cursor.at += 1;
        second = cursor.digits(2)?;
        if matches!(cursor.peek(), Some(b'.' | b',')) {
            cursor.at += 1;
            fraction_us = cursor.fraction_us()?;
        }
    }
    let is_valid = hour < 24 && minute < 60 && second <= 60;
    is_valid.then_some(((hour * 60 + minute) * 60 + second) * SECOND_US + fraction_us)
}

/// The zone at the end of a text, as microseconds east of UTC: `Some(None)` if there is none, `None` if it is no zone.
fn offset(cursor: &mut Cursor<'_>) -> Option<Option<i64>> {
    let rest = cursor.text[cursor.at..].trim_ascii_start();
    match rest {
        [] => Some(None),
        b"Z" | b"z" | b"UTC" | b"GMT" => Some(Some(0)),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let mut cursor = Cursor { text: rest, at: 0 };
            let hours = cursor.digits(2)?;
            let minutes = match cursor.peek() {
                None => 0,
                Some(b':') => {
                    cursor.at += 1;
                    cursor.digits(2)?
                }
                Some(_) => cursor.digits(2)?,
            };
            let is_valid = cursor.peek().is_none() && hours < 24 && minutes < 60;
            let us = (hours * 60 + minutes) * 60 * SECOND_US;
            is_valid.then_some(Some(if *sign == b'-' { -us } else { us }))
        }
        _ => None,
    }
}

/// A local time as an instant. Of the two instants in the hour that a clock repeats, the earlier; a time that a clock
/// skipped is read with the offset after the change.
fn local(us: i64, zone: Tz) -> Option<i64> {
    let naive: NaiveDateTime = DateTime::from_timestamp_micros(us)?.naive_utc();
    Some(match zone.from_local_datetime(&naive) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => time.timestamp_micros(),
        MappedLocalTime::None => {
            let offset = zone.offset_from_utc_datetime(&naive).fix().local_minus_utc();
            us - i64::from(offset) * SECOND_US
        }
    })
}

/// Days since 1970-01-01. Source: "chrono-Compatible Low-Level Date Algorithms", Howard Hinnant, `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.text.get(self.at..self.at + count)?;
        self.at += count;
        digits.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    }

    /// Digits of a fraction of a second; what is finer than a microsecond is cut.
    fn fraction_us(&mut self) -> Option<i64> {
        let start = self.at;
        let mut value = 0;
        let mut unit = SECOND_US / 10;
        while let Some(byte) = self.peek().filter(u8::is_ascii_digit) {
            value += i64::from(byte - b'0') * unit;
            unit /= 10;
            self.at += 1;
        }
        (self.at > start).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: i64 = 1_577_934_245_678_000; // 2020-01-02T03:04:05.678Z

    #[test]
    fn every_way_to_write_an_instant_is_read() {
        for text in [
            "2020-01-02T03:04:05.678Z",
            "2020-01-02t03:04:05.678z",
            "2020-01-02 03:04:05.678",
            "2020/01/02 03:04:05,678",
            "2020-01-02 03:04:05.678 UTC",
            "2020-01-02T03:04:05.6780009Z",
            "2020-01-02T04:04:05.678+01:00",
            "2020-01-02T04:04:05.678+0100",
            "2020-01-02 04:04:05.678 +01",
            "2020-01-01T21:34:05.678-05:30",
            " 2020-01-02T03:04:05.678Z ",
            "1577934245.678",
            "1577934245678",
            "1577934245678000",
            "1577934245678000000",
            "1577934245678000999",
        ] {
            assert_eq!(instant(text.as_bytes(), Tz::UTC), Some(US), "{text}");
        }
        assert_eq!(instant(b"2020-01-02", Tz::UTC), Some(1_577_923_200_000_000));
        assert_eq!(instant(b"2020-01-02T03:04", Tz::UTC), Some(1_577_934_240_000_000));
        assert_eq!(instant(b"1.5e9", Tz::UTC), Some(1_500_000_000_000_000));
        assert_eq!(instant(b"-1.5", Tz::UTC), Some(-1_500_000));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "-",
            "soon",
            "2020-13-01",
            "2020-02-30",
            "2020-01-02T",
            "2020-01-02T24:00",
            "2020-01-02T03:60:00Z",
            "2020-01-02T03:04:05.Z",
            "2020-01-02T03:04:05 PST",
            "2020-01/02",
            "2020-01-02T03:04:05+25:00",
            "2020-01-02x",
            "12-34",
            "1.2.3",
            "1e400",
            "99999999999999999999999999",
            "2020-01-02T03:04:05Zx",
            "nan",
            "0x10",
        ] {
            assert_eq!(instant(text.as_bytes(), Tz::UTC), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_zone_is_meant_in_the_streams_zone() {
        let berlin = Tz::Europe__Berlin;
        assert_eq!(instant(b"2020-01-02 04:04:05.678", berlin), Some(US));
        assert_eq!(instant(b"2020-01-02T03:04:05.678Z", berlin), Some(US));
        // 02:30 happens twice on the last Sunday of October: the earlier one, in summer time.
        assert_eq!(instant(b"2020-10-25 02:30:00", berlin), instant(b"2020-10-25T00:30:00Z", Tz::UTC));
        // 02:30 does not happen on the last Sunday of March.
        assert_eq!(instant(b"2020-03-29 02:30:00", berlin), instant(b"2020-03-29T00:30:00Z", Tz::UTC));
    }

    #[test]
    fn days_agree_with_chrono() {
        for day in (-800_000..800_000).step_by(373) {
            let date = DateTime::from_timestamp(day * 86_400, 0).map(|time| time.date_naive());
            let date = date.expect("in chrono's range");
            use chrono::Datelike;
            assert_eq!(days(date.year().into(), date.month().into(), date.day().into()), Some(day));
        }
    }
}
