//! The line that tells how far something is that comes before a run: [`WaitLine`].

use super::drawing::{Drawing, cut, room};
use super::progress::short;
use std::io::{self, Write};
use std::time::Instant;

/// A line that tells how many are done. Whoever has it draws it now and then, and wipes it.
pub struct WaitLine {
    what: &'static str,
    done: usize,
    total: usize,
    began: Instant,
    room: usize,
    drawing: Drawing,
}

impl WaitLine {
    /// `WHAT 0/TOTAL, 0s`, on a terminal `width` columns wide. Nothing is written yet.
    pub fn new(what: &'static str, total: usize, width: u16) -> Self {
        Self { what, done: 0, total, began: Instant::now(), room: room(width), drawing: Drawing::default() }
    }

    /// One more is done.
    pub fn advance(&mut self) {
        self.done += 1;
    }

    /// Draws the line as it is now. To be called a few times a second.
    ///
    /// # Errors
    /// As the terminal has them.
    pub fn draw(&mut self, terminal: &mut dyn Write) -> io::Result<()> {
        let line = format!("{} {}/{}, {}", self.what, self.done, self.total, short(self.began.elapsed()));
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
