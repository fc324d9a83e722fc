use arrow::array::{ArrayRef, AsArray, BinaryViewArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::*;

mod sequence;

const STREAMS: &str = "\
CREATE STREAM logins (ts TIMESTAMP, UserName STRING, ok BOOLEAN, n BIGINT) WITH (topic = 't', format = 'json', event_time = 'ts');
CREATE VIEW failed AS SELECT ts AS time, UserName AS user_name, n FROM logins WHERE NOT ok;
CREATE VIEW both AS SELECT ts AS time, n FROM logins WHERE n < 3 UNION ALL SELECT ts AS time, n + 0 AS n FROM logins WHERE n >= 3;
CREATE VIEW failed_twice AS SELECT user_name, count(*) AS failures FROM failed GROUP BY user_name HAVING count(*) > 1;
CREATE TABLE teams (UserName STRING, team STRING) WITH (location = 'teams.csv');
";

const LIMITS: Limits = Limits { memory_bytes: 64 << 20, timeout: Duration::from_secs(60) };

struct Project {
    folder: tempfile::TempDir,
    catalog: Catalog,
    archive: Archive,
}

impl Project {
    async fn new() -> Self {
        Self::with_streams(STREAMS, "UserName,team\nann,red\nbob,blue\n").await
    }

    /// A project with these streams, and the rows of its table `teams`.
    async fn with_streams(streams: &str, teams: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("teams.csv"), teams).unwrap();
        let (catalog, diagnostics) = sql::parse_catalog(&[("streams/a.sql".to_owned(), streams.to_owned())]);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let archive = Archive::new(Location::memory(), ARCHIVE_APP);
        Self { folder, catalog, archive }
    }

    async fn with_logins(rows: i64) -> Self {
        let project = Self::new().await;
        let mut table = project.archive.stream_writer(project.catalog.stream("logins").unwrap()).await.unwrap();
        table.append(1, &[logins(rows)]).await.unwrap();
        project
    }

    async fn begin(&self, text: &str, params: &[&str], limits: Limits) -> Result<Hunt, HuntError> {
        let params: Vec<String> = params.iter().map(|&param| param.to_owned()).collect();
        let params = params::parse(&params, chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1)).unwrap();
        hunt(&self.archive, &self.catalog, self.folder.path(), text, &params, limits).await
    }

    async fn csv(&self, text: &str, params: &[&str]) -> String {
        let hunt = self.begin(text, params, LIMITS).await.unwrap();
        written(Format::Csv, &hunt.schema(), &hunt.collect().await.unwrap())
    }

    async fn refused(&self, text: &str) -> String {
        match self.begin(text, &[], LIMITS).await {
            Err(HuntError::Text(diagnostics)) => {
                diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Sign-ins one second apart: ann, bob, ann, bob, ..., of which every third succeeds.
fn logins(rows: i64) -> RecordBatch {
    let times =
        || Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|row| row * 1_000_000))) as ArrayRef;
    let names = (0..rows).map(|row| if row % 2 == 0 { "ann" } else { "bob" });
    RecordBatch::try_from_iter([
        ("ts", times()),
        ("UserName", Arc::new(StringViewArray::from_iter_values(names)) as ArrayRef),
        ("ok", Arc::new(arrow::array::BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0))))),
        ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("_time", times()),
    ])
    .unwrap()
}

