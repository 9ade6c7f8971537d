//! What is found on a host: accounts, the files that sshd reads their keys from, and what sshd thinks of those ([`look`]).

use super::frames::{Frame, Mark};
use super::script::compact;
use crate::connection::Connection;
use crate::keys::authorized::{Document, HostClock};
use crate::outcome::{Code, Failure, RemoteExit};
use crate::task::inner::ask;
use crate::task::privilege::Privilege;
use crate::task::shell::quote;
use bytes::Bytes;
use std::sync::{Arc, LazyLock};

static SCRIPT: LazyLock<String> = LazyLock::new(|| compact(include_str!("look.sh")));

/// Whose files are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accounts {
    /// Those of the user that the session belongs to.
    Own,
    /// Those of this one.
    Named(Vec<String>),
    /// Those of all who have a home directory, or keys without one.
    Everyone,
}

/// What was found on a host.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) accounts: Vec<Account>,
    pub(super) remarks: Vec<Remark>,
}

/// What lets somebody in, or may, and is not among the files that were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// Files that sshd reads for some clients only.
    Elsewhere(String),
    /// What sshd asks for keys.
    Command(String),
    /// A home with keys that is no account's.
    Stray(String),
}

/// An account and its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Who the script ran as.
    pub(super) looked_as: u32,
    /// The home directory, without links; empty where it is not there.
    pub(super) home: String,
    /// The home directory as passwd(5) names it.
    pub(super) named_home: String,
    pub(super) strict: Strict,
    /// What the host takes the time to be.
    pub(super) clock: HostClock,
    /// Why the place is a guess, where it is.
    pub(super) assumed: Option<Guess>,
    /// Why nothing is known of it.
    pub(super) unknown: Option<Unknown>,
    /// Each once, whatever names it has.
    pub(super) files: Vec<KeyFile>,
}

/// Why nothing is known of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// There is none.
    Absent,
    /// It is another's, and the script did not run as root.
    Forbidden,
    /// sshd reads its keys from no file.
    NoFiles,
}

impl Unknown {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Absent => "there is no such account",
            Self::Forbidden => "only root may look after the keys of another account",
            Self::NoFiles => "sshd reads no keys from files (AuthorizedKeysFile none)",
        }
    }
}

/// Why it is not known which files sshd reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// It could not be asked, and its configuration says several things or cannot be read.
    Closed,
    /// Root asked an sshd that may be another than the one that serves us.
    Unseen,
    /// Root asked, and it did not answer.
    Mute,
    /// It reads none for us, and what it reads for others is not plain.
    Spared,
    /// It does not tell where a name ends.
    Blank,
}

/// `StrictModes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Strict {
    #[default]
    Yes,
    No,
}

/// A file that sshd reads keys from, whether it is there or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyFile {
    /// As sshd is told.
    pub(super) path: String,
    /// Where the link leads that it is, if it is one.
    pub(super) link: Option<String>,
    /// The directory, without links; the nearest one that is there.
    pub(super) directory: String,
    /// The directories that are missing below it.
    pub(super) make: String,
    pub(super) name: String,
    /// The file and the directories above it up to the home directory.
    pub(super) parts: Vec<Part>,
    /// Those of these that are another account's: its name, and the path.
    pub(super) theirs: Vec<(String, String)>,
    /// The room of a run that was cut off, with what that replaced.
    pub(super) cut: Option<String>,
    /// The room of another run that has it on trial still.
    pub(super) busy: Option<String>,
    /// Why it cannot be read or written.
    pub(super) obstacle: Option<String>,
    /// Whether nothing can be written where it is.
    pub(super) is_sealed: bool,
    /// When it was last written to, as the host tells it in UTC: `2030-01-31T12:00:00Z`; empty where it does not.
    pub(super) written: String,
    /// What is in it, where it is there.
    pub(super) content: Option<Content>,
}

/// A path on the way to the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: String,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether it has an access control list.
    pub(super) has_acl: bool,
}

