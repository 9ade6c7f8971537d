//! What is done to the files of a host, as the script that does it: [`Changes`].

use super::facts::{Account, KeyFile, Part};
use super::frames::Mark;
use super::obstacle::is_below_home;
use super::script::compact;
use super::strict::{Violation, mended};
use crate::keys::authorized::{Change, Document, Line};
use crate::known_hosts::PublicKey;
use crate::task::shell::quote;
use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

/// Bytes of a file that goes with the script.
const GIVEN: usize = 16 * 1024;
static WORK: LazyLock<String> = LazyLock::new(|| compact(concat!(include_str!("room.sh"), include_str!("put.sh"))));
static UNDO: LazyLock<String> = LazyLock::new(|| quote(&compact(include_str!("undo.awk"))));

/// What is done to a host: for each account all of it or nothing.
#[derive(Default)]
pub(super) struct Changes<'a> {
    /// Files that are replaced.
    pub(super) files: Vec<Replacement<'a>>,
    /// The directories that are mended first, and the number of the account for which they are.
    pub(super) repairs: Vec<(usize, Violation)>,
    /// Files that stay, one of each account for which only directories are mended: others wait beside them too.
    pub(super) claims: Vec<(usize, &'a KeyFile)>,
    /// Where else others may have something on trial that has to do with it.
    pub(super) elsewhere: Vec<String>,
    /// Whether any user's trial counts, and not only those of root and of the same user.
    pub(super) is_wary: bool,
    /// How long the host waits for a word of ours before it takes everything back.
    pub(super) silence: Duration,
}

/// What is sent to the host.
pub(super) struct Script {
    body: String,
    /// The directories in which it works, one for each file.
    pub(super) rooms: Vec<String>,
}

impl Script {
    /// Changes everything, on trial.
    pub(super) fn put(&self) -> String {
        self.that("put")
    }

    /// Takes back what a shell did that was killed at it.
    pub(super) fn rescue(&self) -> String {
        self.that("rescue")
    }

    fn that(&self, work: &str) -> String {
        ["{\nwork=", work, "\n", &self.body, "exit 0\n}\n"].concat()
    }
}

/// A file that becomes another.
pub(super) struct Replacement<'a> {
    /// The number of the account.
    pub(super) number: usize,
    pub(super) account: &'a Account,
    pub(super) file: &'a KeyFile,
    /// What it becomes; only its owner and mode may be what changes.
    pub(super) document: Cow<'a, Document>,
    /// Whether its owner and mode become what sshd wants.
    pub(super) is_mended: bool,
}

impl Replacement<'_> {
    /// What the script needs to know of it.
    fn definition(&self) -> String {
        let Self { number, account, file, document, is_mended } = self;
        let is_root = account.looked_as == 0;
        let owner_of =
            |part: &Part| if is_root { format!("{}:{}", part.uid, part.gid) } else { format!(":{}", part.gid) };
        let (was, new) = match file.own_part() {
            // A file that was there keeps its owner and its mode, unless they are mended.
            Some(part) => {
                let new = if *is_mended { mended(account, part) } else { part.clone() };
                ((part.mode & 0o777, owner_of(part)), (new.mode & 0o777, owner_of(&new)))
            }
            None => {
                let new = match is_root {
                    // What root keeps for a user elsewhere is not the user's to edit.
                    true if !is_below_home(account, &file.directory) => (0o644, "0:0".into()),
                    true => (0o600, format!("{}:{}", account.uid, account.gid)),
                    false => (0o600, String::new()),
                };
                (new.clone(), new)
            }
        };
        let (expected, size) = match &file.content {
            Some(content) => (content.sum.as_str(), content.bytes.len()),
            None => ("none", 0),
        };
        let place = place_of(*number, file);
        format!(
            "{place} expected={} seen={} size={size} length={} is_given={} mode={:03o} owner={} was_mode={:03o} was_owner={}",
            quote(expected),
            quote(&file.own_part().map(|part| part.listed('-')).unwrap_or_default()),
            document.to_bytes().len(),
            if self.is_given() { "yes" } else { "no" },
            new.0,
            new.1,
            was.0,
            was.1,
        )
    }

    /// Whether its content goes with the script, and spares a question and an answer.
    fn is_given(&self) -> bool {
        let bytes = self.document.to_bytes();
        bytes.len() <= GIVEN && !bytes.contains(&0)
    }

    /// Commands that print its content, where that goes with the script.
    fn given(&self) -> String {
        if self.is_given() { format!("printf '{}'", printed(&self.document.to_bytes())) } else { ":".into() }
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
            let [before, after] = [&change.before, &change.after].map(|line| line.as_deref().unwrap_or_default());
            if before.contains(&0) || after.contains(&0) {
                return "false".into();
            }
            let _ = write!(commands, "printf '{}\\n{}\\n{key}\\n'; ", printed(before), printed(after));
        }
        commands + ":"
    }
}

