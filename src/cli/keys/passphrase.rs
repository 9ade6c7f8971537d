//! `bugle keys passphrase FILE`: another passphrase for a private key, as `ssh-keygen -p`.

use super::protection::ProtectionOptions;
use crate::cli::failure::Failed;
use crate::cli::key_files::KeyPassphrases;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::shown;
use crate::exit_code;
use crate::keys::{Pair, Protection, replace_private};
use clap::{Args, ValueHint};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys passphrase ~/.ssh/id_ed25519
  bugle keys passphrase deploy_key --old-passphrase-fd 3 --passphrase-fd 4 3<old 4<new
  bugle keys passphrase deploy_key --no-passphrase")]
pub(super) struct Arguments {
    /// The private key
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Read the passphrase that it has from this file descriptor
    #[arg(long, value_name = "FD")]
    old_passphrase_fd: Option<i32>,
    #[command(flatten)]
    protection: ProtectionOptions,
}

impl Arguments {
    /// Whether both passphrases would be the same line.
    fn reads_twice(&self) -> bool {
        self.old_passphrase_fd == self.protection.passphrase_fd
    }
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let path = &arguments.file;
    if let Some(descriptor) = arguments.old_passphrase_fd.filter(|_| arguments.reads_twice()) {
        return Err(Failed::mistake_text(format!(
            "--old-passphrase-fd and --passphrase-fd are both {descriptor}: the first line would be read twice"
        ))
        .hint("open one for each: --old-passphrase-fd 3 --passphrase-fd 4 3<old 4<new"));
    }
    let mut passphrases = KeyPassphrases::of(arguments.old_passphrase_fd, "--old-passphrase-fd")?;
    let file = passphrases.open(path)?;
    let Some(private) = file.private() else {
        return Err(Failed::mistake_text(format!("`{}` is locked", path.display())));
    };
    let mut pair = Pair::from(private.clone());
    if let (true, Some(comment)) = (pair.comment().is_empty(), file.comment()) {
        // Formats without comments: it would be lost with the `.pub` file.
        pair = pair.with_comment(&comment);
    }
    let protection = arguments.protection.ask(&format!("`{}`", path.display()))?;
    let text = pair.proved_private_text(&protection).map_err(Failed::fault)?;
    replace_private(path, text.as_bytes()).map_err(Failed::fault)?;
    if !global.quiet {
        let what = match &protection {
            Protection::None => "has no passphrase now",
            // Its rounds may be others.
            Protection::Passphrase { passphrase, .. } if passphrases.last() == Some(passphrase) => {
                "has the same passphrase as before"
            }
            Protection::Passphrase { .. } => "has a new passphrase",
        };
        writeln!(io::stdout(), "{} {what}", shown(&path.display().to_string()))?;
    }
    Ok(exit_code::SUCCESS)
}
