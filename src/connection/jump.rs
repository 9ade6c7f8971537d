//! Jump hosts: one connection to a bastion is shared by every host behind it, where nothing that was resolved about the
//! bastion and the way to it differs.
//!
//! Channels through a bastion do not count against its MaxSessions or MaxStartups, so one connection serves many hosts;
//! a further one is opened when [`CHANNELS`] are in use. Names behind a bastion are resolved by it. A bastion that could
//! not be reached fails all who were waiting for it at once, instead of being tried by each in turn.

use super::gate::{Gate, Gates};
use super::handshake::{Again, ConnectError};
use super::options::{Destination, Profile, Route};
use super::trace::Trace;
use super::{Connection, Connector};
use crate::host::{Endpoint, HostName};
use crate::outcome::{Code, Failure};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hosts that one bastion connection carries before another one is opened.
const CHANNELS: usize = 128;

/// The bastions of a run, by the whole way to them.
#[derive(Default)]
pub(super) struct Bastions(Mutex<HashMap<Vec<Hop>, Arc<Bastion>>>);

/// A jump host with everything that was resolved about it. What is at the same address may still be another machine (that
/// of another site, by way of another command) or the same one under stricter settings.
#[derive(PartialEq, Eq)]
struct Hop {
    /// Failures name it.
    name: HostName,
    endpoint: Endpoint,
    host_key_alias: Option<String>,
    /// The `ProxyCommand`, tokens expanded.
    command: Option<String>,
    profile: Arc<Profile>,
}

impl Hash for Hop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.endpoint).hash(state);
    }
}

impl From<&Destination> for Hop {
    fn from(hop: &Destination) -> Self {
        Self {
            name: hop.name.clone(),
            endpoint: hop.endpoint.clone(),
            host_key_alias: hop.host_key_alias.clone(),
            command: match &hop.route {
                Route::Command(command) => Some(command.line.clone()),
                Route::Direct | Route::Jump(_) => None,
            },
            profile: Arc::clone(&hop.profile),
        }
    }
}

/// One bastion and its connections.
#[derive(Default)]
pub(super) struct Bastion {
    /// For all hosts behind it together.
    pub(super) gate: Arc<Gate>,
    /// For each of them.
    pub(super) gates: Gates,
    state: tokio::sync::Mutex<State>,
    /// How many attempts have ended, to tell whether one did while we waited for the lock.
    attempts: AtomicU64,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    failed: Option<ConnectError>,
}

/// The last part of a way over jump hosts.
pub(super) struct Through {
    /// What carries the connection to the host.
    pub(super) connection: Arc<Connection>,
    /// What that is one of.
    pub(super) bastion: Arc<Bastion>,
}

impl Connector {
    /// A connection to the last of `hops`, through the ones before it.
    pub(super) async fn bastion(&self, hops: &[Destination]) -> Result<Through, ConnectError> {
        let (last, before) = last_of(hops)?;
        let bastion = self.bastions.at(hops);
        let through = |connection| Through { connection, bastion: Arc::clone(&bastion) };
        let seen = bastion.attempts.load(Ordering::Acquire);
        let mut state = bastion.state.lock().await;
        state.connections.retain(|connection| !connection.is_closed());
        // Everyone who uses a connection holds an Arc of it, and so does the list.
        if let Some(free) = state.connections.iter().find(|connection| Arc::strong_count(connection) <= CHANNELS) {
            return Ok(through(Arc::clone(free)));
        }
        if let Some(error) = &state.failed
            && (error.again == Again::Never || bastion.attempts.load(Ordering::Acquire) != seen)
        {
            return Err(error.clone());
        }
        let way = match before {
            [] => Ok(None),
            _ => Box::pin(self.bastion(before)).await.map(Some),
        };
        let made = match way {
            Ok(way) => {
                let made = self.connect_through(last, way, &mut Trace::default()).await;
                made.map_err(|error| of_jump_host(last, error))
            }
            Err(error) => Err(error),
        };
        bastion.attempts.fetch_add(1, Ordering::Release);
        match made {
            Ok(connection) => {
                state.failed = None;
                state.connections.push(Arc::clone(&connection));
                Ok(through(connection))
            }
            Err(error) => {
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}

impl Connector {
    /// The same over connections that nobody has used before: shared ones show that the way was open once.
    pub(super) async fn bastion_afresh(&self, hops: &[Destination]) -> Result<Through, ConnectError> {
        let (last, before) = last_of(hops)?;
        let way = match before {
            [] => None,
            _ => Some(Box::pin(self.bastion_afresh(before)).await?),
        };
        let made = self.connect_through(last, way, &mut Trace::default()).await;
        let connection = made.map_err(|error| of_jump_host(last, error))?;
        Ok(Through { connection, bastion: self.bastions.at(hops) })
    }
}

impl Bastions {
    /// The bastion at the end of these hops.
    fn at(&self, hops: &[Destination]) -> Arc<Bastion> {
        let way = hops.iter().map(Hop::from).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(way).or_default())
    }
}

fn last_of(hops: &[Destination]) -> Result<(&Destination, &[Destination]), ConnectError> {
    hops.split_last()
        .ok_or_else(|| ConnectError::never(Failure::new(Code::JumpFailed, "the chain of jump hosts is empty")))
}

/// The failure of a jump host, as all hosts behind it have it. As with ssh, what is typed about keys and options is for the
/// hosts alone, so what to do is to be done in ssh_config.
fn of_jump_host(hop: &Destination, mut error: ConnectError) -> ConnectError {
    let (name, user) = (&hop.name, &hop.endpoint.user);
    let failure = &mut error.failure;
    failure.message = format!("jump host `{name}`: {}", failure.message);
    failure.hint = match (failure.code, failure.hint.take()) {
        (Code::AuthTooMany, _) => Some(format!(
            "-I and -o do not reach jump hosts: write `IdentitiesOnly yes` and `IdentityFile PATH` into ssh_config under \
             `Host {name}`"
        )),
        (Code::AuthNoKey | Code::AuthRefused | Code::AuthPartial, _) => Some(format!(
            "-I, -l, -o and passwords do not reach jump hosts: name its key in ssh_config, under `Host {name}` as \
             `IdentityFile PATH` (and its user as `User NAME`, if `{user}` is wrong), or add the key with ssh-add"
        )),
        (Code::DnsNxdomain, _) => Some(format!(
            "check the spelling, or give its address in ssh_config, under `Host {name}` as `HostName ADDRESS`"
        )),
        (_, Some(hint)) if hint.contains("-o ") => {
            Some(format!("{hint}; -o does not reach jump hosts: write it into ssh_config under `Host {name}`"))
        }
        (_, hint) => hint,
    };
    error
}
