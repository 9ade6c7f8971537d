//! Logins that prove something: that a key opens the door, that the way of this run stays open, that a key does not open any more.

use super::Bearer;
use super::intent::Intent;
use crate::connection::{
    Again, Configured, ConnectError, Connection, Connector, Destination, KeyChoice, KeySources, LoginMethod,
    PrivateHalf, Trace,
};
use crate::known_hosts::PublicKey;
use crate::outcome::{Code, Failure};
use crate::task::command::token;
use crate::task::inner::ask;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Tries of a login that is about a server's load and not about the key, and the wait before the next.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_millis(500);

/// What is known about a key after a login with it was tried.
pub(super) enum Proof {
    /// It logs in.
    LogsIn,
    /// sshd accepts it and asks for more than a key, as `AuthenticationMethods publickey,password` has it.
    Accepted,
    /// It does not.
    Refused(Failure),
    /// Its private half is not here.
    NotHere,
}

/// Where the private half of a key may be for a host: in the file that is named, else in any with which this run logs in,
/// and in the agent.
pub fn sources(destination: &Destination, bearer: &Bearer) -> KeySources {
    let own = &destination.profile.keys;
    let (identity_files, configured) = match &bearer.identity {
        Some(file) => (vec![file.clone()], Configured::Yes),
        None => (own.identity_files.clone(), own.configured),
    };
    KeySources { identity_files, configured, agent: own.agent.clone(), prompts: own.prompts, ..KeySources::default() }
}

/// Logs in as this user with this key and nothing else, in a connection of its own, as far as to a session.
///
/// # Errors
/// Where the host is not reached.
pub(super) async fn of_key(
    connector: &Connector,
    destination: &Destination,
    user: &str,
    bearer: &Bearer,
) -> Result<Proof, Failure> {
    let Some(sources) = here(connector, destination, bearer) else { return Ok(Proof::NotHere) };
    let mut alone = destination.clone();
    let mut profile = (*destination.profile).clone();
    profile.keys = sources;
    profile.methods = vec![LoginMethod::PublicKey];
    profile.local_command = None;
    profile.forward_agent = None;
    alone.profile = Arc::new(profile);
    alone.password = None;
    alone.endpoint.user = user.to_owned();
    alone.choice = KeyChoice::Only(bearer.key.key().clone());
    match login(connector, &alone, Path::Shared).await {
        Ok(connection) => {
            let session = connection.try_session().await;
            connection.close().await;
            Ok(session.map_or_else(Proof::Refused, |()| Proof::LogsIn))
        }
        // Only a key was offered: what was accepted is that.
        Err(failure) if failure.code == Code::AuthPartial => Ok(Proof::Accepted),
        Err(failure) if is_about_the_login(failure.code) => Ok(Proof::Refused(failure)),
        Err(failure) => Err(failure),
    }
}

/// What has the private half of a key: its own file, the agent, or what this run logs in with.
pub(super) fn here(connector: &Connector, destination: &Destination, bearer: &Bearer) -> Option<KeySources> {
    let all = [sources(destination, bearer), destination.profile.keys.clone()];
    all.into_iter().find(|sources| connector.private_half(sources, bearer.key.key()) == PrivateHalf::Here)
}

/// A way into a host that has to stay open.
pub(super) struct Way {
    /// Where, as whom, and with what.
    pub(super) destination: Destination,
    /// What it is for.
    pub(super) purpose: Purpose,
}

/// What a way into a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// This run works on the host.
    Work,
    /// Hosts of this run are behind it.
    Jump,
}

impl Way {
    /// Goes this way without some keys, and over jump hosts afresh. On a host that is worked on a command is run: an account
    /// that lets in and runs nothing is no way in.
    ///
    /// # Errors
    /// Why there is no such way.
    pub(super) async fn prove(&self, connector: &Connector, without: &[PublicKey]) -> Result<(), Failure> {
        let mut other = self.destination.clone();
        if !without.is_empty() {
            other.choice = KeyChoice::Without(without.into());
        }
        let connection = login(connector, &other, Path::Afresh).await?;
        let mark = token();
        let answer = match self.purpose {
            Purpose::Work => ask(&connection, None, &format!("printf %s {mark}"), Bytes::new()).await,
            Purpose::Jump => Ok(mark.clone().into_bytes()),
        };
        connection.close().await;
        if answer?.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            return Ok(());
        }
        Err(Failure::new(Code::SessionRefused, "a new login runs another command than the one it is given"))
    }

    /// Whether an account's files may be what it is by.
    pub(super) fn is_by(&self, intent: &Intent) -> bool {
        match self.purpose {
            Purpose::Work => intent.is_own,
            Purpose::Jump => intent.account.name == self.destination.endpoint.user,
        }
    }

    /// The keys that go from the files that it may be by.
    pub(super) fn gone(&self, intents: &[Intent]) -> Vec<PublicKey> {
        intents.iter().filter(|intent| self.is_by(intent)).flat_map(|intent| intent.plan.removed_keys()).collect()
    }

    /// What to do where it would be lost.
    pub(super) fn hint(&self) -> &'static str {
        match self.purpose {
            Purpose::Work => "log in with another key (-I) or a password, or say --force",
            Purpose::Jump => "name another key for the jump host in ssh_config, or say --force",
        }
    }

    /// Whose way it is, in words.
    pub(super) fn whose(&self) -> String {
        match self.purpose {
            Purpose::Work => "this run".into(),
            Purpose::Jump => format!("the hosts behind `{}`", self.destination.endpoint),
        }
    }
}

/// Over which connections to jump hosts a login goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Those that are open.
    Shared,
    /// New ones.
    Afresh,
}

fn is_about_the_login(code: Code) -> bool {
    matches!(code, Code::AuthNoKey | Code::AuthRefused | Code::AuthTooMany)
}

async fn login(connector: &Connector, destination: &Destination, path: Path) -> Result<Arc<Connection>, Failure> {
    for attempt in 1.. {
        let mut trace = Trace::default();
        let made = match path {
            Path::Shared => connector.connect(destination, &mut trace).await,
            Path::Afresh => connector.connect_afresh(destination, &mut trace).await,
        };
        match made {
            Ok(connection) => return Ok(connection),
            Err(ConnectError { failure, again, .. }) if again == Again::Never || attempt >= TRIES => {
                return Err(failure);
            }
            Err(ConnectError { again: Again::AfterAtLeast(wait), .. }) => sleep(wait).await,
            Err(_) => sleep(WAIT * attempt).await,
        }
    }
    unreachable!("the loop returns")
}
