//! What is known about the inside of a value: enough to read `user.name` without regard to case.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

/// The inside of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Nothing is known; its fields are taken as they are typed.
    Unknown,
    /// A value without fields.
    Leaf(DataType),
    /// A struct, with its fields in order.
    Struct(Arc<[(String, Shape)]>),
    /// A list of such values.
    List(Arc<Shape>),
}

impl Shape {
    pub(super) fn of_type(data_type: &DataType) -> Self {
        match data_type {
            DataType::Struct(fields) => Self::Struct(
                fields.iter().map(|field| (field.name().clone(), Self::of_type(field.data_type()))).collect(),
            ),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::List(Arc::new(Self::of_type(item.data_type())))
            }
            DataType::Map(..) | DataType::Union(..) | DataType::Null => Self::Unknown,
            other => Self::Leaf(other.clone()),
        }
    }

    /// The shape of a list's members.
    pub(super) fn item(&self) -> Self {
        match self {
            Self::List(item) => item.as_ref().clone(),
            _ => Self::Unknown,
        }
    }

    /// The better known of two shapes of the same value.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Unknown { other } else { self }
    }
}

/// A column that SQL can name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// Its exact name.
    pub(crate) name: String,
    /// What is inside.
    pub(crate) shape: Shape,
    /// `SELECT *` leaves it out.
    pub(crate) hidden: bool,
}

impl Column {
    pub(super) fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self { name: name.into(), shape, hidden: false }
    }

    pub(super) fn of_field(field: &Field, hidden: bool) -> Self {
        Self { name: field.name().clone(), shape: Shape::of_type(field.data_type()), hidden }
    }
}
