//! The passphrase of a new key file: typed twice, handed over through a file descriptor, or left out on purpose.

use crate::cli::failure::Failed;
use crate::cli::prompt;
use crate::keys::Protection;
use crate::secret::Secret;
use clap::Args;

/// Rounds of bcrypt, as in OpenSSH 10 (`DEFAULT_ROUNDS` in sshkey.c); older releases have 16.
const ROUNDS: u32 = 24;
/// Bytes that OpenSSH takes from a terminal or an askpass program (`read_passphrase` in readpass.c).
const LONGEST: usize = 1023;
/// How often two words may differ.
const ATTEMPTS: u32 = 3;

#[derive(Args, Debug)]
pub(super) struct ProtectionOptions {
    /// Read the new passphrase from this file descriptor
    #[arg(long, value_name = "FD")]
    pub(super) passphrase_fd: Option<i32>,
    /// Leave the private key unencrypted: who reads the file has the key
    #[arg(long, conflicts_with = "passphrase_fd")]
    no_passphrase: bool,
    /// Rounds of bcrypt: what each guess at the passphrase costs
    #[arg(short = 'a', long, value_name = "N", default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    rounds: u32,
}

impl ProtectionOptions {
    /// The option that takes standard input for itself, if one does.
    pub(super) fn reads_standard_input(&self) -> Option<&'static str> {
        (self.passphrase_fd == Some(0)).then_some("`--passphrase-fd 0`")
    }

    /// Asks for the passphrase where it was not handed over.
    pub(super) fn ask(&self, about: &str) -> Result<Protection, Failed> {
        let protected = |passphrase| Protection::Passphrase { passphrase, rounds: self.rounds };
        if self.no_passphrase {
            return Ok(Protection::None);
        }
        if let Some(descriptor) = self.passphrase_fd {
            let passphrase = prompt::secret_from_descriptor(descriptor, "--passphrase-fd", "passphrase")?;
            return usable(passphrase).map(protected);
        }
        if !prompt::has_terminal() {
            return Err(Failed::mistake_text("nobody can be asked for a passphrase: there is no terminal")
                .hint("hand it over with --passphrase-fd 3 3<FILE, or do without it: --no-passphrase"));
        }
        let nothing = |_| Failed::mistake_text("no passphrase was given");
        for _ in 0..ATTEMPTS {
            let first = prompt::secret(&format!("new passphrase for {about}")).map_err(nothing)?;
            if first.is_empty() {
                return Err(Failed::mistake_text("no passphrase was given")
                    .hint("--no-passphrase leaves the key unencrypted on purpose"));
            }
            if prompt::secret("the same passphrase again").map_err(nothing)? == first {
                return usable(first).map(protected);
            }
            prompt::say("the two differ, once more");
        }
        Err(Failed::mistake_text("the two passphrases differ"))
    }
}

/// Nobody could type a longer one for ssh.
fn usable(passphrase: Secret) -> Result<Secret, Failed> {
    match passphrase.len() {
        ..=LONGEST => Ok(passphrase),
        length => Err(Failed::mistake_text(format!(
            "the passphrase has {length} bytes: OpenSSH asks for {LONGEST} at most, and could not open the key"
        ))),
    }
}
