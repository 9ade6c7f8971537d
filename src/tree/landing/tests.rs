//! What comes is put where it belongs, with its bytes and attributes, and nowhere else.

use super::*;
use crate::tree::temporary::Run;
use proptest::prelude::*;
use rustix::fs::{FileType, Timespec, Timestamps, UTIME_OMIT};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(super) const BY_HOST: LandingOptions =
    LandingOptions { layout: Layout::ByHost, half_written: HalfWritten::Remove, umask: 0o022 };
pub(super) const FLAT: LandingOptions = LandingOptions { layout: Layout::Flat, ..BY_HOST };
pub(super) const PLAIN: Attributes = Attributes { mode: Some(0o644), mtime: Some(1), atime: None, preserve: false };

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn path(text: impl AsRef<[u8]>) -> TreePath {
    TreePath::from_bytes(text.as_ref())
}

/// A run without a state directory.
pub(super) fn run() -> Arc<RunLock> {
    Arc::new(RunLock::acquire_in(None).unwrap())
}

pub(super) fn landing(directory: &Path, options: LandingOptions) -> Arc<Landing> {
    Landing::open(directory, options, run()).unwrap()
}

fn landing_walking(directory: &Path, options: LandingOptions, by_name: bool) -> Arc<Landing> {
    fs::create_dir_all(directory).unwrap();
    let folder = Folder::open(directory).unwrap();
    let folder = if by_name { folder.by_name() } else { folder };
    Arc::new(Landing::new(directory, folder, options, run()))
}

/// A destination for each way of walking, with a directory of its own.
fn both_ways(options: LandingOptions) -> [(TempDir, Arc<Landing>); 2] {
    [true, false].map(|by_name| {
        let directory = tempfile::tempdir().unwrap();
        let landing = landing_walking(directory.path(), options, by_name);
        (directory, landing)
    })
}

pub(super) fn put(place: &Arc<Place>, at: &str, content: &[u8]) -> Result<(), LandingError> {
    let incoming = place.incoming(&path(at), Holes::Fill)?;
    incoming.write_at(0, &[content])?;
    incoming.finish(content.len() as u64, &PLAIN)
}

/// Every name beneath a directory.
pub(super) fn names(directory: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.file_name().as_bytes().to_vec());
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
    }
    found.sort();
    found
}

pub(super) fn temporary_names(directory: &Path) -> usize {
    names(directory).iter().filter(|name| temporary::recognise(name).is_some()).count()
}

fn in_the_way(result: Result<impl Sized, LandingError>) -> (&'static str, PathBuf) {
    match result.err().expect("something is in the way") {
        LandingError::InTheWay { path, found, .. } => (found, path),
        other => panic!("{other}"),
    }
}

#[test]
fn hosts_have_directories_of_their_own_whatever_they_are_called() {
    let directory = tempfile::tempdir().unwrap();
    let landing = landing(directory.path(), BY_HOST);
    let hosts = ["web1", ".", "..", "%2E", "%2E.", "%252E", ".hidden", "::1", "fe80::1%eth0", "bücher", "a.b"];
    for name in hosts {
        let place = landing.place(&host(name));
        put(&place, "motd", name.as_bytes()).unwrap();
        assert!(place.settle().is_empty());
        let shown = place.shown(&path("motd")).unwrap();
        assert_eq!(fs::read_to_string(&shown).unwrap(), name);
        assert_eq!(shown.parent().unwrap().parent().unwrap(), directory.path());
    }
    landing.settle().unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), hosts.len());
    assert_eq!(names(directory.path()).len(), 2 * hosts.len());
}

