//! The options of a connection as values that can be used: everything expanded, nothing left to parse.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::algorithm::AlgorithmList;
use super::chosen::Chosen;
use super::forward::Forward;

/// Which addresses are dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFamily {
    /// Both kinds.
    #[default]
    Any,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// What happens with host keys that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// Only known keys.
    Yes,
    /// New hosts are learnt, changed keys refused.
    AcceptNew,
    /// The user is asked.
    Ask,
    /// Everything is accepted.
    No,
}

/// Whether new keys of a known host are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateHostKeys {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// After a question.
    Ask,
}

/// Whether a terminal is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestTty {
    /// For shells on a terminal.
    Auto,
    /// If standard input is a terminal.
    Yes,
    /// Never.
    No,
    /// Always.
    Force,
}

/// What a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// A shell or command.
    Default,
    /// A subsystem.
    Subsystem,
    /// Nothing.
    None,
}

/// Whether keys that were read are given to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddKeysToAgent {
    /// They are not.
    No,
    /// They are, for a time or for ever.
    Yes(Option<Duration>),
    /// After a question.
    Ask,
    /// They are, and the agent asks before each use.
    Confirm(Option<Duration>),
}

/// Which agent is asked for keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityAgent {
    /// The one that `$SSH_AUTH_SOCK` names.
    Environment,
    /// None.
    None,
    /// The one behind this socket.
    Socket(PathBuf),
}

/// Whether the agent can be used on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardAgent {
    /// It cannot.
    No,
    /// It can.
    Yes,
    /// The one behind this socket can.
    Socket(PathBuf),
}

/// A private key that may be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFile {
    /// The file, or its public half.
    pub path: PathBuf,
    /// Whether the user named it, rather than a default or the system's file: such keys come first.
    pub explicit: bool,
}

/// When the keys of a connection are renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RekeyLimit {
    /// After this many bytes; none leaves it to the cipher.
    pub bytes: Option<u64>,
    /// After this long; none for no limit.
    pub interval: Option<Duration>,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Quiet,
    /// What ends the program.
    Fatal,
    /// What fails.
    Error,
    /// What the user should know.
    Info,
    /// What happens.
    Verbose,
    /// How it happens.
    Debug,
    /// In more detail.
    Debug2,
    /// In every detail.
    Debug3,
}

