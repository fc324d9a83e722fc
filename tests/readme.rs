//! The README's commands, typed as a new user types them: every `sh` block, in order, in an empty folder.
//!
//! Blocks of another kind (`text`, `sql`) are to be read. `cargo run` and `tests/run` stand in `text` blocks: they
//! would build and test from within a test.

use std::path::Path;
use std::process::Command;

#[test]
fn every_command_of_the_readme_works_in_an_empty_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md can be read");
    let blocks = blocks(&readme, "sh");
    assert!(blocks.len() >= 3, "the README shows commands to type");

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let binary = Path::new(env!("CARGO_BIN_EXE_weir"));
    let programs = binary.parent().expect("the binary has a folder").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a PATH"));
    // One shell for all blocks, because a `cd` in one holds for the next.
    let script = format!("set -euxo pipefail\n{}", blocks.join("\n"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .expect("bash can be run");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "── stdout\n{stdout}\n── stderr\n{stderr}");
}

/// The fenced blocks of one kind.
fn blocks(markdown: &str, kind: &str) -> Vec<String> {
    let opening = format!("```{kind}");
    let mut found = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in markdown.lines() {
        match &mut block {
            Some(lines) if line == "```" => {
                found.push(lines.join("\n"));
                block = None;
            }
            Some(lines) => lines.push(line),
            None if line == opening => block = Some(Vec::new()),
            None => {}
        }
    }
    found
}
