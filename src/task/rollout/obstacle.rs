//! What keeps a file of keys from being touched, and its words.

use super::facts::{Account, Guess, KeyFile, Part, Remark, Unknown};
use crate::outcome::{Code, Failure};
use crate::task::shell::quote;
use std::path::Path;

/// Why a file is not replaced that ls shows with a `+`: sshd may read it by that alone.
const ACL: &str = "its access control list would be lost";

/// Why a file is not touched.
pub(super) fn obstacle(account: &Account, file: &KeyFile) -> Option<String> {
    if let Some(why) = &file.obstacle {
        return Some(why.clone());
    }
    if let Some(room) = &file.busy {
        return Some(format!("another run has `{}` on trial (`{room}`)", file.path));
    }
    // A user's link must not lead root to another file.
    let is_others = account.looked_as == 0 && account.uid != 0;
    let is_hers = !account.named_home.is_empty() && Path::new(&file.path).starts_with(&account.named_home);
    let leads_out = is_hers && !account.home.is_empty() && !is_below_home(account, &file.directory);
    if is_others && (file.link.is_some() || leads_out) {
        let place = file.link.as_ref().unwrap_or(&file.directory);
        return Some(format!("`{}` leads to `{place}` by a link, which root does not follow", file.path));
    }
    None
}

/// Why a file cannot be made, or not be replaced.
pub(super) fn cannot_be_written(account: &Account, file: &KeyFile) -> Option<String> {
    placed(account, file).or_else(|| {
        let directory = file.parts.iter().find(|part| part.path == file.directory);
        let is_own = |part: &Part| part.uid == account.looked_as && part.mode & 0o200 != 0;
        let may_write = account.looked_as == 0 || directory.is_some_and(is_own);
        let why = if may_write { "Read-only file system, or chattr +i" } else { "Permission denied" };
        file.is_sealed.then(|| format!("cannot write in {}: {why}", file.directory))
    })
}

/// Why a file cannot be made where it is to be, or cannot stay what it is.
fn placed(account: &Account, file: &KeyFile) -> Option<String> {
    let why = match file.own_part() {
        // Its owner could not be kept.
        Some(part) if account.looked_as != 0 && part.uid != account.looked_as => {
            format!("cannot be replaced: it belongs to user {}, which only --sudo can keep", part.uid)
        }
        Some(part) if part.has_acl => format!("cannot be replaced: {ACL}"),
        Some(_) => return None,
        None if file.make.is_empty() => return None,
        None if account.home.is_empty() => "cannot be made: there is no home directory".into(),
        None if !is_below_home(account, &file.directory) => {
            "cannot be made: the directory above it is not there".into()
        }
        None => return None,
    };
    Some(format!("`{}` {why}", file.path))
}

/// Whether a path without links is the user's own.
pub(super) fn is_below_home(account: &Account, path: &str) -> bool {
    !account.home.is_empty() && Path::new(path).starts_with(&account.home)
}

impl Guess {
    pub(super) fn why(self) -> String {
        let why = match self {
            Self::Closed => "only root may ask it",
            Self::Unseen => "it is not seen how the one was started that serves this session",
            Self::Mute => "it does not tell (`sshd -T` fails)",
            Self::Spared => "it reads none for this client, and others for others",
            Self::Blank => "the name of one has a blank in it",
        };
        format!("it is not known which files sshd reads, since {why}")
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Closed => "--sudo asks sshd",
            Self::Unseen => {
                "see on the host what starts it (a socket of systemd, inetd) with which configuration, and look there"
            }
            Self::Mute => "`sshd -t` on the host says what is wrong",
            Self::Spared => "`sshd -T -C user=NAME,addr=ADDRESS` on the host says what it reads for another client",
            Self::Blank => "look into the file that AuthorizedKeysFile names on the host",
        }
    }
}

impl Account {
    /// What is said where the place of the keys is a guess.
    pub(super) fn assumption(&self) -> Option<String> {
        let path = self.files.first().map(|file| file.path.as_str()).unwrap_or_default();
        Some(format!("{}: {path} is assumed", self.assumed?.why()))
    }
}

impl Unknown {
    /// A host that is asked for such an account.
    pub(super) fn failure(self, account: &Account) -> Failure {
        let failure = refused_for(account, self.why());
        match self {
            Self::Forbidden => failure.hint("--sudo looks after the keys of other accounts"),
            Self::Absent | Self::NoFiles => failure,
        }
    }
}

impl Remark {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Elsewhere(files) => {
                format!("sshd reads `{files}` for some clients only (Match in sshd_config), which is not looked after")
            }
            Self::Command(command) => {
                format!(
                    "sshd may let in keys that `{command}` gives it (AuthorizedKeysCommand), which are not looked after"
                )
            }
            Self::Stray(home) => format!("`{home}` has keys and belongs to no account: they are not looked after"),
        }
    }

    /// A host on which keys were to be shut out, where sshd may let them in for others than us.
    pub(super) fn failure(&self) -> Option<Failure> {
        let Self::Elsewhere(_) = self else { return None };
        let failure = Failure::new(Code::KeysUnproved, format!("a key may be left: {}", self.text()));
        Some(failure.hint("look into that file on the host; `sshd -T -C user=NAME,addr=ADDRESS` says who is meant"))
    }
}

/// What to do about a file that cannot be looked after, or not be replaced.
pub(super) fn remedy(account: &Account, file: &KeyFile, why: &str) -> Option<String> {
    if let Some(room) = &file.busy {
        let clearing = format!("rm -r {}", quote(room));
        return Some(format!("run this again when that is done; where none is under way: `{clearing}` on the host"));
    }
    let path = quote(&file.path);
    let without = || {
        format!(
            "without it, it has to be readable for `{}`: `setfacl -b {path}; chown {} {path}` on the host",
            account.name, account.uid
        )
    };
    if why.ends_with(ACL) { Some(without()) } else { may_not(account, why) }
}

/// What to do where the login user may not: the file is another's, or in a place that is root's.
pub(super) fn may_not(account: &Account, why: &str) -> Option<String> {
    let reasons = ["Permission denied", "Operation not permitted", "cannot be read"];
    let is_forbidden = reasons.iter().any(|reason| why.contains(reason));
    (is_forbidden && account.looked_as != 0).then(|| "--sudo looks after it as root".into())
}

pub(super) fn refused_for(account: &Account, why: &str) -> Failure {
    refused(&format!("the keys of `{}`: {why}", account.name))
}

pub(super) fn refused(why: &str) -> Failure {
    Failure::new(Code::KeysRefused, why)
}
