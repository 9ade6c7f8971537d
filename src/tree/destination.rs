//! What the sources are called on a host, by the rules of scp(1): [`Placement`].
//!
//! A pure function of the sources, of what was typed, and of what is there. `~` and variables are resolved by who asks.

use std::borrow::Cow;
use std::fmt;

use super::entry::{Entry, Root, RootKind};
use super::path::TreePath;

/// What the destination is on the host, after following a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationKind {
    /// Nothing is there.
    Missing,
    /// A directory.
    Directory,
    /// A file, or anything else that is not a directory.
    File,
}

/// Where the sources go on one host. Everything on the host is named by its path below the base, whichever source it
/// comes from, so that sources may share a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    base: Vec<u8>,
    prefixes: Vec<TreePath>,
}

/// The destination has to be an existing directory, and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is {}, {reason}", destination.escape_ascii(), if *exists { "not a directory" } else { "not there" })]
pub struct NeedsDirectory {
    /// As it was typed.
    pub destination: Vec<u8>,
    /// Whether something is there.
    pub exists: bool,
    /// Why it has to be a directory.
    pub reason: Reason,
}

/// Why a destination has to be a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Several sources go into it.
    Several,
    /// It was typed with a slash at its end.
    TrailingSlash,
    /// The source is a directory.
    DirectorySource,
}

impl Placement {
    /// Gives the sources their names on a host (scp.c, `source_sftp`).
    ///
    /// An empty destination is the directory in which the login lands.
    ///
    /// # Errors
    /// Where the destination has to be a directory and is not.
    pub fn new(roots: &[Root], destination: &[u8], found: DestinationKind) -> Result<Self, NeedsDirectory> {
        let exists = found != DestinationKind::Missing;
        let fail = |reason| Err(NeedsDirectory { destination: destination.into(), exists, reason });
        if found != DestinationKind::Directory {
            if roots.len() > 1 {
                return fail(Reason::Several);
            }
            if destination.ends_with(b"/") {
                return fail(Reason::TrailingSlash);
            }
            if exists && roots.iter().any(|root| root.is_directory) {
                return fail(Reason::DirectorySource);
            }
        }
        let base = match destination.iter().rposition(|byte| *byte != b'/') {
            Some(last) => destination[..=last].to_vec(),
            None if destination.is_empty() => b".".to_vec(),
            None => b"/".to_vec(),
        };
        let prefix = |root: &Root| match (found, root.kind) {
            (DestinationKind::Directory, RootKind::Itself) => TreePath::root().join(&root.name),
            _ => TreePath::root(),
        };
        Ok(Self { base, prefixes: roots.iter().map(prefix).collect() })
    }

    /// The destination without slashes at its end: what paths on the host begin with.
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// The path of a root below the base; the base itself where it is empty.
    pub fn prefix(&self, root: usize) -> &TreePath {
        &self.prefixes[root]
    }

    /// The path of an entry below the base.
    pub fn path<'entry>(&self, entry: &'entry Entry) -> Cow<'entry, TreePath> {
        self.below(entry.root, &entry.path)
    }

    /// The path below the base of what has `path` below a root.
    pub(super) fn below<'path>(&self, root: usize, path: &'path TreePath) -> Cow<'path, TreePath> {
        let prefix = &self.prefixes[root];
        if prefix.is_root() { Cow::Borrowed(path) } else { Cow::Owned(prefix.join(path.as_bytes())) }
    }

    /// A path below the base as the host knows it: absolute, or relative to where the login lands.
    pub fn remote(&self, path: &TreePath) -> Vec<u8> {
        let slash: &[u8] = if path.is_root() || self.base.ends_with(b"/") { b"" } else { b"/" };
        [&self.base, slash, path.as_bytes()].concat()
    }
}

