//! The one question of a run about unknown host keys: all of them in a table, once, before the work starts.
//!
//! The keys are fetched over the path that will really be used, jump hosts included. A jump host that is unknown itself
//! hides the hosts behind it, so the question may come again for those.

use super::calls::{Answers, Calls};
use super::failure::{Failed, warn};
use super::prompt;
use crate::connection::{Again, ConnectError, Connector, Destination, Keyring, Trace, Written};
use crate::host::HostName;
use crate::known_hosts::{Addition, Appended, Conflict, HostQuery, NameStyle, PublicKey};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Jump hosts behind jump hosts behind …: each answered question uncovers one more level.
const ROUNDS: usize = 5;
/// How a person finds out whether keys are right.
pub(super) const COMPARE: &str = "Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.";

/// A key that nobody vouches for, and where it would be written.
pub(super) struct Stranger {
    /// The name that the user knows the host by.
    pub(super) name: HostName,
    pub(super) query: HostQuery,
    pub(super) key: PublicKey,
    pub(super) file: PathBuf,
    pub(super) style: NameStyle,
}

/// Whose keys are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Every host that nothing is known of, and the jump hosts before them.
    Everybody,
    /// Jump hosts alone: what is behind them is looked at by other means.
    JumpHosts,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The person at the terminal.
    Person,
    /// `--yes`.
    Yes,
}

/// What the question is about, and how the keys are fetched.
pub(super) struct HostKeyQuestion<'a> {
    pub(super) keyring: Arc<Keyring>,
    pub(super) destinations: &'a [&'a Destination],
    pub(super) about: About,
    pub(super) answer: Answer,
    /// Hosts at once.
    pub(super) fanout: usize,
    /// What all the fetching together may take.
    pub(super) deadline: Option<Duration>,
    /// Columns of the terminal, where progress is wanted on it.
    pub(super) width: Option<u16>,
}

/// A run whose questions are answered.
pub(super) struct Settled {
    /// Knows the answers.
    pub(super) connector: Connector,
    /// What the fetching took; the person's time is not counted.
    pub(super) spent: Duration,
}

/// What came of calling hosts for their keys.
#[derive(Default)]
struct Fetched {
    strangers: Vec<Stranger>,
    /// Hosts that will not be reached in this run.
    unreachable: HashMap<HostName, ConnectError>,
    /// The deadline passed before all were called.
    is_late: bool,
}

impl HostKeyQuestion<'_> {
    /// Asks about the hosts that nothing is known of.
    pub(super) fn settle(&self, mut connector: Connector, runtime: &Runtime) -> Result<Settled, Failed> {
        let mut unreachable = HashMap::new();
        let mut spent = Duration::ZERO;
        for _ in 0..ROUNDS {
            let is_unknown = |destination: &&Destination| {
                let is_asked_about = match self.about {
                    About::Everybody => connector.would_ask(destination),
                    About::JumpHosts => connector.has_unknown_jump_host(destination),
                };
                is_asked_about && !unreachable.contains_key(&destination.name)
            };
            let unknown: Vec<&Destination> = self.destinations.iter().copied().filter(is_unknown).collect();
            if unknown.is_empty() {
                break;
            }
            let began = Instant::now();
            let until = self.deadline.and_then(|deadline| began.checked_add(deadline.saturating_sub(spent)));
            let fetched = runtime.block_on(self.fetch(&connector, &unknown, until)).map_err(Failed::fault)?;
            spent += began.elapsed();
            unreachable.extend(fetched.unreachable);
            // A run that is over before it begins needs no answers.
            if fetched.strangers.is_empty() || fetched.is_late {
                break;
            }
            ask(&fetched.strangers, self.answer)?;
            remember(&connector, fetched.strangers)?;
            connector = Connector::new(Arc::clone(&self.keyring), self.destinations.iter().copied())?;
        }
        connector.give_up(unreachable);
        Ok(Settled { connector, spent })
    }

    /// Connects to each host once, up to its key. A host that will fail the same way in the run is not called there again;
    /// one that fails otherwise is left to the run.
    async fn fetch(
        &self,
        connector: &Connector,
        unknown: &[&Destination],
        until: Option<Instant>,
    ) -> io::Result<Fetched> {
        let call = |destination| async move {
            match connector.connect(destination, &mut Trace::default()).await {
                Ok(connection) => {
                    connection.close().await;
                    None
                }
                Err(error) => Some(error),
            }
        };
        let calls = Calls { what: "fetching host keys", fanout: self.fanout, until, width: self.width };
        let Answers { answers, is_late } = calls.make(unknown.iter().copied().map(call).collect()).await?;
        let mut fetched = Fetched { is_late, ..Fetched::default() };
        // A shared jump host is met by everyone behind it.
        let mut seen = HashSet::new();
        for (position, error) in answers {
            let Some(error) = error else { continue };
            let destination = unknown[position];
            match &error.unknown_key {
                Some(met) => {
                    let stranger = Stranger::of(destination, met);
                    fetched.strangers.extend(stranger.filter(|stranger| seen.insert(stranger.query.clone())));
                }
                None if error.again == Again::Never => {
                    fetched.unreachable.insert(destination.name.clone(), error);
                }
                None => {}
            }
        }
        Ok(fetched)
    }
}

