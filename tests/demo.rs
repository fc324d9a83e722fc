//! The demo as a newcomer runs it: it counts its own checks, and all must pass.

use crate::support::project::{Finished, Project, weir};

#[test]
fn the_demo_passes_all_of_its_checks_and_what_it_offers_next_works() {
    let temporary = Project::new(&[]);
    // Where the demo puts its folder is up to the system, and here to the test.
    let demo = weir().arg("demo").env("TMPDIR", temporary.path()).output().expect("weir can be started");
    let demo = Finished::from(demo).expect_code(0);
    let passed = demo.stdout.lines().find_map(|line| line.strip_prefix("PASS ")).unwrap_or_default();
    let (found, of) = passed.split_once(" of ").unwrap_or_else(|| panic!("no count of checks in:\n{}", demo.stdout));
    assert_eq!(found, of, "{}", demo.stdout);

    let folder = temporary.join("weir-demo");
    let count = "SELECT count(*) AS alerts FROM alerts WHERE detection = 'correlation.phishing_chain'";
    let hunt = weir().args(["hunt", "--format", "csv", count, "-C"]).arg(&folder).output();
    let hunt = Finished::from(hunt.expect("weir can be started")).expect_code(0);
    assert_ne!(hunt.stdout.trim(), "alerts\n0");
    let cases = weir().args(["case", "list", "--all", "--format", "json", "-C"]).arg(&folder).output();
    let cases = Finished::from(cases.expect("weir can be started")).expect_code(0);
    assert!(cases.stdout.contains("\"closed\""), "the analyst closed the cases:\n{}", cases.stdout);
}
