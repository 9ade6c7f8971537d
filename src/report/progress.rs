//! The one line that tells how far the fleet is, redrawn in place.
//!
//! [`Progress`] counts events and hands out the bytes that draw its line; the [`Console`](super::console::Console)
//! writes them, and wipes the line before it writes anything else, so that progress and output never mix. It has no
//! thread of its own.

use crate::event::{Event, What};
use crate::host::Roster;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a second the line is redrawn at most.
const REDRAWS: u8 = 10;

/// Moves to the first column and erases the line (ECMA-48 CR, EL 2).
pub(super) const WIPE: &[u8] = b"\r\x1b[2K";

/// The progress of a run.
pub(super) struct Progress {
    bar: ProgressBar,
    canvas: Canvas,
    done: u64,
    running: usize,
    failed: usize,
}

impl Progress {
    /// Begins a line `width` columns wide.
    pub(super) fn new(roster: &Roster, width: u16) -> Self {
        let canvas = Canvas { width, drawn: Arc::default() };
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), REDRAWS);
        let bar = ProgressBar::with_draw_target(Some(roster.len() as u64), target);
        if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {pos}/{len} done{msg}, {per_sec}, {elapsed}") {
            bar.set_style(style.progress_chars("=> ").with_key("per_sec", per_second));
        }
        Self { bar, canvas, done: 0, running: 0, failed: 0 }
    }

    /// Counts an event.
    pub(super) fn handle(&mut self, event: &Event) {
        match &event.what {
            What::HostStarted { .. } => self.running += 1,
            What::HostFinished { outcome, .. } => {
                self.running = self.running.saturating_sub(1);
                self.failed += usize::from(outcome.counts_as_failure());
                self.done += 1;
            }
            _ => return,
        }
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        self.bar.set_message(format!(", {} running{failed}", self.running));
        self.bar.set_position(self.done);
    }

    /// Lets time pass: the elapsed seconds and the rate change even where no host finishes.
    pub(super) fn tick(&self) {
        self.bar.tick();
    }

    /// The bytes that draw the line as it is now, if it changed since they were last taken.
    pub(super) fn take_drawing(&self) -> Option<String> {
        let mut drawn = self.canvas.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        (!drawn.is_empty()).then(|| std::mem::take(&mut *drawn))
    }
}

fn per_second(state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write) {
    // A rate that cannot be written leaves a gap in the line and harms nothing.
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// What indicatif takes for the terminal: it draws here, and the console writes it where it belongs.
#[derive(Clone, Debug)]
struct Canvas {
    width: u16,
    drawn: Arc<Mutex<String>>,
}

impl Canvas {
    fn draw(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn move_cursor(&self, cells: usize, direction: char) -> io::Result<()> {
        match cells {
            0 => Ok(()),
            cells => self.draw(&format!("\x1b[{cells}{direction}")),
        }
    }
}

impl TermLike for Canvas {
    /// One column less than there is, so that the cursor never rests on the margin, where terminals disagree.
    fn width(&self) -> u16 {
        self.width.saturating_sub(1).max(1)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(text)?;
        self.draw("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
