//! The tree that a YAML or JSON text becomes: values with their places.

use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Number, Value};
use std::fmt;
use std::sync::Arc;

/// A place in a text, counted from 1; line 0 when it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The whole of it; null for an empty document.
    pub root: Node,
    /// Keys written more than once in one mapping. The last value is the one in the tree.
    pub duplicates: Vec<Duplicate>,
}

/// A key that its mapping has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub key: String,
    /// Where it stands again.
    pub place: Place,
    /// Where it stood before.
    pub first: Place,
}

/// A value and where it begins. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Where it begins; for a value reached through an alias, where it was written first.
    pub place: Place,
}

/// What a node holds, after YAML 1.1's rules for plain scalars.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `~`, `null` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites, unquoted.
    Bool(bool),
    /// An integer or a float, unquoted. Integers beyond 64 bits stay strings of digits.
    Number(Number),
    /// Everything else, and everything quoted. Timestamps are strings in ISO 8601.
    String(Arc<str>),
    /// `!vault`: encrypted text, opaque.
    Vault(Arc<str>),
    /// `!unsafe`: a string that is never a template.
    Unsafe(Arc<str>),
    /// A list.
    Sequence(Arc<[Node]>),
    /// A mapping with unique keys, merge keys (`<<`) already merged. Keys are scalars.
    Mapping(Arc<[(Node, Node)]>),
}

impl Node {
    /// Whether nothing is written here.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// The text of a string (not of a number, a boolean or an encrypted value).
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) | Data::Unsafe(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping, in their order.
    pub fn as_mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.data {
            Data::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.data {
            Data::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a string key; nothing when this is no mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// What this is, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::String(_) | Data::Unsafe(_) => "a string",
            Data::Vault(_) => "an encrypted value",
            Data::Sequence(_) => "a list",
            Data::Mapping(_) => "a mapping",
        }
    }

    /// The value without places. `!vault` and `!unsafe` stay as tagged strings.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Number(number) => Value::Number(number.clone()),
            Data::String(text) => Value::String(text.as_ref().to_owned()),
            Data::Vault(text) => tagged("vault", text),
            Data::Unsafe(text) => tagged("unsafe", text),
            Data::Sequence(items) => Value::Sequence(items.iter().map(Node::to_value).collect()),
            Data::Mapping(entries) => {
                let mut mapping = Mapping::with_capacity(entries.len());
                mapping.extend(entries.iter().map(|(key, value)| (key.to_value(), value.to_value())));
                Value::Mapping(mapping)
            }
        }
    }
}

fn tagged(tag: &str, text: &str) -> Value {
    Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value: Value::String(text.to_owned()) }))
}
