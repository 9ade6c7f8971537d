//! Lines at the bottom of a terminal that are drawn again and again in the same place.
//!
//! [`Drawing`] makes the bytes that put new lines in the place of those that stand there, or nothing at all in it; whoever
//! has it writes them. It does not know what the lines say.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The least time between two drawings.
const OFTEN: Duration = Duration::from_millis(100);
/// Columns that stay free: for the `^C` that the terminal shows where the cursor rests, and the margin, where terminals
/// disagree.
const FREE: u16 = 3;

/// Stands for what was cut off.
const ELLIPSIS: char = '\u{2026}';

/// Moves to the first column and erases the line (ECMA-48 CR, EL 2).
const ERASE: &str = "\r\x1b[2K";
/// Moves a line up and erases that one (CUU, EL 2).
const ERASE_ABOVE: &str = "\x1b[A\x1b[2K";
/// No line is wrapped from here on, also where the terminal became narrower (DECAWM).
const CUT_LINES: &str = "\x1b[?7l";
/// Lines are wrapped again.
const WRAP_LINES: &str = "\x1b[?7h";

/// What stands at the bottom of the terminal.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    /// How many lines stand there; the cursor is behind the last.
    lines: usize,
    drawn_at: Option<Instant>,
}

impl Drawing {
    /// Whether enough time has passed since the last drawing.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.drawn_at.is_none_or(|at| now.saturating_duration_since(at) >= OFTEN)
    }

    /// The bytes that put lines in the place of those that stand there.
    pub(super) fn draw(&mut self, lines: &[String], now: Instant) -> String {
        let mut bytes = self.wipe();
        if !lines.is_empty() {
            let _ = write!(bytes, "{CUT_LINES}{}{WRAP_LINES}", lines.join("\r\n"));
        }
        self.lines = lines.len();
        self.drawn_at = Some(now);
        bytes
    }

    /// The bytes that erase what stands there; none where nothing does.
    pub(super) fn wipe(&mut self) -> String {
        match std::mem::take(&mut self.lines) {
            0 => String::new(),
            lines => ERASE.to_owned() + &ERASE_ABOVE.repeat(lines - 1),
        }
    }
}

/// Columns for a line on a terminal of so many.
pub(super) fn room(width: u16) -> usize {
    usize::from(width.saturating_sub(FREE).max(1))
}

/// Columns that a text takes at most: what is not ASCII may be wide.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// The text, cut to so many columns; an ellipsis tells that it was.
pub(super) fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|&character| {
        used += columns_of(character);
        used <= room
    });
    kept.chain((room > 0).then_some(ELLIPSIS)).collect()
}

fn columns_of(character: char) -> usize {
    if character.is_ascii() || character == ELLIPSIS { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Glass;

    #[test]
    fn what_is_cut_says_so() {
        for (text, room, expected) in [
            ("web01", 5, "web01"),
            ("web01", 4, "web\u{2026}"),
            ("web01", 1, "\u{2026}"),
            ("web01", 0, ""),
            ("\u{65e5}\u{672c}\u{65e5}", 6, "\u{65e5}\u{672c}\u{65e5}"),
            ("\u{65e5}\u{672c}\u{65e5}", 5, "\u{65e5}\u{672c}\u{2026}"),
            ("\u{65e5}\u{672c}\u{65e5}", 4, "\u{65e5}\u{2026}"),
        ] {
            assert_eq!(cut(text, room), expected, "{text:?} in {room}");
        }
    }

    #[test]
    fn lines_take_the_place_of_those_before_and_leave_nothing_behind() {
        let (mut glass, mut drawing) = (Glass::new(20, 4), Drawing::default());
        let now = Instant::now();
        // The last rows of the terminal, so that drawing scrolls.
        glass.write("one\ntwo\nthree\n");
        for lines in [vec!["a", "bbb", "c"], vec!["d"], vec!["e", "f"], vec![], vec!["g", "h", "i"]] {
            let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
            glass.write(&drawing.draw(&lines, now));
            let expected: Vec<&str> =
                ["one", "two", "three"].into_iter().chain(lines.iter().map(String::as_str)).collect();
            assert_eq!(glass.everything(), expected);
        }
        glass.write(&drawing.wipe());
        glass.write("four\n");
        assert_eq!(glass.everything(), ["one", "two", "three", "four"]);
        assert_eq!(drawing.wipe(), "");
    }

    #[test]
    fn a_terminal_that_became_narrower_cuts_the_lines() {
        let (mut glass, mut drawing) = (Glass::new(8, 4), Drawing::default());
        for _ in 0..3 {
            glass.write(&drawing.draw(&["0123456789abcdef".into(), "fedcba9876543210".into()], Instant::now()));
            assert_eq!(glass.everything(), ["0123456f", "fedcba90"]);
        }
        glass.write(&drawing.wipe());
        assert_eq!(glass.everything(), [""; 0]);
    }

    #[test]
    fn an_interrupt_that_the_terminal_shows_is_wiped_too() {
        let (mut glass, mut drawing) = (Glass::new(12, 4), Drawing::default());
        let full = "x".repeat(room(12));
        glass.write(&drawing.draw(&["first".into(), full], Instant::now()));
        glass.write("^C");
        glass.write(&drawing.wipe());
        assert_eq!(glass.everything(), [""; 0]);
    }
}
