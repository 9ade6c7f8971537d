//! Names in directories, as they come.

use super::answer::{Answer, NAME, body};
use super::attributes::Attributes;
use super::error::{SftpError, Status};
use super::frames::Packet;
use super::operations::Handle;
use super::session::Sftp;
use bytes::Bytes;
use std::collections::VecDeque;

/// A name that a server told, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The bytes of the name.
    pub name: Bytes,
    /// What the server knows of it, without following a symlink.
    pub attributes: Attributes,
}

/// Names that a directory may have in all; a listing without end must not fill memory.
const MOST: usize = 10_000_000;
/// READDIR requests in flight: at first, and at most in a directory that goes on and on.
const AHEAD: (usize, usize) = (4, 24);
/// Names in a reply that is not likely to be the last.
const MANY: usize = 64;

/// A directory that is being listed.
pub struct Listing {
    sftp: Sftp,
    handle: Handle,
    asked: VecDeque<Answer<Vec<Name>>>,
    ahead: usize,
    /// More is asked for when no more than so many requests are in flight.
    enough: usize,
    told: usize,
    over: bool,
}

impl Listing {
    /// Begins to list a directory that was opened.
    pub(super) fn new(sftp: Sftp, handle: Handle) -> Self {
        Self { sftp, handle, asked: VecDeque::new(), ahead: AHEAD.0, enough: AHEAD.1, told: 0, over: false }
    }

    /// Asks at once for as much as so many names are likely to need, and for more only where they were not all.
    pub fn expect(&mut self, names: usize) {
        self.ahead = (names / MANY + 2).clamp(AHEAD.0, AHEAD.1);
        self.enough = 0;
    }

    /// Some further names, without `.` and `..`; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Name>>, SftpError> {
        loop {
            if self.asked.len() <= self.enough {
                while !self.over && self.asked.len() < self.ahead {
                    self.asked.push_back(self.sftp.read_dir(&self.handle).await?);
                }
            }
            let Some(answer) = self.asked.pop_front() else { return Ok(None) };
            match answer.get().await {
                Ok(mut names) => {
                    // Replies may overtake each other, and what is read ahead past the end says so too.
                    self.told += names.len().max(1);
                    if self.told > MOST {
                        return Err(SftpError::protocol("the server lists a directory without end"));
                    }
                    names.retain(|found| !matches!(&found.name[..], b"." | b".."));
                    if names.len() >= MANY {
                        self.ahead = (self.ahead + 2).min(AHEAD.1);
                    }
                    if !names.is_empty() {
                        return Ok(Some(names));
                    }
                }
                Err(SftpError::Refused(Status::Eof, _)) => self.over = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the listing without waiting for the answer, which says nothing about the names.
    pub async fn leave(self) -> Result<(), SftpError> {
        let _answer = self.sftp.close(&self.handle).await?;
        Ok(())
    }

    /// Ends the listing.
    pub async fn close(self) -> Result<(), SftpError> {
        let answer = self.sftp.close(&self.handle).await?;
        answer.get().await
    }
}

pub(super) fn names(packet: Packet) -> Result<Vec<Name>, SftpError> {
    let mut reader = body(packet, NAME, "names")?;
    let count = reader.u32()? as usize;
    // Two lengths and the flags of the attributes each: a count that cannot fit is no count.
    if count > reader.remaining() / 12 {
        return Err(SftpError::protocol("a reply announces more names than it holds"));
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.string()?;
        // The line of `ls -l` is for people, and forged as easily as the rest.
        reader.string()?;
        let attributes = Attributes::read(&mut reader)?;
        names.push(Name { name: Bytes::copy_from_slice(&name), attributes });
    }
    Ok(names)
}

/// The one name of a reply.
pub(super) fn one_name(packet: Packet) -> Result<Bytes, SftpError> {
    let mut found = names(packet)?;
    match (found.pop(), found.len()) {
        (Some(name), 0) if !name.name.is_empty() => Ok(name.name),
        _ => Err(SftpError::protocol("the server answered with another number of names than one")),
    }
}
