//! From selected hosts to destinations: inventory variables over ssh_config over defaults, the command line over all.
//!
//! Everything that can be wrong about a host is found here, for all hosts at once, before anything is contacted. What the
//! variables say is read in [`super::variables`].

use super::failure::Failed;
use super::sources::{COMMAND_LINE, Known};
use super::variables::{InventoryReach, Mistakes, inventory_reach};
use crate::connection::algorithms::{self, Algorithms};
use crate::connection::{
    AddToAgent, Configured, Confirm, Destination, Display, Family, IdentitiesOnly, KeyChoice, KeySources, LoginMethod,
    Profile, ProxyCommand, Route, SocketOptions, Strictness,
};
use crate::host::Endpoint;
use crate::inventory::{ConnectionVariables, HostIndex};
use crate::secret::Secret;
use crate::selection::{Origin, Selected};
use crate::ssh_config::{
    self, AddKeysToAgent, AddressFamily, Effective, ForwardAgent, IdentityAgent, Keyword, Layer, Options, Proxy,
    Request, Role, StrictHostKeyChecking, UpdateHostKeys,
};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What connect, key exchange and login may take where nothing else is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a silent server is asked whether it lives, where nothing is configured.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Problems that are told; a fleet of thousands can have the same one thousands of times.
const PROBLEMS_SHOWN: usize = 20;

/// A host that is ready to be called.
pub(super) struct Reached {
    pub(super) destination: Destination,
    pub(super) variables: ConnectionVariables,
}

/// Turns hosts into destinations; hosts with the same configuration share their profile.
pub(super) struct Reach<'a> {
    known: &'a Known,
    connect_timeout: Option<Duration>,
    password: Option<Secret>,
    profiles: HashMap<(usize, bool), (Arc<Options>, Arc<Profile>)>,
    remarks: BTreeSet<Remark>,
    warnings: Vec<Failed>,
}

/// Something about the configuration, and from which verbosity on it is told.
pub(super) type Remark = (u8, String);

impl<'a> Reach<'a> {
    pub(super) fn new(known: &'a Known, connect_timeout: Option<Duration>, password: Option<Secret>) -> Self {
        Self {
            known,
            connect_timeout,
            password,
            profiles: HashMap::new(),
            remarks: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }

    /// Every host of a selection.
    ///
    /// # Errors
    /// All problems of all hosts together.
    pub(super) fn all(&mut self, hosts: &[Selected], command: Option<&str>) -> Result<Vec<Reached>, Failed> {
        let (mut mistakes, mut warnings) = (Mistakes::default(), Mistakes::default());
        let mut problems = Vec::new();
        let mut reached = Vec::with_capacity(hosts.len());
        for host in hosts {
            let mut inventory = match &host.origin {
                Origin::Inventory(index) => inventory_reach(self.known, HostIndex::new(*index)),
                Origin::Implicit(_) => InventoryReach::default(),
            };
            if !inventory.errors.is_empty() {
                mistakes.add(host.name.as_str(), inventory.errors);
                continue;
            }
            warnings.add(host.name.as_str(), std::mem::take(&mut inventory.warnings));
            match self.one(host, inventory, command) {
                Ok(host) => reached.push(host),
                Err(failed) => problems.push(failed),
            }
        }
        problems.splice(0..0, mistakes.failures(&self.known.inventory));
        self.warnings.extend(warnings.failures(&self.known.inventory));
        if problems.is_empty() { Ok(reached) } else { Err(Failed::several(problems, PROBLEMS_SHOWN)) }
    }

    /// What variables say about reaching hosts and is left out, so that they are reached in another way.
    pub(super) fn warnings(&mut self) -> impl Iterator<Item = Failed> {
        self.warnings.drain(..)
    }

    /// What should be told about the configuration, once each.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &Remark> {
        self.remarks.iter()
    }

