use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use serde_json::{Value, json};
use weir_engine::{Activity, EventTime, Hit, Uid};

use super::{FIELDS, ocsf};
use crate::entity::EntityKind;
use crate::{Confidence, Detection};

const HEADER: &str = "\
--! id = \"identity.guessing\"
--! title = \"Password guessing\"
--! severity = \"high\"
--! version = 2
--! description = \"Many failures.\"
--! attack = [\"T1110.001\", \"T1078\", \"TA0006\"]
--! tags = [\"identity\"]
--! confidence = \"medium\"
--! risk_score = 30
--! owner = \"identity-team\"
--! playbook = \"contain_account\"
--! entities = { user = \"User_Name\", src_ip = \"ip\", hash = \"hash\", port = \"port\" }
SELECT 1";

fn detection() -> Detection {
    crate::parse("identity/guessing.sql", HEADER).expect("a good header")
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringViewArray::from(vec![value]))
}

fn hit(columns: Vec<(&str, ArrayRef)>) -> Hit {
    Hit {
        query: 0,
        uid: Uid([7; 16]),
        activity: Activity::Create,
        time: EventTime(1_767_225_600_123_456),
        row: RecordBatch::try_from_iter(columns).expect("one row"),
        count: 3,
        events: vec![Uid([1; 16]), Uid([2; 16])],
        suppressed_by: None,
        provisional: false,
        exception: None,
        late: false,
        arrival: None,
        tables: Vec::new(),
    }
}

fn usual() -> Hit {
    hit(vec![
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![1_767_225_600_123_456]))),
        ("user_name", text("ann")),
        ("ip", text("10.0.0.1")),
        ("hash", text(&"a".repeat(64))),
        ("port", Arc::new(Int64Array::from(vec![443]))),
        ("failures", Arc::new(Int64Array::from(vec![12]))),
    ])
}

#[test]
fn an_alert_is_a_detection_finding() {
    let alert = ocsf(&detection(), &usual());
    let expected = [
        ("/class_uid", json!(2004)),
        ("/category_uid", json!(2)),
        ("/activity_id", json!(1)),
        ("/type_uid", json!(200_401)),
        ("/severity_id", json!(4)),
        ("/severity", json!("High")),
        ("/status_id", json!(1)),
        ("/confidence_id", json!(2)),
        ("/confidence_score", json!(50)),
        ("/risk_score", json!(30)),
        ("/is_alert", json!(true)),
        ("/count", json!(3)),
        ("/time", json!(1_767_225_600_123_i64)),
        ("/time_dt", json!("2026-01-01T00:00:00.123456Z")),
        ("/metadata/version", json!("1.8.0")),
        ("/metadata/product/name", json!("Weir")),
        ("/metadata/labels", json!(["identity"])),
        ("/finding_info/uid", json!("07".repeat(16))),
        ("/finding_info/title", json!("Password guessing")),
        ("/finding_info/desc", json!("Many failures.")),
        ("/finding_info/analytic/uid", json!("identity.guessing")),
        ("/finding_info/analytic/type_id", json!(1)),
        ("/finding_info/analytic/version", json!("2")),
        ("/finding_info/attacks/0/technique/uid", json!("T1110")),
        ("/finding_info/attacks/0/sub_technique/uid", json!("T1110.001")),
        ("/finding_info/attacks/1", json!({ "technique": { "uid": "T1078" } })),
        ("/finding_info/attacks/2", json!({ "tactic": { "uid": "TA0006" } })),
        ("/finding_info/related_events_count", json!(2)),
        ("/finding_info/related_events/1/uid", json!("02".repeat(16))),
        ("/unmapped/weir/owner", json!("identity-team")),
        ("/unmapped/weir/playbook", json!("contain_account")),
    ];
    for (path, value) in expected {
        assert_eq!(alert.pointer(path), Some(&value), "{path} of {alert:#}");
    }
}

#[test]
fn the_row_of_the_select_is_the_evidence_as_written() {
    let alert = ocsf(&detection(), &usual());
    assert_eq!(
        alert["evidences"][0]["data"].to_string(),
        format!(
            r#"{{"time":"2026-01-01T00:00:00.123456Z","user_name":"ann","ip":"10.0.0.1","hash":"{}","port":443,"failures":12}}"#,
            "a".repeat(64)
        )
    );
}

