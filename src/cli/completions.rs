//! `bugle completions SHELL`.

use super::failure::Failed;
use super::{Program, settings};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle completions bash >/etc/bash_completion.d/bugle
  bugle completions zsh >\"${fpath[1]}/_bugle\"
  bugle completions fish >~/.config/fish/completions/bugle.fish")]
pub(super) struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut settings::with_environment(Program::command()), "bugle", &mut script);
    io::stdout().write_all(&script)?;
    Ok(crate::exit_code::SUCCESS)
}
