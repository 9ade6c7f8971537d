//! How a run ends: too many failures, the deadline, a signal, a lost report, and the last word in any case.
//!
//! The order of severity is that of [`Course`]: first nobody new is started, then units are asked to end, then they are
//! dropped.

use super::{Course, Dispatcher, later};
use crate::duration::human;
use crate::event::What;
use crate::exit_code::Stop;
use crate::host::HostId;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::Signal;
use crate::scheduler::result::{ReportEnd, RunResult};
use crate::scheduler::unit::{CancelReason, Work};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long dropped units have to be gone: enough for all that yield, and none waits for one that does not.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the report may take to read what is left after the signal that ends at once.
const PATIENCE: Duration = Duration::from_millis(500);

impl<W: Work> Dispatcher<W> {
    /// Stops starting hosts when too many failed. Without a limit that is a whole batch: going on would break the
    /// others the same way (lib/ansible/executor/playbook_executor.py).
    pub(super) fn judge(&mut self) {
        if !matches!(self.course, Course::Open) || self.queue.never_started().is_empty() {
            return;
        }
        match self.plan.max_fail {
            Some(limit) if self.count.exceeds(limit) => {}
            None if self.count.whole_batch_failed() => {
                let message =
                    "every host of the batch failed, so no further batch is started (`--max-fail 100%` goes on)".into();
                self.outbox.say(What::Noticed { host: None, level: 0, message });
            }
            _ => return,
        }
        self.note(Stop::TooManyFailures);
        self.course = Course::Closing;
        for (host, failure) in self.take_waiting() {
            self.finish_host(host, Outcome::Unreachable(failure), Instant::now());
        }
    }

    pub(super) fn on_signal(&mut self, signal: Signal) {
        self.hear_ends();
        let at_once = self.interrupted || matches!(self.course, Course::Dropped { .. });
        self.interrupted = true;
        let running = self.started.iter().filter(|(_, started)| started.waiting.is_none()).map(|(&host, _)| host);
        self.outbox.say(What::InterruptReceived {
            running: running.collect(),
            waiting: self.queue.never_started().len(),
            at_once,
        });
        self.end(CancelReason::Interrupted, stop_of(signal));
        if at_once {
            self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
            let message = "ended at once by a second signal: what it started may still run there";
            self.drop_units(Failure::new(Code::Interrupted, message));
        }
    }

    pub(super) fn on_report_lost(&mut self) {
        self.outbox.lose();
        self.end(CancelReason::ReportLost, Stop::ReportLost);
    }

    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        match &self.course {
            Course::Open | Course::Closing if self.deadline.is_some_and(|deadline| deadline <= now) => {
                self.end(CancelReason::Deadline, Stop::Deadline);
            }
            Course::Ending { until, reason } if *until <= now => {
                let mut failure = reason.failure();
                failure.message =
                    format!("it did not end within {}: what it started may still run there", human(self.plan.grace));
                self.drop_units(failure);
            }
            Course::Dropped { until, .. } if *until <= now => self.finish_dropped(),
            // A batch or another try is due: the loop starts it.
            _ => {}
        }
    }

    /// Starts nothing any more and asks what runs to end.
    fn end(&mut self, reason: CancelReason, stop: Stop) {
        self.note(stop);
        if !matches!(self.course, Course::Open | Course::Closing) {
            return;
        }
        self.course = Course::Ending { until: later(Instant::now(), self.plan.grace), reason };
        self.cancel.request(reason);
        for (host, last) in self.take_waiting() {
            let mut failure = reason.failure();
            failure.message = format!("ended while it waited for another try after: {}", last.message);
            self.finish_host(host, Outcome::Cancelled(failure), Instant::now());
        }
    }

    fn drop_units(&mut self, failure: Failure) {
        if !matches!(self.course, Course::Dropped { .. }) {
            self.units.abort_all();
            self.course = Course::Dropped { until: Instant::now() + LAST_WORDS, failure };
        }
    }

    /// Finishes the hosts whose units were dropped, after all that these said.
    pub(super) fn finish_dropped(&mut self) {
        self.hear_ends();
        self.hear_inbox();
        if let Course::Dropped { failure, .. } = &self.course {
            let failure = failure.clone();
            for host in self.started.keys().copied().collect::<Vec<_>>() {
                self.finish_host(host, Outcome::Cancelled(failure.clone()), Instant::now());
            }
        }
    }

    /// Takes the hosts between two tries out of the queue, with their last failures.
    fn take_waiting(&mut self) -> Vec<(HostId, Failure)> {
        let hosts = self.queue.take_retries().into_iter();
        hosts.filter_map(|host| self.started.get_mut(&host)?.waiting.take().map(|failure| (host, failure))).collect()
    }

    /// Notes why the run stops early. A graver reason takes the place of a lighter one; of equal ones the first holds.
    fn note(&mut self, stop: Stop) {
        fn weight(stop: Stop) -> u8 {
            match stop {
                Stop::TooManyFailures => 0,
                Stop::Deadline => 1,
                Stop::Interrupted | Stop::Terminated | Stop::ReportLost => 2,
            }
        }
        if self.stop.is_none_or(|current| weight(current) < weight(stop)) {
            self.stop = Some(stop);
        }
    }

    /// Says the last word and hands what is left to the report; signals are heard until that is done.
    pub(super) async fn finish(mut self, mut signals: Pin<&mut impl Stream<Item = Signal>>) -> RunResult {
        let never_started: Vec<_> = self.queue.never_started().map(HostId).collect();
        let mut tally = self.count.tally();
        tally.never_started = never_started.len();
        let took = self.began.elapsed();
        self.outbox.say(What::RunFinished { tally, never_started, stop: self.stop, took });
        let mut report = ReportEnd::Complete;
        let mut ended_by = None;
        while !self.outbox.is_empty() {
            let patience = self.patience;
            tokio::select! {
                biased;
                Some(signal) = signals.next() => {
                    ended_by = Some(stop_of(signal));
                    self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
                }
                () = self.outbox.deliver() => {}
                () = sleep_until(patience.unwrap_or(self.began)), if patience.is_some() => {
                    report = ReportEnd::CutShort;
                    break;
                }
            }
        }
        if self.outbox.is_lost() {
            report = ReportEnd::Lost;
            self.note(Stop::ReportLost);
        } else if report == ReportEnd::CutShort
            && let Some(stop) = ended_by
        {
            self.note(stop);
        }
        RunResult { tally, stop: self.stop, took, largest_status: self.count.largest_status(), report }
    }
}

fn stop_of(signal: Signal) -> Stop {
    match signal {
        Signal::Interrupt => Stop::Interrupted,
        Signal::Terminate | Signal::Hangup => Stop::Terminated,
    }
}
