//! From a [`Destination`] to an open, authenticated [`Connection`], in process: the one user of russh, of whose key code
//! `keys` alone makes use too.
//!
//! [`Connector`] is shared by a whole run. Its [`connect`](Connector::connect) goes through the phases of
//! [`Phase`](crate::event::Phase): wait for a handshake slot, resolve, connect (through jump hosts or a `ProxyCommand`),
//! exchange keys, check the host key, log in. [`Process`] then runs commands on it. It retries nothing: a
//! [`ConnectError`] says whether trying again makes sense, and the scheduler decides.

mod agent;
pub mod algorithms;
mod auth;
mod backlog;
mod client;
mod dial;
mod forward;
mod gate;
mod handshake;
mod host_keys;
mod jump;
mod key_cipher;
mod key_file;
mod keyring;
mod options;
mod proof;
mod proxy;
mod rotation;
mod scan;
mod session;
mod signer;
mod trace;
mod tunnel;
mod wire;
mod x11;

pub use agent::{Agent, AgentError, Held, KeyLimits};
pub use backlog::Backlog;
pub use dial::{Family, SocketOptions};
pub use handshake::{Again, ConnectError};
pub use host_keys::{Learned, Written};
pub use key_file::{KeyFile, KeyFileError};
pub use keyring::{AddToAgent, Configured, Confirm, IdentitiesOnly, KeySources, Keyring, PrivateHalf};
pub use options::{Destination, KeyChoice, LoginMethod, Profile, ProxyCommand, Route, Strictness};
/// Signals that a remote process can be sent (RFC 4254 §6.9).
pub use russh::Sig as Signal;
pub use session::{Exec, Happening, Input, InputClosed, Process, Program, Terminal};
pub use trace::{Entries as TraceEntries, Entry as TraceEntry, Trace};
pub use x11::{Display, DisplayError};

use crate::host::{Endpoint, HostName};
use crate::known_hosts::{KnownHosts, PublicKey, ReadError, RevokedKeys, RevokedKeysError};
use crate::secret::Secret;
use client::{Client, Facts};
use dial::Resolver;
use gate::Gates;
use jump::Bastions;
use rotation::KeyUpdate;
use russh::client::Handle;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use wire::Monitor;

/// Who is asked for passphrases, before anything is contacted.
pub trait Ask: Sync {
    /// The passphrase of a key file, or `None` where nobody answers; `attempt` counts from 1.
    fn passphrase(&self, path: &Path, attempt: u32) -> Option<Secret>;

    /// How long an agent may take to list its keys.
    fn agent_limit(&self) -> Duration {
        AGENT_LIMIT
    }

    /// An agent lets us wait, up to its limit.
    fn waits_for_agent(&self, _socket: &Path) {}

    /// Whether this key is given to the agent when a host takes it (`AddKeysToAgent ask`).
    fn may_give(&self, _key: &Path) -> bool {
        false
    }
}

/// What an agent may take: a forwarded socket whose other end is gone accepts and never answers.
pub const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// Receive window of a channel, in bytes. Commands gain nothing from more.
const WINDOW: u32 = 2 * 1024 * 1024;
/// The same where files come: russh says that there is room when half of it is used up, and over 50 ms 2 MiB are no more
/// than 20 MiB/s then. Nothing comes that was not asked for, so it costs no memory.
const WINDOW_FOR_FILES: u32 = 16 * 1024 * 1024;

/// What all connections of a run share.
pub struct Connector {
    keyring: Arc<Keyring>,
    known_hosts: KnownHostsFiles,
    learned: Arc<Learned>,
    resolver: Resolver,
    /// For the servers that are dialled from here.
    gates: Gates,
    bastions: Bastions,
    given_up: HashMap<HostName, ConnectError>,
    window: u32,
    /// The command line that learns the host keys of the run.
    learning: Option<String>,
}

/// An open connection, logged in. Dropping it ends it at once; [`close`](Self::close) says goodbye first.
pub struct Connection {
    handle: Handle<Client>,
    monitor: Arc<Monitor>,
    facts: Arc<Facts>,
    sessions: Arc<Semaphore>,
    parted: AtomicBool,
    unattended: bool,
    /// What is done about keys that the host announces.
    update: Option<KeyUpdate>,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The jump host that carries it.
    _through: Option<Arc<Connection>>,
}

