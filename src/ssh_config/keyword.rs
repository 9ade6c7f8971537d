//! The table of keywords: one row says how a keyword is spelled, what its value looks like, what `ssh -G` prints where
//! nothing sets it, and what bugle does with it. Parsing, the tiers, the listing and `docs/ssh_config.md` read it.

use super::algorithm::Family;
use super::forward::Direction;

/// What bugle does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Followed exactly, everywhere.
    Honoured,
    /// Followed where it makes sense: interactive shells and tunnels. A fan-out leaves it aside.
    Interactive,
    /// Parsed and checked; a warning says once that it has no effect.
    NoEffect,
    /// Accepted in silence: OpenSSH itself dropped it.
    Ignored,
}

impl Support {
    /// The word for it in the documentation's table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Interactive => "interactive",
            Self::NoEffect => "warned",
            Self::Ignored => "ignored",
        }
    }
}

/// The spellings of an enumerated value: what may be written, and what `ssh -G` prints for it.
pub(super) type Spellings = &'static [(&'static str, &'static str)];

/// What the value of a keyword looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grammar {
    /// `Host`, `Match`, `Include`: shape the file, have no value of their own.
    Structure,
    /// One of some words, compared without case.
    Choice(Spellings),
    /// Seconds or `1h30m`, or `none`.
    Seconds,
    /// A whole number from 0.
    Number,
    /// A port number or service name.
    Port,
    /// One argument.
    Text,
    /// The rest of the line as it stands, for a shell.
    Command,
    /// Jump hosts.
    Jump,
    /// File names; `none` stands alone. Holds the largest number allowed.
    Files(usize),
    /// Any words; `none` stands alone.
    Words,
    /// Domain suffixes.
    Domains,
    /// `SOURCES:TARGETS` rules for CNAMEs.
    CanonicalNames,
    /// `HOST:PORT` destinations.
    Destinations,
    /// `TYPE=TIME` rules.
    ChannelTimeouts,
    /// Names of variables, `-` removes.
    VariableNames,
    /// `NAME=VALUE` variables.
    Variables,
    /// A forwarding.
    Forward(Direction),
    /// Names of algorithms with an optional `+`, `-` or `^`.
    Algorithms(Family),
    /// The agent's socket.
    Agent,
    /// yes, no or a socket.
    ForwardAgent,
    /// yes, no, ask, confirm and a lifetime.
    AddKeysToAgent,
    /// A character, `^X` or `none`.
    EscapeCharacter,
    /// Bytes and a time.
    RekeyLimit,
    /// An octal file mode.
    Mask,
    /// Two numbers or `any`.
    TunnelDevice,
    /// One or two traffic classes.
    TrafficClass,
    /// yes, no or a time.
    ControlPersist,
    /// yes, no or `interval:MILLISECONDS`.
    KeystrokeTiming,
    /// The rest of the line up to a comment.
    Addendum,
    /// Nothing is checked.
    Anything,
}

