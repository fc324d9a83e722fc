//! Builders of Arrow columns that take JSON tokens: what fits the declared type becomes a value, the rest NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, ListArray, NullBufferBuilder, PrimitiveBuilder, StructArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use weir_engine::catalog::TIME_TYPE;

use super::arena::{Arena, Stored, Views};
use super::instant;
use super::keys::{Keys, Place, Tree};
use super::scan::{Kind, Scanner, Token};
use super::{number, text};

const DAY_US: i64 = 86_400_000_000;

/// What a value is read from and written to.
pub(crate) struct Row<'a> {
    /// The text that tokens point into.
    pub(crate) payload: &'a [u8],
    /// Where that text lies in the arena.
    pub(crate) stored: Stored,
    pub(crate) arena: &'a mut Arena,
    /// The tokens of all wanted places.
    pub(crate) slots: &'a [Token],
    pub(crate) zone: Tz,
    /// Values that did not fit their type.
    pub(crate) misfits: u64,
    /// Whether an object in a list had a field that its type does not have.
    pub(crate) is_cut: bool,
}

/// A column, or a part of one, that is being built.
pub(crate) enum Builder {
    Text(Views),
    Bytes(Views),
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Time(PrimitiveBuilder<TimestampMicrosecondType>),
    Date(PrimitiveBuilder<Date32Type>),
    Struct(StructBuilder),
    List(Box<ListBuilder>),
}

pub(crate) struct StructBuilder {
    fields: Fields,
    children: Vec<Builder>,
    nulls: NullBufferBuilder,
    /// Tokens of the fields of an object inside a list, which has no slots.
    found: Vec<Token>,
}

pub(crate) struct ListBuilder {
    field: FieldRef,
    offsets: Vec<i32>,
    items: Builder,
    nulls: NullBufferBuilder,
}

/// Where the tokens of a column lie: the slot of the place, and those of its fields.
pub(crate) struct Slots {
    slot: u32,
    fields: Vec<Slots>,
}

/// The same before the slots are numbered.
pub(crate) struct Places {
    place: Place,
    fields: Vec<Places>,
}

impl Slots {
    /// The value of the column as a whole.
    pub(crate) fn token(&self, slots: &[Token]) -> Token {
        slots[self.slot as usize]
    }
}

impl Places {
    /// Asks for everything that a column of this type reads.
    pub(crate) fn of(tree: &mut Tree, parent: Place, field: &Field) -> Self {
        let place = tree.read(parent, field.name());
        let fields = match field.data_type() {
            DataType::Struct(fields) => fields.iter().map(|field| Self::of(tree, place, field)).collect(),
            _ => Vec::new(),
        };
        Self { place, fields }
    }

    /// Notes that the stream declares them.
    pub(crate) fn declare(&self, tree: &mut Tree) {
        tree.declare(self.place);
        self.fields.iter().for_each(|field| field.declare(tree));
    }

    pub(crate) fn slot(&self, keys: &Keys) -> u32 {
        keys.slot(self.place)
    }

    pub(crate) fn slots(&self, keys: &Keys) -> Slots {
        Slots { slot: keys.slot(self.place), fields: self.fields.iter().map(|field| field.slots(keys)).collect() }
    }
}

/// A type as it is produced: any value may be NULL, whatever the declaration says.
pub(crate) fn nullable(field: &Field) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| nullable(field)).collect()),
        DataType::List(item) => DataType::List(nullable(item)),
        other => other.clone(),
    };
    Arc::new(field.clone().with_data_type(data_type).with_nullable(true))
}

