//! What is in the files that are pushed: read once for the whole fleet, in blocks that hosts in step share.
//!
//! [`Contents`] holds the blocks that were read last. A host that lags reads its blocks again; so memory is bounded by
//! the budget, whatever the number of hosts and the size of the files.

use crate::outcome::{Code, Failure};
use crate::task::trouble::Trouble;
use crate::tree::{Extents, Stamp, Tree};
use bytes::Bytes;
use rustix::fs::fstatfs;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Blocks that nobody may be sending any more are kept up to this many bytes.
const KEPT: usize = 32 * 1024 * 1024;
/// Blocks in memory, kept and in flight to all hosts together.
const BUDGET: usize = 48 * 1024 * 1024;

/// Blocks of memory that are kept for the next blocks, and from which size on.
const SPARE: usize = 32;
const WORTH_KEEPING: usize = 64 * 1024;
/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// What is read at once to compute a digest.
const PORTION: usize = 256 * 1024;

/// Which part of which file: the entry in the tree, where the part begins, and how long it is: hosts differ in what they
/// take at once.
type Key = (usize, u64, u32);
type Slot = Arc<OnceCell<Result<Bytes, Arc<io::Error>>>>;

/// The files of a run.
pub(super) struct Contents {
    tree: Arc<Tree>,
    kept: Mutex<Kept>,
    budget: Arc<Semaphore>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    digests: Mutex<HashMap<(usize, u64), DigestSlot>>,
    open_files: OpenFiles,
    /// What templates came to, in the place of what the files hold.
    rendered: HashMap<usize, Bytes>,
}

/// How many files may be open. Those that are held on to take nothing from those that are opened for a moment, which alone
/// are waited for: a host that stands still holds nobody up.
struct OpenFiles {
    held: Arc<Semaphore>,
    passing: Arc<Semaphore>,
}

impl OpenFiles {
    fn new(descriptors: usize) -> Self {
        let half = (descriptors / 2).max(1);
        Self { held: Arc::new(Semaphore::new(half)), passing: Arc::new(Semaphore::new(half)) }
    }
}

/// A file that hosts share, with its share of the descriptors.
pub(super) struct OpenFile {
    pub(super) file: File,
    _share: Option<OwnedSemaphorePermit>,
}

type DigestSlot = Arc<OnceCell<Result<[u8; 32], ContentError>>>;

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    order: VecDeque<Key>,
    bytes: usize,
    most: usize,
    files: HashMap<usize, Weak<OpenFile>>,
}

/// A block with its share of the budget. Its memory goes back to where it came from: to ask the system for a quarter of
/// a megabyte each time costs more than to read it.
struct Block {
    bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut spare = lock(&self.spare);
        if self.bytes.capacity() >= WORTH_KEEPING && spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a part of a file cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error("cannot read `{path}` here: {source}", path = .0.display(), source = .1)]
    Unreadable(PathBuf, Arc<io::Error>),
    #[error("`{path}` was changed while it was being sent", path = .0.display())]
    Changed(PathBuf),
}

impl ContentError {
    fn of(path: PathBuf, error: Arc<io::Error>) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Changed(path),
            _ => Self::Unreadable(path, error),
        }
    }
}

impl From<ContentError> for Trouble {
    fn from(error: ContentError) -> Self {
        Failure::new(Code::LocalIo, error.to_string()).into()
    }
}

impl Contents {
    /// The files of a tree for so many hosts: what one host alone is sent is not kept for others.
    pub(super) fn new(tree: Arc<Tree>, hosts: usize, descriptors: usize) -> Arc<Self> {
        let kept = Kept { most: if hosts > 1 { KEPT } else { 0 }, ..Kept::default() };
        Arc::new(Self {
            tree,
            kept: Mutex::new(kept),
            budget: Arc::new(Semaphore::new(BUDGET)),
            spare: Arc::default(),
            digests: Mutex::default(),
            open_files: OpenFiles::new(descriptors),
            rendered: HashMap::new(),
        })
    }

    /// Files of a tree whose content was made for one host.
    pub(super) fn rendered(tree: Arc<Tree>, rendered: HashMap<usize, Bytes>) -> Arc<Self> {
        Arc::new(Self {
            tree,
            kept: Mutex::default(),
            budget: Arc::new(Semaphore::new(BUDGET)),
            spare: Arc::default(),
            digests: Mutex::default(),
            open_files: OpenFiles::new(0),
            rendered,
        })
    }

