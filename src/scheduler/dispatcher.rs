//! The dispatcher: one loop that owns all state of a run.
//!
//! [`Dispatcher::run`] hears signals, the end of the report, the clock and the units, in this order, and decides. What
//! it decides is said through the [`Outbox`]; while that is not empty the loop neither hears units nor starts hosts.
//! The end of a unit is the value of its task; everything else it says comes through the inbox. A host is entered in
//! `started` before its unit exists, and leaves it with its one `HostFinished`, so that the counts hold at any moment.
//!
//! This file starts hosts and hears them; `ending` stops a run before it is done.

mod ending;

use super::count::Count;
use super::outbox::Outbox;
use super::queue::{Batch, Queue};
use super::result::RunResult;
use super::retry::Backoff;
use super::unit::{CancelReason, CancelSource, Ended, INBOX, Message, Tried, Unit, UnitEvents, Work, attempt};
use super::{Plan, Signal};
use crate::event::{Event, What};
use crate::exit_code::Stop;
use crate::host::HostId;
use crate::outcome::{Failure, Outcome};
use futures::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

/// All state of one run.
pub(super) struct Dispatcher<W> {
    plan: Plan,
    work: Arc<W>,
    began: Instant,
    deadline: Option<Instant>,
    queue: Queue,
    /// When the next batch is opened, once one is over.
    paused_until: Option<Instant>,
    /// Hosts that were started and are not finished.
    started: BTreeMap<HostId, Started>,
    /// How many of them hold a place in the window; the others wait for another try.
    running: usize,
    units: JoinSet<Tried>,
    inbox: mpsc::Receiver<Message>,
    sender: mpsc::Sender<Message>,
    cancel: CancelSource,
    outbox: Outbox,
    backoff: Backoff,
    course: Course,
    count: Count,
    stop: Option<Stop>,
    interrupted: bool,
    /// Until when the report is waited for, once the run is to end at once.
    patience: Option<Instant>,
}

/// A host that was started and is not finished.
struct Started {
    since: Instant,
    attempt: u32,
    /// Why the last try failed, while the host waits for another one.
    waiting: Option<Failure>,
}

/// What is still done; only ever moves down this list.
enum Course {
    /// Hosts are started as the window allows.
    Open,
    /// No host is started; those that are being worked on come to their own end.
    Closing,
    /// Units were asked to end, and have until then.
    Ending { until: Instant, reason: CancelReason },
    /// Units were dropped; those that are not gone by then are left behind. Reported as this failure.
    Dropped { until: Instant, failure: Failure },
}

impl<W: Work> Dispatcher<W> {
    pub(super) fn new(plan: Plan, work: Arc<W>, events: mpsc::Sender<Event>) -> Self {
        let began = Instant::now();
        let hosts = plan.roster.len();
        let batches = match &plan.serial {
            Some(serial) => serial.batches(hosts),
            None => vec![hosts],
        };
        let (sender, inbox) = mpsc::channel(INBOX);
        let (cancel, _) = CancelSource::new();
        Self {
            work,
            began,
            deadline: plan.deadline.map(|deadline| later(began, deadline)),
            queue: Queue::new(batches),
            paused_until: None,
            started: BTreeMap::new(),
            running: 0,
            units: JoinSet::new(),
            inbox,
            sender,
            cancel,
            outbox: Outbox::new(began, events),
            backoff: Backoff::new(plan.seed),
            course: Course::Open,
            count: Count::new(hosts),
            stop: None,
            interrupted: false,
            patience: None,
            plan,
        }
    }

    pub(super) async fn run(mut self, signals: impl Stream<Item = Signal>) -> RunResult {
        let mut signals = std::pin::pin!(signals.fuse());
        let report = self.outbox.report();
        let mut report_closed = std::pin::pin!(report.closed());
        let mut report_open = true;
        let mut alarm = std::pin::pin!(sleep_until(self.began));
        self.begin();
        while !self.is_over() {
            self.start_hosts();
            let wake = self.wake();
            // Setting a timer costs as much as a message: it is left alone while it is right.
            if let Some(wake) = wake.filter(|&wake| wake != alarm.deadline()) {
                alarm.as_mut().reset(wake);
            }
            let dropped = matches!(self.course, Course::Dropped { .. });
            let listening = self.outbox.is_empty();
            tokio::select! {
                biased;
                Some(signal) = signals.next() => self.on_signal(signal),
                () = &mut report_closed, if report_open => {
                    report_open = false;
                    self.on_report_lost();
                }
                () = &mut alarm, if wake.is_some() => self.on_time(),
                ended = self.units.join_next(), if dropped || (listening && !self.units.is_empty()) => match ended {
                    Some(joined) => self.on_unit_ended(joined),
                    None => self.finish_dropped(),
                },
                () = self.outbox.deliver(), if !listening => {}
                Some(message) = self.inbox.recv(), if listening => self.on_message(message),
            }
        }
        self.finish(signals).await
    }

    fn begin(&mut self) {
        self.outbox.say(What::RunStarted {
            verb: self.plan.verb,
            title: std::mem::take(&mut self.plan.title),
            roster: self.plan.roster.clone(),
            fanout: self.plan.fanout.get(),
        });
        for message in std::mem::take(&mut self.plan.notices) {
            self.outbox.say(What::Noticed { host: None, level: 0, message });
        }
    }