impl Builder {
    /// A builder for a type; `None` for one that JSON cannot give.
    pub(crate) fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8View => Self::Text(Views::new()),
            DataType::BinaryView => Self::Bytes(Views::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Self::Int8(PrimitiveBuilder::new()),
            DataType::Int16 => Self::Int16(PrimitiveBuilder::new()),
            DataType::Int32 => Self::Int32(PrimitiveBuilder::new()),
            DataType::Int64 => Self::Int64(PrimitiveBuilder::new()),
            DataType::UInt8 => Self::UInt8(PrimitiveBuilder::new()),
            DataType::UInt16 => Self::UInt16(PrimitiveBuilder::new()),
            DataType::UInt32 => Self::UInt32(PrimitiveBuilder::new()),
            DataType::UInt64 => Self::UInt64(PrimitiveBuilder::new()),
            DataType::Float32 => Self::Float32(PrimitiveBuilder::new()),
            DataType::Float64 => Self::Float64(PrimitiveBuilder::new()),
            time if *time == TIME_TYPE => Self::Time(PrimitiveBuilder::new()),
            DataType::Date32 => Self::Date(PrimitiveBuilder::new()),
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| Self::new(field.data_type())).collect::<Option<_>>()?;
                let found = vec![Token::MISSING; fields.len()];
                Self::Struct(StructBuilder {
                    fields: fields.clone(),
                    children,
                    nulls: NullBufferBuilder::new(0),
                    found,
                })
            }
            DataType::List(field) => Self::List(Box::new(ListBuilder {
                field: Arc::clone(field),
                offsets: vec![0],
                items: Self::new(field.data_type())?,
                nulls: NullBufferBuilder::new(0),
            })),
            _ => return None,
        })
    }

    /// Appends the value that lies in a column's slots.
    pub(crate) fn push_slots(&mut self, slots: &Slots, row: &mut Row<'_>) {
        let token = row.slots[slots.slot as usize];
        match self {
            Self::Struct(builder) => builder.push_slots(token, slots, row),
            _ => self.push(token, row),
        }
    }

    /// Appends a value; one that does not fit is counted and becomes NULL.
    pub(crate) fn push(&mut self, token: Token, row: &mut Row<'_>) {
        match self {
            Self::Text(views) | Self::Bytes(views) => push_text(views, token, row),
            Self::Boolean(builder) => {
                let value = boolean(token, row.payload);
                row.count_misfit(token, value.is_none());
                builder.append_option(value);
            }
            Self::Int8(builder) => push_integer(builder, token, row),
            Self::Int16(builder) => push_integer(builder, token, row),
            Self::Int32(builder) => push_integer(builder, token, row),
            Self::Int64(builder) => push_integer(builder, token, row),
            Self::UInt8(builder) => push_integer(builder, token, row),
            Self::UInt16(builder) => push_integer(builder, token, row),
            Self::UInt32(builder) => push_integer(builder, token, row),
            Self::UInt64(builder) => push_integer(builder, token, row),
            Self::Float32(builder) => push_with(builder, token, row, |text, _| float32(text)),
            Self::Float64(builder) => push_with(builder, token, row, |text, _| number::float(text)),
            Self::Time(builder) => push_with(builder, token, row, instant::instant),
            Self::Date(builder) => push_with(builder, token, row, date),
            Self::Struct(builder) => builder.push(token, row),
            Self::List(builder) => builder.push(token, row),
        }
    }

    /// Ends the batch: the column, in the order of the rows. Empties the builder.
    pub(crate) fn finish(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(views) => views.text(blocks)?,
            Self::Bytes(views) => views.bytes(blocks)?,
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::UInt8(builder) => Arc::new(builder.finish()),
            Self::UInt16(builder) => Arc::new(builder.finish()),
            Self::UInt32(builder) => Arc::new(builder.finish()),
            Self::UInt64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Struct(builder) => builder.finish(blocks)?,
            Self::List(builder) => builder.finish(blocks)?,
        })
    }
}

impl Row<'_> {
    fn count_misfit(&mut self, token: Token, is_null: bool) {
        self.misfits += u64::from(is_null && !token.is_nothing());
    }
}

impl StructBuilder {
    fn push_slots(&mut self, token: Token, slots: &Slots, row: &mut Row<'_>) {
        let is_object = self.begin(token, row);
        for (child, slots) in self.children.iter_mut().zip(&slots.fields) {
            if is_object { child.push_slots(slots, row) } else { child.push(Token::MISSING, row) }
        }
    }

    fn begin(&mut self, token: Token, row: &mut Row<'_>) -> bool {
        let is_object = token.kind() == Kind::Object;
        self.nulls.append(is_object);
        row.count_misfit(token, !is_object);
        is_object
    }