    /// A part of a file: `length` bytes from `offset` on.
    pub(super) async fn block(self: &Arc<Self>, entry: usize, offset: u64, length: u32) -> Result<Bytes, ContentError> {
        if let Some(text) = self.rendered.get(&entry) {
            let range = offset as usize..text.len().min(offset as usize + length as usize);
            return Ok(text.slice(range));
        }
        let slot = self.kept().slot((entry, offset, length));
        match slot.get_or_init(|| self.load(entry, offset, length)).await {
            Ok(bytes) if bytes.len() >= length as usize => Ok(bytes.slice(..length as usize)),
            // Another host asked for less.
            Ok(_) => {
                let loaded = self.load(entry, offset, length).await;
                loaded.map_err(|error| ContentError::of(self.tree.local(entry), error))
            }
            Err(error) => Err(ContentError::of(self.tree.local(entry), Arc::clone(error))),
        }
    }

    /// The size of a file, and where it has data.
    pub(super) fn file(&self, entry: usize) -> Option<(u64, &Extents)> {
        self.tree.file(entry)
    }

    async fn load(self: &Arc<Self>, entry: usize, offset: u64, length: u32) -> Result<Bytes, Arc<io::Error>> {
        // The semaphore is never closed; without a share the block would merely not be counted.
        let share = Arc::clone(&self.budget).acquire_many_owned(length).await.ok();
        let mut bytes = lock(&self.spare).pop().unwrap_or_default();
        bytes.resize(length as usize, 0);
        let mut block = Block { bytes, _share: share, spare: Arc::clone(&self.spare) };
        // What is in memory already is not worth another thread.
        let open = self.kept().files.get(&entry).and_then(Weak::upgrade);
        if let Some(open) = &open
            && is_read_at_once(&open.file, &mut block.bytes, offset)
        {
            self.check(entry, &open.file)?;
            return Ok(Bytes::from_owner(block));
        }
        let share = if open.is_some() { None } else { self.share().await };
        let contents = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let open = open.map_or_else(|| contents.open(entry, share), Ok)?;
            open.file.read_exact_at(&mut block.bytes, offset)?;
            contents.check(entry, &open.file)?;
            Ok(Bytes::from_owner(block))
        });
        read.await.map_err(|panic| Arc::new(io::Error::other(panic)))?.map_err(Arc::new)
    }

    /// Whole files, each of at most 4 GiB: what is not in memory yet is read in one go, since to hand a small file to
    /// another thread costs more than to read it.
    pub(super) async fn whole(self: &Arc<Self>, entries: &[usize]) -> Vec<Result<Bytes, ContentError>> {
        let slots: Vec<(Key, Slot)> = entries
            .iter()
            .map(|&entry| {
                let length = self.tree.file(entry).map_or(0, |(size, _)| u32::try_from(size).unwrap_or(u32::MAX));
                let key = (entry, 0, length);
                (key, if self.rendered.contains_key(&entry) { Slot::default() } else { self.kept().slot(key) })
            })
            .collect();
        let mut found = Vec::with_capacity(slots.len());
        for (place, ((entry, ..), slot)) in slots.iter().enumerate() {
            found.push(match self.rendered.get(entry) {
                Some(text) => Ok(text.clone()),
                None => match slot.get_or_init(|| self.load_from(&slots[place..])).await {
                    Ok(bytes) => Ok(bytes.clone()),
                    Err(error) => Err(ContentError::of(self.tree.local(*entry), Arc::clone(error))),
                },
            });
        }
        found
    }

    /// Loads the first of these files, and on the way those behind it that nobody loads yet.
    async fn load_from(self: &Arc<Self>, slots: &[(Key, Slot)]) -> Result<Bytes, Arc<io::Error>> {
        let is_missing = |(key, slot): &&(Key, Slot)| !slot.initialized() && !self.rendered.contains_key(&key.0);
        let missing: Vec<(Key, Slot)> = slots.iter().skip(1).filter(is_missing).cloned().collect();
        let Some(&((first, _, length), _)) = slots.first() else { return Ok(Bytes::new()) };
        let all = missing.iter().fold(length, |all, ((_, _, length), _)| all.saturating_add(*length));
        let mut share = Arc::clone(&self.budget).acquire_many_owned(all).await.ok();
        let contents = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let mut read = |entry: usize, length: u32| {
                let share = share.as_mut().and_then(|share| share.split(length as usize));
                let bytes = vec![0; length as usize];
                contents.read_whole(entry, Block { bytes, _share: share, spare: Arc::clone(&contents.spare) })
            };
            let content = read(first, length);
            for ((entry, _, length), slot) in missing {
                // Another host may have been faster.
                let _ = slot.set(read(entry, length).map_err(Arc::new));
            }
            content
        });
        read.await.map_err(|panic| Arc::new(io::Error::other(panic)))?.map_err(Arc::new)
    }

    fn read_whole(&self, entry: usize, mut block: Block) -> io::Result<Bytes> {
        let file = File::open(self.tree.local(entry))?;
        file.read_exact_at(&mut block.bytes, 0)?;
        self.check(entry, &file)?;
        Ok(Bytes::from_owner(block))
    }

    /// The SHA-256 of the first `length` bytes of a file, computed once for all hosts.
    pub(super) async fn digest(self: &Arc<Self>, entry: usize, length: u64) -> Result<[u8; 32], ContentError> {
        if let Some(text) = self.rendered.get(&entry) {
            return Ok(Sha256::digest(&text[..text.len().min(length as usize)]).into());
        }
        let slot = Arc::clone(lock(&self.digests).entry((entry, length)).or_default());
        let compute = async {
            let (contents, share) = (Arc::clone(self), self.share().await);
            let computed = tokio::task::spawn_blocking(move || contents.compute_digest(entry, length, share)).await;
            let computed = computed.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            computed.map_err(|error| ContentError::of(self.tree.local(entry), Arc::new(error)))
        };
        slot.get_or_init(|| compute).await.clone()
    }

    fn compute_digest(&self, entry: usize, length: u64, share: Option<OwnedSemaphorePermit>) -> io::Result<[u8; 32]> {
        let open = self.open(entry, share)?;
        let file = &open.file;
        let mut hash = Sha256::new();
        let mut bytes = vec![0; PORTION];
        let mut offset = 0;
        while offset < length {
            let portion = bytes.len().min(usize::try_from(length - offset).unwrap_or(usize::MAX));
            match file.read_at(&mut bytes[..portion], offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    hash.update(&bytes[..count]);
                    offset += count as u64;
                }
            }
        }
        self.check(entry, file)?;
        Ok(hash.finalize().into())
    }

    /// Keeps a file open for as long as the result lives, so that not each of its blocks opens it again; nothing where so many
    /// are open that each has to.
    pub(super) async fn hold(self: &Arc<Self>, entry: usize) -> Result<Option<Arc<OpenFile>>, ContentError> {
        if self.rendered.contains_key(&entry) {
            return Ok(None);
        }
        let Ok(share) = Arc::clone(&self.open_files.held).try_acquire_owned() else { return Ok(None) };
        let contents = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || contents.open(entry, Some(share))).await;
        let opened = opened.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        opened.map(Some).map_err(|error| ContentError::of(self.tree.local(entry), Arc::new(error)))
    }

    /// The open file, which all hosts share for as long as one of them reads it.
    pub(super) fn open(&self, entry: usize, share: Option<OwnedSemaphorePermit>) -> io::Result<Arc<OpenFile>> {
        if let Some(file) = self.kept().files.get(&entry).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = File::open(self.tree.local(entry))?;
        self.check(entry, &file)?;
        let open = Arc::new(OpenFile { file, _share: share });
        self.kept().files.insert(entry, Arc::downgrade(&open));
        Ok(open)
    }

    /// A share of the descriptors for a moment. The semaphore is never closed; without one the file would merely not be counted.
    pub(super) async fn share(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.open_files.passing).acquire_owned().await.ok()
    }

    /// Whether an open file is still what the scan saw. To be asked after a part was read: before that it may change yet.
    fn check(&self, entry: usize, file: &File) -> io::Result<()> {
        match Some(Stamp::of(&file.metadata()?)) == self.tree.stamp(entry) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// Reads what is in memory; `false` where that is not all of it (preadv2(2), RWF_NOWAIT). tmpfs does not know the flag and
/// has nothing but memory.
fn is_read_at_once(file: &File, bytes: &mut [u8], offset: u64) -> bool {
    let length = bytes.len();
    match preadv2(file, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => read == length,
        Err(Errno::OPNOTSUPP) => {
            fstatfs(file).is_ok_and(|found| found.f_type as u64 == TMPFS) && file.read_exact_at(bytes, offset).is_ok()
        }
        Err(_) => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn slot(&mut self, key: Key) -> Slot {
        if self.most == 0 {
            return Slot::default();
        }
        if let Some(slot) = self.slots.get(&key) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        self.slots.insert(key, Arc::clone(&slot));
        self.order.push_back(key);
        self.bytes += key.2 as usize;
        while self.bytes > self.most
            && let Some(old) = self.order.pop_front()
        {
            self.slots.remove(&old);
            self.bytes -= old.2 as usize;
        }
        slot
    }
}
