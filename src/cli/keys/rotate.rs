//! `bugle keys rotate TARGETS --old OLD --new NEW`.

use super::bearers;
use super::deploy::admission;
use super::rollout::{Plan, RepairOptions, RolloutOptions};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::keys::authorized::{Wanted, WantedError};
use crate::scheduler::Serial;
use crate::task::rollout::{Absent, Admission, Bearer, Caution, Errand, Sequence, Whose, Wish};
use clap::{Args, ValueHint};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A canary first, then some, then all.
const BATCHES: &str = "1,10%,100%";

#[derive(Args, Debug)]
#[command(
    after_help = "On each host the new key is added and logs in before the old one is removed, and the old one is refused
afterwards. It begins with one host and stops at the first that fails (--serial 1,10%,100% --max-fail 0). After an interruption,
run it again: the end is the same.

Examples:
  bugle keys rotate all --old ~/.ssh/id_rsa --new ~/.ssh/id_ed25519
  bugle keys rotate @ci --old ci-2025.pub --new ci-2026 --for ci --sudo"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// The key that goes: a key file, SHA256:… or MD5:…, a comment, or the key itself
    #[arg(long, value_name = "OLD", help_heading = "Which keys")]
    old: String,
    /// The key that comes: a key file; its private half has to be there or in the agent
    #[arg(long, value_name = "NEW", value_hint = ValueHint::FilePath, help_heading = "Which keys")]
    new: PathBuf,
    #[command(flatten)]
    repair: RepairOptions,
}

pub(super) fn run(global: &GlobalOptions, mut arguments: Arguments) -> Result<u8, Failed> {
    let new = bearers::of_one(&arguments.new)?;
    let path = Path::new(&arguments.old);
    let old = path.is_file().then(|| bearers::of_one(path)).transpose()?;
    let wanted = match &old {
        Some(bearer) => Wanted::Key(bearer.key.key().clone()),
        None => arguments.old.parse().map_err(|error: WantedError| {
            Failed::mistake(error).hint("--old names a key file, SHA256:… or MD5:…, a comment, or the key itself")
        })?,
    };
    if wanted == Wanted::Key(new.key.key().clone()) {
        return Err(Failed::mistake_text("the old key and the new one are the same"));
    }
    let fanout = &mut arguments.rollout.fanout;
    if fanout.serial.is_none() {
        fanout.serial = BATCHES.parse::<Serial>().ok();
    }
    fanout.fail_fast |= fanout.max_fail.is_none();
    let whose = arguments.rollout.whose()?;
    let mut ready = arguments.rollout.reach(global, "keys rotate")?;
    if whose == Whose::Login {
        // Whichever of the two is there logs in: a rotation that was interrupted goes on.
        let file = |bearer: &Arc<Bearer>, typed: &Path| bearer.identity.clone().unwrap_or_else(|| typed.into());
        let both = [Some(file(&new, &arguments.new)), old.as_ref().map(|old| file(old, path))];
        ready.offer(&both.into_iter().flatten().collect::<Vec<_>>());
    }
    let comes = Admission { like: Some(wanted.clone()), ..admission(&new, None)? };
    let add = Wish { present: vec![comes.clone()], absent: Absent::Nothing };
    let remove = Wish { present: vec![comes], absent: Absent::These(vec![wanted.clone()]) };
    let mut errands = vec![Errand { whose: whose.clone(), wish: add, refused: Vec::new() }];
    if arguments.rollout.fanout.dry_run {
        // What the second does to a file that the first left alone is all that is done.
        errands.clear();
    }
    errands.push(Errand { whose, wish: remove, refused: old.into_iter().collect() });
    ready.run(Plan {
        title: format!("{wanted} for {}", new.key),
        errands,
        sequence: Sequence::Steps,
        repair: arguments.repair.repair(),
        caution: Caution::Careful,
        needed: vec![new],
    })
}
