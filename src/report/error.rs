//! Why a report could not be written.

use crate::event::Stream;
use std::io;
use std::path::PathBuf;

/// What keeps a report from being shown or kept.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The reader of standard output went away, as `head` does: a quiet end, nothing to tell.
    #[error("standard output was closed by its reader")]
    ClosedPipe,
    /// Standard output or standard error takes nothing more, for another reason.
    #[error("cannot write to {}", .stream.as_str())]
    Standard {
        /// Which of the two.
        stream: Stream,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory of the report could not be created.
    #[error("cannot create `{}`", .path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the report could not be written: the disk is full, most often.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Output that is too long for memory could not be kept aside, or read back.
    #[error("cannot keep long output in a temporary file in `{}`", .directory.display())]
    Spool {
        /// Where the temporary file is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
