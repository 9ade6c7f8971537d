//! Replies that are still to come.

use super::codec::Reader;
use super::error::{SftpError, Status};
use super::frames::Packet;
use bytes::{Buf, Bytes};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// Why a session ended, for everybody who still waits.
pub(super) type Ended = Arc<OnceLock<SftpError>>;

/// The reply to a request that was sent. Dropping it does not take the request back.
#[must_use]
#[derive(Debug)]
pub struct Answer<T> {
    packet: oneshot::Receiver<Packet>,
    ended: Ended,
    read: fn(Packet) -> Result<T, SftpError>,
}

impl<T> Answer<T> {
    pub(super) fn new(
        packet: oneshot::Receiver<Packet>,
        ended: Ended,
        read: fn(Packet) -> Result<T, SftpError>,
    ) -> Self {
        Self { packet, ended, read }
    }

    /// Waits for the reply.
    pub async fn get(self) -> Result<T, SftpError> {
        match self.packet.await {
            Ok(packet) => (self.read)(packet),
            Err(_) => Err(ending(&self.ended)),
        }
    }
}

pub(super) fn ending(ended: &Ended) -> SftpError {
    ended.get().cloned().unwrap_or_else(|| SftpError::Lost("the SFTP session was closed".into()))
}

/// The reply to a READ.
#[must_use]
#[derive(Debug)]
pub struct DataAnswer {
    answer: Answer<Vec<Bytes>>,
    asked: u32,
}

impl DataAnswer {
    pub(super) fn new(answer: Answer<Vec<Bytes>>, asked: u32) -> Self {
        Self { answer, asked }
    }

    /// Waits for the data: as much as was asked for or less, and never nothing; `None` at the end of the file.
    pub async fn get(self) -> Result<Option<Vec<Bytes>>, SftpError> {
        let pieces = match self.answer.get().await {
            Ok(pieces) => pieces,
            Err(SftpError::Refused(Status::Eof, _)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        match length {
            0 => Err(SftpError::protocol("the server answered a read with no data and no end of file")),
            length if length > self.asked as usize => {
                Err(SftpError::protocol(format!("the server sent {length} bytes where {} were asked for", self.asked)))
            }
            _ => Ok(Some(pieces)),
        }
    }
}

/// A STATUS where another reply would be too: what it says.
fn refusal(packet: Packet, wanted: &'static str) -> SftpError {
    if packet.kind != STATUS {
        return SftpError::protocol(format!(
            "the server answered with packet type {} instead of {wanted}",
            packet.kind
        ));
    }
    match status(packet) {
        Ok(()) => SftpError::protocol(format!("the server answered with success instead of {wanted}")),
        Err(error) => error,
    }
}

/// Success, or why not.
pub(super) fn status(packet: Packet) -> Result<(), SftpError> {
    if packet.kind != STATUS {
        return Err(refusal(packet, "a status"));
    }
    let mut reader = Reader::new(packet.into_bytes());
    let Some(status) = Status::of(reader.u32()?) else { return Ok(()) };
    // Version 3 has a message here; very old servers leave it out.
    let message = reader.string().unwrap_or_default();
    Err(SftpError::Refused(status, String::from_utf8_lossy(&message).trim().to_owned()))
}

pub(super) fn handle(packet: Packet) -> Result<Bytes, SftpError> {
    if packet.kind != HANDLE {
        return Err(refusal(packet, "a handle"));
    }
    let handle = Reader::new(packet.into_bytes()).string()?;
    match handle.len() {
        0..=256 => Ok(Bytes::copy_from_slice(&handle)),
        longer => Err(SftpError::protocol(format!("the server gave a handle of {longer} bytes; 256 are the most"))),
    }
}

pub(super) fn data(packet: Packet) -> Result<Vec<Bytes>, SftpError> {
    if packet.kind != DATA {
        return Err(refusal(packet, "data"));
    }
    let mut pieces = packet.into_pieces();
    let held: usize = pieces.iter().map(Bytes::len).sum();
    let mut announced = [0; 4];
    let mut filled = 0;
    for piece in &mut pieces {
        let part = piece.len().min(4 - filled);
        piece.copy_to_slice(&mut announced[filled..filled + part]);
        filled += part;
        if filled == 4 {
            break;
        }
    }
    if filled < 4 || held - 4 != u32::from_be_bytes(announced) as usize {
        return Err(SftpError::protocol("a data reply is not as long as it says"));
    }
    pieces.retain(|piece| !piece.is_empty());
    Ok(pieces)
}

/// The rest of a packet of this kind.
pub(super) fn body(packet: Packet, kind: u8, wanted: &'static str) -> Result<Reader, SftpError> {
    if packet.kind != kind {
        return Err(refusal(packet, wanted));
    }
    Ok(Reader::new(packet.into_bytes()))
}
