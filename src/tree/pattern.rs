//! gitignore(5) patterns, turned into regular expressions over bytes: [`Patterns`] is a list of which the last match counts.
//!
//! What a pattern means is what git's `wildmatch` and `dir.c` make of it, byte for byte: names need not be UTF-8, `{` is
//! a plain character, `[[:alpha:]]` is a class. Which directory a pattern is about is for [`Filter`](super::Filter) to know.

use std::collections::HashMap;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Memory that the compiled form of one list may take: tens of thousands of patterns.
const LARGEST: usize = 256 << 20;

/// What a pattern says about a path that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Exclude,
    Include,
}

/// One pattern, parsed.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    verdict: Verdict,
    only_directories: bool,
    /// Whether it is held against the whole path or the name alone.
    is_path: bool,
    expression: String,
    /// The text itself, where nothing in it is special.
    literal: Option<Vec<u8>>,
}

/// Why a pattern can match nothing, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) kind: FaultKind,
}

/// What is wrong with a pattern: it can match nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// There is nothing to match.
    #[error("the pattern is empty")]
    Empty,
    /// `[` without `]`.
    #[error("the `[` has no `]`")]
    UnclosedBracket,
    /// `[[:name:]]` with a name that is none.
    #[error(
        "there is no such class: `alnum`, `alpha`, `blank`, `cntrl`, `digit`, `graph`, `lower`, `print`, `punct`, `space`, `upper` and `xdigit` are"
    )]
    UnknownClass,
    /// `\` with nothing behind it.
    #[error("the `\\` at the end has nothing to quote")]
    TrailingBackslash,
    /// `!` where an option says already what is meant.
    #[error("a `!` in front is for lines of files: use `--include` or `--exclude`, or write `\\!`")]
    Negated,
    /// More than memory is given for.
    #[error("the patterns are too large")]
    TooLarge,
}

impl Pattern {
    /// Reads what an option gives.
    pub(super) fn option(glob: &[u8], verdict: Verdict) -> Result<Self, Fault> {
        if glob.starts_with(b"!") {
            return Err(Fault { offset: 0, kind: FaultKind::Negated });
        }
        Self::parse(glob, verdict)
    }

    /// Reads a line of a file; none for a comment or an empty line.
    pub(super) fn line(line: &[u8]) -> Result<Option<Self>, Fault> {
        let line = without_trailing_spaces(line.strip_suffix(b"\r").unwrap_or(line));
        match line {
            [] | [b'#', ..] => Ok(None),
            [b'!', glob @ ..] => Self::parse(glob, Verdict::Include)
                .map(Some)
                .map_err(|fault| Fault { offset: fault.offset + 1, ..fault }),
            glob => Self::parse(glob, Verdict::Exclude).map(Some),
        }
    }

    fn parse(glob: &[u8], verdict: Verdict) -> Result<Self, Fault> {
        let only_directories = glob.ends_with(b"/");
        let glob = glob.strip_suffix(b"/").unwrap_or(glob);
        let is_path = glob.contains(&b'/');
        let skipped = usize::from(glob.starts_with(b"/"));
        let glob = &glob[skipped..];
        if glob.is_empty() {
            return Err(Fault { offset: 0, kind: FaultKind::Empty });
        }
        let mut translation = Translation::new(glob);
        translation.run().map_err(|fault| Fault { offset: fault.offset + skipped, ..fault })?;
        let Translation { expression, literal, .. } = translation;
        Ok(Self { verdict, only_directories, is_path, expression, literal })
    }
}

/// A single name, as a regular expression. There is no directory in it to speak of, so `**` is `*`.
pub(super) fn name_expression(glob: &[u8]) -> Result<String, Fault> {
    let mut translation = Translation::new(glob);
    translation.run()?;
    Ok(translation.expression)
}

/// Spaces at the end of a line mean nothing, unless a backslash quotes them.
fn without_trailing_spaces(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while at < line.len() {
        if line[at] == b'\\' {
            at += 1;
            end = at + 1;
        } else if line[at] != b' ' {
            end = at + 1;
        }
        at += 1;
    }
    &line[..end.min(line.len())]
}

/// A list of patterns, ready to be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    rules: Vec<Rule>,
    /// Names without anything special: which of the rules, ascending.
    literals: HashMap<Vec<u8>, Vec<usize>>,
    names: Expressions,
    paths: Expressions,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    verdict: Verdict,
    only_directories: bool,
}

#[derive(Clone, Debug, Default)]
struct Expressions {
    set: RegexSet,
    /// Which rule each expression of the set belongs to, ascending.
    rules: Vec<usize>,
}

impl Patterns {
    /// Compiles a list: of the patterns that match, the last one counts.
    pub(super) fn new(patterns: Vec<Pattern>) -> Result<Self, Fault> {
        let rules = patterns
            .iter()
            .map(|pattern| Rule { verdict: pattern.verdict, only_directories: pattern.only_directories })
            .collect();
        let mut literals: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let (mut names, mut paths) = (Vec::new(), Vec::new());
        for (index, pattern) in patterns.into_iter().enumerate() {
            match pattern.literal {
                Some(literal) if !pattern.is_path => literals.entry(literal).or_default().push(index),
                _ if pattern.is_path => paths.push((index, pattern.expression)),
                _ => names.push((index, pattern.expression)),
            }
        }
        Ok(Self { rules, literals, names: Expressions::new(names)?, paths: Expressions::new(paths)? })
    }

