//! Real Kafka brokers: the one that `tests/run` shares out, and brokers of a test's own, which it may stop and kill.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::skip::skip;

/// The address of the shared broker, or a skip of `test`.
pub(crate) fn shared(test: &str) -> Option<String> {
    let address = std::env::var("WEIR_TEST_KAFKA").ok().filter(|address| !address.is_empty());
    if address.is_none() {
        skip(test, "no Kafka broker (tests/run starts one; or set WEIR_TEST_KAFKA)");
    }
    address
}

/// A broker that belongs to one test. Its data stay until the test ends, however often it is stopped.
pub(crate) struct Broker {
    folder: TempDir,
    pub(crate) address: String,
}

impl Broker {
    /// A broker that is not started yet, with the port at which it will listen; or a skip of `test`.
    pub(crate) fn prepare(test: &str) -> Option<Self> {
        if std::env::var_os("WEIR_TEST_BROKER").is_none() {
            skip(test, "no Kafka broker can be started here (tests/run can where Java and Maven are)");
            return None;
        }
        // Only a broker can say that a port is free; this one was, a moment ago, and nobody else asks for it by name.
        let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = probe.local_addr().expect("a bound port has an address").to_string();
        Some(Self { folder: tempfile::tempdir().expect("a temporary folder can be made"), address })
    }

    pub(crate) fn start(&self) {
        let port = self.address.rsplit(':').next().expect("an address has a port");
        run("start", self.folder.path(), Some(port));
    }

    /// An orderly stop.
    pub(crate) fn stop(&self) {
        run("stop", self.folder.path(), None);
    }

    /// A stop without a warning.
    pub(crate) fn kill(&self) {
        run("kill", self.folder.path(), None);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(verb: &str, folder: &Path, port: Option<&str>) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
    // Standard output is not piped: the broker outlives the script and would hold the pipe open.
    let status = Command::new(script)
        .arg(verb)
        .arg(folder)
        .args(port)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("the broker script can be run");
    assert!(status.success(), "cannot {verb} the broker");
}
