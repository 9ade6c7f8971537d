//! What is to be fetched, as it was typed: [`Source`].

use crate::tree::Glob;

/// A file or directory on every host, perhaps with `~`, `*`, `?` or `[…]` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Vec<u8>);

/// What cannot be a source, or not beside another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing was typed.
    #[error("a source is empty")]
    Empty,
    /// Names have no NUL in them.
    #[error("the source `{}` has a NUL byte in it", .0.escape_ascii())]
    Nul(Vec<u8>),
    /// Two sources would be the same here.
    #[error("`{}` and `{}` have the same name here", .0.escape_ascii(), .1.escape_ascii())]
    SameName(Vec<u8>, Vec<u8>),
}

impl SourceError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SameName(..) => Some("pull them one after the other, into two directories"),
            Self::Empty | Self::Nul(_) => None,
        }
    }
}

impl Source {
    /// Takes in all sources of a pull.
    ///
    /// # Errors
    /// Where one can be nothing, or two have one name.
    pub fn all(typed: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<Self>, SourceError> {
        let mut sources: Vec<Self> = Vec::new();
        for text in typed {
            if text.is_empty() {
                return Err(SourceError::Empty);
            }
            if text.contains(&0) {
                return Err(SourceError::Nul(text));
            }
            let source = Self(text);
            // What a pattern stands for, and what is in a directory, is known on the hosts only.
            let name = name_of(&source.0).filter(|name| !Glob::is_one(name));
            let same = sources.iter().find(|other| name.is_some() && name_of(&other.0) == name);
            if let Some(other) = same {
                return Err(SourceError::SameName(other.0.clone(), source.0));
            }
            sources.push(source);
        }
        Ok(sources)
    }

    /// As it was typed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What something is called here; nothing where its contents are meant: `SRC/.`, `..`, `/`, `~`.
pub(super) fn name_of(path: &[u8]) -> Option<&[u8]> {
    let path = without_slashes(path);
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..]);
    (!matches!(name, b"" | b"." | b".." | b"~")).then_some(name)
}

/// A path without the slashes at its end.
pub(super) fn without_slashes(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1)]
}

/// A path on the host in a directory on the host.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sources: &[&str]) -> Result<usize, SourceError> {
        Source::all(sources.iter().map(|source| source.as_bytes().to_vec())).map(|all| all.len())
    }

    #[test]
    fn a_source_is_called_by_its_last_name() {
        for (path, name) in [
            ("/etc/hosts", Some("hosts")),
            ("hosts", Some("hosts")),
            ("/etc/", Some("etc")),
            ("etc//", Some("etc")),
            ("/etc/.", None),
            ("/etc/..", None),
            (".", None),
            ("/", None),
            ("~", None),
            ("~/", None),
            ("~/x", Some("x")),
        ] {
            assert_eq!(name_of(path.as_bytes()), name.map(str::as_bytes), "{path}");
        }
        assert_eq!((below(b"", b"a"), below(b"/", b"a")), (b"a".to_vec(), b"/a".to_vec()));
        assert_eq!(below(b"a", b"b"), b"a/b");
    }

    #[test]
    fn two_sources_of_one_name_are_a_mistake_before_anybody_is_called() {
        assert_eq!(all(&["/a/x", "/b/y", "/c/.", "/d/.", "*", "/e/*"]), Ok(6));
        assert_eq!(all(&["/a/x", "/b/x/"]), Err(SourceError::SameName(b"/a/x".to_vec(), b"/b/x/".to_vec())));
        assert_eq!(all(&["a", ""]), Err(SourceError::Empty));
        assert_eq!(all(&["a\0"]), Err(SourceError::Nul(b"a\0".to_vec())));
    }
}
