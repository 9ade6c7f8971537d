//! `--backup`: the name under which what is replaced stays, how it gets that, and what keeps it from it.

use super::carry::{Carrier, Fault};
use super::place::{Temporary, lock, split};
use super::replace::keep;
use crate::sftp::{Answer, Attributes, FileKind, Sftp, SftpError};
use crate::tree::temporary::Role;
use crate::tree::{Difference, Obstacle, Placement, Plan, Step, Tree, Why, shown};
use std::collections::HashSet;

/// Bytes of the longest name that file systems take.
const LONGEST_NAME: usize = 255;

/// Whether what is replaced stays under another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backup {
    /// It does not.
    #[default]
    None,
    /// As `NAME~`.
    Tilde,
}

/// Where what is in a place stays.
pub(super) fn backup_of(place: &[u8]) -> Vec<u8> {
    [place, b"~"].concat()
}

/// What has a name, where something has it.
async fn kind(answer: Answer<Attributes>) -> Result<Option<FileKind>, SftpError> {
    match answer.get().await {
        Ok(found) => Ok(found.kind()),
        Err(SftpError::Refused(..)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What keeps it from its other name, where that is to be seen.
fn in_the_way(found: Option<FileKind>, backup: &[u8]) -> Option<String> {
    match found {
        Some(FileKind::Directory) => Some("a directory has that name".into()),
        _ if split(backup).1.len() > LONGEST_NAME => {
            Some(format!("the name would be longer than {LONGEST_NAME} bytes"))
        }
        _ => None,
    }
}

/// What is said of an old file that cannot be kept, and so is not replaced.
fn unkept(backup: &[u8], why: &str) -> String {
    format!("cannot keep the old file as `{}` ({why}): it still stands", shown(split(backup).1))
}

/// The entry that replaces something with this step.
fn replacing(step: &Step) -> Option<usize> {
    match step {
        Step::Send { entry, why: Why::Replaced(_), .. }
        | Step::MakeSymlink { entry, why: Why::Replaced(_), .. }
        | Step::HardLink { entry, why: Why::Replaced(_), .. } => Some(*entry),
        _ => None,
    }
}

/// The entries for which old files cannot be kept, with what is said of them, before anything is done.
pub(super) async fn refusals(
    sftp: &Sftp,
    tree: &Tree,
    placement: &Placement,
    plan: &Plan,
) -> Result<Vec<(usize, String)>, SftpError> {
    let mut asked = Vec::new();
    let replaced: Vec<usize> = plan.steps.iter().filter_map(replacing).collect();
    if replaced.is_empty() {
        return Ok(Vec::new());
    }
    let remote = |entry| placement.remote(&placement.path(entry));
    let brought: HashSet<Vec<u8>> = tree.entries.iter().map(remote).collect();
    for entry in replaced {
        let backup = backup_of(&placement.remote(&placement.path(&tree.entries[entry])));
        let answer = sftp.lstat(&backup).await?;
        asked.push((entry, backup, answer));
    }
    let mut refused = Vec::new();
    for (entry, backup, answer) in asked {
        let found = kind(answer).await?;
        let is_brought = brought.contains(&backup).then(|| "the sources have that name too".into());
        if let Some(why) = is_brought.or_else(|| in_the_way(found, &backup)) {
            refused.push((entry, unkept(&backup, &why)));
        }
    }
    Ok(refused)
}

impl Carrier<'_> {
    /// Puts what is whole into its place; what was there stays under another name where that is wanted. What cannot be put
    /// there goes.
    pub(super) async fn put_in_place(&self, entry: usize, temporary: &Temporary, why: &Why) -> Result<(), Fault> {
        let put = match why {
            Why::Replaced(difference) if self.manner.backup == Backup::Tilde => {
                let is_symlink = matches!(difference, Difference::WasSymlink | Difference::Target { .. });
                self.replace_keeping(entry, temporary, is_symlink).await
            }
            _ => temporary.rename(self.sftp, *why == Why::New).await,
        };
        match &put {
            Ok(()) => temporary.placed(),
            Err(fault) if fault.ends_all().is_none() => temporary.remove(self.sftp).await,
            Err(_) => {}
        }
        put
    }

    async fn replace_keeping(&self, entry: usize, temporary: &Temporary, is_symlink: bool) -> Result<(), Fault> {
        let (sftp, backup) = (self.sftp, backup_of(&temporary.place));
        let Some(second) = temporary.second(sftp, is_symlink, &backup).await? else {
            return self.replace_stepwise(temporary, &backup).await;
        };
        // With a second name for what is there its place is never empty.
        if let Err(fault) = second.rename(sftp, false).await {
            second.remove(sftp).await;
            return Err(self.not_kept(entry, &backup, fault).await?);
        }
        // rename(2) does nothing where both are names of one file.
        futures::join!(second.remove(sftp), temporary.rename(sftp, false)).1
    }

    /// The place is empty for a moment: the old file is put aside, and gets its other name when the new one stands.
    async fn replace_stepwise(&self, temporary: &Temporary, backup: &[u8]) -> Result<(), Fault> {
        let sftp = self.sftp;
        let (there, found) = (sftp.lstat(&temporary.place).await?, sftp.lstat(backup).await?);
        let (there, found) = (kind(there).await?, kind(found).await?);
        if there == Some(FileKind::Directory) {
            return Err(Fault::Words(Obstacle::Directory.to_string()));
        }
        if let Some(why) = in_the_way(found, backup) {
            return Err(Fault::Words(unkept(backup, &why)));
        }
        let Some(aside) = temporary.swap(sftp, Role::Kept).await? else { return Ok(()) };
        let kept = match keep(sftp, &aside, backup).await {
            Err(error @ SftpError::Refused(..)) if temporary.give_back(sftp, &aside).await? => {
                Err(Fault::Words(unkept(backup, &error.to_string())))
            }
            Err(error @ SftpError::Refused(..)) => Err(Fault::Words(format!(
                "the new file stands, but the old one cannot be called `{}` ({error}): it is `{}` beside it, and gets that name with the next `push --backup` that can give it",
                shown(split(backup).1),
                shown(split(&aside).1)
            ))),
            kept => Ok(kept?),
        };
        lock(&temporary.aside).remove(&aside);
        kept
    }

    /// Why what is replaced cannot be kept. A server has one word for most of what may be the matter.
    async fn not_kept(&self, entry: usize, backup: &[u8], fault: Fault) -> Result<Fault, Fault> {
        if fault.ends_all().is_some() {
            return Err(fault);
        }
        let there = self.sftp.lstat(backup).await?.get().await.ok();
        let why = match in_the_way(there.and_then(|found| found.kind()), backup) {
            Some(why) => why,
            None => self.reason(&fault, &self.path_of(entry), 0).await,
        };
        Ok(Fault::Words(unkept(backup, &why)))
    }
}
