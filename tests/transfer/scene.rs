//! A host to push to, and what stands there before and after.

use crate::bugle::{Bugle, Place};
use crate::fleet::openssh::Daemon;
use crate::fleet::{Behaviour, Fleet, Host, Oddity};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// One host and one user, whose runs know of each other.
pub struct Scene {
    server: Server,
    pub place: Place,
}

enum Server {
    Fleet(Box<Fleet>),
    Daemon(Box<Daemon>),
}

/// Requests that change something.
const CHANGING: [&str; 13] = [
    "open",
    "write",
    "setstat",
    "fsetstat",
    "lsetstat",
    "remove",
    "mkdir",
    "rmdir",
    "rename",
    "posix-rename",
    "symlink",
    "hardlink",
    "fsync",
];

impl Scene {
    pub fn of(behaviour: Behaviour) -> Self {
        Self { server: Server::Fleet(Box::new(Fleet::one(behaviour))), place: Place::new() }
    }

    pub fn serving(oddities: impl Into<Vec<Oddity>>) -> Self {
        Self::of(Behaviour::serving(oddities))
    }

    pub fn on(daemon: Daemon) -> Self {
        Self { server: Server::Daemon(Box::new(daemon)), place: Place::new() }
    }

    /// The directory in which the login lands.
    pub fn home(&self) -> &Path {
        match &self.server {
            Server::Fleet(fleet) => &fleet.hosts()[0].home,
            Server::Daemon(daemon) => &daemon.home,
        }
    }

    /// The host, where it is one of a fleet.
    pub fn host(&self) -> &Arc<Host> {
        let Server::Fleet(fleet) = &self.server else { panic!("it is a real server") };
        &fleet.hosts()[0]
    }

    pub fn fleet(&self) -> &Fleet {
        let Server::Fleet(fleet) = &self.server else { panic!("it is a real server") };
        fleet
    }

    /// `bugle push host`, to which options, sources and the destination are added.
    pub fn push(&self) -> Bugle {
        let bugle = match &self.server {
            Server::Fleet(fleet) => Bugle::on(fleet),
            Server::Daemon(daemon) => Bugle::on_daemon(daemon, ["host"]),
        };
        bugle.at(&self.place).args(["push", "host"])
    }

    /// A file to send.
    pub fn source(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.place.file_with_mode(name, content, 0o644)
    }

    /// A file that stands on the host, for longer than the sources.
    pub fn old(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_time(&path, 1_500_000_000);
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.home().join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Requests up to now that change something on the host.
    pub fn changing_requests(&self) -> usize {
        CHANGING.iter().map(|kind| self.host().requests_to(kind)).sum()
    }

    /// Temporary files on the host.
    pub fn left(&self) -> Vec<PathBuf> {
        left(self.home())
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.left(), <[PathBuf; 0]>::default());
    }
}

/// Temporary files in a directory and below.
pub fn left(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".bugle-") {
            found.push(path);
        } else if entry.file_type().unwrap().is_dir() {
            found.extend(left(&path));
        }
    }
    found
}

/// Bytes that compress badly and of which each tells its place; another seed has others.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = vec![0; length];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}

/// A number below a limit, which only looks random.
pub fn pick(seed: u64, limit: u64) -> u64 {
    let bytes = noise(seed.wrapping_add(77), 80);
    u64::from_le_bytes(bytes[72..].try_into().unwrap()) % limit
}

/// Does this for each case at once: what waits for slow lines costs no time beside others that do. The first that fails fails
/// the test.
pub fn at_once<Case: Send>(cases: impl IntoIterator<Item = Case>, run: impl Fn(Case) + Sync) {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases.into_iter().map(|case| scope.spawn(|| run(case))).collect();
        running.into_iter().for_each(|running| running.join().unwrap());
    });
}

/// Sets when a file was modified, in seconds since 1970.
pub fn set_time(path: &Path, seconds: u64) {
    File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// Waits for what a host or a relay tells of itself.
pub fn wait(told: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has threads").block_on(told);
}
