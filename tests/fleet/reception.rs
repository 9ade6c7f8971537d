//! What happens to a connection before it is handed to the SSH server, if it ever is.

use super::behaviour::Reception;
use super::host::{Host, Visit};
use super::line::{Line, reset_when_closed};
use super::server::{self, Registry};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VERSION: &[u8] = b"SSH-2.0-fleet\r\n";

/// Receives one connection and stays with it to its end.
pub(super) async fn receive(host: Arc<Host>, mut stream: TcpStream, registry: Arc<Registry>) {
    let visit = Visit::begin(&host);
    // A caller who goes away is what these tests are about.
    let _ = stream.set_nodelay(true);
    let _ = match host.behaviour.reception {
        Reception::Ssh => serve(visit, stream, registry).await,
        Reception::Chatty(text) => match stream.write_all(text.as_bytes()).await {
            Ok(()) => serve(visit, stream, registry).await,
            Err(error) => Err(error),
        },
        Reception::SaysAtFirst(_, times) if host.counts().connections > times => serve(visit, stream, registry).await,
        Reception::Says(text) | Reception::SaysAtFirst(text, _) => say(&mut stream, text).await,
        Reception::Silent => listen(&mut stream).await,
        Reception::Tarpit(pause) => loop {
            // The pace is the behaviour itself; nothing waits for it.
            if let Err(error) = stream.write_all(b"x").await {
                break Err(error);
            }
            tokio::time::sleep(pause).await;
        },
        Reception::Closes => stream.shutdown().await,
        Reception::Resets => {
            // Not before the caller has spoken: a reset that is faster than the handshake of TCP is another fault.
            let heard = stream.read_u8().await.map(drop);
            reset_when_closed(&stream);
            heard
        }
        Reception::NamesItself(version) => match stream.write_all(version.as_bytes()).await {
            Ok(()) => listen(&mut stream).await,
            Err(error) => Err(error),
        },
        Reception::ResetsInKeyExchange => reset_in_key_exchange(&mut stream).await,
        Reception::SpeaksNonsense => {
            let nonsense = [VERSION, &[0x55; 4096]].concat();
            match stream.write_all(&nonsense).await {
                Ok(()) => listen(&mut stream).await,
                Err(error) => Err(error),
            }
        }
        Reception::Absent | Reception::Deaf => Ok(()),
    };
}

async fn serve(visit: Visit, stream: TcpStream, registry: Arc<Registry>) -> io::Result<()> {
    // Where it was called, which may be a relay.
    let (peer, local) = (stream.peer_addr()?, visit.host.address);
    let (line, switch) = Line::new(stream);
    visit.host.watch_line(&switch);
    server::serve(visit, line, server::Ends { peer, local }, registry).await;
    Ok(())
}

/// Says it, and reads what the caller sends meanwhile: closing a socket with unread bytes would be a reset.
async fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    listen(stream).await
}

async fn listen(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn reset_in_key_exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(VERSION).await?;
    let mut heard = Vec::new();
    // The first packet behind the version line is SSH_MSG_KEXINIT.
    while heard.iter().position(|&byte| byte == b'\n').is_none_or(|end| heard.len() < end + 64) {
        if stream.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
    }
    reset_when_closed(stream);
    Ok(())
}
