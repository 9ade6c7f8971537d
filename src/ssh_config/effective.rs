//! What holds for one host in the end, and how it is made from the chosen directives.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::host::HostName;

use super::chosen::Chosen;
use super::forward::{ConnectTo, Forward, ListenAt};
use super::jump::Hop;
use super::keyword::Keyword;
use super::options::{
    AddKeysToAgent, AddressFamily, ForwardAgent, IdentityAgent, IdentityFile, LogLevel, Options, RekeyLimit,
    RequestTty, SessionType, StrictHostKeyChecking, UpdateHostKeys,
};
use super::problem::{ExpansionError, Origin};
use super::tokens::{MOST, Tokens};
use super::value::Value;

/// The files that are tried where no `IdentityFile` is configured.
pub(super) const DEFAULT_IDENTITIES: &[&str] = &[
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_mldsa44_ed25519",
];

/// The way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// A TCP connection.
    Direct,
    /// Over these hosts, in the order in which they are visited. Each has a configuration of its own.
    Jump(Arc<[Hop]>),
    /// Through the standard input and output of a command for the user's shell.
    Command {
        /// As it is written, which is the same for all hosts that the setting is for.
        written: Arc<str>,
        /// Tokens expanded.
        line: Arc<str>,
    },
}

/// Everything that holds for one host. Cheap to clone; the [`Options`] are shared between hosts.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The name that was asked for.
    pub name: HostName,
    /// The name or address to dial, in lower case, without brackets.
    pub host_name: Arc<str>,
    /// Login name.
    pub user: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// The name that host keys are known by instead, in lower case.
    pub host_key_alias: Option<Arc<str>>,
    /// The way there.
    pub proxy: Proxy,
    /// The rest.
    pub options: Arc<Options>,
    /// Where the values above were written, for those that were.
    pub(super) origins: Box<[(Keyword, Origin)]>,
    /// `ProxyCommand` or `ProxyJump` as `ssh -G` prints it.
    pub(super) proxy_text: Option<Arc<str>>,
}

impl Effective {
    /// Where the value of a keyword comes from; that of the last directive for one that accumulates.
    pub fn origin(&self, keyword: Keyword) -> Origin {
        if let Some((_, origin)) = self.origins.iter().find(|(known, _)| *known == keyword) {
            return origin.clone();
        }
        if super::chosen::differs_by_host(keyword) {
            return Origin::Default;
        }
        let chosen = &self.options.chosen;
        chosen.all(keyword).last().map_or_else(|| chosen.origin(keyword), |setting| setting.origin.clone())
    }
}

/// A value that cannot be expanded, and where it was written.
pub(super) type Unexpanded = (Origin, ExpansionError);

