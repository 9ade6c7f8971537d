//! Whether files have the content that they are to have: their SHA-256 there, by whatever the host has for it, and here.

use super::content::Contents;
use super::trouble::Trouble;
use crate::connection::Connection;
use crate::outcome::Failure;
use crate::sftp::{OpenMode, Sftp};
use crate::task::inner::ask;
use crate::task::privilege::Privilege;
use crate::tree::{Content, FoundKind, Observed, Placement, Tree};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// READ requests in flight where a host has no program for SHA-256.
const AHEAD: usize = 32;

/// Prints a line for each file: its digest in hexadecimal, or `-` where it cannot be read. The first line says
/// whether there is a program.
const SCRIPT: &str = r#"if command -v sha256sum >/dev/null 2>&1; then h() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then h() { shasum -a 256; }
elif command -v openssl >/dev/null 2>&1; then h() { openssl dgst -sha256 -r; }
elif command -v sha256 >/dev/null 2>&1; then h() { sha256 -q; }
else echo none; exit 0; fi
echo some
p() { if r=$(head -c "$1" <"$2" | h) && [ -r "$2" ]; then printf '%s\n' "${r%% *}"; else echo -; fi; } 2>/dev/null
"#;

/// The beginning of a file on the host, or all of it.
pub(super) struct Part {
    pub(super) path: Vec<u8>,
    /// In bytes.
    pub(super) length: u64,
}

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
            let here = self.contents.digest(entry, self.size(entry)).await.map_err(Trouble::content)?;
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
        let here = self.contents.digest(entry, length).await.map_err(Trouble::content)?;
        Ok(there == Some(here))
    }

    async fn there(&self, parts: &[Part]) -> Result<Vec<Option<[u8; 32]>>, Trouble> {
        if let Some(digests) = self.ask(parts).await? {
            return Ok(digests);
        }
        let mut digests = Vec::with_capacity(parts.len());
        for part in parts {
            digests.push(self.read_back(part).await?);
        }
        Ok(digests)
    }

    fn size(&self, entry: usize) -> u64 {
        self.tree.file(entry).map_or(0, |(size, _)| size)
    }

    /// The digests as the host computes them; nothing where it cannot.
    async fn ask(&self, parts: &[Part]) -> Result<Option<Vec<Option<[u8; 32]>>>, Trouble> {
        let mut script = SCRIPT.as_bytes().to_vec();
        for part in parts {
            script.extend_from_slice(format!("p {} ", part.length).as_bytes());
            script.extend(quoted(&part.path));
            script.push(b'\n');
        }
        let answer = match ask(self.connection, self.privilege, "exec /bin/sh", Bytes::from(script)).await {
            Ok(answer) => answer,
            // An account that may do SFTP and nothing else.
            Err(Failure { code: crate::outcome::Code::SessionLost, .. }) => {
                return Err(Trouble::Session(crate::sftp::SftpError::Lost("the connection was lost".into())));
            }
            Err(_) => return Ok(None),
        };
        let mut lines = answer.split(|byte| *byte == b'\n');
        if lines.next() != Some(b"some") {
            return Ok(None);
        }
        let digests: Vec<_> = lines.take(parts.len()).map(digest).collect();
        Ok((digests.len() == parts.len()).then_some(digests))
    }

    /// The digest of what a file holds, read over the wire.
    async fn read_back(&self, part: &Part) -> Result<Option<[u8; 32]>, Trouble> {
        let size = part.length;
        let length = self.sftp.limits().await?.read;
        let opened = self.sftp.open(&part.path, OpenMode::Read, &crate::sftp::Attributes::default()).await?;
        // What cannot be read is sent.
        let Ok(handle) = opened.get().await else { return Ok(None) };
        let mut hash = Sha256::new();
        let mut asked = std::collections::VecDeque::new();
        let (mut next, mut read) = (0, 0);
        while read < size {
            while next < size && asked.len() < AHEAD {
                asked.push_back(self.sftp.read(&handle, next, length).await?);
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
        self.sftp.close(&handle).await?.get().await?;
        Ok(Some(hash.finalize().into()))
    }

    fn path(&self, entry: usize) -> Vec<u8> {
        self.placement.remote(&self.placement.path(&self.tree.entries[entry]))
    }
}

/// A path as one word of a shell, whatever bytes are in it.
pub(super) fn quoted(path: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for &byte in path {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            other => word.push(other),
        }
    }
    word.push(b'\'');
    word
}

fn digest(line: &[u8]) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(line.strip_prefix(b"\\").unwrap_or(line)).ok()?.try_into().ok()
}
