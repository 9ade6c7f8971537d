//! `--links`: what is done about symlinks.

use crate::tree::Links;
use clap::ValueEnum;

/// What is done about symlinks.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(super) enum LinkChoice {
    /// They are made anew with the same text
    Keep,
    /// What they lead to is copied
    Follow,
    /// They are left out
    Skip,
}

impl From<LinkChoice> for Links {
    fn from(choice: LinkChoice) -> Self {
        match choice {
            LinkChoice::Keep => Self::Keep,
            LinkChoice::Follow => Self::Follow,
            LinkChoice::Skip => Self::Skip,
        }
    }
}
