//! Files on a host replaced on trial, and owners and modes mended with them: [`Transaction`].
//!
//! The script on the host holds each old file beside the new one until it is told to keep the new ones. Whatever ends it before,
//! a word of ours, a lost connection, a controller that was killed or is silent, takes everything back: the host does it by
//! itself. It knows which lines are ours, so that what others have written to the file meanwhile stays.

use super::facts::{Account, KeyFile, SHELL};
use super::frames::{Frame, Mark};
use super::obstacle::is_below_home;
use super::strict::{Violation, mended};
use crate::connection::{Connection, Happening, Trace};
use crate::event::Stream;
use crate::keys::authorized::Document;
use crate::outcome::{Code, Failure, RemoteExit};
use crate::task::inner::Inner;
use crate::task::privilege::Privilege;
use crate::task::shell::quote;
use bytes::Bytes;
use std::fmt::Write;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const SCRIPT: &str = include_str!("put.sh");
/// How often the host hears from us while it waits at most so long.
const BEATS: u32 = 4;

/// What is on trial on one host, and goes again unless it is kept.
pub(super) struct Transaction {
    inner: Inner,
    mark: Mark,
    heard: Vec<u8>,
    /// The pieces of it that were dealt with.
    dealt: usize,
    silence: Duration,
}

/// Why files were not replaced, or not put back.
pub(super) enum Refused {
    /// The host said why; the old files stand.
    ByHost(String),
    /// The session ended otherwise.
    Session(Failure),
}

