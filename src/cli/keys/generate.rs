//! `bugle keys generate`: a key pair, or one for every host, as ssh-keygen makes them.

use super::protection::ProtectionOptions;
use crate::cli::failure::Failed;
use crate::cli::options::{GlobalOptions, TargetOptions};
use crate::cli::shown::shown;
use crate::cli::sources::{Known, Readers};
use crate::exit_code;
use crate::keys::{Existing, Kind, Pair, PairError, PairFiles, PairFilesError, Protection, SizeError, summary};
use crate::ssh_config::Account;
use clap::{Args, ValueEnum, ValueHint};
use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What ssh-keygen makes of `-t ecdsa`.
const ECDSA_BITS: u32 = 256;
/// More than ssh-keygen's 3072: what is rolled out over a fleet stays for long.
const RSA_BITS: u32 = 4096;
const PROBLEMS_SHOWN: usize = 20;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys generate
  bugle keys generate -t rsa -b 4096 -C deploy@example.com -f deploy_key
  bugle keys generate --no-passphrase -f keys --per-host web
  bugle keys generate -f deploy_key --passphrase-fd 3 3<passphrase")]
pub(super) struct Arguments {
    /// Kind of key
    #[arg(short = 't', long = "type", value_enum, value_name = "TYPE", default_value_t = KeyType::Ed25519)]
    key_type: KeyType,
    /// Size: 256, 384 or 521 for ecdsa [default: 256], even, 2048 to 16384 for rsa [default: 4096]
    #[arg(short = 'b', long, value_name = "N")]
    bits: Option<u32>,
    /// What the key is called [default: USER@MACHINE, with --per-host and the host's name]
    #[arg(short = 'C', long, value_name = "TEXT")]
    comment: Option<String>,
    /// Where the private key is written, the public one beside it with `.pub`; with --per-host their directory
    /// [default: ~/.ssh/id_TYPE]
    #[arg(short = 'f', long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    file: Option<PathBuf>,
    #[command(flatten)]
    protection: ProtectionOptions,
    /// A pair for every host that these targets mean, in files with the names of the hosts
    #[arg(long, value_name = "TARGETS", requires = "file")]
    per_host: Option<String>,
    /// With --per-host: keep only hosts that this selects too [repeatable]
    #[arg(long, value_name = "EXPR")]
    limit: Vec<String>,
    /// With --per-host: leave these hosts out [repeatable]
    #[arg(short = 'x', long, value_name = "EXPR")]
    exclude: Vec<String>,
    // Another setting than the `yes` of verbs that only ask: no configuration file may replace keys.
    /// Replace keys that are there
    #[arg(id = "replace_keys", long = "yes")]
    replace: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Ed25519,
    Ecdsa,
    Rsa,
}

/// A pair that is to be made.
struct Order {
    files: PairFiles,
    comment: String,
}

