//! What a rule test needs of the outside: decoding, files beside the test, and look-up tables.

use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use arrow::compute::concat_batches;
use weir_connectors::decode::{Decoder, Record};
use weir_connectors::file::decompressed;
use weir_connectors::position::TopicPartition;
use weir_detections::compile::Compiled;
use weir_detections::rule_test::{self, CaseResult, Decoded, Outside, RuleTest};
use weir_engine::{ColumnSet, Diagnostic, Stream};

/// Runs a test of the project in `dir`.
pub(super) fn run(test: &RuleTest, rules: &Compiled, dir: &Path) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let outside = Outside {
        decode: &|stream, columns, records| decode(&test.file, stream, columns, records),
        lines: &lines_beside(&test.file, dir),
        table: &|table| weir_connectors::table::load(table, dir).map_err(|error| error.to_string()),
    };
    rule_test::run(test, rules, &outside)
}

/// Records go the way of those of a file, refusals included.
fn decode(file: &str, stream: &Arc<Stream>, columns: &ColumnSet, records: &[String]) -> Result<Decoded, String> {
    let mut decoder = Decoder::new(Arc::clone(stream), columns.clone()).map_err(|error| error.to_string())?;
    let partition = TopicPartition { topic: file.into(), partition: 0 };
    let mut rejected = Vec::new();
    let mut batches = Vec::new();
    for (line, record) in (1..).zip(records) {
        let position = partition.at(line);
        if let Err(reject) = decoder.push(&Record::new(record.as_bytes(), &position)) {
            rejected.push((record.clone(), reject.to_string()));
        }
        if decoder.is_full() {
            batches.push(decoder.finish().map_err(|error| error.to_string())?);
        }
    }
    batches.push(decoder.finish().map_err(|error| error.to_string())?);
    let rows = concat_batches(&batches[0].schema(), &batches).map_err(|error| error.to_string())?;
    Ok(Decoded { rows, rejected })
}

/// Reads the lines of files that the test `file` of the project in `dir` names.
pub(crate) fn lines_beside(file: &str, dir: &Path) -> impl Fn(&str) -> Result<Vec<String>, String> {
    let folder = dir.join(file).parent().unwrap_or(dir).to_owned();
    move |path| lines(&folder.join(path))
}

/// The lines of a file that hold a record, unpacked where it is packed.
fn lines(path: &Path) -> Result<Vec<String>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        decompressed(Box::new(BufReader::new(std::fs::File::open(path)?)))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).trim().to_owned());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}
