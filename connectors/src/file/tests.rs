//! Claims about files as a source.

use std::io::{Cursor, Write};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field};
use weir_engine::catalog::{Format, TIME_TYPE, system};

use super::*;

fn stream() -> Stream {
    let columns = vec![Field::new("time", TIME_TYPE, true), Field::new("text", DataType::Utf8View, true)];
    Stream {
        name: "s".into(),
        columns: columns.into(),
        open: false,
        topics: Vec::new(),
        format: Format::Json,
        event_time: "time".into(),
        time_zone: chrono_tz::Tz::UTC,
        lateness_us: 0,
        future_guard_us: 0,
        event_id: None,
        tenant: None,
    }
}

fn columns() -> ColumnSet {
    let names = ["text", system::OFFSET];
    let all = stream().all_columns();
    let declared = stream().columns;
    let find = |name: &&str| declared.iter().chain(&all).find(|field| field.name() == name).cloned();
    ColumnSet { columns: names.iter().filter_map(find).collect() }
}

/// Everything a source gives: (line, text) of the rows, (line, reason) of the refused, and what ended it early.
type Drained = (Vec<(i64, String)>, Vec<(i64, RejectReason)>, Option<FileError>);

fn drain(mut source: FileSource) -> Drained {
    let (mut rows, mut rejected, mut error) = (Vec::new(), Vec::new(), None);
    while let Some(output) = source.next_batch() {
        match output {
            Ok(output) => {
                let texts = output.batch.rows.column(0).as_string_view();
                let lines = output.batch.rows.column(1).as_primitive::<arrow::datatypes::Int64Type>();
                rows.extend(lines.values().iter().copied().zip(texts.iter().map(|text| text.unwrap_or("").to_owned())));
                rejected.extend(output.rejected.iter().map(|rejected| (rejected.position.offset, rejected.reason)));
            }
            Err(failure) => error = Some(failure),
        }
    }
    (rows, rejected, error)
}

fn source_of(bytes: Vec<u8>) -> FileSource {
    let input = decompressed(Box::new(Cursor::new(bytes))).expect("a slice can be read");
    FileSource::read(input, Path::new("x.ndjson"), &stream(), &columns(), PartitionId(0)).expect("columns exist")
}

fn line(number: usize) -> String {
    format!("{{\"time\":1577934245,\"text\":\"text of line {number}\"}}\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory can be written")
}

#[test]
fn lines_are_numbered_and_blank_and_bad_ones_are_accounted_for() {
    let text = format!("\u{feff}{}\n  \r\n{{\"time\":1,\"text\":\r\n{}", line(1), line(5).trim_end());
    let (rows, rejected, error) = drain(source_of(text.into_bytes()));
    assert_eq!(rows, [(1, "text of line 1".to_owned()), (5, "text of line 5".to_owned())]);
    assert_eq!(rejected, [(4, RejectReason::TruncatedJson)]);
    assert!(error.is_none());
}

#[test]
fn compressed_files_give_the_same_rows() {
    let text: String = (1..=20_000).map(line).collect();
    let plain = drain(source_of(text.clone().into_bytes()));
    assert_eq!(plain.0.len(), 20_000);
    let (first, second) = text.split_at(text.len() / 3);
    let members = [gzip(first), gzip(second)].concat();
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("memory can be written");
    for bytes in [gzip(&text), members, zstd] {
        let same = drain(source_of(bytes));
        assert_eq!((same.0, same.1), (plain.0.clone(), plain.1.clone()));
    }
}

#[test]
fn a_file_that_breaks_off_gives_what_was_before_the_break() {
    let text: String = (1..=20_000).map(line).collect();
    let mut bytes = gzip(&text);
    bytes.truncate(bytes.len() / 2);
    let (rows, _, error) = drain(source_of(bytes));
    assert!(rows.len() > 1000 && rows.len() < 20_000);
    assert!(matches!(error, Some(FileError::Read { line, .. }) if line == rows.len() as i64), "{error:?}");
}

#[test]
fn a_huge_line_is_refused_with_its_beginning() {
    let text = format!("{}{}\n{}", line(1), "x".repeat(3 << 20), line(3));
    let mut source = source_of(text.into_bytes());
    let output = source.next_batch().expect("one batch").expect("readable");
    assert_eq!(output.batch.rows.num_rows(), 1);
    assert_eq!(output.rejected[0].reason, RejectReason::TooLarge);
    assert_eq!(output.rejected[0].raw.len(), 1 << 20);
    let (rows, _, _) = drain(source);
    assert_eq!(rows, [(3, "text of line 3".to_owned())]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = FileSource::open(Path::new("/no/such.ndjson"), &stream(), &columns(), PartitionId(0)).err();
    assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("cannot open /no/such.ndjson"));
}