    /// What the list says about a path; nothing where no pattern matches.
    pub(super) fn verdict(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let applies = |index: &usize| is_directory || !self.rules[*index].only_directories;
        let literal = self.literals.get(name).and_then(|rules| rules.iter().rev().copied().find(applies));
        let last = literal.max(self.names.last(name, applies)).max(self.paths.last(path, applies))?;
        Some(self.rules[last].verdict)
    }
}

impl Expressions {
    fn new(expressions: Vec<(usize, String)>) -> Result<Self, Fault> {
        let (rules, texts): (Vec<usize>, Vec<String>) = expressions.into_iter().unzip();
        let set = RegexSetBuilder::new(texts)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(LARGEST)
            .build()
            .map_err(|_| Fault { offset: 0, kind: FaultKind::TooLarge })?;
        Ok(Self { set, rules })
    }

    fn last(&self, text: &[u8], applies: impl Fn(&usize) -> bool) -> Option<usize> {
        if self.rules.is_empty() {
            return None;
        }
        self.set.matches(text).iter().rev().map(|index| self.rules[index]).find(applies)
    }
}

/// A pattern on its way to a regular expression.
struct Translation<'glob> {
    glob: &'glob [u8],
    at: usize,
    expression: String,
    literal: Option<Vec<u8>>,
}

impl<'glob> Translation<'glob> {
    fn new(glob: &'glob [u8]) -> Self {
        Self { glob, at: 0, expression: String::from("^"), literal: Some(Vec::new()) }
    }

    fn run(&mut self) -> Result<(), Fault> {
        while let Some(&byte) = self.glob.get(self.at) {
            match byte {
                b'*' => self.stars(),
                b'?' => {
                    self.at += 1;
                    self.special("[^/]");
                }
                b'[' => self.bracket()?,
                b'\\' => {
                    let quoted = self.glob.get(self.at + 1);
                    self.byte(*quoted.ok_or_else(|| self.fault(self.at, FaultKind::TrailingBackslash))?);
                    self.at += 2;
                }
                byte => {
                    self.byte(byte);
                    self.at += 1;
                }
            }
        }
        self.expression.push('$');
        Ok(())
    }

    fn fault(&self, offset: usize, kind: FaultKind) -> Fault {
        Fault { offset, kind }
    }

    fn byte(&mut self, byte: u8) {
        self.expression.push_str(&format!("\\x{byte:02x}"));
        if let Some(literal) = &mut self.literal {
            literal.push(byte);
        }
    }

    fn special(&mut self, expression: &str) {
        self.expression.push_str(expression);
        self.literal = None;
    }

    /// `*` within a name, and `**` over directories where it stands alone between slashes or ends. git holds what
    /// comes before the first special character against the path by itself, so that `**` behind it counts as the first.
    fn stars(&mut self) {
        let start = self.at;
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        self.at += self.glob[start..].iter().take_while(|byte| **byte == b'*').count();
        let opens = self.glob[..start].last() == Some(&b'/') || !self.glob[..start].iter().any(is_special);
        let rest = &self.glob[self.at..];
        match rest {
            _ if self.at - start < 2 || !opens => self.special("[^/]*"),
            [b'/', ..] => {
                self.at += 1;
                self.special("(?:.*/)?");
            }
            [] | [b'\\', b'/', ..] => self.special(".*"),
            _ => self.special("[^/]*"),
        }
    }

    /// `[a-z]`, `[!a]`, `[]x]`, `[[:digit:]]`; never a slash.
    fn bracket(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let unclosed = self.fault(start, FaultKind::UnclosedBracket);
        let get = |at: usize| self.glob.get(at).copied().ok_or(unclosed);
        let mut at = start + 1;
        let negated = matches!(get(at)?, b'!' | b'^');
        at += usize::from(negated);
        let mut members = [false; 256];
        let mut previous = None;
        loop {
            let mut byte = get(at)?;
            let ends_range = |next: u8| next != b']';
            if byte == b'-' && previous.is_some() && ends_range(get(at + 1)?) {
                at += 1;
                byte = get(at)?;
                if byte == b'\\' {
                    at += 1;
                    byte = get(at)?;
                }
                (previous.unwrap_or(byte)..=byte).for_each(|member| members[usize::from(member)] = true);
                previous = None;
            } else if let Some((name, length)) = class_at(&self.glob[at..]).map_err(|()| unclosed)? {
                let members_of = class(name).ok_or(Fault { offset: at, kind: FaultKind::UnknownClass })?;
                (0..=u8::MAX).filter(members_of).for_each(|member| members[usize::from(member)] = true);
                at += length - 1;
                previous = None;
            } else {
                if byte == b'\\' {
                    at += 1;
                    byte = get(at)?;
                }
                members[usize::from(byte)] = true;
                previous = Some(byte);
            }
            at += 1;
            if get(at)? == b']' {
                break;
            }
        }
        let chosen = (0..=u8::MAX).filter(|byte| members[usize::from(*byte)] != negated && *byte != b'/');
        let set: String = chosen.map(|byte| format!("\\x{byte:02x}")).collect();
        self.at = at + 1;
        // An empty set is no expression; this one matches nothing.
        self.special(&if set.is_empty() { r"[^\x00-\xff]".to_owned() } else { format!("[{set}]") });
        Ok(())
    }
}

/// The name in `[:name:]` and the length of the whole, where the text begins with that.
fn class_at(text: &[u8]) -> Result<Option<(&[u8], usize)>, ()> {
    let Some(rest) = text.strip_prefix(b"[:") else { return Ok(None) };
    let close = rest.iter().position(|byte| *byte == b']').ok_or(())?;
    Ok(rest[..close].strip_suffix(b":").map(|name| (name, close + 3)))
}

/// The bytes of a class in the C locale, which is all that git knows.
fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}
