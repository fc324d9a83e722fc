//! From a stream's declaration and a set of columns to a decoder: which keys are read, and what becomes of them.

use arrow::array::PrimitiveBuilder;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use std::sync::Arc;
use weir_engine::ColumnSet;
use weir_engine::catalog::{Stream, TIME_TYPE, system};

use super::arena::{Arena, Views};
use super::columns::{Builder, Places, nullable};
use super::keys::{Keys, Place, Tree};
use super::misfits::Misfits;
use super::scan::Token;
use super::unmapped::{Declared, Unmapped};
use super::{Column, DecodeError, Decoder, EVENT_ID, Found, Limits, Lookup};

/// Where a column's value will come from, before the slots are numbered.
enum Plan {
    Field(Places),
    Open(Paths),
    Metadata(Column),
}

/// Two places of which the second is looked at when nothing is at the first.
#[derive(Clone, Copy)]
struct Paths(Place, Option<Place>);

pub(super) fn decoder(stream: &Stream, columns: &ColumnSet, limits: Limits) -> Result<Decoder, DecodeError> {
    let mut tree = Tree::new();
    let time = paths(&mut tree, stream, &stream.event_time);
    let event_id = stream.event_id.as_deref().map(|column| paths(&mut tree, stream, column));
    let fields: Fields = columns.columns.iter().map(|field| produced(stream, field)).collect();
    let plans = fields.iter().map(|field| plan(&mut tree, stream, field)).collect::<Result<Vec<_>, _>>()?;
    let reads_unmapped = plans.iter().any(|plan| matches!(plan, Plan::Metadata(Column::Unmapped)));
    let declared = reads_unmapped.then(|| declare(&mut tree, stream));
    let keys = tree.finish();
    let unmapped = declared.map(|places| unmapped(stream, &fields, &places, &keys));
    let mut columns = Vec::with_capacity(plans.len());
    for (plan, field) in plans.into_iter().zip(&fields) {
        columns.push(match plan {
            // The event time was read already, and a record without one is refused.
            Plan::Field(_) if *field.data_type() == TIME_TYPE && *field.name() == stream.event_time => Column::Time,
            Plan::Field(places) => Column::Field(places.slots(&keys), builder(stream, field)?),
            Plan::Open(paths) => Column::Open(paths.lookup(&keys), builder(stream, field)?),
            Plan::Metadata(column) => column,
        });
    }
    Ok(Decoder {
        limits,
        schema: Arc::new(Schema::new(with_appended(&fields, event_id.is_some()))),
        zone: stream.time_zone,
        found: Found { slots: vec![Token::MISSING; keys.slots()], unmapped },
        time: time.lookup(&keys),
        event_id: event_id.map(|paths| (paths.lookup(&keys), Views::new())),
        keys,
        misfits: Misfits::new(columns.len()),
        columns,
        arena: Arena::default(),
        times: Vec::new(),
        raws: Views::new(),
        arrivals: PrimitiveBuilder::new(),
        bytes: 0,
    })
}

/// All declared columns are looked at where what they do not hold is asked for.
fn declare(tree: &mut Tree, stream: &Stream) -> Vec<Places> {
    let places: Vec<Places> = stream.columns.iter().map(|field| Places::of(tree, 0, field)).collect();
    places.iter().for_each(|places| places.declare(tree));
    places
}

fn unmapped(stream: &Stream, read: &Fields, places: &[Places], keys: &Keys) -> Unmapped {
    let declared = stream.columns.iter().zip(places).map(|(field, places)| Declared {
        key: serde_json::Value::from(field.name().as_str()).to_string(),
        data_type: field.data_type().clone(),
        slot: places.slot(keys),
        reader: read.iter().position(|read| read.name() == field.name()),
    });
    Unmapped::new(stream.time_zone, declared.collect())
}

impl Paths {
    fn lookup(self, keys: &Keys) -> Lookup {
        Lookup { first: keys.slot(self.0), second: self.1.map(|place| keys.slot(place)) }
    }
}

/// Where a column or a dotted path lies: declared names are exact keys, others are tried as a key and then as a path.
fn paths(tree: &mut Tree, stream: &Stream, name: &str) -> Paths {
    if declared(stream, name).is_some() || !name.contains('.') {
        return Paths(tree.read(0, name), None);
    }
    let path = tree.read_path(name);
    let begins_declared = name.split('.').next().is_some_and(|first| declared(stream, first).is_some());
    if begins_declared && !stream.open { Paths(path, None) } else { Paths(tree.read(0, name), Some(path)) }
}

fn plan(tree: &mut Tree, stream: &Stream, field: &Field) -> Result<Plan, DecodeError> {
    let name = field.name().as_str();
    if declared(stream, name).is_some() {
        return Ok(Plan::Field(Places::of(tree, 0, field)));
    }
    if let Some(column) = metadata(name) {
        return Ok(Plan::Metadata(column));
    }
    if stream.open {
        return Ok(Plan::Open(paths(tree, stream, name)));
    }
    Err(DecodeError::UnknownColumn { stream: stream.name.clone(), column: name.to_owned() })
}

fn metadata(name: &str) -> Option<Column> {
    Some(match name {
        system::TIME => Column::Time,
        system::RAW => Column::Raw,
        system::ARRIVAL => Column::Arrival,
        system::TOPIC => Column::Topic(Views::new()),
        system::PARTITION => Column::Partition(PrimitiveBuilder::new()),
        system::OFFSET => Column::Offset(PrimitiveBuilder::new()),
        system::KEY => Column::Key(Views::new()),
        system::TIMESTAMP => Column::Timestamp(PrimitiveBuilder::new()),
        system::HEADERS => Column::Headers(Views::new()),
        system::UNMAPPED => Column::Unmapped,
        _ => return None,
    })
}

fn declared<'a>(stream: &'a Stream, name: &str) -> Option<&'a FieldRef> {
    stream.columns.iter().find(|field| field.name() == name)
}

/// A column as batches hold it: what comes from JSON may be NULL, metadata is as the set says.
fn produced(stream: &Stream, field: &FieldRef) -> FieldRef {
    let is_metadata = declared(stream, field.name()).is_none() && metadata(field.name()).is_some();
    if is_metadata { Arc::clone(field) } else { nullable(field) }
}

fn builder(stream: &Stream, field: &Field) -> Result<Builder, DecodeError> {
    Builder::new(field.data_type()).ok_or_else(|| DecodeError::UnsupportedType {
        stream: stream.name.clone(),
        column: field.name().clone(),
        data_type: field.data_type().clone(),
    })
}

/// The fields of a batch: the set, and what every batch has.
fn with_appended(fields: &Fields, has_event_id: bool) -> Vec<FieldRef> {
    let mut all: Vec<FieldRef> = fields.iter().cloned().collect();
    all.push(Arc::new(Field::new(system::TIME, TIME_TYPE, false)));
    all.push(Arc::new(Field::new(system::RAW, DataType::BinaryView, false)));
    all.push(Arc::new(Field::new(system::ARRIVAL, TIME_TYPE, true)));
    if has_event_id {
        all.push(Arc::new(Field::new(EVENT_ID, DataType::Utf8View, true)));
    }
    all
}
