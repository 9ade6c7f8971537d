//! Lines from elsewhere, merged into a `known_hosts` file: a collected file, what ssh-keyscan(1) prints, an authority.
//!
//! [`Import`] is what comes, every line of it checked; [`merge`] brings it into a file as a whole or not at all. A host that
//! is known by another key of the same type, or for which the key is revoked, is a [`Contradiction`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::NameStyle;
use super::document::{Document, after_names};
use super::file::{WriteError, append, rewrite, styled};
use super::hosts::{KnownHosts, Place, Problem};
use super::key::{PublicKey, is_certificate_algorithm};
use super::line::{Entry, Fault, Line, Marker};
use super::lookup::{HostQuery, KnownKey, Verdict};
use super::names::Names;
use super::trusted::ReadError;

/// Checked lines that are to be merged.
#[derive(Clone, Debug, Default)]
pub struct Import(Vec<Incoming>);

#[derive(Clone, Debug)]
struct Incoming {
    /// Where it stands in what is imported, counted from 1.
    line: usize,
    entry: Entry,
    /// What stands before the names: a marker.
    before: String,
    /// The key and its comment.
    after: String,
}

/// What is done about keys that contradict what a file knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Nothing at all is merged.
    Refuse,
    /// They take the place of those that are known.
    Replace,
}

/// A key that contradicts what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The host, as lines have it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// Its line in what is imported, counted from 1.
    pub line: usize,
    /// What it contradicts.
    pub by: ContradictedBy,
}

/// What a key contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContradictedBy {
    /// Other keys of the same type, which the host is known by. The only thing that [`Clash::Replace`] overcomes, and not
    /// where such a key stands for a pattern of names.
    Known(Vec<KnownKey>),
    /// A revocation.
    Revoked(Place),
    /// A line for the host that cannot be understood.
    Damaged(Vec<Problem>),
    /// Another key of the same type in this line of what is imported.
    Itself(usize),
}

/// What came of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Names with keys that are new in the file, as they were imported.
    pub added: Vec<(String, PublicKey)>,
    /// How many pairs of name and key stood there already.
    pub present: usize,
    /// Keys that had to go.
    pub replaced: Vec<(String, KnownKey)>,
    /// What speaks against it. Where there is anything, nothing was written.
    pub contradictions: Vec<Contradiction>,
}

impl Import {
    /// Checks a collected file under the name that faults will show. Comments are left behind.
    ///
    /// # Errors
    /// Every line that is none.
    pub fn parse(path: &Path, text: Vec<u8>) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(text);
        let problems = document.problems(path);
        if !problems.is_empty() {
            return Err(problems);
        }
        let incoming = document.lines().filter_map(|line| {
            let Line::Entry(entry) = line.content else { return None };
            let before = match entry.marker {
                Marker::None => String::new(),
                marker => format!("{marker} "),
            };
            let unmarked = if before.is_empty() { line.text } else { after_names(line.text) };
            let after = String::from_utf8_lossy(after_names(unmarked)).trim_end().to_owned();
            Some(Incoming { line: line.number, entry: entry.clone(), before, after })
        });
        Ok(Self(incoming.collect()))
    }

    /// Checks public keys, one a line as `.pub` files hold them, of authorities that may sign for the hosts of a pattern.
    ///
    /// # Errors
    /// Every line that is none, and certificates: they sign nothing.
    pub fn authorities(pattern: &str, path: &Path, text: &[u8]) -> Result<Self, Vec<Problem>> {
        let marked: String = String::from_utf8_lossy(text)
            .lines()
            .map(|line| match line.trim_start() {
                "" => "\n".into(),
                comment if comment.starts_with('#') => "\n".into(),
                key => format!("{} {pattern} {key}\n", Marker::CertAuthority),
            })
            .collect();
        let import = Self::parse(path, marked.into_bytes())?;
        let is_certificate = |incoming: &&Incoming| is_certificate_algorithm(incoming.entry.key.algorithm());
        let problem = |incoming: &Incoming| Problem {
            place: Place { file: path.into(), line: incoming.line },
            column: 1,
            fault: Fault::Certificate,
            text: incoming.after.clone(),
        };
        let problems: Vec<Problem> = import.0.iter().filter(is_certificate).map(problem).collect();
        if problems.is_empty() { Ok(import) } else { Err(problems) }
    }

    /// Whether nothing is to be merged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Merges what is imported, as a whole or not at all: new names of a key, under the lock, in a file that takes the place of
