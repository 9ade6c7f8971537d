//! A directory as a descriptor: [`Folder`]. What is opened, made or renamed through it is in it or beneath it, whatever
//! links a server or a neighbour puts there meanwhile.
//!
//! No symlink is ever followed beneath a folder. Names are single and checked by who calls. Nothing is decided here about
//! what may be in the way of what.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory is opened so that it can be read and synced.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How a path of several names is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// The kernel does it in one call, openat2(2).
    AtOnce,
    /// Name for name: before Linux 5.6, and where a seccomp filter does not know that call.
    ByName,
}

/// A directory that is open.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
    walk: Walk,
}

impl Folder {
    /// Opens the directory that a user named; links in this path are the user's own and are followed.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let folder = Self { descriptor: rustix::fs::open(path, DIRECTORY, Mode::empty())?, walk: Walk::AtOnce };
        let walk = match folder.walk_at_once(b".") {
            Err(Errno::NOSYS | Errno::PERM) => Walk::ByName,
            Ok(_) | Err(_) => Walk::AtOnce,
        };
        Ok(Self { walk, ..folder })
    }

    /// The same as on a system without openat2(2).
    #[cfg(test)]
    pub(super) fn by_name(self) -> Self {
        Self { walk: Walk::ByName, ..self }
    }

    /// Opens the directory at `/`-separated names beneath this one; this one for none.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` where a symlink or something else is on the way.
    pub(super) fn beneath(&self, path: &[u8]) -> Result<Self> {
        let path = if path.is_empty() { b"." } else { path };
        let descriptor = match self.walk {
            Walk::AtOnce => match self.walk_at_once(path) {
                // Too long for the kernel is not too long for a walk; EAGAIN is a rename beside it.
                Err(Errno::NAMETOOLONG | Errno::AGAIN) => self.walk_by_name(path),
                answer => answer,
            },
            Walk::ByName => self.walk_by_name(path),
        };
        Ok(Self { descriptor: descriptor?, walk: self.walk })
    }

    fn walk_at_once(&self, path: &[u8]) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.descriptor, path, DIRECTORY, Mode::empty(), resolve)
    }

    fn walk_by_name(&self, path: &[u8]) -> Result<OwnedFd> {
        let mut names = path.split(|&byte| byte == b'/').peekable();
        let mut reached: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            // On the way, a directory needs no more than to be entered.
            let flags = if names.peek().is_some() { DIRECTORY | OFlags::PATH } else { DIRECTORY };
            let from = reached.as_ref().map_or(self.descriptor.as_fd(), OwnedFd::as_fd);
            reached = Some(rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
        }
        reached.ok_or(Errno::NOENT)
    }

    /// What is there under a name, itself and not what it points to.
    pub(super) fn status(&self, name: &[u8]) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a file that is not there yet, for this user alone.
    pub(super) fn create(&self, name: &[u8]) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// Opens what is there, and nothing that it points to; a FIFO does not keep the caller waiting.
    pub(super) fn open_file(&self, name: &[u8], access: OFlags) -> Result<File> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.descriptor, name, flags, Mode::empty()).map(File::from)
    }

    /// Makes a directory; the umask is the process's.
    pub(super) fn make(&self, name: &[u8], mode: Mode) -> Result<()> {
        rustix::fs::mkdirat(&self.descriptor, name, mode)
    }

    /// Makes a symlink with any text.
    pub(super) fn symlink(&self, name: &[u8], text: &[u8]) -> Result<()> {
        rustix::fs::symlinkat(text, &self.descriptor, name)
    }

    /// The text of a symlink.
    pub(super) fn link_text(&self, name: &[u8]) -> Result<Vec<u8>> {
        rustix::fs::readlinkat(&self.descriptor, name, Vec::new()).map(|text| text.into_bytes())
    }

    /// Gives what has a name in `from` another one here; a symlink itself, not what it points to.
    pub(super) fn link(&self, name: &[u8], from: &Self, original: &[u8]) -> Result<()> {
        rustix::fs::linkat(&from.descriptor, original, &self.descriptor, name, AtFlags::empty())
    }

    /// Renames over what is there.
    pub(super) fn rename(&self, name: &[u8], to: &[u8]) -> Result<()> {
        rustix::fs::renameat(&self.descriptor, name, &self.descriptor, to)
    }

    /// Renames where nothing has the new name.
    pub(super) fn rename_new(&self, name: &[u8], to: &[u8]) -> Result<()> {
        match rustix::fs::renameat_with(&self.descriptor, name, &self.descriptor, to, RenameFlags::NOREPLACE) {
            // Network file systems do not know how.
            Err(Errno::INVAL | Errno::NOSYS) if self.status(to)?.is_none() => self.rename(name, to),
            answer => answer,
        }
    }

    /// Removes a name that is no directory's.
    pub(super) fn remove(&self, name: &[u8]) -> Result<()> {
        rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty())
    }

    /// Sets the times of what has this name, itself and not what it points to.
    pub(super) fn set_times_of(&self, name: &[u8], times: &Timestamps) -> Result<()> {
        rustix::fs::utimensat(&self.descriptor, name, times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Calls `found` with every name but `.` and `..`, in no order.
    pub(super) fn each_name(&self, mut found: impl FnMut(&OsStr)) -> Result<()> {
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                found(OsStr::from_bytes(name));
            }
        }
        Ok(())
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What a thing is called when it is in the way.
pub(super) fn kind(status: &Stat) -> &'static str {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::BlockDevice | FileType::CharacterDevice => "device",
        _ => "thing of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn inode(folder: &Folder) -> u64 {
        rustix::fs::fstat(folder).unwrap().st_ino
    }

    #[test]
    fn both_ways_of_walking_find_the_same_and_follow_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        symlink("b", root.join("a/link")).unwrap();
        symlink("/", root.join("a/b/root")).unwrap();
        symlink("..", root.join("a/b/up")).unwrap();
        for folder in [Folder::open(root).unwrap(), Folder::open(root).unwrap().by_name()] {
            for path in ["", "a", "a/b", "a/b/c"] {
                let found = folder.beneath(path.as_bytes()).unwrap();
                assert_eq!(inode(&found), fs::metadata(root.join(path)).unwrap().ino(), "{path}");
            }
            let inner = folder.beneath(b"a").unwrap().beneath(b"b/c").unwrap();
            assert_eq!(inode(&inner), fs::metadata(root.join("a/b/c")).unwrap().ino());
            for path in
                ["a/link", "a/link/c", "a/b/root", "a/b/root/etc", "a/b/up", "a/b/up/file", "a/file", "a/file/x"]
            {
                let error = folder.beneath(path.as_bytes()).unwrap_err();
                assert!(matches!(error, Errno::LOOP | Errno::NOTDIR), "{path}: {error}");
            }
            assert_eq!(folder.beneath(b"a/none/c").unwrap_err(), Errno::NOENT);
        }
    }

    #[test]
    fn a_path_that_is_longer_than_the_kernel_takes_is_walked() {
        let directory = tempfile::tempdir().unwrap();
        let root = Folder::open(directory.path()).unwrap();
        let name = [b'd'; 255];
        let mut path = Vec::new();
        for _ in 0..20 {
            root.beneath(&path).unwrap().make(&name, Mode::RWXU).unwrap();
            path = if path.is_empty() { name.to_vec() } else { [&path[..], b"/", &name[..]].concat() };
        }
        assert!(path.len() > 4096);
        root.beneath(&path).unwrap().create(b"deep").unwrap();
        assert!(root.beneath(&path).unwrap().status(b"deep").unwrap().is_some());
    }
}