#[test]
fn entities_become_evidence_and_observables_whatever_the_case_of_their_column() {
    let alert = ocsf(&detection(), &usual());
    let evidence = &alert["evidences"][0];
    assert_eq!(evidence["actor"]["user"]["name"], "ann");
    assert_eq!(evidence["src_endpoint"]["ip"], "10.0.0.1");
    assert_eq!(evidence["dst_endpoint"]["port"], 443);
    assert_eq!(evidence["file"]["hashes"][0]["algorithm_id"], 3);
    let observables: Vec<_> = alert["observables"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|observable| (observable["type_id"].as_i64().expect("a number"), observable["value"].clone()))
        .collect();
    assert_eq!(
        observables,
        [(4, json!("ann")), (2, json!("10.0.0.1")), (11, json!("443")), (8, json!("a".repeat(64)))]
    );
    assert_eq!(alert["unmapped"]["weir"]["entities"]["user"], "ann");
    assert_eq!(
        alert["message"],
        format!("Password guessing: user ann, src_ip 10.0.0.1, port 443, hash {}", "a".repeat(64))
    );
}

#[test]
fn reserved_columns_override_the_header_per_row() {
    let alert = ocsf(
        &detection(),
        &hit(vec![
            ("severity", text("CRITICAL")),
            ("confidence", Arc::new(Float64Array::from(vec![97.4]))),
            ("risk_score", Arc::new(Int64Array::from(vec![99]))),
            ("title", text("Known bad domain")),
            ("message", text("evil.example is on the list")),
        ]),
    );
    assert_eq!(alert["severity_id"], 5);
    assert_eq!(alert["confidence_score"], 97);
    assert_eq!(alert["confidence"], "High");
    assert_eq!(alert["risk_score"], 99);
    assert_eq!(alert["finding_info"]["title"], "Known bad domain");
    assert_eq!(alert["finding_info"]["analytic"]["name"], "Password guessing");
    assert_eq!(alert["message"], "evil.example is on the list");
}

#[test]
fn a_reserved_column_that_says_nonsense_leaves_the_header_in_force() {
    let alert = ocsf(
        &detection(),
        &hit(vec![
            ("severity", text("very bad")),
            ("confidence", text("certainly")),
            ("risk_score", text("a lot")),
            ("title", text("  ")),
        ]),
    );
    assert_eq!(alert["severity"], "High");
    assert_eq!(alert["confidence_score"], 50);
    assert_eq!(alert["risk_score"], 30);
    assert_eq!(alert["finding_info"]["title"], "Password guessing");
    let missing: ArrayRef = Arc::new(StringViewArray::from(vec![None::<&str>]));
    assert_eq!(ocsf(&detection(), &hit(vec![("severity", missing)]))["severity"], "High");
}

#[test]
fn a_suppressed_hit_says_by_what_and_is_not_alerted() {
    let by_cooldown = ocsf(&detection(), &Hit { suppressed_by: Some(Uid([9; 16])), ..usual() });
    assert_eq!(by_cooldown["status_id"], 3);
    assert_eq!(by_cooldown["is_alert"], false);
    assert_eq!(by_cooldown["unmapped"]["weir"]["suppressed_by"], "09".repeat(16));
    let provisional = ocsf(&detection(), &Hit { provisional: true, ..usual() });
    assert_eq!(
        (&provisional["status_id"], &provisional["status"], &provisional["is_alert"]),
        (&json!(99), &json!("Provisional"), &json!(false))
    );
    let by_exception = ocsf(&detection(), &Hit { exception: Some("scan".into()), ..usual() });
    assert_eq!(by_exception["status"], "Suppressed");
    assert_eq!(by_exception["unmapped"]["weir"]["exception"], "scan");
}

