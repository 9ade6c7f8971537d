//! What broken runs left on a host: [`Leftover`], the finding of it, and what becomes of it ([`Clearing`]).

use super::backup::backup_of;
use super::place::split;
use super::replace::{Settled, settle};
use super::room::remove_room;
use super::survey::{Survey, found};
use crate::sftp::{Attributes, FileKind, Name, Sftp, SftpError};
use crate::task::trouble::Trouble;
use crate::tree::run_lock::{RunLock, RunState};
use crate::tree::temporary::{Role, Tag, Temporary, recognise};
use crate::tree::{Kind, Placement, Tree, TreePath};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names that are looked through for temporary files beside a single file.
const MOST_NAMES: usize = 20_000;
/// Temporary files of runs that nobody here knows are removed when they are this old, in seconds.
const OLD: u64 = 24 * 60 * 60;
/// Old files that are brought back at once.
const AT_ONCE: usize = 64;

/// A temporary file on the host.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    /// Whose it is, and what it was to become.
    pub(super) temporary: Temporary,
    /// Its path on the host.
    pub(super) path: Vec<u8>,
    /// What it is.
    attributes: Attributes,
}

impl Leftover {
    pub(super) fn new(temporary: Temporary, path: Vec<u8>, attributes: &Attributes) -> Self {
        Self { temporary, path, attributes: *attributes }
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.attributes.size.unwrap_or_default()
    }

    /// Whether it is a directory of those that files are unpacked in.
    fn is_directory(&self) -> bool {
        self.attributes.kind() == Some(FileKind::Directory)
    }

    /// Whether it was to become what has this place, or is the old file from there.
    pub(super) fn belongs_to(&self, place: &[u8]) -> bool {
        (directory(&self.path), self.temporary.tag) == key(place)
    }
}

/// What a place and its temporary files have in common.
fn key(place: &[u8]) -> (&[u8], Tag) {
    (directory(place), Tag::of(split(place).1))
}

/// The directory of a path, as it is called in all paths to it.
fn directory(path: &[u8]) -> &[u8] {
    let directory = split(path).0;
    directory.strip_prefix(b"./").unwrap_or(directory)
}

