//! What a hit is about: its entities, and where OCSF looks for them.

use arrow::array::RecordBatch;
use serde_json::{Map, Value, json};

use super::{column, text_of};
use crate::detection::Detection;
use crate::entity::EntityKind;

/// One thing a hit is about. Its value is text, a number, or a list of those.
pub(super) struct Entity {
    pub(super) kind: EntityKind,
    pub(super) value: Value,
}

impl Entity {
    /// Its values, one by one, without nulls and empty texts.
    fn values(&self) -> Vec<&Value> {
        let all = match &self.value {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        all.into_iter().filter(|value| !value.is_null() && value.as_str() != Some("")).collect()
    }

    /// Its values in words.
    pub(super) fn text(&self) -> String {
        self.values().into_iter().map(text_of).collect::<Vec<_>>().join(" and ")
    }
}

/// The entities of the header that this row has a value for, in the order of their kinds.
pub(super) fn entities(detection: &Detection, row: &RecordBatch) -> Vec<Entity> {
    let entities = detection.entities.iter().filter_map(|(kind, name)| {
        let value = column(row, name)?;
        let entity = Entity { kind: *kind, value };
        (!entity.values().is_empty()).then_some(entity)
    });
    entities.collect()
}

/// OCSF `evidences[0]`: the entities where the standard keeps them, and the whole row as `data`.
pub(super) fn artifacts(entities: &[Entity], row: &Map<String, Value>) -> Value {
    let mut artifacts = Value::Object(Map::new());
    for entity in entities {
        for value in entity.values() {
            put(&mut artifacts, entity.kind.ocsf().path, value);
        }
    }
    complete(&mut artifacts);
    artifacts["data"] = Value::Object(row.clone());
    artifacts
}

/// OCSF `observables`: every value of every entity, once.
pub(super) fn observables(entities: &[Entity]) -> Value {
    let mut observables: Vec<Value> = Vec::new();
    for entity in entities {
        let ocsf = entity.kind.ocsf();
        let name = format!("evidences[0].{}", ocsf.path.replace("[]", "[0]"));
        for value in entity.values() {
            let observable =
                json!({ "name": name, "type_id": ocsf.type_id, "type": ocsf.type_name, "value": text_of(value) });
            if !observables.contains(&observable) {
                observables.push(observable);
            }
        }
    }
    Value::Array(observables)
}

/// Sets the value at a path; `[]` after a name makes it a list, to which further values of the same path are added.
/// A second value of a path without a list has its place in `observables` and in the row.
fn put(into: &mut Value, path: &str, value: &Value) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let leaf = match rest {
        None => value.clone(),
        Some(_) => Value::Object(Map::new()),
    };
    if let Some(name) = name.strip_suffix("[]") {
        if into[name].is_null() {
            into[name] = json!([]);
        }
        let Some(items) = into[name].as_array_mut() else { return };
        items.push(leaf);
        if let (Some(rest), Some(last)) = (rest, items.last_mut()) {
            put(last, rest, value);
        }
        return;
    }
    if into[name].is_null() {
        into[name] = leaf;
    }
    if let Some(rest) = rest {
        put(&mut into[name], rest, value);
    }
}

/// What OCSF requires beside the values that we have.
fn complete(artifacts: &mut Value) {
    if let Some(file) = artifacts.get_mut("file") {
        if let Some(hashes) = file.get_mut("hashes").and_then(Value::as_array_mut) {
            for hash in hashes {
                let (id, name) = algorithm(hash["value"].as_str().unwrap_or_default());
                hash["algorithm_id"] = id.into();
                hash["algorithm"] = name.into();
            }
        }
        if let Some(path) = file["path"].as_str() {
            file["name"] = path.rsplit(['/', '\\']).next().unwrap_or(path).into();
        }
        file["type_id"] = 1.into();
    }
    if artifacts.get("device").is_some() {
        artifacts["device"]["type_id"] = 0.into();
    }
}

/// OCSF `fingerprint.algorithm_id`, by the length of the hash in hexadecimal digits.
const fn algorithm(hash: &str) -> (u8, &'static str) {
    match hash.len() {
        32 => (1, "MD5"),
        40 => (2, "SHA-1"),
        64 => (3, "SHA-256"),
        128 => (4, "SHA-512"),
        _ => (0, "Unknown"),
    }
}
