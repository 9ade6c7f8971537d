//! Who calls, from where: the facts of this machine that ssh_config(5) refers to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, gethostname};

/// The local user, machine and environment. A value, so that tests can be somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name (`%u`, `Match localuser`, the default of `User`).
    pub user: String,
    /// User id (`%i`).
    pub uid: u32,
    /// Home directory (`%d` and `~`) from the passwd database, not from `$HOME`.
    pub home: PathBuf,
    /// This machine's name (`%l`, and `%L` up to the first dot).
    pub host_name: String,
    /// The shell that runs `Match exec`.
    pub shell: PathBuf,
    /// Environment variables (`${NAME}`).
    pub environment: BTreeMap<String, String>,
}

impl Account {
    /// Reads passwd database, host name and environment of this process. Without a passwd entry `$HOME` and `$USER` stand
    /// in, then `/` and the number of the user.
    pub fn current() -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let uid = Uid::current();
        let variable = |name: &str| environment.get(name).cloned();
        let (user, home) = match User::from_uid(uid) {
            Ok(Some(user)) => (user.name, user.dir),
            _ => (
                variable("USER").unwrap_or_else(|| uid.to_string()),
                variable("HOME").unwrap_or_else(|| "/".into()).into(),
            ),
        };
        Self {
            user,
            uid: uid.as_raw(),
            home,
            host_name: gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            shell: variable("SHELL").unwrap_or_else(|| "/bin/sh".into()).into(),
            environment,
        }
    }

    /// The home directory of any user.
    pub(super) fn home_of(&self, user: &str) -> Option<PathBuf> {
        if user == self.user {
            return Some(self.home.clone());
        }
        Some(User::from_name(user).ok()??.dir)
    }

    /// Expands `~` and `~user` at the start of a path; none where there is no such user.
    pub(super) fn expand_tilde(&self, path: &str) -> Option<String> {
        let Some(after) = path.strip_prefix('~') else { return Some(path.to_owned()) };
        let (user, rest) = after.split_once('/').unwrap_or((after, ""));
        let home = if user.is_empty() { self.home.clone() } else { self.home_of(user)? };
        Some(join(&home, rest))
    }

    /// Expands `~` of an `Include` pattern, for which OpenSSH asks `$HOME` first, as glob(3) does.
    pub(super) fn expand_include_tilde(&self, path: &str) -> Option<String> {
        match (path.strip_prefix('~'), self.environment.get("HOME")) {
            (Some(after), Some(home)) if !home.is_empty() && (after.is_empty() || after.starts_with('/')) => {
                Some(join(Path::new(home), after))
            }
            _ => self.expand_tilde(path),
        }
    }
}

fn join(home: &Path, rest: &str) -> String {
    let home = home.to_string_lossy();
    format!("{}/{}", home.trim_end_matches('/'), rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_of_the_passwd_database() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/elsewhere".to_owned())]);
        let account = Account {
            user: "ada".into(),
            uid: 1,
            home: "/home/ada".into(),
            host_name: "here".into(),
            shell: "/bin/sh".into(),
            environment,
        };
        for (path, expected) in [
            ("~", "/home/ada/"),
            ("~/x", "/home/ada/x"),
            ("~//x", "/home/ada/x"),
            ("~ada/x", "/home/ada/x"),
            ("/~", "/~"),
        ] {
            assert_eq!(account.expand_tilde(path).as_deref(), Some(expected));
        }
        assert_eq!(account.expand_tilde("~no-such-user-here/x"), None);
        assert_eq!(account.expand_include_tilde("~/x").as_deref(), Some("/elsewhere/x"));
    }
}
