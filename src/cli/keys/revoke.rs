//! `bugle keys revoke TARGETS KEY…`.

use super::bearers;
use super::rollout::{Plan, RolloutOptions};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::keys::authorized::{Wanted, WantedError};
use crate::task::rollout::{Absent, Caution, Errand, Repair, Sequence, Whose, Wish};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys revoke all alice.pub --sudo --everywhere
  bugle keys revoke all SHA256:R+pqdVpvaeqr5YZ89c2FOMdtBs9w3o/uyEj0tQz+LAc --dry-run
  bugle keys revoke @db bob@laptop --for postgres --sudo")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// Which keys: a key file, SHA256:… or MD5:…, a comment, or the key itself
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// From the files of all users (with --sudo, unless root logs in)
    #[arg(long, conflicts_with = "for")]
    everywhere: bool,
    /// Also where no other way in is proved
    #[arg(long)]
    force: bool,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let wanted = wanted(&arguments.keys)?;
    let files: Vec<PathBuf> = arguments.keys.iter().map(PathBuf::from).filter(|path| path.is_file()).collect();
    let whose = if arguments.everywhere { Whose::Everyone } else { arguments.rollout.whose()? };
    let title: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let wish = Wish { present: Vec::new(), absent: Absent::These(wanted) };
    arguments.rollout.reach(global, "keys revoke")?.run(Plan {
        title: title.join(", "),
        errands: vec![Errand { whose, wish, refused: bearers::of_files(&files)? }],
        sequence: Sequence::Apart,
        repair: Repair::Refuse,
        caution: if arguments.force { Caution::Forced } else { Caution::Careful },
        needed: Vec::new(),
    })
}

/// What names keys: files that are there, else fingerprints, keys and comments.
pub(super) fn wanted(names: &[String]) -> Result<Vec<Wanted>, Failed> {
    let mut all: Vec<Wanted> = Vec::new();
    for name in names {
        let path = Path::new(name);
        let found = if path.is_file() {
            let bearers = bearers::of_files(&[path.into()])?;
            bearers.iter().map(|bearer| Wanted::Key(bearer.key.key().clone())).collect()
        } else {
            let wanted = name.parse().map_err(|error: WantedError| {
                Failed::mistake(error).hint("name a key file, SHA256:… or MD5:…, a comment, or the key itself")
            })?;
            vec![wanted]
        };
        all.extend(found.into_iter().filter(|wanted| !all.contains(wanted)).collect::<Vec<_>>());
    }
    Ok(all)
}
