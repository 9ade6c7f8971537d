//! How the files that a server lets be open at once are shared out: [`Spare`].

use crate::sftp::{Sftp, SftpError};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Handles that are kept at most: so many files are read back at once where a host cannot tell their digests.
const MOST: usize = 16;

/// The handles that are not those of files being written: each is needed for a while, beside one of these. Whoever has one
/// waits for no other.
pub(super) struct Spare<'a> {
    sftp: &'a Sftp,
    handles: OnceCell<Semaphore>,
}

impl<'a> Spare<'a> {
    /// The server is asked how many it has before the first is taken.
    pub(super) fn new(sftp: &'a Sftp) -> Self {
        Self { sftp, handles: OnceCell::new() }
    }

    /// Waits for one, which is free again once this is dropped.
    ///
    /// # Errors
    /// Where the session has ended.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, SftpError> {
        let count = async { Ok::<_, SftpError>(Semaphore::new(kept(self.all().await?))) };
        let handles = self.handles.get_or_try_init(|| count).await?;
        handles.acquire().await.map_err(|_| SftpError::Lost("the session is over".into()))
    }

    /// How many files may be written at once beside them.
    ///
    /// # Errors
    /// Where the session has ended.
    pub(super) async fn rest(&self) -> Result<usize, SftpError> {
        let all = self.all().await?;
        Ok(all.saturating_sub(kept(all)).max(1))
    }

    async fn all(&self) -> Result<usize, SftpError> {
        Ok(self.sftp.limits().await?.handles as usize)
    }
}

/// How many of so many are kept.
fn kept(all: usize) -> usize {
    (all / 3).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_few_handles_keeps_some_and_one_with_many_a_few() {
        assert_eq!([1, 2, 6, 64, 1015].map(kept), [1, 1, 2, 16, 16]);
    }
}
