//! JSON Schemas of the files of this room, for editors.
//!
//! The types here describe what may be written; the readers are written by hand, because they report every mistake with
//! its place. A test holds both to the same keys.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

/// A playbook: a trigger and a short list of typed steps.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Playbook")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct PlaybookFile {
    /// Name in detections, on the command line and in the journal.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_]*$"))]
    id: String,
    /// One line for people.
    name: Option<String>,
    /// Why it exists.
    description: Option<String>,
    /// When it applies, such as `alert.severity >= 'high' and exists(alert.entities.host)`.
    when: Option<String>,
    /// What follows a failed step, where the step does not say.
    on_fail: Option<StopOrContinue>,
    /// What to do when the alert arrives.
    steps: Vec<StepFile>,
    /// What to do when the case is closed.
    on_close: Option<Vec<StepFile>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "the type exists for its schema")]
enum StopOrContinue {
    Stop,
    Continue,
}

/// One step: exactly one verb, and the keys that belong to it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Step")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct StepFile {
    /// Name of the step; later steps see `steps.ID`.
    id: Option<String>,
    /// The step is left out unless this holds.
    #[schemars(rename = "if")]
    condition: Option<String>,
    /// Who carries it out, where several could.
    responder: Option<String>,
    /// How often it is tried.
    retry: Option<RetryFile>,
    /// Limit for all attempts, such as `2 minutes`; for `ask`, how long the answer may take.
    timeout: Option<String>,
    /// What follows if it fails: `stop`, `continue` or a list of steps.
    on_fail: Option<OnFailFile>,
    /// `enrich`: the table.
    table: Option<String>,
    /// `enrich`: the column of the table.
    key: Option<String>,
    /// `enrich`: the value of the column.
    value: Option<String>,
    /// `enrich`: a look-up of a responder and its value.
    lookup: Option<String>,
    /// Arguments of a command.
    args: Option<BTreeMap<String, Value>>,
    /// The consumer ends the command by itself after this long.
    duration: Option<String>,
    /// `ask`: who may answer.
    approvers: Option<Vec<String>>,
    /// `ask`: what silence means, `deny` or `approve`.
    on_timeout: Option<String>,
    /// `ask`: what a no means, `stop` or `continue`.
    on_deny: Option<String>,
    /// `notify`: a channel or person.
    to: Option<String>,
    /// `ticket`: its title.
    title: Option<String>,
    /// `ticket`: its text.
    text: Option<String>,
    /// `ticket`: fields of the responder.
    fields: Option<BTreeMap<String, String>>,
    /// Looks something up and keeps it under this name.
    enrich: Option<String>,
    /// Asks a person this question.
    ask: Option<String>,
    /// Tells people this.
    notify: Option<String>,
    /// `open`, `update` or `close`.
    ticket: Option<String>,
    /// OpenC2: examine a target systematically.
    scan: Option<TargetFile>,
    /// OpenC2: find.
    locate: Option<TargetFile>,
    /// OpenC2: ask.
    query: Option<TargetFile>,
    /// OpenC2: block, such as `domain_name ${alert.entities.domain}`.
    deny: Option<TargetFile>,
    /// OpenC2: isolate, such as `device ${alert.entities.host}`.
    contain: Option<TargetFile>,
    /// OpenC2: permit or release.
    allow: Option<TargetFile>,
    /// OpenC2: begin.
    start: Option<TargetFile>,
    /// OpenC2: end, such as `process ${alert.entities.process}`.
    stop: Option<TargetFile>,
    /// OpenC2: end and begin.
    restart: Option<TargetFile>,
    /// OpenC2: take back a command.
    cancel: Option<TargetFile>,
    /// OpenC2: change a value, such as `account ${alert.entities.user}` with `args: { password: reset }`.
    set: Option<TargetFile>,
    /// OpenC2: bring up to date.
    update: Option<TargetFile>,
    /// OpenC2: send elsewhere.
    redirect: Option<TargetFile>,
    /// OpenC2: add.
    create: Option<TargetFile>,
    /// OpenC2: remove.
    delete: Option<TargetFile>,
    /// OpenC2: run and watch.
    detonate: Option<TargetFile>,
    /// OpenC2: return to a known state.
    restore: Option<TargetFile>,
    /// OpenC2: duplicate.
    copy: Option<TargetFile>,
    /// OpenC2: look into.
    investigate: Option<TargetFile>,
    /// OpenC2: mend.
    remediate: Option<TargetFile>,
}

/// `KIND VALUE`, or one kind with its fields.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Target")]
#[expect(dead_code, reason = "the type exists for its schema")]
enum TargetFile {
    Short(String),
    Fields(BTreeMap<String, Value>),
}

/// How often a step is tried; the wait doubles each time.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Retry")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct RetryFile {
    /// Attempts in all.
    #[schemars(range(min = 1, max = 20))]
    attempts: Option<u32>,
    /// Wait before the second attempt, such as `2 seconds`.
    backoff: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged, rename = "OnFail")]
#[expect(dead_code, reason = "the type exists for its schema")]
enum OnFailFile {
    Word(StopOrContinue),
    Steps(Vec<StepFile>),
}

