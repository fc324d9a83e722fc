//! `CREATE STREAM name (columns) WITH (options)`.

use std::str::FromStr;

use arrow::datatypes::{DataType, Field, Fields};

use super::columns::{self, Columns, Refused, find, nearest_column};
use super::expect_end;
use super::options::{OptionValue, Options};
use crate::catalog::{Format, Stream, TIME_TYPE};
use crate::error::{Diagnostic, Span, codes, nearest};
use crate::sql::tokens::Cursor;
use crate::sql::types::type_name;

/// How far ahead of its arrival an event may be where nothing is said.
const FUTURE_GUARD_US: i64 = 3_600_000_000;

/// How late an event may be where nothing is said.
const LATENESS_US: i64 = 30_000_000;

/// Reads what follows the name. `None`: it was read to its end, and everything wrong with it was told.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    name: String,
    name_span: Option<Span>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Stream>, Diagnostic> {
    let before = diagnostics.len();
    let Columns { fields, watermark, refused } = columns::parse(cursor, diagnostics)?;
    let columns_are_whole = diagnostics.len() == before;
    let mut options = Options::parse(cursor)?;
    expect_end(cursor)?;

    let event_time = options.take("event_time");
    let lateness_us = options.take_duration_us("lateness");
    let (event_time, lateness_us) = match watermark {
        Some(watermark) => {
            if let Some(OptionValue { span, .. }) = event_time {
                options.error(span, "WATERMARK already names the event time", Some("remove one of the two".to_owned()));
            } else if lateness_us.is_some() {
                options.error(
                    watermark.span,
                    "both WATERMARK and `lateness` are given",
                    Some("remove `lateness`".to_owned()),
                );
            }
            (Some(OptionValue { text: watermark.column, span: watermark.span }), Some(watermark.lateness_us))
        }
        None => (event_time, lateness_us),
    };
    let event_time = match event_time {
        // A time column that was refused above must not be reported as missing.
        Some(value) => time_column(&fields, value, &refused, &mut options),
        None => {
            if columns_are_whole {
                diagnostics.push(no_time(&name, &fields, name_span));
            }
            None
        }
    };
    let topics = topics(&mut options);
    options.take_word("format", &["json"]);
    let time_zone = time_zone(&mut options);
    let future_guard_us = options.take_duration_us("future_guard").unwrap_or(FUTURE_GUARD_US);
    let open = options.take_word("columns", &["declared", "open"]) == "open";
    let event_id = column("event_id", &fields, &refused, &mut options);
    let tenant = column("tenant", &fields, &refused, &mut options);
    diagnostics.extend(options.finish());

    if diagnostics.len() > before {
        return Ok(None);
    }
    Ok(event_time.map(|event_time| Stream {
        name,
        columns: Fields::from(fields),
        open,
        topics,
        format: Format::Json,
        event_time,
        time_zone,
        lateness_us: lateness_us.unwrap_or(LATENESS_US),
        future_guard_us,
        event_id,
        tenant,
    }))
}

fn no_time(name: &str, fields: &[Field], span: Option<Span>) -> Diagnostic {
    let candidate = fields.iter().find(|field| *field.data_type() == TIME_TYPE).map(|field| field.name().as_str());
    Diagnostic::error(codes::NO_TIME, format!("the stream `{name}` does not say which column is the event time"))
        .at(span)
        .hint(format!("add WITH (event_time = '{}')", candidate.unwrap_or("time")))
}

/// The exact path of the event time's column.
fn time_column(fields: &[Field], value: OptionValue, refused: &Refused, options: &mut Options) -> Option<String> {
    match find(fields, &value.text) {
        Some((path, data_type)) if data_type == TIME_TYPE => Some(path),
        Some((path, data_type)) => {
            let message = format!("the event time `{path}` is {}, not TIMESTAMP", type_name(&data_type));
            let hint = "declare it as TIMESTAMP; texts and epoch numbers are read as times";
            options.diagnostics.push(Diagnostic::error(codes::WRONG_TYPE, message).at(value.span).hint(hint));
            None
        }
        None => {
            if !refused.may_hold(&value.text) {
                unknown("event_time", fields, &value, options);
            }
            None
        }
    }
}

/// The exact path of a column that an option names.
fn column(name: &'static str, fields: &[Field], refused: &Refused, options: &mut Options) -> Option<String> {
    let value = options.take(name)?;
    match find(fields, &value.text) {
        Some((path, DataType::Struct(_) | DataType::List(_))) => {
            options.error(value.span, format!("`{name}` needs one value, and `{path}` is nested"), None);
            None
        }
        Some((path, _)) => Some(path),
        None => {
            if !refused.may_hold(&value.text) {
                unknown(name, fields, &value, options);
            }
            None
        }
    }
}

fn unknown(option: &str, fields: &[Field], value: &OptionValue, options: &mut Options) {
    let hint = nearest_column(fields, &value.text).unwrap_or_else(|| "declare the column first".to_owned());
    options.diagnostics.push(
        Diagnostic::error(codes::UNKNOWN_COLUMN, format!("`{option}` names `{}`, which is not a column", value.text))
            .at(value.span)
            .hint(hint),
    );
}

/// `'a,b'` is two topics; `'^a.*'` is one pattern.
fn topics(options: &mut Options) -> Vec<String> {
    let Some(OptionValue { text, span }) = options.take("topic") else {
        return Vec::new();
    };
    if text.starts_with('^') {
        if let Err(error) = regex::Regex::new(&text) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            options.error(span, format!("the topic pattern `{text}` is not a regular expression: {reason}"), None);
        }
        return vec![text];
    }
    let topics: Vec<String> = text.split(',').map(|topic| topic.trim().to_owned()).collect();
    for topic in &topics {
        let legal = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) {
            let hint = "a topic's name has letters, digits, `.`, `_` and `-`; a pattern starts with `^`";
            options.error(span, format!("`{topic}` is not the name of a topic"), Some(hint.to_owned()));
        }
    }
    topics
}

fn time_zone(options: &mut Options) -> chrono_tz::Tz {
    let Some(OptionValue { text, span }) = options.take("time_zone") else {
        return chrono_tz::UTC;
    };
    match chrono_tz::Tz::from_str(&text) {
        Ok(zone) => zone,
        Err(_unknown) => {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let same = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(&text));
            let hint = same.map(|zone| format!("did you mean `{}`?", zone.name())).or_else(|| nearest(&text, names));
            let hint = hint.unwrap_or_else(|| "write a name such as 'UTC' or 'Europe/Berlin'".to_owned());
            options.error(span, format!("there is no time zone `{text}`"), Some(hint));
            chrono_tz::UTC
        }
    }
}
