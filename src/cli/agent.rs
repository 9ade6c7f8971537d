//! `bugle agent list|add|remove`: the keys in the ssh-agent, with the words and exit codes of ssh-add(1).

use super::failure::Failed;
use super::key_files::{KeyPassphrases, read_file};
use super::options::GlobalOptions;
use super::shown::shown;
use crate::connection::{AGENT_LIMIT, Agent, AgentError, Confirm, KeyFile, KeyLimits};
use crate::duration;
use crate::exit_code;
use crate::keys::{described, summary};
use crate::known_hosts::PublicKey;
use crate::report::visible;
use clap::{Args, Subcommand, ValueHint};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The keys that ssh-add takes where none is named (`default_files` in ssh-add.c).
const DEFAULT_FILES: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];
/// ssh-add's code where the agent holds no key, or did not do all that it was asked for.
const NOT_ALL: u8 = exit_code::WORK_FAILED;

const START: &str = "eval \"$(ssh-agent)\" starts one for this shell; bugle starts none by itself";
const STUCK: &str = "it is stuck, or something else listens where SSH_AUTH_SOCK points: `ssh-add -l` asks it as well";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Print the fingerprints of its keys, as `ssh-add -l`
    List(ListArguments),
    /// Give it private keys, and the certificates beside them
    Add(AddArguments),
    /// Make it forget keys, and the certificates beside them
    Remove(RemoveArguments),
}

