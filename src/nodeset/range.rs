//! What stands in one pair of brackets: `01-20/2`, `1-4,7`, `01:20:2`, `a:f`.

use super::pattern::Problem;

/// Longest run of digits that is read as a number; every such number fits 64 bits.
pub(super) const MAX_DIGITS: usize = 19;

/// One stretch of a bracket: its first member, the distance between members, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: u64,
    step: u64,
    count: u64,
    /// Digits that every member is padded to with zeros, or a letter's code point as the value.
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Number { width: usize },
    Letter,
}

impl Range {
    /// Number of members.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Appends the member at a position below [`Range::count`].
    pub(super) fn write(&self, position: u64, out: &mut String) {
        use std::fmt::Write;
        let value = self.first + position * self.step;
        match self.style {
            Style::Number { width } => write!(out, "{value:0width$}").expect("a string takes everything"),
            Style::Letter => out.extend(u32::try_from(value).ok().and_then(char::from_u32)),
        }
    }
}

/// Where in the bracket, in bytes, something is wrong, and what.
pub(super) type Misread = (usize, Problem);

/// Reads the text between two brackets.
pub(super) fn parse(content: &str) -> Result<Vec<Range>, Misread> {
    let mut ranges = Vec::new();
    let mut offset = 0;
    for item in content.split(',') {
        let trimmed = item.trim();
        let start = offset + (item.len() - item.trim_start().len());
        ranges.push(parse_item(trimmed).map_err(|problem| (start, problem))?);
        offset += item.len() + 1;
    }
    Ok(ranges)
}

fn parse_item(item: &str) -> Result<Range, Problem> {
    if item.is_empty() {
        return Err(Problem::EmptyRange);
    }
    if item.contains(':') {
        let mut bounds = item.split(':').map(str::trim);
        let first = bounds.next().filter(|bound| !bound.is_empty()).unwrap_or("0");
        let last = bounds.next().unwrap_or_default();
        let step = bounds.next();
        if last.is_empty() || bounds.next().is_some() {
            return Err(Problem::NotARange(item.into()));
        }
        return between(first, last, step.unwrap_or("1"));
    }
    let (bounds, step) = match item.split_once('/') {
        Some((bounds, step)) => (bounds.trim(), Some(step.trim())),
        None => (item, None),
    };
    if bounds.starts_with('-') {
        return Err(Problem::Negative(bounds.into()));
    }
    match (bounds.split_once('-'), step) {
        (Some((first, last)), step) => {
            let (first, last) = (first.trim(), last.trim());
            if letter(first).is_some() && letter(last).is_some() {
                return Err(Problem::LettersWithDash { first: first.into(), last: last.into() });
            }
            between(first, last, step.unwrap_or("1"))
        }
        (None, Some(_)) => Err(Problem::StepOfOne(item.into())),
        (None, None) => {
            let first = number(bounds)?;
            Ok(Range { first, step: 1, count: 1, style: Style::Number { width: bounds.len() } })
        }
    }
}

fn between(first: &str, last: &str, step: &str) -> Result<Range, Problem> {
    let step = number(step)?;
    if step == 0 {
        return Err(Problem::ZeroStep);
    }
    let backwards = || Problem::Backwards { first: first.into(), last: last.into() };
    if let (Some(from), Some(to)) = (letter(first), letter(last)) {
        if from.is_ascii_lowercase() != to.is_ascii_lowercase() || from > to {
            return Err(backwards());
        }
        return Ok(Range { first: from.into(), step, count: u64::from(to - from) / step + 1, style: Style::Letter });
    }
    let (from, to) = (number(first)?, number(last)?);
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let width = if padded(first) || padded(last) {
        if first.len() != last.len() {
            return Err(Problem::Padding { first: first.into(), last: last.into() });
        }
        first.len()
    } else {
        1
    };
    if from > to {
        return Err(backwards());
    }
    Ok(Range { first: from, step, count: ((to - from) / step).saturating_add(1), style: Style::Number { width } })
}

fn letter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(*byte),
        _ => None,
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::NotANumber(text.into()));
    }
    if text.len() > MAX_DIGITS {
        return Err(Problem::NumberTooLong(text.into()));
    }
    text.parse().map_err(|_| Problem::NumberTooLong(text.into()))
}
