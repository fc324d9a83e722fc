//! JSON Schemas of the formats of this room, for editors. They describe what is written; the readers in [`header`],
//! [`exceptions`] and [`rule_test`] decide, and tests hold the two together.
//!
//! [`header`]: crate::header
//! [`exceptions`]: crate::exceptions
//! [`rule_test`]: crate::rule_test

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::Value;

use crate::detection::{Delivery, Param, Severity, Status};
use crate::entity::EntityKind;

/// The formats with a schema: the TOML of a detection's header, a file of exceptions, a rule test.
pub const NAMES: [&str; 3] = ["detection", "exceptions", "rule-test"];

/// The JSON Schema of the format of that name.
#[must_use]
pub fn schema(name: &str) -> Option<Schema> {
    match name {
        "detection" => Some(schema_for!(Header)),
        "exceptions" => Some(schema_for!(Vec<Exception>)),
        "rule-test" => Some(schema_for!(RuleTest)),
        _ => None,
    }
}

/// The header of a detection file.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Header {
    /// Its name for machines: lower-case words joined by dots, or a UUID. It is part of every alert id.
    id: String,
    /// Its name for people.
    title: String,
    /// How bad a hit is.
    severity: Severity,
    /// How far the detection is trusted.
    status: Option<Status>,
    /// The team that answers for it.
    owner: Option<String>,
    /// What it looks for and why that matters.
    description: Option<String>,
    /// Who wrote it.
    author: Option<OneOrMany>,
    /// The day it was written, as YYYY-MM-DD.
    date: Option<String>,
    /// The day it was last changed, as YYYY-MM-DD.
    modified: Option<String>,
    /// Its version.
    version: Option<Param>,
    /// How sure a hit is: 0 to 100, or low, medium, high.
    confidence: Option<Confidence>,
    /// How much a hit adds to the risk of its entities.
    #[schemars(range(min = 0, max = 10_000))]
    risk_score: Option<u32>,
    /// ATT&CK ids: T1110, T1110.001, TA0006.
    attack: Option<OneOrMany>,
    /// Free words to select detections by.
    tags: Option<OneOrMany>,
    /// Where to read more.
    references: Option<OneOrMany>,
    /// What else can cause a hit.
    false_positives: Option<OneOrMany>,
    /// Ids of related detections.
    related: Option<OneOrMany>,
    /// The licence of the text.
    license: Option<String>,
    /// The output columns that say what a hit is about, by kind.
    entities: Option<BTreeMap<EntityKind, String>>,
    /// By how much events may be late and count in TUMBLE, HOP and CUMULATE all the same: `10 minutes`.
    allowed_lateness: Option<String>,
    /// How long repeats about the same entities are folded into the first hit: `1 hour`.
    cooldown: Option<String>,
    /// When its alerts leave: with their epoch, or a copy of them at once too.
    delivery: Option<Delivery>,
    /// The playbook that its alerts start.
    playbook: Option<String>,
    /// Values of `$name` in the SQL.
    params: Option<BTreeMap<String, Param>>,
    /// What an analyst does about it, in Markdown; a file beside the detection does as well.
    runbook: Option<String>,
}

/// One text, or a list of texts.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A number from 0 to 100, or a word.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Confidence {
    Score(#[schemars(range(min = 0, max = 100))] u8),
    Word(ConfidenceWord),
}

/// How sure a hit is, in words.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum ConfidenceWord {
    Low,
    Medium,
    High,
}

/// What a team has decided not to be told.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Exception {
    /// Its name; what it hides is counted under it.
    name: String,
    /// The detections it is about: ids, or patterns with `*`.
    detection: OneOrMany,
    /// An SQL condition over the output columns of those detections.
    r#where: String,
    /// Who answers for it.
    owner: String,
    /// Why it is right.
    reason: String,
    /// The last day on which it holds, as YYYY-MM-DD.
    expires: String,
}

