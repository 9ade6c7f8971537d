//! Calls the binary in a world of its own: [`Bugle`] is built up fluently, [`Answer`] is what came back.
//!
//! Nothing of the person who runs the tests is seen: home, agent and environment are those of the test. Times, ports,
//! temporary paths, fingerprints and random names are replaced, so that whole texts can be compared.

use crate::fleet::openssh::{Daemon, sshd};
use crate::fleet::{Fleet, folder};
use crate::redactor::Redactor;
use crate::streams::{Gathered, Lines};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{PipeWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_bugle");
/// Nothing in these tests takes that long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a person at a terminal answers.
static QUESTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[yes/no\] |passphrase (for|again)[^\n]*: ").expect("the pattern is right"));

/// A directory for a test's files, and its home.
#[derive(Clone)]
pub struct Place(Rc<TempDir>);

impl Place {
    pub fn new() -> Self {
        Self(Rc::new(folder("program.")))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that only its owner can write.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.file_with_mode(name, content, 0o600)
    }

    /// Writes a file with a mode, and the directories above it.
    pub fn file_with_mode(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the place")).expect("the directory can be written");
        fs::write(&path, content).expect("the directory can be written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it was just written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path().join(name);
        String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
            .into_owned()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).symlink_metadata().is_ok()
    }
}

/// A call of the binary, before it happens.
#[must_use]
pub struct Bugle {
    place: Place,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    input: Input,
    descriptors: Vec<(u32, PathBuf)>,
    before: Vec<String>,
    namespace: Namespace,
    redactor: Redactor,
    /// Places whose files are still used.
    kept: Vec<Place>,
}

enum Namespace {
    Shared,
    OwnMounts,
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Held,
}

impl Bugle {
    /// A call that knows no hosts.
    pub fn alone() -> Self {
        let place = Place::new();
        let mut redactor = Redactor::default();
        redactor.path(place.path(), "<home>");
        Self {
            place,
            arguments: Vec::new(),
            variables: Vec::new(),
            input: Input::Nothing,
            descriptors: Vec::new(),
            before: Vec::new(),
            namespace: Namespace::Shared,
            redactor,
            kept: Vec::new(),
        }
    }

    /// A call that knows a fleet.
    pub fn on(fleet: &Fleet) -> Self {
        let mut bugle = Self::alone().args(fleet.arguments());
        bugle.redactor.path(fleet.directory(), "<fleet>");
        for host in fleet.hosts() {
            bugle.redactor.port(host.address.port());
        }
        bugle
    }

    /// A call that knows a server by these names.
    pub fn on_daemon<'a>(daemon: &Daemon, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bugle = Self::alone();
        let mut inventory = String::new();
        for name in names {
            writeln!(inventory, "{name} ansible_host=127.0.0.1 ansible_port={}", daemon.port)
                .expect("a String takes everything");
        }
        let inventory = bugle.place.file("daemon/inventory.ini", inventory);
        let config = bugle.place.file("daemon/ssh_config", ssh_config(daemon));
        bugle.redactor.path(daemon.directory(), "<daemon>");
        bugle.redactor.port(daemon.port);
        bugle.args(["-i".into(), inventory.into_os_string(), "-F".into(), config.into_os_string()])
    }

    /// Home and configuration are in this place, which the test keeps.
    pub fn at(mut self, place: &Place) -> Self {
        // The first place still holds the files of a daemon.
        self.redactor.path(place.path(), "<home>");
        self.kept.push(std::mem::replace(&mut self.place, place.clone()));
        self
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().into()));
        self
    }

    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.input = Input::Bytes(bytes.as_ref().to_vec());
        self
    }

    /// Standard input stays open, and nothing comes.
    pub fn held_stdin(mut self) -> Self {
        self.input = Input::Held;
        self
    }

    /// This descriptor holds these bytes.
    pub fn descriptor(mut self, number: u32, bytes: &str) -> Self {
        let path = self.place.file(&format!("descriptor.{number}"), bytes);
        self.descriptors.push((number, path));
        self
    }

    /// A line for `/bin/sh` in whose process the binary then runs, such as `ulimit -n 64`.
    pub fn after(mut self, line: &str) -> Self {
        self.before.push(line.into());
        self
    }

    /// What is mounted in the lines before is seen by nobody else. `None` where that is not allowed.
    pub fn with_own_mounts(mut self) -> Option<Self> {
        let tried = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
        if !tried.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no mount namespaces");
            return None;
        }
        self.namespace = Namespace::OwnMounts;
        Some(self)
    }

    /// Replaces this text in the answer.
    pub fn redact(mut self, text: &str, with: &str) -> Self {
        self.redactor.replacements.push((text.into(), with.into()));
        self
    }

    fn command(&self) -> Command {
        let mut line = self.before.join("\n");
        let mut redirections = String::new();
        for (number, path) in &self.descriptors {
            write!(redirections, " {number}<'{}'", path.display()).expect("a String takes everything");
        }
        let mut words: Vec<OsString> = Vec::new();
        if ignores_interrupts() {
            // A shell without job control starts what is in its background so.
            words.extend(["env".into(), "--default-signal=INT".into()]);
        }
        if matches!(self.namespace, Namespace::OwnMounts) {
            words.extend(["unshare".into(), "-m".into()]);
        }
        if !line.is_empty() || !redirections.is_empty() {
            write!(line, "\nexec \"$0\" \"$@\"{redirections}").expect("a String takes everything");
            words.extend(["/bin/sh".into(), "-c".into(), line.into()]);
        }
        words.push(PROGRAM.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&self.arguments);
        command.current_dir(self.place.path()).env_clear();
        for name in ["PATH", "TMPDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", self.place.path()).env("XDG_CONFIG_HOME", self.place.path().join(".config"));
        command
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .env("SHELL", "/bin/sh")
            .envs(self.variables.iter().cloned());
        command
    }

    /// Runs it to its end.
    pub fn run(self) -> Answer {
        self.start().wait()
    }

    /// Starts it, in a process group of its own.
    pub fn start(self) -> Running {
        let (reader, writer) = std::io::pipe().expect("the system has pipes");
        let stdout = Gathered::of(reader);
        self.start_into(writer, stdout)
    }

    /// Starts it with an output that nobody reads until [`Running::wait`] does.
    pub fn start_unread(self) -> Running {
        let (reader, writer) = std::io::pipe().expect("the system has pipes");
        self.start_into(writer, Gathered::Later(reader))
    }

    fn start_into(self, stdout: PipeWriter, gathered: Gathered) -> Running {
        let mut command = self.command();
        let stdin = if matches!(self.input, Input::Nothing) { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("the binary was built");
        // It keeps the other end of the pipe.
        drop(command);
        let mut stdin = child.stdin.take();
        if let Input::Bytes(bytes) = self.input {
            let mut pipe = stdin.take().expect("it is piped");
            // Who ends without reading it all says so by its exit code.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        let places = [self.kept, vec![self.place]].concat();
        Running { child, _stdin: stdin, stdout: gathered, stderr, redactor: self.redactor, _places: places }
    }

    /// Runs it on a terminal, answers each question that ends in `[yes/no] ` or is for a passphrase with the next answer, and
    /// gives what was on the screen. `None` where script(1) is not installed.
    pub fn run_on_terminal(self, given: &[&str]) -> Option<Answer> {
        crate::fleet::openssh::find("script")?;
        let inner = self.command();
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let line: Vec<String> = words.map(|word| bugle::task::quote(&word.to_string_lossy())).collect();
        let mut command = Command::new("script");
        command.args(["-qefc", &line.join(" "), "/dev/null"]).env_clear().current_dir(self.place.path());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script was found");
        let mut keyboard = child.stdin.take().expect("it is piped");
        let mut screen = child.stdout.take().expect("it is piped");
        let (mut seen, mut buffer, mut answers) = (Vec::new(), [0; 4096], given.iter());
        let mut asked = 0;
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
            let questions = QUESTION.find_iter(&String::from_utf8_lossy(&seen)).count();
            for _ in asked..questions {
                let answer = answers.next().expect("no more questions than answers");
                keyboard.write_all(format!("{answer}\n").as_bytes()).expect("the terminal is there");
            }
            asked = questions;
        }
        assert!(answers.next().is_none(), "fewer questions than answers: {}", String::from_utf8_lossy(&seen));
        let status = child.wait().expect("it is ours");
        let mut screen = String::from_utf8_lossy(&seen).replace("\r\n", "\n");
        if screen.contains("passphrase") {
            // Nobody types before the echo is off; a test may.
            screen = given.iter().fold(screen, |screen, answer| screen.replace(&format!(": {answer}\n\n"), ": \n"));
        }
        Some(Answer { stdout: self.redactor.redact(&screen).into_owned(), stderr: String::new(), status, bytes: seen })
    }

    /// Runs it with its standard output there.
    pub fn run_into(self, stdout: File) -> Answer {
        let mut command = self.command();
        let output =
            command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output().expect("the binary was built");
        Answer::new(output.status, output.stdout, output.stderr, &self.redactor)
    }
}

