//! What one host has in a destination: [`Place`] makes its directories, links and files, and says what is there already.

use super::draft::Draft;
use super::incoming::{Attributes, Holes, Incoming};
use super::site::{Ending, Site, Sites};
use super::{Landing, LandingError};
use crate::host::HostName;
use crate::tree::path::{BadName, TreePath};
use crate::tree::plan::{Content, Found, FoundKind, Identity};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// Whether something had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It is new, or another than it was.
    Made,
    /// It was there as it should be.
    Unchanged,
}

/// What one host has in a destination. Paths are the host's: the first name is that of a source.
#[derive(Debug)]
pub struct Place {
    landing: Arc<Landing>,
    host: HostName,
    sites: Sites,
}

/// Where an entry is put.
#[derive(Debug)]
pub(super) struct Target {
    /// The directory.
    pub(super) site: Arc<Site>,
    /// Beneath the destination.
    pub(super) path: TreePath,
}

impl Target {
    pub(super) fn name(&self) -> &[u8] {
        self.path.name()
    }

    /// What is there.
    fn status(&self) -> rustix::io::Result<Option<Stat>> {
        self.site.folder.status(self.name())
    }
}

impl Place {
    pub(super) fn new(landing: Arc<Landing>, host: HostName) -> Self {
        Self { sites: Sites::new(Arc::clone(&landing)), landing, host }
    }

    pub(super) fn landing(&self) -> &Arc<Landing> {
        &self.landing
    }

    /// Where an entry is put, for people.
    ///
    /// # Errors
    /// Where its path leads elsewhere or is taken.
    pub fn shown(&self, path: &TreePath) -> Result<PathBuf, LandingError> {
        Ok(self.landing.shown(self.landing.local(&self.host, path)?.as_bytes()))
    }

    /// Makes a directory, or takes the one that is there. It gets its mode and, where they are preserved, its times in
    /// [`settle`](Self::settle); until then its owner may write to it. One that was there keeps its mode unless modes are
    /// preserved. The root stands for the host's own directory.
    ///
    /// # Errors
    /// Where something else is in its place, a symlink to a directory too, and where the system refuses.
    pub fn directory(&self, path: &TreePath, attributes: &Attributes) -> Result<Landed, LandingError> {
        let local = self.landing.local(&self.host, path)?;
        let Some(parent) = local.parent().filter(|_| !path.is_root()) else {
            return self.sites.make(&local).map(|_| Landed::Unchanged);
        };
        let site = self.sites.make(&parent)?;
        let wanted = attributes.mode(0o777, self.landing.options.umask);
        let failed = |action, error| LandingError::system(action, self.landing.shown(local.as_bytes()), error);
        let landed = match site.folder.make(local.name(), Mode::from_raw_mode(wanted | 0o700)) {
            Ok(()) => {
                self.sites.made(&parent, &local);
                Landed::Made
            }
            Err(Errno::EXIST) => Landed::Unchanged,
            Err(error) => return Err(failed("create", error)),
        };
        let made = self.sites.make(&local)?;
        let now = rustix::fs::fstat(&made.folder).map_err(|error| failed("look at", error))?.st_mode & 0o7777;
        let is_open = now & 0o700 == 0o700;
        if !is_open {
            rustix::fs::fchmod(&made.folder, Mode::from_raw_mode(now | 0o700))
                .map_err(|error| failed("set the mode of", error))?;
        }
        let keeps = landed == Landed::Unchanged && !attributes.preserve;
        let mode = if keeps { (!is_open).then_some(now & 0o777) } else { Some(wanted) };
        self.sites.ends_with(&made, Ending { mode, times: attributes.preserve.then(|| attributes.times()) });
        Ok(landed)
    }

    /// Makes a symlink with this text, in the place of a file or symlink where there is one. It is never followed here.
    /// Its times are set where they are preserved.
    ///
    /// # Errors
    /// Where something else is in its place, and where the system refuses.
    pub fn symlink(&self, path: &TreePath, text: &[u8], attributes: &Attributes) -> Result<Landed, LandingError> {
        let target = self.target(path)?;
        let failed = |error| self.failed("create the symlink", &target, error);
        let there = self.check_replaceable(&target, "symlink")?;
        let folder = &target.site.folder;
        if let Some(status) = there
            && FileType::from_raw_mode(status.st_mode) == FileType::Symlink
            && folder.link_text(target.name()).is_ok_and(|there| there == text)
        {
            if !attributes.preserve || attributes.mtime.is_none_or(|mtime| status.st_mtime == mtime) {
                return Ok(Landed::Unchanged);
            }
            folder.set_times_of(target.name(), &attributes.times()).map_err(failed)?;
            return Ok(Landed::Made);
        }
        let (draft, ()) = Draft::make(&self.landing, &target.site, target.name(), |name| folder.symlink(name, text))
            .map_err(failed)?;
        if attributes.preserve {
            folder.set_times_of(draft.name(), &attributes.times()).map_err(failed)?;
        }
        self.rename(draft, &target)?;
        Ok(Landed::Made)
    }

