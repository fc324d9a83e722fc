//! Names that the steps of a playbook add to the facts: results of look-ups, and what became of earlier steps.

use crate::fields::{self, Kind, Names};
use crate::yaml::{Node, Tree};

use super::step::ACTION_KEYS;

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
        if let Some(name) = find("enrich").and_then(Node::text) {
            names.add(&name, Names::Open);
        }
        let kind = fields.iter().map(|(key, _)| key.name.as_str()).find(|key| ACTION_KEYS.contains(key));
        let id = find("id").and_then(Node::text).unwrap_or_else(|| default_id(prefix, at, kind.unwrap_or("step")));
        steps.add(&id, result());
        if let Some(on_fail) = find("on_fail") {
            collect(on_fail, &on_fail_prefix(&id), names, steps);
        }
    }
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