    fn is_over(&self) -> bool {
        let starts = matches!(self.course, Course::Open);
        self.started.is_empty() && !(starts && self.queue.has_more())
    }

    /// The next moment at which something is to be done without anybody's message.
    fn wake(&self) -> Option<Instant> {
        match self.course {
            Course::Open if self.outbox.is_empty() => {
                let start = if self.batch_is_over() {
                    self.paused_until
                } else if self.running < self.plan.fanout.get() {
                    self.queue.next_retry()
                } else {
                    None
                };
                start.into_iter().chain(self.deadline).min()
            }
            Course::Open | Course::Closing => self.deadline,
            Course::Ending { until, .. } | Course::Dropped { until, .. } => Some(until),
        }
    }

    /// Starts what the window, the batch and the report allow.
    fn start_hosts(&mut self) {
        while matches!(self.course, Course::Open) && self.outbox.is_empty() {
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            if self.batch_is_over() {
                if self.paused_until.is_some_and(|until| now < until) {
                    return;
                }
                let Some(batch) = self.queue.open_batch() else { return };
                self.begin_batch(batch);
            } else if self.running < self.plan.fanout.get()
                && let Some(host) = self.queue.take(now)
            {
                self.start(host, now);
            } else {
                return;
            }
        }
    }

    fn batch_is_over(&self) -> bool {
        self.started.is_empty() && self.queue.batch_is_taken()
    }

    fn begin_batch(&mut self, batch: Batch) {
        self.count.begin_batch(batch.hosts.len());
        if self.plan.serial.is_some() {
            let Batch { number, of, hosts } = batch;
            self.outbox.say(What::BatchStarted { number, of, hosts });
        }
    }

    fn start(&mut self, host: HostId, now: Instant) {
        let outbox = &mut self.outbox;
        let started = self.started.entry(host).or_insert_with(|| {
            outbox.say(What::HostStarted { host });
            Started { since: now, attempt: 0, waiting: None }
        });
        started.attempt += 1;
        started.waiting = None;
        self.running += 1;
        let events = UnitEvents::new(host, started.attempt, self.sender.clone());
        let unit = Unit { host, attempt: started.attempt, events, cancel: self.cancel.signal() };
        self.units.spawn(attempt(Arc::clone(&self.work), unit));
    }

    fn on_message(&mut self, Message { host, attempt, what }: Message) {
        // A task that outlives its unit may still talk; its host has its outcome.
        if self.started.get(&host).is_some_and(|started| started.attempt == attempt) {
            self.outbox.say(what);
        }
    }

    /// Takes the end of a unit, after all that it said.
    fn on_unit_ended(&mut self, joined: Result<Tried, JoinError>) {
        // Units that were dropped have no end of their own.
        if let Ok(tried) = joined {
            self.hear_inbox();
            self.end_try(tried);
        }
    }

    fn end_try(&mut self, Tried { host, attempt, ended, at }: Tried) {
        self.running -= 1;
        match ended {
            Ended::Done(outcome) => self.finish_host(host, outcome, at),
            Ended::Retry { mut failure, after } => {
                failure.attempts = attempt;
                if !matches!(self.course, Course::Open) || !self.plan.retries.allow_after(attempt) {
                    return self.finish_host(host, Outcome::Unreachable(failure), at);
                }
                let retry_in = self.backoff.wait(attempt, after);
                if let Some(started) = self.started.get_mut(&host) {
                    started.waiting = Some(failure.clone());
                }
                self.queue.put_back(host, later(at, retry_in));
                self.outbox.say(What::AttemptFailed { host, attempt, failure, retry_in });
            }
        }
    }

    /// Takes what is in the inbox, but not what comes in meanwhile. What a unit said is there before it has ended.
    fn hear_inbox(&mut self) {
        for _ in 0..INBOX {
            let Ok(message) = self.inbox.try_recv() else { return };
            self.on_message(message);
        }
    }

    /// Takes the ends of units that waited behind the report, so that nobody counts as running who is not.
    fn hear_ends(&mut self) {
        let mut ends = Vec::new();
        while let Some(joined) = self.units.try_join_next() {
            ends.extend(joined);
        }
        if !ends.is_empty() {
            self.hear_inbox();
        }
        for tried in ends {
            self.end_try(tried);
        }
    }

    fn finish_host(&mut self, host: HostId, mut outcome: Outcome, at: Instant) {
        let Some(started) = self.started.remove(&host) else { return };
        if let Outcome::Failed(failure)
        | Outcome::Unreachable(failure)
        | Outcome::TimedOut(failure)
        | Outcome::Cancelled(failure) = &mut outcome
        {
            failure.attempts = started.attempt;
        }
        self.count.add(&outcome);
        self.outbox.say(What::HostFinished { host, outcome, took: at.duration_since(started.since) });
        self.judge();
        if self.batch_is_over() {
            self.paused_until = Some(later(at, self.plan.pause));
        }
    }
}

/// `now + span`, or far away where the clock cannot count so far.
fn later(now: Instant, span: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    now.checked_add(span).unwrap_or_else(|| now + YEARS)
}
