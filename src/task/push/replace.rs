//! How what is whole gets from its temporary name into its place, and what becomes of the old file there.
//!
//! A server that renames over a file does it in one step. Elsewhere, and where an old file is to be kept that cannot have two
//! names, the place is empty for a moment; the old file is beside it then under a name that tells what it is there for
//! ([`Role::Old`], [`Role::Kept`]). Whoever finds it there later ends what was begun: [`settle`].

use super::backup::backup_of;
use super::carry::Fault;
use super::place::{Temporary, lock, split};
use crate::sftp::{Sftp, SftpError, Status};
use crate::tree::shown;
use crate::tree::temporary::{Role, beside};

/// What came of an old file that was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its place was empty, and it is back there.
    Back,
    /// Its place was filled: it is gone, or has the name under which it is kept.
    Replaced,
    /// It is where it was.
    Stays,
}

impl Temporary {
    /// Puts it into its place, over what may be there. It still counts as there.
    pub(super) async fn rename(&self, sftp: &Sftp, is_new: bool) -> Result<(), Fault> {
        if sftp.features().posix_rename {
            return Ok(sftp.posix_rename(&self.path, &self.place).await?.get().await?);
        }
        // An existing target is an error in some servers and is replaced by others.
        match sftp.rename(&self.path, &self.place).await?.get().await {
            Err(SftpError::Refused(Status::Failure | Status::Other(_), _)) if !is_new => {}
            other => return Ok(other?),
        }
        if let Some(aside) = self.swap(sftp, Role::Old).await? {
            // What is left of the old file is in nobody's way.
            let _ = sftp.remove(&aside).await?.get().await;
            lock(&self.aside).remove(&aside);
        }
        Ok(())
    }

    /// Puts it into its place once that is empty, and tells where the old file is now; nowhere where none was there. Where
    /// it cannot be put there, the old file is put back.
    pub(super) async fn swap(&self, sftp: &Sftp, role: Role) -> Result<Option<Vec<u8>>, Fault> {
        let aside = beside(&self.path, role);
        lock(&self.aside).insert(aside.clone(), (role, self.place.clone()));
        // Both are sent before the first is answered: its place is empty for no longer than the server takes.
        let emptied = sftp.rename(&self.place, &aside).await?;
        let filled = sftp.rename(&self.path, &self.place).await?;
        let (emptied, filled) = (refusal(emptied.get().await)?, refusal(filled.get().await)?);
        let Some(unmoved) = emptied else {
            let Some(why) = filled else { return Ok(Some(aside)) };
            if let Some(stays) = refusal(sftp.rename(&aside, &self.place).await?.get().await)? {
                return Err(Fault::Words(format!(
                    "{why}; and the old file cannot be put back ({stays}): it is `{}` beside its place",
                    shown(split(&aside).1)
                )));
            }
            lock(&self.aside).remove(&aside);
            return Err(why.into());
        };
        lock(&self.aside).remove(&aside);
        match filled {
            Some(_) => Err(unmoved.into()),
            None if role == Role::Old || unmoved.status() == Some(Status::NoSuchFile) => Ok(None),
            None => Err(Fault::Words(format!(
                "the server did not put the old file aside ({unmoved}), and replaced it all the same"
            ))),
        }
    }

    /// Takes it out of its place once more, and puts the old file back there. Where that is refused it stays.
    pub(super) async fn give_back(&self, sftp: &Sftp, aside: &[u8]) -> Result<bool, SftpError> {
        if refusal(sftp.rename(&self.place, &self.path).await?.get().await)?.is_some() {
            return Ok(false);
        }
        let is_back = refusal(sftp.rename(aside, &self.place).await?.get().await)?.is_none();
        if !is_back {
            // Where even that is refused the old file is beside the place, as is told, and comes back with the next push.
            let _ = sftp.rename(&self.path, &self.place).await?.get().await;
        }
        Ok(is_back)
    }

    /// A second name for what is in its place, which is to become this one: a hard link, or another symlink like it. None
    /// where the host has no such thing, or cannot rename it over an older one.
    pub(super) async fn second(&self, sftp: &Sftp, is_symlink: bool, backup: &[u8]) -> Result<Option<Self>, SftpError> {
        let features = sftp.features();
        if !features.posix_rename || !(features.hard_link || is_symlink) {
            return Ok(None);
        }
        let second = self.beside(Role::Backup, backup.to_vec());
        let made = match is_symlink {
            // Some systems follow a symlink of which they make a hard link.
            true => match sftp.read_link(&self.place).await?.get().await {
                Ok(target) => sftp.symlink(&target, &second.path).await?.get().await,
                Err(error) => Err(error),
            },
            false => sftp.hard_link(&self.place, &second.path).await?.get().await,
        };
        Ok(refusal(second.made(made))?.is_none().then_some(second))
    }
}

/// Ends what was begun with an old file that was put aside: it goes back where its place is empty.
pub(super) async fn settle(sftp: &Sftp, aside: &[u8], role: Role, place: &[u8]) -> Result<Settled, SftpError> {
    let (done, settled) = match refusal(sftp.lstat(place).await?.get().await.map(drop))? {
        Some(SftpError::Refused(Status::NoSuchFile, _)) => {
            (sftp.rename(aside, place).await?.get().await, Settled::Back)
        }
        Some(_) => return Ok(Settled::Stays),
        None if role == Role::Kept => (keep(sftp, aside, &backup_of(place)).await, Settled::Replaced),
        None => (sftp.remove(aside).await?.get().await, Settled::Replaced),
    };
    Ok(if refusal(done)?.is_none() { settled } else { Settled::Stays })
}

/// Gives an old file that was put aside the name under which it is kept, in the place of an older one.
pub(super) async fn keep(sftp: &Sftp, aside: &[u8], backup: &[u8]) -> Result<(), SftpError> {
    if sftp.features().posix_rename {
        sftp.posix_rename(aside, backup).await?.get().await?;
        // rename(2) does nothing where both are names of one file.
        let _ = sftp.remove(aside).await?.get().await;
        return Ok(());
    }
    if refusal(sftp.rename(aside, backup).await?.get().await)?.is_none() {
        return Ok(());
    }
    // It may have that name already: only what is in its way goes.
    sftp.lstat(aside).await?.get().await?;
    drop(sftp.remove(backup).await?);
    sftp.rename(aside, backup).await?.get().await
}

/// What the server refused, where it did; an error is the end of the session.
fn refusal(answer: Result<(), SftpError>) -> Result<Option<SftpError>, SftpError> {
    match answer {
        Ok(()) => Ok(None),
        Err(error @ SftpError::Refused(..)) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}