/// the former one. What is there stays byte for byte, and nothing is written that stands there already; a missing file is
/// created. With [`NameStyle::Hashed`] clear names are hashed; patterns and what has a marker cannot be.
///
/// # Errors
/// As [`rewrite`].
pub fn merge(path: &Path, import: &Import, style: NameStyle, clash: Clash) -> Result<Merged, WriteError> {
    if !path.exists() {
        // What contradicts itself leaves no empty file behind.
        let merging = Merging::of(path, &Document::parse(Vec::new()), import);
        if import.is_empty() || !merging.merged.contradictions.is_empty() {
            return Ok(merging.merged);
        }
        append(path, &[], style)?;
    }
    let mut outcome = Ok(Merged::default());
    rewrite(path, |document| {
        let mut merging = Merging::of(path, document, import);
        if clash == Clash::Replace {
            merging.replace_known(document);
        }
        match merging.text(document, style) {
            Ok(text) => {
                outcome = Ok(merging.merged);
                text
            }
            Err(error) => {
                outcome = Err(error);
                document.as_bytes().to_vec()
            }
        }
    })?;
    outcome
}

/// What would be merged, without writing it.
///
/// # Errors
/// When the file cannot be read.
pub fn merged(path: &Path, import: &Import, clash: Clash) -> Result<Merged, ReadError> {
    let document = Document::read(path)?.unwrap_or_else(|| Document::parse(Vec::new()));
    let mut merging = Merging::of(path, &document, import);
    if clash == Clash::Replace {
        merging.replace_known(&document);
    }
    Ok(merging.merged)
}

/// A merge that is being worked out.
struct Merging<'a> {
    /// The lines that are new: what is imported, and which of its names, all of them where they are patterns or hashed.
    fresh: Vec<(&'a Incoming, Option<Vec<String>>)>,
    /// Names that are taken out of lines of the file.
    dropped: BTreeMap<usize, BTreeSet<String>>,
    merged: Merged,
}

impl<'a> Merging<'a> {
    fn of(path: &Path, document: &Document, import: &'a Import) -> Self {
        let known = KnownHosts::from_text(path, document.as_bytes());
        let mut merging = Self { fresh: Vec::new(), dropped: BTreeMap::new(), merged: Merged::default() };
        let marked: HashSet<(Marker, String, &PublicKey)> =
            document.lines().filter_map(|line| whole(line.content)).collect();
        let mut taken = Taken::default();
        let mut seen = HashSet::new();
        for incoming in &import.0 {
            let Entry { marker, names, key } = &incoming.entry;
            if let (Marker::None, Some(names)) = (*marker, names.exact()) {
                let fresh: Vec<String> = names
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .filter(|name| merging.is_fresh(name.clone(), incoming, &known, &mut taken))
                    .collect();
                if !fresh.is_empty() {
                    merging.fresh.push((incoming, Some(fresh)));
                }
                continue;
            }
            let whole = (*marker, names.to_string(), key);
            if marked.contains(&whole) || !seen.insert(whole) {
                merging.merged.present += 1;
                continue;
            }
            // A hash tells its name only to somebody who knows it: those of the file may be tried.
            let clear = match names {
                Names::Hashed(_) if *marker == Marker::None => known
                    .clear_names()
                    .filter_map(|name| std::str::from_utf8(name).ok())
                    .find(|name| names.matches(name))
                    .map(str::to_owned),
                _ => None,
            };
            match clear {
                Some(name) if !merging.is_fresh(name.clone(), incoming, &known, &mut taken) => {}
                Some(_) => merging.fresh.push((incoming, None)),
                None => {
                    merging.merged.added.push((names.to_string(), key.clone()));
                    merging.fresh.push((incoming, None));
                }
            }
        }
        merging
    }

