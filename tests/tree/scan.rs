//! The scan beside a walk that is too simple to be wrong, and what is wrong with sources.

use super::sample::{self, Seen, What};
use bugle::tree::temporary::Run;
use bugle::tree::{
    Extents, Filter, FilterRule, Kind, Links, RemarkKind, RootKind, ScanOptions, SpecialKind, Stamp, Tree,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

fn recursive() -> ScanOptions {
    ScanOptions { recursive: true, ..ScanOptions::default() }
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.entries.iter().map(|entry| entry.path.as_bytes().escape_ascii().to_string()).collect()
}

fn problems(sources: &[PathBuf], options: &ScanOptions, folder: &Path) -> Vec<String> {
    let error = Tree::scan(sources, options).unwrap_err();
    let folder = format!("{}/", folder.display());
    error.0.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

/// The entries in the words of the walk; the content as the extents give it.
fn seen(tree: &Tree) -> BTreeMap<Vec<u8>, Seen> {
    let content = |index: usize| {
        let (size, data) = tree.file(index).unwrap();
        let mut content = vec![0; usize::try_from(size).unwrap()];
        let file = File::open(tree.local(index)).unwrap();
        assert_eq!(Some(Stamp::of(&file.metadata().unwrap())), tree.stamp(index));
        for range in data.ranges(size) {
            let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            file.read_exact_at(&mut content[start..end], range.start).unwrap();
        }
        content
    };
    let entries = tree.entries.iter().enumerate().map(|(index, entry)| {
        let what = match &entry.kind {
            Kind::Directory => What::Directory,
            Kind::Symlink { target } => What::Symlink(target.clone()),
            Kind::HardLink { of } => {
                assert!(*of < index && matches!(tree.entries[*of].kind, Kind::File { .. }));
                assert_eq!(tree.entries[*of].inode, entry.inode);
                What::File(content(index))
            }
            Kind::File { .. } => What::File(content(index)),
        };
        let seen = Seen { what, mode: entry.mode, mtime: entry.mtime, inode: entry.inode };
        (entry.path.as_bytes().to_vec(), seen)
    });
    entries.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_finds_what_a_walk_finds(nodes in sample::nodes()) {
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path(), &nodes);
        let tree = Tree::scan(&[folder.path().into()], &recursive()).unwrap();
        prop_assert_eq!(seen(&tree), sample::walk(folder.path()));
        // Depth first, parents first, sorted.
        prop_assert!(tree.entries.is_sorted_by(|left, right| left.path < right.path));
        // The first of a file's names is the file, every other one is a link of it.
        let mut first = BTreeMap::new();
        for (index, entry) in tree.entries.iter().enumerate() {
            match entry.kind {
                Kind::File { .. } => prop_assert_eq!(first.insert(entry.inode, index), None),
                Kind::HardLink { of } => prop_assert_eq!(first.get(&entry.inode), Some(&of)),
                _ => {}
            }
        }
        prop_assert!(tree.remarks.is_empty());
    }
}

#[test]
fn the_end_of_a_source_says_whether_it_or_its_contents_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), b"x").unwrap();
    symlink("a", root.join("link")).unwrap();
    for (source, name, kind, first) in [
        ("a", "a", RootKind::Itself, vec!["", "b", "file"]),
        ("a/", "a", RootKind::Itself, vec!["", "b", "file"]),
        ("a//", "a", RootKind::Itself, vec!["", "b", "file"]),
        ("a/.", "", RootKind::Contents, vec!["", "b", "file"]),
        ("a/./", "", RootKind::Contents, vec!["", "b", "file"]),
        ("a/b/..", "", RootKind::Contents, vec!["", "b", "file"]),
        ("a/file", "file", RootKind::Itself, vec![""]),
        ("link", "link", RootKind::Itself, vec![""]),
        ("link/", "link", RootKind::Itself, vec!["", "b", "file"]),
        ("link/.", "", RootKind::Contents, vec!["", "b", "file"]),
    ] {
        let tree = Tree::scan(&[root.join(source)], &recursive()).unwrap();
        let found = (tree.roots[0].name.as_slice(), tree.roots[0].kind, paths(&tree));
        assert_eq!(found, (name.as_bytes(), kind, first.into_iter().map(String::from).collect()), "{source}");
        assert_eq!(tree.roots[0].entries, 0..tree.entries.len());
    }
    let tree = Tree::scan(&[PathBuf::from("/")], &ScanOptions::default());
    assert_eq!(tree.unwrap_err().to_string(), "`/` is a directory");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("one")).unwrap();
    fs::create_dir_all(root.join("two")).unwrap();
    fs::write(root.join("one/same"), b"").unwrap();
    fs::write(root.join("two/same"), b"").unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    let sources = ["missing", "one", "socket", "one/same", "two/same", "one/same/", "/dev/null"];
    let sources = sources.map(|source| root.join(source));
    assert_eq!(
        problems(&sources, &ScanOptions::default(), root),
        [
            "no file or directory `missing`",
            "`one` is a directory",
            "`socket` is a socket, which cannot be sent",
            "no file or directory `one/same/`",
            "`/dev/null` is a device, which cannot be sent",
            "`one/same` and `two/same` have the same name on the host",
            "`one/same` and `one/same/` have the same name on the host",
        ]
    );
    let error = Tree::scan(&[root.join("one")], &ScanOptions::default()).unwrap_err();
    assert_eq!(error.0[0].hint(), Some("`-r` sends directories with all that is in them"));
}