/// A real sshd. What login shells read is not that of the person who runs the tests.
pub fn server() -> Option<Daemon> {
    sshd(&["MaxStartups 100", "SetEnv HOME={}"])
}

/// The ssh_config with which a server is reached, for ssh and for bugle.
pub fn ssh_config(daemon: &Daemon) -> String {
    format!(
        "Host *\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  \
         GlobalKnownHostsFile /dev/null\n  BatchMode yes\n",
        daemon.user,
        daemon.key().display(),
        daemon.known_hosts().display()
    )
}

/// Whether this process was started to ignore SIGINT, which its children would do too.
fn ignores_interrupts() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 2 != 0)
}

/// A call under way.
pub struct Running {
    child: Child,
    _stdin: Option<std::process::ChildStdin>,
    stdout: Gathered,
    stderr: Lines,
    redactor: Redactor,
    _places: Vec<Place>,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, as a terminal does: to the whole group.
    pub fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal).expect("it is running");
    }

    /// Waits for its end while nobody reads what it wrote, and gives the exit code.
    #[track_caller]
    pub fn wait_unread(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        panic!("bugle did not end");
    }

    /// Waits for a line on standard error that contains this.
    #[track_caller]
    pub fn wait_for_talk(&mut self, text: &str) {
        self.stderr.wait_for(text);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Answer {
        // Its end closes both streams, unless somebody inherited them.
        let stdout = self.stdout.end();
        let stderr = self.stderr.end();
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
            panic!("bugle did not end");
        };
        let status = self.child.wait().expect("it is ours");
        Answer::new(status, stdout, stderr, &self.redactor)
    }
}