    /// Whether a key is new for a name and contradicts nothing.
    fn is_fresh(&mut self, name: String, incoming: &'a Incoming, known: &KnownHosts, taken: &mut Taken<'a>) -> bool {
        let key = &incoming.entry.key;
        let host = known.lookup(&HostQuery { host: name.clone(), port: 22, alias: Some(name.clone()) });
        let same_type = |known: &KnownKey| known.key.algorithm() == key.algorithm();
        let by = match host.check(key) {
            Verdict::Known { .. } => {
                self.merged.present += 1;
                return false;
            }
            Verdict::Revoked { place } => Some(ContradictedBy::Revoked(place)),
            Verdict::Damaged { problems } => Some(ContradictedBy::Damaged(problems)),
            Verdict::Changed { known } => {
                let known: Vec<KnownKey> = known.into_iter().filter(same_type).collect();
                (!known.is_empty()).then_some(ContradictedBy::Known(known))
            }
            Verdict::Unknown => None,
        };
        let by = match taken.0.get(&(name.clone(), key.algorithm())) {
            Some(first) if first.entry.key == *key => {
                self.merged.present += 1;
                return false;
            }
            Some(first) => Some(ContradictedBy::Itself(first.line)),
            None => by,
        };
        taken.0.entry((name.clone(), key.algorithm())).or_insert(incoming);
        match by {
            Some(by) => {
                let line = incoming.line;
                self.merged.contradictions.push(Contradiction { name, key: key.clone(), line, by });
            }
            None => self.merged.added.push((name, key.clone())),
        }
        // Where it contradicts, nothing is written unless that is settled.
        true
    }

    /// Takes the names that are known by other keys out of their lines, so that the new keys can take their place.
    fn replace_known(&mut self, document: &Document) {
        let is_exact: HashMap<usize, bool> =
            document.lines().map(|line| (line.number, is_plain(line.content))).collect();
        for contradiction in std::mem::take(&mut self.merged.contradictions) {
            match &contradiction.by {
                ContradictedBy::Known(known) if known.iter().all(|known| is_exact[&known.place.line]) => {
                    for known in known {
                        self.dropped.entry(known.place.line).or_default().insert(contradiction.name.clone());
                        self.merged.replaced.push((contradiction.name.clone(), known.clone()));
                    }
                    self.merged.added.push((contradiction.name, contradiction.key));
                }
                _ => self.merged.contradictions.push(contradiction),
            }
        }
    }

    /// The new text; the former one where something speaks against it.
    fn text(&self, document: &Document, style: NameStyle) -> Result<Vec<u8>, WriteError> {
        if !self.merged.contradictions.is_empty() {
            return Ok(document.as_bytes().to_vec());
        }
        let mut text = document.edit(|line| match (self.dropped.get(&line.number), line.content) {
            (Some(names), Line::Entry(entry)) => without_names(line.text, &entry.names, names),
            _ => Some(line.text.to_vec()),
        });
        if !self.fresh.is_empty() && text.last().is_some_and(|&byte| byte != b'\n') {
            text.push(b'\n');
        }
        for (Incoming { entry, before, after, .. }, names) in &self.fresh {
            match names {
                None => text.extend_from_slice(format!("{before}{} {after}\n", entry.names).as_bytes()),
                Some(names) if style == NameStyle::Clear => {
                    text.extend_from_slice(format!("{} {after}\n", names.join(",")).as_bytes());
                }
                Some(names) => {
                    for name in names {
                        text.extend_from_slice(format!("{} {after}\n", styled(name, style)?).as_bytes());
                    }
                }
            }
        }
        Ok(text)
    }
}

/// Which line of what is imported has the key of a name and type.
#[derive(Default)]
struct Taken<'a>(HashMap<(String, &'a str), &'a Incoming>);

/// A line that is compared as it stands: one with a marker, patterns or a hash.
fn whole(line: &Line) -> Option<(Marker, String, &PublicKey)> {
    let Line::Entry(entry) = line else { return None };
    let is_plain = entry.marker == Marker::None && entry.names.exact().is_some();
    (!is_plain).then(|| (entry.marker, entry.names.to_string(), &entry.key))
}

/// Whether a line holds a key of hosts by their names, clear or hashed.
fn is_plain(line: &Line) -> bool {
    let Line::Entry(entry) = line else { return false };
    entry.marker == Marker::None && (matches!(entry.names, Names::Hashed(_)) || entry.names.exact().is_some())
}

