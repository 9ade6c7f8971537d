//! Patterns over names: `web*`, `web[abc]`, `web[1-3]*`, `~web\d+`.

use super::error::Problem;
use super::expression::outside_brackets;
use crate::nodeset::Pattern;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;

/// Decides whether a name is meant.
#[derive(Debug)]
pub(super) enum Matcher {
    Globs(GlobSet),
    Regex(Regex),
}

impl Matcher {
    /// A shell pattern as fnmatch(3) reads it. Brackets with numbers are ranges, as in ClusterShell; any others are
    /// sets of characters, as in Ansible.
    pub(super) fn glob(word: &str) -> Result<Self, Problem> {
        let fail = |source| Problem::Glob { pattern: word.into(), source };
        let mut globs = GlobSetBuilder::new();
        let mut add = |glob: &str| {
            let glob = GlobBuilder::new(glob).backslash_escape(false).build().map_err(fail)?;
            globs.add(glob);
            Ok(())
        };
        if brackets(word).any(is_character_set) {
            add(word)?;
        } else {
            let pattern = Pattern::parse(word).map_err(|error| Problem::Pattern(error.problem))?;
            pattern.names().try_for_each(|glob| add(&glob))?;
        }
        Ok(Self::Globs(globs.build().map_err(fail)?))
    }

    /// A regular expression that holds from the beginning of the name, as Ansible's; `$` ties it to the end.
    pub(super) fn regex(expression: &str) -> Result<Self, Problem> {
        Regex::new(&format!(r"\A(?:{expression})"))
            .map(Self::Regex)
            .map_err(|source| Problem::Regex { expression: expression.into(), source })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Globs(globs) => globs.is_match(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
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
    !content.contains(':') && content.contains(|c: char| !(c.is_ascii_digit() || c.is_whitespace() || ",/-".contains(c)))
}
