//! Patterns over names: `web*`, `web[abc]`, `web[1-3]*`, `~web\d+`.

use super::error::Problem;
use super::expression::outside_brackets;
use crate::nodeset::Pattern;
use globset::GlobBuilder;
use regex::bytes::Regex;

/// Decides whether a name is meant.
#[derive(Debug)]
pub(super) struct Matcher(Regex);

impl Matcher {
    /// A shell pattern as fnmatch(3) reads it. Brackets with numbers are ranges, as in ClusterShell; any others are
    /// sets of characters, as in Ansible.
    pub(super) fn glob(word: &str) -> Result<Self, Problem> {
        // One regular expression over a hundred thousand names is several times faster than globset's own matcher, which
        // takes every name for a path.
        let translate = |glob: &str| match GlobBuilder::new(glob).backslash_escape(false).build() {
            Ok(glob) => Ok(glob.regex().to_owned()),
            Err(source) => Err(Problem::Glob { pattern: word.into(), source }),
        };
        let regexes: Vec<String> = if brackets(word).any(is_character_set) {
            vec![translate(word)?]
        } else {
            let pattern = Pattern::parse(word).map_err(|error| Problem::Pattern(error.problem))?;
            pattern.names().map(|glob| translate(&glob)).collect::<Result<_, _>>()?
        };
        compile(word, &regexes.join("|"))
    }

    /// A regular expression that holds from the beginning of the name, as Ansible's; `$` ties it to the end.
    pub(super) fn regex(expression: &str) -> Result<Self, Problem> {
        // Alone first: a stray parenthesis must not reach what it is put into.
        compile(expression, expression)?;
        compile(expression, &format!(r"\A(?:{expression})"))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name.as_bytes())
    }
}

fn compile(written: &str, regex: &str) -> Result<Matcher, Problem> {
    Regex::new(regex).map(Matcher).map_err(|source| Problem::Regex { expression: written.into(), source })
}

/// Whether a word is a shell pattern rather than a name or a range of names.
pub(super) fn is_glob(word: &str) -> bool {
    outside_brackets(word, |c| c == '*' || c == '?').is_some() || brackets(word).any(is_character_set)
}

/// What stands in each pair of brackets.
fn brackets(word: &str) -> impl Iterator<Item = &str> {
    word.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(content, _)| content)
}

/// `[abc]`, `[a-c]`, `[!x]`: neither numbers nor a range with `:`.
fn is_character_set(content: &str) -> bool {
    !content.contains(':')
        && content.contains(|c: char| !(c.is_ascii_digit() || c.is_whitespace() || ",/-".contains(c)))
}
