//! `--via`: which way new small files go.

use crate::task::Via;
use clap::ValueEnum;

/// Which way new small files go.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(super) enum ViaChoice {
    /// Many at once as one stream, where the host has tar
    Auto,
    /// One by one
    Sftp,
    /// As one stream, which needs tar on the host
    Tar,
}

impl From<ViaChoice> for Via {
    fn from(choice: ViaChoice) -> Self {
        match choice {
            ViaChoice::Auto => Self::Auto,
            ViaChoice::Sftp => Self::Sftp,
            ViaChoice::Tar => Self::Tar,
        }
    }
}
