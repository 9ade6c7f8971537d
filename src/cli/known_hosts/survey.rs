//! Hosts called for their keys, beside what is known of them: how `learn` and `check` begin.
//!
//! The keys come over the way that a run would take, a handshake for each type, and nobody logs in but to jump hosts. Whether
//! any of them is to be trusted is not decided here.

use crate::cli::called::refuse_local;
use crate::cli::calls::{Answers, Calls};
use crate::cli::failure::{Failed, warn};
use crate::cli::fleet::terminals;
use crate::cli::host_key_question::{About, Answer, HostKeyQuestion, Settled};
use crate::cli::options::{GlobalOptions, TargetOptions, time_limit};
use crate::cli::prompt::{self, Passphrases};
use crate::cli::reach::{Reach, Reached};
use crate::cli::sources::Known;
use crate::connection::{Again, ConnectError, Connector, Destination, Keyring};
use crate::exit_code;
use crate::known_hosts::{Comparison, Expectation, PublicKey, Standing, key_type_of};
use crate::nodeset::fold;
use crate::outcome::{Code, Failure};
use crate::scheduler::{Backoff, DescriptorBudget, Fanout, Retries, RetryAfter};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

/// Where nobody vouches for a jump host: no key of the hosts themselves is checked here.
const UNKNOWN_JUMP_HOST: &str = "`bugle known-hosts learn` asks about jump hosts at a terminal, and takes their keys with --yes, unless with --dry-run";
/// What the end of the runtime may take.
const STUCK: Duration = Duration::from_millis(100);

/// Who is called for keys, and how.
#[derive(Args, Debug)]
pub(super) struct SurveyOptions {
    #[command(flatten)]
    targets: TargetOptions,
    /// Only keys of these types [default: those that HostKeyAlgorithms allows]
    #[arg(short = 't', long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<KeyType>,
    /// Hosts called at once
    #[arg(short = 'f', long, value_name = "N", default_value_t)]
    fanout: Fanout,
    /// TCP and key exchange together, for each key
    #[arg(long, value_name = "D", value_parser = time_limit)]
    connect_timeout: Option<Duration>,
    /// All hosts together: what has not answered by then is left out
    #[arg(long, value_name = "D", value_parser = time_limit)]
    deadline: Option<Duration>,
    /// Tries after the first, for resets and overload
    #[arg(long, value_name = "N", default_value_t)]
    retries: Retries,
    /// The keys of each host as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(super) json: Option<String>,
}

/// As `ssh-keyscan -t` names types.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    /// Ed25519
    Ed25519,
    /// On any of the curves P-256, P-384 and P-521
    Ecdsa,
    /// RSA
    Rsa,
}

impl KeyType {
    fn covers(self, algorithm: &str) -> bool {
        match self {
            Self::Ed25519 => algorithm == "ssh-ed25519",
            Self::Ecdsa => algorithm.starts_with("ecdsa-sha2-"),
            Self::Rsa => key_type_of(algorithm) == "ssh-rsa",
        }
    }
}

/// Whether unknown jump hosts may be asked about, or are taken unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JumpHosts {
    /// They have to be known.
    Known,
    /// The person at the terminal is asked, where there is one.
    Asked,
    /// They are taken.
    Taken,
}

/// A host that was called.
pub(super) struct Surveyed {
    pub(super) destination: Arc<Destination>,
    pub(super) keys: Result<Comparison, Failure>,
}

/// What came of calling all hosts.
pub(super) struct Survey {
    pub(super) hosts: Vec<Surveyed>,
    pub(super) connector: Arc<Connector>,
    /// Hosts that the deadline left without an answer.
    pub(super) unanswered: Vec<String>,
}

/// Hosts whose keys are going to be fetched.
pub(super) struct Called<'a> {
    global: &'a GlobalOptions,
    options: &'a SurveyOptions,
    pub(super) hosts: Vec<Reached>,
}

