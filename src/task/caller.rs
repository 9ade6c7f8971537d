//! From a host to an open connection, with everything on the way told: how every task begins.

use crate::connection::{Again, ConnectError, Connection, Connector, Destination, Trace, TraceEntries, TraceEntry};
use crate::host::HostId;
use crate::outcome::Outcome;
use crate::scheduler::{Ended, RetryAfter, Unit, UnitEvents};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

/// Connects, and tells what happens on the way.
pub struct Caller {
    /// What the connections share.
    pub connector: Arc<Connector>,
    /// How much is told about the way to a host: remarks up to this level, and from 1 on every phase. What nobody shows
    /// is not worth an event for each of thousands of hosts.
    pub detail: u8,
}

/// What is done on a host once it is reached.
pub(super) trait OnHost: Sync {
    /// The way to the hosts.
    fn caller(&self) -> &Caller;

    /// Where a host of the run is.
    fn destination(&self, host: HostId) -> &Destination;

    /// Works on a host. From here on nothing is tried again.
    fn work(
        &self,
        unit: &Unit,
        connection: &Arc<Connection>,
        trace: &mut Trace,
    ) -> impl Future<Output = Outcome> + Send;
}

/// One try on one host, from its name to its end.
pub(super) async fn attempt(task: &impl OnHost, unit: Unit) -> Ended {
    let caller = task.caller();
    let mut trace = Trace::default();
    let connection = match caller.connect(task.destination(unit.host), &unit, &mut trace).await {
        Ok(connection) => connection,
        Err(ended) => return ended,
    };
    let outcome = task.work(&unit, &connection, &mut trace).await;
    if outcome.failure().is_none() {
        trace.end("");
    }
    caller.tell(trace.entries(), &unit.events).await;
    connection.close().await;
    Ended::Done(outcome)
}

impl Caller {
    /// Connects to a host and logs in. Nothing was begun on it where this fails, so trying again may make sense.
    async fn connect(
        &self,
        destination: &Destination,
        unit: &Unit,
        trace: &mut Trace,
    ) -> Result<Arc<Connection>, Ended> {
        let entries = trace.entries().clone();
        let made = tokio::select! {
            // In a box, so that a unit that is at work is small.
            made = Box::pin(self.connector.connect(destination, trace)) => Some(made),
            _ = unit.cancel.requested() => None,
            // Beside the connecting, which a slow report must not hold up.
            never = self.tell_as_it_comes(&entries, &unit.events) => match never {},
        };
        self.tell(&entries, &unit.events).await;
        let Some(made) = made else {
            let mut failure = unit.cancel.requested().await.failure();
            failure.message = "ended before the work was begun".into();
            return Err(Ended::Done(Outcome::Cancelled(failure)));
        };
        made.map_err(|ConnectError { failure, again, .. }| match again {
            Again::Never => Ended::Done(Outcome::Unreachable(failure)),
            Again::Backoff => Ended::Retry { failure, after: RetryAfter::Backoff },
            Again::AfterAtLeast(wait) => Ended::Retry { failure, after: RetryAfter::AtLeast(wait) },
        })
    }

    async fn tell_as_it_comes(&self, entries: &TraceEntries, events: &UnitEvents) -> Infallible {
        loop {
            self.tell(entries, events).await;
            entries.grown().await;
        }
    }

    /// Tells what is over, once, as far as it is shown. Dropped before its end, it has told nothing by halves.
    pub(super) async fn tell(&self, entries: &TraceEntries, events: &UnitEvents) {
        while let Some(entry) = entries.first() {
            match entry {
                TraceEntry::Phase { phase, took, detail } if self.detail > 0 => events.phase(phase, took, detail).await,
                TraceEntry::Notice { level, message } if level <= self.detail => events.notice(level, message).await,
                TraceEntry::Phase { .. } | TraceEntry::Notice { .. } => {}
            }
            entries.told();
        }
    }
}
