//! What happened in a run, in the past tense: the only words between running and showing.
//!
//! The scheduler emits [`Event`]s in order; reporters, the JSON stream and the journal read them. Nothing here decides.

use crate::exit_code::Stop;
use crate::host::{HostId, Roster};
use crate::outcome::{Failure, Outcome, Tally};
use bytes::Bytes;
use std::time::Duration;

/// One thing that happened, and when.
#[derive(Clone, Debug)]
pub struct Event {
    /// Time since the run began.
    pub at: Duration,
    /// What happened.
    pub what: What,
}

/// The things that happen in a run.
///
/// Order per host: `HostStarted`, then any of `PhaseFinished`, `OutputReceived`, `Noticed` and
/// `AttemptFailed`, then exactly one `HostFinished`. `RunStarted` is first and `RunFinished` is last of all.
#[derive(Clone, Debug)]
pub enum What {
    /// The run began.
    RunStarted {
        /// The verb: `run`, `script`, …
        verb: &'static str,
        /// The work in the user's words, such as the command line.
        title: String,
        /// Everybody who is to be called.
        roster: Roster,
        /// How many at once.
        fanout: usize,
    },
    /// A rolling batch began (`--serial`).
    BatchStarted {
        /// From 1.
        number: usize,
        /// How many batches there are.
        of: usize,
        /// Its hosts.
        hosts: Vec<HostId>,
    },
    /// A host was taken out of the queue.
    HostStarted {
        /// Which.
        host: HostId,
    },
    /// A step of reaching a host ended well (shown by `-v`).
    PhaseFinished {
        /// Which host.
        host: HostId,
        /// Which step.
        phase: Phase,
        /// How long it took.
        took: Duration,
        /// What was found: the address, the algorithms, the key.
        detail: String,
    },
    /// The host sent output.
    OutputReceived {
        /// Which host.
        host: HostId,
        /// stdout or stderr.
        stream: Stream,
        /// The bytes as they came, cut anywhere.
        bytes: Bytes,
    },
    /// It is known what is to be moved to or from a host.
    TransferPlanned {
        /// Which host.
        host: HostId,
        /// How many files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// More bytes of files were moved.
    BytesMoved {
        /// Which host.
        host: HostId,
        /// How many since it was last told.
        bytes: u64,
    },
    /// Bytes of files that were planned need not be moved: the host has them.
    BytesSpared {
        /// Which host.
        host: HostId,
        /// How many.
        bytes: u64,
    },
    /// Everything that was to be moved was tried.
    TransferFinished {
        /// Which host.
        host: HostId,
        /// What came of it.
        moved: Moved,
    },
    /// Something worth telling that is no failure.
    Noticed {
        /// The host it concerns, or the run.
        host: Option<HostId>,
        /// From which verbosity on it is shown: 0 always, 1 with `-v`, …
        level: u8,
        /// A lowercase fragment. May hold remote text.
        message: String,
    },
    /// A try ended in a failure that may pass; another one follows.
    AttemptFailed {
        /// Which host.
        host: HostId,
        /// The number of the try, from 1.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// The wait before the next try.
        retry_in: Duration,
    },
    /// A host is done with.
    HostFinished {
        /// Which.
        host: HostId,
        /// How it ended.
        outcome: Outcome,
        /// Since it was started.
        took: Duration,
    },
    /// A signal asked the run to end.
    InterruptReceived {
        /// Hosts that were being worked on.
        running: Vec<HostId>,
        /// Hosts that will not be started.
        waiting: usize,
        /// Whether this was the one that ends at once.
        at_once: bool,
    },
    /// The run is over; nothing follows.
    RunFinished {
        /// The count.
        tally: Tally,
        /// Who was never started.
        never_started: Vec<HostId>,
        /// Why it stopped early, if it did.
        stop: Option<Stop>,
        /// Wall time of the run.
        took: Duration,
    },
}

/// What came of a transfer to or from one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files, symlinks and directories that were written or changed.
    pub changed: u64,
    /// What was there already as it should be.
    pub unchanged: u64,
    /// What could not be brought there.
    pub failed: u64,
    /// What was removed (`--delete`).
    pub removed: u64,
    /// Bytes of content that went over the wire.
    pub bytes: u64,
    /// Bytes of content that did not have to.
    pub saved: u64,
}

/// Which of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The steps from a name to a finished command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for a free handshake slot.
    Wait,
    /// Name to addresses.
    Resolve,
    /// TCP, or the way through a proxy or a jump host.
    Connect,
    /// Version strings, key exchange and host key.
    KeyExchange,
    /// Authentication.
    Login,
    /// Opening the session channel.
    Open,
    /// The work itself.
    Work,
}

impl Phase {
    /// The word of `-v` and of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::KeyExchange => "key_exchange",
            Self::Login => "login",
            Self::Open => "open",
            Self::Work => "work",
        }
    }
}