impl SurveyOptions {
    /// Finds the way to every host.
    ///
    /// # Errors
    /// All problems of all hosts together.
    pub(super) fn reach<'a>(&'a self, global: &'a GlobalOptions) -> Result<Called<'a>, Failed> {
        let known = Known::load(global)?;
        let selection = known.select(&self.targets)?;
        let mut reach = Reach::new(&known, self.connect_timeout, None);
        let hosts = reach.all(&selection.hosts, None)?;
        refuse_local(&hosts, "known-hosts")?;
        let mut stderr = io::stderr();
        if !global.quiet {
            reach.warnings().for_each(|warning| warning.warn(&mut stderr));
        }
        for (_, remark) in reach.remarks().filter(|(level, _)| *level <= global.verbose) {
            warn(&mut stderr, remark)?;
        }
        Ok(Called { global, options: self, hosts })
    }

    /// The signature algorithms that a host is asked with.
    fn algorithms<'a>(&self, destination: &'a Destination) -> Vec<&'a str> {
        let wanted = |name: &&str| self.types.is_empty() || self.types.iter().any(|kind| kind.covers(name));
        destination.profile.algorithms.plain_host_keys().into_iter().filter(wanted).collect()
    }
}

impl Called<'_> {
    /// Calls them all.
    pub(super) fn survey(self, jump_hosts: JumpHosts) -> Result<Survey, Failed> {
        let Called { global, options, hosts } = self;
        let destinations: Vec<Arc<Destination>> = hosts.into_iter().map(|host| Arc::new(host.destination)).collect();
        if let Some(host) = destinations.iter().find(|destination| options.algorithms(destination).is_empty()) {
            return Err(Failed::mistake_text(format!(
                "HostKeyAlgorithms of `{}` allows no key of that type",
                host.name
            )));
        }
        let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(destinations.len()).max(1);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).enable_all().build().map_err(Failed::fault)?;
        let began = Instant::now();
        let (connector, spent) = settle(global, options, &runtime, &destinations, jump_hosts)?;
        let connector = Arc::new(connector);
        let until = options.deadline.and_then(|deadline| began.checked_add(deadline.saturating_sub(spent)));
        let per_host = if destinations.iter().any(|destination| destination.uses_a_command()) { 4 } else { 2 };
        let per_host = NonZeroUsize::new(per_host).unwrap_or(NonZeroUsize::MIN);
        let calls = Calls {
            what: "fetching host keys",
            fanout: DescriptorBudget::raised().window(options.fanout, per_host).fanout.get(),
            until,
            width: (!global.quiet && prompt::is_interactive()).then(|| terminals(global.color).width),
        };
        let call = |(number, destination): (usize, &Arc<Destination>)| {
            let (connector, destination) = (Arc::clone(&connector), Arc::clone(destination));
            let algorithms: Vec<String> = options.algorithms(&destination).into_iter().map(str::to_owned).collect();
            let backoff = Backoff::new(seed() ^ number as u64);
            let (retries, is_narrowed) = (options.retries, !options.types.is_empty());
            async move {
                // On a worker: key exchanges are computing, and there are several of them a host.
                tokio::spawn(async move {
                    let how = Manner { retries, backoff, is_narrowed };
                    ask(&connector, &destination, &algorithms, how).await
                })
                .await
            }
        };
        let fetching = calls.make(destinations.iter().enumerate().map(call).collect());
        let Answers { answers, .. } = runtime.block_on(fetching).map_err(Failed::fault)?;
        runtime.shutdown_timeout(STUCK);
        let mut hosts = Vec::with_capacity(answers.len());
        let mut is_answered = vec![false; destinations.len()];
        for (position, answer) in answers {
            is_answered[position] = true;
            let destination = Arc::clone(&destinations[position]);
            hosts.push(Surveyed { destination, keys: answer.map_err(Failed::fault)? });
        }
        let unanswered = destinations.iter().zip(is_answered).filter(|(_, is_answered)| !is_answered);
        let unanswered = unanswered.map(|(destination, _)| destination.name.to_string()).collect();
        Ok(Survey { hosts, connector, unanswered })
    }
}

