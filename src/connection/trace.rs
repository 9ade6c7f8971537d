//! What happened on the way to a host and there: the phases with their times, and remarks. A trace outlives a connection
//! attempt that is given up on, so that a time-out can say in which phase it struck.
//!
//! Phases follow each other without gaps: each takes from the end of the one before it, so that their times add up.

use crate::event::Phase;
use std::time::{Duration, Instant};

/// The record of one attempt.
pub struct Trace {
    /// What is under way.
    pub phase: Phase,
    /// When the phase before it ended.
    since: Instant,
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
        Self { phase: Phase::Wait, since: Instant::now(), entries: Vec::new() }
    }
}

impl Trace {
    /// Begins a phase.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Ends the phase that is under way.
    pub fn end(&mut self, detail: impl Into<String>) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now));
        self.entries.push(Entry::Phase { phase: self.phase, took, detail: detail.into() });
    }

    /// Remarks on something.
    pub fn notice(&mut self, level: u8, message: impl Into<String>) {
        self.entries.push(Entry::Notice { level, message: message.into() });
    }
}
