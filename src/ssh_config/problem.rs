//! What is wrong: problems of a file with their place, and the errors of reading and resolving.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::host::NameError;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        path: Arc<str>,
        /// Its line, from 1.
        line: u32,
    },
    /// Somewhere else: the command line, an inventory.
    Label(Arc<str>),
    /// Nowhere: the value that holds where nothing is written.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Label(label) => f.write_str(label),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing wrong in a file or option, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or the label of the options.
    pub origin: Origin,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line as it stands.
    pub text: String,
    /// What is wrong.
    pub fault: Fault,
}

impl Problem {
    /// The line, and below it a mark under the column.
    pub fn excerpt(&self) -> String {
        excerpt(&self.text, self.column)
    }
}

fn excerpt(line: &str, column: usize) -> String {
    let line = line.trim_end().replace('\t', " ");
    let shown: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("    {shown}\n    {:>column$}", "^")
}

/// Where in its line a value stands that came to nothing only for some host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    column: usize,
    line: String,
}

impl Spot {
    /// Looks for a text in the line of a file, which was read long ago. Nothing where it does not stand there as it is.
    pub(super) fn of(text: &str, origin: &Origin) -> Option<Self> {
        let Origin::File { path, line } = origin else { return None };
        let path = std::path::Path::new(&**path);
        // A pipe was read already and would not end.
        let all = path.is_file().then(|| std::fs::read_to_string(path))?.ok()?;
        let line = all.lines().nth((*line as usize).checked_sub(1)?)?;
        let column = line[..line.find(text)?].chars().count() + 1;
        Some(Self { column, line: line.to_owned() })
    }

    fn column(spot: Option<&Self>) -> String {
        spot.map_or(String::new(), |spot| format!(":{}", spot.column))
    }

