//! What a host of the fleet does to those who call: everything is well, unless a field says otherwise.

use super::oddity::Oddity;
use super::relay::Cable;
use russh::{MethodKind, Preferred, cipher, kex, mac};
use std::borrow::Cow;
use std::time::Duration;

/// How a host behaves. `Behaviour::default()` is a good server.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// What lies in front of it, by connection; the last is for all that come after. With none there is no relay.
    pub cables: Vec<Cable>,
    /// What happens up to the end of the version strings, or instead of SSH.
    pub reception: Reception,
    /// What it takes in the key exchange.
    pub algorithms: Preferred,
    /// How its host key stands to the fleet's known_hosts.
    pub host_key: HostKey,
    /// Who is let in.
    pub login: Login,
    /// What it says before the login.
    pub banner: Option<&'static str>,
    /// Sessions at once on one connection.
    pub max_sessions: usize,
    /// How long it takes to open a session.
    pub opening: Duration,
    /// What a command does.
    pub exec: Exec,
    /// What its SFTP server does otherwise than a good one; `None` where it has no SFTP server.
    pub sftp: Option<Vec<Oddity>>,
    /// What it does as a jump host.
    pub forwarding: Forwarding,
}

/// From accept to the version string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// An SSH server.
    Ssh,
    /// Nobody listens: connections are refused.
    Absent,
    /// Requests for a connection are never answered.
    Deaf,
    /// Accepts and says nothing.
    Silent,
    /// Sends a line that never ends, a byte at a time.
    Tarpit(Duration),
    /// Says this and closes.
    Says(&'static str),
    /// Says this and closes, so many times; then it is an SSH server.
    SaysAtFirst(&'static str, usize),
    /// Says this, then is an SSH server (RFC 4253 §4.2 allows lines before the version string).
    Chatty(&'static str),
    /// Closes at once.
    Closes,
    /// Resets once the caller has said something.
    Resets,
    /// Says who it is, in these words, and nothing after that.
    NamesItself(&'static str),
    /// Says who it is and resets once the client's key exchange has begun.
    ResetsInKeyExchange,
    /// Says who it is and then something that is not SSH.
    SpeaksNonsense,
}

/// How a host's key stands to known_hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKey {
    /// It is there.
    Known,
    /// It is not.
    Unknown,
    /// Another one is there.
    Changed,
    /// It is there as `@revoked` too.
    Revoked,
    /// The key has a certificate by the fleet's authority, which is there as `@cert-authority`.
    Certified(Certified),
}

/// What the certificate of a host is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certified {
    /// For this host, now.
    Rightly,
    /// For another host.
    ForAnotherName,
    /// For a time that is over.
    InThePast,
    /// For a user.
    AsUser,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Whoever has the fleet's key, its password or a certificate of its authority.
    ByAny,
    /// The same, by this method only.
    Only(MethodKind),
    /// By these methods, one after the other.
    Chain(&'static [MethodKind]),
    /// Nobody.
    Nobody,
    /// Everybody, without being asked for anything.
    Everybody,
    /// Nobody, and the connection ends after so many tries.
    NobodyFor(usize),
    /// Nobody is ever answered.
    Stalls,
    /// Whoever knows a password and a second thing, both asked for at once.
    TwoQuestions,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    /// Runs in `/bin/sh` on this machine, with `FLEET_HOST` in its environment.
    Shell,
    /// Nothing is started; this is its output, and its status is 0.
    Answer(&'static str),
    /// The request is refused.
    Refused,
    /// The channel is closed without a word about how the command ended.
    NoStatus,
    /// `begun` is written, and then this happens to the connection.
    Cut(Cut),
    /// Standard output ends before anything comes on standard error.
    LateStderr,
}

/// What may happen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Nothing is read or written any more, and the socket stays open: the machine hangs, or its cable is out.
    Freeze,
}

/// What a host does as a jump host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Connects to hosts of the fleet by name, and to addresses.
    Allowed,
    /// `AllowTcpForwarding no`.
    Prohibited,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            cables: Vec::new(),
            reception: Reception::Ssh,
            algorithms: algorithms(),
            host_key: HostKey::Known,
            login: Login::ByAny,
            banner: None,
            max_sessions: 10,
            opening: Duration::ZERO,
            exec: Exec::Shell,
            sftp: Some(Vec::new()),
            forwarding: Forwarding::Allowed,
        }
    }
}

/// Each a good server but for one thing.
impl Behaviour {
    /// It receives callers in this way.
    pub fn receiving(reception: Reception) -> Self {
        Self { reception, ..Self::default() }
    }

    /// These lie in front of it, one for each connection.
    pub fn behind(cables: impl Into<Vec<Cable>>) -> Self {
        Self { cables: cables.into(), ..Self::default() }
    }

    /// Its host key stands in this way to known_hosts.
    pub fn showing(host_key: HostKey) -> Self {
        Self { host_key, ..Self::default() }
    }

    /// It lets these in.
    pub fn letting_in(login: Login) -> Self {
        Self { login, ..Self::default() }
    }

    /// Commands do this.
    pub fn executing(exec: Exec) -> Self {
        Self { exec, ..Self::default() }
    }

    /// Its SFTP server does these things.
    pub fn serving(oddities: impl Into<Vec<Oddity>>) -> Self {
        Self { sftp: Some(oddities.into()), ..Self::default() }
    }

    /// It takes only these in the key exchange; empty lists stay as they are.
    pub fn taking(kex: &'static [kex::Name], cipher: &'static [cipher::Name], mac: &'static [mac::Name]) -> Self {
        let mut algorithms = algorithms();
        if !kex.is_empty() {
            algorithms.kex = Cow::Borrowed(kex);
        }
        if !cipher.is_empty() {
            algorithms.cipher = Cow::Borrowed(cipher);
        }
        if !mac.is_empty() {
            algorithms.mac = Cow::Borrowed(mac);
        }
        Self { algorithms, ..Self::default() }
    }
}

/// What OpenSSH's sshd takes, as far as russh has it.
fn algorithms() -> Preferred {
    Preferred {
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_128_CTR,
            cipher::AES_256_CTR,
        ]),
        ..Preferred::DEFAULT
    }
}