#[test]
fn the_flat_layout_adds_the_host_to_the_first_name_and_lets_no_two_hosts_share_one() {
    let directory = tempfile::tempdir().unwrap();
    let landing = landing(directory.path(), FLAT);
    let (one, other) = (landing.place(&host("b.c")), landing.place(&host("c")));
    put(&one, "a", b"one").unwrap();
    put(&one, "tree/x/y", b"deep").unwrap();
    put(&one, "a", b"again").unwrap();
    let error = put(&other, "a.b", b"other").unwrap_err();
    assert!(matches!(&error, LandingError::Taken { other, .. } if other.as_str() == "b.c"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--flat")));
    put(&other, "a", b"other").unwrap();
    assert!(one.settle().is_empty() && other.settle().is_empty());
    landing.settle().unwrap();
    let found = names(directory.path());
    assert_eq!(found, ["a.b.c", "a.c", "tree.b.c", "x", "y"].map(|name| name.as_bytes().to_vec()));
    assert_eq!(fs::read_to_string(directory.path().join("a.b.c")).unwrap(), "again");
}

#[test]
fn a_host_that_sends_nothing_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let landing = landing(directory.path(), BY_HOST);
    let place = landing.place(&host("h"));
    assert!(!place.is_unchanged(&path("a/b"), 1, 1).unwrap());
    assert_eq!(place.sha256(&path("a"), 1).unwrap(), None);
    assert!(place.settle().is_empty());
    assert_eq!(names(directory.path()), [b""; 0]);
}

#[test]
fn names_that_lead_elsewhere_are_refused_in_every_kind_of_entry() {
    let reserved = String::from_utf8(Run::random().unwrap().name_for(b"x")).unwrap();
    for (options, by_name) in [(BY_HOST, true), (BY_HOST, false), (FLAT, true), (FLAT, false)] {
        // What gets out of the destination is seen as well.
        let directory = tempfile::tempdir().unwrap();
        let landing = landing_walking(&directory.path().join("out"), options, by_name);
        let place = landing.place(&host("h"));
        put(&place, "sound", b"x").unwrap();
        let before = names(directory.path());
        for hostile in
            ["../x", "/etc/x", "..", ".", "a/../x", "a/./x", "a//x", "a/", "/", "a\0b", "a/..", "\0", &reserved, "a/"]
        {
            let hostile = path(hostile);
            for result in [
                place.incoming(&hostile, Holes::Fill).map(drop),
                place.resume(&hostile, 1, Holes::Fill).map(drop),
                place.directory(&hostile, &PLAIN).map(drop),
                place.symlink(&hostile, b"x", &PLAIN).map(drop),
                place.link(&path("sound"), &hostile).map(drop),
                place.link(&hostile, &path("other")).map(drop),
                place.adjust(&hostile, &PLAIN).map(drop),
                place.is_unchanged(&hostile, 1, 1).map(drop),
                place.sha256(&hostile, 1).map(drop),
                place.shown(&hostile).map(drop),
            ] {
                let error = result.expect_err(&hostile.as_bytes().escape_ascii().to_string());
                assert!(matches!(error, LandingError::Name { .. } | LandingError::Reserved { .. }), "{error}");
            }
        }
        // Nothing has no name at all, but the host's own directory.
        assert!(matches!(place.incoming(&TreePath::root(), Holes::Fill), Err(LandingError::Name { .. })));
        assert!(matches!(place.symlink(&TreePath::root(), b"x", &PLAIN), Err(LandingError::Name { .. })));
        place.directory(&TreePath::root(), &PLAIN).unwrap();
        assert_eq!(names(directory.path()), before);
    }
}

#[test]
fn a_symlink_that_came_is_never_followed() {
    for (directory, landing) in both_ways(BY_HOST) {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "precious").unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let place = landing.place(&host("h"));
        let here = directory.path().join("h/link");
        place.symlink(&path("link"), outside.path().as_os_str().as_bytes(), &PLAIN).unwrap();
        put(&place, "sound", b"x").unwrap();
        let exact = Attributes { mode: Some(0o777), preserve: true, ..PLAIN };
        assert_eq!(in_the_way(put(&place, "link/file", b"evil")), ("symlink", here.clone()));
        assert_eq!(in_the_way(put(&place, "link/new/deeper", b"evil")), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.directory(&path("link"), &exact)), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.directory(&path("link/new"), &exact)), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.symlink(&path("link/new"), b"x", &exact)), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.link(&path("sound"), &path("link/new"))), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.link(&path("link/file"), &path("new"))), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.link(&path("link"), &path("new"))), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.is_unchanged(&path("link/file"), 8, 1)), ("symlink", here.clone()));
        assert_eq!(in_the_way(place.adjust(&path("link"), &exact)), ("symlink", here.clone()));
        assert_eq!(place.sha256(&path("link"), 8).unwrap(), None);
        // A symlink in the place of a file is replaced, and what it points to stays.
        place.symlink(&path("name"), outside.path().join("file").as_os_str().as_bytes(), &PLAIN).unwrap();
        put(&place, "name", b"mine").unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("h/name")).unwrap(), "mine");
        assert!(place.settle().is_empty());
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "precious");
        assert_eq!(names(outside.path()), [b"file"]);
        assert_eq!(fs::metadata(outside.path()).unwrap().mode() & 0o777, 0o750);
        assert_eq!(temporary_names(directory.path()), 0);
    }
}

#[test]
fn a_directory_that_becomes_a_symlink_while_a_file_comes_leads_nowhere() {
    for (directory, landing) in both_ways(BY_HOST) {
        let outside = tempfile::tempdir().unwrap();
        let outside = outside.path();
        let place = landing.place(&host("h"));
        place.directory(&path("d"), &Attributes { mode: Some(0o555), preserve: true, ..PLAIN }).unwrap();
        let incoming = place.incoming(&path("d/file"), Holes::Fill).unwrap();
        incoming.write_at(0, &[b"ab"]).unwrap();
        let here = directory.path().join("h");
        fs::rename(here.join("d"), here.join("moved")).unwrap();
        symlink(outside, here.join("d")).unwrap();
        incoming.write_at(2, &[b"c"]).unwrap();
        incoming.finish(3, &PLAIN).unwrap();
        // The directory that the file was begun in has it.
        assert_eq!(fs::read_to_string(here.join("moved/file")).unwrap(), "abc");
        put(&place, "other", b"").unwrap();
        assert_eq!(in_the_way(put(&place, "d/file", b"evil")), ("symlink", here.join("d")));
        let before = fs::metadata(outside).unwrap();
        let problems = place.settle();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(in_the_way(Err::<(), _>(problems.into_iter().next().unwrap())), ("symlink", here.join("d")));
        assert_eq!(fs::metadata(outside).unwrap().mode(), before.mode());
        assert_eq!(names(outside), [b""; 0]);
    }
}

