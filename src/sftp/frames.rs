//! From the pieces that a channel delivers to whole SFTP packets, without copying what a file holds.

use super::error::SftpError;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// The largest packet that is taken; OpenSSH's SFTP_MAX_MSG_LENGTH.
pub(super) const LARGEST: usize = 256 * 1024;

/// A reply: its kind, what it answers, and the rest of it in the pieces that it came in.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    /// The request's id; of a VERSION packet the version.
    pub(super) id: u32,
    body: Vec<Bytes>,
}

impl Packet {
    /// The body in one piece.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.body.len() <= 1 {
            return self.body.pop().unwrap_or_default();
        }
        self.body.concat().into()
    }

    /// The body in its pieces.
    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.body
    }
}

/// Gathers pieces until a packet is whole.
#[derive(Default)]
pub(super) struct Frames {
    pieces: VecDeque<Bytes>,
    held: usize,
}

impl Frames {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.held += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// The next whole packet, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, SftpError> {
        let mut head = [0; 9];
        if self.peek(&mut head) < 4 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if !(5..=LARGEST).contains(&length) {
            return Err(SftpError::protocol(format!(
                "the server sent a packet of {length} bytes; SFTP has 5 to {LARGEST}"
            )));
        }
        if self.held < 4 + length {
            return Ok(None);
        }
        self.take(9);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Some(Packet { kind: head[4], id, body: self.take(length - 5) }))
    }

    /// The first bytes of what is held, for a look at what is no packet.
    pub(super) fn peek(&self, into: &mut [u8]) -> usize {
        let mut filled = 0;
        for piece in &self.pieces {
            let count = piece.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&piece[..count]);
            filled += count;
            if filled == into.len() {
                break;
            }
        }
        filled
    }

    fn take(&mut self, mut count: usize) -> Vec<Bytes> {
        self.held -= count;
        let mut taken = Vec::with_capacity(1);
        while count > 0 {
            let Some(first) = self.pieces.front_mut() else { break };
            let part = first.len().min(count);
            taken.push(first.copy_to_bytes(part));
            count -= part;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 5).unwrap();
        [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
    }

    proptest! {
        #[test]
        fn packets_are_the_same_however_they_are_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            cuts in proptest::collection::vec(1_usize..20, 1..40),
        ) {
            let stream: Vec<u8> =
                bodies.iter().zip(0..).flat_map(|(body, id)| packet(id as u8, id, body)).collect();
            let (mut frames, mut rest, mut found) = (Frames::default(), &stream[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                frames.push(Bytes::copy_from_slice(piece));
                rest = after;
                while let Some(packet) = frames.next().unwrap() {
                    found.push((packet.id, packet.into_bytes()));
                }
                if rest.is_empty() {
                    break;
                }
            }
            let sent: Vec<(u32, Bytes)> = (0..).zip(bodies.into_iter().map(Bytes::from)).collect();
            prop_assert_eq!(found, sent);
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_anything_is_gathered() {
        for length in [0_u32, 4, LARGEST as u32 + 1, u32::MAX] {
            let mut frames = Frames::default();
            frames.push(Bytes::copy_from_slice(&length.to_be_bytes()));
            assert!(frames.next().is_err(), "{length}");
        }
    }
}
