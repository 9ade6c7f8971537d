//! What files have in common with the old ones on the hosts, found once for all hosts whose old files are the same.

use super::signature::Signature;
use crate::task::push::content::Contents;
use crate::tree::delta::{Index, Reused, Search};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::available_parallelism;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// A file is searched in pieces of so many bytes, so that the first are known soon.
const PIECE: u64 = 8 * 1024 * 1024;

/// The entry in the tree, and what is made of the signature.
type Key = (usize, [u8; 32]);

/// The searches of a run.
pub(in crate::task::push) struct Matches {
    contents: Arc<Contents>,
    /// Those that a host still needs.
    open: Mutex<HashMap<Key, Weak<Match>>>,
    /// As many at once as this machine has processors.
    room: Arc<Semaphore>,
}

/// A file and a signature.
pub(super) struct Match {
    entry: usize,
    /// As it came, until there is an index of it.
    signature: Mutex<Option<Arc<Signature>>>,
    index: OnceCell<Option<Arc<Index>>>,
    pieces: Mutex<HashMap<u64, Piece>>,
}

type Piece = Arc<OnceCell<Arc<[Reused]>>>;

impl Matches {
    /// For the files of a run.
    pub(in crate::task::push) fn new(contents: &Arc<Contents>) -> Arc<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            contents: Arc::clone(contents),
            open: Mutex::default(),
            room: Arc::new(Semaphore::new(processors)),
        })
    }

    /// The search of a file for what has this signature, which other hosts may have begun.
    pub(super) fn of(&self, entry: usize, signature: Signature) -> Arc<Match> {
        let key = (entry, fingerprint(&signature));
        let mut open = lock(&self.open);
        if let Some(known) = open.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        open.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(Match {
            entry,
            signature: Mutex::new(Some(Arc::new(signature))),
            index: OnceCell::new(),
            pieces: Mutex::default(),
        });
        open.insert(key, Arc::downgrade(&new));
        new
    }

    /// What is found in the piece of the file in which a place is, and where the next piece begins; nothing behind the
    /// last. What cannot be read is told by those who send it.
    pub(super) async fn piece(self: &Arc<Self>, known: &Arc<Match>, place: u64) -> Option<(Arc<[Reused]>, u64)> {
        let (size, _) = self.contents.file(known.entry)?;
        let start = place / PIECE * PIECE;
        if start >= size {
            return None;
        }
        let index = known.index.get_or_init(|| self.index(known)).await.clone()?;
        let piece = Arc::clone(lock(&known.pieces).entry(start).or_default());
        let search = async {
            let (matches, entry, share) = (Arc::clone(self), known.entry, self.contents.share().await);
            let searched = self.aside(move || matches.search(&index, entry, start, share).unwrap_or_default()).await;
            searched.unwrap_or_default().into()
        };
        Some((Arc::clone(piece.get_or_init(|| search).await), start + PIECE))
    }

    async fn index(&self, known: &Match) -> Option<Arc<Index>> {
        // Kept until then: whoever makes the index may be gone before it is made.
        let signature = lock(&known.signature).clone()?;
        let make = move || Arc::new(Index::new(signature.block, signature.search, signature.sums.clone()));
        let index = self.aside(make).await;
        lock(&known.signature).take();
        index
    }

    /// Works on another thread, where there is a processor for it.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let room = Arc::clone(&self.room).acquire_owned().await.ok()?;
        let working = tokio::task::spawn_blocking(move || {
            let _room = room;
            work()
        });
        working.await.ok()
    }

    /// Holes are not searched: they stay holes.
    fn search(
        &self,
        index: &Index,
        entry: usize,
        start: u64,
        share: Option<OwnedSemaphorePermit>,
    ) -> io::Result<Vec<Reused>> {
        let open = self.contents.open(entry, share)?;
        let Some((size, data)) = self.contents.file(entry) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for range in data.ranges(size) {
            let begins = range.start.max(start)..range.end.min(start + PIECE);
            if begins.start < begins.end {
                found.extend(index.reused(begins, range.end, |bytes, at| open.file.read_exact_at(bytes, at))?);
            }
        }
        Ok(found)
    }
}

fn fingerprint(signature: &Signature) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(signature.block.to_be_bytes());
    hash.update([u8::from(signature.search == Search::Anywhere)]);
    for sums in &signature.sums {
        hash.update(sums.weak.to_be_bytes());
        hash.update(sums.strong);
    }
    hash.finalize().into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