fn written(format: Format, schema: &SchemaRef, batches: &[RecordBatch]) -> String {
    let mut output = Output::new(format, schema);
    let mut text = Vec::new();
    for batch in batches {
        output.write_to(batch, &mut text).unwrap();
    }
    output.finish_to(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn streams_views_over_views_and_tables_stand_behind_from() {
    let project = Project::with_logins(9).await;
    assert_eq!(project.csv("SELECT count(*) AS n FROM logins", &[]).await, "n\n9\n");
    let text =
        "SELECT f.user_name, failures, team FROM failed_twice f JOIN teams t ON t.UserName = f.user_name ORDER BY 1";
    assert_eq!(project.csv(text, &[]).await, "user_name,failures,team\nann,3,red\nbob,3,blue\n");
}

#[tokio::test]
async fn names_are_found_whatever_their_case_and_windows_work_as_in_detections() {
    let project = Project::with_logins(9).await;
    let text = "SELECT username, COUNT(*) AS n, window_start FROM TUMBLE(LOGINS, ts, INTERVAL '5 seconds') \
                WHERE \"_uid\" IS NULL GROUP BY username, window_start ORDER BY window_start, username";
    assert_eq!(
        project.csv(text, &[]).await,
        "UserName,n,window_start\nann,3,1970-01-01T00:00:00Z\nbob,2,1970-01-01T00:00:00Z\n\
         ann,2,1970-01-01T00:00:05Z\nbob,2,1970-01-01T00:00:05Z\n"
    );
    assert_eq!(
        project.csv("SELECT * FROM logins WHERE n = 1", &[]).await,
        "ts,UserName,ok,n\n1970-01-01T00:00:01Z,bob,false,1\n"
    );
}

/// Three sign-ins of one second, whose uids go against the order in which they were written, and one of a second later.
async fn with_ties() -> Project {
    let project = Project::new().await;
    let times = || {
        let seconds = [5, 5, 5, 6];
        Arc::new(TimestampMicrosecondArray::from_iter_values(seconds.map(|second| second * 1_000_000))) as ArrayRef
    };
    let uids = ["c", "b", "a", "0"].map(|digit| digit.repeat(32));
    let rows = RecordBatch::try_from_iter([
        ("ts", times()),
        ("UserName", Arc::new(StringViewArray::from_iter_values(["ann"; 4])) as ArrayRef),
        ("ok", Arc::new(arrow::array::BooleanArray::from(vec![false; 4]))),
        ("n", Arc::new(Int64Array::from_iter_values([1, 2, 3, 4]))),
        ("_time", times()),
        ("_uid", Arc::new(arrow::array::StringArray::from_iter_values(uids))),
    ]);
    let mut table = project.archive.stream_writer(project.catalog.stream("logins").unwrap()).await.unwrap();
    table.append(1, &[rows.unwrap()]).await.unwrap();
    project
}

#[tokio::test]
async fn rows_of_one_time_are_in_the_order_of_their_uid_as_in_a_detection() {
    let project = with_ties().await;
    let text = "SELECT n, row_number() OVER (PARTITION BY UserName ORDER BY ts) AS number, lag(n) OVER (PARTITION BY UserName ORDER BY ts) AS before, \
                sum(n) OVER (PARTITION BY UserName ORDER BY ts ROWS 1 PRECEDING) AS two FROM logins ORDER BY number";
    assert_eq!(project.csv(text, &[]).await, "n,number,before,two\n3,1,,3\n2,2,3,5\n1,3,2,3\n4,4,1,5\n");
    // A view has no uid that could be named; an interval picks among rows of one time.
    let text = "SELECT n, first_value(n) OVER w AS first, last_value(n) OVER w AS last, nth_value(n, 2) OVER w AS second, count(*) OVER w AS c \
                FROM failed WINDOW w AS (PARTITION BY user_name ORDER BY time RANGE INTERVAL '1 second' PRECEDING) ORDER BY n";
    assert_eq!(project.csv(text, &[]).await, "n,first,last,second,c\n1,3,1,2,3\n2,3,1,2,3\n3,3,1,2,3\n4,3,4,2,4\n");
    let text = "SELECT n, row_number() OVER (ORDER BY time) AS number FROM both ORDER BY number";
    assert_eq!(project.csv(text, &[]).await, "n,number\n3,1\n2,2\n1,3\n4,4\n");
    let text = "SELECT n FROM failed QUALIFY row_number() OVER (PARTITION BY user_name ORDER BY time DESC) = 2";
    assert_eq!(project.csv(text, &[]).await, "n\n1\n");
    let text = "SELECT n FROM failed QUALIFY first_value(n) OVER (PARTITION BY user_name ORDER BY time DESC) = n";
    assert_eq!(project.csv(text, &[]).await, "n\n4\n");
    let text = "SELECT n, rank() OVER (PARTITION BY user_name ORDER BY time) AS place FROM failed ORDER BY n";
    assert_eq!(project.csv(text, &[]).await, "n,place\n1,1\n2,1\n3,1\n4,4\n", "rows of one time share their rank");
}

#[tokio::test]
async fn a_hunt_for_one_value_of_a_computed_key_runs() {
    let project = with_ties().await;
    let text = "SELECT n, count(*) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) AS c \
                FROM (SELECT time, upper(user_name) AS who, n FROM failed) WHERE who = 'ANN' AND n > 2 ORDER BY n";
    assert_eq!(project.csv(text, &[]).await, "n,c\n3,1\n4,2\n");
    let text = text.replace("n > 2 ORDER BY n", "n > 1 ORDER BY n DESC LIMIT 2");
    assert_eq!(project.csv(&text, &[]).await, "n,c\n4,3\n3,2\n");
}

#[tokio::test]
async fn what_was_not_seen_before_is_found_as_in_a_detection() {
    let project = with_ties().await;
    let text = "SELECT n FROM failed WHERE first_seen(user_name, INTERVAL '1 hour')";
    assert_eq!(project.csv(text, &[]).await, "n\n3\n");
    let text = "SELECT n, first_seen((user_name), INTERVAL '1 second') AS is_new FROM failed ORDER BY n";
    assert_eq!(project.csv(text, &[]).await, "n,is_new\n1,false\n2,false\n3,true\n4,true\n");
    let told = project.refused("SELECT n FROM failed WHERE first_seen(user_name)").await;
    assert!(told.starts_with("1:28: D012 unbounded state"), "{told}");
}

#[tokio::test]
async fn parameters_are_values_and_never_text_of_the_select() {
    let project = Project::with_logins(9).await;
    let text = "SELECT n FROM failed WHERE user_name = $who AND n > $least AND time >= $since ORDER BY n";
    let params = ["who=ann", "least=2", "since=1970-01-01T00:00:04Z"];
    assert_eq!(project.csv(text, &params).await, "n\n4\n8\n");
    let params = ["who=ann", "least=2", "since=-23h 59m 56s"];
    assert_eq!(project.csv(text, &params).await, "n\n4\n8\n", "four seconds into the day that the hunt ends");
    assert_eq!(project.csv("SELECT n FROM failed WHERE user_name = $who", &["who=' OR 1=1 --"]).await, "n\n");
}

#[tokio::test]
async fn tables_that_were_never_written_are_empty() {
    let project = Project::new().await;
    for table in ["logins", "alerts", "actions", "cases", "coverage", "late_events", "dead_letters"] {
        assert_eq!(project.csv(&format!("SELECT count(*) AS n FROM {table}"), &[]).await, "n\n0\n", "{table}");
    }
    for (stream, columns) in [
        ("late_events", "time, uid, stream, event_time, late_ms, reason, topic, partition"),
        ("actions", "time, uid, action, target, status, change_id"),
        ("cases", "time, uid, verdict, change, change_id, host"),
    ] {
        let header = format!("{}\n", columns.replace(", ", ","));
        assert_eq!(project.csv(&format!("SELECT {columns} FROM {stream}"), &[]).await, header);
    }
}

#[tokio::test]
async fn nothing_but_one_select_is_run() {
    let project = Project::with_logins(3).await;
    for text in [
        "DROP TABLE logins",
        "INSERT INTO logins SELECT * FROM logins",
        "COPY logins TO '/tmp/x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT 1; DROP TABLE logins",
        "SELECT * INTO t FROM logins",
        "",
    ] {
        project.refused(text).await;
    }
    assert!(project.refused("SELECT * FROM '/etc/passwd'").await.contains("/etc/passwd"));
}

#[tokio::test]
async fn what_is_wrong_with_a_text_is_said() {
    let project = Project::with_logins(3).await;
    let told = project.refused("SELECT n,\n  usrname FROM logins").await;
    assert_eq!(told, "2:3: D004 there is no column `usrname`; did you mean `UserName`?");
    let told = project.refused("SELECT 1 FROM login").await;
    assert!(told.starts_with("1:15: D003") && told.ends_with("did you mean `logins`?"), "{told}");
}

#[tokio::test]
async fn a_hunt_that_takes_too_long_is_stopped() {
    let project = Project::with_logins(2000).await;
    let limits = Limits { timeout: Duration::from_millis(300), ..LIMITS };
    let text = "SELECT count(*) FROM logins a CROSS JOIN logins b CROSS JOIN logins c WHERE a.n + b.n * c.n = 7";
    let began = std::time::Instant::now();
    let result = match project.begin(text, &[], limits).await {
        Ok(hunt) => hunt.collect().await,
        Err(error) => Err(error),
    };
    assert!(matches!(result, Err(HuntError::Timeout(_))), "{result:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_sort_larger_than_its_memory_is_done_on_disk() {
    let project = Project::with_logins(400_000).await;
    let limits = Limits { memory_bytes: 48 << 20, ..LIMITS };
    let text = "SELECT UserName, repeat(UserName, 60) AS long, n FROM logins ORDER BY long, n DESC";
    let mut hunt = project.begin(text, &[], limits).await.unwrap();
    let first = hunt.next().await.unwrap().unwrap();
    assert_eq!(first.column(2).as_primitive::<Int64Type>().value(0), 399_998);
    let mut rows = first.num_rows();
    while let Some(batch) = hunt.next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 400_000);
    assert!(spills(hunt.plan.as_ref()) > 0, "it fitted into memory");
}

/// How often a plan has written to disk.
fn spills(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or(0);
    own + plan.children().into_iter().map(|child| spills(child.as_ref())).sum::<usize>()
}

#[tokio::test]
async fn a_hunt_that_needs_more_than_its_memory_says_so() {
    let project = Project::with_logins(200_000).await;
    let limits = Limits { memory_bytes: 1 << 20, ..LIMITS };
    let text = "SELECT count(*) FROM logins a JOIN logins b ON a.n = b.n AND a.UserName = b.UserName";
    let result = match project.begin(text, &[], limits).await {
        Ok(hunt) => hunt.collect().await,
        Err(error) => Err(error),
    };
    assert!(matches!(result, Err(HuntError::Memory(1))), "{result:?}");
}

#[tokio::test]
async fn the_bytes_that_were_read_are_known() {
    let project = Project::with_logins(1000).await;
    let mut hunt = project.begin("SELECT sum(n) FROM logins", &[], LIMITS).await.unwrap();
    while hunt.next().await.unwrap().is_some() {}
    assert!(hunt.bytes_read() > 0);
    assert!(hunt.bytes_read() <= hunt.bytes_max, "{} of {}", hunt.bytes_read(), hunt.bytes_max);
}

#[tokio::test]
async fn a_hunt_for_one_day_reads_the_files_of_that_day() {
    let project = Project::new().await;
    let mut table = project.archive.stream_writer(project.catalog.stream("logins").unwrap()).await.unwrap();
    for day in 0..8 {
        let rows = logins(5_000);
        let shift = |name: &str| {
            let times = rows.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>();
            Arc::new(times.unary::<_, TimestampMicrosecondType>(|us| us + day * 86_400_000_000)) as ArrayRef
        };
        let mut columns = rows.columns().to_vec();
        (columns[0], columns[4]) = (shift("ts"), shift("_time"));
        table.append(1 + day as u64, &[RecordBatch::try_new(rows.schema(), columns).unwrap()]).await.unwrap();
    }
    let mut shares = Vec::new();
    for text in [
        "SELECT count(user_name) AS n FROM failed WHERE time >= '1970-01-03T00:00:00Z' AND time < '1970-01-04'",
        "SELECT count(UserName) AS n FROM logins WHERE _time BETWEEN TIMESTAMP '1970-01-03' AND TIMESTAMP '1970-01-03 23:59:59' AND NOT ok",
        "SELECT count(UserName) AS n FROM logins WHERE _day = DATE '1970-01-03' AND NOT ok",
    ] {
        let mut hunt = project.begin(text, &[], LIMITS).await.unwrap();
        let rows = hunt.next().await.unwrap().unwrap();
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().value(0), 3_333, "{text}");
        while hunt.next().await.unwrap().is_some() {}
        shares.push(hunt.bytes_read() * 100 / hunt.bytes_max);
    }
    assert!(shares.iter().all(|share| *share < 25), "percent of all bytes that were read: {shares:?}");
}

#[tokio::test]
async fn every_shipped_view_can_be_hunted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections/streams");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let texts: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    let (catalog, diagnostics) = sql::parse_catalog(&texts);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let archive = Archive::new(Location::memory(), ARCHIVE_APP);
    let time = || Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_000])) as ArrayRef;
    for stream in catalog.streams() {
        let row = RecordBatch::try_from_iter([("_time", time())]).unwrap();
        archive.stream_writer(stream).await.unwrap().append(1, &[row]).await.unwrap();
    }
    let params = BTreeMap::new();
    let mut failures = Vec::new();
    for view in catalog.views() {
        let text = format!("SELECT * FROM {}", view.name);
        let ended = match hunt(&archive, &catalog, &folder, &text, &params, LIMITS).await {
            Ok(hunt) => {
                let schema = hunt.schema();
                hunt.collect().await.map(|batches| written(Format::Json, &schema, &batches))
            }
            Err(error) => Err(error),
        };
        failures.extend(ended.err().map(|error| format!("{text}: {error}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn rows_are_written_with_times_in_utc_and_without_control_characters() {
    let batch = RecordBatch::try_from_iter([
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None])) as ArrayRef),
        ("raw", Arc::new(BinaryViewArray::from_iter([Some(&b"a\x1b[31m"[..]), Some(b"\xff")]))),
        ("t", Arc::new(StringViewArray::from_iter_values(["x,\"y\"", ""]))),
    ])
    .unwrap();
    let batches = [batch];
    assert_eq!(
        written(Format::Json, &batches[0].schema(), &batches),
        "{\"t\":\"1970-01-01T00:00:01.500Z\",\"raw\":\"a\\u001b[31m\",\"t\":\"x,\\\"y\\\"\"}\n{\"t\":null,\"raw\":\"\u{fffd}\",\"t\":\"\"}\n"
    );
    assert_eq!(
        written(Format::Csv, &batches[0].schema(), &batches),
        "t,raw,t\n1970-01-01T00:00:01.500Z,a\u{1b}[31m,\"x,\"\"y\"\"\"\n,\u{fffd},\n"
    );
    assert_eq!(
        written(Format::Table, &batches[0].schema(), &batches),
        "t                         raw          t\n1970-01-01T00:00:01.500Z  a\\u{1b}[31m  x,\"y\"\n                          \u{fffd}\n"
    );
    assert_eq!(written(Format::Csv, &batches[0].schema(), &[]), "t,raw,t\n");
}
