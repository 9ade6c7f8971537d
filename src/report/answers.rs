//! The answers of all hosts, gathered and grouped where they are identical.
//!
//! [`Answers`] listens to events; [`Answers::groups`] is the result. Identical means the same stdout, the same stderr and
//! the same [`Ending`]. How groups are shown is not known here.

use super::error::ReportError;
use super::gather::{Cursor, Gather};
use super::settings::Limits;
use crate::event::{Event, Stream, What};
use crate::host::HostId;
use crate::outcome::{Code, Outcome, RemoteExit};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What every host said, and how it ended.
pub(super) struct Answers {
    gather: Gather,
    hosts: Vec<Answer>,
    readable: u64,
}

struct Answer {
    stdout: Cursor,
    stderr: Cursor,
    ending: Option<Ending>,
}

/// How the work on a host ended, as far as it makes answers differ: messages do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    Ok,
    Changed,
    Status(u32),
    Signal(String),
    Skipped,
    Failed(&'static str, Code),
    Unfinished,
}

/// Hosts with the same answer, in roster order.
pub(super) struct Group {
    pub(super) hosts: Vec<HostId>,
    pub(super) ending: Ending,
}

impl Ending {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Changed => Self::Changed,
            Outcome::Skipped(_) => Self::Skipped,
            Outcome::Failed(failure)
            | Outcome::Unreachable(failure)
            | Outcome::TimedOut(failure)
            | Outcome::Cancelled(failure) => match (&failure.exit, failure.code) {
                (Some(RemoteExit::Status(status)), Code::ExitStatus) => Self::Status(*status),
                (Some(RemoteExit::Signal { name, .. }), Code::ExitSignal) => Self::Signal(name.clone()),
                (_, code) => Self::Failed(outcome.word(), code),
            },
        }
    }

    /// What stands behind the names in a header; nothing where all is well.
    pub(super) fn label(&self) -> Option<String> {
        match self {
            Self::Ok => None,
            Self::Changed => Some("changed".into()),
            Self::Status(status) => Some(format!("exit status {status}")),
            // The name is remote text.
            Self::Signal(name) => Some(format!("ended by signal {}", name.escape_debug())),
            Self::Skipped => Some("skipped".into()),
            Self::Failed(word, code) => Some(format!("{} ({code})", word.replace('_', " "))),
            Self::Unfinished => Some("unfinished".into()),
        }
    }

    /// Whether the host did what it was asked.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Ok | Self::Changed)
    }
}

impl Answers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { gather: Gather::new(limits), hosts: Vec::new(), readable: limits.gathered_per_host as u64 }
    }

    /// Takes what an event adds to the answers.
    pub(super) fn handle(&mut self, event: &Event) -> Result<(), ReportError> {
        match &event.what {
            What::OutputReceived { host, stream, bytes } => {
                let Self { gather, hosts, .. } = self;
                gather.append(answer(hosts, *host).cursor(*stream), bytes)
            }
            What::HostFinished { host, outcome, .. } => {
                answer(&mut self.hosts, *host).ending = Some(Ending::of(outcome));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The groups: those that did what they were asked first, then the largest, then the one of the first host. Hosts
    /// that failed or were skipped without a word gave no answer and are in no group.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut known = HashMap::new();
        for (host, answer) in (0..).map(HostId).zip(&self.hosts) {
            let silent = answer.stdout.length() + answer.stderr.length() == 0;
            let ending = answer.ending.clone().unwrap_or(Ending::Unfinished);
            if silent && !ending.is_success() {
                continue;
            }
            let key = (self.gather.place(&answer.stdout), self.gather.place(&answer.stderr), ending.clone());
            match known.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(groups.len());
                    groups.push(Group { hosts: vec![host], ending });
                }
                Entry::Occupied(entry) => groups[*entry.get()].hosts.push(host),
            }
        }
        groups.sort_by_key(|group| (!group.ending.is_success(), Reverse(group.hosts.len()), group.hosts[0]));
        groups
    }

    /// How many bytes the hosts of a group sent on a stream.
    pub(super) fn length(&self, group: &Group, stream: Stream) -> u64 {
        self.hosts[group.hosts[0].index()].on(stream).length()
    }

    /// Hands out what the hosts of a group sent on a stream, in pieces.
    pub(super) fn read(
        &self,
        group: &Group,
        stream: Stream,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.read_host(group.hosts[0], stream, each)
    }

    /// Hands out what one host sent on a stream, in pieces.
    pub(super) fn read_host(
        &self,
        host: HostId,
        stream: Stream,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        match self.hosts.get(host.index()) {
            Some(answer) => self.gather.read(answer.on(stream), each),
            None => Ok(()),
        }
    }

    /// What the hosts of a group sent on a stream as one text, unless it is longer than what is kept of a host in memory.
    pub(super) fn text(&self, group: &Group, stream: Stream) -> Result<Option<Vec<u8>>, ReportError> {
        if self.length(group, stream) > self.readable {
            return Ok(None);
        }
        let mut text = Vec::new();
        self.read(group, stream, &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(Some(text))
    }

    /// Whether two groups said the same on a stream.
    pub(super) fn same(&self, one: &Group, two: &Group, stream: Stream) -> bool {
        let place = |group: &Group| self.gather.place(self.hosts[group.hosts[0].index()].on(stream));
        place(one) == place(two)
    }
}

impl Answer {
    fn new() -> Self {
        Self { stdout: Cursor::new(Stream::Stdout), stderr: Cursor::new(Stream::Stderr), ending: None }
    }

    fn on(&self, stream: Stream) -> &Cursor {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    fn cursor(&mut self, stream: Stream) -> &mut Cursor {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// The answer of a host; hosts that were not heard of yet begin with none.
fn answer(hosts: &mut Vec<Answer>, host: HostId) -> &mut Answer {
    if hosts.len() <= host.index() {
        hosts.resize_with(host.index() + 1, Answer::new);
    }
    &mut hosts[host.index()]
}
