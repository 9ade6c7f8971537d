//! The one line that tells how far the fleet is, redrawn in place.
//!
//! [`Progress`] counts events and hands out the bytes that draw its line; the [`Console`](super::console::Console)
//! writes them, and wipes the line before it writes anything else, so that progress and output never mix. It has no
//! thread of its own. [`WaitLine`] is the same for what is waited for before there is a run.

use crate::event::{Event, What};
use crate::host::Roster;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a second the line is redrawn at most.
const REDRAWS: u8 = 10;
/// Terminals that are narrower have no room for a bar.
const BAR_FROM: u16 = 60;
/// Columns of the bar with what stands around it.
const BAR: u16 = 27;

/// Moves to the first column and erases the line (ECMA-48 CR, EL 2).
pub(super) const WIPE: &[u8] = b"\r\x1b[2K";

/// The progress of a run.
pub(super) struct Progress {
    bar: ProgressBar,
    canvas: Canvas,
    /// Columns for what is told beside the bar.
    room: usize,
    hosts: usize,
    done: u64,
    running: usize,
    failed: usize,
}

impl Progress {
    /// Begins a line `width` columns wide.
    pub(super) fn new(roster: &Roster, width: u16) -> Self {
        let (bar, canvas) = line(roster.len(), width);
        let (template, taken) = if width < BAR_FROM { ("{wide_msg}", 0) } else { ("[{bar:24}] {wide_msg}", BAR) };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let room = usize::from(canvas.width() - taken);
        let progress = Self { bar, canvas, room, hosts: roster.len(), done: 0, running: 0, failed: 0 };
        progress.tick();
        progress
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
        self.bar.set_position(self.done);
        self.tick();
    }

    /// Lets time pass: the elapsed seconds and the rate change even where no host finishes.
    pub(super) fn tick(&self) {
        self.bar.set_message(self.line());
    }

    /// What is told, the most important first, as far as there is room.
    fn line(&self) -> String {
        let mut line = format!("{}/{} done, {} running", self.done, self.hosts, self.running);
        let failed = (self.failed > 0).then(|| format!("{} failed", self.failed));
        let rate = format!("{:.0}/s", self.bar.per_sec());
        let elapsed = format!("{:#}", HumanDuration(self.bar.elapsed()));
        for part in failed.into_iter().chain([elapsed, rate]) {
            if line.len() + 2 + part.len() > self.room {
                break;
            }
            line.push_str(", ");
            line.push_str(&part);
        }
        line
    }

    /// The bytes that draw the line as it is now, if it changed since they were last taken.
    pub(super) fn take_drawing(&self) -> Option<String> {
        self.canvas.take()
    }
}

/// A line that tells how far something is that comes before a run. Whoever has it draws it now and then, and wipes it.
pub struct WaitLine {
    bar: ProgressBar,
    canvas: Canvas,
    is_drawn: bool,
}

impl WaitLine {
    /// `WHAT 0/TOTAL, 0s`, on a terminal `width` columns wide. Nothing is written yet.
    pub fn new(what: &'static str, total: usize, width: u16) -> Self {
        let (bar, canvas) = line(total, width);
        if let Ok(style) = ProgressStyle::with_template("{msg} {pos}/{len}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, canvas, is_drawn: false }
    }

    /// One more is done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Draws the line as it is now. To be called a few times a second.
    ///
    /// # Errors
    /// As the terminal has them.
    pub fn draw(&mut self, terminal: &mut dyn Write) -> io::Result<()> {
        self.bar.tick();
        let Some(drawing) = self.canvas.take() else { return Ok(()) };
        self.is_drawn = true;
        terminal.write_all(drawing.as_bytes())?;
        terminal.flush()
    }

    /// Wipes the line, where it was drawn.
    ///
    /// # Errors
    /// As the terminal has them.
    pub fn wipe(self, terminal: &mut dyn Write) -> io::Result<()> {
        if self.is_drawn { terminal.write_all(WIPE) } else { Ok(()) }
    }
}

/// A bar over so many, and what it draws on.
fn line(total: usize, width: u16) -> (ProgressBar, Canvas) {
    let canvas = Canvas { width, drawn: Arc::default() };
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), REDRAWS);
    (ProgressBar::with_draw_target(Some(total as u64), target), canvas)
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

    /// What was drawn since this was last asked.
    fn take(&self) -> Option<String> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        (!drawn.is_empty()).then(|| std::mem::take(&mut *drawn))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostId, HostName};
    use crate::outcome::{Code, Failure, Outcome};
    use std::time::Duration;

    /// What stands on the line after each event of a run of a hundred hosts that fail.
    fn lines(width: u16) -> Vec<String> {
        let names = (0..100).map(|number| HostName::new(&format!("h{number}")).unwrap()).collect();
        let mut progress = Progress::new(&Roster::new(names), width);
        let mut lines = Vec::new();
        for host in (0..100).map(HostId) {
            let outcome = Outcome::Failed(Failure::new(Code::ExitStatus, "exit status 1"));
            for what in [What::HostStarted { host }, What::HostFinished { host, outcome, took: Duration::ZERO }] {
                progress.handle(&Event { at: Duration::ZERO, what });
                // Most draws are left out for their rate.
                progress.bar.force_draw();
                let drawing = progress.take_drawing().unwrap();
                let shown = drawing.rsplit("\x1b[2K").next().unwrap().trim_end_matches(['\r', '\n']).to_owned();
                lines.push(shown);
            }
        }
        lines
    }

    #[test]
    fn the_line_is_never_wider_than_the_terminal() {
        for width in [1, 2, 5, 10, 20, 28, 45, 59, 60, 61, 70, 80, 200] {
            for line in lines(width) {
                assert!(line.chars().count() < usize::from(width.max(2)), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_whole() {
        for (width, wanted) in [
            (28, "100/100 done, 0 running"),
            (45, "100/100 done, 0 running, 100 failed, 0s"),
            (70, "[========================] 100/100 done, 0 running, 100 failed"),
        ] {
            let last = lines(width).pop().unwrap();
            assert!(last.starts_with(wanted), "{width}: {last:?}");
        }
    }
}
