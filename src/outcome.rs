//! How the work on one host ended, why, and the count of it over a run.

use std::fmt;

/// How the work on one host ended. Host failures are values: they never end a run by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing was changed, or the work does not tell.
    Ok,
    /// Done, and the host is different now.
    Changed,
    /// The work itself failed: a non-zero status, a signal, a transfer error.
    Failed(Failure),
    /// Not reached, not logged in, or the connection was lost (code [`Code::SessionLost`]: whether the work was
    /// finished is unknown).
    Unreachable(Failure),
    /// `--timeout` passed; the remote process was ended.
    TimedOut(Failure),
    /// Left out on purpose, with the reason.
    Skipped(String),
    /// Started, then ended from outside: Ctrl-C, `--deadline`.
    Cancelled(Failure),
}

impl Outcome {
    /// The word of the closing line and of JSON: `ok`, `changed`, `failed`, `unreachable`, `timed_out`, `skipped`,
    /// `cancelled`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timed_out",
            Self::Skipped(_) => "skipped",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// What went wrong, if anything did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Unreachable(failure) | Self::TimedOut(failure) | Self::Cancelled(failure) => {
                Some(failure)
            }
            Self::Ok | Self::Changed | Self::Skipped(_) => None,
        }
    }

    /// Adds what to do about it, where something went wrong.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure) | Self::Unreachable(failure) | Self::TimedOut(failure) | Self::Cancelled(failure) =
            &mut self
        {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Whether `--max-fail` counts it.
    pub fn counts_as_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Unreachable(_) | Self::TimedOut(_))
    }
}

/// Why a host failed: a stable code, the words, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable code, for scripts and for grouping.
    pub code: Code,
    /// What happened: a lowercase fragment without a full stop. May hold remote text: the report sanitises it.
    pub message: String,
    /// What to type or change next, where that is known.
    pub hint: Option<String>,
    /// How the remote command ended, where it did.
    pub exit: Option<RemoteExit>,
    /// How often it was tried, 1 without retries.
    pub attempts: u32,
}

impl Failure {
    /// A failure after one try, without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, exit: None, attempts: 1 }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do about it, where that is known.
    #[must_use]
    pub fn hints(self, hint: Option<String>) -> Self {
        Self { hint: hint.or(self.hint), ..self }
    }

    /// Adds how the remote command ended.
    #[must_use]
    pub fn exit(mut self, exit: RemoteExit) -> Self {
        self.exit = Some(exit);
        self
    }
}

