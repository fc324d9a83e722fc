//! The derived stream `alerts`: which columns `FROM alerts` sees, and what each detection puts into them.

use arrow::datatypes::DataType;
use weir_engine::{Published, PublishedValue, ScalarValue};

use crate::detection::{Confidence, Detection, Severity, reserved};
use crate::entity::EntityKind;

/// The name behind `FROM`.
pub const ALERTS: &str = "alerts";

/// The schema of `FROM alerts`.
///
/// Shape: `time` and `uid`, then `detection`, `title`, `message`, `severity` (a lower-case word), `severity_id`
/// (1 to 6), `confidence` (0 to 100), `risk_score`, `attack` (ids joined by commas), and one text column per
/// [`EntityKind`].
#[must_use]
pub fn published() -> Published {
    let text = |name: &str| (name.to_owned(), DataType::Utf8View);
    let int = |name: &str| (name.to_owned(), DataType::Int64);
    let mut columns = vec![
        text("detection"),
        text("title"),
        text("message"),
        text("severity"),
        int("severity_id"),
        int("confidence"),
        int("risk_score"),
        text("attack"),
    ];
    columns.extend(EntityKind::ALL.iter().map(|kind| text(kind.as_str())));
    Published { name: ALERTS.to_owned(), columns }
}

/// What `detection` puts into the columns of [`published`], in their order.
pub(crate) fn values(detection: &Detection) -> Vec<PublishedValue> {
    let text = |value: &str| ScalarValue::Utf8View(Some(value.to_owned()));
    let column = |name: &str, default| PublishedValue::Column { name: name.to_owned(), default };
    let mapped = |name: &str, values, default| PublishedValue::Mapped { name: name.to_owned(), values, default };
    let words = |value: &dyn Fn(Severity) -> ScalarValue| {
        let mut words: Vec<_> = Severity::ALL.iter().map(|word| (word.as_str().to_owned(), value(*word))).collect();
        words.push(("info".to_owned(), value(Severity::Informational)));
        words
    };
    let word = |severity: Severity| text(severity.as_str());
    let id = |severity: Severity| ScalarValue::Int64(Some(severity.id()));
    let confidence = ScalarValue::Int64(detection.confidence.map(|Confidence(score)| score.into()));

    let mut values = vec![
        PublishedValue::Constant(text(&detection.id)),
        column(reserved::TITLE, text(&detection.title)),
        column(reserved::MESSAGE, text(&detection.title)),
        mapped(reserved::SEVERITY, words(&word), word(detection.severity)),
        mapped(reserved::SEVERITY, words(&id), id(detection.severity)),
        column(reserved::CONFIDENCE, confidence),
        column(reserved::RISK_SCORE, ScalarValue::Int64(detection.risk_score.map(Into::into))),
        PublishedValue::Constant(text(&detection.attack.join(","))),
    ];
    values.extend(EntityKind::ALL.iter().map(|kind| {
        let nothing = ScalarValue::Utf8View(None);
        match detection.entities.get(kind) {
            Some(name) => column(name, nothing),
            None => PublishedValue::Constant(nothing),
        }
    }));
    values
}

#[cfg(test)]
mod tests {
    use super::{published, values};
    use crate::header;

    #[test]
    fn every_published_column_gets_a_value() {
        let text =
            "--! id = \"a.b\"\n--! title = \"T\"\n--! severity = \"low\"\n--! entities = { user = \"who\" }\nSELECT 1";
        let detection = header::parse("a.sql", text).expect("a good header");
        assert_eq!(values(&detection).len(), published().columns.len());
    }

    #[test]
    fn every_published_column_has_a_name_of_its_own() {
        let mut names: Vec<_> = published().columns.into_iter().map(|(name, _)| name).collect();
        names.extend(["time".to_owned(), "uid".to_owned()]);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
