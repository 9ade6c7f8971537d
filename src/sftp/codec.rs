//! Numbers and strings as SFTP writes them (RFC 4251 §5), and reading them with every length checked.

use super::error::SftpError;
use bytes::Bytes;

/// Builds a request body.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A packet of this kind: its length is filled in by [`finish`](Self::finish).
    pub(super) fn packet(kind: u8, id: u32) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[0; 4]);
        bytes.push(kind);
        bytes.extend_from_slice(&id.to_be_bytes());
        Self(bytes)
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        // No request of ours comes near 4 GiB: names are bounded by PATH_MAX, data by `Limits`.
        let mut with_length = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        with_length.0.extend_from_slice(bytes);
        with_length
    }

    /// The packet; `following` bytes are sent behind it as a part of it.
    pub(super) fn finish(mut self, following: usize) -> Bytes {
        let length = u32::try_from(self.0.len() - 4 + following).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        Bytes::from(self.0)
    }
}

/// Reads a reply.
#[derive(Clone)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SftpError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn u64(&mut self) -> Result<u64, SftpError> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    pub(super) fn string(&mut self) -> Result<Bytes, SftpError> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that are not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, length: usize) -> Result<Bytes, SftpError> {
        if length > self.0.len() {
            return Err(SftpError::protocol("a reply is shorter than the lengths in it say"));
        }
        Ok(self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let packet = Writer::packet(3, 7).u32(1).u64(u64::MAX - 1).string(b"a\xff\0b").finish(10);
        let mut reader = Reader::new(packet.slice(9..));
        assert_eq!(u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize, packet.len() - 4 + 10);
        assert_eq!(
            (reader.u32().unwrap(), reader.u64().unwrap(), &reader.string().unwrap()[..]),
            (1, u64::MAX - 1, &b"a\xff\0b"[..])
        );
        assert!(reader.is_empty());
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        for bytes in [&[0, 0, 0][..], &[0, 0, 0, 5, 1, 2, 3, 4], &[255, 255, 255, 255]] {
            assert!(Reader::new(Bytes::copy_from_slice(bytes)).string().is_err(), "{bytes:?}");
        }
    }
}
