//! Where received files are put: a [`Landing`] is the destination directory of one run, a [`Place`] what one host has in
//! it, an [`Incoming`] one file that is being written, and a [`Sealed`] one that is written but for its name.
//!
//! What hosts send is not trusted: names are checked, no link is followed beneath the destination, set-user-ID,
//! set-group-ID and sticky bits are dropped, and nothing that is there is replaced but by a thing of its kind. A final
//! name stands for the old content or for the whole new one, whenever a run ends and however. What a dead run left behind
//! is removed when its directory is next written to.
//!
//! Everything blocks. Many threads may use it at once, also for one host. Nothing here knows how files travel.

mod draft;
mod error;
mod incoming;
mod lasting;
mod leftovers;
mod place;
mod sealed;
mod site;

pub use self::error::LandingError;
pub use self::incoming::{Attributes, Holes, Incoming};
pub use self::place::{Landed, Place};
pub use self::sealed::Sealed;

use self::leftovers::{Kept, Leftovers};
use super::folder::Folder;
use super::path::{TreePath, check_name};
use super::run_lock::RunLock;
use super::temporary;
use crate::host::HostName;
use rustix::fs::Mode;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How the files of many hosts are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `DIR/HOST/NAME`.
    ByHost,
    /// `DIR/NAME.HOST`.
    Flat,
}

/// What is done with files that a dead run left half written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfWritten {
    /// They are removed.
    Remove,
    /// They wait for [`Place::resume`]. Those that nobody asks for are removed at the next run that removes them.
    Keep,
    /// Nothing is: a run that only looks.
    Ignore,
}

/// How a destination is written to.
#[derive(Clone, Copy, Debug)]
pub struct LandingOptions {
    /// How hosts are told apart.
    pub layout: Layout,
    /// What is done with what dead runs left.
    pub half_written: HalfWritten,
    /// Mode bits that new files do not get unless modes are preserved; [`umask`] for those that the user chose.
    pub umask: u32,
}

/// The destination directory of one run.
#[derive(Debug)]
pub struct Landing {
    directory: PathBuf,
    root: Folder,
    options: LandingOptions,
    lock: Arc<RunLock>,
    leftovers: Leftovers,
    /// What dead runs left in the directory itself, looked for once for all hosts.
    kept: OnceLock<Arc<Kept>>,
    /// Who has which name directly in the directory, in the flat layout.
    taken: Mutex<HashMap<Vec<u8>, HostName>>,
    /// A name directly in the directory is new.
    changed: AtomicBool,
    /// Temporary files that are still there though nobody writes to them.
    left_behind: AtomicUsize,
}

impl Landing {
    /// Opens the destination, and makes it and what it is in where that is missing.
    ///
    /// # Errors
    /// Where it cannot be made or is no directory.
    pub fn open(directory: &Path, options: LandingOptions, lock: Arc<RunLock>) -> Result<Arc<Self>, LandingError> {
        let failed = |action| move |source| LandingError::system(action, directory, source);
        let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
        fs::create_dir_all(directory).map_err(failed("create"))?;
        let root = Folder::open(directory).map_err(|source| failed("open")(source.into()))?;
        for made in missing.into_iter().filter_map(Path::parent) {
            let parent = if made.as_os_str().is_empty() { Path::new(".") } else { made };
            fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("sync the directory of"))?;
        }
        Ok(Arc::new(Self::new(directory, root, options, lock)))
    }

    fn new(directory: &Path, root: Folder, options: LandingOptions, lock: Arc<RunLock>) -> Self {
        Self {
            directory: directory.into(),
            root,
            options,
            leftovers: Leftovers::new(Arc::clone(&lock), options.half_written),
            kept: OnceLock::new(),
            lock,
            taken: Mutex::default(),
            changed: AtomicBool::new(false),
            left_behind: AtomicUsize::new(0),
        }
    }

    /// What a host has here. Nothing is made before something comes. A host that is tried again gets a new place, with
    /// what was written before still in it.
    pub fn place(self: &Arc<Self>, host: &HostName) -> Arc<Place> {
        Arc::new(Place::new(Arc::clone(self), host.clone()))
    }

    /// Makes the new names in the directory itself last over a loss of power: at the end, after [`Place::settle`].
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn settle(&self) -> Result<(), LandingError> {
        if self.changed.swap(false, Ordering::Relaxed) {
            rustix::fs::fsync(&self.root).map_err(|source| LandingError::system("sync", &self.directory, source))?;
        }
        Ok(())
    }

    /// How many temporary files this run left: kept for a later one, or not to be removed. Where there are any, the run
    /// did not end clean ([`RunLock::ended_clean`]).
    pub fn left_behind(&self) -> usize {
        self.left_behind.load(Ordering::Relaxed)
    }

    /// Where an entry of a host belongs, beneath the directory.
    ///
    /// # Errors
    /// Where the path leads elsewhere or is taken.
    fn local(&self, host: &HostName, path: &TreePath) -> Result<TreePath, LandingError> {
        for name in path.as_bytes().split(|&byte| byte == b'/').filter(|_| !path.is_root()) {
            check_name(name).map_err(|source| LandingError::Name { name: path.as_bytes().into(), source })?;
            if temporary::recognise(name).is_some() {
                return Err(LandingError::Reserved { name: path.as_bytes().into() });
            }
        }
        match self.options.layout {
            Layout::ByHost => Ok(TreePath::root().join(&directory_name(host)).join(path.as_bytes())),
            Layout::Flat if path.is_root() => Ok(TreePath::root()),
            Layout::Flat => self.flat(host, path),
        }
    }

    fn flat(&self, host: &HostName, path: &TreePath) -> Result<TreePath, LandingError> {
        let (name, rest) = match path.ancestors().next() {
            Some(name) => (name, &path.as_bytes()[name.len() + 1..]),
            None => (path.as_bytes(), &[][..]),
        };
        let name = [name, b".", host.as_str().as_bytes()].concat();
        // `a` of `b.c` and `a.b` of `c` are both `a.b.c`.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get(&name) {
            Some(other) if other != host => {
                return Err(LandingError::Taken { path: self.shown(&name), other: other.clone() });
            }
            Some(_) => {}
            None => drop(taken.insert(name.clone(), host.clone())),
        }
        Ok(TreePath::from_bytes(name).join(rest))
    }

    /// A path beneath the directory as people are told it.
    fn shown(&self, local: &[u8]) -> PathBuf {
        self.directory.join(OsStr::from_bytes(local))
    }
}

/// The directory of a host: its name, but for a first character that would make it something else. Two hosts never have
/// the same.
fn directory_name(host: &HostName) -> Vec<u8> {
    let name = host.as_str().as_bytes();
    match name {
        [b'.', rest @ ..] => [b"%2E", rest].concat(),
        [b'%', rest @ ..] => [b"%25", rest].concat(),
        _ => name.into(),
    }
}

/// The umask of this process.
pub fn umask() -> u32 {
    // umask(2) only tells the old one while it sets another, for every thread.
    let told = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    told.unwrap_or_else(|| {
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits()
    })
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