const FLAG: Spellings = &[("yes", "yes"), ("no", "no"), ("true", "yes"), ("false", "no")];
const YES_NO_ASK: Spellings = &[("yes", "true"), ("no", "false"), ("ask", "ask"), ("true", "true"), ("false", "false")];
const STRICT: Spellings = &[
    ("yes", "true"),
    ("no", "false"),
    ("ask", "ask"),
    ("accept-new", "accept-new"),
    ("off", "false"),
    ("true", "true"),
    ("false", "false"),
];
const ADDRESS_FAMILY: Spellings = &[("any", "any"), ("inet", "inet"), ("inet6", "inet6")];
const CONTROL_MASTER: Spellings = &[
    ("yes", "true"),
    ("no", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
    ("true", "true"),
    ("false", "false"),
];
const TUNNEL: Spellings = &[
    ("yes", "point-to-point"),
    ("no", "false"),
    ("point-to-point", "point-to-point"),
    ("ethernet", "ethernet"),
    ("true", "point-to-point"),
    ("false", "false"),
];
const REQUEST_TTY: Spellings =
    &[("yes", "true"), ("no", "false"), ("force", "force"), ("auto", "auto"), ("true", "true"), ("false", "false")];
const SESSION_TYPE: Spellings = &[("none", "none"), ("subsystem", "subsystem"), ("default", "default")];
const CANONICALIZE: Spellings =
    &[("yes", "true"), ("no", "false"), ("always", "always"), ("true", "true"), ("false", "false")];
const PUBKEY: Spellings = &[
    ("yes", "true"),
    ("no", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
    ("true", "true"),
    ("false", "false"),
];
const COMPRESSION: Spellings = &[("yes", "yes"), ("no", "no")];
const WEAK_CRYPTO: Spellings = &[("yes", "yes"), ("no", "no"), ("no-pq-kex", "no"), ("true", "yes"), ("false", "no")];
const LOG_LEVEL: Spellings = &[
    ("quiet", "QUIET"),
    ("silent", "QUIET"),
    ("fatal", "FATAL"),
    ("error", "ERROR"),
    ("info", "INFO"),
    ("verbose", "VERBOSE"),
    ("debug", "DEBUG"),
    ("debug1", "DEBUG"),
    ("debug2", "DEBUG2"),
    ("debug3", "DEBUG3"),
];
const FACILITY: Spellings = &[
    ("daemon", "DAEMON"),
    ("user", "USER"),
    ("auth", "AUTH"),
    ("authpriv", "AUTHPRIV"),
    ("local0", "LOCAL0"),
    ("local1", "LOCAL1"),
    ("local2", "LOCAL2"),
    ("local3", "LOCAL3"),
    ("local4", "LOCAL4"),
    ("local5", "LOCAL5"),
    ("local6", "LOCAL6"),
    ("local7", "LOCAL7"),
];
const DIGEST: Spellings =
    &[("md5", "MD5"), ("sha1", "SHA1"), ("sha256", "SHA256"), ("sha384", "SHA384"), ("sha512", "SHA512")];

/// What the table knows of one keyword.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which keyword it is.
    pub keyword: Keyword,
    /// The name as the manual page spells it.
    pub name: &'static str,
    /// Other spellings, in lower case.
    pub aliases: &'static [&'static str],
    pub(super) grammar: Grammar,
    /// The value where nothing sets it, as one would write it.
    pub(super) default: Option<&'static str>,
    /// What bugle does with it.
    pub support: Support,
    /// What the documentation adds; may be empty.
    pub note: &'static str,
}

macro_rules! keywords {
    ($($variant:ident $aliases:expr, $grammar:expr, $default:expr, $support:ident, $note:expr;)*) => {
        /// A keyword of ssh_config(5), in the order in which `ssh -G` prints them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Keyword { $(#[doc = concat!("`", stringify!($variant), "`.")] $variant),* }

        /// Every keyword that is known, in the order in which `ssh -G` prints them.
        pub const KEYWORDS: &[Row] = &[$(Row {
            keyword: Keyword::$variant,
            name: stringify!($variant),
            aliases: &$aliases,
            grammar: $grammar,
            default: $default,
            support: Support::$support,
            note: $note,
        }),*];
    };
}

use Grammar as G;

