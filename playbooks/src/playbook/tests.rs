//! Claims about playbook files.

use std::collections::BTreeMap;

use super::*;
use crate::responder::Responder;
use crate::sample::alert;

fn problems(text: &str) -> Vec<String> {
    Playbook::parse(text).expect_err("must be refused").iter().map(ToString::to_string).collect()
}

fn linked(steps: &str, responders: &[&str]) -> Vec<String> {
    let playbook =
        Playbook::parse(&format!("id: p\nsteps:\n{steps}")).unwrap_or_else(|problems| panic!("{problems:?}"));
    let responders: Responders =
        responders.iter().map(|text| Responder::parse(text).unwrap()).map(|one| (one.id.clone(), one)).collect();
    let outside = Outside { responders: &responders, unread: &BTreeMap::new(), tables: &["assets"] };
    playbook.link(&outside).iter().map(ToString::to_string).collect()
}

/// Everything that is wrong with a text, with the words that are marked.
fn told(text: &str, responders: &[&str]) -> Vec<(String, String)> {
    let (mut read, mut unread) = (Responders::new(), BTreeMap::new());
    for text in responders {
        match Responder::parse(text) {
            Ok(responder) => drop(read.insert(responder.id.clone(), responder)),
            Err(found) => drop(unread.insert(found.id.clone().unwrap_or_default(), found)),
        }
    }
    let outside = Outside { responders: &read, unread: &unread, tables: &["assets"] };
    let (playbook, problems) = Draft::read(text).link(&outside);
    assert_eq!(playbook, Playbook::parse(text).ok(), "a text without mistakes is a playbook");
    problems.iter().map(|problem| (problem.to_string(), marked(text, problem.span))).collect()
}

/// What carets stand below.
fn marked(text: &str, span: Span) -> String {
    let line = text.lines().nth(span.start.line as usize - 1).unwrap_or_default();
    let end = if span.end.line == span.start.line { span.end.column as usize - 1 } else { line.chars().count() };
    line.chars().take(end).skip(span.start.column as usize - 1).collect()
}

const EDR: &str = "
id: edr
base_url: https://edr.test
operations:
  - does: contain device
    post: /x
    undo: 'none: by hand'
";

#[test]
fn every_mistake_of_a_file_is_reported_with_its_place() {
    let text = "
id: p
nmae: Oops
when: alert.severty = 'high'
steps:
  - contian: device ${alert.entities.host}
  - contain: devize ${alert.entities.host}
  - contain: device ${alert.entities.hots}
  - deny: domain_name
  - ticket: opne
  - notify: ${steps.nothing.status}
  - notify: hi
    tmieout: 5 minutes
    retry: { attempts: 0, backof: 1 s }
  - ask: Sure?
    timeout: soon
    on_timeout: maybe
";
    assert_eq!(
        problems(text),
        [
            "3:1: P002 unknown key `nmae`; did you mean `name`?",
            "4:7: P005 unknown field `alert.severty`; did you mean `severity`?",
            "6:5: P008 `contian` is nothing a step can do; did you mean `contain`?",
            "7:14: P008 unknown kind of target `devize`; did you mean `device`?",
            "8:21: P005 unknown field `alert.entities.hots`; did you mean `host`?",
            "9:11: P008 `deny` needs a kind of target and a value; write `deny: device ${alert.entities.host}`",
            "10:13: P008 a ticket cannot be told to `opne`; did you mean `open`?",
            "11:13: P005 unknown field `steps.nothing`; known here: 1_contain, 2_contain, 3_contain, 4_deny, 5_ticket, 6_notify, 7_notify, 8_ask",
            "13:5: P002 unknown key `tmieout`; did you mean `timeout`?",
            "14:24: P004 `attempts` is a whole number from 1 to 20, not `0`",
            "14:27: P002 unknown key `backof`; did you mean `backoff`?",
            "16:14: P004 `timeout` is a duration such as `30 seconds`, `15 minutes` or `2 hours`, not `soon`",
            "17:17: P004 `on_timeout` is one of deny, approve, not `maybe`; known here: deny, approve",
        ]
    );
}

