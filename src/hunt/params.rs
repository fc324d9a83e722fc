//! Values of `--param name=value`: numbers and truth values are known by their looks, quotes make text of them. A time is
//! text, which becomes a time where it is compared with one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use datafusion::common::ScalarValue;

/// The parameters by name.
///
/// # Errors
/// One is not `name=value`, or there twice.
pub(super) fn parse(texts: &[String]) -> Result<BTreeMap<String, ScalarValue>> {
    let mut params = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            bail!("--param {text} is not name=value, for example --param user=alice");
        };
        let name = name.trim().trim_start_matches('$');
        if name.is_empty() || !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            bail!("--param {text}: {name:?} is not a name");
        }
        if params.insert(name.to_owned(), typed(value)).is_some() {
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
    let names = named(text);
    let Some(unused) = params.keys().find(|name| !names.contains(name.as_str())) else { return Ok(()) };
    if names.is_empty() {
        bail!("--param {unused}: the SQL has no `$name` parameter");
    }
    let known = names.iter().map(|name| format!("`${name}`")).collect::<Vec<_>>().join(", ");
    bail!("--param {unused}: the SQL has no `${unused}`; it has {known}");
}

/// What stands behind `$` in the text. A name inside a comment or a text is taken for one too.
fn named(text: &str) -> BTreeSet<&str> {
    let name = |rest: &'_ str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    text.split('$').skip(1).map(|rest| &rest[..name(rest)]).filter(|name| !name.is_empty()).collect()
}

fn typed(value: &str) -> ScalarValue {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return text_value(text);
    }
    if let Ok(number) = value.parse::<i64>() {
        return ScalarValue::Int64(Some(number));
    }
    if let Ok(number) = value.parse::<f64>()
        && number.is_finite()
    {
        return ScalarValue::Float64(Some(number));
    }
    if let Ok(truth) = value.parse::<bool>() {
        return ScalarValue::Boolean(Some(truth));
    }
    text_value(value)
}

fn text_value(text: &str) -> ScalarValue {
    ScalarValue::Utf8View(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_the_text_does_not_name_is_refused_with_those_it_names() {
        let params = parse(&["whom=al".to_owned()]).expect("a parameter");
        let error = refuse_unused(&params, "SELECT 1 FROM door WHERE who = $who").expect_err("misspelt");
        assert_eq!(error.to_string(), "--param whom: the SQL has no `$whom`; it has `$who`");
        let error = refuse_unused(&params, "SELECT 1").expect_err("no parameter at all");
        assert_eq!(error.to_string(), "--param whom: the SQL has no `$name` parameter");
        refuse_unused(&params, "SELECT $whom").expect("it is named");
    }

    #[test]
    fn values_are_known_by_their_looks_and_quotes_make_text() {
        let texts = ["n=5", "r=0.5", "t=true", "u=alice", "q='5'", "at=1970-01-01T00:00:01Z", "e=", "eq=a=b"];
        let params = parse(&texts.map(str::to_owned)).expect("good parameters");
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
    fn what_is_no_parameter_is_refused() {
        for texts in [vec!["user"], vec!["=5"], vec!["a b=5"], vec!["a=1", "a=2"]] {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            assert!(parse(&texts).is_err(), "{texts:?}");
        }
    }
}
