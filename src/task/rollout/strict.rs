//! What sshd refuses under `StrictModes`: `safe_path` in misc.c of OpenSSH, said beforehand, with what would mend it.

use super::facts::{Account, KeyFile, Part, Strict};
use crate::task::shell::quote;

/// Bits with which somebody else could write.
const OTHERS_WRITE: u32 = 0o022;

const STICKY: u32 = 0o1000;

/// Something on the way to the keys that makes sshd ignore them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    part: Part,
    /// Who should own it, where somebody else does.
    owner: Option<u32>,
    /// Whether it is root's directory, in which others write too and have to.
    is_shared: bool,
}

/// What sshd would refuse about a file and the directories above it.
pub(super) fn violations(account: &Account, file: &KeyFile) -> Vec<Violation> {
    if account.strict == Strict::No {
        return Vec::new();
    }
    let found = file.parts.iter().filter_map(|part| {
        let owner = (part.uid != 0 && part.uid != account.uid).then_some(account.uid);
        // Who may write in a home of her own is for her to say; who may in a directory of root's is not.
        let is_roots = part.uid == 0 && (account.uid != 0 || part.mode & STICKY != 0);
        let is_shared = is_roots && file.own_part() != Some(part);
        let violation = Violation { part: part.clone(), owner, is_shared };
        (owner.is_some() || part.mode & OTHERS_WRITE != 0).then_some(violation)
    });
    found.collect()
}

/// Whether sshd reads a file once this is mended, as far as can be known: it does so as the account.
pub(super) fn is_heeded(account: &Account, file: &KeyFile, mended: &[Violation]) -> bool {
    let is_refused =
        violations(account, file).iter().any(|violation| violation.is_certain() && !mended.contains(violation));
    // Which groups the account is in is not known.
    let may = |part: &Part, bit: u32| {
        let bits = if part.uid == account.uid { bit << 6 } else { bit << 3 | bit };
        account.uid == 0 || part.has_acl || part.mode & bits != 0
    };
    let is_open = |part: &Part| {
        let is_mended = mended.iter().any(|violation| violation.part == *part);
        let part = if is_mended { self::mended(account, part) } else { part.clone() };
        may(&part, if file.own_part().is_some_and(|own| own.path == part.path) { 0o4 } else { 0o1 })
    };
    !is_refused && file.parts.iter().all(is_open)
}

/// A path as it is once what sshd would refuse about it is mended.
pub(super) fn mended(account: &Account, part: &Part) -> Part {
    let mut part = part.clone();
    if account.strict == Strict::Yes {
        part.mode &= !OTHERS_WRITE;
        if part.uid != 0 {
            part.uid = account.uid;
        }
    }
    part
}

impl Violation {
    /// The commands that mend it, as a person would type them.
    pub(super) fn commands(&self) -> Vec<String> {
        let path = quote(&self.part.path);
        let owner = self.owner.map(|uid| format!("chown {uid} {path}"));
        let mode = (self.part.mode & OTHERS_WRITE != 0).then(|| format!("chmod go-w {path}"));
        owner.into_iter().chain(mode).collect()
    }

    /// Whether every sshd refuses it. Debian's lets the group write where its only member is the owner.
    pub(super) fn is_certain(&self) -> bool {
        self.owner.is_some() || self.part.mode & 0o002 != 0
    }

    /// Whether mending it would take something from whoever owns this path.
    pub(super) fn takes(&self, path: &str) -> bool {
        self.owner.is_some() && self.part.path == path
    }

    /// The directory from which mending it would take the permission of everybody else who writes there.
    pub(super) fn shared(&self) -> Option<&str> {
        self.is_shared.then_some(self.part.path.as_str())
    }

    /// Whether it is about a file, and not about a directory above it.
    pub(super) fn is_of(&self, file: &KeyFile) -> bool {
        file.own_part() == Some(&self.part)
    }

    /// What a script needs to know to mend a directory and to undo that.
    pub(super) fn definition(&self) -> String {
        let (mut owner, mut was_owner) = (String::new(), String::new());
        if let Some(uid) = self.owner {
            (owner, was_owner) = (uid.to_string(), format!("{}:{}", self.part.uid, self.part.gid));
        }
        let (path, was) = (quote(&self.part.path), self.part.mode);
        let mode = if was & OTHERS_WRITE == 0 { "" } else { "go-w" };
        let seen = quote(&self.part.listed('d'));
        format!("path={path} seen={seen} owner={owner} mode={mode} was_owner={was_owner} was_mode={was:04o}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str, mode: u32, uid: u32) -> Part {
        Part { path: path.into(), mode, uid, gid: 5, has_acl: false }
    }

    #[test]
    fn what_others_could_write_is_refused_as_sshd_does() {
        let account = Account { uid: 1000, ..Account::default() };
        let file = |parts: &[Part]| KeyFile { parts: parts.to_vec(), ..KeyFile::default() };
        let good = file(&[part("/h/.ssh/k", 0o644, 1000), part("/h/.ssh", 0o755, 0), part("/h", 0o711, 1000)]);
        assert_eq!(violations(&account, &good), []);
        let bad = file(&[part("/h/.ssh/k", 0o660, 1000), part("/h/.ssh", 0o702, 7), part("/h", 0o700, 8)]);
        let commands: Vec<_> = violations(&account, &bad).iter().flat_map(Violation::commands).collect();
        assert_eq!(commands, ["chmod go-w /h/.ssh/k", "chown 1000 /h/.ssh", "chmod go-w /h/.ssh", "chown 1000 /h"]);
        assert_eq!(violations(&Account { strict: Strict::No, ..account }, &bad), []);
    }
}
