//! Claims about Weir's own streams in a pipeline that runs, over librdkafka's in-process broker.

use std::fs;
use std::time::{Duration, Instant};

use chrono::DateTime;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use weir_connectors::store::SqliteJournal;
use weir_playbooks::case::{Case, Verdict};
use weir_playbooks::facts::{AlertFacts, Moment, Severity};
use weir_playbooks::journal::{Journal as _, Write};
use weir_playbooks::openc2::{Action, Args, Command, Target, TargetKind};
use weir_playbooks::playbook::Part;
use weir_playbooks::run::{Mode, Phase, Run, RunStatus, StepRecord, StepStatus};

use super::*;
use crate::cli::Globals;

mod fast; // alerts before their epoch

const ALERTS: &str = "weir.alerts";
const FAST: &str = "weir.alerts.fast";
const PATIENCE: Duration = Duration::from_secs(60);

const STREAM: &str = "\
CREATE STREAM signin (time TIMESTAMP, who STRING, tries INT)
WITH (topic = 'signin', format = 'json', event_time = 'time', lateness = '10 seconds');
";

const FAILURES: &str = "\
--! id = \"response.isolation_fails\"
--! title = \"F\"
--! severity = \"high\"
SELECT playbook, count(*) AS failures FROM TUMBLE(actions, time, INTERVAL '1 hour')
WHERE action = 'contain' AND status = 'failed' GROUP BY playbook, window_start, window_end HAVING count(*) >= 3
";

const BACK: &str = "\
--! id = \"response.back_again\"
--! title = \"B\"
--! severity = \"high\"
SELECT s.time, s.who, c.uid AS case_uid FROM signin s JOIN cases c ON c.\"user\" = s.who
 AND s.time BETWEEN c.time AND c.time + INTERVAL '1 hour'
WHERE c.change = 'case_closed' AND c.verdict = 'true_positive'
";

const LATE: &str = "\
--! id = \"weir.late\"
--! title = \"L\"
--! severity = \"low\"
SELECT time, stream, event_time, late_ms, reason, topic, partition FROM late_events
";

const MISTYPED: &str = "\
--! id = \"signin.mistyped\"
--! title = \"M\"
--! severity = \"low\"
SELECT time, who, 6 / tries AS share, unmapped FROM signin WHERE who = 'zed'
";

const COVERED: &str = "\
--! id = \"weir.covered\"
--! title = \"C\"
--! severity = \"low\"
SELECT time, detection, events FROM coverage WHERE status = 'covered'
";

/// A project, its broker, and the journal as another process would write it.
struct House {
    folder: tempfile::TempDir,
    servers: String,
    producer: BaseProducer,
    journal: SqliteJournal,
    _cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
}

fn at(seconds: i64) -> Moment {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
}

impl House {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["signin", ALERTS, FAST, "weir.dead-letters", "weir.cursors"] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let servers = cluster.bootstrap_servers();
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("streams/signin.sql", STREAM);
        write("detections/fails.sql", FAILURES);
        write("detections/back.sql", BACK);
        write("detections/late.sql", LATE);
        write("detections/mistyped.sql", MISTYPED);
        write(
            "weir.toml",
            &format!("[kafka]\nbootstrap_servers = {servers:?}\n[engine]\nepoch_ms = 100\nparallelism = 2\n"),
        );
        let producer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        let journal = SqliteJournal::open(&folder.path().join("weir.db")).unwrap();
        Self { folder, servers, producer, journal, _cluster: cluster }
    }

    fn send(&self, seconds: i64, who: &str) {
        self.send_tries(seconds, who, "null");
    }

    fn send_tries(&self, seconds: i64, who: &str, tries: &str) {
        let payload = format!(r#"{{"time":"{}","who":"{who}","tries":{tries}}}"#, at(seconds).to_rfc3339());
        self.producer.send(BaseRecord::<(), _>::to("signin").partition(0).payload(&payload)).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }

    /// An isolation that fails.
    fn fail(&mut self, number: i64) {
        let (run, _) = Run::start(alert(number), "contain_host", Part::Steps, Mode::Live, None, at(number));
        let mut failed = run.clone();
        failed.version += 1;
        failed.status = RunStatus::Failed;
        failed.steps = vec![failed_step(number)];
        (failed.updated, failed.ended) = (at(number), Some(at(number)));
        self.journal.write(&[Write::StartRun(run), Write::Run(failed)]).unwrap();
    }

    /// A case about somebody that is closed.
    fn close(&mut self, number: i64, who: &str) {
        let mut about = alert(number);
        about.entities = [("user".to_owned(), who.to_owned())].into();
        let (case, opened) = Case::open(&about, at(number));
        let mut closed = case.clone();
        let note = closed.close(Verdict::TruePositive, None, "kim", at(number)).unwrap();
        let from = case.version;
        let writes =
            [Write::OpenCase(case), Write::Note(opened), Write::Case { case: closed, from }, Write::Note(note)];
        self.journal.write(&writes).unwrap();
    }

    async fn setup(&self) -> Setup {
        let globals = Globals {
            dir: self.folder.path().to_owned(),
            format: None,
            verbose: 0,
            quiet: 0,
            log_format: Default::default(),
        };
        let mut setup = crate::run::setup(&globals).await.map_err(|error| error.to_string()).unwrap();
        setup.is_transactional = false;
        // So little that every batch waits for the one before.
        setup.queue_bytes = 1;
        setup
    }

    /// Runs the pipeline until it has taken in so many records in all; says what it has counted.
    async fn run(&self, records: u64) -> Progress {
        let setup = self.setup().await;
        let respond = setup.respond.clone().unwrap();
        let pump = Pump::start(setup).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let taken = || pump.progress().borrow().ledger.values().map(|ledger| ledger.records).sum::<u64>();
        while taken() < records {
            assert!(Instant::now() < deadline, "{} of {records} records in {PATIENCE:?}", taken());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let progress = pump.progress();
        pump.stop().await.unwrap();
        respond.stop().await;
        progress.borrow().clone()
    }

    /// Every record of the alerts topic about one detection.
    fn alerts(&self, detection: &str) -> Vec<Value> {
        self.told(ALERTS, detection)
    }

    /// Every record of a topic about one detection.
    fn told(&self, topic: &str, detection: &str) -> Vec<Value> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.servers).set("group.id", "test").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let (_, end) = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
        let read = (0..end).map(|_| consumer.poll(PATIENCE).unwrap().unwrap());
        let alerts = read.map(|message| serde_json::from_slice::<Value>(message.payload().unwrap()).unwrap());
        alerts.filter(|alert| alert["finding_info"]["analytic"]["uid"] == detection).collect()
    }
}

