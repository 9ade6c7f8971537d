//! One file's bytes on their way from a host: [`Fetcher`].
//!
//! A small file is asked for as a whole, blindly, by what the listing told of it, so that it takes no round trip of its
//! own; a large one is read with as many requests in flight as the window allows. Both are looked at once more at their
//! end: what changed while it was read is not taken.

use super::commit::Committer;
use super::inventory::{Entry, Inventory, Kind};
use super::judge::Comparison;
use super::parcel::Parcel;
use super::receiving::{Receiving, Writer};
use super::underway::Underway;
use super::version::Version;
use crate::sftp::{
    Attributes as Wire, DataAnswer, FileKind, Handle, InFlight, Limits, OpenMode, Sftp, SftpError, Window,
};
use crate::task::digest::{Digester, Part, Sha256};
use crate::task::lanes::{Lane, Lanes};
use crate::task::segments::{Segments, Share};
use crate::task::streamed::streamed;
use crate::task::teller::Teller;
use crate::task::transfer::Interrupted;
use crate::tree::landing::{Attributes, LandingError, Place};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Files up to this size are whole in memory before they are written, where the window is as wide.
const SMALL: u64 = 256 * 1024;
/// Bytes that are written at once, where the window is wide.
const GROUP: u64 = 1024 * 1024;
/// The least that is asked for at once, and the parts of a window that one request is.
const REQUEST: (u64, u64) = (32 * 1024, 8);
/// What is asked for at once nearby, in bytes: with the head of its answer it fills the pipe between sftp-server and sshd
/// (64 KiB, pipe(7)) twice and has nothing left over, for which each of them would be woken once more.
const NEAR: u32 = 128 * 1024 - 64;
/// How often a file is opened for one that surely is the one that was looked at.
const LOOKS: u32 = 4;
/// What is said of a file that is not taken.
const UNCERTAIN: &str = "it was changed while it was being read";

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Here(#[from] LandingError),
    #[error("{0}")]
    Words(String),
}

/// What fetching from one host needs.
pub(super) struct Fetcher<'a> {
    pub(super) sftp: &'a Sftp,
    pub(super) digester: &'a Digester<'a>,
    pub(super) comparison: Comparison,
    /// What may be in flight of what is read a second time.
    pub(super) again: &'a Arc<Window>,
    pub(super) place: &'a Arc<Place>,
    pub(super) inventory: &'a Arc<Inventory>,
    pub(super) committer: &'a Arc<Committer>,
    pub(super) window: &'a Arc<Window>,
    /// The widest that the window becomes.
    pub(super) widest: u64,
    pub(super) teller: &'a Teller<'a>,
    pub(super) preserve: bool,
    pub(super) interrupted: Interrupted,
    pub(super) underway: &'a Underway,
    pub(super) lanes: &'a Lanes<'a>,
}

/// What became of a file.
pub(super) enum Fetched {
    /// It has its name.
    Landed,
    /// It is on its way to those who write small ones.
    Sent,
}

/// A file on the host that is open, as it was then.
struct Source<'a> {
    remote: &'a [u8],
    handle: &'a Handle,
    found: &'a Wire,
    /// Which file it is, where others may be opened beside it.
    version: Option<Version>,
}

/// Where the bytes of an open file come from.
struct Way<'a> {
    sftp: &'a Sftp,
    handle: &'a Handle,
    window: &'a Arc<Window>,
}

/// A READ that was sent.
struct Asked {
    offset: u64,
    length: u32,
    in_flight: InFlight,
    answer: DataAnswer,
}