/// The definition of a file, as far as it says where that is.
fn place_of(number: usize, file: &KeyFile) -> String {
    let [directory, make, name] = [&file.directory, &file.make, &file.name].map(|text| quote(text));
    format!("account={number} directory={directory} make={make} name={name}")
}

/// The definition of a file that stays.
fn claimed(number: usize, file: &KeyFile) -> String {
    format!("{} expected=none seen= size=0 length=0 mode= owner= was_mode= was_owner=", place_of(number, file))
}

/// The key of the line that a change leaves.
fn key_of(change: &Change) -> Option<PublicKey> {
    match Line::parse(change.after.as_ref()?) {
        Line::Key(entry) => Some(entry.key),
        Line::Blank | Line::Comment | Line::Foreign(_) => None,
    }
}

/// Bytes as the format of printf(1), in quotes. What it begins with is not taken for an option.
pub(super) fn printed(line: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in line.iter().enumerate() {
        match byte {
            b'-' if index == 0 => text += "\\055",
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

fn numbers(range: Range<usize>) -> String {
    let numbers: Vec<String> = range.map(|number| number.to_string()).collect();
    quote(&numbers.join(" "))
}

impl Changes<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.repairs.is_empty()
    }

    /// The script that does it. What its files are called by gives away nothing of how it answers.
    pub(super) fn script(&self, mark: &Mark) -> Script {
        let after = self.files.len() + 1;
        let (files, claims) = (numbers(1..after), numbers(after..after + self.claims.len()));
        let (repairs, wary) = (numbers(1..self.repairs.len() + 1), if self.is_wary { "yes" } else { "no" });
        let (token, room, limit) = (&mark.0, Mark::new().0, self.silence.as_secs().max(1));
        let head = format!(
            "token={token} room={room} limit={limit} wary={wary} files={files} claims={claims} mends={repairs}\nundo={}\n",
            *UNDO
        );
        let repairs =
            self.repairs.iter().map(|(number, violation)| format!("account={number} {}", violation.definition()));
        let replaced = self.files.iter().map(Replacement::definition);
        let claimed = self.claims.iter().map(|(number, file)| claimed(*number, file));
        let elsewhere: String =
            self.elsewhere.iter().map(|directory| format!("on_trial {} || ", quote(directory))).collect();
        let functions = [
            format!("elsewhere() {{ {elsewhere}false; }}\n"),
            function("file", replaced.chain(claimed)),
            function("given", self.files.iter().map(Replacement::given)),
            function("edits", self.files.iter().map(Replacement::edits)),
            function("mend", repairs),
        ];
        let rooms = (1..)
            .zip(&self.files)
            .map(|(number, Replacement { file, .. })| format!("{}/.{room}.{number}", file.own_directory()));
        Script { body: [&head, functions.concat().as_str(), WORK.as_str()].concat(), rooms: rooms.collect() }
    }
}
