//! The only place that writes to standard output. Results go there; logs and progress go to standard error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Standard output, buffered. Call [`finish`](Self::finish) at the end, so that a full disk is not overlooked.
pub(crate) struct Stdout {
    writer: BufWriter<StdoutLock<'static>>,
}

impl Stdout {
    /// Takes standard output for this thread until dropped.
    pub(crate) fn lock() -> Self {
        Self { writer: BufWriter::new(io::stdout().lock()) }
    }

    /// Writes what is still in the buffer.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes one text, with a line end after it if it has none.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = Stdout::lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.finish()
}

/// Whether a person looks at standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard output takes colours: a terminal whose owner did not say no (<https://no-color.org>).
pub(crate) fn has_color() -> bool {
    is_terminal() && wants_color()
}

/// The same for standard error.
pub(crate) fn stderr_has_color() -> bool {
    io::stderr().is_terminal() && wants_color()
}

fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
