//! From what the shell prints to replies.

use super::answers::{Answers, Garbled, Printed};
use super::exchange::{Asked, Exchange, SILENCE};
use super::replies::{Expected, reply};
use crate::sftp::carrier::{ByteSource, Piece};
use crate::sftp::codec::Writer;
use bytes::Bytes;
use std::pin::pin;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// What login scripts may print before the shell is ready.
const NOISE: usize = 256 * 1024;
/// The names of one directory with what is known of them.
const LISTING: usize = 16 * 1024 * 1024;
/// Any other output that is not a file's.
const WORDS: usize = 64 * 1024;

/// What the shell tells before the first request.
pub(super) struct Welcome {
    /// The umask.
    pub(super) mask: u32,
}

/// Reads the shell until it ends, and gives the reason; `None` where nobody wants the replies any more.
pub(super) async fn listen(
    source: &mut impl ByteSource,
    exchange: &Exchange,
    replies: &mpsc::Sender<Piece>,
    welcome: oneshot::Sender<Welcome>,
) -> Option<String> {
    let mut answers = Answers::default();
    let mut welcome = Some(welcome);
    loop {
        let piece = {
            let mut next = pin!(source.next());
            loop {
                tokio::select! {
                    piece = &mut next => break piece,
                    () = replies.closed() => return None,
                    () = sleep(SILENCE / 10) => {
                        if exchange.is_overdue() {
                            let minutes = SILENCE.as_secs() / 60;
                            return Some(format!("the shell on the host has said nothing for {minutes} minutes"));
                        }
                    }
                }
            }
        };
        match piece {
            Piece::Data(bytes) => answers.push(&bytes),
            Piece::Talk(bytes) => {
                replies.send(Piece::Talk(bytes)).await.ok()?;
                continue;
            }
            Piece::Refused => return Some("the server does not start a shell".into()),
            Piece::Ended(why) => return Some(ending(&answers, welcome.is_some(), why)),
        }
        exchange.moved();
        if welcome.is_some() {
            let version = match begun(&mut answers, exchange) {
                Ok(Some((told, version))) => {
                    // Whoever waits for it is a part of the same task.
                    let _ = welcome.take().map(|welcome| welcome.send(told));
                    version
                }
                Ok(None) => continue,
                Err(why) => return Some(why),
            };
            replies.send(Piece::Data(version)).await.ok()?;
        }
        loop {
            match answered(&mut answers, exchange) {
                Ok(Some(packet)) => {
                    for piece in packet {
                        replies.send(Piece::Data(piece)).await.ok()?;
                    }
                }
                Ok(None) => break,
                Err(why) => return Some(why),
            }
        }
    }
}

/// The end of the shell, in the words that it left.
fn ending(answers: &Answers, is_first: bool, why: String) -> String {
    match first_line(answers.held()) {
        line if is_first && !line.is_empty() => format!("{why}; the host prints `{line}`"),
        _ => why,
    }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(120)]).into_owned();
    text.trim().lines().next().unwrap_or_default().to_owned()
}

fn garbled(Garbled: Garbled) -> String {
    "the shell on the host garbles its answers".into()
}

/// The first answer, and the VERSION packet that comes of it.
fn begun(answers: &mut Answers, exchange: &Exchange) -> Result<Option<(Welcome, Bytes)>, String> {
    // What only echoes has the token, and nothing behind it.
    let echoed = |_| "the host does not run what its shell is told".to_owned();
    let Some(Printed { words, .. }) = answers.next(&exchange.first).map_err(echoed)? else {
        if answers.held().len() > NOISE {
            let line = first_line(answers.held());
            return Err(format!("the host prints without end where its shell should answer: `{line}`"));
        }
        return Ok(None);
    };
    let mut words = words.split_ascii_whitespace();
    let mask = words.next().and_then(|mask| u32::from_str_radix(mask, 8).ok()).ok_or_else(|| garbled(Garbled))?;
    let mut version = Writer::packet(2, 3);
    let mut announce = |name: &[u8], number: &[u8]| {
        version = std::mem::take(&mut version).string(name).string(number);
    };
    announce(b"posix-rename@openssh.com", b"1");
    announce(b"hardlink@openssh.com", b"1");
    announce(b"limits@openssh.com", b"1");
    announce(b"expand-path@openssh.com", b"1");
    for feature in words {
        match feature {
            "sync" => announce(b"fsync@openssh.com", b"1"),
            "space" => announce(b"statvfs@openssh.com", b"2"),
            "links" => announce(b"lsetstat@openssh.com", b"1"),
            "copy" => announce(b"copy-data", b"1"),
            _ => {}
        }
    }
    exchange.state().is_ready = true;
    Ok(Some((Welcome { mask: mask & 0o777 }, version.finish(0))))
}

/// The next reply, where its answer is whole.
fn answered(answers: &mut Answers, exchange: &Exchange) -> Result<Option<Vec<Bytes>>, String> {
    let mut state = exchange.state();
    let Some(first) = state.asked.front() else {
        return match first_line(answers.held()) {
            _ if answers.held().is_empty() => Ok(None),
            line => Err(format!("the shell on the host prints `{line}` where nothing was asked")),
        };
    };
    let Some(printed) = answers.next(&first.token).map_err(garbled)? else {
        let most = match first.expected {
            Expected::Listing => LISTING,
            Expected::Data { before, length } => before + length + WORDS,
            _ => WORDS,
        };
        return match answers.held().len() > most {
            true => Err("the shell on the host prints more than an answer can hold".into()),
            false => Ok(None),
        };
    };
    let Some(Asked { id, expected, .. }) = state.asked.pop_front() else { return Ok(None) };
    Ok(Some(reply(id, expected, printed, &mut state.handles)))
}
