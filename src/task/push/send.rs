//! The bytes of one file on their way to one host.

use super::content::{ContentError, Contents};
use super::pace::Pace;
use crate::sftp::{Answer, Handle, InFlight, Sftp, SftpError, Window};
use crate::task::teller::Teller;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Why the content of a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
}

/// Where the bytes of a file go.
pub(super) struct Target<'a> {
    pub(super) sftp: &'a Sftp,
    pub(super) handle: &'a Handle,
    pub(super) window: &'a Arc<Window>,
    pub(super) teller: &'a Teller<'a>,
    pub(super) pace: Option<&'a Pace>,
}

/// Writes ranges of a file into an open one, many requests in flight; the first failure is the one that is told.
pub(super) async fn send(
    target: &Target<'_>,
    contents: &Arc<Contents>,
    entry: usize,
    ranges: impl Iterator<Item = Range<u64>>,
) -> Result<(), SendError> {
    let Target { sftp, handle, window, teller, pace } = target;
    let most = sftp.limits().await?.write;
    let mut held = None;
    let mut answers: VecDeque<(InFlight, Answer<()>)> = VecDeque::new();
    for range in ranges {
        let mut offset = range.start;
        while offset < range.end {
            let length = u32::try_from(range.end - offset).unwrap_or(u32::MAX).min(most);
            let taken = loop {
                match window.try_take(length.into()) {
                    Some(taken) => break taken,
                    None => match answers.pop_front() {
                        Some((_in_flight, answer)) => answer.get().await?,
                        None => break window.take(length.into()).await,
                    },
                }
            };
            if let Some(pace) = pace {
                pace.wait(length.into()).await;
            }
            if held.is_none() && u64::from(length) < range.end - offset {
                held = contents.hold(entry).await?;
            }
            let bytes = contents.block(entry, offset, length).await?;
            answers.push_back((taken, sftp.write(handle, offset, bytes).await?));
            offset += u64::from(length);
            teller.moved(length.into()).await;
        }
    }
    for (_in_flight, answer) in answers {
        answer.get().await?;
    }
    Ok(())
}
