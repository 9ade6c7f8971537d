//! Makes what a host could send to deceive a terminal visible: control characters, bidirectional overrides, bytes that
//! are no UTF-8.
//!
//! [`Sanitizer`] works on a stream of bytes cut anywhere; [`visible`] on a message. Newlines and tabs pass, and so does
//! a carriage return right before a newline, which is dropped: a pty ends every line so. Neither knows about lines or
//! prefixes.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Rewrites a stream of remote bytes for a terminal.
#[derive(Clone, Debug, Default)]
pub(super) struct Sanitizer {
    /// The beginning of a character whose end has not come yet.
    incomplete: Vec<u8>,
    /// A carriage return was the last thing; what follows decides whether it is shown.
    after_return: bool,
}

impl Sanitizer {
    /// Appends the visible form of the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.incomplete.is_empty() {
            let (whole, rest) = bytes.split_at(bytes.len() - incomplete_tail(bytes));
            self.decode(whole, out);
            self.incomplete.extend_from_slice(rest);
        } else {
            let mut joined = std::mem::take(&mut self.incomplete);
            joined.extend_from_slice(bytes);
            self.push(&joined, out);
        }
    }

    /// Appends what was held back, at the end of the stream.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.incomplete);
        self.decode(&rest, out);
        if std::mem::take(&mut self.after_return) {
            out.extend_from_slice(b"\\r");
        }
    }

    fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for chunk in bytes.utf8_chunks() {
            self.text(chunk.valid(), out);
            for byte in chunk.invalid() {
                self.settle_return(None, out);
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.after_return && !text.is_empty() {
            self.settle_return(text.chars().next(), out);
        }
        let mut shown = 0;
        for (at, character) in text.char_indices() {
            if !is_deceptive(character) {
                continue;
            }
            out.extend_from_slice(&text.as_bytes()[shown..at]);
            shown = at + character.len_utf8();
            if character == '\r' {
                self.after_return = true;
                if shown < text.len() {
                    self.settle_return(text[shown..].chars().next(), out);
                }
            } else {
                out.extend_from_slice(escaped(character).as_bytes());
            }
        }
        out.extend_from_slice(&text.as_bytes()[shown..]);
    }

    /// Drops the carriage return that came last if a newline follows, else shows it.
    fn settle_return(&mut self, next: Option<char>, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_return) && next != Some('\n') {
            out.extend_from_slice(b"\\r");
        }
    }
}

/// A message with everything deceptive made visible. Newlines stay: who prints it indents or prefixes further lines.
pub fn visible(message: &str) -> Cow<'_, str> {
    if !message.contains(is_deceptive) {
        return Cow::Borrowed(message);
    }
    let mut out = String::with_capacity(message.len() + 16);
    for character in message.replace("\r\n", "\n").chars() {
        match is_deceptive(character) {
            true => out.push_str(&escaped(character)),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Whether a character can move the cursor, hide text or change its order: C0 and C1 controls except newline and tab,
/// DEL, the bidirectional controls of Unicode (UAX #9) and its line and paragraph separators.
pub(super) fn is_deceptive(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// `\r`, `\x1b`, `\u{202e}`.
pub(super) fn escaped(character: char) -> String {
    let mut out = String::new();
    let written = match character {
        '\r' => write!(out, "\\r"),
        '\n' => write!(out, "\\n"),
        ascii if ascii.is_ascii() => write!(out, "\\x{:02x}", u32::from(ascii)),
        other => write!(out, "\\u{{{:x}}}", u32::from(other)),
    };
    debug_assert!(written.is_ok(), "writing to a String does not fail");
    out
}

/// How many bytes at the end, up to 3, begin a UTF-8 character that is not complete yet.
pub(super) fn incomplete_tail(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    (from..bytes.len())
        .find(|&at| {
            bytes[at] >= 0xc2
                && std::str::from_utf8(&bytes[at..])
                    .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .map_or(0, |at| bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sanitized(pieces: &[&[u8]]) -> String {
        let (mut sanitizer, mut out) = (Sanitizer::default(), Vec::new());
        for piece in pieces {
            sanitizer.push(piece, &mut out);
        }
        sanitizer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_deceive_a_terminal_is_made_visible() {
        for (raw, expected) in [
            (&b"plain\ttext\n"[..], "plain\ttext\n"),
            (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
            (b"50%\rweb02: forged\n", "50%\\rweb02: forged\n"),
            (b"from a pty\r\n", "from a pty\n"),
            (b"twice\r\r\n", "twice\\r\n"),
            (b"at the end\r", "at the end\\r"),
            (b"\0\x08\x7f", "\\x00\\x08\\x7f"),
            (b"\xc2\x9b31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{2028}".as_bytes(), "a\\u{202e}b\\u{2066}c\\u{2028}"),
            (b"\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82"),
            (b"\r\xff", "\\r\\xff"),
            ("gr\u{fc}\u{df}e \u{65e5}\u{672c} \u{1f600}".as_bytes(), "gr\u{fc}\u{df}e \u{65e5}\u{672c} \u{1f600}"),
        ] {
            assert_eq!(sanitized(&[raw]), expected, "{raw:?}");
        }
    }

    #[test]
    fn messages_keep_their_newlines_and_lose_their_power() {
        assert_eq!(visible("plain"), "plain");
        assert_eq!(visible("a\r\nb\rc\x1b[0m\n"), "a\nb\\rc\\x1b[0m\n");
    }

    #[test]
    fn an_incomplete_character_is_told_from_a_broken_one() {
        for (bytes, expected) in [
            (&b"abc"[..], 0),
            (b"ab\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xe2\x82\xac", 0),
            (b"\xff", 0),
            (b"\x80\x80\x80", 0),
            (b"\xc3(", 0),
            (b"", 0),
        ] {
            assert_eq!(incomplete_tail(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_deceptive_is_left_and_cuts_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), 0x7fu8..0xf5], 0..200),
            cut in 0usize..200,
        ) {
            let whole = sanitized(&[&bytes]);
            prop_assert!(!whole.contains(is_deceptive), "{whole:?}");
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(sanitized(&[head, tail]), whole);
        }
    }
}
