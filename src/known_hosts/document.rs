//! One `known_hosts` file as text: every line where it stands, foreign bytes included.
//!
//! The main type is [`Document`]. Its edits answer with the new text; what is not meant by an edit stays byte for byte.
//! It touches no file (see [`rewrite`](super::rewrite)).

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::hosts::{KnownHosts, Place, Problem};
use super::line::{Line, Malformed, Marker};
use super::names::HashedName;
use super::trusted::{ReadError, read_trusted};

/// The text of a file with what each line means.
#[derive(Clone, Debug)]
pub struct Document {
    text: Vec<u8>,
    lines: Vec<(Range<usize>, Line)>,
}

/// A line of a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct DocumentLine<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Its bytes with the line feed, where it has one.
    pub text: &'a [u8],
    /// What it means.
    pub content: &'a Line,
}

impl Document {
    /// Reads a text; every text is a document.
    pub fn parse(text: Vec<u8>) -> Self {
        let lines = split_lines(&text).map(|(range, line)| (range, Line::parse(line))).collect();
        Self { text, lines }
    }

    /// Reads a file; one that does not exist is `None`.
    ///
    /// # Errors
    /// When it cannot be read or others may write it.
    pub fn read(path: &Path) -> Result<Option<Self>, ReadError> {
        Ok(read_trusted(path)?.map(Self::parse))
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Every line in order.
    pub fn lines(&self) -> impl Iterator<Item = DocumentLine<'_>> {
        (1..).zip(&self.lines).map(|(number, (range, content))| DocumentLine {
            number,
            text: &self.text[range.clone()],
            content,
        })
    }

    /// The lines that speak of `name` (`host` or `[host]:port`, in any case), as `ssh-keygen -F` finds them: by exact
    /// name, pattern or hash, with marked lines; and malformed ones whose names could be read.
    pub fn find(&self, name: &str) -> impl Iterator<Item = DocumentLine<'_>> {
        let name = name.to_ascii_lowercase();
        self.lines().filter(move |line| line.content.matches(&name))
    }

    /// The numbers of the lines that speak of each of these names, as [`find`](Self::find) would have them one by one; for
    /// very many names at once.
    pub fn find_all<N: AsRef<str>>(&self, names: &[N]) -> Vec<Vec<usize>> {
        let known = KnownHosts::from_text(PathBuf::new(), &self.text);
        names.iter().map(|name| known.lines_of(&name.as_ref().to_ascii_lowercase())).collect()
    }

    /// The text without the lines that hold keys of any of `names`, and the numbers of those lines, as `ssh-keygen -R`:
    /// lines with a marker stay, a line that also names other hosts goes whole. Malformed lines stay.
    pub fn without<N: AsRef<str>>(&self, names: &[N]) -> (Vec<u8>, Vec<usize>) {
        let found: HashSet<usize> = self.find_all(names).into_iter().flatten().collect();
        let mut removed = Vec::new();
        let text = self.edit(|line| {
            let gone = matches!(line.content, Line::Entry(entry) if entry.marker == Marker::None)
                && found.contains(&line.number);
            if gone {
                removed.push(line.number);
            }
            (!gone).then(|| line.text.to_vec())
        });
        (text, removed)
    }

    /// The text with clear names hashed, one line a name, and how many lines changed, as `ssh-keygen -H`: lines with
    /// patterns or a marker, hashed ones and malformed ones stay.
    ///
    /// `salt` gives fresh random bytes for each name.
    pub fn hashed(&self, mut salt: impl FnMut() -> [u8; 20]) -> (Vec<u8>, usize) {
        let mut changed = 0;
        let text = self.edit(|line| {
            let names = match line.content {
                Line::Entry(entry) if entry.marker == Marker::None => entry.names.exact(),
                _ => None,
            };
            let key = after_names(line.text);
            let mut replacement = Vec::new();
            for name in names.into_iter().flatten() {
                let name = String::from_utf8_lossy(name);
                replacement.extend_from_slice(HashedName::new(&name, salt()).to_string().as_bytes());
                replacement.push(b' ');
                replacement.extend_from_slice(key);
                if !key.ends_with(b"\n") {
                    replacement.push(b'\n');
                }
            }
            if replacement.is_empty() {
                return Some(line.text.to_vec());
            }
            changed += 1;
            Some(replacement)
        });
        (text, changed)
    }

    /// Every line that cannot be understood, under the name of the file.
    pub fn problems(&self, path: &Path) -> Vec<Problem> {
        let problem = |line: DocumentLine<'_>| {
            let Line::Malformed(Malformed { fault, column, .. }) = line.content else { return None };
            let text = line.text.strip_suffix(b"\n").unwrap_or(line.text);
            Some(Problem {
                place: Place { file: path.into(), line: line.number },
                column: *column,
                fault: fault.clone(),
                text: String::from_utf8_lossy(text).into_owned(),
            })
        };
        self.lines().filter_map(problem).collect()
    }

    pub(crate) fn edit(&self, mut replacement: impl FnMut(DocumentLine<'_>) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len());
        for line in self.lines() {
            if let Some(bytes) = replacement(line) {
                text.extend_from_slice(&bytes);
            }
        }
        text
    }
}

/// Every line with its place in the text (line feed included) and its bytes (without).
pub(crate) fn split_lines(text: &[u8]) -> impl Iterator<Item = (Range<usize>, &[u8])> {
    let mut start = 0;
    text.split_inclusive(|&byte| byte == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        (range, line.strip_suffix(b"\n").unwrap_or(line))
    })
}

/// What follows the names of an unmarked line.
pub(crate) fn after_names(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let names = text.iter().position(|byte| !blank(byte)).unwrap_or_default();
    let end = text[names..].iter().position(blank).map_or(text.len(), |length| names + length);
    let key = text[end..].iter().position(|byte| !blank(byte)).map_or(text.len(), |blanks| end + blanks);
    &text[key..]
}
