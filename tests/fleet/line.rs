//! The socket below a server, with a [`Switch`] by which a connection is reset, closed or frozen at any moment.

use super::behaviour::Cut;
use futures::task::AtomicWaker;
use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that can be cut.
pub(super) struct Line {
    stream: TcpStream,
    switch: Arc<Switch>,
}

/// Cuts a [`Line`] from outside.
#[derive(Default)]
pub(super) struct Switch {
    position: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

const OPEN: u8 = 0;
const ENDED: u8 = 1;
const RESET: u8 = 2;
const FROZEN: u8 = 3;

impl Switch {
    pub(super) fn turn(&self, how: Cut) {
        let position = match how {
            Cut::Close => ENDED,
            Cut::Reset => RESET,
            Cut::Freeze => FROZEN,
        };
        self.position.store(position, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Switch>) {
        let switch = Arc::<Switch>::default();
        (Self { stream, switch: Arc::clone(&switch) }, switch)
    }

    /// What becomes of an operation; `None` while the line is open.
    fn fate<T>(&self) -> Option<Poll<io::Result<T>>> {
        match self.switch.position.load(Ordering::Acquire) {
            OPEN => None,
            FROZEN => Some(Poll::Pending),
            RESET => {
                reset_when_closed(&self.stream);
                Some(Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())))
            }
            _ => Some(Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }
}

/// Closing sends RST and not FIN.
pub(super) fn reset_when_closed(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("the socket is open");
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.switch.reader.register(context.waker());
        match self.fate() {
            Some(fate) => fate,
            None => Pin::new(&mut self.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.writer.register(context.waker());
        match self.fate() {
            Some(fate) => fate,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.writer.register(context.waker());
        match self.fate() {
            Some(fate) => fate,
            None => Pin::new(&mut self.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.fate() {
            Some(fate) => fate,
            None => Pin::new(&mut self.stream).poll_shutdown(context),
        }
    }
}
