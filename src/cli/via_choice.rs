//! `--via`: which way files go.

use crate::task::Via;
use clap::ValueEnum;

/// Which way files go.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(super) enum ViaChoice {
    /// Many small new ones as one stream, where the host has tar, and large ones into cat
    Auto,
    /// All by SFTP, one by one
    Sftp,
    /// As auto, and small new ones as a stream in any case, which needs tar on the host
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
