//! What a report is told before a run: the mode, the terminals, the files and the limits.
//!
//! The main type is [`Settings`]. Nothing here reads flags, the environment or the terminal; the command line does.

use std::env;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How the answers of the hosts are shown (`--output`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputMode {
    /// [`Raw`](Self::Raw) for one host, [`Group`](Self::Group) for many on a terminal, [`Stream`](Self::Stream) for
    /// many into a pipe or file.
    #[default]
    Auto,
    /// Every line as it comes, prefixed `HOST: `.
    Stream,
    /// Identical answers once, under the folded names of their hosts.
    Group,
    /// The majority's answer, then what differs from it.
    Diff,
    /// The bytes as they come.
    Raw,
    /// Every event as a line of JSON.
    Json,
    /// No answers; only the closing lines.
    None,
}

impl OutputMode {
    /// Every mode, in the order of the documentation.
    pub const ALL: &[Self] = &[Self::Auto, Self::Stream, Self::Group, Self::Diff, Self::Raw, Self::Json, Self::None];

    /// The word of `--output`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Stream => "stream",
            Self::Group => "group",
            Self::Diff => "diff",
            Self::Raw => "raw",
            Self::Json => "json",
            Self::None => "none",
        }
    }

    /// The mode that `auto` stands for, given how many hosts are called and where standard output goes.
    #[must_use]
    pub fn resolve(self, hosts: usize, stdout: Terminal) -> Self {
        match self {
            Self::Auto if hosts == 1 => Self::Raw,
            Self::Auto if stdout.present => Self::Group,
            Self::Auto => Self::Stream,
            chosen => chosen,
        }
    }
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.iter().copied().find(|mode| mode.as_str() == text).ok_or_else(|| UnknownMode(text.into()))
    }
}

/// A word that is no output mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown output mode `{0}`; it is one of auto, stream, group, diff, raw, json, none")]
pub struct UnknownMode(String);

/// What is known of one of the two standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether it is a terminal. Then control characters that a host sent are made visible.
    pub present: bool,
    /// Whether colour is wanted on it (`--color`, `NO_COLOR`).
    pub color: bool,
}

/// Both standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminals {
    /// Standard output.
    pub stdout: Terminal,
    /// Standard error. Progress is drawn only where it is a terminal.
    pub stderr: Terminal,
    /// Columns of the terminal.
    pub width: u16,
    /// Its rows.
    pub height: u16,
}

impl Default for Terminals {
    fn default() -> Self {
        Self { stdout: Terminal::default(), stderr: Terminal::default(), width: 80, height: 24 }
    }
}

/// Where the events go that `--json` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileTarget {
    /// `-`: standard output.
    Stdout,
    /// A file, replaced if it is there.
    File(PathBuf),
}

/// How much output is held, and where the rest goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one host's stdout, and of its stderr, that are gathered in memory; the rest goes to a temporary file.
    pub gathered_per_host: usize,
    /// Bytes gathered in memory over all hosts, counting what several hosts said alike once.
    pub gathered: usize,
    /// Bytes of one unfinished line that are held; a longer line is shown in pieces of this size.
    pub line: usize,
    /// Bytes of all unfinished lines together. Past this, lines are cut at [`Limits::SHORT_LINE`].
    pub lines: usize,
    /// Bytes of each of a host's two outputs that a JUnit report keeps.
    pub junit_output: usize,
    /// Where the temporary file is made. It has no name and vanishes with the process.
    pub spool_directory: PathBuf,
}

impl Limits {
    /// Bytes at which unfinished lines are cut while too many of them are held.
    pub const SHORT_LINE: usize = 64 << 10;
}

impl Default for Limits {
    /// 1 MiB a host and 64 MiB in all, lines of 8 MiB, 64 KiB in JUnit, `$TMPDIR` or else `/var/tmp`, since `/tmp` is
    /// often memory.
    fn default() -> Self {
        let spool_directory = match env::var_os("TMPDIR") {
            Some(directory) if !directory.is_empty() => directory.into(),
            _ if Path::new("/var/tmp").is_dir() => PathBuf::from("/var/tmp"),
            _ => env::temp_dir(),
        };
        Self {
            gathered_per_host: 1 << 20,
            gathered: 64 << 20,
            line: 8 << 20,
            lines: 64 << 20,
            junit_output: 64 << 10,
            spool_directory,
        }
    }
}

/// Everything a report is told before a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How answers are shown.
    pub mode: OutputMode,
    /// Where the two standard streams go.
    pub terminals: Terminals,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// `--quiet`: answers and failures only; no progress, notices or closing line.
    pub quiet: bool,
    /// Whether the run goes on when nobody reads standard output any more.
    pub goes_on_unheard: bool,
    /// `--outdir`: a directory for `HOST.out` and `HOST.err`.
    pub outdir: Option<PathBuf>,
    /// `--json`: the events, beside what is shown.
    pub json: Option<FileTarget>,
    /// `--junit`: a report for continuous integration, beside what is shown.
    pub junit: Option<FileTarget>,
    /// How much is held in memory.
    pub limits: Limits,
}

/// The two standard streams, or what stands for them in a test.
pub struct Sinks {
    /// Data.
    pub stdout: Box<dyn Write + Send>,
    /// Talk.
    pub stderr: Box<dyn Write + Send>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_raw_for_one_group_on_a_terminal_and_stream_into_a_pipe() {
        let pipe = Terminal::default();
        let terminal = Terminal { present: true, color: false };
        for (mode, hosts, stdout, expected) in [
            (OutputMode::Auto, 1, pipe, OutputMode::Raw),
            (OutputMode::Auto, 1, terminal, OutputMode::Raw),
            (OutputMode::Auto, 2, terminal, OutputMode::Group),
            (OutputMode::Auto, 2, pipe, OutputMode::Stream),
            (OutputMode::Auto, 0, pipe, OutputMode::Stream),
            (OutputMode::Diff, 1, terminal, OutputMode::Diff),
            (OutputMode::None, 2, pipe, OutputMode::None),
        ] {
            assert_eq!(mode.resolve(hosts, stdout), expected, "{mode} {hosts} {stdout:?}");
        }
    }

    #[test]
    fn every_mode_parses_from_its_own_word_and_nothing_else_does() {
        for &mode in OutputMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert!(UnknownMode(String::new()).to_string().contains(mode.as_str()), "the message lists {mode}");
        }
        assert!("Group".parse::<OutputMode>().is_err());
        assert!("".parse::<OutputMode>().is_err());
    }
}
