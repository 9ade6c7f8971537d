//! Names on the host: the temporary ones, and how something gets from there into its place.

use super::room::{Room, remove_room};
use crate::sftp::{Attributes as Wire, Sftp, SftpError, Status};
use crate::task::command::token;
use crate::task::transfer::Interrupted;
use crate::tree::temporary::{Role, Run, beside};
use crate::tree::{Attributes, ModeWanted, TreePath};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Paths on a host that may be there now.
pub(super) type Open = Arc<Mutex<HashSet<Vec<u8>>>>;

/// The temporary files of one host that may be there now.
pub(super) struct Places {
    run: Run,
    /// The number of the host in the run.
    host: usize,
    open: Open,
    rooms: Open,
    /// Those of earlier runs that were gone on with.
    adopted: Mutex<HashSet<Vec<u8>>>,
}

/// A temporary name beside a final one.
pub(super) struct Temporary {
    pub(super) path: Vec<u8>,
    place: Vec<u8>,
    open: Open,
}

impl Places {
    pub(super) fn new(run: Run, host: usize) -> Self {
        Self { run, host, open: Arc::default(), rooms: Arc::default(), adopted: Mutex::default() }
    }

    /// A name for what is to stand in this place. It counts as there from now on.
    pub(super) fn temporary(&self, place: &[u8]) -> Temporary {
        let (directory, name) = split(place);
        let path = [directory, &self.run.name_on_host(name, self.host)].concat();
        lock(&self.open).insert(path.clone());
        Temporary { path, place: place.to_vec(), open: Arc::clone(&self.open) }
    }

    /// A temporary name that an earlier run left, to go on with.
    pub(super) fn adopt(&self, path: &[u8], place: &[u8]) -> Temporary {
        lock(&self.open).insert(path.to_vec());
        lock(&self.adopted).insert(path.to_vec());
        Temporary { path: path.to_vec(), place: place.to_vec(), open: Arc::clone(&self.open) }
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

    /// Removes what may still be there and is not to be gone on with, as far as the server answers.
    pub(super) async fn clear(&self, sftp: &Sftp, interrupted: Interrupted) {
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

    /// Whether nothing is left behind.
    pub(super) fn is_clear(&self) -> bool {
        lock(&self.open).is_empty() && lock(&self.rooms).is_empty()
    }
}

impl Temporary {
    /// Keeps what is in its place under another name, which may replace an older one.
    pub(super) async fn back_up(&self, sftp: &Sftp, backup: &[u8]) -> Result<(), SftpError> {
        if !(sftp.features().hard_link && sftp.features().posix_rename) {
            return sftp.rename(&self.place, backup).await?.get().await;
        }
        // A second name for the old file, so that its place is never empty.
        let aside = beside(&self.path, Role::Backup);
        sftp.hard_link(&self.place, &aside).await?.get().await?;
        let renamed = sftp.posix_rename(&aside, backup).await?.get().await;
        if renamed.is_err() {
            let _ = sftp.remove(&aside).await?.get().await;
        }
        renamed
    }

    /// Puts it into its place, over what may be there.
    pub(super) async fn rename(&self, sftp: &Sftp, is_new: bool) -> Result<(), SftpError> {
        let renamed = match sftp.features().posix_rename {
            true => sftp.posix_rename(&self.path, &self.place).await?.get().await,
            false => self.rename_stepwise(sftp, is_new).await,
        };
        match renamed {
            Ok(()) => {
                lock(&self.open).remove(&self.path);
                Ok(())
            }
            Err(error @ SftpError::Refused(..)) => {
                self.remove(sftp).await;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Without posix-rename an existing target is an error in some servers and is replaced by others. The old file is
    /// kept under another name until the new one stands.
    async fn rename_stepwise(&self, sftp: &Sftp, is_new: bool) -> Result<(), SftpError> {
        match sftp.rename(&self.path, &self.place).await?.get().await {
            Err(SftpError::Refused(Status::Failure | Status::Other(_), _)) if !is_new => {}
            other => return other,
        }
        let aside = beside(&self.path, Role::Old);
        // Both are sent before the first is answered: its place is empty for no longer than the server takes.
        let emptied = sftp.rename(&self.place, &aside).await?;
        let filled = sftp.rename(&self.path, &self.place).await?;
        emptied.get().await?;
        match filled.get().await {
            Ok(()) => {
                // What is left of the old file is in nobody's way.
                let _ = sftp.remove(&aside).await?.get().await;
                Ok(())
            }
            Err(error) => {
                let _ = sftp.rename(&aside, &self.place).await?.get().await;
                Err(error)
            }
        }
    }

    /// What came of making it: where that was refused it is not there, or is not ours.
    pub(super) fn made<T>(&self, answer: Result<T, SftpError>) -> Result<T, SftpError> {
        if let Err(SftpError::Refused(..)) = answer {
            lock(&self.open).remove(&self.path);
        }
        answer
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

pub(super) fn lock(open: &Mutex<HashSet<Vec<u8>>>) -> MutexGuard<'_, HashSet<Vec<u8>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
