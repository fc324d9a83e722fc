//! From bytes to Arrow: one pass over a JSON record, straight into the columns that somebody reads.
//!
//! While a record is scanned, the tokens of wanted keys are noted and everything else is passed over (but checked, so that
//! a record is accepted or refused whatever columns are read). Only then are the noted values appended: a refused record
//! leaves nothing behind, and of a repeated key the last value counts. The record's bytes are copied once, as `_raw`;
//! text columns are views into them wherever a string has no escapes.
//!
//! Row values are total: what does not fit its declared type is NULL, counted in [`Decoder::take_misfits`] and kept in
//! `unmapped`. Numbers in strings are numbers if they parse whole; other values in text columns are their JSON text without
//! white space.
//!
//! Reading order: `scan` (grammar), `keys` (which keys), `columns` (values), `arena` (bytes), then `instant` and `number`.

mod arena;
mod columns;
mod instant;
mod keys;
mod layout;
mod misfits;
mod number;
mod record;
mod scan;
mod text;
mod unmapped;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveBuilder, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use weir_engine::ColumnSet;
use weir_engine::catalog::Stream;

use self::arena::{Arena, Views};
use self::columns::{Builder, Row, Slots};
use self::keys::{Keys, Wanted};
use self::misfits::{Misfits, has_parts};
use self::scan::{Fault, Kind, Scanner, Survey, TEXT_BYTES_MAX, Token};
use self::unmapped::Unmapped;

pub use self::record::{Header, Record, Reject, RejectReason, Rejected};

/// The column behind `_arrival` of streams that declare an event id: that id as text, for the record's uid.
pub const EVENT_ID: &str = "_event_id";

/// How much a decoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A larger record is refused.
    pub record_bytes_max: usize,
    /// A record that nests more objects and arrays is refused.
    pub depth_max: u32,
    /// At so many rows a batch is full.
    pub batch_rows_max: usize,
    /// At so many bytes of records a batch is full.
    pub batch_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { record_bytes_max: 1 << 20, depth_max: 128, batch_rows_max: 8192, batch_bytes_max: 1 << 20 }
    }
}

/// Event times from here on are refused: 2200-01-01T00:00:00Z.
const TIME_END_US: i64 = 7_258_118_400_000_000;

