//! Shells and servers of this machine in the place of a host's, for tests.

use super::bridge;
use crate::sftp::{ByteSink, ByteSource, Piece, Sftp, SftpError};
use bytes::Bytes;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// Nobody's user and group.
pub(super) const STRANGER: u32 = 65_534;

/// What a program prints.
pub(super) struct Output(Child);

/// What a program is told.
pub(super) struct Words(Option<ChildStdin>);

impl ByteSource for Output {
    async fn next(&mut self) -> Piece {
        let mut piece = vec![0; 32 * 1024];
        let (Some(stdout), Some(stderr)) = (self.0.stdout.as_mut(), self.0.stderr.as_mut()) else {
            return Piece::Ended("it has no output".into());
        };
        let mut talk = vec![0; 1024];
        tokio::select! {
            biased;
            Ok(count @ 1..) = stderr.read(&mut talk) => {
                talk.truncate(count);
                Piece::Talk(talk.into())
            }
            read = stdout.read(&mut piece) => match read {
                Ok(count @ 1..) => {
                    piece.truncate(count);
                    Piece::Data(piece.into())
                }
                _ => Piece::Ended(format!("it ended with {:?}", self.0.wait().await.unwrap())),
            },
        }
    }

    async fn close(mut self) {
        self.0.kill().await.unwrap();
    }
}

impl ByteSink for Words {
    async fn send(&mut self, bytes: Bytes) -> bool {
        match &mut self.0 {
            Some(stdin) => stdin.write_all(&bytes).await.is_ok(),
            None => false,
        }
    }

    async fn finish(&mut self) {
        self.0 = None;
    }
}

/// A program of this machine that is run like one of a host's.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) name: String,
    words: Vec<OsString>,
    path: Option<PathBuf>,
    stranger: bool,
}

impl Program {
    pub(super) fn new(name: &str, words: &[&str]) -> Self {
        Self { name: name.into(), words: words.iter().map(Into::into).collect(), path: None, stranger: false }
    }

    /// With the programs of this directory only.
    pub(super) fn with_path(mut self, path: &Path) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Run by nobody, where this process may do that.
    pub(super) fn for_stranger(mut self) -> Self {
        self.stranger = true;
        self
    }

    /// Run by the same user as that one.
    pub(super) fn clone_as(&self, other: &Self) -> Self {
        Self { stranger: other.stranger, ..self.clone() }
    }

    pub(super) fn start(&self, directory: &Path) -> (Output, Words) {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HOME", directory);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        if self.stranger && is_root() {
            command.uid(STRANGER).gid(STRANGER);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let words = Words(child.stdin.take());
        (Output(child), words)
    }

    /// A session over the bridge with this program as the host's shell.
    pub(super) async fn session(&self, directory: &Path) -> Result<Sftp, SftpError> {
        let (output, words) = self.start(directory);
        let (source, sink) = bridge(output, words);
        Sftp::start(source, sink).await
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program on the way where programs are.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').map(|place| Path::new(place).join(program)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {program}");
    }
    found
}

/// OpenSSH's server, which is asked the same.
pub(super) fn oracle() -> Option<Program> {
    let places = ["/usr/lib/openssh", "/usr/libexec/openssh", "/usr/libexec", "/usr/lib/ssh"];
    let server = places.map(|place| Path::new(place).join("sftp-server")).into_iter().find(|path| path.is_file());
    if server.is_none() {
        eprintln!("skipped: no sftp-server");
    }
    server.map(|server| Program::new("sftp-server", &[server.to_str().unwrap()]))
}

/// What a small router has: busybox without `stat`.
const SPARSE: &[&str] = &[
    "cat", "chgrp", "chmod", "chown", "date", "dd", "df", "fsync", "ln", "ls", "mkdir", "mv", "printf", "readlink",
    "rm", "rmdir", "touch", "sync",
];

/// The shells of this machine, with the programs around them; the directory holds those that are made up.
pub(super) fn shells(made_up: &TempDir) -> Vec<Program> {
    let mut shells = vec![Program::new("sh", &["/bin/sh"])];
    for (name, arguments) in
        [("dash", &[][..]), ("bash", &[]), ("bash", &["--posix"]), ("mksh", &[]), ("ksh93", &[]), ("posh", &[])]
    {
        if let Some(found) = find(name) {
            let words: Vec<&str> = std::iter::once(found.to_str().unwrap()).chain(arguments.iter().copied()).collect();
            shells.push(Program::new(&words[..].join(" "), &words));
        }
    }
    if let Some(busybox) = find("busybox") {
        let (own, sparse) = (made_up.path().join("own"), made_up.path().join("sparse"));
        std::fs::create_dir(&own).unwrap();
        std::fs::create_dir(&sparse).unwrap();
        let listed = std::process::Command::new(&busybox).arg("--list").output().unwrap();
        for applet in String::from_utf8(listed.stdout).unwrap().lines() {
            symlink(&busybox, own.join(applet)).unwrap();
            if SPARSE.contains(&applet) {
                symlink(&busybox, sparse.join(applet)).unwrap();
            }
        }
        let text = busybox.to_str().unwrap();
        shells.push(Program::new("busybox", &[text, "sh"]).with_path(&own));
        if let Some(dash) = find("dash") {
            shells.push(Program::new("dash with little", &[dash.to_str().unwrap()]).with_path(&sparse));
        }
        std::fs::set_permissions(made_up.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    shells
}

/// Waits for what a test does in a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}
