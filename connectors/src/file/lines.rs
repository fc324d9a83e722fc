//! Lines of any input, one after the other in one buffer.

use std::io::{self, Read};

/// Finds lines. A line longer than the limit is cut to it and the rest is passed over, so that memory stays bounded.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    start: usize,
    end: usize,
    line_bytes_max: usize,
    /// The beginning of a line that was too long, once its end was found.
    cut: Vec<u8>,
    is_at_end: bool,
}

/// One line without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its bytes, at most as many as the limit and one.
    pub(super) bytes: &'a [u8],
    /// How long it was.
    pub(super) full_len: u64,
}

impl Line<'_> {
    /// Whether the line was longer than what is kept of it.
    pub(super) fn is_cut(&self) -> bool {
        self.full_len > self.bytes.len() as u64
    }
}

const CHUNK_BYTES: usize = 256 << 10;

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, line_bytes_max: usize) -> Self {
        Self { input, buffer: Vec::new(), start: 0, end: 0, line_bytes_max, cut: Vec::new(), is_at_end: false }
    }

    /// The next line; `None` after the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..self.end]) {
                let line = self.start..searched + at;
                self.start = line.end + 1;
                return Ok(Some(whole(&self.buffer[line])));
            }
            if self.end - self.start > self.line_bytes_max + 1 {
                return self.cut_line().map(Some);
            }
            if self.is_at_end {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok((!line.is_empty()).then(|| whole(&self.buffer[line])));
            }
            let unread = self.end - self.start;
            self.fill()?;
            searched = self.start + unread;
        }
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + CHUNK_BYTES {
            self.buffer.resize(self.end + CHUNK_BYTES, 0);
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.is_at_end = read == 0;
        Ok(())
    }

    /// Keeps the beginning of the line at hand and passes over the rest.
    fn cut_line(&mut self) -> io::Result<Line<'_>> {
        let kept = self.start..self.start + self.line_bytes_max;
        self.cut.clear();
        self.cut.extend_from_slice(&self.buffer[kept]);
        let mut full_len = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = memchr::memchr(b'\n', unread) {
                full_len += at as u64;
                self.start += at + 1;
                break;
            }
            full_len += unread.len() as u64;
            self.start = self.end;
            if self.is_at_end {
                break;
            }
            self.fill()?;
        }
        Ok(Line { bytes: &self.cut, full_len })
    }
}

/// A line that was found whole. A carriage return before the line break belongs to the break.
fn whole(line: &[u8]) -> Line<'_> {
    let bytes = line.strip_suffix(b"\r").unwrap_or(line);
    Line { bytes, full_len: bytes.len() as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives its bytes a few at a time, so that lines are cut by reads at every place.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(into.len());
            let (now, later) = self.0.split_at(len);
            into[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    fn all(input: &[u8], step: usize, line_bytes_max: usize) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Lines::new(Slow(input, step), line_bytes_max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("a slice can be read") {
            all.push((line.bytes.to_vec(), line.full_len));
        }
        all
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        for step in 1..20 {
            let found = all(b"0123456789\nabc\n0123456789", step, 4);
            assert_eq!(found.len(), 3);
            assert_eq!(found[1], (b"abc".to_vec(), 3));
            for line in [&found[0], &found[2]] {
                assert!(line.0.starts_with(b"0123") && line.1 == 10);
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_standard_library(text in "[ab\r\n]{0,60}", step in 1_usize..9) {
            let found: Vec<String> =
                all(text.as_bytes(), step, 100).into_iter().map(|line| String::from_utf8_lossy(&line.0).into_owned()).collect();
            // `str::lines` leaves a bare carriage return at the very end; here it belongs to the break everywhere.
            let twin: Vec<String> = text.split_inclusive('\n').map(|line| {
                let line = line.strip_suffix('\n').unwrap_or(line);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }).collect();
            prop_assert_eq!(found, twin);
        }
    }
}
