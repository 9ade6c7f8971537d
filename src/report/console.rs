//! The two standard streams as one ordered place to write.
//!
//! [`Console`] gathers small writes into large ones, keeps stdout and stderr in the order they were written in, makes
//! remote text visible where it meets a terminal, and wipes the lines of progress before anything else is written. It does
//! not know what it writes.

use super::drawing::Drawing;
use super::error::ReportError;
use super::progress::Progress;
use super::sanitize::{Sanitizer, visible};
use super::settings::{Sinks, Terminal, Terminals};
use super::style::Style;
use crate::event::Stream;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are gathered before they are written in one go.
const FULL: usize = 64 << 10;
/// The wait for a stream that somebody else made non-blocking, as shells and terminals are shared.
const BUSY: Duration = Duration::from_millis(1);

/// Standard output and standard error.
pub(super) struct Console {
    sinks: Sinks,
    terminals: Terminals,
    /// What is to be written next, all of it to `toward`.
    pending: Vec<u8>,
    toward: Stream,
    progress: Option<Progress>,
    /// What of the progress stands on the terminal.
    drawing: Drawing,
    /// The terminal's cursor is behind text that did not end its line.
    mid_line: bool,
    /// Nobody reads stderr any more: talk is dropped, data still counts.
    deaf: bool,
    /// What a reader of stdout who goes away means: that it is over, or that data is dropped.
    goes_on_unheard: bool,
    /// It is being dropped.
    unheard: bool,
}

impl Console {
    pub(super) fn new(sinks: Sinks, terminals: Terminals) -> Self {
        Self {
            sinks,
            terminals,
            pending: Vec::new(),
            toward: Stream::Stdout,
            progress: None,
            drawing: Drawing::default(),
            mid_line: false,
            deaf: false,
            goes_on_unheard: false,
            unheard: false,
        }
    }

    /// Says whether the report goes on when nobody reads standard output any more.
    pub(super) fn go_on_unheard(&mut self, goes_on: bool) {
        self.goes_on_unheard = goes_on;
    }

    /// What is known of a stream.
    pub(super) fn terminal(&self, stream: Stream) -> Terminal {
        match stream {
            Stream::Stdout => self.terminals.stdout,
            Stream::Stderr => self.terminals.stderr,
        }
    }

    /// The text in its style, where colour is wanted.
    pub(super) fn styled<'a>(&self, stream: Stream, style: Style, text: &'a str) -> Cow<'a, str> {
        match self.terminal(stream).color {
            true => style.paint(text),
            false => Cow::Borrowed(text),
        }
    }

    /// Writes bytes as they are.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), ReportError> {
        self.turn(stream)?;
        if bytes.len() >= FULL {
            self.emit()?;
            return self.send(bytes);
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= FULL { self.emit() } else { Ok(()) }
    }

    /// Writes remote text: made visible for a terminal, as it is otherwise. The sanitizer belongs to the text, which may
    /// come in pieces; [`end_remote`](Self::end_remote) ends it.
    pub(super) fn write_remote(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        sanitizer: &mut Sanitizer,
    ) -> Result<(), ReportError> {
        if !self.terminal(stream).present {
            return self.write(stream, bytes);
        }
        self.turn(stream)?;
        for piece in bytes.chunks(FULL) {
            sanitizer.push(piece, &mut self.pending);
            if self.pending.len() >= FULL {
                self.emit()?;
            }
        }
        Ok(())
    }

    /// Ends a remote text.
    pub(super) fn end_remote(&mut self, stream: Stream, sanitizer: &mut Sanitizer) -> Result<(), ReportError> {
        if self.terminal(stream).present {
            self.turn(stream)?;
            sanitizer.finish(&mut self.pending);
        }
        Ok(())
    }

    /// Says something on stderr. Further lines are indented, so that remote text in them cannot pass for talk of ours.
    pub(super) fn talk(&mut self, message: &str) -> Result<(), ReportError> {
        self.say(&visible(message))
    }

    /// Says something on stderr in a style.
    pub(super) fn talk_styled(&mut self, style: Style, message: &str) -> Result<(), ReportError> {
        let message = visible(message);
        let styled = self.styled(Stream::Stderr, style, &message).into_owned();
        self.say(&styled)
    }

    fn say(&mut self, message: &str) -> Result<(), ReportError> {
        self.turn(Stream::Stderr)?;
        if std::mem::take(&mut self.mid_line) && self.terminals.stderr.present {
            self.pending.push(b'\n');
        }
        for (number, line) in message.trim_end_matches('\n').split('\n').enumerate() {
            if number > 0 {
                self.pending.extend_from_slice(b"    ");
            }
            self.pending.extend_from_slice(line.as_bytes());
            self.pending.push(b'\n');
        }
        if self.pending.len() >= FULL { self.emit() } else { Ok(()) }
    }

    /// Shows progress from now on.
    pub(super) fn begin_progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// The progress that is shown.
    pub(super) fn progress(&mut self) -> Option<&mut Progress> {
        self.progress.as_mut()
    }

    /// Whether progress is shown.
    pub(super) fn has_progress(&self) -> bool {
        self.progress.as_ref().is_some_and(Progress::has_lines)
    }

    /// Ends progress and wipes its lines.
    pub(super) fn end_progress(&mut self) -> Result<(), ReportError> {
        self.progress = None;
        self.wipe()
    }

    /// Draws the progress as it is now, unless it was drawn a moment ago, or would be drawn behind an unfinished line and
    /// wiped together with it.
    pub(super) fn redraw(&mut self, now: Instant) -> Result<(), ReportError> {
        let Some(progress) = self.progress.as_mut().filter(|progress| progress.has_lines()) else { return Ok(()) };
        if !self.drawing.is_due(now) {
            return Ok(());
        }
        let lines = progress.lines(now);
        self.emit()?;
        if self.mid_line {
            return Ok(());
        }
        let drawing = self.drawing.draw(&lines, now);
        self.put(Stream::Stderr, drawing.as_bytes())
    }

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) -> Result<(), ReportError> {
        self.emit()
    }

    /// Turns to a stream; what is gathered for the other one is written first.
    fn turn(&mut self, stream: Stream) -> Result<(), ReportError> {
        if self.toward != stream {
            self.emit()?;
            self.toward = stream;
        }
        Ok(())
    }

    fn wipe(&mut self) -> Result<(), ReportError> {
        let wiping = self.drawing.wipe();
        if wiping.is_empty() { Ok(()) } else { self.put(Stream::Stderr, wiping.as_bytes()) }
    }

    fn emit(&mut self) -> Result<(), ReportError> {
        let mut pending = std::mem::take(&mut self.pending);
        let sent = self.send(&pending);
        pending.clear();
        pending.shrink_to(4 * FULL);
        self.pending = pending;
        sent
    }

    /// Writes to the stream that is turned to, after what stands there.
    fn send(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        let Some(&last) = bytes.last() else { return Ok(()) };
        self.wipe()?;
        if self.terminal(self.toward).present {
            self.mid_line = last != b'\n';
        }
        self.put(self.toward, bytes)
    }

    fn put(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), ReportError> {
        let sink = match stream {
            Stream::Stdout if self.unheard => return Ok(()),
            Stream::Stdout => &mut self.sinks.stdout,
            Stream::Stderr if self.deaf => return Ok(()),
            Stream::Stderr => &mut self.sinks.stderr,
        };
        match (write_patiently(sink.as_mut(), bytes), stream) {
            (Ok(()), _) => Ok(()),
            (Err(error), Stream::Stdout) if error.kind() == ErrorKind::BrokenPipe && self.goes_on_unheard => {
                self.unheard = true;
                Ok(())
            }
            (Err(error), Stream::Stdout) if error.kind() == ErrorKind::BrokenPipe => Err(ReportError::ClosedPipe),
            (Err(error), Stream::Stderr) if error.kind() == ErrorKind::BrokenPipe => {
                self.deaf = true;
                Ok(())
            }
            (Err(source), stream) => Err(ReportError::Standard { stream, source }),
        }
    }
}

