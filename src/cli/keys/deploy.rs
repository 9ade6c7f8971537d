//! `bugle keys deploy TARGETS`.

use super::bearers;
use super::rollout::{Plan, RepairOptions, RolloutOptions};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::keys::authorized::Options;
use crate::task::rollout::{Absent, Admission, Bearer, Caution, Errand, Wish};
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys deploy all --ask-pass
  bugle keys deploy 'web[01-20]' --key ~/.ssh/id_ed25519.pub --repair
  bugle keys deploy @db --key alice.pub --for postgres --sudo
  bugle keys deploy all --key ci.pub --options 'from=\"10.0.0.0/8\",restrict,pty' --dry-run")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// A key file, public or private; else the agent's keys, else the newest ~/.ssh/id*.pub [repeatable]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Which keys")]
    key: Vec<PathBuf>,
    /// What stands before the keys in authorized_keys, such as `from="10.0.0.0/8",restrict,pty`; without it, options stay
    #[arg(long, value_name = "OPTIONS", help_heading = "Which keys")]
    options: Option<String>,
    #[command(flatten)]
    repair: RepairOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let options = arguments.options.as_deref().map(read_options).transpose()?;
    let mut named = bearers::of_files(&arguments.key)?;
    let whose = arguments.rollout.whose()?;
    let ready = arguments.rollout.reach(global, "keys deploy")?;
    if named.is_empty() {
        named = bearers::of_default(ready.agent())?;
    }
    let present = named.iter().map(|bearer| admission(bearer, options.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let wish = Wish { present, absent: Absent::Nothing };
    ready.run(Plan {
        title: title(&named),
        errands: vec![Errand { whose, wish, refused: Vec::new() }],
        repair: arguments.repair.repair(),
        caution: Caution::Careful,
        needed: Vec::new(),
    })
}

/// A key with its options; a line that sshd would not read is a mistake.
pub(super) fn admission(bearer: &Arc<Bearer>, options: Option<&Options>) -> Result<Admission, Failed> {
    bearer.key.line(options).map_err(|error| Failed::mistake_text(format!("{}: {error}", bearer.key)))?;
    Ok(Admission { bearer: Arc::clone(bearer), options: options.cloned(), like: None })
}

/// Options that are to be written.
pub(super) fn read_options(text: &str) -> Result<Options, Failed> {
    text.parse::<Options>().map_err(|error| {
        let (hint, caret) = (error.hint.clone(), " ".repeat(error.column.saturating_sub(1)));
        let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Failed::mistake_text(format!("{}\n  {shown}\n  {caret}^", error.reason)).hints(hint)
    })
}

/// The keys in words.
pub(super) fn title(bearers: &[Arc<Bearer>]) -> String {
    let keys: Vec<String> = bearers.iter().map(|bearer| bearer.key.to_string()).collect();
    keys.join(", ")
}
