//! The way from a destination to a login, phase by phase, and the names of all the ways in which it fails.

use super::auth::{Credentials, LoggedIn, login};
use super::client::{Client, Facts};
use super::dial::{Addresses, closed_unheard, tcp_timeout};
use super::forward::AgentRelay;
use super::gate::Pass;
use super::host_keys::{HostKeyCheck, Judge};
use super::jump::Through;
use super::options::{Destination, LoginMethod, Profile, Route};
use super::proxy::{self, Watch};
use super::rotation::KeyUpdate;
use super::session::SESSIONS;
use super::trace::Trace;
use super::wire::{Carrier, Greeting, Monitor, Wire};
use super::{Connection, Connector, algorithms};
use crate::event::Phase;
use crate::known_hosts::{HostQuery, PublicKey};
use crate::outcome::{Code, Failure};
use russh::client::{Config, Handle};
use russh::{Limits, MethodKind, Preferred, SshId};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

/// sshd ≥ 9.8 refuses a whole address for a while once its penalties exceed this.
const PENALTY_WAIT: Duration = Duration::from_secs(15);
/// Messages that a channel buffers; a window of small packets must not be able to hold megabytes.
const CHANNEL_BUFFER: usize = 16;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub struct ConnectError {
    /// For the report.
    pub failure: Failure,
    /// Whether trying again may help.
    pub again: Again,
    /// The host key that nobody vouches for, where that is the reason.
    pub unknown_key: Option<Box<(HostQuery, PublicKey)>>,
}

/// Whether a failure may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It will not: a refused login, a wrong key, a name that does not exist.
    Never,
    /// It may: a reset, an overloaded server.
    Backoff,
    /// It may, but not before this long.
    AfterAtLeast(Duration),
}

impl ConnectError {
    pub(super) fn never(failure: Failure) -> Self {
        Self { failure, again: Again::Never, unknown_key: None }
    }

    pub(super) fn backoff(failure: Failure) -> Self {
        Self { failure, again: Again::Backoff, unknown_key: None }
    }
}

/// A failure of the system's making may pass when it is about load.
fn by_code(failure: Failure) -> ConnectError {
    match failure.code {
        Code::DnsTimeout | Code::TcpFailed | Code::PreBannerClosed | Code::LocalExhausted => {
            ConnectError::backoff(failure)
        }
        _ => ConnectError::never(failure),
    }
}

impl Connector {
    /// Connects and logs in. What happened on the way stands in `trace`, also after a failure.
    ///
    /// # Errors
    /// The reason with its code; `trace.phase` is the phase that failed.
    pub async fn connect(&self, destination: &Destination, trace: &mut Trace) -> Result<Arc<Connection>, ConnectError> {
        if let Some(error) = self.given_up.get(&destination.name) {
            return Err(error.clone());
        }
        let made = match self.way_to(destination, trace).await {
            Ok(through) => self.connect_through(destination, through, trace).await,
            Err(error) => Err(error),
        };
        made.map_err(|error| self.naming_what_learns(error))
    }

    fn naming_what_learns(&self, mut error: ConnectError) -> ConnectError {
        if let Some(line) = self.learning.as_ref().filter(|_| error.unknown_key.is_some()) {
            let further = error.failure.hint.map_or(String::new(), |hint| format!("; {hint}"));
            error.failure.hint = Some(format!("`{line}` shows it, asks and remembers it{further}"));
        }
        error
    }

