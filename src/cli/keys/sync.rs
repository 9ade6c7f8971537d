//! `bugle keys sync TARGETS --from FILE|DIR`.

use super::bearers::private_beside;
use super::deploy::{admission, read_options};
use super::rollout::{Plan, RepairOptions, RolloutOptions};
use crate::cli::failure::Failed;
use crate::cli::key_files::read_file;
use crate::cli::options::GlobalOptions;
use crate::host::check_user;
use crate::keys::authorized::{Document, Entry, Line, NewKey};
use crate::task::rollout::{Absent, Admission, Bearer, Caution, Errand, Sequence, Whose, Wish};
use clap::{Args, ValueHint};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(
    after_help = "FILE is in the form of authorized_keys and says who may log in as the user. DIR has such a file for each
user, under the user's name. Without --exclusive, keys that are not declared stay.

Examples:
  bugle keys sync all --from team.keys --dry-run
  bugle keys sync all --from keys.d/ --exclusive --sudo"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// The keys that are to be there, with their options
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, help_heading = "Which keys")]
    from: PathBuf,
    /// Remove every other key
    #[arg(long, help_heading = "Which keys")]
    exclusive: bool,
    /// Remove keys also where no other way in is proved
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    repair: RepairOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let whose = arguments.rollout.whose()?;
    let declared = if arguments.from.is_dir() {
        if whose != Whose::Login {
            return Err(
                Failed::mistake_text("--for and a directory both say whose keys are meant").hint("leave --for out")
            );
        }
        of_directory(&arguments.from)?
    } else {
        vec![(whose, of_file(&arguments.from)?)]
    };
    let errand = |(whose, present): (Whose, Vec<Admission>)| {
        let absent = if arguments.exclusive { Absent::Others } else { Absent::Nothing };
        Errand { whose, wish: Wish { present, absent }, refused: Vec::new() }
    };
    arguments.rollout.reach(global, "keys sync")?.run(Plan {
        title: arguments.from.display().to_string(),
        errands: declared.into_iter().map(errand).collect(),
        sequence: Sequence::Apart,
        repair: arguments.repair.repair(),
        caution: if arguments.force { Caution::Forced } else { Caution::Careful },
        needed: Vec::new(),
    })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failed {
    Failed::mistake_text(format!("cannot read `{}`: {error}", path.display()))
}

fn of_directory(directory: &Path) -> Result<Vec<(Whose, Vec<Admission>)>, Failed> {
    let failed = |error: std::io::Error| cannot_read(directory, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        let text = format!("`{}` has no file of keys", directory.display());
        return Err(Failed::mistake_text(text).hint("it has a file for each user, under the user's name"));
    }
    let declared = paths.iter().map(|path| {
        let user = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check_user(&user)
            .map_err(|error| Failed::mistake(error).hint("files are named as the users whose keys they hold"))?;
        Ok((Whose::User(user), of_file(path)?))
    });
    declared.collect()
}

/// The keys that a file declares, each with exactly the options that stand before it.
fn of_file(path: &Path) -> Result<Vec<Admission>, Failed> {
    let text = read_file(path)?;
    let mut declared: Vec<Admission> = Vec::new();
    let beside = private_beside(path);
    for line in Document::parse(&text).lines() {
        let place = format!("{}:{}", path.display(), line.number.unwrap_or_default());
        let entry = match &line.content {
            Line::Blank | Line::Comment => continue,
            Line::Foreign(fault) => return Err(Failed::mistake_text(format!("{place}: no key: {fault}"))),
            Line::Key(entry) => entry,
        };
        if declared.iter().any(|known| known.bearer.key.key() == &entry.key) {
            return Err(Failed::mistake_text(format!("{place}: the key stands there for a second time")));
        }
        declared.push(declare(entry, beside.as_deref()).map_err(|failed| failed.at(&place))?);
    }
    Ok(declared)
}

/// The private half may be in this file.
fn declare(entry: &Entry, identity: Option<&Path>) -> Result<Admission, Failed> {
    let options = read_options(&String::from_utf8_lossy(&entry.options))?;
    let key = NewKey::new(entry.key.clone(), &String::from_utf8_lossy(&entry.comment));
    let key = key.map_err(|error| Failed::mistake_text(error.to_string()))?;
    admission(&Arc::new(Bearer { key, identity: identity.map(Into::into) }), Some(&options))
}
