//! What a detection's header and the columns of its `SELECT` say about each other.

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use weir_engine::error::{codes as engine_codes, nearest};
use weir_engine::sql::{parameters, written, written_names};
use weir_engine::{Diagnostic, ScalarValue, Span};

use crate::detection::{Confidence, MAX_RISK_SCORE, Severity, reserved};
use crate::{Detection, EntityKind, codes};

/// Parameters that the SQL does not name. Whoever sets one would believe that it changes something.
pub(super) fn unused_params(detection: &Detection) -> Vec<Diagnostic> {
    if detection.params.is_empty() {
        return Vec::new();
    }
    let named = parameters(&detection.sql);
    let unused = detection.params.keys().filter(|name| !named.contains(*name));
    let diagnostics = unused.map(|name| {
        let hint = nearest(name, named.iter().map(String::as_str))
            .unwrap_or_else(|| format!("write `${name}` where its value is meant, or take it out"));
        Diagnostic::warning(codes::UNUSED_PARAMETER, format!("the SQL does not name the parameter `{name}`"))
            .at(detection.place(&format!("params.{name}")))
            .hint(hint)
            .in_file(detection.file.clone())
    });
    diagnostics.collect()
}

/// Entities that are taken from columns which the `SELECT` does not have.
///
/// Without a schema, because the SQL has mistakes of its own, the names of its columns are those that are written; one that
/// is `told` to mean nothing may be the one that is meant.
pub(super) fn entities_without_a_column(
    detection: &Detection,
    schema: Option<&SchemaRef>,
    told: &[Diagnostic],
) -> Vec<Diagnostic> {
    let columns = match schema {
        Some(schema) => schema.fields().iter().map(|field| (field.name().clone(), None)).collect(),
        None => written_names(&detection.sql, detection.sql_start, &detection.query(&[]).params).unwrap_or_default(),
    };
    let is_told = |place: &Option<Span>| place.is_some() && told.iter().any(|one| one.span == *place);
    if columns.is_empty() || columns.iter().any(|(_, place)| is_told(place)) {
        return Vec::new();
    }
    let names = || columns.iter().map(|(name, _)| name.as_str());
    let missing =
        detection.entities.iter().filter(|(_, column)| !names().any(|name| name.eq_ignore_ascii_case(column)));
    let diagnostics = missing.map(|(kind, column)| {
        let hint = nearest(column, names())
            .unwrap_or_else(|| format!("its columns are {}", names().collect::<Vec<_>>().join(", ")));
        Diagnostic::error(engine_codes::NOT_AN_OUTPUT, no_column(*kind, column))
            .at(detection.place(&format!("entities.{kind}")))
            .hint(hint)
            .in_file(detection.file.clone())
    });
    diagnostics.collect()
}

/// The sentence for an entity that no column gives.
pub(super) fn no_column(kind: EntityKind, column: &str) -> String {
    format!("the entity `{kind}` is taken from `{column}`, which is not a column of the SELECT")
}

/// A reserved output column: what it can hold.
struct Reserved {
    name: &'static str,
    is: &'static str,
    fits: fn(&DataType) -> bool,
    allows: fn(&ScalarValue) -> bool,
    words: fn() -> Vec<&'static str>,
}

const RESERVED: [Reserved; 3] = [
    Reserved {
        name: reserved::SEVERITY,
        is: "a word, one of informational, low, medium, high, critical, fatal",
        fits: |data_type| data_type.is_string(),
        allows: |value| text(value).is_some_and(|word| Severity::parse(word).is_some()),
        words: || Severity::ALL.map(Severity::as_str).to_vec(),
    },
    Reserved {
        name: reserved::CONFIDENCE,
        is: "a number from 0 to 100, or low, medium or high",
        fits: |data_type| data_type.is_string() || data_type.is_numeric(),
        allows: |value| match text(value) {
            Some(word) => Confidence::said(word).is_some(),
            None => number(value).is_some_and(|score| Confidence::of_score(score).is_some()),
        },
        words: || Confidence::WORDS.map(|(word, _)| word).to_vec(),
    },
    Reserved {
        name: reserved::RISK_SCORE,
        is: "a number from 0 to 10000",
        fits: DataType::is_numeric,
        allows: |value| number(value).is_some_and(|score| (0.0..=f64::from(MAX_RISK_SCORE)).contains(&score)),
        words: Vec::new,
    },
];

/// Reserved columns of a type, or with a constant, that cannot be what they stand for: the alert would show the
/// header's value, and nobody would know why.
///
/// Without a schema, because the SQL has mistakes of its own, only the constants are looked at.
pub(super) fn bad_values(detection: &Detection, schema: Option<&SchemaRef>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let sql = detection.sql.to_lowercase();
    for column in RESERVED.iter().filter(|column| sql.contains(column.name)) {
        let written = written(&detection.sql, detection.sql_start, &detection.query(&[]).params, column.name);
        let tell = |message: String, span: Option<Span>, hint: String| {
            let span = span.or(Some(Span::at(detection.sql_start)));
            Diagnostic::error(codes::BAD_OUTPUT, message).at(span).hint(hint).in_file(detection.file.clone())
        };
        let bad = written.constants.iter().filter(|(value, _)| !(column.allows)(value));
        let told = diagnostics.len();
        diagnostics.extend(bad.map(|(value, span)| {
            let hint = text(value).and_then(|word| nearest(word, (column.words)()));
            tell(format!("`{value}` is not a {}", column.name), *span, hint.unwrap_or_else(|| is(column)))
        }));
        let is_meant = |field: &&FieldRef| field.name().eq_ignore_ascii_case(column.name);
        let Some(field) = schema.and_then(|schema| schema.fields().iter().find(is_meant)) else { continue };
        let fits = *field.data_type() == DataType::Null || (column.fits)(field.data_type());
        if !fits && told == diagnostics.len() {
            let message = format!("the column `{}` cannot be a {}", field.name(), column.name);
            diagnostics.push(tell(message, written.span, is(column)));
        }
    }
    diagnostics
}

fn is(column: &Reserved) -> String {
    format!("`{}` is {}", column.name, column.is)
}

fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

const fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float64(number) => *number,
        _ => None,
    }
}
