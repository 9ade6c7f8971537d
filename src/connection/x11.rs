//! X11 forwarding (RFC 4254 §6.3), for the runs that ask for it on the command line.
//!
//! The host is given a made-up cookie. Each window that it opens comes back as a channel; the cookie in its first packet
//! is checked and replaced by the display's own, which thus never leaves this machine (x11_open_helper in channels.c).

use super::wire::Duplex;
use data_encoding::HEXLOWER_PERMISSIVE;
use russh::Channel;
use russh::client::Msg;
use std::io;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The only authentication that X servers and sshd share.
const PROTOCOL: &str = "MIT-MAGIC-COOKIE-1";
const COOKIE: usize = 16;
/// A first packet names a protocol and a cookie; both are short.
const FIELD_LIMIT: usize = 256;

/// The display of this machine, and what hosts are told instead of its cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    name: String,
    screen: u32,
    real: [u8; COOKIE],
    made_up: [u8; COOKIE],
}

/// Why windows cannot be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// There is no display, or its name cannot be read.
    #[error("`DISPLAY` names no display: `{0}`")]
    Name(String),
    /// xauth does not know a cookie.
    #[error("xauth has no {PROTOCOL} for the display `{0}`")]
    NoCookie(String),
    /// There is no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// What a host is told (RFC 4254 §6.3.1).
pub(super) struct Announcement {
    pub(super) protocol: &'static str,
    pub(super) cookie: String,
    pub(super) screen: u32,
}

impl Display {
    /// Takes `$DISPLAY` and asks xauth for its cookie.
    ///
    /// # Errors
    /// Without a display or without a cookie: X servers that need none would let every user of the host in.
    pub fn of(name: &str) -> Result<Self, DisplayError> {
        let (_, screen) = number_and_screen(name).ok_or_else(|| DisplayError::Name(name.into()))?;
        let listed = Command::new("xauth").args(["list", name]).output().ok();
        let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let real = cookie_of(&text).ok_or_else(|| DisplayError::NoCookie(name.into()))?;
        let mut made_up = [0; COOKIE];
        getrandom::fill(&mut made_up).map_err(|_| DisplayError::Random)?;
        Ok(Self(Arc::new(Facts { name: name.into(), screen, real, made_up })))
    }

    pub(super) fn announcement(&self) -> Announcement {
        Announcement { protocol: PROTOCOL, cookie: HEXLOWER_PERMISSIVE.encode(&self.0.made_up), screen: self.0.screen }
    }

    /// Joins a window of a host with the display, until either side ends.
    pub(super) fn relay(&self, channel: Channel<Msg>) {
        let display = self.clone();
        tokio::spawn(async move {
            let mut window = channel.into_stream();
            // A window that knows no cookie is dropped, and one whose display is gone.
            if let Ok(first) = display.first_packet(&mut window).await
                && let Ok(mut server) = display.connect().await
                && server.write_all(&first).await.is_ok()
            {
                let _ = tokio::io::copy_bidirectional(&mut window, &mut server).await;
            }
        });
    }

    /// The first packet with the cookie exchanged (X protocol, chapter 8, "Connection Setup").
    async fn first_packet(&self, window: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 12];
        window.read_exact(&mut packet).await?;
        let length = |at: usize| match packet[0] {
            b'B' => usize::from(u16::from_be_bytes([packet[at], packet[at + 1]])),
            _ => usize::from(u16::from_le_bytes([packet[at], packet[at + 1]])),
        };
        let (name, data) = (length(6), length(8));
        if name > FIELD_LIMIT || data != COOKIE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let cookie_at = 12 + name.next_multiple_of(4);
        packet.resize(cookie_at + data.next_multiple_of(4), 0);
        window.read_exact(&mut packet[12..]).await?;
        let cookie = &mut packet[cookie_at..cookie_at + COOKIE];
        if *cookie != self.0.made_up {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        cookie.copy_from_slice(&self.0.real);
        Ok(packet)
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let name = self.0.name.as_str();
        let (number, _) = number_and_screen(name).ok_or(io::ErrorKind::NotFound)?;
        match name.rsplit_once(':').map_or("", |(host, _)| host) {
            "" | "unix" => Ok(Box::new(UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).await?)),
            path if path.starts_with('/') => Ok(Box::new(UnixStream::connect(name).await?)),
            host => Ok(Box::new(TcpStream::connect((host, 6000 + number)).await?)),
        }
    }
}

/// `host:NUMBER.SCREEN`.
fn number_and_screen(name: &str) -> Option<(u16, u32)> {
    let (_, rest) = name.rsplit_once(':')?;
    let (number, screen) = rest.split_once('.').unwrap_or((rest, "0"));
    let number = number.parse().ok().filter(|&number| number <= u16::MAX - 6000)?;
    Some((number, screen.parse().ok()?))
}

/// The cookie in a line of `xauth list`: name, protocol, hexadecimal digits.
fn cookie_of(listed: &str) -> Option<[u8; COOKIE]> {
    let hex = listed.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.nth(1)? == PROTOCOL).then(|| fields.next())?
    })?;
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display() -> Display {
        Display(Arc::new(Facts { name: ":0".into(), screen: 0, real: [7; COOKIE], made_up: [9; COOKIE] }))
    }

    fn setup(order: u8, cookie: [u8; COOKIE]) -> Vec<u8> {
        let short = |value: u16| if order == b'B' { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut packet = vec![order, 0];
        for value in [11, 0, PROTOCOL.len() as u16, COOKIE as u16, 0] {
            packet.extend(short(value));
        }
        packet.extend(PROTOCOL.as_bytes());
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet.extend(cookie);
        packet
    }

    #[tokio::test]
    async fn the_made_up_cookie_is_exchanged_in_both_byte_orders() {
        for order in [b'B', b'l'] {
            let sent = setup(order, [9; COOKIE]);
            let passed = display().first_packet(&mut sent.as_slice()).await.unwrap();
            assert_eq!(passed, setup(order, [7; COOKIE]));
        }
    }

    #[tokio::test]
    async fn a_window_with_another_cookie_is_dropped() {
        for sent in [setup(b'l', [1; COOKIE]), vec![0xff; 64], b"l".to_vec()] {
            assert!(display().first_packet(&mut sent.as_slice()).await.is_err());
        }
    }

    #[test]
    fn displays_and_cookies_are_read() {
        assert_eq!(number_and_screen(":0"), Some((0, 0)));
        assert_eq!(number_and_screen("localhost:10.1"), Some((10, 1)));
        assert_eq!(number_and_screen("nowhere"), None);
        let listed = "vm/unix:0  XDM  00\nvm/unix:0  MIT-MAGIC-COOKIE-1  000102030405060708090a0b0c0d0e0f\n";
        assert_eq!(cookie_of(listed).map(|cookie| cookie[15]), Some(15));
        assert_eq!(cookie_of(""), None);
    }
}
