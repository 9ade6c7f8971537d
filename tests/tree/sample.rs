//! Trees that proptest makes up, written to a directory, and what a plain walk finds in one.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Something in a directory that is to be made.
#[derive(Clone, Debug)]
pub enum Node {
    File {
        data: Vec<u8>,
        hole: u64,
        mode: u32,
        seconds: u64,
    },
    Directory {
        nodes: Nodes,
        mode: u32,
        seconds: u64,
    },
    Symlink {
        target: Vec<u8>,
    },
    /// A hard link of some file that was made before; of none where there is none.
    HardLink {
        of: prop::sample::Index,
    },
}

pub type Nodes = BTreeMap<Vec<u8>, Node>;

/// Names that break what takes names for text, lines, words, patterns or options.
pub fn names() -> Vec<Vec<u8>> {
    let long = vec![b'n'; 255];
    let plain: [&[u8]; 13] = [
        b"a",
        b"a b",
        b"a\nb",
        b"'q\"",
        b"*",
        b"\xff\xfe",
        b"-rf",
        b"a.txt",
        b"a!",
        b".hidden",
        b"\xc3\xa9",
        b"\\",
        b"\x1b[31m",
    ];
    plain.iter().map(|name| name.to_vec()).chain([long]).collect()
}

/// A directory's contents, a few levels deep.
pub fn nodes() -> impl Strategy<Value = Nodes> {
    let data = prop_oneof![Just(b"".to_vec()), Just(b"x".to_vec()), Just(b"y".to_vec()), Just(b"longer".to_vec())];
    let file = (data, prop_oneof![4 => Just(0), 1 => Just(300_000_u64)], modes(), 1_000_000_000_u64..1_000_000_002)
        .prop_map(|(data, hole, mode, seconds)| Node::File { data, hole, mode, seconds });
    let targets: [&[u8]; 5] = [b"a", b"nowhere/at all", b"/etc/passwd", b"../a", b"\xff\n"];
    let link = prop::sample::select(targets.to_vec()).prop_map(|target| Node::Symlink { target: target.into() });
    let hard_link = any::<prop::sample::Index>().prop_map(|of| Node::HardLink { of });
    let leaf = prop_oneof![5 => file, 1 => link, 2 => hard_link];
    let name = prop::sample::select(names());
    let directory = leaf.prop_recursive(3, 40, 6, move |inner| {
        let nodes = prop::collection::btree_map(prop::sample::select(names()), inner, 0..6);
        (nodes, modes(), 1_000_000_000_u64..1_000_000_002).prop_map(|(nodes, mode, seconds)| Node::Directory {
            nodes,
            mode: mode | 0o700,
            seconds,
        })
    });
    prop::collection::btree_map(name, directory, 0..7)
}

fn modes() -> impl Strategy<Value = u32> {
    prop::sample::select(&[0o644_u32, 0o600, 0o755, 0o4755, 0o1777, 0o444][..])
}

/// Writes a tree into a directory that is there.
pub fn write(directory: &Path, nodes: &Nodes) {
    write_below(directory, nodes, &mut Vec::new());
}

fn write_below(directory: &Path, nodes: &Nodes, files: &mut Vec<std::path::PathBuf>) {
    for (name, node) in nodes {
        let path = directory.join(OsStr::from_bytes(name));
        match node {
            Node::File { data, hole, mode, seconds } => {
                let mut file = File::create(&path).unwrap();
                file.write_all(data).unwrap();
                if *hole > 0 {
                    file.seek(SeekFrom::Current(i64::try_from(*hole).unwrap())).unwrap();
                    file.write_all(b"end").unwrap();
                }
                set(&path, *mode, i64::try_from(*seconds).unwrap());
                files.push(path);
            }
            Node::Directory { nodes, mode, seconds } => {
                fs::create_dir(&path).unwrap();
                write_below(&path, nodes, files);
                set(&path, *mode, i64::try_from(*seconds).unwrap());
            }
            Node::Symlink { target } => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Node::HardLink { .. } if files.is_empty() => {}
            Node::HardLink { of } => fs::hard_link(of.get(files), &path).unwrap(),
        }
    }
}

/// Gives a file or directory its mode and its time.
pub fn set(path: &Path, mode: u32, seconds: i64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap());
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    let file = if path.is_dir() { File::open(path) } else { OpenOptions::new().write(true).open(path) };
    file.unwrap().set_times(times).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a walk finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub what: What,
    pub mode: u32,
    pub mtime: i64,
    pub inode: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Special,
}

/// Everything in a directory, by its path there; the directory itself has the empty one. Nothing is followed.
pub fn walk(directory: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut found = BTreeMap::new();
    walk_below(directory, b"", &mut found);
    found
}

fn walk_below(path: &Path, name: &[u8], found: &mut BTreeMap<Vec<u8>, Seen>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let what = if metadata.is_dir() {
        for item in fs::read_dir(path).unwrap() {
            let item = item.unwrap();
            let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
            walk_below(&item.path(), &[name, slash, item.file_name().as_bytes()].concat(), found);
        }
        What::Directory
    } else if metadata.is_symlink() {
        What::Symlink(fs::read_link(path).unwrap().into_os_string().into_vec())
    } else if metadata.is_file() {
        What::File(fs::read(path).unwrap())
    } else {
        What::Special
    };
    let seen = Seen { what, mode: metadata.mode() & 0o7777, mtime: metadata.mtime(), inode: metadata.ino() };
    found.insert(name.into(), seen);
}
