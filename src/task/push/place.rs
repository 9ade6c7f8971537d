//! Names on the host: the temporary ones, which of them may be there now, and what is set on what has them.

use super::replace::settle;
use super::room::{Room, remove_room};
use crate::sftp::{Attributes as Wire, Sftp, SftpError, Status};
use crate::task::command::token;
use crate::task::transfer::Interrupted;
use crate::tree::temporary::{Role, Run, beside};
use crate::tree::{Attributes, ModeWanted, TreePath};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Paths on a host that may be there now.
pub(super) type Open = Arc<Mutex<HashSet<Vec<u8>>>>;

/// Old files that may be out of their places now: where they are, what they are there for, and where they belong.
pub(super) type Aside = Arc<Mutex<HashMap<Vec<u8>, (Role, Vec<u8>)>>>;

/// The temporary files of one host that may be there now.
pub(super) struct Places {
    run: Run,
    /// The number of the host in the run.
    host: usize,
    open: Open,
    aside: Aside,
    rooms: Open,
    /// Those of earlier runs that were gone on with.
    adopted: Mutex<HashSet<Vec<u8>>>,
}

/// A temporary name beside a final one.
pub(super) struct Temporary {
    pub(super) path: Vec<u8>,
    pub(super) place: Vec<u8>,
    open: Open,
    pub(super) aside: Aside,
}

impl Places {
    pub(super) fn new(run: Run, host: usize) -> Self {
        let (open, aside, rooms) = (Arc::default(), Arc::default(), Arc::default());
        Self { run, host, open, aside, rooms, adopted: Mutex::default() }
    }

    /// A name for what is to stand in this place. It counts as there from now on.
    pub(super) fn temporary(&self, place: &[u8]) -> Temporary {
        let (directory, name) = split(place);
        let path = [directory, &self.run.name_on_host(name, self.host)].concat();
        self.counted(path, place)
    }

    /// A temporary name that an earlier run left, to go on with.
    pub(super) fn adopt(&self, path: &[u8], place: &[u8]) -> Temporary {
        lock(&self.adopted).insert(path.to_vec());
        self.counted(path.to_vec(), place)
    }

    fn counted(&self, path: Vec<u8>, place: &[u8]) -> Temporary {
        lock(&self.open).insert(path.clone());
        Temporary { path, place: place.to_vec(), open: Arc::clone(&self.open), aside: Arc::clone(&self.aside) }
    }

    /// A name beside this place for a file that is there for a moment only.
    pub(super) fn probe(&self, place: &[u8]) -> Temporary {
        // No file can have this name, so the tag is nobody else's.
        self.temporary(&[split(place).0, b"\0"].concat())
    }

    /// A temporary directory beside this place. It counts as there from now on.
    pub(super) fn room(&self, place: &[u8]) -> Room {
        // No file can have this name either.
        let name = self.run.name_on_host(format!("\0{}", token()).as_bytes(), self.host);
        let path = [split(place).0, &name].concat();
        lock(&self.rooms).insert(path.clone());
        Room::new(path, Arc::clone(&self.rooms))
    }

    /// Whether this temporary file of an earlier run was gone on with.
    pub(super) fn has_used(&self, path: &[u8]) -> bool {
        lock(&self.adopted).contains(path)
    }