/// What a connection needs to know besides where it goes. Shared by all hosts for which the same directives were chosen.
///
/// A default that depends on the client (algorithms, the time to connect, keepalives) is left to it: such fields are `None`
/// or [`AlgorithmList::Default`] where nothing is configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// `AddKeysToAgent`.
    pub add_keys_to_agent: AddKeysToAgent,
    /// `AddressFamily`.
    pub address_family: AddressFamily,
    /// `BatchMode`: no questions.
    pub batch_mode: bool,
    /// `BindAddress`: the local address to connect from.
    pub bind_address: Option<Arc<str>>,
    /// `BindInterface`: the local interface to connect from.
    pub bind_interface: Option<Arc<str>>,
    /// `CASignatureAlgorithms`.
    pub ca_signature_algorithms: AlgorithmList,
    /// `CertificateFile`, expanded.
    pub certificate_files: Vec<PathBuf>,
    /// `CheckHostIP`.
    pub check_host_ip: bool,
    /// `Ciphers`.
    pub ciphers: AlgorithmList,
    /// `ClearAllForwardings`: the lists of forwardings are then empty already.
    pub clear_all_forwardings: bool,
    /// `Compression`.
    pub compression: bool,
    /// `ConnectionAttempts`, at least 1.
    pub connection_attempts: u32,
    /// `ConnectTimeout`, over connect, key exchange and login.
    pub connect_timeout: Option<Duration>,
    /// `DynamicForward`.
    pub dynamic_forwards: Vec<Forward>,
    /// `EscapeChar`.
    pub escape_char: Option<u8>,
    /// `ExitOnForwardFailure`.
    pub exit_on_forward_failure: bool,
    /// `ForwardAgent`.
    pub forward_agent: ForwardAgent,
    /// `ForwardX11`.
    pub forward_x11: bool,
    /// `ForwardX11Trusted`.
    pub forward_x11_trusted: bool,
    /// `GatewayPorts`: forwarded ports listen on all interfaces.
    pub gateway_ports: bool,
    /// `GlobalKnownHostsFile`, expanded.
    pub global_known_hosts_files: Vec<PathBuf>,
    /// `HashKnownHosts`.
    pub hash_known_hosts: bool,
    /// `HostKeyAlgorithms`.
    pub host_key_algorithms: AlgorithmList,
    /// `IdentitiesOnly`.
    pub identities_only: bool,
    /// `IdentityAgent`.
    pub identity_agent: IdentityAgent,
    /// `IdentityFile`, expanded; the default files where none is configured, nothing for `none`.
    pub identity_files: Vec<IdentityFile>,
    /// `KbdInteractiveAuthentication`.
    pub kbd_interactive_authentication: bool,
    /// `KexAlgorithms`.
    pub kex_algorithms: AlgorithmList,
    /// `KnownHostsCommand`: what is known of it expanded, `%f %H %I %K %t %%` left for the connection.
    pub known_hosts_command: Option<Arc<str>>,
    /// `LocalCommand`, expanded; nothing unless `PermitLocalCommand`.
    pub local_command: Option<Arc<str>>,
    /// `LocalForward`.
    pub local_forwards: Vec<Forward>,
    /// `LogLevel`.
    pub log_level: LogLevel,
    /// `MACs`.
    pub macs: AlgorithmList,
    /// `NoHostAuthenticationForLocalhost`.
    pub no_host_authentication_for_localhost: bool,
    /// `NumberOfPasswordPrompts`.
    pub number_of_password_prompts: u32,
    /// `PasswordAuthentication`.
    pub password_authentication: bool,
    /// `PermitLocalCommand`.
    pub permit_local_command: bool,
    /// `PermitRemoteOpen`, as written: destinations for SOCKS of the server's side.
    pub permit_remote_open: Vec<Arc<str>>,
    /// `PreferredAuthentications`, in order.
    pub preferred_authentications: Option<Vec<String>>,
    /// `PubkeyAcceptedAlgorithms`.
    pub pubkey_accepted_algorithms: AlgorithmList,
    /// `PubkeyAuthentication`.
    pub pubkey_authentication: bool,
    /// `RekeyLimit`.
    pub rekey_limit: RekeyLimit,
    /// `RemoteCommand`, expanded.
    pub remote_command: Option<Arc<str>>,
    /// `RemoteForward`.
    pub remote_forwards: Vec<Forward>,
    /// `RequestTTY`.
    pub request_tty: RequestTty,
    /// `RequiredRSASize`, in bits.
    pub required_rsa_size: u32,
    /// `RevokedHostKeys`, expanded.
    pub revoked_host_keys: Vec<PathBuf>,
    /// `SendEnv`: patterns of names.
    pub send_env: Vec<Arc<str>>,
    /// `ServerAliveCountMax`.
    pub server_alive_count_max: u32,
    /// `ServerAliveInterval`; zero turns it off.
    pub server_alive_interval: Option<Duration>,
    /// `SessionType`.
    pub session_type: SessionType,
    /// `SetEnv`: names and expanded values.
    pub set_env: Vec<(String, String)>,
    /// `StreamLocalBindMask`, the bits that a socket is made without.
    pub stream_local_bind_mask: u32,
    /// `StreamLocalBindUnlink`.
    pub stream_local_bind_unlink: bool,
    /// `StrictHostKeyChecking`.
    pub strict_host_key_checking: StrictHostKeyChecking,
    /// `Tag`.
    pub tag: Option<Arc<str>>,
    /// `TCPKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `UpdateHostKeys`.
    pub update_host_keys: UpdateHostKeys,
    /// `UserKnownHostsFile`, expanded.
    pub user_known_hosts_files: Vec<PathBuf>,
    /// What was chosen, for the listing.
    pub(super) chosen: Chosen,
    /// Expanded texts that only the listing needs.
    pub(super) control_path: Option<String>,
    /// `VersionAddendum`, expanded.
    pub(super) version_addendum: Option<String>,
    /// `IdentityAgent`, expanded.
    pub(super) identity_agent_text: Option<String>,
}
