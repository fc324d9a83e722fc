//! From the text of a responder file to its types.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::body::Body;
use crate::fields::{Kind, Names};
use crate::http::{Auth, Method};
use crate::openc2::{Action, TargetKind, nearest_action, nearest_target};
use crate::playbook::{Operation, TicketDeed, is_name};
use crate::problem::{Problem, Span, codes};
use crate::template::{Check, Filter, Maps, Part, Template};
use crate::yaml::{self, Fields, Key, Node, Tree};

use super::{Call, Described, Lookup, Responder, UndoRule, Unread, Verify};

/// Keys of the header.
pub(crate) const RESPONDER_KEYS: &[&str] = &[
    "id",
    "name",
    "description",
    "base_url",
    "allow_http",
    "auth",
    "headers",
    "idempotency_header",
    "timeout",
    "maps",
    "operations",
];
/// Keys of `auth`.
pub(crate) const AUTH_KEYS: &[&str] = &["bearer", "basic", "header"];
/// Keys of an operation.
pub(crate) const OPERATION_KEYS: &[&str] = &[
    "does",
    "search",
    "lookup",
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "query",
    "headers",
    "body",
    "success",
    "external_id",
    "take",
    "verify",
    "undo",
];
/// Keys of `search` and `lookup`.
pub(crate) const LOOKUP_KEYS: &[&str] = &["get", "post", "query", "headers", "body", "take"];
/// Keys of `verify`.
pub(crate) const VERIFY_KEYS: &[&str] = &["get", "query", "headers", "expect", "attempts", "every"];

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn responder(text: &str) -> Result<Responder, Unread> {
    let mut unread = Unread::default();
    let responder = match yaml::parse(text, codes::R, &mut unread.problems) {
        Ok(root) => header(text, &root, &mut unread),
        Err(problem) => {
            unread.problems.push(problem);
            None
        }
    };
    match responder {
        Some(responder) if unread.problems.is_empty() => Ok(responder),
        _ => {
            unread.problems.sort_by_key(|problem| problem.span);
            Err(unread)
        }
    }
}

fn header(text: &str, root: &Node, unread: &mut Unread) -> Option<Responder> {
    let problems = &mut unread.problems;
    let mut fields = Fields::open(root, "a responder", RESPONDER_KEYS, codes::R, problems)?;
    let id = fields.name_required("id", problems);
    let name = fields.text("name", problems);
    let description = fields.text("description", problems).unwrap_or_default();
    let base_url = fields.take("base_url");
    if base_url.is_none() {
        fields.missing("base_url", problems);
    }
    let allow_http = fields.word("allow_http", &[("true", true), ("false", false)], problems).unwrap_or(false);
    let auth = fields.take("auth").map(|node| auth(node, problems)).unwrap_or_default();
    let maps = maps(fields.pairs("maps", problems), problems);
    let idempotency_header = fields.text("idempotency_header", problems);
    let timeout = fields.duration("timeout", problems).unwrap_or(DEFAULT_TIMEOUT);
    let names = names();
    let check = Check { source: text, names: &names, maps: &maps, family: codes::R };
    let headers = headers(&mut fields, &check, problems);
    let operations = fields.take("operations");
    if operations.is_none() {
        fields.missing("operations", problems);
    }
    let operations = operations.and_then(|node| operations_of(node, &check, problems));
    fields.close(problems);
    unread.id.clone_from(&id);
    let does = operations.iter().flatten().map(|operation| operation.does.clone());
    unread.does = operations.as_ref().and_then(|_| does.collect());
    let (id, base_url) = (id?, base_url?);
    Some(Responder {
        name: name.unwrap_or_else(|| id.clone()),
        id,
        description,
        base_url: base_url.text().unwrap_or_default(),
        base_url_span: base_url.span,
        base: None,
        allow_http,
        auth,
        headers,
        idempotency_header,
        timeout,
        operations: operations?.into_iter().filter_map(|operation| operation.described).collect(),
    })
}

/// The names that responder templates can use: the facts, the command, what was found, and the fields of the step.
fn names() -> Names {
    let mut names = crate::fields::facts();
    let target = TargetKind::ALL.iter().flat_map(|kind| kind.fields()).copied();
    let target = target
        .map(|name| (name, Names::Leaf(Kind::Text)))
        .chain([("value", Names::Leaf(Kind::Text)), ("pid", Names::Leaf(Kind::Any))]);
    names.add("target", Names::branch(target));
    names.add("args", Names::Open);
    names.add("fields", Names::Open);
    names.add("found", Names::Open);
    let command = ["id", "action", "text"].map(|name| (name, Names::Leaf(Kind::Text)));
    names.add("command", Names::branch(command));
    let message = ["text", "to"].map(|name| (name, Names::Leaf(Kind::Text)));
    names.add("message", Names::branch(message));
    names.add("lookup", Names::branch([("value", Names::Leaf(Kind::Text))]));
    names.add("external_id", Names::Leaf(Kind::Text));
    names
}

