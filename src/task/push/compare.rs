//! Whether files have the content that they are to have: their SHA-256 there and here.

use super::content::Contents;
use super::spare::Spare;
use crate::sftp::{OpenMode, Sftp, SftpError, Window};
use crate::task::digest::{Digester, Part};
use crate::task::streamed::streamed;
use crate::task::trouble::Trouble;
use crate::tree::{Content, FoundKind, Observed, Placement, Tree};
use futures::{StreamExt, stream};
use std::sync::Arc;

/// Files that are read back at once where a host cannot tell their digests.
const AT_ONCE: usize = 16;

/// What comparing needs.
pub(super) struct Comparison<'a> {
    pub(super) digester: &'a Digester<'a>,
    pub(super) sftp: &'a Sftp,
    pub(super) tree: &'a Tree,
    pub(super) placement: &'a Placement,
    pub(super) contents: &'a Arc<Contents>,
    /// What may be in flight where files are read back.
    pub(super) window: &'a Arc<Window>,
    /// Handles for reading back.
    pub(super) spare: &'a Spare<'a>,
}

/// How a file on the host compares with what it is to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    Differs,
    /// The host could not tell its digest, and it could not be read back for this reason.
    Unread(String),
}

impl Comparison<'_> {
    /// Fills in how the files of these entries compare with what is there.
    pub(super) async fn fill(&self, entries: &[usize], observed: &mut Observed) -> Result<(), Trouble> {
        let parts: Vec<Part> = entries.iter().map(|&entry| Part { path: self.path(entry), length: None }).collect();
        let there = self.digester.all(&parts).await?;
        let compared = entries.iter().copied().zip(parts).zip(there).map(|((entry, part), there)| async move {
            let size = self.size(entry);
            let there = match there {
                Some(there) => Some(there),
                // What cannot be read is sent.
                None => self.read_back(&part.path, size).await?.ok(),
            };
            let here = self.contents.digest(entry, size).await?;
            Ok::<_, Trouble>((entry, there == Some(here)))
        });
        let mut compared = stream::iter(compared).buffer_unordered(AT_ONCE);
        while let Some(compared) = compared.next().await {
            let (entry, is_same) = compared?;
            let path = self.placement.path(&self.tree.entries[entry]);
            if let Some(FoundKind::File { content, .. }) = observed.get_mut(&*path).map(|found| &mut found.kind) {
                *content = if is_same { Content::Same } else { Content::Different };
            }
        }
        Ok(())
    }

    /// Whether the first `length` bytes of a file on the host are those of an entry.
    pub(super) async fn is_beginning(&self, entry: usize, path: &[u8], length: u64) -> Result<bool, Trouble> {
        let part = Part { path: path.to_vec(), length: Some(length) };
        Ok(self.compare(entry, part, length).await? == Compared::Same)
    }

    /// Whether a file on the host, which has the length of an entry, has its content too.
    pub(super) async fn whole(&self, entry: usize, path: &[u8]) -> Result<Compared, Trouble> {
        self.compare(entry, Part { path: path.to_vec(), length: None }, self.size(entry)).await
    }

    async fn compare(&self, entry: usize, part: Part, length: u64) -> Result<Compared, Trouble> {
        let path = part.path.clone();
        let there = async {
            match self.digester.one(part).await? {
                Some(there) => Ok(Ok(there)),
                None => self.read_back(&path, length).await,
            }
        };
        let (there, here) = futures::join!(there, self.contents.digest(entry, length));
        let here = here?;
        Ok(match there? {
            Ok(there) if there == here => Compared::Same,
            Ok(_) => Compared::Differs,
            Err(why) => Compared::Unread(why),
        })
    }

    fn size(&self, entry: usize) -> u64 {
        self.tree.file(entry).map_or(0, |(size, _)| size)
    }

    /// The digest of what a file holds, read over the wire; or why it cannot be read.
    async fn read_back(&self, path: &[u8], length: u64) -> Result<Result<[u8; 32], String>, Trouble> {
        let _spare = self.spare.take().await?;
        let opened = self.sftp.open(path, OpenMode::Read, &crate::sftp::Attributes::default()).await?;
        let handle = match opened.get().await {
            Ok(handle) => handle,
            Err(error @ SftpError::Refused(..)) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let read = match streamed(self.sftp, &handle, length, self.window).await {
            Err(error @ SftpError::Refused(..)) => Err(error.to_string()),
            read => read?.ok_or_else(|| "it is shorter than what was written".into()),
        };
        // Nothing was written that a refusal could be about.
        let _ = self.sftp.close(&handle).await?.get().await;
        Ok(read)
    }

    fn path(&self, entry: usize) -> Vec<u8> {
        self.placement.remote(&self.placement.path(&self.tree.entries[entry]))
    }
}