/// The temporary files in a directory that is not looked at otherwise: a file is pushed into it.
pub(super) async fn leftovers_in(sftp: &Sftp, directory: &[u8]) -> Result<Vec<Leftover>, SftpError> {
    let mut listing = match sftp.list(if directory.is_empty() { b"." } else { directory }).await {
        Ok(listing) => listing,
        // Where files may be made but not listed, nothing can be cleared up.
        Err(SftpError::Refused(..)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some(names) = listing.next().await? {
        seen += names.len();
        for Name { name, attributes } in names {
            if let Some(temporary) = recognise(&name) {
                let slash: &[u8] = if directory.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
                found.push(Leftover::new(temporary, [directory, slash, &name[..]].concat(), &attributes));
            }
        }
        if seen > MOST_NAMES {
            break;
        }
    }
    // Nothing depends on what the server says of its handle.
    let _ = listing.close().await;
    Ok(found)
}

/// What became of old files that were put aside.
pub(super) struct Restored {
    /// The places of those that were brought back.
    pub(super) back: Vec<Vec<u8>>,
    /// Where those are whose places are filled, and which cannot get their other names since the sources have these.
    pub(super) unnamed: Vec<Vec<u8>>,
}

/// Clears up on one host behind runs that are no more.
pub(super) struct Clearing<'a> {
    pub(super) sftp: &'a Sftp,
    pub(super) lock: &'a RunLock,
}

impl Clearing<'_> {
    /// Whether somebody may be at work on it.
    pub(super) fn is_at_work(&self, left: &Leftover) -> bool {
        self.lock.state_of(left.temporary.run) == RunState::Alive
    }

    fn is_left(&self, left: &Leftover) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        match self.lock.state_of(left.temporary.run) {
            RunState::Dead => true,
            RunState::Unknown => left.attributes.times.is_some_and(|(_, modified)| u64::from(modified) + OLD < now),
            RunState::Alive => false,
        }
    }

    /// Removes what is nobody's. What was put aside may be the only copy, and stays.
    pub(super) async fn remove(&self, found: &[Leftover]) -> Result<(), Trouble> {
        let (mut answers, mut rooms) = (Vec::new(), Vec::new());
        for left in found.iter().filter(|left| !left.temporary.role.is_aside() && self.is_left(left)) {
            match left.is_directory() {
                true => rooms.push(&left.path),
                false => answers.push(self.sftp.remove(&left.path).await?),
            }
        }
        for answer in answers {
            // Whoever may not remove it is not kept from pushing.
            let _ = answer.get().await;
        }
        for room in rooms {
            match remove_room(self.sftp, room).await {
                Ok(()) | Err(SftpError::Refused(..)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Brings old files that were put aside back to their places; those whose places are filled again go, or get the names
    /// under which they are kept. What none of the entries is called stays as it is.
    pub(super) async fn restore(&self, tree: &Tree, surveyed: &Survey) -> Result<Restored, Trouble> {
        let Survey { placement, observed, temporaries, .. } = surveyed;
        let asides = self.asides(tree, placement, temporaries);
        let (mut settling, mut unnamed) = (Vec::new(), Vec::new());
        let entries = tree.entries.iter().filter(|_| !asides.is_empty());
        let brought: HashSet<_> = entries.map(|entry| placement.path(entry)).collect();
        for (left, place) in asides {
            let is_kept = left.temporary.role == Role::Kept && observed.contains_key(&place);
            match is_kept && brought.contains(&TreePath::from_bytes(backup_of(place.as_bytes()))) {
                true => unnamed.push(left.path.clone()),
                false => settling.push(self.bring_back(left, placement.remote(&place))),
            }
        }
        let settled: Vec<_> = stream::iter(settling).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Restored { back: settled.into_iter().flatten().collect(), unnamed })
    }

    /// Its place, where it is back there.
    async fn bring_back(&self, left: &Leftover, place: Vec<u8>) -> Result<Option<Vec<u8>>, SftpError> {
        let settled = settle(self.sftp, &left.path, left.temporary.role, &place).await?;
        Ok((settled == Settled::Back).then_some(place))
    }

    /// What would be found if old files that were put aside were brought back, and their places.
    pub(super) fn foresee(&self, tree: &Tree, surveyed: &mut Survey) -> Vec<Vec<u8>> {
        let Survey { placement, observed, temporaries, .. } = surveyed;
        let mut places = Vec::new();
        for (left, place) in self.asides(tree, placement, temporaries) {
            let remote = placement.remote(&place);
            observed.entry(place).or_insert_with(|| {
                places.push(remote);
                found(&left.attributes)
            });
        }
        places
    }

    /// The old files that were put aside by nobody who is still at work, and the places that they are from.
    fn asides<'a>(&self, tree: &Tree, placement: &Placement, found: &'a [Leftover]) -> Vec<(&'a Leftover, TreePath)> {
        // An old file keeps its own time, which says nothing about the run.
        let is_aside = |left: &&Leftover| left.temporary.role.is_aside() && !self.is_at_work(left);
        let aside: Vec<&Leftover> = found.iter().filter(is_aside).collect();
        if aside.is_empty() {
            return Vec::new();
        }
        let entries = tree.entries.iter().filter(|entry| entry.kind != Kind::Directory);
        let places: Vec<_> =
            entries.map(|entry| placement.path(entry)).map(|path| (placement.remote(&path), path)).collect();
        let places: HashMap<(&[u8], Tag), &TreePath> =
            places.iter().map(|(remote, path)| (key(remote), &**path)).collect();
        let place = |left: &Leftover| places.get(&(directory(&left.path), left.temporary.tag)).copied().cloned();
        aside.into_iter().filter_map(|left| Some((left, place(left)?))).collect()
    }
}
