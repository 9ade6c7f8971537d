//! The way from the dispatcher to the report: in order, nothing dropped, and never waiting inside a decision.
//!
//! What the bounded channel does not take at once stays here. The dispatcher takes nothing from units and starts no
//! host until this is empty again, so it holds no more than one inbox of output and a few events for each running host.

use crate::event::{Event, What};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Events on their way to the report.
#[derive(Debug)]
pub(super) struct Outbox {
    began: Instant,
    report: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
    lost: bool,
}

impl Outbox {
    /// An outbox of a run that begins now.
    pub(super) fn new(began: Instant, report: mpsc::Sender<Event>) -> Self {
        Self { began, report, waiting: VecDeque::new(), lost: false }
    }

    /// The report's end of the way, to hear of its end.
    pub(super) fn report(&self) -> mpsc::Sender<Event> {
        self.report.clone()
    }

    /// Says what happens now.
    pub(super) fn say(&mut self, what: What) {
        if self.lost {
            return;
        }
        self.waiting.push_back(Event { at: self.began.elapsed(), what });
        self.push();
    }

    /// Whether everything was taken by the report.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits until the report takes the oldest event, then hands over all that it takes. Safe in `select!`.
    pub(super) async fn deliver(&mut self) {
        if let Ok(permit) = self.report.reserve().await
            && let Some(event) = self.waiting.pop_front()
        {
            permit.send(event);
        }
        self.push();
    }

    /// Takes note that nobody reads the report any more: what is said from now on is for nobody.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.waiting.clear();
    }

    /// Whether nobody reads the report any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    fn push(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.report.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => return self.waiting.push_front(event),
                Err(mpsc::error::TrySendError::Closed(_)) => return self.lose(),
            }
        }
    }
}
