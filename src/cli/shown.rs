//! Text of files and inventories on standard output: as it is for programs, made visible for a person at a terminal; and
//! the JSON of the verbs that list.

use super::failure::Failed;
use crate::report::visible;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// The text as it is to be printed on standard output.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { visible(text) } else { Cow::Borrowed(text) }
}

/// The beginning of a text that may be long.
pub(super) fn beginning(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Writes a document to a file, or to standard output for `-`.
pub(super) fn write_json(target: &str, document: &Value) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(document).map_err(Failed::fault)? + "\n";
    if target == "-" {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    std::fs::write(target, text).map_err(|error| Failed::mistake_text(format!("cannot write `{target}`: {error}")))
}
