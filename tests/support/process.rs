//! A process of `weir` that runs beside the test: its lines, its orderly stop, its sudden death.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running process. It is killed when the test drops it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the process can be started");
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let readers = vec![read_lines(stdout, sender.clone()), read_lines(stderr, sender)];
        Self { child, lines, seen: Vec::new(), readers }
    }

    /// Waits until a line of either output contains `text`, and gives that line.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, text: &str, within: Duration) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let deadline = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with {text:?} in {within:?}:\n{}", self.printed()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without {text:?}:\n{}", self.printed()),
            }
        }
    }

    /// Waits until so many lines contain `text`.
    #[track_caller]
    pub(crate) fn wait_for_lines(&mut self, text: &str, count: usize, within: Duration) {
        let deadline = Instant::now() + within;
        while self.seen.iter().filter(|line| line.contains(text)).count() < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("not {count} lines with {text:?} in {within:?}:\n{}", self.printed()),
            }
        }
    }

    /// The number by which the system knows it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// True while the process has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_none()
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        signal("HUP", self.id());
    }

    /// Sends SIGTERM and waits for the end; panics when the process does not heed it.
    #[track_caller]
    pub(crate) fn terminate(&mut self, within: Duration) -> ExitStatus {
        signal("TERM", self.id());
        self.wait(within)
    }

    /// Ends the process without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Waits for the end of the process; panics when it takes longer than `within`.
    #[track_caller]
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        // The channel closes when both outputs do, which is when the process ends.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it still runs after {within:?}:\n{}", self.printed());
                }
            }
        }
        self.child.wait().expect("the process can be waited for")
    }

    /// Everything that was printed so far, both outputs mixed.
    pub(crate) fn printed(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_alive() {
            self.kill();
        }
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader of lines ends with its process");
        }
    }
}

fn read_lines(output: impl Read + Send + 'static, sender: Sender<String>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    })
}

/// Sends a signal by its name; the standard library can only kill.
fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill can be run");
    assert!(status.success(), "cannot send SIG{name} to {pid}");
}
