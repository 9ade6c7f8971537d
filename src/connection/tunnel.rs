//! The way from a jump host to a host: a channel that is opened there (RFC 4254 §7.2), why that failed, and its bytes as a
//! stream. Names are resolved by the jump host.

use super::Connection;
use super::handshake::ConnectError;
use super::wire::Carrier;
use crate::host::Endpoint;
use crate::outcome::{Code, Failure};
use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelWriteHalf};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// How much of a jump host's explanation is shown.
const SHOWN: usize = 120;
/// What handing the words of a refusal over may take. It takes microseconds, and meanwhile the connection stands still.
const HANDOVER: Duration = Duration::from_secs(1);

/// The words with which a jump host refuses channels. russh gives the reason to whoever wanted the channel and the words to
/// the handler of the connection, without saying to whom they belong. So they are handed over one by one: the connection
/// goes on once they were taken.
#[derive(Default)]
pub(super) struct Refusals {
    /// Channels that somebody waits for.
    wanted: AtomicUsize,
    said: Mutex<Option<Said>>,
    news: Notify,
}

struct Said {
    words: String,
    taken: oneshot::Sender<()>,
}

impl Refusals {
    /// Hands over what was said about the channel whose refusal was delivered just now.
    pub(super) async fn hand_over(&self, words: &str) {
        if self.wanted.load(Ordering::Acquire) == 0 {
            return;
        }
        let (taken, wait) = oneshot::channel();
        let said = Said { words: words.to_owned(), taken };
        self.replace(Some(said));
        self.news.notify_one();
        // Nobody may come, where the channel was none of a tunnel.
        let _ = timeout(HANDOVER, wait).await;
        self.replace(None);
    }

    async fn take(&self) -> String {
        let taking = async {
            loop {
                if let Some(said) = self.replace(None) {
                    // Whoever handed it over may have waited long enough.
                    let _ = said.taken.send(());
                    return said.words;
                }
                self.news.notified().await;
            }
        };
        timeout(HANDOVER, taking).await.unwrap_or_default()
    }

    fn replace(&self, said: Option<Said>) -> Option<Said> {
        std::mem::replace(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner), said)
    }
}

/// Why there is no tunnel.
struct Refused {
    why: russh::Error,
    words: String,
}

impl Connection {
    /// A stream to a host and port, dialled and resolved by this jump host. `name` is told where the user did not type it.
    pub(super) async fn tunnel_to(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        name: Option<&str>,
    ) -> Result<Carrier, ConnectError> {
        let (bastion, target) = (Arc::clone(self), endpoint.clone());
        // Where the host is given up on, the answer still comes: it has to be heard, and a channel has to be closed.
        let opening = tokio::spawn(async move { bastion.open_tunnel(target).await });
        match opening.await {
            Ok(Ok(tunnel)) => Ok(Carrier::Other(Box::new(tunnel))),
            Ok(Err(Refused { why: russh::Error::ChannelOpenFailure(why), words })) => {
                Err(self.tunnel_refused(&why, &words, endpoint.port, name))
            }
            Ok(Err(_)) | Err(_) => Err(ConnectError::backoff(Failure::new(
                Code::JumpFailed,
                format!("the connection to the jump host {} was lost: {}", self.endpoint, self.why_ended()),
            ))),
        }
    }

    async fn open_tunnel(&self, target: Endpoint) -> Result<Tunnel, Refused> {
        let refusals = &self.facts.refusals;
        refusals.wanted.fetch_add(1, Ordering::AcqRel);
        let opened = self.handle.channel_open_direct_tcpip(target.address, target.port.into(), "127.0.0.1", 0).await;
        let words = match &opened {
            Err(russh::Error::ChannelOpenFailure(_)) => refusals.take().await,
            _ => String::new(),
        };
        refusals.wanted.fetch_sub(1, Ordering::AcqRel);
        opened.map(Tunnel::new).map_err(|why| Refused { why, words })
    }

    fn tunnel_refused(&self, why: &ChannelOpenFailure, words: &str, port: u16, name: Option<&str>) -> ConnectError {
        let words: String = words.trim().lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        // OpenSSH's words where it has none.
        let said = if words.is_empty() || words == "open failed" { String::new() } else { format!(": {words}") };
        let host = name.map_or_else(|| "the host".to_owned(), |name| format!("`{name}`"));
        let failed = |what: String| Failure::new(Code::JumpFailed, format!("the jump host {} {what}", self.endpoint));
        match why {
            ChannelOpenFailure::AdministrativelyProhibited => ConnectError::never(
                failed(format!("does not allow connections to port {port} of {host}{said}"))
                    .hint("its sshd_config needs AllowTcpForwarding yes and a PermitOpen that allows this"),
            ),
            ChannelOpenFailure::ConnectFailed => {
                let lower = words.to_lowercase();
                let hint = if lower.contains("refused") {
                    "is sshd running there, and on that port? -v shows the address"
                } else if ["not known", "resolution", "no address", "resolve"].iter().any(|word| lower.contains(word)) {
                    "the jump host resolves the name: give an address with `HostName` that holds there"
                } else {
                    "is the host up, and does its name resolve on the jump host? -v shows the address"
                };
                ConnectError::never(failed(format!("cannot connect to port {port} of {host}{said}")).hint(hint))
            }
            ChannelOpenFailure::ResourceShortage => ConnectError::backoff(failed(format!("is out of resources{said}"))),
            ChannelOpenFailure::Other { reason, .. } => {
                ConnectError::never(failed(format!("refused a connection to port {port} of {host}: {reason}{said}")))
            }
            ChannelOpenFailure::UnknownChannelType => {
                ConnectError::never(failed(format!("does not forward connections{said}")))
            }
        }
    }
}

/// A channel through a bastion as a stream.
///
/// Its pump always reads, or one host that is slow to be read would stall everybody behind the bastion. What can pile up
/// is bounded by the windows of the SSH connection inside: about 2 MiB a session.
struct Tunnel {
    arriving: UnboundedReceiver<Bytes>,
    current: Bytes,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    _channel: CloseOnDrop,
}

/// Gives the channel back: russh does not when a channel is dropped.
struct CloseOnDrop(Option<ChannelWriteHalf<Msg>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let (Some(channel), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { channel.close().await });
        }
    }
}

impl Tunnel {
    fn new(channel: Channel<Msg>) -> Self {
        let (mut reader, writer) = channel.split();
        let (sender, arriving) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = reader.wait().await {
                let data = match message {
                    ChannelMsg::Data { data } => data,
                    ChannelMsg::Eof | ChannelMsg::Close => return,
                    _ => continue,
                };
                if sender.send(data).is_err() {
                    return;
                }
            }
        });
        Self {
            arriving,
            current: Bytes::new(),
            writer: Box::pin(writer.make_writer()),
            _channel: CloseOnDrop(Some(writer)),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.current.is_empty() {
            match ready!(self.arriving.poll_recv(context)) {
                Some(bytes) => self.current = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(context)
    }
}
