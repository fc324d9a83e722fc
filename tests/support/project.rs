//! A project folder of a test, and the runs of `weir` in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::process::Running;

/// A project folder that is removed when the test ends.
pub(crate) struct Project {
    folder: TempDir,
    /// Variables of the environment of every run.
    environment: Vec<(String, String)>,
}

/// What one run of `weir` left behind.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    /// A folder with these files, each a path and its text.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let project = Self { folder, environment: Vec::new() };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// Sets a variable of the environment for all runs from now on.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, making its folders.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(path);
        let parent = file.parent().expect("a file of the project has a folder");
        std::fs::create_dir_all(parent).expect("a folder of the project can be made");
        std::fs::write(&file, content).expect("a file of the project can be written");
        file
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let file = self.join(path);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Runs `weir ARGS` in the folder until it ends.
    pub(crate) fn weir(&self, args: &[&str]) -> Finished {
        let output = self.command(args).stdin(Stdio::null()).output().expect("weir can be started");
        Finished::from(output)
    }

    /// Starts `weir ARGS` in the folder and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// The same with a variable in its environment.
    pub(crate) fn start_with(&self, args: &[&str], name: &str, value: &str) -> Running {
        let mut command = self.command(args);
        command.env(name, value);
        Running::start(command)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = weir();
        command.current_dir(self.path()).args(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The binary under test, with nothing of the caller's environment that could change what it does.
pub(crate) fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

impl Finished {
    /// Panics with everything that was printed unless the run ended with `code`.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n── stdout\n{}\n── stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless standard error says `text`.
    #[track_caller]
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in stderr:\n{}", self.stderr);
        self
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
