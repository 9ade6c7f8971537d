//! A thing that has its temporary name still: [`Draft`].

use super::Landing;
use super::site::Site;
use rustix::io::{Errno, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Names that are tried where one is in use: two names of a directory may have the same tag.
const TRIES: u8 = 16;

/// A temporary name of this run in a directory. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    landing: Arc<Landing>,
    site: Arc<Site>,
    temporary: Vec<u8>,
    ended: bool,
}

impl Draft {
    /// Makes something, with `make`, under a temporary name of what is to be called `name`.
    pub(super) fn make<T>(
        landing: &Arc<Landing>,
        site: &Arc<Site>,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<(Self, T)> {
        for attempt in 0..TRIES {
            let temporary = match attempt {
                0 => landing.lock.run().name_for(name),
                // No name has a slash in it, so this is the tag of no other.
                _ => landing.lock.run().name_for(&[name, b"/", &[attempt]].concat()),
            };
            match make(&temporary) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
                Ok(made) => {
                    let (landing, site) = (Arc::clone(landing), Arc::clone(site));
                    return Ok((Self { landing, site, temporary, ended: false }, made));
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// The temporary name.
    pub(super) fn name(&self) -> &[u8] {
        &self.temporary
    }

    /// Gives it the final name, over what has it.
    pub(super) fn rename(mut self, name: &[u8]) -> Result<()> {
        self.site.folder.rename(&self.temporary, name)?;
        self.ended = true;
        Ok(())
    }

    /// Leaves it for a later run.
    pub(super) fn keep(mut self) {
        self.ended = true;
        self.landing.left_behind.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.ended && self.site.folder.remove(&self.temporary).is_err_and(|error| error != Errno::NOENT) {
            self.landing.left_behind.fetch_add(1, Ordering::Relaxed);
        }
    }
}