fn auth(node: &Node, problems: &mut Vec<Problem>) -> Auth {
    if node.text().as_deref() == Some("none") {
        return Auth::None;
    }
    let Some(mut fields) = Fields::open(node, "`auth`", AUTH_KEYS, codes::R, problems) else { return Auth::None };
    let (mut found, problems_before) = (Vec::new(), problems.len());
    if let Some(secret) = fields.text("bearer", problems) {
        found.push(Auth::Bearer(secret));
    }
    if let Some(node) = fields.take("basic")
        && let Some(mut inner) = Fields::open(node, "`basic`", &["user", "password"], codes::R, problems)
    {
        let (user, password) = (inner.text_required("user", problems), inner.text_required("password", problems));
        inner.close(problems);
        found.extend(user.zip(password).map(|(user, password)| Auth::Basic { user, password }));
    }
    if let Some(node) = fields.take("header")
        && let Some(mut inner) = Fields::open(node, "`header`", &["name", "prefix", "secret"], codes::R, problems)
    {
        let (name, secret) = (inner.text_required("name", problems), inner.text_required("secret", problems));
        let prefix = inner.text("prefix", problems).unwrap_or_default();
        inner.close(problems);
        found.extend(name.zip(secret).map(|(name, secret)| Auth::Header { name, prefix, secret }));
    }
    fields.close(problems);
    if found.len() != 1 && problems.len() == problems_before {
        problems.push(
            Problem::new(codes::RESPONDER_VALUE, node.span, "`auth` is exactly one of bearer, basic and header")
                .hint("write `auth: { bearer: NAME_OF_THE_SECRET }`"),
        );
    }
    found.into_iter().next().unwrap_or_default()
}

fn maps(pairs: &[(Key, Node)], problems: &mut Vec<Problem>) -> Maps {
    let mut maps = Maps::new();
    for (key, node) in pairs {
        let Tree::Map(entries) = &node.tree else {
            problems.push(Problem::new(codes::RESPONDER_VALUE, node.span, "a map has keys and values"));
            continue;
        };
        let map: BTreeMap<_, _> = entries.iter().map(|(key, node)| (key.name.clone(), node.json())).collect();
        maps.insert(key.name.clone(), map);
    }
    maps
}

fn headers(fields: &mut Fields<'_>, check: &Check<'_>, problems: &mut Vec<Problem>) -> Vec<(String, Template)> {
    let mut headers = Vec::new();
    for (key, node) in fields.pairs("headers", problems) {
        if key.name.is_empty() || !key.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            problems.push(Problem::new(codes::RESPONDER_VALUE, key.span, format!("`{}` is no header", key.name)));
        }
        let text = node.text().unwrap_or_default();
        headers.push((key.name.clone(), Template::read(&text, node.span, check, problems)));
    }
    headers
}

/// An operation as far as it can be read.
struct RawOperation {
    does: Option<Operation>,
    /// Where the file says what it does.
    span: Span,
    undo: Option<UndoRule>,
    described: Option<Described>,
}