/// A responder: how commands, tickets and messages become HTTP calls of one vendor.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Responder")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct ResponderFile {
    /// Name in playbooks.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_]*$"))]
    id: String,
    /// One line for people.
    name: Option<String>,
    /// What it stands for and what to set.
    description: Option<String>,
    /// URL that all paths are below; `${NAME}` is a setting.
    base_url: String,
    /// Whether secrets may be sent without TLS to other machines.
    allow_http: Option<bool>,
    /// How requests prove who sends them; secrets by name.
    auth: Option<AuthFile>,
    /// Headers of every request.
    headers: Option<BTreeMap<String, String>>,
    /// The header that carries the idempotency key.
    idempotency_header: Option<String>,
    /// Limit for one exchange, such as `30 seconds`.
    timeout: Option<String>,
    /// Words of ours to words of the vendor, by name; `default` stands for all others.
    maps: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    /// What it can do.
    operations: Vec<OperationFile>,
}

/// Exactly one of the three; every secret is the name of a setting.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Auth")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct AuthFile {
    /// `Authorization: Bearer`.
    bearer: Option<String>,
    /// `Authorization: Basic`, with `user` and `password`.
    basic: Option<BTreeMap<String, String>>,
    /// A header of the vendor's own, with `name`, `prefix` and `secret`.
    header: Option<BTreeMap<String, String>>,
}

/// How one operation is carried out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Operation")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct OperationFile {
    /// `contain device`, `ticket open`, `notify` or `lookup NAME`.
    does: String,
    /// Asked before something is made; what it finds is used instead.
    search: Option<LookupFile>,
    /// Asked first, for values the vendor needs; later templates say `${found.NAME}`.
    lookup: Option<LookupsFile>,
    /// Path of a GET.
    get: Option<String>,
    /// Path of a POST.
    post: Option<String>,
    /// Path of a PUT.
    put: Option<String>,
    /// Path of a PATCH.
    patch: Option<String>,
    /// Path of a DELETE.
    delete: Option<String>,
    /// Query parameters.
    query: Option<BTreeMap<String, String>>,
    /// Headers of this call.
    headers: Option<BTreeMap<String, String>>,
    /// JSON body.
    body: Option<Value>,
    /// Statuses that mean done; every 2xx where it is left out.
    success: Option<Vec<u16>>,
    /// JSON pointer to the id of what was made.
    external_id: Option<String>,
    /// Values of the answer to keep: name to JSON pointer.
    take: Option<BTreeMap<String, String>>,
    /// Proof that it took effect.
    verify: Option<VerifyFile>,
    /// `inverse`, `cancel` or `none: WHY`.
    undo: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged, rename = "Lookups")]
#[expect(dead_code, reason = "the type exists for its schema")]
enum LookupsFile {
    One(LookupFile),
    Many(Vec<LookupFile>),
}

/// A call for values.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Lookup")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct LookupFile {
    /// Path of a GET.
    get: Option<String>,
    /// Path of a POST, for search interfaces that want one.
    post: Option<String>,
    /// Query parameters.
    query: Option<BTreeMap<String, String>>,
    /// Headers.
    headers: Option<BTreeMap<String, String>>,
    /// JSON body.
    body: Option<Value>,
    /// What to keep: name to JSON pointer.
    take: BTreeMap<String, String>,
}

/// A GET that proves the state.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Verify")]
#[expect(dead_code, reason = "the type exists for its schema")]
struct VerifyFile {
    /// Path of a GET.
    get: String,
    /// Query parameters.
    query: Option<BTreeMap<String, String>>,
    /// Headers.
    headers: Option<BTreeMap<String, String>>,
    /// JSON pointers and the values that must stand there.
    expect: BTreeMap<String, Value>,
    /// How often it is asked.
    #[schemars(range(min = 1, max = 100))]
    attempts: Option<u32>,
    /// How long to wait between, such as `2 seconds`.
    every: Option<String>,
}

/// The JSON Schema of a playbook file.
#[must_use]
pub fn playbook() -> Schema {
    schema_for!(PlaybookFile)
}

/// The JSON Schema of a responder file.
#[must_use]
pub fn responder() -> Schema {
    schema_for!(ResponderFile)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::playbook::{PLAYBOOK_KEYS, RETRY_KEYS, STEP_KEYS};
    use crate::responder::{AUTH_KEYS, LOOKUP_KEYS, OPERATION_KEYS, RESPONDER_KEYS, VERIFY_KEYS};

    fn keys(schema: &Value) -> BTreeSet<String> {
        schema["properties"].as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn schemas_and_readers_know_the_same_keys() {
        let (playbook, responder) = (playbook().to_value(), responder().to_value());
        for (schema, known) in [
            (&playbook, PLAYBOOK_KEYS),
            (&playbook["$defs"]["Step"], STEP_KEYS),
            (&playbook["$defs"]["Retry"], RETRY_KEYS),
            (&responder, RESPONDER_KEYS),
            (&responder["$defs"]["Auth"], AUTH_KEYS),
            (&responder["$defs"]["Operation"], OPERATION_KEYS),
            (&responder["$defs"]["Lookup"], LOOKUP_KEYS),
            (&responder["$defs"]["Verify"], VERIFY_KEYS),
        ] {
            let known: BTreeSet<String> = known.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(keys(schema), known);
        }
    }
}