/// Why a pair was not made.
#[derive(Debug, thiserror::Error)]
enum GenerateError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Files(#[from] PairFilesError),
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let kind = arguments.kind().map_err(Failed::mistake)?;
    let orders = arguments.orders(global)?;
    let existing = if arguments.replace { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep {
        let occupied: Vec<Failed> = orders.iter().filter_map(|order| Some(is_there(order.files.occupied()?))).collect();
        if !occupied.is_empty() {
            return Err(Failed::several(occupied, PROBLEMS_SHOWN).hint("--yes replaces keys that are there"));
        }
    }
    let about = match orders.as_slice() {
        [order] => format!("`{}`", order.files.private.display()),
        _ => format!("{} keys", orders.len()),
    };
    let protection = arguments.protection.ask(&about)?;
    let made = make_all(&orders, |order| make(order, kind, &protection, existing));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut failures = Vec::new();
    for (order, made) in orders.iter().zip(made) {
        match made {
            Some(Ok(summary)) if !global.quiet => {
                let path = order.files.private.display().to_string();
                writeln!(out, "{}: {}", shown(&path), shown(&summary))?;
            }
            Some(Err(error)) => failures.push(error),
            Some(Ok(_)) | None => {}
        }
    }
    out.flush()?;
    match failures.into_iter().next() {
        None => Ok(exit_code::SUCCESS),
        Some(GenerateError::Files(PairFilesError::Occupied(path))) => Err(is_there(&path)),
        Some(error) => Err(Failed::fault(error)),
    }
}

fn is_there(path: &Path) -> Failed {
    Failed::mistake(PairFilesError::Occupied(path.into()))
}

impl Arguments {
    /// Where they come from the environment or the configuration, they are about hosts wherever there are any.
    pub(super) fn check_typed(&self, typed: impl Fn(&str) -> bool) -> Result<(), Failed> {
        match ["limit", "exclude"].into_iter().find(|&option| self.per_host.is_none() && typed(option)) {
            Some(option) => Err(Failed::mistake_text(format!("--{option} is about hosts, and there are none here"))
                .hint("--per-host TARGETS makes a pair for every host")),
            None => Ok(()),
        }
    }

    fn kind(&self) -> Result<Kind, SizeError> {
        match (self.key_type, self.bits) {
            (KeyType::Ed25519, None | Some(256)) => Ok(Kind::Ed25519),
            (KeyType::Ed25519, Some(bits)) => Err(SizeError::Ed25519(bits)),
            (KeyType::Ecdsa, bits) => Kind::ecdsa(bits.unwrap_or(ECDSA_BITS)),
            (KeyType::Rsa, bits) => Kind::rsa(bits.unwrap_or(RSA_BITS)),
        }
    }

    /// What is to be made, each in a place of its own.
    fn orders(&self, global: &GlobalOptions) -> Result<Vec<Order>, Failed> {
        let account = Account::current();
        let owner = format!("{}@{}", account.user, account.host_name);
        if let Some(comment) = self.comment.as_ref().filter(|comment| comment.chars().any(char::is_control)) {
            return Err(Failed::mistake_text(format!(
                "the comment `{}` is not one line of text",
                comment.escape_debug()
            )));
        }
        let comment = |default: String| self.comment.clone().unwrap_or(default);
        let Some(targets) = &self.per_host else {
            let private = match &self.file {
                Some(file) => file.clone(),
                // `~` as shells have it.
                None => std::env::home_dir().unwrap_or(account.home).join(".ssh").join(self.key_type.file_name()),
            };
            return Ok(vec![Order { files: PairFiles::at(private), comment: comment(owner) }]);
        };
        let directory = self.file.as_deref().unwrap_or(Path::new("."));
        let targets =
            TargetOptions { targets: targets.clone(), limit: self.limit.clone(), exclude: self.exclude.clone() };
        let readers = Readers { descriptor: self.protection.reads_standard_input(), option: None };
        let selection = Known::load_beside(readers, global)?.select(&targets)?;
        let order = |name: &str| Order {
            files: PairFiles::at(directory.join(name)),
            comment: comment(format!("{owner} for {name}")),
        };
        let orders: Vec<Order> = selection.names().map(|name| order(name.as_str())).collect();
        let mut places = HashSet::new();
        for order in &orders {
            for path in [&order.files.private, &order.files.public] {
                if !places.insert(path) {
                    let text = format!("two hosts would have the same file `{}`", path.display());
                    return Err(Failed::mistake_text(text).hint("leave one of them out with --exclude"));
                }
            }
        }
        Ok(orders)
    }
}

impl KeyType {
    fn file_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "id_ed25519",
            Self::Ecdsa => "id_ecdsa",
            Self::Rsa => "id_rsa",
        }
    }
}

/// Makes one pair and tells of it as `ssh-keygen -l` does.
fn make(order: &Order, kind: Kind, protection: &Protection, existing: Existing) -> Result<String, GenerateError> {
    let pair = Pair::generate(kind, &order.comment)?;
    let private = pair.private_text(protection)?;
    order.files.write(private.as_bytes(), &pair.public_text()?, existing)?;
    Ok(summary(&pair.public()?, &order.comment))
}

/// Works on all orders with all processors. After a failure nothing more is begun; what was not begun is `None`.
fn make_all<T: Send>(
    orders: &[Order],
    make: impl Fn(&Order) -> Result<T, GenerateError> + Sync,
) -> Vec<Option<Result<T, GenerateError>>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut made = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(order) = orders.get(index) else { break };
            let result = make(order);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            made.push((index, result));
        }
        made
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(orders.len());
    let mut all: Vec<_> = orders.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            // A panic of a worker is one of ours.
            let made = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            made.into_iter().for_each(|(index, result)| all[index] = Some(result));
        }
    });
    all
}
