//! What stands in each table: those of the streams, and those that every archive has.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use weir_engine::Stream;
use weir_engine::catalog::{TIME_TYPE, system};

use super::schema::UID;

/// A table of the archive: its name, its columns in the engine's types, and what it is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name; also the name of its folder.
    pub name: String,
    /// Its columns, in the engine's types.
    pub columns: Fields,
    /// The column whose date is the partition and by which files are sorted.
    pub time: String,
    /// The column that breaks ties of time, where there is one.
    pub tie: Option<String>,
}

impl TableSpec {
    /// The table of a stream: what every event says of itself first, then the declared columns, then the rest.
    #[must_use]
    pub fn of_stream(stream: &Stream) -> Self {
        let system = [
            field(system::TIME, TIME_TYPE),
            field(UID, DataType::FixedSizeBinary(16)),
            field(system::ARRIVAL, TIME_TYPE),
            field(system::TOPIC, DataType::Utf8View),
            field(system::PARTITION, DataType::Int32),
            field(system::OFFSET, DataType::Int64),
        ];
        let late = [
            field(system::UNMAPPED, DataType::Utf8View),
            field(system::KEY, DataType::Utf8View),
            field(system::TIMESTAMP, TIME_TYPE),
            field(system::HEADERS, DataType::Utf8View),
            field(system::RAW, DataType::BinaryView),
        ];
        let mut columns: Vec<FieldRef> = system.into();
        let declared = stream.columns.iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        for column in declared.chain(late) {
            if !columns.iter().any(|present| present.name() == column.name()) {
                columns.push(column);
            }
        }
        Self {
            name: stream.name.clone(),
            columns: columns.into(),
            time: system::TIME.to_owned(),
            tie: Some(UID.to_owned()),
        }
    }

    /// The table of a stream that Weir makes itself, such as `actions`: its columns and nothing else.
    #[must_use]
    pub fn of_own(stream: &Stream) -> Self {
        Self::fixed(&stream.name, "uid", stream.columns.iter().cloned().collect::<Vec<_>>())
    }

    /// A table of which only the name is known.
    pub(crate) fn undeclared(name: &str) -> Self {
        Self { name: name.to_owned(), columns: Fields::empty(), time: String::new(), tie: None }
    }

    fn fixed(name: &str, tie: &str, columns: impl Into<Vec<FieldRef>>) -> Self {
        Self {
            name: name.to_owned(),
            columns: columns.into().into(),
            time: "time".to_owned(),
            tie: Some(tie.to_owned()),
        }
    }
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn text(name: &str) -> FieldRef {
    field(name, DataType::Utf8View)
}

fn number(name: &str) -> FieldRef {
    field(name, DataType::Int64)
}

/// Every record about every alert; the last record of a `uid` holds.
///
/// Shape: `time` and `uid`, then `published`, which are the further columns of `FROM alerts`, then what only the archive
/// knows. Typed columns come from the OCSF record, which stands whole in `record`; `entities` and `data` are JSON text.
#[must_use]
pub fn alerts(published: &[(String, DataType)]) -> TableSpec {
    let mut columns = vec![field("time", TIME_TYPE), text("uid")];
    columns.extend(published.iter().map(|(name, data_type)| field(name, data_type.clone())));
    let further = [
        number("activity_id"),
        number("status_id"),
        number("count"),
        text("suppressed_by"),
        text("exception"),
        field("late", DataType::Boolean),
        text("entities"),
        text("data"),
        text("record"),
        number("epoch"),
    ];
    for column in further {
        if !columns.iter().any(|present| present.name() == column.name()) {
            columns.push(column);
        }
    }
    TableSpec::fixed("alerts", "uid", columns)
}

/// The events that stateful operators did not see. They stand in the table of their stream too.
///
/// Shape: as `FROM late_events` has it (see [`weir_engine::late_events`]), with the uid as bytes.
#[must_use]
pub fn late_events() -> TableSpec {
    TableSpec::fixed(
        "late_events",
        "uid",
        [
            field("time", TIME_TYPE),
            field("uid", DataType::FixedSizeBinary(16)),
            text("stream"),
            field("event_time", TIME_TYPE),
            number("late_ms"),
            text("reason"),
            text("topic"),
            field("partition", DataType::Int32),
        ],
    )
}

/// The records that could not become events, with their bytes. `time` is when they were seen.
#[must_use]
pub fn dead_letters() -> TableSpec {
    TableSpec::fixed(
        "dead_letters",
        "stream",
        [
            field("time", TIME_TYPE),
            text("stream"),
            text("topic"),
            field("partition", DataType::Int32),
            number("offset"),
            text("reason"),
            text("detail"),
            field("raw", DataType::BinaryView),
        ],
    )
}
