//! A user who puts something else in the place of whatever root is about to touch in her home, at every step of the script.

use super::changes::{Changes, Replacement};
use super::facts::{Account, Content, KeyFile, Part};
use super::frames::Mark;
use super::strict::violations;
use crate::keys::authorized::{NewKey, OptionsRule};
use std::borrow::Cow;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const USER: u32 = 4242;
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const SECRET: &str = "root:secret\n";
/// What acts by name, and is held up by her.
const TOOLS: [&str; 6] = ["chmod", "chown", "ln", "mkdir", "mv", "touch"];

/// What is done to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// A file and a directory are made.
    Make,
    /// A file becomes another, and its mode and that of the directory are mended.
    Mend,
}

/// What she puts in the place of a name: as herself, but for the hard link, which not every system keeps from her.
const SWAPS: [(&str, &str); 6] = [
    ("a link to a file", "cd ~/.ssh && away && for name in $names; do ln -s \"$place/secret\" \"$name\"; done"),
    ("a link to a directory", "cd ~/.ssh && away && for name in $names; do ln -s \"$place/vault\" \"$name\"; done"),
    ("another name of a file", "cd ~/.ssh && away && echo \"$names\" >\"$HOME/wanted\""),
    ("a link to a directory for her own", "cd && mv .ssh gone && ln -s \"$place/vault\" .ssh"),
    ("a link to a file for her directory", "cd && mv .ssh gone && ln -s \"$place/secret\" .ssh"),
    ("a directory of root for her own", "cd && { mv .ssh gone; mv attic .ssh; }"),
];

struct Home {
    place: tempfile::TempDir,
}

impl Home {
    /// A home with what must never change, and tools that let her act before the one of this number.
    fn new(work: Work, swap: &str, turn: usize) -> Self {
        let home = Self { place: tempfile::tempdir().unwrap() };
        let place = home.path("");
        for directory in ["", "vault", "bin", "home", "home/attic", "home/.ssh"] {
            fs::create_dir_all(home.path(directory)).unwrap();
            fs::set_permissions(home.path(directory), Permissions::from_mode(0o755)).unwrap();
        }
        for (path, mode) in [("secret", 0o640), ("vault/mark", 0o600), ("home/attic/mark", 0o600)] {
            fs::write(home.path(path), SECRET).unwrap();
            fs::set_permissions(home.path(path), Permissions::from_mode(mode)).unwrap();
        }
        fs::write(home.path("home/.ssh/keys"), "# hers\n").unwrap();
        for (path, mode) in [("home/.ssh/keys", 0o666), ("home/.ssh", 0o777), ("home", 0o755)] {
            fs::set_permissions(home.path(path), Permissions::from_mode(mode)).unwrap();
            chown(home.path(path), Some(USER), Some(USER)).unwrap();
        }
        if work == Work::Make {
            fs::remove_dir_all(home.path("home/.ssh")).unwrap();
        }
        let script = format!(
            "HOME={place}/home place={place}\n\
             away() {{ names=$(ls -A); for name in $names; do mv \"$name\" \"../gone.$name\" || mv \"$name\" \"gone.$name\"; done; }}\n\
             {swap}\n",
            place = place.display()
        );
        fs::write(home.path("swap"), script).unwrap();
        fs::write(home.path("count"), "0\n").unwrap();
        for tool in TOOLS {
            let fake = format!(
                "#!/bin/sh\nread n <{place}/count; n=$((n + 1)); echo $n >{place}/count\n\
                 if [ $n = {turn} ]; then (\n\
                 PATH=/usr/bin:/bin; export PATH\n\
                 setpriv --reuid={USER} --regid={USER} --clear-groups sh {place}/swap >/dev/null 2>&1\n\
                 if [ -f {place}/home/wanted ]; then\n\
                 for name in $(cat {place}/home/wanted); do ln {place}/secret {place}/home/.ssh/$name; done\n\
                 fi\n) >/dev/null 2>&1; fi\nPATH=${{PATH#*:}}\nexec {tool} \"$@\"\n",
                place = place.display()
            );
            fs::write(home.path("bin").join(tool), fake).unwrap();
            fs::set_permissions(home.path("bin").join(tool), Permissions::from_mode(0o755)).unwrap();
        }
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        let place = self.place.path().canonicalize().unwrap();
        if below.is_empty() { place } else { place.join(below) }
    }

    fn file(&self, work: Work) -> KeyFile {
        let part = |below: &str| {
            let (path, facts) = (self.path(below), fs::metadata(self.path(below)).unwrap());
            let path = path.to_str().unwrap().to_owned();
            Part { path, mode: facts.mode() & 0o7777, uid: facts.uid(), gid: facts.gid(), has_acl: false }
        };
        let (name, home) = ("keys".into(), part("home"));
        if work == Work::Make {
            return KeyFile {
                directory: home.path.clone(),
                make: ".ssh".into(),
                name,
                parts: vec![home],
                ..KeyFile::default()
            };
        }
        let bytes = fs::read(self.path("home/.ssh/keys")).unwrap();
        let sum =
            Command::new("sh").arg("-c").arg("sha256sum <\"$0\"").arg(self.path("home/.ssh/keys")).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap().trim().into();
        let (file, directory) = (part("home/.ssh/keys"), part("home/.ssh"));
        KeyFile {
            directory: directory.path.clone(),
            name,
            parts: vec![file, directory, home],
            content: Some(Content { bytes, sum }),
            ..KeyFile::default()
        }
    }

