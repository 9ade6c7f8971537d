//! What can be wrong with targets, where, and what to write instead.

use crate::host::NameError;
use crate::nodeset;
use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Targets that can't be read, that name nobody known, or that select nobody. Nothing was contacted.
///
/// The text of the error is one line; [`SelectionError::excerpt`] shows the expression with the place underlined and
/// [`SelectionError::hint`] says what to write.
#[derive(Clone, Debug)]
pub struct SelectionError {
    /// The expression or the line of a list.
    pub expression: String,
    /// Bytes of the expression that are meant.
    pub span: Range<usize>,
    /// Where the expression stands.
    pub place: Place,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Targets => {}
            Place::Limit => f.write_str("--limit: ")?,
            Place::Exclude => f.write_str("--exclude: ")?,
            Place::Line { list, line } => write!(f, "{list}:{line}:{}: ", self.column())?,
        }
        self.problem.fmt(f)
    }
}

impl Error for SelectionError {
    /// The reason behind the problem: the problem itself is the text of this error.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// Where an expression stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The targets of the command.
    Targets,
    /// An expression of `--limit`.
    Limit,
    /// An expression of `--exclude`.
    Exclude,
    /// A line of a file or of standard input.
    Line {
        /// The file, or `standard input`.
        list: String,
        /// Counted from 1.
        line: usize,
    },
}

impl SelectionError {
    /// The place in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.expression[..self.span.start].chars().count() + 1
    }

    /// The expression and below it a line of carets; a long expression is cut around them.
    pub fn excerpt(&self) -> String {
        const BEFORE: usize = 40;
        const AFTER: usize = 40;
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let characters: Vec<char> = self.expression.chars().map(printable).collect();
        let from = self.column() - 1;
        let length = self.expression[self.span.clone()].chars().count().clamp(1, AFTER);
        let start = from.saturating_sub(BEFORE);
        let end = characters.len().min(from + length + AFTER);
        let (left, right) = (if start > 0 { "…" } else { "" }, if end < characters.len() { "…" } else { "" });
        let shown: String = characters[start..end].iter().collect();
        let indent = from - start + left.chars().count();
        format!("{left}{shown}{right}\n{:indent$}{}", "", "^".repeat(length))
    }

    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }

    /// Whether the targets were understood and select no host: a play may pass over that, a command may not.
    pub fn is_nobody(&self) -> bool {
        matches!(*self.problem, Problem::Nobody { .. } | Problem::NobodyLeft { .. })
    }
}

/// What can be wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No word at all.
    #[error("no targets are given")]
    Empty,
    /// An operator at the end, or two of them in a row.
    #[error("a name is missing after `{after}`")]
    MissingName {
        /// The operator.
        after: String,
    },
    /// A separator at the beginning.
    #[error("a name is missing before `{0}`")]
    MissingNameBefore(String),
    /// `web01 web02`.
    #[error("nothing separates this from the name before it")]
    NotSeparated,
    /// `a:&b!c`.
    #[error("`{ansible}` and `{clustershell}` are of two forms, which do not mix")]
    MixedForms {
        /// The mark of Ansible's form.
        ansible: String,
        /// The mark of ClusterShell's form.
        clustershell: String,
    },
    /// A range that can't be read.
    #[error("{0}")]
    Pattern(nodeset::Problem),
    /// A name that no host or user may have.
    #[error("{0}")]
    Name(NameError),
    /// `web01:99999`.
    #[error("`{0}` is not a port")]
    Port(String),
    /// `[::1]x`.
    #[error("`{0}` follows an address")]
    AfterAddress(String),
    /// `web{01,02}`.
    #[error("braces mean nothing here")]
    Braces,
    /// `~(`.
    #[error("`{expression}` is not a regular expression")]
    Regex {
        /// What follows `~`.
        expression: String,
        /// The reason.
        source: regex::Error,
    },
    /// `web[*`.
    #[error("`{pattern}` is not a pattern")]
    Glob {
        /// The pattern.
        pattern: String,
        /// The reason.
        source: globset::Error,
    },
    /// Names that are in no inventory.
    #[error("no host or group is called `{names}`")]
    Unknown {
        /// The names, folded.
        names: String,
        /// The nearest names of hosts and groups.
        nearest: Vec<String>,
        /// The other names of the range, folded; empty where nobody else is in it.
        known: String,
        /// Whether the name can be called all the same where it is written as an address.
        callable: bool,
    },
    /// `@nothing`.
    #[error("no group is called `{name}`")]
    UnknownGroup {
        /// The name.
        name: String,
        /// The nearest names of groups.
        nearest: Vec<String>,
    },
    /// A pattern or regular expression without a match.
    #[error("no host or group matches `{0}`")]
    NoMatch(String),
    /// A host to keep or to leave out that is in no inventory and was not selected before.
    #[error("`{names}` is not in the inventory and not among the hosts selected before it")]
    NotSelected {
        /// The names, folded.
        names: String,
        /// The nearest names of hosts and groups.
        nearest: Vec<String>,
    },
    /// `deploy@web` where `web` is a group.
    #[error("`{0}` is not a single host, so it can't be given a user or a port")]
    LoginOnMany(String),
    /// `root@web01,deploy@web01`.
    #[error("`{0}` is written with two different users or ports")]
    TwoLogins(String),
    /// `web[9]` of a group of three.
    #[error("`{group}` has {members} hosts and no position {position}")]
    NoSuchMember {
        /// The group or pattern.
        group: String,
        /// The position as written.
        position: i64,
        /// Number of hosts.
        members: usize,
    },
    /// `web[3:1]`.
    #[error("the positions of `{group}` run backwards, from {first} to {last}")]
    BackwardsSubscript {
        /// The group or pattern.
        group: String,
        /// The first position.
        first: usize,
        /// The last position.
        last: usize,
    },
    /// `^` without a path.
    #[error("the name of a file is missing after `^`")]
    NoFile,
    /// A list that can't be read.
    #[error("the list `{list}` can't be read")]
    List {
        /// The file, or `standard input`.
        list: String,
        /// The reason.
        source: Arc<io::Error>,
    },
    /// A list that names itself, directly or through another one.
    #[error("the list `{0}` includes itself")]
    ListLoop(String),
    /// A group or list without hosts.
    #[error("`{0}` selects no host")]
    Nobody(String),
    /// A step that took away the last host.
    #[error("no host is left: {reason}")]
    NobodyLeft {
        /// What happened.
        reason: String,
    },
}

