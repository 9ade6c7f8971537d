//! Temporary files of runs that are no more: which of them are removed, and which wait to be continued.

use super::HalfWritten;
use crate::tree::folder::Folder;
use crate::tree::run_lock::{RunLock, RunState};
use crate::tree::temporary::{Role, Run, Tag, Temporary, recognise};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// After this time without a change, a file of a run of which nothing is known is nobody's.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What dead runs left in the directories of a destination.
#[derive(Debug)]
pub(super) struct Leftovers {
    lock: Arc<RunLock>,
    half_written: HalfWritten,
    /// Asked once a run: a directory may hold thousands of its files.
    states: Mutex<HashMap<Run, RunState>>,
}

impl Leftovers {
    pub(super) fn new(lock: Arc<RunLock>, half_written: HalfWritten) -> Self {
        Self { lock, half_written, states: Mutex::default() }
    }

    /// Removes what is nobody's, and gives what can be continued. What cannot be looked at or removed stays: it is in
    /// nobody's way.
    pub(super) fn sweep(&self, folder: &Folder) -> Kept {
        if self.half_written == HalfWritten::Ignore {
            return Kept::default();
        }
        let mut found = Vec::new();
        let _ =
            folder.each_name(|name| found.extend(recognise(name.as_bytes()).map(|is| (name.as_bytes().to_vec(), is))));
        let mut kept = Kept::default();
        for (name, Temporary { run, tag, role }) in found {
            // Whoever pushed to here may have no other copy.
            if role != Role::New {
                continue;
            }
            match self.state_of(run) {
                RunState::Dead if self.half_written == HalfWritten::Keep => kept.0.entry(tag).or_default().push(name),
                RunState::Unknown if !is_abandoned(folder, &name) => {}
                RunState::Dead | RunState::Unknown => drop(folder.remove(&name)),
                RunState::Alive => {}
            }
        }
        kept
    }

    fn state_of(&self, run: Run) -> RunState {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        *states.entry(run).or_insert_with(|| self.lock.state_of(run))
    }
}

/// The time of the last change is one that nobody can set, other than that of the content.
fn is_abandoned(folder: &Folder, name: &[u8]) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let changed = match folder.status(name) {
        Ok(Some(status)) => u64::try_from(status.st_ctime).unwrap_or(0),
        Ok(None) | Err(_) => return false,
    };
    now.saturating_sub(Duration::from_secs(changed)) > ABANDONED
}

/// Files of one directory that dead runs did not finish, by what they were to become.
#[derive(Debug, Default)]
pub(super) struct Kept(HashMap<Tag, Vec<Vec<u8>>>);

impl Kept {
    /// Makes the longest file that was to become `name` this run's own, under the name `mine`. None where there is none,
    /// where somebody was faster, and where it is not what a run of this user leaves: a plain file with one name.
    pub(super) fn take(&self, folder: &Folder, name: &[u8], mine: &[u8]) -> Option<File> {
        let length = |name: &Vec<u8>| folder.status(name).ok().flatten().map_or(0, |status| status.st_size);
        let longest = self.0.get(&Tag::of(name))?.iter().max_by_key(|name| length(name))?;
        folder.rename_new(longest, mine).ok()?;
        let file = folder.open_file(mine, OFlags::RDWR).ok().filter(|file| {
            file.metadata().is_ok_and(|metadata| {
                metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == rustix::process::geteuid().as_raw()
            })
        });
        if file.is_none() {
            let _ = folder.remove(mine);
        }
        file
    }
}
