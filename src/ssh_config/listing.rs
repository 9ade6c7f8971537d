//! The effective configuration as lines, in the form and order of `ssh -G`.

use std::path::Path;
use std::sync::Arc;

use super::algorithm::AlgorithmList;
use super::effective::{DEFAULT_IDENTITIES, Effective};
use super::forward::Forward;
use super::keyword::{KEYWORDS, Keyword};
use super::options::{ForwardAgent, UpdateHostKeys};
use super::problem::Origin;
use super::value::Value;

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The keyword.
    pub keyword: Keyword,
    /// The value as `ssh -G` prints it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// `keyword value`, as `ssh -G` has it.
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.keyword {
            // The one name that OpenSSH prints with a capital.
            Keyword::CanonicalizePermittedCNAMEs => "canonicalizePermittedcnames".to_owned(),
            other => other.name().to_ascii_lowercase(),
        };
        write!(f, "{name} {}", self.value)
    }
}

/// The algorithms that a client would offer without a configuration, for the listing to apply modifiers to.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfferedAlgorithms<'a> {
    /// `Ciphers`.
    pub ciphers: &'a [&'a str],
    /// `MACs`.
    pub macs: &'a [&'a str],
    /// `KexAlgorithms`.
    pub kex: &'a [&'a str],
    /// `HostKeyAlgorithms`.
    pub host_keys: &'a [&'a str],
    /// `PubkeyAcceptedAlgorithms`.
    pub public_keys: &'a [&'a str],
    /// `CASignatureAlgorithms`.
    pub ca_signatures: &'a [&'a str],
}

impl Effective {
    /// The lines that `ssh -G` prints, each with the place that its value comes from. Lists of algorithms that the
    /// configuration leaves alone are left out where `offered` has none for them; a modifier of an empty list is shown as
    /// written.
    pub fn lines(&self, offered: &OfferedAlgorithms<'_>) -> Vec<Line> {
        let mut lines = Vec::new();
        for row in KEYWORDS {
            let keyword = row.keyword;
            let origin = self.origin(keyword);
            let mut add = |value: String, origin: &Origin| {
                lines.push(Line { keyword, value, origin: origin.clone() });
            };
            match keyword {
                Keyword::IdentityFile | Keyword::CertificateFile => {
                    for setting in self.options.chosen.all(keyword) {
                        if let Value::Text(path) = &setting.value {
                            add(path.to_string(), &setting.origin);
                        }
                    }
                    if keyword == Keyword::IdentityFile && origin == Origin::Default {
                        for path in DEFAULT_IDENTITIES {
                            add((*path).to_owned(), &origin);
                        }
                    }
                }
                Keyword::LocalForward | Keyword::RemoteForward | Keyword::DynamicForward => {
                    let forwards = self.forwards(keyword);
                    for (forward, setting) in forwards.iter().zip(self.options.chosen.all(keyword)) {
                        let value = match keyword {
                            Keyword::DynamicForward => forward.listen.to_string(),
                            _ => format!("{} {}", forward.listen, forward.connect),
                        };
                        add(value, &setting.origin);
                    }
                }
                Keyword::SendEnv => {
                    for (name, origin) in self.options.chosen.names_to_send() {
                        add(name.to_string(), origin);
                    }
                }
                Keyword::SetEnv => {
                    for (name, value) in &self.options.set_env {
                        add(format!("{name}={value}"), &origin);
                    }
                }
                _ => {
                    if let Some(value) = self.single(keyword, offered) {
                        add(value, &origin);
                    }
                }
            }
        }
        lines
    }

    fn forwards(&self, keyword: Keyword) -> &[Forward] {
        match keyword {
            Keyword::LocalForward => &self.options.local_forwards,
            Keyword::RemoteForward => &self.options.remote_forwards,
            _ => &self.options.dynamic_forwards,
        }
    }

