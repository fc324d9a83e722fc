//! From the text of a playbook to its types: the header, and the lists of steps flattened into one.

use std::collections::BTreeSet;

use crate::expr::Condition;
use crate::fields::{self, Names};
use crate::problem::{Problem, codes, nearest};
use crate::template::{Check, Maps};
use crate::yaml::{self, Fields, Node, Tree};

use super::draft::{Draft, Stray};
use super::step::{self, RawStep};
use super::{OnFail, Plan, Playbook, STEPS_MAX, Step, names};

/// Keys of the header.
pub(crate) const PLAYBOOK_KEYS: &[&str] = &["id", "name", "description", "when", "on_fail", "steps", "on_close"];

pub(super) fn draft(text: &str) -> Draft {
    let mut draft = Draft { playbook: None, strays: Vec::new(), problems: Vec::new() };
    match yaml::parse(text, codes::P, &mut draft.problems) {
        Ok(root) => draft.playbook = header(text, &root, &mut draft.strays, &mut draft.problems),
        Err(problem) => draft.problems.push(problem),
    }
    draft
}

fn header(text: &str, root: &Node, strays: &mut Vec<Stray>, problems: &mut Vec<Problem>) -> Option<Playbook> {
    let mut fields = Fields::open(root, "a playbook", PLAYBOOK_KEYS, codes::P, problems)?;
    let id = fields.name_required("id", problems);
    let name = fields.text("name", problems);
    let description = fields.text("description", problems).unwrap_or_default();
    let facts = fields::of_alert();
    let when = fields.take("when").and_then(|node| condition(node, text, &facts, problems));
    let default_on_fail = fields.word("on_fail", &[("stop", OnFail::Stop), ("continue", OnFail::Continue)], problems);
    let (steps, on_close) = (fields.take("steps"), fields.take("on_close"));
    if steps.is_none() {
        fields.missing("steps", problems);
    }
    let lists: Vec<&Node> = steps.into_iter().chain(on_close).collect();
    let names = names::of_steps(&lists);
    let default_on_fail = default_on_fail.unwrap_or(OnFail::Stop);
    let mut plans = Plans { text, names: &names, default_on_fail, ids: BTreeSet::new(), strays };
    let steps = steps.map(|list| plans.plan(list, problems)).unwrap_or_default();
    plans.ids.clear();
    let on_close = on_close.map(|list| plans.plan(list, problems)).unwrap_or_default();
    fields.close(problems);
    // Without its name it is no playbook, which is told; what its steps say is checked all the same.
    let id = id.unwrap_or_default();
    Some(Playbook { name: name.unwrap_or_else(|| id.clone()), id, description, when, steps, on_close })
}

/// Letters, digits and `_`, beginning with a letter: safe in keys, paths and file names.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(super) fn condition(node: &Node, source: &str, names: &Names, problems: &mut Vec<Problem>) -> Option<Condition> {
    match &node.tree {
        Tree::Text(text) => Condition::read(text, node.span, source, names, problems),
        Tree::Bool(truth) => Condition::read(&truth.to_string(), node.span, source, names, problems),
        _ => {
            problems.push(
                Problem::new(codes::PLAYBOOK_VALUE, node.span, "a condition is text")
                    .hint("write `alert.severity >= 'high'`"),
            );
            None
        }
    }
}

struct Plans<'a> {
    text: &'a str,
    names: &'a Names,
    default_on_fail: OnFail,
    ids: BTreeSet<String>,
    strays: &'a mut Vec<Stray>,
}

impl Plans<'_> {
    fn plan(&mut self, list: &Node, problems: &mut Vec<Problem>) -> Plan {
        let mut steps = Vec::new();
        self.list(list, "", None, &mut steps, problems);
        if steps.len() > STEPS_MAX {
            let message = format!("{} steps are more than the {STEPS_MAX} a playbook may have", steps.len());
            problems.push(Problem::new(codes::PLAYBOOK_VALUE, list.span, message).hint("split it into two playbooks"));
        }
        Plan { steps }
    }

    /// Appends the steps of a list, each followed by the next and the last by `after`, and behind them the steps of
    /// their `on_fail` lists.
    fn list(
        &mut self,
        list: &Node,
        prefix: &str,
        after: Option<usize>,
        steps: &mut Vec<Step>,
        problems: &mut Vec<Problem>,
    ) -> Option<usize> {
        let Tree::List(items) = &list.tree else {
            problems.push(
                Problem::new(codes::PLAYBOOK_VALUE, list.span, "steps are a list").hint("begin each step with `- `"),
            );
            return None;
        };
        let first = steps.len();
        let maps = Maps::new();
        let (mut branches, mut lost) = (Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let check = Check { source: self.text, names: self.names, maps: &maps, family: codes::P };
            let Some(RawStep { id, step, on_fail }) =
                step::read(item, (prefix, at), &check, self.default_on_fail, problems)
            else {
                continue;
            };
            if !self.ids.insert(id.text.clone()) {
                let message = format!("two steps are called `{}`", id.text);
                problems
                    .push(Problem::new(codes::DUPLICATE_ID, id.span, message).hint("give one of them another `id`"));
            }
            match step {
                Ok(mut step) => {
                    step.next = Some(steps.len() + 1);
                    branches.extend(on_fail.map(|branch| (steps.len(), branch)));
                    steps.push(step);
                }
                Err(stray) => {
                    self.strays.push(stray);
                    lost.extend(on_fail.map(|branch| (id.text, branch)));
                }
            }
        }
        if items.is_empty() {
            let message = "a list of steps has at least one step";
            problems.push(Problem::new(codes::PLAYBOOK_VALUE, list.span, message));
        }
        let last = steps.len();
        if last > first {
            steps[last - 1].next = after;
        }
        for (at, branch) in branches {
            let (after, prefix) = (steps[at].next, names::on_fail_prefix(&steps[at].id));
            if steps.len() <= STEPS_MAX
                && let Some(start) = self.list(branch, &prefix, after, steps, problems)
            {
                steps[at].on_fail = OnFail::Steps(start);
            }
        }
        // What a step that could not be read does when it fails is read for its mistakes, and leads nowhere.
        for (id, branch) in lost {
            self.list(branch, &names::on_fail_prefix(&id), None, steps, problems);
        }
        (last > first).then_some(first)
    }
}

/// The nearest known word, for messages about verbs.
pub(super) fn suggest(word: &str, known: &[&str]) -> Option<String> {
    nearest(word, known.iter().copied())
}