impl Fetcher<'_> {
    /// Whether a file is fetched as a whole before it is written.
    pub(super) fn is_small(&self, size: u64) -> bool {
        size <= SMALL.min(self.widest)
    }

    /// Fetches a small file, and hands it on to be written.
    pub(super) async fn small(&self, index: usize, parcels: &mpsc::Sender<Parcel>) -> Result<Fetched, Fault> {
        let entry = &self.inventory.entries[index];
        let remote = self.inventory.remote(entry);
        let Kind::File { size } = entry.kind else { return Ok(Fetched::Landed) };
        let mut expected = Wire { size: Some(size), mode: entry.mode, times: entry.times, owner: None };
        // A file may have changed since it was listed; once is no matter.
        for is_last in [false, true] {
            let size = expected.size.unwrap_or_default();
            if !self.is_small(size) {
                return Box::pin(self.large(index)).await;
            }
            let in_flight = self.window.take(size.max(1)).await;
            let handle = self.sftp.open(&remote, OpenMode::Read, &Wire::default()).await?.get().await?;
            let (read, digest) = futures::join!(self.whole(&handle, size), self.expected(&remote, &handle, size));
            let closed = self.sftp.close(&handle).await;
            let (content, found) = read?;
            closed.map(drop)?;
            check_kind(&found)?;
            if let Some(content) = content
                && is_same(&expected, &found)
            {
                let (digest, attributes) = (digest?, self.attributes(entry, &found));
                let parcel = Parcel { index, path: entry.path.clone(), size, digest, content, attributes, in_flight };
                // Those who write end after those who fetch.
                let _ = parcels.send(parcel).await;
                return Ok(Fetched::Sent);
            }
            if is_last || found.size.is_none() {
                break;
            }
            expected = found;
        }
        Err(Fault::Words(UNCERTAIN.into()))
    }

    /// All of a small file, and what it is when it was read; no content where its size is another.
    async fn whole(&self, handle: &Handle, size: u64) -> Result<(Option<Vec<Bytes>>, Wire), Fault> {
        let most = self.sftp.limits().await?.read;
        let mut asked = VecDeque::new();
        let mut offset = 0;
        while offset < size {
            let length = u32::try_from(size - offset).unwrap_or(u32::MAX).min(most);
            asked.push_back((offset, length, self.sftp.read(handle, offset, length).await?));
            offset += u64::from(length);
        }
        // Files of /proc have no size, and content all the same.
        let beyond = if size == 0 { Some(self.sftp.read(handle, 0, 1).await?) } else { None };
        let found = self.sftp.fstat(handle).await?;
        let mut content = Vec::with_capacity(asked.len());
        let mut is_whole = true;
        while let Some((offset, length, answer)) = asked.pop_front() {
            let Some(pieces) = answer.get().await? else {
                is_whole = false;
                continue;
            };
            let came = count(&pieces);
            self.teller.moved(came).await;
            content.extend(pieces);
            let left = length - u32::try_from(came).unwrap_or(length).min(length);
            if left > 0 && is_whole {
                let offset = offset + came;
                asked.push_front((offset, left, self.sftp.read(handle, offset, left).await?));
            }
        }
        let found = found.get().await?;
        if let Some(beyond) = beyond
            && beyond.get().await?.is_some()
            && found.size.unwrap_or_default() == 0
        {
            return Err(Fault::Words("it has content though its size is 0, as files of /proc have".into()));
        }
        Ok((is_whole.then_some(content), found))
    }

    /// Fetches a large file.
    pub(super) async fn large(&self, index: usize) -> Result<Fetched, Fault> {
        let entry = &self.inventory.entries[index];
        let remote = self.inventory.remote(entry);
        let is_shared = self.interrupted == Interrupted::Remove && self.lanes.are_worth(entry.size());
        // A symlink on the way may lead elsewhere whenever it is followed.
        let real = if is_shared { self.real(&remote).await? } else { None };
        let (handle, version) = match &real {
            Some(real) => self.open_surely(self.sftp, real).await?,
            None => (self.sftp.open(&remote, OpenMode::Read, &Wire::default()).await?.get().await?, None),
        };
        let remote = real.unwrap_or(remote);
        let fetched = self.opened(entry, &remote, &handle, version).await;
        let closed = self.sftp.close(&handle).await;
        fetched?;
        closed.map(drop)?;
        Ok(Fetched::Landed)
    }

    /// Where a file really is, without a symlink on the way, where the host tells.
    async fn real(&self, remote: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.sftp.real_path(remote).await?.get().await {
            Ok(real) => Ok(real.starts_with(b"/").then(|| real.to_vec())),
            Err(SftpError::Refused(..)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file, and tells which one that is, where the host tells the same before and after. A directory that leads to
    /// it may be one in which others make files all the time, such as `/tmp`, so that one look is not enough.
    async fn open_surely(&self, sftp: &Sftp, real: &[u8]) -> Result<(Handle, Option<Version>), Fault> {
        let mut looks = 1;
        loop {
            let before = Version::of(self.digester, real).await;
            let handle = sftp.open(real, OpenMode::Read, &Wire::default()).await?.get().await?;
            let Some(before) = before else { return Ok((handle, None)) };
            let is_same = Version::of(self.digester, real).await.is_some_and(|after| after == before);
            if is_same || looks == LOOKS {
                return Ok((handle, is_same.then_some(before)));
            }
            sftp.close(&handle).await?.get().await?;
            looks += 1;
        }
    }

    async fn opened(
        &self,
        entry: &Entry,
        remote: &[u8],
        handle: &Handle,
        version: Option<Version>,
    ) -> Result<(), Fault> {
        let before = self.sftp.fstat(handle).await?.get().await?;
        check_kind(&before)?;
        let Some(size) = before.size else { return Err(Fault::Words("the host does not tell its size".into())) };
        let (mut receiving, kept) =
            Receiving::begin(self.place, &entry.path, size, self.interrupted, self.underway).await?;
        let from = self.resumed(&mut receiving, remote, kept).await?;
        let segments = Segments::new(std::iter::once(from..size));
        let version = version.filter(|version| version.is_of(&before));
        let source = Source { remote, handle, found: &before, version };
        let content = self.content(&receiving, &source, &segments);
        let (read, digest) = futures::join!(content, self.expected(remote, handle, size));
        read?;
        let digest = digest?;
        let after = self.sftp.fstat(handle).await?.get().await?;
        if !is_same(&before, &after) {
            receiving.discard();
            return Err(Fault::Words(UNCERTAIN.into()));
        }
        Ok(receiving.finish(size, digest, self.attributes(entry, &after), self.committer).await?)
    }

    /// The digest that a file has on the host, where it is to be proved by that. Where the host cannot tell it, the file is
    /// read a second time.
    async fn expected(&self, remote: &[u8], handle: &Handle, size: u64) -> Result<Option<Sha256>, Fault> {
        if self.comparison != Comparison::Content {
            return Ok(None);
        }
        if let Some(digest) = self.digester.one(Part { path: remote.to_vec(), length: None }).await? {
            return Ok(Some(digest));
        }
        match streamed(self.sftp, handle, size, self.again).await? {
            Some(digest) => Ok(Some(digest)),
            None => Err(Fault::Words(UNCERTAIN.into())),
        }
    }

    /// How much of what an earlier run left is what the host has, and is taken.
    async fn resumed(&self, receiving: &mut Receiving, remote: &[u8], kept: u64) -> Result<u64, Fault> {
        if kept == 0 {
            return Ok(0);
        }
        let there = self.digester.one(Part { path: remote.to_vec(), length: Some(kept) }).await?;
        // Where the host cannot tell, to read it for a look would take as long as to fetch it.
        let is_same = there.is_some() && receiving.digest(kept).await? == there;
        let taken = if is_same { kept } else { 0 };
        receiving.take_over(taken)?;
        self.teller.spared(taken).await;
        self.teller.saved(taken);
        Ok(taken)
    }

    /// The content, over as many ways as pay. What is to be gone on with after a break has to be without gaps, and so
    /// comes over one; and so does what the host cannot tell from another file that is renamed into its place.
    async fn content(&self, receiving: &Receiving, source: &Source<'_>, segments: &Segments) -> Result<(), Fault> {
        let first = || {
            let way = Way { sftp: self.sftp, handle: source.handle, window: self.window };
            self.read(receiving.writer(), way, segments)
        };
        let Some(version) = &source.version else { return first().await };
        let shared = self.lanes.share(segments, first, |Lane { sftp, window, .. }| async move {
            let Ok((handle, opened)) = self.open_surely(sftp, source.remote).await else { return };
            let found = async { sftp.fstat(&handle).await?.get().await };
            let is_same = found.await.is_ok_and(|found| is_same(source.found, &found));
            if is_same && opened.is_some_and(|opened| opened.is_same_file(version)) {
                // What this one cannot do the first one does, or tells why not.
                let _ = self.read(receiving.writer(), Way { sftp, handle: &handle, window }, segments).await;
            }
            let _ = sftp.close(&handle).await;
        });
        shared.await
    }

    /// Reads what it can get of a file, many requests in flight. What came before a failure is written.
    async fn read(&self, mut writer: Writer, way: Way<'_>, segments: &Segments) -> Result<(), Fault> {
        let mut share = segments.share();
        let read = self.read_share(&mut writer, &way, &mut share).await;
        writer.finish().await?;
        read
    }

    async fn read_share(&self, writer: &mut Writer, way: &Way<'_>, share: &mut Share<'_>) -> Result<(), Fault> {
        let Limits { read: most, .. } = way.sftp.limits().await?;
        let most = if way.sftp.is_far() { most } else { most.min(NEAR) };
        let request = u32::try_from(REQUEST.0.max(self.widest / REQUEST.1)).unwrap_or(u32::MAX).min(most);
        let mut asked: VecDeque<Asked> = VecDeque::new();
        loop {
            while let Some(part) = share.next(request) {
                let length = u32::try_from(part.end - part.start).unwrap_or(request);
                let in_flight = match way.window.try_take(length.into()) {
                    Some(taken) => taken,
                    // What is still to be answered or written gives room in its time.
                    None if !asked.is_empty() => break,
                    None => way.window.take(length.into()).await,
                };
                let offset = part.start;
                let answer = way.sftp.read(way.handle, offset, length).await?;
                share.begin(part);
                asked.push_back(Asked { offset, length, in_flight, answer });
            }
            let Some(Asked { offset, length, mut in_flight, answer }) = asked.pop_front() else { return Ok(()) };
            let Some(pieces) = answer.get().await? else { return Err(Fault::Words(UNCERTAIN.into())) };
            let came = count(&pieces);
            if let Some(left @ 1..) = u64::from(length).checked_sub(came) {
                let rest = in_flight.split(left);
                let (offset, length) = (offset + came, u32::try_from(left).unwrap_or(length));
                let answer = way.sftp.read(way.handle, offset, length).await?;
                asked.push_front(Asked { offset, length, in_flight: rest, answer });
            }
            share.done(came);
            writer.take(offset, pieces, in_flight).await?;
            // Nothing is gathered that others could wait for.
            if asked.is_empty() || writer.gathered() >= GROUP.min(way.window.limit() / 4) {
                writer.write().await?;
            }
            self.teller.moved(came).await;
        }
    }

    /// What a file gets here.
    fn attributes(&self, entry: &Entry, found: &Wire) -> Attributes {
        attributes(found.mode.or(entry.mode), found.times.or(entry.times), self.preserve)
    }
}

/// What something gets here, by what the host told.
pub(super) fn attributes(mode: Option<u32>, times: Option<(u32, u32)>, preserve: bool) -> Attributes {
    Attributes {
        mode: mode.map(|mode| mode & 0o777),
        mtime: times.map(|(_, modified)| modified.into()),
        atime: times.map(|(accessed, _)| accessed.into()),
        preserve,
    }
}

fn count(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// It was a file when it was listed.
fn check_kind(found: &Wire) -> Result<(), Fault> {
    match found.kind() {
        Some(FileKind::File) | None => Ok(()),
        Some(_) => Err(Fault::Words("it is no file any more".into())),
    }
}

/// Whether nobody changed a file in between, as far as size and time tell.
fn is_same(before: &Wire, after: &Wire) -> bool {
    before.size == after.size && before.times.map(|(_, modified)| modified) == after.times.map(|(_, modified)| modified)
}
