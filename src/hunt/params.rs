//! Values of `--param name=value`: numbers and truth values are known by their looks, quotes make text of them. A time is
//! text, which becomes a time where it is compared with one; `-24h` is the time so long before the hunt began, because a
//! hunt has no `now()`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use weir_engine::sql;

/// The parameters by name.
///
/// # Errors
/// One is not `name=value`, or there twice, or all but a time before the hunt.
pub(super) fn parse(texts: &[String], now: DateTime<Utc>) -> Result<BTreeMap<String, ScalarValue>> {
    let mut params = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            bail!("--param {text} is not name=value, for example --param user=alice");
        };
        let name = name.trim().trim_start_matches('$');
        if name.is_empty() || !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            bail!("--param {text}: {name:?} is not a name");
        }
        if params.insert(name.to_owned(), typed(value, now).with_context(|| format!("--param {text}"))?).is_some() {
            bail!("--param {name} is there twice");
        }
    }
    Ok(params)
}

/// A parameter that the text does not name was probably misspelt, and the hunt would give other rows than were asked
/// for.
///
/// # Errors
/// One is not named by the text.
pub(super) fn refuse_unused(params: &BTreeMap<String, ScalarValue>, text: &str) -> Result<()> {
    let names = sql::parameters(text);
    let Some(unused) = params.keys().find(|name| !names.contains(name.as_str())) else { return Ok(()) };
    if names.is_empty() {
        bail!("--param {unused}: the SQL has no `$name` parameter");
    }
    let known = names.iter().map(|name| format!("`${name}`")).collect::<Vec<_>>().join(", ");
    bail!("--param {unused}: the SQL has no `${unused}`; it has {known}");
}

fn typed(value: &str, now: DateTime<Utc>) -> Result<ScalarValue> {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Ok(text_value(text));
    }
    if let Ok(number) = value.parse::<i64>() {
        return Ok(ScalarValue::Int64(Some(number)));
    }
    if let Ok(number) = value.parse::<f64>()
        && number.is_finite()
    {
        return Ok(ScalarValue::Float64(Some(number)));
    }
    if let Ok(truth) = value.parse::<bool>() {
        return Ok(ScalarValue::Boolean(Some(truth)));
    }
    match relative(value, now) {
        Some(time) => Ok(text_value(&time.to_rfc3339_opts(SecondsFormat::Micros, true))),
        // As a text it would be compared with times, and nothing would be found.
        None if looks_relative(value) => {
            bail!(
                "{value} is neither a number nor a time before now such as -24h or '-7 days'; as text, write \"'{value}'\""
            )
        }
        None => Ok(text_value(value)),
    }
}

/// The time that stands so long before `now`: `-24h`, `-7 days`.
fn relative(value: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let us = sql::parse_duration_us(value.strip_prefix('-')?).ok()?;
    now.checked_sub_signed(TimeDelta::microseconds(us))
}

fn looks_relative(value: &str) -> bool {
    value.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn text_value(text: &str) -> ScalarValue {
    ScalarValue::Utf8View(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    fn parsed(texts: &[&str]) -> Result<BTreeMap<String, ScalarValue>> {
        parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), now())
    }

    #[test]
    fn a_parameter_that_the_text_does_not_name_is_refused_with_those_it_names() {
        let params = parsed(&["whom=al"]).expect("a parameter");
        let error = refuse_unused(&params, "SELECT 1 FROM door WHERE who = $who").expect_err("misspelt");
        assert_eq!(error.to_string(), "--param whom: the SQL has no `$whom`; it has `$who`");
        let error = refuse_unused(&params, "SELECT 1").expect_err("no parameter at all");
        assert_eq!(error.to_string(), "--param whom: the SQL has no `$name` parameter");
        refuse_unused(&params, "SELECT $whom").expect("it is named");
    }

    #[test]
    fn names_in_comments_and_in_quotes_are_no_parameters() {
        let params = parsed(&["whom=al"]).expect("a parameter");
        for text in [
            "SELECT 1 -- WHERE who = $whom",
            "SELECT /* $whom /* and $whom */ */ 1",
            "SELECT '$whom'",
            "SELECT '-- ' || 'it''s $whom'",
            "SELECT \"$whom\" FROM door",
            "SELECT $whome",
        ] {
            assert!(refuse_unused(&params, text).is_err(), "{text}");
        }
        for text in ["SELECT '-- ', $whom", "SELECT \"/*\", $whom", "SELECT 1 -- '\nWHERE who=$whom"] {
            refuse_unused(&params, text).expect(text);
        }
    }

    #[test]
    fn a_time_before_the_hunt_is_known_by_its_minus() {
        let params = parsed(&["a=-24h", "b=-1 day 30 minutes", "c='-24h'", "d=-24", "e=24h", "f=-soon", "g=-250ms"])
            .expect("good parameters");
        assert_eq!(params["a"], text_value("2026-02-28T12:00:00.000000Z"));
        assert_eq!(params["b"], text_value("2026-02-28T11:30:00.000000Z"));
        assert_eq!(params["c"], text_value("-24h"));
        assert_eq!(params["d"], ScalarValue::Int64(Some(-24)));
        assert_eq!(params["e"], text_value("24h"));
        assert_eq!(params["f"], text_value("-soon"));
        assert_eq!(params["g"], text_value("2026-03-01T11:59:59.750000Z"));
    }

    #[test]
    fn values_are_known_by_their_looks_and_quotes_make_text() {
        let params = parsed(&["n=5", "r=0.5", "t=true", "u=alice", "q='5'", "at=1970-01-01T00:00:01Z", "e=", "eq=a=b"])
            .expect("good parameters");
        assert_eq!(params["n"], ScalarValue::Int64(Some(5)));
        assert_eq!(params["r"], ScalarValue::Float64(Some(0.5)));
        assert_eq!(params["t"], ScalarValue::Boolean(Some(true)));
        assert_eq!(params["u"], text_value("alice"));
        assert_eq!(params["q"], text_value("5"));
        assert_eq!(params["at"], text_value("1970-01-01T00:00:01Z"));
        assert_eq!(params["e"], text_value(""));
        assert_eq!(params["eq"], text_value("a=b"));
    }

    #[test]
    fn what_is_all_but_a_time_before_the_hunt_is_refused_and_quotes_make_text_of_it() {
        let error = parsed(&["from=-24x"]).expect_err("no unit");
        assert!(
            format!("{error:#}").starts_with("--param from=-24x: -24x is neither a number nor a time"),
            "{error:#}"
        );
        assert_eq!(parsed(&["flag='-24x'", "other=-rf"]).expect("texts")["flag"], text_value("-24x"));
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for texts in [&["user"][..], &["=5"], &["a b=5"], &["a=1", "a=2"]] {
            assert!(parsed(texts).is_err(), "{texts:?}");
        }
    }
}