fn ask(strangers: &[Stranger], answer: Answer) -> Result<(), Failed> {
    let mut table = Vec::new();
    write_table(&mut table, strangers).map_err(Failed::fault)?;
    io::stderr().write_all(&table).map_err(Failed::fault)?;
    if answer == Answer::Yes || confirm(strangers.len())? {
        return Ok(());
    }
    Err(Failed::mistake_text("the host keys were not trusted; nothing was started")
        .hint("leave the unknown hosts out with --exclude, or collect their keys in a trusted way into known_hosts"))
}

/// The question itself, below the keys that it is about.
pub(super) fn confirm(count: usize) -> Result<bool, Failed> {
    let question = match count {
        1 => "Trust this host key and remember it?".to_owned(),
        count => format!("Trust these {count} host keys and remember them?"),
    };
    prompt::confirm(&question).map_err(Failed::fault)
}

impl Stranger {
    /// The key that was met on the way to a host; nothing where it could not be written anywhere.
    fn of(destination: &Destination, (query, key): &(HostQuery, PublicKey)) -> Option<Self> {
        let (file, style) = destination.profile.known_hosts_target()?;
        let name = destination.name_of(query).clone();
        Some(Self { name, query: query.clone(), key: key.clone(), file, style })
    }

    fn label(&self) -> String {
        label(&self.name, &self.query)
    }
}

/// `web01 (10.0.0.1)`, or only the name where that is what is dialled.
pub(super) fn label(name: &HostName, query: &HostQuery) -> String {
    let known_as = query.lookup_name();
    if known_as == name.as_str() { known_as } else { format!("{name} ({known_as})") }
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
    writeln!(out, "{COMPARE}")
}

/// Writes the keys down, each file once, and tells it. Those that contradict what somebody wrote meanwhile are left out, told
/// too, and given back.
pub(super) fn remember(connector: &Connector, strangers: Vec<Stranger>) -> Result<Vec<Conflict>, Failed> {
    for Stranger { query, key, file, style, .. } in strangers {
        let addition = Addition::new(query, vec![key]).map_err(Failed::mistake)?;
        connector.learned().add(file, style, addition);
    }
    let mut written = connector.learned().write().map_err(Failed::fault)?;
    written.sort_by(|one, other| one.file.cmp(&other.file));
    let mut stderr = io::stderr().lock();
    let mut left_out = Vec::new();
    let is_told = |written: &Written| written.appended != Appended::default();
    for Written { file, appended, .. } in written.into_iter().filter(is_told) {
        let count = appended.written;
        let keys = if count == 1 { "host key" } else { "host keys" };
        writeln!(stderr, "{count} {keys} added to {}", file.display()).map_err(Failed::fault)?;
        for conflict in appended.conflicts {
            let key = format!("{} {}", conflict.key.family(), conflict.key.fingerprint());
            let text = format!("{key} of {} is left out: something else is known by now", conflict.name);
            warn(&mut stderr, text).map_err(Failed::fault)?;
            left_out.push(conflict);
        }
    }
    Ok(left_out)
}
