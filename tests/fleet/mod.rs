//! Servers to call: a [`Fleet`] of SSH servers inside this process, well behaved or not, each on a loopback address of
//! its own, and real OpenSSH and Dropbear servers ([`openssh`]).
//!
//! A fleet has its own threads, so tests, benches and the example use it with or without a runtime. It needs neither
//! root nor a container; commands really run, as the user of this process. Everything it writes (inventory, known_hosts,
//! keys, an ssh_config) is in a temporary directory that goes with it.

// Every user of this folder uses another part of it.
#![allow(dead_code, unused_imports)]

mod behaviour;
mod blueprint;
mod doors;
mod folder;
mod host;
pub mod keys;
mod line;
mod oddity;
pub mod openssh;
mod process;
mod reception;
pub mod relay;
mod server;
pub mod sftp_daemon;
mod sftp_files;
mod sftp_server;
pub mod tmpfs;
pub mod trees;

pub use behaviour::{Behaviour, Certified, Cut, Exec, Forwarding, HostKey, Login, Reception};
pub use blueprint::pattern;
pub use folder::folder;
pub use host::{Counts, Files, Host};
pub use oddity::{Answer, Oddity, PLANTED, Transit, When};

use blueprint::Blueprint;
use doors::{Door, Prop};
use host::Crowd;
use keys::Claim;
use relay::Relay;
use russh::keys::{Certificate, PrivateKey};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Who logs in.
pub const USER: &str = "deploy";
/// With which password, where it is not by key.
pub const PASSWORD: &str = "correct horse";

/// The first host's address; the others follow it.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);

/// A fleet of SSH servers; they end when it is dropped.
pub struct Fleet {
    hosts: Vec<Arc<Host>>,
    crowd: Arc<Crowd>,
    directory: TempDir,
    user_authority: PrivateKey,
    relays: HashMap<String, Relay>,
    runtime: Option<Runtime>,
    /// Sockets that only have to exist.
    _props: Vec<Prop>,
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
        let members: Vec<(String, Behaviour)> =
            members.into_iter().map(|(name, behaviour)| (name.into(), behaviour)).collect();
        let runtime = runtime(2);
        let (port, doors) = doors::open(&runtime, &members).expect("loopback addresses can be listened on");
        let address = |index: usize| SocketAddr::new(address(index), port);
        let mut plan = Blueprint::new();
        for (index, (name, behaviour)) in members.into_iter().enumerate() {
            plan.add(name, address(index), behaviour, keys::generate("host"));
        }
        let (mut fleet, registry) = plan.build(runtime);
        for (host, door) in fleet.hosts.iter().zip(doors) {
            match door {
                Door::Closed(prop) => fleet._props.push(prop),
                Door::Listener(mut listener) => {
                    if !host.behaviour.cables.is_empty() {
                        let relay = relayed(fleet.runtime(), &mut listener, host);
                        fleet.relays.insert(host.name.clone(), relay);
                    }
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
        let listener = {
            let _context = runtime.enter();
            doors::listen((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a port is free")
        };
        let port = listener.local_addr().expect("it is bound").port();
        let key = keys::generate("host");
        let mut plan = Blueprint::new();
        for index in 0..count {
            let exec = Exec::Answer("Linux 6.1.0\nhello from a light fleet\n");
            let behaviour = Behaviour { exec, sftp: None, ..Behaviour::default() };
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

    /// The relay in front of a host whose behaviour has cables.
    ///
    /// # Panics
    /// When it has none.
    pub fn relay(&self, name: &str) -> &Relay {
        self.relays.get(name).unwrap_or_else(|| panic!("there is no relay in front of `{name}`"))
    }

    /// The most handshakes that there ever were at once, over all hosts.
    pub fn most_handshakes(&self) -> usize {
        self.crowd.most()
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
        if let Some(runtime) = self.runtime.take() {
            // Also from inside another runtime, where waiting is not allowed.
            runtime.shutdown_background();
        }
        let ran_commands = |host: &&Arc<Host>| !host.commands().is_empty() && host.behaviour.exec == Exec::Shell;
        self.hosts.iter().filter(ran_commands).for_each(|host| process::sweep(host.address));
    }
}

fn runtime(threads: usize) -> Runtime {
    let built =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("fleet").enable_all().build();
    built.expect("the system has threads")
}

/// Puts a relay where a host listens, and the host behind it.
fn relayed(runtime: &Runtime, listener: &mut TcpListener, host: &Host) -> Relay {
    let _context = runtime.enter();
    let behind = doors::listen((host.address.ip(), 0).into()).expect("a port is free");
    let server = behind.local_addr().expect("it is bound");
    let front = std::mem::replace(listener, behind);
    Relay::spawn(runtime, front, server, host.behaviour.cables.iter().copied())
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