/// The line for those of its names that stay; nothing where none does.
fn without_names(text: &[u8], names: &Names, dropped: &BTreeSet<String>) -> Option<Vec<u8>> {
    let left: Vec<&[u8]> = names.exact()?.filter(|name| !dropped.iter().any(|gone| gone.as_bytes() == *name)).collect();
    (!left.is_empty()).then(|| [&left.join(&b','), &b" "[..], after_names(text)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::HashedName;

    fn key(seed: u8) -> PublicKey {
        PublicKey::from_blob(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &[seed; 32][..]].concat()).unwrap()
    }

    /// A text with `{1}` to `{9}` for keys, and `{h:NAME}` for a hashed name.
    fn filled(text: &str) -> String {
        let text =
            (1..10).fold(text.to_owned(), |text, seed| text.replace(&format!("{{{seed}}}"), &key(seed).to_string()));
        text.replace("{h:a}", &HashedName::new("a", [1; 20]).to_string())
            .replace("{h:b}", &HashedName::new("b", [2; 20]).to_string())
    }

    fn merge_texts(former: &str, import: &str, clash: Clash) -> (String, Merged) {
        let document = Document::parse(filled(former).into_bytes());
        let import = Import::parse(Path::new("import"), filled(import).into_bytes()).unwrap();
        let mut merging = Merging::of(Path::new("f"), &document, &import);
        if clash == Clash::Replace {
            merging.replace_known(&document);
        }
        let text = merging.text(&document, NameStyle::Clear).unwrap();
        (String::from_utf8(text).unwrap(), merging.merged)
    }

    #[test]
    fn what_is_new_is_added_once_and_what_is_there_stays() {
        for (former, import, expected) in [
            ("", "a {1}", "a {1}\n"),
            ("# mine\na {1}", "# a:22 SSH-2.0-x\nb {2} note\n", "# mine\na {1}\nb {2} note\n"),
            ("a {1}\n", "a,b,A {1}\n", "a {1}\nb {1}\n"),
            ("", "a {1}\na {1}\n[a]:22 {1}\n", "a {1}\n[a]:22 {1}\n"),
            ("* {1}\n", "a {1}\n", "* {1}\n"),
            ("{h:a} {1}\n", "a {1}\nb {1}\n", "{h:a} {1}\nb {1}\n"),
            ("a {1}\n", "{h:a} {1}\n{h:b} {1}\n", "a {1}\n{h:b} {1}\n"),
            ("{h:b} {1}\n", "{h:b} {1}\n", "{h:b} {1}\n"),
            ("", "*.x,!y.x {1}\n@cert-authority * {2} ca\n", "*.x,!y.x {1}\n@cert-authority * {2} ca\n"),
            ("@revoked * {1}\n", "@revoked * {1}\n@revoked * {2}\n", "@revoked * {1}\n@revoked * {2}\n"),
        ] {
            let (text, merged) = merge_texts(former, import, Clash::Refuse);
            assert_eq!(text, filled(expected), "{former:?} and {import:?}");
            assert_eq!(merged.contradictions, [], "{former:?} and {import:?}");
        }
    }

    #[test]
    fn a_contradiction_lets_nothing_in_and_only_known_keys_are_replaced() {
        for (former, import, replaced) in [
            ("a {1}\n", "b {2}\na {2}\n", Some("b {2}\na {2}\n")),
            ("a,b {1} note\n", "a {2}\n", Some("b {1} note\na {2}\n")),
            ("{h:a} {1}\na {3}\nc {1}\n", "a {2}\n", Some("c {1}\na {2}\n")),
            ("a {1}\n", "{h:a} {2}\n", Some("{h:a} {2}\n")),
            ("? {1}\n", "a {2}\n", None),
            ("@revoked * {2}\n", "a {2}\n", None),
            ("a ssh-ed25519 !\n", "a {2}\n", None),
            ("", "a {1}\na {2}\n", None),
        ] {
            let (text, merged) = merge_texts(former, import, Clash::Refuse);
            assert_eq!(text, filled(former), "{former:?} and {import:?}");
            assert_eq!(merged.contradictions.len(), 1, "{former:?} and {import:?}");
            let (text, merged) = merge_texts(former, import, Clash::Replace);
            assert_eq!(text, filled(replaced.unwrap_or(former)), "{former:?} and {import:?}");
            assert_eq!(merged.contradictions.is_empty(), replaced.is_some(), "{former:?} and {import:?}");
        }
    }

    #[test]
    fn every_line_of_an_import_is_checked() {
        let problems = Import::parse(Path::new("scan"), b"a ssh-ed25519 !\n# ok\nb\n".to_vec()).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["scan:1:15: the key is not valid base64", "scan:3:2: the key or its type is missing"]);
    }
}
