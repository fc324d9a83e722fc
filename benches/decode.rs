//! How many bytes of JSON per second become Arrow columns: Weir's decoder against bare arrow-json with the same columns.
//!
//! Weir's decoder also checks UTF-8 and event time, keeps the raw bytes, and gives each record its own verdict; arrow-json
//! gives up the whole batch at the first bad record. Both must give equal columns before the clock starts.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_connectors::decode::{Decoder, Record};
use weir_connectors::position::Position;
use weir_engine::catalog::{Format, Stream, TIME_TYPE};
use weir_engine::{ColumnSet, EventTime};

const ROWS: usize = 4096;

/// A generator with a fixed start: every run measures the same bytes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn time(row: usize) -> String {
    format!("{}", EventTime(1_577_934_245_678_000 + row as i64 * 1_234_567))
}

/// Sign-in events of about 220 bytes.
fn sign_ins() -> Vec<String> {
    let mut dice = Dice(7);
    let event = |row| {
        format!(
            r#"{{"time":"{}","event":"sign_in","user_name":"user{}@example.com","src_ip":"10.{}.{}.{}","status":"{}","method":"password","attempts":{},"score":{}.5,"mfa":{},"country":"DE","session":"{:016x}"}}"#,
            time(row),
            dice.roll(5000),
            dice.roll(256),
            dice.roll(256),
            dice.roll(256),
            if dice.roll(10) == 0 { "Failure" } else { "Success" },
            dice.roll(6),
            dice.roll(100),
            dice.roll(2) == 0,
            dice.roll(u64::MAX),
        )
    };
    (0..ROWS).map(event).collect()
}

/// Process events of about 2 KB with the many fields and backslashes of Windows.
fn processes() -> Vec<String> {
    let mut dice = Dice(11);
    let event = |row| {
        let mut text = format!(
            r#"{{"UtcTime":"{}","Channel":"Microsoft-Windows-Sysmon/Operational","EventID":{},"Computer":"host{}.corp.example.com","#,
            time(row),
            1 + dice.roll(25),
            dice.roll(900),
        );
        for field in ["Image", "ParentImage", "OriginalFileName", "CurrentDirectory", "TargetFilename"] {
            let number = dice.roll(100_000);
            write!(text, r#""{field}":"C:\\Program Files\\Vendor\\Product {number}\\bin\\program-{number}.exe","#)
                .expect("text grows");
        }
        write!(
            text,
            r#""CommandLine":"\"C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe\" -NoProfile -ExecutionPolicy Bypass -File C:\\Users\\user{}\\script.ps1 -Token {:032x}","#,
            dice.roll(5000),
            dice.roll(u64::MAX),
        )
        .expect("text grows");
        for number in 0..24 {
            write!(text, r#""Field{number}":"some value {:016x} of an event","#, dice.roll(u64::MAX))
                .expect("text grows");
        }
        write!(
            text,
            r#""Process":{{"Id":{},"Integrity":"High"}},"User":"CORP\\user{}"}}"#,
            dice.roll(65_536),
            dice.roll(5000)
        )
        .expect("text grows");
        text
    };
    (0..ROWS).map(event).collect()
}

fn columns(columns: &[(&str, DataType)]) -> Vec<Arc<Field>> {
    columns.iter().map(|(name, data_type)| Arc::new(Field::new(*name, data_type.clone(), true))).collect()
}

fn decoder(declared: &[Arc<Field>], read: &[Arc<Field>]) -> Decoder {
    let stream = Stream {
        name: "events".into(),
        columns: declared.to_vec().into(),
        open: false,
        topics: Vec::new(),
        format: Format::Json,
        event_time: declared[0].name().clone(),
        time_zone: chrono_tz::Tz::UTC,
        lateness_us: 0,
        future_guard_us: 0,
        event_id: None,
        tenant: None,
    };
    Decoder::new(Arc::new(stream), ColumnSet { columns: read.to_vec().into() }).expect("the columns are declared")
}

fn with_weir(decoder: &mut Decoder, lines: &[String], position: &Position) -> RecordBatch {
    for line in lines {
        decoder.push(&Record::new(line.as_bytes(), position)).expect("a good record");
    }
    decoder.finish().expect("a batch")
}

fn with_arrow(decoder: &mut arrow::json::reader::Decoder, lines: &[String]) -> RecordBatch {
    for line in lines {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let taken = decoder.decode(rest).expect("a good record");
            rest = &rest[taken..];
        }
    }
    decoder.flush().expect("a batch").expect("rows")
}

fn compare(c: &mut Criterion, name: &str, lines: &[String], declared: &[Arc<Field>]) {
    let schema = Arc::new(Schema::new(declared.to_vec()));
    let position = Position { topic: "t".into(), partition: 0, offset: 0 };
    let mut weir = decoder(declared, declared);
    let mut arrow = ReaderBuilder::new(schema).with_batch_size(ROWS).build_decoder().expect("a decoder");
    let (ours, theirs) = (with_weir(&mut weir, lines, &position), with_arrow(&mut arrow, lines));
    for (at, field) in declared.iter().enumerate() {
        assert_eq!(ours.column(at), theirs.column(at), "{} differs", field.name());
    }
    let bytes: usize = lines.iter().map(String::len).sum();
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("weir", |bencher| bencher.iter(|| with_weir(&mut weir, lines, &position)));
    group.bench_function("arrow-json", |bencher| bencher.iter(|| with_arrow(&mut arrow, lines)));
    group.finish();
}

fn decode(c: &mut Criterion) {
    use DataType::{Boolean, Float64, Int64, Utf8View};
    let seven = columns(&[
        ("time", TIME_TYPE),
        ("user_name", Utf8View),
        ("src_ip", Utf8View),
        ("status", Utf8View),
        ("attempts", Int64),
        ("score", Float64),
        ("mfa", Boolean),
    ]);
    let sign_ins = sign_ins();
    compare(c, "sign_ins_of_220_bytes_7_columns", &sign_ins, &seven);
    compare(c, "sign_ins_of_220_bytes_3_columns", &sign_ins, &seven[..3]);
    let process = DataType::Struct(columns(&[("Id", Int64)]).into());
    let windows = columns(&[
        ("UtcTime", TIME_TYPE),
        ("EventID", Int64),
        ("Computer", Utf8View),
        ("Image", Utf8View),
        ("CommandLine", Utf8View),
        ("User", Utf8View),
        ("Process", process),
    ]);
    compare(c, "windows_events_of_2_kb_7_columns", &processes(), &windows);
}

criterion_group!(benches, decode);
criterion_main!(benches);
