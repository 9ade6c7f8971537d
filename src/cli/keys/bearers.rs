//! Which keys are meant by what was typed: files of public and private keys, the agent's, and the newest of one's own.

use crate::cli::failure::Failed;
use crate::connection::{AGENT_LIMIT, Agent, Held, KeyFile};
use crate::keys::authorized::{Line, NewKey, NewKeyError};
use crate::known_hosts::open_at_once;
use crate::task::rollout::Bearer;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// What a file of keys may have; a team's keys are far less.
const LONGEST: u64 = 1024 * 1024;
/// How every private key in text begins.
const PRIVATE: &[u8] = b"-----BEGIN ";

/// The keys of these files: each a public key, several of them, or a private key, whose public half is meant.
pub(super) fn of_files(paths: &[PathBuf]) -> Result<Vec<Arc<Bearer>>, Failed> {
    let mut bearers: Vec<Arc<Bearer>> = Vec::new();
    for path in paths {
        for bearer in of_file(path)? {
            if !bearers.iter().any(|known| known.key.key() == bearer.key.key()) {
                bearers.push(Arc::new(bearer));
            }
        }
    }
    Ok(bearers)
}

/// The one key of a file.
pub(super) fn of_one(path: &Path) -> Result<Arc<Bearer>, Failed> {
    let mut bearers = of_file(path)?;
    match (bearers.pop(), bearers.is_empty()) {
        (Some(bearer), true) => Ok(Arc::new(bearer)),
        _ => Err(Failed::mistake_text(format!("`{}` holds several keys, and one is meant", path.display()))),
    }
}

fn of_file(path: &Path) -> Result<Vec<Bearer>, Failed> {
    let text = read(path)?;
    if text.trim_ascii_start().starts_with(PRIVATE) {
        let beside = path_with_suffix(path);
        if beside.exists() {
            return public(&beside, &read(&beside)?, Some(path));
        }
        let Some(key) = KeyFile::open(path)?.public() else {
            let text = format!("the public half of `{}` cannot be known without its passphrase", path.display());
            return Err(Failed::mistake_text(text).hint("write it beside it first, with `ssh-keygen -y`"));
        };
        let key = NewKey::new(key, "").map_err(|error| wrong(path, 1, error))?;
        return Ok(vec![Bearer { key, identity: Some(path.into()) }]);
    }
    public(path, &text, private_beside(path).as_deref())
}

/// `key` for `key.pub`, where it is there.
pub(super) fn private_beside(path: &Path) -> Option<PathBuf> {
    let private = path.extension().is_some_and(|extension| extension == "pub").then(|| path.with_extension(""));
    private.filter(|private| private.exists())
}

/// `key.pub` for `key`.
fn path_with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn public(path: &Path, text: &[u8], identity: Option<&Path>) -> Result<Vec<Bearer>, Failed> {
    let mut bearers = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if matches!(Line::parse(line), Line::Blank | Line::Comment) {
            continue;
        }
        let key = NewKey::parse(line).map_err(|error| wrong(path, number, error))?;
        bearers.push(Bearer { key, identity: identity.map(Into::into) });
    }
    if bearers.is_empty() {
        return Err(Failed::mistake_text(format!("`{}` holds no key", path.display())));
    }
    Ok(bearers)
}

fn wrong(path: &Path, line: usize, error: NewKeyError) -> Failed {
    let hint = match &error {
        NewKeyError::Options(_) => Some("options are given with --options".to_owned()),
        NewKeyError::NotAKey(_) => Some(format!("ssh-keygen -lf {} shows whether OpenSSH reads it", path.display())),
        _ => None,
    };
    let mut text = format!("{}:{line}: {error}", path.display());
    if let Some(source) = std::error::Error::source(&error) {
        text += &format!(": {source}");
    }
    Failed::mistake_text(text).hints(hint)
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let failed = |error: std::io::Error| {
        let hint = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| "--key names a key file; -i is the inventory".to_owned());
        Failed::mistake_text(format!("cannot read the key `{}`: {error}", path.display())).hints(hint)
    };
    let mut text = Vec::new();
    open_at_once(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)).map_err(failed)?;
    Ok(text)
}

/// The keys that are meant where none is named, as ssh-copy-id chooses: all of the agent's, else the newest `~/.ssh/id*.pub`.
pub(super) fn of_default(agent: Option<&Path>) -> Result<Vec<Arc<Bearer>>, Failed> {
    let held = agent.map(held_by).unwrap_or_default();
    if !held.is_empty() {
        return Ok(held);
    }
    let newest = std::env::home_dir().and_then(|home| newest(&home.join(".ssh")));
    match newest {
        Some(path) => of_files(&[path]),
        None => {
            Err(Failed::mistake_text("there is no key to roll out: the agent has none, and `~/.ssh` has no `id*.pub`")
                .hint("name one with --key FILE, or make one with `bugle keys generate`"))
        }
    }
}

/// An agent that does not answer has no keys to offer, as for ssh-copy-id.
fn held_by(socket: &Path) -> Vec<Arc<Bearer>> {
    let held = Agent::open(socket, Some(AGENT_LIMIT)).and_then(|mut agent| agent.list()).unwrap_or_default();
    let key = |Held { key, comment }| NewKey::new(key, &comment).ok();
    held.into_iter().filter_map(key).map(|key| Arc::new(Bearer { key, identity: None })).collect()
}

fn newest(directory: &Path) -> Option<PathBuf> {
    let modified =
        |path: &PathBuf| fs::metadata(path).and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("id") && name.ends_with(".pub") && !name.ends_with("-cert.pub")
    };
    entries.filter(is_own).max_by_key(modified)
}
