//! The names SQL can mention: streams, views and tables. SQL meets only this; it never meets a connector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// Event time in Arrow: UTC in microseconds, without a zone in the type.
pub const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Columns that every stream has beside its declared ones. They describe how a record came, not what it says.
pub mod system {
    /// Event time (`TIME_TYPE`, never null). Always present in a [`SourceBatch`](crate::SourceBatch).
    pub const TIME: &str = "_time";
    /// Raw bytes of the record (`BinaryView`, never null). Always present in a source batch.
    pub const RAW: &str = "_raw";
    /// Broker append time or recorded arrival (`TIME_TYPE`, nullable). Always present in a source batch.
    pub const ARRIVAL: &str = "_arrival";
    /// Kafka partition, or 0 (`Int32`). Present when read.
    pub const PARTITION: &str = "_partition";
    /// Kafka offset, or the line number of a file from 1 (`Int64`). Present when read.
    pub const OFFSET: &str = "_offset";
    /// Kafka topic, or the name of the file (`Utf8View`). Present when read.
    pub const TOPIC: &str = "_topic";
    /// Kafka message key, lossy UTF-8 (`Utf8View`, nullable). Present when read.
    pub const KEY: &str = "_key";
    /// Kafka message timestamp (`TIME_TYPE`, nullable). Present when read.
    pub const TIMESTAMP: &str = "_timestamp";
    /// Kafka headers as a JSON object in text (`Utf8View`, nullable). Present when read.
    pub const HEADERS: &str = "_headers";
    /// The uid of a record in text (`Utf8View`). Present in the archive, where an `OVER` goes by it.
    pub const UID: &str = "_uid";
    /// The undeclared fields of a record as a JSON object in text (`Utf8View`, nullable). Present when read.
    pub const UNMAPPED: &str = "unmapped";
}

/// How the bytes of a record are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object per record.
    Json,
}

/// A family of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name, as written.
    pub name: String,
    /// Declared columns in order. Names are exact JSON keys; structs are nested objects; lists are arrays.
    pub columns: Fields,
    /// Whether any other JSON field can be read by name, as a nullable string (exact key first, then dotted path).
    pub open: bool,
    /// Kafka topics, or patterns starting with `^`. Empty for a stream that only files feed.
    pub topics: Vec<String>,
    /// How records are written.
    pub format: Format,
    /// The column whose value is the event time: a declared column, or a dotted path into one.
    pub event_time: String,
    /// The zone of event times written without one.
    pub time_zone: chrono_tz::Tz,
    /// How far behind its partition's greatest time an event may be, in microseconds.
    pub lateness_us: i64,
    /// How far ahead of its arrival an event may claim to be, in microseconds.
    pub future_guard_us: i64,
    /// The column that holds the sender's own unique id, where there is one.
    pub event_id: Option<String>,
    /// The column that names the tenant, where there is one.
    pub tenant: Option<String>,
}

/// A named `SELECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name, as written.
    pub name: String,
    /// The text of its `SELECT`.
    pub sql: String,
    /// The file that creates it.
    pub file: String,
    /// Line and column of the file at which that text begins.
    pub start: crate::error::Place,
}

/// A look-up table: its rows come whole, as versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, as written.
    pub name: String,
    /// Columns in order.
    pub columns: Fields,
    /// Where its rows are, as written in `location`.
    pub location: String,
    /// `csv` or `ndjson`.
    pub format: TableFormat,
    /// How often the location is looked at, in microseconds.
    pub refresh_us: i64,
    /// The file that creates it.
    pub file: String,
    /// Where its name stands there.
    pub span: Option<crate::error::Span>,
}

/// How the rows of a table are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Table {
    /// The Arrow schema of its rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.clone()))
    }
}

/// Everything that can stand behind `FROM`.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    streams: BTreeMap<String, Arc<Stream>>,
    views: BTreeMap<String, Arc<View>>,
    tables: BTreeMap<String, Arc<Table>>,
    /// Names, in lower case, of statements that were refused.
    broken: BTreeSet<String>,
    /// Names, in lower case, of streams that Weir makes itself.
    own: BTreeSet<String>,
}