/// The bytes of a file and the sum by which the host knows them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) sum: String,
}

impl KeyFile {
    pub(super) fn document(&self) -> Document {
        Document::parse(self.content.as_ref().map(|content| content.bytes.as_slice()).unwrap_or_default())
    }

    /// The directory that it is in or will be, without links.
    pub(super) fn own_directory(&self) -> String {
        let below = if self.make.is_empty() { "" } else { "/" };
        format!("{}{below}{}", self.directory.trim_end_matches('/'), self.make)
    }

    /// Where it is, without links.
    fn own_path(&self) -> String {
        format!("{}/{}", self.directory, self.name)
    }

    /// The file itself, where it is there.
    pub(super) fn own_part(&self) -> Option<&Part> {
        self.content.as_ref().and(self.parts.first())
    }
}

/// Looks at the files of these accounts, once no other run has them on trial; what still is after so many seconds has an
/// obstacle. Without any, what is there now is given.
///
/// # Errors
/// Where the host cannot be asked or answers nonsense.
pub(super) async fn look(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    accounts: &Accounts,
    patience: u32,
) -> Result<Found, Failure> {
    let mark = Mark::new();
    let yes = |answer: bool| if answer { "yes" } else { "no" };
    let names = match accounts {
        Accounts::Named(names) => names.iter().map(|name| format!(" {}", quote(name))).collect(),
        Accounts::Own | Accounts::Everyone => String::new(),
    };
    let given = format!(
        "{{\ntoken={}\npatience={patience}\nself={}\neveryone={}\ndropbear={}\nset --{names}\n",
        mark.0,
        yes(*accounts == Accounts::Own),
        yes(*accounts == Accounts::Everyone),
        yes(connection.server().to_lowercase().contains("dropbear")),
    );
    // What is said comes in one piece: a packet for each word would be a tenth of what a rollout costs here.
    let script = [&given, SCRIPT.as_str(), "} | { dd obs=65536 2>/dev/null || cat; }\n"].concat();
    let answer = run(connection, privilege, script).await?;
    read(&mark.frames(&answer)).ok_or_else(|| {
        let said = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        let failure = Failure::new(Code::SessionRefused, format!("the host runs no script of ours: `{said}`"));
        failure.hint("check `command=` in authorized_keys, and ForceCommand in its sshd_config")
    })
}

/// Runs a script that is sent on standard input: not every login shell takes several lines as an argument.
pub(super) async fn run(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    script: String,
) -> Result<Vec<u8>, Failure> {
    let asked = ask(connection, privilege, SHELL, Bytes::from(script)).await;
    asked.map_err(|failure| match (failure.code, &failure.exit) {
        (Code::ExitStatus, Some(RemoteExit::Signal { name, .. })) => {
            let text = format!("a script that bugle runs on the host was ended by signal {name}");
            Failure::new(Code::SessionRefused, text)
                .hint("run it again; the log of the host may say who ends processes")
        }
        // No command of the user's has ended so, and would have told why.
        (Code::ExitStatus, _) => Failure::new(Code::SessionRefused, failure.message)
            .hint("check the login shell of the account, and ForceCommand in the host's sshd_config"),
        _ => failure,
    })
}

/// What reads a script from its standard input.
pub(super) const SHELL: &str = "exec /bin/sh -s";