/// What became of new files that were to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// They do.
    Yes,
    /// Somebody else has written to an old one: that stands again.
    Stale,
}

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
    fn definition(&self) -> String {
        let Self { account, file, document } = self;
        let is_root = account.looked_as == 0;
        let (mode, owner) = match file.own_part() {
            // A file that was there keeps its owner and its mode, as they are once they are mended.
            Some(part) => {
                let part = mended(account, part);
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

    /// Commands that print each line that becomes another, as it was and as it is.
    fn edits(&self) -> String {
        let mut commands = String::new();
        for change in self.document.changes() {
            let [before, after] = [&change.before, &change.after].map(|line| line.as_deref().unwrap_or_default());
            if before.contains(&0) || after.contains(&0) {
                return "false".into();
            }
            let _ = write!(commands, "printf '{}\\n{}\\n'; ", printed(before), printed(after));
        }
        commands + ":"
    }
}

/// Bytes as the format of printf(1), in quotes.
fn printed(line: &[u8]) -> String {
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

    fn script(&self, mark: &Mark) -> String {
        let (files, repairs) = (numbers(self.files.len()), numbers(self.repairs.len()));
        let head = format!("token={} limit={} files={files} mends={repairs}\n", mark.0, self.silence.as_secs().max(1));
        let functions = [
            function("file", self.files.iter().map(Replacement::definition)),
            function("edits", self.files.iter().map(Replacement::edits)),
            function("mend", self.repairs.iter().map(Violation::definition)),
        ];
        format!("{{\n{head}{}{SCRIPT}exit 0\n}}\n", functions.concat())
    }
}

impl Transaction {
    /// Puts the new files in the place of the old ones, on trial. Nothing is done, and nothing given, where somebody else has
    /// changed an old one since it was read.
    pub(super) async fn begin(
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        changes: &Changes<'_>,
    ) -> Result<Option<Self>, Refused> {
        let mark = Mark::new();
        let mut script = Some(Bytes::from(changes.script(&mark)));
        let mut trace = Trace::default();
        let started = Inner::start(Arc::clone(connection), SHELL, privilege, &mut trace);
        let inner = started.await.map_err(Refused::Session)?;
        let mut transaction = Self { inner, mark, heard: Vec::new(), dealt: 0, silence: changes.silence };
        for file in &changes.files {
            // A file goes only when what is before it is read: a shell may read further than it needs to.
            match transaction.tell(script.take(), &["ready"]).await? {
                (key, _) if key == "ready" => script = Some(Bytes::from(file.document.to_bytes())),
                other => return transaction.without(other),
            }
        }
        match transaction.tell(script, &["end"]).await? {
            (key, _) if key == "end" => {}
            other => return transaction.without(other),
        }
        let frames = transaction.mark.frames(&transaction.heard);
        let mut written = frames.iter().filter(|frame| frame.key == "written").map(|frame| frame.body);
        if changes.files.iter().all(|file| written.next() == Some(&file.document.to_bytes())) {
            return Ok(Some(transaction));
        }
        transaction.put_back().await?;
        Err(Refused::ByHost("the file does not read back as it was written".into()))
    }

    /// It does not come to a trial.
    fn without(self, said: (String, String)) -> Result<Option<Self>, Refused> {
        match said {
            (key, _) if key == "changed" => Ok(None),
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Does something during which the host goes on waiting.
    pub(super) async fn during<Done>(&self, work: impl Future<Output = Done>) -> Done {
        let input = self.inner.input();
        let beats = pin!(async {
            loop {
                sleep(self.silence / BEATS).await;
                // A script that is gone is noticed at the end.
                let _ = input.write(Bytes::from_static(b"hold\n")).await;
            }
        });
        match futures::future::select(pin!(work), beats).await {
            futures::future::Either::Left((done, _)) => done,
            futures::future::Either::Right((never, _)) => never,
        }
    }

    /// Lets the new files stand.
    pub(super) async fn keep(mut self) -> Result<Kept, Refused> {
        let said = self.tell(Some(Bytes::from_static(b"keep\n")), &["kept"]).await;
        self.inner.close().await;
        match said? {
            (key, _) if key == "kept" => Ok(Kept::Yes),
            (key, _) if key == "changed" => Ok(Kept::Stale),
            (key, _) if key == "restored" => {
                let text = format!("the host heard nothing of this run for {} s; ", self.silence.as_secs().max(1));
                let failure = Failure::new(Code::KeysRolledBack, text + "the old file stands again");
                Err(Refused::Session(failure.hint("--connect-timeout sets how long is waited, a third of that")))
            }
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Takes everything back.
    pub(super) async fn put_back(mut self) -> Result<(), Refused> {
        let said = self.tell(Some(Bytes::from_static(b"back\n")), &[]).await;
        self.inner.close().await;
        match said? {
            (key, _) if key == "restored" => Ok(()),
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Says something, and listens until one of these is answered, or what ends the script. Gives the answer and what it says.
    async fn tell(&mut self, bytes: Option<Bytes>, awaited: &[&str]) -> Result<(String, String), Refused> {
        let input = self.inner.input();
        let saying = async {
            if let Some(bytes) = bytes {
                // A script that is gone says so by its end.
                let _ = input.write(bytes).await;
            }
        };
        futures::join!(saying, self.hear(awaited)).1
    }

    async fn hear(&mut self, awaited: &[&str]) -> Result<(String, String), Refused> {
        const ENDS: [&str; 4] = ["refused", "changed", "restored", "troubled"];
        let is_said = |frame: &Frame<'_>| awaited.contains(&frame.key) || ENDS.contains(&frame.key);
        loop {
            // The line of a piece is there when its line feed is.
            if self.heard.ends_with(b"\n") {
                let frames = self.mark.frames(&self.heard);
                if let Some(frame) = frames.last().filter(|frame| frames.len() > self.dealt && is_said(frame)) {
                    let said = (frame.key.to_owned(), frame.text());
                    self.dealt = frames.len();
                    return Ok(said);
                }
            }
            match self.inner.next().await {
                Happening::Output(Stream::Stdout, bytes) => self.heard.extend_from_slice(&bytes),
                Happening::Output(Stream::Stderr, _) => {}
                Happening::Ended(exit) => {
                    let text = match exit {
                        RemoteExit::Status(status) => format!("the script ended with status {status}"),
                        RemoteExit::Signal { name, .. } => format!("the script was ended by signal {name}"),
                    };
                    return Err(Refused::ByHost(text));
                }
                Happening::Refused => {
                    let failure = Failure::new(Code::SessionRefused, "the server refused to start a program");
                    return Err(Refused::Session(failure));
                }
                Happening::Lost(why) => return Err(Refused::Session(Failure::new(Code::SessionLost, why))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Content, Part};
    use super::*;
    use crate::keys::authorized::{NewKey, Options, OptionsRule};
    use std::fs::{self, OpenOptions, Permissions};
    use std::io::{Read, Write as _};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::{Child, Command, Stdio};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    const OPTIONS: &str = r#"command="printf '%s\n' \"x\"""#;

    fn shells() -> impl Iterator<Item = Vec<&'static str>> {
        let all = [vec!["sh"], vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"], vec!["mksh"]];
        all.into_iter().filter(|shell| Command::new(shell[0]).arg("--help").output().is_ok())
    }

    #[test]
    fn printf_prints_every_byte_of_a_line() {
        let line: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
        for shell in shells() {
            let format = format!("printf '{}'", printed(&line));
            let Ok(output) = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(format).output() else { continue };
            assert_eq!(output.stdout, line, "{shell:?}");
        }
    }

    /// A file on trial, as a host sees it.
    struct Trial {
        child: Child,
        heard: String,
        _place: tempfile::TempDir,
        path: std::path::PathBuf,
        old: Vec<u8>,
        new: Vec<u8>,
    }

    impl Trial {
        fn begin(shell: &[&str]) -> Option<Self> {
            let place = tempfile::tempdir().unwrap();
            let directory = place.path().canonicalize().unwrap();
            let path = directory.join("keys");
            let old = [KEY.as_bytes(), b" me\n# \xff\n"].concat();
            fs::write(&path, &old).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
            let sum = Command::new("sh").arg("-c").arg("sha256sum <\"$0\"").arg(&path).output().unwrap().stdout;
            let facts = fs::metadata(&path).unwrap();
            let part = Part { mode: 0o640, uid: facts.uid(), gid: facts.gid(), ..Part::default() };
            let file = KeyFile {
                directory: directory.to_str().unwrap().into(),
                name: "keys".into(),
                parts: vec![part],
                content: Some(Content { bytes: old.clone(), sum: String::from_utf8(sum).unwrap().trim().into() }),
                ..KeyFile::default()
            };
            let account = Account { uid: facts.uid(), gid: facts.gid(), looked_as: facts.uid(), ..Account::default() };
            let mut document = file.document();
            let options: Options = OPTIONS.parse().unwrap();
            document.let_in(&NewKey::parse(KEY.as_bytes()).unwrap(), OptionsRule::Set(&options)).unwrap();
            let new = document.to_bytes();
            let files = vec![Replacement { account: &account, file: &file, document: &document }];
            let changes = Changes { files, repairs: Vec::new(), silence: Duration::from_secs(1) };
            let script = changes.script(&Mark("t".into()));
            let mut command = Command::new(shell[0]);
            let child = command.args(&shell[1..]).arg("-s").stdin(Stdio::piped());
            let child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut trial = Self { child, heard: String::new(), _place: place, path, old, new };
            trial.say(script.as_bytes());
            trial.hear("\nt ready\n");
            trial.say(&trial.new.clone());
            trial.hear("\nt end\n");
            assert_eq!(fs::read(&trial.path).unwrap(), trial.new, "{shell:?}");
            Some(trial)
        }

        fn say(&mut self, bytes: &[u8]) {
            self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
        }

        fn hear(&mut self, mark: &str) {
            while !self.heard.contains(mark) {
                let mut chunk = [0; 4096];
                let count = self.child.stdout.as_mut().unwrap().read(&mut chunk).unwrap();
                assert!(count > 0, "{mark:?} is not in {:?}", self.heard);
                self.heard += &String::from_utf8_lossy(&chunk[..count]);
            }
        }

        fn ends(mut self, mark: &str, content: &[u8], shell: &[&str]) {
            self.hear(mark);
            self.child.wait().unwrap();
            assert_eq!(fs::read(&self.path).unwrap(), content, "{shell:?}");
            assert_eq!(fs::metadata(&self.path).unwrap().mode() & 0o777, 0o640, "{shell:?}");
            assert_eq!(fs::read_dir(self.path.parent().unwrap()).unwrap().count(), 1, "{shell:?}");
        }
    }

    #[test]
    fn every_shell_keeps_and_takes_back_what_it_should() {
        std::thread::scope(|scope| {
            for shell in shells() {
                scope.spawn(move || keeps_and_takes_back(&shell));
            }
        });
    }

    fn keeps_and_takes_back(shell: &[&str]) {
        let begin = || Trial::begin(shell);
        let Some(mut kept) = begin() else { return };
        kept.say(b"hold\nkeep\n");
        let new = kept.new.clone();
        kept.ends("\nt kept\n", &new, shell);
        // Silence.
        let silent = begin().unwrap();
        let old = silent.old.clone();
        silent.ends("\nt restored\n", &old, shell);
        // Somebody else adds a line, and we are gone.
        let mut left = begin().unwrap();
        let mut rival = OpenOptions::new().append(true).open(&left.path).unwrap();
        rival.write_all(b"# rival \xfe\n").unwrap();
        left.child.stdin = None;
        left.ends("\nt restored\n", &[&old[..], b"# rival \xfe\n"].concat(), shell);
    }
}
