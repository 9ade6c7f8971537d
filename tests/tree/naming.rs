//! What sources are called on a host, beside scp over a local sftp-server.

use super::sample;
use bugle::tree::{DestinationKind, Kind, Placement, ScanOptions, Tree};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where distributions put sftp-server.
const SERVERS: [&str; 5] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/lib/misc/sftp-server",
];

/// Sources, and a directory `host` to send them to that has a directory `dir` and a file `file`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for directory in ["d/sub", "e", "host/dir"] {
        fs::create_dir_all(folder.path().join(directory)).unwrap();
    }
    for file in ["f", "g", "d/x", "e/y", "host/file", "host/dir/f"] {
        fs::write(folder.path().join(file), file).unwrap();
    }
    folder
}

fn kind_of(path: &Path) -> DestinationKind {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => DestinationKind::Directory,
        Ok(_) => DestinationKind::File,
        // A file with a slash behind it is there all the same.
        Err(_) if path.as_os_str().as_bytes().ends_with(b"/") && path.components().as_path().exists() => {
            DestinationKind::File
        }
        Err(_) => DestinationKind::Missing,
    }
}

/// What is in `host` afterwards by our names, where there is no mistake.
fn ours(folder: &Path, sources: &[&str], destination: &str) -> Option<BTreeSet<Vec<u8>>> {
    let sources: Vec<PathBuf> = sources.iter().map(|source| folder.join(source)).collect();
    let tree = Tree::scan(&sources, &ScanOptions { recursive: true, ..ScanOptions::default() }).unwrap();
    let host = folder.join("host");
    let kind = kind_of(&host.join(destination));
    let placement = Placement::new(&tree.roots, host.join(destination).as_os_str().as_bytes(), kind).ok()?;
    let mut paths: BTreeSet<Vec<u8>> = sample::walk(&host).into_keys().collect();
    for entry in &tree.entries {
        let remote = placement.remote(&placement.path(entry));
        let path = remote.strip_prefix(host.as_os_str().as_bytes()).unwrap();
        let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        assert!(entry.kind == Kind::Directory || path != b"dir", "a file takes no directory's place");
        paths.insert(path);
    }
    Some(paths)
}

/// What is in `host` after scp, where it does not fail.
fn theirs(server: &str, folder: &Path, sources: &[&str], destination: &str) -> Option<BTreeSet<Vec<u8>>> {
    let status = Command::new("scp")
        .current_dir(folder)
        .args(["-r", "-q", "-D", server])
        .args(sources)
        .arg(format!("host:{}/{destination}", folder.join("host").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success().then(|| sample::walk(&folder.join("host")).into_keys().collect())
}

#[test]
fn sources_get_the_names_that_scp_gives_them() {
    let Some(server) = SERVERS.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: no sftp-server");
        return;
    };
    if Command::new("scp").stdin(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: no scp");
        return;
    }
    let all =
        [&["f"][..], &["d"], &["d/"], &["d/."], &["d/sub/.."], &["f", "g"], &["d", "e"], &["d/.", "e/."], &["f", "d"]];
    for sources in all {
        for destination in ["dir", "dir/", "file", "file/", "new", "new/"] {
            let is_missing = destination.starts_with("new");
            if sources.len() > 1 && is_missing {
                // scp makes the directory, which turns a slip of the keyboard into a new directory on every host.
                assert_eq!(ours(folder().path(), sources, destination), None);
                continue;
            }
            if sources == ["d/sub/.."] && destination.starts_with("dir") {
                // Before OpenSSH 10 this went to the directory above the destination.
                let ours = ours(folder().path(), sources, destination);
                assert_eq!(ours, self::ours(folder().path(), &["d/."], destination));
                continue;
            }
            let (mine, other) = (folder(), folder());
            let ours = ours(mine.path(), sources, destination);
            let theirs = theirs(server, other.path(), sources, destination);
            let show = |paths: Option<BTreeSet<Vec<u8>>>| {
                paths.map(|paths| paths.iter().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>())
            };
            assert_eq!(show(ours), show(theirs), "{sources:?} to {destination}");
        }
    }
}
