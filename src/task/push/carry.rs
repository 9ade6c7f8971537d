//! A plan carried out on one host. What cannot be done is told and does not stop the rest; nothing that stands on the host
//! is touched before what replaces it is whole.

use super::backup::Backup;
use super::compare::Comparison;
use super::content::Contents;
use super::delta::Delta;
use super::leftovers::Leftover;
use super::pace::Pace;
use super::place::{Places, attributes_to_set, lock, wants_half, with_both};
use super::pour::Pour;
use super::send::SendError;
use super::stream::{Sorted, Via};
use crate::connection::Connection;
use crate::sftp::{Attributes as Wire, Sftp, SftpError, Window};
use crate::task::lanes::Lanes;
use crate::task::privilege::Privilege;
use crate::task::teller::Teller;
use crate::task::trouble::Trouble;
use crate::tree::{Attributes, Kind, ModeWanted, Obstacle, Placement, Plan, Step, Tree, TreePath, Why};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Files that are under way at once; each has a handle open for a part of that time.
pub(super) const FILES: usize = 256;

/// What carrying a plan out needs.
pub(super) struct Carrier<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) privilege: Option<&'a Privilege>,
    pub(super) sftp: &'a Sftp,
    pub(super) tree: &'a Tree,
    pub(super) placement: &'a Placement,
    pub(super) contents: &'a Arc<Contents>,
    pub(super) window: &'a Arc<Window>,
    pub(super) places: &'a Places,
    pub(super) teller: &'a Teller<'a>,
    pub(super) comparison: &'a Comparison<'a>,
    pub(super) manner: Manner<'a>,
    /// The bits that a new file does not get on this host.
    pub(super) umask: OnceCell<u32>,
    pub(super) pour: Pour,
    /// Files that could not be sent: what stands in their places is no file to make a hard link of.
    pub(super) unsent: Mutex<HashSet<usize>>,
}

/// How files are sent.
pub(super) struct Manner<'a> {
    /// `--limit-rate`
    pub(super) pace: Option<&'a Pace>,
    /// `--backup`
    pub(super) backup: Backup,
    /// More ways to the host, where they may be used.
    pub(super) lanes: Option<&'a Lanes<'a>>,
    /// What shows that a file arrived.
    pub(super) proof: Proof,
    /// `--via`
    pub(super) via: Via,
    /// Hosts that are pushed to at the same time.
    pub(super) hosts_at_once: usize,
    /// Whether the destination was a symlink to a directory when it was looked at.
    pub(super) is_destination_link: bool,
    /// What broken runs left behind and may be gone on with (`--resume`).
    pub(super) leftovers: Vec<Leftover>,
    /// What sending changes only needs, where that is wanted.
    pub(super) delta: Option<Delta<'a>>,
}

/// What shows that a file arrived, before it gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its length.
    Length,
    /// Its length, and its SHA-256 as the host computes it (`--checksum`).
    Content,
}

/// Why an entry could not be brought to its place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error("{0}")]
    Words(String),
    #[error("{0:?}")]
    Trouble(Trouble),
}

impl Fault {
    /// The session's end is no matter of one entry.
    pub(super) fn ends_all(&self) -> Option<SftpError> {
        match self {
            Self::Send(SendError::Sftp(error)) | Self::Sftp(error) => match error {
                SftpError::Refused(..) => None,
                other => Some(other.clone()),
            },
            Self::Trouble(Trouble::Session(error)) => Some(error.clone()),
            Self::Send(SendError::Content(_)) | Self::Words(_) | Self::Trouble(_) => None,
        }
    }
}

