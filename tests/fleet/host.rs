//! One host: where it is, how it behaves, and what happened to it. [`Counts`] is what tests look at.

use super::behaviour::{Behaviour, Cut};
use super::line::Switch;
use super::oddity::{Answer, Oddity};
use russh::keys::PublicKey;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// What [`Host::until`] waits for at most. Nothing takes that long on a healthy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host of a fleet.
pub struct Host {
    /// As the inventory names it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does.
    pub behaviour: Behaviour,
    /// Its key.
    pub key: PublicKey,
    /// The directory in which commands start, `HOME` to them.
    pub home: PathBuf,
    counts: watch::Sender<Counts>,
    crowd: Arc<Crowd>,
    commands: Mutex<Vec<String>>,
    requests: Mutex<Requests>,
    lines: Mutex<Vec<Weak<Switch>>>,
}

/// Requests to the SFTP server of a host.
#[derive(Default)]
struct Requests {
    log: Vec<String>,
    came: BTreeMap<String, usize>,
    answered: BTreeMap<String, usize>,
}

/// Handshakes at all hosts of a fleet together.
#[derive(Default)]
pub(super) struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    /// The most that there ever were at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happened to a host up to now, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: usize,
    /// Connections that are open.
    pub open: usize,
    /// Connections that are open and not logged in.
    pub handshakes: usize,
    /// The most that there ever were of those.
    pub most_handshakes: usize,
    /// Logins that succeeded.
    pub logins: usize,
    /// Keys that were offered for a login.
    pub offers: usize,
    /// Passwords that were tried.
    pub passwords: usize,
    /// Session channels that are open.
    pub sessions: usize,
    /// The most that there ever were of those.
    pub most_sessions: usize,
    /// Connections made on behalf of others.
    pub tunnels: usize,
    /// Requests to forward an agent.
    pub agent_requests: usize,
    /// What its SFTP server was asked for.
    pub files: Files,
}

/// What an SFTP server was asked for, over all channels together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Requests that came.
    pub requests: usize,
    /// Requests without an answer up to now.
    pub outstanding: usize,
    /// The most that there ever were of those.
    pub most_outstanding: usize,
    /// Handles that are open.
    pub handles: usize,
    /// The most that there ever were of those.
    pub most_handles: usize,
}

impl Host {
    /// A host at which nothing happened yet.
    pub(super) fn new(
        name: String,
        address: SocketAddr,
        behaviour: Behaviour,
        key: PublicKey,
        crowd: &Arc<Crowd>,
    ) -> Self {
        Self {
            name,
            address,
            behaviour,
            key,
            home: PathBuf::new(),
            crowd: Arc::clone(crowd),
            counts: watch::Sender::new(Counts::default()),
            commands: Mutex::default(),
            requests: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    /// What happened up to now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// The commands that were asked for, in order.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.commands).clone()
    }

    /// The requests to its SFTP server, in order and with their paths, but for reads and writes.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.requests).log.clone()
    }

    /// How many requests of a kind came to its SFTP server, such as `write` or `posix-rename`.
    pub fn requests_to(&self, kind: &str) -> usize {
        lock(&self.requests).came.get(kind).copied().unwrap_or_default()
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When it does not come to be so.
    pub async fn until(&self, what: &str, is_so: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, counts.wait_for(is_so)).await.map(|seen| seen.is_ok());
        assert!(matches!(waiting, Ok(true)), "{}: {what} did not come to pass: {:?}", self.name, self.counts());
    }

    /// Does this to every connection that is open.
    pub fn cut(&self, how: Cut) {
        for switch in lock(&self.lines).iter().filter_map(Weak::upgrade) {
            switch.turn(how);
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    pub(super) fn asked(&self, command: &[u8]) {
        lock(&self.commands).push(String::from_utf8_lossy(command).into_owned());
    }

    pub(super) fn asked_for_files(&self, kind: &str, line: Option<String>) {
        let mut requests = lock(&self.requests);
        requests.log.extend(line);
        match requests.came.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(requests.came.insert(kind.into(), 1)),
        }
        drop(requests);
        self.count(|counts| {
            counts.files.requests += 1;
            counts.files.outstanding += 1;
            counts.files.most_outstanding = counts.files.most_outstanding.max(counts.files.outstanding);
        });
    }

    /// What comes instead of the answer to the request whose turn it is.
    pub(super) fn oddity_for(&self, kind: &str, oddities: &[Oddity]) -> Option<Answer> {
        let mut requests = lock(&self.requests);
        let mut number = |kind: &str| {
            let count = requests.answered.entry(kind.into()).or_default();
            *count += 1;
            *count
        };
        let (of_all, of_kind) = (number("any"), number(kind));
        oddities.iter().find_map(|oddity| match *oddity {
            Oddity::Answer("any", when, answer) if when.holds(of_all) => Some(answer),
            Oddity::Answer(name, when, answer) if name == kind && when.holds(of_kind) => Some(answer),
            _ => None,
        })
    }

    pub(super) fn watch_line(&self, switch: &Arc<Switch>) {
        let mut lines = lock(&self.lines);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(switch));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is counted as long as it is open.
pub(super) struct Visit {
    pub(super) host: Arc<Host>,
    logged_in: bool,
}

impl Visit {
    pub(super) fn begin(host: &Arc<Host>) -> Self {
        host.crowd.enter();
        host.count(|counts| {
            counts.connections += 1;
            counts.open += 1;
            counts.handshakes += 1;
            counts.most_handshakes = counts.most_handshakes.max(counts.handshakes);
        });
        Self { host: Arc::clone(host), logged_in: false }
    }

    pub(super) fn logged_in(&mut self) {
        self.logged_in = true;
        self.host.crowd.leave();
        self.host.count(|counts| {
            counts.handshakes -= 1;
            counts.logins += 1;
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.logged_in {
            self.host.crowd.leave();
        }
        self.host.count(|counts| {
            counts.open -= 1;
            counts.handshakes -= usize::from(!self.logged_in);
        });
    }
}

/// A session that is counted as long as it is open.
pub(super) struct Sitting(Arc<Host>);

impl Sitting {
    pub(super) fn begin(host: &Arc<Host>) -> Self {
        host.count(|counts| {
            counts.sessions += 1;
            counts.most_sessions = counts.most_sessions.max(counts.sessions);
        });
        Self(Arc::clone(host))
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.0.count(|counts| counts.sessions -= 1);
    }
}