    /// Runs the whole trial, in which she writes too, and takes it back. Gives what the host says.
    fn run(&self, work: Work) -> String {
        let account =
            Account { uid: USER, gid: USER, home: self.path("home").to_str().unwrap().into(), ..Account::default() };
        let file = self.file(work);
        let mut document = file.document();
        document.let_in(&NewKey::parse(KEY.as_bytes()).unwrap(), OptionsRule::Keep).unwrap();
        let content = document.to_bytes();
        let document = Cow::Borrowed(&document);
        let files = vec![Replacement { number: 0, account: &account, file: &file, document, is_mended: true }];
        let repairs = violations(&account, &file).into_iter().filter(|violation| !violation.is_of(&file));
        let repairs = repairs.map(|violation| (0, violation)).collect();
        let changes = Changes { files, repairs, silence: Duration::from_secs(60), ..Changes::default() };
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("sh")
            .env("PATH", path)
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(changes.script(&Mark("t".into())).put().as_bytes()).unwrap();
        let (mut heard, mut chunk, mut is_sent, mut is_back) = (String::new(), [0; 4096], false, false);
        loop {
            let count = child.stdout.as_mut().unwrap().read(&mut chunk).unwrap();
            if count == 0 {
                break;
            }
            heard += &String::from_utf8_lossy(&chunk[..count]);
            if !is_sent && heard.contains("\nt ready") {
                is_sent = true;
                input.write_all(&content).unwrap();
            }
            if !is_back && heard.contains("\nt end\n") {
                is_back = true;
                if let Ok(mut hers) = OpenOptions::new().append(true).open(self.path("home/.ssh/keys"))
                    && hers.metadata().unwrap().uid() == USER
                {
                    hers.write_all(b"# later\n").unwrap();
                }
                let _ = input.write_all(b"back\n");
            }
        }
        child.wait().unwrap();
        heard
    }

    /// Where nobody interferes, everything is as it was.
    fn assert_is_back(&self, work: Work, said: &str) {
        assert!(said.contains("\nt restored "), "{work:?}: {said}");
        let names = |below: &str| fs::read_dir(self.path(below)).unwrap().count();
        assert_eq!((names("home"), names("home/.ssh")), (2, 1), "{work:?}");
        let mode = |below: &str| fs::metadata(self.path(below)).unwrap().mode() & 0o7777;
        let (content, modes) = match work {
            Work::Make => ("# later\n", (0o600, 0o700)),
            Work::Mend => ("# hers\n# later\n", (0o666, 0o777)),
        };
        assert_eq!(fs::read_to_string(self.path("home/.ssh/keys")).unwrap(), content, "{work:?}");
        assert_eq!((mode("home/.ssh/keys"), mode("home/.ssh")), modes, "{work:?}");
    }

    /// What has become of what is root's.
    fn faults(&self) -> Vec<String> {
        let attic = ["home/attic", "home/.ssh", "home/gone"].into_iter().find(|at| self.path(at).join("mark").exists());
        let mut faults = Vec::new();
        for (path, mode) in [("secret", 0o640)].into_iter().chain(["vault", attic.unwrap()].map(|path| (path, 0o755))) {
            let (facts, path) = (fs::metadata(self.path(path)).unwrap(), self.path(path));
            let found = (facts.mode() & 0o7777, facts.uid(), facts.gid());
            if found != (mode, 0, 0) {
                faults.push(format!("{} is {:o} of {}:{}", path.display(), found.0, found.1, found.2));
            }
            let others = || fs::read_dir(&path).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "mark");
            if facts.is_dir() && others().count() > 0 {
                faults.push(format!("something is in {}", path.display()));
            }
            if facts.is_file() && fs::read(&path).unwrap() != SECRET.as_bytes() {
                faults.push(format!("{} has another content", path.display()));
            }
        }
        self.look_for_secrets(&self.path("home"), &mut faults);
        faults
    }

    /// What is hers must not say what root's says.
    fn look_for_secrets(&self, directory: &Path, faults: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let facts = fs::symlink_metadata(entry.path()).unwrap();
            let is_read = |text: Vec<u8>| String::from_utf8_lossy(&text).contains("secret");
            if facts.is_dir() {
                self.look_for_secrets(&entry.path(), faults);
            } else if facts.is_file()
                && (facts.uid() == USER || facts.mode() & 4 != 0)
                && is_read(fs::read(entry.path()).unwrap())
            {
                faults.push(format!("{} says a secret", entry.path().display()));
            }
        }
    }
}

#[test]
fn nothing_of_roots_is_touched_in_a_home_whatever_is_put_there_in_between() {
    let can_be_her =
        Command::new("setpriv").args(["--reuid=4242", "--clear-groups", "true"]).stderr(Stdio::null()).status();
    if !can_be_her.is_ok_and(|status| status.success()) {
        eprintln!("skipped: nobody else can be run as without root");
        return;
    }
    let cases = [Work::Make, Work::Mend].map(|work| SWAPS.map(|(what, swap)| (work, what, swap)));
    let faults = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (work, what, swap) in cases.into_iter().flatten() {
            let faults = &faults;
            scope.spawn(move || {
                for turn in 1.. {
                    let home = Home::new(work, swap, turn);
                    let said = home.run(work);
                    let found = home.faults();
                    if !found.is_empty() {
                        faults
                            .lock()
                            .unwrap()
                            .push(format!("{work:?}, {what}, before step {turn}: {}", found.join("; ")));
                    }
                    let count: usize = fs::read_to_string(home.path("count")).unwrap().trim().parse().unwrap();
                    if count < turn {
                        home.assert_is_back(work, &said);
                        break;
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
