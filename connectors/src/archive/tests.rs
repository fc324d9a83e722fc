use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use weir_engine::catalog::{Format, TIME_TYPE, system};
use weir_engine::{ColumnSet, EventTime, Uid};

use super::*;

mod faults;

const DAY_US: i64 = 86_400_000_000;

fn stream(columns: Vec<Field>) -> Stream {
    Stream {
        name: "conn".into(),
        columns: Fields::from(columns),
        open: false,
        topics: vec![],
        format: Format::Json,
        event_time: "ts".into(),
        time_zone: chrono_tz::UTC,
        lateness_us: 0,
        future_guard_us: 0,
        event_id: None,
        tenant: None,
    }
}

fn columns() -> Vec<Field> {
    let user = Fields::from(vec![Field::new("name", DataType::Utf8View, true), Field::new("seen", TIME_TYPE, true)]);
    vec![
        Field::new("ts", TIME_TYPE, true),
        Field::new("id.orig_h", DataType::Utf8View, true),
        Field::new("bytes", DataType::UInt32, true),
        Field::new("user", DataType::Struct(user), true),
    ]
}

fn uid(number: i64) -> Uid {
    Uid::of_record("conn", &number.to_le_bytes())
}

/// Events at these microseconds, in this order.
fn events(times: &[i64]) -> RecordBatch {
    let time = || Arc::new(TimestampMicrosecondArray::from(times.to_vec())) as ArrayRef;
    let names = times.iter().map(|time| format!("10.0.0.{}", time % 7));
    let uids = times.iter().map(|time| Some(uid(*time).0));
    let DataType::Struct(fields) = columns()[3].data_type().clone() else { panic!() };
    let user_names = Arc::new(StringViewArray::from_iter_values(times.iter().map(|time| format!("user {time}"))));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts", time()),
        ("id.orig_h", Arc::new(StringViewArray::from_iter_values(names))),
        ("bytes", Arc::new(arrow::array::UInt32Array::from_iter_values(times.iter().map(|time| *time as u32)))),
        ("user", Arc::new(StructArray::new(fields, vec![user_names, time()], None))),
        (system::TIME, time()),
        (system::RAW, Arc::new(BinaryViewArray::from_iter_values(times.iter().map(|_| b"{}")))),
        (system::ARRIVAL, time()),
        (UID, Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uids, 16).unwrap())),
        (system::OFFSET, Arc::new(Int64Array::from_iter_values(0..times.len() as i64))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn archive_in(folder: &Path) -> Archive {
    Archive::new(Location::open("file:./my archive", folder, &BTreeMap::new()).unwrap(), "weir")
}

async fn ask(archive: &Archive, stream: &Stream, sql: &str) -> String {
    let context = SessionContext::new();
    context.register_table("conn", archive.stream_provider(stream).await.unwrap()).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

async fn count(archive: &Archive, stream: &Stream) -> i64 {
    let context = SessionContext::new();
    context.register_table("conn", archive.stream_provider(stream).await.unwrap()).unwrap();
    let batches = context.sql("SELECT count(*) FROM conn").await.unwrap().collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn what_was_appended_is_read_back_in_the_types_of_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    assert_eq!(table.cursor(), None);
    let appended = table.append(1, &[events(&[DAY_US + 5, 3]), events(&[4])]).await.unwrap();
    assert_eq!((appended.rows, appended.files, appended.repeated), (3, 2, false), "one file per day");
    assert!(appended.bytes > 0);

    let sql = r#"SELECT "_time", ts, "id.orig_h", bytes, arrow_typeof(bytes) AS t, user['name'] AS n, user['seen'] AS s, "_day",
                 "_key", "_uid" FROM conn WHERE "_time" >= TIMESTAMP '1970-01-01 00:00:00.000004' ORDER BY "_time""#;
    let shown = ask(&archive_in(folder.path()), &stream, sql).await;
    let row = |time: &str, us: i64, day: &str| {
        let (host, bytes) = (us % 7, us as u32);
        format!("{time} {time} 10.0.0.{host} {bytes} UInt32 user {us} {time} {day} {}", uid(us))
    };
    let expected = [
        row("1970-01-01T00:00:00.000004", 4, "1970-01-01"),
        row("1970-01-02T00:00:00.000005", DAY_US + 5, "1970-01-02"),
    ];
    let cells = |line: &str| line.replace('|', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<_> = shown.lines().skip(3).filter(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(rows, expected, "\n{shown}");
    assert_eq!(archive.tables().await.unwrap(), ["conn"]);
    assert_eq!(archive.table_bytes("conn").await.unwrap(), appended.bytes);
}

#[tokio::test]
async fn columns_with_dots_in_their_names_can_be_filtered() {
    let archive = Archive::new(Location::memory(), "weir");
    let stream = stream(columns());
    archive.stream_writer(&stream).await.unwrap().append(1, &[events(&[1, 2, 8])]).await.unwrap();
    let found = ask(&archive, &stream, r#"SELECT bytes FROM conn WHERE "id.orig_h" = '10.0.0.1' AND bytes > 1"#).await;
    assert_eq!(found, "+-------+\n| bytes |\n+-------+\n| 8     |\n+-------+");
    let found = ask(&archive, &stream, "SELECT count(*) AS n FROM conn WHERE user['name'] LIKE '% 2'").await;
    assert_eq!(found, "+---+\n| n |\n+---+\n| 1 |\n+---+");
}

#[tokio::test]
async fn an_epoch_is_appended_once_however_often_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    table.append(7, &[events(&[1, 2])]).await.unwrap();
    assert!(table.append(7, &[events(&[1, 2])]).await.unwrap().repeated);
    assert!(table.append(6, &[events(&[1, 2])]).await.unwrap().repeated);
    // Another process that died before it noted that it had appended.
    let mut again = archive.stream_writer(&stream).await.unwrap();
    assert_eq!(again.cursor(), Some(7));
    assert!(again.append(7, &[events(&[1, 2])]).await.unwrap().repeated);
    assert!(!again.append(8, &[events(&[3])]).await.unwrap().repeated);
    // The first one does not know of 8 yet, and finds out when it tries.
    assert!(table.append(8, &[events(&[3])]).await.unwrap().repeated);
    assert_eq!(table.cursor(), Some(8));
    assert_eq!(count(&archive, &stream).await, 3);
    assert_eq!(data_files(folder.path()), 2, "files of what was not committed are gone");
}

#[tokio::test]
async fn of_two_writers_at_once_one_appends_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut one = archive.stream_writer(&stream).await.unwrap();
    let mut two = archive.stream_writer(&stream).await.unwrap();
    for epoch in 1..=4 {
        let batches = [events(&[epoch as i64, 10 + epoch as i64])];
        let (first, second) = tokio::join!(one.append(epoch, &batches), two.append(epoch, &batches));
        let repeated = [first.unwrap().repeated, second.unwrap().repeated];
        assert_eq!(repeated.iter().filter(|repeated| **repeated).count(), 1);
    }
    assert_eq!(count(&archive, &stream).await, 8);
    assert_eq!(data_files(folder.path()), 4);
}

#[tokio::test]
async fn writers_of_two_pipelines_share_a_table() {
    let location = Location::memory();
    let stream = stream(columns());
    let one = Archive::new(location.clone(), "one");
    let mut first = one.stream_writer(&stream).await.unwrap();
    let mut second = Archive::new(location, "two").stream_writer(&stream).await.unwrap();
    assert!(!first.append(1, &[events(&[1])]).await.unwrap().repeated);
    assert!(!second.append(1, &[events(&[2])]).await.unwrap().repeated);
    assert_eq!(count(&one, &stream).await, 2);
}

#[tokio::test]
async fn files_without_a_commit_are_not_rows() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    table.append(1, &[events(&[1])]).await.unwrap();
    // A process died between its files and its commit, a long time ago and just now.
    let file = parquet_files(folder.path()).pop().unwrap();
    let (old, new) = (file.with_file_name("part-old.parquet"), file.with_file_name("part-new.parquet"));
    std::fs::copy(&file, &old).unwrap();
    std::fs::copy(&file, &new).unwrap();
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    std::fs::File::open(&old).unwrap().set_modified(SystemTime::now() - month).unwrap();
    assert_eq!(count(&archive, &stream).await, 1);
    table.append(2, &[events(&[2])]).await.unwrap();
    assert_eq!(count(&archive, &stream).await, 2);
    // Another process may be about to commit what is new.
    table.compact().await.unwrap();
    assert!(!old.exists() && new.exists(), "only what is old is cleaned up");
    assert_eq!(count(&archive, &stream).await, 2);
}

#[tokio::test]
async fn small_files_are_joined_and_rows_and_cursor_stay() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    let mut late = archive.stream_writer(&stream).await.unwrap();
    for epoch in 1..=10 {
        table.append(epoch, &[events(&[epoch as i64 * 10, DAY_US + epoch as i64])]).await.unwrap();
    }
    let sql = r#"SELECT * FROM conn ORDER BY "_time""#;
    let before = ask(&archive, &stream, sql).await;
    assert_eq!(table.compact().await.unwrap(), Compacted { removed: 20, added: 2 });
    assert_eq!(ask(&archive, &stream, sql).await, before);
    assert_eq!(table.cursor(), Some(10));
    assert_eq!(table.compact().await.unwrap(), Compacted::default());
    // One who did not notice goes on all the same, and once.
    assert!(late.append(10, &[events(&[1])]).await.unwrap().repeated);
    assert!(!late.append(11, &[events(&[2])]).await.unwrap().repeated);
    assert!(table.append(11, &[events(&[2])]).await.unwrap().repeated);
    assert_eq!(count(&archive, &stream).await, 21);
}

#[tokio::test]
async fn a_long_log_is_summed_up_and_keeps_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    for epoch in 1..=101 {
        table.append(epoch, &[events(&[epoch as i64])]).await.unwrap();
    }
    // Even without the commits that were summed up.
    let log = folder.path().join("my archive/conn/_delta_log");
    for version in 0..100 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let again = archive.stream_writer(&stream).await.unwrap();
    assert_eq!(again.cursor(), Some(101));
    assert_eq!(count(&archive, &stream).await, 101);
}

