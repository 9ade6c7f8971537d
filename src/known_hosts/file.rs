//! The two ways into a `known_hosts` file: [`append`] keys, or [`rewrite`] the text.
//!
//! Both hold an exclusive flock(2) on the file itself while they read, decide and write, so that any number of bugle
//! processes and threads may write at once; OpenSSH takes no lock, but appends in one piece as well. Waiting for the
//! lock blocks the calling thread.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::NameStyle;
use super::document::Document;
use super::hosts::KnownHosts;
use super::key::PublicKey;
use super::lookup::{HostQuery, RecordError, Verdict};
use super::names::HashedName;
use super::trusted::{ReadError, read_open};

/// Keys to record for one host.
#[derive(Clone, Debug)]
pub struct Addition {
    name: String,
    query: HostQuery,
    keys: Vec<PublicKey>,
}

impl Addition {
    /// Takes a host with its keys.
    ///
    /// # Errors
    /// When the name cannot stand in a file, see [`HostQuery::record_name`].
    pub fn new(query: HostQuery, keys: Vec<PublicKey>) -> Result<Self, RecordError> {
        Ok(Self { name: query.record_name()?, query, keys })
    }
}

/// What became of the keys handed to [`append`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many keys were written.
    pub written: usize,
    /// How many stood there already.
    pub present: usize,
    /// Keys that were not written because they contradict what is there.
    pub conflicts: Vec<Conflict>,
}

/// A key that is not written: since the host was looked up, somebody recorded another key of the same type for it, or
/// revoked this one, or left a line for it that cannot be understood. Looking the host up anew tells which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The host as lines have it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// What [`rewrite`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// The text stayed the same: no file was touched.
    Unchanged,
    /// The file is new; the former one stands beside it.
    Replaced {
        /// The former file, `NAME.old`; `None` where it was empty.
        backup: Option<PathBuf>,
    },
}

/// Records the keys of any number of hosts in one write, behind everything that is there. A missing file is created with
/// mode 0600, its missing directory with 0700. What is there stays byte for byte; where the last line has no line feed,
/// it gets one first. A failed write leaves the file as it was.
///
/// # Errors
/// When the file may not be trusted, locked or written.
pub fn append(path: &Path, additions: &[Addition], style: NameStyle) -> Result<Appended, WriteError> {
    let failed = |source| WriteError::Write { path: path.into(), source };
    create_directory(path)?;
    let mut options = OpenOptions::new();
    let file = open_locked(path, options.read(true).append(true).create(true).mode(0o600))?;
    if file.metadata().map_err(failed)?.file_type().is_char_device() {
        return Ok(Appended {
            written: additions.iter().map(|addition| addition.keys.len()).sum(),
            ..Default::default()
        });
    }
    let text = read_open(path, &file)?;
    let known = KnownHosts::from_text(path, &text);
    let mut news = Vec::new();
    if text.last().is_some_and(|&byte| byte != b'\n') {
        news.push(b'\n');
    }
    let outcome = compose(additions, &known, style, &mut news)?;
    if outcome.written > 0 {
        append_whole(&file, &news, text.len() as u64).map_err(failed)?;
    }
    Ok(outcome)
}

/// Adds the lines for what is neither known nor contradicted.
fn compose(
    additions: &[Addition],
    known: &KnownHosts,
    style: NameStyle,
    lines: &mut Vec<u8>,
) -> Result<Appended, WriteError> {
    let mut outcome = Appended::default();
    let mut recorded: HashMap<(&str, &str), (usize, Vec<&PublicKey>)> = HashMap::new();
    for (index, addition) in additions.iter().enumerate() {
        let host = known.lookup(&HostQuery { port: 22, alias: Some(addition.name.clone()), ..addition.query.clone() });
        let mut written_name = None;
        for key in &addition.keys {
            let (first, batch) = recorded.entry((&addition.name, key.algorithm())).or_insert((index, Vec::new()));
            let contradicted = match host.check(key) {
                Verdict::Known { .. } => {
                    outcome.present += 1;
                    continue;
                }
                Verdict::Unknown => false,
                Verdict::Changed { known } => known.iter().any(|known| known.key.algorithm() == key.algorithm()),
                Verdict::Revoked { .. } | Verdict::Damaged { .. } => true,
            };
            if batch.contains(&key) {
                outcome.present += 1;
            } else if contradicted || *first != index && !batch.is_empty() {
                outcome.conflicts.push(Conflict { name: addition.name.clone(), key: key.clone() });
            } else {
                batch.push(key);
                outcome.written += 1;
                let name = match written_name.take() {
                    Some(name) => name,
                    None => styled(&addition.name, style)?,
                };
                lines.extend_from_slice(format!("{name} {key}\n").as_bytes());
                written_name = Some(name);
            }
        }
    }
    Ok(outcome)
}

