//! Every key that a run may log in with: read once, unlocked once, before anything is contacted.
//!
//! [`Keyring::prepare`] reads the identity files and lists the agents that the hosts of a run name, and asks for each
//! missing passphrase once. [`Keyring::offers`] then gives a host's keys in OpenSSH's order. It never talks to a host.

use super::Ask;
use super::agent::{KeyLimits, comment};
use super::auth::MAX_OFFERS;
use super::key_file::{KeyFile, KeyFileError, beside, read_certificate, read_public};
use super::options::KeyChoice;
use super::signer::{Gift, Signer, connect_agent};
use crate::duration::human;
use crate::known_hosts::PublicKey as BlobKey;
use futures::future::join_all;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Which keys a host may be offered: the part of its configuration that the keyring needs. Hosts with equal sources
/// share their offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySources {
    /// `IdentityFile`, expanded, in order.
    pub identity_files: Vec<PathBuf>,
    /// Whether the files were configured, rather than OpenSSH's defaults.
    pub configured: Configured,
    /// `CertificateFile`, expanded.
    pub certificate_files: Vec<PathBuf>,
    /// `IdentitiesOnly`: of the agent's keys only those that a configured file names.
    pub identities_only: IdentitiesOnly,
    /// The agent's socket (`IdentityAgent`, else `SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// Passphrases that are asked for before a key is given up (`NumberOfPasswordPrompts`).
    pub prompts: u32,
    /// Whether keys of files are given to the agent when they are used.
    pub add_to_agent: AddToAgent,
}

impl Default for KeySources {
    fn default() -> Self {
        Self {
            identity_files: Vec::new(),
            configured: Configured::default(),
            certificate_files: Vec::new(),
            identities_only: IdentitiesOnly::default(),
            agent: None,
            prompts: 3,
            add_to_agent: AddToAgent::default(),
        }
    }
}

/// `AddKeysToAgent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddToAgent {
    /// They are not.
    #[default]
    No,
    /// They are where somebody says so, key by key.
    Ask,
    /// They are.
    Yes {
        /// Seconds until the agent forgets them.
        lifetime: Option<u32>,
        /// Whether the agent asks before each use.
        confirm: Confirm,
    },
}

/// Whether the agent asks before each use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirm {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Whether identity files were named or are the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Configured {
    /// By `IdentityFile`, a variable or an option.
    Yes,
    /// `~/.ssh/id_*`: missing ones are no mistake.
    #[default]
    No,
}

/// `IdentitiesOnly`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdentitiesOnly {
    /// The agent's other keys are left out.
    Yes,
    /// They are offered too.
    #[default]
    No,
}

/// One key that is offered to a server.
#[derive(Clone)]
pub(super) struct Offer {
    /// What the server is asked about.
    pub(super) public: PublicKey,
    /// The certificate that goes with it, where this offer is one.
    pub(super) certificate: Option<Certificate>,
    /// Who signs.
    pub(super) signer: Signer,
    /// Where it comes from, for messages.
    pub(super) origin: String,
}

/// The keys for one set of sources, and what could not be used.
#[derive(Clone, Default)]
pub(super) struct Offers {
    /// In the order of offering.
    pub(super) list: Arc<[Offer]>,
    /// Why a key that the user might expect is not among them.
    pub(super) missing: Arc<[String]>,
}

/// Whether the private half of a key can be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateHalf {
    /// In a file or an agent.
    Here,
    /// In this file, whose passphrase nobody gave.
    Locked(PathBuf),
    /// Neither a file nor an agent has it.
    Elsewhere,
}

impl Offers {
    /// Those that a host is to be offered.
    pub(super) fn chosen(self, choice: &KeyChoice) -> Self {
        let keep = |offer: &&Offer| match choice {
            KeyChoice::All => true,
            KeyChoice::Only(key) => offer.certificate.is_none() && offer.is(key),
            KeyChoice::Without(keys) => offer.certificate.is_some() || !keys.iter().any(|key| offer.is(key)),
        };
        match choice {
            KeyChoice::All => self,
            _ => Self { list: self.list.iter().filter(keep).cloned().collect(), missing: self.missing },
        }
    }
}

/// The keys of a run.
#[derive(Default)]
pub struct Keyring {
    files: HashMap<PathBuf, Result<KeyFile, KeyFileError>>,
    agents: HashMap<PathBuf, Result<Vec<AgentKey>, String>>,
    offers: HashMap<KeySources, Offers>,
    /// Whether somebody said that a key may be given to the agent.
    consents: HashMap<PathBuf, bool>,
    /// What the agents took to list their keys.
    pub waited: Duration,
}

