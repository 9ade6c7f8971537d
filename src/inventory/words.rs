//! A line split into words as a POSIX shell quotes them.
//!
//! Follows Python's `shlex.split(line, comments=True)`, which Ansible splits host lines with: a `#` begins a comment even
//! inside a word.

/// A word without its quotes, and the byte at which it began.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub at: usize,
}

/// Whether `#` begins a comment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    Kept,
    Skipped,
}

/// The words of a line.
///
/// # Errors
/// A quote that does not close, or a backslash at the end.
pub(super) fn split(line: &str, comments: Comments) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut open: Option<Word> = None;
    let mut characters = line.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(open.take()),
            '#' if comments == Comments::Skipped => break,
            _ => {
                let word = open.get_or_insert_with(|| Word { text: String::new(), at });
                match c {
                    '\\' => word.text.push(characters.next().ok_or("a backslash stands at the end")?.1),
                    '\'' => loop {
                        match characters.next().ok_or("a single quote does not close")?.1 {
                            '\'' => break,
                            inside => word.text.push(inside),
                        }
                    },
                    '"' => loop {
                        match characters.next().ok_or("a double quote does not close")?.1 {
                            '"' => break,
                            '\\' => match characters.next().ok_or("a double quote does not close")?.1 {
                                escaped @ ('"' | '\\') => word.text.push(escaped),
                                other => word.text.extend(['\\', other]),
                            },
                            inside => word.text.push(inside),
                        }
                    },
                    _ => word.text.push(c),
                }
            }
        }
    }
    words.extend(open);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_pythons_shlex_splits_them() {
        for (line, expected) in [
            ("a b=c", Ok(vec!["a", "b=c"])),
            (r#"a b="c d" 'e f'g"#, Ok(vec!["a", "b=c d", "e fg"])),
            (r#"a\ b "x\"y\z\\" '\'"#, Ok(vec!["a b", r#"x"y\z\"#, r"\"])),
            ("a b=c#d e", Ok(vec!["a", "b=c"])),
            ("a # b", Ok(vec!["a"])),
            ("a '#' \"#\"", Ok(vec!["a", "#", "#"])),
            ("a ''", Ok(vec!["a", ""])),
            ("a 'b", Err("a single quote does not close")),
            ("a \"b", Err("a double quote does not close")),
            ("a \\", Err("a backslash stands at the end")),
        ] {
            let words = split(line, Comments::Skipped);
            let texts = words.as_ref().map(|words| words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>());
            assert_eq!(texts.map_err(|error| *error), expected, "{line}");
        }
        assert_eq!(split("a#b", Comments::Kept).unwrap()[0].text, "a#b");
        assert_eq!(split("  a  b", Comments::Kept).unwrap()[1].at, 5);
    }
}
