//! Keys that hosts announced on a trusted connection, brought into a file: `UpdateHostKeys` of ssh_config(5).
//!
//! A [`Rotation`] is one host's; [`rotate`] edits the lines of all of them at once. As `client_input_hostkeys` in clientloop.c,
//! it touches only hosts whose lines are simple: one name or one hash each, no marker, and no key that stands under another
//! name too. Who proved what is the connection's affair.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::NameStyle;
use super::document::Document;
use super::file::{WriteError, rewrite, styled};
use super::hosts::KnownHosts;
use super::key::PublicKey;
use super::line::{Line, Marker};
use super::names::Names;

/// The keys of a host from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The host, as lines have it.
    pub name: String,
    /// The key that the connection was made with.
    pub used: PublicKey,
    /// Every key that the host announced.
    pub announced: Vec<PublicKey>,
    /// Those of them that are to be written, where they are new; the host has proved that it holds them.
    pub proved: Vec<PublicKey>,
    /// The types whose known keys go where they were not announced.
    pub types: Vec<String>,
}

/// What changed in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Keys that were added.
    pub added: usize,
    /// Keys that were removed.
    pub removed: usize,
}

/// Adds what is new and removes what is deprecated, for all hosts in one write; the former file stays as `NAME.old`.
///
/// # Errors
/// As [`rewrite`].
pub fn rotate(path: &Path, rotations: &[Rotation], style: NameStyle) -> Result<Rotated, WriteError> {
    let mut outcome = Ok(Rotated::default());
    rewrite(path, |document| match rotated(document, rotations, style) {
        Ok((text, rotated)) => {
            outcome = Ok(rotated);
            text
        }
        Err(error) => {
            outcome = Err(error);
            document.as_bytes().to_vec()
        }
    })?;
    outcome
}

fn rotated(document: &Document, rotations: &[Rotation], style: NameStyle) -> Result<(Vec<u8>, Rotated), WriteError> {
    let known = KnownHosts::from_text("", document.as_bytes());
    let lines: HashMap<usize, &Line> = document.lines().map(|line| (line.number, line.content)).collect();
    let mut gone = HashSet::new();
    let mut added = Vec::new();
    let mut seen = HashSet::new();
    for rotation in rotations.iter().filter(|rotation| seen.insert(&rotation.name)) {
        let numbers = known.lines_of(&rotation.name);
        let Some(keys) =
            numbers.iter().map(|number| simple_key(lines[number], &rotation.name)).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let is_elsewhere = |key: &PublicKey| known.places_of(key).any(|(place, _)| !numbers.contains(&place.line));
        let deprecated = |key: &PublicKey| {
            !rotation.announced.contains(key) && rotation.types.iter().any(|kind| kind == key.algorithm())
        };
        if !keys.contains(&&rotation.used)
            || !rotation.announced.contains(&rotation.used)
            || rotation.announced.iter().chain(keys.iter().copied()).any(is_elsewhere)
        {
            continue;
        }
        gone.extend(numbers.iter().zip(&keys).filter(|(_, key)| deprecated(key)).map(|(&number, _)| number));
        for key in rotation.proved.iter().filter(|key| !keys.contains(key)) {
            added.push(format!("{} {key}\n", styled(&rotation.name, style)?));
        }
    }
    let mut text = document.edit(|line| (!gone.contains(&line.number)).then(|| line.text.to_vec()));
    if !added.is_empty() && text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(added.concat().as_bytes());
    Ok((text, Rotated { added: added.len(), removed: gone.len() }))
}

/// The key of a line that is about this host alone.
fn simple_key<'a>(line: &'a Line, name: &str) -> Option<&'a PublicKey> {
    let Line::Entry(entry) = line else { return None };
    let is_simple = match &entry.names {
        Names::Hashed(_) => true,
        names => names.exact()?.eq([name.as_bytes()]),
    };
    (entry.marker == Marker::None && is_simple).then_some(&entry.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::HashedName;

    fn key(seed: u8) -> PublicKey {
        PublicKey::from_blob(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &[seed; 32][..]].concat()).unwrap()
    }

    fn filled(text: &str) -> String {
        let text =
            (1..6).fold(text.to_owned(), |text, seed| text.replace(&format!("{{{seed}}}"), &key(seed).to_string()));
        text.replace("{h}", &HashedName::new("h", [1; 20]).to_string())
    }

    /// `h` was reached by the key 1 and announced 1 and 2.
    #[test]
    fn only_simple_lines_of_the_host_alone_are_edited() {
        for (former, expected) in [
            ("h {1}\n", "h {1}\nh {2}\n"),
            ("# mine\nx {5}\nh {1} note", "# mine\nx {5}\nh {1} note\nh {2}\n"),
            ("h {1}\nh {2}\n", "h {1}\nh {2}\n"),
            ("h {3}\nh {1}\nh {2}\n", "h {1}\nh {2}\n"),
            ("{h} {1}\n{h} {3}\n", "{h} {1}\nh {2}\n"),
            ("h ssh-future AAAACnNzaC1mdXR1cmU=\nh {1}\n", "h ssh-future AAAACnNzaC1mdXR1cmU=\nh {1}\nh {2}\n"),
            // Not simple, not known by this key, or known under another name too: as it was.
            ("h,x {1}\n", "h,x {1}\n"),
            ("? {1}\n", "? {1}\n"),
            ("h {1}\n@revoked * {3}\n", "h {1}\n@revoked * {3}\n"),
            ("h {1}\n@cert-authority h {3}\n", "h {1}\n@cert-authority h {3}\n"),
            ("h {1}\nh ssh-ed25519 !\n", "h {1}\nh ssh-ed25519 !\n"),
            ("h {3}\n", "h {3}\n"),
            ("x {1}\n", "x {1}\n"),
            ("h {1}\nx {2}\n", "h {1}\nx {2}\n"),
            ("h {1}\nh {3}\nx {3}\n", "h {1}\nh {3}\nx {3}\n"),
        ] {
            let rotation = Rotation {
                name: "h".into(),
                used: key(1),
                announced: vec![key(1), key(2)],
                proved: vec![key(2)],
                types: vec!["ssh-ed25519".into()],
            };
            let document = Document::parse(filled(former).into_bytes());
            let (text, _) = rotated(&document, &[rotation.clone(), rotation], NameStyle::Clear).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), filled(expected), "{former:?}");
        }
    }
}
