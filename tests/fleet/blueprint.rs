//! A fleet on paper: hosts, their keys and servers' settings, and the files that a caller needs to find them.

use super::behaviour::{Behaviour, Certified, Exec, HostKey};
use super::host::{Crowd, Host};
use super::keys::{self, ALWAYS, Claim};
use super::oddity::Oddity;
use super::server::{self, Registry};
use super::sftp_server;
use super::{Fleet, USER};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A fleet before its files are written.
pub(super) struct Blueprint {
    directory: TempDir,
    host_authority: PrivateKey,
    hosts: Vec<Arc<Host>>,
    crowd: Arc<Crowd>,
    configs: HashMap<String, Arc<russh::server::Config>>,
    known: String,
}

impl Blueprint {
    pub(super) fn new() -> Self {
        Self {
            directory: super::folder("fleet."),
            host_authority: keys::generate("host authority"),
            hosts: Vec::new(),
            crowd: Arc::default(),
            configs: HashMap::new(),
            known: String::new(),
        }
    }

    pub(super) fn add(&mut self, name: String, address: SocketAddr, behaviour: Behaviour, key: PrivateKey) {
        let mut host = Host::new(name, address, behaviour, key.public_key().clone(), &self.crowd);
        for oddity in host.behaviour.sftp.iter().flatten() {
            if let Oddity::Answer(request, ..) = oddity {
                assert!(sftp_server::is_request(request), "SFTP has no request `{request}`");
            }
        }
        if host.behaviour.exec == Exec::Shell || host.behaviour.sftp.is_some() {
            host.home = self.directory.path().join("home").join(&host.name);
            fs::create_dir_all(&host.home).expect("the directory can be written");
        }
        self.remember(&host);
        let certificate = certificate(&self.host_authority, &host);
        self.configs.insert(host.name.clone(), Arc::new(server::config(&host, key, certificate)));
        self.hosts.push(Arc::new(host));
    }

    /// What known_hosts says of a host.
    fn remember(&mut self, host: &Host) {
        let pattern = pattern(host);
        let own = keys::line(&host.key);
        let written = match host.behaviour.host_key {
            HostKey::Unknown => Ok(()),
            HostKey::Known => writeln!(self.known, "{pattern} {own}"),
            HostKey::Changed => writeln!(self.known, "{pattern} {}", keys::line(keys::generate("former").public_key())),
            HostKey::Revoked => writeln!(self.known, "{pattern} {own}\n@revoked {pattern} {own}"),
            HostKey::Certified(_) => {
                writeln!(self.known, "@cert-authority {pattern} {}", keys::line(self.host_authority.public_key()))
            }
        };
        written.expect("a String takes everything");
    }

    pub(super) fn build(mut self, runtime: Runtime) -> (Fleet, Arc<Registry>) {
        let directory = self.directory.path();
        let user_key = keys::generate("fleet");
        let user_authority = keys::generate("user authority");
        let certified = keys::generate("certified");
        keys::write(&directory.join("id_ed25519"), &user_key);
        keys::write(&directory.join("certified"), &certified);
        let claim = Claim { kind: CertType::User, principals: &[USER], valid: ALWAYS, sources: None };
        let certificate = keys::certify(&user_authority, certified.public_key(), &claim);
        let certificate = certificate.to_openssh().expect("a certificate has a text form");
        let files = [
            ("certified-cert.pub", certificate),
            ("known_hosts", self.known.clone()),
            ("inventory.ini", inventory(&self.hosts)),
            ("ssh_config", ssh_config(directory)),
        ];
        for (name, text) in files {
            fs::write(directory.join(name), text).expect("the directory can be written");
        }
        let registry = Registry {
            user_key: user_key.public_key().clone(),
            certified_key: certified.public_key().clone(),
            authority: user_authority.public_key().clone(),
            configs: std::mem::take(&mut self.configs),
            names: self.hosts.iter().map(|host| (host.name.clone(), host.address)).collect(),
        };
        let Self { hosts, crowd, directory, .. } = self;
        let fleet = Fleet {
            hosts,
            crowd,
            directory,
            user_authority,
            relays: HashMap::new(),
            runtime: Some(runtime),
            _props: Vec::new(),
        };
        (fleet, Arc::new(registry))
    }
}

/// The name of a host in known_hosts.
pub fn pattern(host: &Host) -> String {
    format!("[{}]:{}", host.address.ip(), host.address.port())
}

fn certificate(authority: &PrivateKey, host: &Host) -> Option<Certificate> {
    let HostKey::Certified(how) = host.behaviour.host_key else { return None };
    let own = host.address.ip().to_string();
    let kind = if how == Certified::AsUser { CertType::User } else { CertType::Host };
    let name = if how == Certified::ForAnotherName { "elsewhere.example.com" } else { &own };
    let valid = if how == Certified::InThePast { 1..2 } else { ALWAYS };
    Some(keys::certify(authority, &host.key, &Claim { kind, principals: &[name], valid, sources: None }))
}

fn inventory(hosts: &[Arc<Host>]) -> String {
    let mut groups: Vec<(&str, String)> = Vec::new();
    for host in hosts {
        let group = host.name.trim_end_matches(|character: char| character.is_ascii_digit());
        let line = format!("{} ansible_host={} ansible_port={}\n", host.name, host.address.ip(), host.address.port());
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, lines)) => lines.push_str(&line),
            None => groups.push((group, line)),
        }
    }
    let group = |(name, lines): &(&str, String)| {
        // A group may not be called as its only host is.
        if hosts.iter().any(|host| host.name == *name) { lines.clone() } else { format!("[{name}]\n{lines}\n") }
    };
    // Hosts without a group come first, or they would be in the last one.
    groups.sort_by_key(|(name, _)| !hosts.iter().any(|host| host.name == *name));
    groups.iter().map(group).collect()
}

fn ssh_config(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "Host *\n  User {USER}\n  IdentityFile {directory}/id_ed25519\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile {directory}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
    )
}
