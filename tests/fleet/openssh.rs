//! The real thing: OpenSSH's sshd and agent, and Dropbear, on a port and with keys of their own.
//!
//! Each is `None` where the program is not installed, after saying so: `skipped: no sshd`.

// A test that is left out says so.
#![allow(clippy::print_stderr)]

use super::keys;
use super::relay::{Cable, Relay};
use russh::keys::PrivateKey;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Ports below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried before the machine is given up.
const PORT_TRIES: u16 = 40;
/// How long a server may take to say a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs as long as this is not dropped.
pub struct Daemon {
    /// Where it is called, on 127.0.0.1: its own port, or that of the relay in front of it.
    pub port: u16,
    /// Who logs in: the user of this process.
    pub user: String,
    /// The public half of its key, as known_hosts has it.
    pub host_key: String,
    /// The directory in which the user's sessions begin, where the server has one of its own for it.
    pub home: PathBuf,
    /// What lies in front of it.
    pub relay: Option<Relay>,
    listens: u16,
    directory: TempDir,
    child: Child,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// Starts sshd with these lines before its own configuration; OpenSSH keeps the first value of a keyword.
///
/// `{}` in a line stands for the directory of the server's files ([`Daemon::directory`]), where `prepare` may put some.
pub fn sshd_prepared(options: &[&str], prepare: impl Fn(&Path)) -> Option<Daemon> {
    let program = find("sshd")?;
    start(|directory, port| {
        prepare(directory);
        let place = directory.display();
        // A shell that sshd starts reads the .bashrc of HOME, and what stands in that of this machine is not for tests.
        fs::create_dir_all(directory.join("home")).expect("the directory can be written");
        let rest = format!("Subsystem sftp internal-sftp\nSetEnv HOME={place}/home\n");
        configure(directory, port, options, &rest);
        (sshd_command(&program, directory), SSHD_IS_READY)
    })
}

/// What sshd says once it can be called.
pub(super) const SSHD_IS_READY: &str = "Server listening on";

/// Writes `sshd_config`: the test's lines, those that every server here has, and the rest.
pub(super) fn configure(directory: &Path, port: u16, options: &[&str], rest: &str) {
    let place = directory.display();
    let options: String = options.iter().map(|line| format!("{}\n", line.replace("{}", &place.to_string()))).collect();
    let configuration = format!(
        "{options}ListenAddress 127.0.0.1\nPort {port}\nHostKey {place}/host_key\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         AuthorizedKeysFile {place}/authorized_keys\nAcceptEnv *\nLogLevel VERBOSE\nPrintMotd no\n\
         PrintLastLog no\n{rest}"
    );
    fs::write(directory.join("sshd_config"), configuration).expect("the directory can be written");
}

pub(super) fn sshd_command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-D").arg("-e").arg("-f").arg(directory.join("sshd_config"));
    command
}

/// Starts sshd with these lines before its own configuration.
pub fn sshd(options: &[&str]) -> Option<Daemon> {
    sshd_prepared(options, |_| {})
}

/// Starts Dropbear. It takes keys only from the home directory in passwd(5), so it gets a passwd file of its own, which
/// needs root and mount namespaces.
pub fn dropbear(options: &[&str]) -> Option<Daemon> {
    let program = find("dropbear")?;
    let convert = find("dropbearconvert")?;
    if !may_mount() {
        eprintln!("skipped: no mount namespaces for dropbear");
        return None;
    }
    start(|directory, port| {
        let place = directory.display();
        fs::create_dir_all(directory.join("home")).expect("the directory can be written");
        let passwd = format!("root:x:0:0:root:{place}/home:/bin/sh\n");
        fs::write(directory.join("passwd"), passwd).expect("the directory can be written");
        let server = dropbear_command(&program, &convert, directory, port, options);
        (in_own_mounts("mount --bind \"$0\"/passwd /etc/passwd", directory, &server), DROPBEAR_IS_READY)
    })
}

/// What Dropbear says once it can be called.
pub(super) const DROPBEAR_IS_READY: &str = "Not backgrounding";

/// Dropbear with the key of the server, and with the user's key in `home`.
pub(super) fn dropbear_command(
    program: &Path,
    convert: &Path,
    directory: &Path,
    port: u16,
    options: &[&str],
) -> Command {
    let home = directory.join("home/.ssh");
    fs::create_dir_all(&home).expect("the directory can be written");
    fs::copy(directory.join("authorized_keys"), home.join("authorized_keys")).expect("it was just written");
    let converted = Command::new(convert)
        .args(["openssh", "dropbear"])
        .args([directory.join("host_key"), directory.join("dropbear_key")])
        .output()
        .expect("dropbearconvert was found");
    assert!(converted.status.success(), "dropbearconvert: {}", String::from_utf8_lossy(&converted.stderr));
    let mut command = Command::new(program);
    command.args(["-F", "-E", "-m", "-p", &format!("127.0.0.1:{port}"), "-P", "", "-r"]);
    command.arg(directory.join("dropbear_key")).args(options);
    command
}

/// Whether this process may have mounts of its own.
pub(super) fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// A command with mounts of its own, which a script makes; `$0` is the directory of the server's files to it.
pub(super) fn in_own_mounts(script: &str, directory: &Path, inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("set -e; {script}; exec \"$@\"")]).arg(directory);
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

