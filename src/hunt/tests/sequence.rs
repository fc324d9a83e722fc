//! `MATCH_RECOGNIZE` in a hunt gives what the engine gives over the same events.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use weir_connectors::archive::{event_columns, event_rows};
use weir_connectors::file::FileSource;
use weir_engine::{Engine, Hit, PartitionId, Place, Program, Published, Query, TableVersion};

use super::*;

const STREAMS: &str = "\
CREATE STREAM logins (time TIMESTAMP, who STRING, ok BOOLEAN, n BIGINT)
WITH (topic = 'a', format = 'json', event_time = 'time', lateness = '1 minute');
CREATE STREAM doors (time TIMESTAMP, who STRING, ok BOOLEAN, n BIGINT)
WITH (topic = 'b', format = 'json', event_time = 'time', lateness = '1 minute');
CREATE VIEW entries AS SELECT time, who, ok, n FROM logins UNION ALL SELECT time, upper(who) AS who, ok, -n AS n FROM doors;
CREATE TABLE teams (who STRING, team STRING) WITH (location = 'teams.csv');
";

/// Sequences alone and in every company in which they run on streams.
const TEXTS: [&str; 18] = [
    "SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time
       MEASURES LAST(s.time) AS time, count(f.*) AS failures, FIRST(f.n) AS first, s.n AS last
       PATTERN (f{2,} s) WITHIN INTERVAL '20 seconds' DEFINE f AS NOT ok, s AS ok) AS m",
    // Rows of one time and all keys.
    "SELECT * FROM logins MATCH_RECOGNIZE (ORDER BY time MEASURES c.time AS time, a.n AS a, b.n AS b, c.n AS c
       PATTERN (a b c) WITHIN INTERVAL '3 seconds' DEFINE a AS ok, b AS NOT ok, c AS n > a.n)",
    "SELECT * FROM entries MATCH_RECOGNIZE (ORDER BY time MEASURES MATCH_TIME() AS time, a.n AS a, b.n AS b, b.who AS who
       AFTER MATCH SKIP TO NEXT ROW PATTERN (a b) WITHIN INTERVAL '2 seconds' DEFINE a AS n > 0, b AS n < 0)",
    "SELECT * FROM entries MATCH_RECOGNIZE (PARTITION BY who, ok ORDER BY time
       MEASURES LAST(time) AS time, FIRST(x.n) AS a, count(*) AS c, sum(x.n) AS total, CLASSIFIER() AS cl
       AFTER MATCH SKIP TO LAST x PATTERN (x{3,5}? y*) WITHIN INTERVAL '30 seconds'
       DEFINE x AS sum(x.n) > -1000, y AS n > PREV(n))",
    "SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time
       MEASURES MATCH_TIME() AS time, a.n AS a, NEXT(a.n) AS after
       PATTERN (a b{0}) WITHIN INTERVAL '4 seconds' DEFINE a AS NOT ok, b AS ok AND b.n > a.n)",
    // Above: windows, conditions, a table, a join with another stream, an OVER.
    "WITH m AS (SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time MEASURES b.time AS time, b.n AS n
       PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok))
     SELECT who, window_start AS ws, count(*) AS c, max(n) AS most FROM TUMBLE(m, time, INTERVAL '20 seconds')
     GROUP BY who, window_start, window_end HAVING count(*) > 1",
    "SELECT time, who, b FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time
       MEASURES b.time AS time, b.n AS b PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok) AS m
     WHERE m.who = 'ann' AND b > 20",
    "WITH m AS (SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time MEASURES b.time AS time, b.n AS n
       PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok))
     SELECT m.time, m.who, team, n FROM m JOIN teams t ON t.who = m.who",
    "WITH m AS (SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time MEASURES b.time AS time, b.n AS n
       PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok))
     SELECT m.time, m.who, m.n, d.n AS door FROM m JOIN doors d
     ON d.who = m.who AND d.time BETWEEN m.time AND m.time + INTERVAL '3 seconds'",
    "WITH m AS (SELECT * FROM logins MATCH_RECOGNIZE (PARTITION BY who ORDER BY time MEASURES b.time AS time, b.n AS n
       PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok))
     SELECT time, who, n, count(*) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '15 seconds' PRECEDING) AS c FROM m",
    // Below: a table, absence, windows, several windows, pairs, sequences.
    "WITH l AS (SELECT l.time, team, n, ok FROM logins l JOIN teams t ON t.who = l.who)
     SELECT * FROM l MATCH_RECOGNIZE (PARTITION BY team ORDER BY time MEASURES b.time AS time, a.n AS a, b.n AS b
       PATTERN (a b) WITHIN INTERVAL '2 seconds' DEFINE a AS NOT ok, b AS ok AND n > a.n)",
    "WITH l AS (SELECT time, who, n FROM logins l WHERE NOT EXISTS (SELECT 1 FROM doors d
       WHERE d.who = l.who AND d.n % 5 = 0 AND d.time BETWEEN l.time AND l.time + INTERVAL '1 second'))
     SELECT * FROM l MATCH_RECOGNIZE (ORDER BY time MEASURES b.time AS time, a.n AS a, b.n AS b
       PATTERN (a b) WITHIN INTERVAL '2 seconds' DEFINE b AS b.who <> a.who)",
    "WITH c AS (SELECT window_end AS time, who, count(*) AS c, max(n) AS n FROM TUMBLE(entries, time, INTERVAL '5 seconds')
       GROUP BY who, window_start, window_end)
     SELECT * FROM c MATCH_RECOGNIZE (ORDER BY time MEASURES d.time AS time, a.who AS a, b.who AS b, d.who AS d
       PATTERN (a b d) WITHIN INTERVAL '1 minute' DEFINE b AS c >= LAST(a.c), d AS n <> b.n)",
    "WITH c AS (SELECT window_end AS time, ok, count(*) AS c FROM HOP(logins, time, INTERVAL '2 seconds', INTERVAL '4 seconds')
       GROUP BY window_start, window_end, ok)
     SELECT * FROM c MATCH_RECOGNIZE (ORDER BY time MEASURES b.time AS time, a.ok AS a, b.ok AS b, b.c AS c
       PATTERN (a b) WITHIN INTERVAL '1 minute' DEFINE b AS b.c <> a.c)",
    "WITH c AS (SELECT window_end AS time, who, count(*) AS c FROM SESSION(logins, time, INTERVAL '2 seconds', who)
       GROUP BY who, window_start, window_end)
     SELECT * FROM c MATCH_RECOGNIZE (ORDER BY time MEASURES b.time AS time, a.who AS a, b.who AS b, b.c AS c
       PATTERN (a b) WITHIN INTERVAL '1 minute' DEFINE b AS b.who <> a.who)",
    "WITH p AS (SELECT l.time, l.n AS l, d.n AS d FROM logins l JOIN doors d
       ON d.who = l.who AND d.time BETWEEN l.time - INTERVAL '1 second' AND l.time)
     SELECT * FROM p MATCH_RECOGNIZE (ORDER BY time MEASURES b.time AS time, a.l AS al, a.d AS ad, b.l AS bl, b.d AS bd
       PATTERN (a b) WITHIN INTERVAL '5 seconds' DEFINE b AS b.d > a.d)",
    "WITH m AS (SELECT * FROM entries MATCH_RECOGNIZE (PARTITION BY who ORDER BY time MEASURES b.time AS time, b.n AS n
       PATTERN (a b) WITHIN INTERVAL '9 seconds' DEFINE a AS NOT ok, b AS ok))
     SELECT * FROM m MATCH_RECOGNIZE (ORDER BY time MEASURES d.time AS time, c.n AS c, d.n AS d, d.who AS who
       PATTERN (c d) WITHIN INTERVAL '9 seconds' DEFINE d AS d.who <> c.who)",
    "WITH l AS (SELECT time, who, n, min(n) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '5 seconds' PRECEDING) AS least
       FROM doors)
     SELECT * FROM l MATCH_RECOGNIZE (ORDER BY time MEASURES b.time AS time, a.least AS a, b.least AS b
       PATTERN (a b) WITHIN INTERVAL '5 seconds' DEFINE b AS b.least > a.least AND b.n > b.least)",
];

