//! Where a replay writes: alerts to a file or standard output, rejected records to a file if asked for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;

use crate::stdout::Stdout;

/// A place for lines of JSON.
pub(super) struct Lines {
    out: Box<dyn Write>,
    name: String,
}

impl Lines {
    /// Standard output, or the file `path`, which is made new.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self { out: Box::new(Stdout::lock()), name: "standard output".to_owned() });
        };
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("cannot write {name}"))?;
        Ok(Self { out: Box::new(BufWriter::new(file)), name })
    }

    /// Writes one line.
    pub(super) fn write(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        written.with_context(|| format!("cannot write {}", self.name))
    }

    /// Writes what is still in the buffer.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.out.flush().with_context(|| format!("cannot write {}", self.name))
    }
}
