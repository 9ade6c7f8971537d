//! The arguments of a directive, taken one by one, and lists of words.

use std::sync::Arc;

use super::keyword::{Grammar, Keyword};
use super::lexer::{Argument, Line, UnclosedQuote, arguments};
use super::problem::Fault;
use super::value::Value;

/// What is wrong with a value, and at which byte of the line.
pub(super) type Mistake = (usize, Fault);

/// The arguments of one directive, taken from left to right.
pub(super) struct Arguments<'a> {
    pub(super) keyword: Keyword,
    list: std::slice::Iter<'a, Argument>,
    /// Where a missing argument would stand.
    pub(super) end: usize,
}

impl<'a> Arguments<'a> {
    /// Arguments of a keyword on a line that ends at `end`.
    pub(super) fn new(keyword: Keyword, list: &'a [Argument], end: usize) -> Self {
        Self { keyword, list: list.iter(), end }
    }

    /// The next argument, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a Argument> {
        self.list.next()
    }

    /// Whether no argument is left.
    pub(super) fn is_last(&self) -> bool {
        self.list.len() == 0
    }

    /// The next argument, which must be there and not empty.
    pub(super) fn one(&mut self) -> Result<&'a Argument, Mistake> {
        match self.list.next() {
            None => Err((self.end, Fault::NoValue { keyword: self.keyword.name().to_owned() })),
            Some(argument) if argument.text.is_empty() => {
                Err((argument.at, Fault::EmptyValue { keyword: self.keyword.name() }))
            }
            Some(argument) => Ok(argument),
        }
    }

    /// Leaves the rest of the line to somebody else.
    pub(super) fn skip(&mut self) {
        self.list = [].iter();
    }

    /// Refuses what is left over.
    pub(super) fn finish(mut self) -> Result<(), Mistake> {
        match self.list.next() {
            None => Ok(()),
            Some(argument) => {
                Err((argument.at, Fault::Extra { keyword: self.keyword.name(), extra: argument.text.clone() }))
            }
        }
    }
}

/// Splits what follows a keyword into arguments.
pub(super) fn split_arguments(line: &Line<'_>) -> Result<Vec<Argument>, Mistake> {
    arguments(line.rest, line.rest_at).map_err(|UnclosedQuote(at)| (at, Fault::UnclosedQuote))
}

/// Words among which `none` and its like stand alone.
pub(super) fn words(arguments: &mut Arguments<'_>, limit: usize) -> Result<Option<Value>, Mistake> {
    let keyword = arguments.keyword.name();
    let mut words: Vec<Arc<str>> = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument.text.is_empty() {
            return Err((argument.at, Fault::EmptyValue { keyword }));
        }
        if words.len() == limit {
            return Err((argument.at, Fault::TooMany { keyword, limit }));
        }
        alone(keyword, argument, words.is_empty() && arguments.is_last(), "none")?;
        words.push(argument.text.as_str().into());
    }
    Ok((!words.is_empty()).then(|| Value::Words(words.into())))
}

/// At least one word, each read by `read`.
pub(super) fn each_word(
    arguments: &mut Arguments<'_>,
    read: impl Fn(&Argument) -> Result<Arc<str>, Mistake>,
) -> Result<Value, Mistake> {
    let keyword = arguments.keyword.name();
    let takes_none = !matches!(arguments.keyword.row().grammar, Grammar::VariableNames);
    let takes_any = matches!(arguments.keyword.row().grammar, Grammar::Destinations);
    let mut words: Vec<Arc<str>> = Vec::new();
    while let Some(argument) = arguments.next() {
        let is_alone = words.is_empty() && arguments.is_last();
        if takes_none {
            alone(keyword, argument, is_alone, "none")?;
        }
        if takes_any {
            alone(keyword, argument, is_alone, "any")?;
        }
        words.push(read(argument)?);
    }
    match words.is_empty() {
        true => Err((arguments.end, Fault::NoValue { keyword: keyword.to_owned() })),
        false => Ok(Value::Words(words.into())),
    }
}

fn alone(keyword: &'static str, argument: &Argument, is_alone: bool, word: &str) -> Result<(), Mistake> {
    match argument.text.eq_ignore_ascii_case(word) && !is_alone {
        true => Err((argument.at, Fault::NotAlone { keyword, word: argument.text.clone() })),
        false => Ok(()),
    }
}