fn alert(number: i64) -> AlertFacts {
    AlertFacts {
        uid: format!("a{number}"),
        detection: "d".to_owned(),
        title: "t".to_owned(),
        message: None,
        severity: Severity::High,
        confidence: None,
        risk_score: None,
        time: at(number),
        count: 1,
        attack: Vec::new(),
        entities: [("host".to_owned(), "ws1".to_owned())].into(),
        evidence: serde_json::Map::new(),
        runbook: None,
    }
}

fn failed_step(number: i64) -> StepRecord {
    StepRecord {
        id: "isolate".to_owned(),
        does: "contain device".to_owned(),
        status: StepStatus::Failed,
        phase: Phase::Call,
        attempts: 1,
        tries: 1,
        in_flight: false,
        wake: None,
        deadline: at(number + 60),
        action_id: format!("action-{number}"),
        responder: Some("edr".to_owned()),
        command: Some(Command {
            action: Action::Contain,
            target: Target::of_text(TargetKind::Device, "ws1").unwrap(),
            args: Args::default(),
            command_id: format!("action-{number}"),
        }),
        request: None,
        planned: Vec::new(),
        found: serde_json::Map::new(),
        external_id: None,
        result: serde_json::Map::new(),
        verified: None,
        undo: None,
        decision: None,
        error: Some("no answer".to_owned()),
        started: at(number),
        sent: Some(at(number)),
        ended: Some(at(number)),
    }
}

fn data(alert: &Value) -> &Value {
    &alert["evidences"][0]["data"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_response_did_comes_back_once_over_a_restart() {
    let mut house = House::new();
    house.fail(1);
    house.fail(2);
    house.close(3, "mara");
    // Two actions and a case that is opened and closed.
    house.run(4).await;
    assert_eq!(house.alerts("response.isolation_fails"), [] as [Value; 0], "two are not three");

    house.fail(4);
    house.send(60, "mara");
    house.send(61, "carl");
    house.run(7).await;
    let failures = house.alerts("response.isolation_fails");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(data(&failures[0])["failures"], 3, "the restart neither lost nor repeated one");
    let back = house.alerts("response.back_again");
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(data(&back[0])["who"], "mara");
    assert_eq!(data(&back[0])["case_uid"].as_str().map(|uid| uid.starts_with("case")), Some(true));

    house.run(7).await;
    assert_eq!(house.alerts("response.isolation_fails"), failures, "a start without news tells nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_late_is_told_where_it_lay() {
    let house = House::new();
    house.send(100, "ann");
    house.send(80, "bob");
    house.run(2).await;
    let late = house.alerts("weir.late");
    assert_eq!(late.len(), 1, "{late:?}");
    let row = data(&late[0]);
    assert_eq!(
        (&row["stream"], &row["late_ms"], &row["reason"]),
        (&"signin".into(), &20_000.into(), &"lateness".into())
    );
    assert_eq!((&row["topic"], &row["partition"]), (&"signin".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_null_kept_and_counted_over_a_restart() {
    let house = House::new();
    house.send_tries(1, "zed", "\"6x\"");
    house.send_tries(2, "zed", "2");
    house.run(2).await;
    house.send_tries(3, "zed", "[1]");
    house.send_tries(4, "zed", "0");
    let counted = house.run(4).await;
    assert_eq!(counted.nulled.misfits["signin"], [("tries".to_owned(), 2)].into());
    assert_eq!(counted.nulled.failures, 1, "one division by zero");
    assert_eq!(counted.ledger["signin"].on_time, 4, "none is refused");
    let alerts = house.alerts("signin.mistyped");
    let rows: Vec<_> = alerts.iter().map(|alert| (&data(alert)["share"], data(alert)["unmapped"].as_str())).collect();
    let (null, three) = (Value::Null, Value::from(3));
    assert_eq!(
        rows,
        [(&null, Some(r#"{"tries":"6x"}"#)), (&three, None), (&null, Some(r#"{"tries":[1]}"#)), (&null, None),]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_evaluated_comes_back_once_over_a_restart() {
    let house = House::new();
    fs::write(house.folder.path().join("detections/covered.sql"), COVERED).unwrap();
    house.send(1, "ann");
    house.send(2, "bob");
    house.run(2).await;
    // The stop ends the minute: one row for each of the two detections that read the stream, which the next start reads.
    house.run(4).await;
    let alerts = house.alerts("weir.covered");
    let mut events = BTreeMap::new();
    for row in alerts.iter().map(data) {
        *events.entry(row["detection"].as_str().unwrap()).or_insert(0) += row["events"].as_i64().unwrap();
    }
    assert_eq!(events, [("response.back_again", 2), ("signin.mistyped", 2)].into());
    house.run(4).await;
    assert_eq!(house.alerts("weir.covered"), alerts, "a start without news tells nothing");
}
