//! A program on a host that is listened to whatever else is done: a [`Program`]. What nobody hears would stop the whole
//! connection. It is ended when it is dropped, and when it says more than it could have to.

use crate::connection::{Connection, Happening, Input, Trace};
use crate::event::Stream;
use crate::task::inner::Inner;
use crate::task::privilege::Privilege;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What it may say in all, in bytes.
const MOST: usize = 32 * 1024 * 1024;
/// And in how many pieces it may be ahead of who hears it.
const PIECES: usize = 1024;

/// A shell on a host that reads what it is to do.
pub(super) struct Program {
    input: Input,
    said: mpsc::Receiver<Bytes>,
    /// What was said and not taken yet.
    heard: BytesMut,
}

impl Program {
    /// Starts it, with the rights of the SFTP server; nothing where the host does not let us.
    pub(super) async fn start(connection: &Arc<Connection>, privilege: Option<&Privilege>) -> Option<Self> {
        let (connection, privilege) = (Arc::clone(connection), privilege.cloned());
        let (started, starts) = oneshot::channel();
        let (sender, said) = mpsc::channel(PIECES);
        // By itself, because it has to be heard and closed whether or not anybody waits for it.
        tokio::spawn(async move {
            let process = Inner::start(connection, "exec /bin/sh", privilege.as_ref(), &mut Trace::default()).await;
            let Ok(mut process) = process else { return };
            if started.send(process.input()).is_ok() {
                listen(&mut process, &sender).await;
            }
            process.close().await;
        });
        Some(Self { input: starts.await.ok()?, said, heard: BytesMut::new() })
    }

    /// Writes to it; nothing where it takes no more.
    pub(super) async fn write(&self, bytes: Bytes) -> Option<()> {
        self.input.write(bytes).await.ok()
    }

    /// Says to it that nothing follows.
    pub(super) async fn finish(&self) -> Option<()> {
        self.input.finish().await.ok()
    }

    /// The next so many bytes that it says; nothing where it ended before that.
    pub(super) async fn take(&mut self, length: usize) -> Option<BytesMut> {
        while self.heard.len() < length {
            self.heard.extend_from_slice(&self.said.recv().await?);
        }
        Some(self.heard.split_to(length))
    }
}

async fn listen(process: &mut Inner, sender: &mpsc::Sender<Bytes>) {
    let mut left = MOST;
    loop {
        let happening = tokio::select! {
            happening = process.next() => happening,
            () = sender.closed() => return,
        };
        match happening {
            Happening::Output(Stream::Stdout, bytes) if bytes.len() <= left => {
                left -= bytes.len();
                if sender.try_send(bytes).is_err() {
                    return;
                }
            }
            Happening::Output(Stream::Stderr, _) => {}
            _ => return,
        }
    }
}
