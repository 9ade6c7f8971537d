//! Which files and directories of a host a source stands for: [`find`].
//!
//! A name that is there as it was typed wins; patterns are matched here, over the host's listings, and by no shell.

use super::source::{Source, below, name_of, without_slashes};
use crate::outcome::{Code, Failure};
use crate::sftp::{Attributes, FileKind, Name, Sftp, SftpError};
use crate::task::file_server::expand;
use crate::task::trouble::Trouble;
use crate::tree::{Glob, TreePath, check_name};
use futures::{StreamExt, TryStreamExt, stream};

/// Directories that are listed at once.
const LISTINGS: usize = 4;
/// Requests that are made at once about the matches of a pattern.
const AT_ONCE: usize = 64;
/// Names that a pattern may stand for.
const MOST: usize = 1_000_000;

/// Something on a host that was asked for, and all that is in it.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// Its path there, without a slash at its end unless it is `/`.
    pub(super) remote: Vec<u8>,
    /// What it is called here; the root where its contents are meant.
    pub(super) place: TreePath,
    /// What it is itself.
    pub(super) itself: Attributes,
    /// Whether it was named, and not matched by a pattern.
    pub(super) is_typed: bool,
}

impl Root {
    fn new(path: &[u8], itself: Attributes, is_typed: bool) -> Self {
        let remote = match without_slashes(path) {
            b"" => b"/",
            remote => remote,
        };
        let place = TreePath::from_bytes(name_of(path).unwrap_or_default());
        Self { remote: remote.to_vec(), place, itself, is_typed }
    }
}

/// Looks for what a source stands for.
///
/// # Errors
/// The outer one ends the host. The inner one says why this source stands for nothing.
pub(super) async fn find(sftp: &Sftp, source: Source) -> Result<Result<Vec<Root>, Failure>, Trouble> {
    let typed = source.as_bytes();
    let path = match expand(sftp, typed).await {
        Ok(path) => path,
        Err(Trouble::Path(_, error)) => return Ok(Err(nothing(&error))),
        Err(trouble) => return Err(trouble),
    };
    match sftp.lstat(&path).await?.get().await {
        Ok(itself) => return Ok(Ok(vec![Root::new(&path, itself, true)])),
        // Servers have several words for what is not there.
        Err(SftpError::Refused(..)) if Glob::is_one(&path) => {}
        Err(error @ SftpError::Refused(..)) => return Ok(Err(nothing(&error))),
        Err(error) => return Err(error.into()),
    }
    let mut found = matches(sftp, &path).await?;
    if found.is_empty() {
        let failure = Failure::new(Code::TransferPlace, "nothing matches on this host");
        return Ok(Err(failure.hint("quote patterns, so that they are not expanded here")));
    }
    found.sort_by(|one, other| one.remote.cmp(&other.remote));
    found.dedup_by(|one, other| one.remote == other.remote);
    Ok(Ok(found))
}

fn nothing(error: &SftpError) -> Failure {
    Failure::new(Code::TransferPlace, error.to_string())
}

/// Everything that a pattern stands for, name by name of its path.
async fn matches(sftp: &Sftp, pattern: &[u8]) -> Result<Vec<Root>, Trouble> {
    let start: &[u8] = if pattern.starts_with(b"/") { b"/" } else { b"" };
    let mut reached = vec![start.to_vec()];
    let parts: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for (number, part) in (1..).zip(&parts) {
        let is_last = number == parts.len();
        // What cannot be a pattern is a name, as to a shell.
        let glob = (Glob::is_one(part) || part.contains(&b'\\')).then(|| Glob::new(part).ok()).flatten();
        let Some(glob) = glob else {
            reached.iter_mut().for_each(|path| *path = below(path, part));
            continue;
        };
        let listing = stream::iter(reached).map(|directory| names(sftp, directory, &glob, is_last));
        let listed: Vec<Vec<Vec<u8>>> = listing.buffered(LISTINGS).try_collect().await?;
        reached = listed.into_iter().flatten().collect();
        if reached.len() > MOST {
            let message = format!("`{}` stands for more than {MOST} names on this host", pattern.escape_ascii());
            return Err(Failure::new(Code::TransferPlace, message).into());
        }
    }
    let looking = stream::iter(reached).map(|path| look(sftp, path));
    let looked: Vec<Option<Root>> = looking.buffered(AT_ONCE).try_collect().await?;
    Ok(looked.into_iter().flatten().collect())
}

/// What a path stands for. In a directory that a pattern stands for, a name need not be.
async fn look(sftp: &Sftp, path: Vec<u8>) -> Result<Option<Root>, Trouble> {
    match sftp.lstat(&path).await?.get().await {
        Ok(itself) => Ok(Some(Root::new(&path, itself, false))),
        Err(SftpError::Refused(..)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The paths of what is in a directory and matches; of what can be a directory, unless these are the last names.
async fn names(sftp: &Sftp, directory: Vec<u8>, glob: &Glob, is_last: bool) -> Result<Vec<Vec<u8>>, Trouble> {
    let place: &[u8] = if directory.is_empty() { b"." } else { &directory };
    let mut listing = match sftp.list(place).await {
        Ok(listing) => listing,
        // To a shell, what cannot be listed has nothing in it.
        Err(SftpError::Refused(..)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    loop {
        let some = match listing.next().await {
            Ok(Some(some)) => some,
            Ok(None) | Err(SftpError::Refused(..)) => break,
            Err(error) => return Err(error.into()),
        };
        for Name { name, attributes } in some {
            let can_be = is_last || !matches!(attributes.kind(), Some(FileKind::File | FileKind::Special));
            if can_be && check_name(&name).is_ok() && glob.matches(&name) {
                found.push(below(&directory, &name));
            }
        }
        if found.len() > MOST {
            let message = format!("`{}` has more than {MOST} names that match", place.escape_ascii());
            return Err(Failure::new(Code::TransferPlace, message).into());
        }
    }
    // The handle is nobody's any more, whatever comes of this.
    let _ = listing.close().await;
    Ok(found)
}
