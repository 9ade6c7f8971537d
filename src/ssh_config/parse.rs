//! Files into blocks of settings. Everything is read and checked once, whether it applies to some host or not.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::host::check_host;

use super::account::Account;
use super::arguments::{Arguments, Mistake, split_arguments};
use super::block::{File, Item, Section, Setting};
use super::files::{Owner, Refusal, Trust, find, read};
use super::keyword::{KEYWORDS, Keyword, Support};
use super::lexer::{self, Line, UnclosedQuote};
use super::matching::{Condition, parse_host, parse_match, wants_second_pass};
use super::pattern::{ListMatch, is_literal, matches_list};
use super::problem::{ExpansionError, Fault, Origin, Problem};
use super::suggestion::nearest;
use super::tokens::{MOST, Tokens};
use super::value::{Value, parse, parse_default};

/// How deep files may include files.
const DEEPEST: usize = 16;

/// A host that the configuration names in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcreteHost {
    /// The name after `Host`.
    pub name: String,
    /// Where it stands first.
    pub origin: Origin,
}

/// Something that the user should know once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands first.
    pub origin: Origin,
    /// The keyword.
    pub keyword: Keyword,
    /// What it says.
    pub text: String,
}

/// The `IgnoreUnknown` values seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    lists: Vec<Arc<str>>,
    /// Whether the first one holds for every host: then no other counts.
    certain: bool,
}

enum Verdict {
    Accepted,
    Refused,
    Doubtful,
}

impl Ignored {
    pub(super) fn add(&mut self, list: &Arc<str>, for_every_host: bool) {
        if self.lists.is_empty() {
            self.certain = for_every_host;
        }
        self.lists.push(list.clone());
    }

    fn judge(&self, keyword: &str) -> Verdict {
        let hits = |list: &Arc<str>| matches_list(keyword, &list.to_ascii_lowercase()) == ListMatch::Matched;
        match self.certain {
            true if hits(&self.lists[0]) => Verdict::Accepted,
            true => Verdict::Refused,
            false if self.lists.iter().any(hits) => Verdict::Doubtful,
            false => Verdict::Refused,
        }
    }
}

/// Reads files and gathers what is wrong with them.
pub(super) struct Parser<'a> {
    account: &'a Account,
    pub(super) ignored: Ignored,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    pub(super) hosts: Vec<ConcreteHost>,
    known_hosts: HashSet<String>,
    warned: HashSet<Keyword>,
    is_too_deep: bool,
}