/// Makes the options of everything that was chosen.
pub(super) fn options(chosen: &Chosen, tokens: &Tokens<'_>) -> Result<Options, Unexpanded> {
    let at = |keyword: Keyword| move |error| (chosen.origin(keyword), error);
    let duration = |seconds: u32| Duration::from_secs(seconds.into());
    let paths = |keyword: Keyword| -> Result<Vec<PathBuf>, Unexpanded> {
        let words = chosen.words(keyword).iter();
        words.map(|path| tokens.path(path).map(PathBuf::from).map_err(at(keyword))).collect()
    };
    let optional = |keyword: Keyword, expand: &dyn Fn(&str) -> Result<String, ExpansionError>| {
        let text = chosen.text_or_none(keyword);
        text.map(|text| expand(text)).transpose().map_err(at(keyword))
    };
    let path_text = |text: &str| tokens.path(text);
    let forwards = |keyword: Keyword| -> Result<Vec<Forward>, Unexpanded> {
        if chosen.is_on(Keyword::ClearAllForwardings) {
            return Ok(Vec::new());
        }
        chosen.forwards(keyword).map(|forward| expand_forward(forward, tokens).map_err(at(keyword))).collect()
    };
    let identity_agent_text = chosen
        .text(Keyword::IdentityAgent)
        .map(|text| tokens.path(text))
        .transpose()
        .map_err(at(Keyword::IdentityAgent))?;
    let global = chosen.words(Keyword::GlobalKnownHostsFile).iter().map(|path| {
        let missing = || ExpansionError::NoSuchUser { text: path.to_string() };
        tokens.account.expand_tilde(path).map(PathBuf::from).ok_or_else(missing)
    });
    let set_env = chosen.words(Keyword::SetEnv).iter().map(|variable| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        let value = tokens.percent_dollar(value, MOST).map_err(at(Keyword::SetEnv))?;
        Ok((name.to_owned(), value))
    });
    let remote_command = optional(Keyword::RemoteCommand, &|text| tokens.percent(text, MOST))?;
    // ssh looks at the tokens only when the command is run.
    let local_command = match chosen.is_on(Keyword::PermitLocalCommand) {
        true => optional(Keyword::LocalCommand, &|text| tokens.percent(text, MOST))?,
        false => None,
    };
    let version_addendum = optional(Keyword::VersionAddendum, &|text| tokens.percent_dollar(text, MOST))?;
    let known_hosts_command = optional(Keyword::KnownHostsCommand, &|text| tokens.known_hosts_command(text))?;
    let control_path = optional(Keyword::ControlPath, &path_text)?;
    Ok(Options {
        add_keys_to_agent: add_keys_to_agent(chosen),
        address_family: address_family(chosen),
        batch_mode: chosen.is_on(Keyword::BatchMode),
        bind_address: chosen.text(Keyword::BindAddress).cloned(),
        bind_interface: chosen.text(Keyword::BindInterface).cloned(),
        ca_signature_algorithms: chosen.algorithms(Keyword::CASignatureAlgorithms),
        certificate_files: key_files(chosen, tokens, Keyword::CertificateFile)?
            .into_iter()
            .map(|key| key.path)
            .collect(),
        check_host_ip: chosen.is_on(Keyword::CheckHostIP),
        ciphers: chosen.algorithms(Keyword::Ciphers),
        clear_all_forwardings: chosen.is_on(Keyword::ClearAllForwardings),
        compression: chosen.is_on(Keyword::Compression),
        connection_attempts: chosen.number(Keyword::ConnectionAttempts),
        connect_timeout: chosen.seconds(Keyword::ConnectTimeout).map(duration),
        dynamic_forwards: forwards(Keyword::DynamicForward)?,
        escape_char: match chosen.value(Keyword::EscapeChar) {
            Some(Value::Escape(byte)) => *byte,
            _ => None,
        },
        exit_on_forward_failure: chosen.is_on(Keyword::ExitOnForwardFailure),
        forward_agent: match chosen.value(Keyword::ForwardAgent) {
            Some(Value::Choice("yes")) => ForwardAgent::Yes,
            Some(Value::Text(path)) => {
                let path = tokens.path(path).map_err(at(Keyword::ForwardAgent))?;
                ForwardAgent::Socket(agent_socket(&path, tokens).unwrap_or_default())
            }
            _ => ForwardAgent::No,
        },
        forward_x11: chosen.is_on(Keyword::ForwardX11),
        forward_x11_trusted: chosen.is_on(Keyword::ForwardX11Trusted),
        gateway_ports: chosen.is_on(Keyword::GatewayPorts),
        global_known_hosts_files: global.collect::<Result<_, _>>().map_err(at(Keyword::GlobalKnownHostsFile))?,
        hash_known_hosts: chosen.is_on(Keyword::HashKnownHosts),
        host_key_algorithms: chosen.algorithms(Keyword::HostKeyAlgorithms),
        identities_only: chosen.is_on(Keyword::IdentitiesOnly),
        identity_agent: match identity_agent_text.as_deref() {
            None | Some("SSH_AUTH_SOCK") => IdentityAgent::Environment,
            Some("none") => IdentityAgent::None,
            Some(text) => agent_socket(text, tokens).map_or(IdentityAgent::None, IdentityAgent::Socket),
        },
        identity_files: identity_files(chosen, tokens)?,
        kbd_interactive_authentication: chosen.is_on(Keyword::KbdInteractiveAuthentication),
        kex_algorithms: chosen.algorithms(Keyword::KexAlgorithms),
        known_hosts_command: known_hosts_command.map(Arc::from),
        local_command: local_command.map(Arc::from),
        local_forwards: forwards(Keyword::LocalForward)?,
        log_level: log_level(chosen),
        macs: chosen.algorithms(Keyword::MACs),
        no_host_authentication_for_localhost: chosen.is_on(Keyword::NoHostAuthenticationForLocalhost),
        number_of_password_prompts: chosen.number(Keyword::NumberOfPasswordPrompts),
        password_authentication: chosen.is_on(Keyword::PasswordAuthentication),
        permit_local_command: chosen.is_on(Keyword::PermitLocalCommand),
        permit_remote_open: match chosen.value(Keyword::PermitRemoteOpen) {
            Some(Value::Words(words)) => words.to_vec(),
            _ => Vec::new(),
        },
        preferred_authentications: chosen
            .text(Keyword::PreferredAuthentications)
            .map(|list| list.split(',').map(str::to_owned).collect()),
        pubkey_accepted_algorithms: chosen.algorithms(Keyword::PubkeyAcceptedAlgorithms),
        pubkey_authentication: chosen.is_on(Keyword::PubkeyAuthentication),
        rekey_limit: match chosen.value(Keyword::RekeyLimit) {
            Some(&Value::Rekey(bytes, seconds)) => {
                RekeyLimit { bytes: (bytes > 0).then_some(bytes), interval: (seconds > 0).then(|| duration(seconds)) }
            }
            _ => RekeyLimit::default(),
        },
        update_host_keys: update_host_keys(chosen, remote_command.is_some(), control_path.is_some()),
        remote_command: remote_command.map(Arc::from),
        remote_forwards: forwards(Keyword::RemoteForward)?,
        request_tty: match chosen.choice(Keyword::RequestTTY) {
            "true" => RequestTty::Yes,
            "false" => RequestTty::No,
            "force" => RequestTty::Force,
            _ => RequestTty::Auto,
        },
        required_rsa_size: chosen.number(Keyword::RequiredRSASize),
        revoked_host_keys: paths(Keyword::RevokedHostKeys)?,
        send_env: chosen.names_to_send().iter().map(|(name, _)| name.clone()).collect(),
        server_alive_count_max: chosen.number(Keyword::ServerAliveCountMax),
        server_alive_interval: chosen.seconds(Keyword::ServerAliveInterval).map(duration),
        session_type: match chosen.choice(Keyword::SessionType) {
            "subsystem" => SessionType::Subsystem,
            "none" => SessionType::None,
            _ => SessionType::Default,
        },
        set_env: set_env.collect::<Result<_, Unexpanded>>()?,
        stream_local_bind_mask: chosen.number(Keyword::StreamLocalBindMask),
        stream_local_bind_unlink: chosen.is_on(Keyword::StreamLocalBindUnlink),
        strict_host_key_checking: match chosen.choice(Keyword::StrictHostKeyChecking) {
            "true" => StrictHostKeyChecking::Yes,
            "false" => StrictHostKeyChecking::No,
            "accept-new" => StrictHostKeyChecking::AcceptNew,
            _ => StrictHostKeyChecking::Ask,
        },
        tag: chosen.text(Keyword::Tag).cloned(),
        tcp_keep_alive: chosen.is_on(Keyword::TCPKeepAlive),
        user_known_hosts_files: paths(Keyword::UserKnownHostsFile)?,
        chosen: chosen.clone(),
        control_path,
        version_addendum,
        identity_agent_text,
    })
}

