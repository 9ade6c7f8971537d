//! How what was written is made to last over a loss of power: [`Lasting`], for each thing by itself or, where there are
//! many, for the file system as a whole.
//!
//! Each fsync(2) of a small file is a commit of the file system's journal. One syncfs(2) for a few hundred of them takes as
//! long as a few.

use rustix::io::Result;
use std::collections::HashMap;
use std::os::fd::AsFd;

/// From how many things on the file system is synced as a whole.
const MANY: usize = 16;

/// File systems whose syncfs(2) does for every file what fsync(2) does for one: ext4, XFS, Btrfs, F2FS, tmpfs. Of others,
/// network file systems and FUSE among them, that is not certain.
const WHOLE: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// Makes a number of things last that are written already.
#[derive(Debug)]
pub(super) struct Lasting<F> {
    is_many: bool,
    /// Something on each file system that is synced as a whole.
    systems: HashMap<u64, F>,
}

impl<F: AsFd> Lasting<F> {
    /// For so many things.
    pub(super) fn new(count: usize) -> Self {
        Self { is_many: count >= MANY, systems: HashMap::new() }
    }

    /// Makes one more last, now or in [`finish`](Self::finish). To be called when it is not changed any more.
    pub(super) fn add(&mut self, thing: F) -> Result<()> {
        let is_whole = self.is_many && rustix::fs::fstatfs(&thing).is_ok_and(|system| is_whole(system.f_type));
        if !is_whole {
            return rustix::fs::fsync(thing);
        }
        let device = rustix::fs::fstat(&thing)?.st_dev;
        self.systems.entry(device).or_insert(thing);
        Ok(())
    }

    /// Makes the rest last.
    pub(super) fn finish(self) -> Result<()> {
        self.systems.into_values().try_for_each(rustix::fs::syncfs)
    }
}

/// The type has another width and sign on every machine, but never more than 32 bits that count.
fn is_whole(kind: impl TryInto<i64>) -> bool {
    kind.try_into().is_ok_and(|kind: i64| WHOLE.contains(&(kind.cast_unsigned() & 0xffff_ffff)))
}
