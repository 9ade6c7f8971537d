//! One file from its first byte to its name: written under a temporary name, proved whole, renamed.

use super::carry::{Carrier, Fault, Proof};
use super::compare::Compared;
use super::place::{Temporary, attributes_to_set, wants_half, with_both};
use super::send::{SendError, Target, send};
use crate::sftp::{Attributes as Wire, Handle, OpenMode, SftpError};
use crate::task::lanes::Lane;
use crate::task::segments::Segments;
use crate::tree::{Attributes, ModeWanted, Why};

/// What is smaller is sent anew rather than gone on with.
pub(super) const WORTH_RESUMING: u64 = 1024 * 1024;

/// What is smaller is sent while the server is still being asked whether it may have its owner.
const WORTH_ASKING: u64 = 256 * 1024;

/// A temporary file that is being written.
#[derive(Clone, Copy)]
pub(super) struct Begun<'a> {
    /// What of the tree it is to hold.
    pub(super) entry: usize,
    /// What it is written for.
    pub(super) why: &'a Why,
    pub(super) temporary: &'a Temporary,
    pub(super) handle: &'a Handle,
    /// So much of it is right already.
    pub(super) start: u64,
}

fn not_owned(error: SftpError) -> Fault {
    match error {
        SftpError::Refused(..) => Fault::Words(format!("cannot keep or set its owner: {error}; --sudo may")),
        other => other.into(),
    }
}

