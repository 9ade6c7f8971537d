//! Where the files of tests are.

use rustix::fs::{Access, access, statvfs};
use std::path::Path;
use tempfile::{Builder, TempDir};

/// A file system in memory, where Linux has one.
const MEMORY: &str = "/dev/shm";
/// What has to be free there, in bytes.
const ROOM: u64 = 2 << 30;

/// A temporary directory whose name begins so. Tests have theirs in memory, where there is room: to bring a file to a disk that
/// others write to as well takes milliseconds, and tests do it some hundred thousand times. `TMPDIR` says where else; what
/// measures is on the disk.
pub fn folder(prefix: &str) -> TempDir {
    let mut builder = Builder::new();
    let builder = builder.prefix(prefix);
    let made = match cfg!(test) && std::env::var_os("TMPDIR").is_none() && has_room() {
        true => builder.tempdir_in(MEMORY),
        false => builder.tempdir(),
    };
    made.expect("there is room for temporary files")
}

fn has_room() -> bool {
    let free = statvfs(MEMORY).map(|space| space.f_bavail.saturating_mul(space.f_frsize));
    free.is_ok_and(|free| free >= ROOM) && access(Path::new(MEMORY), Access::WRITE_OK).is_ok()
}
