//! What the columns of a stream do not hold of a record, kept as one JSON object in text: fields that are not declared,
//! and values that do not fit the type they are declared with.
//!
//! It is the same whatever columns are read beside it, so that a live query and a hunt see one text. Of an object in a
//! declared column the object of what is left over is kept; of a list with anything left over the whole list.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use hashbrown::HashMap;
use std::sync::Arc;

use super::arena::{Arena, Views};
use super::columns::{each_member, fits};
use super::scan::{Kind, Token};
use super::text;

/// Collects what is left over of one record after the other.
pub(crate) struct Unmapped {
    zone: Tz,
    declared: Vec<Declared>,
    /// Whether a declared column is not read, so that nobody else notices what does not fit it.
    has_unread: bool,
    /// The undeclared members of the record.
    members: Vec<(Token, Token)>,
    /// Places in the column set whose value of this record left something over.
    suspects: Vec<usize>,
    /// Whether an object in a declared column has a field that its type does not have.
    has_undeclared_field: bool,
    views: Views,
}

/// A declared column.
pub(crate) struct Declared {
    /// Its name as JSON.
    pub(crate) key: String,
    pub(crate) data_type: DataType,
    /// Where its token lies.
    pub(crate) slot: u32,
    /// Its place in the column set, if it is read.
    pub(crate) reader: Option<usize>,
}

impl Unmapped {
    pub(crate) fn new(zone: Tz, declared: Vec<Declared>) -> Self {
        Self {
            zone,
            has_unread: declared.iter().any(|column| column.reader.is_none()),
            declared,
            members: Vec::new(),
            suspects: Vec::new(),
            has_undeclared_field: false,
            views: Views::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.suspects.clear();
        self.has_undeclared_field = false;
    }

    /// Notes a member of the record that is not declared.
    pub(crate) fn note(&mut self, key: Token, value: Token) {
        self.members.push((key, value));
    }

    /// Notes that an object inside the record has a field that is not declared.
    pub(crate) fn note_field(&mut self) {
        self.has_undeclared_field = true;
    }

    /// Notes that the column at this place of the set does not hold its value whole.
    pub(crate) fn suspect(&mut self, reader: usize) {
        self.suspects.push(reader);
    }

    /// Appends the object of the record, or NULL if there is nothing to keep. Of a repeated key the last value is kept.
    pub(crate) fn push(&mut self, payload: &[u8], slots: &[Token], arena: &mut Arena) {
        let is_whole = self.suspects.is_empty() && !self.has_undeclared_field && !self.has_unread;
        if is_whole && self.members.is_empty() {
            return self.views.push_null();
        }
        drop_repeated(&mut self.members, payload);
        let mut is_empty = true;
        let view = arena.write(|out| {
            let mut object = Object::begin(out);
            for (key, value) in &self.members {
                object.raw_member(key.of(payload), *value, payload);
            }
            for column in self.declared.iter().filter(|column| !is_whole && self.is_suspect(column)) {
                let value = slots[column.slot as usize];
                object
                    .member(column.key.as_bytes(), |out| left_over(value, &column.data_type, payload, self.zone, out));
            }
            is_empty = object.end();
        });
        self.views.push_option((!is_empty).then_some(view));
    }

    fn is_suspect(&self, column: &Declared) -> bool {
        let is_cut = self.has_undeclared_field && matches!(column.data_type, DataType::Struct(_));
        is_cut || column.reader.is_none_or(|reader| self.suspects.contains(&reader))
    }

    /// The column. Empties the builder.
    pub(crate) fn finish(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        self.views.text(blocks)
    }
}

/// Writes what a value of this type does not hold; says whether there was any.
fn left_over(value: Token, data_type: &DataType, payload: &[u8], zone: Tz, out: &mut Vec<u8>) -> bool {
    match data_type {
        DataType::Struct(fields) if value.kind() == Kind::Object => fields_left_over(value, fields, payload, zone, out),
        _ if fits(value, data_type, payload, zone) => false,
        _ => {
            text::minify(with_quotes(value).of(payload), out);
            true
        }
    }
}

fn fields_left_over(object: Token, fields: &Fields, payload: &[u8], zone: Tz, out: &mut Vec<u8>) -> bool {
    let mut members = Vec::new();
    each_member(object, payload, |key, value| members.push((key, value)));
    drop_repeated(&mut members, payload);
    let mut rest = Object::begin(out);
    for (key, value) in members {
        let name = text::content(key, payload);
        match fields.iter().find(|field| field.name().as_bytes() == &*name) {
            None => rest.raw_member(key.of(payload), value, payload),
            Some(field) => {
                let key = with_quotes(key).of(payload);
                rest.member(key, |out| left_over(value, field.data_type(), payload, zone, out));
            }
        }
    }
    !rest.end()
}

/// An object that is being written, and of which nothing stays if it has no members.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start }
    }

    /// A member whose key stands in the record.
    fn raw_member(&mut self, key: &[u8], value: Token, payload: &[u8]) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(b"\":");
        text::minify(with_quotes(value).of(payload), self.out);
    }

    /// A member that is left out if `write` says that there was nothing to write. The key is in quotes.
    fn member(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let before = self.out.len();
        self.comma();
        self.out.extend_from_slice(key);
        self.out.push(b':');
        if !write(self.out) {
            self.out.truncate(before);
        }
    }

    fn comma(&mut self) {
        if self.out.len() > self.start + 1 {
            self.out.push(b',');
        }
    }

    /// Closes the object; says whether it is empty, and then takes it away.
    fn end(self) -> bool {
        let is_empty = self.out.len() == self.start + 1;
        if is_empty {
            self.out.truncate(self.start);
        } else {
            self.out.push(b'}');
        }
        is_empty
    }
}

fn drop_repeated(members: &mut Vec<(Token, Token)>, payload: &[u8]) {
    let name = |key: &Token| text::content(*key, payload);
    // A record may hold a hundred thousand keys: comparing each with each would be an attack to fall for.
    if members.len() <= 16 {
        let names: Vec<Cow<'_, [u8]>> = members.iter().map(|(key, _)| name(key)).collect();
        if names.iter().enumerate().all(|(at, name)| !names[at + 1..].contains(name)) {
            return;
        }
    }
    let last: HashMap<Cow<'_, [u8]>, usize> =
        members.iter().enumerate().map(|(at, (key, _))| (name(key), at)).collect();
    let mut at = 0;
    members.retain(|(key, _)| {
        at += 1;
        last.get(&name(key)) == Some(&(at - 1))
    });
}

fn with_quotes(token: Token) -> Token {
    match token.kind() {
        Kind::Plain | Kind::Escaped => Token::new(token.kind(), token.start() - 1, token.end() + 1),
        _ => token,
    }
}
