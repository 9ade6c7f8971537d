//! What happened while a connection was made: the phases with their times, and remarks. A trace outlives a connection
//! attempt that is given up on, so that a time-out can say in which phase it struck.

use crate::event::Phase;
use std::time::{Duration, Instant};

/// The record of one attempt to connect.
pub struct Trace {
    /// What is under way.
    pub phase: Phase,
    began: Instant,
    /// What is over.
    pub entries: Vec<Entry>,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A phase ended well.
    Phase {
        /// Which.
        phase: Phase,
        /// How long it took.
        took: Duration,
        /// What was found.
        detail: String,
    },
    /// A remark, shown from this verbosity on.
    Notice {
        /// 0: always.
        level: u8,
        /// A lowercase fragment.
        message: String,
    },
}

impl Default for Trace {
    fn default() -> Self {
        Self { phase: Phase::Wait, began: Instant::now(), entries: Vec::new() }
    }
}

impl Trace {
    /// Begins a phase.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.began = Instant::now();
    }

    /// Ends the phase that is under way.
    pub(super) fn end(&mut self, detail: impl Into<String>) {
        self.entries.push(Entry::Phase { phase: self.phase, took: self.began.elapsed(), detail: detail.into() });
    }

    /// Remarks on something.
    pub(super) fn notice(&mut self, level: u8, message: impl Into<String>) {
        self.entries.push(Entry::Notice { level, message: message.into() });
    }
}