/// What a detection must find and must leave alone.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RuleTest {
    /// The id of the detection it is about, where that is not the one beside it.
    detection: Option<String>,
    /// Ids or patterns of the other detections that run with it, for one that reads `alerts`.
    with: Option<OneOrMany>,
    /// The cases.
    #[schemars(length(min = 1))]
    cases: Vec<Case>,
}

/// One case.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Case {
    /// What it shows, in words.
    name: String,
    /// Events per stream, in the order in which they come.
    given: BTreeMap<String, Vec<Item>>,
    /// Rows that stand in for those of the table's file.
    tables: Option<BTreeMap<String, Vec<BTreeMap<String, Value>>>>,
    /// The alerts that must come, and no others; fields that are not named are not looked at.
    expect: Vec<BTreeMap<String, Value>>,
    /// How many events must be late.
    late: Option<u32>,
    /// How many events must be rejected.
    rejected: Option<u32>,
}

/// One event, a raw record as text, a repetition, or the lines of a file.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Item {
    Raw(String),
    Repeat(Repeat),
    File(File),
    Event(BTreeMap<String, Value>),
}

/// Many events from a pattern.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Repeat {
    /// How many.
    #[schemars(range(min = 1, max = 100_000))]
    repeat: u32,
    /// How much later each is than the one before: `10s`.
    every: Option<String>,
    /// The pattern; `${i}` in its texts counts from 1.
    event: BTreeMap<String, Value>,
}

/// The lines of a file.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct File {
    /// Its path from the folder of the test.
    file: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{NAMES, schema};
    use crate::{EntityKind, exceptions, header, rule_test};

    fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
        let properties = schema.pointer(pointer).and_then(Value::as_object).expect("an object with properties");
        properties.keys().cloned().collect()
    }

    fn known(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_schema_has_the_keys_that_the_reader_knows() {
        let get = |name| schema(name).expect("a schema").to_value();
        let header_keys: Vec<_> = header::KEYS.into_iter().chain(header::MORE_KEYS).collect();
        assert_eq!(keys(&get("detection"), "/properties"), known(&header_keys));
        assert_eq!(keys(&get("exceptions"), "/$defs/Exception/properties"), known(&exceptions::KEYS));
        assert_eq!(keys(&get("rule-test"), "/properties"), known(&rule_test::FILE_KEYS));
        assert_eq!(keys(&get("rule-test"), "/$defs/Case/properties"), known(&rule_test::CASE_KEYS));
        assert_eq!(keys(&get("rule-test"), "/$defs/Repeat/properties"), known(&rule_test::REPEAT_KEYS));
    }

    #[test]
    fn every_name_has_a_schema_that_refuses_other_keys() {
        for name in NAMES {
            let text = schema(name).expect("a schema").to_value().to_string();
            assert!(text.contains("\"additionalProperties\":false"), "{name}");
        }
        assert!(schema("weir.toml").is_none());
    }

    #[test]
    fn the_reference_names_every_key_kind_and_name() {
        let text = include_str!("../../docs/detections.md");
        let header_keys = header::KEYS.into_iter().chain(header::MORE_KEYS);
        let kinds = EntityKind::ALL.map(EntityKind::as_str);
        let columns = crate::published().columns;
        let columns = columns.iter().map(|(name, _)| name.as_str());
        let names = header_keys.chain(kinds).chain(columns).chain(rule_test::NAMES);
        for name in names {
            assert!(text.contains(&format!("`{name}`")), "docs/detections.md does not name `{name}`");
        }
        let written = exceptions::KEYS.into_iter().chain(rule_test::FILE_KEYS).chain(rule_test::CASE_KEYS);
        for key in written.chain(rule_test::REPEAT_KEYS) {
            assert!(text.contains(&format!("{key}:")), "docs/detections.md does not show `{key}:`");
        }
    }

    #[test]
    fn what_must_be_written_is_required() {
        let header = schema("detection").expect("a schema").to_value();
        assert_eq!(header["required"], serde_json::json!(["id", "title", "severity"]));
    }
}