/// Three events a second: of ann, bob, nobody and carl, with some at the same time as others of theirs.
fn events(stream: &str) -> String {
    let mut text = String::new();
    for number in 0..240_u64 {
        let mixed = (number + stream.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let at = chrono::DateTime::from_timestamp(1_700_000_000 + (number / 3) as i64, 0).unwrap().to_rfc3339();
        let who = [r#""ann""#, r#""bob""#, "null", r#""carl""#][(mixed % 4) as usize];
        let ok = (mixed / 4).is_multiple_of(3);
        writeln!(text, r#"{{"time":"{at}","who":{who},"ok":{ok},"n":{number}}}"#).unwrap();
    }
    text
}

struct Both {
    project: Project,
}

impl Both {
    /// A project whose archive has all events, in files that overlap in time.
    async fn new() -> Self {
        let project = Project::with_streams(STREAMS, "who,team\nann,red\nbob,blue\ncarl,red\n").await;
        for name in ["logins", "doors"] {
            std::fs::write(project.folder.path().join(name), events(name)).unwrap();
            let stream = project.catalog.stream(name).unwrap();
            let mut source =
                FileSource::open(&project.folder.path().join(name), stream, &event_columns(stream), PartitionId(0))
                    .unwrap();
            let mut table = project.archive.stream_writer(stream).await.unwrap();
            let mut epoch = 0;
            while let Some(output) = source.next_batch() {
                let rows = event_rows(&output.unwrap().batch, true).unwrap();
                for part in 0..4 {
                    let which = (0..rows.num_rows() as u64).filter(|row| row % 4 == part);
                    let rows = arrow::compute::take_record_batch(&rows, &which.collect::<arrow::array::UInt64Array>())
                        .unwrap();
                    epoch += 1;
                    table.append(epoch, &[rows]).await.unwrap();
                }
            }
        }
        Self { project }
    }

    fn live(&self, sql: &str) -> BTreeSet<String> {
        let query = Query {
            id: "q".into(),
            sql: sql.to_owned(),
            start: Place::START,
            params: BTreeMap::new(),
            cooldown_us: None,
            allowed_lateness_us: 0,
            cooldown_keys: vec![],
            exceptions: vec![],
            publish: vec![],
        };
        let (program, faults) = Program::compile(&self.project.catalog, &Published::default(), vec![query]);
        assert_eq!(faults, [], "{sql}");
        let program = Arc::new(program);
        let tables: Vec<TableVersion> = self
            .project
            .catalog
            .tables()
            .map(|table| weir_connectors::table::load(table, self.project.folder.path()).unwrap())
            .collect();
        let mut engine = Engine::new(Arc::clone(&program), 2, &tables).unwrap();
        let read: Vec<_> = program.streams().collect();
        read.iter().for_each(|(stream, _)| engine.add_partition(&stream.name, PartitionId(0)));
        engine.start();
        let mut hits = vec![];
        for (stream, columns) in read {
            let path = self.project.folder.path().join(&stream.name);
            let mut source = FileSource::open(&path, stream, columns, PartitionId(0)).unwrap();
            while let Some(output) = source.next_batch() {
                hits.extend(engine.push(output.unwrap().batch).unwrap().hits);
            }
        }
        hits.extend(engine.finish().unwrap().hits);
        let last: BTreeMap<_, &Hit> = hits.iter().map(|hit| (hit.uid, hit)).collect();
        let line = |hit: &Hit| written(Format::Csv, &hit.row.schema(), std::slice::from_ref(&hit.row));
        last.into_values().map(|hit| line(hit).lines().nth(1).unwrap().to_owned()).collect()
    }

    async fn hunt(&self, sql: &str) -> BTreeSet<String> {
        self.project.csv(sql, &[]).await.lines().skip(1).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_finds_the_sequences_that_the_engine_finds() {
    let both = Both::new().await;
    let mut wrong = vec![];
    for text in TEXTS {
        let (live, hunted) = (both.live(text), both.hunt(text).await);
        if live.len() < 3 || live != hunted {
            let more = |one: &BTreeSet<String>, other| one.difference(other).take(5).cloned().collect::<Vec<_>>();
            let (of_live, of_hunt) = (more(&live, &hunted), more(&hunted, &live));
            wrong.push(format!("{text}\n{} rows, live only {of_live:#?}, in the hunt only {of_hunt:#?}", live.len()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), TEXTS.len(), wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_in_a_hunt_goes_by_any_time_and_no_other_column() {
    let both = Both::new().await;
    let of = |order: &str| {
        format!("WITH l AS (SELECT *, time + INTERVAL '1 hour' AS later FROM logins) SELECT count(*) AS n FROM l MATCH_RECOGNIZE (
            ORDER BY {order} MEASURES a.n AS a PATTERN (a) WITHIN INTERVAL '1 second' DEFINE a AS a.n < 7)")
    };
    assert_eq!(both.project.csv(&of("later"), &[]).await, "n\n7\n");
    let refused = both.project.refused(&of("n")).await;
    assert!(refused.starts_with("2:22: D011") && refused.contains("is no time"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_many_keys_are_sorted_on_disk() {
    let project = Project::with_logins(400_000).await;
    let limits = Limits { memory_bytes: 96 << 20, ..LIMITS };
    let text = "WITH l AS (SELECT ts, n, UserName, n % 50000 AS k, repeat(UserName, 60) AS long FROM logins)
        SELECT count(*) AS n, max(c) AS most FROM l MATCH_RECOGNIZE (
        PARTITION BY k ORDER BY ts MEASURES count(*) AS c, LAST(long) AS long
        PATTERN (a+) WITHIN INTERVAL '10 days' DEFINE a AS a.n >= FIRST(n))";
    let hunt = project.begin(text, &[], limits).await.unwrap();
    let plan = Arc::clone(&hunt.plan);
    let rows = hunt.collect().await.unwrap();
    let row: Vec<i64> = rows[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(row, [50_000, 8]);
    assert!(spills(plan.as_ref()) > 0, "it fitted into memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_one_key_within_the_span_must_fit_into_memory() {
    let project = Project::with_logins(400_000).await;
    let limits = Limits { memory_bytes: 32 << 20, ..LIMITS };
    let within = |span: &str| {
        format!(
            "SELECT count(*) AS n FROM logins MATCH_RECOGNIZE (ORDER BY ts MEASURES count(*) AS c
             PATTERN (a+ b) WITHIN INTERVAL '{span}' DEFINE a AS n >= 0, b AS n < 0)"
        )
    };
    let rows = project.begin(&within("1 minute"), &[], limits).await.unwrap().collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 0);
    let result = match project.begin(&within("10 days"), &[], limits).await {
        Ok(hunt) => hunt.collect().await,
        Err(error) => Err(error),
    };
    assert!(matches!(result, Err(HuntError::Memory(32))), "{result:?}");
}