    fn one(&mut self, host: &Selected, inventory: InventoryReach, command: Option<&str>) -> Result<Reached, Failed> {
        let name = match &host.origin {
            Origin::Inventory(index) => self.known.inventory.host_name(HostIndex::new(*index)),
            Origin::Implicit(name) => name,
        };
        self.remarks.extend(inventory.remarks.iter().map(|remark| (1, remark.to_string())));
        let layers: Vec<Arc<Layer>> = inventory.layers.into_iter().map(Arc::new).collect();
        let written = Login::of(name.as_str());
        let request = Request {
            host: written.host,
            user: host.user.as_deref().or(written.user),
            port: host.port.or(written.port),
            layers: &layers,
            command,
            role: Role::Target,
        };
        let route = self.known.ssh_config.route(&request)?;
        // What is typed is for all hosts; a host that has its own is the exception, as with Ansible's --ask-pass.
        let password = inventory.variables.password.clone().or_else(|| self.password.clone());
        let mut destination = self.destination(&route.target, password);
        destination.name = host.name.clone();
        destination.sealed_password = inventory.variables.sealed_password;
        if !route.hops.is_empty() {
            destination.route = Route::Jump(route.hops.iter().map(|hop| self.destination(hop, None)).collect());
        }
        Ok(Reached { destination, variables: inventory.variables })
    }

    fn destination(&mut self, effective: &Effective, password: Option<Secret>) -> Destination {
        Destination {
            name: effective.name.clone(),
            endpoint: Endpoint {
                user: effective.user.to_string(),
                address: effective.host_name.to_string(),
                port: effective.port,
            },
            route: match &effective.proxy {
                Proxy::Command { written, line } => {
                    Route::Command(ProxyCommand { written: Arc::clone(written), line: line.to_string() })
                }
                Proxy::Direct | Proxy::Jump(_) => Route::Direct,
            },
            profile: self.profile(effective),
            host_key_alias: effective.host_key_alias.as_ref().map(ToString::to_string),
            password,
            sealed_password: None,
            choice: KeyChoice::All,
        }
    }

    fn profile(&mut self, effective: &Effective) -> Arc<Profile> {
        let may_forward = was_typed(effective, Keyword::ForwardAgent);
        let key = (Arc::as_ptr(&effective.options) as usize, may_forward);
        if let Some((_, profile)) = self.profiles.get(&key) {
            return Arc::clone(profile);
        }
        let profile = Arc::new(self.make_profile(effective, may_forward));
        // The options are kept so that their address stays theirs.
        self.profiles.insert(key, (Arc::clone(&effective.options), Arc::clone(&profile)));
        profile
    }

