//! Logins that prove something: that a key opens the door, that the way of this run stays open, that a key does not open any more.

use super::Bearer;
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
    let sources = sources(destination, bearer);
    if connector.private_half(&sources, bearer.key.key()) != PrivateHalf::Here {
        return Ok(Proof::NotHere);
    }
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
    match login(connector, &alone).await {
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

/// Logs in as this run does, without some keys, and runs a command: an account that lets in and runs nothing is no way in.
///
/// # Errors
/// Why there is no such way.
pub(super) async fn of_own_way(
    connector: &Connector,
    destination: &Destination,
    without: &[PublicKey],
) -> Result<(), Failure> {
    let mut other = destination.clone();
    if !without.is_empty() {
        other.choice = KeyChoice::Without(without.into());
    }
    let connection = login(connector, &other).await?;
    let mark = token();
    let answer = ask(&connection, None, &format!("printf %s {mark}"), Bytes::new()).await;
    connection.close().await;
    let answer = answer?;
    if answer.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        return Ok(());
    }
    Err(Failure::new(Code::SessionRefused, "a new login runs another command than the one it is given"))
}

fn is_about_the_login(code: Code) -> bool {
    matches!(code, Code::AuthNoKey | Code::AuthRefused | Code::AuthTooMany)
}

async fn login(connector: &Connector, destination: &Destination) -> Result<Arc<Connection>, Failure> {
    for attempt in 1.. {
        match connector.connect(destination, &mut Trace::default()).await {
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
