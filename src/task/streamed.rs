//! The SHA-256 of a file on a host that has nothing to compute it with: read over the wire.

use super::digest::Sha256;
use crate::sftp::{Handle, Sftp, SftpError, Window};
use sha2::{Digest, Sha256 as Hash};
use std::collections::VecDeque;
use std::sync::Arc;

/// The digest of the first `size` bytes of an open file; nothing where it has fewer. Many requests are in flight.
///
/// # Errors
/// Where the server refuses to read, or the session has ended.
pub(super) async fn streamed(
    sftp: &Sftp,
    handle: &Handle,
    size: u64,
    window: &Arc<Window>,
) -> Result<Option<Sha256>, SftpError> {
    let length = u64::from(sftp.limits().await?.read);
    let mut hash = Hash::new();
    let mut asked = VecDeque::new();
    let (mut next, mut read) = (0, 0);
    while read < size {
        while next < size {
            let wanted = length.min(size - next).min(window.limit());
            let in_flight = match window.try_take(wanted) {
                Some(taken) => taken,
                // What is still to be answered gives room in its time.
                None if !asked.is_empty() => break,
                None => window.take(wanted).await,
            };
            let answer = sftp.read(handle, next, u32::try_from(wanted).unwrap_or(u32::MAX)).await?;
            asked.push_back((wanted, answer, in_flight));
            next += wanted;
        }
        let Some((wanted, answer, _in_flight)) = asked.pop_front() else { break };
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
