//! A second opinion: DuckDB answers the golden cases of the engine (`engine/golden`), and must give the same rows.
//!
//! `tests/run` fetches DuckDB and names a Python that has it in `WEIR_TEST_DUCKDB`; without one this is skipped.

use std::path::Path;
use std::process::Command;

use crate::support::skip::skip;

const NAME: &str = "duckdb::duckdb_gives_the_rows_of_the_golden_cases";

#[test]
fn duckdb_gives_the_rows_of_the_golden_cases() {
    let Some(python) = std::env::var_os("WEIR_TEST_DUCKDB") else {
        skip(NAME, "no DuckDB (set WEIR_TEST_DUCKDB to what `tests/duckdb/python` prints)");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/duckdb/compare.py");
    let output = Command::new(python).arg("-B").arg(script).output().expect("the Python of WEIR_TEST_DUCKDB runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    eprintln!("{stdout}");
}
