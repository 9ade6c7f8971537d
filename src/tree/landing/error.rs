//! Why something that a host sent was not put in its place.

use crate::host::HostName;
use crate::tree::path::BadName;
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why an entry, or the whole destination, cannot be written. Of the entries it ends no other than its own.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// A host sent a name that leads elsewhere.
    #[error("the host sent the name `{}`, which is none of a file", name.escape_ascii())]
    Name {
        /// The path as it came.
        name: Vec<u8>,
        /// What is wrong with it.
        #[source]
        source: BadName,
    },
    /// A host sent a name that looks like a temporary file of bugle.
    #[error("the host sent the name `{}`, which is kept for temporary files of bugle", name.escape_ascii())]
    Reserved {
        /// The path as it came.
        name: Vec<u8>,
    },
    /// In the flat layout, two hosts have the same name for different things.
    #[error("`{path}` is the name of what came from `{other}` already")]
    Taken {
        /// Where both would be.
        path: PathBuf,
        /// The host that was there first.
        other: HostName,
    },
    /// Something of another kind is where the entry belongs.
    #[error("there is a {found} at `{path}`, where a {wanted} belongs")]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
        /// Its kind.
        found: &'static str,
        /// The kind that is needed.
        wanted: &'static str,
    },
    /// Not everything came, or too much.
    #[error("{found} bytes of `{path}` came, where {expected} were to come")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that it has on the host.
        expected: u64,
        /// Bytes that were written, or the place where the last of them ends.
        found: u64,
    },
    /// What came is not what the host has.
    #[error("what came of `{path}` has another SHA-256 than on the host")]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} `{path}`")]
    System {
        /// What was tried: `create`, `write to`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LandingError {
    pub(super) fn system(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::System { action, path: path.into(), source: source.into() }
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InTheWay { .. } => Some("move it away, or choose another directory"),
            Self::Taken { .. } => Some("without `--flat` every host has a directory of its own"),
            Self::System { source, .. } => match Errno::from_io_error(source)? {
                Errno::NOSPC => Some("the file system is full, of bytes or of files (`df`, `df -i`)"),
                Errno::DQUOT => Some("your disk quota is used up (`quota`)"),
                Errno::ROFS => Some("the file system is mounted read-only"),
                Errno::FBIG => Some("the file is larger than the file system or `ulimit -f` allows"),
                Errno::NAMETOOLONG => Some("a name has at most 255 bytes; `--flat` adds the host's name to it"),
                Errno::ACCESS | Errno::PERM => Some("the user who runs bugle must be allowed to write there"),
                Errno::MFILE | Errno::NFILE => Some("raise `ulimit -n`, or call fewer hosts at once (`--fanout`)"),
                Errno::IO => Some("the disk reports a fault (`dmesg`)"),
                _ => None,
            },
            Self::Name { .. } | Self::Reserved { .. } | Self::Length { .. } | Self::Content { .. } => None,
        }
    }
}
