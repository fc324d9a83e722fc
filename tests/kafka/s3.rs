//! State and archive in a bucket of a real S3 server.

use std::time::Duration;

use super::{PATIENCE, interrupted_in, produce};
use crate::support::broker;
use crate::support::kafka::{Tail, unique};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;
use crate::support::s3::S3;
use crate::support::signins::generate;

#[test]
fn a_stop_and_a_start_lose_and_double_nothing_in_a_bucket() {
    in_a_bucket("kafka::s3::a_stop_and_a_start_lose_and_double_nothing_in_a_bucket", |weir| {
        let status = weir.terminate(PATIENCE);
        assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", weir.printed());
    });
}

#[test]
fn a_sudden_death_loses_and_doubles_nothing_in_a_bucket() {
    in_a_bucket("kafka::s3::a_sudden_death_loses_and_doubles_nothing_in_a_bucket", Running::kill);
}

fn in_a_bucket(test: &str, interrupt: impl FnOnce(&mut Running)) {
    let Some(address) = broker::shared(test) else { return };
    let Some(s3) = S3::start(test) else { return };
    let mut pipeline = Pipeline::new(&address);
    s3.hold(&mut pipeline);
    let archive = pipeline.project.join("archive");
    interrupted_in(&pipeline, &address, 60_000, interrupt, || s3.download("weir/archive", &archive));
    assert!(!pipeline.project.join("state").exists(), "the state is nowhere else");
    assert!(!s3.names("weir/state/manifests").is_empty(), "it is in the bucket");
}

#[test]
fn of_two_processes_on_one_bucket_one_is_fenced_and_the_other_goes_on() {
    let name = "kafka::s3::of_two_processes_on_one_bucket_one_is_fenced_and_the_other_goes_on";
    let Some(address) = broker::shared(name) else { return };
    let Some(s3) = S3::start(name) else { return };
    let mut pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    s3.hold(&mut pipeline);
    let mut first = pipeline.project.start(&["run"]);
    first.wait_for_line("INFO running", PATIENCE);
    // With a group of its own the second is a stranger to Kafka, so that nothing but the bucket can tell them apart.
    let config = pipeline.project.read("weir.toml");
    let group = config.lines().find(|line| line.starts_with("group = ")).expect("a group");
    pipeline.configure(group, &format!("group = \"{}\"", unique("twin")));
    let mut second = pipeline.project.start(&["run"]);
    second.wait_for_line("INFO running", PATIENCE);
    let partitions = generate(7, 2000, 2);
    produce(&address, &pipeline.topic, partitions.iter().map(Vec::as_slice));

    let deadline = std::time::Instant::now() + PATIENCE;
    while first.is_alive() && second.is_alive() {
        assert!(std::time::Instant::now() < deadline, "both go on:\n{}\n{}", first.printed(), second.printed());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (mut loser, mut winner) = if first.is_alive() { (second, first) } else { (first, second) };
    assert_eq!(loser.wait(PATIENCE).code(), Some(3), "{}", loser.printed());
    loser.wait_for_line("was committed by another process; this one must stop", PATIENCE);
    assert!(winner.is_alive(), "{}", winner.printed());
    let mut tail = Tail::new(&address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| !records.is_empty()), "{}", winner.printed());
    assert!(winner.terminate(PATIENCE).success(), "{}", winner.printed());
}
