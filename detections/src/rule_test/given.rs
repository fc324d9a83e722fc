//! From the `given` of a case to the records that a stream would have received.

use chrono::{NaiveDateTime, TimeDelta};
use serde_json::{Map, Value};

use super::{Item, ItemKind, Lines};

/// The records an item stands for, one JSON text each. `lines` reads a file beside the test.
///
/// # Errors
/// What is wrong with the item, in words for its author.
pub(crate) fn records(item: &Item, event_time: &str, lines: &Lines<'_>) -> Result<Vec<String>, String> {
    match &item.kind {
        ItemKind::Event(event) => Ok(vec![event.to_string()]),
        ItemKind::Raw(line) => Ok(vec![line.clone()]),
        ItemKind::File(path) => lines(path).map_err(|why| unreadable(path, &why)),
        ItemKind::Repeat { times, every_us, event } => (0..*times)
            .map(|index| repeated(event, index, *every_us, event_time).map(|event| event.to_string()))
            .collect(),
    }
}

/// What is wrong with the time of a repetition that steps, in words for its author. Placeholders are told with the form.
pub(crate) fn wrong_step(item: &Item, event_time: &str) -> Option<String> {
    let ItemKind::Repeat { times, every_us: Some(every_us), event } = &item.kind else { return None };
    let steps = |index| {
        substituted(event, i64::from(index) + 1).ok()?;
        repeated(event, index, Some(*every_us), event_time).err()
    };
    steps(0).or_else(|| steps(times - 1))
}

/// The sentence for a file that cannot be read.
pub(crate) fn unreadable(path: &str, why: &str) -> String {
    format!("cannot read `{path}`: {why}")
}

fn repeated(event: &Value, index: u32, every_us: Option<i64>, event_time: &str) -> Result<Value, String> {
    let mut event = substituted(event, i64::from(index) + 1)?;
    if let Some(every_us) = every_us {
        let time = at_path(&mut event, event_time)
            .ok_or_else(|| format!("`every` moves the event time, but the event has no `{event_time}`"))?;
        *time = moved(time, every_us.saturating_mul(index.into()))
            .ok_or_else(|| format!("`every` cannot move the time `{time}` of `{event_time}`"))?;
    }
    Ok(event)
}

/// The value under the exact key, else at the dotted path.
fn at_path<'a>(event: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let object = event.as_object_mut()?;
    if object.contains_key(path) {
        return object.get_mut(path);
    }
    let (first, rest) = path.split_once('.')?;
    at_path(object.get_mut(first)?, rest)
}

/// The event with every `${i}` in its texts replaced. A text that is nothing but a placeholder becomes a number.
fn substituted(value: &Value, i: i64) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => substituted_text(text, i)?,
        Value::Array(items) => Value::Array(items.iter().map(|item| substituted(item, i)).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((key.clone(), substituted(value, i)?)));
            Value::Object(fields.collect::<Result<Map<_, _>, String>>()?)
        }
        other => other.clone(),
    })
}

/// A text with every `${i}` replaced; a number where nothing else is in it.
///
/// # Errors
/// What is no placeholder, in words for its author.
pub(super) fn substituted_text(text: &str, i: i64) -> Result<Value, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        let end = rest[start..].find('}').ok_or_else(|| format!("`{text}` opens `${{` and does not close it"))? + start;
        let number = placeholder(rest[start + 2..end].trim(), i).ok_or_else(|| {
            format!(
                "`{}` is not a placeholder; write `${{i}}`, `${{i + 1}}`, `${{i * 2}}` or `${{i % 3}}`",
                &rest[start..=end]
            )
        })?;
        if start == 0 && end + 1 == text.len() {
            return Ok(number.into());
        }
        out.push_str(&rest[..start]);
        out.push_str(&number.to_string());
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

fn placeholder(text: &str, i: i64) -> Option<i64> {
    let rest = text.strip_prefix('i')?.trim();
    let Some(operator) = rest.chars().next() else { return Some(i) };
    let operand: i64 = rest[operator.len_utf8()..].trim().parse().ok()?;
    match operator {
        '+' => i.checked_add(operand),
        '-' => i.checked_sub(operand),
        '*' => i.checked_mul(operand),
        '%' => i.checked_rem(operand),
        _ => None,
    }
}

/// The same instant later, written in the same way.
fn moved(time: &Value, by_us: i64) -> Option<Value> {
    match time {
        Value::String(text) => moved_text(text, by_us)
            .map(Value::String)
            .or_else(|| Some(Value::String(moved_number(text.parse().ok()?, by_us)?.to_string()))),
        Value::Number(number) => moved_number(number.clone(), by_us).map(Value::Number),
        _ => None,
    }
}

