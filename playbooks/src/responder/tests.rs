//! Claims about responder files.

use serde_json::json;

use super::*;
use crate::http::HttpResponse;

fn problems(text: &str) -> Vec<String> {
    Responder::parse(text).expect_err("must be refused").problems.iter().map(ToString::to_string).collect()
}

fn with_operation(operation: &str) -> String {
    format!("id: r\nbase_url: https://r.test/v1\noperations:\n{operation}")
}

#[test]
fn every_mistake_of_a_file_is_reported_with_its_place() {
    let text = "
id: r
base_ulr: https://r.test
auth: { baerer: X }
operations:
  - does: contian device
    post: /x
  - does: deny domain_name
    post: x/${target.valeu}
    undo: maybe
  - does: ticket open
    post: /x?q=a:${fields.title}
    external_id: id
";
    assert_eq!(
        problems(text),
        [
            "3:1: R002 unknown key `base_ulr`; did you mean `base_url`?",
            "4:9: R002 unknown key `baerer`; did you mean `bearer`?",
            "6:11: R007 `contian device` is no operation; did you mean `contain`?",
            "9:11: R004 a path begins with `/` and is below `base_url`",
            "10:11: R004 `undo` is `inverse`, `cancel` or `none: WHY`",
            "12:11: R005 `${fields.title}` inside a query could be read as syntax; write `${fields.title | plain}` or `${fields.title | quoted}`",
            "13:18: R004 `id` is no JSON pointer; write `/result/id` for the field `id` of the object `result`",
        ]
    );
}

#[test]
fn what_is_missing_is_told_once_and_with_the_rest() {
    assert_eq!(
        problems(
            "id: r\nauth: {}\noperations:\n  - does: deny domain_name\n    body: ${target.valeu}\n    success: 200\n"
        ),
        [
            "1:1: R003 `base_url` is missing",
            "2:7: R004 `auth` is exactly one of bearer, basic and header; write `auth: { bearer: NAME_OF_THE_SECRET }`",
            "4:5: R003 the call is missing: one of get, post, put, patch, delete; write `post: /path/${target.value}`",
            "4:11: R003 `deny domain_name` cannot be taken back: this file does not describe `allow domain_name`; describe `allow domain_name`, or write `undo: \"none: WHY\"`",
            "5:11: R005 unknown field `target.valeu`; did you mean `value`?",
            "6:14: R004 `success` is a list of statuses, not `200`",
        ]
    );
    assert_eq!(
        problems(&with_operation("  - does: notify\n    psot: /x\n    body: { text: '${message.text}' }\n")),
        ["5:5: R002 unknown key `psot`; did you mean `post`?"]
    );
    assert_eq!(
        problems(
            "id: r\nbase_url: https://r.test\noperations:\n  - notify\n  - post: /x\n  - does: notify\n    post: /x\n    post: /y\n"
        ),
        [
            "4:5: R004 an operation is a mapping of keys to values, not text",
            "5:5: R003 `does` is missing",
            "8:5: R001 the key `post` is there twice",
        ]
    );
}

#[test]
fn unknown_field_filter_and_double_description_are_refused() {
    let all = problems(&with_operation(
        "  - does: notify\n    post: /x/${message.txt}\n  - does: notify\n    post: /y/${message.text | upper}\n",
    ));
    assert!(all.iter().any(|one| one.contains("R005 unknown field `message.txt`; did you mean `text`?")), "{all:?}");
    assert!(all.iter().any(|one| one.contains("R005 unknown filter `upper`")), "{all:?}");
    assert!(all.iter().any(|one| one.contains("R006 `notify` is described twice")), "{all:?}");
}

