//! The byte stream below SSH: what russh reads from and writes to.
//!
//! [`Wire`] wraps a TCP socket, a channel through a jump host or the pipes of a `ProxyCommand`. It remembers what came
//! before the server's version string, acknowledges at once while a handshake waits on every segment, and can be cut
//! from outside, because a handshake that stalls inside russh keeps its task for ever. It knows nothing of SSH packets.

use bytes::{Buf, BufMut, BytesMut};
use futures::task::AtomicWaker;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much of what comes before the version string is kept. OpenSSH's refusals are one line.
const GREETING_LIMIT: usize = 1024;
/// Reads that are acknowledged at once after a [`Monitor::hurry`]: a handshake or the start of a command. Bulk that
/// follows is better off with delayed acknowledgements.
const HURRIED_READS: u32 = 24;

/// Any duplex byte stream other than a socket.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What is read from the socket at once, since russh asks for each packet in two pieces.
const LITTLE: usize = 8 * 1024;
/// The same where so much came the last time: two packets of the largest size.
const BULK: usize = 64 * 1024;

/// What carries the bytes.
pub(super) enum Carrier {
    /// A socket of ours.
    Tcp(TcpStream),
    /// A channel of a jump host, or the pipes of a `ProxyCommand`.
    Other(Box<dyn Duplex>),
}

/// A duplex stream that is watched through its [`Monitor`].
pub(super) struct Wire {
    carrier: Carrier,
    /// Read, and not asked for yet.
    ahead: BytesMut,
    /// Whether there was much to read the last time.
    is_bulk: bool,
    monitor: Arc<Monitor>,
}

/// The outside's view of a [`Wire`].
#[derive(Default)]
pub(super) struct Monitor {
    greeting: Mutex<Greeting>,
    identified: AtomicBool,
    hurried: AtomicU32,
    cut: AtomicBool,
    reader: AtomicWaker,
}

/// The first bytes that the server sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    /// At most [`GREETING_LIMIT`] bytes, up to the end of the version line.
    pub(super) bytes: Vec<u8>,
    /// The version line is complete.
    pub(super) identified: bool,
    /// How reading ended, if it did.
    pub(super) ended: Option<io::ErrorKind>,
}

impl Greeting {
    fn take(&mut self, fresh: &[u8]) {
        if self.identified || self.bytes.len() >= GREETING_LIMIT {
            return;
        }
        let room = GREETING_LIMIT - self.bytes.len();
        self.bytes.extend_from_slice(&fresh[..fresh.len().min(room)]);
        let mut start = 0;
        while let Some(length) = self.bytes[start..].iter().position(|&byte| byte == b'\n') {
            let line = &self.bytes[start..start + length];
            start += length + 1;
            if line.starts_with(b"SSH-") {
                self.identified = true;
                self.bytes.truncate(start);
                return;
            }
        }
    }

    /// The version line without its line end, such as `SSH-2.0-OpenSSH_9.2`.
    pub(super) fn version(&self) -> Option<String> {
        let line =
            self.identified.then(|| self.bytes.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"SSH-")))?;
        line.map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
    }

    /// The version line, where it is not one of SSH 2 (RFC 4253 §4.2, §5.1).
    pub(super) fn foreign_version(&self) -> Option<String> {
        self.version().filter(|version| !version.starts_with("SSH-2.0-") && !version.starts_with("SSH-1.99-"))
    }
}

impl Wire {
    pub(super) fn new(carrier: Carrier) -> (Self, Arc<Monitor>) {
        let monitor = Arc::new(Monitor::default());
        monitor.hurry();
        (Self { carrier, ahead: BytesMut::new(), is_bulk: false, monitor: Arc::clone(&monitor) }, monitor)
    }
}