struct AgentKey {
    public: PublicKey,
    certificate: Option<Certificate>,
    comment: String,
}

impl Keyring {
    /// Reads and unlocks what the sources name.
    ///
    /// # Errors
    /// A configured key or certificate file that is there but cannot be used; `.pub` files of configured keys in the agent
    /// are fine.
    pub async fn prepare(sources: impl IntoIterator<Item = KeySources>, ask: &dyn Ask) -> Result<Self, KeyFileError> {
        let mut ring = Self::default();
        let distinct: HashSet<KeySources> = sources.into_iter().collect();
        let began = Instant::now();
        let agents: HashSet<&PathBuf> = distinct.iter().filter_map(|source| source.agent.as_ref()).collect();
        let listed = agents.into_iter().map(|agent| async { (agent.clone(), list_agent(agent, ask).await) });
        ring.agents = join_all(listed).await.into_iter().collect();
        ring.waited = began.elapsed();
        // A file that is named by one host is unlocked, also where it is another's default.
        let mut ordered: Vec<&KeySources> = distinct.iter().collect();
        ordered.sort_by_key(|source| source.configured == Configured::No);
        for source in ordered {
            ring.read_files(source, ask)?;
            ring.ask_about(source, ask);
        }
        for source in distinct {
            let offers = ring.collect(&source)?;
            ring.offers.insert(source, offers);
        }
        Ok(ring)
    }

    /// Why keys that somebody might expect are not offered, for all hosts together.
    pub fn missing(&self) -> BTreeSet<&str> {
        self.offers.values().flat_map(|offers| offers.missing.iter().map(String::as_str)).collect()
    }

    /// The keys for a host whose sources were prepared.
    pub(super) fn offers(&self, sources: &KeySources) -> Offers {
        self.offers.get(sources).cloned().unwrap_or_default()
    }

    /// Whether a login with this key could be tried.
    pub(super) fn private_half(&self, sources: &KeySources, key: &BlobKey) -> PrivateHalf {
        if self.offers(sources).list.iter().any(|offer| offer.is(key)) {
            return PrivateHalf::Here;
        }
        let locked = sources.identity_files.iter().find(|path| {
            let file = self.files.get(*path).and_then(|file| file.as_ref().ok());
            file.is_some_and(|file| {
                file.private.is_none() && file.public.as_ref().is_none_or(|public| is_same(public, key))
            })
        });
        locked.map_or(PrivateHalf::Elsewhere, |path| PrivateHalf::Locked(path.clone()))
    }

    fn read_files(&mut self, source: &KeySources, ask: &dyn Ask) -> Result<(), KeyFileError> {
        let user = rustix::process::getuid().as_raw();
        for path in &source.identity_files {
            if self.files.contains_key(path) {
                continue;
            }
            if read_public(path).is_some() {
                // `IdentityFile key.pub`: the agent holds the private half.
                self.files.insert(path.clone(), Err(KeyFileError::Missing(path.clone())));
                continue;
            }
            let mut file = match KeyFile::read(path, user) {
                Err(
                    error @ (KeyFileError::Exposed { .. }
                    | KeyFileError::NotAKey { .. }
                    | KeyFileError::Unreadable { .. }),
                ) if source.configured == Configured::Yes => {
                    return Err(error);
                }
                Err(error) => {
                    self.files.insert(path.clone(), Err(error));
                    continue;
                }
                Ok(file) => file,
            };
            if file.private.is_none() && !self.agent_holds(source, file.public.as_ref()) && self.is_wanted(source) {
                unlock(&mut file, source.prompts, ask)?;
            }
            self.files.insert(path.clone(), Ok(file));
        }
        Ok(())
    }

    /// Asks which keys may be given to the agent, each once: nobody is asked any more when a host takes one.
    fn ask_about(&mut self, source: &KeySources, ask: &dyn Ask) {
        let answers = source.agent.as_ref().is_some_and(|agent| matches!(self.agents.get(agent), Some(Ok(_))));
        if source.add_to_agent != AddToAgent::Ask || !answers {
            return;
        }
        for path in &source.identity_files {
            let Some(Ok(file)) = self.files.get(path) else { continue };
            let is_offered = file.private.is_some() && !self.agent_holds(source, file.public.as_ref());
            if is_offered && !self.consents.contains_key(path) {
                self.consents.insert(path.clone(), ask.may_give(path));
            }
        }
    }

