//! The directories that a host's entries are put into: [`Sites`] opens and makes them, sweeps each once, and at the end
//! gives them their attributes and makes what was renamed in them last.

use super::lasting::Lasting;
use super::leftovers::Kept;
use super::{Landing, LandingError};
use crate::tree::folder::{Folder, kind};
use crate::tree::path::TreePath;
use rustix::fs::{Mode, Stat, Timestamps};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory that entries are put into.
#[derive(Debug)]
pub(super) struct Site {
    /// Beneath the destination.
    pub(super) path: TreePath,
    /// The directory itself.
    pub(super) folder: Folder,
    /// What can be continued in it.
    pub(super) kept: Arc<Kept>,
}

/// The directories of one host. All paths are those beneath the destination.
#[derive(Debug)]
pub(super) struct Sites {
    landing: Arc<Landing>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was used last: entries come directory by directory.
    last: Option<Arc<Site>>,
    visited: HashMap<TreePath, Visited>,
}

#[derive(Debug, Default)]
struct Visited {
    kept: Arc<Kept>,
    /// A name in it is new.
    changed: bool,
    ending: Ending,
}

/// What a directory gets when nothing is put into it any more.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Permission bits.
    pub(super) mode: Option<u32>,
    /// Access and modification.
    pub(super) times: Option<Timestamps>,
}

