//! What is kept in an ssh-agent: listing, adding and removing keys (draft-ietf-sshm-ssh-agent, PROTOCOL.agent).
//!
//! The main type is [`Agent`]. It blocks its thread and asks nobody. Signing with an agent is [`signer`](super::signer)'s:
//! russh does it; but russh lists no keys of types that it does not know, and adds neither comments nor certificates.

use super::key_file::KeyFile;
use super::keyring::Confirm;
use crate::known_hosts::PublicKey;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::{EcdsaKeypair, KeypairData};
use russh::keys::{Certificate, PrivateKey};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const ADD_IDENTITY: u8 = 17;
const REMOVE_IDENTITY: u8 = 18;
const REMOVE_ALL_IDENTITIES: u8 = 19;
const ADD_IDENTITY_CONSTRAINED: u8 = 25;
const CONSTRAIN_LIFETIME: u8 = 1;
const CONSTRAIN_CONFIRM: u8 = 2;
const CONSTRAIN_EXTENSION: u8 = 255;
/// Who talks to a security key, and OpenSSH's own code for it (`sshkey_is_sk` in ssh-add.c).
const SECURITY_KEY_PROVIDER: (&str, &str) = ("sk-provider@openssh.com", "internal");
/// The longest answer (`MAX_AGENT_REPLY_LEN` in authfd.c).
const LONGEST: usize = 256 * 1024;

/// A conversation with an agent.
pub struct Agent {
    stream: UnixStream,
}

/// A key that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The key, or the certificate.
    pub key: PublicKey,
    /// What it was added as.
    pub comment: String,
}

/// For how long and how freely an agent uses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// Seconds until it forgets the key.
    pub lifetime: Option<u32>,
    /// Whether it asks before each use.
    pub confirm: Confirm,
}

/// Why an agent did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nobody listens there.
    #[error("cannot reach the agent at `{}`", path.display())]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent does not answer")]
    Lost(#[source] io::Error),
    /// It said no.
    #[error("the agent refused")]
    Refused,
    /// It said something that is not in the protocol.
    #[error("the agent's answer makes no sense")]
    Answer,
    /// The key or its certificate is of a type that cannot be sent.
    #[error("keys of type `{0}` cannot be given to an agent")]
    Type(String),
    /// The key is locked.
    #[error("the key file `{}` is locked", .0.display())]
    Locked(PathBuf),
}

impl AgentError {
    /// Whether there is no agent to talk to, rather than one that says no.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost(_) | Self::Answer)
    }
}

