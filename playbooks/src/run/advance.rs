//! From step to step: conditions, questions, what follows a success or a failure, and the end.

use serde_json::{Map, Value, json};

use crate::audit::WEIR;
use crate::facts::Moment;
use crate::journal::{Approval, Decision};
use crate::playbook::{OnFail, Playbook, Source, Step, What};

use super::{Mode, Next, Outcome, Phase, Run, RunStatus, StepRecord, StepStatus, World, after};

impl Run {
    /// What to do next. The run is changed by it and must be written to the journal before the request leaves.
    pub fn next(&mut self, world: &mut World<'_>, now: Moment) -> Next {
        self.updated = now;
        loop {
            if self.status.is_end() {
                return Next::End(self.status);
            }
            if self.at.is_none() {
                match world.playbook.plan(self.part).steps.first() {
                    Some(first) => self.enter(&first.id.clone(), first, now),
                    None => self.end(RunStatus::Completed, now),
                }
                continue;
            }
            let playbook = world.playbook;
            let Some(step) = self.current_step(playbook) else {
                self.fail_run("the playbook was changed and no longer has the step the run is at", now);
                continue;
            };
            if let Some(next) = self.next_of_step(step, world, now) {
                return next;
            }
        }
    }

    /// Takes in what came of the last request.
    pub fn outcome(&mut self, world: &mut World<'_>, outcome: Outcome, now: Moment) {
        self.updated = now;
        let playbook = world.playbook;
        let Some(step) = self.current_step(playbook) else { return };
        match outcome {
            Outcome::Http(result) => self.http_outcome(step, world, result, now),
            Outcome::Table(result) => self.table_outcome(step, world, result, now),
            Outcome::Decision(decision) => self.decided(step, world, decision, now),
        }
    }

