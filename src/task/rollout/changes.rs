//! What is done to the files of a host, as the script that does it: [`Changes`].

use super::facts::{Account, KeyFile};
use super::frames::Mark;
use super::obstacle::is_below_home;
use super::strict::{Violation, mended};
use crate::keys::authorized::{Change, Document, Line};
use crate::known_hosts::PublicKey;
use crate::task::shell::quote;
use std::fmt::Write;
use std::time::Duration;

const SCRIPT: &str = include_str!("put.sh");

/// What is done to a host, all of it or nothing.
pub(super) struct Changes<'a> {
    /// Files that are replaced.
    pub(super) files: Vec<Replacement<'a>>,
    /// What is mended first.
    pub(super) repairs: Vec<Violation>,
    /// How long the host waits for a word of ours before it takes everything back.
    pub(super) silence: Duration,
}

/// A file that becomes another.
pub(super) struct Replacement<'a> {
    pub(super) account: &'a Account,
    pub(super) file: &'a KeyFile,
    /// What it becomes.
    pub(super) document: &'a Document,
}

impl Replacement<'_> {
    /// What the script needs to know of it.
    fn definition(&self, repairs: &[Violation]) -> String {
        let Self { account, file, document } = self;
        let is_root = account.looked_as == 0;
        let (mode, owner) = match file.own_part() {
            // A file that was there keeps its owner and its mode, as they are once they are mended.
            Some(part) => {
                let is_mended = repairs.iter().any(|violation| violation.is_about(part));
                let part = if is_mended { mended(account, part) } else { part.clone() };
                let owner = if is_root { format!("{}:{}", part.uid, part.gid) } else { format!(":{}", part.gid) };
                (part.mode & 0o777, owner)
            }
            // What root keeps for a user elsewhere is not the user's to edit.
            None if is_root && !is_below_home(account, &file.directory) => (0o644, "0:0".into()),
            None if is_root => (0o600, format!("{}:{}", account.uid, account.gid)),
            None => (0o600, String::new()),
        };
        let (expected, size) = match &file.content {
            Some(content) => (content.sum.as_str(), content.bytes.len()),
            None => ("none", 0),
        };
        format!(
            "directory={} make={} name={} expected={} size={size} length={} mode={mode:03o} owner={owner}",
            quote(&file.directory),
            quote(&file.make),
            quote(&file.name),
            quote(expected),
            document.to_bytes().len(),
        )
    }

    /// Commands that print each line that becomes another, as it was and as it is, and its key.
    fn edits(&self) -> String {
        let changes = self.document.changes();
        let changed: Vec<PublicKey> = changes.iter().filter_map(key_of).collect();
        // Other lines of the same keys stay: they are not to be taken for those that were changed.
        let staying = self.document.lines().filter(|line| {
            let is_new = changes.iter().any(|change| change.after.as_deref() == Some(line.bare()));
            !is_new && line.entry().is_some_and(|entry| changed.contains(&entry.key))
        });
        let staying = staying.map(|line| Some(line.bare().to_vec()));
        let staying = staying.map(|line| Change { before: line.clone(), after: line });
        let mut commands = String::new();
        for change in changes.iter().cloned().chain(staying) {
            let key = key_of(&change).map(|key| key.to_string()).unwrap_or_default();
            let blob = key.split(' ').nth(1).unwrap_or_default();
            let [before, after] = [&change.before, &change.after].map(|line| line.as_deref().unwrap_or_default());
            if before.contains(&0) || after.contains(&0) {
                return "false".into();
            }
            let _ = write!(commands, "printf '{}\\n{}\\n{blob}\\n'; ", printed(before), printed(after));
        }
        commands + ":"
    }
}

/// The key of the line that a change leaves.
fn key_of(change: &Change) -> Option<PublicKey> {
    match Line::parse(change.after.as_ref()?) {
        Line::Key(entry) => Some(entry.key),
        Line::Blank | Line::Comment | Line::Foreign(_) => None,
    }
}

/// Bytes as the format of printf(1), in quotes.
pub(super) fn printed(line: &[u8]) -> String {
    let mut text = String::new();
    for byte in line {
        match byte {
            b'%' => text += "%%",
            b'\\' => text += "\\\\",
            b' '..=b'~' if *byte != b'\'' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\{other:03o}");
            }
        }
    }
    text
}

/// A function of the script that has something for each of these.
fn function(name: &str, definitions: impl Iterator<Item = String>) -> String {
    let mut text = format!("{name}() {{ case $1 in\n");
    for (number, definition) in (1..).zip(definitions) {
        let _ = writeln!(text, "{number}) {definition} ;;");
    }
    text + "esac; }\n"
}

fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    quote(&numbers.join(" "))
}

impl Changes<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.repairs.is_empty()
    }

    /// The script that does it.
    pub(super) fn script(&self, mark: &Mark) -> String {
        let (files, repairs) = (numbers(self.files.len()), numbers(self.repairs.len()));
        let head = format!("token={} limit={} files={files} mends={repairs}\n", mark.0, self.silence.as_secs().max(1));
        let functions = [
            function("file", self.files.iter().map(|file| file.definition(&self.repairs))),
            function("edits", self.files.iter().map(Replacement::edits)),
            function("mend", self.repairs.iter().map(Violation::definition)),
        ];
        format!("{{\n{head}{}{SCRIPT}exit 0\n}}\n", functions.concat())
    }
}