    /// Connects and logs in as [`connect`](Self::connect) does, jump hosts included: none of their open connections is used.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_afresh(
        &self,
        destination: &Destination,
        trace: &mut Trace,
    ) -> Result<Arc<Connection>, ConnectError> {
        let through = match &destination.route {
            Route::Jump(hops) => Some(Box::pin(self.bastion_afresh(hops)).await?),
            Route::Direct | Route::Command(_) => None,
        };
        self.connect_through(destination, through, trace).await
    }

    /// The jump host that a host is behind, logged in to.
    pub(super) async fn way_to(
        &self,
        destination: &Destination,
        trace: &mut Trace,
    ) -> Result<Option<Through>, ConnectError> {
        match &destination.route {
            Route::Jump(hops) => {
                trace.begin(Phase::Connect);
                let through = Box::pin(self.bastion(hops)).await?;
                let names: Vec<String> = hops.iter().map(|hop| hop.endpoint.to_string()).collect();
                let hosts = if names.len() == 1 { "jump host" } else { "jump hosts" };
                trace.end(format!("the {hosts} {}", names.join(", ")));
                Ok(Some(through))
            }
            Route::Direct | Route::Command(_) => Ok(None),
        }
    }

    /// The last part of the way: from here, or from the last of the jump hosts.
    pub(super) async fn connect_through(
        &self,
        destination: &Destination,
        through: Option<Through>,
        trace: &mut Trace,
    ) -> Result<Arc<Connection>, ConnectError> {
        let mut attempt = self.attempt(destination, through, trace).await;
        let made = timeout(destination.profile.connect_timeout, attempt.log_in(trace)).await;
        let connection = attempt.ended(made, trace)?;
        // Its time is its own, as with ssh.
        if let Some(command) = &destination.profile.local_command
            && let Some(complaint) = proxy::run_local(command).await
        {
            trace.notice(0, complaint);
        }
        Ok(connection)
    }

    /// An attempt that has its place among the handshakes with its server.
    pub(super) async fn attempt<'a>(
        &'a self,
        destination: &'a Destination,
        through: Option<Through>,
        trace: &mut Trace,
    ) -> Attempt<'a> {
        trace.begin(Phase::Wait);
        let (pass, through_bastion) = match &through {
            Some(Through { bastion, .. }) => {
                // What a jump host calls an address is another server than what has it here.
                let pass = bastion.gates.enter(destination.server()).await;
                (pass, Some(Arc::clone(&bastion.gate).enter().await))
            }
            None => (self.gates.enter(destination.server()).await, None),
        };
        trace.end("a free handshake slot");
        Attempt {
            connector: self,
            destination,
            pass,
            _through_bastion: through_bastion,
            through: through.map(|through| through.connection),
            monitor: None,
            proxy: None,
            addresses: None,
            peer: None,
            facts: Arc::default(),
            unknown: Arc::default(),
        }
    }
}

/// One attempt; what it has learned survives its time-out.
pub(super) struct Attempt<'a> {
    connector: &'a Connector,
    destination: &'a Destination,
    pass: Pass,
    _through_bastion: Option<Pass>,
    through: Option<Arc<Connection>>,
    monitor: Option<Arc<Monitor>>,
    proxy: Option<Watch>,
    addresses: Option<Addresses>,
    /// The address that was connected to from here.
    peer: Option<IpAddr>,
    facts: Arc<Facts>,
    unknown: Arc<Mutex<Option<PublicKey>>>,
}

