//! A vendor on loopback that takes requests, and answers them or says nothing until it is told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The vendor. Its threads end with the test's process.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    answers: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its idempotency key.
    pub(crate) key: String,
    /// Whether it was answered.
    pub(crate) is_answered: bool,
}

impl Vendor {
    /// A vendor that hangs.
    pub(crate) fn hanging() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let (answers, requests) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Request>>>::default());
        let (answering, seen) = (Arc::clone(&answers), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answering, seen) = (Arc::clone(&answering), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &answering, &seen));
            }
        });
        Self { address, answers, requests }
    }

    /// A vendor that answers.
    pub(crate) fn answering() -> Self {
        let vendor = Self::hanging();
        vendor.heal();
        vendor
    }

    /// From now on it answers.
    pub(crate) fn heal(&self) {
        self.answers.store(true, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread panics with the lock").clone()
    }
}

/// One request of one connection.
fn serve(mut stream: TcpStream, answers: &AtomicBool, requests: &Mutex<Vec<Request>>) {
    let Some(head) = read_request(&mut stream) else { return };
    let key = head.lines().filter_map(|line| line.split_once(": "));
    let mut key = key.filter(|(name, _)| name.eq_ignore_ascii_case("idempotency-key")).map(|(_, key)| key.to_owned());
    let is_answered = answers.load(Ordering::SeqCst);
    let request = Request { key: key.next_back().unwrap_or_default(), is_answered };
    requests.lock().expect("no thread panics with the lock").push(request);
    if is_answered {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        // Whoever asked may be dead by now.
        let _sent = stream.write_all(answer.as_bytes());
    } else {
        // Until the other side gives up.
        let _ended = stream.read(&mut [0; 1]);
    }
}

/// The head of a request whose body has come too.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lengths =
            head.lines().filter_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= lengths.next_back().unwrap_or(0) {
            return Some(head.to_owned());
        }
    }
}
