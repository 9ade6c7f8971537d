//! Servers to call: a [`Fleet`] of SSH servers inside this process, well behaved or not, each on a loopback address of
//! its own, and real OpenSSH and Dropbear servers ([`openssh`]).
//!
//! A fleet has its own threads, so tests, benches and the example use it with or without a runtime. It needs neither
//! root nor a container; commands really run, as the user of this process. Everything it writes (inventory, known_hosts,
//! keys, an ssh_config) is in a temporary directory that goes with it.

// Every user of this folder uses another part of it.
#![allow(dead_code, unused_imports)]

mod behaviour;
mod host;
pub mod keys;
mod line;
pub mod openssh;
mod process;
mod reception;
mod server;

pub use behaviour::{Behaviour, Certified, Cut, Exec, Forwarding, HostKey, Login, Reception};
pub use host::{Counts, Host};

use keys::{ALWAYS, Claim};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey};
use server::Registry;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// Who logs in.
pub const USER: &str = "deploy";
/// With which password, where it is not by key.
pub const PASSWORD: &str = "correct horse";

/// The first host's address; the others follow it.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Ports that are tried until one is free on all addresses.
const PORT_TRIES: usize = 50;

/// A fleet of SSH servers; they end when it is dropped.
pub struct Fleet {
    hosts: Vec<Arc<Host>>,
    directory: TempDir,
    user_authority: PrivateKey,
    runtime: Option<Runtime>,
    /// Sockets that only have to exist.
    _props: Vec<Prop>,
}

enum Prop {
    /// Its port is taken and nobody listens.
    Bound(TcpSocket),
    /// Its queue is full, so that nobody gets in.
    Full(TcpListener, TcpStream),
}

/// What listens for a host.
enum Door {
    Listener(TcpListener),
    Closed(Prop),
}

impl Fleet {
    /// So many well-behaved hosts: `web01`, `web02`, …, and every third one a `db`.
    pub fn start(count: usize) -> Self {
        let (mut webs, mut databases) = (0, 0);
        let names = (1..=count).map(|number| {
            let (group, place) = if number % 3 == 0 { ("db", &mut databases) } else { ("web", &mut webs) };
            *place += 1;
            format!("{group}{place:02}")
        });
        Self::of(names.map(|name| (name, Behaviour::default())))
    }

    /// One host, called `host`.
    pub fn one(behaviour: Behaviour) -> Self {
        Self::of([("host", behaviour)])
    }

    /// Hosts by name.
    ///
    /// # Panics
    /// When this machine does not let us listen or write.
    pub fn of(members: impl IntoIterator<Item = (impl Into<String>, Behaviour)>) -> Self {
        let members: Vec<(String, Behaviour)> = members.into_iter().map(|(name, behaviour)| (name.into(), behaviour)).collect();
        let runtime = runtime(2);
        let (port, doors) = runtime.block_on(open_doors(&members)).expect("loopback addresses can be listened on");
        let address = |index: usize| SocketAddr::new(address(index), port);
        let mut plan = Blueprint::new();
        for (index, (name, behaviour)) in members.into_iter().enumerate() {
            plan.add(name, address(index), behaviour, keys::generate("host"));
        }
        let (fleet, registry) = plan.build(runtime);
        let mut fleet = fleet;
        for (host, door) in fleet.hosts.iter().zip(doors) {
            match door {
                Door::Closed(prop) => fleet._props.push(prop),
                Door::Listener(listener) => {
                    let (host, registry) = (Arc::clone(host), Arc::clone(&registry));
                    fleet.runtime().spawn(async move {
                        while let Ok((stream, _)) = listener.accept().await {
                            tokio::spawn(reception::receive(Arc::clone(&host), stream, Arc::clone(&registry)));
                        }
                    });
                }
            }
        }
        fleet
    }