impl Carrier<'_> {
    /// Does every step. An error ends the host; what fails by itself is told to the teller.
    pub(super) async fn carry(&self, plan: &Plan) -> Result<(), Trouble> {
        let mut lost_directories = HashSet::new();
        let mut sorted = self.sorted(plan);
        let mut steps = &plan.steps[..];
        while let Some(first) = steps.first() {
            let kind = stage(first);
            let count = steps.iter().take_while(|step| stage(step) == kind).count();
            let (now, later) = steps.split_at(count);
            match kind {
                Stage::Directories => {
                    let directories = self.directories(now, &mut lost_directories);
                    futures::join!(directories, Box::pin(self.rooms(&mut sorted.streams))).0?;
                }
                Stage::Deletions if self.teller.has_failed() || !self.leads_where_it_led(now).await? => {
                    self.teller.withheld(now.len());
                }
                // A directory has to be empty before it is removed, and attributes of a directory come after its contents'.
                Stage::Deletions | Stage::Attributes => {
                    for level in self.levels(now).chunk_by(|left, right| left.0 == right.0).rev() {
                        let steps: Vec<&Step> = level.iter().map(|(_, step)| *step).collect();
                        self.each(&steps, FILES, &lost_directories).await?;
                    }
                }
                Stage::Contents => self.contents(std::mem::take(&mut sorted), &lost_directories).await?,
                Stage::HardLinks => self.files(&now.iter().collect::<Vec<_>>(), &lost_directories).await?,
            }
            steps = later;
        }
        Ok(())
    }

    /// Sends many small files as streams and everything else file by file, at the same time.
    async fn contents(&self, sorted: Sorted<'_>, lost: &HashSet<TreePath>) -> Result<(), Trouble> {
        let Sorted { streams, others } = sorted;
        // In a box, so that a unit that has nothing to stream is small.
        let streamed = Box::pin(self.streams(streams, lost));
        let (streamed, sent) = futures::join!(streamed, self.files(&others, lost));
        sent?;
        self.files(&streamed?, lost).await
    }

    /// Does steps for which a file is open for a while.
    async fn files(&self, steps: &[&Step], lost: &HashSet<TreePath>) -> Result<(), Trouble> {
        if steps.is_empty() {
            return Ok(());
        }
        self.each(steps, FILES.min(self.comparison.spare.rest().await?), lost).await
    }

    /// Steps with their depths, the highest first: those of a level do not wait for each other.
    fn levels<'step>(&self, steps: &'step [Step]) -> Vec<(usize, &'step Step)> {
        let mut steps: Vec<_> = steps.iter().map(|step| (self.path(step).depth(), step)).collect();
        steps.sort_by_key(|(depth, _)| *depth);
        steps
    }

    /// Makes directories, a level at a time.
    async fn directories(&self, steps: &[Step], lost: &mut HashSet<TreePath>) -> Result<(), Trouble> {
        for level in self.levels(steps).chunk_by(|left, right| left.0 == right.0) {
            let mut answers = Vec::with_capacity(level.len());
            for (_, step) in level {
                let (Step::MakeDirectory { attributes, .. }, path) = (step, self.path(step)) else { continue };
                if path.parent().is_some_and(|parent| lost.contains(&parent)) {
                    lost.insert(path);
                    continue;
                }
                let mode = attributes.mode.map(|mode| 0o700 | bits(mode));
                let asked = Wire { mode, ..Wire::default() };
                let answer = self.sftp.make_dir(&self.placement.remote(&path), &asked).await?;
                answers.push((path, answer));
            }
            for (path, answer) in answers {
                match answer.get().await {
                    Ok(()) => self.teller.changed(),
                    Err(error @ SftpError::Refused(..)) => {
                        let remote = self.placement.remote(&path);
                        let why = self.reason(&error.into(), &path, 0).await;
                        self.teller.failed(&remote, &format!("cannot make the directory: {why}")).await;
                        lost.insert(path);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn each(&self, steps: &[&Step], at_once: usize, lost: &HashSet<TreePath>) -> Result<(), Trouble> {
        let (missing, possible): (Vec<&Step>, Vec<&Step>) =
            steps.iter().copied().partition(|step| self.is_lost(step, lost));
        self.teller.missing(missing.len());
        let mut waiting = possible.into_iter();
        let mut doing: FuturesUnordered<_> =
            waiting.by_ref().take(at_once.max(1)).map(|step| self.tried(step)).collect();
        while let Some((step, result)) = doing.next().await {
            doing.extend(waiting.next().map(|step| self.tried(step)));
            match result {
                Ok(()) => self.done(step),
                Err(fault) => match fault.ends_all() {
                    Some(error) => return Err(error.into()),
                    None => {
                        let path = self.path(step);
                        let reason = self.reason(&fault, &path, self.size_of(step)).await;
                        self.teller.failed(&self.placement.remote(&path), &reason).await;
                        if let Step::Send { entry, .. } = step {
                            lock(&self.unsent).insert(*entry);
                        }
                    }
                },
            }
        }
        Ok(())
    }

    pub(super) fn done(&self, step: &Step) {
        match step {
            Step::Delete { .. } => self.teller.removed(),
            // A directory that only had to wait for its contents.
            Step::SetAttributes { changes, .. } if changes.is_empty() => {}
            _ => self.teller.changed(),
        }
    }

    async fn tried<'step>(&self, step: &'step Step) -> (&'step Step, Result<(), Fault>) {
        (step, self.step(step).await)
    }

    async fn step(&self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::MakeDirectory { .. } => Ok(()),
            Step::Send { entry, attributes, why } => self.send_file(*entry, attributes, why).await,
            Step::MakeSymlink { entry, why, attributes } => self.make_symlink(*entry, why, attributes).await,
            Step::HardLink { entry, of, why } => self.hard_link(*entry, *of, why).await,
            Step::SetAttributes { attributes, .. } => {
                let path = self.placement.remote(&self.path(step));
                let mut attributes = self.owned(&path, attributes).await?;
                if let Some(ModeWanted::Masked(bits)) = attributes.mode {
                    // It was made with these bits and more, less the umask.
                    let made = self.sftp.lstat(&path).await?.get().await?.mode;
                    attributes.mode = made.map(|mode| ModeWanted::Exact(mode & bits));
                }
                self.set(&path, &attributes_to_set(&attributes, || self.umask_known())).await
            }
            Step::Delete { path, is_directory } => {
                let remote = self.placement.remote(path);
                let removed = match is_directory {
                    true => self.sftp.remove_dir(&remote).await?,
                    false => self.sftp.remove(&remote).await?,
                };
                Ok(removed.get().await?)
            }
        }
    }

    async fn make_symlink(&self, entry: usize, why: &Why, attributes: &Attributes) -> Result<(), Fault> {
        let Kind::Symlink { target } = &self.tree.entries[entry].kind else { return Ok(()) };
        let path = self.placement.remote(&self.path_of(entry));
        if matches!(why, Why::New) {
            self.sftp.symlink(target, &path).await?.get().await?;
        } else {
            let temporary = self.places.temporary(&path);
            temporary.made(self.sftp.symlink(target, &temporary.path).await?.get().await)?;
            self.put_in_place(entry, &temporary, why).await?;
        }
        let attributes = self.owned(&path, attributes).await?;
        let wire = Wire { mode: None, ..attributes_to_set(&attributes, || 0) };
        if self.sftp.features().lsetstat && wire != Wire::default() {
            // A symlink's own owner and time are a nicety that some file systems do not have.
            let _ = self.sftp.lsetstat(&path, &wire).await?.get().await;
        }
        Ok(())
    }

    async fn hard_link(&self, entry: usize, of: usize, why: &Why) -> Result<(), Fault> {
        if lock(&self.unsent).contains(&of) {
            return Err(Fault::Words(Obstacle::LinkedFile.to_string()));
        }
        let existing = self.placement.remote(&self.path_of(of));
        let path = self.placement.remote(&self.path_of(entry));
        if !self.sftp.features().hard_link {
            // A second file is to have what the first has by now.
            let first = self.sftp.lstat(&existing).await?.get().await?;
            let attributes = Attributes {
                mode: first.mode.map(ModeWanted::Exact),
                owner: first.owner.map(|(user, _)| user),
                group: first.owner.map(|(_, group)| group),
                mtime: Some(self.tree.entries[of].mtime),
                atime: None,
            };
            return self.send_file(entry, &attributes, why).await;
        }
        if matches!(why, Why::New) {
            return Ok(self.sftp.hard_link(&existing, &path).await?.get().await?);
        }
        let temporary = self.places.temporary(&path);
        temporary.made(self.sftp.hard_link(&existing, &temporary.path).await?.get().await)?;
        let put = self.put_in_place(entry, &temporary, why).await;
        // rename(2) does nothing where both are names of one file.
        temporary.remove(self.sftp).await;
        put
    }

    /// What is wanted of something that stands there, with both its owner and its group or neither.
    async fn owned(&self, path: &[u8], attributes: &Attributes) -> Result<Attributes, Fault> {
        if !wants_half(attributes) {
            return Ok(*attributes);
        }
        Ok(with_both(attributes, &self.sftp.lstat(path).await?.get().await?))
    }

    async fn set(&self, path: &[u8], wire: &Wire) -> Result<(), Fault> {
        let owner = Wire { owner: wire.owner, ..Wire::default() };
        let rest = Wire { owner: None, ..*wire };
        for wire in [owner, rest] {
            if wire == Wire::default() {
                continue;
            }
            let answer = match self.sftp.features().lsetstat {
                true => self.sftp.lsetstat(path, &wire).await?,
                false => self.sftp.setstat(path, &wire).await?,
            };
            answer.get().await?;
        }
        Ok(())
    }

    /// SFTP has one word for a full disk and all that it has no word for; so the file system is asked.
    pub(super) async fn reason(&self, fault: &Fault, path: &TreePath, size: u64) -> String {
        let is_vague = matches!(
            fault,
            Fault::Send(SendError::Sftp(SftpError::Refused(crate::sftp::Status::Failure, _)))
                | Fault::Sftp(SftpError::Refused(crate::sftp::Status::Failure, _))
        );
        if !is_vague || !self.sftp.features().statvfs {
            return fault.to_string();
        }
        let remote = self.placement.remote(&path.parent().unwrap_or_default());
        let asked = async { self.sftp.statvfs(super::place::directory_of(&remote, path)).await?.get().await };
        match asked.await {
            Ok(space) if space.read_only => "its file system is mounted read-only".into(),
            Ok(space) if space.files_available == 0 => {
                self.teller.no_space();
                "no inode is left on its file system".into()
            }
            Ok(space) if space.available < size.max(1) => {
                self.teller.no_space();
                format!("its file system is full: {} bytes are left", space.available)
            }
            _ => fault.to_string(),
        }
    }

    fn size_of(&self, step: &Step) -> u64 {
        match step {
            Step::Send { entry, .. } | Step::HardLink { entry, .. } => {
                self.tree.file(*entry).map_or(0, |(size, _)| size)
            }
            _ => 0,
        }
    }

    pub(super) fn path_of(&self, entry: usize) -> TreePath {
        self.placement.path(&self.tree.entries[entry]).into_owned()
    }

    /// Whether the directory that something is to be in is not there.
    pub(super) fn is_lost(&self, step: &Step, lost: &HashSet<TreePath>) -> bool {
        if lost.is_empty() {
            return false;
        }
        let path = self.path(step);
        lost.contains(&path) || path.parent().is_some_and(|parent| lost.contains(&parent))
    }

    fn path(&self, step: &Step) -> TreePath {
        match step {
            Step::MakeDirectory { entry, .. }
            | Step::Send { entry, .. }
            | Step::MakeSymlink { entry, .. }
            | Step::HardLink { entry, .. }
            | Step::SetAttributes { entry, .. } => self.path_of(*entry),
            Step::Delete { path, .. } => path.clone(),
        }
    }
}

/// Steps that may be done at once are of one stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Directories,
    Contents,
    HardLinks,
    Attributes,
    Deletions,
}

fn stage(step: &Step) -> Stage {
    match step {
        Step::MakeDirectory { .. } => Stage::Directories,
        Step::Send { .. } | Step::MakeSymlink { .. } => Stage::Contents,
        Step::HardLink { .. } => Stage::HardLinks,
        Step::SetAttributes { .. } => Stage::Attributes,
        Step::Delete { .. } => Stage::Deletions,
    }
}

fn bits(mode: ModeWanted) -> u32 {
    match mode {
        ModeWanted::Exact(bits) | ModeWanted::Masked(bits) => bits,
    }
}
