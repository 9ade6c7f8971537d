//! What is being written on threads of its own, and the wait for the end of it: [`Underway`].

use crate::tree::landing::LandingError;
use std::convert::Infallible;
use std::io;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

/// Held by whatever may still write for one host. Who is not waited for any more goes on to his end all the same, and only
/// then removes what he leaves.
#[derive(Clone, Debug)]
pub(super) struct Underway {
    _held: Sender<Infallible>,
}

/// Tells when nothing is under way any more.
#[derive(Debug)]
pub(super) struct AllEnded(Receiver<Infallible>);

impl Underway {
    /// Nothing is under way but what will hold this.
    pub(super) fn new() -> (Self, AllEnded) {
        let (sender, receiver) = channel(1);
        (Self { _held: sender }, AllEnded(receiver))
    }

    /// Does what blocks on a thread for that.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, LandingError> + Send + 'static,
    ) -> Result<T, LandingError> {
        let underway = self.clone();
        // What nobody takes is dropped there, before this is.
        let (result, _underway) = spawn_blocking(move || (work(), underway)).await.map_err(fault)?;
        result
    }
}

impl AllEnded {
    /// Waits until everybody who held the other end has let go of it.
    pub(super) async fn wait(mut self) {
        let _: Option<Infallible> = self.0.recv().await;
    }
}

/// A fault of bugle itself.
pub(super) fn fault(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LandingError {
    LandingError::System { action: "finish", path: "a file".into(), source: io::Error::other(error) }
}