    fn make_profile(&mut self, effective: &Effective, may_forward: bool) -> Profile {
        let options = &*effective.options;
        self.remark(effective, may_forward);
        let agent = agent_socket(&options.identity_agent, self.known);
        let alive = options.server_alive_interval.unwrap_or(ALIVE_INTERVAL);
        let alive_interval = (!alive.is_zero()).then_some(alive);
        let count = options.server_alive_count_max.max(1);
        let is_stronger = self.known.connect_timeout_is_typed || !was_typed(effective, Keyword::ConnectTimeout);
        let flag = self.connect_timeout.filter(|_| is_stronger);
        Profile {
            socket: SocketOptions {
                family: match options.address_family {
                    AddressFamily::Any => Family::Any,
                    AddressFamily::Inet => Family::Inet,
                    AddressFamily::Inet6 => Family::Inet6,
                },
                bind_address: options.bind_address.as_ref().map(ToString::to_string),
                bind_interface: options.bind_interface.as_ref().map(ToString::to_string),
                keepalive: options.tcp_keep_alive,
                user_timeout: alive_interval.map(|interval| interval * count),
            },
            connect_timeout: match flag.or(options.connect_timeout) {
                // `ConnectTimeout 0` is no limit, as with ssh.
                Some(Duration::ZERO) => Duration::MAX,
                limit => limit.unwrap_or(CONNECT_TIMEOUT),
            },
            connection_attempts: options.connection_attempts,
            alive_interval,
            alive_count: count as usize,
            algorithms: algorithms(options).into(),
            rekey_bytes: options.rekey_limit.bytes,
            rekey_time: options.rekey_limit.interval,
            strictness: match options.strict_host_key_checking {
                StrictHostKeyChecking::Yes => Strictness::Yes,
                StrictHostKeyChecking::Ask => Strictness::Ask,
                StrictHostKeyChecking::AcceptNew => Strictness::AcceptNew,
                StrictHostKeyChecking::No => Strictness::No,
            },
            trust_localhost: options.no_host_authentication_for_localhost,
            user_known_hosts: options.user_known_hosts_files.clone(),
            global_known_hosts: options.global_known_hosts_files.clone(),
            required_rsa_bits: options.required_rsa_size,
            revoked_host_keys: options.revoked_host_keys.clone(),
            hash_known_hosts: options.hash_known_hosts,
            update_host_keys: options.update_host_keys == UpdateHostKeys::Yes,
            keys: KeySources {
                identity_files: options.identity_files.iter().map(|file| file.path.clone()).collect(),
                configured: if options.identity_files.iter().any(|file| file.explicit) {
                    Configured::Yes
                } else {
                    Configured::No
                },
                certificate_files: options.certificate_files.clone(),
                identities_only: if options.identities_only { IdentitiesOnly::Yes } else { IdentitiesOnly::No },
                agent: agent.clone(),
                prompts: options.number_of_password_prompts,
                add_to_agent: match options.add_keys_to_agent {
                    AddKeysToAgent::No => AddToAgent::No,
                    AddKeysToAgent::Ask => AddToAgent::Ask,
                    AddKeysToAgent::Yes(time) => AddToAgent::Yes { lifetime: time.map(seconds), confirm: Confirm::No },
                    AddKeysToAgent::Confirm(time) => {
                        AddToAgent::Yes { lifetime: time.map(seconds), confirm: Confirm::Yes }
                    }
                },
            },
            methods: methods(options),
            batch_mode: options.batch_mode,
            forward_agent: match (&options.forward_agent, may_forward) {
                (ForwardAgent::Yes, true) => agent,
                (ForwardAgent::Socket(socket), true) => Some(socket.clone()),
                _ => None,
            },
            display: self.display(effective),
            local_command: was_typed(effective, Keyword::PermitLocalCommand)
                .then(|| options.local_command.as_ref().map(ToString::to_string))
                .flatten(),
            environment: environment(options, &self.known.ssh_config.account().environment),
        }
    }

    /// The display, where the command line asks to forward it; why it cannot be is told.
    fn display(&mut self, effective: &Effective) -> Option<Display> {
        if !effective.options.forward_x11 || !was_typed(effective, Keyword::ForwardX11) {
            return None;
        }
        let name = self.known.ssh_config.account().environment.get("DISPLAY").cloned().unwrap_or_default();
        match Display::of(&name) {
            Ok(display) => Some(display),
            Err(error) => {
                self.remarks.insert((0, format!("no X11 forwarding: {error}")));
                None
            }
        }
    }