/// A decoder that cannot be made or whose batch cannot be closed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Somebody reads a column that the stream does not have. A fault of the caller.
    #[error("stream `{stream}` has no column `{column}`")]
    UnknownColumn {
        /// The stream.
        stream: String,
        /// The column.
        column: String,
    },
    /// A declared type that JSON values are not read into. The author of the stream has to choose another.
    #[error("column `{column}` of stream `{stream}` cannot be read from JSON as {data_type}")]
    UnsupportedType {
        /// The stream.
        stream: String,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// Arrow refused the columns of a batch. A fault of the decoder.
    #[error("a decoded batch is malformed")]
    Batch(#[from] ArrowError),
}

/// Decodes the records of one stream into batches of one set of columns.
pub struct Decoder {
    limits: Limits,
    schema: SchemaRef,
    zone: chrono_tz::Tz,
    keys: Keys,
    found: Found,
    time: Lookup,
    event_id: Option<(Lookup, Views)>,
    columns: Vec<Column>,
    misfits: Misfits,
    arena: Arena,
    times: Vec<i64>,
    raws: Views,
    arrivals: PrimitiveBuilder<TimestampMicrosecondType>,
    bytes: usize,
}

/// What the scan of a record found.
struct Found {
    slots: Vec<Token>,
    unmapped: Option<Unmapped>,
}

/// A slot, and where to look if nothing was there.
#[derive(Clone, Copy)]
struct Lookup {
    first: u32,
    second: Option<u32>,
}

enum Column {
    Field(Slots, Builder),
    Open(Lookup, Builder),
    Time,
    Raw,
    Arrival,
    Topic(Views),
    Partition(PrimitiveBuilder<Int32Type>),
    Offset(PrimitiveBuilder<Int64Type>),
    Key(Views),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Headers(Views),
    Unmapped,
}

impl Decoder {
    /// A decoder with the usual limits.
    ///
    /// # Errors
    /// A column that the stream does not have, or a type that JSON cannot give.
    pub fn new(stream: Arc<Stream>, columns: ColumnSet) -> Result<Self, DecodeError> {
        Self::with_limits(&stream, &columns, Limits::default())
    }

    /// A decoder with limits of one's own.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn with_limits(stream: &Stream, columns: &ColumnSet, limits: Limits) -> Result<Self, DecodeError> {
        layout::decoder(stream, columns, limits)
    }

    /// The schema of the batches: the column set, then `_time`, `_raw`, `_arrival`, and `_event_id` where it is declared.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether records must come with their headers.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::Headers(_)))
    }

    /// Rows in the open batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes of the records in the open batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the open batch has reached a limit and should be finished.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows() >= self.limits.batch_rows_max || self.bytes >= self.limits.batch_bytes_max
    }

    /// How many values did not fit the type of their column and became NULL since this was last asked, for the columns of
    /// the set that have any. Parts of a column are told by their path, such as `user.org.id` and `items[].size`.
    pub fn take_misfits(&mut self) -> Vec<(Arc<str>, u64)> {
        self.misfits.take(&self.schema)
    }

    /// Adds a record to the open batch.
    ///
    /// # Errors
    /// The refusal of the record; nothing of it is in the batch then.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        let payload = record.payload;
        self.scan(payload)?;
        let time = self.event_time(payload)?;
        self.append(record, time);
        Ok(())
    }

    fn scan(&mut self, payload: &[u8]) -> Result<(), Reject> {
        if payload.len() > self.limits.record_bytes_max.min(TEXT_BYTES_MAX) {
            let detail = format!("{} bytes, and the limit is {}", payload.len(), self.limits.record_bytes_max);
            return Err(Reject::new(RejectReason::TooLarge, detail));
        }
        let survey = Survey::of(payload);
        if !survey.is_ascii
            && let Err(error) = std::str::from_utf8(payload)
        {
            return Err(Reject::new(RejectReason::InvalidUtf8, format!("at byte {}", error.valid_up_to())));
        }
        self.found.clear();
        let mut scanner = Scanner::surveyed(payload, self.limits.depth_max, survey);
        scanner.skip_byte_order_mark();
        match scanner.peek() {
            Some(b'{') => {}
            Some(_) => return Err(other_than_object(&mut scanner)),
            None => return Err(Reject::new(RejectReason::Empty, "no JSON in it")),
        }
        if object(&mut scanner, &self.keys, Keys::TOP, &mut self.found).is_none() {
            return Err(refusal(scanner.fault()));
        }
        if !scanner.is_at_end() {
            return Err(Reject::new(RejectReason::TrailingData, format!("after byte {}", scanner.at())));
        }
        Ok(())
    }

    fn event_time(&self, payload: &[u8]) -> Result<i64, Reject> {
        let token = self.time.token(&self.found.slots);
        if token.is_nothing() {
            return Err(Reject::new(RejectReason::MissingTime, "the record has no event time"));
        }
        let time = columns::with_content(token, payload, |content| instant::instant(content, self.zone));
        let quote = || {
            let text = String::from_utf8_lossy(token.of(payload));
            text.chars().take(64).collect::<String>()
        };
        match time {
            Some(time) if (0..TIME_END_US).contains(&time) => Ok(time),
            Some(_) => Err(Reject::new(RejectReason::TimeOutOfRange, quote())),
            None => Err(Reject::new(RejectReason::BadTime, quote())),
        }
    }

    /// Appends the scanned record to every column. Nothing can fail any more.
    fn append(&mut self, record: &Record<'_>, time: i64) {
        let payload = record.payload;
        let stored = self.arena.begin_record(payload);
        self.raws.push(stored.view(payload, 0));
        self.times.push(time);
        self.arrivals.append_option(record.arrival.map(|time| time.0));
        self.bytes += payload.len();
        let (arena, slots, zone) = (&mut self.arena, &self.found.slots[..], self.zone);
        let mut row = Row { payload, stored, arena, slots, zone, misfits: 0, is_cut: false };
        let unmapped = &mut self.found.unmapped;
        for (at, column) in self.columns.iter_mut().enumerate() {
            match column {
                Column::Field(slots, builder) => builder.push_slots(slots, &mut row),
                Column::Open(lookup, builder) => builder.push(lookup.token(row.slots), &mut row),
                _ => column.push_metadata(record, row.arena),
            }
            let misfits_now = std::mem::take(&mut row.misfits);
            if misfits_now > 0 {
                let field = self.schema.field(at);
                match column {
                    Column::Field(slots, _) if has_parts(field.data_type()) => {
                        let token = slots.token(row.slots);
                        self.misfits.count_parts((at, field), token, payload, zone, misfits_now);
                    }
                    _ => self.misfits.count(at, misfits_now),
                }
            }
            if (std::mem::take(&mut row.is_cut) || misfits_now > 0)
                && let Some(unmapped) = unmapped
            {
                unmapped.suspect(at);
            }
        }
        if let Some(unmapped) = unmapped {
            unmapped.push(payload, row.slots, row.arena);
        }
        if let Some((lookup, views)) = &mut self.event_id {
            let id = columns::text_view(lookup.token(row.slots), &mut row);
            views.push_option(id);
        }
    }

    /// Closes the batch and begins the next one. The batch may be empty.
    ///
    /// # Errors
    /// Only a fault of the decoder itself.
    pub fn finish(&mut self) -> Result<RecordBatch, DecodeError> {
        self.bytes = 0;
        let blocks = self.arena.finish();
        let times = std::mem::take(&mut self.times);
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times));
        let raw = self.raws.bytes(&blocks)?;
        let arrival: ArrayRef = Arc::new(self.arrivals.finish());
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for column in &mut self.columns {
            arrays.push(match column {
                Column::Field(_, builder) | Column::Open(_, builder) => builder.finish(&blocks)?,
                Column::Time => Arc::clone(&time),
                Column::Raw => Arc::clone(&raw),
                Column::Arrival => Arc::clone(&arrival),
                Column::Topic(views) | Column::Key(views) | Column::Headers(views) => views.text(&blocks)?,
                Column::Unmapped => {
                    let unmapped = self.found.unmapped.as_mut();
                    unmapped
                        .ok_or_else(|| {
                            ArrowError::InvalidArgumentError("what is unmapped was not collected".to_owned())
                        })?
                        .finish(&blocks)?
                }
                Column::Partition(builder) => Arc::new(builder.finish()),
                Column::Offset(builder) => Arc::new(builder.finish()),
                Column::Timestamp(builder) => Arc::new(builder.finish()),
            });
        }
        arrays.extend([time, raw, arrival]);
        if let Some((_, views)) = &mut self.event_id {
            arrays.push(views.text(&blocks)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

impl Column {
    fn push_metadata(&mut self, record: &Record<'_>, arena: &mut Arena) {
        let position = record.position;
        match self {
            Self::Topic(views) => views.push(arena.write(|out| out.extend_from_slice(position.topic.as_bytes()))),
            Self::Partition(builder) => builder.append_value(position.partition),
            Self::Offset(builder) => builder.append_value(position.offset),
            Self::Key(views) => {
                let key = record.key.map(String::from_utf8_lossy);
                views.push_option(key.map(|key| arena.write(|out| out.extend_from_slice(key.as_bytes()))));
            }
            Self::Timestamp(builder) => builder.append_option(record.timestamp.map(|time| time.0)),
            Self::Headers(views) => {
                let json = (!record.headers.is_empty()).then(|| headers_json(record.headers));
                views.push_option(json.map(|json| arena.write(|out| out.extend_from_slice(json.as_bytes()))));
            }
            Self::Field(..) | Self::Open(..) | Self::Unmapped | Self::Time | Self::Raw | Self::Arrival => {}
        }
    }
}

impl Found {
    fn clear(&mut self) {
        self.slots.fill(Token::MISSING);
        if let Some(unmapped) = &mut self.unmapped {
            unmapped.clear();
        }
    }
}

impl Lookup {
    fn token(self, slots: &[Token]) -> Token {
        let first = slots[self.first as usize];
        match self.second {
            Some(second) if first.kind() == Kind::Missing => slots[second as usize],
            _ => first,
        }
    }
}

/// Scans an object whose brace is next, and notes the tokens of the keys in its table.
///
/// `None` where the text is broken; the scanner knows why.
fn object(scanner: &mut Scanner<'_>, keys: &Keys, table: u32, found: &mut Found) -> Option<()> {
    let mut local = *scanner;
    let result = members(&mut local, keys, table, found);
    *scanner = local;
    result
}

#[inline(always)]
fn members(scanner: &mut Scanner<'_>, keys: &Keys, table: u32, found: &mut Found) -> Option<()> {
    let mut goes_on = !scanner.open(b'}')?;
    while goes_on {
        let key = scanner.key()?;
        let wanted = match key.kind() {
            Kind::Escaped => find_escaped(key.of(scanner.text()), keys, table),
            _ => keys.find(table, key.of(scanner.text())),
        };
        let value = match wanted {
            None => scanner.value()?,
            Some(wanted) => {
                let value = wanted_value(scanner, keys, wanted, found)?;
                found.slots[wanted.slot as usize] = value;
                value
            }
        };
        if let Some(unmapped) = &mut found.unmapped
            && !wanted.is_some_and(|wanted| wanted.is_declared)
        {
            if table == Keys::TOP { unmapped.note(key, value) } else { unmapped.note_field() }
        }
        goes_on = scanner.goes_on(b'}')?;
    }
    Some(())
}

/// The value of a wanted key; what is wanted inside it is noted too.
#[inline(always)]
fn wanted_value(scanner: &mut Scanner<'_>, keys: &Keys, wanted: Wanted, found: &mut Found) -> Option<Token> {
    let Some(inside) = wanted.inside else { return scanner.value() };
    // What an earlier value of the same key left behind.
    found.slots[wanted.slot as usize..wanted.slots_end as usize].fill(Token::MISSING);
    if scanner.peek()? != b'{' {
        return scanner.value();
    }
    let start = scanner.at();
    let mut nested = *scanner;
    let result = object(&mut nested, keys, inside, found);
    *scanner = nested;
    result.map(|()| Token::new(Kind::Object, start, nested.at()))
}

#[cold]
fn find_escaped(key: &[u8], keys: &Keys, table: u32) -> Option<Wanted> {
    let mut name = Vec::new();
    text::unescape(key, &mut name);
    keys.find(table, &name)
}

fn refusal(fault: Fault) -> Reject {
    match fault {
        Fault::Truncated => Reject::new(RejectReason::TruncatedJson, "the JSON ends in the middle"),
        Fault::Invalid(at) => Reject::new(RejectReason::InvalidJson, format!("not JSON at byte {at}")),
        Fault::TooDeep => Reject::new(RejectReason::TooDeep, "objects and arrays are nested too deep"),
    }
}

/// The refusal of a record that does not begin with a brace.
fn other_than_object(scanner: &mut Scanner<'_>) -> Reject {
    match scanner.value() {
        None => refusal(scanner.fault()),
        Some(value) => {
            let kind = match value.kind() {
                Kind::Array => "an array",
                Kind::Plain | Kind::Escaped => "a string",
                Kind::Number => "a number",
                _ => "a bare word",
            };
            Reject::new(RejectReason::NotAnObject, format!("the record is {kind}"))
        }
    }
}

/// Headers as a JSON object in text; the values of a repeated name are a list.
fn headers_json(headers: &[Header<'_>]) -> String {
    use serde_json::{Map, Value};
    let mut object = Map::new();
    for header in headers {
        let value = header.value.map_or(Value::Null, |value| String::from_utf8_lossy(value).into());
        match object.get_mut(header.name) {
            None => drop(object.insert(header.name.to_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(object).to_string()
}
