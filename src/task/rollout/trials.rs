//! The script that replaces files, in every shell that is here.

use super::changes::{Changes, Replacement, printed};
use super::facts::{Account, Content, KeyFile, Part};
use super::frames::Mark;
use crate::keys::authorized::{NewKey, Options, OptionsRule};
use std::borrow::Cow;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
const OPTIONS: &str = r#"command="printf '%s\n' \"x\"""#;

fn shells() -> impl Iterator<Item = Vec<&'static str>> {
    let all = [vec!["sh"], vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"], vec!["mksh"]];
    all.into_iter().filter(|shell| Command::new(shell[0]).arg("--help").output().is_ok())
}

#[test]
fn printf_prints_every_byte() {
    let line: Vec<u8> = (1..=255).collect();
    for shell in shells() {
        for line in [&line[..], b"-n x", b"--", b"-"] {
            let format = format!("printf '{}'", printed(line));
            let Ok(output) = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(format).output() else { continue };
            assert_eq!(output.stdout, line, "{shell:?}");
        }
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
    rescue: String,
}

impl Trial {
    fn begin(shell: &[&str], silence: Duration) -> Option<Self> {
        Self::begin_with(shell, silence, "")
    }

    /// With this line more, which may be too long for the file to go with the script.
    fn begin_with(shell: &[&str], silence: Duration, more: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().canonicalize().unwrap();
        let path = directory.join("keys");
        let old = [format!("{KEY} me\n{OPTIONS} {KEY} too\n").as_bytes(), b"# \xff\n", more.as_bytes()].concat();
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
        let files = vec![Replacement {
            number: 0,
            account: &account,
            file: &file,
            document: Cow::Borrowed(&document),
            is_mended: false,
        }];
        let changes = Changes { files, silence, ..Changes::default() };
        let script = changes.script(&Mark("t".into()));
        let (script, rescue) = (script.put(), script.rescue());
        let mut command = Command::new(shell[0]);
        let child = command.args(&shell[1..]).arg("-s").stdin(Stdio::piped());
        let child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut trial = Self { child, heard: String::new(), _place: place, path, old, new, rescue };
        trial.say(script.as_bytes());
        if !more.is_empty() {
            trial.hear("\nt ready 1\n");
            trial.say(&trial.new.clone());
        }
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
        let found = String::from_utf8_lossy(&fs::read(&self.path).unwrap()).into_owned();
        assert_eq!(found, String::from_utf8_lossy(content), "{shell:?}");
        assert_eq!(fs::metadata(&self.path).unwrap().mode() & 0o777, 0o640, "{shell:?}");
        assert_eq!(self.beside(), Vec::<String>::new(), "{shell:?}");
    }

    /// Takes all back where somebody has made this of the file, and gives what is kept of it beside.
    fn ends_after(mut self, rival: &[u8], mark: &str, content: &[u8], shell: &[&str]) -> Option<Vec<u8>> {
        fs::write(&self.path, rival).unwrap();
        self.say(b"back\n");
        self.hear(mark);
        self.child.wait().unwrap();
        let kept = self.beside().pop().map(|name| {
            let path = self.path.with_file_name(name);
            let kept = fs::read(&path).unwrap();
            fs::remove_file(path).unwrap();
            kept
        });
        self.ends(mark, content, shell);
        kept
    }

    /// What is beside the file.
    fn beside(&self) -> Vec<String> {
        let names = fs::read_dir(self.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "keys").map(|name| name.into_string().unwrap()).collect()
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
    let begin = || Trial::begin(shell, Duration::from_secs(60));
    for more in [String::new(), format!("# {}\n", "x".repeat(20_000))] {
        let Some(mut kept) = Trial::begin_with(shell, Duration::from_secs(60), &more) else { return };
        kept.say(b"hold\nkeep\n");
        let new = kept.new.clone();
        kept.ends("\nt kept\n", &new, shell);
    }
    let old = begin().unwrap();
    let (old, text) = (old.old.clone(), String::from_utf8_lossy(&old.new).into_owned());
    // Silence.
    let silent = Trial::begin(shell, Duration::from_secs(1)).unwrap();
    silent.ends("\nt restored the old file stands again\n", &old, shell);
    // Somebody else adds a line, and we are gone.
    let mut left = begin().unwrap();
    let mut rival = OpenOptions::new().append(true).open(&left.path).unwrap();
    rival.write_all(b"# rival \xfe\n").unwrap();
    left.child.stdin = None;
    let line_by_line = "\nt restored what this run changed is taken out again, line by line\n";
    left.ends(line_by_line, &[&old[..], b"# rival \xfe\n"].concat(), shell);
    let rival = |text: &str| [text.as_bytes(), b"# \xff\n"].concat();
    let (mine, other) = text.split_once('\n').unwrap();
    let other = other.lines().next().unwrap();
    // Somebody else edits the comments of the line that is on trial, and of another with the same key.
    let edited = rival(&format!("{other}\n{mine} renamed\n"));
    let back = rival(&format!("{other}\n{KEY} me renamed\n"));
    assert_eq!(begin().unwrap().ends_after(&edited, line_by_line, &back, shell), None, "{shell:?}");
    let edited = rival(&format!("{mine}\n{other} renamed\n"));
    let back = rival(&format!("{KEY} me\n{other} renamed\n"));
    assert_eq!(begin().unwrap().ends_after(&edited, line_by_line, &back, shell), None, "{shell:?}");
    // Or its options, or takes it away: what he wrote is kept.
    let told = "\nt troubled what this run changed is taken out again; somebody else has changed or removed that line: his file is ";
    for (edited, back) in [
        (format!("{other}\nrestrict,{mine} new\r\n"), format!("{other}\n{KEY} me new\r\n")),
        (format!("{other}\n#{mine}\n"), format!("{other}\n#{mine}\n")),
    ] {
        let kept = begin().unwrap().ends_after(&rival(&edited), told, &rival(&back), shell);
        assert_eq!(kept, Some(rival(&edited)), "{shell:?}");
    }
    // A line that only mentions the key, in quotes or behind another, is none of ours.
    let told = "\nt troubled what this run changed is taken out again; somebody else has changed or removed that line: his file is ";
    for mention in [format!("command=\"echo \\\"{KEY} x\" {OTHER}"), format!("{OTHER} {KEY}"), format!("-{KEY}")] {
        let edited = rival(&format!("{other}\n{mention}\n"));
        let kept = begin().unwrap().ends_after(&edited, told, &edited, shell);
        assert_eq!(kept, Some(edited), "{shell:?}");
    }
    let edited = rival(&format!("command=\"a {KEY} \\\" b\",restrict {KEY} new\n{other}\n"));
    let back = rival(&format!("{KEY} new\n{other}\n"));
    assert_eq!(begin().unwrap().ends_after(&edited, told, &back, shell), Some(edited), "{shell:?}");
    // The shell is killed, and another one takes it all back.
    let mut killed = begin().unwrap();
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let rescue = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(&killed.rescue).output().unwrap();
    assert_eq!(rescue.stdout, b"\nt restored the old file stands again\n", "{shell:?}");
    assert_eq!((fs::read(&killed.path).unwrap(), killed.beside()), (old.clone(), vec![]), "{shell:?}");
    // Or somebody removes what we have kept.
    let bare = begin().unwrap();
    for name in bare.beside() {
        fs::remove_dir_all(bare.path.with_file_name(name)).unwrap();
    }
    let new = bare.new.clone();
    assert_eq!(bare.ends_after(&new, "\nt restored the old file stands again\n", &old, shell), None, "{shell:?}");
}
