//! All host keys of a server: a handshake for each type, over the way that is really used, without a login.
//!
//! [`Connector::host_keys`] is what ssh-keyscan(1) is for. Each handshake offers the types that were not seen yet, until the
//! server has none of the rest. It judges nothing: [`Connector::known_keys`] is what the keys are compared with.

use super::Connector;
use super::algorithms::key_type;
use super::handshake::ConnectError;
use super::options::Destination;
use super::trace::Trace;
use crate::known_hosts::{HostKeys, Place, PublicKey, RevokedKeys};
use crate::outcome::Code;
use std::sync::Arc;
use tokio::time::timeout;

impl Connector {
    /// The host's plain keys, one of each type that `algorithms` (names of signature algorithms, best first) can ask for; the
    /// server has proved in each key exchange that it holds the private half. Jump hosts on the way are logged in to.
    ///
    /// # Errors
    /// As [`connect`](Self::connect) up to the key exchange; where a later handshake fails, its reason.
    pub async fn host_keys(
        &self,
        destination: &Destination,
        algorithms: &[&str],
    ) -> Result<Vec<PublicKey>, ConnectError> {
        let mut keys: Vec<PublicKey> = Vec::new();
        let mut unseen = algorithms.to_vec();
        while !unseen.is_empty() {
            match self.look(destination, &unseen).await {
                Ok(key) if unseen.iter().any(|name| key_type(name) == key.algorithm()) => {
                    unseen.retain(|name| key_type(name) != key.algorithm());
                    keys.push(key);
                }
                // What was not asked for ends the asking.
                Ok(_) => break,
                Err(error) if error.failure.code == Code::KexNoCommonHostKey && !keys.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// What is known of the host, and the keys that are revoked for everybody.
    pub fn known_keys(&self, destination: &Destination) -> (HostKeys, Arc<RevokedKeys>) {
        let (known, revoked) = self.known_hosts.of(&destination.profile);
        (known.lookup(&destination.host_query()), revoked)
    }

    /// Under which other names a key stands in the files of the host, and where: the same machine, a clone, or an address that
    /// moved.
    pub fn other_names(&self, destination: &Destination, key: &PublicKey) -> Vec<(String, Place)> {
        let (known, _) = self.known_hosts.of(&destination.profile);
        let own = destination.host_query().lookup_name();
        let others = known.places_of(key).filter(|(_, names)| !names.matches(&own));
        others.map(|(place, names)| (names.to_string(), place)).collect()
    }

    async fn look(&self, destination: &Destination, algorithms: &[&str]) -> Result<PublicKey, ConnectError> {
        let mut trace = Trace::default();
        let through = self.way_to(destination, &mut trace).await?;
        let mut attempt = self.attempt(destination, through, &mut trace).await;
        let made = timeout(destination.profile.connect_timeout, attempt.look(algorithms, &mut trace)).await;
        attempt.ended(made, &trace)
    }
}
