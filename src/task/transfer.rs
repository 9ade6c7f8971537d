//! What sending files to hosts and fetching them from hosts have in common: [`TransferHost`], [`Conduct`], how much may be in
//! flight, and the end of the work on one host ([`Conduct::bound`]).

use super::privilege::Privilege;
use super::trouble::Trouble;
use crate::connection::Destination;
use crate::duration::human;
use crate::event::Stream;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::Unit;
use crate::sftp::Sftp;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::sleep;

/// Bytes in flight to or from one host: at first, and at most where few hosts share the memory.
pub(super) const WINDOW: (u64, u64) = (1024 * 1024, 16 * 1024 * 1024);
/// Bytes in flight to or from all hosts together.
pub(super) const IN_FLIGHT: u64 = 48 * 1024 * 1024;
/// Bytes of a file in flight on one connection to a host nearby. What waits for nothing but a processor is in the processors' caches still
/// when it is written.
const NEAR: u64 = 2 * 1024 * 1024;
/// Bytes a second that no way to a host is wider than.
const FASTEST: f64 = (1 << 30) as f64;
/// What clearing up may take when the work on a host is ended from outside.
pub(super) const CLEARING: Duration = Duration::from_secs(2);

/// One host that files go to or come from.
pub struct TransferHost {
    /// Where.
    pub destination: Destination,
    /// As whom, where not as the login user.
    pub privilege: Option<Privilege>,
}

/// How a transfer is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// Whether anything is done.
    pub extent: Extent,
    /// What becomes of large files that do not come whole.
    pub interrupted: Interrupted,
    /// How long the work on one host may take.
    pub timeout: Option<Duration>,
    /// How many hosts are worked on at once, at most: those of other batches are not.
    pub fanout: usize,
    /// Descriptors of files on this machine that all hosts share.
    pub open_files: usize,
}

/// Whether a transfer is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is.
    Whole,
    /// What would be done is told (`--dry-run`).
    PlanOnly,
}

/// What becomes of a file that does not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It is removed.
    Remove,
    /// It is kept, and a later run goes on with it (`--resume`).
    Keep,
}

impl Conduct {
    /// Works on one host until that is done or has to end: a host that is silent holds nobody up.
    pub(super) async fn bound(&self, unit: &Unit, work: impl Future<Output = Result<Outcome, Trouble>>) -> Outcome {
        tokio::select! {
            done = work => done.unwrap_or_else(Trouble::outcome),
            reason = unit.cancel.requested() => Outcome::Cancelled(reason.failure()),
            limit = elapsed(self.timeout) => Outcome::TimedOut(timed_out(limit)),
        }
    }

    /// How many hosts of so many are worked on at once.
    pub(super) fn at_once(&self, hosts: usize) -> usize {
        self.fanout.min(hosts).max(1)
    }
}

/// How many bytes of a file may be in flight on one connection to a host: what the widest way holds of this length.
pub(super) fn most_in_flight(sftp: &Sftp) -> u64 {
    let round_trip = sftp.round_trip().unwrap_or_default();
    ((round_trip.as_secs_f64() * FASTEST) as u64).clamp(NEAR, WINDOW.1)
}

/// Shows what would be done, a line for each thing.
pub(super) async fn tell_lines(lines: Vec<String>, unit: &Unit) {
    let text = if lines.is_empty() { "nothing to do".into() } else { lines.join("\n") };
    unit.events.output(Stream::Stdout, Bytes::from(format!("{text}\n"))).await;
}

/// Waits for a time limit; for ever where there is none.
async fn elapsed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn timed_out(limit: Duration) -> Failure {
    let message =
        format!("not done after {}: what was done until then stands, and the rest is as it was", human(limit));
    Failure::new(Code::Timeout, message).hint("--timeout sets how long the work on a host may take")
}
