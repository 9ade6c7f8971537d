//! The bytes of one file on their way to one host.

use super::content::{ContentError, Contents};
use super::pace::Pace;
use crate::sftp::{Answer, Handle, InFlight, Sftp, SftpError, Window};
use crate::task::segments::Segments;
use crate::task::teller::Teller;
use std::collections::VecDeque;
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

/// Writes what it can get of a file into an open one, many requests in flight; the first failure is the one that is told.
pub(super) async fn send(
    target: &Target<'_>,
    contents: &Arc<Contents>,
    entry: usize,
    segments: &Segments,
) -> Result<(), SendError> {
    let Target { sftp, handle, window, teller, pace } = target;
    let most = sftp.limits().await?.write;
    let _held = if segments.left() > u64::from(most) { contents.hold(entry).await? } else { None };
    let mut share = segments.share();
    let mut answers: VecDeque<(InFlight, u64, Answer<()>)> = VecDeque::new();
    while let Some(part) = share.next(most) {
        let length = u32::try_from(part.end - part.start).unwrap_or(most);
        let taken = loop {
            match window.try_take(length.into()) {
                Some(taken) => break taken,
                None => match answers.pop_front() {
                    Some((_in_flight, length, answer)) => {
                        answer.get().await?;
                        share.done(length);
                    }
                    None => break window.take(length.into()).await,
                },
            }
        };
        if let Some(pace) = pace {
            pace.wait(length.into()).await;
        }
        let bytes = contents.block(entry, part.start, length).await?;
        let answer = sftp.write(handle, part.start, bytes).await?;
        share.begin(part);
        answers.push_back((taken, length.into(), answer));
        teller.moved(length.into()).await;
    }
    for (_in_flight, length, answer) in answers {
        answer.get().await?;
        share.done(length);
    }
    Ok(())
}
