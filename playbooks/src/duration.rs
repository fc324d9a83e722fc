//! Durations as people write them: `30 seconds`, `15 minutes`, `2h`, `1 day 12 hours`.

use std::time::Duration;

/// Reads a duration; `None` where it is none, is zero parts long or does not fit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms = match rest[..letters].to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "second" | "seconds" => 1_000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse("30 seconds").map(|d| d.as_millis()), Some(30_000));
        assert_eq!(parse("2h").map(|d| d.as_secs()), Some(7_200));
        assert_eq!(parse("1 day 12 hours").map(|d| d.as_secs()), Some(129_600));
        assert_eq!(parse("250ms").map(|d| d.as_millis()), Some(250));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "soon", "5", "5 parsecs", "-1 hour", "99999999999999999999 s", "18446744073709551615 weeks"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
