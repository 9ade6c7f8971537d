//! What `--delete` removes is looked at once more: a path that is removed leads through directories that were listed long
//! before, and any of them may be a symlink to elsewhere by now.

use super::carry::Carrier;
use crate::outcome::{Code, Failure};
use crate::sftp::{Attributes, FileKind, SftpError, Status};
use crate::task::trouble::Trouble;
use crate::tree::{Step, TreePath};
use std::collections::BTreeSet;

impl Carrier<'_> {
    /// Whether all directories that these paths lead through are directories still, each asked about in one go. Those that
    /// are not are told as failures.
    ///
    /// # Errors
    /// Where the session has ended.
    pub(super) async fn leads_where_it_led(&self, deletions: &[Step]) -> Result<bool, Trouble> {
        let paths = deletions.iter().filter_map(|step| match step {
            Step::Delete { path, .. } => Some(path),
            _ => None,
        });
        let directories: BTreeSet<&[u8]> = paths.flat_map(TreePath::ancestors).collect();
        let mut asked = Vec::with_capacity(directories.len() + 1);
        // The destination itself may have been a symlink when it was typed.
        let base = self.placement.base();
        let end = base.iter().rposition(|byte| *byte != b'/').map_or(base.len(), |last| last + 1);
        let base = if base.is_empty() { b"." } else { &base[..end] };
        if !self.manner.is_destination_link {
            asked.push((base.to_vec(), self.sftp.lstat(base).await?));
        }
        for directory in directories {
            let remote = self.placement.remote(&TreePath::from_bytes(directory));
            let answer = self.sftp.lstat(&remote).await?;
            asked.push((remote, answer));
        }
        let mut is_same = true;
        for (remote, answer) in asked {
            let now = match answer.get().await.map(|found| Attributes::kind(&found)) {
                Ok(Some(FileKind::Directory)) => continue,
                Ok(Some(FileKind::Symlink)) => "is a symlink now".into(),
                Ok(_) => "is no directory any more".into(),
                Err(SftpError::Refused(Status::NoSuchFile, _)) => "is gone".into(),
                Err(error @ SftpError::Refused(..)) => format!("cannot be looked at: {error}"),
                Err(error) => return Err(error.into()),
            };
            let failure = Failure::new(Code::TransferFailed, format!("it was a directory and {now}"));
            let hint = "find out who changes things there, then push again";
            self.teller.failed_with(&remote, failure.hint(hint)).await;
            is_same = false;
        }
        Ok(is_same)
    }
}
