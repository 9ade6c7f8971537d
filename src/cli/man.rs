//! `bugle man DIR`.

use super::failure::Failed;
use super::{Program, settings};
use clap::{Args, CommandFactory, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bugle man /usr/local/share/man/man1")]
pub(super) struct Arguments {
    /// Where the pages are written: bugle.1 and one for each verb
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

/// The pages cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", directory.display())]
struct PagesError {
    directory: PathBuf,
    source: std::io::Error,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failed> {
    let command = settings::with_environment(Program::command());
    let failed = |source| Failed::fault(PagesError { directory: arguments.directory.clone(), source });
    std::fs::create_dir_all(&arguments.directory).map_err(failed)?;
    clap_mangen::generate_to(command, &arguments.directory).map_err(failed)?;
    Ok(crate::exit_code::SUCCESS)
}
