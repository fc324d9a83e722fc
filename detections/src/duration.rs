//! Durations as people write them: `1 hour`, `90s`, `1h 30m`.

const UNITS: [(&str, i64); 6] = [
    ("milliseconds", 1_000),
    ("seconds", 1_000_000),
    ("minutes", 60_000_000),
    ("hours", 3_600_000_000),
    ("days", 86_400_000_000),
    ("weeks", 604_800_000_000),
];

/// How to write one, for hints.
pub(crate) const HOW: &str = "write a duration as `30 seconds`, `10m`, `1 hour` or `1h 30m`";

/// The microseconds of a duration text; `None` when it is not one, or is too long to count.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: Option<i64> = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: i64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let part = number.checked_mul(unit(&rest[..letters])?)?;
        total = Some(total.unwrap_or(0).checked_add(part)?);
        rest = rest[letters..].trim_start();
    }
    total
}

fn unit(word: &str) -> Option<i64> {
    let word = word.to_ascii_lowercase();
    let full = match word.as_str() {
        "ms" => "milliseconds",
        "s" | "sec" | "secs" => "seconds",
        "m" | "min" | "mins" => "minutes",
        "h" | "hr" | "hrs" => "hours",
        "d" => "days",
        "w" => "weeks",
        other => other,
    };
    UNITS.iter().find(|(name, _)| *name == full || name.trim_end_matches('s') == full).map(|(_, us)| *us)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let second = 1_000_000;
        let cases = [
            ("1 hour", Some(3600 * second)),
            ("90s", Some(90 * second)),
            ("1h 30m", Some(5400 * second)),
            ("1h30m", Some(5400 * second)),
            ("10 Minutes", Some(600 * second)),
            ("250ms", Some(250_000)),
            ("2 weeks", Some(14 * 86_400 * second)),
            ("", None),
            ("hour", None),
            ("5", None),
            ("5 parsecs", None),
            ("-5 s", None),
            ("99999999999999 weeks", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
