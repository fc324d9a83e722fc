//! What a playbook says about the outside: do its responders and tables exist, and can they do what the steps ask?

use std::collections::BTreeMap;

use crate::problem::{Problem, Span, codes, nearest};
use crate::responder::{Responder, Unread};

use super::draft::Stray;
use super::{Operation, Playbook, Source, Step, What};

/// Responders by name.
pub type Responders = BTreeMap<String, Responder>;

/// What playbooks are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'a> {
    /// The responders that could be read.
    pub responders: &'a Responders,
    /// What is known of those that could not, by name.
    pub unread: &'a BTreeMap<String, Unread>,
    /// The names of look-up tables.
    pub tables: &'a [&'a str],
}

/// A step's responder, found by name or because it is the only one that can do it.
#[derive(Debug)]
pub struct Linked<'a>(pub Result<&'a Responder, Problem>);

impl Playbook {
    /// Checks the playbook against the responders and tables of a project.
    #[must_use]
    pub fn link(&self, outside: &Outside<'_>) -> Vec<Problem> {
        let steps = self.steps.steps.iter().chain(&self.on_close.steps);
        let mut problems: Vec<Problem> = steps.flat_map(|step| outside.step(step)).collect();
        problems.sort_by_key(|problem| problem.span);
        problems
    }
}

impl Stray {
    pub(super) fn link(&self, outside: &Outside<'_>) -> Vec<Problem> {
        let table = self.table.as_ref().and_then(|(name, span)| outside.table(name, *span));
        let names = outside.names();
        let responder = self.responder.as_ref().filter(|(name, _)| !names.contains(&name.as_str()));
        table.into_iter().chain(responder.map(|(name, span)| unknown_responder(name, *span, &names))).collect()
    }
}

impl Outside<'_> {
    fn step(&self, step: &Step) -> Vec<Problem> {
        let table = match &step.what {
            What::Enrich { source: Source::Table { table, span, .. }, .. } => self.table(table, *span),
            _ => None,
        };
        table.into_iter().chain(self.responder(step)).collect()
    }

    fn table(&self, name: &str, span: Span) -> Option<Problem> {
        if self.tables.contains(&name) {
            return None;
        }
        let problem = Problem::new(codes::UNKNOWN_TABLE, span, format!("unknown table `{name}`"));
        Some(problem.maybe_hint(nearest(name, self.tables.iter().copied())))
    }

    fn responder(&self, step: &Step) -> Option<Problem> {
        let Some(operation) = step.operation() else {
            let (_, span) = step.responder.as_ref()?;
            return Some(Problem::new(codes::PLAYBOOK_VALUE, *span, "this step needs no responder"));
        };
        let wanted = step.responder.as_ref().map(|(name, _)| name.as_str());
        let mut able = able(&operation, self.responders);
        for (name, unread) in self.unread {
            match unread.can(&operation) {
                Some(true) => able.push(name),
                // Nothing is said about what may be true.
                None if wanted == Some(name) => able.push(name),
                None if wanted.is_none() && able.is_empty() => return None,
                None | Some(false) => {}
            }
        }
        choose(step, &operation, &self.names(), &able).err()
    }

    fn names(&self) -> Vec<&str> {
        self.responders.keys().chain(self.unread.keys()).map(String::as_str).collect()
    }
}

impl Step {
    /// Who carries the step out.
    #[must_use]
    pub fn responder_of<'a>(&self, responders: &'a Responders) -> Linked<'a> {
        let Some(operation) = self.operation() else {
            return Linked(Err(Problem::new(codes::CANNOT_CARRY_OUT, self.span, "this step needs no responder")));
        };
        let names: Vec<&str> = responders.keys().map(String::as_str).collect();
        Linked(choose(self, &operation, &names, &able(&operation, responders)).map(|name| &responders[name]))
    }
}

fn able<'a>(operation: &Operation, responders: &'a Responders) -> Vec<&'a str> {
    responders.values().filter(|responder| responder.can(operation)).map(|responder| responder.id.as_str()).collect()
}

/// The one among the `able` that carries the step out.
fn choose<'a>(step: &Step, operation: &Operation, names: &[&str], able: &[&'a str]) -> Result<&'a str, Problem> {
    if let Some((name, span)) = &step.responder {
        return match able.iter().find(|one| *one == name) {
            Some(one) => Ok(one),
            None if names.contains(&name.as_str()) => Err(cannot(operation, name, *span, able)),
            None => Err(unknown_responder(name, *span, names)),
        };
    }
    match able {
        [one] => Ok(one),
        [] => Err(Problem::new(codes::CANNOT_CARRY_OUT, step.span, format!("no responder can `{operation}`"))
            .hint(format!("describe `{operation}` in a file in `responders/`"))),
        [one, two, ..] => {
            let message = format!("several responders can `{operation}`: {one}, {two}");
            Err(Problem::new(codes::AMBIGUOUS_RESPONDER, step.span, message)
                .hint(format!("say which: `responder: {one}`")))
        }
    }
}

fn unknown_responder(name: &str, span: Span, known: &[&str]) -> Problem {
    let problem = Problem::new(codes::UNKNOWN_RESPONDER, span, format!("unknown responder `{name}`"));
    problem.maybe_hint(nearest(name, known.iter().copied()))
}

fn cannot(operation: &Operation, name: &str, span: Span, able: &[&str]) -> Problem {
    let hint = if able.is_empty() {
        format!("describe `{operation}` in that file")
    } else {
        format!("these can: {}", able.join(", "))
    };
    Problem::new(codes::CANNOT_CARRY_OUT, span, format!("responder `{name}` cannot `{operation}`")).hint(hint)
}
