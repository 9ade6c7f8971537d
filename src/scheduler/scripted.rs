//! A work that follows a script, host by host and try by try: the scheduler's tests need no sockets and no real time.

use super::unit::{Ended, Unit, Work};
use super::{CancelReason, RetryAfter};
use crate::event::Stream;
use crate::outcome::{Code, Failure, Outcome, RemoteExit};
use bytes::Bytes;
use std::sync::Mutex;
use std::time::Duration;

/// What a host does in one try.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Comes to this outcome after so long, unless it is asked to end before.
    End(Duration, Outcome),
    /// Fails after so long in a way that may pass.
    Again(Duration, RetryAfter),
    /// Says so many lines and is done.
    Say(usize),
    /// Says this, then goes on with the act.
    SayThen(&'static str, Box<Act>),
    /// Works until it is asked to end, and takes so long to end.
    Hang(Duration),
    /// Works for ever and does not hear that it is asked to end.
    Deaf,
    /// Panics with this text.
    Panic(&'static str),
    /// Is done, and leaves a task behind that still talks after that.
    Haunt,
}

/// Ends well after so many milliseconds.
pub(super) fn ok_after(milliseconds: u64) -> Act {
    Act::End(Duration::from_millis(milliseconds), Outcome::Ok)
}

/// Fails with a status after so many milliseconds.
pub(super) fn fails_after(milliseconds: u64) -> Act {
    let failure = Failure::new(Code::ExitStatus, "status 1").exit(RemoteExit::Status(1));
    Act::End(Duration::from_millis(milliseconds), Outcome::Failed(failure))
}

/// Is reset after so many milliseconds.
pub(super) fn again_after(milliseconds: u64) -> Act {
    Act::Again(Duration::from_millis(milliseconds), RetryAfter::Backoff)
}

/// The failure of every [`Act::Again`].
pub(super) fn reset() -> Failure {
    Failure::new(Code::PreBannerClosed, "reset")
}

/// The scripts of a fleet, and what they saw.
pub(super) struct Scripted {
    /// For each host what it does in each try; the last act repeats.
    scripts: Vec<Vec<Act>>,
    seen: Mutex<Seen>,
}

/// How many hosts were worked on at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) running: usize,
    pub(super) most: usize,
    pub(super) tries: usize,
    /// Lines of [`Act::Say`] that were taken from the units.
    pub(super) said: usize,
}

impl Scripted {
    pub(super) fn new(scripts: Vec<Vec<Act>>) -> Self {
        Self { scripts, seen: Mutex::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        *self.seen.lock().expect("no act panics while it is held")
    }

    fn enter(&self) -> Running<'_> {
        let mut seen = self.seen.lock().expect("no act panics while it is held");
        seen.tries += 1;
        seen.running += 1;
        seen.most = seen.most.max(seen.running);
        Running(self)
    }
}

/// One host that is worked on; leaves the count however it ends.
struct Running<'a>(&'a Scripted);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.seen.lock().expect("no act panics while it is held").running -= 1;
    }
}

impl Work for Scripted {
    async fn attempt(&self, unit: Unit) -> Ended {
        let _running = self.enter();
        let script = &self.scripts[unit.host.index()];
        let mut act = &script[(unit.attempt as usize).min(script.len()) - 1];
        while let Act::SayThen(text, then) = act {
            unit.events.output(Stream::Stdout, Bytes::from_static(text.as_bytes())).await;
            act = then;
        }
        match act {
            Act::End(after, outcome) => tokio::select! {
                reason = unit.cancel.requested() => cancelled(reason),
                () = tokio::time::sleep(*after) => Ended::Done(outcome.clone()),
            },
            Act::Again(after, retry) => tokio::select! {
                reason = unit.cancel.requested() => cancelled(reason),
                () = tokio::time::sleep(*after) => Ended::Retry { failure: reset(), after: *retry },
            },
            Act::Say(lines) => {
                for line in 0..*lines {
                    unit.events.output(Stream::Stdout, Bytes::from(format!("{line}\n"))).await;
                    self.seen.lock().expect("no act panics while it is held").said += 1;
                }
                Ended::Done(Outcome::Ok)
            }
            Act::Hang(end) => {
                let reason = unit.cancel.requested().await;
                tokio::time::sleep(*end).await;
                cancelled(reason)
            }
            Act::Deaf => std::future::pending().await,
            Act::Panic(text) => panic!("{text}"),
            Act::Haunt => {
                let events = unit.events.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    events.output(Stream::Stdout, Bytes::from_static(b"boo")).await;
                });
                Ended::Done(Outcome::Ok)
            }
            Act::SayThen(..) => unreachable!("said above"),
        }
    }
}

fn cancelled(reason: CancelReason) -> Ended {
    Ended::Done(Outcome::Cancelled(reason.failure()))
}