#[test]
fn mistakes_of_form_hide_none_of_meaning_and_each_is_marked_whole() {
    let text = "
id: p
owner: me
when: alert.severty = 'high' and alert.count = 'three'
steps:
  - contian: device ${alert.entities.hots}
    responder: edrr
    on_fail:
      - notify: ${alert.entities.usr}
        responder: nobody
  - contain: device ${alert.entities.host}
    responder: edrr
    retry: 3
  - enrich: asset
    table: asets
    value: ${alert.entities.host}
  - ticket: opne
    title: ${steps.1_contain.staus}
    text: on ${asset.owner} after ${steps.2_contain.status}
  - notify: hi
    id: x
    id: y
  - stop: process ${alert.entities.process}
    responder: edr
";
    let told = told(text, &[EDR]);
    let told: Vec<(&str, &str)> = told.iter().map(|(one, words)| (one.as_str(), words.as_str())).collect();
    assert_eq!(
        told,
        [
            (
                "3:1: P002 unknown key `owner`; known here: id, name, description, when, on_fail, steps, on_close",
                "owner"
            ),
            ("4:7: P005 unknown field `alert.severty`; did you mean `severity`?", "alert.severty"),
            ("4:48: P007 a number cannot be compared with text", "'three'"),
            ("6:5: P008 `contian` is nothing a step can do; did you mean `contain`?", "contian"),
            ("6:21: P005 unknown field `alert.entities.hots`; did you mean `host`?", "${alert.entities.hots}"),
            ("7:16: P009 unknown responder `edrr`; did you mean `edr`?", "edrr"),
            ("9:17: P005 unknown field `alert.entities.usr`; did you mean `user`?", "${alert.entities.usr}"),
            ("10:20: P009 unknown responder `nobody`; known here: edr", "nobody"),
            ("12:16: P009 unknown responder `edrr`; did you mean `edr`?", "edrr"),
            ("13:12: P004 `retry` is a mapping of keys to values, not a number", "3"),
            ("14:5: P003 `enrich` needs `table`, `key` and `value`, or `lookup`", "enrich"),
            ("15:12: P013 unknown table `asets`; did you mean `assets`?", "asets"),
            ("17:13: P008 a ticket cannot be told to `opne`; did you mean `open`?", "opne"),
            ("18:12: P005 unknown field `steps.1_contain.staus`; did you mean `status`?", "${steps.1_contain.staus}"),
            ("20:5: P010 no responder can `notify`; describe `notify` in a file in `responders/`", "notify"),
            ("22:5: P001 the key `id` is there twice", "id"),
            ("24:16: P010 responder `edr` cannot `stop process`; describe `stop process` in that file", "edr"),
        ]
    );
}

#[test]
fn responder_that_cannot_be_read_is_not_called_unknown() {
    let step = "id: p\nsteps:\n  - contain: device x\n    responder: edr\n  - stop: process x\n    responder: edr\n";
    let told = |responder: &str| told(step, &[responder]).into_iter().map(|(one, _)| one).collect::<Vec<_>>();
    let cannot = "6:16: P010 responder `edr` cannot `stop process`; describe `stop process` in that file";
    assert_eq!(told(EDR), [cannot]);
    // A mistake elsewhere in the file leaves no doubt about what it can do.
    assert_eq!(told(&EDR.replace("base_url", "base_ulr")), [cannot]);
    assert_eq!(told(&EDR.replace("post: /x", "post: x")), [cannot]);
    // Here it may be the very operation that the step asks for.
    assert_eq!(told(&EDR.replace("contain device", "contian device")), [] as [String; 0]);
    let anyone = "id: p\nsteps:\n  - contain: device x\n";
    let unreadable = EDR.replace("contain device", "contian device");
    assert_eq!(self::told(anyone, &[&unreadable]), [] as [(String, String); 0]);
}

#[test]
fn text_of_every_style_is_marked_whole() {
    let text = "
id: p
when: \"alert.severity >= 'hgih'\"
steps:
  - notify: 'to ${alert.titel} on ${alert.entities.hots | lower}'
    to: >-
      folded ${alert.tiem}
    on_fail: soon
  - { contain: devize x, responder: 'édr ✓' }
  - deny: { domain_nam: x }
    timeout: 5 parsecs  # a comment
  - notify: ${alert.title | upper}
";
    let marked: Vec<String> = told(text, &[EDR]).into_iter().map(|(_, words)| words).collect();
    assert_eq!(
        marked,
        [
            "'hgih'",
            "notify",
            "${alert.titel}",
            "${alert.entities.hots | lower}",
            "${alert.tiem}",
            "soon",
            "devize",
            "'édr ✓'",
            "domain_nam",
            "5 parsecs",
            "notify",
            "upper",
        ]
    );
}

#[test]
fn words_of_other_systems_are_told_by_their_own() {
    let text = "
id: p
steps:
  - isolate: host ${alert.entities.host}
  - contain: host ${alert.entities.host}
  - deny: domain ${alert.entities.domain}
  - deny: { ip: '${alert.entities.ip}' }
  - if: steps.1_contain.status = 'done'
    kill: process x
";
    assert_eq!(
        problems(text),
        [
            "4:5: P008 `isolate` is nothing a step can do; did you mean `contain`?",
            "5:14: P008 unknown kind of target `host`; did you mean `device`?",
            "6:11: P008 unknown kind of target `domain`; did you mean `domain_name`?",
            "7:13: P008 unknown kind of target `ip`; did you mean `ipv4_net`?",
            "9:5: P008 `kill` is nothing a step can do; did you mean `stop`?",
        ]
    );
}

