//! A directory on the host that many files are unpacked in before each gets its name: [`Room`].
//!
//! What is in it is called by numbers. Nothing else is ever removed from it, whoever made it: only root and the user of the
//! push can put something else in, and then the room stays on the host.

use super::place::{Open, lock};
use crate::sftp::{Answer, Attributes as Wire, Name, Sftp, SftpError, Status};
use bytes::Bytes;

/// The name in a room that tells the umask, for a moment.
const PROBE: &[u8] = b"umask";
/// Names that are removed before the directory is looked at again.
const AT_ONCE: usize = 10_000;
/// Looks that find nothing to remove in a directory that is not empty.
const IN_VAIN: usize = 3;

/// A temporary directory. It is in the one that was there before its files, or was made for them: what a directory
/// hands down (its group, an ACL, a label) is handed down to them as if they were made in their places.
pub(super) struct Room {
    /// Its path on the host.
    pub(super) path: Vec<u8>,
    open: Open,
}

impl Room {
    pub(super) fn new(path: Vec<u8>, open: Open) -> Self {
        Self { path, open }
    }

    /// Makes it, for nobody else to look into, and finds out the umask; nothing where it is not as secret as it has to be.
    pub(super) async fn make(&self, sftp: &Sftp) -> Result<Option<u32>, SftpError> {
        let with = |mode| Wire { mode: Some(mode), ..Wire::default() };
        let probe = self.member(PROBE);
        // All of these go out together: the server does them in their order.
        let made = sftp.make_dir(&self.path, &with(0o700)).await?;
        let looked = sftp.lstat(&self.path).await?;
        let probed = sftp.make_dir(&probe, &with(0o777)).await?;
        let found = sftp.lstat(&probe).await?;
        let removed = sftp.remove_dir(&probe).await?;
        if let Err(error) = made.get().await {
            if matches!(error, SftpError::Refused(..)) {
                // It is not there, or is not ours.
                lock(&self.open).remove(&self.path);
            }
            return Err(error);
        }
        let looked = looked.get().await?.mode;
        probed.get().await?;
        let found = found.get().await?.mode;
        removed.get().await?;
        let is_secret = looked.is_some_and(|mode| mode & 0o077 == 0);
        Ok(found.filter(|_| is_secret).map(|mode| !mode & 0o777))
    }

    /// The path of what has this name in it.
    pub(super) fn member(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, &b"/"[..], name].concat()
    }

    /// The path of the file with this number in it.
    pub(super) fn numbered(&self, number: usize) -> Vec<u8> {
        self.member(number.to_string().as_bytes())
    }

    /// Asks for its end, which comes where it is empty by then.
    pub(super) async fn close(&self, sftp: &Sftp) -> Result<Answer<()>, SftpError> {
        sftp.remove_dir(&self.path).await
    }

    /// Hears whether that was its end; what is left in it is removed otherwise.
    pub(super) async fn closed(&self, answer: Answer<()>, sftp: &Sftp) -> Result<(), SftpError> {
        match answer.get().await {
            Ok(()) => {
                lock(&self.open).remove(&self.path);
                Ok(())
            }
            Err(SftpError::Refused(..)) => self.clear(sftp).await,
            Err(error) => Err(error),
        }
    }

    /// Removes it with what is in it. What cannot be removed is left to the next run.
    pub(super) async fn clear(&self, sftp: &Sftp) -> Result<(), SftpError> {
        match remove_room(sftp, &self.path).await {
            Ok(()) => {
                lock(&self.open).remove(&self.path);
                Ok(())
            }
            Err(SftpError::Refused(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Removes a room with the files in it, also while somebody may still be unpacking there.
pub(super) async fn remove_room(sftp: &Sftp, path: &[u8]) -> Result<(), SftpError> {
    let mut in_vain = 0;
    loop {
        let members = match members(sftp, path).await {
            Err(SftpError::Refused(Status::NoSuchFile, _)) => return Ok(()),
            members => members?,
        };
        let mut answers = Vec::with_capacity(members.len());
        for name in &members {
            let member = [path, b"/", name].concat();
            answers.push(match &name[..] == PROBE {
                true => sftp.remove_dir(&member).await?,
                false => sftp.remove(&member).await?,
            });
        }
        let closed = sftp.remove_dir(path).await?;
        let mut any = false;
        for answer in answers {
            any |= answer.get().await.is_ok();
        }
        in_vain = if any { 0 } else { in_vain + 1 };
        match closed.get().await {
            Ok(()) | Err(SftpError::Refused(Status::NoSuchFile, _)) => return Ok(()),
            Err(SftpError::Refused(..)) if in_vain < IN_VAIN => {}
            Err(error) => return Err(error),
        }
    }
}

/// Some of the names in a room that were given by us.
async fn members(sftp: &Sftp, path: &[u8]) -> Result<Vec<Bytes>, SftpError> {
    let mut listing = sftp.list(path).await?;
    let mut found = Vec::new();
    while found.len() < AT_ONCE
        && let Some(names) = listing.next().await?
    {
        let is_ours = |name: &Bytes| number(name).is_some() || name == PROBE;
        found.extend(names.into_iter().map(|Name { name, .. }| name).filter(is_ours));
    }
    listing.close().await?;
    Ok(found)
}

/// The number that a name in a room is.
pub(super) fn number(name: &[u8]) -> Option<usize> {
    let is_number = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(name).ok()?.parse().ok())?
}
