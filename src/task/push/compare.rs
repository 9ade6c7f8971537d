//! Whether files have the content that they are to have: their SHA-256 there and here.

use super::content::Contents;
use crate::connection::Connection;
use crate::sftp::{Handle, OpenMode, Sftp, SftpError};
use crate::task::digest::{Part, digests};
use crate::task::privilege::Privilege;
use crate::task::trouble::Trouble;
use crate::tree::{Content, FoundKind, Observed, Placement, Tree};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// READ requests in flight where a host has no program for SHA-256.
const AHEAD: usize = 32;

/// What comparing needs.
pub(super) struct Comparison<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) privilege: Option<&'a Privilege>,
    pub(super) sftp: &'a Sftp,
    pub(super) tree: &'a Tree,
    pub(super) placement: &'a Placement,
    pub(super) contents: &'a Arc<Contents>,
}

impl Comparison<'_> {
    /// Fills in how the files of these entries compare with what is there.
    pub(super) async fn fill(&self, entries: &[usize], observed: &mut Observed) -> Result<(), Trouble> {
        let parts: Vec<Part> =
            entries.iter().map(|&entry| Part { path: self.path(entry), length: self.size(entry) }).collect();
        let there = self.there(&parts).await?;
        for (&entry, there) in entries.iter().zip(there) {
            let here = self.contents.digest(entry, self.size(entry)).await?;
            let path = self.placement.path(&self.tree.entries[entry]);
            if let Some(FoundKind::File { content, .. }) = observed.get_mut(&*path).map(|found| &mut found.kind) {
                *content = if there == Some(here) { Content::Same } else { Content::Different };
            }
        }
        Ok(())
    }

    /// Whether the first bytes of a file on the host are those of an entry.
    pub(super) async fn is_beginning(&self, entry: usize, part: Part) -> Result<bool, Trouble> {
        let length = part.length;
        let there = self.there(&[part]).await?.pop().flatten();
        let here = self.contents.digest(entry, length).await?;
        Ok(there == Some(here))
    }

    /// The digests of files on the host: as it computes them, or of what is read back where it cannot.
    async fn there(&self, parts: &[Part]) -> Result<Vec<Option<[u8; 32]>>, Trouble> {
        if let Some(there) = digests(self.connection, self.privilege, parts).await? {
            return Ok(there);
        }
        let mut there = Vec::with_capacity(parts.len());
        for part in parts {
            there.push(self.read_back(part).await?);
        }
        Ok(there)
    }

    fn size(&self, entry: usize) -> u64 {
        self.tree.file(entry).map_or(0, |(size, _)| size)
    }

    /// The digest of what a file holds, read over the wire.
    async fn read_back(&self, part: &Part) -> Result<Option<[u8; 32]>, Trouble> {
        let opened = self.sftp.open(&part.path, OpenMode::Read, &crate::sftp::Attributes::default()).await?;
        // What cannot be read is sent.
        let Ok(handle) = opened.get().await else { return Ok(None) };
        let read = match self.read_open(&handle, part.length).await {
            Err(SftpError::Refused(..)) => None,
            read => read?,
        };
        // Nothing was written that a refusal could be about.
        let _ = self.sftp.close(&handle).await?.get().await;
        Ok(read)
    }

    async fn read_open(&self, handle: &Handle, size: u64) -> Result<Option<[u8; 32]>, SftpError> {
        let length = self.sftp.limits().await?.read;
        let mut hash = Sha256::new();
        let mut asked = std::collections::VecDeque::new();
        let (mut next, mut read) = (0, 0);
        while read < size {
            while next < size && asked.len() < AHEAD {
                asked.push_back(self.sftp.read(handle, next, length).await?);
                next += u64::from(length);
            }
            let Some(answer) = asked.pop_front() else { break };
            let wanted = u64::from(length).min(size - read);
            match answer.get().await? {
                Some(pieces) if pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() == wanted => {
                    pieces.iter().for_each(|piece| hash.update(piece));
                    read += wanted;
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(hash.finalize().into()))
    }

    fn path(&self, entry: usize) -> Vec<u8> {
        self.placement.remote(&self.placement.path(&self.tree.entries[entry]))
    }
}
