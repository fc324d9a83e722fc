//! The house rules that a compiler does not check: which room may use which, and what no file may contain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A room, and the rooms of ours that it may use.
const ROOMS: [(&str, &[&str]); 4] =
    [("engine", &[]), ("detections", &["engine"]), ("playbooks", &[]), ("connectors", &["engine", "playbooks"])];

/// Rooms where facts come in and results go out: no I/O, no clock, no tasks.
const PURE_ROOMS: [&str; 3] = ["engine", "detections", "playbooks"];

/// Crates that are I/O, and so have no place in a pure room.
const OUTSIDE_CRATES: [&str; 10] = [
    "axum",
    "deltalake-core",
    "object_store",
    "rdkafka",
    "reqwest",
    "rusqlite",
    "tempfile",
    "tokio",
    "tracing-subscriber",
    "walkdir",
];

/// What a pure room may not name.
const OUTSIDE_PATHS: [&str; 19] = [
    "std::env::",
    "std::fs",
    "std::io::stdin",
    "std::io::stdout",
    "std::os",
    "std::process",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "tokio::",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "Local::now",
    "Utc::now",
    "Uuid::new_v4",
];

#[test]
fn a_room_depends_only_on_the_rooms_the_table_allows() {
    let mut found = Vec::new();
    for (room, allowed) in ROOMS {
        let manifest = manifest(&format!("{room}/Cargo.toml"));
        for (kind, name) in dependencies(&manifest) {
            if let Some(other) = name.strip_prefix("weir-").filter(|other| !allowed.contains(other)) {
                found.push(format!("{room}/Cargo.toml: {kind} on {other}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn a_room_imports_only_the_rooms_the_table_allows() {
    let mut found = Vec::new();
    for (room, allowed) in ROOMS {
        for file in rust_files(room) {
            for (number, line) in code_lines(&file) {
                for (other, _) in ROOMS {
                    let itself_or_allowed = other == room || allowed.contains(&other);
                    if !itself_or_allowed && names(&line, &format!("weir_{other}")) {
                        found.push(format!("{}:{number}: {room} uses {other}", file.display()));
                    }
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn a_pure_room_depends_on_no_crate_that_does_io() {
    let mut found = Vec::new();
    for room in PURE_ROOMS {
        let manifest = manifest(&format!("{room}/Cargo.toml"));
        for (kind, name) in dependencies(&manifest) {
            // A test may keep its files in a temporary folder; the room itself may not.
            if kind != "dev-dependencies" && OUTSIDE_CRATES.contains(&name.as_str()) {
                found.push(format!("{room}/Cargo.toml: {kind} on {name}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn a_pure_room_knows_no_files_sockets_clocks_or_threads() {
    let mut found = Vec::new();
    for room in PURE_ROOMS {
        for file in rust_files(room).into_iter().filter(|file| !is_test(file)) {
            for (number, line) in shipped_lines(&file) {
                found.extend(
                    OUTSIDE_PATHS
                        .iter()
                        .filter(|path| begins(&line, path))
                        .map(|path| format!("{}:{number}: {path} in a pure room", file.display())),
                );
            }
        }
    }
    assert_none(&found);
}

#[test]
fn every_dependency_comes_from_the_public_registry_unpatched() {
    let mut found = Vec::new();
    for file in ["Cargo.toml".to_owned()].into_iter().chain(ROOMS.map(|(room, _)| format!("{room}/Cargo.toml"))) {
        let manifest = manifest(&file);
        for section in ["patch", "replace"] {
            if manifest.contains_key(section) {
                found.push(format!("{file}: a [{section}] section"));
            }
        }
        let workspace = manifest.get("workspace").and_then(Value::as_table).cloned().unwrap_or_default();
        for (name, value) in
            dependency_tables(&manifest).chain(dependency_tables(&workspace)).flat_map(|(_, table)| table)
        {
            if ["git", "registry"].iter().any(|key| value.get(key).is_some()) {
                found.push(format!("{file}: {name} does not come from the public registry"));
            }
        }
    }
    let lock = std::fs::read_to_string(Path::new(ROOT).join("Cargo.lock")).expect("Cargo.lock can be read");
    let public = ["registry+https://github.com/rust-lang/", "crates.", "io-index"].concat();
    for line in lock.lines().filter(|line| line.starts_with("source = ") && !line.contains(&public)) {
        found.push(format!("Cargo.lock: {line}"));
    }
    assert_none(&found);
}

#[test]
fn no_file_names_a_registry_host() {
    // Written in halves, because this file is looked at as well.
    let hosts = [
        ["index.", "crates.io"],
        ["static.", "crates.io"],
        ["crates.", "io-index"],
        ["repo.", "maven.apache.org"],
        ["repo1.", "maven.org"],
        ["registry.", "npmjs"],
        ["files.", "pythonhosted.org"],
        ["proxy.", "golang.org"],
    ];
    let mut found = Vec::new();
    for file in tracked_files().into_iter().filter(|file| file != Path::new("Cargo.lock")) {
        let Ok(text) = std::fs::read_to_string(Path::new(ROOT).join(&file)) else {
            continue;
        };
        for host in hosts.map(|halves| halves.concat()) {
            if text.contains(&host) {
                found.push(format!("{}: names {host}", file.display()));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn a_file_is_named_for_what_a_reader_seeks() {
    const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "misc", "mod", "types", "util", "utils"];
    let found: Vec<String> = tracked_files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
        // `sql/types.rs` is about the types of SQL, which is what a reader seeks there.
        .filter(|file| !file.ends_with("sql/types.rs"))
        .filter(|file| file.components().any(|part| EMPTY_NAMES.contains(&stem(part.as_os_str()).as_str())))
        .map(|file| file.display().to_string())
        .collect();
    assert_none(&found);
}

#[test]
fn a_source_file_says_what_it_is_for_and_fits_in_the_head() {
    const LINES_MAX: usize = 500;
    let mut found = Vec::new();
    for file in tracked_files().into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let Ok(text) = std::fs::read_to_string(Path::new(ROOT).join(&file)) else {
            continue;
        };
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines; which room is missing?", file.display()));
        }
        // What `foo/tests.rs` is for is said by its path.
        if !text.starts_with("//!") && stem(file.file_name().unwrap_or_default()) != "tests" {
            found.push(format!("{}: does not open with //!", file.display()));
        }
    }
    assert_none(&found);
}

#[test]
fn the_tests_and_the_demo_share_one_build() {
    // A crate that the tests need with other features would be built twice, and a newcomer would wait twice.
    let run = resolved(&["--edges", "normal,build"]);
    let tests = resolved(&["--workspace"]);
    let found: Vec<String> = run.difference(&tests).map(|line| format!("built again for the tests: {line}")).collect();
    assert_none(&found);
}

/// Each crate with its features, as cargo resolves them for these arguments.
fn resolved(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p} {f}"])
        .args(arguments)
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

fn manifest(file: &str) -> Table {
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).expect("a manifest can be read");
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn dependency_tables(manifest: &Table) -> impl Iterator<Item = (&'static str, Table)> + '_ {
    ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().filter_map(|kind| {
        let table = manifest.get(kind)?.as_table()?;
        Some((kind, table.clone()))
    })
}

/// Every dependency with its kind, by the name of the package.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    dependency_tables(manifest)
        .flat_map(|(kind, table)| table.into_iter().map(move |(name, value)| (kind, name, value)))
        .map(|(kind, name, value)| {
            let package = value.get("package").and_then(Value::as_str).map(str::to_owned);
            (kind, package.unwrap_or(name))
        })
        .collect()
}

/// What belongs to the project: the files that git knows, or all of them where the sources came without git.
fn tracked_files() -> Vec<PathBuf> {
    let git = Command::new("git").current_dir(ROOT).args(["ls-files", "-z"]).output();
    if let Some(output) = git.ok().filter(|output| output.status.success() && !output.stdout.is_empty()) {
        let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
        return names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    }
    walkdir::WalkDir::new(ROOT)
        .into_iter()
        .filter_entry(|entry| !["target", ".git"].iter().any(|name| entry.file_name() == *name))
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(ROOT).expect("a path below the root").to_owned())
        .collect()
}

fn rust_files(room: &str) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = tracked_files()
        .into_iter()
        .filter(|file| file.starts_with(room) && file.extension().is_some_and(|ending| ending == "rs"))
        .collect();
    assert!(!files.is_empty(), "no source files in {room}");
    files
}

/// The lines that are code, with their numbers; comments may speak of any room.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    // A file that is deleted but not yet committed is still tracked.
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned())
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

/// The code lines up to the tests at the end of the file.
fn shipped_lines(file: &Path) -> Vec<(usize, String)> {
    code_lines(file).into_iter().take_while(|(_, line)| !line.starts_with("#[cfg(test)]")).collect()
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| matches!(stem(part.as_os_str()).as_str(), "tests" | "benches"))
}

fn stem(part: &std::ffi::OsStr) -> String {
    let name = part.to_string_lossy();
    name.strip_suffix(".rs").unwrap_or(&name).to_owned()
}

/// True where the line contains the word with nothing of a name beside it.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_name);
        !is_inside_a_name(line, at) && !after
    })
}

/// Whether a path begins somewhere on a line, rather than inside another name.
fn begins(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !is_inside_a_name(line, at))
}

fn is_inside_a_name(line: &str, at: usize) -> bool {
    line[..at].chars().next_back().is_some_and(part_of_name)
}

fn part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}