impl Sites {
    pub(super) fn new(landing: Arc<Landing>) -> Self {
        Self { landing, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a directory, and makes it and those that it is in where they are missing.
    pub(super) fn make(&self, path: &TreePath) -> Result<Arc<Site>, LandingError> {
        let mut state = self.state();
        if let Some(site) = self.open(&mut state, path)? {
            return Ok(site);
        }
        let mode = Mode::from_raw_mode(0o777 & !self.landing.options.umask);
        let mut parent = TreePath::root();
        for made in path.ancestors().chain([path.as_bytes()]).map(TreePath::from_bytes) {
            let folder = self.landing.root.beneath(parent.as_bytes()).map_err(|error| self.unopened(&parent, error))?;
            match folder.make(made.name(), mode) {
                Ok(()) => self.note_made(&mut state, &parent, &made),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(LandingError::system("create", self.landing.shown(made.as_bytes()), error)),
            }
            parent = made;
        }
        self.open(&mut state, path)?.ok_or_else(|| self.unopened(path, Errno::NOENT))
    }

    /// Opens a directory where it is there.
    pub(super) fn find(&self, path: &TreePath) -> Result<Option<Arc<Site>>, LandingError> {
        self.open(&mut self.state(), path)
    }

    fn open(&self, state: &mut State, path: &TreePath) -> Result<Option<Arc<Site>>, LandingError> {
        if let Some(site) = state.last.as_ref().filter(|site| site.path == *path) {
            return Ok(Some(Arc::clone(site)));
        }
        let folder = match self.landing.root.beneath(path.as_bytes()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.unopened(path, error)),
        };
        let sweep = || Arc::new(self.landing.leftovers.sweep(&folder));
        let kept = match state.visited.get(path) {
            Some(visited) => Arc::clone(&visited.kept),
            None if path.is_root() => Arc::clone(self.landing.kept.get_or_init(sweep)),
            None => {
                let kept = sweep();
                state.visited.insert(path.clone(), Visited { kept: Arc::clone(&kept), ..Visited::default() });
                kept
            }
        };
        let site = Arc::new(Site { path: path.clone(), folder, kept });
        state.last = Some(Arc::clone(&site));
        Ok(Some(site))
    }

    /// A directory that this run made needs no sweep.
    fn note_made(&self, state: &mut State, parent: &TreePath, made: &TreePath) {
        self.note(state, parent);
        state.visited.insert(made.clone(), Visited { changed: true, ..Visited::default() });
    }

    fn note(&self, state: &mut State, directory: &TreePath) {
        if directory.is_root() {
            self.landing.changed.store(true, Ordering::Relaxed);
        } else if let Some(visited) = state.visited.get_mut(directory) {
            visited.changed = true;
        } else {
            state.visited.insert(directory.clone(), Visited { changed: true, ..Visited::default() });
        }
    }

    /// Notes that a name in a directory is new.
    pub(super) fn changed(&self, directory: &TreePath) {
        self.note(&mut self.state(), directory);
    }

    /// Notes a directory that was made beside this.
    pub(super) fn made(&self, parent: &TreePath, made: &TreePath) {
        self.note_made(&mut self.state(), parent, made);
    }

    /// Notes what a directory gets at the end.
    pub(super) fn ends_with(&self, directory: &Site, ending: Ending) {
        if let Some(visited) = self.state().visited.get_mut(&directory.path) {
            visited.ending = ending;
        }
    }

    /// Gives every directory its attributes and makes it last, the deepest first: a directory that may not be entered any
    /// more hides those in it.
    pub(super) fn settle(&self) -> Vec<LandingError> {
        let State { last, visited } = std::mem::take(&mut *self.state());
        drop(last);
        let mut directories: Vec<_> = visited.into_iter().collect();
        directories.sort_by(|(one, _), (other, _)| other.cmp(one));
        directories
            .retain(|(_, Visited { changed, ending, .. })| *changed || ending.mode.is_some() || ending.times.is_some());
        let mut lasting = Lasting::new(directories.len());
        let settle = |(path, visited): (TreePath, Visited)| self.settle_one(&path, visited.ending, &mut lasting).err();
        let mut failed: Vec<_> = directories.into_iter().filter_map(settle).collect();
        failed.extend(lasting.finish().err().map(|error| self.unsynced(&TreePath::root(), error)));
        failed
    }

    fn settle_one(&self, path: &TreePath, ending: Ending, lasting: &mut Lasting<Folder>) -> Result<(), LandingError> {
        let failed = |action, error| LandingError::system(action, self.landing.shown(path.as_bytes()), error);
        let folder = self.landing.root.beneath(path.as_bytes()).map_err(|error| self.unopened(path, error))?;
        if let Some(mode) = ending.mode {
            let now = rustix::fs::fstat(&folder).map_err(|error| failed("look at", error))?.st_mode;
            if now & 0o777 != mode {
                // What else it has, it has from the directory that it is in.
                let mode = Mode::from_raw_mode(now & 0o7000 | mode);
                rustix::fs::fchmod(&folder, mode).map_err(|error| failed("set the mode of", error))?;
            }
        }
        if let Some(times) = ending.times {
            rustix::fs::futimens(&folder, &times).map_err(|error| failed("set the times of", error))?;
        }
        lasting.add(folder).map_err(|error| self.unsynced(path, error))
    }

    fn unsynced(&self, path: &TreePath, error: Errno) -> LandingError {
        LandingError::system("sync", self.landing.shown(path.as_bytes()), error)
    }

    /// Why a directory cannot be opened: what is on the way to it, where something is.
    fn unopened(&self, path: &TreePath, error: Errno) -> LandingError {
        if matches!(error, Errno::LOOP | Errno::NOTDIR) {
            let mut parent = TreePath::root();
            for prefix in path.ancestors().chain([path.as_bytes()]).map(TreePath::from_bytes) {
                let status =
                    self.landing.root.beneath(parent.as_bytes()).and_then(|folder| folder.status(prefix.name()));
                match status {
                    Ok(Some(status)) if !is_directory(&status) => {
                        return self.in_the_way(prefix.as_bytes(), &status, "directory");
                    }
                    _ => parent = prefix,
                }
            }
        }
        LandingError::system("open the directory", self.landing.shown(path.as_bytes()), error)
    }

    /// An error about what is where something else belongs.
    pub(super) fn in_the_way(&self, path: &[u8], found: &Stat, wanted: &'static str) -> LandingError {
        LandingError::InTheWay { path: self.landing.shown(path), found: kind(found), wanted }
    }
}

fn is_directory(status: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::Directory
}
