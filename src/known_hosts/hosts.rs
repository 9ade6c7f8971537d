//! All `known_hosts` files of a run as one index.
//!
//! The main type is [`KnownHosts`]. Exact names are found by hashing; patterns and hashed names are tried one by one,
//! since nothing but trying tells whom they mean. Keys come out in the order of the files and of their lines.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::document::split_lines;
use super::hmac::{Message, Salted};
use super::key::PublicKey;
use super::line::{Entry, Fault, Line, Malformed, Marker};
use super::lookup::{Finding, HostKeys, HostQuery, KnownKey};
use super::names::{HashedName, Names};
use super::trusted::{ReadError, read_trusted};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A line that could not be understood. `Display` is `file:line:column: fault`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}:{column}: {fault}")]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// Where in the line the trouble begins, in bytes, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub fault: Fault,
    /// The line itself, for showing.
    pub text: String,
}

struct Row {
    file: usize,
    line: usize,
    names: Names,
    statement: Statement,
}

enum Statement {
    Key { marker: Marker, key: PublicKey },
    Damage { marker: Option<Marker>, problem: usize },
}

/// What the files say. Share it in an `Arc`: looking up changes nothing.
#[derive(Default)]
pub struct KnownHosts {
    files: Vec<Arc<Path>>,
    rows: Vec<Row>,
    problems: Vec<Problem>,
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    patterns: Vec<usize>,
    hashed: Vec<HashedRow>,
    keys: OnceLock<HashMap<PublicKey, Vec<usize>>>,
}

struct HashedRow {
    row: usize,
    name: HashedName,
    salted: Salted,
    hash: [u8; 20],
}

impl KnownHosts {
    /// Reads the files in the order of their precedence: those of `UserKnownHostsFile`, then `GlobalKnownHostsFile`.
    /// A file that does not exist is an empty one.
    ///
    /// # Errors
    /// When a file cannot be read or others may write it; malformed lines are no error, see
    /// [`problems`](Self::problems).
    pub fn load<P: AsRef<Path>>(files: &[P]) -> Result<Self, ReadError> {
        let mut known = Self::default();
        for path in files {
            if let Some(text) = read_trusted(path.as_ref())? {
                known.add_text(path.as_ref().into(), &text);
            }
        }
        Ok(known.finished())
    }

    /// Takes the text of one file under the name that its places will show.
    pub fn from_text(path: impl Into<PathBuf>, text: &[u8]) -> Self {
        let mut known = Self::default();
        known.add_text(path.into(), text);
        known.finished()
    }

    /// Every line that could not be understood, in order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is known of a host.
    pub fn lookup(&self, query: &HostQuery) -> HostKeys {
        HostKeys {
            named: self.findings(&query.lookup_name()),
            bare: query.bare_name().map(|name| self.findings(&name)).unwrap_or_default(),
        }
    }

    /// Where else a key stands as some host's own, with the names as the file has them: the same key under another name
    /// is a clone, an alias or an address that moved.
    pub fn places_of(&self, key: &PublicKey) -> impl Iterator<Item = (Place, &Names)> {
        let keys = self.keys.get_or_init(|| {
            let mut keys: HashMap<PublicKey, Vec<usize>> = HashMap::new();
            for (index, row) in self.rows.iter().enumerate() {
                if let Statement::Key { marker: Marker::None, key } = &row.statement {
                    keys.entry(key.clone()).or_default().push(index);
                }
            }
            keys
        });
        keys.get(key).into_iter().flatten().map(|&index| (self.place(index), &self.rows[index].names))
    }

    fn add_text(&mut self, path: PathBuf, text: &[u8]) {
        let file = self.files.len();
        self.files.push(path.into());
        for (number, (_, bytes)) in (1..).zip(split_lines(text)) {
            match Line::parse(bytes) {
                Line::Comment | Line::Legacy => {}
                Line::Entry(Entry { marker, names, key }) => {
                    self.rows.push(Row { file, line: number, names, statement: Statement::Key { marker, key } });
                }
                Line::Malformed(Malformed { marker, names, fault, column }) => {
                    if let Some(names) = names {
                        let statement = Statement::Damage { marker, problem: self.problems.len() };
                        self.rows.push(Row { file, line: number, names, statement });
                    }
                    let place = Place { file: self.files[file].clone(), line: number };
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    self.problems.push(Problem { place, column, fault, text });
                }
            }
        }
    }

    fn finished(mut self) -> Self {
        for (index, row) in self.rows.iter().enumerate() {
            if let Some(names) = row.names.exact() {
                for name in names {
                    match self.exact.get_mut(name) {
                        Some(rows) if rows.last() == Some(&index) => {}
                        Some(rows) => rows.push(index),
                        None => {
                            self.exact.insert(name.into(), vec![index]);
                        }
                    }
                }
            } else if let Names::Hashed(name) = row.names {
                let (salted, hash) = name.prepared();
                self.hashed.push(HashedRow { row: index, name, salted, hash });
            } else {
                self.patterns.push(index);
            }
        }
        // Keys that were learnt together stand under one salt: side by side, they cost one HMAC.
        self.hashed.sort_by_key(|row| row.name);
        self
    }

    fn findings(&self, name: &str) -> Vec<Finding> {
        self.rows_of(name).into_iter().map(|row| self.finding(row)).collect()
    }

    fn rows_of(&self, name: &str) -> Vec<usize> {
        let mut rows = self.exact.get(name.as_bytes()).cloned().unwrap_or_default();
        rows.extend(self.patterns.iter().copied().filter(|&row| self.rows[row].names.matches(name)));
        let message = Message::new(name);
        for same_salt in self.hashed.chunk_by(|left, right| left.name.same_salt(&right.name)) {
            let hash = same_salt[0].salted.hash(&message);
            rows.extend(same_salt.iter().filter(|row| row.hash == hash).map(|row| row.row));
        }
        rows.sort_unstable();
        rows
    }

    /// The numbers of the lines that speak of a name (lower case, `host` or `[host]:port`), over all files.
    pub(crate) fn lines_of(&self, name: &str) -> Vec<usize> {
        self.rows_of(name).into_iter().map(|row| self.rows[row].line).collect()
    }

    /// Every name that stands somewhere as it is, in lower case.
    pub(crate) fn clear_names(&self) -> impl Iterator<Item = &[u8]> {
        self.exact.keys().map(|name| &**name)
    }

    fn finding(&self, row: usize) -> Finding {
        match &self.rows[row].statement {
            Statement::Key { marker, key } => {
                Finding::Key { marker: *marker, known: KnownKey { place: self.place(row), key: key.clone() } }
            }
            Statement::Damage { marker, problem } => {
                Finding::Damage { marker: *marker, problem: self.problems[*problem].clone() }
            }
        }
    }

    fn place(&self, row: usize) -> Place {
        let Row { file, line, .. } = self.rows[row];
        Place { file: self.files[file].clone(), line }
    }
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHosts")
            .field("files", &self.files)
            .field("keys", &self.rows.len())
            .field("problems", &self.problems.len())
            .finish_non_exhaustive()
    }
}