#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 it holds keys, 1 it holds none, 2 it cannot be reached.")]
struct ListArguments {
    /// The public keys themselves, as `ssh-add -L`
    #[arg(short = 'L', long)]
    public: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle agent add
  bugle agent add -t 8h -c ~/.ssh/id_ed25519
  bugle agent add deploy_key --passphrase-fd 3 3<passphrase

Exit codes: 0 all were added, 1 some were not, 2 the agent cannot be reached.")]
struct AddArguments {
    /// Private keys [default: ~/.ssh/id_rsa, id_ecdsa, id_ed25519 and those of security keys]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// The agent forgets them after this time
    #[arg(short = 't', long, value_name = "D", value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// The agent asks before each use of them
    #[arg(short = 'c', long)]
    confirm: bool,
    /// Read the passphrase of the keys from this file descriptor
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<i32>,
}

#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 all were removed, 1 some were not there, 2 the agent cannot be reached.")]
struct RemoveArguments {
    /// Keys: public or private files
    #[arg(value_name = "FILE", required_unless_present = "all", conflicts_with = "all", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// All that it holds
    #[arg(long)]
    all: bool,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let talk = Talk { quiet: global.quiet };
    match &arguments.verb {
        Verb::List(arguments) => list(arguments),
        Verb::Add(arguments) => add(&talk, arguments),
        Verb::Remove(arguments) => remove(&talk, arguments),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(time) if time < Duration::from_secs(1) => Err(format!("`{text}` is less than a second")),
        Ok(time) if time > Duration::from_secs(u32::MAX.into()) => Err(format!("`{text}` is longer than agents count")),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// What is told on standard error, as ssh-add does.
struct Talk {
    quiet: bool,
}

impl Talk {
    fn say(&self, text: &str) {
        if !self.quiet {
            // There is nobody left to tell that stderr is closed.
            let _ = writeln!(io::stderr(), "{}", visible(text));
        }
    }

    fn complain(&self, failed: Failed) {
        failed.report(&mut io::stderr(), &[]);
    }
}

/// The agent of this shell. `patience` is for those that accept and never answer; while keys are added, an agent may ask a
/// person first.
fn open(patience: Option<Duration>) -> Result<Agent, Failed> {
    let socket = std::env::var_os("SSH_AUTH_SOCK")
        .filter(|path| !path.is_empty())
        .ok_or_else(|| Failed::mistake_text("there is no agent: SSH_AUTH_SOCK is not set").hint(START))?;
    Agent::open(Path::new(&socket), patience).map_err(failed)
}

/// Nobody there is another thing than somebody who says no.
fn failed(error: AgentError) -> Failed {
    match error {
        AgentError::Unreachable { .. } => Failed::mistake(error).hint(START),
        _ if error.is_unreachable() => Failed::mistake(error).hint(STUCK),
        _ => Failed::not_all_text(error.to_string()),
    }
}

fn list(arguments: &ListArguments) -> Result<u8, Failed> {
    let held = open(Some(AGENT_LIMIT))?.list().map_err(failed)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if held.is_empty() {
        writeln!(out, "The agent has no identities.")?;
        out.flush()?;
        return Ok(NOT_ALL);
    }
    for held in held {
        let line = match arguments.public {
            true => format!("{} {}", held.key, held.comment),
            false => summary(&held.key, &held.comment),
        };
        writeln!(out, "{}", shown(&line))?;
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}

fn add(talk: &Talk, arguments: &AddArguments) -> Result<u8, Failed> {
    let mut agent = open(None)?;
    let mut passphrases = KeyPassphrases::of(arguments.passphrase_fd, "--passphrase-fd")?;
    let limits = KeyLimits {
        // Rounded up: a lifetime of nothing would be one without end.
        lifetime: arguments.lifetime.map(|time| time.as_secs_f64().ceil() as u32),
        confirm: if arguments.confirm { Confirm::Yes } else { Confirm::No },
    };
    let files = if arguments.files.is_empty() { default_files()? } else { arguments.files.clone() };
    let mut code = exit_code::SUCCESS;
    for path in &files {
        let added = passphrases.open(path).and_then(|file| add_one(talk, &mut agent, &file, limits));
        if let Err(failed) = added {
            talk.complain(failed);
            code = NOT_ALL;
        }
    }
    Ok(code)
}

fn add_one(talk: &Talk, agent: &mut Agent, file: &KeyFile, limits: KeyLimits) -> Result<(), Failed> {
    let path = file.path().display().to_string();
    let certificate = file.certificate();
    let limited = || {
        if let Some(seconds) = limits.lifetime {
            talk.say(&format!("Lifetime set to {seconds} seconds"));
        }
        if limits.confirm == Confirm::Yes {
            talk.say("The user must confirm each use of the key");
        }
    };
    agent.add(file, limits).map_err(|error| refused("add", &path, error))?;
    let own = file.private().map(|private| private.comment().to_string()).filter(|comment| !comment.is_empty());
    talk.say(&format!("Identity added: {path} ({})", own.unwrap_or_else(|| path.clone())));
    limited();
    if let Some(certificate) = certificate? {
        let path = file.certificate_path().display().to_string();
        agent.add_certificate(file, &certificate, limits).map_err(|error| refused("add", &path, error))?;
        talk.say(&format!("Certificate added: {path} ({})", certificate.key_id()));
        limited();
    }
    Ok(())
}

fn refused(what: &str, path: &str, error: AgentError) -> Failed {
    Failed::mistake_text(format!("could not {what} `{path}`: {error}"))
}

/// Those that are there.
fn default_files() -> Result<Vec<PathBuf>, Failed> {
    let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
    let files: Vec<PathBuf> =
        DEFAULT_FILES.iter().map(|name| directory.join(name)).filter(|path| path.exists()).collect();
    if files.is_empty() {
        let text =
            format!("there is no key to add: none of {} is in `{}`", DEFAULT_FILES.join(", "), directory.display());
        return Err(Failed::not_all_text(text).hint("name its file, or make one: bugle keys generate"));
    }
    Ok(files)
}

fn remove(talk: &Talk, arguments: &RemoveArguments) -> Result<u8, Failed> {
    let mut agent = open(Some(AGENT_LIMIT))?;
    if arguments.all {
        agent.remove_all().map_err(failed)?;
        talk.say("All identities removed.");
        return Ok(exit_code::SUCCESS);
    }
    let mut code = exit_code::SUCCESS;
    for path in &arguments.files {
        if let Err(failed) = remove_one(talk, &mut agent, path) {
            talk.complain(failed);
            code = NOT_ALL;
        }
    }
    Ok(code)
}

/// Removes the key and the certificate beside it; one of the two has to be there.
fn remove_one(talk: &Talk, agent: &mut Agent, path: &Path) -> Result<(), Failed> {
    let (key, comment) = public(path)?;
    let certificate = beside(&without_pub(path), "-cert.pub");
    let certified =
        public_in(&certificate).filter(|(certified, _)| certified.plain() == key.plain() && *certified != key);
    let mut removed = Ok(());
    let mut any = false;
    for (path, (key, comment)) in
        [(path, (key, comment))].into_iter().chain(certified.map(|found| (&*certificate, found)))
    {
        let path = path.display().to_string();
        match agent.remove(&key) {
            Ok(()) => {
                any = true;
                talk.say(&format!("Identity removed: {path} {} ({comment})", key.family()));
            }
            Err(error) => removed = removed.and(Err(refused("remove", &path, error))),
        }
    }
    if any { Ok(()) } else { removed }
}

/// The public key that a file means: its own, or that of the file beside it, or that of the private key.
fn public(path: &Path) -> Result<(PublicKey, String), Failed> {
    if let Some(found) = public_in(path).or_else(|| public_in(&beside(path, ".pub"))) {
        return Ok(found);
    }
    let file = KeyFile::open(path)?;
    let key = file.public().ok_or_else(|| {
        Failed::mistake_text(format!("the public half of `{}` cannot be known without its passphrase", path.display()))
    })?;
    Ok((key, file.comment().unwrap_or_else(|| path.display().to_string())))
}

/// The first key of a file, and its comment; where there is none, ssh-add takes the name of the file.
fn public_in(path: &Path) -> Option<(PublicKey, String)> {
    let found = described(&read_file(path).ok()?).into_iter().next()?;
    Some((found.key, found.comment.unwrap_or_else(|| path.display().to_string())))
}

fn without_pub(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "pub") { path.with_extension("") } else { path.into() }
}

/// `path` with something appended to its last component.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
