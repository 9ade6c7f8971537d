//! What the connection layer needs to know of a host: [`Destination`], derived once from the effective ssh_config.
//!
//! This is the one place where configuration becomes connection settings; below it nobody reads ssh_config.

use super::algorithms::Algorithms;
use super::dial::SocketOptions;
use super::gate::Server;
use super::keyring::KeySources;
use super::x11::Display;
use crate::host::{Endpoint, HostName};
use crate::known_hosts::{HostQuery, NameStyle, PublicKey};
use crate::secret::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A host as the connection layer sees it: where it is, the way there, and how to log in.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The name that the user knows it by.
    pub name: HostName,
    /// Where to connect and as whom.
    pub endpoint: Endpoint,
    /// How to get there.
    pub route: Route,
    /// What hosts with the same configuration share.
    pub profile: Arc<Profile>,
    /// The name that known_hosts is asked about, where it is not the address (`HostKeyAlias`).
    pub host_key_alias: Option<String>,
    /// For password and keyboard-interactive logins.
    pub password: Option<Secret>,
    /// What holds that password and cannot be opened, where that is why there is none: a failure says so.
    pub sealed_password: Option<&'static str>,
    /// Which of the keys of its profile it is offered.
    pub choice: KeyChoice,
}

/// Which of the keys that a host could be offered it is offered: a login may have to prove that one key opens the door, or
/// that it opens without some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyChoice {
    /// All of them.
    #[default]
    All,
    /// This one, without a certificate for it.
    Only(PublicKey),
    /// All but these; certificates for them hold for what their authority says.
    Without(Arc<[PublicKey]>),
}

/// The way to a host.
#[derive(Clone, Debug)]
pub enum Route {
    /// Straight over TCP.
    Direct,
    /// Through jump hosts, in the order in which they are visited.
    Jump(Arc<[Destination]>),
    /// Through the pipes of a command.
    Command(ProxyCommand),
}

/// A `ProxyCommand`.
#[derive(Clone, Debug)]
pub struct ProxyCommand {
    /// As it stands in the configuration, for messages: the same for all hosts with the setting.
    pub written: Arc<str>,
    /// What is run, tokens expanded.
    pub line: String,
}

/// Settings that many hosts share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How sockets are made.
    pub socket: SocketOptions,
    /// One deadline over TCP, key exchange and login.
    pub connect_timeout: Duration,
    /// Tries over all addresses, a second apart (`ConnectionAttempts`).
    pub connection_attempts: u32,
    /// `ServerAliveInterval`; `None` is off.
    pub alive_interval: Option<Duration>,
    /// `ServerAliveCountMax`.
    pub alive_count: usize,
    /// What is offered in the key exchange.
    pub algorithms: Arc<Algorithms>,
    /// Bytes each way before new keys are made (`RekeyLimit`), if configured.
    pub rekey_bytes: Option<u64>,
    /// Time before new keys are made (`RekeyLimit`), if configured.
    pub rekey_time: Option<Duration>,
    /// What to do about host keys that nobody vouches for.
    pub strictness: Strictness,
    /// Whoever is dialled straight at a loopback address need not be known (`NoHostAuthenticationForLocalhost`).
    pub trust_localhost: bool,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Vec<PathBuf>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Vec<PathBuf>,
    /// RSA keys below this many bits are refused, the host's and ours (`RequiredRSASize`).
    pub required_rsa_bits: u32,
    /// `RevokedHostKeys`.
    pub revoked_host_keys: Vec<PathBuf>,
    /// `HashKnownHosts`.
    pub hash_known_hosts: bool,
    /// Keys that a known host announces are learnt, and those that it no longer has are forgotten (`UpdateHostKeys`).
    pub update_host_keys: bool,
    /// Which keys are offered.
    pub keys: KeySources,
    /// Login methods in order, those that are off left out.
    pub methods: Vec<LoginMethod>,
    /// `BatchMode`: nobody is asked anything.
    pub batch_mode: bool,
    /// The agent that hosts may use, where the command line asks for it.
    pub forward_agent: Option<PathBuf>,
    /// The display that hosts may open windows on, where the command line asks for it.
    pub display: Option<Display>,
    /// What is run on this machine after each login, where the command line permits it (`LocalCommand`, tokens
    /// expanded).
    pub local_command: Option<String>,
    /// Variables to send along with each command.
    pub environment: Vec<(String, String)>,
}

