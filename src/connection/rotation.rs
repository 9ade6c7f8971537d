//! New and deprecated keys of a host that is known: OpenSSH's `hostkeys-00@openssh.com` and `hostkeys-prove-00@openssh.com`
//! (PROTOCOL, section 2.5), where `UpdateHostKeys` is on.
//!
//! A server announces its keys after the login. When the connection is about to be closed, [`KeyUpdate`] has the server prove
//! that it holds those that are new ([`proof`]), and hands all to [`Learned`], which writes them when the run is over. A run
//! that ends nothing in peace learns nothing.

use super::client::Facts;
use super::host_keys::{HostKeyCheck, Learned};
use super::options::Profile;
use super::proof;
use crate::known_hosts::{HostKeys, NameStyle, PublicKey, RevokedKeys, Rotation, key_type_of};
use russh::client::{Handle, Handler};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What the proof may take: the work is done, and somebody waits for its end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is needed to update the keys of one host.
pub(super) struct KeyUpdate {
    name: String,
    keys: HostKeys,
    revoked: Arc<RevokedKeys>,
    files: Vec<PathBuf>,
    style: NameStyle,
    types: Vec<String>,
    required_rsa_bits: u32,
    learned: Arc<Learned>,
}

impl KeyUpdate {
    /// The update for the host of a check, where it is wanted and possible.
    pub(super) fn of(check: &HostKeyCheck, profile: &Profile) -> Option<Self> {
        let name = check.query.record_name().ok().filter(|_| profile.update_host_keys && !check.exempt)?;
        let (_, style) = profile.known_hosts_target()?;
        let mut types: Vec<String> = profile.algorithms.plain_host_keys().into_iter().map(key_type_of).collect();
        types.dedup();
        Some(Self {
            name,
            keys: check.keys.clone(),
            revoked: Arc::clone(&check.revoked),
            files: profile.user_known_hosts.clone(),
            style,
            types,
            required_rsa_bits: check.required_rsa_bits,
            learned: Arc::clone(&check.learned),
        })
    }

    /// Takes what the server announced, as far as it proves it.
    pub(super) async fn settle<H: Handler>(&self, handle: &Handle<H>, facts: &Facts) {
        let (announced, used) = {
            let mut facts = facts.read();
            (facts.announced.take().unwrap_or_default(), facts.known_by.take())
        };
        // The key has to be a plain one that a file of ours knows; system files and authorities are others' affair.
        let Some((used, place)) = used.filter(|(_, place)| self.files.iter().any(|file| **file == *place.file)) else {
            return;
        };
        let blobs: Vec<PublicKey> = announced.iter().filter_map(own).collect();
        let is_complete = blobs.len() == announced.len() && blobs.iter().collect::<HashSet<_>>().len() == blobs.len();
        if !is_complete || !blobs.contains(&used) {
            return;
        }
        let is_known = |key: &PublicKey| self.keys.known_keys().any(|known| known.key == *key);
        let is_fresh = |key: &PublicKey| !is_known(key) && self.is_good(key);
        let fresh: Vec<PublicKey> = blobs.iter().filter(|key| is_fresh(key)).cloned().collect();
        let is_deprecated =
            |key: &PublicKey| !blobs.contains(key) && self.types.iter().any(|kind| kind == key.algorithm());
        if fresh.is_empty() && !self.keys.known_keys().any(|known| is_deprecated(&known.key)) {
            return;
        }
        if !fresh.is_empty() && !matches!(timeout(PATIENCE, prove(handle, &fresh)).await, Ok(Some(true))) {
            return;
        }
        let (name, types) = (self.name.clone(), self.types.clone());
        let rotation = Rotation { name, used, announced: blobs, proved: fresh, types };
        self.learned.rotate(place.file.to_path_buf(), self.style, rotation);
    }

    /// Whether a key may be learnt at all: of a type that is asked for, long enough, and not revoked.
    fn is_good(&self, key: &PublicKey) -> bool {
        let is_weak = key.algorithm() == "ssh-rsa" && key.bits().is_none_or(|bits| bits < self.required_rsa_bits);
        let is_revoked = self.revoked.contains(key) || self.keys.revocation(key).is_some();
        !is_weak && !is_revoked && self.types.iter().any(|kind| kind == key.algorithm())
    }
}

/// Asks for the proof, and says whether it is one; nothing where the server gives none.
async fn prove<H: Handler>(handle: &Handle<H>, keys: &[PublicKey]) -> Option<bool> {
    let session = handle.agent_session_binding()?.session_id();
    let reply = handle.send_global_request(proof::REQUEST, &proof::request(keys).ok()?, true).await.ok()??;
    Some(proof::holds(session, keys, &reply))
}

fn own(key: &russh::keys::PublicKey) -> Option<PublicKey> {
    PublicKey::from_blob(&key.to_bytes().ok()?).ok()
}