    /// As many hosts as one process can bear, for benches: one listener for all their addresses, one host key, and
    /// commands that answer without being started.
    ///
    /// # Panics
    /// When this machine does not let us listen or write.
    pub fn light(count: usize, threads: usize) -> Self {
        let runtime = runtime(threads);
        // All of 127.0.0.0/8 without ten thousand sockets; callers from elsewhere are turned away below.
        let listener = runtime.block_on(async { listen((Ipv4Addr::UNSPECIFIED, 0).into()) }).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let key = keys::generate("host");
        let mut plan = Blueprint::new();
        for index in 0..count {
            let behaviour = Behaviour::executing(Exec::Answer("Linux 6.1.0\nhello from a light fleet\n"));
            plan.add(format!("host{:05}", index + 1), SocketAddr::new(address(index), port), behaviour, key.clone());
        }
        let (fleet, registry) = plan.build(runtime);
        let hosts = fleet.hosts.clone();
        fleet.runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = stream.local_addr().ok().and_then(|local| hosts.get(index(local.ip())?));
                if let Some(host) = host {
                    tokio::spawn(reception::receive(Arc::clone(host), stream, Arc::clone(&registry)));
                }
            }
        });
        fleet
    }

    /// The hosts, in order.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// The host of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn host(&self, name: &str) -> &Arc<Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.unwrap_or_else(|| panic!("the fleet has no host `{name}`"))
    }

    /// The directory of everything that the fleet wrote.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The inventory: names, addresses and groups, in Ansible's INI form.
    pub fn inventory(&self) -> PathBuf {
        self.directory().join("inventory.ini")
    }

    /// The ssh_config that says how to log in, and that nothing of the user's own is looked at.
    pub fn ssh_config(&self) -> PathBuf {
        self.directory().join("ssh_config")
    }

    /// The host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory().join("known_hosts")
    }

    /// The private key that logs in; `.pub` beside it.
    pub fn key(&self) -> PathBuf {
        self.directory().join("id_ed25519")
    }

    /// A private key that logs in only with the certificate beside it, `-cert.pub`.
    pub fn certified_key(&self) -> PathBuf {
        self.directory().join("certified")
    }

    /// A certificate of the authority that all hosts trust.
    pub fn certify_user(&self, key: &russh::keys::PublicKey, claim: &Claim<'_>) -> Certificate {
        keys::certify(&self.user_authority, key, claim)
    }

    /// The options with which `bugle` finds this fleet: `-i … -F …`.
    pub fn arguments(&self) -> Vec<std::ffi::OsString> {
        vec!["-i".into(), self.inventory().into(), "-F".into(), self.ssh_config().into()]
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only by drop")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| host.kill_all());
        if let Some(runtime) = self.runtime.take() {
            // Also from inside another runtime, where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

fn runtime(threads: usize) -> Runtime {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("fleet").enable_all().build();
    built.expect("the system has threads")
}

fn address(index: usize) -> IpAddr {
    let index = u32::try_from(index).expect("127.0.0.0/8 has room for fewer");
    Ipv4Addr::from_bits(FIRST + index).into()
}

/// The place of an address in the fleet.
fn index(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(address) => usize::try_from(address.to_bits().checked_sub(FIRST)?).ok(),
        IpAddr::V6(_) => None,
    }
}

/// Opens all doors on one port, so that failures of many hosts read the same.
async fn open_doors(members: &[(String, Behaviour)]) -> io::Result<(u16, Vec<Door>)> {
    let mut last = io::Error::other("no member");
    for _ in 0..PORT_TRIES {
        // Held while the others are opened on its port.
        let first = TcpListener::bind((Ipv4Addr::new(127, 0, 255, 1), 0)).await?;
        let port = first.local_addr()?.port();
        let mut doors = Vec::with_capacity(members.len());
        for (index, (_, behaviour)) in members.iter().enumerate() {
            doors.push(open_door(SocketAddr::new(address(index), port), behaviour.reception).await);
        }
        match doors.into_iter().collect::<io::Result<Vec<_>>>() {
            Ok(doors) => return Ok((port, doors)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open_door(address: SocketAddr, reception: Reception) -> io::Result<Door> {
    match reception {
        Reception::Absent => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            Ok(Door::Closed(Prop::Bound(socket)))
        }
        Reception::Deaf => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            // A queue of none has room for one; the next caller's SYN is dropped.
            let listener = socket.listen(0)?;
            let filler = TcpStream::connect(address).await?;
            Ok(Door::Closed(Prop::Full(listener, filler)))
        }
        _ => Ok(Door::Listener(listen(address)?)),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A fleet before its files are written.
struct Blueprint {
    directory: TempDir,
    host_authority: PrivateKey,
    hosts: Vec<Arc<Host>>,
    configs: HashMap<String, Arc<russh::server::Config>>,
    known: String,
}

impl Blueprint {
    fn new() -> Self {
        Self {
            directory: tempfile::Builder::new().prefix("fleet.").tempdir().expect("there is room for temporary files"),
            host_authority: keys::generate("host authority"),
            hosts: Vec::new(),
            configs: HashMap::new(),
            known: String::new(),
        }
    }

    fn add(&mut self, name: String, address: SocketAddr, behaviour: Behaviour, key: PrivateKey) {
        let home = match behaviour.exec {
            Exec::Shell => {
                let home = self.directory.path().join("home").join(&name);
                fs::create_dir_all(&home).expect("the directory can be written");
                home
            }
            _ => self.directory.path().to_owned(),
        };
        let host = Host::new(name, address, behaviour, key.public_key().clone(), home);
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

    fn build(self, runtime: Runtime) -> (Fleet, Arc<Registry>) {
        let directory = self.directory.path();
        let user_key = keys::generate("fleet");
        let user_authority = keys::generate("user authority");
        let certified = keys::generate("certified");
        keys::write(&directory.join("id_ed25519"), &user_key);
        keys::write(&directory.join("certified"), &certified);
        let claim = Claim { kind: CertType::User, principals: &[USER], valid: ALWAYS };
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
            configs: self.configs,
            names: self.hosts.iter().map(|host| (host.name.clone(), host.address)).collect(),
        };
        let fleet =
            Fleet { hosts: self.hosts, directory: self.directory, user_authority, runtime: Some(runtime), _props: Vec::new() };
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
    Some(keys::certify(authority, &host.key, &Claim { kind, principals: &[name], valid }))
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
