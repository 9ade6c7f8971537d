//! Reading SSH's binary encoding (RFC 4251 section 5) with every length checked.
//!
//! The main type is [`Wire`], a cursor over bytes that nobody vouches for. It writes nothing.

/// A cursor; every read answers `None` when fewer bytes are left than it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A fixed number of bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// `byte`.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `uint32`.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// `uint64`.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// `string`: a length and that many bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = usize::try_from(ahead.u32()?).ok()?;
        let taken = ahead.take(length)?;
        *self = ahead;
        Some(taken)
    }

    /// `mpint` that is not negative, without its leading zero byte.
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.string()? {
            [first, ..] if first & 0x80 != 0 => None,
            [0, rest @ ..] => Some(rest),
            magnitude => Some(magnitude),
        }
    }
}

/// Appends a `string`.
pub(crate) fn put_string(target: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys are far shorter than 4 GiB");
    target.extend_from_slice(&length.to_be_bytes());
    target.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_end_reads_nothing_and_moves_nowhere() {
        let mut wire = Wire::new(&[0, 0, 0, 9, 1, 2]);
        assert_eq!(wire.string(), None);
        assert_eq!(wire.u32(), Some(9));
    }

    #[test]
    fn numbers_lose_their_sign_byte_and_negative_ones_are_refused() {
        assert_eq!(Wire::new(&[0, 0, 0, 2, 0, 0x80]).unsigned(), Some(&[0x80][..]));
        assert_eq!(Wire::new(&[0, 0, 0, 1, 0x80]).unsigned(), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        put_string(&mut bytes, b"ssh-ed25519");
        assert_eq!(Wire::new(&bytes).string(), Some(&b"ssh-ed25519"[..]));
    }
}
