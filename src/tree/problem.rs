//! What is wrong with the sources ([`ScanProblem`]), and what is left out of them without being wrong ([`Remark`]).

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::filter::FilterError;
use super::path::TreePath;

/// Everything that is wrong with the sources; never empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ScanProblems(pub Vec<ScanProblem>);

/// One thing that is wrong with the sources: nothing is sent to anybody.
#[derive(Debug, thiserror::Error)]
pub enum ScanProblem {
    /// A source that is not there.
    #[error("no file or directory `{}`", path.display())]
    Missing {
        /// As it was given.
        path: PathBuf,
    },
    /// A directory where only files are sent.
    #[error("`{}` is a directory", path.display())]
    Directory {
        /// As it was given.
        path: PathBuf,
    },
    /// A socket, a device or the like, given as a source.
    #[error("`{}` is a {kind}, which cannot be sent", path.display())]
    Special {
        /// As it was given.
        path: PathBuf,
        /// What it is.
        kind: SpecialKind,
    },
    /// A source with a name that files have while they are being written.
    #[error("`{}` has a name that bugle gives to files on their way, and is not sent", path.display())]
    Temporary {
        /// As it was given.
        path: PathBuf,
    },
    /// Something that may not be read, or whose file system fails.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A symlink that is to be followed and leads nowhere.
    #[error("the symlink `{}` leads to `{}`, which is not there", path.display(), target.display())]
    Dangling {
        /// Where it is.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
    },
    /// A symlink that is to be followed and leads to a directory that it is in, or to itself.
    #[error("the symlink `{}` leads back to `{}`", path.display(), target.display())]
    Loop {
        /// Where it is.
        path: PathBuf,
        /// The directory that it is in.
        target: PathBuf,
    },
    /// Two sources that would be the same on the host.
    #[error("`{}` and `{}` have the same name on the host", first.display(), second.display())]
    SameName {
        /// The first.
        first: PathBuf,
        /// The second.
        second: PathBuf,
    },
    /// A `.gitignore` that cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl ScanProblem {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Directory { .. } => Some("`-r` sends directories with all that is in them"),
            Self::Dangling { .. } | Self::Loop { .. } => {
                Some("`-r --links keep` makes the symlinks anew, `--links skip` leaves them out")
            }
            Self::Temporary { .. } => Some("give it another name; what a push that broke left is removed by the next"),
            Self::SameName { .. } => Some("push them one after the other, to two destinations"),
            _ => None,
        }
    }
}

/// Something that is in the sources and is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Index of the root.
    pub root: usize,
    /// Its path below that root.
    pub path: TreePath,
    /// Why it is left out.
    pub kind: RemarkKind,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// It has no content to send.
    Special(SpecialKind),
    /// It has a name that files have while they are being written.
    Temporary,
    /// A symlink, and symlinks are skipped.
    Symlink,
    /// A source that was given by its name, and that a rule excludes.
    Excluded,
}

/// What is neither a file nor a directory nor a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// socket(2)
    Socket,
    /// mkfifo(3)
    Fifo,
    /// A device of blocks or characters.
    Device,
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Socket => "socket",
            Self::Fifo => "named pipe",
            Self::Device => "device",
        })
    }
}
