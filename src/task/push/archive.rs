//! Small files as one tar stream, under numbers in the place of their names: [`Archive`].
//!
//! Whatever a name holds, no tar ever sees it. The format is POSIX's ustar (pax(1), "ustar Interchange Format"), which
//! every tar reads.

use super::content::Contents;
use super::receiver::{Chunk, Source};
use bytes::BytesMut;
use std::sync::Arc;
use tar::{EntryType, Header};

/// The unit in which everything stands in a tar stream.
const BLOCK: usize = 512;
/// Content that is read and sent at once: to all hosts, and the least and the most to one.
const CHUNKS: u64 = 4 * 1024 * 1024;
const CHUNK: (u64, u64) = (64 * 1024, 256 * 1024);

/// One file of a stream.
pub(super) struct Member {
    /// The file in the tree.
    pub(super) entry: usize,
    /// Length in bytes.
    pub(super) size: u64,
    /// Permission bits, as they are to be in the end.
    pub(super) mode: u32,
    /// Last change of the content, seconds since 1970.
    pub(super) mtime: u32,
}

/// Members on their way into a stream.
pub(super) struct Archive<'a> {
    contents: &'a Arc<Contents>,
    members: &'a [Member],
    /// Bytes of content in a part.
    chunk: u64,
    next: usize,
    is_over: bool,
}

impl<'a> Archive<'a> {
    pub(super) fn new(contents: &'a Arc<Contents>, members: &'a [Member], hosts_at_once: usize) -> Self {
        let chunk = (CHUNKS / hosts_at_once as u64).clamp(CHUNK.0, CHUNK.1);
        Self { contents, members, chunk, next: 0, is_over: false }
    }
}

impl Source for Archive<'_> {
    /// A file that cannot be read, or is not what it was, is not in the stream.
    async fn next(&mut self) -> Option<Chunk> {
        if self.is_over {
            return None;
        }
        let rest = &self.members[self.next..];
        let mut content = 0;
        let some = rest.iter().take_while(|member| {
            let is_room = content < self.chunk;
            content += if is_room { member.size } else { 0 };
            is_room
        });
        let entries: Vec<usize> = some.map(|member| member.entry).collect();
        let mut bytes = BytesMut::with_capacity(content as usize + (entries.len() + 1) * 2 * BLOCK);
        let mut sent = 0;
        for (number, found) in (self.next..).zip(self.contents.whole(&entries).await) {
            let member = &self.members[number];
            let Ok(found) = found else { continue };
            if found.len() as u64 == member.size {
                bytes.extend_from_slice(header(number, member).as_bytes());
                bytes.extend_from_slice(&found);
                bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
                sent += member.size;
            }
        }
        self.next += entries.len();
        if self.next == self.members.len() {
            // Two empty blocks are the end of an archive.
            bytes.resize(bytes.len() + 2 * BLOCK, 0);
            self.is_over = true;
        }
        Some(Chunk { bytes: bytes.freeze(), content: sent })
    }
}

fn header(number: usize, member: &Member) -> Header {
    let mut header = Header::new_ustar();
    let name = number.to_string();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_mode(member.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(member.size);
    header.set_mtime(member.mtime.into());
    header.set_cksum();
    header
}
