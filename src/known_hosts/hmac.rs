//! HMAC-SHA1 (RFC 2104) of one name under very many salts.
//!
//! A hashed `known_hosts` does not tell whose a line is, so that every host of a run is tried on every line. The main type
//! is [`Salted`]: both key blocks are digested once for a line, and [`Message`] is padded once for a host, which leaves
//! two SHA-1 blocks for each pair. No secret is involved: salt and hash stand in the file.

use sha1::block_api::compress;

/// State that SHA-1 starts from (FIPS 180-4 section 5.3.1).
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

const BLOCK: usize = 64;

/// A message, padded as what follows one block of key.
pub(crate) struct Message(Vec<[u8; BLOCK]>);

impl Message {
    /// Pads it (FIPS 180-4 section 5.1.1).
    pub(crate) fn new(text: &str) -> Self {
        let (whole, rest) = text.as_bytes().as_chunks::<BLOCK>();
        let mut blocks = whole.to_vec();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        if rest.len() >= BLOCK - 8 {
            blocks.push(last);
            last = [0; BLOCK];
        }
        let bits = (BLOCK as u64 + text.len() as u64) * 8;
        last[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        blocks.push(last);
        Self(blocks)
    }
}

/// A salt whose inner and outer key blocks are digested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salted {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Salted {
    /// Digests the key blocks.
    pub(crate) fn new(salt: &[u8; 20]) -> Self {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            state
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The HMAC of a message.
    pub(crate) fn hash(&self, message: &Message) -> [u8; 20] {
        let mut inner = self.inner;
        compress(&mut inner, &message.0);
        let mut block = [0; BLOCK];
        block[..20].copy_from_slice(&digest(inner));
        block[20] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&((BLOCK as u64 + 20) * 8).to_be_bytes());
        let mut outer = self.outer;
        compress(&mut outer, &[block]);
        digest(outer)
    }
}

fn digest(state: [u32; 5]) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha1::Sha1;

    use super::*;

    #[test]
    fn every_length_around_the_blocks_hashes_as_the_hmac_crate_does() {
        for length in 0..200 {
            let (salt, text) = ([length as u8; 20], "x".repeat(length));
            let reference: Hmac<Sha1> = Hmac::new_from_slice(&salt).unwrap();
            let expected: [u8; 20] = reference.chain_update(&text).finalize().into_bytes().into();
            assert_eq!(Salted::new(&salt).hash(&Message::new(&text)), expected, "{length}");
        }
    }
}
