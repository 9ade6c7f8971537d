//! Which paths of a tree are meant: [`Filter`].

use std::path::PathBuf;

use super::path::TreePath;

/// The rules of one run, in order, and the `.gitignore` files of one tree.
#[derive(Clone, Debug, Default)]
pub struct Filter {}

/// A rule as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterRule {
    /// `--exclude GLOB`
    Exclude(Vec<u8>),
    /// `--include GLOB`
    Include(Vec<u8>),
    /// `--exclude-from FILE`
    ExcludeFrom(PathBuf),
}

/// A rule that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {}

impl Filter {
    /// Reads the rules, in the order in which they were given: the first that matches wins.
    ///
    /// # Errors
    /// The first pattern that is wrong, with its option or its line, and a file that cannot be read.
    pub fn new(_rules: &[FilterRule]) -> Result<Self, FilterError> {
        unimplemented!()
    }

    /// Honours the `.gitignore` files inside of the tree, below the rules that were given.
    #[must_use]
    pub fn with_gitignore(self) -> Self {
        unimplemented!()
    }

    /// Whether a path is left out, by itself or since a directory above it is.
    pub fn is_excluded(&self, _path: &TreePath, _is_directory: bool) -> bool {
        unimplemented!()
    }
}
