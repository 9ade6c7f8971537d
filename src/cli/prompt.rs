//! Questions to the person at the terminal, before anything is contacted. In batch nobody is asked.

use super::failure::Failed;
use crate::connection::{AGENT_LIMIT, Ask};
use crate::duration::human;
use crate::report::visible;
use crate::secret::Secret;
use rpassword::ConfigBuilder;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// A password is one line; what is longer is not one.
const SECRET_LIMIT: u64 = 4096;

/// Whether somebody sees what is shown on standard error and can answer.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal() && has_terminal()
}

/// Whether there is a terminal to ask on, wherever the standard streams go.
pub(super) fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Asks for something that is not shown while it is typed.
pub(super) fn secret(question: &str) -> io::Result<Secret> {
    let keyboard = Keyboard::silent()?;
    let screen = keyboard.terminal.try_clone()?;
    let config = ConfigBuilder::new().input_reader(keyboard).output_writer(screen).build();
    rpassword::prompt_password_with_config(format!("{}: ", visible(question)), config).map(Secret::new)
}

/// The terminal while it shows nothing. rpassword would leave it like that after Ctrl-C, which ends the process.
struct Keyboard {
    terminal: File,
    former: Termios,
}

impl Keyboard {
    fn silent() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let former = tcgetattr(&terminal)?;
        let mut silent = former.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, former })
    }

    fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.former)?)
    }
}

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(1);
        let length = self.terminal.read(&mut buffer[..room])?;
        if matches!(buffer[..length], [b'\n' | b'\r' | INTERRUPT]) {
            self.restore()?;
            self.terminal.write_all(b"\n")?;
        }
        Ok(length)
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.restore();
    }
}

/// Tells the person who answers something.
pub(super) fn say(text: &str) {
    // Who cannot be told is asked again all the same.
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Asks yes or no; anything but a clear yes is no.
pub(super) fn confirm(question: &str) -> io::Result<bool> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{} [yes/no] ", visible(question))?;
    let mut answer = String::new();
    BufReader::new(terminal).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The first line of an open file descriptor.
pub(super) fn secret_from_descriptor(descriptor: i32, option: &str, what: &str) -> Result<Secret, Failed> {
    let failed = |error: io::Error| {
        Failed::mistake_text(format!("cannot read the {what} from file descriptor {descriptor}: {error}"))
            .hint(format!("open it in the shell, such as {option} 3 3<{what}-file"))
    };
    // Opening it through /proc or /dev needs no ownership of a descriptor that is not ours.
    let file = File::open(format!("/dev/fd/{descriptor}")).map_err(failed)?;
    let mut line = Zeroizing::new(String::new());
    // With room for the end of the line.
    BufReader::new(file.take(SECRET_LIMIT + 2)).read_line(&mut line).map_err(failed)?;
    let secret = line.trim_end_matches(['\n', '\r']);
    let wrong = match secret {
        "" => {
            return Err(Failed::mistake_text(format!("file descriptor {descriptor} holds no {what}"))
                .hint("each secret needs a descriptor of its own: what was read of a pipe is gone"));
        }
        long if long.len() as u64 > SECRET_LIMIT => {
            format!("the first line of file descriptor {descriptor} is longer than {SECRET_LIMIT} bytes: no {what} is")
        }
        text if text.contains('\0') => {
            format!("the first line of file descriptor {descriptor} holds a NUL byte: no {what} does")
        }
        secret => return Ok(Secret::new(secret.to_owned())),
    };
    Err(Failed::mistake_text(wrong))
}

/// A password from a descriptor, or asked for, or none.
pub(super) fn password(
    asked: bool,
    descriptor: Option<i32>,
    question: &str,
    option: &str,
) -> Result<Option<Secret>, Failed> {
    if let Some(descriptor) = descriptor {
        return secret_from_descriptor(descriptor, option, "password").map(Some);
    }
    if !asked {
        return Ok(None);
    }
    if !has_terminal() {
        return Err(Failed::mistake_text("nobody can be asked for a password: there is no terminal")
            .hint(format!("hand it over with {option} FD")));
    }
    match secret(question) {
        Ok(secret) if !secret.is_empty() => Ok(Some(secret)),
        Ok(_) => Err(Failed::mistake_text("no password was given")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failed::mistake_text("no password was given"))
        }
        Err(error) => Err(Failed::fault(error)),
    }
}

/// Asks for passphrases on the terminal, where there is one and the configuration allows it.
pub(super) struct Passphrases {
    pub(super) allowed: bool,
    /// Whether what is waited for is told.
    pub(super) quiet: bool,
    /// What the run may take.
    pub(super) deadline: Option<Duration>,
}

impl Ask for Passphrases {
    fn passphrase(&self, path: &Path, attempt: u32) -> Option<Secret> {
        if !self.allowed || !has_terminal() {
            return None;
        }
        let again = if attempt > 1 { "wrong passphrase, once more. " } else { "" };
        secret(&format!("{again}passphrase for key `{}`", path.display()))
            .ok()
            // An empty line leaves the key out, as with ssh.
            .filter(|passphrase| !passphrase.is_empty())
    }

    fn may_give(&self, key: &Path) -> bool {
        let question = format!("Add the key `{}` to the agent once a host takes it?", key.display());
        self.allowed && has_terminal() && confirm(&question).unwrap_or(false)
    }

    fn agent_limit(&self) -> Duration {
        self.deadline.map_or(AGENT_LIMIT, |deadline| deadline.min(AGENT_LIMIT))
    }

    fn waits_for_agent(&self, socket: &Path) {
        if !self.quiet {
            let limit = human(self.agent_limit());
            let text = format!("the key agent at `{}` does not answer; waiting for {limit} at most", socket.display());
            Failed::mistake_text(text).warn(&mut io::stderr());
        }
    }
}
