//! A large file on its way into its place: [`Receiving`] writes what came while more is coming.

use super::commit::Committer;
use super::parcel::holes;
use super::underway::{Underway, fault};
use crate::sftp::InFlight;
use crate::task::digest::Sha256;
use crate::task::transfer::Interrupted;
use crate::tree::TreePath;
use crate::tree::landing::{Attributes, Incoming, LandingError, Place};
use bytes::Bytes;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// A file that is being written. Dropped, it is removed or kept, as soon as nothing writes to it.
pub(super) struct Receiving {
    underway: Underway,
    part: Arc<Part>,
}

/// Writes into such a file what comes on one of the ways to the host.
pub(super) struct Writer {
    part: Arc<Part>,
    group: Group,
    writing: Option<JoinHandle<Result<(), LandingError>>>,
}

/// The file itself; writes that are under way hold on to it.
struct Part {
    incoming: Option<Incoming>,
    interrupted: Interrupted,
    /// Dropped after the file.
    _underway: Underway,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && self.interrupted == Interrupted::Keep
        {
            incoming.keep();
        }
    }
}

/// Pieces that follow each other.
#[derive(Default)]
struct Group {
    at: u64,
    length: u64,
    pieces: Vec<Bytes>,
    in_flight: Vec<InFlight>,
}

impl Receiving {
    /// Begins a file of this size, or goes on with what an earlier run left of it: the second value says how much that
    /// is. It has to be [taken](Self::take_over) before anything is written.
    pub(super) async fn begin(
        place: &Arc<Place>,
        path: &TreePath,
        size: u64,
        interrupted: Interrupted,
        underway: &Underway,
    ) -> Result<(Self, u64), LandingError> {
        let (place, path) = (Arc::clone(place), path.clone());
        let begun = underway.blocking(move || match interrupted {
            Interrupted::Remove => place.incoming(&path, holes(size)),
            Interrupted::Keep => place.resume(&path, size, holes(size)),
        });
        let incoming = begun.await?;
        let kept = incoming.kept();
        let part = Arc::new(Part { incoming: Some(incoming), interrupted, _underway: underway.clone() });
        Ok((Self { underway: underway.clone(), part }, kept))
    }

    /// The SHA-256 of the first bytes that an earlier run wrote.
    pub(super) async fn digest(&self, length: u64) -> Result<Option<[u8; 32]>, LandingError> {
        let part = Arc::clone(&self.part);
        let digest = move || part.incoming.as_ref().map(|incoming| incoming.sha256(length)).transpose();
        self.underway.blocking(digest).await
    }

    /// Takes so many bytes of what an earlier run wrote as they are. Before anything is written.
    pub(super) fn take_over(&mut self, length: u64) -> Result<(), LandingError> {
        let incoming = Arc::get_mut(&mut self.part).and_then(|part| part.incoming.as_mut());
        incoming.map_or(Ok(()), |incoming| incoming.go_on_from(length))
    }

    /// One who writes. All of them have to be gone before the file is finished.
    pub(super) fn writer(&self) -> Writer {
        Writer { part: Arc::clone(&self.part), group: Group::default(), writing: None }
    }

    /// Gives the file, which is whole, its attributes and its name. Where its digest on the host is known, it has to have that.
    pub(super) async fn finish(
        self,
        size: u64,
        digest: Option<Sha256>,
        attributes: Attributes,
        committer: &Arc<Committer>,
    ) -> Result<(), LandingError> {
        let incoming = Arc::into_inner(self.part).and_then(|mut part| part.incoming.take());
        let committer = Arc::clone(committer);
        let finish = move || {
            let incoming = incoming.ok_or_else(|| fault("somebody writes to it still"))?;
            if let Some(digest) = digest {
                incoming.check(size, digest)?;
            }
            let sealed = incoming.seal(size, &attributes)?;
            committer.commit(vec![sealed]).pop().unwrap_or_else(|| Err(fault("it was not named")))
        };
        self.underway.blocking(finish).await
    }

    /// Removes it, however it was to be interrupted: what came is not what the host has.
    pub(super) fn discard(self) {
        if let Some(mut part) = Arc::into_inner(self.part) {
            part.interrupted = Interrupted::Remove;
        }
    }
}

impl Writer {
    /// Takes what came of the file at `offset`; its bytes are in flight until they are written.
    pub(super) async fn take(
        &mut self,
        offset: u64,
        pieces: Vec<Bytes>,
        in_flight: InFlight,
    ) -> Result<(), LandingError> {
        if self.group.at + self.group.length != offset {
            self.write().await?;
            self.group.at = offset;
        }
        self.group.length += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.group.pieces.extend(pieces);
        self.group.in_flight.push(in_flight);
        Ok(())
    }

    /// Bytes that came and are not being written yet.
    pub(super) fn gathered(&self) -> u64 {
        self.group.length
    }

    /// Begins to write what came, once what came before is written.
    pub(super) async fn write(&mut self) -> Result<(), LandingError> {
        self.written().await?;
        let at = self.group.at + self.group.length;
        let group = std::mem::replace(&mut self.group, Group { at, ..Group::default() });
        if group.pieces.is_empty() {
            return Ok(());
        }
        let part = Arc::clone(&self.part);
        self.writing = Some(spawn_blocking(move || {
            let buffers: Vec<&[u8]> = group.pieces.iter().map(|piece| &piece[..]).collect();
            part.incoming.as_ref().map_or(Ok(()), |incoming| incoming.write_at(group.at, &buffers))
        }));
        Ok(())
    }

    /// Writes what came, and waits until that is done.
    pub(super) async fn finish(mut self) -> Result<(), LandingError> {
        self.write().await?;
        self.written().await
    }

    /// Waits until nothing is being written.
    async fn written(&mut self) -> Result<(), LandingError> {
        match self.writing.take() {
            Some(writing) => writing.await.unwrap_or_else(|panic| Err(fault(panic))),
            None => Ok(()),
        }
    }
}
