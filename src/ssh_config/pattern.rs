//! Wildcards: `*` and `?`, alone, in lists with `!`, and in path components. Works on bytes, never exponential.

/// Whether a text matches a pattern of `*` and `?` (`match_pattern` in OpenSSH's match.c).
pub fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(place) {
            Some(b'*') => {
                star = Some((place, at));
                place += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[at] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                // Only the last star can still give: those before it have matched as little as they can.
                Some((place_of_star, taken)) => {
                    star = Some((place_of_star, taken + 1));
                    place = place_of_star + 1;
                    at = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[place..].iter().all(|&byte| byte == b'*')
}

/// How a text stands to a list of patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListMatch {
    /// A pattern after `!` matches: the list refuses the text.
    Refused,
    /// Some pattern matches.
    Matched,
    /// None does.
    Unmatched,
}

/// Matches a text against a comma-separated list of patterns (`match_pattern_list` in OpenSSH's match.c).
pub(super) fn matches_list(text: &str, list: &str) -> ListMatch {
    let mut found = ListMatch::Unmatched;
    let mut rest = list;
    while !rest.is_empty() {
        let (piece, after) = rest.split_once(',').unwrap_or((rest, ""));
        rest = after;
        let (negated, pattern) = match piece.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, piece),
        };
        if matches(text, pattern) {
            if negated {
                return ListMatch::Refused;
            }
            found = ListMatch::Matched;
        }
    }
    found
}

/// Whether a pattern says anything but itself.
pub(super) fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?'])
}

/// Whether a file name matches one component of a glob(3) pattern: `*`, `?`, `[a-z]`, `[!a-z]` and `\`.
pub(super) fn matches_file_name(name: &[u8], pattern: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(place) == Some(&b'*') {
            star = Some((place, at));
            place += 1;
            continue;
        }
        if at == name.len() && place == pattern.len() {
            return true;
        }
        match name.get(at).and_then(|&byte| one_matches(byte, &pattern[place..])) {
            Some(length) => {
                at += 1;
                place += length;
            }
            None => match star {
                Some((place_of_star, taken)) if taken < name.len() => {
                    star = Some((place_of_star, taken + 1));
                    place = place_of_star + 1;
                    at = taken + 1;
                }
                _ => return false,
            },
        }
    }
}

/// Matches one byte against the first element of a pattern and returns the element's length.
fn one_matches(byte: u8, pattern: &[u8]) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
            let first = if negated { 2 } else { 1 };
            let end = (first + 1..pattern.len()).find(|&i| pattern[i] == b']');
            let Some(end) = end else { return (byte == b'[').then_some(1) };
            let set = &pattern[first..end];
            let mut inside = false;
            let mut i = 0;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == b'-' {
                    inside |= (set[i]..=set[i + 2]).contains(&byte);
                    i += 3;
                } else {
                    inside |= set[i] == byte;
                    i += 1;
                }
            }
            (inside != negated).then_some(end + 1)
        }
        literal => (literal == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn wildcards_agree_with_a_plain_recursive_matcher() {
        fn reference(text: &[u8], pattern: &[u8]) -> bool {
            match pattern.first() {
                None => text.is_empty(),
                Some(b'*') => (0..=text.len()).any(|skip| reference(&text[skip..], &pattern[1..])),
                Some(b'?') => !text.is_empty() && reference(&text[1..], &pattern[1..]),
                Some(byte) => text.first() == Some(byte) && reference(&text[1..], &pattern[1..]),
            }
        }
        let words = |alphabet: &'static [u8], longest: usize| {
            let mut all = vec![Vec::new()];
            let mut last = all.clone();
            for _ in 0..longest {
                last = last
                    .iter()
                    .flat_map(|word: &Vec<u8>| alphabet.iter().map(move |&byte| [&word[..], &[byte]].concat()))
                    .collect();
                all.extend(last.clone());
            }
            all
        };
        for pattern in words(b"ab*?", 4) {
            for text in words(b"ab", 4) {
                let (text, pattern) = (String::from_utf8(text).unwrap(), String::from_utf8(pattern.clone()).unwrap());
                assert_eq!(
                    matches(&text, &pattern),
                    reference(text.as_bytes(), pattern.as_bytes()),
                    "{text:?} against {pattern:?}"
                );
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_stays_fast() {
        let pattern = "*a".repeat(200) + "b";
        let text = "a".repeat(5000);
        let start = Instant::now();
        assert!(!matches(&text, &pattern));
        assert!(!matches_file_name(text.as_bytes(), pattern.as_bytes()));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn lists_refuse_with_an_exclamation_mark() {
        use ListMatch::{Matched, Refused, Unmatched};
        let table = [
            ("web1", "web*", Matched),
            ("web1", "db*,web*", Matched),
            ("web1", "web*,!web1", Refused),
            ("web1", "!web1,web*", Refused),
            ("web1", "!db1", Unmatched),
            ("web1", "", Unmatched),
            ("", "", Unmatched),
            ("", "a,,b", Matched),
            ("web1", "a, web1", Unmatched),
        ];
        for (text, list, expected) in table {
            assert_eq!(matches_list(text, list), expected, "{text:?} in {list:?}");
        }
    }

    #[test]
    fn file_names_match_as_in_glob() {
        let table = [
            ("a.conf", "*.conf", true),
            (".hidden", "*", false),
            (".hidden", ".*", true),
            ("b1", "[a-c]1", true),
            ("d1", "[!a-c]1", true),
            ("]x", "[]]x", true),
            ("[x", "[x", true),
            ("a*b", "a\\*b", true),
            ("axb", "a\\*b", false),
            ("{a,b}", "{a,b}", true),
            ("", "*", true),
        ];
        for (name, pattern, expected) in table {
            assert_eq!(matches_file_name(name.as_bytes(), pattern.as_bytes()), expected, "{name} {pattern}");
        }
    }
}
