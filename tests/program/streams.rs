//! What a call writes, read on threads: all of it ([`Gathered`]), or line by line as it comes ([`Lines`]).

use super::bugle::PATIENCE;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::ChildStderr;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// All that comes on a stream.
pub enum Gathered {
    /// Read on a thread.
    Now(mpsc::Receiver<Vec<u8>>),
    Later(PipeReader),
}

impl Gathered {
    pub fn of(mut source: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = source.read_to_end(&mut all);
            let _ = sender.send(all);
        });
        Self::Now(receiver)
    }

    pub fn end(self) -> Option<Vec<u8>> {
        match self {
            Self::Now(receiver) => receiver.recv_timeout(PATIENCE).ok(),
            Self::Later(reader) => Self::of(reader).end(),
        }
    }
}

/// The lines that come on a stream, as they come.
pub struct Lines {
    incoming: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
    _reader: JoinHandle<()>,
}

impl Lines {
    pub fn of(source: ChildStderr) -> Self {
        let (sender, incoming) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while let Ok(1..) = source.read_until(b'\n', &mut line) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { incoming, seen: Vec::new(), _reader: reader }
    }

    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.extend_from_slice(&line),
                Err(_) => panic!("`{text}` was not said: {}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    pub fn end(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.extend_from_slice(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some(std::mem::take(&mut self.seen)),
                Err(mpsc::RecvTimeoutError::Timeout) => return None,
            }
        }
    }
}
