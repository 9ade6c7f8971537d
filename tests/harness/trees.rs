//! Trees have what they promise, and every difference between two of them is found.

use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::trees::{ALL, Aspect, EVERY_ASPECT, Kind, NAMES, assert_same, differences, plant};
use crate::fleet::{Behaviour, Fleet, folder};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

#[test]
fn a_faithful_copy_is_the_same_in_every_aspect() {
    for seed in 0..3 {
        let place = folder("trees.");
        let (tree, other) = (place.path().join("tree"), place.path().join("copy"));
        plant(&tree, seed, ALL);
        copy(&tree, &other);
        assert_same(&tree, &other, EVERY_ASPECT);
        assert_eq!(fs::read_dir(tree.join("names")).unwrap().count(), NAMES.len());
        assert_eq!(fs::read_dir(tree.join("directories")).unwrap().count(), NAMES.len());
        let far = fs::metadata(tree.join("far")).unwrap();
        assert!(far.len() > 5 << 30 && far.blocks() * 512 < 1 << 20);
        let ends = fs::metadata(tree.join("holes/ends")).unwrap();
        assert!(ends.blocks() * 512 < ends.len() / 2);
        assert_eq!(fs::metadata(tree.join("hardlinks/aaa")).unwrap().nlink(), 3);
        assert_eq!(fs::metadata(tree.join("times/file-4294967295")).unwrap().mtime(), 4_294_967_295);
        assert_eq!(fs::metadata(tree.join("modes/file-4755")).unwrap().mode() & 0o7777, 0o4755);
    }
}

#[test]
fn the_same_seed_makes_the_same_tree_and_another_seed_another() {
    let place = folder("trees.");
    let tree = |name: &str, seed| {
        let path = place.path().join(name);
        plant(&path, seed, &[Kind::Files, Kind::Names, Kind::Modes, Kind::Times, Kind::HardLinks]);
        path
    };
    let (first, again, other) = (tree("first", 1), tree("again", 1), tree("other", 2));
    let aspects: Vec<Aspect> = EVERY_ASPECT.iter().copied().filter(|aspect| *aspect != Aspect::Root).collect();
    assert_same(&first, &again, &aspects);
    assert!(differences(&first, &other, &aspects).len() > 100);
}

#[test]
fn every_difference_is_found_and_told() {
    type Change = fn(&Path);
    let rows: &[(Change, &str)] = &[
        (|tree| fs::remove_file(tree.join("holes/ends")).unwrap(), "`holes/ends`: only in the first, a file"),
        (|tree| fs::write(tree.join("new\n"), "").unwrap(), "`new\\n`: only in the second, a file"),
        (
            |tree| {
                let file = File::options().write(true).open(tree.join("far")).unwrap();
                file.write_all_at(b"?", 1_000_000_000).unwrap();
            },
            "`far`: byte 1000000000 is 0x00 and 0x3f",
        ),
        (
            |tree| File::options().append(true).open(tree.join("hardlinks/alone")).unwrap().write_all(b"x").unwrap(),
            "`hardlinks/alone`: 10 and 11 bytes long",
        ),
        (
            |tree| fs::set_permissions(tree.join("modes/file-4755"), Permissions::from_mode(0o755)).unwrap(),
            "`modes/file-4755`: mode 4755 and 0755",
        ),
        (
            |tree| File::open(tree.join("times/file-1")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
            "`times/file-1`: modified at 1 and at 0",
        ),
        (
            |tree| {
                fs::remove_file(tree.join("symlinks/up")).unwrap();
                symlink(".", tree.join("symlinks/up")).unwrap();
            },
            "`symlinks/up`: leads to `..` and to `.`",
        ),
        (
            |tree| {
                fs::remove_file(tree.join("symlinks/up")).unwrap();
                fs::create_dir(tree.join("symlinks/up")).unwrap();
            },
            "`symlinks/up`: a symlink and a directory",
        ),
        (
            |tree| {
                fs::copy(tree.join("hardlinks/pair"), tree.join("copied")).unwrap();
                fs::rename(tree.join("copied"), tree.join("hardlinks/pair-again")).unwrap();
            },
            "`hardlinks/pair`: also named `hardlinks/pair`, `hardlinks/pair-again` and `hardlinks/pair`",
        ),
        (
            |tree| {
                let content = fs::read(tree.join("holes/ends")).unwrap();
                fs::write(tree.join("holes/ends"), content).unwrap();
            },
            "`holes/ends`: 65536 and 1966080 bytes on the disk",
        ),
        (|tree| fs::set_permissions(tree, Permissions::from_mode(0o700)).unwrap(), "``: mode 0755 and 0700"),
    ];
    let place = folder("trees.");
    let tree = place.path().join("tree");
    plant(&tree, 5, ALL);
    fs::set_permissions(&tree, Permissions::from_mode(0o755)).unwrap();
    for (change, expected) in rows {
        let other = place.path().join("copy");
        copy(&tree, &other);
        change(&other);
        let found = differences(&tree, &other, EVERY_ASPECT);
        assert!(found.iter().any(|line| line == expected), "`{expected}` is not in {found:#?}");
        fs::remove_dir_all(&other).unwrap();
    }
}

#[test]
fn a_small_disk_is_full_and_gone_with_its_owner() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let path = disk.path().to_owned();
    let error = fs::write(path.join("much"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(disk);
    assert!(!path.exists());

    let fleet = Fleet::one(Behaviour::default());
    let home = &fleet.hosts()[0].home;
    fs::write(home.join("before"), "").unwrap();
    let disk = Tmpfs::over(home, 1 << 20).unwrap();
    assert!(!home.join("before").exists());
    drop(disk);
    assert!(home.join("before").exists());
}
