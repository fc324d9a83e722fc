//! Steps that go through a responder: search, look-ups, the call, the proof; each a request out and an outcome in.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::audit::WEIR;
use crate::case::Ticket;
use crate::facts::Moment;
use crate::http::{HttpFailure, HttpRequest, HttpResponse};
use crate::openc2::{Args, Command, Target, Undo};
use crate::playbook::{Operation, Step, TargetTemplate, TicketDeed, What};
use crate::responder::{Answer, Call, Described, Responder, UndoRule};
use crate::template::RenderError;

use super::{Mode, Next, Phase, Run, StepStatus, World, after};

/// Longest wait that an answer's `Retry-After` can impose.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

impl Run {
    /// The next request of a step; `None` where the step is over.
    pub(super) fn next_request(&mut self, step: &Step, world: &mut World<'_>, now: Moment) -> Option<Next> {
        let responders = world.responders;
        let (responder, described) = match self.carrier(step, responders) {
            Ok(found) => found,
            Err(why) => return self.fail_step(step, StepStatus::Failed, why, world, now),
        };
        if self.ticket.is_none() {
            // Another playbook of the case may have opened one.
            let of_case =
                world.case.and_then(|case| case.tickets.iter().find(|ticket| ticket.responder == responder.id));
            self.ticket =
                of_case.filter(|_| !matches!(step.what, What::Ticket { deed: TicketDeed::Open, .. })).cloned();
        }
        if let What::Ticket { deed: TicketDeed::Update | TicketDeed::Close, .. } = &step.what
            && self.ticket.is_none()
        {
            // Opening it failed, and its failure is told already.
            self.close_step(StepStatus::Skipped, "left out: no ticket was opened".to_owned(), now);
            self.follow(step.next, world, now);
            return None;
        }
        if let Err((status, why)) = self.prepare(step, responder, described, world, now) {
            return self.fail_step(step, status, why, world, now);
        }
        let record = self.record()?;
        if now >= record.deadline {
            let why = record
                .error
                .clone()
                .map_or_else(|| "timed out".to_owned(), |error| format!("timed out; last: {error}"));
            return self.fail_step(step, StepStatus::Failed, why, world, now);
        }
        if let Some(wake) = record.wake.filter(|wake| *wake > now) {
            return Some(Next::Sleep(wake.min(record.deadline)));
        }
        let rendered = if self.mode == Mode::DryRun {
            return self.plan(step, responder, described, world, now);
        } else {
            self.skip_empty_phases(described);
            self.render_phase(step, responder, described, world)
        };
        let mut request = match rendered {
            Ok(request) => request,
            Err(error) => return self.fail_step(step, StepStatus::Failed, error.to_string(), world, now),
        };
        let record = self.record()?;
        let left = record.deadline.signed_duration_since(now).num_milliseconds().max(1) as u64;
        request.timeout_ms = request.timeout_ms.min(left);
        let is_first_call = record.phase == Phase::Call && record.sent.is_none();
        if is_first_call && let Some(refusal) = self.ask_guard(world, now) {
            return self.fail_step(step, StepStatus::Refused, refusal, world, now);
        }
        let record = self.record_mut()?;
        record.tries += 1;
        record.in_flight = true;
        record.wake = None;
        record.request = Some(request.clone());
        if record.phase == Phase::Call {
            record.attempts += 1;
            record.sent.get_or_insert(now);
        }
        Some(Next::Http(Box::new(request)))
    }

