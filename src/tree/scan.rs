//! Finds everything that is in the sources: [`Tree::scan`].

use std::path::PathBuf;

use super::entry::Tree;
use super::filter::Filter;
use super::problem::ScanProblems;

/// What is done about symlinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are made anew with the same text.
    #[default]
    Keep,
    /// What they lead to is sent in their place.
    Follow,
    /// They are left out.
    Skip,
}

/// How sources are looked at.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Whether directories are sent with all that is in them.
    pub recursive: bool,
    /// What is done about symlinks.
    pub links: Links,
    /// Which paths are meant.
    pub filter: Filter,
}

impl Tree {
    /// Looks at every source and at all that is in it: one stat(2) each, and an open file only where there are holes.
    ///
    /// # Errors
    /// All that is wrong, not the first thing only.
    pub fn scan(_sources: &[PathBuf], _options: &ScanOptions) -> Result<Self, ScanProblems> {
        unimplemented!()
    }
}
