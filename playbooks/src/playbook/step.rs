//! One step: its verb, the keys that belong to the verb, and the keys that every step has.

use std::time::Duration;

use crate::body::Body;
use crate::openc2::{Action, TargetKind, nearest_action, nearest_target};
use crate::problem::{Problem, Span, codes, meant, nearest};
use crate::template::{Check, Template, locate};
use crate::yaml::{Fields, Key, Node, Tree};

use super::draft::Stray;
use super::read::{condition, is_name, suggest};
use super::{OnFail, Retry, Source, Step, TargetTemplate, TicketDeed, What, names};

/// The verbs: OpenC2 actions and Weir's own.
pub(crate) const ACTION_KEYS: &[&str] = &[
    "enrich",
    "ask",
    "notify",
    "ticket",
    "scan",
    "locate",
    "query",
    "deny",
    "contain",
    "allow",
    "start",
    "stop",
    "restart",
    "cancel",
    "set",
    "update",
    "redirect",
    "create",
    "delete",
    "detonate",
    "restore",
    "copy",
    "investigate",
    "remediate",
];

/// Every key that some step may have.
pub(crate) const STEP_KEYS: &[&str] = &[
    "id",
    "if",
    "responder",
    "retry",
    "timeout",
    "on_fail",
    "table",
    "key",
    "value",
    "lookup",
    "args",
    "duration",
    "approvers",
    "on_timeout",
    "on_deny",
    "to",
    "title",
    "text",
    "fields",
    // The verbs.
    "enrich",
    "ask",
    "notify",
    "ticket",
    "scan",
    "locate",
    "query",
    "deny",
    "contain",
    "allow",
    "start",
    "stop",
    "restart",
    "cancel",
    "set",
    "update",
    "redirect",
    "create",
    "delete",
    "detonate",
    "restore",
    "copy",
    "investigate",
    "remediate",
];

/// Keys of `retry`.
pub(crate) const RETRY_KEYS: &[&str] = &["attempts", "backoff"];

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
const DEFAULT_WAIT: Duration = Duration::from_secs(3_600);
const ATTEMPTS_MAX: u64 = 20;
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A step before its neighbours are known.
pub(super) struct RawStep<'a> {
    pub(super) id: Id,
    /// The step or, where it could not be read, what it says about the outside.
    pub(super) step: Result<Step, Stray>,
    /// The steps of `on_fail`, where it is a list.
    pub(super) on_fail: Option<&'a Node>,
}

/// The name of a step and where it stands; a name that nobody wrote stands where the step does.
pub(super) struct Id {
    pub(super) text: String,
    pub(super) span: Span,
}

/// Reads a step. `None` where it is no mapping.
pub(super) fn read<'a>(
    item: &'a Node,
    (prefix, at): (&str, usize),
    check: &Check<'_>,
    default_on_fail: OnFail,
    problems: &mut Vec<Problem>,
) -> Option<RawStep<'a>> {
    let mut fields = Fields::open(item, "a step", STEP_KEYS, codes::P, problems)?;
    let verb = fields.take_first(|name| ACTION_KEYS.contains(&name));
    let id = id(item, (prefix, at), &mut fields, problems);
    let when = fields.take("if").and_then(|node| condition(node, check.source, check.names, problems));
    let responder = fields.take("responder").and_then(|node| named(node, "responder", problems));
    let timeout = fields.duration("timeout", problems);
    let retry = retry(&mut fields, problems);
    let (on_fail, branch) = on_fail(&mut fields, default_on_fail, problems);
    let table = fields.peek("table").and_then(|node| Some((node.text()?, node.span)));
    let what = match verb {
        Some((verb, value)) => {
            let what = what(verb, value, &mut fields, timeout, check, problems);
            fields.close(problems);
            what
        }
        None => {
            no_verb(item, &mut fields, check, problems);
            fields.close_unknown(problems);
            None
        }
    };
    let step = match what {
        Some(what) => Ok(Step {
            id: id.text.clone(),
            span: verb.map_or(item.span, |(verb, _)| verb.span),
            when,
            what,
            responder,
            retry,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            on_fail,
            next: None,
        }),
        None => Err(Stray { responder, table }),
    };
    Some(RawStep { id, step, on_fail: branch })
}

