//! Key files on this machine, for the verbs that work with them: how they are read, what is wrong with a private one, and how
//! it is unlocked.

use super::failure::Failed;
use super::prompt;
use crate::connection::{KeyFile, KeyFileError};
use crate::known_hosts::open_at_once;
use crate::secret::Secret;
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// The keys of a large team are a few hundred kilobytes, known_hosts of a large fleet some megabytes.
const LARGEST: u64 = 64 * 1024 * 1024;
/// How often a passphrase is asked for, as `ssh` does (NumberOfPasswordPrompts).
const ATTEMPTS: u32 = 3;

impl From<KeyFileError> for Failed {
    fn from(error: KeyFileError) -> Self {
        let hint = error.hint();
        Self::mistake(error).hints(hint)
    }
}

/// The text of a file of keys; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failed> {
    if path == Path::new("-") { read_from(path, io::stdin()) } else { read_file(path) }
}

/// The text of a file of keys.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failed> {
    read_from(path, open_at_once(path).map_err(|error| unreadable(path, &error))?)
}

fn unreadable(path: &Path, error: &io::Error) -> Failed {
    Failed::mistake_text(format!("cannot read `{}`: {error}", path.display()))
}

fn read_from(path: &Path, source: impl Read) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let mut text = Zeroizing::new(Vec::new());
    let length = source.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| unreadable(path, &error))?;
    if length as u64 > LARGEST {
        return Err(Failed::mistake_text(format!("`{}` is larger than 64 MiB: no file of keys is", path.display())));
    }
    Ok(text)
}

/// Whether a line begins a private key.
pub(super) fn begins_private_key(line: &[u8]) -> bool {
    line.windows(b"PRIVATE KEY".len()).any(|window| window == b"PRIVATE KEY") || line.starts_with(b"PuTTY-User-Key")
}

/// The passphrases that keys are unlocked with.
pub(super) struct KeyPassphrases {
    /// The option that hands one over, for hints.
    option: &'static str,
    /// The one that was handed over.
    given: Option<Secret>,
    /// The last one that opened a key: the next one may have the same.
    last: Option<Secret>,
}

impl KeyPassphrases {
    /// Reads the one that is handed over through a file descriptor.
    pub(super) fn of(descriptor: Option<i32>, option: &'static str) -> Result<Self, Failed> {
        let given = descriptor.map(|descriptor| prompt::secret_from_descriptor(descriptor, option, "passphrase"));
        Ok(Self { option, given: given.transpose()?, last: None })
    }

    /// Opens a key file, and unlocks it where it is locked.
    pub(super) fn open(&mut self, path: &Path) -> Result<KeyFile, Failed> {
        let mut file = KeyFile::open(path)?;
        if file.private().is_none() {
            self.unlock(&mut file)?;
        }
        Ok(file)
    }

    /// The one that opened the last locked key.
    pub(super) fn last(&self) -> Option<&Secret> {
        self.last.as_ref()
    }

    fn unlock(&mut self, file: &mut KeyFile) -> Result<(), Failed> {
        if let Some(given) = &self.given {
            file.unlock(given)?;
            self.last = Some(given.clone());
            return Ok(());
        }
        if self.last.as_ref().is_some_and(|last| file.unlock(last).is_ok()) {
            return Ok(());
        }
        let path = file.path().to_owned();
        if !prompt::has_terminal() {
            let text = format!("`{}` has a passphrase, and nobody can be asked for it", path.display());
            return Err(Failed::mistake_text(text).hint(format!("hand it over with {} 3 3<FILE", self.option)));
        }
        for attempt in 1.. {
            let again = if attempt > 1 { "wrong passphrase, once more. " } else { "" };
            let passphrase = prompt::secret(&format!("{again}passphrase for key `{}`", path.display()));
            let passphrase = passphrase.ok().filter(|passphrase| !passphrase.is_empty());
            let Some(passphrase) = passphrase else {
                return Err(Failed::mistake_text(format!("no passphrase was given for `{}`", path.display())));
            };
            match file.unlock(&passphrase) {
                Ok(()) => self.last = Some(passphrase),
                Err(KeyFileError::WrongPassphrase(_)) if attempt < ATTEMPTS => continue,
                Err(error) => return Err(error.into()),
            }
            break;
        }
        Ok(())
    }
}
