//! The callbacks of one connection: what russh tells us while its task runs.
//!
//! [`Client`] decides on the host key and otherwise only writes down what it hears in [`Facts`], which the code that
//! drives the connection reads. Channels that a server opens without being asked are refused.

use super::forward::AgentRelay;
use super::host_keys::{Judge, plain};
use super::tunnel::Refusals;
use super::x11::Display;
use crate::known_hosts::{Place, PublicKey};
use crate::outcome::Failure;
use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelOpenFailure, Names};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A login banner is shown once and no longer than this.
const BANNER_LIMIT: usize = 64 * 1024;

/// What was learned about a connection.
#[derive(Default)]
pub(super) struct Facts {
    known: Mutex<Known>,
    /// What is said about tunnels that are not opened.
    pub(super) refusals: Refusals,
}

#[derive(Default)]
pub(super) struct Known {
    /// The host key that was accepted, in words.
    pub(super) host_key: Option<String>,
    /// Remarks of the host key check.
    pub(super) remarks: Vec<(u8, String)>,
    /// The plain key that was accepted because a line knows it, and that line.
    pub(super) known_by: Option<(PublicKey, Place)>,
    /// The keys that the server announced after the login, where somebody wants to know.
    pub(super) announced: Option<Vec<russh::keys::PublicKey>>,
    /// Why the host key was refused.
    pub(super) refused: Option<Failure>,
    /// Key exchange, cipher and so on, in words.
    pub(super) algorithms: Option<String>,
    /// The login banner (RFC 4252 §5.4).
    pub(super) banner: String,
    /// How the connection ended.
    pub(super) ended: Option<String>,
}

impl Facts {
    pub(super) fn read(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handler of one connection.
pub(super) struct Client {
    pub(super) facts: Arc<Facts>,
    pub(super) host_key: Judge,
    /// Whether keys that the server announces are kept.
    pub(super) wants_announced: bool,
    pub(super) agent: Option<AgentRelay>,
    pub(super) display: Option<Display>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let verdict = match &self.host_key {
            Judge::Policy(check) => check.check(presented),
            Judge::Look(shown) => {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = plain(presented).ok();
                return Ok(false);
            }
        };
        let mut facts = self.facts.read();
        match verdict {
            Ok(accepted) => {
                facts.host_key = Some(accepted.description);
                facts.known_by = accepted.known_by;
                facts.remarks.extend(accepted.remarks);
                Ok(true)
            }
            Err(failure) => {
                facts.refused = Some(*failure);
                Ok(false)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _secret: Option<&[u8]>,
        names: &Names,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let mut facts = self.facts.read();
        if facts.algorithms.is_none() {
            let kex: &str = names.kex.as_ref();
            let cipher: &str = names.cipher.as_ref();
            // Without strict key exchange these ciphers can lose packets from the front (CVE-2023-48795).
            let exposed = cipher.starts_with("chacha20") || cipher.ends_with("-cbc");
            if exposed && !names.strict_kex() {
                facts.remarks.push((
                    1,
                    format!("the server lacks strict key exchange (Terrapin, CVE-2023-48795) and uses {cipher}"),
                ));
            }
            facts.algorithms = Some(format!("{kex}, {cipher}"));
        }
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), Self::Error> {
        let mut facts = self.facts.read();
        let room = BANNER_LIMIT.saturating_sub(facts.banner.len());
        let end = (0..=room.min(banner.len())).rev().find(|&end| banner.is_char_boundary(end)).unwrap_or(0);
        facts.banner.push_str(&banner[..end]);
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.facts.refusals.hand_over(description).await;
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Dropping the handle refuses the channel.
        if let Some(agent) = &self.agent {
            reply.accept().await;
            agent.relay(channel);
        }
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(display) = &self.display {
            reply.accept().await;
            display.relay(channel);
        }
        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<russh::keys::PublicKey>,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.wants_announced {
            // One rotation a connection, as with ssh.
            self.facts.read().announced.get_or_insert(keys);
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (format!("the server said: {}", info.message.trim()), Ok(())),
            DisconnectReason::Error(error) => (in_words(&error), Err(error)),
        };
        self.facts.read().ended = Some(text);
        result
    }
}

/// How a connection ended, as a person would say it.
fn in_words(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the host closed the connection".into()
        }
        russh::Error::IO(error) if error.kind() == io::ErrorKind::ConnectionReset => "the connection was reset".into(),
        russh::Error::HUP | russh::Error::Disconnect => "the host closed the connection".into(),
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => "the host no longer answers".into(),
        other => other.to_string().to_lowercase(),
    }
}
