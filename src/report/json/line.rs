//! The shape of the lines of JSON, as `docs/output.md` describes it: a field is added freely, a change of meaning raises
//! [`SCHEMA`].
//!
//! [`Body`] borrows from the event. It knows no target and no bytes of output.

use crate::event::{Moved, What};
use crate::exit_code::Stop;
use crate::host::{HostId, Roster};
use crate::outcome::{Failure, Outcome, RemoteExit, Tally};
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The version of the lines' shape; it stands in `run_started`.
pub const SCHEMA: u32 = 1;

/// One event and its time.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) at: Seconds,
    #[serde(flatten)]
    pub(super) body: Body<'a>,
}

/// The fields of an event.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Body<'a> {
    RunStarted {
        schema: u32,
        verb: &'a str,
        title: &'a str,
        fanout: usize,
        hosts: Vec<&'a str>,
    },
    BatchStarted {
        number: usize,
        of: usize,
        hosts: Vec<&'a str>,
    },
    HostStarted {
        host: &'a str,
    },
    PhaseFinished {
        host: &'a str,
        phase: &'a str,
        took: Seconds,
        detail: &'a str,
    },
    Output {
        host: &'a str,
        stream: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    Noticed {
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<&'a str>,
        level: u8,
        message: &'a str,
    },
    TransferPlanned {
        host: &'a str,
        files: u64,
        bytes: u64,
    },
    TransferFinished {
        host: &'a str,
        changed: u64,
        unchanged: u64,
        failed: u64,
        removed: u64,
        bytes: u64,
        saved: u64,
    },
    AttemptFailed {
        host: &'a str,
        attempt: u32,
        failure: Why<'a>,
        retry_in: Seconds,
    },
    HostFinished {
        host: &'a str,
        outcome: &'a str,
        took: Seconds,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Why<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    InterruptReceived {
        running: Vec<&'a str>,
        waiting: usize,
        at_once: bool,
    },
    RunFinished {
        tally: Counts,
        never_started: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stop: Option<&'static str>,
        took: Seconds,
    },
}

/// A failure.
#[derive(Serialize)]
pub(super) struct Why<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_dumped: Option<bool>,
    attempts: u32,
}

/// A tally.
#[derive(Serialize)]
pub(super) struct Counts {
    ok: usize,
    changed: usize,
    failed: usize,
    unreachable: usize,
    timed_out: usize,
    skipped: usize,
    cancelled: usize,
    never_started: usize,
}

/// A duration as a number of seconds with five decimals.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // To ten microseconds: below, numbers would be written with an exponent, which not every reader takes.
        serializer.serialize_f64((self.0.as_micros() / 10) as f64 / 1e5)
    }
}

impl<'a> Body<'a> {
    /// The fields of an event; output, which may have to wait for the end of a character, has its own way.
    pub(super) fn of(what: &'a What, roster: &'a Roster) -> Option<Self> {
        let name = |host: &HostId| roster.name(*host).as_str();
        let names = |hosts: &[HostId]| hosts.iter().map(name).collect::<Vec<_>>();
        Some(match what {
            // Bytes on their way are for progress; what came of them is told in the end.
            What::OutputReceived { .. } | What::BytesMoved { .. } | What::BytesSpared { .. } => return None,
            What::RunStarted { verb, title, roster, fanout } => Self::RunStarted {
                schema: SCHEMA,
                verb,
                title,
                fanout: *fanout,
                hosts: roster.iter().map(|(_, name)| name.as_str()).collect(),
            },
            What::BatchStarted { number, of, hosts } => {
                Self::BatchStarted { number: *number, of: *of, hosts: names(hosts) }
            }
            What::HostStarted { host } => Self::HostStarted { host: name(host) },
            What::PhaseFinished { host, phase, took, detail } => {
                Self::PhaseFinished { host: name(host), phase: phase.as_str(), took: Seconds(*took), detail }
            }
            What::Noticed { host, level, message } => {
                Self::Noticed { host: host.as_ref().map(name), level: *level, message }
            }
            What::TransferPlanned { host, files, bytes } => {
                Self::TransferPlanned { host: name(host), files: *files, bytes: *bytes }
            }
            What::TransferFinished { host, moved } => {
                let Moved { changed, unchanged, failed, removed, bytes, saved } = *moved;
                Self::TransferFinished { host: name(host), changed, unchanged, failed, removed, bytes, saved }
            }
            What::AttemptFailed { host, attempt, failure, retry_in } => Self::AttemptFailed {
                host: name(host),
                attempt: *attempt,
                failure: Why::of(failure),
                retry_in: Seconds(*retry_in),
            },
            What::HostFinished { host, outcome, took } => Self::HostFinished {
                host: name(host),
                outcome: outcome.word(),
                took: Seconds(*took),
                failure: outcome.failure().map(Why::of),
                reason: match outcome {
                    Outcome::Skipped(reason) => Some(reason),
                    _ => None,
                },
            },
            What::InterruptReceived { running, waiting, at_once } => {
                Self::InterruptReceived { running: names(running), waiting: *waiting, at_once: *at_once }
            }
            What::RunFinished { tally, never_started, stop, took } => Self::RunFinished {
                tally: Counts::of(tally),
                never_started: names(never_started),
                stop: stop.map(stop_word),
                took: Seconds(*took),
            },
        })
    }
}

impl<'a> Why<'a> {
    fn of(failure: &'a Failure) -> Self {
        let (status, signal, core_dumped) = match &failure.exit {
            Some(RemoteExit::Status(status)) => (Some(*status), None, None),
            Some(RemoteExit::Signal { name, core_dumped }) => (None, Some(name.as_str()), Some(*core_dumped)),
            None => (None, None, None),
        };
        Self {
            code: failure.code.as_str(),
            message: &failure.message,
            hint: failure.hint.as_deref(),
            status,
            signal,
            core_dumped,
            attempts: failure.attempts,
        }
    }
}

impl Counts {
    fn of(tally: &Tally) -> Self {
        let Tally { ok, changed, failed, unreachable, timed_out, skipped, cancelled, never_started, local_faults: _ } =
            *tally;
        Self { ok, changed, failed, unreachable, timed_out, skipped, cancelled, never_started }
    }
}

fn stop_word(stop: Stop) -> &'static str {
    match stop {
        Stop::TooManyFailures => "too_many_failures",
        Stop::Deadline => "deadline",
        Stop::Interrupted => "interrupted",
        Stop::Terminated => "terminated",
        Stop::ReportLost => "report_lost",
    }
}
