//! Who is called: the identity that inventory, connections, events and reports share.
//!
//! [`HostName`] is how the user knows a host; [`Endpoint`] is where a connection goes. Neither says how to log in.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name by which a user knows a host: an inventory name, an ssh_config alias or an address.
///
/// Cheap to clone. Construction checks the name with [`check_host`], so a `HostName` is safe to expand into
/// `ProxyCommand` and file names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Takes a name after checking it; see [`check_host`] for what is refused.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_host(name)?;
        Ok(Self(name.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Position of a host in the run's [`Roster`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// The position as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The hosts of one run in the order of their selection. Events carry a [`HostId`] into it.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<[HostName]>);

impl Roster {
    /// Freezes the hosts of a run.
    pub fn new(hosts: Vec<HostName>) -> Self {
        Self(hosts.into())
    }

    /// The name at a position.
    ///
    /// # Panics
    /// When `id` comes from another roster.
    pub fn name(&self, id: HostId) -> &HostName {
        &self.0[id.index()]
    }

    /// Number of hosts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is called.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every position with its name, in order.
    pub fn iter(&self) -> impl Iterator<Item = (HostId, &HostName)> {
        (0..).map(HostId).zip(self.0.iter())
    }
}

/// Where a connection goes and as whom: what a pool of connections is keyed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Login name on the server.
    pub user: String,
    /// Host name or address that is dialled, without brackets.
    pub address: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.contains(':') {
            write!(f, "{}@[{}]:{}", self.user, self.address, self.port)
        } else {
            write!(f, "{}@{}:{}", self.user, self.address, self.port)
        }
    }
}

/// Why a host or user name is refused before anything expands it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("the {0} name is empty")]
    Empty(&'static str),
    /// It would be read as an option by a program that it is handed to.
    #[error("the {kind} name `{}` begins with `-`", name.escape_debug())]
    LeadingDash {
        /// `host` or `user`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// It holds a character that a shell or a terminal gives a meaning to.
    #[error("the {kind} name `{}` contains `{}`, which is not allowed in names", name.escape_debug(), character.escape_debug())]
    Character {
        /// `host` or `user`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The first offending character.
        character: char,
    },
}

/// Checks a host name by OpenSSH's rules for names from the command line (`valid_hostname` in ssh.c), which bugle holds
/// every name to, wherever it comes from: `%h` of a `ProxyCommand` reaches a shell.
pub fn check_host(name: &str) -> Result<(), NameError> {
    check("host", name, "'`\"$\\;&<>|(){},/")
}

/// Checks a login name by OpenSSH's rules (`valid_ruser` in ssh.c).
pub fn check_user(name: &str) -> Result<(), NameError> {
    check("user", name, "'`\";&<>|(){}\\$")
}

fn check(kind: &'static str, name: &str, refused: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if name.starts_with('-') {
        return Err(NameError::LeadingDash { kind, name: name.into() });
    }
    match name.chars().find(|&c| c.is_control() || c.is_whitespace() || refused.contains(c)) {
        Some(character) => Err(NameError::Character { kind, name: name.into(), character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_read_are_refused() {
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "$(id)", "`id`", "a\nb", "a|b", "a'b", "\u{1b}[2J", "../x"] {
            assert!(check_host(bad).is_err(), "{bad:?}");
        }
        for good in ["web01", "db.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "my_host", "bücher"] {
            assert_eq!(check_host(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn user_names_of_directories_are_kept() {
        for good in ["deploy", "svc-x", "DOMAIN+user", "user@realm", "first.last"] {
            assert_eq!(check_user(good), Ok(()), "{good:?}");
        }
        for bad in ["-l", "a b", "x$(id)", "a;b", "D\\u"] {
            assert!(check_user(bad).is_err(), "{bad:?}");
        }
    }
}