impl Agent {
    /// Begins a conversation. Where `patience` is given, each answer has to come in this time; an agent that asks a person
    /// first takes longer.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(socket: &Path, patience: Option<Duration>) -> Result<Self, AgentError> {
        let unreachable = |source| AgentError::Unreachable { path: socket.into(), source };
        let stream = UnixStream::connect(socket).map_err(unreachable)?;
        stream.set_read_timeout(patience).map_err(unreachable)?;
        Ok(Self { stream })
    }

    /// The keys that it holds, in its order.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn list(&mut self) -> Result<Vec<Held>, AgentError> {
        let answer = self.ask(&message(REQUEST_IDENTITIES))?;
        match answer.split_first() {
            Some((&IDENTITIES_ANSWER, rest)) => identities(rest).ok_or(AgentError::Answer),
            Some(_) => Err(AgentError::Refused),
            None => Err(AgentError::Answer),
        }
    }

    /// Gives it a key that was unlocked.
    ///
    /// # Errors
    /// Where it does not take it.
    pub fn add(&mut self, file: &KeyFile, limits: KeyLimits) -> Result<(), AgentError> {
        let private = file.private().ok_or_else(|| AgentError::Locked(file.path().into()))?;
        self.add_private(private, &comment(file), limits)
    }

    /// Gives it a key under a comment.
    pub(super) fn add_private(
        &mut self,
        private: &PrivateKey,
        comment: &[u8],
        limits: KeyLimits,
    ) -> Result<(), AgentError> {
        self.give(&plain(private)?, private, comment, limits)
    }

    /// Gives it the certificate of a key that was unlocked, and the key with it.
    ///
    /// # Errors
    /// Where it does not take it.
    pub fn add_certificate(
        &mut self,
        file: &KeyFile,
        certificate: &Certificate,
        limits: KeyLimits,
    ) -> Result<(), AgentError> {
        let private = file.private().ok_or_else(|| AgentError::Locked(file.path().into()))?;
        self.give(&certified(private, certificate)?, private, &comment(file), limits)
    }

    /// Makes it forget a key or a certificate.
    ///
    /// # Errors
    /// Where it does not hold it.
    pub fn remove(&mut self, key: &PublicKey) -> Result<(), AgentError> {
        let mut request = message(REMOVE_IDENTITY);
        put_string(&mut request, key.blob());
        self.order(&request)
    }

    /// Makes it forget all keys.
    ///
    /// # Errors
    /// Where it does not.
    pub fn remove_all(&mut self) -> Result<(), AgentError> {
        self.order(&message(REMOVE_ALL_IDENTITIES))
    }

    fn give(
        &mut self,
        identity: &[u8],
        private: &PrivateKey,
        comment: &[u8],
        limits: KeyLimits,
    ) -> Result<(), AgentError> {
        let mut constraints = Vec::new();
        if let Some(seconds) = limits.lifetime {
            constraints.push(CONSTRAIN_LIFETIME);
            constraints.extend_from_slice(&seconds.to_be_bytes());
        }
        if limits.confirm == Confirm::Yes {
            constraints.push(CONSTRAIN_CONFIRM);
        }
        if matches!(private.key_data(), KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_)) {
            let (name, provider) = SECURITY_KEY_PROVIDER;
            constraints.push(CONSTRAIN_EXTENSION);
            put_string(&mut constraints, name.as_bytes());
            put_string(&mut constraints, provider.as_bytes());
        }
        let mut request = message(if constraints.is_empty() { ADD_IDENTITY } else { ADD_IDENTITY_CONSTRAINED });
        request.extend_from_slice(identity);
        put_string(&mut request, comment);
        request.extend_from_slice(&constraints);
        self.order(&request)
    }

    fn order(&mut self, request: &[u8]) -> Result<(), AgentError> {
        match self.ask(request)?.first() {
            Some(&SUCCESS) => Ok(()),
            Some(_) => Err(AgentError::Refused),
            None => Err(AgentError::Answer),
        }
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut framed = Zeroizing::new(Vec::with_capacity(request.len() + 4));
        put_string(&mut framed, request);
        self.stream.write_all(&framed).map_err(AgentError::Lost)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(AgentError::Lost)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(AgentError::Answer);
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).map_err(AgentError::Lost)?;
        Ok(answer)
    }
}

/// A request that may come to hold a private key.
fn message(kind: u8) -> Zeroizing<Vec<u8>> {
    // Room for the largest RSA key, so that growing leaves no copies behind.
    let mut message = Zeroizing::new(Vec::with_capacity(16 * 1024));
    message.push(kind);
    message
}

fn put_string(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    buffer.extend_from_slice(bytes);
}

fn identities(mut rest: &[u8]) -> Option<Vec<Held>> {
    let (count, after) = rest.split_first_chunk()?;
    rest = after;
    let mut held = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let key = PublicKey::from_blob(take_string(&mut rest)?).ok()?;
        held.push(Held { key, comment: String::from_utf8_lossy(take_string(&mut rest)?).into_owned() });
    }
    Some(held)
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (string, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(string)
}

/// As ssh-add does: the key's own comment, else the name of its file.
pub(super) fn comment(file: &KeyFile) -> Vec<u8> {
    match file.private().map(|private| private.comment().as_bytes()) {
        Some(comment) if !comment.is_empty() => comment.to_owned(),
        _ => file.path().display().to_string().into_bytes(),
    }
}

