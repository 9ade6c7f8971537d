//! What was found is brought here: directories and symlinks first, then files, many at once. What cannot be brought is told
//! and does not stop the rest.

use super::fetch::{Fault, Fetched, Fetcher, attributes};
use super::inventory::Kind;
use super::parcel::{Parcel, write_all};
use crate::outcome::{Code, Failure};
use crate::sftp::SftpError;
use crate::task::trouble::Trouble;
use crate::tree::landing::{Landed, LandingError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::HashSet;
use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, mpsc};

/// Small files that are under way at once; each has a handle open for a part of that time.
const SMALLS: usize = 256;
/// Small files that are written at once for one host.
pub(super) const BATCH: usize = 128;
/// Descriptors that a small file takes here: its own and that of its directory.
pub(super) const PER_FILE: usize = 2;

/// What carrying needs beside fetching.
pub(super) struct Carrier<'a> {
    pub(super) fetcher: Fetcher<'a>,
    /// Large files that are under way at once.
    pub(super) larges: usize,
    /// Small files that are written at once.
    pub(super) batch: usize,
    /// Descriptors that small files may take here, of all hosts together.
    pub(super) open_files: &'a Arc<Semaphore>,
}

/// What is to be done, as indices of entries.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Directories and symlinks, the directories before what is in them.
    pub(super) frame: Vec<usize>,
    /// Files whose content is right.
    pub(super) adjust: Vec<usize>,
    /// Files that are fetched.
    pub(super) fetch: Vec<usize>,
}

