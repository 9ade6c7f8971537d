//! A host on which keys are looked after: a real sshd that reads `.ssh/authorized_keys` as strictly as it is delivered, with
//! root and a stranger as its accounts.

use crate::bugle::{Bugle, Place};
use crate::fleet::openssh::{Daemon, find, keygen};
use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID, Sftp, sshd};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// As sshd is delivered.
const STRICT: [&str; 2] = ["StrictModes yes", "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2"];

pub struct Host {
    pub daemon: Daemon,
    pub place: Place,
}

impl Host {
    /// `None`, said aloud, where it cannot have accounts of its own.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// With these lines of sshd_config.
    pub fn with(options: &[&str]) -> Option<Self> {
        Self::of(daemon(options)?)
    }

    /// A server that runs already.
    pub fn of(daemon: Daemon) -> Option<Self> {
        if !daemon.directory().join(STRANGER).exists() {
            eprintln!("skipped: no second account without root");
            return None;
        }
        let host = Self { daemon, place: Place::new() };
        let own = fs::read(host.daemon.directory().join("authorized_keys")).unwrap();
        fs::create_dir_all(host.root().join(".ssh")).unwrap();
        host.write("root", own);
        fs::set_permissions(host.root().join(".ssh"), Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir_all(host.home(STRANGER).join(".ssh")).unwrap();
        Some(host)
    }

    /// The same host, called through a relay.
    pub fn behind(self, cables: impl IntoIterator<Item = crate::fleet::relay::Cable>) -> Self {
        Self { daemon: self.daemon.behind(cables), ..self }
    }

    /// A further account, of this number and with this home below the server's directory.
    pub fn account(&self, name: &str, id: u32, home: &str) {
        let directory = self.daemon.directory();
        // The file is mounted where the server reads it: its bytes may change, its place may not.
        let (passwd, home) = (directory.join("passwd"), directory.join(home));
        let text = fs::read_to_string(&passwd).unwrap();
        let others: String = text
            .lines()
            .filter(|line| !line.starts_with(&format!("{name}:")))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&passwd, format!("{others}{name}:x:{id}:{id}::{}:/bin/sh\n", home.display())).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.home("root")
    }

    pub fn home(&self, user: &str) -> PathBuf {
        self.daemon.directory().join(if user == "root" { "home" } else { user })
    }

    /// The file of a user's keys.
    pub fn file(&self, user: &str) -> PathBuf {
        self.home(user).join(".ssh/authorized_keys")
    }

    pub fn read(&self, user: &str) -> Vec<u8> {
        fs::read(self.file(user)).unwrap()
    }

    pub fn text(&self, user: &str) -> String {
        String::from_utf8(self.read(user)).unwrap()
    }

    /// Writes a user's file of keys, as the user's own.
    pub fn write(&self, user: &str, content: impl AsRef<[u8]>) {
        self.write_at(&self.home(user), if user == "root" { 0 } else { STRANGER_ID }, content);
    }

    /// Writes the file of keys in a home, as its owner's own.
    pub fn write_at(&self, home: &Path, id: u32, content: impl AsRef<[u8]>) {
        let file = home.join(".ssh/authorized_keys");
        let directory = file.parent().unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::write(&file, content).unwrap();
        for (path, mode) in [(directory, 0o700), (&file, 0o600)] {
            chown(path, Some(id), Some(id)).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Lets somebody use sudo, as a line of sudoers(5) says.
    pub fn allow(&self, line: &str) {
        let path = self.daemon.directory().join("sudoers");
        let text = fs::read_to_string(&path).unwrap() + line + "\n";
        fs::write(path, text).unwrap();
    }

    /// Mounts something where the server sees it; `false`, said aloud, where that cannot be.
    pub fn mount(&self, arguments: &[&str]) -> bool {
        let mut mount = Command::new("nsenter");
        mount.args(["-m", "-t", &self.daemon.pid().to_string(), "mount"]).args(arguments);
        let done = mount.status().is_ok_and(|status| status.success());
        if !done {
            eprintln!("skipped: cannot mount {arguments:?}");
        }
        done
    }

    /// Gives root another login shell.
    pub fn set_shell(&self, shell: &Path) {
        // The file is mounted where the server reads it: its bytes may change, its place may not.
        let passwd = self.daemon.directory().join("passwd");
        let text = fs::read_to_string(&passwd).unwrap();
        let changed =
            text.lines().map(|line| match line.strip_prefix("root:").and_then(|line| line.rsplit_once(':')) {
                Some((account, _)) => format!("root:{account}:{}\n", shell.display()),
                None => format!("{line}\n"),
            });
        fs::write(&passwd, changed.collect::<String>()).unwrap();
    }

    /// Gives root a login shell that is this script.
    pub fn set_login_shell(&self, script: &str) {
        let path = self.daemon.directory().join("shell");
        write_program(&path, script);
        self.set_shell(&path);
    }

    /// Has this script run on the host where this tool is asked for.
    pub fn set_tool(&self, tool: &str, script: &str) {
        let bin = self.daemon.directory().join("bin");
        fs::create_dir_all(&bin).unwrap();
        write_program(&bin.join(tool), script);
        self.set_login_shell(&format!("PATH={}:$PATH\nexport PATH\nexec /bin/sh \"$@\"\n", bin.display()));
    }

    /// A new key, of which both halves are there.
    pub fn key(&self, name: &str) -> Option<Key> {
        let path = self.place.path().join(format!("id_{name}"));
        keygen(&path, &["-t", "ed25519", "-C", name])?;
        Some(Key { line: fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned(), private: path })
    }

    /// `bugle keys VERB host`, to which more is added.
    pub fn keys(&self, verb: &str) -> Bugle {
        Bugle::on_daemon(&self.daemon, ["host"]).at(&self.place).args(["keys", verb, "host"])
    }

    /// Whether OpenSSH's client logs in with a key.
    pub fn lets_in(&self, user: &str, key: &Path) -> bool {
        let mut ssh = Command::new(find("ssh").unwrap());
        ssh.args(["-F", "none", "-p", &self.daemon.port.to_string()]).arg("-i").arg(key);
        for option in ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "GlobalKnownHostsFile=/dev/null"] {
            ssh.args(["-o", option]);
        }
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.daemon.known_hosts().display()));
        ssh.arg(format!("{user}@127.0.0.1")).arg("true").output().unwrap().status.success()
    }

    /// What is left of a trial in a user's `.ssh`.
    pub fn assert_nothing_left(&self, user: &str) {
        let names = fs::read_dir(self.home(user).join(".ssh")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".bugle")).collect();
        assert_eq!(left, Vec::<std::ffi::OsString>::new());
    }
}

/// A server with these lines of sshd_config before those with which it is delivered.
pub fn daemon(options: &[&str]) -> Option<Daemon> {
    sshd(Sftp::Absent, &[options, &STRICT].concat())
}

pub struct Key {
    pub private: PathBuf,
    /// The line of its public half.
    pub line: String,
}

impl Key {
    pub fn public(&self) -> PathBuf {
        self.private.with_extension("pub")
    }

    /// The public half alone, in another place.
    pub fn of_a_colleague(&self) -> PathBuf {
        let path = self.private.with_extension("colleague");
        fs::copy(self.public(), &path).unwrap();
        path
    }
}

/// Who a file belongs to, its permissions, and when it was written.
pub fn facts(path: &Path) -> (u32, u32, u32, i64, i64) {
    let facts = fs::symlink_metadata(path).unwrap();
    (facts.uid(), facts.gid(), facts.mode() & 0o7777, facts.mtime(), facts.mtime_nsec())
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