#[test]
fn base_url_comes_from_settings_and_is_checked() {
    let resolve = |base_url: &str, more: &str| {
        let text = format!("id: r\nbase_url: {base_url}\n{more}operations:\n  - does: notify\n    post: /x\n");
        let mut responder = Responder::parse(&text).unwrap();
        let setting = |name: &str| (name == "EDR_URL").then(|| "https://edr.test/api/".to_owned());
        responder.resolve(&setting).map(|()| responder.base.unwrap().to_string()).map_err(|problem| problem.to_string())
    };
    assert_eq!(resolve("${EDR_URL}v2", ""), Ok("https://edr.test/api/v2".to_owned()));
    assert_eq!(
        resolve("${NOPE}", ""),
        Err("2:11: R008 the setting `NOPE` is missing; set `NOPE` in the environment or in weir.toml".to_owned())
    );
    for bad in ["ftp://x.test", "not-a-url", "https://user:pw@x.test", "https://x.test/?a=b"] {
        assert!(resolve(bad, "").is_err(), "{bad}");
    }
    let auth = "auth: { bearer: T }\n";
    assert!(resolve("http://edr.test", auth).is_err(), "a secret does not travel without TLS");
    assert!(resolve("http://127.0.0.1:9", auth).is_ok());
    assert!(resolve("http://edr.test", "auth: { bearer: T }\nallow_http: true\n").is_ok());
}

#[test]
fn answers_mean_what_their_status_says() {
    let text = with_operation("  - does: notify\n    post: /x\n    external_id: /id\n    take: { link: /self }\n");
    let described = &Responder::parse(&text).unwrap().operations[0];
    let judge = |status, body| described.judge(&HttpResponse { status, retry_after_ms: Some(5_000), body });
    let Answer::Done { external_id, values } = judge(201, json!({"id": 42, "self": "https://r.test/42"})) else {
        panic!("201 is done")
    };
    assert_eq!((external_id.as_deref(), &values["link"]), (Some("42"), &json!("https://r.test/42")));
    assert!(matches!(judge(200, json!({})), Answer::Failed { .. }), "an answer without its id is no success");
    for status in [408, 429, 500, 503] {
        assert!(matches!(judge(status, json!("busy")), Answer::Retry { after: Some(_), .. }), "{status}");
    }
    for status in [302, 400, 401, 404] {
        assert!(matches!(judge(status, json!("no")), Answer::Failed { .. }), "{status}");
    }
}

#[test]
fn map_gives_a_value_in_the_words_of_the_vendor() {
    let text = "
id: r
base_url: https://r.test
maps: { urgency: { critical: 1, high: 2, default: 3 } }
operations:
  - does: ticket open
    post: /x
    body: { urgency: '${alert.severity | urgency}', labels: ['weir-${alert.uid}'], tags: '${alert.attack}', gone: '${alert.message}', fixed: 7 }
";
    let responder = Responder::parse(text).unwrap();
    let render = |severity| {
        let scope = json!({"alert": {"severity": severity, "uid": "u1", "attack": ["T1"]}});
        responder.render(&responder.operations[0].call, &scope, true).unwrap().body.unwrap()
    };
    assert_eq!(render("high"), json!({"urgency": 2, "labels": ["weir-u1"], "tags": ["T1"], "fixed": 7}));
    assert_eq!(render("low")["urgency"], json!(3));
}

#[test]
fn responder_that_speaks_openc2_gets_the_whole_message() {
    let text = with_operation(
        "  - does: contain device\n    post: /\n    body: ${openc2}\n    undo: cancel\n  - does: cancel command\n    post: /\n    body: ${openc2}\n",
    );
    let responder = Responder::parse(&text).unwrap();
    let request = responder.render(&responder.operations[0].call, &json!({"openc2": {"headers": {}}}), true).unwrap();
    assert_eq!((request.url.as_str(), request.body), ("https://r.invalid", Some(json!({"headers": {}}))));
}

#[test]
fn dry_run_without_a_setting_still_shows_the_whole_path() {
    let text = "id: r_t\nbase_url: ${RT_URL}/REST/2.0/\noperations:\n  - does: notify\n    post: /x\n";
    let responder = Responder::parse(text).unwrap();
    let request = responder.render(&responder.operations[0].call, &json!({}), true).unwrap();
    assert_eq!(request.url, "https://r-t.invalid/REST/2.0/x");
}
