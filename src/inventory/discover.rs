//! Which inventory is used when none is named.
//!
//! `$BUGLE_INVENTORY`; else `inventory.yaml`, `inventory.yml` or `inventory.ini` in the current directory, where nobody else
//! can have put it there; else `~/.config/bugle/inventory.yaml`.

use super::Source;
use super::problem::{Fault, Problem};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is around the process, as a value.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `$BUGLE_INVENTORY`.
    pub variable: Option<String>,
    /// The current directory; empty for names without it in messages.
    pub directory: PathBuf,
    /// `$XDG_CONFIG_HOME/bugle` or `~/.config/bugle`.
    pub config: Option<PathBuf>,
    /// Effective user id.
    pub user: u32,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    /// The sources to load; none when there is no inventory.
    pub sources: Vec<Source>,
    /// Files that were passed over, and why.
    pub warnings: Vec<Problem>,
}

const NAMES: [&str; 3] = ["inventory.yaml", "inventory.yml", "inventory.ini"];

/// Looks for the default inventory.
pub fn discover(around: &Surroundings) -> Discovered {
    let mut found = Discovered::default();
    if let Some(named) = around.variable.as_deref().filter(|named| !named.is_empty()) {
        found.sources.push(Source::parse(named));
        return found;
    }
    for name in NAMES {
        let path = around.directory.join(name);
        if !path.is_file() {
            continue;
        }
        match trust(&path, around.user) {
            Ok(()) => {
                found.sources.push(Source::Path(path));
                return found;
            }
            Err(fault) => {
                let problem = Problem::warning(&path.to_string_lossy(), fault);
                let hint = format!("it was passed over; take others' rights away (chmod go-w) or name it: -i {name}");
                found.warnings.push(problem.hint(hint));
            }
        }
    }
    let own = around.config.as_ref().map(|config| config.join("inventory.yaml")).filter(|path| path.is_file());
    found.sources.extend(own.map(Source::Path));
    found
}

/// Whether nobody but the user and root can have written a file. A user's private group, whose number is the user's own,
/// is the user.
fn trust(path: &Path, user: u32) -> Result<(), Fault> {
    let about = std::fs::metadata(path).map_err(|error| Fault::Unreadable(error.to_string()))?;
    let (owner, mode) = (about.uid(), about.mode() & 0o7777);
    let others = if about.gid() == user || about.gid() == 0 { 0o002 } else { 0o022 };
    if (owner == user || owner == 0) && mode & others == 0 {
        return Ok(());
    }
    let owner = if owner == user { "owned by you".to_owned() } else { format!("owned by user id {owner}") };
    Err(Fault::WritableByOthers { mode, owner })
}
