//! What was found on one host: [`Inventory`].

use super::find::Root;
use super::source::below;
use crate::sftp::Attributes;
use crate::task::teller::Teller;
use crate::tree::TreePath;

/// All that was found on a host.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) roots: Vec<Root>,
    /// Sorted by path: a directory stands before what is in it.
    pub(super) entries: Vec<Entry>,
    /// What is no file and was passed over.
    pub(super) passed_over: LeftOut,
    /// What has a name that files have while they are being written.
    pub(super) temporary: LeftOut,
}

/// How many things were left out, and the path of the first on the host.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) count: usize,
    pub(super) first: Vec<u8>,
}

impl LeftOut {
    pub(super) fn add(&mut self, path: impl FnOnce() -> Vec<u8>) {
        if self.count == 0 {
            self.first = path();
        }
        self.count += 1;
    }
}

/// A file, directory or symlink of a host.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Index of the root that it is below.
    root: u32,
    /// Its path here.
    pub(super) path: TreePath,
    pub(super) kind: Kind,
    /// Permission bits, where the server tells them.
    pub(super) mode: Option<u32>,
    /// Access and modification, where the server tells them.
    pub(super) times: Option<(u32, u32)>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { size: u64 },
    Directory,
    Symlink { text: Box<[u8]> },
}

impl Entry {
    /// The length of a file in bytes; 0 of what is none.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            Kind::Directory | Kind::Symlink { .. } => 0,
        }
    }
}

impl Inventory {
    /// The path of an entry on the host.
    pub(super) fn remote(&self, entry: &Entry) -> Vec<u8> {
        let root = &self.roots[entry.root as usize];
        let within = entry.path.within(&root.place).unwrap_or_default();
        if within.is_root() { root.remote.clone() } else { below(&root.remote, within.as_bytes()) }
    }

    /// Sorts, and keeps of what has one name here the first: several roots may be called the same, or their contents.
    pub(super) async fn settle(&mut self, teller: &Teller<'_>) {
        self.entries.sort_by(|one, other| one.path.cmp(&other.path).then(one.root.cmp(&other.root)));
        let mut lost: Vec<(Entry, u32)> = Vec::new();
        self.entries.dedup_by(|later, first| {
            let is_double = later.path == first.path;
            if is_double && (later.kind != Kind::Directory || first.kind != Kind::Directory) {
                lost.push((later.clone(), first.root));
            }
            is_double
        });
        for (later, first) in lost {
            let first = Entry { root: first, ..later.clone() };
            let why = format!("`{}` has the same name here", self.remote(&first).escape_ascii());
            teller.failed(&self.remote(&later), &why).await;
            let is_below = |entry: &Entry| entry.root == later.root && entry.path.within(&later.path).is_some();
            let before = self.entries.len();
            self.entries.retain(|entry| !is_below(entry));
            teller.missing(before - self.entries.len());
        }
    }
}

impl Entry {
    /// When it was modified, in seconds since 1970.
    pub(super) fn modified(&self) -> Option<i64> {
        self.times.map(|(_, modified)| modified.into())
    }

    /// An entry below a root.
    pub(super) fn new(root: u32, path: TreePath, kind: Kind, attributes: &Attributes) -> Self {
        let mode = attributes.mode.map(|mode| mode & 0o7777);
        Self { root, path, kind, mode, times: attributes.times }
    }
}