keywords! {
    Host [], G::Structure, None, Honoured, "globs and `!`, compared with the name as typed";
    Match [], G::Structure, None, Honoured, "every criterion; `exec` runs once per distinct command";
    Include [], G::Structure, None, Honoured, "";
    User [], G::Text, None, Honoured, "";
    HostName [], G::Text, None, Honoured, "";
    Port [], G::Port, Some("22"), Honoured, "";
    AddressFamily [], G::Choice(ADDRESS_FAMILY), Some("any"), Honoured, "";
    BatchMode [], G::Choice(FLAG), Some("no"), Honoured, "";
    CanonicalizeFallbackLocal [], G::Choice(FLAG), Some("yes"), Honoured, "";
    CanonicalizeHostname [], G::Choice(CANONICALIZE), Some("no"), Honoured, "";
    CheckHostIP [], G::Choice(FLAG), Some("no"), NoEffect, "host keys are checked by name";
    Compression [], G::Choice(COMPRESSION), Some("no"), Honoured, "";
    ControlMaster [], G::Choice(CONTROL_MASTER), Some("no"), NoEffect, "bugle keeps its own pool of connections";
    EnableSSHKeysign [], G::Choice(FLAG), Some("no"), NoEffect, "";
    ClearAllForwardings [], G::Choice(FLAG), Some("no"), Interactive, "a fan-out never forwards";
    ExitOnForwardFailure [], G::Choice(FLAG), Some("no"), Interactive, "";
    FingerprintHash [], G::Choice(DIGEST), Some("sha256"), NoEffect, "fingerprints are SHA256";
    ForwardX11 [], G::Choice(FLAG), Some("no"), Interactive, "a fan-out opens windows only when told to on its command line";
    ForwardX11Trusted [], G::Choice(FLAG), Some("no"), NoEffect, "forwarding is always of the trusted kind";
    GatewayPorts [], G::Choice(FLAG), Some("no"), Interactive, "";
    GSSAPIAuthentication [], G::Choice(FLAG), Some("no"), NoEffect, "";
    GSSAPIKeyExchange [], G::Choice(FLAG), None, NoEffect, "Debian's and Red Hat's";
    GSSAPIDelegateCredentials [], G::Choice(FLAG), Some("no"), NoEffect, "";
    GSSAPITrustDns [], G::Choice(FLAG), None, NoEffect, "Debian's and Red Hat's";
    GSSAPIRenewalForcesRekey [], G::Choice(FLAG), None, NoEffect, "Debian's and Red Hat's";
    GSSAPIKexAlgorithms [], G::Text, None, NoEffect, "Debian's and Red Hat's";
    GSSAPIClientIdentity [], G::Text, None, NoEffect, "Debian's and Red Hat's";
    GSSAPIServerIdentity [], G::Text, None, NoEffect, "Debian's and Red Hat's";
    HashKnownHosts [], G::Choice(FLAG), Some("no"), Honoured, "";
    HostbasedAuthentication [], G::Choice(FLAG), Some("no"), NoEffect, "";
    IdentitiesOnly [], G::Choice(FLAG), Some("no"), Honoured, "";
    KbdInteractiveAuthentication ["challengeresponseauthentication", "skeyauthentication", "tisauthentication"],
        G::Choice(FLAG), Some("yes"), Honoured, "";
    NoHostAuthenticationForLocalhost [], G::Choice(FLAG), Some("no"), Honoured, "";
    PasswordAuthentication [], G::Choice(FLAG), Some("yes"), Honoured, "";
    PermitLocalCommand [], G::Choice(FLAG), Some("no"), Interactive, "for a fleet only where the command line permits it";
    ProxyUseFdpass [], G::Choice(FLAG), Some("no"), NoEffect, "";
    PubkeyAuthentication ["dsaauthentication"], G::Choice(PUBKEY), Some("yes"), Honoured, "";
    RequestTTY [], G::Choice(REQUEST_TTY), Some("auto"), Interactive, "";
    SessionType [], G::Choice(SESSION_TYPE), Some("default"), Interactive, "`Match sessiontype` follows it everywhere";
    StdinNull [], G::Choice(FLAG), Some("no"), NoEffect, "";
    ForkAfterAuthentication [], G::Choice(FLAG), Some("no"), NoEffect, "";
    StreamLocalBindUnlink [], G::Choice(FLAG), Some("no"), Interactive, "";
    StrictHostKeyChecking [], G::Choice(STRICT), Some("ask"), Honoured, "";
    TCPKeepAlive ["keepalive"], G::Choice(FLAG), Some("yes"), Honoured, "";
    Tunnel [], G::Choice(TUNNEL), Some("no"), NoEffect, "";
    VerifyHostKeyDNS [], G::Choice(YES_NO_ASK), Some("no"), NoEffect, "DNS is never trusted with host keys";
    VisualHostKey [], G::Choice(FLAG), Some("no"), NoEffect, "";
    UpdateHostKeys [], G::Choice(YES_NO_ASK), None, Honoured, "`ask` is taken for `no`; keys of jump hosts are not learnt";
    EnableEscapeCommandline [], G::Choice(FLAG), Some("no"), NoEffect, "";
    WarnWeakCrypto [], G::Choice(WEAK_CRYPTO), Some("yes"), NoEffect, "";
    CanonicalizeMaxDots [], G::Number, Some("1"), Honoured, "";
    ConnectionAttempts [], G::Number, Some("1"), Honoured, "";
    ForwardX11Timeout [], G::Seconds, Some("1200"), NoEffect, "";
    NumberOfPasswordPrompts [], G::Number, Some("3"), Honoured, "for passphrases; a password is tried once";
    ServerAliveCountMax [], G::Number, Some("3"), Honoured, "";
    ServerAliveInterval ["protocolkeepalives", "setuptimeout"], G::Seconds, Some("0"), Honoured,
        "unset, a fan-out takes 15 seconds";
    RequiredRSASize ["rsaminsize"], G::Number, Some("1024"), Honoured, "";
    ObscureKeystrokeTiming [], G::KeystrokeTiming, Some("yes"), NoEffect, "";
    BindAddress [], G::Text, None, Honoured, "";
    BindInterface [], G::Text, None, Honoured, "";
    Ciphers [], G::Algorithms(Family::Cipher), None, Honoured, "";
    ControlPath [], G::Text, None, NoEffect, "";
    HostKeyAlgorithms [], G::Algorithms(Family::Key), None, Honoured, "";
    HostKeyAlias [], G::Text, None, Honoured, "";
    HostbasedAcceptedAlgorithms ["hostbasedkeytypes"], G::Algorithms(Family::Key), None, NoEffect, "";
    IdentityAgent [], G::Agent, None, Honoured, "";
    IgnoreUnknown [], G::Text, None, Honoured, "";
    KbdInteractiveDevices [], G::Text, None, NoEffect, "";
    KexAlgorithms [], G::Algorithms(Family::KeyExchange), None, Honoured, "";
    CASignatureAlgorithms [], G::Algorithms(Family::PlainKey), None, Honoured, "";
    LocalCommand [], G::Command, None, Interactive, "for a fleet only where the command line permits it";
    RemoteCommand [], G::Command, None, Interactive, "";
    LogLevel [], G::Choice(LOG_LEVEL), Some("info"), NoEffect, "`-v` and `--quiet` say how much is shown";
    MACs [], G::Algorithms(Family::Mac), None, Honoured, "";
    PKCS11Provider ["smartcarddevice"], G::Text, None, NoEffect, "use it through the agent";
    SecurityKeyProvider [], G::Text, Some("internal"), NoEffect, "use it through the agent";
    PreferredAuthentications [], G::Text, None, Honoured, "";
    PubkeyAcceptedAlgorithms ["pubkeyacceptedkeytypes"], G::Algorithms(Family::Key), None, Honoured, "";
    XAuthLocation [], G::Text, Some("/usr/bin/xauth"), NoEffect, "";
    KnownHostsCommand [], G::Command, None, NoEffect, "known_hosts files only";
    Tag [], G::Text, None, Honoured, "";
    VersionAddendum [], G::Addendum, None, NoEffect, "";
    DynamicForward [], G::Forward(Direction::Dynamic), None, Interactive, "";
    LocalForward [], G::Forward(Direction::Local), None, Interactive, "";
    RemoteForward [], G::Forward(Direction::Remote), None, Interactive, "";
    IdentityFile ["identityfile2"], G::Text, None, Honoured, "";
    CanonicalDomains [], G::Domains, None, Honoured, "";
    CertificateFile [], G::Text, None, Honoured, "";
    GlobalKnownHostsFile [], G::Files(32), Some("/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"), Honoured, "";
    UserKnownHostsFile [], G::Files(32), Some("~/.ssh/known_hosts ~/.ssh/known_hosts2"), Honoured, "";
    RevokedHostKeys [], G::Files(usize::MAX), None, Honoured, "";
    SendEnv [], G::VariableNames, None, Honoured, "";
    SetEnv [], G::Variables, None, Honoured, "";
    LogVerbose [], G::Words, None, NoEffect, "";
    ChannelTimeout [], G::ChannelTimeouts, None, NoEffect, "";
    PermitRemoteOpen [], G::Destinations, Some("any"), Interactive, "";
    AddKeysToAgent [], G::AddKeysToAgent, Some("no"), Honoured, "`ask` asks once for each key, before any host is called";
    ForwardAgent [], G::ForwardAgent, Some("no"), Interactive, "a fan-out forwards only when told to on its command line";
    ConnectTimeout [], G::Seconds, Some("none"), Honoured, "unset, 15 seconds";
    TunnelDevice [], G::TunnelDevice, Some("any"), NoEffect, "";
    CanonicalizePermittedCNAMEs [], G::CanonicalNames, None, Honoured, "";
    ControlPersist [], G::ControlPersist, Some("no"), NoEffect, "";
    EscapeChar [], G::EscapeCharacter, Some("~"), Interactive, "";
    IPQoS [], G::TrafficClass, Some("ef cs0"), NoEffect, "";
    RekeyLimit [], G::RekeyLimit, Some("default"), Honoured, "";
    StreamLocalBindMask [], G::Mask, Some("0177"), Interactive, "";
    SyslogFacility [], G::Choice(FACILITY), Some("user"), NoEffect, "";
    ProxyCommand [], G::Command, None, Honoured, "";
    ProxyJump [], G::Jump, None, Honoured, "";
    RefuseConnection [], G::Text, None, Honoured, "";
    UseKeychain [], G::Anything, None, NoEffect, "Apple's";
    Protocol [], G::Anything, None, Ignored, "";
    Cipher [], G::Anything, None, Ignored, "";
    FallBackToRsh [], G::Anything, None, Ignored, "";
    GlobalKnownHostsFile2 [], G::Anything, None, Ignored, "";
    RhostsAuthentication [], G::Anything, None, Ignored, "";
    UserKnownHostsFile2 [], G::Anything, None, Ignored, "";
    UseRoaming [], G::Anything, None, Ignored, "";
    UseRsh [], G::Anything, None, Ignored, "";
    UsePrivilegedPort [], G::Anything, None, Ignored, "";
    AFSTokenPassing [], G::Anything, None, Ignored, "";
    KerberosAuthentication [], G::Anything, None, Ignored, "";
    KerberosTgtPassing [], G::Anything, None, Ignored, "";
    RSAAuthentication [], G::Anything, None, Ignored, "";
    RhostsRSAAuthentication [], G::Anything, None, Ignored, "";
    CompressionLevel [], G::Anything, None, Ignored, "";
}

