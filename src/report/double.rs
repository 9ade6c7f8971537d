//! Doubles for tests: a [`Screen`] that records both streams, apart and together, and fails when told to; a [`Glass`] that
//! shows what a terminal would; a [`Stand`] with a stage on it.

use super::Stage;
use super::console::Console;
use super::settings::{Sinks, Terminals};
use crate::event::Stream;
use crate::host::{HostName, Roster};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};

/// What was written.
#[derive(Clone, Default)]
pub(super) struct Screen(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    written: Vec<(Stream, Vec<u8>)>,
    stdout_fails: Option<ErrorKind>,
    stderr_fails: Option<ErrorKind>,
}

struct Side(Screen, Stream);

impl Screen {
    pub(super) fn sinks(&self) -> Sinks {
        Sinks {
            stdout: Box::new(Side(self.clone(), Stream::Stdout)),
            stderr: Box::new(Side(self.clone(), Stream::Stderr)),
        }
    }

    pub(super) fn stdout(&self) -> String {
        self.text(|stream| stream == Stream::Stdout)
    }

    pub(super) fn stderr(&self) -> String {
        self.text(|stream| stream == Stream::Stderr)
    }

    pub(super) fn both(&self) -> String {
        self.text(|_| true)
    }

    pub(super) fn fail_stdout(&self, kind: ErrorKind) {
        self.0.lock().unwrap().stdout_fails = Some(kind);
    }

    pub(super) fn fail_stderr(&self, kind: ErrorKind) {
        self.0.lock().unwrap().stderr_fails = Some(kind);
    }

    /// Forgets what was written so far.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap().written.clear();
    }

    fn text(&self, wanted: impl Fn(Stream) -> bool) -> String {
        let recorded = self.0.lock().unwrap();
        let bytes: Vec<u8> = recorded
            .written
            .iter()
            .filter(|(stream, _)| wanted(*stream))
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Side {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut recorded = self.0.0.lock().unwrap();
        let fails = match self.1 {
            Stream::Stdout => recorded.stdout_fails,
            Stream::Stderr => recorded.stderr_fails,
        };
        match fails {
            Some(kind) => Err(kind.into()),
            None => {
                recorded.written.push((self.1, bytes.to_vec()));
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stage whose console is a screen without terminals.
pub(super) struct Stand {
    pub(super) screen: Screen,
    pub(super) stage: Stage,
}

impl Stand {
    pub(super) fn new(hosts: &[&str]) -> Self {
        let screen = Screen::default();
        let roster = Roster::new(hosts.iter().map(|name| HostName::new(name).unwrap()).collect());
        let console = Console::new(screen.sinks(), Terminals::default());
        Self { screen, stage: Stage { roster, console } }
    }
}

/// A terminal: what the bytes that were written to it show. It obeys what [`super::drawing`] writes, and nothing else.
pub(super) struct Glass {
    columns: usize,
    rows: usize,
    /// Every line since the beginning; the last `rows` of them can still be reached.
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    wraps: bool,
}

impl Glass {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, lines: vec![Vec::new()], row: 0, column: 0, wraps: true }
    }

    /// What stands there, from the first line that was ever written on, without what is empty in the end.
    pub(super) fn everything(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Obeys and shows. As a terminal does behind a tty, it takes a line feed to the first column.
    pub(super) fn write(&mut self, mut text: &str) {
        while let Some(character) = text.chars().next() {
            if let Some(rest) = text.strip_prefix("\x1b[") {
                let end = rest.find(|character: char| character.is_ascii_alphabetic()).unwrap();
                self.obey(&rest[..=end]);
                text = &rest[end + 1..];
                continue;
            }
            match character {
                '\r' => self.column = 0,
                '\n' => self.feed(),
                shown => self.put(shown),
            }
            text = &text[character.len_utf8()..];
        }
    }

    fn obey(&mut self, sequence: &str) {
        match sequence {
            "2K" => self.lines[self.row].clear(),
            "A" => self.row = self.row.saturating_sub(1).max(self.lines.len().saturating_sub(self.rows)),
            "?7l" => self.wraps = false,
            "?7h" => self.wraps = true,
            other => panic!("nothing is known of {other:?}"),
        }
    }

    fn feed(&mut self) {
        (self.row, self.column) = (self.row + 1, 0);
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, character: char) {
        if self.column == self.columns {
            match self.wraps {
                true => self.feed(),
                false => self.column -= 1,
            }
        }
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }
}