impl Carrier<'_> {
    /// Does all of it. An error ends the host.
    pub(super) async fn carry(&self, work: Work) -> Result<(), Trouble> {
        let lost = self.make(work.frame, Part::Frame).await;
        self.make(work.adjust, Part::Adjustment).await;
        let inventory = self.fetcher.inventory;
        let (missing, fetch): (Vec<usize>, Vec<usize>) = work.fetch.into_iter().partition(|&index| {
            let mut above = inventory.entries[index].path.ancestors();
            !lost.is_empty() && above.any(|directory| lost.contains(directory))
        });
        self.fetcher.teller.missing(missing.len());
        let is_small = |index: &usize| matches!(inventory.entries[*index].kind, Kind::File { size } if self.fetcher.is_small(size));
        let (small, large): (Vec<usize>, Vec<usize>) = fetch.into_iter().partition(is_small);
        let handles = self.fetcher.sftp.limits().await?.handles as usize;
        let larges = self.larges.min(handles.div_ceil(2));
        let smalls = SMALLS.min(handles.saturating_sub(larges)).max(1);
        let (parcels, queue) = mpsc::channel(BATCH);
        // Once the disk here is full nothing more is asked for.
        let full = AtomicBool::new(false);
        let (small, large, ()) = futures::join!(
            self.smalls(small, smalls, parcels, &full),
            self.each(large, larges, &full, |index| self.fetcher.large(index)),
            self.land(queue, &full)
        );
        small.and(large)
    }

    /// Makes directories and symlinks, or gives files that are here their attributes. The paths of directories that
    /// cannot be made are given back.
    async fn make(&self, entries: Vec<usize>, part: Part) -> HashSet<Vec<u8>> {
        let Fetcher { place, inventory, preserve, teller, .. } = &self.fetcher;
        let (here, all, preserve) = (Arc::clone(place), Arc::clone(inventory), *preserve);
        let making = self.fetcher.underway.blocking(move || {
            let mut lost = HashSet::new();
            let make = |index: usize| {
                let entry = &all.entries[index];
                if !lost.is_empty() && entry.path.ancestors().any(|directory| lost.contains(directory)) {
                    return None;
                }
                let attributes = attributes(entry.mode, entry.times, preserve);
                let made = match (&entry.kind, part) {
                    (Kind::Directory, _) => here.directory(&entry.path, &attributes),
                    (Kind::Symlink { text }, _) => here.symlink(&entry.path, text, &attributes),
                    (Kind::File { .. }, Part::Adjustment) => here.adjust(&entry.path, &attributes),
                    (Kind::File { .. }, Part::Frame) => Ok(Landed::Unchanged),
                };
                if made.is_err() && entry.kind == Kind::Directory {
                    lost.insert(entry.path.as_bytes().to_vec());
                }
                Some((index, made))
            };
            let (mut count, mut failed, mut missing) = ([0, 0], Vec::new(), 0);
            for made in entries.into_iter().map(make) {
                match made {
                    Some((_, Ok(landed))) => count[usize::from(landed == Landed::Made)] += 1,
                    Some((index, Err(error))) => failed.push((index, error)),
                    None => missing += 1,
                }
            }
            Ok((lost, count, failed, missing))
        });
        let (lost, [unchanged, made], failed, missing) = match making.await {
            Ok(done) => done,
            Err(error) => {
                teller.failed_with(b"here", here_failed(&error)).await;
                return HashSet::new();
            }
        };
        teller.count(made, unchanged);
        teller.missing(missing);
        for (index, error) in failed {
            self.tell(index, here_failed(&error)).await;
        }
        lost
    }

    /// Fetches small files; whoever writes them hears that none follow.
    async fn smalls(
        &self,
        files: Vec<usize>,
        at_once: usize,
        parcels: mpsc::Sender<Parcel>,
        full: &AtomicBool,
    ) -> Result<(), Trouble> {
        self.each(files, at_once, full, |index| self.fetcher.small(index, &parcels)).await
    }

    /// Fetches files, so many at once.
    async fn each<Fetching: Future<Output = Result<Fetched, Fault>>>(
        &self,
        files: Vec<usize>,
        at_once: usize,
        full: &AtomicBool,
        fetch: impl Fn(usize) -> Fetching,
    ) -> Result<(), Trouble> {
        let fetch = &fetch;
        let begin = |index: usize| async move { (index, fetch(index).await) };
        let mut waiting = files.into_iter();
        let mut doing: FuturesUnordered<_> = waiting.by_ref().take(at_once).map(begin).collect();
        while let Some((index, fetched)) = doing.next().await {
            match fetched {
                Ok(Fetched::Sent) => {}
                Ok(Fetched::Landed) => self.fetcher.teller.changed(),
                Err(fault) => {
                    let failure = self.failure(fault, full)?;
                    self.tell(index, failure).await;
                }
            }
            if full.load(Ordering::Relaxed) {
                self.fetcher.teller.missing(waiting.by_ref().count());
            }
            doing.extend(waiting.next().map(begin));
        }
        Ok(())
    }

    /// Writes small files, as many together as came meanwhile.
    async fn land(&self, mut queue: mpsc::Receiver<Parcel>, full: &AtomicBool) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, self.batch).await > 0 {
            let parcels = std::mem::take(&mut batch);
            let count = u32::try_from(parcels.len() * PER_FILE).unwrap_or(u32::MAX);
            // The semaphore is never closed; without a share the files would merely not be counted.
            let share = Arc::clone(self.open_files).acquire_many_owned(count).await.ok();
            let indices: Vec<usize> = parcels.iter().map(|parcel| parcel.index).collect();
            let (place, committer) = (Arc::clone(self.fetcher.place), Arc::clone(self.fetcher.committer));
            let written = self.fetcher.underway.blocking(move || {
                let written = write_all(&place, parcels, &committer);
                drop(share);
                Ok(written)
            });
            let written = match written.await {
                Ok(written) => written,
                Err(error) => {
                    for index in indices {
                        self.tell(index, here_failed(&error)).await;
                    }
                    continue;
                }
            };
            for (index, result) in written {
                match result {
                    Ok(()) => self.fetcher.teller.changed(),
                    Err(error) => {
                        full.fetch_or(concerns_all(&error), Ordering::Relaxed);
                        self.tell(index, here_failed(&error)).await;
                    }
                }
            }
        }
    }

    /// What is told of a file that did not come; an error where nothing more will.
    fn failure(&self, fault: Fault, full: &AtomicBool) -> Result<Failure, Trouble> {
        match fault {
            Fault::Sftp(SftpError::Refused(..)) | Fault::Words(_) => {
                Ok(Failure::new(Code::TransferFailed, fault.to_string()))
            }
            Fault::Sftp(error) => Err(error.into()),
            Fault::Here(error) => {
                full.fetch_or(concerns_all(&error), Ordering::Relaxed);
                Ok(here_failed(&error))
            }
        }
    }

    async fn tell(&self, index: usize, failure: Failure) {
        let Fetcher { inventory, teller, .. } = &self.fetcher;
        teller.failed_with(&inventory.remote(&inventory.entries[index]), failure).await;
    }
}

/// Which part of the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Frame,
    Adjustment,
}

/// Something could not be put into its place here.
pub(super) fn here_failed(error: &LandingError) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    let code = match error {
        _ if concerns_all(error) => Code::LocalFull,
        LandingError::System { .. } | LandingError::InTheWay { .. } | LandingError::Taken { .. } => Code::LocalIo,
        LandingError::Name { .. }
        | LandingError::Reserved { .. }
        | LandingError::Length { .. }
        | LandingError::Content { .. } => Code::TransferFailed,
    };
    let failure = Failure::new(code, message);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Whether the next file would fare no better.
fn concerns_all(error: &LandingError) -> bool {
    let LandingError::System { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}
