use arrow::datatypes::{Field, Fields, TimeUnit};
use arrow::util::pretty::pretty_format_batches;

use super::*;

fn table(format: TableFormat, location: &str) -> Table {
    let columns = Fields::from(vec![
        Field::new("domain", DataType::Utf8View, false),
        Field::new("confidence", DataType::Int64, true),
        Field::new("listed", DataType::Boolean, true),
        Field::new("since", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let (name, location, file) = ("indicators".into(), location.into(), "streams/tables.sql".into());
    Table { name, columns, location, format, refresh_us: 1_000_000, file, span: None }
}

fn loaded(format: TableFormat, content: &str) -> Result<TableVersion, TableError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t"), content).unwrap();
    load(&table(format, "t"), folder.path())
}

fn shown(version: &TableVersion) -> String {
    pretty_format_batches(std::slice::from_ref(&version.rows)).unwrap().to_string()
}

fn refused(format: TableFormat, content: &str) -> Vec<String> {
    match loaded(format, content).unwrap_err() {
        TableError::Rows { rows, .. } => rows.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    }
}

const EXPECTED: &str = "\
+-------------+------------+--------+---------------------+
| domain      | confidence | listed | since               |
+-------------+------------+--------+---------------------+
| bad.example | 90         | true   | 2026-01-31T07:00:00 |
| b,d.example |            |        |                     |
+-------------+------------+--------+---------------------+";

#[test]
fn csv_columns_are_found_by_header_name_in_any_order() {
    let content = "\u{feff}# from the feed of monday\nextra,CONFIDENCE,domain,since,listed\n\
                   x, 90 ,bad.example,2026-01-31T08:00:00+01:00,true\n# a comment\ny,,\"b,d.example\",,\n";
    let version = loaded(TableFormat::Csv, content).unwrap();
    assert_eq!(shown(&version), EXPECTED);
    assert_eq!(&*version.name, "indicators");
}

#[test]
fn ndjson_gives_the_same_rows_as_csv() {
    let content = concat!(
        "{\"domain\":\"bad.example\",\"confidence\":90,\"listed\":true,\"since\":\"2026-01-31T07:00:00Z\",\"x\":[1]}\n",
        "\n",
        "{\"domain\":\"b,d.example\",\"confidence\":null}\n"
    );
    assert_eq!(shown(&loaded(TableFormat::Ndjson, content).unwrap()), EXPECTED);
}

#[test]
fn every_bad_row_is_told_with_line_column_and_reason() {
    let content = "domain,confidence,listed,since\n# note\na.example,high,true,\n,1,maybe,yesterday\nb.example,1\n";
    assert_eq!(
        refused(TableFormat::Csv, content),
        [
            "3: column confidence: \"high\" is not a whole number (Int64)",
            "4: column domain: it is empty and is declared NOT NULL",
            "4: column listed: \"maybe\" is not true or false",
            "4: column since: \"yesterday\" is not a time such as 2026-01-31T08:00:00Z",
            "5: the row has 2 cells, the header has 4; quote cells that hold commas",
        ]
    );
    let told =
        refused(TableFormat::Ndjson, "{\"domain\":\"a\"}\n[1]\n{\"domain\":\n{\"domain\":\"b\",\"confidence\":1.5}\n");
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "2: the line is not an object");
    assert!(told[1].starts_with("3: EOF"), "{told:?}");
    assert_eq!(told[2], "4: column confidence: \"1.5\" is not a whole number (Int64)");
}

#[test]
fn a_missing_column_is_told_with_the_nearest_name() {
    assert_eq!(
        refused(TableFormat::Csv, "domian,confidence,listed,since\n"),
        ["1: column domain: the file has no such column; did you mean `domian`?"]
    );
}

#[test]
fn bytes_that_are_not_text_are_told_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t"), b"domain,confidence,listed,since\na\xff,,,\n").unwrap();
    let error = load(&table(TableFormat::Csv, "t"), folder.path()).unwrap_err();
    assert!(error.to_string().contains("t:2: the row is not UTF-8"), "{error}");
    let diagnostic = &error.diagnostics()[0];
    assert_eq!((diagnostic.code, diagnostic.span.unwrap().start.line), (BAD_TABLE, 2));
}

#[test]
fn a_header_alone_is_an_empty_table() {
    assert_eq!(loaded(TableFormat::Csv, "domain,confidence,listed,since\n").unwrap().rows.num_rows(), 0);
    assert_eq!(loaded(TableFormat::Ndjson, "").unwrap().rows.num_rows(), 0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(&table(TableFormat::Csv, "nowhere.csv"), Path::new("/project")).unwrap_err();
    assert!(error.to_string().contains("/project/nowhere.csv"), "{error}");
}

#[test]
fn a_table_is_new_only_when_its_content_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let header = "domain,confidence,listed,since\n";
    std::fs::write(&path, format!("{header}a.example,1,,\n")).unwrap();
    let mut file = TableFile::new(Arc::new(table(TableFormat::Csv, "t.csv")), folder.path());
    let first = file.poll().unwrap().unwrap();
    assert_eq!(file.poll().unwrap(), None);
    // Touched, and with the same content: no new version.
    let touched = std::fs::File::options().write(true).open(&path).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(file.poll().unwrap(), None);
    // A bad version is refused once, and the next good one is taken.
    std::fs::write(&path, format!("{header}a.example,x,,\n")).unwrap();
    assert!(file.poll().is_err());
    assert_eq!(file.poll().unwrap(), None);
    std::fs::write(&path, format!("{header}b.example,2,,\nc.example,,,\n")).unwrap();
    let second = file.poll().unwrap().unwrap();
    assert_eq!(second.rows.num_rows(), 2);
    assert_ne!(first.version, second.version);
    std::fs::remove_file(&path).unwrap();
    assert!(file.poll().is_err());
}

#[test]
fn nested_columns_are_read_from_ndjson() {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    let mut table = table(TableFormat::Ndjson, "t");
    table.columns = Fields::from(vec![Field::new("name", DataType::Utf8View, true), Field::new("tags", list, true)]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t"), "{\"name\":\"a\",\"tags\":[\"x\",\"y\"]}\n{\"name\":\"b\"}\n").unwrap();
    let rows = load(&table, folder.path()).unwrap();
    assert!(shown(&rows).contains("| a    | [x, y] |"), "{}", shown(&rows));
    std::fs::write(folder.path().join("t"), "{\"tags\":[\"x\"]}\n{\"tags\":7}\n").unwrap();
    let error = load(&table, folder.path()).unwrap_err();
    assert!(error.to_string().contains("t:2: column tags"), "{error}");
}
