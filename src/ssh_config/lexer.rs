//! One line into its keyword and arguments, by the exact rules of OpenSSH (`strdelim` and `argv_split` in misc.c).

/// A line that holds a directive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The keyword in lower case.
    pub(super) keyword: String,
    /// Where the keyword stands: byte offset in the line.
    pub(super) keyword_at: usize,
    /// What follows the keyword and its separator.
    pub(super) rest: &'a str,
    /// Where that stands: byte offset in the line.
    pub(super) rest_at: usize,
}

/// One argument, quotes and escapes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// The text.
    pub(super) text: String,
    /// Where it stands: byte offset in the line.
    pub(super) at: usize,
}

/// A quote that never closes, at this byte offset in the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnclosedQuote(pub(super) usize);

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_blank(byte)) {
        at += 1;
    }
    at
}

/// Splits a line; none for a blank line or a comment.
pub(super) fn split(line: &str) -> Result<Option<Line<'_>>, UnclosedQuote> {
    let line = line.trim_end_matches([' ', '\t', '\r', '\n', '\x0c']);
    let bytes = line.as_bytes();
    let mut start = 0;
    // A blank or `=` in front gives an empty first token: the second one is the keyword.
    for _ in 0..2 {
        let end = (start..bytes.len()).find(|&i| is_blank(bytes[i]) || bytes[i] == b'"' || bytes[i] == b'=');
        let (keyword, next) = match end {
            None => (line[start..].to_owned(), bytes.len()),
            Some(quote) if bytes[quote] == b'"' => {
                let close = line[quote + 1..].find('"').ok_or(UnclosedQuote(quote))? + quote + 1;
                (format!("{}{}", &line[start..quote], &line[quote + 1..close]), skip_blanks(bytes, close + 1))
            }
            Some(end) => {
                let mut next = skip_blanks(bytes, end + 1);
                if bytes[end] != b'=' && bytes.get(next) == Some(&b'=') {
                    next = skip_blanks(bytes, next + 1);
                }
                (line[start..end].to_owned(), next)
            }
        };
        if !keyword.is_empty() {
            if keyword.starts_with('#') {
                return Ok(None);
            }
            let keyword = keyword.to_ascii_lowercase();
            return Ok(Some(Line { keyword, keyword_at: start, rest: &line[next..], rest_at: next }));
        }
        start = next;
    }
    Ok(None)
}

/// Splits what follows the keyword into arguments; a `#` at the start of one ends them.
pub(super) fn arguments(rest: &str, rest_at: usize) -> Result<Vec<Argument>, UnclosedQuote> {
    let bytes = rest.as_bytes();
    let mut arguments = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        if matches!(bytes[i], b' ' | b'\t') {
            i += 1;
            continue;
        }
        if bytes[i] == b'#' {
            break;
        }
        let at = i;
        let mut text = Vec::new();
        let mut quote: Option<(u8, usize)> = None;
        while i < bytes.len() {
            match (bytes[i], quote) {
                (b'\\', _) => {
                    let escaped = bytes
                        .get(i + 1)
                        .copied()
                        .filter(|&next| matches!(next, b'\'' | b'"' | b'\\') || (quote.is_none() && next == b' '));
                    text.push(escaped.unwrap_or(b'\\'));
                    i += usize::from(escaped.is_some());
                }
                (b' ' | b'\t', None) => break,
                (byte @ (b'"' | b'\''), None) => quote = Some((byte, i)),
                (byte, Some((open, _))) if byte == open => quote = None,
                (byte, _) => text.push(byte),
            }
            i += 1;
        }
        if let Some((_, opened)) = quote {
            return Err(UnclosedQuote(rest_at + opened));
        }
        // Only whole ASCII bytes were taken out, so this is still the UTF-8 that it was.
        arguments.push(Argument { text: String::from_utf8_lossy(&text).into_owned(), at: rest_at + at });
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_end_at_blanks_or_one_equals_sign() {
        let table = [
            ("Port 22", Some(("port", "22"))),
            ("  Port\t22  \r", Some(("port", "22"))),
            ("Port=22", Some(("port", "22"))),
            ("Port = 22", Some(("port", "22"))),
            ("Port==22", Some(("port", "=22"))),
            ("Port= =22", Some(("port", "=22"))),
            ("=Port 22", Some(("port", "22"))),
            ("\"Port\" 22", Some(("port", "22"))),
            ("Po\"rt\" 22", Some(("port", "22"))),
            ("Port", Some(("port", ""))),
            ("Port 22\x0c", Some(("port", "22"))),
            ("# Port 22", None),
            ("  #Port", None),
            ("", None),
            (" \t ", None),
        ];
        for (line, expected) in table {
            let split = split(line).unwrap();
            let found = split.as_ref().map(|line| (line.keyword.as_str(), line.rest));
            assert_eq!(found, expected, "{line:?}");
        }
        assert_eq!(split("\"Port 22"), Err(UnclosedQuote(0)));
    }

    #[test]
    fn arguments_follow_quotes_and_escapes() {
        let table: &[(&str, Option<&[&str]>)] = &[
            ("a b", Some(&["a", "b"])),
            ("\"a b\" c", Some(&["a b", "c"])),
            ("'a b'c", Some(&["a bc"])),
            ("a\\ b", Some(&["a b"])),
            ("\"a\\ b\"", Some(&["a\\ b"])),
            ("\"a\\\"b\"", Some(&["a\"b"])),
            ("a\\nb", Some(&["a\\nb"])),
            ("a\\\\b", Some(&["a\\b"])),
            ("a\\", Some(&["a\\"])),
            ("a#b # c", Some(&["a#b"])),
            ("\"\"", Some(&[""])),
            ("", Some(&[])),
            ("bücher", Some(&["bücher"])),
            ("\"a", None),
            ("it's", None),
            ("# it's", Some(&[])),
        ];
        for (rest, expected) in table {
            let found = arguments(rest, 0).ok();
            let found = found.as_ref().map(|found| found.iter().map(|a| a.text.as_str()).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *expected, "{rest:?}");
        }
        assert_eq!(arguments("a \"b", 5), Err(UnclosedQuote(7)));
    }
}