#[test]
fn updates_and_withdrawals_keep_the_id_and_change_the_type() {
    let create = ocsf(&detection(), &usual());
    let update = ocsf(&detection(), &Hit { activity: Activity::Update, count: 4, ..usual() });
    let withdraw = ocsf(&detection(), &Hit { activity: Activity::Withdraw, ..usual() });
    assert_eq!(update["type_uid"], 200_402);
    assert_eq!(withdraw["type_uid"], 200_403);
    assert_eq!(withdraw["status_id"], 6);
    for other in [&update, &withdraw] {
        assert_eq!(other["finding_info"]["uid"], create["finding_info"]["uid"]);
        assert_ne!(other["metadata"]["uid"], create["metadata"]["uid"]);
    }
}

#[test]
fn every_field_of_a_record_is_one_that_a_test_can_look_at() {
    let window: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    let runbook = Some("# Ask the user".to_owned());
    let with_all = Detection { confidence: Some(Confidence(50)), runbook, ..detection() };
    let record = ocsf(&with_all, &hit(vec![("window_start", window), ("user", text("ann"))]));
    let fields: Vec<_> = record.as_object().expect("a record").keys().map(String::as_str).collect();
    assert_eq!(fields, FIELDS);
}

#[test]
fn the_same_hit_gives_the_same_bytes() {
    assert_eq!(ocsf(&detection(), &usual()).to_string(), ocsf(&detection(), &usual()).to_string());
}

#[test]
fn a_window_is_told_by_its_start_and_end() {
    let alert = ocsf(
        &detection(),
        &hit(vec![
            ("window_start", Arc::new(TimestampMicrosecondArray::from(vec![1_767_225_300_000_000]))),
            ("user_name", text("ann")),
        ]),
    );
    assert_eq!(alert["start_time_dt"], "2025-12-31T23:55:00Z");
    assert_eq!(alert["finding_info"]["first_seen_time"], json!(1_767_225_300_000_i64));
    assert_eq!(alert["finding_info"]["last_seen_time"], alert["time"]);
}

#[test]
fn table_versions_and_lateness_are_told() {
    let alert = ocsf(&detection(), &Hit { late: true, tables: vec![("indicators".into(), Uid([3; 16]))], ..usual() });
    assert_eq!(alert["unmapped"]["weir"]["late"], true);
    assert_eq!(alert["unmapped"]["weir"]["tables"]["indicators"], "03".repeat(16));
}

#[test]
fn no_entity_path_hides_another() {
    let paths: Vec<_> = EntityKind::ALL.iter().map(|kind| kind.ocsf().path.replace("[]", "")).collect();
    for one in &paths {
        for other in &paths {
            assert!(!other.starts_with(&format!("{one}.")), "{one} and {other}");
        }
    }
}

#[test]
fn every_kind_of_entity_finds_a_place() {
    let names = EntityKind::ALL.map(|kind| format!("{} = \"{}\"", kind.as_str(), kind.as_str())).join(", ");
    let header = HEADER.replace(
        "{ user = \"User_Name\", src_ip = \"ip\", hash = \"hash\", port = \"port\" }",
        &format!("{{ {names} }}"),
    );
    let detection = crate::parse("x.sql", &header).expect("a good header");
    let row = EntityKind::ALL.iter().map(|kind| (kind.as_str(), text(kind.as_str()))).collect();
    let alert = ocsf(&detection, &hit(row));
    for kind in EntityKind::ALL {
        let path = format!("/{}", kind.ocsf().path.replace("[]", "/0").replace('.', "/"));
        assert_eq!(alert["evidences"][0].pointer(&path), Some(&Value::from(kind.as_str())), "{path}");
    }
    assert_eq!(alert["observables"].as_array().map(Vec::len), Some(EntityKind::ALL.len()));
}

#[test]
fn the_runbook_goes_with_the_alert_to_whoever_reads_the_ticket() {
    let with_runbook = Detection {
        runbook: Some("# Ask the user".to_owned()),
        references: vec!["https://attack.mitre.org/techniques/T1110/".to_owned()],
        ..detection()
    };
    let alert = ocsf(&with_runbook, &usual());
    assert_eq!(alert["remediation"]["desc"], "# Ask the user");
    assert_eq!(alert["remediation"]["references"][0], "https://attack.mitre.org/techniques/T1110/");
    assert!(ocsf(&detection(), &usual()).get("remediation").is_none());
}
