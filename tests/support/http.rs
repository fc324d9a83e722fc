//! The HTTP server of a process that runs: where it listens, and its metrics.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::process::Running;

/// An address at which nobody listens.
pub(crate) fn free_address() -> String {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    probe.local_addr().expect("a bound port has an address").to_string()
}

/// The metrics of a moment.
pub(crate) struct Metrics(String);

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Metrics {
    /// The value of one line.
    pub(crate) fn value(&self, line: &str) -> Option<f64> {
        let rest = self.0.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        rest.and_then(|number| number.parse().ok())
    }
}

/// The metrics of this moment.
pub(crate) fn metrics(address: &str) -> Metrics {
    let mut stream = TcpStream::connect(address).expect("the HTTP server answers");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request can be sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer of text");
    Metrics(text)
}

/// Waits until the metrics are as they are wanted; gives those of that moment.
pub(crate) fn wait_for(
    weir: &mut Running,
    address: &str,
    patience: Duration,
    is_wanted: impl Fn(&Metrics) -> bool,
) -> Metrics {
    let deadline = Instant::now() + patience;
    loop {
        let metrics = metrics(address);
        if is_wanted(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < deadline, "not what was waited for:\n{metrics}\n{}", weir.printed());
        std::thread::sleep(Duration::from_millis(100));
    }
}
