//! Finds everything that is in the sources: [`Tree::scan`].
//!
//! One stat(2) for each thing, one more for a symlink that is followed, and an open file only where there are holes.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::Access;
use rustix::process::geteuid;

use super::entry::{Entry, Extents, Kind, Root, RootKind, Tree};
use super::filter::Filter;
use super::path::TreePath;
use super::problem::{Remark, RemarkKind, ScanProblem, ScanProblems, SpecialKind};
use super::{extents, temporary};

/// What is done about symlinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are made anew with the same text. A source that is a symlink is so only where directories are sent with what
    /// is in them; otherwise the file that it leads to is sent, as cp(1) does.
    #[default]
    Keep,
    /// What they lead to is sent in their place.
    Follow,
    /// They are left out.
    Skip,
}

/// How sources are looked at.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Whether directories are sent with all that is in them.
    pub recursive: bool,
    /// What is done about symlinks.
    pub links: Links,
    /// Which paths are meant.
    pub filter: Filter,
}

impl Tree {
    /// Looks at every source and at all that is in it. Temporary names of bugle itself are left out.
    ///
    /// # Errors
    /// All that is wrong, not the first thing only.
    pub fn scan(sources: &[PathBuf], options: &ScanOptions) -> Result<Self, ScanProblems> {
        let mut scan = Scan { options, tree: Self::default(), problems: Vec::new(), is_superuser: geteuid().is_root() };
        for source in sources {
            scan.source(source);
        }
        scan.problems.extend(same_names(&scan.tree));
        if scan.problems.is_empty() { Ok(scan.tree) } else { Err(ScanProblems(scan.problems)) }
    }
}

/// A scan under way.
struct Scan<'options> {
    options: &'options ScanOptions,
    tree: Tree,
    problems: Vec<ScanProblem>,
    is_superuser: bool,
}

/// What stands in one directory and is meant, sorted, and which directory that is.
struct Level {
    identity: (u64, u64),
    found: vec::IntoIter<Candidate>,
}

/// Something that is meant, before it is known whether it is a hard link of something before it.
struct Candidate {
    entry: Entry,
    has_other_names: bool,
}

/// What something turned out to be.
enum Looked {
    Meant(Candidate),
    LeftOut(RemarkKind),
}

