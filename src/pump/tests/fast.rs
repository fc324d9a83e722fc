//! Claims about alerts that leave before their epoch.

use weir_connectors::state::Manifest;

use super::*;

const DETECTION: &str = "\
--! id = \"signin.tried\"
--! title = \"T\"
--! severity = \"low\"
--! delivery = \"fast\"
SELECT time, who, tries FROM signin WHERE tries > 0
";

const EXCEPTION: &str = "\
- name: bob is known
  detection: signin.tried
  where: who = 'bob'
  owner: us
  reason: he is
  expires: 9999-01-01
";

fn house() -> House {
    let house = House::new();
    fs::write(house.folder.path().join("detections/tried.sql"), DETECTION).unwrap();
    fs::create_dir_all(house.folder.path().join("exceptions")).unwrap();
    fs::write(house.folder.path().join("exceptions/bob.yaml"), EXCEPTION).unwrap();
    house
}

impl House {
    fn exact(&self) -> Vec<Value> {
        self.alerts("signin.tried")
    }

    fn copies(&self) -> Vec<Value> {
        self.told(FAST, "signin.tried")
    }
}

/// Who the records are about, sorted.
fn who(records: &[Value]) -> Vec<&str> {
    let mut who: Vec<_> = records.iter().map(|record| data(record)["who"].as_str().unwrap()).collect();
    who.sort_unstable();
    who
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_the_records_that_follow_but_for_what_an_exception_hides() {
    let house = house();
    house.send_tries(1, "ann", "1");
    house.send_tries(2, "bob", "1");
    house.send_tries(3, "cid", "2");
    // No alert of the others is copied.
    house.send_tries(4, "zed", "0");
    house.run(4).await;
    let (exact, copies) = (house.exact(), house.copies());
    assert_eq!((who(&exact), who(&copies)), (vec!["ann", "bob", "cid"], vec!["ann", "cid"]));
    assert!(copies.iter().all(|copy| exact.contains(copy)), "{copies:?} of {exact:?}");
    assert_eq!(house.alerts("signin.mistyped").len(), 1);
    assert_eq!(house.told(FAST, "signin.mistyped"), [] as [Value; 0]);
    house.run(4).await;
    assert_eq!(house.exact(), exact, "a start without news tells nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_were_on_their_way_at_a_commit_are_sent_by_the_next_process() {
    let house = house();
    house.send_tries(1, "ann", "1");
    house.send_tries(2, "bob", "1");
    house.run(2).await;
    let (exact, copies) = (house.exact(), house.copies());
    assert_eq!((who(&exact), who(&copies)), (vec!["ann", "bob"], vec!["ann"]));

    // As if the process had died right behind its last commit, before the brokers had said that they have the copy.
    let setup = house.setup().await;
    let newest = setup.state.latest().await.unwrap().unwrap();
    let outputs = weir_connectors::state::Outputs::default();
    let last = Manifest { epoch: newest.epoch + 1, outputs, fast_from: Some(1), ..newest };
    setup.state.commit(&last).await.unwrap();
    setup.respond.unwrap().stop().await;
    house.send_tries(3, "cid", "1");
    house.run(3).await;
    assert_eq!(who(&house.copies()), ["ann", "ann", "cid"], "the hidden one stays so");
    assert!(house.copies().contains(&copies[0]), "with the same bytes");
    assert_eq!(who(&house.exact()), ["ann", "bob", "cid"], "the exact ones come once");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_is_counted_as_sent_where_brokers_answer() {
    let house = house();
    for second in 0..50 {
        house.send_tries(second, "ann", "1");
    }
    house.run(50).await;
    // What has left is known to the next epoch; of the last one nobody asks.
    let setup = house.setup().await;
    let respond = setup.respond.clone().unwrap();
    let pump = Pump::start(setup).await.unwrap();
    for second in 50..60 {
        house.send_tries(second, "ann", "1");
    }
    let deadline = Instant::now() + PATIENCE;
    let counted = || pump.progress().borrow().vitals.fast.get("signin.tried").copied();
    while counted().is_none_or(|counts| counts.sent < 10) {
        assert!(Instant::now() < deadline, "{:?} in {PATIENCE:?}", counted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(counted().map(|counts| (counts.sent, counts.left)), Some((10, [0; 4])), "those of this process");
    pump.stop().await.unwrap();
    respond.stop().await;
    assert_eq!(house.copies().len(), 60);
}
