//! What a playbook says about the outside: do its responders and tables exist, and can they do what the steps ask?

use std::collections::BTreeMap;

use crate::problem::{Place, Problem, codes, nearest};
use crate::responder::Responder;

use super::{Operation, Playbook, Source, Step, What};

/// Responders by name.
pub type Responders = BTreeMap<String, Responder>;

/// A step's responder, found by name or because it is the only one that can do it.
#[derive(Debug)]
pub struct Linked<'a>(pub Result<&'a Responder, Problem>);

impl Playbook {
    /// Checks the playbook against the responders and tables of a project.
    #[must_use]
    pub fn link(&self, responders: &Responders, tables: &[&str]) -> Vec<Problem> {
        let steps = self.steps.steps.iter().chain(&self.on_close.steps);
        let mut problems: Vec<Problem> = steps.filter_map(|step| link_step(step, responders, tables).err()).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

fn link_step(step: &Step, responders: &Responders, tables: &[&str]) -> Result<(), Problem> {
    if let What::Enrich { source: Source::Table { table, place, .. }, .. } = &step.what
        && !tables.contains(&table.as_str())
    {
        let problem = Problem::new(codes::UNKNOWN_TABLE, *place, format!("unknown table `{table}`"));
        return Err(problem.maybe_hint(nearest(table, tables.iter().copied())));
    }
    match step.operation() {
        Some(_) => step.responder_of(responders).0.map(drop),
        None => match &step.responder {
            Some((_, place)) => Err(Problem::new(codes::PLAYBOOK_VALUE, *place, "this step needs no responder")),
            None => Ok(()),
        },
    }
}

impl Step {
    /// Who carries the step out.
    #[must_use]
    pub fn responder_of<'a>(&self, responders: &'a Responders) -> Linked<'a> {
        Linked(self.operation().map_or_else(
            || Err(Problem::new(codes::CANNOT_CARRY_OUT, self.place, "this step needs no responder")),
            |operation| find(self, &operation, responders),
        ))
    }
}

fn find<'a>(step: &Step, operation: &Operation, responders: &'a Responders) -> Result<&'a Responder, Problem> {
    let able = || responders.values().filter(|responder| responder.can(operation));
    if let Some((name, place)) = &step.responder {
        let Some(responder) = responders.get(name) else {
            let problem = Problem::new(codes::UNKNOWN_RESPONDER, *place, format!("unknown responder `{name}`"));
            return Err(problem.maybe_hint(nearest(name, responders.keys().map(String::as_str))));
        };
        return if responder.can(operation) { Ok(responder) } else { Err(cannot(operation, name, *place, able())) };
    }
    let mut all = able();
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Problem::new(codes::CANNOT_CARRY_OUT, step.place, format!("no responder can `{operation}`"))
            .hint(format!("describe `{operation}` in a file in `responders/`"))),
        (Some(one), Some(two)) => {
            let message = format!("several responders can `{operation}`: {}, {}", one.id, two.id);
            Err(Problem::new(codes::AMBIGUOUS_RESPONDER, step.place, message)
                .hint(format!("say which: `responder: {}`", one.id)))
        }
    }
}

fn cannot<'a>(operation: &Operation, name: &str, place: Place, able: impl Iterator<Item = &'a Responder>) -> Problem {
    let others: Vec<&str> = able.map(|responder| responder.id.as_str()).collect();
    let hint = if others.is_empty() {
        format!("describe `{operation}` in that file")
    } else {
        format!("these can: {}", others.join(", "))
    };
    Problem::new(codes::CANNOT_CARRY_OUT, place, format!("responder `{name}` cannot `{operation}`")).hint(hint)
}