impl Problem {
    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("write a host, a group or `all`".into()),
            Self::MissingName { after } | Self::MissingNameBefore(after) if after == ":" => {
                Some("an IPv6 address stands alone or between `,`".into())
            }
            Self::MissingName { after } if after == "&" => Some("quote the targets: the shell ends a command at `&`".into()),
            Self::NotSeparated => Some("write `,` between names".into()),
            Self::MixedForms { .. } => Some(
                "write `a:b`, `a:&b`, `a:!b` throughout (unions first), or `a,b`, `a&b`, `a!b`, `a^b` throughout (from left to right)"
                    .into(),
            ),
            Self::Pattern(problem) => problem.hint(),
            Self::Name(NameError::Character { character: '/', .. }) => Some("a file with names is written `^FILE`".into()),
            Self::Name(NameError::LeadingDash { .. }) => Some("hosts are left out with `!` or `--exclude`".into()),
            Self::Braces => Some("write `web[01-20]`, or the names with `,` between them".into()),
            Self::Unknown { known, .. } if !known.is_empty() => Some(format!("of this range there are `{known}`")),
            Self::Unknown { nearest, callable, .. } => did_you_mean(nearest)
                .or_else(|| callable.then(|| "a host that is in no inventory is written `ssh://NAME`".into())),
            Self::UnknownGroup { name, .. } if name.contains(['/', '.']) => {
                Some(format!("a file with names is written `^{name}`"))
            }
            Self::UnknownGroup { nearest, .. } | Self::NotSelected { nearest, .. } => did_you_mean(nearest),
            Self::LoginOnMany(_) => Some("`--user` and `--port` hold for every host".into()),
            Self::NoSuchMember { .. } => Some("positions count from 0; `[-1]` is the last".into()),
            Self::BackwardsSubscript { group, first, last } => Some(format!("write `{group}[{last}:{first}]`")),
            _ => None,
        }
    }
}

fn did_you_mean(nearest: &[String]) -> Option<String> {
    match nearest {
        [] => None,
        [name] => Some(format!("did you mean `{name}`?")),
        [names @ .., last] => Some(format!("did you mean `{}` or `{last}`?", names.join("`, `"))),
    }
}

/// A mistake in an expression whose place is not known yet.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, problem: Problem) -> Self {
        Self { span, problem }
    }

    pub(super) fn at(self, expression: &str, place: &Place) -> SelectionError {
        SelectionError {
            expression: expression.into(),
            span: self.span,
            place: place.clone(),
            problem: Box::new(self.problem),
        }
    }
}