impl Monitor {
    /// What the server said first.
    pub(super) fn greeting(&self) -> Greeting {
        self.greeting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A conversation of small packets begins, in which each side waits for the other.
    pub(super) fn hurry(&self) {
        self.hurried.store(HURRIED_READS, Ordering::Relaxed);
    }

    #[cfg(test)]
    fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed) > 0
    }

    /// Counts a read.
    fn take_hurry(&self) -> bool {
        let left = self.hurried.load(Ordering::Relaxed);
        self.hurried.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// Ends the stream: reading fails from now on, also one that is pending.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn note(&self, change: impl FnOnce(&mut Greeting)) {
        change(&mut self.greeting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            this.monitor.reader.register(context.waker());
            if this.monitor.cut.load(Ordering::Acquire) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            return this.poll_carrier(context, buffer);
        }
        this.hand_over(buffer);
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Gives what was read as far as it was asked for.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
    }

    /// A connection that waits holds no buffer.
    fn wait<T>(&mut self) -> Poll<T> {
        self.ahead = BytesMut::new();
        Poll::Pending
    }

    /// Reads what there is, hands over what was asked for and keeps the rest. Nothing is the end of the stream.
    fn poll_carrier(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = if self.is_bulk { self.poll_bulk(context) } else { self.poll_little(context) };
        let Poll::Ready(read) = polled else { return self.wait() };
        if self.monitor.take_hurry()
            && let Carrier::Tcp(stream) = &self.carrier
        {
            // The kernel forgets this after a while, so it is said again at every read. sshd leaves Nagle's algorithm on:
            // its next packet waits for our acknowledgement of the last one.
            let _ = rustix::net::sockopt::set_tcp_quickack(stream.as_fd(), true);
        }
        let fresh = &self.ahead[..];
        if !self.monitor.identified.load(Ordering::Relaxed) {
            let mut is_foreign = false;
            self.monitor.note(|greeting| match &read {
                Ok(_) if fresh.is_empty() => greeting.ended = Some(io::ErrorKind::UnexpectedEof),
                Ok(_) => {
                    greeting.take(fresh);
                    self.monitor.identified.store(greeting.identified, Ordering::Relaxed);
                    is_foreign = greeting.foreign_version().is_some();
                }
                Err(error) => greeting.ended = Some(error.kind()),
            });
            if is_foreign {
                // russh would wait for another version line, and so would the server.
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        self.hand_over(buffer);
        Poll::Ready(read)
    }

    /// Reads what little there is, for which no large buffer comes and goes.
    fn poll_little(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); LITTLE];
        let mut fresh = ReadBuf::uninit(&mut space);
        let polled = match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_read(context, &mut fresh),
            Carrier::Other(stream) => Pin::new(stream).poll_read(context, &mut fresh),
        };
        self.is_bulk = fresh.remaining() == 0;
        self.ahead.extend_from_slice(fresh.filled());
        polled
    }

    /// Reads much at once.
    fn poll_bulk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Who only asks whether something has come needs no space for it.
        if let Carrier::Tcp(stream) = &self.carrier
            && stream.poll_read_ready(context).is_pending()
        {
            return Poll::Pending;
        }
        self.ahead.reserve(BULK);
        let mut space = (&mut self.ahead).limit(BULK);
        let polled = match &mut self.carrier {
            Carrier::Tcp(stream) => pin!(stream.read_buf(&mut space)).poll(context),
            Carrier::Other(stream) => pin!(stream.read_buf(&mut space)).poll(context),
        };
        self.is_bulk = self.ahead.len() >= LITTLE;
        polled.map_ok(drop)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Carrier::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Other(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Other(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn the_greeting_ends_with_the_version_line_however_it_is_cut() {
        let text = b"Welcome\r\nSSH-2.0-OpenSSH_9.2\r\n\x00\x01binary";
        for size in 1..text.len() {
            let mut greeting = Greeting::default();
            text.chunks(size).for_each(|chunk| greeting.take(chunk));
            assert!(greeting.identified, "chunks of {size}");
            assert_eq!(greeting.version().as_deref(), Some("SSH-2.0-OpenSSH_9.2"));
        }
    }

    #[test]
    fn an_endless_greeting_is_kept_only_up_to_the_limit() {
        let mut greeting = Greeting::default();
        (0..1000).for_each(|_| greeting.take(b"x: 12345678901234567890\r\n"));
        assert_eq!(greeting.bytes.len(), GREETING_LIMIT);
        assert_eq!(greeting.version(), None);
    }

    #[tokio::test]
    async fn the_hurry_of_a_connection_through_a_jump_host_ends_too() {
        let (near, mut far) = tokio::io::duplex(1);
        let (mut wire, monitor) = Wire::new(Carrier::Other(Box::new(near)));
        for _ in 0..HURRIED_READS {
            assert!(monitor.is_hurried());
            far.write_all(b"x").await.unwrap();
            wire.read_u8().await.unwrap();
        }
        assert!(!monitor.is_hurried());
    }

    #[tokio::test]
    async fn cutting_ends_a_read_that_is_pending() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut wire, monitor) = Wire::new(Carrier::Other(Box::new(near)));
        far.write_all(b"hello").await.unwrap();
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 5];
            wire.read_exact(&mut buffer).await.unwrap();
            wire.read_exact(&mut buffer).await.unwrap_err().kind()
        });
        while monitor.greeting().bytes.is_empty() {
            tokio::task::yield_now().await;
        }
        monitor.cut();
        assert_eq!(reader.await.unwrap(), io::ErrorKind::ConnectionAborted);
        drop(far);
    }
}
