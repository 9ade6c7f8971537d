//! What the client has open: descriptors of the shell, and listings that were read.

use crate::sftp::attributes::Attributes;
use bytes::Bytes;
use std::collections::HashMap;
use std::vec::IntoIter;

/// The descriptors that every POSIX shell can name and that the loop leaves free.
const DESCRIPTORS: std::ops::RangeInclusive<u8> = 4..=9;
/// How many files may be open at once.
pub(super) const FILES: u64 = 6;

/// Open files and directories by their handles.
pub(super) struct Handles {
    next: u64,
    files: HashMap<u64, u8>,
    directories: HashMap<u64, IntoIter<(Bytes, Attributes)>>,
    free: Vec<u8>,
}

impl Default for Handles {
    fn default() -> Self {
        Self { next: 0, files: HashMap::new(), directories: HashMap::new(), free: DESCRIPTORS.rev().collect() }
    }
}

fn number(handle: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(handle.try_into().ok()?))
}

impl Handles {
    /// A descriptor for a file that is about to be opened.
    pub(super) fn reserve(&mut self) -> Option<u8> {
        self.free.pop()
    }

    /// Gives a descriptor back.
    pub(super) fn release(&mut self, descriptor: u8) {
        self.free.push(descriptor);
    }

    fn issue(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The handle of a file that was opened.
    pub(super) fn file(&mut self, descriptor: u8) -> [u8; 8] {
        let handle = self.issue();
        self.files.insert(handle, descriptor);
        handle.to_be_bytes()
    }

    /// The handle of a directory that was read.
    pub(super) fn directory(&mut self, names: Vec<(Bytes, Attributes)>) -> [u8; 8] {
        let handle = self.issue();
        self.directories.insert(handle, names.into_iter());
        handle.to_be_bytes()
    }

    /// The descriptor of an open file.
    pub(super) fn descriptor(&self, handle: &[u8]) -> Option<u8> {
        self.files.get(&number(handle)?).copied()
    }

    /// What is left of a listing.
    pub(super) fn listing(&mut self, handle: &[u8]) -> Option<&mut IntoIter<(Bytes, Attributes)>> {
        self.directories.get_mut(&number(handle)?)
    }

    /// Forgets a file; its descriptor is to be closed and may be used by what follows that.
    pub(super) fn close_file(&mut self, handle: &[u8]) -> Option<u8> {
        let descriptor = self.files.remove(&number(handle)?)?;
        self.release(descriptor);
        Some(descriptor)
    }

    /// Forgets a directory; whether there was one.
    pub(super) fn close_directory(&mut self, handle: &[u8]) -> bool {
        number(handle).is_some_and(|handle| self.directories.remove(&handle).is_some())
    }
}
