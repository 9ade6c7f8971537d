//! The work on one host, as the scheduler sees it: what it is given, what it may say, and how it ends.
//!
//! Main type: [`Work`]. Nothing here knows what the work is.

use super::retry::RetryAfter;
use crate::event::{Moved, Phase, Stream, What};
use crate::host::HostId;
use crate::outcome::{Code, Failure, Outcome};
use bytes::Bytes;
use futures::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What is done on one host; one value for the whole run.
pub trait Work: Send + Sync + 'static {
    /// Works on a host once; called again, with a higher attempt, after [`Ended::Retry`].
    ///
    /// Each call is a task of its own. A panic in it fails this host and no other. When [`Unit::cancel`] asks for the
    /// end it has [`Plan::grace`](super::Plan::grace) to come to one; then the future is dropped.
    fn attempt(&self, unit: Unit) -> impl Future<Output = Ended> + Send;
}

/// One try on one host.
#[derive(Debug)]
pub struct Unit {
    /// Which host.
    pub host: HostId,
    /// The number of the try, from 1.
    pub attempt: u32,
    /// Where to say what happens.
    pub events: UnitEvents,
    /// Tells when to end before the work is done.
    pub cancel: CancelSignal,
}

impl Unit {
    /// A unit outside of a run, with the other ends of its channels: for tests of works, and for single hosts.
    pub fn detached(host: HostId) -> (Self, Detached) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (cancel, signal) = CancelSource::new();
        let unit = Self { host, attempt: 1, events: UnitEvents { host, attempt: 1, sender }, cancel: signal };
        (unit, Detached { inbox, cancel })
    }
}

/// The other ends of a [`Unit::detached`].
#[derive(Debug)]
pub struct Detached {
    inbox: mpsc::Receiver<Message>,
    /// Asks the unit to end.
    pub cancel: CancelSource,
}

impl Detached {
    /// What the unit says next; `None` when all its [`UnitEvents`] are dropped.
    pub async fn said(&mut self) -> Option<What> {
        self.inbox.recv().await.map(|message| message.what)
    }
}

/// How one try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The host is done with.
    Done(Outcome),
    /// It failed before any work was begun, in a way that may pass. When no tries are left the host is
    /// [`Outcome::Unreachable`] with this failure.
    Retry {
        /// Why it failed.
        failure: Failure,
        /// How soon to try again.
        after: RetryAfter,
    },
}

/// How a unit came to its end.
pub(super) struct Tried {
    pub(super) host: HostId,
    pub(super) attempt: u32,
    pub(super) ended: Ended,
    pub(super) at: Instant,
}

/// One unit from its beginning to its end.
pub(super) async fn attempt<W: Work>(work: Arc<W>, unit: Unit) -> Tried {
    let Unit { host, attempt, .. } = unit;
    let ended = AssertUnwindSafe(async move { work.attempt(unit).await }).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| {
        let message = format!("a fault of bugle: {}", panic_text(&*panic));
        Ended::Done(Outcome::Failed(Failure::new(Code::Internal, message)))
    });
    Tried { host, attempt, ended, at: Instant::now() }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

/// Messages that may wait for the dispatcher, of all units together. Output comes in SSH packets of at most 32 KiB, so
/// this bounds what is held in memory to a few MiB.
pub(super) const INBOX: usize = 128;

/// What a unit says. Its end is no message: a report that does not keep up must not hold it back.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) host: HostId,
    pub(super) attempt: u32,
    pub(super) what: What,
}

/// The way of a unit to say what happens on its host. Every call waits while the report does not keep up; what is said
/// after the unit's end is not shown.
#[derive(Clone, Debug)]
pub struct UnitEvents {
    host: HostId,
    attempt: u32,
    sender: mpsc::Sender<Message>,
}

impl UnitEvents {
    pub(super) fn new(host: HostId, attempt: u32, sender: mpsc::Sender<Message>) -> Self {
        Self { host, attempt, sender }
    }

    /// The host sent output.
    pub async fn output(&self, stream: Stream, bytes: Bytes) {
        if !bytes.is_empty() {
            self.say(What::OutputReceived { host: self.host, stream, bytes }).await;
        }
    }

    /// A step of reaching the host ended well.
    pub async fn phase(&self, phase: Phase, took: Duration, detail: impl Into<String>) {
        self.say(What::PhaseFinished { host: self.host, phase, took, detail: detail.into() }).await;
    }

