//! Where `^FILE` and `-` come from: lists of targets, one expression a line.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A list of targets outside of the expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListSource {
    /// `^FILE`, relative to the current directory.
    File(PathBuf),
    /// `-`.
    StandardInput,
}

impl fmt::Display for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

/// Reads lists. Each list is read once in a selection, however often it is named.
pub trait Lists {
    /// The whole text of a list.
    fn read(&mut self, source: &ListSource) -> io::Result<String>;
}

/// The lists of this machine: its files and the standard input of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLists;

impl Lists for SystemLists {
    fn read(&mut self, source: &ListSource) -> io::Result<String> {
        match source {
            ListSource::File(path) => fs::read_to_string(path),
            ListSource::StandardInput => io::read_to_string(io::stdin()),
        }
    }
}

/// The expressions of a list with their line numbers from 1: without comments and empty lines, columns kept.
///
/// A comment begins with `#` at the beginning of a line or after a blank.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|&at| line[..at].chars().next_back().is_none_or(char::is_whitespace));
        let line = line[..comment.unwrap_or(line.len())].trim_end();
        (!line.is_empty()).then_some((number, line))
    })
}
