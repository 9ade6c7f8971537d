//! Reading a file that decides whom to trust.
//!
//! The main function is [`read_trusted`]: it refuses what somebody else could have written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A million hosts with keys of two types; whatever is longer is no list of keys, and `/dev/zero` has no end.
const LIMIT: u64 = 1 << 28;

/// Opens a file that has something to say. A pipe with a name is none: nobody may ever write to it, and it would be waited for.
/// What a shell makes of `<(…)` has somebody who does, and is below `/dev/fd`.
///
/// # Errors
/// Where it cannot be opened, or is such a pipe.
pub fn open_at_once(path: &Path) -> io::Result<File> {
    let is_handed_over = ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|place| path.starts_with(place));
    if !is_handed_over && fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a named pipe, which may never end: name a file, or hand over <(cat PIPE)"));
    }
    File::open(path)
}

/// Reads the whole file; `None` when there is none.
///
/// # Errors
/// When it cannot be read, when its group or others may write it, or when it belongs to neither the user nor root.
/// Devices (`/dev/null`) are exempt from the last two.
pub(crate) fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match open_at_once(path) {
        Ok(file) => read_open(path, &file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Unreadable { path: path.into(), source }),
    }
}

/// As [`read_trusted`], from a file that is open already.
pub(crate) fn read_open(path: &Path, mut file: &File) -> Result<Vec<u8>, ReadError> {
    let unreadable = |source| ReadError::Unreadable { path: path.into(), source };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.file_type().is_char_device() {
        if metadata.is_dir() {
            // Said before its mode is looked at: nobody should follow advice to change that of a directory.
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(ReadError::Writable { path: path.into(), mode });
        }
        let owner = metadata.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(ReadError::Owner { path: path.into(), owner, mode });
        }
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(LIMIT)).unwrap_or_default() + 1);
    file.by_ref().take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(ReadError::TooLong { path: path.into() });
    }
    Ok(bytes)
}

/// Why a file of keys is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others could have put keys into it.
    #[error("`{}` is writable by its group or by others (mode {mode:04o})", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could have put keys into it.
    #[error("`{}` belongs to user id {owner}, who is neither you nor root (mode {mode:04o})", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Over 256 MiB.
    #[error("`{}` is longer than 256 MiB", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}