impl Attempt<'_> {
    async fn log_in(&mut self, trace: &mut Trace) -> Result<Arc<Connection>, ConnectError> {
        let profile = &self.destination.profile;
        let carrier = self.carrier(trace).await?;
        trace.begin(Phase::KeyExchange);
        let check = self.host_key_check();
        let update = KeyUpdate::of(&check, profile);
        let offer = profile.algorithms.offer(&check.known_types()).map_err(ConnectError::never)?;
        trace.notice(3, algorithms::describe(&offer));
        let mut handle = match self.exchange_keys(carrier, offer, Judge::Policy(check)).await {
            Ok(handle) => handle,
            Err(error) => return Err(self.handshake_failure(&error).await),
        };
        self.describe_key_exchange(trace);

        trace.begin(Phase::Login);
        let credentials = self.credentials();
        for (number, offer) in (1..).zip(credentials.offers.list.iter()) {
            trace.notice(3, format!("key {number}: {}", offer.describe()));
        }
        let logged_in = login(&mut handle, &self.facts, &credentials, trace).await;
        let banner = std::mem::take(&mut self.facts.read().banner);
        if !banner.trim().is_empty() {
            trace.notice(1, banner.trim_end().to_owned());
        }
        let LoggedIn { how, unattended } = logged_in.map_err(ConnectError::never)?;
        trace.end(format!("{} by {how}", self.destination.endpoint.user));
        let sessions = Arc::new(Semaphore::new(SESSIONS));
        Ok(Arc::new(Connection {
            handle,
            monitor: self.monitor.clone().expect("the key exchange went over it"),
            facts: Arc::clone(&self.facts),
            sessions,
            parted: AtomicBool::new(false),
            unattended,
            update,
            endpoint: self.destination.endpoint.clone(),
            _through: self.through.clone(),
        }))
    }

    /// Ends at the key that the server shows, one of these signature algorithms. That it holds the private half is proved.
    pub(super) async fn look(&mut self, algorithms: &[&str], trace: &mut Trace) -> Result<PublicKey, ConnectError> {
        let carrier = self.carrier(trace).await?;
        trace.begin(Phase::KeyExchange);
        let offer = self.destination.profile.algorithms.offer_for_keys(algorithms).map_err(ConnectError::never)?;
        let shown = Arc::clone(&self.unknown);
        let made = self.exchange_keys(carrier, offer, Judge::Look(Arc::clone(&shown))).await;
        if let Some(monitor) = &self.monitor {
            monitor.cut();
        }
        let key = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (key, made) {
            (Some(key), _) => Ok(key),
            (None, Err(error)) => Err(self.handshake_failure(&error).await),
            (None, Ok(_)) => Err(ConnectError::never(Failure::new(Code::KexFailed, "the server showed no key"))),
        }
    }

    async fn exchange_keys(
        &mut self,
        carrier: Carrier,
        offer: Preferred,
        judge: Judge,
    ) -> Result<Handle<Client>, russh::Error> {
        let profile = &self.destination.profile;
        let (wire, monitor) = Wire::new(carrier);
        self.monitor = Some(monitor);
        let agent = profile.forward_agent.as_deref().map(|socket| AgentRelay(socket.into()));
        let client = Client {
            facts: Arc::clone(&self.facts),
            host_key: judge,
            wants_announced: profile.update_host_keys,
            agent,
            display: profile.display.clone(),
        };
        russh::client::connect_stream(Arc::new(config(profile, offer, self.connector.window)), wire, client).await
    }

    /// What came of it, within its time or not; its places are free from here on.
    pub(super) fn ended<T>(
        self,
        made: Result<Result<T, ConnectError>, Elapsed>,
        trace: &Trace,
    ) -> Result<T, ConnectError> {
        match made {
            Ok(Ok(made)) => {
                self.pass.went_well();
                Ok(made)
            }
            Ok(Err(error)) => {
                if matches!(error.failure.code, Code::PreBannerThrottled | Code::PreBannerClosed) {
                    self.pass.throttled();
                }
                Err(self.given_up(error))
            }
            Err(_) => Err(self.given_up(self.timed_out(trace.phase))),
        }
    }

    async fn carrier(&mut self, trace: &mut Trace) -> Result<Carrier, ConnectError> {
        let endpoint = &self.destination.endpoint;
        let profile = &self.destination.profile;
        match (&self.destination.route, &self.through) {
            (_, Some(bastion)) => {
                trace.begin(Phase::Connect);
                let opened = bastion.tunnel_to(endpoint, self.untold_name()).await;
                let carrier = opened.inspect_err(|_| {
                    trace.notice(1, format!("the jump host {} was asked for {endpoint}", bastion.endpoint));
                })?;
                trace.end(format!("through {}", bastion.endpoint));
                Ok(carrier)
            }
            (Route::Command(command), None) => {
                trace.begin(Phase::Connect);
                let (carrier, watch) = proxy::start(command).map_err(ConnectError::never)?;
                self.proxy = Some(watch);
                trace.end(format!("through `{}`", command.line));
                Ok(carrier)
            }
            (_, None) => {
                trace.begin(Phase::Resolve);
                let resolver = &self.connector.resolver;
                let addresses = resolver.resolve(&endpoint.address, endpoint.port, profile.socket.family).await;
                let addresses = addresses.map_err(|failure| by_code(self.naming_the_address(failure)))?;
                let addresses = self.addresses.insert(addresses);
                trace.end(addresses.list());
                trace.begin(Phase::Connect);
                for attempt in 1.. {
                    match addresses.connect(&profile.socket).await {
                        Ok((stream, address)) => {
                            self.peer = Some(address.ip());
                            trace.end(address.to_string());
                            return Ok(Carrier::Tcp(stream));
                        }
                        Err(failure) if attempt >= profile.connection_attempts || failure.code == Code::LocalOption => {
                            return Err(by_code(failure));
                        }
                        Err(_) => sleep(Duration::from_secs(1)).await,
                    }
                }
                unreachable!("the loop returns")
            }
        }
    }

    /// The name that is called, where the user typed another one and it is no address.
    fn untold_name(&self) -> Option<&str> {
        let address = self.destination.endpoint.address.as_str();
        let is_name = address.parse::<IpAddr>().is_err();
        (is_name && address != self.destination.name.as_str()).then_some(address)
    }

    /// A name that the user did not type is told.
    fn naming_the_address(&self, mut failure: Failure) -> Failure {
        if let Some(name) = self.untold_name().filter(|_| failure.code != Code::LocalOption) {
            failure.message.push_str(&format!(" (`{name}`)"));
        }
        failure
    }

    fn host_key_check(&self) -> HostKeyCheck {
        let profile = &self.destination.profile;
        let (known, revoked) = self.connector.known_hosts.of(profile);
        let query = self.destination.host_query();
        let keys = known.lookup(&query);
        HostKeyCheck {
            query,
            keys,
            revoked,
            strictness: profile.strictness,
            asks: profile.asks_about_keys(),
            required_rsa_bits: profile.required_rsa_bits,
            ca_signatures: profile.algorithms.ca_signatures.clone(),
            record: profile.known_hosts_target(),
            learned: Arc::clone(&self.connector.learned),
            unknown: Arc::clone(&self.unknown),
            exempt: self.destination.is_exempt(self.peer),
        }
    }

    fn credentials(&self) -> Credentials {
        let profile = &self.destination.profile;
        Credentials {
            user: self.destination.endpoint.user.clone(),
            methods: profile.methods.iter().map(|&method| method_kind(method)).collect(),
            offers: self.connector.keyring.offers(&profile.keys).chosen(&self.destination.choice),
            password: self.destination.password.clone(),
            sealed_password: self.destination.sealed_password,
            required_rsa_bits: profile.required_rsa_bits,
            rsa_hashes: profile.algorithms.rsa_hashes(),
        }
    }

    fn describe_key_exchange(&self, trace: &mut Trace) {
        let version = self.greeting().version().unwrap_or_default();
        let mut facts = self.facts.read();
        let host_key = facts.host_key.as_deref().unwrap_or("unknown");
        let algorithms = facts.algorithms.as_deref().unwrap_or("unknown");
        trace.end(format!("{version}; {algorithms}; host key {host_key}"));
        for (level, remark) in std::mem::take(&mut facts.remarks) {
            trace.notice(level, remark);
        }
    }

    fn greeting(&self) -> Greeting {
        self.monitor.as_ref().map(|monitor| monitor.greeting()).unwrap_or_default()
    }

    /// Ends what a failed attempt leaves behind: russh's task would keep a stalled socket for ever.
    fn given_up(&self, error: ConnectError) -> ConnectError {
        if let Some(monitor) = &self.monitor {
            monitor.cut();
        }
        error
    }

    async fn handshake_failure(&self, error: &russh::Error) -> ConnectError {
        if let Some(refused) = self.facts.read().refused.take() {
            let key = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).take();
            let unknown_key = key.map(|key| Box::new((self.destination.host_query(), key)));
            return ConnectError { failure: refused, again: Again::Never, unknown_key };
        }
        if let russh::Error::NoCommonAlgo { kind, ours, theirs } = error {
            return ConnectError::never(algorithms::no_common(kind, ours, theirs));
        }
        let greeting = self.greeting();
        if !greeting.identified {
            return self.before_banner(&greeting).await;
        }
        if let Some(version) = greeting.foreign_version() {
            let failure = Failure::new(Code::PreBannerNotSsh, format!("the server speaks `{version}`, not SSH 2.0"));
            return ConnectError::never(failure.hint("its SSH server is too old for any client of today: upgrade it"));
        }
        let ended = self.facts.read().ended.clone();
        let version = greeting.version().unwrap_or_default();
        let reason = match (error, ended) {
            (russh::Error::IO(error), _) => error.to_string(),
            (_, Some(text)) => text,
            (other, None) => other.to_string(),
        };
        let failure = Failure::new(
            Code::KexFailed,
            format!("the key exchange with {version} broke off: {}", reason.trim_end_matches('.')),
        );
        match error {
            // The peer went away; anything else is a breach of the protocol and will happen again.
            russh::Error::IO(_) | russh::Error::HUP | russh::Error::Disconnect => ConnectError::backoff(failure),
            _ => ConnectError::never(failure),
        }
    }

    /// The server ended the connection before it named itself. sshd says why in a line of its own, which SSH clients
    /// usually throw away.
    async fn before_banner(&self, greeting: &Greeting) -> ConnectError {
        let endpoint = &self.destination.endpoint;
        let text = String::from_utf8_lossy(&greeting.bytes);
        let text = text.trim();
        if text.contains("Not allowed at this time") {
            let failure = Failure::new(Code::PreBannerThrottled, "the server refuses this address for a while (`Not allowed at this time`)")
                .hint("earlier failed logins or probes were held against it (PerSourcePenalties, MaxStartups): wait, or exempt this address in its sshd_config");
            return ConnectError { failure, again: Again::AfterAtLeast(PENALTY_WAIT), unknown_key: None };
        }
        if text.contains("Exceeded MaxStartups") {
            let failure = Failure::new(
                Code::PreBannerThrottled,
                "the server has too many logins under way (`Exceeded MaxStartups`)",
            )
            .hint("lower --fanout for hosts behind one address, or raise MaxStartups in its sshd_config");
            return ConnectError::backoff(failure);
        }
        if let Some(proxy) = &self.proxy {
            return ConnectError::never(match text.is_empty() {
                true => proxy.ended_early().await,
                false => proxy.not_ssh(&greeting.bytes),
            });
        }
        if !text.is_empty() {
            let line = text.lines().next().unwrap_or_default();
            let shown: String = line.chars().take(80).collect();
            return ConnectError::never(
                Failure::new(
                    Code::PreBannerNotSsh,
                    format!("what answers on port {} does not speak SSH: it says `{shown}`", endpoint.port),
                )
                .hint("is this the right port? -o Port=N, or `ansible_port` in the inventory"),
            );
        }
        ConnectError::backoff(closed_unheard())
    }

    fn timed_out(&self, phase: Phase) -> ConnectError {
        let limit = crate::duration::human(self.destination.profile.connect_timeout);
        let endpoint = &self.destination.endpoint;
        let greeting = self.greeting();
        ConnectError::never(match phase {
            Phase::Resolve => Failure::new(Code::DnsTimeout, format!("no answer to the lookup of the host name in {limit}"))
                .hint("check the name servers in /etc/resolv.conf"),
            Phase::Wait | Phase::Connect => match &self.addresses {
                Some(addresses) => addresses.unanswered(&limit),
                None => {
                    let mut failure = tcp_timeout(endpoint.port);
                    failure.message.push_str(&format!(" in {limit}"));
                    failure
                }
            },
            Phase::KeyExchange if !greeting.identified => {
                if let Some(proxy) = &self.proxy {
                    return ConnectError::never(proxy.silent(&limit, &greeting.bytes));
                }
                let said = if greeting.bytes.is_empty() { "said nothing" } else { "did not finish its version line" };
                Failure::new(Code::PreBannerTimeout, format!("connected to port {}, but it {said} in {limit}", endpoint.port))
                    .hint("is that port really sshd's? an overloaded or hung host looks like this too")
            }
            Phase::KeyExchange => Failure::new(Code::KexTimeout, format!("the key exchange did not end in {limit}"))
                .hint("a path that drops large packets (MTU) does this; so does an overloaded host"),
            Phase::Login | Phase::Open | Phase::Work => Failure::new(Code::AuthTimeout, format!("the login did not end in {limit}"))
                .hint("slow PAM or DNS on the host (UseDNS no), or a key that waits for its confirmation; --connect-timeout gives more time"),
        })
    }
}

fn config(profile: &Profile, preferred: Preferred, window_size: u32) -> Config {
    let mut limits = Limits::default();
    if let Some(bytes) = profile.rekey_bytes {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(limits.rekey_write_limit);
        limits.rekey_write_limit = bytes;
        limits.rekey_read_limit = bytes;
    }
    if let Some(time) = profile.rekey_time {
        limits.rekey_time_limit = time;
    }
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-bugle_", env!("CARGO_PKG_VERSION")))),
        limits,
        window_size,
        maximum_packet_size: 32 * 1024,
        channel_buffer_size: CHANNEL_BUFFER,
        preferred,
        // The socket is ours: its options are set where it is made. Stalls are ended by the deadline and the monitor.
        inactivity_timeout: None,
        keepalive_interval: profile.alive_interval,
        keepalive_max: profile.alive_count,
        ..Config::default()
    }
}

fn method_kind(method: LoginMethod) -> MethodKind {
    match method {
        LoginMethod::PublicKey => MethodKind::PublicKey,
        LoginMethod::KeyboardInteractive => MethodKind::KeyboardInteractive,
        LoginMethod::Password => MethodKind::Password,
    }
}