    /// What becomes of the key of a file when it is used.
    fn gift(&self, source: &KeySources, file: &KeyFile) -> Option<Arc<Gift>> {
        let limits = match source.add_to_agent {
            AddToAgent::Yes { lifetime, confirm } => KeyLimits { lifetime, confirm },
            AddToAgent::Ask if self.consents.get(&file.path) == Some(&true) => {
                KeyLimits { lifetime: None, confirm: Confirm::No }
            }
            AddToAgent::No | AddToAgent::Ask => return None,
        };
        Some(Arc::new(Gift::new(source.agent.clone()?, comment(file), limits)))
    }

    /// A default key is unlocked only where nothing else could log in.
    fn is_wanted(&self, source: &KeySources) -> bool {
        let agent_has_keys = || {
            source
                .agent
                .as_ref()
                .is_some_and(|agent| matches!(self.agents.get(agent), Some(Ok(keys)) if !keys.is_empty()))
        };
        let opened = |path: &PathBuf| matches!(self.files.get(path), Some(Ok(file)) if file.private.is_some());
        source.configured == Configured::Yes || !(agent_has_keys() || source.identity_files.iter().any(opened))
    }

    fn agent_holds(&self, source: &KeySources, public: Option<&PublicKey>) -> bool {
        public
            .is_some_and(|public| self.agent_keys(source).iter().any(|key| key.public.key_data() == public.key_data()))
    }

    fn agent_keys(&self, source: &KeySources) -> &[AgentKey] {
        match source.agent.as_ref().and_then(|agent| self.agents.get(agent)) {
            Some(Ok(keys)) => keys,
            _ => &[],
        }
    }

    /// OpenSSH's order (pubkey_prepare in sshconnect2.c): configured keys that the agent holds, the agent's other keys,
    /// then the files; a key's certificate goes before the key. Only where they are too many for one login do the files
    /// come before the agent's other keys: what is named must not be what is cut off.
    fn collect(&self, source: &KeySources) -> Result<Offers, KeyFileError> {
        let mut list = Vec::new();
        let mut strangers = Vec::new();
        let mut files = Vec::new();
        let mut missing = Vec::new();
        let agent = source.agent.as_deref().map(Arc::<Path>::from);
        let named: Vec<(&PathBuf, PublicKey)> =
            source.identity_files.iter().filter_map(|path| Some((path, self.public_of(path)?))).collect();
        let certificates = certificates(source, &mut missing)?;
        let is_named = |key: &KeyData| named.iter().any(|(_, public)| public.key_data() == key);
        if let Some(agent) = &agent {
            let signer = Signer::Agent(Arc::clone(agent));
            let held = self.agent_keys(source);
            for (_, public) in &named {
                for key in held.iter().filter(|key| key.public.key_data() == public.key_data()) {
                    with_certificates(&certificates, key.offer(&signer), &mut list);
                }
            }
            if source.identities_only == IdentitiesOnly::No {
                let others = held.iter().filter(|key| !is_named(key.public.key_data()));
                let (certified, plain): (Vec<_>, Vec<_>) = others.partition(|key| key.certificate.is_some());
                strangers.extend(certified.into_iter().chain(plain).map(|key| key.offer(&signer)));
            }
            if let Some(Err(reason)) = self.agents.get(agent.as_ref()) {
                missing.push(format!("the agent at `{}` does not answer: {reason}", agent.display()));
            }
        }
        for path in &source.identity_files {
            match self.files.get(path) {
                Some(Ok(file @ KeyFile { private: Some(key), .. })) => {
                    if !list
                        .iter()
                        .chain(&strangers)
                        .any(|offer: &Offer| offer.public.key_data() == key.private().public_key().key_data())
                    {
                        let offer = Offer {
                            public: key.private().public_key().clone(),
                            certificate: None,
                            signer: Signer::Key(Arc::clone(key), self.gift(source, file)),
                            origin: path.display().to_string(),
                        };
                        with_certificates(&certificates, offer, &mut files);
                    }
                }
                Some(Ok(file)) if !self.agent_holds(source, file.public.as_ref()) => {
                    missing.push(format!("`{}` is encrypted and was not unlocked: ssh-add {0}", path.display()));
                }
                Some(Err(KeyFileError::Missing(_))) if source.configured == Configured::No => {}
                Some(Err(_))
                    if is_public_selector(path)
                        && self.public_of(path).is_some_and(|key| self.agent_holds(source, Some(&key))) => {}
                Some(Err(error)) => missing.push(error.to_string()),
                Some(Ok(_)) | None => {}
            }
        }
        let named_first = list.len() + strangers.len() + files.len() > MAX_OFFERS;
        let (next, last) = if named_first { (files, strangers) } else { (strangers, files) };
        list.extend(next);
        list.extend(last);
        Ok(Offers { list: list.into(), missing: missing.into() })
    }

