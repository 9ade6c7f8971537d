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

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failed> {
    let command = settings::with_environment(Program::command());
    std::fs::create_dir_all(&arguments.directory).map_err(Failed::fault)?;
    clap_mangen::generate_to(command, &arguments.directory).map_err(Failed::fault)?;
    Ok(crate::exit_code::SUCCESS)
}