/// `StrictHostKeyChecking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// Unknown keys are refused.
    Yes,
    /// Unknown keys are put before the user, and refused where there is none.
    Ask,
    /// Unknown keys are taken and remembered, changed ones refused.
    AcceptNew,
    /// As `AcceptNew`. OpenSSH would let changed keys pass too; bugle never does.
    No,
}

/// A way to log in that bugle knows (RFC 4252, RFC 4256).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginMethod {
    /// `publickey`.
    PublicKey,
    /// `keyboard-interactive`.
    KeyboardInteractive,
    /// `password`.
    Password,
}

impl LoginMethod {
    /// Every method in OpenSSH's order of preference.
    pub const ALL: [Self; 3] = [Self::PublicKey, Self::KeyboardInteractive, Self::Password];

    /// The name in the protocol and in `PreferredAuthentications`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublicKey => "publickey",
            Self::KeyboardInteractive => "keyboard-interactive",
            Self::Password => "password",
        }
    }
}

impl Profile {
    /// Whether a person may be asked about a host key: there has to be a file for the answer.
    pub(super) fn asks_about_keys(&self) -> bool {
        self.strictness == Strictness::Ask && !self.batch_mode && !self.user_known_hosts.is_empty()
    }

    /// The file that new host keys are written to, and how.
    pub fn known_hosts_target(&self) -> Option<(PathBuf, NameStyle)> {
        let style = if self.hash_known_hosts { NameStyle::Hashed } else { NameStyle::Clear };
        self.user_known_hosts.first().map(|file| (file.clone(), style))
    }
}

impl Destination {
    /// The destination and the jump hosts on the way to it.
    pub(super) fn with_hops(&self) -> impl Iterator<Item = &Self> {
        self.hops().iter().chain([self])
    }

    /// The jump hosts on the way to it, in the order in which they are visited.
    pub fn hops(&self) -> &[Self] {
        match &self.route {
            Route::Jump(hops) => hops,
            Route::Direct | Route::Command(_) => &[],
        }
    }

    /// Which server the handshake is with.
    pub(super) fn server(&self) -> Server {
        match &self.route {
            Route::Command(command) => Server::Beyond(command.line.clone()),
            Route::Direct | Route::Jump(_) => Server::At(self.endpoint.address.clone(), self.endpoint.port),
        }
    }

    /// Whose key it must show.
    pub fn host_query(&self) -> HostQuery {
        HostQuery { host: self.endpoint.address.clone(), port: self.endpoint.port, alias: self.host_key_alias.clone() }
    }

    /// The name of the host on this way whose key a question is about.
    pub fn name_of(&self, query: &HostQuery) -> &HostName {
        self.with_hops().find(|hop| hop.host_query() == *query).map_or(&self.name, |hop| &hop.name)
    }

    /// Whether its key is not asked about: this machine itself, under `NoHostAuthenticationForLocalhost`. `peer` is the
    /// address that was dialled from here; behind a jump host or a command another machine has the name `localhost`. A host
    /// with an alias has a key of its own (check_host_key in sshconnect.c).
    pub(super) fn is_exempt(&self, peer: Option<IpAddr>) -> bool {
        self.profile.trust_localhost && self.host_key_alias.is_none() && peer.is_some_and(|peer| peer.is_loopback())
    }

    /// Where the keys for it and its jump hosts come from.
    pub fn key_sources(&self) -> impl Iterator<Item = KeySources> {
        self.with_hops().map(|destination| destination.profile.keys.clone())
    }

    /// Whether a process of its own carries the connection.
    pub fn uses_a_command(&self) -> bool {
        self.with_hops().any(|destination| matches!(destination.route, Route::Command(_)))
    }
}
