//! Jump hosts: one connection to a bastion is shared by every host behind it.
//!
//! Channels through a bastion do not count against its MaxSessions or MaxStartups, so one connection serves many hosts;
//! a further one is opened when [`CHANNELS`] are in use. Names behind a bastion are resolved by it. A bastion that could
//! not be reached fails all who were waiting for it at once, instead of being tried by each in turn.

use super::handshake::{Again, ConnectError};
use super::options::{Destination, Route};
use super::trace::Trace;
use super::wire::Carrier;
use super::{Connection, Connector};
use crate::host::Endpoint;
use crate::outcome::{Code, Failure};
use russh::ChannelOpenFailure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hosts that one bastion connection carries before another one is opened.
const CHANNELS: usize = 128;

/// The bastions of a run, by the whole way to them.
#[derive(Default)]
pub(super) struct Bastions(Mutex<HashMap<Vec<Endpoint>, Arc<Bastion>>>);

/// One bastion and its connections.
#[derive(Default)]
struct Bastion {
    state: tokio::sync::Mutex<State>,
    /// How many attempts have ended, to tell whether one did while we waited for the lock.
    attempts: AtomicU64,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    failed: Option<ConnectError>,
}

impl Connector {
    /// A connection to the last of `hops`, through the ones before it.
    pub(super) async fn bastion(&self, hops: &[Destination]) -> Result<Arc<Connection>, ConnectError> {
        let Some((last, before)) = hops.split_last() else {
            return Err(ConnectError::never(Failure::new(Code::JumpFailed, "the chain of jump hosts is empty")));
        };
        let bastion = {
            let way = hops.iter().map(|hop| hop.endpoint.clone()).collect();
            let mut all = self.bastions.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(way).or_default())
        };
        let seen = bastion.attempts.load(Ordering::Acquire);
        let mut state = bastion.state.lock().await;
        state.connections.retain(|connection| !connection.is_closed());
        // Everyone who uses a connection holds an Arc of it, and so does the list.
        if let Some(free) = state.connections.iter().find(|connection| Arc::strong_count(connection) <= CHANNELS) {
            return Ok(Arc::clone(free));
        }
        if let Some(error) = &state.failed
            && (error.again == Again::Never || bastion.attempts.load(Ordering::Acquire) != seen)
        {
            return Err(error.clone());
        }
        let mut way = last.clone();
        if !before.is_empty() {
            way.route = Route::Jump(before.into());
        }
        let made = self.connect(&way, &mut Trace::default()).await;
        bastion.attempts.fetch_add(1, Ordering::Release);
        match made {
            Ok(connection) => {
                // It carries others and is never written to by a session, so the handshake's quick acknowledgements end.
                connection.monitor.settle();
                state.failed = None;
                state.connections.push(Arc::clone(&connection));
                Ok(connection)
            }
            Err(mut error) => {
                error.failure.message = format!("jump host `{}`: {}", last.name, error.failure.message);
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}

impl Connection {
    /// A stream to a host and port, dialled and resolved by this bastion (RFC 4254 §7.2).
    pub(super) async fn tunnel_to(&self, endpoint: &Endpoint) -> Result<Carrier, ConnectError> {
        let opened = self.handle.channel_open_direct_tcpip(endpoint.address.as_str(), endpoint.port.into(), "127.0.0.1", 0).await;
        match opened {
            Ok(channel) => Ok(Carrier::Other(Box::new(channel.into_stream()))),
            Err(russh::Error::ChannelOpenFailure(why)) => Err(self.tunnel_refused(&why)),
            Err(_) => Err(ConnectError::backoff(Failure::new(
                Code::JumpFailed,
                format!("the connection to the jump host {} was lost: {}", self.endpoint, self.why_ended()),
            ))),
        }
    }

    fn tunnel_refused(&self, why: &ChannelOpenFailure) -> ConnectError {
        let failed = |what: String| Failure::new(Code::JumpFailed, format!("the jump host {} {what}", self.endpoint));
        match why {
            ChannelOpenFailure::AdministrativelyProhibited => ConnectError::never(
                failed("does not allow connections to the host".into())
                    .hint("its sshd_config needs AllowTcpForwarding yes and a PermitOpen that allows this"),
            ),
            ChannelOpenFailure::ConnectFailed => ConnectError::never(
                failed("cannot connect to the host".into()).hint("is the host up, and does its name resolve on the jump host?"),
            ),
            ChannelOpenFailure::ResourceShortage => ConnectError::backoff(failed("is out of resources".into())),
            ChannelOpenFailure::Other { reason, .. } => ConnectError::never(failed(format!("refused a connection to the host: {reason}"))),
            ChannelOpenFailure::UnknownChannelType => ConnectError::never(failed("does not forward connections".into())),
        }
    }
}