    /// Settings that a fleet does not follow, each told once.
    fn remark(&mut self, effective: &Effective, may_forward: bool) {
        let options = &*effective.options;
        let mut ignored = |keyword: Keyword, why: &str| {
            let origin = effective.origin(keyword);
            self.remarks.insert((1, format!("{origin}: {} is left out: {why}", keyword.name())));
        };
        if options.forward_agent != ForwardAgent::No && !may_forward {
            ignored(Keyword::ForwardAgent, "a fleet is lent the agent only by -o ForwardAgent=yes on the command line");
        }
        if options.forward_x11 && !was_typed(effective, Keyword::ForwardX11) {
            ignored(Keyword::ForwardX11, "a fleet opens windows only by -o ForwardX11=yes on the command line");
        }
        if options.local_command.is_some() && !was_typed(effective, Keyword::PermitLocalCommand) {
            ignored(
                Keyword::LocalCommand,
                "for a fleet it is run only by -o PermitLocalCommand=yes on the command line",
            );
        }
        if options.update_host_keys == UpdateHostKeys::Ask {
            ignored(Keyword::UpdateHostKeys, "nobody is asked in the middle of a run; `yes` learns the keys");
        }
        if options.remote_command.is_some() {
            ignored(Keyword::RemoteCommand, "the command is given on the command line");
        }
        for (list, name) in algorithms(options).unimplemented() {
            self.remarks.insert((1, format!("{list}: bugle does not implement `{name}` and does not offer it")));
        }
    }
}

/// A host as lists of other tools have it, `[user@]host[:port]`. In an inventory, as in Ansible's, all of it is the name.
pub(super) struct Login<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Login<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        let Some((user, rest)) = name.rsplit_once('@') else { return Self { user: None, host: name, port: None } };
        let port = rest.split_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match port {
            Some((host, port)) => Self { user: Some(user), host, port: Some(port) },
            None => Self { user: Some(user), host: rest, port: None },
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn was_typed(effective: &Effective, keyword: Keyword) -> bool {
    matches!(effective.origin(keyword), ssh_config::Origin::Label(label) if &*label == COMMAND_LINE)
}

fn agent_socket(agent: &IdentityAgent, known: &Known) -> Option<PathBuf> {
    match agent {
        IdentityAgent::None => None,
        IdentityAgent::Socket(socket) => Some(socket.clone()),
        IdentityAgent::Environment => {
            let environment = &known.ssh_config.account().environment;
            environment.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
        }
    }
}

/// Methods in the order of `PreferredAuthentications`, without those that are switched off.
fn methods(options: &Options) -> Vec<LoginMethod> {
    let is_on = |method: &LoginMethod| match method {
        LoginMethod::PublicKey => options.pubkey_authentication,
        LoginMethod::KeyboardInteractive => options.kbd_interactive_authentication,
        LoginMethod::Password => options.password_authentication,
    };
    let preferred: Vec<LoginMethod> = match &options.preferred_authentications {
        Some(names) => names
            .iter()
            .filter_map(|name| LoginMethod::ALL.into_iter().find(|method| method.as_str() == name))
            .collect(),
        None => LoginMethod::ALL.to_vec(),
    };
    preferred.into_iter().filter(is_on).collect()
}

fn algorithms(options: &Options) -> Algorithms {
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    Algorithms {
        kex: owned(options.kex_algorithms.apply(algorithms::KEX, algorithms::KEX)),
        ciphers: owned(options.ciphers.apply(algorithms::CIPHERS, algorithms::CIPHERS)),
        macs: owned(options.macs.apply(algorithms::MACS, algorithms::MACS)),
        host_keys: owned(options.host_key_algorithms.apply(algorithms::HOST_KEYS, algorithms::HOST_KEYS)),
        pubkeys: owned(options.pubkey_accepted_algorithms.apply(algorithms::PUBKEYS, algorithms::PUBKEYS)),
        ca_signatures: owned(options.ca_signature_algorithms.apply(algorithms::PUBKEYS, algorithms::PUBKEYS)),
        compression: options.compression,
    }
}

/// `SendEnv` from our environment, then `SetEnv` over it.
fn environment(options: &Options, ours: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    let sent =
        ours.iter().filter(|(name, _)| options.send_env.iter().any(|pattern| ssh_config::matches(name, pattern)));
    let set = |name: &str| options.set_env.iter().any(|(known, _)| known == name);
    let mut all: Vec<_> =
        sent.filter(|(name, _)| !set(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    all.extend(options.set_env.iter().cloned());
    all
}
