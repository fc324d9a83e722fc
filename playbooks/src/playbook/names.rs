//! Names that the steps of a playbook add to the facts: results of look-ups, and what became of earlier steps.

use crate::fields::{self, Kind, Names};
use crate::openc2::action_meant;
use crate::yaml::{Key, Node, Tree};

use super::step::{ACTION_KEYS, STEP_KEYS};

/// All names that the steps of a playbook can use. A step may name a later one only by mistake; at run time the field
/// is then absent, so the order is checked by the reader.
pub(super) fn of_steps(lists: &[&Node]) -> Names {
    let mut names = fields::facts();
    let mut steps = Names::branch([]);
    for list in lists {
        collect(list, "", &mut names, &mut steps);
    }
    names.add("steps", steps);
    names
}

fn collect(list: &Node, prefix: &str, names: &mut Names, steps: &mut Names) {
    let Tree::List(items) = &list.tree else { return };
    for (at, item) in items.iter().enumerate() {
        let Tree::Map(fields) = &item.tree else { continue };
        let find = |name: &str| fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        let verb = verb_meant(fields);
        if let Some((_, value)) = verb.filter(|(verb, _)| *verb == "enrich")
            && let Some(name) = value.text()
        {
            names.add(&name, Names::Open);
        }
        let kind = verb.map(|(verb, _)| verb);
        let id = find("id").and_then(Node::text).unwrap_or_else(|| default_id(prefix, at, kind.unwrap_or("step")));
        steps.add(&id, result());
        if let Some(on_fail) = find("on_fail") {
            collect(on_fail, &on_fail_prefix(&id), names, steps);
        }
    }
}

/// The verb of a step or, where it has none, the one that its first unknown key was probably meant to be, with its value.
/// A misspelt verb is told where it stands, and not again wherever the step is named.
pub(super) fn verb_meant(fields: &[(Key, Node)]) -> Option<(&'static str, &Node)> {
    let known = |key: &str| ACTION_KEYS.iter().copied().find(|verb| *verb == key);
    let verb = fields.iter().find_map(|(key, node)| Some((known(&key.name)?, node)));
    verb.or_else(|| {
        let (key, node) = fields.iter().find(|(key, _)| !STEP_KEYS.contains(&key.name.as_str()))?;
        Some((action_meant(&key.name, ACTION_KEYS.iter().copied())?, node))
    })
}

/// The name of a step that its author gave none: its number in its list and its verb.
pub(super) fn default_id(prefix: &str, at: usize, verb: &str) -> String {
    format!("{prefix}{}_{verb}", at + 1)
}

/// What the names in an `on_fail` list begin with.
pub(super) fn on_fail_prefix(id: &str) -> String {
    format!("{id}_fail_")
}

fn result() -> Names {
    Names::branch([
        ("status", Names::Leaf(Kind::Text)),
        ("approved", Names::Leaf(Kind::Bool)),
        ("by", Names::Leaf(Kind::Text)),
        ("external_id", Names::Leaf(Kind::Text)),
        ("error", Names::Leaf(Kind::Text)),
        ("result", Names::Open),
    ])
}