/// How a remote command ended (RFC 4254 §6.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteExit {
    /// `exit-status`.
    Status(u32),
    /// `exit-signal`: the name without `SIG`, and whether the server says it dumped core.
    Signal {
        /// `TERM`, `KILL`, …
        name: String,
        /// The server says that a core was dumped.
        core_dumped: bool,
    },
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// The stable names of failures, as they stand in JSON, JUnit and the closing lines (`docs/output.md`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of a connection's life.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The name, such as `tcp.refused`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// The name does not exist.
    DnsNxdomain = "dns.nxdomain";
    /// The resolver gave no answer in time.
    DnsTimeout = "dns.timeout";
    /// The resolver failed otherwise.
    DnsFailed = "dns.failed";
    /// ECONNREFUSED.
    TcpRefused = "tcp.refused";
    /// No answer to SYN in time.
    TcpTimeout = "tcp.timeout";
    /// ENETUNREACH, EHOSTUNREACH.
    TcpUnreachable = "tcp.unreachable";
    /// Any other failure to connect.
    TcpFailed = "tcp.failed";
    /// This machine is out of descriptors or ports.
    LocalExhausted = "local.exhausted";
    /// `BindAddress`, `BindInterface` or `AddressFamily` asks for what this machine or the host does not have.
    LocalOption = "local.option";
    /// The bytes before the banner say that the server drops connections on purpose, or it closed at once.
    PreBannerThrottled = "pre_banner.throttled";
    /// Closed or reset before its banner.
    PreBannerClosed = "pre_banner.closed";
    /// Connected, then silence.
    PreBannerTimeout = "pre_banner.timeout";
    /// What answers does not speak SSH.
    PreBannerNotSsh = "pre_banner.not_ssh";
    /// No key exchange in common.
    KexNoCommonKex = "kex.no_common.kex";
    /// No host key type in common.
    KexNoCommonHostKey = "kex.no_common.host_key";
    /// No cipher in common.
    KexNoCommonCipher = "kex.no_common.cipher";
    /// No MAC in common.
    KexNoCommonMac = "kex.no_common.mac";
    /// No compression in common.
    KexNoCommonCompression = "kex.no_common.compression";
    /// The key exchange did not end in time.
    KexTimeout = "kex.timeout";
    /// The connection ended or broke the protocol during the key exchange.
    KexFailed = "kex.failed";
    /// Nobody vouches for the host key.
    HostKeyUnknown = "hostkey.unknown";
    /// Another host key is known.
    HostKeyChanged = "hostkey.changed";
    /// The host key is revoked.
    HostKeyRevoked = "hostkey.revoked";
    /// The host key is too short.
    HostKeyWeak = "hostkey.weak";
    /// A host certificate does not hold.
    HostKeyCertificate = "hostkey.certificate";
    /// No key or password to offer.
    AuthNoKey = "auth.no_key";
    /// The server refused everything that was offered.
    AuthRefused = "auth.refused";
    /// The server accepted a part of what it asks for, and there was nothing more to offer.
    AuthPartial = "auth.partial";
    /// The server ended the login after too many tries.
    AuthTooMany = "auth.too_many";
    /// The login did not end in time.
    AuthTimeout = "auth.timeout";
    /// The agent could not be used.
    AuthAgent = "auth.agent";
    /// A jump host could not be passed.
    JumpFailed = "jump.failed";
    /// The `ProxyCommand` ended, or brought no answer of a server in time.
    ProxyFailed = "proxy.failed";
    /// The server refused a session channel, or the request on it.
    SessionRefused = "session.refused";
    /// The connection was lost while the work was running.
    SessionLost = "session.lost";
    /// The command ended with a status other than 0.
    ExitStatus = "exit.status";
    /// The command was ended by a signal.
    ExitSignal = "exit.signal";
    /// The host has neither an SFTP server nor what is needed in its place.
    TransferUnavailable = "transfer.unavailable";
    /// The destination or source on the host is not what the transfer needs it to be.
    TransferPlace = "transfer.place";
    /// Something could not be brought to its place; what was there still stands.
    TransferFailed = "transfer.failed";
    /// The file system of the host is full.
    TransferNoSpace = "transfer.no_space";
    /// A file of keys cannot be edited, or must not be: nothing was written.
    KeysRefused = "keys.refused";
    /// A login failed after a file of keys was edited: what was changed is taken back.
    KeysRolledBack = "keys.rolled_back";
    /// A login shows that a key does not do what it should.
    KeysUnproved = "keys.unproved";
    /// `--timeout` passed.
    Timeout = "timeout";
    /// `--deadline` passed.
    Deadline = "deadline";
    /// Ctrl-C, SIGTERM.
    Interrupted = "interrupted";
    /// sudo, su or doas refused the password, or needs one and has none.
    SudoPassword = "sudo.password";
    /// sudo, su or doas is missing or does not allow it.
    SudoRefused = "sudo.refused";
    /// A template could not be rendered for this host.
    Template = "template";
    /// Standard input could not be read or kept to its end: the command did not get all of it, and was ended.
    LocalInput = "local.input";
    /// A local file could not be read or written.
    LocalIo = "local.io";
    /// A file system here is full or read-only, or a quota is used up: no other file would fare better.
    LocalFull = "local.full";
    /// A fault of bugle in this host's task.
    Internal = "internal";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many hosts ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done.
    pub ok: usize,
    /// Done and different.
    pub changed: usize,
    /// The work failed.
    pub failed: usize,
    /// Not reached or lost.
    pub unreachable: usize,
    /// Out of time.
    pub timed_out: usize,
    /// Left out.
    pub skipped: usize,
    /// Ended from outside.
    pub cancelled: usize,
    /// Never begun.
    pub never_started: usize,
    /// Of those that failed, where this machine or bugle itself was at fault.
    pub faults: usize,
}

impl Tally {
    /// Counts one more host.
    pub fn add(&mut self, outcome: &Outcome) {
        let code = outcome.failure().map(|failure| failure.code);
        if matches!(code, Some(Code::LocalInput | Code::LocalFull | Code::Internal)) {
            self.faults += 1;
        }
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Changed => &mut self.changed,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Unreachable(_) => &mut self.unreachable,
            Outcome::TimedOut(_) => &mut self.timed_out,
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Cancelled(_) => &mut self.cancelled,
        } += 1;
    }

    /// Hosts that `--max-fail` counts.
    pub fn failures(&self) -> usize {
        self.failed + self.unreachable + self.timed_out
    }

    /// Hosts that are finished, however.
    pub fn finished(&self) -> usize {
        self.ok + self.changed + self.failures() + self.skipped + self.cancelled
    }
}
