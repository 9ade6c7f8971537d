//! The one question of a run about unknown host keys: all of them in a table, once, before the work starts.
//!
//! The keys are gathered over the path that will really be used, jump hosts included. A jump host that is unknown itself
//! hides the hosts behind it, so the question may come again for those.

use super::failure::Failed;
use super::prompt;
use crate::connection::{Connector, Destination, Keyring, Trace};
use crate::host::HostName;
use crate::known_hosts::{Addition, HostQuery, NameStyle, PublicKey};
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Jump hosts behind jump hosts behind …: each answered question uncovers one more level.
const ROUNDS: usize = 5;

/// A key that nobody vouches for, and where it would be written.
struct Stranger {
    /// The name that the user knows the host by.
    name: HostName,
    query: HostQuery,
    key: PublicKey,
    file: PathBuf,
    style: NameStyle,
}

/// Asks about the hosts that nothing is known of, and returns a connector that knows the answers.
pub(super) fn settle(
    mut connector: Connector,
    keyring: Arc<Keyring>,
    destinations: &[&Destination],
    runtime: &Runtime,
    fanout: usize,
) -> Result<Connector, Failed> {
    for _ in 0..ROUNDS {
        let unknown: Vec<&Destination> =
            destinations.iter().copied().filter(|destination| connector.would_ask(destination)).collect();
        if unknown.is_empty() {
            break;
        }
        let strangers = runtime.block_on(gather(&connector, &unknown, fanout));
        if strangers.is_empty() {
            break;
        }
        let mut table = Vec::new();
        write_table(&mut table, &strangers).map_err(Failed::fault)?;
        io::stderr().write_all(&table).map_err(Failed::fault)?;
        let question = match strangers.len() {
            1 => "Trust this host key and remember it?".to_owned(),
            count => format!("Trust these {count} host keys and remember them?"),
        };
        if !prompt::confirm(&question).map_err(Failed::fault)? {
            return Err(Failed::mistake_text("the host keys were not trusted; nothing was started").hint(
                "leave the unknown hosts out with --exclude, or collect their keys in a trusted way into known_hosts",
            ));
        }
        remember(&connector, strangers)?;
        connector = Connector::new(Arc::clone(&keyring), destinations.iter().copied())?;
    }
    Ok(connector)
}

/// Connects to each host once, up to its key. A host that fails otherwise is left to the run, which tells why.
async fn gather(connector: &Connector, unknown: &[&Destination], fanout: usize) -> Vec<Stranger> {
    let attempts = unknown.iter().enumerate().map(|(position, &destination)| async move {
        let error = match connector.connect(destination, &mut Trace::default()).await {
            Ok(connection) => {
                connection.close().await;
                return None;
            }
            Err(error) => error,
        };
        let (query, key) = *error.unknown_key?;
        let (file, style) = destination.profile.known_hosts_target()?;
        let name = destination.name_of(&query).clone();
        Some((position, Stranger { name, query, key, file, style }))
    });
    let met = stream::iter(attempts).buffer_unordered(fanout).filter_map(|found| async { found });
    let mut found: Vec<(usize, Stranger)> = met.collect().await;
    found.sort_by_key(|(position, _)| *position);
    // A shared jump host is met by everyone behind it.
    let mut seen = HashSet::new();
    found.into_iter().map(|(_, stranger)| stranger).filter(|stranger| seen.insert(stranger.query.clone())).collect()
}

impl Stranger {
    /// `web01 (10.0.0.1)`, or only the name where that is what is dialled.
    fn label(&self) -> String {
        let known_as = self.query.lookup_name();
        if known_as == self.name.as_str() { known_as } else { format!("{} ({known_as})", self.name) }
    }
}

fn write_table(out: &mut Vec<u8>, strangers: &[Stranger]) -> io::Result<()> {
    let mut users: HashMap<&PublicKey, usize> = HashMap::new();
    for stranger in strangers {
        *users.entry(&stranger.key).or_default() += 1;
    }
    let width = strangers.iter().map(|stranger| stranger.label().chars().count()).max().unwrap_or(0);
    writeln!(out, "Nobody vouches for these host keys yet:")?;
    for stranger in strangers {
        let name = stranger.label();
        let shared = match users[&stranger.key] {
            1 => String::new(),
            count => format!("  <- the same key on {count} hosts"),
        };
        writeln!(out, "  {name:width$}  {:<8} {}{shared}", stranger.key.family(), stranger.key.fingerprint())?;
    }
    writeln!(out, "Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.")
}

fn remember(connector: &Connector, strangers: Vec<Stranger>) -> Result<(), Failed> {
    let mut files: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for Stranger { query, key, file, style, .. } in strangers {
        let addition = Addition::new(query, vec![key]).map_err(Failed::mistake)?;
        *files.entry(file.clone()).or_default() += 1;
        connector.learned().add(file, style, addition);
    }
    connector.learned().write().map_err(Failed::fault)?;
    for (file, count) in files {
        let keys = if count == 1 { "host key" } else { "host keys" };
        writeln!(io::stderr(), "{count} {keys} added to {}", file.display()).map_err(Failed::fault)?;
    }
    Ok(())
}
