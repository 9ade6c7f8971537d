//! How errors are told: an `error:` line, what caused it, and `hint:` lines; and the exit code by kind. The one place.
//!
//! Names and values of files, of programs and of hosts are in these texts: what could deceive a terminal is made visible.

use crate::exit_code;
use crate::report::visible;
use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;

/// Why the program ends without a run's result.
#[derive(Debug)]
pub(super) struct Failed {
    kind: Kind,
    hints: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    /// Help or version was shown.
    Shown,
    /// Nobody listens any more; there is nobody to tell either.
    Silent(u8),
    /// clap words its own errors.
    Usage(Box<clap::Error>),
    /// An error with its chain.
    Error { code: u8, error: Box<dyn Error + Send + Sync> },
    /// A text that is complete: an expression with a caret, a list of problems.
    Text { code: u8, text: String },
}

impl Failed {
    pub(super) fn shown() -> Self {
        Self { kind: Kind::Shown, hints: Vec::new() }
    }

    /// The reader of standard output went away: a quiet end.
    pub(super) fn silent(code: u8) -> Self {
        Self { kind: Kind::Silent(code), hints: Vec::new() }
    }

    pub(super) fn usage(error: clap::Error) -> Self {
        Self { kind: Kind::Usage(Box::new(error)), hints: Vec::new() }
    }

    /// A mistake in what was typed or in a file: nothing was started.
    pub(super) fn mistake(error: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Error { code: exit_code::USAGE, error: Box::new(error) }, hints: Vec::new() }
    }

    /// A mistake whose whole text is made already.
    pub(super) fn mistake_text(text: impl Into<String>) -> Self {
        Self { kind: Kind::Text { code: exit_code::USAGE, text: text.into() }, hints: Vec::new() }
    }

    /// Something that the verb was asked for was not done; its whole text is made already.
    pub(super) fn not_all_text(text: impl Into<String>) -> Self {
        Self { kind: Kind::Text { code: exit_code::WORK_FAILED, text: text.into() }, hints: Vec::new() }
    }

    /// A fault of this machine or of bugle.
    pub(super) fn fault(error: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Error { code: exit_code::FAULT, error: Box::new(error) }, hints: Vec::new() }
    }

    /// Several mistakes at once, equal ones once, at most `shown` of them.
    pub(super) fn several(all: Vec<Self>, shown: usize) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let total = all.len();
        for failed in all {
            let text = failed.text(&[]).trim_end().to_owned();
            if texts.len() < shown && seen.insert(text.clone()) {
                texts.push(text);
            }
        }
        if total > texts.len() && texts.len() == shown {
            texts.push(format!("… and {} more like these", total - texts.len()));
        }
        Self::mistake_text(texts.join("\n"))
    }

    /// Says at which place of a file a mistake is.
    #[must_use]
    pub(super) fn at(mut self, place: &str) -> Self {
        if let Kind::Text { text, .. } = &mut self.kind {
            *text = format!("{place}: {text}");
        }
        self
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub(super) fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Tells the user and gives the exit code.
    pub(super) fn report(self, stderr: &mut dyn Write, arguments: &[OsString]) -> u8 {
        // There is nobody left to tell that stderr is closed.
        let _ = stderr.write_all(visible(&self.text(arguments)).as_bytes());
        match self.kind {
            Kind::Shown => exit_code::SUCCESS,
            Kind::Silent(code) | Kind::Error { code, .. } | Kind::Text { code, .. } => code,
            Kind::Usage(_) => exit_code::USAGE,
        }
    }

    /// Tells the user as something that changes neither the result nor the exit code.
    pub(super) fn warn(self, stderr: &mut dyn Write) {
        let text = self.text(&[]);
        // There is nobody left to tell that stderr is closed.
        let _ = warn(stderr, text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    }

    fn text(&self, arguments: &[OsString]) -> String {
        let mut text = match &self.kind {
            Kind::Shown | Kind::Silent(_) => return String::new(),
            Kind::Usage(error) => {
                let usage = error.render().to_string();
                if arguments.len() <= 1 {
                    return usage;
                }
                usage
            }
            Kind::Error { error, .. } => {
                let mut text = format!("error: {error}\n");
                let mut source = error.source();
                while let Some(cause) = source {
                    text += &format!("caused by: {cause}\n");
                    source = cause.source();
                }
                text
            }
            Kind::Text { text, .. } => {
                let text = text.trim_end();
                let prefix = if text.starts_with("error:") { "" } else { "error: " };
                format!("{prefix}{text}\n")
            }
        };
        for hint in &self.hints {
            text += &format!("hint: {hint}\n");
        }
        text
    }
}

/// Writes a `warning:`.
pub(super) fn warn(out: &mut dyn Write, warning: impl fmt::Display) -> std::io::Result<()> {
    writeln!(out, "warning: {}", visible(&warning.to_string()))
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
struct StdoutError(#[source] std::io::Error);

/// What verbs print goes to standard output; everything else that can fail says itself what it was.
impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::silent(exit_code::SUCCESS),
            _ => Self::fault(StdoutError(error)),
        }
    }
}
