//! Text of files and inventories on standard output: as it is for programs, made visible for a person at a terminal.

use crate::report::visible;
use std::borrow::Cow;
use std::io::{self, IsTerminal};

/// The text as it is to be printed on standard output.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { visible(text) } else { Cow::Borrowed(text) }
}