    fn public_of(&self, path: &Path) -> Option<PublicKey> {
        match self.files.get(path) {
            Some(Ok(file)) => file.public.clone(),
            _ => read_public(path).or_else(|| read_public(&beside(path, ".pub"))),
        }
    }
}

/// `CertificateFile`s, and the `-cert.pub` beside each identity file (ssh_config(5)). One that only stands beside a key is
/// left out where it cannot be read: the key may do.
fn certificates(source: &KeySources, missing: &mut Vec<String>) -> Result<Vec<Certificate>, KeyFileError> {
    let mut found = Vec::new();
    for path in &source.certificate_files {
        match read_certificate(path)? {
            Some(certificate) => found.push(certificate),
            None => missing.push(format!("there is no certificate file `{}`", path.display())),
        }
    }
    for path in &source.identity_files {
        match read_certificate(&beside(path, "-cert.pub")) {
            Ok(certificate) => found.extend(certificate),
            Err(error) => missing.push(error.to_string()),
        }
    }
    Ok(found)
}

fn is_public_selector(path: &Path) -> bool {
    read_public(path).is_some() || read_public(&beside(path, ".pub")).is_some()
}

/// Puts the certificates of a key before it.
fn with_certificates(certificates: &[Certificate], offer: Offer, list: &mut Vec<Offer>) {
    for certificate in certificates.iter().filter(|certificate| certificate.public_key() == offer.public.key_data()) {
        list.push(Offer {
            certificate: Some(certificate.clone()),
            origin: format!("{} (certificate)", offer.origin),
            ..offer.clone()
        });
    }
    list.push(offer);
}

impl AgentKey {
    fn offer(&self, signer: &Signer) -> Offer {
        Offer {
            public: self.public.clone(),
            certificate: self.certificate.clone(),
            signer: signer.clone(),
            origin: if self.comment.is_empty() { "agent".into() } else { format!("agent: {}", self.comment) },
        }
    }
}

/// From when on an agent is slow enough to be spoken of.
const SLOW: Duration = Duration::from_secs(1);

async fn list_agent(path: &Path, ask: &dyn Ask) -> Result<Vec<AgentKey>, String> {
    let limit = ask.agent_limit();
    let mut listing = pin!(ask_agent(path));
    let mut listed = timeout(SLOW.min(limit), &mut listing).await;
    if listed.is_err() && limit > SLOW {
        ask.waits_for_agent(path);
        listed = timeout(limit - SLOW, listing).await;
    }
    listed.unwrap_or_else(|_| Err(format!("not in {}", human(limit))))
}

async fn ask_agent(path: &Path) -> Result<Vec<AgentKey>, String> {
    let mut agent = connect_agent(path).await.map_err(|error| error.to_string())?;
    let identities = agent.request_identities().await.map_err(|error| error.to_string())?;
    Ok(identities
        .into_iter()
        .map(|identity| match identity {
            AgentIdentity::PublicKey { key, comment } => AgentKey { public: key, certificate: None, comment },
            AgentIdentity::Certificate { certificate, comment } => AgentKey {
                public: PublicKey::new(certificate.public_key().clone(), ""),
                certificate: Some(certificate),
                comment,
            },
        })
        .collect())
}

fn unlock(file: &mut KeyFile, prompts: u32, ask: &dyn Ask) -> Result<(), KeyFileError> {
    for attempt in 1..=prompts {
        let Some(passphrase) = ask.passphrase(&file.path, attempt) else {
            return Ok(());
        };
        match file.unlock(&passphrase) {
            Ok(()) => return Ok(()),
            Err(KeyFileError::WrongPassphrase(_)) if attempt < prompts => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_same(public: &PublicKey, key: &BlobKey) -> bool {
    public.to_bytes().is_ok_and(|blob| blob == key.blob())
}

impl Offer {
    /// Whether it is this key, with or without a certificate.
    fn is(&self, key: &BlobKey) -> bool {
        is_same(&self.public, key)
    }

    /// The size of an RSA key.
    pub(super) fn rsa_bits(&self) -> Option<u32> {
        let bits = self.public.key_data().rsa()?.key_size();
        Some(bits)
    }

    /// Whether its signatures come from a security key.
    pub(super) fn is_security_key(&self) -> bool {
        matches!(self.public.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
    }

    /// `ED25519 SHA256:… (path)`, for messages.
    pub(super) fn describe(&self) -> String {
        format!("{} {} ({})", self.public.algorithm().as_str(), self.public.fingerprint(HashAlg::Sha256), self.origin)
    }
}