#[test]
fn contents_of_two_directories_may_meet_in_directories_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in ["one/d/a", "two/d/b", "three/d/b"] {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), b"").unwrap();
    }
    let tree = Tree::scan(&[root.join("one/."), root.join("two/.")], &recursive()).unwrap();
    assert_eq!(paths(&tree), ["", "d", "d/a", "", "d", "d/b"]);
    assert_eq!(
        problems(&[root.join("one/."), root.join("two/."), root.join("three/.")], &recursive(), root),
        ["`two/./d/b` and `three/./d/b` have the same name on the host"]
    );
    assert!(Tree::scan(&[root.join("one/."), root.join("two/d")], &recursive()).is_ok());
    fs::write(root.join("d"), b"").unwrap();
    assert_eq!(
        problems(&[root.join("one/."), root.join("d")], &recursive(), root),
        ["`one/./d` and `d` have the same name on the host"]
    );
}

#[test]
fn special_files_in_a_tree_are_left_out_with_a_remark() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::write(root.join("file"), b"").unwrap();
    let temporary = Run::random().unwrap().name_for(b"file");
    fs::write(root.join(str::from_utf8(&temporary).unwrap()), b"half").unwrap();
    let tree = Tree::scan(std::slice::from_ref(&root), &recursive()).unwrap();
    assert_eq!(paths(&tree), ["", "file"]);
    let mut remarks: Vec<_> = tree.remarks.iter().map(|remark| (remark.path.as_bytes(), remark.kind)).collect();
    remarks.sort_by_key(|(path, _)| *path);
    assert_eq!(
        remarks,
        [
            (&temporary[..], RemarkKind::Temporary),
            (b"pipe", RemarkKind::Special(SpecialKind::Fifo)),
            (b"socket", RemarkKind::Special(SpecialKind::Socket)),
        ]
    );
}

#[test]
fn symlinks_are_kept_followed_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("tree/d")).unwrap();
    fs::write(root.join("tree/d/file"), b"content").unwrap();
    symlink("d", root.join("tree/to-d")).unwrap();
    symlink("d/file", root.join("tree/to-file")).unwrap();
    let scan = |source: &str, links, recursive| {
        Tree::scan(&[root.join(source)], &ScanOptions { links, recursive, ..ScanOptions::default() }).unwrap()
    };
    assert_eq!(paths(&scan("tree", Links::Keep, true)), ["", "d", "d/file", "to-d", "to-file"]);
    let followed = scan("tree", Links::Follow, true);
    assert_eq!(paths(&followed), ["", "d", "d/file", "to-d", "to-d/file", "to-file"]);
    assert_eq!(followed.file(5).unwrap().0, 7);
    let skipped = scan("tree", Links::Skip, true);
    assert_eq!(paths(&skipped), ["", "d", "d/file"]);
    assert!(skipped.remarks.iter().all(|remark| remark.kind == RemarkKind::Symlink) && skipped.remarks.len() == 2);
    // A source by itself: as cp(1) does.
    assert!(matches!(scan("tree/to-file", Links::Keep, false).entries[0].kind, Kind::File { size: 7, .. }));
    assert!(matches!(scan("tree/to-file", Links::Keep, true).entries[0].kind, Kind::Symlink { .. }));
    assert!(matches!(scan("tree/to-file", Links::Follow, true).entries[0].kind, Kind::File { size: 7, .. }));
    assert!(scan("tree/to-file", Links::Skip, false).entries.is_empty());
}

