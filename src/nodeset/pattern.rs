//! One name with ranges in brackets, and the names that it means.

use crate::nodeset::range::{self, Range};

/// Most names that one expression may mean. More is a slip of the keyboard, and would fill the memory before it is noticed.
pub const MAX_NAMES: u64 = 1_000_000;

/// A name with ranges in brackets: `web[01-20]`, `r[1-2]n[1-4,7]`, or a plain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Ranges { ranges: Vec<Range>, count: u64 },
}

impl Pattern {
    /// Reads a pattern. Everything outside of brackets is taken as it is.
    ///
    /// A leading zero pads every member to the same width, as in ClusterShell and Ansible; both ends must then have as
    /// many digits. A step counts from the first member.
    ///
    /// # Errors
    /// Where a bracket or a range is wrong, and where it means more than [`MAX_NAMES`] names.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let fail = |offset, problem| PatternError::new(text, offset, problem);
        if text.is_empty() {
            return Err(fail(0, Problem::EmptyName));
        }
        let mut parts = Vec::new();
        let mut length: u64 = 1;
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let open = rest.find(['[', ']']).unwrap_or(rest.len());
            if open > 0 {
                parts.push(Part::Text(rest[..open].into()));
            }
            at += open;
            if at == text.len() {
                break;
            }
            if rest[open..].starts_with(']') {
                return Err(fail(at, Problem::StrayBracket));
            }
            let content = &text[at + 1..];
            let close = content.find(']').ok_or_else(|| fail(at, Problem::UnclosedBracket))?;
            let ranges = range::parse(&content[..close]).map_err(|(offset, problem)| fail(at + 1 + offset, problem))?;
            let count = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.count()));
            let product = u128::from(length) * u128::from(count);
            length = u64::try_from(product)
                .ok()
                .filter(|&length| length <= MAX_NAMES)
                .ok_or_else(|| fail(at, Problem::TooManyNames(product)))?;
            parts.push(Part::Ranges { ranges, count });
            at += close + 2;
        }
        Ok(Self { parts, length })
    }

    /// Number of names, counting a name twice that overlapping ranges (`[1-3,2]`) mean twice. Never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The names in the order written; the last bracket runs fastest. Overlapping ranges repeat a name.
    pub fn names(&self) -> Names<'_> {
        Names { pattern: self, next: 0, positions: vec![0; self.parts.len()] }
    }
}

/// Iterator over the names of a [`Pattern`].
#[derive(Clone, Debug)]
pub struct Names<'a> {
    pattern: &'a Pattern,
    next: u64,
    positions: Vec<u64>,
}

impl Iterator for Names<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.next == self.pattern.length {
            return None;
        }
        let mut index = self.next;
        self.next += 1;
        for (part, position) in self.pattern.parts.iter().zip(&mut self.positions).rev() {
            if let Part::Ranges { count, .. } = part {
                *position = index % count;
                index /= count;
            }
        }
        let mut name = String::with_capacity(24);
        for (part, &position) in self.pattern.parts.iter().zip(&self.positions) {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Ranges { ranges, .. } => {
                    let mut position = position;
                    for range in ranges {
                        if position < range.count() {
                            range.write(position, &mut name);
                            break;
                        }
                        position -= range.count();
                    }
                }
            }
        }
        Some(name)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.pattern.length - self.next).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Names<'_> {}

/// A pattern that can't be read: what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in `{}` at column {}", pattern.escape_debug(), self.column())]
pub struct PatternError {
    /// The whole text that was read.
    pub pattern: String,
    /// Byte offset of the mistake in it.
    pub offset: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl PatternError {
    pub(super) fn new(pattern: &str, offset: usize, problem: Problem) -> Self {
        Self { pattern: pattern.into(), offset, problem }
    }

    /// The same mistake, seen in a longer text that holds the pattern at a byte offset.
    pub fn within(self, whole: &str, offset: usize) -> Self {
        Self { pattern: whole.into(), offset: self.offset + offset, problem: self.problem }
    }

    /// The place in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.pattern[..self.offset].chars().count() + 1
    }

    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

/// What can be wrong in a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing is written where a name belongs.
    #[error("a name is missing")]
    EmptyName,
    /// `[` without `]`.
    #[error("the bracket is never closed")]
    UnclosedBracket,
    /// `]` without `[`.
    #[error("`]` closes no bracket")]
    StrayBracket,
    /// `[]`, `[1,,2]`.
    #[error("a range is missing")]
    EmptyRange,
    /// Not digits where digits belong.
    #[error("`{}` is not a number", .0.escape_debug())]
    NotANumber(String),
    /// Not `begin:end` and not `begin:end:step`.
    #[error("`{}` is not a range", .0.escape_debug())]
    NotARange(String),
    /// More digits than a 64-bit number can hold.
    #[error("`{0}` has too many digits")]
    NumberTooLong(String),
    /// `[-5-3]`: names never hold negative numbers.
    #[error("the range `{}` begins with `-`", .0.escape_debug())]
    Negative(String),
    /// `[a-c]`.
    #[error("letters are counted with `:`, not with `-`")]
    LettersWithDash {
        /// The first letter.
        first: String,
        /// The last letter.
        last: String,
    },
    /// `[01-100]`.
    #[error("`{first}` and `{last}` are padded to different widths")]
    Padding {
        /// The lower end.
        first: String,
        /// The upper end.
        last: String,
    },
    /// `[9-1]`.
    #[error("the range runs backwards, from `{first}` to `{last}`")]
    Backwards {
        /// What is written first.
        first: String,
        /// What is written last.
        last: String,
    },
    /// `[1-9/0]`.
    #[error("a step of 0 never gets anywhere")]
    ZeroStep,
    /// `[5/2]`.
    #[error("`{0}` has a step but no end")]
    StepOfOne(String),
    /// More than [`MAX_NAMES`].
    #[error("this means {0} names, more than the {MAX_NAMES} allowed")]
    TooManyNames(u128),
}

impl Problem {
    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::LettersWithDash { first, last } => Some(format!("write `[{first}:{last}]`")),
            Self::Padding { first, last } => {
                let width = first.len().max(last.len());
                Some(format!("write `[{first:0>width$}-{last:0>width$}]`, or leave the leading zeros out"))
            }
            Self::Backwards { first, last } => Some(format!("write `[{last}-{first}]`")),
            Self::NotANumber(_) | Self::NotARange(_) | Self::EmptyRange | Self::StepOfOne(_) => {
                Some("ranges are written `[01-20]`, `[1-4,7]`, `[0-10/2]` or `[01:20]`, `[a:f]`".into())
            }
            Self::Negative(_) => {
                Some("numbers in names count from 0; a `-` of the name itself stands before the `[`".into())
            }
            _ => None,
        }
    }
}