/// How often anybody called a host of the fleet.
pub fn calls(fleet: &Fleet) -> usize {
    fleet.hosts().iter().map(|host| host.counts().connections).sum()
}

/// What came back. The texts are redacted; `bytes` is standard output as it was.
#[derive(Debug)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub bytes: Vec<u8>,
    status: ExitStatus,
}

impl Answer {
    fn new(status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>, redactor: &Redactor) -> Self {
        let text = |bytes: &[u8]| redactor.redact(&String::from_utf8_lossy(bytes)).into_owned();
        Self { stdout: text(&stdout), stderr: text(&stderr), bytes: stdout, status }
    }

    /// The exit code.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("a signal ended it: {:?}\n{}", self.status.signal(), self.stderr))
    }

    /// It exited so, with exactly this on its streams.
    #[track_caller]
    pub fn is(self, code: i32, stdout: &str, stderr: &str) -> Self {
        self.exited(code).said(stdout).talked(stderr)
    }

    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Exactly this is on standard output.
    #[track_caller]
    pub fn said(self, expected: &str) -> Self {
        same("stdout", &self.stdout, expected, &self);
        self
    }

    /// Exactly this is on standard error.
    #[track_caller]
    pub fn talked(self, expected: &str) -> Self {
        same("stderr", &self.stderr, expected, &self);
        self
    }

    /// Standard error contains this.
    #[track_caller]
    pub fn told(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "`{part}` is not in\n{}", self.stderr);
        self
    }
}

#[track_caller]
fn same(what: &str, actual: &str, expected: &str, answer: &Answer) {
    assert!(
        actual == expected,
        "{what} differs\n--- expected\n{expected}\n--- stdout ({})\n{}\n--- stderr\n{}",
        answer.status,
        answer.stdout,
        answer.stderr
    );
}