    /// Something is worth telling, from verbosity `level` on.
    pub async fn notice(&self, level: u8, message: impl Into<String>) {
        self.say(What::Noticed { host: Some(self.host), level, message: message.into() }).await;
    }

    /// It is known what is to be moved.
    pub async fn transfer_planned(&self, files: u64, bytes: u64) {
        self.say(What::TransferPlanned { host: self.host, files, bytes }).await;
    }

    /// More bytes of files were moved.
    pub async fn bytes_moved(&self, bytes: u64) {
        self.say(What::BytesMoved { host: self.host, bytes }).await;
    }

    /// Bytes that were planned need not be moved.
    pub async fn bytes_spared(&self, bytes: u64) {
        self.say(What::BytesSpared { host: self.host, bytes }).await;
    }

    /// Everything that was to be moved was tried.
    pub async fn transfer_finished(&self, moved: Moved) {
        self.say(What::TransferFinished { host: self.host, moved }).await;
    }

    async fn say(&self, what: What) {
        // Without a dispatcher the run is gone, and this unit is about to be dropped.
        let _ = self.sender.send(Message { host: self.host, attempt: self.attempt, what }).await;
    }
}

/// Why units are asked to end before they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
    /// `--deadline` passed.
    Deadline,
    /// Nobody reads the report any more.
    ReportLost,
}

impl CancelReason {
    /// What a host that was ended for this reason is reported with.
    pub fn failure(self) -> Failure {
        match self {
            Self::Interrupted => Failure::new(Code::Interrupted, "ended before it was done"),
            Self::Deadline => Failure::new(Code::Deadline, "ended before it was done"),
            Self::ReportLost => Failure::new(Code::Interrupted, "ended, because the report could not be written"),
        }
    }
}

/// Tells a unit when it is asked to end.
#[derive(Clone, Debug)]
pub struct CancelSignal(watch::Receiver<Option<CancelReason>>);

impl CancelSignal {
    /// Waits until the unit is asked to end; at once when it already was. Safe in `select!`. The end of the run itself
    /// counts as [`CancelReason::Interrupted`].
    pub async fn requested(&self) -> CancelReason {
        let mut watched = self.0.clone();
        match watched.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(CancelReason::Interrupted),
            Err(_) => CancelReason::Interrupted,
        }
    }

    /// Whether the unit was asked to end, and why.
    pub fn reason(&self) -> Option<CancelReason> {
        *self.0.borrow()
    }
}

/// The other end of [`CancelSignal`]s.
#[derive(Debug)]
pub struct CancelSource(watch::Sender<Option<CancelReason>>);

impl CancelSource {
    /// A source that has not asked yet, and its first signal.
    pub fn new() -> (Self, CancelSignal) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), CancelSignal(receiver))
    }

    /// Asks every holder of a signal to end. The first reason holds.
    pub fn request(&self, reason: CancelReason) {
        self.0.send_if_modified(|current| current.is_none() && current.replace(reason).is_none());
    }

    pub(super) fn signal(&self) -> CancelSignal {
        CancelSignal(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_to_end_holds_and_late_listeners_hear_it() {
        let (source, signal) = CancelSource::new();
        assert_eq!(signal.reason(), None);
        source.request(CancelReason::Deadline);
        source.request(CancelReason::Interrupted);
        assert_eq!(signal.requested().await, CancelReason::Deadline);
        assert_eq!(source.signal().requested().await, CancelReason::Deadline);
    }

    #[tokio::test]
    async fn the_end_of_the_run_is_a_request_to_end() {
        let (source, signal) = CancelSource::new();
        drop(source);
        assert_eq!(signal.requested().await, CancelReason::Interrupted);
    }

    #[tokio::test]
    async fn a_detached_unit_is_heard_and_can_be_ended() {
        let (unit, mut outside) = Unit::detached(HostId(3));
        unit.events.output(Stream::Stdout, Bytes::new()).await;
        unit.events.notice(1, "hello").await;
        outside.cancel.request(CancelReason::Interrupted);
        assert_eq!(unit.cancel.requested().await, CancelReason::Interrupted);
        drop(unit);
        let said = outside.said().await;
        assert!(matches!(&said, Some(What::Noticed { host: Some(HostId(3)), level: 1, .. })), "{said:?}");
        assert!(outside.said().await.is_none(), "empty output is no event");
    }
}