fn operations_of(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Vec<RawOperation>> {
    let Tree::List(items) = &node.tree else {
        problems.push(Problem::new(codes::RESPONDER_VALUE, node.span, "`operations` is a list"));
        return None;
    };
    let read: Vec<RawOperation> = items.iter().map(|item| operation(item, check, problems)).collect();
    for (at, one) in read.iter().enumerate() {
        let Some(does) = &one.does else { continue };
        if read[..at].iter().any(|other| other.does.as_ref() == Some(does)) {
            problems.push(Problem::new(codes::RESPONDER_DUPLICATE, one.span, format!("`{does}` is described twice")));
        }
        if let Some(undo) = &one.undo {
            check_undo(does, undo, one.span, &read, problems);
        }
    }
    Some(read)
}

/// Every command that hurts has its undo in the same file, or says that it has none.
fn check_undo(does: &Operation, undo: &UndoRule, span: Span, all: &[RawOperation], problems: &mut Vec<Problem>) {
    let Operation::Command(action, kind, _) = does else { return };
    let wanted = match (undo, action) {
        (UndoRule::None(_), _) => return,
        (UndoRule::Cancel, _) => Operation::Command(Action::Cancel, TargetKind::Command, None),
        (UndoRule::Inverse, Action::Contain | Action::Deny) => Operation::Command(Action::Allow, *kind, None),
        (UndoRule::Inverse, Action::Create) => Operation::Command(Action::Delete, *kind, None),
        (UndoRule::Inverse, Action::Start) => Operation::Command(Action::Stop, *kind, None),
        (UndoRule::Inverse, _) => return,
    };
    // One that could not be read may be the one.
    if !all.iter().any(|other| other.does.as_ref().is_none_or(|does| *does == wanted)) {
        let message = format!("`{does}` cannot be taken back: this file does not describe `{wanted}`");
        problems.push(
            Problem::new(codes::RESPONDER_MISSING, span, message)
                .hint(format!("describe `{wanted}`, or write `undo: \"none: WHY\"`")),
        );
    }
}

fn operation(item: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> RawOperation {
    let Some(mut fields) = Fields::open(item, "an operation", OPERATION_KEYS, codes::R, problems) else {
        return RawOperation { does: None, span: item.span, undo: None, described: None };
    };
    let does = fields.take("does");
    if does.is_none() {
        fields.missing("does", problems);
    }
    let span = does.map_or(item.span, |does| does.span);
    let does = does.and_then(|does| does_what(&does.text().unwrap_or_default(), does.span, problems));
    let search = fields.take("search").and_then(|node| lookup(node, check, problems));
    let mut lookups = Vec::new();
    if let Some(node) = fields.take("lookup") {
        match &node.tree {
            Tree::List(items) => lookups.extend(items.iter().filter_map(|item| lookup(item, check, problems))),
            _ => lookups.extend(lookup(node, check, problems)),
        }
    }
    let call = call(&mut fields, check, problems);
    let success = statuses(&mut fields, problems);
    let external_id = fields.take("external_id").and_then(|node| pointer(node, problems));
    let take = pointers(fields.pairs("take", problems), problems);
    let verify = fields.take("verify").and_then(|node| verify(node, check, problems));
    let undo = undo(&mut fields, problems);
    fields.close(problems);
    let parts = does.clone().zip(call).zip(undo.clone());
    let described = parts.map(|((does, call), undo)| Described {
        does,
        search,
        lookups,
        call,
        success,
        external_id,
        take,
        verify,
        undo,
    });
    RawOperation { does, span, undo, described }
}

fn undo(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Option<UndoRule> {
    let Some(node) = fields.take("undo") else { return Some(UndoRule::Inverse) };
    let text = node.text().unwrap_or_default();
    match text.split_once(':') {
        None if text == "inverse" => Some(UndoRule::Inverse),
        None if text == "cancel" => Some(UndoRule::Cancel),
        Some(("none", why)) if !why.trim().is_empty() => Some(UndoRule::None(why.trim().to_owned())),
        _ => {
            let message = "`undo` is `inverse`, `cancel` or `none: WHY`";
            problems.push(Problem::new(codes::RESPONDER_VALUE, node.span, message));
            None
        }
    }
}

fn does_what(text: &str, span: Span, problems: &mut Vec<Problem>) -> Option<Operation> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let found = match words.as_slice() {
        ["notify"] => Some(Operation::Notify),
        ["ticket", "open"] => Some(Operation::Ticket(TicketDeed::Open)),
        ["ticket", "update"] => Some(Operation::Ticket(TicketDeed::Update)),
        ["ticket", "close"] => Some(Operation::Ticket(TicketDeed::Close)),
        ["lookup", name] if is_name(name) => Some(Operation::Lookup((*name).to_owned())),
        ["set", target, property] if is_name(property) => {
            TargetKind::of_word(target).map(|kind| Operation::Command(Action::Set, kind, Some((*property).to_owned())))
        }
        [action, target] => Action::of_word(action)
            .zip(TargetKind::of_word(target))
            .map(|(action, target)| Operation::Command(action, target, None)),
        _ => None,
    };
    if found.is_none() {
        let actions = Action::ALL.iter().map(|action| action.as_str());
        let hint = match words.as_slice() {
            [action, target] if Action::of_word(action).is_some() => {
                nearest_target(target, TargetKind::ALL.iter().map(|kind| kind.as_str()))
            }
            [action, ..] => nearest_action(action, actions.chain(["ticket", "notify", "lookup"])),
            [] => None,
        };
        let hint =
            hint.unwrap_or_else(|| "write `contain device`, `ticket open`, `notify` or `lookup NAME`".to_owned());
        problems.push(Problem::new(codes::UNKNOWN_OPERATION, span, format!("`{text}` is no operation")).hint(hint));
    }
    found
}

fn lookup(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Lookup> {
    let mut fields = Fields::open(node, "a look-up", LOOKUP_KEYS, codes::R, problems)?;
    let call = call_of(&mut fields, &["get", "post"], LOOKUP_KEYS, check, problems);
    let take = pointers(fields.pairs("take", problems), problems);
    if take.is_empty() {
        fields.missing("take", problems);
    }
    fields.close(problems);
    Some(Lookup { call: call?, take })
}

fn verify(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Verify> {
    let mut fields = Fields::open(node, "`verify`", VERIFY_KEYS, codes::R, problems)?;
    let call = call_of(&mut fields, &["get"], VERIFY_KEYS, check, problems);
    let mut expect = Vec::new();
    for (key, node) in fields.pairs("expect", problems) {
        if !key.name.starts_with('/') {
            not_a_pointer(&key.name, key.span, problems);
        }
        expect.push((key.name.clone(), Body::read(node, check, problems)));
    }
    if expect.is_empty() {
        fields.missing("expect", problems);
    }
    let attempts = fields.whole("attempts", 1, 100, problems).map_or(5, |attempts| attempts as u32);
    let every = fields.duration("every", problems).unwrap_or(Duration::from_secs(1));
    fields.close(problems);
    Some(Verify { call: call?, expect, attempts, every })
}

fn call(fields: &mut Fields<'_>, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Call> {
    call_of(fields, &["get", "post", "put", "patch", "delete"], OPERATION_KEYS, check, problems)
}

fn call_of(
    fields: &mut Fields<'_>,
    methods: &[&str],
    keys: &[&str],
    check: &Check<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Call> {
    let call = fields.take_first(|name| methods.contains(&name));
    if call.is_none() && !fields.has_misspelt(methods) {
        let message = format!("the call is missing: one of {}", methods.join(", "));
        problems.push(
            Problem::new(codes::RESPONDER_MISSING, fields.span, message).hint("write `post: /path/${target.value}`"),
        );
    }
    let (segments, mut query) = call.map(|(_, node)| path(node, check, problems)).unwrap_or_default();
    for (key, node) in fields.pairs("query", problems) {
        query.push((key.name.clone(), query_value(&node.text().unwrap_or_default(), node.span, check, problems)));
    }
    let headers = headers(fields, check, problems);
    let body =
        if keys.contains(&"body") { fields.take("body").map(|node| Body::read(node, check, problems)) } else { None };
    let (key, _) = call?;
    let method = Method::ALL.into_iter().find(|(name, _)| *name == key.name).map(|(_, method)| method)?;
    Some(Call { method, segments, query, headers, body })
}

fn path(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> (Vec<Template>, Vec<(String, Template)>) {
    let text = node.text().unwrap_or_default();
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let Some(path) = path.strip_prefix('/') else {
        problems.push(Problem::new(
            codes::RESPONDER_VALUE,
            node.span,
            "a path begins with `/` and is below `base_url`",
        ));
        return (Vec::new(), Vec::new());
    };
    let segments =
        path.split('/').filter(|part| !part.is_empty()).map(|part| Template::read(part, node.span, check, problems));
    let segments = segments.collect();
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), query_value(value, node.span, check, problems))
    });
    (segments, query.collect())
}

/// A value inside a larger query text would be read by the vendor's query language, so it must be made harmless.
fn query_value(text: &str, span: Span, check: &Check<'_>, problems: &mut Vec<Problem>) -> Template {
    let template = Template::read(text, span, check, problems);
    if template.only_field().is_none() {
        for part in &template.parts {
            if let Part::Field(field) = part
                && !field.filters.iter().any(|filter| matches!(filter, Filter::Plain | Filter::Quoted | Filter::Map(_)))
            {
                let message = format!("`${{{}}}` inside a query could be read as syntax", field.name());
                problems.push(Problem::new(codes::RESPONDER_FIELD, span, message).hint(format!(
                    "write `${{{} | plain}}` or `${{{} | quoted}}`",
                    field.name(),
                    field.name()
                )));
            }
        }
    }
    template
}

fn statuses(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Vec<u16> {
    let Some(node) = fields.take("success") else { return Vec::new() };
    let Tree::List(items) = &node.tree else {
        fields.wrong(node, "success", "a list of statuses", problems);
        return Vec::new();
    };
    let statuses = items.iter().filter_map(|item| match &item.tree {
        Tree::Number(number) => {
            number.as_u64().filter(|status| (100..600).contains(status)).map(|status| status as u16)
        }
        _ => None,
    });
    let statuses: Vec<u16> = statuses.collect();
    if statuses.len() != items.len() {
        fields.wrong(node, "success", "a list of statuses from 100 to 599", problems);
    }
    statuses
}

fn pointers(pairs: &[(Key, Node)], problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    pairs.iter().filter_map(|(key, node)| Some((key.name.clone(), pointer(node, problems)?))).collect()
}

fn pointer(node: &Node, problems: &mut Vec<Problem>) -> Option<String> {
    let text = node.text().unwrap_or_default();
    if text.starts_with('/') {
        return Some(text);
    }
    not_a_pointer(&text, node.span, problems);
    None
}

fn not_a_pointer(text: &str, span: Span, problems: &mut Vec<Problem>) {
    problems.push(
        Problem::new(codes::RESPONDER_VALUE, span, format!("`{text}` is no JSON pointer"))
            .hint("write `/result/id` for the field `id` of the object `result`"),
    );
}