#[tokio::test]
async fn new_columns_are_added_and_are_null_in_old_rows() {
    let archive = Archive::new(Location::memory(), "weir");
    let old = stream(columns());
    archive.stream_writer(&old).await.unwrap().append(1, &[events(&[1])]).await.unwrap();

    let mut wider = columns();
    let DataType::Struct(user) = wider[3].data_type().clone() else { panic!() };
    let with_role: Fields =
        user.iter().cloned().chain([Arc::new(Field::new("role", DataType::Utf8View, true))]).collect();
    wider[3] = Field::new("user", DataType::Struct(with_role), true);
    wider.push(Field::new("proto", DataType::Utf8View, true));
    let new = stream(wider);
    // What is declared and not archived yet can be asked for already.
    assert!(ask(&archive, &new, "SELECT count(proto) AS n FROM conn").await.contains("| 0 |"));
    let mut table = archive.stream_writer(&new).await.unwrap();
    let batch = events(&[2]);
    let fields: Vec<_> = batch
        .schema_ref()
        .fields()
        .iter()
        .cloned()
        .chain([Arc::new(Field::new("proto", DataType::Utf8View, true))])
        .collect();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .cloned()
        .chain([Arc::new(StringViewArray::from_iter_values(["tcp"])) as ArrayRef])
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    table.append(2, &[batch]).await.unwrap();
    let shown = ask(&archive, &new, r#"SELECT bytes, proto, user['role'] AS role FROM conn ORDER BY "_time""#).await;
    assert_eq!(
        shown,
        "+-------+-------+------+\n| bytes | proto | role |\n+-------+-------+------+\n| 1     |       |      |\n| 2     | tcp   |      |\n+-------+-------+------+"
    );
    // And what is not declared any more stays readable.
    let shown = ask(&archive, &old, r#"SELECT proto FROM conn WHERE proto IS NOT NULL"#).await;
    assert!(shown.contains("| tcp"), "{shown}");
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_with_both_types() {
    let archive = Archive::new(Location::memory(), "weir");
    archive.stream_writer(&stream(columns())).await.unwrap();
    let mut changed = columns();
    changed[2] = Field::new("bytes", DataType::Utf8View, true);
    let error = archive.stream_writer(&stream(changed)).await.unwrap_err();
    assert!(!error.is_retriable());
    assert_eq!(
        error.to_string(),
        "column bytes of table conn is archived as Int64 and now declared as Utf8View; rename the column, or move the archived table away"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said_so_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let obstacle = folder.path().join("my archive");
    std::fs::write(&obstacle, "a file stands where the folder should be").unwrap();
    let archive = archive_in(folder.path());
    let stream = stream(columns());
    let error = archive.stream_writer(&stream).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert!(error.to_string().contains("table conn of the archive at file://"), "{error}");

    std::fs::remove_file(&obstacle).unwrap();
    let mut table = archive.stream_writer(&stream).await.unwrap();
    let day = folder.path().join("my archive/conn/_day=1970-01-01");
    std::fs::write(&day, "in the way").unwrap();
    let error = table.append(1, &[events(&[1])]).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert!(error.to_string().starts_with("cannot write table conn of the archive at file://"), "{error}");
    std::fs::remove_file(&day).unwrap();
    assert!(!table.append(1, &[events(&[1])]).await.unwrap().repeated);
    assert_eq!(count(&archive, &stream).await, 1);
}

#[tokio::test]
async fn a_replay_is_in_the_order_of_time_and_uid_over_all_files() {
    let archive = Archive::new(Location::memory(), "weir");
    let stream = stream(columns());
    let mut table = archive.stream_writer(&stream).await.unwrap();
    table.append(1, &[events(&[DAY_US + 9, 7, 2])]).await.unwrap();
    table.append(2, &[events(&[5, DAY_US + 1, 3 * DAY_US])]).await.unwrap();
    let late = LateEventRow {
        time: EventTime(5 * DAY_US),
        uid: uid(5),
        stream: "conn",
        event_time: EventTime(5),
        late_ms: 432_000_000,
        reason: "lateness",
        topic: "t",
        partition: 0,
    };
    let mut lates = archive.writer(late_events()).await.unwrap();
    lates
        .append(2, &[late_event_rows(&[late, LateEventRow { stream: "other", uid: uid(7), ..late }]).unwrap()])
        .await
        .unwrap();

    let reader = ArchiveReader::new(archive, 64 << 20);
    let wanted = ColumnSet { columns: Fields::from(vec![columns()[1].clone(), columns()[3].clone()]) };
    let (from, to) = (Some(EventTime(5)), Some(EventTime(3 * DAY_US)));
    let batches: Vec<_> = reader.scan(&stream, from, to, &wanted).await.unwrap().try_collect().await.unwrap();
    let schema = batches[0].schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id.orig_h", "user", "_time", "_raw", "_arrival", "_uid", "_topic", "_partition", "_offset"]);
    assert_eq!(schema.field(1), &columns()[3], "structs come back as declared");
    assert_eq!((schema.field(2).data_type(), schema.field(2).is_nullable()), (&TIME_TYPE, false));
    assert_eq!((schema.field(3).data_type(), schema.field(3).is_nullable()), (&DataType::BinaryView, false));
    let uids: Vec<Vec<u8>> = batches
        .iter()
        .flat_map(|batch| {
            batch.column_by_name(UID).unwrap().as_fixed_size_binary().iter().map(|uid| uid.unwrap().to_vec())
        })
        .collect();
    assert_eq!(uids, [5, 7, DAY_US + 1, DAY_US + 9].map(|time| uid(time).0.to_vec()));
    let late_us = 5 * DAY_US - 5 - stream.lateness_us;
    assert_eq!(reader.late_events(&stream, from, to).await.unwrap(), [(uid(5), late_us)].into());
}

#[tokio::test]
async fn a_table_that_was_never_written_is_empty() {
    let archive = Archive::new(Location::memory(), "weir");
    let stream = stream(columns());
    assert_eq!(count(&archive, &stream).await, 0);
    let reader = ArchiveReader::new(archive.clone(), 64 << 20);
    let batches: Vec<_> =
        reader.scan(&stream, None, None, &ColumnSet::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    assert!(reader.late_events(&stream, None, None).await.unwrap().is_empty());
    assert!(matches!(archive.undeclared_provider("nothing").await, Err(ArchiveError::NoTable { .. })));
}

#[tokio::test]
async fn alerts_have_columns_for_what_is_asked_and_the_whole_record() {
    let published = [
        ("detection".to_owned(), DataType::Utf8View),
        ("severity".to_owned(), DataType::Utf8View),
        ("user".to_owned(), DataType::Utf8View),
    ];
    let spec = alerts(&published);
    let record = serde_json::json!({
        "time": 1_700_000_000_123_i64, "activity_id": 1, "severity": "High", "count": 3,
        "finding_info": { "uid": "0a", "title": "T", "analytic": { "uid": "a.b" } },
        "evidences": [{ "data": { "who": "eve" } }],
        "unmapped": { "weir": { "entities": { "user": "eve" }, "suppressed_by": "0b" } },
    });
    let archive = Archive::new(Location::memory(), "weir");
    let mut table = archive.writer(spec.clone()).await.unwrap();
    table.append(9, &[alert_rows(&spec, std::slice::from_ref(&record), 9).unwrap()]).await.unwrap();
    let context = SessionContext::new();
    context.register_table("alerts", archive.provider(&spec).await.unwrap()).unwrap();
    let sql = "SELECT time, uid, detection, severity, \"user\", count, suppressed_by, late, data, epoch FROM alerts WHERE time > TIMESTAMP '2023-01-01'";
    let shown = pretty_format_batches(&context.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string();
    let row = "| 2023-11-14T22:13:20.123 | 0a  | a.b       | high     | eve  | 3     | 0b            | false | {\"who\":\"eve\"} | 9     |";
    assert!(shown.contains(row), "{shown}");
    let whole = context.sql("SELECT record FROM alerts").await.unwrap().collect().await.unwrap();
    let text = whole[0].column(0).as_string_view().value(0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), record);
}

#[tokio::test]
async fn dead_letters_keep_their_bytes() {
    let archive = Archive::new(Location::memory(), "weir");
    let row = DeadLetterRow {
        time: EventTime(1),
        stream: "conn",
        topic: "logs",
        partition: 2,
        offset: 77,
        reason: "not_json",
        detail: "EOF",
        raw: b"\xff{",
    };
    archive.writer(dead_letters()).await.unwrap().append(1, &[dead_letter_rows(&[row]).unwrap()]).await.unwrap();
    let context = SessionContext::new();
    context.register_table("d", archive.provider(&dead_letters()).await.unwrap()).unwrap();
    let sql = "SELECT \"partition\", \"offset\", reason, raw FROM d";
    let shown = pretty_format_batches(&context.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string();
    assert!(shown.contains("| 2         | 77     | not_json | ff7b |"), "{shown}");
}

fn parquet_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(path);
            }
        }
    }
    found
}

fn data_files(folder: &Path) -> usize {
    parquet_files(folder).len()
}
