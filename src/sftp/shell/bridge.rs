//! The two ends that the client holds, and the task between them and the shell.

use super::asking::ask;
use super::exchange::{Exchange, word};
use super::listening::listen;
use crate::sftp::carrier::{ByteSink, ByteSource, Piece};
use bytes::Bytes;
use std::pin::pin;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Pieces that wait in a queue, in either direction.
const QUEUE: usize = 16;

/// Where the replies of the bridge come from.
pub struct BridgeSource {
    replies: mpsc::Receiver<Piece>,
    task: JoinHandle<()>,
}

/// Where the requests to the bridge go.
pub struct BridgeSink(Option<mpsc::Sender<Bytes>>);

/// Puts an SFTP server in front of a running POSIX shell, given as what it prints and what it is told. The shell ends
/// when the client says that nothing follows; every trouble with it ends the session. Needs a runtime of tokio.
pub fn bridge(source: impl ByteSource, sink: impl ByteSink) -> (BridgeSource, BridgeSink) {
    let (requests_in, requests) = mpsc::channel(QUEUE);
    let (replies, replies_out) = mpsc::channel(QUEUE);
    let task = tokio::spawn(run(source, sink, requests, replies));
    (BridgeSource { replies: replies_out, task }, BridgeSink(Some(requests_in)))
}

async fn run(
    mut source: impl ByteSource,
    sink: impl ByteSink,
    requests: mpsc::Receiver<Bytes>,
    replies: mpsc::Sender<Piece>,
) {
    let why = match (word(), word()) {
        (Ok(secret), Ok(token)) => {
            let exchange = Exchange::new(secret, token);
            let (welcome, welcomed) = oneshot::channel();
            let mut listening = pin!(listen(&mut source, &exchange, &replies, welcome));
            let asking = pin!(ask(requests, sink, &exchange, &replies, welcomed));
            tokio::select! {
                why = &mut listening => why,
                asked = asking => match asked {
                    // The shell was told that nothing follows, and ends in its own time.
                    Ok(()) => listening.await,
                    Err(why) => Some(why),
                },
            }
        }
        _ => Some("the system gives no random numbers".into()),
    };
    if let Some(why) = why {
        // Whoever asked may have gone.
        let _ = replies.send(Piece::Ended(why)).await;
    }
    drop(replies);
    source.close().await;
}

impl ByteSource for BridgeSource {
    async fn next(&mut self) -> Piece {
        self.replies.recv().await.unwrap_or_else(|| Piece::Ended("the shell on the host was given up".into()))
    }

    async fn close(mut self) {
        self.replies.close();
        while self.replies.recv().await.is_some() {}
        // A panic in the task has been told already.
        let _ = self.task.await;
    }
}

impl ByteSink for BridgeSink {
    async fn send(&mut self, bytes: Bytes) -> bool {
        match &self.0 {
            Some(requests) => requests.send(bytes).await.is_ok(),
            None => false,
        }
    }

    async fn finish(&mut self) {
        self.0 = None;
    }
}