#[test]
fn what_people_are_told_and_asked_is_words() {
    let text = "
id: p
steps:
  - notify: 5
  - ask: 5
  - notify: true
  - ask:
      question: Isolate ${alert.entities.hots}?
      aprovers: [soc]
      timeout: 5 minutes
  - notify:
  - notify: [a]
  - notify: '5'
  - ask: Sure?
    aprovers: [soc]
";
    let hint = "write the words behind it, and other keys below it, as far in as it is";
    assert_eq!(
        problems(text),
        [
            "4:13: P004 `notify` is followed by words for people, not by `5`; write `notify: About ${alert.title}`",
            "5:10: P004 `ask` is followed by words for people, not by `5`; write `ask: About ${alert.title}`",
            "6:13: P004 `notify` is followed by words for people, not by `true`; write `notify: About ${alert.title}`",
            &format!("7:5: P004 `ask` is followed by words for people, not by a mapping; {hint}"),
            "8:25: P005 unknown field `alert.entities.hots`; did you mean `host`?",
            "9:7: P002 unknown key `aprovers`; did you mean `approvers`?",
            "11:11: P004 `notify` is followed by words for people, not by nothing; write `notify: About ${alert.title}`",
            "12:13: P004 `notify` is followed by words for people, not by a list; write `notify: About ${alert.title}`",
            "15:5: P002 unknown key `aprovers`; did you mean `approvers`?",
        ]
    );
}

#[test]
fn text_that_is_no_yaml_is_one_problem_with_its_place() {
    let all = problems("id: p\nsteps: [\n");
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("P001"), "{all:?}");
    assert!(problems("- a\n- b\n")[0].contains("P004 a playbook is a mapping"));
    assert!(problems("")[0].contains("a playbook is a mapping"));
}

#[test]
fn missing_keys_and_empty_lists_are_reported() {
    let all = problems("name: x\n");
    assert!(all.iter().any(|one| one.contains("P003 `id` is missing")), "{all:?}");
    assert!(all.iter().any(|one| one.contains("P003 `steps` is missing")), "{all:?}");
    assert!(problems("id: p\nsteps: []\n")[0].contains("at least one step"));
    assert!(problems("id: 'a b'\nsteps:\n  - notify: x\n")[0].contains("is no name"));
}

#[test]
fn two_steps_of_one_name_are_refused() {
    let all = problems("id: p\nsteps:\n  - notify: a\n    id: x\n  - notify: b\n    id: x\n");
    assert!(all[0].contains("P012"), "{all:?}");
}

#[test]
fn endless_playbook_is_refused() {
    let steps = "  - notify: x\n".repeat(STEPS_MAX + 1);
    assert!(problems(&format!("id: p\nsteps:\n{steps}"))[0].contains("are more than the 64"));
}

#[test]
fn on_fail_steps_lead_back_to_the_next_step() {
    let text = "
id: p
steps:
  - notify: a
    on_fail:
      - notify: b
      - notify: c
  - notify: d
";
    let plan = Playbook::parse(text).unwrap().steps;
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["1_notify", "2_notify", "1_notify_fail_1_notify", "1_notify_fail_2_notify"]);
    assert_eq!(plan.steps[0].on_fail, OnFail::Steps(2));
    assert_eq!(plan.steps.iter().map(|step| step.next).collect::<Vec<_>>(), [Some(1), None, Some(3), Some(1)]);
}

#[test]
fn trigger_holds_only_for_alerts_it_means() {
    let open = Playbook::parse("id: p\nsteps:\n  - notify: x\n").unwrap();
    let picky = Playbook::parse("id: p\nwhen: alert.severity >= 'critical'\nsteps:\n  - notify: x\n").unwrap();
    let high = alert("a", &[]);
    assert!(open.applies(&high, true) && !open.applies(&high, false), "without `when`, only a detection starts it");
    assert!(!picky.applies(&high, true), "`when` speaks against it");
    let critical = AlertFacts { severity: crate::facts::Severity::Critical, ..high };
    assert!(picky.applies(&critical, false));
}

#[test]
fn step_that_nobody_can_carry_out_is_found_at_load() {
    let contain = "  - contain: device ${alert.entities.host}\n";
    assert_eq!(linked(contain, &[EDR]), [] as [String; 0]);
    assert_eq!(
        linked(contain, &[]),
        ["3:5: P010 no responder can `contain device`; describe `contain device` in a file in `responders/`"]
    );
    let two = EDR.replace("id: edr", "id: other");
    assert_eq!(
        linked(contain, &[EDR, &two]),
        ["3:5: P011 several responders can `contain device`: edr, other; say which: `responder: edr`"]
    );
    assert_eq!(
        linked(&format!("{contain}    responder: edrr\n"), &[EDR]),
        ["4:16: P009 unknown responder `edrr`; did you mean `edr`?"]
    );
    assert_eq!(
        linked("  - stop: process x\n    responder: edr\n", &[EDR]),
        ["4:16: P010 responder `edr` cannot `stop process`; describe `stop process` in that file"]
    );
    assert_eq!(
        linked("  - enrich: a\n    table: asets\n    key: k\n    value: v\n", &[]),
        ["4:12: P013 unknown table `asets`; did you mean `assets`?"]
    );
}

#[test]
fn trigger_sees_the_alert_and_nothing_that_comes_later() {
    let all = problems("id: p\nwhen: exists(case.id)\nsteps:\n  - notify: x\n");
    assert_eq!(all, ["2:14: P005 unknown field `case`; known here: alert"]);
}
