//! What happened on the way to a host and there: the phases with their times, and remarks. A trace outlives a connection
//! attempt that is given up on, so that a time-out can say in which phase it struck.
//!
//! Phases follow each other without gaps: each takes from the end of the one before it, so that their times add up.

use crate::event::Phase;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The record of one attempt.
pub struct Trace {
    /// What is under way.
    pub phase: Phase,
    /// When the phase before it ended.
    since: Instant,
    entries: Entries,
}

/// What is over and was not told yet. It can be told while the trace goes on: who waits for a host that hangs sees how far it
/// came.
#[derive(Clone, Default)]
pub struct Entries(Arc<Over>);

#[derive(Default)]
struct Over {
    queue: Mutex<VecDeque<Entry>>,
    grown: Notify,
}

impl Entries {
    /// The oldest, which stays until it is [`Entries::told`].
    pub fn first(&self) -> Option<Entry> {
        self.queue().front().cloned()
    }

    /// The oldest was told.
    pub fn told(&self) {
        self.queue().pop_front();
    }

    /// Waits until there is more than when this was last waited for.
    pub async fn grown(&self) {
        self.0.grown.notified().await;
    }

    fn push(&self, entry: Entry) {
        self.queue().push_back(entry);
        self.0.grown.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Self { phase: Phase::Wait, since: Instant::now(), entries: Entries::default() }
    }
}

impl Trace {
    /// What is over and was not told yet.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

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