impl Carrier<'_> {
    /// Sends a file under a temporary name and renames it once it is whole.
    pub(super) async fn send_file(&self, entry: usize, attributes: &Attributes, why: &Why) -> Result<(), Fault> {
        let (temporary, handle, start) = self.begin(entry).await?;
        let begun = Begun { entry, why, temporary: &temporary, handle: &handle, start };
        let written = self.write_whole(attributes, &begun).await;
        if let Err(fault) = written {
            if fault.ends_all().is_some() {
                return Err(fault);
            }
            // Asked while what fills the disk is there: it stands under the temporary name only, and that goes.
            let size = self.tree.file(entry).map_or(0, |(size, _)| size);
            let reason = self.reason(&fault, &self.path_of(entry), size).await;
            let _ = self.sftp.close(&handle).await?.get().await;
            temporary.remove(self.sftp).await;
            return Err(Fault::Words(reason));
        }
        self.put_in_place(entry, &temporary, why).await
    }

    /// A temporary file that is open for writing, and how many bytes of it are right already.
    async fn begin(&self, entry: usize) -> Result<(Temporary, Handle, u64), Fault> {
        let place = self.placement.remote(&self.path_of(entry));
        if let Some((temporary, length)) = self.left(entry, &place).await? {
            let opened = self.sftp.open(&temporary.path, OpenMode::Write, &Wire::default()).await?;
            if let Ok(handle) = opened.get().await {
                self.teller.spared(length).await;
                self.teller.saved(length);
                return Ok((temporary, handle, length));
            }
        }
        let temporary = self.places.temporary(&place);
        let secret = Wire { mode: Some(0o600), ..Wire::default() };
        let opened = self.sftp.open(&temporary.path, OpenMode::CreateNew, &secret).await?.get().await;
        let handle = temporary.made(opened)?;
        Ok((temporary, handle, 0))
    }

    /// What a broken run left of this file, where its bytes are the right ones.
    async fn left(&self, entry: usize, place: &[u8]) -> Result<Option<(Temporary, u64)>, Fault> {
        let Some((size, _)) = self.tree.file(entry) else { return Ok(None) };
        let is_of_this = |left: &&super::leftovers::Leftover| {
            (WORTH_RESUMING..=size).contains(&left.size()) && left.belongs_to(place)
        };
        let mut found: Vec<_> = self.manner.leftovers.iter().filter(is_of_this).collect();
        found.sort_by_key(|left| std::cmp::Reverse(left.size()));
        for left in found {
            if self.comparison.is_beginning(entry, &left.path, left.size()).await.map_err(Fault::Trouble)? {
                return Ok(Some((self.places.adopt(&left.path, place), left.size())));
            }
        }
        Ok(None)
    }

    /// Content, attributes, and the proof that all of it arrived; the handle is closed then.
    async fn write_whole(&self, attributes: &Attributes, begun: &Begun<'_>) -> Result<(), Fault> {
        let (sftp, Begun { entry, handle, .. }) = (self.sftp, *begun);
        let Some((size, extents)) = self.tree.file(entry) else { return Ok(()) };
        let attributes = match wants_half(attributes) {
            true => &with_both(attributes, &sftp.fstat(handle).await?.get().await?),
            false => attributes,
        };
        // Whose it is to be is set first: where that cannot be, nothing is sent in vain.
        let owner = Wire { owner: attributes.owner.zip(attributes.group), ..Wire::default() };
        let mut owned = if owner == Wire::default() { None } else { Some(sftp.fsetstat(handle, &owner).await?) };
        if size >= WORTH_ASKING
            && let Some(owned) = owned.take()
        {
            owned.get().await.map_err(not_owned)?;
        }
        let sending = self.bring_content(begun);
        let umask = async {
            match attributes.mode {
                Some(ModeWanted::Masked(_)) => self.umask(entry).await.map(drop),
                _ => Ok(()),
            }
        };
        let (sent, umask) = futures::join!(sending, umask);
        sent?;
        umask?;
        let ends_in_a_hole = extents.ranges(size).last().map_or(0, |range| range.end) < size;
        // Another owner afterwards would take setuid and setgid away again.
        let wire = Wire { owner: None, ..attributes_to_set(attributes, || self.umask_known()) };
        let length = Wire { size: ends_in_a_hole.then_some(size), ..Wire::default() };
        // All of these go out together: the server does them in their order.
        let resized = if length == Wire::default() { None } else { Some(sftp.fsetstat(handle, &length).await?) };
        if self.manner.proof == Proof::Content {
            self.check_content(entry, begun.temporary).await?;
        }
        let set = sftp.fsetstat(handle, &wire).await?;
        let synced = if sftp.features().fsync { Some(sftp.fsync(handle).await?) } else { None };
        let found = sftp.fstat(handle).await?;
        let closed = sftp.close(handle).await?;
        if let Some(resized) = resized {
            resized.get().await?;
        }
        if let Some(owned) = owned {
            owned.get().await.map_err(not_owned)?;
        }
        set.get().await?;
        if let Some(synced) = synced {
            synced.get().await?;
        }
        if let Some(found) = found.get().await?.size
            && found != size
        {
            return Err(Fault::Words(format!("{found} bytes arrived of {size}: what was there still stands")));
        }
        Ok(closed.get().await?)
    }

    /// The content, over as many lanes as pay. What is to be gone on with after a break has to be without gaps, and so
    /// goes over one; and what is held back by a pace needs no more.
    pub(super) async fn send_content(&self, begun: &Begun<'_>, segments: &Segments) -> Result<(), SendError> {
        let (entry, window, teller, pace) = (begun.entry, self.window, self.teller, self.manner.pace);
        let first = || async {
            let target = Target { sftp: self.sftp, handle: begun.handle, window, teller, pace };
            send(&target, self.contents, entry, segments).await
        };
        let Some(lanes) = self.manner.lanes else { return first().await };
        lanes
            .share(segments, first, |Lane { sftp, window, .. }| async move {
                let opened =
                    async { sftp.open(&begun.temporary.path, OpenMode::Write, &Wire::default()).await?.get().await };
                let Ok(handle) = opened.await else { return };
                let target = Target { sftp, handle: &handle, window, teller, pace };
                // What this one cannot do the first one does, or tells why not.
                let _ = send(&target, self.contents, entry, segments).await;
                if let Ok(closed) = sftp.close(&handle).await {
                    let _ = closed.get().await;
                }
            })
            .await
    }

    /// What was written is read by the host once more, while nobody else may read it.
    async fn check_content(&self, entry: usize, temporary: &Temporary) -> Result<(), Fault> {
        match self.comparison.whole(entry, &temporary.path).await.map_err(Fault::Trouble)? {
            Compared::Same => Ok(()),
            Compared::Differs => Err(Fault::Words(
                "what arrived has another SHA-256 than the source: what was there still stands".into(),
            )),
            Compared::Unread(why) => Err(Fault::Words(format!(
                "what arrived could not be read back to be compared ({why}): what was there still stands"
            ))),
        }
    }

    /// The umask of the server, found out with an empty file beside the first that needs it: there files may be made.
    async fn umask(&self, entry: usize) -> Result<u32, SftpError> {
        let find = async {
            let probe = self.places.probe(&self.placement.remote(&self.path_of(entry)));
            let open = Wire { mode: Some(0o777), ..Wire::default() };
            let _spare = self.comparison.spare.take().await?;
            let opened = self.sftp.open(&probe.path, OpenMode::CreateNew, &open).await?.get().await;
            let handle = probe.made(opened)?;
            let found = self.sftp.fstat(&handle).await?;
            let closed = self.sftp.close(&handle).await?;
            let found = found.get().await;
            closed.get().await?;
            probe.remove(self.sftp).await;
            Ok(found?.mode.map_or(0o022, |mode| !mode & 0o777))
        };
        self.umask.get_or_try_init(|| find).await.copied()
    }

    pub(super) fn umask_known(&self) -> u32 {
        self.umask.get().copied().unwrap_or(0o022)
    }
}
