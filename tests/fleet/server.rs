//! The SSH server of a host, on russh's server side: logins, sessions and tunnels as the host's behaviour has them.

use super::behaviour::{Exec, Forwarding, HostKey, Login};
use super::host::{Host, Sitting, Visit};
use super::line::Line;
use super::process::{self, Place, Session, Setup};
use super::{PASSWORD, USER, sftp_server};
use russh::keys::{Certificate, PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Response, VerifiedPublicKey,
};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelWriteHalf, MethodKind, MethodSet};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What all hosts of a fleet know.
pub(super) struct Registry {
    /// The key that logs in.
    pub(super) user_key: PublicKey,
    /// A key that logs in by its certificate only.
    pub(super) certified_key: PublicKey,
    /// Certificates of this authority log in too.
    pub(super) authority: PublicKey,
    /// The servers' settings, by host name.
    pub(super) configs: HashMap<String, Arc<Config>>,
    /// Names that jump hosts resolve.
    pub(super) names: HashMap<String, SocketAddr>,
}

/// The settings of a host's server.
pub(super) fn config(host: &Host, key: PrivateKey, certificate: Option<Certificate>) -> Config {
    let behaviour = &host.behaviour;
    let certified = matches!(behaviour.host_key, HostKey::Certified(_));
    Config {
        methods: taken(behaviour.login, 0),
        auth_rejection_time: Duration::ZERO,
        keys: vec![key],
        certificates: certificate.filter(|_| certified).into_iter().collect(),
        preferred: behaviour.algorithms.clone(),
        max_auth_attempts: match behaviour.login {
            Login::NobodyFor(tries) => tries,
            _ => 0,
        },
        inactivity_timeout: None,
        ..Config::default()
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(visit: Visit, line: Line, ends: Ends, registry: Arc<Registry>) {
    let Some(config) = registry.configs.get(&visit.host.name).cloned() else { return };
    let server = Server { visit, ends, registry, passed: 0, sessions: Arc::default() };
    // How a connection ends is what the other side is tested for.
    if let Ok(session) = russh::server::run_stream(config, line, server).await {
        let _ = session.await;
    }
}

struct Server {
    visit: Visit,
    ends: Ends,
    registry: Arc<Registry>,
    /// Steps of a chain of methods that are done.
    passed: usize,
    /// One reference for each session that is open.
    sessions: Arc<()>,
}

/// The methods that a login takes after so many steps.
fn taken(login: Login, passed: usize) -> MethodSet {
    let methods: &[MethodKind] = match &login {
        Login::ByAny | Login::Everybody | Login::Stalls => {
            &[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive]
        }
        Login::Only(method) => std::slice::from_ref(method),
        Login::Chain(steps) => &steps[passed..=passed],
        Login::Nobody | Login::NobodyFor(_) => &[MethodKind::PublicKey, MethodKind::Password],
        Login::TwoQuestions => &[MethodKind::KeyboardInteractive],
    };
    MethodSet::from(methods)
}

impl Server {
    fn login(&self) -> Login {
        self.visit.host.behaviour.login
    }

    fn refuse(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(taken(self.login(), self.passed)), partial_success: false }
    }

    fn takes(&self, method: MethodKind) -> bool {
        let refuses_all = matches!(self.login(), Login::Nobody | Login::NobodyFor(_));
        !refuses_all && taken(self.login(), self.passed).contains(&method)
    }

    /// One method was tried, with the right credentials or not.
    fn tried(&mut self, method: MethodKind, user: &str, fits: bool) -> Auth {
        if user != USER || !fits || !self.takes(method) {
            return self.refuse();
        }
        self.passed += 1;
        match self.login() {
            Login::Chain(steps) if self.passed < steps.len() => {
                Auth::Reject { proceed_with_methods: Some(taken(self.login(), self.passed)), partial_success: true }
            }
            _ => Auth::Accept,
        }
    }

    fn is_authorized(&self, key: &PublicKey) -> bool {
        key.key_data() == self.registry.user_key.key_data()
    }

    async fn stall(&self) {
        if self.login() == Login::Stalls {
            std::future::pending::<()>().await;
        }
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.visit.host.behaviour.banner.map(str::to_owned))
    }

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        self.stall().await;
        Ok(if self.login() == Login::Everybody { Auth::Accept } else { self.refuse() })
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.visit.host.count(|counts| counts.passwords += 1);
        self.stall().await;
        Ok(self.tried(MethodKind::Password, user, password == PASSWORD))
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        self.visit.host.count(|counts| counts.offers += 1);
        self.stall().await;
        // A certificate is offered by the key inside of it; whether it holds is judged with the signature.
        let key = offer.public_key;
        let may_be = self.is_authorized(key) || key.key_data() == self.registry.certified_key.key_data();
        Ok(if user == USER && may_be && self.takes(MethodKind::PublicKey) { Auth::Accept } else { self.refuse() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let fits = self.is_authorized(key.public_key);
        Ok(self.tried(MethodKind::PublicKey, user, fits))
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Self::Error> {
        let ours = certificate.signature_key() == self.registry.authority.key_data();
        let fits = ours && certificate.valid_principals().iter().any(|name| name == user);
        Ok(self.tried(MethodKind::PublicKey, user, fits))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let question: (Cow<'static, str>, bool) = ("Password: ".into(), false);
        let questions = match self.login() {
            Login::TwoQuestions => vec![question, ("Code: ".into(), false)],
            _ => vec![question],
        };
        let Some(answers) = response else {
            return Ok(if self.takes(MethodKind::KeyboardInteractive) {
                Auth::Partial { name: "".into(), instructions: "".into(), prompts: questions.into() }
            } else {
                self.refuse()
            });
        };
        let answers: Vec<_> = answers.collect();
        let fits = matches!(answers.as_slice(), [password] if password == PASSWORD.as_bytes());
        self.visit.host.count(|counts| counts.passwords += 1);
        Ok(self.tried(MethodKind::KeyboardInteractive, user, fits))
    }

    async fn auth_succeeded(&mut self, _session: &mut russh::server::Session) -> Result<(), Self::Error> {
        self.visit.logged_in();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        let host = &self.visit.host;
        if Arc::strong_count(&self.sessions) > host.behaviour.max_sessions {
            // What sshd answers past MaxSessions.
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        if !host.behaviour.opening.is_zero() {
            tokio::time::sleep(host.behaviour.opening).await;
        }
        reply.accept().await;
        let place = Place { _of_the_connection: Arc::clone(&self.sessions), _of_the_host: Sitting::begin(host) };
        let (host, ends, handle) = (Arc::clone(host), self.ends, session.handle());
        let (reader, writer) = channel.split();
        let opened = Session { reader, writer, handle, place };
        tokio::spawn(async move { attend(opened, &host, ends).await });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        if self.visit.host.behaviour.forwarding == Forwarding::Prohibited {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        self.visit.host.count(|counts| counts.tunnels += 1);
        let named = self.registry.names.get(host_to_connect).copied();
        let address = named
            .or_else(|| Some(SocketAddr::new(host_to_connect.parse().ok()?, u16::try_from(port_to_connect).ok()?)));
        // Not here: other channels of this connection go on meanwhile.
        tokio::spawn(async move {
            let connected = match address {
                Some(address) => TcpStream::connect(address).await.ok(),
                None => None,
            };
            let Some(mut far) = connected else { return reply.reject(ChannelOpenFailure::ConnectFailed).await };
            let _ = far.set_nodelay(true);
            reply.accept().await;
            let mut near = channel.into_stream();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        Ok(())
    }

    async fn agent_request(
        &mut self,
        _channel: russh::ChannelId,
        _session: &mut russh::server::Session,
    ) -> Result<bool, Self::Error> {
        self.visit.host.count(|counts| counts.agent_requests += 1);
        Ok(true)
    }
}

/// A session channel from its opening to its end.
async fn attend(mut session: Session, host: &Arc<Host>, ends: Ends) {
    let (id, handle) = (session.writer.id(), session.handle.clone());
    let mut setup = Setup::default();
    while let Some(message) = session.reader.wait().await {
        match message {
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                setup.environment.push((variable_name, variable_value));
                let _ = handle.channel_success(id).await;
            }
            ChannelMsg::RequestPty { term, .. } => {
                setup.terminal = Some(term);
                let _ = handle.channel_success(id).await;
            }
            ChannelMsg::RequestSubsystem { name, .. } if name == "sftp" && host.behaviour.sftp.is_some() => {
                let oddities = host.behaviour.sftp.clone().unwrap_or_default();
                return sftp_server::serve(session, host, &oddities).await;
            }
            ChannelMsg::RequestShell { .. } | ChannelMsg::RequestSubsystem { .. } => {
                let _ = handle.channel_failure(id).await;
            }
            ChannelMsg::Exec { command, .. } => {
                host.asked(&command);
                return execute(session, host, ends, &setup, &command).await;
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

async fn execute(session: Session, host: &Arc<Host>, ends: Ends, setup: &Setup, command: &[u8]) {
    let exec = host.behaviour.exec;
    let id = session.writer.id();
    if exec == Exec::Shell {
        return process::run(session, host, ends, setup, command).await;
    }
    let Session { mut reader, writer, handle, place } = session;
    // A caller who is gone by now has no use for the rest.
    let played = play(exec, &writer, &handle, host).await;
    drop(place);
    if played == Ok(Then::Close) {
        let _ = handle.close(id).await;
    }
    while !matches!(reader.wait().await, Some(ChannelMsg::Close) | None) {}
}

/// What follows a command that was played.
#[derive(PartialEq, Eq)]
enum Then {
    Close,
    Nothing,
}

/// Plays what a command would do, without one.
async fn play(exec: Exec, writer: &ChannelWriteHalf<Msg>, handle: &Handle, host: &Host) -> Result<Then, ()> {
    let id = writer.id();
    if exec == Exec::Refused {
        handle.channel_failure(id).await?;
        return Ok(Then::Close);
    }
    handle.channel_success(id).await?;
    match exec {
        Exec::Answer(text) => {
            writer.data_bytes(text.as_bytes()).await.map_err(drop)?;
            handle.eof(id).await?;
            handle.exit_status_request(id, 0).await?;
        }
        Exec::NoStatus => handle.eof(id).await?,
        Exec::Cut(how) => {
            writer.data_bytes(&b"begun\n"[..]).await.map_err(drop)?;
            // A question that the client answers with no, and only once it has read what came before.
            let _ = handle.channel_open_agent().await;
            host.cut(how);
            return Ok(Then::Nothing);
        }
        Exec::LateStderr => {
            writer.data_bytes(&b"out\n"[..]).await.map_err(drop)?;
            handle.eof(id).await?;
            handle.extended_data(id, 1, &b"late\n"[..]).await.map_err(drop)?;
            handle.exit_status_request(id, 3).await?;
        }
        Exec::Shell | Exec::Refused => {}
    }
    Ok(Then::Close)
}