    /// The value of a keyword that has one line.
    fn single(&self, keyword: Keyword, offered: &OfferedAlgorithms<'_>) -> Option<String> {
        let options = &self.options;
        let chosen = &options.chosen;
        let paths = |paths: &[std::path::PathBuf]| {
            let shown = paths.iter().map(|path| path.display().to_string());
            one_line(&shown.collect::<Vec<_>>())
        };
        match keyword {
            Keyword::Host => Some(self.name.to_string()),
            Keyword::User => Some(self.user.to_string()),
            Keyword::HostName => Some(self.host_name.to_string()),
            Keyword::Port => Some(self.port.to_string()),
            Keyword::HostKeyAlias => self.host_key_alias.as_ref().map(Arc::to_string),
            Keyword::ProxyJump => {
                self.proxy_text.as_ref().filter(|_| matches!(self.proxy, super::Proxy::Jump(_))).map(Arc::to_string)
            }
            Keyword::ProxyCommand => self
                .proxy_text
                .as_ref()
                .filter(|_| matches!(self.proxy, super::Proxy::Command { .. }))
                .map(Arc::to_string),
            Keyword::Ciphers => algorithms(&options.ciphers, offered.ciphers),
            Keyword::MACs => algorithms(&options.macs, offered.macs),
            Keyword::KexAlgorithms => algorithms(&options.kex_algorithms, offered.kex),
            Keyword::HostKeyAlgorithms => algorithms(&options.host_key_algorithms, offered.host_keys),
            Keyword::PubkeyAcceptedAlgorithms => algorithms(&options.pubkey_accepted_algorithms, offered.public_keys),
            Keyword::CASignatureAlgorithms => algorithms(&options.ca_signature_algorithms, offered.ca_signatures),
            Keyword::HostbasedAcceptedAlgorithms => algorithms(&chosen.algorithms(keyword), &[]),
            Keyword::UpdateHostKeys => Some(
                match options.update_host_keys {
                    UpdateHostKeys::Yes => "true",
                    UpdateHostKeys::No => "false",
                    UpdateHostKeys::Ask => "ask",
                }
                .to_owned(),
            ),
            Keyword::ControlPath => options.control_path.clone(),
            Keyword::VersionAddendum => options.version_addendum.clone(),
            Keyword::IdentityAgent => options.identity_agent_text.clone(),
            Keyword::RemoteCommand => options.remote_command.as_ref().map(Arc::to_string),
            Keyword::ProxyUseFdpass if matches!(self.proxy, super::Proxy::Jump(_)) => Some("no".to_owned()),
            Keyword::Tunnel if options.clear_all_forwardings => Some("false".to_owned()),
            Keyword::UserKnownHostsFile => Some(paths(&options.user_known_hosts_files)),
            Keyword::RevokedHostKeys => Some(paths(&options.revoked_host_keys)),
            Keyword::ForwardAgent => Some(match &options.forward_agent {
                ForwardAgent::No => "no".to_owned(),
                ForwardAgent::Yes => "yes".to_owned(),
                ForwardAgent::Socket(path) => socket_as_written(path, chosen.text(keyword)),
            }),
            // Printed as written: the only list of files that OpenSSH expands later.
            Keyword::GlobalKnownHostsFile
            | Keyword::CanonicalDomains
            | Keyword::CanonicalizePermittedCNAMEs
            | Keyword::ChannelTimeout
            | Keyword::LogVerbose => Some(one_line(chosen.words(keyword))),
            Keyword::LocalCommand
            | Keyword::KnownHostsCommand
            | Keyword::PKCS11Provider
            | Keyword::SecurityKeyProvider => chosen.text_or_none(keyword).map(Arc::to_string),
            Keyword::StreamLocalBindMask => Some(format!("0{:o}", options.stream_local_bind_mask)),
            Keyword::ServerAliveInterval => Some(chosen.seconds(keyword).unwrap_or(0).to_string()),
            _ => chosen.value(keyword).and_then(printed),
        }
    }
}

/// A value in the form that needs no knowledge of its keyword.
fn printed(value: &Value) -> Option<String> {
    Some(match value {
        Value::Choice(word) => (*word).to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Seconds(None) => "none".to_owned(),
        Value::Seconds(Some(seconds)) => seconds.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Words(words) => one_line(words),
        Value::AddKeys(word, 0) => (*word).to_owned(),
        Value::AddKeys("confirm", lifetime) => format!("confirm {lifetime}"),
        Value::AddKeys(_, lifetime) => lifetime.to_string(),
        Value::Rekey(bytes, seconds) => format!("{bytes} {seconds}"),
        Value::Escape(None) => "none".to_owned(),
        Value::Escape(Some(byte)) => visible(*byte),
        Value::Forward(_) | Value::Jump(_) | Value::Algorithms(_) => return None,
    })
}

fn one_line<S: AsRef<str>>(words: &[S]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

fn algorithms(list: &AlgorithmList, offered: &[&str]) -> Option<String> {
    match list {
        AlgorithmList::Default if offered.is_empty() => None,
        AlgorithmList::Default => Some(offered.join(",")),
        AlgorithmList::Replace(_) => Some(list.to_string()),
        _ if offered.is_empty() => Some(list.to_string()),
        _ => Some(list.apply(offered, offered).join(",")),
    }
}

/// A socket of `ForwardAgent`: `$VARIABLE` is printed as written.
fn socket_as_written(path: &Path, written: Option<&Arc<str>>) -> String {
    match written {
        Some(text) if text.starts_with('$') && !text.starts_with("${") => text.to_string(),
        _ => path.display().to_string(),
    }
}

/// A byte as vis(3) shows it.
fn visible(byte: u8) -> String {
    match byte {
        b'!'..=b'~' => char::from(byte).to_string(),
        0x7f => "\\^?".to_owned(),
        0..=0x1f => format!("\\^{}", char::from(byte + 64)),
        b' ' => "\\040".to_owned(),
        _ => format!("\\{byte:03o}"),
    }
}