impl NeedsDirectory {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match (self.exists, self.reason) {
            (false, Reason::TrailingSlash) => "make the directory first, or leave the slash at the end out",
            (false, _) => "make the directory first",
            (true, _) => "name a directory as the destination",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Several => "and several sources need a directory to go into",
            Self::TrailingSlash => "and the slash at its end asks for a directory",
            Self::DirectorySource => "and a directory cannot take its place",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Filter;

    fn root(name: &str, is_directory: bool) -> Root {
        let kind = if name.is_empty() { RootKind::Contents } else { RootKind::Itself };
        let (source, name) = (name.into(), name.into());
        Root { source, name, kind, is_directory, entries: 0..0, filter: Filter::default() }
    }

    #[test]
    fn sources_go_into_a_directory_or_become_what_was_typed() {
        use DestinationKind::{Directory, File, Missing};
        let file = || vec![root("f", false)];
        let directory = || vec![root("d", true)];
        let contents = || vec![root("", true)];
        let several = || vec![root("f", false), root("d", true), root("", true)];
        for (roots, destination, found, expected) in [
            (file(), "/etc", Directory, Ok(vec!["/etc/f"])),
            (file(), "/etc/", Directory, Ok(vec!["/etc/f"])),
            (file(), "/", Directory, Ok(vec!["/f"])),
            (file(), "", Directory, Ok(vec!["./f"])),
            (file(), ".", Directory, Ok(vec!["./f"])),
            (file(), "sub//", Directory, Ok(vec!["sub/f"])),
            (file(), "/etc/new", Missing, Ok(vec!["/etc/new"])),
            (file(), "/etc/old", File, Ok(vec!["/etc/old"])),
            (file(), "/etc/new/", Missing, Err(Reason::TrailingSlash)),
            (file(), "/etc/old/", File, Err(Reason::TrailingSlash)),
            (directory(), "/srv", Directory, Ok(vec!["/srv/d"])),
            (directory(), "/srv/new", Missing, Ok(vec!["/srv/new"])),
            (directory(), "/srv/new/", Missing, Err(Reason::TrailingSlash)),
            (directory(), "/srv/old", File, Err(Reason::DirectorySource)),
            (contents(), "/srv", Directory, Ok(vec!["/srv"])),
            (contents(), "/", Directory, Ok(vec!["/"])),
            (contents(), "/srv/new", Missing, Ok(vec!["/srv/new"])),
            (contents(), "/srv/old", File, Err(Reason::DirectorySource)),
            (several(), "/srv/", Directory, Ok(vec!["/srv/f", "/srv/d", "/srv"])),
            (several(), "/srv", Missing, Err(Reason::Several)),
            (several(), "/srv", File, Err(Reason::Several)),
        ] {
            let placement = Placement::new(&roots, destination.as_bytes(), found);
            let names = placement.map_err(|error| error.reason).map(|placement| {
                let names = (0..roots.len()).map(|index| placement.remote(placement.prefix(index)));
                names.map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(names, expected.map(|names| names.into_iter().map(String::from).collect()), "{destination}");
        }
    }

    #[test]
    fn a_destination_that_has_to_be_a_directory_says_why() {
        let roots = [root("f", false), root("g", false)];
        let error = Placement::new(&roots, b"/srv/a\xff", DestinationKind::Missing).unwrap_err();
        assert_eq!(error.to_string(), r"`/srv/a\xff` is not there, and several sources need a directory to go into");
        assert_eq!(error.hint(), "make the directory first");
        let error = Placement::new(&roots[..1], b"/srv/a/", DestinationKind::File).unwrap_err();
        assert_eq!(error.to_string(), "`/srv/a/` is not a directory, and the slash at its end asks for a directory");
        let error = Placement::new(&roots[..1], b"/srv/a/", DestinationKind::Missing).unwrap_err();
        assert_eq!(error.to_string(), "`/srv/a/` is not there, and the slash at its end asks for a directory");
        assert_eq!(error.hint(), "make the directory first, or leave the slash at the end out");
    }
}
