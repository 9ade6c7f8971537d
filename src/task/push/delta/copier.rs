//! Copying from the old file into the new one on a host: a [`Copier`], which keeps several copies in flight.

use super::program::Program;
use crate::sftp::{Answer, Handle, Sftp, SftpError};
use crate::task::teller::Teller;
use crate::tree::delta::Reused;
use bytes::Bytes;
use std::collections::VecDeque;

/// A copy at most: a server does nothing else meanwhile.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Copies in flight.
const AHEAD: usize = 32;

/// Why a copy was not made.
#[derive(Debug)]
pub(super) enum NotCopied {
    /// The host did not do it; what it can do otherwise, it can.
    Refused,
    /// Nothing more can be done.
    Session(SftpError),
}

impl From<SftpError> for NotCopied {
    fn from(error: SftpError) -> Self {
        match error {
            SftpError::Refused(..) => Self::Refused,
            other => Self::Session(other),
        }
    }
}

/// Who copies on a host, and what was asked of it.
pub(super) struct Copier<'a> {
    by: By<'a>,
    teller: &'a Teller<'a>,
    /// Bytes of each copy that was not answered yet.
    asked: VecDeque<u64>,
}

pub(super) enum By<'a> {
    /// The SFTP server (`copy-data`).
    Server { sftp: &'a Sftp, old: &'a Handle, new: &'a Handle, answers: VecDeque<Answer<()>> },
    /// The program that made the signature, which says a byte for each copy.
    Program(&'a mut Program),
}

impl<'a> Copier<'a> {
    pub(super) fn new(by: By<'a>, teller: &'a Teller<'a>) -> Self {
        Self { by, teller, asked: VecDeque::new() }
    }

    /// Asks for a copy.
    pub(super) async fn copy(&mut self, order: Reused) -> Result<(), NotCopied> {
        let Reused { mut from, mut to, length } = order;
        let end = to + length;
        while to < end {
            let part = (end - to).min(LARGEST);
            if self.asked.len() >= AHEAD {
                self.settle().await?;
            }
            match &mut self.by {
                By::Server { sftp, old, new, answers } => {
                    answers.push_back(sftp.copy_data(old, from, part, new, to).await?);
                }
                By::Program(program) => {
                    let line = format!("{from} {to} {part}\n");
                    program.write(Bytes::from(line)).await.ok_or(NotCopied::Refused)?;
                }
            }
            self.asked.push_back(part);
            (from, to) = (from + part, to + part);
        }
        Ok(())
    }

    /// Waits until all copies are made.
    pub(super) async fn finish(mut self) -> Result<(), NotCopied> {
        while !self.asked.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for the copy that was asked for first.
    async fn settle(&mut self) -> Result<(), NotCopied> {
        match &mut self.by {
            By::Server { answers, .. } => {
                if let Some(answer) = answers.pop_front() {
                    answer.get().await?;
                }
            }
            By::Program(program) => {
                program.take(1).await.ok_or(NotCopied::Refused)?;
            }
        }
        if let Some(length) = self.asked.pop_front() {
            self.teller.spared(length).await;
        }
        Ok(())
    }
}
