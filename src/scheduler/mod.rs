//! Calls many hosts at once: a window of [`Fanout`] hosts slides over the [`Roster`] until everybody is done.
//!
//! [`run`] takes a [`Plan`] and a [`Work`], and tells what happens as [`Event`]s. Inside, one dispatcher owns what is
//! queued, running and done; it hears the units of work, the clock and the signals in one select loop, and units only
//! send. Two bounded channels, unit → dispatcher → report, carry everything: a report that does not keep up slows the
//! hosts down, and nothing is dropped.
//!
//! It knows neither how a host is reached nor how events are shown, and it neither prints nor exits.

mod count;
mod dispatcher;
mod limits;
mod max_fail;
mod outbox;
mod queue;
mod result;
mod retry;
#[cfg(test)]
mod scripted;
mod serial;
mod signal;
#[cfg(test)]
mod tests;
mod unit;

pub use limits::{DescriptorBudget, Fanout, FanoutError, LocalFiles, Window};
pub use max_fail::{MaxFail, MaxFailError};
pub use result::{ReportEnd, RunResult};
pub use retry::{Backoff, Retries, RetriesError, RetryAfter};
pub use serial::{Serial, SerialError};
pub use signal::{Signal, listen};
pub use unit::{CancelReason, CancelSignal, CancelSource, Detached, Ended, Unit, UnitEvents, Work};

use crate::event::Event;
use crate::host::Roster;
use dispatcher::Dispatcher;
use futures::Stream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a unit has to end its remote process once it is asked to.
pub const GRACE: Duration = Duration::from_secs(5);

/// A run before it is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The verb: `run`, `script`, …
    pub verb: &'static str,
    /// The work in the user's words, such as the command line.
    pub title: String,
    /// Who is called, in this order.
    pub roster: Roster,
    /// How many at once, already within the [`DescriptorBudget`].
    pub fanout: Fanout,
    /// Rolling batches; `None` is one batch of everybody, without a word about it.
    pub serial: Option<Serial>,
    /// The wait between two batches.
    pub pause: Duration,
    /// How many failures are too many.
    pub max_fail: Option<MaxFail>,
    /// When the whole run is ended, from its beginning.
    pub deadline: Option<Duration>,
    /// How often a host is tried again.
    pub retries: Retries,
    /// How long units have to end after they were asked to, before they are dropped; see [`GRACE`].
    pub grace: Duration,
    /// What is to be told at the beginning, level 0: a lowered window, say.
    pub notices: Vec<String>,
    /// What the jitter of the retries is made from: any number, the same for the same waits.
    pub seed: u64,
}

impl Plan {
    /// A plan to work on `roster` with the defaults of the command line.
    pub fn new(verb: &'static str, title: impl Into<String>, roster: Roster) -> Self {
        Self {
            verb,
            title: title.into(),
            roster,
            fanout: Fanout::default(),
            serial: None,
            pause: Duration::ZERO,
            max_fail: None,
            deadline: None,
            retries: Retries::default(),
            grace: GRACE,
            notices: Vec::new(),
            seed: 0,
        }
    }
}

/// Works on every host of the plan and returns when all are finished, or the run was stopped.
///
/// `events` is read by the report; while it is full no further output is taken from hosts and no host is started, but
/// signals and time limits hold. When its receiver is dropped the run ends with
/// [`Stop::ReportLost`](crate::exit_code::Stop::ReportLost). `signals` is [`listen`], or a script of a test.
///
/// Dropping the returned future drops all units.
pub async fn run<W: Work>(
    plan: Plan,
    work: Arc<W>,
    events: mpsc::Sender<Event>,
    signals: impl Stream<Item = Signal>,
) -> RunResult {
    Dispatcher::new(plan, work, events).run(signals).await
}
