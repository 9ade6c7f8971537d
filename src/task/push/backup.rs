//! `--backup`: the name under which an old file stays, and what keeps it from that.

use super::place::split;
use crate::sftp::{FileKind, Sftp, SftpError};
use crate::tree::{Difference, Placement, Plan, Step, Tree, Why, shown};

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

/// Where the old file of a place stays.
pub(super) fn backup_of(place: &[u8]) -> Vec<u8> {
    [place, b"~"].concat()
}

/// Whether there is an old file that would be kept.
pub(super) fn is_kept(why: &Why) -> bool {
    !matches!(why, Why::New | Why::Replaced(Difference::WasSymlink))
}

/// What keeps an old file from its other name, where that is to be seen.
pub(super) fn in_the_way(found: Option<FileKind>, backup: &[u8]) -> Option<String> {
    match found {
        Some(FileKind::Directory) => Some("a directory has that name".into()),
        _ if split(backup).1.len() > LONGEST_NAME => {
            Some(format!("the name would be longer than {LONGEST_NAME} bytes"))
        }
        _ => None,
    }
}

/// What is said of an old file that cannot be kept, and so is not replaced.
pub(super) fn refusal(backup: &[u8], why: &str) -> String {
    format!("cannot keep the old file as `{}` ({why}): it still stands", shown(split(backup).1))
}

/// The places whose old files cannot be kept, with what is said of them, before anything is done.
pub(super) async fn refusals(
    sftp: &Sftp,
    tree: &Tree,
    placement: &Placement,
    plan: &Plan,
) -> Result<Vec<(Vec<u8>, String)>, SftpError> {
    let mut asked = Vec::new();
    for step in &plan.steps {
        if let Step::Send { entry, why, .. } = step
            && is_kept(why)
        {
            let place = placement.remote(&placement.path(&tree.entries[*entry]));
            let answer = sftp.lstat(&backup_of(&place)).await?;
            asked.push((place, answer));
        }
    }
    let mut refused = Vec::new();
    for (place, answer) in asked {
        let found = match answer.get().await {
            Ok(found) => found.kind(),
            Err(SftpError::Refused(..)) => None,
            Err(error) => return Err(error),
        };
        let backup = backup_of(&place);
        if let Some(why) = in_the_way(found, &backup) {
            refused.push((place, refusal(&backup, &why)));
        }
    }
    Ok(refused)
}
