//! Files that are written get their names, those of many hosts at once: [`Committer`].
//!
//! To make one file last over a loss of power takes about as long as to make hundreds. So whoever has files goes first and
//! takes with him what others brought while he waited for his turn. Everything here blocks.

use crate::tree::landing::{LandingError, Sealed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

type Results = Vec<Result<(), LandingError>>;

/// Where the files of a run get their names.
#[derive(Debug, Default)]
pub(super) struct Committer {
    waiting: Mutex<Vec<Batch>>,
    turn: Mutex<()>,
}

/// What one host brought.
#[derive(Debug)]
struct Batch {
    files: Vec<Sealed>,
    done: SyncSender<Results>,
}

impl Committer {
    /// Gives files their names, and tells in their order what came of each. None are told where bugle itself failed.
    pub(super) fn commit(&self, files: Vec<Sealed>) -> Results {
        let (done, result) = sync_channel(1);
        lock(&self.waiting).push(Batch { files, done });
        {
            let _turn = lock(&self.turn);
            let batches = std::mem::take(&mut *lock(&self.waiting));
            let (files, waiting): (Vec<_>, Vec<_>) =
                batches.into_iter().map(|Batch { files, done }| (files, done)).unzip();
            let counts: Vec<usize> = files.iter().map(Vec::len).collect();
            let mut results = Sealed::commit_all(files.into_iter().flatten().collect()).into_iter();
            for (count, done) in counts.into_iter().zip(waiting) {
                // Each waits for its own.
                let _ = done.send(results.by_ref().take(count).collect());
            }
        }
        result.recv().unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostName;
    use crate::tree::TreePath;
    use crate::tree::landing::{Attributes, HalfWritten, Holes, Landing, LandingOptions, Layout};
    use crate::tree::run_lock::RunLock;
    use std::fs;
    use std::sync::Arc;

    #[test]
    fn everybody_is_told_of_his_own_files_however_they_are_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let options = LandingOptions { layout: Layout::ByHost, half_written: HalfWritten::Remove, umask: 0o022 };
        let lock = Arc::new(RunLock::acquire_in(None).unwrap());
        let landing = Landing::open(directory.path(), options, lock).unwrap();
        let committer = Committer::default();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (landing, committer, directory) = (&landing, &committer, &directory);
                scope.spawn(move || {
                    let name = format!("h{number}");
                    let place = landing.place(&HostName::new(&name).unwrap());
                    for round in 0..20 {
                        let seal = |file: usize| {
                            let path = TreePath::from_bytes(format!("{round}/{file}").into_bytes());
                            let incoming = place.incoming(&path, Holes::Fill).unwrap();
                            incoming.write_at(0, &[b"x"]).unwrap();
                            incoming.seal(1, &Attributes::default()).unwrap()
                        };
                        let files: Vec<_> = (0..=number).map(seal).collect();
                        // The last of a host's is in the way of itself.
                        let there = directory.path().join(&name).join(format!("{round}/{number}"));
                        fs::create_dir(&there).unwrap();
                        let results = committer.commit(files);
                        assert_eq!(results.len(), number + 1);
                        assert!(results[..number].iter().all(Result::is_ok) && results[number].is_err());
                    }
                });
            }
        });
    }
}