pub(super) fn styled(name: &str, style: NameStyle) -> Result<String, WriteError> {
    match style {
        NameStyle::Clear => Ok(name.into()),
        NameStyle::Hashed => Ok(HashedName::new(name, fresh_salt()?).to_string()),
    }
}

fn fresh_salt() -> Result<[u8; 20], WriteError> {
    let mut salt = [0; 20];
    getrandom::fill(&mut salt).map_err(|error| WriteError::Random { source: error.into() })?;
    Ok(salt)
}

/// One write(2); when it comes to a halt half way, the file gets its former length back.
fn append_whole(mut file: &File, bytes: &[u8], length: u64) -> io::Result<()> {
    let result = match file.write(bytes) {
        Ok(written) if written == bytes.len() => file.sync_data(),
        Ok(_) => Err(io::Error::new(io::ErrorKind::StorageFull, "only a part could be written")),
        Err(error) => Err(error),
    };
    if result.is_err() {
        file.set_len(length)?;
    }
    result
}

/// Replaces the text of a file by what `edit` makes of it: a temporary file beside it, synced, takes its place, and the
/// former file stays as `NAME.old`, as with `ssh-keygen -R` and `-H`. A symbolic link keeps pointing to the file.
///
/// # Errors
/// When there is no such file, or it may not be trusted, locked or written; the file then is as it was.
pub fn rewrite(path: &Path, edit: impl FnOnce(&Document) -> Vec<u8>) -> Result<Rewritten, WriteError> {
    let failed = |source| WriteError::Write { path: path.into(), source };
    let path = &fs::canonicalize(path).map_err(|source| ReadError::Unreadable { path: path.into(), source })?;
    let mut options = OpenOptions::new();
    let file = open_locked(path, options.read(true).append(true))?;
    let document = Document::parse(read_open(path, &file)?);
    let text = edit(&document);
    if text == document.as_bytes() {
        return Ok(Rewritten::Unchanged);
    }
    let mode = file.metadata().map_err(failed)?.mode() & 0o644;
    let backup = replace(path, &text, mode, document.as_bytes()).map_err(failed)?;
    Ok(Rewritten::Replaced { backup })
}

/// The backup is a copy, since not every file system has hard links, and takes the place of an older one when it is whole.
fn replace(path: &Path, text: &[u8], mode: u32, former: &[u8]) -> io::Result<Option<PathBuf>> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let draft = |text| -> io::Result<NamedTempFile> {
        let mut temporary = NamedTempFile::new_in(directory)?;
        temporary.write_all(text)?;
        temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
        temporary.as_file().sync_all()?;
        Ok(temporary)
    };
    let fresh = draft(text)?;
    let backup = (!former.is_empty()).then(|| {
        let mut backup = OsString::from(path);
        backup.push(".old");
        PathBuf::from(backup)
    });
    if let Some(backup) = &backup {
        draft(former)?.persist(backup)?;
    }
    fresh.persist(path)?;
    File::open(directory)?.sync_all()?;
    Ok(backup)
}

/// Opens and locks. Somebody who rewrote the file meanwhile put another one in its place: then that one is taken.
fn open_locked(path: &Path, options: &mut OpenOptions) -> Result<File, WriteError> {
    let failed = |source| WriteError::Lock { path: path.into(), source };
    loop {
        let file = options.open(path).map_err(|source| WriteError::Write { path: path.into(), source })?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        let held = file.metadata().map_err(failed)?;
        match fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

fn create_directory(path: &Path) -> Result<(), WriteError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !directory.is_dir() => {
            Err(WriteError::Directory { path: directory.into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What is there is not believed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The directory for it cannot be made.
    #[error("cannot create the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No exclusive access.
    #[error("cannot lock `{}`", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The text did not get there.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No random numbers for hashing names.
    #[error("the system gives no random numbers")]
    Random {
        /// What the system says.
        source: io::Error,
    },
}
