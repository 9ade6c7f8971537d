//! Files that are written but for their names: [`Sealed`].

use super::LandingError;
use super::draft::Draft;
use super::lasting::Lasting;
use super::place::{Place, Target};
use rustix::io::Errno;
use std::fs::File;
use std::sync::Arc;

/// A file with its content and its attributes, open and under its temporary name still. Dropped, it is removed, and what
/// has the final name stays.
#[derive(Debug)]
pub struct Sealed {
    pub(super) place: Arc<Place>,
    pub(super) target: Target,
    pub(super) draft: Draft,
    pub(super) file: File,
}

impl Sealed {
    /// Makes the content last over a loss of power, and renames the file over what has its name.
    ///
    /// # Errors
    /// Where something else came into its place, and where the system refuses. The temporary file is removed then.
    pub fn commit(self) -> Result<(), LandingError> {
        rustix::fs::fsync(&self.file).map_err(|error| self.unsynced(error))?;
        self.rename()
    }

    /// [Commits](Self::commit) files of any hosts, several times as fast as each by itself where there are many. Each is
    /// open until then. Gives what became of each, in their order.
    pub fn commit_all(all: Vec<Self>) -> Vec<Result<(), LandingError>> {
        let mut lasting = Lasting::new(all.len());
        let each: Vec<_> = all.iter().map(|sealed| lasting.add(&sealed.file)).collect();
        let together = lasting.finish();
        let commit = |(sealed, synced): (Self, rustix::io::Result<()>)| match synced.and(together) {
            Ok(()) => sealed.rename(),
            Err(error) => Err(sealed.unsynced(error)),
        };
        all.into_iter().zip(each).map(commit).collect()
    }

    fn rename(self) -> Result<(), LandingError> {
        self.place.check_replaceable(&self.target, "file")?;
        self.place.rename(self.draft, &self.target)
    }

    fn unsynced(&self, error: Errno) -> LandingError {
        LandingError::system("sync", self.place.landing().shown(self.target.path.as_bytes()), error)
    }
}