/// Tries ports until the server has one: a port that was free a moment ago may not be any more.
pub(super) fn start(prepare: impl Fn(&Path, u16) -> (Command, &'static str)) -> Option<Daemon> {
    let directory = super::folder("daemon.");
    let host_key = keys::generate("");
    keys::write(&directory.path().join("host_key"), &host_key);
    let user_key = keys::generate("user");
    keys::write(&directory.path().join("id_ed25519"), &user_key);
    fs::write(directory.path().join("authorized_keys"), format!("{}\n", keys::line(user_key.public_key())))
        .expect("it is ours");
    // sshd's own directory, which the system's service makes.
    let _ = fs::create_dir("/run/sshd");
    let span = PORTS.end - PORTS.start;
    let from = u16::try_from(std::process::id() % u32::from(span)).expect("less than the span");
    for attempt in 0..PORT_TRIES {
        let port = PORTS.start + (from + attempt * 97) % span;
        let (mut command, ready) = prepare(directory.path(), port);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it was found");
        let log = Arc::<Log>::default();
        log.follow(child.stderr.take().expect("it is piped"));
        if log.says(ready) && !log.has("in use") {
            let user = login_name();
            let key_line = keys::line(host_key.public_key()).trim().to_owned();
            let home = directory.path().join("home");
            return Some(Daemon {
                port,
                user,
                host_key: key_line,
                home,
                relay: None,
                listens: port,
                directory,
                child,
                log,
            });
        }
        let _ = child.kill();
        let _ = child.wait();
        assert!(log.has("in use"), "the server did not start: {}", log.text());
    }
    panic!("no port is free");
}

impl Daemon {
    /// The same behind a relay, with a cable for each connection; the last is for all that come after.
    pub fn behind(mut self, cables: impl IntoIterator<Item = Cable>) -> Self {
        let relay = Relay::start((Ipv4Addr::LOCALHOST, self.listens).into(), cables);
        self.port = relay.address.port();
        self.relay = Some(relay);
        self
    }

    /// Its files, and `id_ed25519`, the key that logs in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The private key that logs in.
    pub fn key(&self) -> PathBuf {
        self.directory().join("id_ed25519")
    }

    /// Lets this key in too, with the options that come before a key in authorized_keys.
    pub fn authorize(&self, line: &str) {
        let path = self.directory().join("authorized_keys");
        let text = fs::read_to_string(&path).expect("it was written") + line + "\n";
        fs::write(path, text).expect("the directory can be written");
    }

    /// A known_hosts file with its key.
    pub fn known_hosts(&self) -> PathBuf {
        let path = self.directory().join("known_hosts");
        fs::write(&path, format!("[127.0.0.1]:{} {}\n", self.port, self.host_key))
            .expect("the directory can be written");
        path
    }

    /// What it said up to now.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        super::process::sweep((Ipv4Addr::LOCALHOST, self.listens).into());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn follow(self: &Arc<Self>, source: ChildStderr) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                let mut text = log.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                log.grown.notify_all();
            }
            log.text.lock().unwrap_or_else(PoisonError::into_inner).push_str("[ended]\n");
            log.grown.notify_all();
        });
    }

    /// Waits for a line; `false` where the server ends before.
    fn says(&self, wanted: &str) -> bool {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let undecided = |text: &mut String| !text.contains(wanted) && !text.ends_with("[ended]\n");
        let waited = self.grown.wait_timeout_while(text, PATIENCE, undecided);
        waited.unwrap_or_else(PoisonError::into_inner).0.contains(wanted)
    }

    fn has(&self, wanted: &str) -> bool {
        self.text().contains(wanted)
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A real ssh-agent.
pub struct Agent {
    /// Its socket.
    pub socket: PathBuf,
    child: Child,
    _directory: TempDir,
}

/// Starts an agent without keys.
pub fn agent() -> Option<Agent> {
    let program = find("ssh-agent")?;
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let socket = directory.path().join("agent");
    let mut child =
        Command::new(program).arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn().expect("it was found");
    // It names its socket once it listens.
    let mut line = String::new();
    let said = BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line);
    assert!(said.is_ok() && line.contains("SSH_AUTH_SOCK"), "ssh-agent said `{line}`");
    Some(Agent { socket, child, _directory: directory })
}

impl Agent {
    /// What `ssh-add` does with it: its exit code and both of its streams.
    pub fn ssh_add(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new("ssh-add")
            .args(arguments)
            .env("SSH_AUTH_SOCK", &self.socket)
            .env_remove("SSH_ASKPASS")
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .output()
            .expect("ssh-add is there");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
    }

    /// Adds a key file, and the certificate beside it if there is one.
    pub fn add(&self, key: &Path) {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .output()
            .expect("ssh-add is there");
        assert!(added.status.success(), "ssh-add: {}", String::from_utf8_lossy(&added.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key with `ssh-keygen` and these arguments, without a passphrase unless they name one.
pub fn keygen(path: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let program = find("ssh-keygen")?;
    let passphrase: &[&str] = if arguments.contains(&"-N") { &[] } else { &["-N", ""] };
    let made =
        Command::new(program).args(["-q", "-C", "test", "-f"]).arg(path).args(passphrase).args(arguments).output();
    let made = made.expect("ssh-keygen was found");
    assert!(made.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    Some(path.to_owned())
}

/// Runs `ssh-keygen` with arguments that name files, such as `-s`.
pub fn run_keygen(arguments: &[&str]) {
    let made = Command::new("ssh-keygen").arg("-q").args(arguments).output().expect("ssh-keygen is there");
    assert!(made.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// The private key in a file that has no passphrase.
pub fn read_key(path: &Path) -> PrivateKey {
    PrivateKey::from_openssh(fs::read(path).expect("it was written")).expect("it is a key")
}

/// The login name of this process.
pub fn login_name() -> String {
    let told = Command::new("id").arg("-un").output().expect("id is part of every system");
    String::from_utf8_lossy(&told.stdout).trim().to_owned()
}

/// Where a program is, also among those of administrators.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/local/sbin"]);
    let found = places.map(|place| Path::new(place).join(program)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {program}");
    }
    found
}