/// The family of addresses that was chosen.
pub(super) fn address_family(chosen: &Chosen) -> AddressFamily {
    match chosen.choice(Keyword::AddressFamily) {
        "inet" => AddressFamily::Inet,
        "inet6" => AddressFamily::Inet6,
        _ => AddressFamily::Any,
    }
}

fn add_keys_to_agent(chosen: &Chosen) -> AddKeysToAgent {
    let life = |seconds: u32| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    match chosen.value(Keyword::AddKeysToAgent) {
        Some(&Value::AddKeys("true", seconds)) => AddKeysToAgent::Yes(life(seconds)),
        Some(&Value::AddKeys("confirm", seconds)) => AddKeysToAgent::Confirm(life(seconds)),
        Some(&Value::AddKeys("ask", _)) => AddKeysToAgent::Ask,
        _ => AddKeysToAgent::No,
    }
}

fn log_level(chosen: &Chosen) -> LogLevel {
    match chosen.choice(Keyword::LogLevel) {
        "QUIET" => LogLevel::Quiet,
        "FATAL" => LogLevel::Fatal,
        "ERROR" => LogLevel::Error,
        "VERBOSE" => LogLevel::Verbose,
        "DEBUG" => LogLevel::Debug,
        "DEBUG2" => LogLevel::Debug2,
        "DEBUG3" => LogLevel::Debug3,
        _ => LogLevel::Info,
    }
}