/// One entry of the catalog.
#[derive(Debug, Clone)]
pub enum Relation {
    /// Events from outside.
    Stream(Arc<Stream>),
    /// A named `SELECT`.
    View(Arc<View>),
    /// A look-up table.
    Table(Arc<Table>),
}

impl Catalog {
    /// Adds a relation; gives back the name that was taken already, if it was. Names are compared without case.
    ///
    /// # Errors
    /// The relation that already has that name.
    pub fn add(&mut self, relation: Relation) -> Result<(), Relation> {
        if let Some(existing) = self.get(relation.name()) {
            return Err(existing);
        }
        let key = relation.name().to_lowercase();
        match relation {
            Relation::Stream(stream) => drop(self.streams.insert(key, stream)),
            Relation::View(view) => drop(self.views.insert(key, view)),
            Relation::Table(table) => drop(self.tables.insert(key, table)),
        }
        Ok(())
    }

    /// Adds a stream that Weir makes itself, before anything else can take its name.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_own(&mut self, stream: Stream) -> Result<(), Relation> {
        let key = stream.name.to_lowercase();
        self.add(Relation::Stream(Arc::new(stream)))?;
        self.own.insert(key);
        Ok(())
    }

    /// Whether this names a stream that Weir makes itself.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        self.own.contains(&name.to_lowercase())
    }

    /// The relation of that name, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Relation> {
        let key = name.to_lowercase();
        self.streams
            .get(&key)
            .cloned()
            .map(Relation::Stream)
            .or_else(|| self.views.get(&key).cloned().map(Relation::View))
            .or_else(|| self.tables.get(&key).cloned().map(Relation::Table))
    }

    /// Notes a name whose statement was refused, so that what reads it is not told that it does not exist.
    pub(crate) fn add_broken(&mut self, name: &str) {
        self.broken.insert(name.to_lowercase());
    }

    /// Whether a statement gave this name and was refused.
    #[must_use]
    pub fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(&name.to_lowercase())
    }

    /// The stream of that name, whatever its case.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.get(&name.to_lowercase())
    }

    /// All streams from outside, by name.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.iter().filter(|(name, _)| !self.own.contains(*name)).map(|(_, stream)| stream)
    }

    /// All streams that Weir makes itself, by name.
    pub fn own_streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.iter().filter(|(name, _)| self.own.contains(*name)).map(|(_, stream)| stream)
    }

    /// All views, by name.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.values()
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Every name, for hints.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.streams
            .values()
            .map(|stream| stream.name.as_str())
            .chain(self.views.values().map(|view| view.name.as_str()))
            .chain(self.tables.values().map(|table| table.name.as_str()))
    }
}

impl Relation {
    /// Its name, as written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(stream) => &stream.name,
            Self::View(view) => &view.name,
            Self::Table(table) => &table.name,
        }
    }
}

impl Stream {
    /// A stream that Weir makes itself: `time` is its event time, and `id` the column that names each row. Its times are
    /// those of clocks that are trusted.
    #[must_use]
    pub fn own(name: &str, columns: Vec<Field>, lateness_us: i64, id: &str) -> Self {
        Self {
            name: name.to_owned(),
            columns: Fields::from(columns),
            open: false,
            topics: vec![],
            format: Format::Json,
            event_time: "time".to_owned(),
            time_zone: chrono_tz::UTC,
            lateness_us,
            future_guard_us: i64::MAX,
            event_id: Some(id.to_owned()),
            tenant: None,
        }
    }

    /// All columns that SQL may name on this stream: the declared ones, `unmapped`, and the Kafka metadata.
    #[must_use]
    pub fn all_columns(&self) -> Fields {
        let text = |name: &str| Arc::new(Field::new(name, DataType::Utf8View, true));
        let metadata = [
            text(system::UNMAPPED),
            text(system::TOPIC),
            Arc::new(Field::new(system::PARTITION, DataType::Int32, true)),
            Arc::new(Field::new(system::OFFSET, DataType::Int64, true)),
            text(system::KEY),
            Arc::new(Field::new(system::TIMESTAMP, TIME_TYPE, true)),
            text(system::HEADERS),
            Arc::new(Field::new(system::TIME, TIME_TYPE, false)),
            Arc::new(Field::new(system::RAW, DataType::BinaryView, false)),
        ];
        self.columns.iter().cloned().chain(metadata).collect()
    }
}