    fn carrier<'a>(
        &self,
        step: &Step,
        responders: &'a crate::playbook::Responders,
    ) -> Result<(&'a Responder, &'a Described), String> {
        let responder = step.responder_of(responders).0.map_err(|problem| problem.message)?;
        let operation = step.operation().ok_or("the step needs no responder")?;
        let described = responder.described(&operation).ok_or("the responder does not describe the step")?;
        Ok((responder, described))
    }

    /// Builds the command once and asks the guard about its target before even a look-up leaves.
    fn prepare(
        &mut self,
        step: &Step,
        responder: &Responder,
        described: &Described,
        world: &mut World<'_>,
        now: Moment,
    ) -> Result<(), (StepStatus, String)> {
        let is_prepared = self.record().is_none_or(|record| record.responder.is_some());
        if is_prepared {
            return Ok(());
        }
        let failed = |why: String| (StepStatus::Failed, why);
        let command = match &step.what {
            What::Act { .. } => Some(self.command(step, world).map_err(failed)?),
            _ => None,
        };
        if let Some(command) = &command
            && let Err(refusal) = world.guard.check(&self.playbook, command, now)
        {
            if let Some(record) = self.record_mut() {
                record.command = Some(command.clone());
            }
            return Err((StepStatus::Refused, refusal.to_string()));
        }
        let ticket = self.ticket.clone();
        let Some(record) = self.record_mut() else { return Ok(()) };
        record.undo = command.as_ref().map(|command| undo(command, described));
        record.command = command;
        record.responder = Some(responder.id.clone());
        if let What::Ticket { deed: TicketDeed::Update | TicketDeed::Close, .. } = &step.what {
            record.external_id = ticket.map(|ticket| ticket.id);
        }
        Ok(())
    }

    /// The limits of an hour are asked and counted at the moment the call leaves, so that runs which waited long for an
    /// answer cannot all leave at once.
    fn ask_guard(&mut self, world: &mut World<'_>, now: Moment) -> Option<String> {
        let command = self.record()?.command.clone()?;
        match world.guard.check(&self.playbook, &command, now) {
            Err(refusal) => Some(refusal.to_string()),
            Ok(()) => {
                world.guard.count(&self.playbook, &command, now);
                None
            }
        }
    }

    fn command(&self, step: &Step, world: &World<'_>) -> Result<Command, String> {
        let What::Act { action, target, args, duration } = &step.what else { return Err("not a command".to_owned()) };
        let scope = self.scope(world);
        let target = match target {
            TargetTemplate::Short(kind, template) => {
                let value = template.text(&scope).map_err(|error| error.to_string())?;
                Target::of_text(*kind, &value)
            }
            TargetTemplate::Fields(kind, templates) => {
                let mut fields = Map::new();
                for (name, template) in templates {
                    match template.json(&scope) {
                        Ok(value) => drop(fields.insert(name.clone(), value)),
                        Err(RenderError::Missing(_)) if template.only_field().is_some() => {}
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Target::of_fields(*kind, fields)
            }
        };
        let mut extra = Map::new();
        for (name, body) in args {
            extra.insert(name.clone(), body.render(&scope).map_err(|error| error.to_string())?);
        }
        let comment = match extra.remove("comment") {
            Some(Value::String(text)) => text,
            _ => format!("{}: {}", self.case.as_deref().unwrap_or("no case"), self.alert.title),
        };
        Ok(Command {
            action: *action,
            target: target.map_err(|error| error.to_string())?,
            args: Args {
                duration: duration.map(|duration| duration.as_millis() as u64),
                comment: Some(comment),
                extra,
            },
            command_id: self.action_id(&step.id),
        })
    }

    /// Fields that only this kind of step gives to a responder's templates.
    fn step_fields(&self, step: &Step, world: &World<'_>) -> Result<Map<String, Value>, RenderError> {
        let scope = self.scope(world);
        let mut fields = Map::new();
        match &step.what {
            What::Notify { text, to } => {
                let to = to.as_ref().map(|to| to.text(&scope)).transpose()?;
                fields.insert("message".to_owned(), json!({ "text": text.prose(&scope)?, "to": to }));
            }
            What::Ticket { fields: templates, .. } => {
                let mut values = Map::new();
                for (name, template) in templates {
                    let value = if template.only_field().is_some() {
                        template.json(&scope)
                    } else {
                        template.prose(&scope).map(Value::String)
                    };
                    match value {
                        Err(RenderError::Missing(_)) => {}
                        other => drop(values.insert(name.clone(), other?)),
                    }
                }
                fields.insert("fields".to_owned(), Value::Object(values));
            }
            What::Enrich { source: crate::playbook::Source::Lookup { value, .. }, .. } => {
                fields.insert("lookup".to_owned(), json!({ "value": value.text(&scope)? }));
            }
            _ => {}
        }
        Ok(fields)
    }

    fn skip_empty_phases(&mut self, described: &Described) {
        let Some(record) = self.record_mut() else { return };
        if record.phase == Phase::Search && described.search.is_none() {
            record.phase = Phase::Lookup(0);
        }
        if matches!(record.phase, Phase::Lookup(at) if at >= described.lookups.len()) {
            record.phase = Phase::Call;
        }
    }

    fn render_phase(
        &self,
        step: &Step,
        responder: &Responder,
        described: &Described,
        world: &World<'_>,
    ) -> Result<HttpRequest, RenderError> {
        let scope = self.responder_scope(self.step_fields(step, world)?, world);
        let phase = self.record().map_or(Phase::Call, |record| record.phase);
        responder.render(call_of(phase, described), &scope, phase == Phase::Call)
    }

    /// A dry run writes down every request that would have left; what only the vendor knows stands as its name.
    fn plan(
        &mut self,
        step: &Step,
        responder: &Responder,
        described: &Described,
        world: &mut World<'_>,
        now: Moment,
    ) -> Option<Next> {
        let names = described.lookups.iter().flat_map(|lookup| &lookup.take);
        let placeholders: Map<String, Value> =
            names.map(|(name, _)| (name.clone(), format!("<{name}>").into())).collect();
        let record = self.record_mut()?;
        record.found = placeholders;
        if matches!(step.what, What::Ticket { .. }) {
            record.external_id.get_or_insert_with(|| "<ticket>".to_owned());
        }
        let phases = described.search.iter().map(|_| Phase::Search);
        let phases = phases.chain((0..described.lookups.len()).map(Phase::Lookup)).chain([Phase::Call]);
        let phases: Vec<Phase> = phases.chain(described.verify.iter().map(|_| Phase::Verify(1))).collect();
        let mut planned = Vec::new();
        for phase in phases {
            self.record_mut()?.phase = phase;
            match self.render_phase(step, responder, described, world) {
                Ok(request) => {
                    if phase == Phase::Call {
                        self.record_mut()?.request = Some(request.clone());
                    }
                    planned.push(request);
                }
                Err(error) => return self.fail_step(step, StepStatus::Failed, error.to_string(), world, now),
            }
        }
        let text = planned.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.record_mut()?.planned = planned;
        if matches!(step.what, What::Ticket { deed: TicketDeed::Open, .. }) {
            self.ticket = Some(Ticket { responder: responder.id.clone(), id: "<ticket>".to_owned() });
        }
        self.close_step(StepStatus::Planned, format!("would send {text}"), now);
        self.follow(step.next, world, now);
        None
    }

    /// Takes in the answer to a request, or that there is none.
    pub(super) fn http_outcome(
        &mut self,
        step: &Step,
        world: &mut World<'_>,
        result: Result<HttpResponse, HttpFailure>,
        now: Moment,
    ) {
        let responders = world.responders;
        let Ok((_, described)) = self.carrier(step, responders) else {
            self.fail_step(step, StepStatus::Failed, "the responder is gone".to_owned(), world, now);
            return;
        };
        if let Err(HttpFailure { message, left_alone_ms: Some(ms), .. }) = &result {
            return self.wait_for_responder(Duration::from_millis(*ms), message, world, now);
        }
        let Some(record) = self.record_mut() else { return };
        record.in_flight = false;
        let phase = record.phase;
        let answer = match (&result, phase) {
            (Err(failure), _) => Answer::of_failure(failure),
            (Ok(response), Phase::Search) => described
                .search
                .as_ref()
                .map_or_else(|| described.judge(response), |search| search_answer(search, response)),
            (Ok(response), Phase::Lookup(at)) => {
                described.lookups.get(at).map_or_else(|| described.judge(response), |lookup| lookup.judge(response))
            }
            (Ok(response), Phase::Call) => described.judge(response),
            (Ok(response), Phase::Verify(asked)) => return self.verified(step, described, asked, response, world, now),
        };
        match answer {
            Answer::Done { external_id, values } => self.phase_done(step, described, (external_id, values), world, now),
            Answer::Retry { after, why } => self.retry(step, after, why, world, now),
            Answer::Failed { why } => drop(self.fail_step(step, StepStatus::Failed, why, world, now)),
        }
    }

    /// The responder is left alone after failures of any run: nothing was tried, so it counts neither as an attempt nor
    /// for the guard, and the step waits. Only its timeout ends that.
    fn wait_for_responder(&mut self, wait: Duration, why: &str, world: &mut World<'_>, now: Moment) {
        let playbook = self.playbook.clone();
        let Some(record) = self.record_mut() else { return };
        record.in_flight = false;
        record.tries = record.tries.saturating_sub(1);
        record.wake = Some(after(now, wait));
        record.error = Some(why.to_owned());
        if record.phase == Phase::Call {
            record.attempts = record.attempts.saturating_sub(1);
            if record.attempts == 0
                && let Some((command, sent)) = record.command.as_ref().zip(record.sent)
            {
                world.guard.take_back(&playbook, command, sent);
            }
            record.sent = record.sent.filter(|_| record.attempts > 0);
        }
        let detail = json!({ "step": record.id });
        self.add_note("step_waits", WEIR, format!("not tried, next in {} ms: {why}", wait.as_millis()), detail, now);
    }

    fn phase_done(
        &mut self,
        step: &Step,
        described: &Described,
        (external_id, values): (Option<String>, Map<String, Value>),
        world: &mut World<'_>,
        now: Moment,
    ) {
        let Some(record) = self.record_mut() else { return };
        record.tries = 0;
        record.error = None;
        match record.phase {
            Phase::Search => match values.get("id").or_else(|| values.values().next()) {
                // What is found is used: nothing is made twice.
                Some(found) => {
                    record.external_id = Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned));
                    record.result = values;
                    self.call_done(step, described, world, now);
                }
                None => record.phase = Phase::Lookup(0),
            },
            Phase::Lookup(at) => {
                record.found.extend(values);
                record.phase = Phase::Lookup(at + 1);
            }
            Phase::Call | Phase::Verify(_) => {
                if external_id.is_some() {
                    record.external_id = external_id;
                }
                record.result = values;
                self.call_done(step, described, world, now);
            }
        }
    }

    fn call_done(&mut self, step: &Step, described: &Described, world: &mut World<'_>, now: Moment) {
        let Some(record) = self.record_mut() else { return };
        if described.verify.is_some() {
            record.phase = Phase::Verify(0);
        } else {
            self.succeed(step, world, now);
        }
    }

    fn verified(
        &mut self,
        step: &Step,
        described: &Described,
        asked: u32,
        response: &HttpResponse,
        world: &mut World<'_>,
        now: Moment,
    ) {
        let Some(verify) = &described.verify else { return self.succeed(step, world, now) };
        let proof = self.step_fields(step, world).and_then(|fields| {
            let scope = self.responder_scope(fields, world);
            verify.proves(response, &scope)
        });
        let Some(record) = self.record_mut() else { return };
        match proof {
            Err(error) => drop(self.fail_step(step, StepStatus::Failed, error.to_string(), world, now)),
            Ok(Ok(())) => {
                record.verified = Some(true);
                self.succeed(step, world, now);
            }
            Ok(Err(why)) if asked + 1 < verify.attempts => {
                record.phase = Phase::Verify(asked + 1);
                record.tries = 0;
                record.wake = Some(after(now, verify.every));
                record.error = Some(why);
            }
            Ok(Err(why)) => {
                record.verified = Some(false);
                let why = format!("accepted, but not in effect: {why}");
                self.fail_step(step, StepStatus::Failed, why, world, now);
            }
        }
    }

    fn succeed(&mut self, step: &Step, world: &mut World<'_>, now: Moment) {
        let Some(record) = self.record_mut() else { return };
        record.error = None;
        let text = match (&record.external_id, record.verified) {
            (Some(id), Some(true)) => format!("done as {id}, proved"),
            (Some(id), _) => format!("done as {id}"),
            (None, Some(true)) => "done, proved".to_owned(),
            (None, _) => "done".to_owned(),
        };
        let (responder, external_id, result) =
            (record.responder.clone(), record.external_id.clone(), record.result.clone());
        match &step.what {
            What::Ticket { deed: TicketDeed::Open, .. } => {
                self.ticket = responder.zip(external_id).map(|(responder, id)| Ticket { responder, id });
            }
            What::Enrich { name, .. } => drop(self.results.insert(name.clone(), Value::Object(result))),
            _ => {}
        }
        self.close_step(StepStatus::Succeeded, text, now);
        self.follow(step.next, world, now);
    }

    /// Waits and tries again, twice as long each time, as often as the playbook says.
    fn retry(&mut self, step: &Step, asked_for: Option<Duration>, why: String, world: &mut World<'_>, now: Moment) {
        let Some(record) = self.record_mut() else { return };
        let tried = if record.phase == Phase::Call { record.attempts } else { record.tries };
        if tried >= step.retry.attempts {
            let why = format!("{why} (after {tried} attempt{})", if tried == 1 { "" } else { "s" });
            self.fail_step(step, StepStatus::Failed, why, world, now);
            return;
        }
        let doubled = step.retry.backoff.saturating_mul(1 << tried.saturating_sub(1).min(16));
        let wait = asked_for.map_or(doubled, |asked| asked.min(RETRY_AFTER_MAX).max(doubled));
        record.wake = Some(after(now, wait));
        record.error = Some(why.clone());
        // The answer to a call that made something may have been lost on its way: look before making it again.
        if record.phase == Phase::Call {
            record.phase = Phase::Search;
            record.tries = 0;
        }
        let text = format!("attempt {tried} failed, next in {} ms: {why}", wait.as_millis());
        let detail = json!({ "step": record.id, "attempt": tried });
        self.add_note("step_retried", WEIR, text, detail, now);
    }
}

fn call_of(phase: Phase, described: &Described) -> &Call {
    let call = match phase {
        Phase::Search => described.search.as_ref().map(|search| &search.call),
        Phase::Lookup(at) => described.lookups.get(at).map(|lookup| &lookup.call),
        Phase::Verify(_) => described.verify.as_ref().map(|verify| &verify.call),
        Phase::Call => None,
    };
    call.unwrap_or(&described.call)
}

/// A search that finds nothing is done with no values.
fn search_answer(search: &crate::responder::Lookup, response: &HttpResponse) -> Answer {
    match search.judge(response) {
        Answer::Failed { .. } if (200..300).contains(&response.status) || response.status == 404 => {
            Answer::Done { external_id: None, values: search.found(response).unwrap_or_default() }
        }
        other => other,
    }
}

fn undo(command: &Command, described: &Described) -> Undo {
    match (&described.undo, &described.does) {
        (UndoRule::None(why), _) => Undo::None(why.clone()),
        (UndoRule::Cancel, _) => command.cancel(),
        (UndoRule::Inverse, Operation::Command(..)) => command.undo(),
        (UndoRule::Inverse, _) => Undo::None("it is no command".to_owned()),
    }
}