    /// The step the run is at.
    pub(super) fn current_step<'a>(&self, playbook: &'a Playbook) -> Option<&'a Step> {
        let at = self.at.as_ref()?;
        playbook.plan(self.part).steps.iter().find(|step| step.id == *at)
    }

    fn enter(&mut self, id: &str, step: &Step, now: Moment) {
        self.at = Some(id.to_owned());
        let does = match (&step.what, step.operation()) {
            (_, Some(operation)) => operation.to_string(),
            (What::Ask { .. }, None) => "ask".to_owned(),
            (_, None) => "enrich".to_owned(),
        };
        self.steps.push(StepRecord {
            id: id.to_owned(),
            does,
            status: StepStatus::Running,
            phase: Phase::Search,
            attempts: 0,
            tries: 0,
            in_flight: false,
            wake: None,
            deadline: after(now, step.timeout),
            action_id: self.action_id(id),
            responder: None,
            command: None,
            request: None,
            planned: Vec::new(),
            found: Map::new(),
            external_id: None,
            result: Map::new(),
            verified: None,
            undo: None,
            decision: None,
            error: None,
            started: now,
            sent: None,
            ended: None,
        });
    }

    /// `None` where the step is over and the next is to be looked at.
    fn next_of_step(&mut self, step: &Step, world: &mut World<'_>, now: Moment) -> Option<Next> {
        let is_fresh = self
            .record()
            .is_some_and(|record| record.tries == 0 && record.request.is_none() && record.decision.is_none());
        if is_fresh
            && self.record().is_some_and(|record| record.status == StepStatus::Running)
            && let Some(condition) = &step.when
            && !condition.holds(&self.scope(world))
        {
            self.close_step(StepStatus::Skipped, format!("left out: not {}", condition.text), now);
            self.follow(step.next, world, now);
            return None;
        }
        match &step.what {
            What::Ask { .. } => self.ask(step, world, now),
            What::Enrich { source: Source::Table { table, column, value, .. }, .. } => {
                let value = match value.text(&self.scope(world)) {
                    Ok(value) => value,
                    Err(error) => return self.fail_step(step, StepStatus::Failed, error.to_string(), world, now),
                };
                if let Some(record) = self.record_mut() {
                    record.tries += 1;
                }
                Some(Next::Table { table: table.clone(), column: column.clone(), value })
            }
            _ => self.next_request(step, world, now),
        }
    }

    fn ask(&mut self, step: &Step, world: &mut World<'_>, now: Moment) -> Option<Next> {
        let What::Ask { question, approvers, wait, silence_approves, .. } = &step.what else { return None };
        if self.mode == Mode::DryRun {
            let decision = Decision { approved: true, by: "dry-run".to_owned(), at: now };
            self.decided(step, world, decision, now);
            return None;
        }
        let question = match question.prose(&self.scope(world)) {
            Ok(question) => question,
            Err(error) => return self.fail_step(step, StepStatus::Failed, error.to_string(), world, now),
        };
        let record = self.record_mut()?;
        if record.status != StepStatus::Waiting {
            record.status = StepStatus::Waiting;
            record.deadline = after(now, *wait);
            self.status = RunStatus::Waiting;
            let detail = json!({ "approvers": approvers });
            self.add_note("asked", WEIR, question.clone(), detail, now);
        }
        let record = self.record()?;
        if now >= record.deadline {
            let decision = Decision { approved: *silence_approves, by: "nobody in time".to_owned(), at: now };
            self.decided(step, world, decision, now);
            return None;
        }
        Some(Next::Ask(Box::new(Approval {
            run: self.id.clone(),
            step: step.id.clone(),
            playbook: self.playbook.clone(),
            alert: self.alert.uid.clone(),
            case: self.case.clone(),
            question,
            approvers: approvers.clone(),
            asked: record.started,
            expires: record.deadline,
            decision: None,
        })))
    }

    fn decided(&mut self, step: &Step, world: &mut World<'_>, decision: Decision, now: Moment) {
        let What::Ask { go_on, .. } = &step.what else { return };
        let Some(record) = self.record_mut() else { return };
        let (approved, by) = (decision.approved, decision.by.clone());
        record.decision = Some(decision);
        self.status = RunStatus::Running;
        let (status, text) =
            if approved { (StepStatus::Succeeded, "approved") } else { (StepStatus::Denied, "denied") };
        self.add_note(text, &by, format!("{text} by {by}"), json!({ "step": step.id }), now);
        self.close_step(status, format!("{text} by {by}"), now);
        if approved || *go_on {
            self.follow(step.next, world, now);
        } else {
            self.end(RunStatus::Denied, now);
        }
    }

    fn table_outcome(
        &mut self,
        step: &Step,
        world: &mut World<'_>,
        result: Result<Option<Map<String, Value>>, String>,
        now: Moment,
    ) {
        let What::Enrich { name, .. } = &step.what else { return };
        match result {
            Ok(Some(row)) => {
                self.results.insert(name.clone(), Value::Object(row));
                self.close_step(StepStatus::Succeeded, format!("{name} found"), now);
                self.follow(step.next, world, now);
            }
            // An unknown host or domain is an answer; conditions see it with `exists`.
            Ok(None) => {
                self.close_step(StepStatus::Succeeded, format!("{name}: no such row"), now);
                self.follow(step.next, world, now);
            }
            Err(why) => {
                self.fail_step(step, StepStatus::Failed, why, world, now);
            }
        }
    }

    /// Ends the step badly and goes where `on_fail` says. Always `None`, for use in tail position.
    pub(super) fn fail_step(
        &mut self,
        step: &Step,
        status: StepStatus,
        why: String,
        world: &mut World<'_>,
        now: Moment,
    ) -> Option<Next> {
        if let Some(record) = self.record_mut() {
            record.error = Some(why.clone());
        }
        self.close_step(status, why.clone(), now);
        match step.on_fail {
            OnFail::Stop => self.fail_run(&format!("step {} {status}: {why}", step.id), now),
            OnFail::Continue => self.follow(step.next, world, now),
            OnFail::Steps(start) => self.follow(Some(start), world, now),
        }
        None
    }

    pub(super) fn follow(&mut self, next: Option<usize>, world: &mut World<'_>, now: Moment) {
        let plan = world.playbook.plan(self.part);
        match next.and_then(|at| plan.steps.get(at)) {
            Some(step) => self.enter(&step.id.clone(), step, now),
            None => self.end(RunStatus::Completed, now),
        }
    }

    pub(super) fn close_step(&mut self, status: StepStatus, text: String, now: Moment) {
        let Some(record) = self.record_mut() else { return };
        record.status = status;
        record.in_flight = false;
        record.wake = None;
        record.ended = Some(now);
        let does = record.command.as_ref().map_or_else(|| record.does.clone(), ToString::to_string);
        let detail = json!({
            "step": record.id,
            "status": status,
            "responder": record.responder,
            "external_id": record.external_id,
            "verified": record.verified,
            "undo": record.undo.as_ref().map(ToString::to_string),
        });
        self.add_note(&format!("step_{status}"), WEIR, format!("{does}: {text}"), detail, now);
    }

    fn fail_run(&mut self, why: &str, now: Moment) {
        self.add_note("run_failed", WEIR, why.to_owned(), Value::Null, now);
        self.end(RunStatus::Failed, now);
    }

    fn end(&mut self, status: RunStatus, now: Moment) {
        self.status = status;
        self.at = None;
        self.ended = Some(now);
        self.add_note("run_ended", WEIR, format!("{} {status}", self.playbook), json!({ "status": status }), now);
    }
}