impl Connector {
    /// Reads the known_hosts files of all destinations, each set once.
    ///
    /// # Errors
    /// A file that cannot be trusted or read: no file must not look like no keys.
    pub fn new<'a>(
        keyring: Arc<Keyring>,
        destinations: impl IntoIterator<Item = &'a Destination>,
    ) -> Result<Self, KnownHostsError> {
        let mut known_hosts = KnownHostsFiles::default();
        let mut all = destinations.into_iter().flat_map(Destination::with_hops);
        all.try_for_each(|destination| known_hosts.load(destination))?;
        Ok(Self {
            keyring,
            known_hosts,
            learned: Arc::default(),
            resolver: Resolver::default(),
            gates: Gates::default(),
            bastions: Bastions::default(),
            given_up: HashMap::new(),
            window: WINDOW,
            learning: None,
        })
    }

    /// Hosts that were tried before the run, in vain: they fail at once with what was found then, and nobody waits for them
    /// a second time.
    pub fn give_up(&mut self, failed: HashMap<HostName, ConnectError>) {
        self.given_up = failed;
    }

    /// The command line that learns the host keys of this run; whoever is refused for an unknown one is told it.
    pub fn learn_keys_by(&mut self, line: String) {
        self.learning = Some(line);
    }

    /// Much is going to come from each host: nothing of it waits for room on the way, as far as it was asked for.
    pub fn expect_files(&mut self) {
        self.window = WINDOW_FOR_FILES;
    }

    /// Whether a person would have to be asked about the key of this host or of a jump host before it: nothing at all is
    /// known of it.
    pub fn would_ask(&self, destination: &Destination) -> bool {
        destination.with_hops().any(|hop| hop.profile.asks_about_keys() && self.knows_nothing_of(hop))
    }

    /// Whether nothing at all is known of a jump host on the way to this host, nor is such a key taken unseen.
    pub fn has_unknown_jump_host(&self, destination: &Destination) -> bool {
        destination.hops().iter().any(|hop| {
            let takes_it = matches!(hop.profile.strictness, Strictness::AcceptNew | Strictness::No);
            !takes_it && hop.profile.known_hosts_target().is_some() && self.knows_nothing_of(hop)
        })
    }

    /// Whether a login with this key could be tried, from sources that the keyring was prepared with.
    pub fn private_half(&self, sources: &KeySources, key: &PublicKey) -> PrivateHalf {
        self.keyring.private_half(sources, key)
    }

    fn knows_nothing_of(&self, destination: &Destination) -> bool {
        let (known, _) = self.known_hosts.of(&destination.profile);
        host_keys::would_ask(&known.lookup(&destination.host_query()))
    }

    /// The keys that were taken on first sight and are still to be written.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }
}

impl Connection {
    /// Says goodbye and ends the connection. Before that, keys that the host announced are proved, where they are new.
    pub async fn close(&self) {
        if let Some(update) = &self.update {
            update.settle(&self.handle, &self.facts).await;
        }
        // One that is gone already needs no goodbye.
        let said = self.handle.disconnect(russh::Disconnect::ByApplication, "", "").await;
        self.parted.store(said.is_ok(), Ordering::Relaxed);
    }

    /// Whether it can no longer be used.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Whether the same login would be possible again without a person: no questions were answered, no security key was
    /// touched.
    pub fn logged_in_unattended(&self) -> bool {
        self.unattended
    }

    /// What the server calls itself, such as `SSH-2.0-OpenSSH_9.2`.
    pub fn server(&self) -> String {
        self.monitor.greeting().version().unwrap_or_default()
    }

    /// How it ended, in words.
    fn why_ended(&self) -> String {
        self.facts.read().ended.clone().unwrap_or_else(|| "the connection was closed".into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // russh's task may wait for the peer for ever; without its bytes it ends. After a goodbye it ends by itself, once
        // that is written.
        if !self.parted.load(Ordering::Relaxed) {
            self.monitor.cut();
        }
    }
}

/// The known_hosts files of a run, read once for each set of files that its hosts name.
#[derive(Default)]
struct KnownHostsFiles {
    known: HashMap<Vec<PathBuf>, Arc<KnownHosts>>,
    revoked: HashMap<Vec<PathBuf>, Arc<RevokedKeys>>,
}

/// A file about host keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// A known_hosts file.
    #[error(transparent)]
    Known(#[from] ReadError),
    /// A `RevokedHostKeys` file.
    #[error(transparent)]
    Revoked(#[from] RevokedKeysError),
}

impl KnownHostsError {
    /// What to type next, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Known(ReadError::Writable { path, .. })
            | Self::Revoked(RevokedKeysError::Read(ReadError::Writable { path, .. })) => {
                Some(format!("chmod go-w {}", path.display()))
            }
            _ => None,
        }
    }
}

impl KnownHostsFiles {
    fn load(&mut self, destination: &Destination) -> Result<(), KnownHostsError> {
        let profile = &destination.profile;
        if let Entry::Vacant(missing) = self.known.entry(known_hosts_files(profile)) {
            let known = KnownHosts::load(missing.key())?;
            missing.insert(Arc::new(known));
        }
        if let Entry::Vacant(missing) = self.revoked.entry(profile.revoked_host_keys.clone()) {
            let revoked = RevokedKeys::load(missing.key())?;
            missing.insert(Arc::new(revoked));
        }
        Ok(())
    }

    fn of(&self, profile: &Profile) -> (Arc<KnownHosts>, Arc<RevokedKeys>) {
        let known = self.known.get(&known_hosts_files(profile)).cloned().unwrap_or_default();
        let revoked = self.revoked.get(&profile.revoked_host_keys).cloned().unwrap_or_default();
        (known, revoked)
    }
}

fn known_hosts_files(profile: &Profile) -> Vec<PathBuf> {
    profile.user_known_hosts.iter().chain(&profile.global_known_hosts).cloned().collect()
}
