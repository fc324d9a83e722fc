use weir_connectors::archive::{alert_rows, alerts, event_columns, event_rows};
use weir_connectors::file::FileSource;
use weir_connectors::location::Location;
use weir_engine::PartitionId;

use super::*;

const STREAM: &str = "CREATE STREAM door (at TIMESTAMP, who STRING) WITH (format = 'json', event_time = 'at');";

fn record(alert: Uid, events: &[Uid], activity: u64, status: &str) -> Value {
    json!({
        "time": 1_767_225_601_000_i64, "time_dt": "2026-01-01T00:00:01Z", "activity_id": activity,
        "activity_name": if activity == 1 { "Create" } else { "Update" }, "severity_id": 4, "severity": "High",
        "status_id": 1, "status": status, "count": activity, "class_uid": 2004, "message": "M",
        "finding_info": {
            "uid": alert.to_string(), "title": "T", "analytic": { "uid": "a.b" },
            "first_seen_time": 1_767_225_600_000_i64, "last_seen_time": 1_767_225_601_000_i64,
            "related_events": events.iter().map(|uid| json!({ "uid": uid.to_string() })).collect::<Vec<_>>(),
        },
        "evidences": [{ "data": { "who": "al" } }], "unmapped": { "weir": {} },
    })
}

/// Explains the alert `asked` in an archive with three events and one alert about the first and one that is not there.
fn explained(asked: Uid) -> Option<Evidence> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("streams")).unwrap();
    std::fs::write(folder.path().join("streams/door.sql"), STREAM).unwrap();
    let lines = ["al", "bo", "cy"]
        .iter()
        .zip(0..)
        .map(|(who, at)| format!("{{\"at\":\"2026-01-01T00:00:0{at}Z\",\"who\":\"{who}\"}}"));
    let lines = lines.collect::<Vec<_>>();
    let file = folder.path().join("door.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (project, diagnostics) = Project::load(folder.path(), Need::Texts);
    assert_eq!(diagnostics, []);
    let (catalog, found) = sql::parse_catalog(&[("door.sql".to_owned(), STREAM.to_owned())]);
    assert_eq!(found, []);
    let archive = Archive::new(Location::memory(), "weir");
    let limits = Limits { memory_bytes: 64 << 20, timeout: std::time::Duration::from_secs(60) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = catalog.stream("door").unwrap();
        let mut source = FileSource::open(&file, stream, &event_columns(stream), PartitionId(0)).unwrap();
        let rows = event_rows(&source.next_batch().unwrap().unwrap().batch, false).unwrap();
        archive.stream_writer(stream).await.unwrap().append(1, &[rows]).await.unwrap();
        let events = [Uid::of_record("door", lines[0].as_bytes()), Uid([9; 16])];
        let records = [record(Uid([1; 16]), &events, 1, "New"), record(Uid([1; 16]), &events, 2, "New")];
        let spec = alerts(&weir_detections::published().columns);
        let rows = alert_rows(&spec, &records, 1).unwrap();
        archive.writer(spec).await.unwrap().append(1, &[rows]).await.unwrap();
        let reader = Reader { archive: &archive, catalog: &catalog, project: &project, limits };
        reader.evidence(asked).await.unwrap()
    })
}

#[test]
fn an_alert_is_explained_by_its_records_and_its_events() {
    let evidence = explained(Uid([1; 16])).expect("the archive has it");
    let activities = evidence.records.iter().map(|record| record["activity_id"].clone()).collect::<Vec<_>>();
    assert_eq!(activities, [1, 2]);
    assert_eq!(evidence.events.len(), 1);
    assert_eq!((evidence.events[0].0.as_str(), &evidence.events[0].1["who"]), ("door", &json!("al")));
    assert_eq!(evidence.missing, [Uid([9; 16]).to_string()]);
}

#[test]
fn an_alert_that_the_archive_does_not_have_is_none() {
    assert_eq!(explained(Uid([2; 16])), None);
}
