//! What is wrong with an inventory, where, and what to do about it.

use crate::host::NameError;
use crate::nodeset::PatternError;
use crate::yaml::{Place, YamlError, YamlFault, excerpt};
use std::fmt;

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Whether the inventory can be used all the same.
    pub severity: Severity,
    /// The file or other source, as the user named it.
    pub file: String,
    /// Where in the file; line 0 when it is about the whole of it, column 0 when about a whole line.
    pub place: Place,
    /// The line at that place, when there is one.
    pub shown: String,
    /// What is wrong.
    pub fault: Box<Fault>,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
}

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The inventory means something, but perhaps not what was wanted.
    Warning,
    /// Nothing is run with this inventory.
    Error,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A file or directory could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Others may change what would decide who is called.
    #[error("is {owner}, mode {mode:04o}: others can change it")]
    WritableByOthers {
        /// Permission bits.
        mode: u32,
        /// `owned by you` or `owned by user id N`.
        owner: String,
    },
    /// Text is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A YAML or JSON file with wrong syntax.
    #[error("{0}")]
    Syntax(YamlFault),
    /// A form that bugle does not read.
    #[error("{0}")]
    ForeignForm(&'static str),
    /// A file that says nothing.
    #[error("is empty")]
    Empty,
    /// A file that Ansible leaves out when it reads a directory.
    #[error("is not read: in a directory of inventories Ansible leaves out files that end in `{0}`")]
    IgnoredExtension(String),
    /// A value of the wrong shape.
    #[error("{what} must be {wanted}, here it is {found}")]
    WrongKind {
        /// What it is about.
        what: String,
        /// What would be right, with its article.
        wanted: &'static str,
        /// What is there, with its article.
        found: &'static str,
    },
    /// A group has something else than `hosts`, `vars` and `children`.
    #[error("unknown key `{key}` in group `{group}`: a group has `hosts`, `vars` and `children`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The group.
        group: String,
    },
    /// One key twice in one mapping.
    #[error("`{key}` stands twice (first on line {first}); the last one counts")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Line of its first appearance.
        first: u32,
    },
    /// A host name that is refused.
    #[error("{0}")]
    HostName(NameError),
    /// A group name that no target expression could spell.
    #[error("group name `{name}` contains `{character}`, which target expressions give a meaning to")]
    GroupName {
        /// The name.
        name: String,
        /// The character.
        character: char,
    },
    /// A group without a name.
    #[error("a group needs a name")]
    EmptyGroupName,
    /// A range that cannot be expanded.
    #[error("bad range: {0}")]
    Range(Box<PatternError>),
    /// `host:` without a port.
    #[error("host `{0}` ends in `:` but names no port")]
    NoPort(String),
    /// Quoting of an INI line.
    #[error("{0}")]
    Quoting(&'static str),
    /// A word of a host line that is no variable.
    #[error("expected `key=value` after the host, got `{0}`")]
    NotAVariable(String),
    /// A line of a `:vars` section that is no variable.
    #[error("expected `key=value`, got `{0}`")]
    NotAnAssignment(String),
    /// A line of a `:children` section that is no name.
    #[error("expected the name of a group, got `{0}`")]
    NotAGroupName(String),
    /// A section header that cannot be read.
    #[error("bad section header `{0}`")]
    SectionHeader(String),
    /// A section of an unknown kind.
    #[error("unknown kind of section `:{0}`: there is `:vars` and `:children`")]
    SectionKind(String),
    /// `[x:vars]` for a group that is declared nowhere.
    #[error("variables for group `{0}`, which is declared nowhere")]
    VariablesOfUnknownGroup(String),
    /// A child that is declared nowhere.
    #[error("group `{parent}` has the child `{child}`, which is declared nowhere")]
    UnknownChild {
        /// The parent.
        parent: String,
        /// The child.
        child: String,
    },
    /// Groups that contain each other.
    #[error("groups contain each other: {}", .0.join(" > "))]
    Cycle(Vec<String>),
    /// `ansible_group_priority` that is no whole number.
    #[error("`ansible_group_priority` must be a whole number")]
    Priority,
    /// One name for both, which Ansible's rules make a trap: variables go to the group.
    #[error("`{0}` is both a group and a host; variables set for the host after the group is known go to the group")]
    GroupAndHost(String),
    /// A file of variables that is encrypted.
    #[error("is encrypted with Ansible's vault; its variables are left out")]
    VaultFile,
    /// An inventory that is encrypted.
    #[error("is encrypted with Ansible's vault")]
    VaultInventory,
    /// A program that could not be started.
    #[error("could not be run: {0}")]
    NotStarted(String),
    /// A program that took too long.
    #[error("`{call}` did not finish within {seconds} s and was killed")]
    TimedOut {
        /// Arguments.
        call: String,
        /// The limit.
        seconds: u64,
    },
    /// A program that failed.
    #[error("`{call}` failed with {status}{}", said(.stderr))]
    ScriptFailed {
        /// Arguments.
        call: String,
        /// Exit status in words.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// A program whose answer is not JSON.
    #[error("`{call}` must print JSON, but {reason}{}", said(.stderr))]
    NotJson {
        /// Arguments.
        call: String,
        /// What is wrong with what it printed.
        reason: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// A program without `_meta`, asked once per host.
    #[error("prints no `_meta`, so it is run once more for each of {0} hosts")]
    NoMeta(usize),
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said:\n{stderr}") }
}

impl Problem {
    /// A problem that stops everything.
    pub(super) fn error(file: &str, fault: Fault) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            place: Place::default(),
            shown: String::new(),
            fault: Box::new(fault),
            hint: None,
        }
    }

    /// A problem that is only told.
    pub(super) fn warning(file: &str, fault: Fault) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, fault) }
    }

    /// Names its place in `text`.
    pub(super) fn at(mut self, place: Place, text: &str) -> Self {
        self.shown = text.lines().nth((place.line as usize).saturating_sub(1)).unwrap_or("").to_owned();
        self.place = place;
        self
    }

    /// Says what to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Self {
        let hint = error.hint();
        Self {
            severity: Severity::Error,
            file: error.file,
            place: error.place,
            shown: error.shown,
            fault: Box::new(Fault::Syntax(error.fault)),
            hint,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and what programs say may hold newlines, and must not pass for hints of ours.
        let fault = self.fault.to_string().replace('\n', "\n    ");
        match (self.place.line, self.place.column) {
            (0, _) => write!(f, "{}: {fault}", self.file)?,
            (line, 0) => write!(f, "{}:{line}: {fault}", self.file)?,
            _ => write!(f, "{}:{}: {fault}", self.file, self.place)?,
        }
        excerpt(f, self.place, &self.shown)
    }
}

/// Why an inventory cannot be used: every problem that was found, warnings too.
#[derive(Debug, Clone, PartialEq)]
pub struct InventoryErrors(pub Vec<Problem>);

impl std::error::Error for InventoryErrors {}

impl fmt::Display for InventoryErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.0.iter().filter(|problem| problem.severity == Severity::Error);
        for (position, problem) in errors.enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
            if let Some(hint) = &problem.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}
