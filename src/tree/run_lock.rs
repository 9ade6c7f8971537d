//! Which runs still live: [`RunLock`], a locked file per run under `$XDG_STATE_HOME/bugle/runs`, else
//! `~/.local/state/bugle/runs`.
//!
//! Temporary files carry their run's token in their names. Whoever finds one asks here whether its run still works on it.
//! The lock is flock(2)'s: the kernel lets go of it however a process ends. The file says on which machine it was made,
//! since a home directory may be shared by machines that do not see each other's locks. Nothing here touches the
//! temporary files themselves.

use super::temporary::Run;
use rustix::fs::FlockOperation;
use rustix::system::uname;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long the file of a dead run is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whether a run still works on what carries its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It ended without clearing up behind itself.
    Dead,
    /// It is at work.
    Alive,
    /// Nothing is known: a run of another machine or another user, one that ended clean, or one that is long gone.
    Unknown,
}

/// The sign that this run lives, for as long as the value does.
///
/// Dropped, it leaves an unlocked file behind, and the run counts as dead; [`ended_clean`](Self::ended_clean) takes the
/// file away.
#[derive(Debug)]
pub struct RunLock {
    run: Run,
    directory: Option<PathBuf>,
    /// Open while the run lives. None where the state directory cannot be written: others then know nothing of the run.
    file: Option<File>,
}

impl RunLock {
    /// Begins a run. A state directory that cannot be written is no failure: the run has its token all the same.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn acquire() -> Result<Self, getrandom::Error> {
        Self::acquire_in(state_directory())
    }

    /// Begins a run with its file in `directory`, or without a file.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn acquire_in(directory: Option<PathBuf>) -> Result<Self, getrandom::Error> {
        let run = Run::random()?;
        let file = directory.as_deref().and_then(|directory| {
            remove_old(directory);
            locked(directory, run).ok()
        });
        Ok(Self { run, directory, file })
    }

    /// The token that the temporary names of this run carry.
    pub fn run(&self) -> Run {
        self.run
    }

    /// What became of the run with this token.
    pub fn state_of(&self, run: Run) -> RunState {
        if run == self.run {
            return RunState::Alive;
        }
        let Some(directory) = &self.directory else { return RunState::Unknown };
        match File::open(directory.join(run.as_str())) {
            Ok(file) => state(file),
            Err(_) => RunState::Unknown,
        }
    }

    /// Ends a run that left no temporary file behind, on no machine: nobody will ask for it. No temporary name is made with
    /// its token after that.
    pub fn ended_clean(&self) {
        if let (Some(directory), Some(_)) = (&self.directory, &self.file) {
            // What stays is removed with the old ones.
            let _ = fs::remove_file(directory.join(self.run.as_str()));
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // A program that is just being started may hold a copy of the descriptor, and with it the lock.
            let _ = rustix::fs::flock(file, FlockOperation::Unlock);
        }
    }
}

/// `$XDG_STATE_HOME/bugle/runs`, else `~/.local/state/bugle/runs` (XDG Base Directory Specification: a relative path
/// counts as unset).
fn state_directory() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.or_else(|| std::env::home_dir().map(|home| home.join(".local/state"))).map(|base| base.join("bugle/runs"))
}

/// Makes the file of a run, with this machine's name in it, and locks it. Nobody asks for a token before it is handed
/// out, so the moment between the two is seen by nobody.
fn locked(directory: &Path, run: Run) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(run.as_str()))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(uname().nodename().to_bytes())?;
    Ok(file)
}

/// Whether the run that a file stands for lives. Those who ask share the lock, so that they do not see each other.
fn state(mut file: File) -> RunState {
    let mut machine = Vec::new();
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) if file.read_to_end(&mut machine).is_ok() && machine == uname().nodename().to_bytes() => RunState::Dead,
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => RunState::Alive,
        Ok(()) | Err(_) => RunState::Unknown,
    }
}

/// Removes the files of runs that died long ago. What cannot be looked at stays.
fn remove_old(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_run = Run::parse(entry.file_name().as_encoded_bytes()).is_some();
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(age);
        if is_run && age.is_ok_and(|age| age > KEPT) && File::open(entry.path()).is_ok_and(is_unlocked) {
            // Another run may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_unlocked(file: File) -> bool {
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
}

fn age(since: SystemTime) -> Duration {
    SystemTime::now().duration_since(since).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(directory: &Path) -> RunLock {
        RunLock::acquire_in(Some(directory.into())).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_run_lives_as_long_as_its_lock_and_is_unknown_after_a_clean_end() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("a/runs");
        let (one, other, third) = (begin(&state), begin(&state), begin(&state));
        let (dead, clean) = (other.run(), third.run());
        for run in [one.run(), dead, clean] {
            assert_eq!(one.state_of(run), RunState::Alive);
        }
        drop(other);
        third.ended_clean();
        // Asking does not change the answer.
        for _ in 0..2 {
            assert_eq!(one.state_of(dead), RunState::Dead);
            assert_eq!(one.state_of(clean), RunState::Unknown);
        }
        assert_eq!(begin(&state).state_of(dead), RunState::Dead);
        assert_eq!(one.state_of(Run::random().unwrap()), RunState::Unknown);
    }

    #[test]
    fn many_who_ask_at_once_do_not_take_each_other_for_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let one = begin(directory.path());
        let dead = begin(directory.path()).run();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(one.state_of(dead), RunState::Dead)));
            }
        });
    }

    #[test]
    fn a_run_of_another_machine_is_unknown_while_it_is_not_seen_to_live() {
        let directory = tempfile::tempdir().unwrap();
        let one = begin(directory.path());
        let elsewhere = begin(directory.path()).run();
        fs::write(directory.path().join(elsewhere.as_str()), "another-machine").unwrap();
        assert_eq!(one.state_of(elsewhere), RunState::Unknown);
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_stops_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let other = begin(directory.path());
        for place in [None, Some(directory.path().join("file/runs"))] {
            let lock = RunLock::acquire_in(place).unwrap();
            assert_eq!(lock.state_of(lock.run()), RunState::Alive);
            assert_eq!(lock.state_of(other.run()), RunState::Unknown);
            lock.ended_clean();
        }
    }

    #[test]
    fn files_of_runs_that_died_long_ago_are_removed_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let living = begin(directory.path());
        let (old, fresh) = (begin(directory.path()).run(), begin(directory.path()).run());
        let stranger = "notes.txt";
        fs::write(directory.path().join(stranger), "").unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, days) in [(living.run().as_str(), 31), (old.as_str(), 31), (fresh.as_str(), 29), (stranger, 31)] {
            let file = File::options().write(true).open(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - day * days).unwrap();
        }
        let new = begin(directory.path());
        let runs = [living.run(), fresh, new.run()];
        let mut expected: Vec<&str> = runs.iter().map(Run::as_str).chain([stranger]).collect();
        let mut found = names(directory.path());
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
