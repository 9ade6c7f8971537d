//! The files themselves: which ones are read, whether they may be trusted, and what `Include` finds.

use std::fs;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::pattern::matches_file_name;

/// Which files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// The user's file, then the system's; either may be missing.
    Standard {
        /// `~/.ssh/config`: must belong to the user or root and be writable by nobody else.
        user: PathBuf,
        /// `/etc/ssh/ssh_config`.
        system: PathBuf,
    },
    /// `-F FILE`: this file instead of both, whoever owns it. It must exist.
    Only(PathBuf),
    /// `-F none`.
    Nothing,
}

impl Files {
    /// The files that `-F` names, or the usual ones without it.
    pub fn chosen(option: Option<&Path>, account: &Account) -> Self {
        match option {
            Some(path) if path.as_os_str().eq_ignore_ascii_case("none") => Self::Nothing,
            Some(path) => Self::Only(path.to_owned()),
            None => {
                Self::Standard { user: account.home.join(".ssh/config"), system: PathBuf::from("/etc/ssh/ssh_config") }
            }
        }
    }
}

/// Whose file it is: decides what relative includes and `~` mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user's, or one named by `-F`.
    User,
    /// The system's.
    System,
}

/// Whether owner and mode of a file matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Owner and mode are checked.
    Checked,
    /// They are not.
    Given,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The system says no.
    Unreadable(io::Error),
    /// Others could have written it.
    Permissions { mode: u32, owner: u32 },
}

/// Reads a file. A directory reads as empty, as it does for OpenSSH.
pub(super) fn read(path: &Path, trust: Trust, account: &Account) -> Result<Vec<u8>, Refusal> {
    let mut file = fs::File::open(path).map_err(Refusal::Unreadable)?;
    let metadata = file.metadata().map_err(Refusal::Unreadable)?;
    let trusted = (metadata.uid() == 0 || metadata.uid() == account.uid) && metadata.mode() & 0o022 == 0;
    if trust == Trust::Checked && !trusted {
        return Err(Refusal::Permissions { mode: metadata.mode() & 0o7777, owner: metadata.uid() });
    }
    let mut bytes = Vec::new();
    if !metadata.is_dir() {
        file.read_to_end(&mut bytes).map_err(Refusal::Unreadable)?;
    }
    Ok(bytes)
}

/// The files that match a pattern of glob(3), sorted; none if nothing is there.
pub(super) fn find(pattern: &str) -> Vec<PathBuf> {
    let wild = |part: &str| part.contains(['*', '?', '[', '\\']);
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !wild(part) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        found = found
            .iter()
            .flat_map(|directory| {
                let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
                fs::read_dir(place)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.file_name())
                    .filter(|name| matches_file_name(name.as_encoded_bytes(), part.as_bytes()))
                    .map(|name| directory.join(name))
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    // A dangling link counts as there: reading it is then an error, as it is for OpenSSH.
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    found
}