#[test]
fn what_is_of_another_kind_stays_and_fails_its_entry_alone() {
    for (directory, landing) in both_ways(BY_HOST) {
        let here = directory.path().join("h");
        fs::create_dir_all(here.join("directory/full")).unwrap();
        fs::write(here.join("file"), "stays").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, here.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(here.join("socket")).unwrap();
        let place = landing.place(&host("h"));
        for (name, kind) in [("directory", "directory"), ("fifo", "FIFO"), ("socket", "socket")] {
            assert_eq!(in_the_way(put(&place, name, b"")), (kind, here.join(name)));
            assert_eq!(in_the_way(place.resume(&path(name), 1, Holes::Fill)), (kind, here.join(name)));
            assert_eq!(in_the_way(place.symlink(&path(name), b"x", &PLAIN)), (kind, here.join(name)));
            assert_eq!(in_the_way(place.link(&path("file"), &path(name))), (kind, here.join(name)));
            assert_eq!(in_the_way(place.link(&path(name), &path("new"))), (kind, here.join(name)));
            assert_eq!(in_the_way(place.adjust(&path(name), &PLAIN)), (kind, here.join(name)));
            assert!(!place.is_unchanged(&path(name), 0, 0).unwrap());
            assert_eq!(place.sha256(&path(name), 0).unwrap(), None);
        }
        for name in ["fifo", "socket", "file"] {
            let (kind, at) = in_the_way(place.directory(&path(name), &PLAIN));
            assert_eq!((kind.to_lowercase(), at), (name.to_owned(), here.join(name)));
            assert_eq!(in_the_way(put(&place, &format!("{name}/x"), b"")).1, here.join(name));
        }
        // Something may come into the way while a file comes.
        let late = place.incoming(&path("late"), Holes::Fill).unwrap();
        fs::create_dir(here.join("late")).unwrap();
        assert_eq!(in_the_way(late.finish(0, &PLAIN)), ("directory", here.join("late")));
        put(&place, "sound", b"x").unwrap();
        assert_eq!(fs::read_to_string(here.join("file")).unwrap(), "stays");
        assert_eq!(temporary_names(directory.path()), 0);
    }
}

#[test]
fn a_hosts_directory_or_the_destination_may_not_be_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("h"), "").unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), directory.path().join("linked")).unwrap();
    let landing = landing(directory.path(), BY_HOST);
    assert_eq!(in_the_way(put(&landing.place(&host("h")), "a", b"")), ("file", directory.path().join("h")));
    let linked = landing.place(&host("linked"));
    assert_eq!(in_the_way(put(&linked, "a", b"")), ("symlink", directory.path().join("linked")));
    let error = Landing::open(&directory.path().join("h/x"), BY_HOST, run()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
    assert!(Landing::open(&directory.path().join("h"), BY_HOST, run()).is_err());
    // The destination itself was typed by the user, who may have meant a link.
    let through = Landing::open(&directory.path().join("linked"), BY_HOST, run()).unwrap();
    put(&through.place(&host("h")), "a", b"1").unwrap();
    assert_eq!(fs::read(outside.path().join("h/a")).unwrap(), b"1");
}

#[test]
fn names_of_any_byte_and_of_any_length_that_there_is_are_taken() {
    let longest = "n".repeat(255);
    for (directory, landing) in both_ways(BY_HOST) {
        let place = landing.place(&host("h"));
        for name in [longest.as_bytes(), b"\xff\xfe", b"a b\n'\"*?[]\\$(id)", b"-rf", b".bugle-x", b"...", b" "] {
            let incoming = place.incoming(&path(name), Holes::Fill).unwrap();
            incoming.write_at(0, &[name]).unwrap();
            incoming.finish(name.len() as u64, &PLAIN).unwrap();
            assert_eq!(fs::read(directory.path().join("h").join(OsStr::from_bytes(name))).unwrap(), name);
            place.link(&path(name), &path([b"d/", name].concat())).unwrap();
            place.directory(&path([b"e/", name].concat()), &PLAIN).unwrap();
            place.symlink(&path([b"f/", name].concat()), name, &PLAIN).unwrap();
        }
        // Before a byte is sent for nothing.
        let error = place.incoming(&path("n".repeat(256)), Holes::Fill).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("255 bytes")), "{error:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let flat = landing(directory.path(), FLAT).place(&host("h"));
    assert!(flat.incoming(&path(&longest), Holes::Fill).unwrap_err().hint().unwrap().contains("--flat"));
}

