//! Bad input: each kind is counted or dead-lettered, and the good records around it still count.

use crate::support::pipeline;
use crate::support::rows::{Alert, Summary, last_by_uid, ndjson};

/// A good record; its number says where in the file it stands.
fn good(seq: usize) -> String {
    format!(r#"{{"time":"2024-03-01T00:00:{seq:02}Z","seq":{seq},"user_name":"ada","status":"Locked"}}"#)
}

/// Replays a good record, the bad one and a good one; gives the summary and the numbers that alerts speak of.
fn replayed(bad: &[u8]) -> (Summary, Vec<String>) {
    let project = pipeline::offline();
    let mut records = good(1).into_bytes();
    records.push(b'\n');
    records.extend_from_slice(bad);
    records.push(b'\n');
    records.extend_from_slice(good(2).as_bytes());
    project.write("signin.ndjson", records);
    let finished = project.weir(&["replay", "--input", "signin=signin.ndjson"]).expect_code(0);
    let alerts = ndjson(&finished.stdout);
    let mut numbers: Vec<String> = alerts.iter().map(|json| Alert::read(json).field("seq")).collect();
    numbers.sort();
    (Summary::read(&finished.stderr), numbers)
}

#[track_caller]
fn assert_rejected(bad: impl AsRef<[u8]>) {
    let (summary, numbers) = replayed(bad.as_ref());
    assert_eq!((summary.events(), summary.rejected()), (3, 1), "the bad record is counted as rejected");
    assert_eq!(numbers, ["1", "2"], "the good records around it fire");
}

#[track_caller]
fn assert_accepted(bad: impl AsRef<[u8]>, fires: &[&str]) {
    let (summary, numbers) = replayed(bad.as_ref());
    assert_eq!((summary.events(), summary.rejected()), (3, 0), "the record is not rejected");
    assert_eq!(numbers, fires);
}

#[test]
fn a_record_that_is_cut_off_is_rejected() {
    assert_rejected(&good(3)[..40]);
}

#[test]
fn a_record_that_is_not_an_object_is_rejected() {
    assert_rejected("[1, 2, 3]");
    assert_rejected("Mar  1 00:00:00 host sshd[1]: a line of syslog");
}

#[test]
fn bytes_that_are_not_utf8_are_rejected() {
    let mut bytes = good(3).into_bytes();
    let ada = good(3).find("ada").expect("the name of the user");
    bytes[ada + 1] = 0xFF;
    assert_rejected(bytes);
}

#[test]
fn a_record_without_a_time_is_rejected() {
    assert_rejected(r#"{"seq":3,"user_name":"ada","status":"Locked"}"#);
    assert_rejected(r#"{"time":null,"seq":3,"user_name":"ada","status":"Locked"}"#);
}

#[test]
fn a_time_that_is_none_is_rejected() {
    for time in [r#""yesterday""#, r#""2024-13-41T00:00:00Z""#, "true", "{}", r#""999999999999999999999999""#] {
        assert_rejected(format!(r#"{{"time":{time},"seq":3,"user_name":"ada","status":"Locked"}}"#));
    }
}

#[test]
fn a_time_beyond_all_logs_is_rejected() {
    let times = [
        r#""1969-12-31T23:59:59Z""#,
        r#""0001-01-01T00:00:00Z""#,
        r#""2200-01-01T00:00:00Z""#,
        "-1",
        "99999999999999999999999",
        "1e308",
    ];
    for time in times {
        assert_rejected(format!(r#"{{"time":{time},"seq":3,"user_name":"ada","status":"Locked"}}"#));
    }
}

#[test]
fn nesting_without_end_is_rejected_and_does_not_break_the_stack() {
    let deep = "[".repeat(200_000);
    assert_rejected(format!(r#"{{"time":"2024-03-01T00:00:03Z","status":"Locked","seq":3,"more":{deep}"#));
}

#[test]
fn a_wrong_type_makes_that_column_null_and_keeps_the_record() {
    // The status is still seen, so the record fires, with a number that is NULL.
    assert_accepted(
        r#"{"time":"2024-03-01T00:00:03Z","seq":"4624x","user_name":"ada","status":"Locked"}"#,
        &["1", "2", "null"],
    );
}

#[test]
fn a_record_of_many_megabytes_is_rejected_and_in_nobodys_way() {
    let mut huge =
        String::from(r#"{"time":"2024-03-01T00:00:03Z","seq":3,"user_name":"ada","status":"Locked","more":""#);
    huge.push_str(&"ten bytes.".repeat(3_000_000));
    huge.push_str(r#""}"#);
    assert_rejected(huge);
}

#[test]
fn of_a_doubled_key_the_last_value_counts_and_the_record_stays() {
    assert_accepted(
        r#"{"time":"2024-03-01T00:00:03Z","seq":3,"seq":4,"user_name":"ada","status":"Success","status":"Locked"}"#,
        &["1", "2", "4"],
    );
}

#[test]
fn a_time_from_the_far_future_moves_no_clock() {
    // The record of the year 2190 stands between failures of one minute, whose window must stay open; twenty ordinary
    // records after it do not confirm what it says.
    let project = pipeline::offline();
    let mut records = String::new();
    for second in 1..=26 {
        let time =
            if second == 4 { "2190-01-01T00:00:00Z".to_owned() } else { format!("2024-03-01T00:00:{second:02}Z") };
        let status = if second <= 6 { "Failure" } else { "Success" };
        let event = format!(r#"{{"time":"{time}","seq":{second},"user_name":"ada","status":"{status}"}}"#);
        records.push_str(&event);
        records.push('\n');
    }
    project.write("signin.ndjson", records);
    let finished = project.weir(&["replay", "--input", "signin=signin.ndjson"]).expect_code(0);
    let alerts = last_by_uid(ndjson(&finished.stdout).iter().map(Alert::read));
    let failures: Vec<String> = alerts.values().map(|alert| alert.field("failures")).collect();
    assert_eq!(failures, ["5"], "the five failures of the minute are counted in one window");
    assert_eq!(Summary::read(&finished.stderr).late(), 1, "the record from the future is set aside");
}

#[test]
fn an_input_that_is_not_there_is_named() {
    let project = pipeline::offline();
    let finished = project.weir(&["replay", "--input", "signin=nowhere.ndjson"]);
    assert!(matches!(finished.code, 2 | 3), "a missing file is a mistake of the caller or the outside");
    finished.expect_stderr("nowhere.ndjson");
}
