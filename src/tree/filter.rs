//! Which paths of a tree are meant: [`Filter`].
//!
//! The rules of the command line come first, in their order, then the `.gitignore` files of the tree, the deepest first. A
//! rule speaks of what is below a source; the source itself, where it is a directory, was named and is meant.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::path::TreePath;
use super::pattern::{Fault, FaultKind, Pattern, Patterns, Verdict};

/// The rules of one run, in order, and the `.gitignore` files of one tree.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The first list that says something wins.
    lists: Arc<[Patterns]>,
    honours_gitignore: bool,
    /// What `.gitignore` files say, by the directory that they are in.
    files: HashMap<Box<[u8]>, Patterns>,
}

/// A rule as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterRule {
    /// `--exclude GLOB`
    Exclude(Vec<u8>),
    /// `--include GLOB`
    Include(Vec<u8>),
    /// `--exclude-from FILE`: lines as in a `.gitignore`, of which the last that matches wins.
    ExcludeFrom(PathBuf),
}

/// A rule that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A pattern of an option.
    #[error("{fault}, in `{option} {}`", pattern.escape_ascii())]
    Option {
        /// The option.
        option: &'static str,
        /// As it was written.
        pattern: Vec<u8>,
        /// What is wrong.
        fault: FaultKind,
    },
    /// A line of a file.
    #[error("{}:{line}:{column}: {fault}, in `{}`", path.display(), text.escape_ascii())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// The line.
        text: Vec<u8>,
        /// What is wrong.
        fault: FaultKind,
    },
    /// A file that cannot be read.
    #[error("cannot read the patterns in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Filter {
    /// Reads the rules, in the order in which they were given: the first that matches wins.
    ///
    /// # Errors
    /// The first pattern that is wrong, with its option or its line, and a file that cannot be read.
    pub fn new(rules: &[FilterRule]) -> Result<Self, FilterError> {
        let mut lists = Vec::new();
        let mut globs: Vec<Pattern> = Vec::new();
        let mut last_glob = None;
        // Of a list the last match wins, of the options the first.
        let flush = |globs: &mut Vec<Pattern>, last: Option<&FilterRule>, lists: &mut Vec<Patterns>| {
            let Some(last) = last.filter(|_| !globs.is_empty()) else { return Ok(()) };
            globs.reverse();
            lists.push(Patterns::new(std::mem::take(globs)).map_err(|fault| last.fault(fault))?);
            Ok(())
        };
        for rule in rules {
            let glob = match rule {
                FilterRule::Exclude(glob) => Pattern::option(glob, Verdict::Exclude),
                FilterRule::Include(glob) => Pattern::option(glob, Verdict::Include),
                FilterRule::ExcludeFrom(path) => {
                    flush(&mut globs, last_glob.take(), &mut lists)?;
                    lists.push(read_strictly(path)?);
                    continue;
                }
            };
            globs.push(glob.map_err(|fault| rule.fault(fault))?);
            last_glob = Some(rule);
        }
        flush(&mut globs, last_glob, &mut lists)?;
        Ok(Self { lists: lists.into(), ..Self::default() })
    }

    /// Honours the `.gitignore` files inside of the tree, below the rules that were given. Those above it are not read.
    #[must_use]
    pub fn with_gitignore(self) -> Self {
        Self { honours_gitignore: true, ..self }
    }

    /// Whether a path is left out, by itself or since a directory above it is. The root never is.
    pub fn is_excluded(&self, path: &TreePath, is_directory: bool) -> bool {
        path.ancestors().any(|directory| self.excludes(directory, true)) || self.excludes(path.as_bytes(), is_directory)
    }

    /// Whether a path is left out, where the directories above it are known not to be.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        if path.is_empty() {
            return false;
        }
        let mut verdict = self.lists.iter().find_map(|list| list.verdict(path, is_directory));
        if verdict.is_none() && !self.files.is_empty() {
            let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            verdict = slashes
                .map(|at| (&path[..at], &path[at + 1..]))
                .chain([(&b""[..], path)])
                .find_map(|(directory, rest)| self.files.get(directory)?.verdict(rest, is_directory));
        }
        verdict == Some(Verdict::Exclude)
    }

    /// Takes in the `.gitignore` of a directory that is at `local`, where there is one and it counts. Like git, this
    /// passes over patterns that can match nothing, and over a symlink of that name.
    pub(super) fn enter(&mut self, directory: &TreePath, local: &Path) -> Result<(), FilterError> {
        if !self.honours_gitignore {
            return Ok(());
        }
        let path = local.join(".gitignore");
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(());
        }
        let text = fs::read(&path).map_err(|source| FilterError::Read { path: path.clone(), source })?;
        let patterns = lines(&text).filter_map(|(_, line)| Pattern::line(line).ok().flatten()).collect();
        let patterns = Patterns::new(patterns).map_err(|fault| at_line(&path, 1, b"", fault))?;
        self.files.insert(directory.as_bytes().into(), patterns);
        Ok(())
    }
}

impl FilterRule {
    fn fault(&self, fault: Fault) -> FilterError {
        match self {
            Self::Exclude(pattern) => {
                FilterError::Option { option: "--exclude", pattern: pattern.clone(), fault: fault.kind }
            }
            Self::Include(pattern) => {
                FilterError::Option { option: "--include", pattern: pattern.clone(), fault: fault.kind }
            }
            Self::ExcludeFrom(path) => at_line(path, 1, b"", fault),
        }
    }
}

/// Reads a file that was named: every line has to be right.
fn read_strictly(path: &Path) -> Result<Patterns, FilterError> {
    let text = fs::read(path).map_err(|source| FilterError::Read { path: path.into(), source })?;
    let patterns = lines(&text)
        .filter_map(|(number, line)| {
            Pattern::line(line).map_err(|fault| at_line(path, number, line, fault)).transpose()
        })
        .collect::<Result<_, _>>()?;
    Patterns::new(patterns).map_err(|fault| at_line(path, 1, b"", fault))
}

fn at_line(path: &Path, line: usize, text: &[u8], fault: Fault) -> FilterError {
    FilterError::Line { path: path.into(), line, column: fault.offset + 1, text: text.into(), fault: fault.kind }
}

/// The lines of a file with their numbers, without a byte order mark.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    (1..).zip(text.split(|byte| *byte == b'\n'))
}