/// `2026-01-01T00:00:00.000+02:00` and its kin: the separator, the digits and the zone stay as they are.
fn moved_text(text: &str, by_us: i64) -> Option<String> {
    if text.len() < 19 || !text.is_ascii() {
        return None;
    }
    let (date, separator, clock) = (&text[..10], &text[10..11], &text[11..]);
    let zone = clock.find(['Z', 'z', '+', '-', ' ']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone);
    let digits = clock.split_once('.').map_or(0, |(_, digits)| digits.len());
    let time = NaiveDateTime::parse_from_str(&format!("{date} {clock}"), "%Y-%m-%d %H:%M:%S%.f").ok()?;
    let time = time.checked_add_signed(TimeDelta::microseconds(by_us))?;
    let nanos = format!("{:09}", time.and_utc().timestamp_subsec_nanos());
    let digits = digits.max(nanos.trim_end_matches('0').len()).min(9);
    let fraction = if digits == 0 { String::new() } else { format!(".{}", &nanos[..digits]) };
    Some(format!("{}{separator}{}{fraction}{zone}", time.format("%Y-%m-%d"), time.format("%H:%M:%S")))
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
fn moved_number(number: serde_json::Number, by_us: i64) -> Option<serde_json::Number> {
    let size = number.as_f64()?.abs();
    let unit_ns: i64 = match size {
        ..1e11 => 1_000_000_000,
        ..1e14 => 1_000_000,
        ..1e17 => 1_000,
        _ => 1,
    };
    let by_ns = by_us.checked_mul(1000)?;
    match number.as_i64() {
        Some(whole) if by_ns % unit_ns == 0 => Some((whole.checked_add(by_ns / unit_ns)?).into()),
        _ => {
            let moved = number.as_f64()? + by_ns as f64 / unit_ns as f64;
            // A double has room for microseconds of today's seconds, and no more.
            serde_json::Number::from_f64((moved * 1e6).round() / 1e6)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use weir_engine::{Place, Span};

    use super::{moved, records};
    use crate::rule_test::{Item, ItemKind};

    fn repeat(times: u32, every_us: Option<i64>, event: Value) -> Result<Vec<Value>, String> {
        let item = Item { span: Span::at(Place::START), kind: ItemKind::Repeat { times, every_us, event } };
        let lines = records(&item, "meta.time", &|path| Err(format!("no {path}")))?;
        Ok(lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }

    #[test]
    fn a_repetition_counts_from_one_and_steps_the_event_time() {
        let event = json!({ "meta": { "time": "2026-01-01T00:00:55Z" }, "user": "bob-${i}", "port": "${i + 1000}", "odd": "${i % 2}" });
        let events = repeat(2, Some(10_000_000), event).expect("two events");
        assert_eq!(
            events,
            [
                json!({ "meta": { "time": "2026-01-01T00:00:55Z" }, "user": "bob-1", "port": 1001, "odd": 1 }),
                json!({ "meta": { "time": "2026-01-01T00:01:05Z" }, "user": "bob-2", "port": 1002, "odd": 0 }),
            ]
        );
    }

    #[test]
    fn a_step_needs_a_time_to_move() {
        let error = repeat(1, Some(1), json!({ "user": "bob" })).expect_err("no time");
        assert_eq!(error, "`every` moves the event time, but the event has no `meta.time`");
        let error = repeat(1, Some(1), json!({ "meta": { "time": "noon" } })).expect_err("no time");
        assert!(error.contains("cannot move the time `\"noon\"`"), "{error}");
        assert_eq!(repeat(2, None, json!({ "user": "bob" })).expect("no step").len(), 2);
    }

    #[test]
    fn a_placeholder_that_is_none_is_refused() {
        assert!(repeat(1, None, json!({ "a": "${j}" })).expect_err("no j").contains("`${j}` is not a placeholder"));
        assert!(repeat(1, None, json!({ "a": "${i" })).expect_err("open").contains("does not close it"));
        assert!(repeat(1, None, json!({ "a": "${i % 0}" })).is_err());
    }

    #[test]
    fn times_are_moved_in_the_way_they_are_written() {
        let by = 1_500_000;
        let cases = [
            (json!("2026-01-01T00:00:59Z"), json!("2026-01-01T00:01:00.5Z")),
            (json!("2026-01-01 00:00:59.250"), json!("2026-01-01 00:01:00.750")),
            (json!("2026-12-31T23:59:59.000+02:00"), json!("2027-01-01T00:00:00.500+02:00")),
            (json!(1_767_225_600_000_i64), json!(1_767_225_601_500_i64)),
            (json!(1_767_225_600_000_000_i64), json!(1_767_225_601_500_000_i64)),
            (json!(1_767_225_600), json!(1_767_225_601.5)),
            (json!(1_767_225_600.25), json!(1_767_225_601.75)),
            (json!("1767225600000"), json!("1767225601500")),
        ];
        for (time, expected) in cases {
            assert_eq!(moved(&time, by), Some(expected), "{time}");
        }
    }
}