/// Nothing where it is not what the script says.
fn read(frames: &[Frame<'_>]) -> Option<Found> {
    let Found { mut accounts, mut remarks } = Found::default();
    let (mut me, mut clock) = (0, HostClock::default());
    if frames.last().is_none_or(|frame| frame.key != "done") {
        return None;
    }
    for (index, frame) in frames.iter().enumerate() {
        match (frame.key, accounts.last_mut()) {
            ("me", _) => me = frame.text().parse().unwrap_or(u32::MAX),
            ("clock", _) => {
                if let Some((local, utc)) = frame.text().split_once(' ') {
                    clock = HostClock { local: local.into(), utc: utc.into() };
                }
            }
            ("elsewhere", _) => remarks.push(Remark::Elsewhere(frame.text())),
            ("command", _) => remarks.push(Remark::Command(frame.text())),
            ("stray", _) => remarks.push(Remark::Stray(frame.text())),
            ("account", _) => {
                let clock = clock.clone();
                accounts.push(Account { name: frame.text(), looked_as: me, clock, ..Account::default() });
            }
            ("content", Some(Account { files, .. })) => {
                let sum = frame.text();
                let is_still = frames.get(index + 1).is_some_and(|next| next.key == "end" && next.text() == sum);
                if let Some(file) = files.last_mut() {
                    // It comes several times where it is not.
                    file.obstacle = (!is_still).then(|| format!("`{}` is being written to all the time", file.path));
                    file.content = is_still.then(|| Content { bytes: frame.body.to_vec(), sum });
                }
            }
            ("as", _) => {
                let path = frame.text();
                let mut files = accounts.iter().flat_map(|account| &account.files);
                let known = files.find(|file| file.own_path() == path).cloned();
                if let Some((file, known)) = accounts.last_mut().and_then(|account| account.files.last_mut()).zip(known)
                {
                    (file.content, file.obstacle) = (known.content, known.obstacle);
                }
            }
            (_, Some(account)) => account.learn(frame),
            (_, None) => {}
        }
    }
    Some(Found { accounts, remarks })
}

impl Account {
    fn learn(&mut self, frame: &Frame<'_>) {
        let text = frame.text();
        match frame.key {
            "uid" => self.uid = text.parse().unwrap_or(u32::MAX),
            "gid" => self.gid = text.parse().unwrap_or(u32::MAX),
            "home" => self.home = text,
            "named" => self.named_home = text,
            "strict" => self.strict = if text.eq_ignore_ascii_case("no") { Strict::No } else { Strict::Yes },
            "assumed" => {
                self.assumed = Some(match &*text {
                    "unseen" => Guess::Unseen,
                    "mute" => Guess::Mute,
                    "spared" => Guess::Spared,
                    "blank" => Guess::Blank,
                    _ => Guess::Closed,
                });
            }
            "unknown" => self.unknown = Some(Unknown::Absent),
            "forbidden" => self.unknown = Some(Unknown::Forbidden),
            "none" => self.unknown = Some(Unknown::NoFiles),
            "file" => self.files.push(KeyFile { path: text, ..KeyFile::default() }),
            // Another name of one that was told before: what is edited by both would be edited twice.
            "twin" => drop(self.files.pop()),
            key => {
                if let Some(file) = self.files.last_mut() {
                    file.learn(key, text);
                }
            }
        }
    }
}

impl KeyFile {
    fn learn(&mut self, key: &str, text: String) {
        match key {
            "link" => self.link = Some(text),
            "place" => self.directory = text,
            "name" => self.name = text,
            "make" => self.make = text,
            "written" => self.written = text,
            "at" => self.parts.extend(Part::read(&text)),
            "theirs" => self.theirs.extend(text.split_once(':').map(|(who, path)| (who.into(), path.into()))),
            "sealed" => self.is_sealed = true,
            "large" => {
                self.obstacle =
                    Some(format!("`{}` has {text} bytes, and a file of keys no more than 4 MiB", self.path));
            }
            "crowded" => {
                let why = "has {} bytes, which are too many beside the files of others: look after it alone (--for)";
                self.obstacle = Some(format!("`{}` {}", self.path, why.replace("{}", &text)));
            }
            "cut" => self.cut = Some(text),
            "busy" => self.busy = Some(text),
            "odd" => self.obstacle = Some(format!("`{}` is no file", self.path)),
            "closed" => self.obstacle = Some(format!("`{text}` cannot be read")),
            _ => {}
        }
    }
}

impl Part {
    /// `drwxr-xr-x UID GID PATH`, the first three as `ls -ldn` has them.
    fn read(text: &str) -> Option<Self> {
        let mut fields = text.splitn(4, ' ');
        let (mode, uid, gid, path) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let letters = mode.as_bytes().get(1..10)?;
        let mut bits = 0;
        for (index, letter) in letters.iter().enumerate() {
            let shift = 8 - index;
            bits |= u32::from(!matches!(letter, b'-' | b'S' | b'T')) << shift;
            if matches!(letter, b's' | b'S' | b't' | b'T') {
                bits |= 0o4000 >> (index / 3);
            }
        }
        let has_acl = mode.ends_with('+');
        Some(Self { path: path.to_owned(), mode: bits, uid: uid.parse().ok()?, gid: gid.parse().ok()?, has_acl })
    }

    /// `drwxr-xr-x UID GID`, as `ls -ldn` has them; what it is comes first.
    pub(super) fn listed(&self, kind: char) -> String {
        let mut letters = String::from(kind);
        for (index, letter) in "rwxrwxrwx".chars().enumerate() {
            let is_set = self.mode >> (8 - index) & 1 == 1;
            let special = (index % 3 == 2 && self.mode & 0o4000 >> (index / 3) != 0).then_some(if index == 8 {
                't'
            } else {
                's'
            });
            letters.push(match (special, is_set) {
                (Some(special), true) => special,
                (Some(special), false) => special.to_ascii_uppercase(),
                (None, true) => letter,
                (None, false) => '-',
            });
        }
        format!("{letters} {} {}", self.uid, self.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_ls_writes_them() {
        for (written, mode) in [
            ("-rw-------", 0o600),
            ("drwxr-xr-x.", 0o755),
            ("drwxrwsr-x+", 0o2775),
            ("drwxrwxrwt", 0o1777),
            ("-rwSr--r--", 0o4644),
        ] {
            let part = Part::read(&format!("{written} 1000 100 /home/a b")).unwrap();
            assert_eq!((part.mode, part.uid, part.gid), (mode, 1000, 100), "{written}");
            assert_eq!((part.path.as_str(), part.has_acl), ("/home/a b", written.ends_with('+')));
            let (kind, known) = (written.chars().next().unwrap(), written.trim_end_matches(['.', '+']));
            assert_eq!(part.listed(kind), format!("{known} 1000 100"));
        }
        assert_eq!(Part::read("  /x"), None);
    }

    #[test]
    fn a_file_that_is_written_to_all_the_time_is_in_the_way_of_its_account_only() {
        let mark = Mark("t".into());
        let file = |path: &str| format!("\nt file /h/{path}\n\nt place /h\n\nt name {path}\n");
        let content = |sum: &str, end: &str| format!("\nt content {sum}  -\nkeys\n\nt end {end}  -\n");
        let facts = "\nt at -rw-r--r-- 7 8 /h/k\n\nt at drwx------ 7 8 /h\n";
        let answer = [
            "\nt me 0\n\nt account joe\n\nt uid 7\n".into(),
            file("j"),
            content("aa", "bb") + &content("bb", "cc"),
            "\nt account ann\n".into(),
            file("k") + facts,
            content("aa", "bb") + &content("bb", "bb"),
            "\nt account bob\n".into(),
            file("k") + "\nt as /h/k\n\nt done \n",
        ];
        let Found { accounts, .. } = read(&mark.frames(answer.concat().as_bytes())).unwrap();
        let [joe, ann, bob] = [0, 1, 2].map(|index| &accounts[index].files[0]);
        assert_eq!((accounts[0].uid, accounts.len()), (7, 3));
        assert_eq!((joe.obstacle.as_deref(), &joe.content), (Some("`/h/j` is being written to all the time"), &None));
        let still = Some(Content { bytes: b"keys\n".to_vec(), sum: "bb  -".into() });
        assert_eq!((&ann.obstacle, &ann.content, &bob.content), (&None, &still, &still));
        assert_eq!(ann.own_part().unwrap().mode, 0o644);
        assert!(read(&mark.frames(b"\nt me 0\n")).is_none());
    }
}