#[test]
fn symlinks_that_lead_in_circles_or_nowhere_are_mistakes_where_they_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("tree/d/e")).unwrap();
    symlink("..", root.join("tree/d/up")).unwrap();
    symlink("../../d", root.join("tree/d/e/round")).unwrap();
    symlink(".", root.join("tree/here")).unwrap();
    symlink("self", root.join("tree/self")).unwrap();
    symlink("gone", root.join("tree/loose")).unwrap();
    let options = ScanOptions { links: Links::Follow, ..recursive() };
    let mut told = problems(&[root.join("tree")], &options, root);
    told.sort();
    assert_eq!(
        told,
        [
            "the symlink `tree/d/e/round` leads back to `tree/d`",
            "the symlink `tree/d/up` leads back to `tree`",
            "the symlink `tree/here` leads back to `tree`",
            "the symlink `tree/loose` leads to `gone`, which is not there",
            "the symlink `tree/self` leads back to `self`",
        ]
    );
    let filter = Filter::new(&["up", "round", "here", "self", "loose"].map(|name| FilterRule::Exclude(name.into())));
    let options = ScanOptions { filter: filter.unwrap(), ..options };
    assert_eq!(paths(&Tree::scan(&[root.join("tree")], &options).unwrap()), ["", "d", "d/e"]);
}

#[test]
fn a_named_file_that_is_excluded_is_left_out_with_a_remark_and_a_named_directory_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("build")).unwrap();
    fs::write(root.join("a.o"), b"").unwrap();
    fs::write(root.join("a.c"), b"").unwrap();
    let filter = Filter::new(&[FilterRule::Exclude(b"*.o".into()), FilterRule::Exclude(b"build".into())]).unwrap();
    let options = ScanOptions { filter, ..recursive() };
    let tree = Tree::scan(&["a.o", "a.c", "build"].map(|name| root.join(name)), &options).unwrap();
    assert_eq!((tree.roots.len(), tree.entries.len()), (3, 2));
    assert_eq!((tree.remarks[0].root, tree.remarks[0].kind), (0, RemarkKind::Excluded));
}

#[test]
fn holes_are_found_where_they_are_far_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let mut file = OpenOptions::new().write(true).read(true).create_new(true).open(&path).unwrap();
    const FAR: u64 = 5 << 30;
    file.write_all(b"start").unwrap();
    file.seek(SeekFrom::Start(FAR)).unwrap();
    file.write_all(b"far").unwrap();
    file.set_len(FAR + (1 << 30)).unwrap();
    if file.metadata().unwrap().blocks() * 512 >= FAR {
        eprintln!("skipped: no holes in this file system");
        return;
    }
    let tree = Tree::scan(std::slice::from_ref(&path), &ScanOptions::default()).unwrap();
    let (size, data) = tree.file(0).unwrap();
    assert_eq!(size, FAR + (1 << 30));
    assert!(data.length(size) < 1 << 20, "{data:?}");
    let Extents::Ranges(ranges) = data else { panic!("{data:?}") };
    assert!(ranges[0].start == 0 && ranges.last().unwrap().contains(&(FAR + 2)), "{ranges:?}");
    let empty = folder.path().join("hole");
    File::create(&empty).unwrap().set_len(1 << 20).unwrap();
    let tree = Tree::scan(&[empty], &ScanOptions::default()).unwrap();
    assert_eq!(tree.file(0), Some((1 << 20, &Extents::Ranges([].into()))));
}

#[test]
fn a_file_that_changes_is_not_the_one_that_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"before").unwrap();
    let tree = Tree::scan(std::slice::from_ref(&path), &ScanOptions::default()).unwrap();
    let stamp = || Stamp::of(&fs::metadata(&path).unwrap());
    assert_eq!(tree.stamp(0), Some(stamp()));
    let mut text = String::new();
    File::open(tree.local(0)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "before");
    fs::write(&path, b"afterwards").unwrap();
    assert_ne!(tree.stamp(0), Some(stamp()));
    fs::write(folder.path().join("other"), b"before").unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert_ne!(tree.stamp(0), Some(stamp()));
}

#[test]
fn a_very_deep_tree_takes_no_stack_and_no_open_directories() {
    let folder = tempfile::tempdir().unwrap();
    let deep: PathBuf = std::iter::repeat_n("d", 1_500).collect();
    fs::create_dir_all(folder.path().join(deep)).unwrap();
    let tree = Tree::scan(&[folder.path().into()], &recursive()).unwrap();
    assert_eq!(tree.entries.len(), 1_501);
    assert_eq!(tree.entries[1_500].path.depth(), 1_500);
}

#[test]
fn what_may_not_be_read_is_told_beforehand() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root reads everything");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir_all(root.join("closed")).unwrap();
    fs::write(root.join("secret"), b"").unwrap();
    let set = |name, mode| fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    set("secret", 0o000);
    set("closed", 0o000);
    let told = problems(std::slice::from_ref(&root), &recursive(), folder.path());
    set("closed", 0o700);
    assert_eq!(told, ["cannot read `tree/secret`", "cannot read `tree/closed`"]);
}