/// Unlocks the keys for jump hosts, and has those jump hosts settled that nobody vouches for. Gives what that took.
fn settle(
    global: &GlobalOptions,
    options: &SurveyOptions,
    runtime: &Runtime,
    destinations: &[Arc<Destination>],
    jump_hosts: JumpHosts,
) -> Result<(Connector, Duration), Failed> {
    let all: Vec<&Destination> = destinations.iter().map(|destination| &**destination).collect();
    let is_batch = all.iter().any(|destination| destination.profile.batch_mode);
    let person = Passphrases { allowed: !is_batch, quiet: global.quiet, deadline: options.deadline };
    let hops = all.iter().flat_map(|destination| destination.hops()).flat_map(Destination::key_sources);
    let keyring = runtime.block_on(Keyring::prepare(hops, &person)).map_err(|error| {
        let hint = error.hint();
        Failed::mistake(error).hints(hint)
    })?;
    let keyring = Arc::new(keyring);
    let waited = keyring.waited;
    let connector = Connector::new(Arc::clone(&keyring), all.iter().copied())?;
    let answer = match jump_hosts {
        JumpHosts::Taken => Answer::Yes,
        JumpHosts::Asked if !is_batch && prompt::is_interactive() => Answer::Person,
        JumpHosts::Asked | JumpHosts::Known => return Ok((connector, waited)),
    };
    let question = HostKeyQuestion {
        keyring,
        destinations: &all,
        about: About::JumpHosts,
        answer,
        fanout: options.fanout.get(),
        deadline: options.deadline.map(|deadline| deadline.saturating_sub(waited)),
        width: (!global.quiet && prompt::is_interactive()).then(|| terminals(global.color).width),
    };
    let Settled { connector, spent } = question.settle(connector, runtime)?;
    Ok((connector, spent + waited))
}

/// How one host is asked.
struct Manner {
    retries: Retries,
    backoff: Backoff,
    /// The types were typed, so that a host which has none of them is no failure.
    is_narrowed: bool,
}

/// The keys of one host, tried again where that makes sense.
async fn ask(
    connector: &Connector,
    destination: &Destination,
    algorithms: &[String],
    mut how: Manner,
) -> Result<Comparison, Failure> {
    let names: Vec<&str> = algorithms.iter().map(String::as_str).collect();
    let mut attempt = 1;
    let keys = loop {
        let ConnectError { failure, again, .. } = match connector.host_keys(destination, &names).await {
            Ok(keys) => break keys,
            Err(error) => error,
        };
        if how.is_narrowed && failure.code == Code::KexNoCommonHostKey {
            break Vec::new();
        }
        let after = match again {
            Again::Never => return Err(failure),
            _ if !how.retries.allow_after(attempt) => return Err(failure),
            Again::Backoff => RetryAfter::Backoff,
            Again::AfterAtLeast(wait) => RetryAfter::AtLeast(wait),
        };
        sleep(how.backoff.wait(attempt, after)).await;
        attempt += 1;
    };
    let (host, revoked) = connector.known_keys(destination);
    let asked: Vec<String> = algorithms.iter().map(|name| key_type_of(name)).collect();
    let required_rsa_bits = destination.profile.required_rsa_bits;
    Ok(Expectation { host: &host, revoked: &revoked, required_rsa_bits, asked: &asked }.compare(&keys))
}

fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

impl Survey {
    /// Tells who was not reached, the same reason once.
    pub(super) fn tell_unreached(&self, stderr: &mut dyn Write) -> io::Result<()> {
        let mut reasons: BTreeMap<(String, Option<&str>), Vec<&str>> = BTreeMap::new();
        for host in &self.hosts {
            if let Err(failure) = &host.keys {
                let hint = match failure.code {
                    Code::HostKeyUnknown => Some(UNKNOWN_JUMP_HOST),
                    _ => failure.hint.as_deref(),
                };
                let reason = (format!("{}: {}", failure.code.as_str(), failure.message), hint);
                reasons.entry(reason).or_default().push(host.destination.name.as_str());
            }
        }
        for ((reason, hint), names) in reasons {
            Failed::mistake_text(format!("{}: {reason}", fold(names)))
                .hints(hint.map(str::to_owned))
                .report(stderr, &[]);
        }
        if !self.unanswered.is_empty() {
            let names = fold(self.unanswered.iter().map(String::as_str));
            warn(stderr, format!("no answer before the deadline: {names} ({})", self.unanswered.len()))?;
        }
        Ok(())
    }

