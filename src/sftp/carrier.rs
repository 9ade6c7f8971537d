//! What carries the packets: the two directions of a channel, or of a pipe in tests.

use crate::connection::{Happening, Input, Process};
use crate::event::Stream;
use crate::outcome::RemoteExit;
use bytes::Bytes;
use std::future::Future;

/// Something that came from the server's side.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the protocol, cut anywhere.
    Data(Bytes),
    /// Words on the server's standard error.
    Talk(Bytes),
    /// The host has no such server.
    Refused,
    /// Nothing follows, and why.
    Ended(String),
}

/// Where the server's bytes come from.
pub trait ByteSource: Send + 'static {
    /// The next piece; not called again after [`Piece::Refused`] and [`Piece::Ended`].
    fn next(&mut self) -> impl Future<Output = Piece> + Send;

    /// Gives the channel back.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Where bytes for the server go.
pub trait ByteSink: Send + 'static {
    /// Sends; waits while the server takes none. `false` where it is gone.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;

    /// Says that nothing follows.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

impl From<Happening> for Piece {
    fn from(happening: Happening) -> Self {
        match happening {
            Happening::Output(Stream::Stdout, bytes) => Self::Data(bytes),
            Happening::Output(Stream::Stderr, bytes) => Self::Talk(bytes),
            Happening::Refused => Self::Refused,
            Happening::Ended(RemoteExit::Status(status)) => {
                Self::Ended(format!("the SFTP server on the host ended with status {status}"))
            }
            Happening::Ended(RemoteExit::Signal { name, .. }) => {
                Self::Ended(format!("the SFTP server on the host was ended by signal {name}"))
            }
            Happening::Lost(why) => Self::Ended(why),
        }
    }
}

impl ByteSource for Process {
    async fn next(&mut self) -> Piece {
        Process::next(self).await.into()
    }

    async fn close(self) {
        Process::close(self).await;
    }
}

impl ByteSink for Input {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.write(bytes).await.is_ok()
    }

    async fn finish(&mut self) {
        // A server that is gone needs no end of its input.
        let _ = Input::finish(self).await;
    }
}
