//! A large file poured into a program of the host, one at a time: sshd and `cat` together take a good tenth less of a
//! host's processor time for it than sshd and sftp-server do, and bugle less than for requests that are answered.
//!
//! All else is as for any file ([`super::deliver`]): the SFTP server makes the temporary file, tells its length in the end,
//! brings it to the disk and renames it. What is not poured whole is sent by SFTP from the beginning, which then tells why.

use super::carry::Carrier;
use super::content::Contents;
use super::deliver::Begun;
use super::receiver::{Chunk, Does, PIECE, Receiver, Refusal, Sending, Source};
use super::stream::Via;
use crate::task::lanes::LANES;
use crate::tree::Extents;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// What is smaller is sent before a shell has started.
const WORTH_POURING: u64 = 4 * 1024 * 1024;
/// Bytes that wait at a host nearby. With half of that `cat` waits for more now and then, with twice that sshd moves more.
const WAITING: u64 = 512 * 1024;

/// Whether files may be poured into one host, and whether one is.
pub(super) struct Pour {
    one: Semaphore,
    is_refused: AtomicBool,
}

impl Pour {
    pub(super) fn new() -> Self {
        Self { one: Semaphore::new(1), is_refused: AtomicBool::new(false) }
    }
}

impl Carrier<'_> {
    /// Whether all of a file has been poured into the temporary one.
    pub(super) async fn has_poured(&self, begun: &Begun<'_>) -> bool {
        let Some((size, Extents::All)) = self.tree.file(begun.entry) else { return false };
        if !(begun.start == 0 && size >= WORTH_POURING && self.may_pour(size)) {
            return false;
        }
        // On a long way those that come together are done sooner by SFTP.
        let one = match self.sftp.is_far() {
            true => self.pour.one.try_acquire().ok(),
            false => self.pour.one.acquire().await.ok(),
        };
        if one.is_none() || self.pour.is_refused.load(Ordering::Relaxed) {
            return false;
        }
        let mut file = Blocks { contents: self.contents, entry: begun.entry, size, next: 0 };
        let poured = async {
            let receiver = Receiver::start(Does::Fill, self.connection, self.privilege).ready().await?;
            let _held = self.contents.hold(begun.entry).await;
            let sending = Sending { waiting: self.may_wait(WAITING), pace: None, teller: self.teller };
            receiver.take(&begun.temporary.path, &mut file, &sending).await
        };
        match poured.await {
            Ok(()) => file.next == size,
            Err(refusal) => {
                self.pour.is_refused.fetch_or(matches!(refusal, Refusal::Unable(_)), Ordering::Relaxed);
                false
            }
        }
    }

    /// Nobody wants it another way, and it is no file that few hosts get over several connections.
    fn may_pour(&self, size: u64) -> bool {
        let has_lanes = self.manner.lanes.is_some_and(|lanes| lanes.are_worth(size));
        self.manner.via != Via::Sftp && self.manner.pace.is_none() && !(has_lanes && self.manner.hosts_at_once <= LANES)
    }
}

/// A file from its beginning to its end.
struct Blocks<'a> {
    contents: &'a Arc<Contents>,
    entry: usize,
    size: u64,
    next: u64,
}

impl Source for Blocks<'_> {
    /// A file that cannot be read, or is not what it was, ends early.
    async fn next(&mut self) -> Option<Chunk> {
        let content = (PIECE as u64).min(self.size - self.next);
        if content == 0 {
            return None;
        }
        let bytes = self.contents.block(self.entry, self.next, content as u32).await.ok()?;
        self.next += content;
        Some(Chunk { bytes, content })
    }
}
