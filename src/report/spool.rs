//! Keeps output that is too long for memory in one temporary file without a name.
//!
//! [`Spool`] owns the file; a [`Spooled`] is one text in it. However many texts there are, they take one descriptor, and
//! a text of any length takes a few dozen bytes of memory: its extents double in size, and the holes that they leave
//! cost no disk. Texts are compared by length and SHA-256, never read back for it.

use super::error::ReportError;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The first extent of a text; each further one is as long as all before it.
const FIRST_EXTENT: u64 = 1 << 20;

/// The temporary file. It is made when it is first needed.
pub(super) struct Spool {
    directory: PathBuf,
    file: Option<File>,
    end: u64,
}

/// One text in the spool.
#[derive(Clone)]
pub(super) struct Spooled {
    /// Where each extent begins. Their sizes follow from [`FIRST_EXTENT`].
    extents: Vec<u64>,
    capacity: u64,
    length: u64,
    hash: Sha256,
}

/// What tells one spooled text from another.
pub(super) type Fingerprint = (u64, [u8; 32]);

impl Spool {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, file: None, end: 0 }
    }

    /// Begins a text.
    pub(super) fn begin() -> Spooled {
        Spooled { extents: Vec::new(), capacity: 0, length: 0, hash: Sha256::new() }
    }

    /// Writes at the end of a text.
    pub(super) fn append(&mut self, text: &mut Spooled, bytes: &[u8]) -> Result<(), ReportError> {
        self.try_append(text, bytes).map_err(|source| ReportError::Spool { directory: self.directory.clone(), source })
    }

    fn try_append(&mut self, text: &mut Spooled, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.directory)?),
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            if text.length == text.capacity {
                let size = text.capacity.max(FIRST_EXTENT);
                text.extents.push(self.end);
                text.capacity += size;
                self.end += size;
            }
            let (position, room) = text.position(text.length);
            let fitting = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            file.write_all_at(&rest[..fitting], position)?;
            text.length += fitting as u64;
            rest = &rest[fitting..];
        }
        text.hash.update(bytes);
        Ok(())
    }

    /// Hands out a text in pieces, from its beginning.
    pub(super) fn read(
        &self,
        text: &Spooled,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        while at < text.length {
            let (position, room) = text.position(at);
            let size = room.min(text.length - at).min(buffer.len() as u64);
            // At most the length of the buffer, so the conversion loses nothing.
            let piece = &mut buffer[..size as usize];
            file.read_exact_at(piece, position)
                .map_err(|source| ReportError::Spool { directory: self.directory.clone(), source })?;
            each(piece)?;
            at += size;
        }
        Ok(())
    }
}

impl Spooled {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        (self.length, self.hash.clone().finalize().into())
    }

    /// Where in the file a byte of the text is, and how many bytes of its extent are left from there.
    fn position(&self, at: u64) -> (u64, u64) {
        let (mut begin, mut size) = (0, FIRST_EXTENT);
        for &start in &self.extents {
            if at < begin + size {
                return (start + at - begin, begin + size - at);
            }
            begin += size;
            size = begin;
        }
        unreachable!("a position is asked for only within the capacity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spool: &Spool, text: &Spooled) -> Vec<u8> {
        let mut out = Vec::new();
        spool
            .read(text, &mut |piece| {
                out.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn texts_written_by_turns_come_back_whole() {
        let mut spool = Spool::new(std::env::temp_dir());
        let mut texts = [Spool::begin(), Spool::begin(), Spool::begin()];
        let mut expected = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..150_u32 {
            for (index, text) in texts.iter_mut().enumerate() {
                let piece = vec![round as u8 ^ index as u8; 20_000 * (index + 1) + round as usize];
                spool.append(text, &piece).unwrap();
                expected[index].extend_from_slice(&piece);
            }
        }
        for (text, expected) in texts.iter().zip(&expected) {
            assert!(read(&spool, text) == *expected);
            assert!(text.extents.len() <= 5, "extents double");
        }
    }

    #[test]
    fn equal_texts_have_equal_fingerprints_however_they_were_cut() {
        let mut spool = Spool::new(std::env::temp_dir());
        let (mut one, mut two, mut other) = (Spool::begin(), Spool::begin(), Spool::begin());
        spool.append(&mut one, b"hello world").unwrap();
        spool.append(&mut two, b"hello").unwrap();
        spool.append(&mut two, b" world").unwrap();
        spool.append(&mut other, b"hello worlds").unwrap();
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let mut spool = Spool::new("/nonexistent/spool".into());
        let error = spool.append(&mut Spool::begin(), b"x").unwrap_err();
        assert_eq!(error.to_string(), "cannot keep long output in a temporary file in `/nonexistent/spool`");
    }
}
