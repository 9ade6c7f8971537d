//! What has to be done on one host so that it has what the tree has: the words of it, [`Plan`], [`Step`] and what they
//! are made from, [`Observed`] and [`Rules`].
//!
//! What is on the host and what a plan says are named by the path below the destination. `compare` makes a plan, `listing`
//! shows it.

use std::collections::HashMap;
use std::fmt;

use super::path::TreePath;

/// What is on a host, by its path below the destination. The empty path is the destination itself, after following a
/// symlink; nothing else is followed. To delete, everything below the directories that are sent has to be in it;
/// otherwise what has the path of an entry is enough.
pub type Observed = HashMap<TreePath, Found>;

/// Something on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// Last change of the content, seconds since 1970.
    pub mtime: i64,
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u32,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Which file it is.
    pub identity: Identity,
}

/// Which file a name is one of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nobody asked.
    #[default]
    Unknown,
    /// The host cannot tell.
    Untold,
    /// What all names of a file share.
    Known {
        /// Number of the file system.
        device: u64,
        /// Number of the file there.
        inode: u64,
        /// How many names it has.
        names: u64,
    },
}

/// What something on a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// How it compares with the file that is to be there.
        content: Content,
    },
    /// A directory.
    Directory,
    /// A symlink.
    Symlink {
        /// Its text, where it was asked for.
        target: Option<Vec<u8>>,
    },
    /// A device, a socket or the like.
    Special,
}

/// Whether a file on a host has the content of the one that is to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Nobody compared them.
    #[default]
    Unknown,
    /// Byte for byte.
    Same,
    /// No.
    Different,
}

/// What is asked for beyond content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `--checksum`: the content decides whether a file is unchanged, not its time.
    pub checksum: bool,
    /// `-p`: modes and times are those of the source.
    pub preserve: bool,
    /// `--delete`: what the source does not have goes away.
    pub delete: bool,
    /// `--backup`: what is called `NAME~` does not go away with it.
    pub backup: bool,
    /// `--mode` for files (07777).
    pub file_mode: Option<u32>,
    /// `--mode` for directories (07777).
    pub directory_mode: Option<u32>,
    /// `--owner`, as the number that it has on this host.
    pub owner: Option<u32>,
    /// `--group`, as the number that it has on this host.
    pub group: Option<u32>,
    /// Symlinks that are there are given owner and times, which not every host can do.
    pub symlinks_too: bool,
}

/// The steps for one host, in an order in which they can be done: directories, files and symlinks, hard links, attributes of
/// files, deletions, attributes of directories. Steps between which only files and symlinks are sent, or only hard links
/// are made, may be done at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is to be done.
    pub steps: Vec<Step>,
    /// How many entries are there already as they should be.
    pub unchanged: usize,
    /// Entries of files whose content has to be compared first: plan again with [`FoundKind::File::content`] filled in.
    pub needs_content: Vec<usize>,
    /// Files on the host of which it matters whose names they are: plan again with [`Found::identity`] filled in. Until then
    /// those that are to be links of each other are taken to be so, and others not.
    pub needs_identity: Vec<TreePath>,
    /// Entries that cannot be brought there.
    pub conflicts: Vec<Conflict>,
    /// How many deletions are left undone since there are conflicts.
    pub withheld: usize,
}

impl Plan {
    /// Shows hard links as the files of their own that they become on a host that makes none. What these get is not known here.
    pub fn show_links_as_files(&mut self) {
        for step in &mut self.steps {
            if let Step::HardLink { entry, why, .. } = step {
                *step = Step::Send { entry: *entry, why: why.clone(), attributes: Attributes::default() };
            }
        }
    }

    /// Takes back what is to be done for these entries, which cannot be brought there for these reasons, and what hangs on
    /// them: hard links of theirs, and every deletion.
    pub fn refuse(&mut self, refused: Vec<(usize, Obstacle)>) {
        let mut obstacles: HashMap<usize, Obstacle> = refused.into_iter().collect();
        for step in &self.steps {
            if let Step::HardLink { entry, of, .. } = step
                && obstacles.contains_key(of)
            {
                obstacles.entry(*entry).or_insert(Obstacle::LinkedFile);
            }
        }
        if obstacles.is_empty() {
            return;
        }
        let planned = self.steps.len();
        self.steps.retain(|step| !matches!(step, Step::Delete { .. }));
        self.withheld += planned - self.steps.len();
        self.steps.retain(|step| match step {
            Step::Send { entry, .. } | Step::MakeSymlink { entry, .. } | Step::HardLink { entry, .. } => {
                !obstacles.contains_key(entry)
            }
            _ => true,
        });
        let conflicts = obstacles.into_iter().map(|(entry, obstacle)| Conflict { entry, obstacle, blocked: 0 });
        self.conflicts.extend(conflicts);
        self.conflicts.sort_by_key(|conflict| conflict.entry);
    }
}