fn id(item: &Node, (prefix, at): (&str, usize), fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Id {
    let written = fields.take("id").and_then(|node| named(node, "id", problems));
    let (text, span) = written.unwrap_or_else(|| {
        let keys: &[(Key, Node)] = if let Tree::Map(keys) = &item.tree { keys } else { &[] };
        let verb = names::verb_meant(keys).map_or("step", |(verb, _)| verb);
        (names::default_id(prefix, at, verb), item.span)
    });
    if !is_name(&text) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        problems.push(
            Problem::new(codes::PLAYBOOK_VALUE, span, format!("`{text}` is no name"))
                .hint("a name has letters, digits and `_`"),
        );
    }
    Id { text, span }
}

/// A name, and where it stands.
fn named(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<(String, Span)> {
    let name = node.text();
    if name.is_none() {
        problems.push(Problem::new(codes::PLAYBOOK_VALUE, node.span, format!("`{key}` is a name")));
    }
    Some((name?, node.span))
}

/// Says that the step has no verb; where one is misspelt, its value is checked as far as it can be without knowing it.
fn no_verb(item: &Node, fields: &mut Fields<'_>, check: &Check<'_>, problems: &mut Vec<Problem>) {
    let Some((key, value)) = fields.take_first(|name| !STEP_KEYS.contains(&name)) else {
        problems.push(
            Problem::new(codes::UNKNOWN_ACTION, item.span, "the step does not say what to do")
                .hint(format!("begin it with one of {}", ACTION_KEYS.join(", "))),
        );
        return;
    };
    problems.push(
        Problem::new(codes::UNKNOWN_ACTION, key.span, format!("`{}` is nothing a step can do", key.name))
            .maybe_hint(nearest_action(&key.name, ACTION_KEYS.iter().copied())),
    );
    for node in std::iter::once(value).chain(fields.left()) {
        Body::read(node, check, problems);
    }
}

fn retry(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Retry {
    let default = Retry::default();
    let Some(node) = fields.take("retry") else { return default };
    let Some(mut inner) = Fields::open(node, "`retry`", RETRY_KEYS, codes::P, problems) else { return default };
    let attempts =
        inner.whole("attempts", 1, ATTEMPTS_MAX, problems).map_or(default.attempts, |attempts| attempts as u32);
    let backoff = inner.duration("backoff", problems).unwrap_or(default.backoff);
    inner.close(problems);
    Retry { attempts, backoff }
}

fn on_fail<'a>(fields: &mut Fields<'a>, default: OnFail, problems: &mut Vec<Problem>) -> (OnFail, Option<&'a Node>) {
    let Some(node) = fields.take("on_fail") else { return (default, None) };
    match (&node.tree, node.text().as_deref()) {
        (Tree::List(_), _) => (OnFail::Continue, Some(node)),
        (_, Some("stop")) => (OnFail::Stop, None),
        (_, Some("continue")) => (OnFail::Continue, None),
        _ => {
            fields.wrong(node, "on_fail", "`stop`, `continue` or a list of steps", problems);
            (default, None)
        }
    }
}

fn what(
    verb: &Key,
    value: &Node,
    fields: &mut Fields<'_>,
    timeout: Option<Duration>,
    check: &Check<'_>,
    problems: &mut Vec<Problem>,
) -> Option<What> {
    match verb.name.as_str() {
        "enrich" => enrich(value, fields, check, problems),
        "ask" => ask(words(verb, value, check, problems), value.span, fields, timeout, problems),
        "notify" => {
            let text = words(verb, value, check, problems);
            let to = fields.take("to").and_then(|node| template(node, check, problems));
            Some(What::Notify { text: text?, to })
        }
        "ticket" => ticket(value, fields, check, problems),
        word => act(Action::of_word(word)?, value, fields, check, problems),
    }
}

fn enrich(value: &Node, fields: &mut Fields<'_>, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<What> {
    let name = value.text().unwrap_or_default();
    if !is_name(&name) || ["alert", "case", "run", "playbook", "ticket", "steps"].contains(&name.as_str()) {
        problems.push(
            Problem::new(codes::PLAYBOOK_VALUE, value.span, format!("`{name}` cannot be the name of a result"))
                .hint("name it after what is looked up, such as `asset`"),
        );
    }
    if let Some(node) = fields.take("lookup") {
        let Some((lookup, rest)) = first_word(node, check, problems) else {
            problems.push(
                Problem::new(codes::PLAYBOOK_VALUE, node.span, "a look-up has a name and a value")
                    .hint("write `lookup: reputation ${alert.entities.domain}`"),
            );
            return None;
        };
        return Some(What::Enrich { name, source: Source::Lookup { lookup, value: rest } });
    }
    let (table, value) = (fields.take("table"), fields.take("value"));
    let has_column = fields.peek("key").is_some();
    let column = fields.text("key", problems);
    let is_complete = table.is_some() && has_column && value.is_some();
    let table = table.and_then(|node| named(node, "table", problems));
    let value = value.and_then(|node| template(node, check, problems));
    if !is_complete {
        let message = "`enrich` needs `table`, `key` and `value`, or `lookup`";
        problems.push(Problem::new(codes::PLAYBOOK_MISSING, fields.span, message));
    }
    let (table, span) = table?;
    Some(What::Enrich { name, source: Source::Table { table, span, column: column?, value: value? } })
}

fn ask(
    question: Option<Template>,
    span: Span,
    fields: &mut Fields<'_>,
    timeout: Option<Duration>,
    problems: &mut Vec<Problem>,
) -> Option<What> {
    let approvers = fields.texts("approvers", problems);
    let silence_approves = fields.word("on_timeout", &[("deny", false), ("approve", true)], problems).unwrap_or(false);
    let go_on = fields.word("on_deny", &[("stop", false), ("continue", true)], problems).unwrap_or(false);
    let wait = timeout.unwrap_or(DEFAULT_WAIT);
    if wait > WAIT_MAX {
        problems.push(Problem::new(codes::PLAYBOOK_VALUE, span, "an answer may take at most 30 days"));
    }
    Some(What::Ask { question: question?, approvers, wait, silence_approves, go_on })
}

fn ticket(value: &Node, fields: &mut Fields<'_>, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<What> {
    const DEEDS: [(&str, TicketDeed); 3] =
        [("open", TicketDeed::Open), ("update", TicketDeed::Update), ("close", TicketDeed::Close)];
    let word = value.text().unwrap_or_default();
    let deed = DEEDS.into_iter().find(|(name, _)| *name == word).map(|(_, deed)| deed);
    if deed.is_none() {
        let problem = Problem::new(codes::UNKNOWN_ACTION, value.span, format!("a ticket cannot be told to `{word}`"));
        problems.push(problem.maybe_hint(nearest(&word, DEEDS.map(|(name, _)| name))));
    }
    let mut pairs = Vec::new();
    for name in ["title", "text"] {
        if let Some(template) = fields.take(name).and_then(|node| template(node, check, problems)) {
            pairs.push((name.to_owned(), template));
        }
    }
    for (key, node) in fields.pairs("fields", problems) {
        if let Some(template) = template(node, check, problems) {
            pairs.push((key.name.clone(), template));
        }
    }
    if deed == Some(TicketDeed::Open) && !pairs.iter().any(|(name, _)| name == "title") {
        pairs.push(("title".to_owned(), Template::read("${alert.title}", value.span, check, problems)));
    }
    Some(What::Ticket { deed: deed?, fields: pairs })
}

fn act(
    action: Action,
    value: &Node,
    fields: &mut Fields<'_>,
    check: &Check<'_>,
    problems: &mut Vec<Problem>,
) -> Option<What> {
    let target = target(action, value, check, problems);
    let mut args = Vec::new();
    for (key, node) in fields.pairs("args", problems) {
        args.push((key.name.clone(), Body::read(node, check, problems)));
    }
    let duration = fields.duration("duration", problems);
    Some(What::Act { action, target: target?, args, duration })
}

fn target(action: Action, value: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<TargetTemplate> {
    if let Tree::Map(pairs) = &value.tree {
        let [(key, node)] = pairs.as_slice() else {
            problems.push(Problem::new(codes::UNKNOWN_ACTION, value.span, "a command has exactly one target"));
            return None;
        };
        let Some(kind) = target_kind(&key.name, key.span, problems) else {
            Body::read(node, check, problems);
            return None;
        };
        return long_target(kind, node, check, problems);
    }
    let Some((word, template)) = first_word(value, check, problems) else {
        problems.push(
            Problem::new(codes::UNKNOWN_ACTION, value.span, format!("`{action}` needs a kind of target and a value"))
                .hint(format!("write `{action}: device ${{alert.entities.host}}`")),
        );
        return None;
    };
    let span = locate(check.source, value.span, &word);
    Some(TargetTemplate::Short(target_kind(&word, span, problems)?, template))
}

fn long_target(
    kind: TargetKind,
    node: &Node,
    check: &Check<'_>,
    problems: &mut Vec<Problem>,
) -> Option<TargetTemplate> {
    let Tree::Map(pairs) = &node.tree else {
        return Some(TargetTemplate::Short(kind, template(node, check, problems)?));
    };
    let mut fields = Vec::new();
    for (key, node) in pairs {
        if kind.fields().contains(&key.name.as_str()) {
            fields.extend(template(node, check, problems).map(|template| (key.name.clone(), template)));
        } else {
            let message = format!("`{kind}` has no field `{}`", key.name);
            problems.push(
                Problem::new(codes::UNKNOWN_ACTION, key.span, message).maybe_hint(suggest(&key.name, kind.fields())),
            );
        }
    }
    Some(TargetTemplate::Fields(kind, fields))
}

fn target_kind(word: &str, span: Span, problems: &mut Vec<Problem>) -> Option<TargetKind> {
    let kind = TargetKind::of_word(word);
    if kind.is_none() {
        let hint = nearest_target(word, TargetKind::ALL.iter().map(|kind| kind.as_str()));
        problems.push(
            Problem::new(codes::UNKNOWN_ACTION, span, format!("unknown kind of target `{word}`")).maybe_hint(hint),
        );
    }
    kind
}

/// The first word of a text, and the rest of it as a template.
fn first_word(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<(String, Template)> {
    let text = node.text()?;
    let (word, rest) = text.trim().split_once(char::is_whitespace)?;
    (!rest.trim().is_empty()).then(|| (word.to_owned(), Template::read(rest.trim(), node.span, check, problems)))
}

/// Keys that stand beside what people are told or asked.
const BESIDE_WORDS: [&str; 10] =
    ["id", "if", "responder", "retry", "timeout", "on_fail", "approvers", "on_timeout", "on_deny", "to"];

/// What people are told or asked. A number or `yes` is nothing that they could make sense of.
fn words(verb: &Key, node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Template> {
    if let Tree::Text(text) = &node.tree {
        return Some(Template::read(text, node.span, check, problems));
    }
    let message = format!("`{}` is followed by words for people, not by {}", verb.name, node.in_words());
    let Tree::Map(pairs) = &node.tree else {
        let hint = format!("write `{}: About ${{alert.title}}`", verb.name);
        problems.push(Problem::new(codes::PLAYBOOK_VALUE, node.span, message).hint(hint));
        return None;
    };
    let hint = "write the words behind it, and other keys below it, as far in as it is";
    problems.push(Problem::new(codes::PLAYBOOK_VALUE, verb.span, message).hint(hint));
    for (key, value) in pairs {
        if let Some(known) = meant(&key.name, BESIDE_WORDS).filter(|known| *known != key.name) {
            let unknown = Problem::new(codes::PLAYBOOK_KEY, key.span, format!("unknown key `{}`", key.name));
            problems.push(unknown.hint(format!("did you mean `{known}`?")));
        }
        Body::read(value, check, problems);
    }
    None
}

fn template(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Template> {
    match node.text() {
        Some(text) => Some(match &node.tree {
            Tree::Text(_) => Template::read(&text, node.span, check, problems),
            _ => Template::literal(text),
        }),
        None => {
            problems.push(Problem::new(codes::PLAYBOOK_VALUE, node.span, "text is needed here"));
            None
        }
    }
}