impl Keyword {
    /// Number of keywords.
    pub(super) const COUNT: usize = KEYWORDS.len();

    /// What the table says of it.
    pub fn row(self) -> &'static Row {
        &KEYWORDS[self as usize]
    }

    /// The name as the manual page spells it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether every directive adds to the ones before, instead of the first one winning.
    pub(super) fn accumulates(self) -> bool {
        matches!(
            self,
            Self::IdentityFile
                | Self::CertificateFile
                | Self::SendEnv
                | Self::LocalForward
                | Self::RemoteForward
                | Self::DynamicForward
        )
    }

    /// Finds a keyword by its name in lower case, or by one of its other spellings.
    pub(super) fn find(name: &str) -> Option<Self> {
        use std::collections::HashMap;
        use std::sync::LazyLock;
        static BY_NAME: LazyLock<HashMap<String, Keyword>> = LazyLock::new(|| {
            KEYWORDS
                .iter()
                .flat_map(|row| {
                    let names = std::iter::once(row.name.to_ascii_lowercase());
                    names.chain(row.aliases.iter().map(|alias| (*alias).to_owned())).map(|name| (name, row.keyword))
                })
                .collect()
        });
        BY_NAME.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_own_place_and_is_found_by_its_names() {
        for (position, row) in KEYWORDS.iter().enumerate() {
            assert_eq!(row.keyword as usize, position, "{}", row.name);
            assert_eq!(Keyword::find(&row.name.to_ascii_lowercase()), Some(row.keyword));
            for alias in row.aliases {
                assert_eq!(Keyword::find(alias), Some(row.keyword), "{alias}");
            }
        }
    }
}
