//! YAML as Ansible reads it: text in, a tree of [`Node`]s with their places out.
//!
//! Ansible's reader (PyYAML) speaks YAML 1.1: plain `yes` is a boolean and `0644` is 420, quoted they are strings. The
//! text is therefore read from parser events, which know how a scalar was written and where, and becomes
//! [`serde_yaml::Value`] only in [`Node::to_value`]. JSON is read as JSON first, as Ansible does. [`from_str`] is the
//! typed entry for bugle's own files, which are YAML 1.2 through serde_yaml.
//!
//! This module gives no meaning to what it reads: inventories, playbooks and settings do.

mod compose;
mod json;
mod nearest;
mod node;
mod scalar;

use serde::de::DeserializeOwned;
use std::fmt;

pub use compose::{parse, parse_all};
pub use json::parse_json;
pub use nearest::nearest;
pub use node::{Data, Document, Duplicate, Node, Place};

/// Collections may be nested this deep.
pub const MAX_DEPTH: usize = 128;
/// Aliases may repeat this many nodes in one text; what is beyond is an attack or a mistake.
pub const MAX_ALIASED_NODES: u64 = 1_000_000;

/// A text that cannot be read, with its place and the line there.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlError {
    /// The file as the user named it.
    pub file: String,
    /// Where; line 0 when the place is not known.
    pub place: Place,
    /// The line at that place.
    pub shown: String,
    /// What is wrong.
    pub fault: YamlFault,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum YamlFault {
    /// The parser's own words.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// The JSON reader's words.
    #[error("not valid JSON: {0}")]
    Json(&'static str),
    /// Beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Beyond [`MAX_ALIASED_NODES`].
    #[error("aliases repeat more than {MAX_ALIASED_NODES} values")]
    AliasBomb,
    /// An alias to a node that is not finished.
    #[error("the alias stands inside the very value that it names")]
    RecursiveAlias,
    /// A tag that has no meaning here.
    #[error("unknown tag `{0}`")]
    UnknownTag(String),
    /// A scalar that its explicit tag does not fit.
    #[error("`{text}` is not {kind}")]
    WrongScalar {
        /// The scalar.
        text: String,
        /// What the tag asks for, with its article.
        kind: &'static str,
    },
    /// A collection as a key.
    #[error("a key is a single value, here it is {0}")]
    CollectionKey(&'static str),
    /// `<<` with something else than mappings.
    #[error("`<<` merges mappings, here it gets {0}")]
    MergeOfScalar(&'static str),
    /// More than one document where one is expected.
    #[error("a second document begins here; only one is expected")]
    SecondDocument,
    /// serde's words about a value of the wrong shape.
    #[error("{0}")]
    Shape(String),
}

impl YamlError {
    pub(crate) fn new(file: &str, text: &str, place: Place, fault: YamlFault) -> Self {
        let shown = text.lines().nth((place.line as usize).saturating_sub(1)).unwrap_or("").to_owned();
        Self { file: file.to_owned(), place, shown, fault }
    }

    /// What to do about it, when that is known.
    pub fn hint(&self) -> Option<String> {
        let indentation = &self.shown[..self.shown.len() - self.shown.trim_start().len()];
        if indentation.contains('\t') {
            return Some("YAML is indented with spaces, never with tabs".into());
        }
        match &self.fault {
            YamlFault::Syntax(_) | YamlFault::CollectionKey(_) if self.shown.contains("{{") => {
                Some("a value that begins with `{{` must be quoted: \"{{ name }}\"".into())
            }
            YamlFault::Shape(message) => suggestion(message),
            YamlFault::UnknownTag(_) => {
                Some("known tags: !vault, !unsafe and YAML's own !!str, !!int, !!float …".into())
            }
            _ => None,
        }
    }
}

impl std::error::Error for YamlError {}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line == 0 {
            return write!(f, "{}: {}", self.file, self.fault);
        }
        write!(f, "{}:{}: {}", self.file, self.place, self.fault)?;
        excerpt(f, self.place, &self.shown)
    }
}

/// Writes a line of a user's file below a message, with a mark under the column. Control characters are made visible.
pub fn excerpt(f: &mut impl fmt::Write, place: Place, shown: &str) -> fmt::Result {
    const WIDTH: usize = 160;
    if shown.trim().is_empty() {
        return Ok(());
    }
    let column = (place.column as usize).max(1) - 1;
    let skipped = if column > WIDTH { column - WIDTH / 2 } else { 0 };
    let visible = |c: char| {
        if c == '\t' {
            ' '
        } else if c.is_control() {
            '\u{fffd}'
        } else {
            c
        }
    };
    let line: String = shown.chars().skip(skipped).take(WIDTH).map(visible).collect();
    write!(f, "\n{:>5} | {}", place.line, line.trim_end())?;
    if place.column > 0 {
        write!(f, "\n      | {}^", " ".repeat(column - skipped))?;
    }
    Ok(())
}

/// Reads one of bugle's own files into its type (YAML 1.2, as serde_yaml reads it).
///
/// # Errors
/// Wrong syntax, an unknown key or a value of the wrong type, with its place where serde knows it.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location().map_or(Place::default(), |at| Place {
            line: u32::try_from(at.line()).unwrap_or(u32::MAX),
            column: u32::try_from(at.column()).unwrap_or(u32::MAX),
        });
        let mut message = error.to_string();
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        YamlError::new(file, text, place, YamlFault::Shape(message))
    })
}

/// The nearest of the names that serde lists in its message about an unknown one.
fn suggestion(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field ").or_else(|| message.split_once("unknown variant "))?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    nearest(wrong, names).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests;
