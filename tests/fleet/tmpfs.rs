//! A disk that is soon full: a tmpfs of so many bytes, there as long as its [`Tmpfs`] is.

// A test that is left out says so.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A small file system; unmounted when it is dropped.
///
/// A server with mounts of its own ([`super::sftp_daemon`]) sees it only where it was there before the server.
pub struct Tmpfs {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Tmpfs {
    /// In a directory of its own; `None` where this process may not mount, after saying so.
    pub fn new(bytes: u64) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("tmpfs.").tempdir().expect("there is room for temporary files");
        mount(directory.path(), bytes)?;
        Some(Self { path: directory.path().into(), _directory: Some(directory) })
    }

    /// Over a directory that is there, such as the home of a host.
    pub fn over(directory: &Path, bytes: u64) -> Option<Self> {
        mount(directory, bytes)?;
        Some(Self { path: directory.into(), _directory: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Also while somebody has files open there.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).output();
        if !std::thread::panicking() {
            assert!(unmounted.is_ok_and(|output| output.status.success()), "{} stays mounted", self.path.display());
        }
    }
}

fn mount(directory: &Path, bytes: u64) -> Option<()> {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=1777"), "fleet"])
        .arg(directory)
        .output();
    match mounted {
        Ok(Output { status, .. }) if status.success() => Some(()),
        _ => {
            eprintln!("skipped: no right to mount a tmpfs");
            None
        }
    }
}
