//! What is asked of a configuration, and the whole way to a host over its jump hosts.

use std::sync::Arc;

use super::SshConfig;
use super::effective::{Effective, Proxy};
use super::jump::Hop;
use super::layer::Layer;
use super::problem::SshConfigError;

/// Who is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The name as the user gave it, without user and port.
    pub host: &'a str,
    /// The login name of `user@host`.
    pub user: Option<&'a str>,
    /// The port of `host:port`.
    pub port: Option<u16>,
    /// Values that rank between the command line and the files, first ones first.
    pub layers: &'a [Arc<Layer>],
    /// The command that will run, for `Match command` and `Match sessiontype`.
    pub command: Option<&'a str>,
    /// What the host is.
    pub role: Role,
}

/// What a host is in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host that the user wants: the command line's values count.
    Target,
    /// A jump host on the way: they do not, as with `ssh -J`.
    Hop,
}

impl<'a> Request<'a> {
    /// Asks for a target by its name alone.
    pub fn new(host: &'a str) -> Self {
        Self { host, user: None, port: None, layers: &[], command: None, role: Role::Target }
    }

    /// Asks for a jump host.
    pub fn hop(hop: &'a Hop) -> Self {
        Self { user: hop.user.as_deref(), port: hop.port, role: Role::Hop, ..Self::new(&hop.host) }
    }
}

/// The way to a host: the jump hosts in the order in which they are visited, then the host.
#[derive(Clone, Debug)]
pub struct Route {
    /// The jump hosts; only the first one can have a [`Proxy::Command`] of its own.
    pub hops: Vec<Effective>,
    /// The host.
    pub target: Effective,
}

/// How far jump hosts may have jump hosts.
const LONGEST_ROUTE: usize = 32;

impl SshConfig {
    /// A host and all jump hosts on the way to it. The first jump host may itself be reached over others; the later ones
    /// are reached over the one before, whatever their own configuration says.
    pub fn route(&self, request: &Request<'_>) -> Result<Route, SshConfigError> {
        let target = self.resolve(request)?;
        let mut hops: Vec<Effective> = Vec::new();
        let mut ahead = target.proxy.clone();
        while let Proxy::Jump(list) = ahead {
            let mut nearer = Vec::with_capacity(list.len());
            for hop in list.iter() {
                nearer.push(self.resolve(&Request::hop(hop))?);
            }
            let farther = std::mem::take(&mut hops);
            for known in farther.iter().chain([&target]) {
                let same = |hop: &&Effective| {
                    hop.host_name == known.host_name && hop.port == known.port && hop.user == known.user
                };
                if let Some(hop) = nearer.iter().find(same) {
                    return Err(SshConfigError::JumpLoop { host: request.host.into(), hop: hop.name.to_string() });
                }
            }
            ahead = nearer.first().map_or(Proxy::Direct, |first| first.proxy.clone());
            hops = nearer.into_iter().chain(farther).collect();
            if hops.len() > LONGEST_ROUTE {
                let hop = hops[0].name.to_string();
                return Err(SshConfigError::JumpLoop { host: request.host.into(), hop });
            }
        }
        Ok(Route { hops, target })
    }
}
