//! What templates and conditions of a run can see.

use serde_json::{Map, Value, json};

use crate::openc2::Command;

use super::{Run, StepRecord, StepStatus, World};

impl Run {
    /// The facts, the results so far, and what became of earlier steps.
    pub(super) fn scope(&self, world: &World<'_>) -> Value {
        let mut scope = Map::new();
        for (name, value) in &self.results {
            scope.insert(name.clone(), value.clone());
        }
        let action_id = self.record().map(|record| record.action_id.clone());
        scope.insert("alert".to_owned(), self.alert.scope());
        scope.insert("case".to_owned(), world.case.map_or(Value::Null, crate::case::Case::scope));
        scope.insert("run".to_owned(), json!({ "id": self.id, "mode": self.mode.as_str(), "action_id": action_id }));
        scope.insert("playbook".to_owned(), json!({ "id": world.playbook.id, "name": world.playbook.name }));
        scope.insert("ticket".to_owned(), json!({ "id": self.ticket.as_ref().map(|ticket| &ticket.id) }));
        scope.insert("steps".to_owned(), Value::Object(self.step_scope()));
        Value::Object(scope)
    }

    /// What became of the steps.
    pub(super) fn step_scope(&self) -> Map<String, Value> {
        let mut steps = self.inherited.clone();
        for record in &self.steps {
            steps.insert(record.id.clone(), record.scope());
        }
        steps
    }

    /// The scope of a responder's templates for one step.
    pub(super) fn responder_scope(&self, fields: Map<String, Value>, world: &World<'_>) -> Value {
        let mut scope = self.scope(world);
        let Some(record) = self.record() else { return scope };
        scope["found"] = Value::Object(record.found.clone());
        scope["external_id"] = json!(record.external_id);
        for (name, value) in fields {
            scope[name] = value;
        }
        if let Some(command) = &record.command {
            scope["target"] = target_scope(command);
            scope["args"] = Value::Object(args_scope(command));
            scope["command"] =
                json!({ "id": command.command_id, "action": command.action, "text": command.to_string() });
            scope["openc2"] =
                command.message(record.started, "weir", &[record.responder.as_deref().unwrap_or_default()]);
        }
        scope
    }
}

impl StepRecord {
    fn scope(&self) -> Value {
        json!({
            "status": self.status,
            "approved": match self.status {
                StepStatus::Denied => Some(false),
                _ => self.decision.as_ref().map(|decision| decision.approved),
            },
            "by": self.decision.as_ref().map(|decision| &decision.by),
            "external_id": self.external_id,
            "error": self.error,
            "result": self.result,
        })
    }
}

fn target_scope(command: &Command) -> Value {
    let mut fields = match &command.target.value {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    fields.insert("value".to_owned(), command.target.main().into());
    Value::Object(fields)
}

fn args_scope(command: &Command) -> Map<String, Value> {
    let mut args = command.args.extra.clone();
    if let Some(duration) = command.args.duration {
        args.insert("duration".to_owned(), duration.into());
    }
    if let Some(comment) = &command.args.comment {
        args.insert("comment".to_owned(), comment.clone().into());
    }
    args
}
