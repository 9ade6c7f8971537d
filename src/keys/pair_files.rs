//! The two files of a pair: where they are, and how they come there whole, private, and never over somebody's key by mistake.
//!
//! Each file is written beside its place under another name, brought to the disk, and then takes its place. The main type is
//! [`PairFiles`].

use rustix::process::{getgid, getuid};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What a private key file may be: its owner's alone.
const PRIVATE: u32 = 0o600;
/// What a public one is.
const PUBLIC: u32 = 0o644;

/// The places of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairFiles {
    /// Of the private key.
    pub private: PathBuf,
    /// Of the public key: the same with `.pub`.
    pub public: PathBuf,
}

/// What happens to files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and nothing is written.
    Keep,
    /// They are replaced.
    Replace,
}

/// Why a pair was not written.
#[derive(Debug, thiserror::Error)]
pub enum PairFilesError {
    /// Something is there, and it stays.
    #[error("`{}` is there already", .0.display())]
    Occupied(PathBuf),
    /// The directory cannot be made.
    #[error("cannot create the directory `{}`", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl PairFiles {
    /// The pair whose private key is here.
    pub fn at(private: impl Into<PathBuf>) -> Self {
        let private = private.into();
        let mut public = private.clone().into_os_string();
        public.push(".pub");
        Self { private, public: public.into() }
    }

    /// The first of its places where something is, a link that leads nowhere included.
    pub fn occupied(&self) -> Option<&Path> {
        [&self.private, &self.public].into_iter().find(|path| path.symlink_metadata().is_ok()).map(PathBuf::as_path)
    }

    /// Writes both files, the private one with mode 0600, the public one with 0644. A directory that is missing is made with
    /// mode 0700, those above it are not.
    ///
    /// # Errors
    /// With [`Existing::Keep`], where something is in one of the places, also if it came there this very moment. Then, and
    /// where a file cannot be written, no new file stays behind.
    pub fn write(&self, private: &[u8], public: &[u8], existing: Existing) -> Result<(), PairFilesError> {
        if existing == Existing::Keep
            && let Some(path) = self.occupied()
        {
            return Err(PairFilesError::Occupied(path.into()));
        }
        for path in [&self.private, &self.public] {
            if path.is_dir() {
                return Err(PairFilesError::Write { path: path.clone(), source: io::ErrorKind::IsADirectory.into() });
            }
        }
        create_directory(&self.private)?;
        let private = draft(&self.private, private, PRIVATE)?;
        let public = draft(&self.public, public, PUBLIC)?;
        put(private, &self.private, existing)?;
        put(public, &self.public, existing).inspect_err(|_| {
            if existing == Existing::Keep {
                // It is ours and a moment old; half a pair helps nobody.
                let _ = fs::remove_file(&self.private);
            }
        })?;
        sync_directory(&self.private)
    }
}

/// Replaces the text of a private key file, which keeps its owner and, as far as it is private, its mode. A symbolic link
/// keeps pointing to it.
///
/// # Errors
/// Where it cannot be written; the file then is as it was.
pub fn replace_private(path: &Path, text: &[u8]) -> Result<(), PairFilesError> {
    let failed = |source| PairFilesError::Write { path: path.into(), source };
    let path = fs::canonicalize(path).map_err(failed)?;
    let facts = fs::metadata(&path).map_err(failed)?;
    let draft = draft(&path, text, facts.mode() & PRIVATE)?;
    if (facts.uid(), facts.gid()) != (getuid().as_raw(), getgid().as_raw()) {
        fchown(draft.as_file(), Some(facts.uid()), Some(facts.gid())).map_err(failed)?;
    }
    put(draft, &path, Existing::Replace)?;
    sync_directory(&path)
}

/// A file beside its place, on the disk.
fn draft(path: &Path, text: &[u8], mode: u32) -> Result<NamedTempFile, PairFilesError> {
    let failed = |source| PairFilesError::Write { path: path.into(), source };
    let mut file = NamedTempFile::new_in(directory(path)).map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

fn put(draft: NamedTempFile, path: &Path, existing: Existing) -> Result<(), PairFilesError> {
    let put = match existing {
        Existing::Keep => draft.persist_noclobber(path),
        Existing::Replace => draft.persist(path),
    };
    put.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => PairFilesError::Occupied(path.into()),
        _ => PairFilesError::Write { path: path.into(), source: error.error },
    })
}

fn create_directory(path: &Path) -> Result<(), PairFilesError> {
    let directory = directory(path);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(source) if !directory.is_dir() => Err(PairFilesError::Directory { path: directory.into(), source }),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), PairFilesError> {
    let synced = File::open(directory(path)).and_then(|directory| directory.sync_all());
    synced.map_err(|source| PairFilesError::Write { path: path.into(), source })
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_pair_is_private_and_its_directory_too() {
        let place = tempfile::tempdir().unwrap();
        let files = PairFiles::at(place.path().join(".ssh/id"));
        files.write(b"private", b"public", Existing::Keep).unwrap();
        assert_eq!((mode(&files.private), mode(&files.public)), (0o600, 0o644));
        assert_eq!(mode(&place.path().join(".ssh")), 0o700);
        assert_eq!(names(&place.path().join(".ssh")), ["id", "id.pub"]);
        assert_eq!(
            (fs::read(&files.private).unwrap(), fs::read(&files.public).unwrap()),
            (b"private".into(), b"public".into())
        );
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        for occupied in ["id", "id.pub"] {
            let place = tempfile::tempdir().unwrap();
            symlink("nowhere", place.path().join(occupied)).unwrap();
            let files = PairFiles::at(place.path().join("id"));
            let error = files.write(b"new", b"new", Existing::Keep).unwrap_err();
            assert!(matches!(error, PairFilesError::Occupied(path) if path.ends_with(occupied)));
            assert_eq!(names(place.path()), [occupied]);
            files.write(b"new", b"new", Existing::Replace).unwrap();
            assert_eq!((fs::read(&files.private).unwrap(), mode(&files.private)), (b"new".into(), 0o600));
            assert_eq!(names(place.path()), ["id", "id.pub"]);
        }
    }

    #[test]
    fn a_key_keeps_its_link_and_its_narrower_mode_when_it_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let (key, link) = (place.path().join("key"), place.path().join("link"));
        fs::write(&key, "old").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
        symlink("key", &link).unwrap();
        replace_private(&link, b"new").unwrap();
        assert_eq!((fs::read(&key).unwrap(), mode(&key)), (b"new".into(), 0o400));
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(names(place.path()), ["key", "link"]);
    }

    #[test]
    fn nothing_stays_behind_where_it_cannot_be_written() {
        let place = tempfile::tempdir().unwrap();
        let missing = PairFiles::at(place.path().join("none/below/id"));
        assert!(matches!(missing.write(b"", b"", Existing::Keep), Err(PairFilesError::Directory { .. })));
        let files = PairFiles::at(place.path().join("id"));
        fs::create_dir_all(files.public.join("full")).unwrap();
        assert!(matches!(files.write(b"", b"", Existing::Replace), Err(PairFilesError::Write { .. })));
        assert_eq!(names(place.path()), ["id.pub"]);
        assert!(replace_private(&files.private.join("x"), b"").is_err());
    }
}
