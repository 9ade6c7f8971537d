//! Who signs a login: a private key of ours or an agent. Signing happens outside the connection's task, so that
//! RSA's milliseconds and an agent's confirmation dialog hold up one login and nothing else.

use super::AGENT_LIMIT;
use super::agent::{Agent, KeyLimits};
use ring::signature::Ed25519KeyPair;
use russh::keys::agent::{AgentIdentity, client::AgentClient};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Algorithm, HashAlg, PrivateKey, Signature};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UnixStream;

/// The holder of a private key.
#[derive(Clone)]
pub(super) enum Signer {
    /// A key in memory, and what becomes of it when it is used.
    Key(Arc<SigningKey>, Option<Arc<Gift>>),
    /// The agent that listens here.
    Agent(Arc<Path>),
}

/// Gives a key to an agent when it is used, as ssh does it (`AddKeysToAgent`): when a server has accepted it.
pub(super) struct Gift {
    agent: PathBuf,
    comment: Vec<u8>,
    limits: KeyLimits,
    is_given: AtomicBool,
}

impl Gift {
    pub(super) fn new(agent: PathBuf, comment: Vec<u8>, limits: KeyLimits) -> Self {
        Self { agent, comment, limits, is_given: AtomicBool::new(false) }
    }

    /// Gives it once. An agent that does not take a key is no reason not to log in with it.
    async fn give(self: Arc<Self>, key: Arc<SigningKey>) {
        if self.is_given.swap(true, Ordering::Relaxed) {
            return;
        }
        let giving =
            move || Agent::open(&self.agent, Some(AGENT_LIMIT))?.add_private(&key.private, &self.comment, self.limits);
        let _ = tokio::task::spawn_blocking(giving).await;
    }
}

/// A private key that is ready to sign any number of logins.
pub(super) struct SigningKey {
    private: PrivateKey,
    /// An Ed25519 key expanded once; ssh-key expands and checks it anew for each signature, which is half of its cost.
    expanded: Option<Ed25519KeyPair>,
}

impl SigningKey {
    /// Prepares a key.
    pub(super) fn new(private: PrivateKey) -> Self {
        let expanded = match private.key_data() {
            KeypairData::Ed25519(pair) => {
                Ed25519KeyPair::from_seed_and_public_key(pair.private.as_ref(), pair.public.as_ref()).ok()
            }
            _ => None,
        };
        Self { private, expanded }
    }

    /// The key itself.
    pub(super) fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// Appends the signature to the message, as the protocol wants it (RFC 4252 §7).
    fn sign(&self, hash: Option<HashAlg>, mut message: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let signed: Result<Signature, ssh_key::Error> = match (self.private.key_data(), &self.expanded) {
            (_, Some(pair)) => Signature::new(Algorithm::Ed25519, pair.sign(&message).as_ref()),
            (KeypairData::Rsa(pair), _) => (pair, hash).try_sign(&message).map_err(Into::into),
            (other, _) => other.try_sign(&message).map_err(Into::into),
        };
        let signature = signed.map_err(SignError::Key)?;
        signature.encode_prefixed(&mut message).map_err(|error| SignError::Key(error.into()))?;
        Ok(message)
    }
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("the connection ended")]
    Ended,
    #[error("cannot reach the agent at `{}`", path.display())]
    AgentUnreachable { path: PathBuf, source: std::io::Error },
    #[error("the agent refused to sign")]
    AgentRefused(#[source] russh::keys::Error),
    #[error("signing failed")]
    Key(#[source] ssh_key::Error),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Ended
    }
}

impl russh::Signer for Signer {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        if let Self::Key(key, Some(gift)) = self {
            Arc::clone(gift).give(Arc::clone(key)).await;
        }
        match self {
            Self::Agent(path) => connect_agent(path)
                .await
                .map_err(|source| SignError::AgentUnreachable { path: path.to_path_buf(), source })?
                .sign_request(identity, hash, message)
                .await
                .map_err(SignError::AgentRefused),
            Self::Key(key, _) if matches!(key.private.key_data(), KeypairData::Rsa(_)) => {
                let key = Arc::clone(key);
                tokio::task::spawn_blocking(move || key.sign(hash, message)).await.map_err(|_| SignError::Ended)?
            }
            Self::Key(key, _) => key.sign(hash, message),
        }
    }
}

/// Opens a conversation with an agent.
pub(super) async fn connect_agent(path: &Path) -> std::io::Result<AgentClient<UnixStream>> {
    Ok(AgentClient::connect(UnixStream::connect(path).await?))
}