/// One thing to do. Entries are given by their index in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory, with the owner's bits added to the mode so that it can be filled. A later
    /// [`Step::SetAttributes`] gives it what it lacks then.
    MakeDirectory {
        /// The directory.
        entry: usize,
        /// What it is to have in the end.
        attributes: Attributes,
    },
    /// Send the content of a file and rename it into its place.
    Send {
        /// The file.
        entry: usize,
        /// Why.
        why: Why,
        /// What it is to have before it is renamed.
        attributes: Attributes,
    },
    /// Make a symlink.
    MakeSymlink {
        /// The symlink.
        entry: usize,
        /// Why.
        why: Why,
        /// What it is to have, where the host can do that.
        attributes: Attributes,
    },
    /// Make another name of a file that is there by now.
    HardLink {
        /// The new name.
        entry: usize,
        /// The file.
        of: usize,
        /// Why.
        why: Why,
    },
    /// Set mode, owner, group or times of what is there.
    SetAttributes {
        /// The file, directory or symlink.
        entry: usize,
        /// What it is to have.
        attributes: Attributes,
        /// What is different; nothing for a directory that only had to wait for its contents.
        changes: Vec<Change>,
    },
    /// Remove what the source does not have.
    Delete {
        /// Below the destination.
        path: TreePath,
        /// Whether it is a directory, which is empty by then.
        is_directory: bool,
    },
}

/// What something is to have; what is not said stays as the host makes it, or as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<ModeWanted>,
    /// Number of the owner.
    pub owner: Option<u32>,
    /// Number of the group.
    pub group: Option<u32>,
    /// Last change of the content, seconds since 1970.
    pub mtime: Option<i64>,
    /// Last time it was read, seconds since 1970.
    pub atime: Option<i64>,
}

/// Permission bits that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeWanted {
    /// These (07777).
    Exact(u32),
    /// These (0777) less the umask of the host.
    Masked(u32),
}

/// Why something is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is there.
    New,
    /// What is there is different.
    Replaced(Difference),
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is a file where a symlink is to be.
    WasFile,
    /// It is a symlink where a file is to be.
    WasSymlink,
    /// Bytes.
    Size {
        /// On the host.
        from: u64,
        /// In the source.
        to: u64,
    },
    /// Seconds since 1970.
    Mtime {
        /// On the host.
        from: i64,
        /// In the source.
        to: i64,
    },
    /// The bytes.
    Content,
    /// The text of a symlink.
    Target {
        /// On the host, where it is known.
        from: Option<Vec<u8>>,
    },
    /// It is not the same file as the one whose hard link it is to be.
    NotLinked,
    /// It has more names than it is to have, so that changing it would change others.
    Shared,
}

/// An attribute that is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Permission bits.
    Mode {
        /// On the host.
        from: u32,
        /// To be.
        to: u32,
    },
    /// Number of the owner.
    Owner {
        /// On the host.
        from: u32,
        /// To be.
        to: u32,
    },
    /// Number of the group.
    Group {
        /// On the host.
        from: u32,
        /// To be.
        to: u32,
    },
    /// Last change of the content, seconds since 1970.
    Mtime {
        /// On the host.
        from: i64,
        /// To be.
        to: i64,
    },
}

/// An entry that cannot be brought to a host as things are there: a failure of that entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The entry.
    pub entry: usize,
    /// What is in its way.
    pub obstacle: Obstacle,
    /// How many entries below it cannot be brought there either.
    pub blocked: usize,
}

/// What is in the way of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A directory in the place of a file, which is never removed for it.
    Directory,
    /// A file in the place of a directory.
    File,
    /// A symlink in the place of a directory, which is never followed.
    Symlink,
    /// A device, a socket or the like.
    Special,
    /// The file that this is a hard link of cannot be brought there.
    LinkedFile,
    /// What is in its place cannot be kept, in these words (`--backup`).
    Unkept(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unkept(why) => why,
            Self::Directory => "a directory is in its place",
            Self::File => "a file is in its place",
            Self::Symlink => "a symlink is in its place, and is not followed",
            Self::Special => "a device, a socket or a named pipe is in its place",
            Self::LinkedFile => "the file that it is a hard link of cannot be sent",
        })
    }
}
