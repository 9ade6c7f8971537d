//! The line that tells how far something is that comes before a run: [`WaitLine`].

use super::drawing::{Drawing, cut, room};
use super::line::Line;
use super::progress::short;
use std::io::{self, Write};
use std::time::Instant;

/// A line that tells how many are done. Whoever has it draws it now and then, and wipes it.
pub struct WaitLine {
    line: Line,
    room: usize,
    drawing: Drawing,
}

impl WaitLine {
    /// `WHAT 0/TOTAL, 0s`, on a terminal `width` columns wide. Nothing is written yet.
    pub fn new(what: &'static str, total: usize, width: u16) -> Self {
        let line = Line::new(total as u64);
        line.bar().set_message(what);
        Self { line, room: room(width), drawing: Drawing::default() }
    }

    /// One more is done.
    pub fn advance(&mut self) {
        self.line.bar().inc(1);
    }

    /// Draws the line as it is now. To be called a few times a second.
    ///
    /// # Errors
    /// As the terminal has them.
    pub fn draw(&mut self, terminal: &mut dyn Write) -> io::Result<()> {
        let elapsed = short(self.line.bar().elapsed());
        let line = self.line.text("{msg} {pos}/{len}, {elapsed}", &[("elapsed", elapsed)]);
        terminal.write_all(self.drawing.draw(&[cut(&line, self.room)], Instant::now()).as_bytes())?;
        terminal.flush()
    }

    /// Wipes the line, where it was drawn.
    ///
    /// # Errors
    /// As the terminal has them.
    pub fn wipe(mut self, terminal: &mut dyn Write) -> io::Result<()> {
        terminal.write_all(self.drawing.wipe().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Glass;

    #[test]
    fn it_counts_in_its_place_and_leaves_nothing_behind() {
        let (mut glass, mut terminal) = (Glass::new(40, 4), Vec::new());
        let mut line = WaitLine::new("fetching host keys", 3, 40);
        for done in 0..=3 {
            line.draw(&mut terminal).unwrap();
            glass.write(&String::from_utf8(std::mem::take(&mut terminal)).unwrap());
            let shown = glass.everything();
            assert!(shown.len() == 1 && shown[0].starts_with(&format!("fetching host keys {done}/3, ")), "{shown:?}");
            line.advance();
        }
        line.wipe(&mut terminal).unwrap();
        glass.write(&String::from_utf8(terminal).unwrap());
        assert_eq!(glass.everything(), [""; 0]);
    }
}