#[test]
fn modes_follow_the_umask_or_the_host_and_never_grant_more_than_access() {
    for (mode, umask, preserve, file, folder) in [
        (Some(0o644), 0o022, false, 0o644, 0o644),
        (Some(0o666), 0o022, false, 0o644, 0o644),
        (Some(0o777), 0o077, false, 0o700, 0o700),
        (Some(0o777), 0o000, false, 0o777, 0o777),
        (Some(0o7777), 0o022, false, 0o755, 0o755),
        (Some(0o7777), 0o077, true, 0o777, 0o777),
        (Some(0o4755), 0o027, true, 0o755, 0o755),
        (Some(0o2070), 0o022, true, 0o070, 0o070),
        (Some(0o100644), 0o022, true, 0o644, 0o644),
        (Some(0), 0o022, false, 0, 0),
        (None, 0o027, false, 0o640, 0o750),
        (None, 0o027, true, 0o640, 0o750),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let place = landing(directory.path(), LandingOptions { umask, ..BY_HOST }).place(&host("h"));
        let attributes = Attributes { mode, preserve, ..PLAIN };
        place.directory(&path("d"), &attributes).unwrap();
        let incoming = place.incoming(&path("d/f"), Holes::Fill).unwrap();
        let temporary = fs::read_dir(directory.path().join("h/d")).unwrap().next().unwrap().unwrap();
        assert_eq!(temporary.metadata().unwrap().mode() & 0o7777, 0o600, "nobody else reads what is not done");
        incoming.finish(0, &attributes).unwrap();
        let mode_of = |name: &str| fs::metadata(directory.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!(mode_of("h/d/f"), file, "{attributes:?} {umask:o}");
        assert!(place.settle().is_empty());
        assert_eq!(mode_of("h/d"), folder, "{attributes:?} {umask:o}");
        // So that who is not root can remove it.
        fs::set_permissions(directory.path().join("h/d"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn the_umask_is_the_one_that_the_shell_tells() {
    let told = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(umask(), u32::from_str_radix(told.trim(), 8).unwrap());
}

#[test]
fn a_directory_that_may_not_be_written_is_filled_first_and_again_later() {
    let closed = Attributes { mode: Some(0o555), mtime: Some(1_000_000_000), atime: Some(5), preserve: true };
    for (directory, landing) in both_ways(BY_HOST) {
        for (round, attributes) in [closed, Attributes { preserve: false, ..closed }, closed].iter().enumerate() {
            let place = landing.place(&host("h"));
            for at in ["d", "d/e"] {
                let landed = place.directory(&path(at), attributes).unwrap();
                assert_eq!(landed, if round == 0 { Landed::Made } else { Landed::Unchanged });
            }
            let open = fs::metadata(directory.path().join("h/d/e")).unwrap().mode();
            assert_eq!(open & 0o700, 0o700, "also who is not root can write to it now");
            put(&place, &format!("d/e/{round}"), b"x").unwrap();
            put(&place, "d/f", b"x").unwrap();
            assert!(place.settle().is_empty());
            for at in ["h/d", "h/d/e"] {
                let now = fs::metadata(directory.path().join(at)).unwrap();
                assert_eq!(now.mode() & 0o7777, 0o555, "{round}");
                assert_eq!((now.mtime(), now.atime()) == (1_000_000_000, 5), attributes.preserve, "{round}");
            }
        }
        for at in ["h/d", "h/d/e"] {
            // So that who is not root can remove it.
            fs::set_permissions(directory.path().join(at), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}

#[test]
fn a_directory_that_is_there_keeps_its_mode_unless_modes_are_preserved() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("h/d");
    fs::create_dir_all(&here).unwrap();
    fs::set_permissions(&here, fs::Permissions::from_mode(0o2750)).unwrap();
    let landing = landing(directory.path(), BY_HOST);
    for (preserve, mode) in [(false, 0o2750), (true, 0o2711)] {
        let place = landing.place(&host("h"));
        let attributes = Attributes { mode: Some(0o711), preserve, ..PLAIN };
        assert_eq!(place.directory(&path("d"), &attributes).unwrap(), Landed::Unchanged);
        assert!(place.settle().is_empty());
        // The group of new files is a choice of this machine.
        assert_eq!(fs::metadata(&here).unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn what_did_not_come_whole_does_not_take_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let landing = landing(directory.path(), BY_HOST);
    let place = landing.place(&host("h"));
    put(&place, "f", b"old").unwrap();
    type Writes = &'static [(u64, &'static [u8])];
    let cases: [(Writes, u64); 8] = [
        (&[(0, b"short")], 6),
        (&[(0, b"too long")], 7),
        (&[(0, b"ab"), (4, b"ef")], 6),
        (&[], 1),
        (&[(0, b"x")], 0),
        (&[(0, b"x"), (0, b"x")], 2),
        (&[(0, b"ab"), (4, b"ef")], 4),
        (&[(0, b"x"), (0, b"x"), (1, b"y")], 2),
    ];
    for (writes, length) in cases {
        for holes in [Holes::Fill, Holes::Leave] {
            let incoming = place.incoming(&path("f"), holes).unwrap();
            for (offset, bytes) in writes {
                incoming.write_at(*offset, &[bytes]).unwrap();
            }
            let error = incoming.finish(length, &PLAIN).unwrap_err();
            assert!(matches!(error, LandingError::Length { expected, .. } if expected == length), "{error}");
        }
    }
    drop(place.incoming(&path("f"), Holes::Fill).unwrap());
    assert_eq!(fs::read_to_string(directory.path().join("h/f")).unwrap(), "old");
    assert_eq!(temporary_names(directory.path()), 0);
    assert_eq!(landing.left_behind(), 0);
}

#[test]
fn a_length_that_no_file_has_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = landing(directory.path(), BY_HOST).place(&host("h"));
    for holes in [Holes::Fill, Holes::Leave] {
        let incoming = place.incoming(&path("f"), holes).unwrap();
        for offset in [u64::MAX, u64::MAX - 5, i64::MAX as u64] {
            assert!(incoming.write_at(offset, &[b"0123456789"]).is_err(), "{offset}");
        }
        incoming.leave_hole(u64::MAX, u64::MAX);
        assert!(incoming.finish(u64::MAX, &PLAIN).is_err());
    }
    assert_eq!(temporary_names(directory.path()), 0);
}

#[test]
fn blocks_of_zeros_become_holes_and_read_as_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let place = landing(directory.path(), BY_HOST).place(&host("h"));
    let mut content = vec![0; 1 << 20];
    content[5000] = 1;
    content[70_000..90_000].fill(7);
    for (holes, name) in [(Holes::Leave, "sparse"), (Holes::Fill, "full")] {
        for step in [1, 4096, 10_000, 1 << 20] {
            // A byte at a time would be no test of blocks, and slow.
            let step = if step == 1 { 4095 } else { step };
            let incoming = place.incoming(&path(name), holes).unwrap();
            for (index, chunk) in content.chunks(step).enumerate().collect::<Vec<_>>().into_iter().rev() {
                let (left, right) = chunk.split_at(chunk.len() / 3);
                incoming.write_at((index * step) as u64, &[left, right]).unwrap();
            }
            incoming.finish(content.len() as u64, &PLAIN).unwrap();
            assert_eq!(fs::read(directory.path().join("h").join(name)).unwrap(), content, "{name} {step}");
        }
    }
    let blocks = |name: &str| fs::metadata(directory.path().join("h").join(name)).unwrap().blocks();
    assert!(blocks("sparse") < blocks("full") / 4, "{} of {}", blocks("sparse"), blocks("full"));
    // A hole that the host tells of, at the end and alone.
    let incoming = place.incoming(&path("hole"), Holes::Fill).unwrap();
    incoming.write_at(0, &[b"x"]).unwrap();
    incoming.leave_hole(1, 5_000_000_000);
    incoming.finish(5_000_000_001, &PLAIN).unwrap();
    assert_eq!(fs::metadata(directory.path().join("h/hole")).unwrap().len(), 5_000_000_001);
    assert!(blocks("hole") <= 16);
}

#[test]
fn many_buffers_are_written_in_one_piece() {
    let directory = tempfile::tempdir().unwrap();
    let place = landing(directory.path(), BY_HOST).place(&host("h"));
    let content: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let mut buffers: Vec<&[u8]> = content.chunks(7).collect();
    buffers.insert(0, &[]);
    buffers.push(&[]);
    let incoming = place.incoming(&path("f"), Holes::Fill).unwrap();
    incoming.write_at(0, &buffers).unwrap();
    assert_eq!(incoming.sha256(content.len() as u64).unwrap(), place::digest(&content[..]).unwrap().1);
    incoming.finish(content.len() as u64, &PLAIN).unwrap();
    assert_eq!(fs::read(directory.path().join("h/f")).unwrap(), content);
}

#[test]
fn files_that_are_committed_together_fail_each_by_itself() {
    for count in [3, 200] {
        let directory = tempfile::tempdir().unwrap();
        let landing = landing(directory.path(), BY_HOST);
        let places = ["one", "other"].map(|name| landing.place(&host(name)));
        let seal = |number: usize| {
            let incoming = places[number % 2].incoming(&path(format!("d{}/f{number}", number % 40)), Holes::Fill)?;
            incoming.write_at(0, &[number.to_string().as_bytes()])?;
            incoming.seal(number.to_string().len() as u64, &PLAIN)
        };
        let sealed: Vec<Sealed> = (0..count).map(|number| seal(number).unwrap()).collect();
        assert_eq!(temporary_names(directory.path()), count);
        fs::create_dir(directory.path().join("other/d1/f1")).unwrap();
        let ended = Sealed::commit_all(sealed);
        assert_eq!(ended.len(), count);
        for (number, ended) in ended.into_iter().enumerate() {
            let shown = places[number % 2].shown(&path(format!("d{}/f{number}", number % 40))).unwrap();
            match number {
                1 => assert_eq!(in_the_way(ended), ("directory", shown)),
                _ => assert_eq!(fs::read_to_string(shown).unwrap(), number.to_string(), "{ended:?}"),
            }
        }
        assert_eq!(temporary_names(directory.path()), 0);
        assert!(places.iter().all(|place| place.settle().is_empty()));
    }
    assert!(Sealed::commit_all(Vec::new()).is_empty());
}

#[test]
fn a_file_is_unchanged_by_its_length_and_time_and_its_content_by_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let place = landing(directory.path(), BY_HOST).place(&host("h"));
    put(&place, "d/f", b"content").unwrap();
    let file = path("d/f");
    for (length, mtime, same) in [(7, 1, true), (6, 1, false), (7, 2, false)] {
        assert_eq!(place.is_unchanged(&file, length, mtime).unwrap(), same);
    }
    assert_eq!(place.sha256(&file, 7).unwrap(), Some(place::digest(&b"content"[..]).unwrap().1));
    assert_eq!(place.sha256(&file, 8).unwrap(), None);
    // The right content with another time is given the time, so that the next run need not look.
    let later = Attributes { mode: Some(0o4711), mtime: Some(99), ..PLAIN };
    assert_eq!(place.adjust(&file, &later).unwrap(), Landed::Made);
    assert_eq!(place.adjust(&file, &later).unwrap(), Landed::Unchanged);
    assert!(place.is_unchanged(&file, 7, 99).unwrap());
    let mode = || fs::metadata(directory.path().join("h/d/f")).unwrap().mode() & 0o7777;
    assert_eq!(mode(), 0o644);
    assert_eq!(place.adjust(&file, &Attributes { preserve: true, ..later }).unwrap(), Landed::Made);
    assert_eq!(mode(), 0o711);
    assert!(place.adjust(&path("d/none"), &later).is_err());
}

#[test]
fn links_are_made_once_and_replace_what_is_there() {
    for (directory, landing) in both_ways(BY_HOST) {
        let place = landing.place(&host("h"));
        let here = directory.path().join("h");
        put(&place, "a", b"shared").unwrap();
        put(&place, "d/b", b"other").unwrap();
        put(&place, "s", b"other").unwrap();
        for landed in [Landed::Made, Landed::Unchanged] {
            assert_eq!(place.link(&path("a"), &path("d/b")).unwrap(), landed);
            assert_eq!(place.symlink(&path("s"), b"\xff loose", &PLAIN).unwrap(), landed);
        }
        assert_eq!(place.symlink(&path("s"), b"/absolute", &PLAIN).unwrap(), Landed::Made);
        assert_eq!(fs::metadata(here.join("d/b")).unwrap().ino(), fs::metadata(here.join("a")).unwrap().ino());
        assert_eq!(fs::metadata(here.join("a")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(here.join("s")).unwrap(), Path::new("/absolute"));
        // New content for one name is no new content for the other.
        put(&place, "a", b"new").unwrap();
        assert_eq!(fs::read_to_string(here.join("d/b")).unwrap(), "shared");
        for text in [&b""[..], b"a\0b"] {
            assert!(place.symlink(&path("bad"), text, &PLAIN).is_err());
        }
        assert!(place.link(&path("none"), &path("x")).is_err());
        assert_eq!(temporary_names(directory.path()), 0);
    }
}

#[test]
fn temporary_files_of_dead_runs_go_at_once_and_of_unknown_ones_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let begin = || Arc::new(RunLock::acquire_in(Some(state.path().into())).unwrap());
    let (living, dead, unknown) = (begin(), begin().run(), Run::random().unwrap());
    let here = directory.path().join("h");
    fs::create_dir_all(&here).unwrap();
    for run in [living.run(), dead, unknown] {
        fs::write(here.join(OsStr::from_bytes(&run.name_for(b"f"))), "half").unwrap();
    }
    // Who sets this time says nothing about when the file was written to.
    let old = here.join(OsStr::from_bytes(&unknown.name_for(b"f")));
    fs::File::open(old).unwrap().set_modified(SystemTime::now() - Duration::from_secs(900_000)).unwrap();
    fs::write(here.join(".bugle-notes"), "mine").unwrap();
    symlink("/", here.join(OsStr::from_bytes(&dead.name_for(b"g")))).unwrap();
    fs::create_dir(here.join(OsStr::from_bytes(&dead.name_for(b"directory")))).unwrap();
    let lock = begin();
    let landing = Landing::open(directory.path(), BY_HOST, Arc::clone(&lock)).unwrap();
    put(&landing.place(&host("h")), "f", b"new").unwrap();
    let mut expected = vec![
        living.run().name_for(b"f"),
        unknown.name_for(b"f"),
        dead.name_for(b"directory"),
        b".bugle-notes".to_vec(),
        b"f".to_vec(),
    ];
    expected.sort();
    assert_eq!(names(&here), expected);
}

#[test]
fn a_directory_is_swept_once_a_run_however_many_hosts_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let begin = || Arc::new(RunLock::acquire_in(Some(state.path().into())).unwrap());
    let dead = begin().run();
    let leave = |name: &str| fs::write(directory.path().join(OsStr::from_bytes(&dead.name_for(name.as_bytes()))), "");
    let landing = Landing::open(directory.path(), FLAT, begin()).unwrap();
    leave("a").unwrap();
    put(&landing.place(&host("one")), "f", b"").unwrap();
    assert_eq!(temporary_names(directory.path()), 0);
    leave("b").unwrap();
    put(&landing.place(&host("two")), "f", b"").unwrap();
    assert_eq!(temporary_names(directory.path()), 1);
}

#[test]
fn a_file_goes_on_from_what_a_dead_run_wrote() {
    for options in [BY_HOST, FLAT].map(|options| LandingOptions { half_written: HalfWritten::Keep, ..options }) {
        let directory = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let open = || {
            let lock = Arc::new(RunLock::acquire_in(Some(state.path().into())).unwrap());
            Landing::open(directory.path(), options, lock).unwrap()
        };
        let content = [b"0123456789".as_slice(), &[0; 9000], b"end"].concat();
        let length = content.len() as u64;
        for written in [4, 5000] {
            let landing = open();
            let place = landing.place(&host("h"));
            let incoming = place.incoming(&path("f"), Holes::Fill).unwrap();
            incoming.write_at(0, &[&content[..written]]).unwrap();
            incoming.keep();
            drop(place.incoming(&path("other"), Holes::Fill).unwrap());
            assert_eq!(landing.left_behind(), 1);
        }
        // The run that goes on dies as well, and has made both its own.
        let landing = open();
        let place = landing.place(&host("h"));
        let incoming = place.resume(&path("f"), length, Holes::Leave).unwrap();
        assert_eq!(incoming.kept(), 5000);
        let second = place.resume(&path("f"), length, Holes::Leave).unwrap();
        assert_eq!(second.kept(), 0, "one run goes on with a file");
        drop(second);
        incoming.keep();
        drop((place, landing));

        let landing = open();
        let place = landing.place(&host("h"));
        assert_eq!(place.resume(&path("unknown"), length, Holes::Fill).unwrap().kept(), 0);
        let mut incoming = place.resume(&path("f"), length, Holes::Leave).unwrap();
        assert_eq!(incoming.sha256(4200).unwrap(), place::digest(&content[..4200]).unwrap().1);
        assert!(incoming.sha256(5001).is_err());
        assert!(incoming.go_on_from(5001).is_err());
        incoming.go_on_from(4200).unwrap();
        incoming.write_at(4200, &[&content[4200..]]).unwrap();
        incoming.finish(length, &PLAIN).unwrap();
        assert_eq!(fs::read(place.shown(&path("f")).unwrap()).unwrap(), content);
        assert_eq!(landing.left_behind(), 0);
        drop((place, landing));
        // What nobody went on with goes with a run that keeps nothing.
        let lock = Arc::new(RunLock::acquire_in(Some(state.path().into())).unwrap());
        let clean = LandingOptions { half_written: HalfWritten::Remove, ..options };
        put(&Landing::open(directory.path(), clean, lock).unwrap().place(&host("h")), "f", b"new").unwrap();
        assert_eq!(temporary_names(directory.path()), 0);
    }
}

#[test]
fn what_is_longer_than_the_file_or_somebody_elses_is_not_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let begin = || Arc::new(RunLock::acquire_in(Some(state.path().into())).unwrap());
    let dead = begin().run();
    let here = directory.path().join("h");
    let left = |name: &str| here.join(OsStr::from_bytes(&dead.name_for(name.as_bytes())));
    fs::create_dir_all(&here).unwrap();
    fs::write(here.join("precious"), "precious").unwrap();
    fs::write(left("long"), "0123456789").unwrap();
    symlink("precious", left("linked")).unwrap();
    fs::hard_link(here.join("precious"), left("shared")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, left("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let options = LandingOptions { half_written: HalfWritten::Keep, ..BY_HOST };
    let place = Landing::open(directory.path(), options, begin()).unwrap().place(&host("h"));
    for (name, kept) in [("long", 4), ("linked", 0), ("shared", 0), ("fifo", 0)] {
        let incoming = place.resume(&path(name), 4, Holes::Fill).unwrap();
        assert_eq!(incoming.kept(), kept, "{name}");
        incoming.write_at(0, &[b"abcd"]).unwrap();
        incoming.finish(4, &PLAIN).unwrap();
        assert_eq!(fs::read_to_string(here.join(name)).unwrap(), "abcd");
    }
    assert_eq!(fs::read_to_string(here.join("precious")).unwrap(), "precious");
    assert_eq!(temporary_names(directory.path()), 0);
}

/// What a host has, by path.
type Model = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, Debug)]
enum Node {
    Directory {
        mode: u32,
        mtime: i64,
    },
    File {
        content: Vec<u8>,
        mode: u32,
        mtime: i64,
    },
    Symlink {
        text: Vec<u8>,
        mtime: i64,
    },
    /// Another name of the file that comes first in the tree, where there is one.
    Link,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = [&b"a"[..], b"b", b"c d", b"\xff\x80", b"\n", b"*", b"'", b"...", b"-x", &[b'l'; 255]];
    prop_oneof![
        prop::sample::select(odd.map(<[u8]>::to_vec).to_vec()),
        prop::collection::vec(1_u8..=255, 1..6)
            .prop_map(|name| name.into_iter().map(|byte| if byte == b'/' { b'_' } else { byte }).collect())
            .prop_filter("a name", |name: &Vec<u8>| check_name(name).is_ok()),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<bool>(), 1_u8..=255, 0_usize..12_000);
    prop::collection::vec(run, 0..4).prop_map(|runs| {
        let bytes = |(is_hole, byte, length)| vec![if is_hole { 0 } else { byte }; length];
        runs.into_iter().flat_map(bytes).collect()
    })
}

fn node() -> impl Strategy<Value = Node> {
    // Who is not root looks at no tree, and removes none, that its modes forbid him to.
    let least = if rustix::process::geteuid().is_root() { 0 } else { 0o700 };
    let (mode, mtime) = ((0_u32..0o10000).prop_map(move |mode| mode | least), 0_i64..4_000_000_000);
    prop_oneof![
        3 => (mode.clone(), mtime.clone()).prop_map(|(mode, mtime)| Node::Directory { mode, mtime }),
        4 => (content(), mode, mtime.clone()).prop_map(|(content, mode, mtime)| Node::File { content, mode, mtime }),
        1 => (prop::collection::vec(1_u8..=255, 1..20), mtime).prop_map(|(text, mtime)| Node::Symlink { text, mtime }),
        1 => Just(Node::Link),
    ]
}

/// Each node is put into one of the directories before it.
fn model() -> impl Strategy<Value = Model> {
    prop::collection::vec((any::<prop::sample::Index>(), name(), node()), 0..14).prop_map(|nodes| {
        let mut model = Model::new();
        let mut directories = vec![b"top".to_vec()];
        model.insert(b"top".to_vec(), Node::Directory { mode: 0o755, mtime: 7 });
        for (parent, name, node) in nodes {
            let at = [&directories[parent.index(directories.len())][..], b"/", &name].concat();
            let Entry::Vacant(vacant) = model.entry(at) else { continue };
            if let Node::Directory { .. } = node {
                directories.push(vacant.key().clone());
            }
            vacant.insert(node);
        }
        model
    })
}

/// Writes a model as a host would send it: its files in chunks that come in any order.
fn send(place: &Arc<Place>, model: &Model, holes: Holes, chunk: usize) {
    let preserve = |mode, mtime| Attributes { mode: Some(mode), mtime: Some(mtime), atime: Some(3), preserve: true };
    let original = original(model);
    for (at, node) in model {
        let at = path(at);
        match node {
            Node::Directory { mode, mtime } => drop(place.directory(&at, &preserve(*mode, *mtime)).unwrap()),
            Node::Symlink { text, mtime } => drop(place.symlink(&at, text, &preserve(0o777, *mtime)).unwrap()),
            Node::File { content, mode, mtime } => {
                let incoming = place.incoming(&at, holes).unwrap();
                let (even, odd): (Vec<_>, Vec<_>) =
                    content.chunks(chunk).enumerate().partition(|(index, _)| index % 2 == 0);
                for (index, bytes) in odd.into_iter().chain(even.into_iter().rev()) {
                    incoming.write_at((index * chunk) as u64, &[bytes]).unwrap();
                }
                incoming.finish(content.len() as u64, &preserve(*mode, *mtime)).unwrap();
            }
            Node::Link => {}
        }
    }
    for (at, _) in model.iter().filter(|(_, node)| matches!(node, Node::Link)) {
        if let Some(original) = &original {
            place.link(&path(original), &path(at)).unwrap();
        }
    }
}

fn original(model: &Model) -> Option<Vec<u8>> {
    model.iter().find(|(_, node)| matches!(node, Node::File { .. })).map(|(at, _)| at.clone())
}

fn assert_is(model: &Model, root: &Path) {
    let original = original(model);
    let mut expected: Vec<PathBuf> = Vec::new();
    for (at, node) in model {
        let here = root.join(OsStr::from_bytes(at));
        let is_there = !matches!(node, Node::Link) || original.is_some();
        if !is_there {
            continue;
        }
        let found = fs::symlink_metadata(&here).unwrap();
        match node {
            Node::Directory { mode, mtime } => {
                assert!(found.is_dir());
                assert_eq!((found.mode() & 0o7777, found.mtime()), (mode & 0o777, *mtime));
            }
            Node::File { content, mode, mtime } => {
                assert!(found.is_file());
                assert_eq!((found.mode() & 0o7777, found.mtime(), found.mtime_nsec()), (mode & 0o777, *mtime, 0));
                assert_eq!(found.atime(), 3);
                assert!(fs::read(&here).unwrap() == *content, "{}", here.display());
            }
            Node::Symlink { text, mtime } => {
                assert_eq!(fs::read_link(&here).unwrap().as_os_str().as_bytes(), text);
                assert_eq!(found.mtime(), *mtime);
            }
            Node::Link => {
                let first = fs::metadata(root.join(OsStr::from_bytes(original.as_ref().unwrap()))).unwrap();
                assert_eq!((first.dev(), first.ino()), (found.dev(), found.ino()));
            }
        }
        expected.push(here);
    }
    let all = names(&root.join("top")).len() + 1;
    assert_eq!(all, expected.len(), "nothing else is there");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_that_came_is_the_tree_that_was_sent(
        model in model(),
        by_name in any::<bool>(),
        sparse in any::<bool>(),
        chunk in 1000_usize..9000,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let landing = landing_walking(directory.path(), BY_HOST, by_name);
        // A second time over what is there; of that, nothing may show.
        for _ in 0..2 {
            let place = landing.place(&host("h"));
            send(&place, &model, if sparse { Holes::Leave } else { Holes::Fill }, chunk);
            let problems = place.settle();
            prop_assert!(problems.is_empty(), "{problems:?}");
            assert_is(&model, &directory.path().join("h"));
            reset_access(&model, &directory.path().join("h"));
        }
        landing.settle().unwrap();
    }
}

/// Reading a tree changes what it has as times of access.
fn reset_access(model: &Model, root: &Path) {
    for at in model.iter().filter(|(_, node)| matches!(node, Node::File { .. })).map(|(at, _)| at) {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 3, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        let at = root.join(OsStr::from_bytes(at));
        rustix::fs::utimensat(rustix::fs::CWD, at, &times, rustix::fs::AtFlags::empty()).unwrap();
    }
}

#[test]
fn the_messages_name_the_path_the_cause_and_what_to_do() {
    let at = PathBuf::from("out/h/f");
    for (error, text, hint) in [
        (LandingError::system("write to", &at, rustix::io::Errno::DQUOT), "cannot write to `out/h/f`", Some("quota")),
        (LandingError::system("create", &at, rustix::io::Errno::ROFS), "cannot create `out/h/f`", Some("read-only")),
        (LandingError::system("create", &at, rustix::io::Errno::MFILE), "cannot create `out/h/f`", Some("ulimit -n")),
        (LandingError::system("create", &at, rustix::io::Errno::XDEV), "cannot create `out/h/f`", None),
        (
            LandingError::InTheWay { path: at.clone(), found: "symlink", wanted: "directory" },
            "there is a symlink at `out/h/f`, where a directory belongs",
            Some("move it away"),
        ),
        (
            LandingError::Name { name: b"\x1b[2J/..".to_vec(), source: crate::tree::BadName::Dots },
            "the host sent the name `\\x1b[2J/..`, which is none of a file",
            None,
        ),
    ] {
        assert_eq!(error.to_string(), text);
        match hint {
            Some(hint) => assert!(error.hint().is_some_and(|found| found.contains(hint)), "{error}"),
            None => assert_eq!(error.hint(), None),
        }
    }
    let mut sink = Vec::new();
    write!(sink, "{}", std::error::Error::source(&LandingError::system("x", "y", rustix::io::Errno::NOSPC)).unwrap())
        .unwrap();
    assert!(String::from_utf8(sink).unwrap().contains("No space left on device"));
}