/// Where a file stands among the others.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) owner: Owner,
    pub(super) depth: usize,
    /// Whether it is read for every host.
    pub(super) for_every_host: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(account: &'a Account, ignored: Ignored) -> Self {
        Self {
            account,
            ignored,
            problems: Vec::new(),
            warnings: Vec::new(),
            hosts: Vec::new(),
            known_hosts: HashSet::new(),
            warned: HashSet::new(),
            is_too_deep: false,
        }
    }

    /// Reads the text of a file.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8], place: Place) -> File {
        let path: Arc<str> = path.to_string_lossy().into();
        let mut file = File::default();
        let mut section = Section { condition: Condition::Always, items: Vec::new() };
        for (number, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            // OpenSSH's lines are C strings.
            let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            let origin = Origin::File { path: path.clone(), line: number };
            let always = place.for_every_host && section.applies_to_every_host();
            let here = Place { for_every_host: always, ..place };
            match self.line(&text, bytes, &origin, here, &mut file) {
                Ok(None) => {}
                Ok(Some(Entry::Items(items))) => section.items.extend(items),
                Ok(Some(Entry::Section(condition))) => {
                    let next = Section { condition, items: Vec::new() };
                    file.push(std::mem::replace(&mut section, next));
                }
                Err(mistake) => self.problems.push(problem(&origin, &text, mistake)),
            }
        }
        file.push(section);
        file
    }

    fn line(
        &mut self,
        text: &str,
        bytes: &[u8],
        origin: &Origin,
        place: Place,
        file: &mut File,
    ) -> Result<Option<Entry>, Mistake> {
        let Some((line, keyword)) = directive(text)? else { return Ok(None) };
        if std::str::from_utf8(bytes).is_err() {
            return Err((line.keyword_at, Fault::NotUtf8));
        }
        let Some(keyword) = keyword else {
            split_arguments(&line)?;
            let mistake = unknown(&line);
            return match self.ignored.judge(&line.keyword) {
                Verdict::Accepted => Ok(None),
                Verdict::Refused => Err(mistake),
                Verdict::Doubtful => {
                    file.has_doubtful = true;
                    let problem = Box::new(problem(origin, text, mistake));
                    Ok(Some(Entry::Items(vec![Item::Doubtful { keyword: line.keyword, problem }])))
                }
            };
        };
        match keyword {
            Keyword::Host => {
                let patterns = parse_host(&split_arguments(&line)?)?;
                self.note_hosts(patterns.iter().filter(|p| !p.negated).map(|p| p.pattern.as_str()), origin);
                Ok(Some(Entry::Section(Condition::Host(patterns))))
            }
            Keyword::Match => {
                let arguments = split_arguments(&line)?;
                file.wants_second_pass |= wants_second_pass(&arguments);
                let criteria = parse_match(&arguments).map_err(|(at, fault)| (at.max(line.rest_at), fault))?;
                Ok(Some(Entry::Section(Condition::Match(criteria, origin.clone()))))
            }
            Keyword::Include => {
                let arguments = split_arguments(&line)?;
                let mut items = Vec::new();
                let mut arguments = Arguments::new(keyword, &arguments, text.len());
                while let Some(argument) = arguments.next() {
                    if argument.text.is_empty() {
                        return Err((argument.at, Fault::EmptyValue { keyword: "Include" }));
                    }
                    let pattern = self.include_pattern(&argument.text, place.owner, origin);
                    match pattern.map_err(|fault| (argument.at, fault))? {
                        Pattern::Nothing => {}
                        Pattern::Fixed(pattern) => {
                            let files = self.include(&pattern, place, (argument.at, origin, text));
                            for included in &files {
                                file.wants_second_pass |= included.wants_second_pass;
                                file.has_doubtful |= included.has_doubtful;
                            }
                            items.push(Item::Include(files));
                        }
                        Pattern::ByHost => items.push(Item::IncludeByHost {
                            pattern: argument.text.clone(),
                            owner: place.owner,
                            origin: origin.clone(),
                            depth: place.depth,
                        }),
                    }
                }
                Ok(Some(Entry::Items(items)))
            }
            _ => {
                let Some(value) = parse(keyword, &line, &self.account.environment)? else {
                    self.warn(keyword, None, origin, place.owner);
                    return Ok(None);
                };
                self.warn(keyword, Some(&value), origin, place.owner);
                if let (Keyword::IgnoreUnknown, Value::Text(list)) = (keyword, &value) {
                    self.ignored.add(list, place.for_every_host);
                }
                let setting = Setting::new(keyword, value, origin.clone(), place.owner);
                Ok(Some(Entry::Items(vec![Item::Setting(setting)])))
            }
        }
    }

    /// Says once of a keyword that it does nothing, unless its value asks for nothing either. The system's file is not the
    /// user's to change.
    fn warn(&mut self, keyword: Keyword, value: Option<&Value>, origin: &Origin, owner: Owner) {
        let row = keyword.row();
        let is_default = row.default.is_some_and(|default| parse_default(keyword, default).as_ref() == value);
        let silent = row.support != Support::NoEffect || is_default || owner == Owner::System;
        if !silent && self.warned.insert(keyword) {
            let note = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
            let text = format!("`{}` has no effect{note}", row.name);
            self.warnings.push(Warning { origin: origin.clone(), keyword, text });
        }
    }

    fn note_hosts<'n>(&mut self, names: impl Iterator<Item = &'n str>, origin: &Origin) {
        for name in names.filter(|name| is_literal(name) && check_host(name).is_ok()) {
            if self.known_hosts.insert(name.to_owned()) {
                self.hosts.push(ConcreteHost { name: name.to_owned(), origin: origin.clone() });
            }
        }
    }

    /// What one path of an `Include` means, as far as that is the same for every host.
    fn include_pattern(&mut self, path: &str, owner: Owner, origin: &Origin) -> Result<Pattern, Fault> {
        let tokens = Tokens {
            account: self.account,
            host: "",
            original: "",
            key_alias: "",
            port: 0,
            user: "",
            jump_host: "",
            differs: Cell::new(false),
        };
        match tokens.percent_dollar(path, MOST) {
            Ok(_) if tokens.differs.get() => Ok(Pattern::ByHost),
            Ok(expanded) => anchored(&expanded, owner, self.account).map(Pattern::Fixed),
            // OpenSSH goes on without the file, too.
            Err(unset @ ExpansionError::UnsetVariable { .. }) => {
                let text = format!("nothing is included: {unset}");
                self.warnings.push(Warning { origin: origin.clone(), keyword: Keyword::Include, text });
                Ok(Pattern::Nothing)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the files that a pattern finds.
    pub(super) fn include(
        &mut self,
        pattern: &str,
        place: Place,
        (at, origin, text): (usize, &Origin, &str),
    ) -> Vec<Arc<File>> {
        let mut files = Vec::new();
        for path in find(pattern) {
            if self.is_too_deep {
                break;
            }
            if place.depth == DEEPEST {
                self.is_too_deep = true;
                self.problems.push(problem(origin, text, (at, Fault::TooDeep { limit: DEEPEST })));
                break;
            }
            match read(&path, Trust::Checked, self.account) {
                Ok(bytes) => {
                    let place = Place { depth: place.depth + 1, ..place };
                    files.push(Arc::new(self.file(&path, &bytes, place)));
                }
                Err(refusal) => {
                    let path = path.display().to_string();
                    let fault = match refusal {
                        Refusal::Unreadable(error) => Fault::Unreadable { path, reason: error.to_string() },
                        Refusal::Permissions { mode, owner } => Fault::Permissions { path, mode, owner },
                    };
                    self.problems.push(problem(origin, text, (at, fault)));
                }
            }
        }
        files
    }
}

enum Entry {
    Items(Vec<Item>),
    Section(Condition),
}

enum Pattern {
    Nothing,
    Fixed(String),
    ByHost,
}

/// Makes the path of an `Include` absolute: relative ones live in `~/.ssh` or `/etc/ssh`.
pub(super) fn anchored(path: &str, owner: Owner, account: &Account) -> Result<String, Fault> {
    let user = |path: &str| account.expand_include_tilde(path).unwrap_or_default();
    match (owner, path.chars().next()) {
        (_, Some('/')) => Ok(path.to_owned()),
        (Owner::System, Some('~')) => Err(Fault::TildeInSystemFile { path: path.to_owned() }),
        (Owner::User, Some('~')) => Ok(user(path)),
        (Owner::User, _) => Ok(user(&format!("~/.ssh/{path}"))),
        (Owner::System, _) => Ok(format!("/etc/ssh/{path}")),
    }
}

/// Splits a line and looks its keyword up; the keyword is none where it is unknown.
pub(super) fn directive(text: &str) -> Result<Option<(Line<'_>, Option<Keyword>)>, Mistake> {
    let split = lexer::split(text).map_err(|UnclosedQuote(at)| (at, Fault::UnclosedQuote))?;
    let Some(line) = split else { return Ok(None) };
    let keyword = Keyword::find(&line.keyword);
    if line.rest.is_empty() {
        let fault = match keyword {
            Some(keyword) => Fault::NoValue { keyword: keyword.name().to_owned() },
            None => unknown(&line).1,
        };
        return Err((line.keyword_at, fault));
    }
    Ok(Some((line, keyword)))
}

/// The mistake of a keyword that nobody knows.
pub(super) fn unknown(line: &Line<'_>) -> Mistake {
    let near = nearest(&line.keyword, KEYWORDS.iter().map(|row| row.name));
    (line.keyword_at, Fault::UnknownKeyword { keyword: line.keyword.clone(), near })
}

/// Gives a mistake its place.
pub(super) fn problem(origin: &Origin, text: &str, (at, fault): Mistake) -> Problem {
    let column = text.get(..at).map_or(1, |before| before.chars().count() + 1);
    Problem { origin: origin.clone(), column, text: text.to_owned(), fault }
}