    /// Appends an object that lies inside a list and is scanned a second time.
    fn push(&mut self, token: Token, row: &mut Row<'_>) {
        self.found.fill(Token::MISSING);
        if self.begin(token, row) {
            row.is_cut |= !find_fields(token, row.payload, &self.fields, &mut self.found);
        }
        for (child, token) in self.children.iter_mut().zip(&self.found) {
            child.push(*token, row);
        }
    }

    fn finish(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        let len = self.nulls.len();
        let children = self.children.iter_mut().map(|child| child.finish(blocks)).collect::<Result<_, _>>()?;
        let nulls = self.nulls.finish();
        Ok(Arc::new(StructArray::try_new_with_length(self.fields.clone(), children, nulls, len)?))
    }
}

/// Notes the tokens of an object's fields; of a repeated key the last one counts. Says whether every member is a field.
///
/// The object was scanned before, as part of its record, so that there are no faults left to meet.
fn find_fields(object: Token, payload: &[u8], fields: &Fields, found: &mut [Token]) -> bool {
    let mut is_whole = true;
    each_member(object, payload, |key, value| match field_at(key, payload, fields) {
        Some(at) => found[at] = value,
        None => is_whole = false,
    });
    is_whole
}

fn field_at(key: Token, payload: &[u8], fields: &Fields) -> Option<usize> {
    let name = text::content(key, payload);
    fields.iter().position(|field| field.name().as_bytes() == &*name)
}

/// Calls `member` for every key and value of an object that is known to be well formed.
pub(crate) fn each_member(object: Token, payload: &[u8], mut member: impl FnMut(Token, Token)) {
    let mut scanner = Scanner::new(object.of(payload), u32::MAX);
    if scanner.open(b'}').unwrap_or(true) {
        return;
    }
    while let (Some(key), Some(value)) = (scanner.key(), scanner.value()) {
        member(key.moved(object.start()), value.moved(object.start()));
        if !scanner.goes_on(b'}').unwrap_or(false) {
            return;
        }
    }
}

/// Calls `item` for every value of an array that is known to be well formed.
fn each_item(array: Token, payload: &[u8], mut item: impl FnMut(Token)) {
    let mut scanner = Scanner::new(array.of(payload), u32::MAX);
    if scanner.open(b']').unwrap_or(true) {
        return;
    }
    while let Some(value) = scanner.value() {
        item(value.moved(array.start()));
        if !scanner.goes_on(b']').unwrap_or(false) {
            return;
        }
    }
}

/// Whether a value of this type holds all of what stands there.
pub(crate) fn fits(token: Token, data_type: &DataType, payload: &[u8], zone: Tz) -> bool {
    let reads = |read: fn(&[u8], Tz) -> bool| {
        with_content(token, payload, |content| read(content, zone).then_some(())).is_some()
    };
    match data_type {
        _ if token.is_nothing() => true,
        DataType::Boolean => boolean(token, payload).is_some(),
        DataType::Int8 => reads(|text, _| integer::<i8>(text).is_some()),
        DataType::Int16 => reads(|text, _| integer::<i16>(text).is_some()),
        DataType::Int32 => reads(|text, _| integer::<i32>(text).is_some()),
        DataType::Int64 => reads(|text, _| integer::<i64>(text).is_some()),
        DataType::UInt8 => reads(|text, _| integer::<u8>(text).is_some()),
        DataType::UInt16 => reads(|text, _| integer::<u16>(text).is_some()),
        DataType::UInt32 => reads(|text, _| integer::<u32>(text).is_some()),
        DataType::UInt64 => reads(|text, _| integer::<u64>(text).is_some()),
        DataType::Float32 => reads(|text, _| float32(text).is_some()),
        DataType::Float64 => reads(|text, _| number::float(text).is_some()),
        DataType::Timestamp(..) => reads(|text, zone| instant::instant(text, zone).is_some()),
        DataType::Date32 => reads(|text, zone| date(text, zone).is_some()),
        DataType::Struct(fields) => {
            let mut found = vec![Token::MISSING; fields.len()];
            let is_whole = token.kind() == Kind::Object && find_fields(token, payload, fields, &mut found);
            is_whole && fields.iter().zip(found).all(|(field, value)| fits(value, field.data_type(), payload, zone))
        }
        DataType::List(item) => {
            let mut is_whole = token.kind() == Kind::Array;
            if is_whole {
                each_item(token, payload, |value| is_whole &= fits(value, item.data_type(), payload, zone));
            }
            is_whole
        }
        // Text takes anything.
        _ => true,
    }
}