/// The key as the agent's protocol writes it, which is how key files do (`sshkey_private_serialize` in sshkey.c).
fn plain(private: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, AgentError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    match private.key_data() {
        KeypairData::Encrypted(_) | KeypairData::Other(_) => Err(unknown(private)),
        data => data.encode(&mut *bytes).map(|()| bytes).map_err(|_| unknown(private)),
    }
}

/// The certificate, and of the key what the certificate does not hold.
fn certified(private: &PrivateKey, certificate: &Certificate) -> Result<Zeroizing<Vec<u8>>, AgentError> {
    let refused = |_| unknown(private);
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let blob = certificate.to_bytes().map_err(|_| unknown(private))?;
    put_string(&mut bytes, certificate.algorithm().to_certificate_type().as_bytes());
    put_string(&mut bytes, &blob);
    match private.key_data() {
        KeypairData::Rsa(pair) => pair.private().encode(&mut *bytes).map_err(refused)?,
        KeypairData::Ecdsa(EcdsaKeypair::NistP256 { private: key, .. }) => key.encode(&mut *bytes).map_err(refused)?,
        KeypairData::Ecdsa(EcdsaKeypair::NistP384 { private: key, .. }) => key.encode(&mut *bytes).map_err(refused)?,
        KeypairData::Ecdsa(EcdsaKeypair::NistP521 { private: key, .. }) => key.encode(&mut *bytes).map_err(refused)?,
        KeypairData::Ed25519(pair) => pair.encode(&mut *bytes).map_err(refused)?,
        _ => return Err(unknown(private)),
    }
    Ok(bytes)
}

fn unknown(private: &PrivateKey) -> AgentError {
    AgentError::Type(private.algorithm().as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut string = Vec::new();
        put_string(&mut string, bytes);
        string
    }

    /// An answer with a key of a type that nobody knows and one that is no text.
    fn answer() -> Vec<u8> {
        let unknown = [string(b"key-of-tomorrow"), string(b"whatever")].concat();
        let plain = [string(b"ssh-ed25519"), string(&[1; 32])].concat();
        let keys = [string(&unknown), string(b"new"), string(&plain), string(b"a\xffb")].concat();
        [&2_u32.to_be_bytes()[..], &keys].concat()
    }

    #[test]
    fn keys_of_unknown_types_are_listed_too() {
        let held = identities(&answer()).unwrap();
        let told: Vec<_> = held.iter().map(|held| (held.key.algorithm(), held.comment.as_str())).collect();
        assert_eq!(told, [("key-of-tomorrow", "new"), ("ssh-ed25519", "a\u{fffd}b")]);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let whole = answer();
        for length in 0..whole.len() {
            assert_eq!(identities(&whole[..length]), None, "{length}");
        }
        assert_eq!(identities(&u32::MAX.to_be_bytes()), None, "a count without keys");
    }

    #[test]
    fn an_agent_that_talks_nonsense_costs_neither_memory_nor_time() {
        let place = tempfile::tempdir().unwrap();
        for (number, (answer, expected)) in [
            (&[0xff; 4][..], "the agent's answer makes no sense"),
            (&[0, 0, 0, 0], "the agent's answer makes no sense"),
            (&[0, 0, 0, 5, 12, 0, 0, 0, 1], "the agent's answer makes no sense"),
            (&[0, 0, 0, 1, 5], "the agent refused"),
            (&[0, 0, 0, 9, 12], "the agent does not answer"),
        ]
        .into_iter()
        .enumerate()
        {
            let socket = place.path().join(number.to_string());
            let listener = UnixListener::bind(&socket).unwrap();
            let speaker = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 5]).unwrap();
                stream.write_all(answer).unwrap();
            });
            let error = Agent::open(&socket, None).unwrap().list().unwrap_err();
            assert_eq!(error.to_string(), expected);
            speaker.join().unwrap();
        }
    }
}