    /// What the hosts came to, by `docs/exit-codes.md`: what is wrong with a key is a failure of the work.
    pub(super) fn exit_code(&self) -> u8 {
        let comparisons = || self.hosts.iter().filter_map(|host| host.keys.as_ref().ok());
        let is_wrong = |(_, standing): &(PublicKey, Standing)| is_alarming(standing);
        if !self.unanswered.is_empty() {
            exit_code::STOPPED
        } else if comparisons().any(|comparison| comparison.shown.iter().any(is_wrong)) {
            exit_code::WORK_FAILED
        } else if self.hosts.iter().any(|host| host.keys.is_err()) {
            exit_code::UNREACHABLE
        } else {
            exit_code::SUCCESS
        }
    }

    /// All hosts for the output as JSON; `more` may add to each key.
    pub(super) fn document(&self, more: impl Fn(&Surveyed, &PublicKey, &mut Value)) -> Value {
        let hosts = self.hosts.iter().map(|host| {
            let mut value = json!({
                "host": host.destination.name.as_str(),
                "name": host.destination.host_query().lookup_name(),
            });
            match &host.keys {
                Err(failure) => {
                    value["failure"] = json!({ "code": failure.code.as_str(), "message": failure.message });
                }
                Ok(comparison) => {
                    let shown = comparison.shown.iter().map(|(key, standing)| {
                        let mut value = key_document(key, standing);
                        more(host, key, &mut value);
                        value
                    });
                    value["keys"] = shown.collect();
                    value["missing"] = comparison.missing.iter().map(known_document).collect();
                }
            }
            value
        });
        let unanswered = self.unanswered.iter().map(|name| {
            json!({ "host": name, "failure": { "code": "deadline", "message": "no answer before the deadline" } })
        });
        hosts.chain(unanswered).collect()
    }
}

/// Whether a key must not be taken for the host's.
pub(super) fn is_alarming(standing: &Standing) -> bool {
    matches!(standing, Standing::Changed(_) | Standing::Revoked(_) | Standing::Damaged(_))
}

fn key_document(key: &PublicKey, standing: &Standing) -> Value {
    let mut value = json!({
        "type": key.algorithm(),
        "bits": key.bits(),
        "fingerprint": key.fingerprint(),
        "key": key.to_string(),
        "standing": match standing {
            Standing::Same(_) => "same",
            Standing::New => "new",
            Standing::NewType => "new type",
            Standing::Changed(_) => "changed",
            Standing::Revoked(_) => "revoked",
            Standing::Weak(_) => "weak",
            Standing::Damaged(_) => "damaged",
        },
    });
    if let Standing::Changed(known) = standing {
        value["known"] = known.iter().map(known_document).collect();
    }
    value
}

fn known_document(known: &crate::known_hosts::KnownKey) -> Value {
    json!({
        "type": known.key.algorithm(),
        "fingerprint": known.key.fingerprint(),
        "file": known.place.file.display().to_string(),
        "line": known.place.line,
    })
}

/// What is wrong with a key, behind its fingerprint.
pub(super) fn alarm(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Same(_) | Standing::New | Standing::NewType => None,
        Standing::Changed(known) => {
            let known: Vec<String> = known
                .iter()
                .map(|known| format!("{} {} ({})", known.key.family(), known.key.fingerprint(), known.place))
                .collect();
            Some(format!("CHANGED, known is {}", known.join(", ")))
        }
        Standing::Revoked(Some(place)) => Some(format!("REVOKED ({place})")),
        Standing::Revoked(None) => Some("REVOKED (RevokedHostKeys)".into()),
        Standing::Weak(bits) => Some(format!("weak: {bits} bits are less than RequiredRSASize")),
        Standing::Damaged(problems) => {
            Some(format!("DAMAGED LINE {}", problems.first().map(ToString::to_string).unwrap_or_default()))
        }
    }
}
