//! Doubles for tests: a [`Screen`] that records both streams, apart and together, and fails when told to; a [`Stand`] with
//! a stage on it.

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