    /// Brings back what may be out of its place, and removes what may still be there and is not to be gone on with, as far
    /// as the server answers.
    pub(super) async fn clear(&self, sftp: &Sftp, interrupted: Interrupted) {
        let asides: Vec<_> = lock(&self.aside).iter().map(|(path, is)| (path.clone(), is.clone())).collect();
        for (path, (role, place)) in asides {
            if settle(sftp, &path, role, &place).await.is_ok() {
                lock(&self.aside).remove(&path);
            }
        }
        let rooms: Vec<Vec<u8>> = lock(&self.rooms).iter().cloned().collect();
        for room in rooms {
            if remove_room(sftp, &room).await.is_ok() {
                lock(&self.rooms).remove(&room);
            }
        }
        if interrupted == Interrupted::Keep {
            return;
        }
        let paths: Vec<Vec<u8>> = lock(&self.open).iter().cloned().collect();
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            // The next run removes what is left.
            let Ok(answer) = sftp.remove(&path).await else { return };
            answers.push((path, answer));
        }
        for (path, answer) in answers {
            if matches!(answer.get().await, Ok(()) | Err(SftpError::Refused(Status::NoSuchFile, _))) {
                lock(&self.open).remove(&path);
            }
        }
    }

    /// The old files that may be out of their places now: where they are, and where they belong.
    pub(super) fn asides(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        lock(&self.aside).iter().map(|(path, (_, place))| (path.clone(), place.clone())).collect()
    }

    /// Whether nothing is left behind.
    pub(super) fn is_clear(&self) -> bool {
        lock(&self.open).is_empty() && lock(&self.rooms).is_empty() && lock(&self.aside).is_empty()
    }
}

impl Temporary {
    /// Another temporary name beside it, which counts as there from now on; what has it is to stand in this place.
    pub(super) fn beside(&self, role: Role, place: Vec<u8>) -> Self {
        let path = beside(&self.path, role);
        lock(&self.open).insert(path.clone());
        Self { path, place, open: Arc::clone(&self.open), aside: Arc::clone(&self.aside) }
    }

    /// What came of making it: where that was refused it is not there, or is not ours.
    pub(super) fn made<T>(&self, answer: Result<T, SftpError>) -> Result<T, SftpError> {
        if let Err(SftpError::Refused(..)) = answer {
            lock(&self.open).remove(&self.path);
        }
        answer
    }

    /// It stands in its place, and is no temporary one any more.
    pub(super) fn placed(&self) {
        lock(&self.open).remove(&self.path);
    }

    /// Removes it, where it is there.
    pub(super) async fn remove(&self, sftp: &Sftp) {
        let Ok(answer) = sftp.remove(&self.path).await else { return };
        if matches!(answer.get().await, Ok(()) | Err(SftpError::Refused(Status::NoSuchFile, _))) {
            lock(&self.open).remove(&self.path);
        }
    }
}

/// The directory with its slash, and the name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1))
}

/// The directory that a path on the host is in, as something to ask about.
pub(super) fn directory_of<'a>(parent: &'a [u8], path: &TreePath) -> &'a [u8] {
    if !path.is_root() {
        return parent;
    }
    match split(parent).0 {
        b"" => b".",
        directory => directory,
    }
}

/// Whether an owner without a group is wanted, or a group without an owner.
pub(super) fn wants_half(attributes: &Attributes) -> bool {
    attributes.owner.is_some() != attributes.group.is_some()
}

/// SFTP sets owner and group together: the one that is not asked for stays what it is.
pub(super) fn with_both(attributes: &Attributes, found: &Wire) -> Attributes {
    let (owner, group) = found.owner.unzip();
    Attributes { owner: attributes.owner.or(owner), group: attributes.group.or(group), ..*attributes }
}

/// What a plan wants, as the protocol says it.
pub(super) fn attributes_to_set(attributes: &Attributes, umask: impl Fn() -> u32) -> Wire {
    // Seconds from 1970 to 2106 are what the protocol has.
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    let times = match (attributes.atime, attributes.mtime) {
        (_, None) => None,
        (accessed, Some(modified)) => Some((seconds(accessed.unwrap_or(modified)), seconds(modified))),
    };
    Wire {
        size: None,
        owner: attributes.owner.zip(attributes.group),
        mode: attributes.mode.map(|mode| match mode {
            ModeWanted::Exact(bits) => bits & 0o7777,
            ModeWanted::Masked(bits) => bits & 0o777 & !umask(),
        }),
        times,
    }
}

pub(super) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
