//! A typed JSON value with templates at its leaves: the structure is the author's, only leaves come from outside.

use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::template::{Check, RenderError, Template};
use crate::yaml::{Node, Tree};

/// A JSON value to be filled in.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A number, truth value or null.
    Constant(Value),
    /// Text, or a lone `${field}` which keeps its type.
    Leaf(Template),
    /// A list.
    List(Vec<Body>),
    /// An object; its keys are the author's own.
    Object(Vec<(String, Body)>),
    /// The whole OpenC2 message, which only this room writes.
    OpenC2,
}

/// The one value that may stand for the whole message.
const MESSAGE: &str = "${openc2}";

impl Body {
    pub(crate) fn read(node: &Node, check: &Check<'_>, problems: &mut Vec<Problem>) -> Self {
        match &node.tree {
            Tree::Text(text) if text == MESSAGE => Self::OpenC2,
            Tree::Text(text) => Self::Leaf(Template::read(text, node.span, check, problems)),
            Tree::List(items) => Self::List(items.iter().map(|item| Self::read(item, check, problems)).collect()),
            Tree::Map(fields) => Self::Object(
                fields.iter().map(|(key, node)| (key.name.clone(), Self::read(node, check, problems))).collect(),
            ),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => Self::Constant(node.json()),
        }
    }

    /// The value for these facts. A field of an object whose lone `${field}` is absent is left out.
    ///
    /// Errors: text with an absent field in it, a structure from outside, a filter that refuses.
    pub(crate) fn render(&self, scope: &Value) -> Result<Value, RenderError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Leaf(template) => template.json(scope),
            Self::List(items) => {
                items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>().map(Value::Array)
            }
            Self::OpenC2 => scope.get("openc2").cloned().ok_or_else(|| RenderError::Missing("openc2".to_owned())),
            Self::Object(fields) => {
                let mut object = Map::new();
                for (key, body) in fields {
                    match body.render(scope) {
                        Ok(value) => {
                            object.insert(key.clone(), value);
                        }
                        Err(RenderError::Missing(_)) if body.is_lone_field() => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(Value::Object(object))
            }
        }
    }

    fn is_lone_field(&self) -> bool {
        matches!(self, Self::Leaf(template) if template.only_field().is_some())
    }
}
