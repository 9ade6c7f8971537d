//! Paths inside a tree: relative, separated by `/`, bytes of any value; and which names a server may give.
//!
//! [`TreePath`] is one path; [`check_name`] looks at a single name. Nothing here touches a file system.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The path of something inside a tree. The root of the tree is the empty path.
///
/// The order is depth first: a directory stands before what is in it, and everything in it before its next sibling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

/// A path or the text of a symlink as part of a line for people: whoever named it cannot end the line with it, nor move a
/// cursor or turn letters around. Control characters, others that are not to be seen, bytes that are no UTF-8, quotes and
/// backslashes are escaped as in Rust's literals.
pub fn shown(path: &[u8]) -> String {
    let chunks = path.utf8_chunks();
    chunks.map(|chunk| format!("{}{}", chunk.valid().escape_debug(), chunk.invalid().escape_ascii())).collect()
}

impl TreePath {
    /// The root of a tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes names that are separated by single slashes, without one at either end.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the local file system takes it. Empty for the root.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of what is called `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        if self.is_root() {
            return Self(name.into());
        }
        if name.is_empty() {
            return self.clone();
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The directory that this is in; none for the root.
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| Self(self.0[..self.split().unwrap_or(0)].into()))
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.split().map_or(&self.0, |slash| &self.0[slash + 1..])
    }

    /// The directories that this is in, from below the root down to the parent, as bytes.
    pub fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| &self.0[..slash])
    }

    /// How many names the path has: 0 for the root.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.ancestors().count() + 1 }
    }

    /// The path as it is called inside of `directory`: the root where they are the same, none where this is elsewhere.
    pub fn within(&self, directory: &Self) -> Option<Self> {
        if directory.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*directory.0)? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.into())),
            _ => None,
        }
    }

    fn split(&self) -> Option<usize> {
        self.0.iter().rposition(|byte| *byte == b'/')
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name holds a NUL, so it can stand for the separator, which has to come before every other byte.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        match self.0.iter().zip(&other.0).find(|(mine, theirs)| mine != theirs) {
            None => self.0.len().cmp(&other.0.len()),
            Some((mine, theirs)) => rank(*mine).cmp(&rank(*theirs)),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A name that nothing in a directory can have: whoever gives it wants something else opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No name at all.
    #[error("a name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("a name is `.` or `..`")]
    Dots,
    /// A path where a name has to be.
    #[error("a name has a `/` in it")]
    Slash,
    /// A NUL byte, at which the system would cut the name off.
    #[error("a name has a NUL byte in it")]
    Nul,
}

/// Looks at a name that somebody else gave, before anything is done with it.
///
/// # Errors
/// Where the name is not one that a directory can hold (CVE-2019-6111, CVE-2018-20685).
pub fn check_name(name: &[u8]) -> Result<(), BadName> {
    match name {
        b"" => Err(BadName::Empty),
        b"." | b".." => Err(BadName::Dots),
        name if name.contains(&b'/') => Err(BadName::Slash),
        name if name.contains(&0) => Err(BadName::Nul),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text.as_bytes())
    }

    #[test]
    fn a_directory_comes_before_its_contents_and_they_before_its_siblings() {
        let sorted = ["", "a", "a/b", "a/b/c", "a/c", "a!", "a-b", "a.txt", "ab", "b"].map(path);
        let mut shuffled = sorted.clone();
        shuffled.reverse();
        shuffled.sort();
        assert_eq!(shuffled, sorted);
    }

    #[test]
    fn paths_are_joined_and_taken_apart() {
        assert_eq!(TreePath::root().join(b"a"), path("a"));
        assert_eq!(path("a").join(b"b\xff").as_bytes(), b"a/b\xff");
        assert_eq!(path("a").join(b""), path("a"));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(path("a/b").name(), b"b");
        assert_eq!(TreePath::root().name(), b"");
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), [b"a".as_slice(), b"a/b"]);
        assert_eq!((path("").depth(), path("a").depth(), path("a/b").depth()), (0, 1, 2));
        assert_eq!(path("a/b").within(&path("a")), Some(path("b")));
        assert_eq!(path("a").within(&path("a")), Some(TreePath::root()));
        assert_eq!(path("ab").within(&path("a")), None);
        assert_eq!(path("a/b").within(&TreePath::root()), Some(path("a/b")));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (name, verdict) in [
            (&b""[..], Err(BadName::Empty)),
            (b".", Err(BadName::Dots)),
            (b"..", Err(BadName::Dots)),
            (b"a/b", Err(BadName::Slash)),
            (b"/etc/x", Err(BadName::Slash)),
            (b"../x", Err(BadName::Slash)),
            (b"a\0b", Err(BadName::Nul)),
            (b"...", Ok(())),
            (b".a", Ok(())),
            (b"a\nb \xff*", Ok(())),
        ] {
            assert_eq!(check_name(name), verdict, "{}", name.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_names(
            left in prop::collection::vec(prop::collection::vec(1_u8..=255, 1..3), 0..4),
            right in prop::collection::vec(prop::collection::vec(1_u8..=255, 1..3), 0..4),
        ) {
            let clean = |names: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
                names.into_iter().map(|name| name.into_iter().map(|byte| if byte == b'/' { b'.' } else { byte }).collect())
                    .collect()
            };
            let (left, right) = (clean(left), clean(right));
            let whole = |names: &[Vec<u8>]| names.iter().fold(TreePath::root(), |path, name| path.join(name));
            prop_assert_eq!(whole(&left).cmp(&whole(&right)), left.cmp(&right));
        }
    }
}
