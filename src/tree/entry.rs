//! What is in a tree: [`Tree`], a list of [`Entry`] in depth-first order below one or several [`Root`]s.
//!
//! A tree is what one scan saw. It does not follow what happens to the files later; a [`Stamp`] tells whether a file is
//! still the one that was seen.

use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::filter::Filter;
use super::path::TreePath;
use super::problem::{Remark, RemarkKind};

/// All that is to be sent, as it was found.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The sources, in the order in which they were given.
    pub roots: Vec<Root>,
    /// What is below each root, the root itself first, depth first and sorted by name; all of one root, then the next.
    pub entries: Vec<Entry>,
    /// What was left out though nobody excluded it.
    pub remarks: Vec<Remark>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Root {
    /// As it was given.
    pub source: PathBuf,
    /// Its base name; empty where its contents are meant.
    pub name: Vec<u8>,
    /// Whether the thing itself is sent, or what is in it.
    pub kind: RootKind,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Where its entries stand; none where it was left out.
    pub entries: Range<usize>,
    /// Which paths below it are meant, with the `.gitignore` files that were found there.
    pub filter: Filter,
}

/// Whether a source is sent under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// `SRC`, `SRC/`: it is called by its base name in an existing directory.
    Itself,
    /// `SRC/.`, `SRC/..`, `/`: what is in it goes into the destination.
    Contents,
}

/// One file, directory or symlink of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index of the root that it is below.
    pub root: usize,
    /// Its path below that root; the root itself has the empty one.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u32,
    /// Last change of the content, seconds since 1970.
    pub mtime: i64,
    /// The rest of that time, nanoseconds.
    pub mtime_nanoseconds: u32,
    /// Last time it was read, seconds since 1970.
    pub atime: i64,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Number of the file system that it is on.
    pub device: u64,
    /// Number of the file there.
    pub inode: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, the first that was met of those that are hard links of each other.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Where it has data.
        data: Extents,
    },
    /// A directory.
    Directory,
    /// A symlink that is made anew.
    Symlink {
        /// Its text.
        target: Vec<u8>,
    },
    /// Another name of a regular file of the same root.
    HardLink {
        /// Index of that file among the entries; smaller than the link's own.
        of: usize,
    },
}

/// Where a file has data; the rest are holes, which read as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extents {
    /// Everywhere.
    All,
    /// In these ranges of bytes, ascending and apart from each other; none for a file that is one hole.
    Ranges(Box<[Range<u64>]>),
}

/// Which file it was that a scan saw, and whether it is the same still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the file system.
    pub device: u64,
    /// Number of the file there.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
}

impl Tree {
    /// Where an entry is on this machine.
    pub fn local(&self, index: usize) -> PathBuf {
        let entry = &self.entries[index];
        let source = &self.roots[entry.root].source;
        if entry.path.is_root() { source.clone() } else { source.join(entry.path.as_path()) }
    }

    /// Where things are on this machine that are left out since they are no files: sockets, named pipes and devices.
    pub fn special(&self) -> Vec<PathBuf> {
        self.left_out(|kind| matches!(kind, RemarkKind::Special(_)))
    }

    /// Where things are on this machine that are left out for their names, which files have while they are being written.
    pub fn temporary(&self) -> Vec<PathBuf> {
        self.left_out(|kind| kind == RemarkKind::Temporary)
    }

    fn left_out(&self, is_meant: impl Fn(RemarkKind) -> bool) -> Vec<PathBuf> {
        let remarks = self.remarks.iter().filter(|remark| is_meant(remark.kind));
        remarks.map(|remark| self.roots[remark.root].source.join(remark.path.as_path())).collect()
    }

    /// The length of a regular file, also of one that is a hard link, and where it has data.
    pub fn file(&self, index: usize) -> Option<(u64, &Extents)> {
        match &self.entries[index].kind {
            Kind::File { size, data } => Some((*size, data)),
            Kind::HardLink { of } => self.file(*of),
            Kind::Directory | Kind::Symlink { .. } => None,
        }
    }

    /// What to hold a regular file against when it is opened; none for anything else.
    pub fn stamp(&self, index: usize) -> Option<Stamp> {
        let entry = &self.entries[index];
        let (size, _) = self.file(index)?;
        let mtime = (entry.mtime, entry.mtime_nanoseconds);
        Some(Stamp { device: entry.device, inode: entry.inode, size, mtime })
    }
}

impl Extents {
    /// The ranges with data of a file of `size` bytes.
    pub fn ranges(&self, size: u64) -> impl Iterator<Item = Range<u64>> {
        let (all, listed) = match self {
            Self::All => ((size > 0).then_some(0..size), [].iter()),
            Self::Ranges(ranges) => (None, ranges.iter()),
        };
        all.into_iter().chain(listed.cloned())
    }

    /// How many bytes of a file of `size` bytes are data.
    pub fn length(&self, size: u64) -> u64 {
        self.ranges(size).map(|range| range.end - range.start).sum()
    }
}

impl Stamp {
    /// The stamp of an open file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
        }
    }
}