/// Calls `told` with the path of every part of a value that does not fit its type, as builders count them.
pub(crate) fn each_misfit(
    token: Token,
    data_type: &DataType,
    (payload, zone): (&[u8], Tz),
    path: &mut String,
    told: &mut dyn FnMut(&str),
) {
    let len = path.len();
    match data_type {
        DataType::Struct(fields) if token.kind() == Kind::Object => {
            let mut found = vec![Token::MISSING; fields.len()];
            find_fields(token, payload, fields, &mut found);
            for (field, value) in fields.iter().zip(found) {
                path.push('.');
                path.push_str(field.name());
                each_misfit(value, field.data_type(), (payload, zone), path, told);
                path.truncate(len);
            }
        }
        DataType::List(item) if token.kind() == Kind::Array => {
            path.push_str("[]");
            each_item(token, payload, |value| each_misfit(value, item.data_type(), (payload, zone), path, told));
            path.truncate(len);
        }
        _ if fits(token, data_type, payload, zone) => {}
        _ => told(path),
    }
}

impl ListBuilder {
    fn push(&mut self, token: Token, row: &mut Row<'_>) {
        let is_array = token.kind() == Kind::Array;
        self.nulls.append(is_array);
        row.count_misfit(token, !is_array);
        let mut len = self.offsets.last().copied().unwrap_or(0);
        if is_array {
            each_item(token, row.payload, |item| {
                self.items.push(item, row);
                len += 1;
            });
        }
        self.offsets.push(len);
    }

    fn finish(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let items = self.items.finish(blocks)?;
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.field), offsets, items, self.nulls.finish())?))
    }
}

/// Text of any value: of a string its content, of anything else its JSON without white space.
pub(crate) fn text_view(token: Token, row: &mut Row<'_>) -> Option<u128> {
    let bytes = token.of(row.payload);
    match token.kind() {
        Kind::Missing | Kind::Null => None,
        Kind::Escaped => Some(row.arena.write(|out| text::unescape(bytes, out))),
        Kind::Object | Kind::Array if text::has_space(bytes) => Some(row.arena.write(|out| text::minify(bytes, out))),
        _ => Some(row.stored.view(bytes, token.start())),
    }
}

fn push_text(views: &mut Views, token: Token, row: &mut Row<'_>) {
    let view = text_view(token, row);
    views.push_option(view);
}

fn boolean(token: Token, payload: &[u8]) -> Option<bool> {
    match token.kind() {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::Plain if token.of(payload).eq_ignore_ascii_case(b"true") => Some(true),
        Kind::Plain if token.of(payload).eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

fn push_integer<T>(builder: &mut PrimitiveBuilder<T>, token: Token, row: &mut Row<'_>)
where
    T: ArrowPrimitiveType<Native: TryFrom<i128>>,
{
    push_with(builder, token, row, |text, _| integer(text));
}

fn integer<T: TryFrom<i128>>(text: &[u8]) -> Option<T> {
    T::try_from(number::integer(text)?).ok()
}

fn float32(text: &[u8]) -> Option<f32> {
    number::float(text).map(|value| value as f32).filter(|value| value.is_finite())
}

fn date(text: &[u8], zone: Tz) -> Option<i32> {
    i32::try_from(instant::instant(text, zone)?.div_euclid(DAY_US)).ok()
}

/// Appends what `read` makes of a number or of the content of a string.
fn push_with<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    token: Token,
    row: &mut Row<'_>,
    read: impl FnOnce(&[u8], Tz) -> Option<T::Native>,
) {
    let value = with_content(token, row.payload, |content| read(content, row.zone));
    row.count_misfit(token, value.is_none());
    builder.append_option(value);
}

/// Hands the digits of a number or the content of a string to `read`; other values have none.
pub(crate) fn with_content<T>(token: Token, payload: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    match token.kind() {
        Kind::Number | Kind::Plain | Kind::Escaped => read(&text::content(token, payload)),
        _ => None,
    }
}