    fn excerpt(spot: Option<&Self>) -> String {
        spot.map_or(String::new(), |spot| format!("\n{}", excerpt(&spot.line, spot.column)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { .. } => writeln!(f, "{}:{}: {}", self.origin, self.column, self.fault)?,
            other => writeln!(f, "{other}: {}", self.fault)?,
        }
        f.write_str(&self.excerpt())?;
        if let Some(hint) = self.fault.hint() {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such keyword.
    #[error("unknown keyword `{keyword}`")]
    UnknownKeyword {
        /// As written, in lower case.
        keyword: String,
        /// The nearest known one.
        near: Option<&'static str>,
    },
    /// A keyword stands alone.
    #[error("`{keyword}` has no value")]
    NoValue {
        /// The keyword.
        keyword: String,
    },
    /// Quotes around nothing where something must stand.
    #[error("`{keyword}` has an empty value")]
    EmptyValue {
        /// The keyword.
        keyword: &'static str,
    },
    /// A quote never closes.
    #[error("this quote never closes")]
    UnclosedQuote,
    /// Something follows a complete value.
    #[error("`{keyword}` is complete before `{extra}`")]
    Extra {
        /// The keyword.
        keyword: &'static str,
        /// What follows.
        extra: String,
    },
    /// Not one of the words that the keyword takes.
    #[error("`{value}` is no value of `{keyword}`")]
    UnknownValue {
        /// The keyword.
        keyword: &'static str,
        /// What is written.
        value: String,
        /// What may be written.
        expected: Vec<&'static str>,
        /// The nearest of those.
        near: Option<&'static str>,
    },
    /// The value has another form.
    #[error("`{value}` is no value of `{keyword}`: expected {expected}")]
    Malformed {
        /// The keyword or criterion.
        keyword: &'static str,
        /// What is written.
        value: String,
        /// What must be written.
        expected: &'static str,
    },
    /// An algorithm that OpenSSH does not know.
    #[error("`{name}` is no algorithm for `{keyword}`")]
    UnknownAlgorithm {
        /// The keyword.
        keyword: &'static str,
        /// What is written.
        name: String,
        /// The nearest known one.
        near: Option<&'static str>,
    },
    /// `none` or `any` beside other values.
    #[error("`{word}` must stand alone for `{keyword}`")]
    NotAlone {
        /// The keyword.
        keyword: &'static str,
        /// The word.
        word: String,
    },
    /// More values than OpenSSH takes.
    #[error("more than {limit} values for `{keyword}`")]
    TooMany {
        /// The keyword.
        keyword: &'static str,
        /// How many may stand.
        limit: usize,
    },
    /// Tokens or environment variables that cannot be expanded.
    #[error(transparent)]
    Expansion(#[from] ExpansionError),
    /// A host or user name that is refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `Match` without criteria.
    #[error("`Match` has no criteria")]
    NoCriteria,
    /// A criterion of `Match` without its value.
    #[error("criterion `{criterion}` has no value")]
    NoCriterionValue {
        /// The criterion.
        criterion: String,
    },
    /// A criterion that does not exist.
    #[error("unknown criterion `{criterion}`")]
    UnknownCriterion {
        /// As written.
        criterion: String,
        /// The nearest known one.
        near: Option<&'static str>,
    },
    /// `Match all` beside others.
    #[error("criterion `all` stands alone or after `canonical` or `final`")]
    AllNotAlone,
    /// `Include ~` in the file of the system.
    #[error("`{path}` begins with `~`, which has no meaning in the system's file")]
    TildeInSystemFile {
        /// The path.
        path: String,
    },
    /// A file that is included cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file that others may change.
    #[error("bad owner or permissions on `{path}`: mode {mode:04o}, owner {owner}")]
    Permissions {
        /// The file.
        path: String,
        /// Its mode bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// Files that include files too deeply.
    #[error("files include each other more than {limit} deep")]
    TooDeep {
        /// How deep they may.
        limit: usize,
    },
    /// `Host`, `Match`, `Include` as options.
    #[error("`{keyword}` shapes a file and cannot be an option")]
    OnlyInFiles {
        /// The keyword.
        keyword: &'static str,
    },
    /// Bytes that are not text.
    #[error("the value is not UTF-8")]
    NotUtf8,
}

impl Fault {
    /// What resolves it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let near = |near: &Option<&str>| near.map(|near| format!("did you mean `{near}`?"));
        match self {
            Self::UnknownKeyword { keyword, near: found } => {
                Some(near(found).unwrap_or_else(|| format!("`IgnoreUnknown {keyword}` above this line accepts it")))
            }
            Self::UnknownAlgorithm { near: found, .. } | Self::UnknownCriterion { near: found, .. } => near(found),
            Self::UnknownValue { expected, near: found, .. } => {
                Some(near(found).unwrap_or_else(|| format!("expected one of: {}", expected.join(", "))))
            }
            Self::Permissions { path, .. } => {
                Some(format!("it must belong to you or root and be writable by nobody else: chmod go-w {path}"))
            }
            Self::UnclosedQuote => Some("`\\'` and `\\\"` stand for the quotes themselves".into()),
            _ => None,
        }
    }
}

/// Why a text with tokens or variables cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpansionError {
    /// `%` before a letter that means nothing here.
    #[error("unknown token `%{token}` in `{text}`")]
    UnknownToken {
        /// The letter.
        token: char,
        /// The whole text.
        text: String,
    },
    /// `%` at the end.
    #[error("`{text}` ends with a lone `%`")]
    LonePercent {
        /// The whole text.
        text: String,
    },
    /// `${` without `}`.
    #[error("`${{` never closes in `{text}`")]
    UnclosedVariable {
        /// The whole text.
        text: String,
    },
    /// A variable that is not set.
    #[error("environment variable `{name}` in `{text}` is not set")]
    UnsetVariable {
        /// Its name.
        name: String,
        /// The whole text.
        text: String,
    },
    /// A name that no variable can have.
    #[error("`{text}` names no environment variable")]
    BadVariable {
        /// The whole text.
        text: String,
    },
    /// `~user` of nobody.
    #[error("there is no user for `{text}`")]
    NoSuchUser {
        /// The whole text.
        text: String,
    },
}

impl ExpansionError {
    /// The whole text that cannot be expanded.
    pub fn text(&self) -> &str {
        match self {
            Self::UnknownToken { text, .. }
            | Self::LonePercent { text }
            | Self::UnclosedVariable { text }
            | Self::UnsetVariable { text, .. }
            | Self::BadVariable { text }
            | Self::NoSuchUser { text } => text,
        }
    }
}

/// Why the configuration cannot be read, or a host not be resolved in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SshConfigError {
    /// Lines are wrong; every one is reported.
    #[error("{}", problem_list(.0))]
    Invalid(Vec<Problem>),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// A file that others may change is not trusted.
    #[error("bad owner or permissions on `{}`: mode {mode:04o}, owner {owner}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// The name of a host or user is refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value cannot be expanded for a host.
    #[error("cannot resolve `{host}`: {origin}{}: {why}{}", Spot::column(spot.as_deref()), Spot::excerpt(spot.as_deref()))]
    Expansion {
        /// The host.
        host: String,
        /// Where the value was written.
        origin: Origin,
        /// Why not. Part of the message, and so no source of it.
        why: ExpansionError,
        /// Where in the line of its file, if that is known.
        spot: Option<Box<Spot>>,
    },
    /// A value makes no sense once everything is known.
    #[error("cannot resolve `{host}`: {origin}: {reason}")]
    Unusable {
        /// The host.
        host: String,
        /// Where the value was written.
        origin: Origin,
        /// Why not.
        reason: &'static str,
    },
    /// The configuration refuses connections to the host (`RefuseConnection`).
    #[error("{origin} refuses connections to `{host}`: {reason}")]
    Refused {
        /// The host.
        host: String,
        /// Where that is written.
        origin: Origin,
        /// The text given there.
        reason: String,
    },
    /// The way to a host leads through itself.
    #[error("the way to `{host}` leads through itself, by way of `{hop}`")]
    JumpLoop {
        /// The host.
        host: String,
        /// The jump host that closes the circle.
        hop: String,
    },
    /// No suffix gives a name that resolves, and `CanonicalizeFallbackLocal` is off.
    #[error("no domain of `CanonicalDomains` has a host `{host}`")]
    NotCanonical {
        /// The host.
        host: String,
    },
    /// The shell for `Match exec` does not start or dies.
    #[error("{origin}: `Match exec` failed: {reason}")]
    Exec {
        /// The line.
        origin: Origin,
        /// What happened.
        reason: String,
    },
}

impl SshConfigError {
    /// Every problem with its place; none for errors that are not about lines.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

fn problem_list(problems: &[Problem]) -> String {
    let list: Vec<String> = problems.iter().map(Problem::to_string).collect();
    list.join("\n")
}
