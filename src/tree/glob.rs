//! Names with `*`, `?` and `[…]` in them, as a shell expands them: [`Glob`].

use super::pattern::{FaultKind, name_expression};
use regex::bytes::{Regex, RegexBuilder};

/// What one name of a path may be. `\` quotes the character behind it.
#[derive(Clone, Debug)]
pub struct Glob {
    expression: Regex,
    /// It begins with a dot: others do not match names that do.
    hidden: bool,
}

impl Glob {
    /// Whether anything in the text would make a shell look for names.
    pub fn is_one(text: &[u8]) -> bool {
        text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
    }

    /// Reads one name of a path, without slashes.
    ///
    /// # Errors
    /// Where it can match nothing, such as `[a` without its end.
    pub fn new(text: &[u8]) -> Result<Self, FaultKind> {
        let expression = name_expression(text).map_err(|fault| fault.kind)?;
        let built = RegexBuilder::new(&expression).unicode(false).dot_matches_new_line(true).build();
        let hidden = text.starts_with(b".") || text.starts_with(b"\\.");
        Ok(Self { expression: built.map_err(|_| FaultKind::TooLarge)?, hidden })
    }

    /// Whether it is this name.
    pub fn matches(&self, name: &[u8]) -> bool {
        (self.hidden || !name.starts_with(b".")) && self.expression.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (glob, names, others) in [
            ("*", &["a", "a b", "\u{e9}", "a\nb"][..], &[".a"][..]),
            ("*.log", &["a.log"], &[".log", "a.log.1", "log"]),
            (".*", &[".a", ".", ".."], &["a"]),
            ("\\.a*", &[".ab"], &["ab"]),
            ("?", &["a", "["], &["", "ab", "."]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax", ".x"]),
            ("[^a]", &["b"], &["a"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[[:digit:]]*", &["1", "1a"], &["a1"]),
            ("\\*", &["*"], &["a"]),
            ("a**b", &["ab", "axb"], &["b"]),
            ("x[*]", &["x*"], &["xa"]),
        ] {
            let compiled = Glob::new(glob.as_bytes()).unwrap();
            for name in names {
                assert!(compiled.matches(name.as_bytes()), "{glob} is {name}");
            }
            for name in others {
                assert!(!compiled.matches(name.as_bytes()), "{glob} is not {name}");
            }
        }
        assert!(Glob::new(b"\xff*").unwrap().matches(b"\xff\xfe"));
    }

    #[test]
    fn what_is_no_glob_says_why() {
        for (text, fault) in [
            (&b"a["[..], FaultKind::UnclosedBracket),
            (b"*\\", FaultKind::TrailingBackslash),
            (b"[[:no:]]", FaultKind::UnknownClass),
        ] {
            assert_eq!(Glob::new(text).unwrap_err(), fault);
        }
        assert!(Glob::is_one(b"a?") && !Glob::is_one(b"a\\"));
    }
}