    /// Makes one file of two names: `path` becomes another name of the file `original`, which came before.
    ///
    /// # Errors
    /// Where `original` is no file, something else is in the place of `path`, and where the system refuses.
    pub fn link(&self, original: &TreePath, path: &TreePath) -> Result<Landed, LandingError> {
        let original = self.target(original)?;
        let target = self.target(path)?;
        let failed = |error| self.failed("create the hard link", &target, error);
        let there = self.check_replaceable(&target, "file")?;
        let status = original.status().and_then(|status| status.ok_or(Errno::NOENT)).map_err(failed)?;
        self.check_file(&original, &status)?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)) {
            return Ok(Landed::Unchanged);
        }
        let make = |name: &[u8]| target.site.folder.link(name, &original.site.folder, original.name());
        let (draft, ()) = Draft::make(&self.landing, &target.site, target.name(), make).map_err(failed)?;
        // It may have become something else in between.
        let linked = target.site.folder.status(draft.name()).and_then(|status| status.ok_or(Errno::NOENT));
        self.check_file(&original, &linked.map_err(failed)?)?;
        self.rename(draft, &target)?;
        Ok(Landed::Made)
    }

    /// Begins a file.
    ///
    /// # Errors
    /// Where something other than a file or symlink is in its place, and where the system refuses.
    pub fn incoming(self: &Arc<Self>, path: &TreePath, holes: Holes) -> Result<Incoming, LandingError> {
        let target = self.target(path)?;
        self.check_replaceable(&target, "file")?;
        let made = Draft::make(&self.landing, &target.site, target.name(), |name| target.site.folder.create(name));
        let (draft, file) = made.map_err(|error| self.failed("create", &target, error))?;
        Ok(Incoming::new(self, target, draft, file, holes))
    }

    /// Begins a file of `length` bytes with what a dead run wrote of it, where there is any:
    /// [`kept`](Incoming::kept) says how much. It has to be compared with the host's before it is
    /// [gone on with](Incoming::go_on_from).
    ///
    /// # Errors
    /// As [`incoming`](Self::incoming).
    pub fn resume(self: &Arc<Self>, path: &TreePath, length: u64, holes: Holes) -> Result<Incoming, LandingError> {
        let target = self.target(path)?;
        self.check_replaceable(&target, "file")?;
        let failed = |error| self.failed("go on with", &target, error);
        let Site { folder, kept, .. } = &*target.site;
        let taken = Draft::make(&self.landing, &target.site, target.name(), |name| {
            kept.take(folder, target.name(), name).ok_or(Errno::NOENT)
        });
        let (draft, file) = match taken {
            Ok(taken) => taken,
            Err(Errno::NOENT) => return self.incoming(path, holes),
            Err(error) => return Err(failed(error)),
        };
        if rustix::fs::fstat(&file).map_err(failed)?.st_size.cast_unsigned() > length {
            rustix::fs::ftruncate(&file, length).map_err(failed)?;
        }
        Ok(Incoming::new(self, target, draft, file, holes))
    }

    /// What is there, where anything is: of a file its content is not known.
    ///
    /// # Errors
    /// Where something that is no directory is on the way, and where the system refuses.
    pub fn found(&self, path: &TreePath) -> Result<Option<Found>, LandingError> {
        let Some((target, Some(status))) = self.existing(path)? else { return Ok(None) };
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                FoundKind::File { size: status.st_size.cast_unsigned(), content: Content::Unknown }
            }
            FileType::Directory => FoundKind::Directory,
            FileType::Symlink => FoundKind::Symlink { target: target.site.folder.link_text(target.name()).ok() },
            _ => FoundKind::Special,
        };
        Ok(Some(Found {
            kind,
            mtime: status.st_mtime,
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            identity: Identity::Unknown,
        }))
    }

    /// Whether there is a plain file with this length and time of modification (in seconds since 1970), which counts as
    /// the same content. A symlink never does.
    ///
    /// # Errors
    /// Where something that is no directory is on the way, and where the system refuses.
    pub fn is_unchanged(&self, path: &TreePath, length: u64, modified: i64) -> Result<bool, LandingError> {
        let status = self.existing(path)?.and_then(|(_, status)| status);
        Ok(status.is_some_and(|status| is_file_of(&status, length) && status.st_mtime == modified))
    }

    /// The SHA-256 of the plain file that is there, where it has this length.
    ///
    /// # Errors
    /// Where something that is no directory is on the way, and where it cannot be read.
    pub fn sha256(&self, path: &TreePath, length: u64) -> Result<Option<[u8; 32]>, LandingError> {
        let Some((target, Some(status))) = self.existing(path)? else { return Ok(None) };
        if !is_file_of(&status, length) {
            return Ok(None);
        }
        let failed = |error: io::Error| LandingError::system("read", self.landing.shown(target.path.as_bytes()), error);
        let file = target.site.folder.open_file(target.name(), OFlags::RDONLY).map_err(|error| failed(error.into()))?;
        let (read, digest) = digest(&file).map_err(failed)?;
        Ok((read == length).then_some(digest))
    }

    /// Gives the plain file that is there, and whose content is right, its mode and times. The mode stays unless modes are
    /// preserved.
    ///
    /// # Errors
    /// Where there is none, and where the system refuses.
    pub fn adjust(&self, path: &TreePath, attributes: &Attributes) -> Result<Landed, LandingError> {
        let target = self.target(path)?;
        let failed = |error| self.failed("set the mode and times of", &target, error);
        // Before it is opened: opening a device may do something.
        self.check_file(&target, &target.status().and_then(|status| status.ok_or(Errno::NOENT)).map_err(failed)?)?;
        let file = target.site.folder.open_file(target.name(), OFlags::RDONLY).map_err(failed)?;
        let status = rustix::fs::fstat(&file).map_err(failed)?;
        self.check_file(&target, &status)?;
        let mode = attributes.mode(0o666, 0);
        let has_mode = !attributes.preserve || attributes.mode.is_none() || status.st_mode & 0o7777 == mode;
        let has_times = attributes.mtime.is_none_or(|mtime| status.st_mtime == mtime);
        if has_mode && has_times {
            return Ok(Landed::Unchanged);
        }
        if !has_mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        rustix::fs::futimens(&file, &attributes.times()).map_err(failed)?;
        Ok(Landed::Made)
    }

    /// Gives the directories their modes and times, and makes what was put into them last over a loss of power. To be
    /// called when nothing comes any more, however it ended. Gives what failed.
    #[must_use]
    pub fn settle(&self) -> Vec<LandingError> {
        self.sites.settle()
    }

    /// Where an entry is put; its directory is made where it is missing.
    fn target(&self, path: &TreePath) -> Result<Target, LandingError> {
        let path = self.entry(path)?;
        Ok(Target { site: self.sites.make(&path.parent().unwrap_or_default())?, path })
    }

    /// What is where an entry would be put. None where its directory is not there.
    fn existing(&self, path: &TreePath) -> Result<Option<(Target, Option<Stat>)>, LandingError> {
        let path = self.entry(path)?;
        let Some(site) = self.sites.find(&path.parent().unwrap_or_default())? else { return Ok(None) };
        let target = Target { site, path };
        let status = target.status().map_err(|error| self.failed("look at", &target, error))?;
        Ok(Some((target, status)))
    }

    /// The path of something that has a name.
    fn entry(&self, path: &TreePath) -> Result<TreePath, LandingError> {
        if path.is_root() {
            return Err(LandingError::Name { name: Vec::new(), source: BadName::Empty });
        }
        self.landing.local(&self.host, path)
    }

    /// Gives what is there, where it may be replaced: a file or a symlink.
    pub(super) fn check_replaceable(
        &self,
        target: &Target,
        wanted: &'static str,
    ) -> Result<Option<Stat>, LandingError> {
        let status = target.status().map_err(|error| self.failed("create", target, error))?;
        let kind = status.map(|status| FileType::from_raw_mode(status.st_mode));
        match (status, kind) {
            (Some(status), Some(kind)) if !matches!(kind, FileType::RegularFile | FileType::Symlink) => {
                Err(self.sites.in_the_way(target.path.as_bytes(), &status, wanted))
            }
            _ => Ok(status),
        }
    }

    fn check_file(&self, target: &Target, status: &Stat) -> Result<(), LandingError> {
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Ok(()),
            _ => Err(self.sites.in_the_way(target.path.as_bytes(), status, "file")),
        }
    }

    /// Gives a draft its final name.
    pub(super) fn rename(&self, draft: Draft, target: &Target) -> Result<(), LandingError> {
        draft.rename(target.name()).map_err(|error| self.failed("rename a temporary file to", target, error))?;
        self.sites.changed(&target.site.path);
        Ok(())
    }

    fn failed(&self, action: &'static str, target: &Target, error: Errno) -> LandingError {
        LandingError::system(action, self.landing.shown(target.path.as_bytes()), error)
    }
}

fn is_file_of(status: &Stat, length: u64) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size.cast_unsigned() == length
}

/// How much there is to read, and its SHA-256.
pub(super) fn digest(mut from: impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((length, hash.finalize().into())),
            read => {
                hash.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}