/// `write_all` and `flush` that wait where the stream is non-blocking.
fn write_patiently(sink: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BUSY),
            Err(error) => return Err(error),
        }
    }
    loop {
        match sink.flush() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BUSY),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Screen;

    #[test]
    fn the_order_of_both_streams_is_kept() {
        let screen = Screen::default();
        let mut console = Console::new(screen.sinks(), Terminals::default());
        console.write(Stream::Stdout, b"one\n").unwrap();
        console.talk("two").unwrap();
        console.write(Stream::Stdout, b"three\n").unwrap();
        console.flush().unwrap();
        assert_eq!(screen.both(), "one\ntwo\nthree\n");
        assert_eq!(screen.stdout(), "one\nthree\n");
    }

    #[test]
    fn further_lines_of_a_message_are_indented() {
        let screen = Screen::default();
        let mut console = Console::new(screen.sinks(), Terminals::default());
        console.talk("web01: said\nweb02: forged\x1b[A\n").unwrap();
        console.flush().unwrap();
        assert_eq!(screen.stderr(), "web01: said\n    web02: forged\\x1b[A\n");
    }

    #[test]
    fn talk_begins_its_own_line_after_an_unfinished_one() {
        let present = Terminal { present: true, color: false };
        let terminals = Terminals { stdout: present, stderr: present, width: 80, height: 24 };
        let screen = Screen::default();
        let mut console = Console::new(screen.sinks(), terminals);
        console.write(Stream::Stdout, b"no newline").unwrap();
        console.talk("web01: lost").unwrap();
        console.talk("again").unwrap();
        console.flush().unwrap();
        assert_eq!(screen.both(), "no newline\nweb01: lost\nagain\n");
    }

    #[test]
    fn a_closed_stdout_is_a_quiet_end_and_a_closed_stderr_is_no_end() {
        let screen = Screen::default();
        screen.fail_stdout(ErrorKind::BrokenPipe);
        let mut console = Console::new(screen.sinks(), Terminals::default());
        console.write(Stream::Stdout, b"x").unwrap();
        assert!(matches!(console.flush(), Err(ReportError::ClosedPipe)));

        let screen = Screen::default();
        screen.fail_stderr(ErrorKind::BrokenPipe);
        let mut console = Console::new(screen.sinks(), Terminals::default());
        console.talk("nobody listens").unwrap();
        console.write(Stream::Stdout, b"data\n").unwrap();
        console.talk("still nobody").unwrap();
        console.flush().unwrap();
        assert_eq!(screen.stdout(), "data\n");
    }

    #[test]
    fn a_full_disk_behind_stdout_is_an_error_with_its_cause() {
        let screen = Screen::default();
        screen.fail_stdout(ErrorKind::StorageFull);
        let mut console = Console::new(screen.sinks(), Terminals::default());
        console.write(Stream::Stdout, b"x").unwrap();
        let error = console.flush().unwrap_err();
        assert_eq!(error.to_string(), "cannot write to stdout");
        assert!(std::error::Error::source(&error).is_some());
    }
}