impl Scan<'_> {
    fn source(&mut self, source: &Path) {
        let (name, kind) = name_of(source);
        let root = self.tree.roots.len();
        let start = self.tree.entries.len();
        let filter = self.options.filter.clone();
        self.tree.roots.push(Root {
            source: source.into(),
            name,
            kind,
            is_directory: false,
            entries: start..start,
            filter,
        });
        match self.look_at_source(root) {
            Ok(Looked::Meant(candidate)) => self.descend(root, candidate),
            Ok(Looked::LeftOut(kind)) => self.tree.remarks.push(Remark { root, path: TreePath::root(), kind }),
            Err(problem) => self.problems.push(problem),
        }
        self.tree.roots[root].entries = start..self.tree.entries.len();
    }

    fn look_at_source(&mut self, root: usize) -> Result<Looked, ScanProblem> {
        let Root { source, name, filter, .. } = &self.tree.roots[root];
        let path = source.clone();
        let (is_temporary, is_left_out) = (temporary::recognise(name).is_some(), filter.excludes(name, false));
        let metadata = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ScanProblem::Missing { path: path.clone() },
            _ => ScanProblem::Unreadable { path: path.clone(), source: error },
        })?;
        let follows = self.options.links == Links::Follow
            || self.options.links == Links::Keep && !self.options.recursive && metadata.is_symlink();
        let metadata = if follows && metadata.is_symlink() { follow(&path)? } else { metadata };
        if is_temporary {
            return Err(ScanProblem::Temporary { path });
        }
        if metadata.is_dir() && !self.options.recursive {
            return Err(ScanProblem::Directory { path });
        }
        if !metadata.is_dir() && is_left_out {
            return Ok(Looked::LeftOut(RemarkKind::Excluded));
        }
        match self.look(Entry::new(root, TreePath::root(), &metadata), &metadata, &path)? {
            Looked::LeftOut(RemarkKind::Special(kind)) => Err(ScanProblem::Special { path, kind }),
            looked => Ok(looked),
        }
    }

    /// Takes in a source and, level by level, what is in it.
    fn descend(&mut self, root: usize, source: Candidate) {
        self.tree.roots[root].is_directory = source.entry.kind == Kind::Directory;
        let mut hard_links = HashMap::new();
        let mut levels: Vec<Level> = Vec::new();
        let mut next = Some(source);
        loop {
            if let Some(candidate) = next.take() {
                let index = self.tree.entries.len();
                let (is_directory, identity) = (candidate.entry.kind == Kind::Directory, candidate.entry.identity());
                self.tree.entries.push(candidate.into_entry(index, &mut hard_links));
                if is_directory {
                    match self.directory(index, &levels) {
                        Ok(found) => levels.push(Level { identity, found: found.into_iter() }),
                        Err(problem) => self.problems.push(problem),
                    }
                }
            }
            let Some(level) = levels.last_mut() else { return };
            next = level.found.next();
            if next.is_none() {
                levels.pop();
            }
        }
    }

    /// What is meant of the contents of a directory, sorted by name. `above` are the directories that it is in.
    fn directory(&mut self, index: usize, above: &[Level]) -> Result<Vec<Candidate>, ScanProblem> {
        let local = self.tree.local(index);
        let Entry { root, path, .. } = &self.tree.entries[index];
        let (root, directory, identity) = (*root, path.clone(), self.tree.entries[index].identity());
        self.tree.roots[root].filter.enter(&directory, &local)?;
        let unreadable = |source| ScanProblem::Unreadable { path: local.clone(), source };
        let mut found = Vec::new();
        for item in fs::read_dir(&local).map_err(unreadable)? {
            let item = item.map_err(unreadable)?;
            let name = item.file_name().into_vec();
            let path = directory.join(&name);
            if temporary::recognise(&name).is_some() {
                let is_directory = item.file_type().is_ok_and(|kind| kind.is_dir());
                if !self.tree.roots[root].filter.excludes(path.as_bytes(), is_directory) {
                    self.tree.remarks.push(Remark { root, path, kind: RemarkKind::Temporary });
                }
                continue;
            }
            let mut metadata = match item.metadata() {
                Ok(metadata) => metadata,
                // It went away since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    self.problems.push(ScanProblem::Unreadable { path: item.path(), source });
                    continue;
                }
            };
            let filter = &self.tree.roots[root].filter;
            let is_followed = metadata.is_symlink() && self.options.links == Links::Follow;
            if is_followed && !filter.excludes(path.as_bytes(), false) {
                match follow(&item.path()) {
                    Ok(target) => metadata = target,
                    Err(problem) => {
                        self.problems.push(problem);
                        continue;
                    }
                }
            }
            if filter.excludes(path.as_bytes(), metadata.is_dir()) {
                continue;
            }
            if is_followed && metadata.is_dir() {
                let goes_to = (metadata.dev(), metadata.ino());
                let target = above.iter().position(|level| level.identity == goes_to);
                if target.is_some() || identity == goes_to {
                    let depth = target.unwrap_or(above.len());
                    let target = local.ancestors().nth(above.len() - depth).unwrap_or(&local).into();
                    self.problems.push(ScanProblem::Loop { path: item.path(), target });
                    continue;
                }
            }
            match self.look(Entry::new(root, path, &metadata), &metadata, &item.path()) {
                Ok(Looked::Meant(candidate)) => found.push(candidate),
                Ok(Looked::LeftOut(kind)) => {
                    let path = directory.join(&name);
                    self.tree.remarks.push(Remark { root, path, kind });
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        found.sort_unstable_by(|left, right| left.entry.path.name().cmp(right.entry.path.name()));
        Ok(found)
    }

    /// Finds out what something is, whose metadata is known.
    fn look(&self, mut entry: Entry, metadata: &Metadata, path: &Path) -> Result<Looked, ScanProblem> {
        let unreadable = |source| ScanProblem::Unreadable { path: path.into(), source };
        let kind = metadata.file_type();
        if kind.is_file() {
            if !self.is_plainly_readable(metadata) {
                rustix::fs::access(path, Access::READ_OK).map_err(|error| unreadable(error.into()))?;
            }
            let size = metadata.size();
            // A block is 512 bytes here whatever the file system has.
            let has_holes = metadata.blocks().saturating_mul(512) < size;
            let data = if has_holes { extents::of(path, size).map_err(unreadable)? } else { Extents::All };
            entry.kind = Kind::File { size, data };
        } else if kind.is_symlink() {
            if self.options.links == Links::Skip {
                return Ok(Looked::LeftOut(RemarkKind::Symlink));
            }
            let target = fs::read_link(path).map_err(unreadable)?;
            entry.kind = Kind::Symlink { target: target.into_os_string().into_vec() };
        } else if !kind.is_dir() {
            return Ok(Looked::LeftOut(RemarkKind::Special(SpecialKind::of(kind))));
        }
        Ok(Looked::Meant(Candidate { entry, has_other_names: kind.is_file() && metadata.nlink() > 1 }))
    }

    /// Whether the mode alone says that a file may be read, so that the system need not be asked.
    fn is_plainly_readable(&self, metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        self.is_superuser || mode & 0o444 == 0o444 || mode & 0o400 != 0 && metadata.uid() == geteuid().as_raw()
    }
}

impl Entry {
    /// A directory of these attributes, until it is known what it is.
    fn new(root: usize, path: TreePath, metadata: &Metadata) -> Self {
        Self {
            root,
            path,
            kind: Kind::Directory,
            mode: metadata.mode() & 0o7777,
            mtime: metadata.mtime(),
            mtime_nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            atime: metadata.atime(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl Candidate {
    /// The entry at `index`: a hard link where the same file came before it below the same root.
    fn into_entry(self, index: usize, hard_links: &mut HashMap<(u64, u64), usize>) -> Entry {
        let mut entry = self.entry;
        if self.has_other_names {
            let of = *hard_links.entry(entry.identity()).or_insert(index);
            if of != index {
                entry.kind = Kind::HardLink { of };
            }
        }
        entry
    }
}

impl SpecialKind {
    fn of(kind: FileType) -> Self {
        if kind.is_socket() {
            Self::Socket
        } else if kind.is_fifo() {
            Self::Fifo
        } else {
            Self::Device
        }
    }
}

/// What a symlink leads to.
fn follow(path: &Path) -> Result<Metadata, ScanProblem> {
    let target = || fs::read_link(path).unwrap_or_default();
    fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ScanProblem::Dangling { path: path.into(), target: target() }
        }
        _ if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            ScanProblem::Loop { path: path.into(), target: target() }
        }
        _ => ScanProblem::Unreadable { path: path.into(), source },
    })
}

/// The base name of a source, and whether that or its contents are meant.
fn name_of(source: &Path) -> (Vec<u8>, RootKind) {
    let bytes = source.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match bytes[..end].rsplit(|byte| *byte == b'/').next().unwrap_or_default() {
        b"" | b"." | b".." => (Vec::new(), RootKind::Contents),
        name => (name.into(), RootKind::Itself),
    }
}

/// Sources that would have the same path on a host: the first such pair of any two of them.
fn same_names(tree: &Tree) -> Vec<ScanProblem> {
    let mut problems = Vec::new();
    if tree.roots.len() < 2 {
        return problems;
    }
    let same = |first: PathBuf, second: PathBuf| ScanProblem::SameName { first, second };
    let mut names: HashMap<&[u8], &Root> = HashMap::new();
    for root in tree.roots.iter().filter(|root| root.kind == RootKind::Itself) {
        match names.entry(&root.name) {
            Slot::Occupied(first) => {
                problems.push(same(first.get().source.clone(), root.source.clone()));
            }
            Slot::Vacant(free) => {
                free.insert(root);
            }
        }
    }
    // Only contents can meet below the name of a source.
    if problems.is_empty() && tree.roots.iter().any(|root| root.kind == RootKind::Contents) {
        let mut taken: HashMap<TreePath, usize> = HashMap::new();
        let mut pairs = Vec::new();
        for (index, entry) in tree.entries.iter().enumerate() {
            let path = TreePath::root().join(&tree.roots[entry.root].name).join(entry.path.as_bytes());
            let first = *taken.entry(path).or_insert(index);
            let both_directories = entry.kind == Kind::Directory && tree.entries[first].kind == Kind::Directory;
            let pair = (tree.entries[first].root, entry.root);
            if first != index && !both_directories && !pairs.contains(&pair) {
                pairs.push(pair);
                problems.push(same(tree.local(first), tree.local(index)));
            }
        }
    }
    problems
}