/// `UpdateHostKeys`: unset, it is on with the default file only; `ask` needs somebody to ask (ssh.c, readconf.c).
fn update_host_keys(chosen: &Chosen, has_command: bool, has_control_path: bool) -> UpdateHostKeys {
    if !chosen.is_set(Keyword::UpdateHostKeys) {
        let usual_file = match chosen.setting(Keyword::UserKnownHostsFile).map(|setting| &setting.value) {
            Some(Value::Words(files)) => matches!(&files[..], [only] if &**only == "~/.ssh/known_hosts"),
            _ => true,
        };
        let dns = chosen.is_on(Keyword::VerifyHostKeyDNS);
        return if usual_file && !dns { UpdateHostKeys::Yes } else { UpdateHostKeys::No };
    }
    let persists = chosen.text(Keyword::ControlPersist).is_some_and(|text| &**text != "no");
    let nobody_to_ask = (persists && has_control_path)
        || has_command
        || chosen.choice(Keyword::RequestTTY) == "false"
        || log_level(chosen) < LogLevel::Info;
    match chosen.choice(Keyword::UpdateHostKeys) {
        "true" => UpdateHostKeys::Yes,
        "ask" if !nobody_to_ask => UpdateHostKeys::Ask,
        _ => UpdateHostKeys::No,
    }
}

fn identity_files(chosen: &Chosen, tokens: &Tokens<'_>) -> Result<Vec<IdentityFile>, Unexpanded> {
    if chosen.all(Keyword::IdentityFile).next().is_none() {
        let default =
            |path: &&str| Some(IdentityFile { path: tokens.account.expand_tilde(path)?.into(), explicit: false });
        return Ok(DEFAULT_IDENTITIES.iter().filter_map(default).collect());
    }
    key_files(chosen, tokens, Keyword::IdentityFile)
}

/// The files of a keyword that accumulates, expanded; `none` adds nothing.
fn key_files(chosen: &Chosen, tokens: &Tokens<'_>, keyword: Keyword) -> Result<Vec<IdentityFile>, Unexpanded> {
    let mut files = Vec::new();
    for setting in chosen.all(keyword) {
        let Value::Text(path) = &setting.value else { continue };
        if !path.eq_ignore_ascii_case("none") {
            let path = tokens.path(path).map_err(|error| (setting.origin.clone(), error))?;
            files.push(IdentityFile { path: path.into(), explicit: setting.explicit });
        }
    }
    Ok(files)
}

/// The socket that a path or `$VARIABLE` names; none where the variable is not set.
fn agent_socket(text: &str, tokens: &Tokens<'_>) -> Option<PathBuf> {
    match text.strip_prefix('$') {
        Some(variable) if !variable.starts_with('{') => tokens.account.environment.get(variable).map(PathBuf::from),
        _ => Some(text.into()),
    }
}

fn expand_forward(forward: &Forward, tokens: &Tokens<'_>) -> Result<Forward, ExpansionError> {
    let mut forward = forward.clone();
    if let ListenAt::Socket(path) = &mut forward.listen {
        *path = tokens.percent(path, MOST)?;
    }
    if let ConnectTo::Socket(path) = &mut forward.connect {
        *path = tokens.percent(path, MOST)?;
    }
    Ok(forward)
}
