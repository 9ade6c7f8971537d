//! Whatever a server refuses while a file is sent, the old one stands, and what is told says what it was.

use crate::fleet::openssh::Daemon;
use crate::fleet::sftp_daemon::{Sftp, dropbear, sshd};
use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::{Answer, Behaviour, Exec, Oddity, When};
use crate::scene::{Scene, noise};
use std::fs;
use std::process::Command;

#[test]
fn one_refused_request_leaves_the_old_file_and_fails_that_file_only() {
    let length = 5_000_000;
    for (kind, when) in [
        ("open", When::Nth(1)),
        ("write", When::Nth(1)),
        ("write", When::Nth(3)),
        ("write", When::Nth(20)),
        ("fsetstat", When::Nth(1)),
        ("fsetstat", When::Nth(2)),
        ("fsync", When::Nth(1)),
        ("fstat", When::Nth(1)),
        // The first two are those of listings: of the tree, and of where it goes.
        ("close", When::Nth(3)),
        ("posix-rename", When::Nth(1)),
    ] {
        let scene = Scene::serving([Oddity::Answer(kind, when, Answer::Status(4, b"no"))]);
        scene.source("tree/file", noise(1, length));
        scene.old("tree/file", "old");
        let answer = scene.push().args(["-r", "--via", "sftp", "tree", "."]).run().exited(1);
        assert!(answer.stderr.contains("./tree/file: "), "{kind}: {}", answer.stderr);
        assert!(answer.stderr.contains("host: transfer.failed: "), "{kind}: {}", answer.stderr);
        assert_eq!(scene.read("tree/file"), b"old", "{kind} {when:?}");
        assert!(scene.left().is_empty(), "{kind} {when:?}");
        scene.push().args(["-r", "tree", "."]).run().exited(0);
        assert!(scene.read("tree/file") == noise(1, length));
    }
}

#[test]
fn another_session_clears_up_behind_one_that_ended_or_makes_no_sense() {
    for answer in [Answer::Exits(1), Answer::Closes, Answer::OtherId, Answer::Type(102), Answer::Torn] {
        let scene = Scene::serving([Oddity::Answer("write", When::Nth(3), answer)]);
        scene.source("new", noise(1, 2_000_000));
        scene.old("file", "old");
        let code = scene.push().args(["new", "file"]).run().code();
        assert!([1, 3].contains(&code), "{answer:?}: {code}");
        assert_eq!(scene.read("file"), b"old", "{answer:?}");
        assert_eq!(scene.left(), <[std::path::PathBuf; 0]>::default(), "{answer:?}");
    }
}

#[test]
fn bytes_that_did_not_arrive_are_noticed() {
    // A write is said to have been done, and was not.
    let scene = Scene::serving([Oddity::Answer("write", When::Nth(4), Answer::Status(0, b""))]);
    scene.source("new", noise(1, 255 * 1024 * 3 + 100));
    scene.old("file", "old");
    scene.push().args(["new", "file"]).run().exited(1).told("783360 bytes arrived of 783460");
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

#[test]
fn other_files_are_sent_when_one_is_refused() {
    let scene = Scene::serving([Oddity::Answer("open", When::Nth(5), Answer::Status(3, b""))]);
    for number in 0..20 {
        scene.source(&format!("tree/{number:02}"), number.to_string());
    }
    fs::create_dir_all(scene.home().join("tree")).unwrap();
    scene.old("tree/stranger", "theirs");
    let answer = scene.push().args(["-r", "--delete", "tree", "."]).run().exited(1);
    answer.told("permission denied\n");
    // Nothing is deleted after a failure.
    assert_eq!(fs::read_dir(scene.home().join("tree")).unwrap().count(), 20);
    assert_eq!(scene.read("tree/stranger"), b"theirs");
    scene.push().args(["-r", "--delete", "tree", "."]).run().exited(0);
    assert!(!scene.home().join("tree/stranger").exists());
    assert_eq!(fs::read_dir(scene.home().join("tree")).unwrap().count(), 20);
}

#[test]
fn a_full_disk_is_named_and_the_old_file_stands() {
    // One by one and together they do not fit.
    let trees: [&[usize]; 3] = [&[3_000_000], &[400_000, 400_000, 400_000, 400_000], &[2_000_000, 10, 10]];
    for (sizes, count) in trees.into_iter().zip([1, 4, 3]) {
        let scene = Scene::serving([]);
        let place = scene.home().join("small");
        fs::create_dir(&place).unwrap();
        let Some(_disk) = Tmpfs::over(&place, 1 << 20) else { return };
        for (number, size) in sizes.iter().enumerate() {
            scene.source(&format!("tree/{number}"), noise(1, *size));
            scene.old(&format!("small/tree/{number}"), "old");
        }
        let answer = scene.push().args(["-r", "tree", "small"]).run().exited(1);
        assert!(answer.stderr.contains("host: transfer.no_space: "), "{sizes:?}: {}", answer.stderr);
        assert!(answer.stderr.contains("its file system is full"), "{sizes:?}: {}", answer.stderr);
        let contents: Vec<Vec<u8>> = (0..count).map(|number| scene.read(&format!("small/tree/{number}"))).collect();
        for (found, size) in contents.iter().zip(sizes) {
            assert!(found == b"old" || *found == noise(1, *size), "{sizes:?}");
        }
        assert!(contents.iter().any(|found| found == b"old"));
        scene.assert_nothing_left();
    }
}

#[test]
fn a_full_disk_is_named_by_real_servers_too() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let there = disk.path().join("there");
    for daemon in [sshd(Sftp::Internal(""), &[]), dropbear(Sftp::External(""), &[])].into_iter().flatten() {
        fs::write(&there, "old").unwrap();
        let scene = Scene::on(daemon);
        scene.source("new", noise(1, 3_000_000));
        let answer = scene.push().arg("new").arg(&there).run().exited(1);
        assert!(answer.stderr.contains("host: transfer.no_space: "), "{}", answer.stderr);
        assert_eq!(fs::read(&there).unwrap(), b"old");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_backup_that_cannot_be_made_says_why_and_the_old_file_stands() {
    let scene = Scene::serving([]);
    let long = "n".repeat(255);
    for name in ["file", &long] {
        scene.old(name, "old");
    }
    fs::create_dir_all(scene.home().join("file~")).unwrap();
    scene.source("new", "new");
    for (name, told) in [
        ("file", "cannot keep the old file as `file~` (a directory has that name): it still stands".to_owned()),
        (
            &long,
            format!("cannot keep the old file as `{long}~` (the name would be longer than 255 bytes): it still stands"),
        ),
    ] {
        for look in [&["--dry-run"][..], &[]] {
            scene.push().args(["--backup", "new", name]).args(look).run().exited(1).told(&told);
        }
        assert_eq!(scene.read(name), b"old");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_directory_that_cannot_be_made_on_a_read_only_file_system_says_so() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(remounted.success());
    let Some(daemon) = sshd(Sftp::Internal(""), &[]) else { return };
    let scene = Scene::on(daemon);
    scene.source("tree/sub/file", "new");
    let answer = scene.push().args(["-r", "tree"]).arg(disk.path()).run().exited(1);
    answer.told("cannot make the directory: its file system is mounted read-only");
}

#[test]
fn a_quota_that_is_too_short_leaves_the_old_file() {
    // There is room on the disk, and not for this user: SFTP has no word for that.
    let scene = Scene::serving([Oddity::Answer("write", When::From(3), Answer::Status(4, b"Failure"))]);
    scene.source("new", noise(1, 900_000));
    scene.old("file", "old");
    let expected =
        "file: the server says only `Failure`\nhost: transfer.failed: file: the server says only `Failure`\n";
    let answer = scene.push().args(["new", "file"]).run().exited(1);
    assert!(answer.stderr.starts_with(expected), "{}", answer.stderr);
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

/// A push to a server that denies some requests: whether it succeeds.
fn denied(daemon: Option<Daemon>, what: &str, succeeds: bool) {
    let Some(daemon) = daemon else { return };
    let scene = Scene::on(daemon);
    scene.source("tree/file", noise(1, 100_000));
    scene.old("tree/file", "old");
    let answer = scene.push().args(["-r", "tree", "."]).run();
    if succeeds {
        let answer = answer.exited(0);
        assert!(scene.read("tree/file") == noise(1, 100_000), "{what}: {}", answer.stderr);
    } else {
        let answer = answer.exited(1);
        assert!(answer.stderr.contains("permission denied"), "{what}: {}", answer.stderr);
        assert_eq!(scene.read("tree/file"), b"old", "{what}");
    }
    if !what.contains("remove") {
        assert!(scene.left().is_empty(), "{what}: {:?}", scene.left());
    }
}

#[test]
fn servers_that_deny_requests_are_done_without_them_or_leave_the_old_file() {
    for (arguments, succeeds) in [
        ("-R", false),
        ("-P write", false),
        ("-P open", false),
        ("-P fsetstat", false),
        ("-P rename,posix-rename", false),
        ("-P opendir", false),
        ("-P stat", false),
        ("-P lstat", false),
        ("-P posix-rename", true),
        ("-P fsync,limits,statvfs,fstatvfs,hardlink,lsetstat,expand-path", true),
        ("-P remove", true),
        ("-P realpath,readlink,symlink,mkdir,rmdir,setstat,copy-data", true),
    ] {
        denied(sshd(Sftp::External(arguments), &[]), arguments, succeeds);
    }
    denied(sshd(Sftp::Internal("-R"), &[]), "internal -R", false);
    denied(dropbear(Sftp::External("-R"), &[]), "dropbear -R", false);
}

#[test]
fn without_posix_rename_the_old_file_is_put_aside_and_comes_back_where_the_new_one_cannot_take_its_place() {
    let push = |oddities: &[Oddity]| {
        let scene = Scene::serving([&[Oddity::Without("posix-rename")], oddities].concat());
        scene.source("new", "new");
        scene.old("file", "old");
        let answer = scene.push().args(["new", "file"]).run();
        scene.assert_nothing_left();
        (answer.code(), scene.read("file"))
    };
    let refused = |nth| Oddity::Answer("rename", When::Nth(nth), Answer::Status(4, b""));
    assert_eq!(push(&[]), (0, b"new".to_vec()));
    assert_eq!(push(&[refused(2)]), (1, b"old".to_vec()));
    assert_eq!(push(&[refused(3)]), (1, b"old".to_vec()));
    let denied = Oddity::Answer("rename", When::From(1), Answer::Status(3, b""));
    assert_eq!(push(&[denied]), (1, b"old".to_vec()));
}

#[test]
fn a_host_without_sftp_and_without_a_shell_is_told_so() {
    let behaviour = Behaviour { sftp: None, exec: Exec::Refused, ..Behaviour::default() };
    let real = [sshd(Sftp::Absent, &["ForceCommand false"]), dropbear(Sftp::Absent, &["-c", "false"])];
    let real = real.into_iter().flatten().map(Scene::on);
    for scene in [Scene::of(behaviour)].into_iter().chain(real) {
        scene.source("new", "new");
        let answer = scene.push().args(["new", "file"]).run().exited(1);
        assert!(answer.stderr.starts_with("host: transfer.unavailable: "), "{}", answer.stderr);
        answer.told("hint: check `Subsystem sftp` in its sshd_config, that sftp-server is installed, and that the user's login shell ");
    }
}

#[test]
fn a_shell_that_stands_in_for_an_sftp_server_is_told_and_keeps_the_old_file_too() {
    for daemon in [sshd(Sftp::Absent, &[]), dropbear(Sftp::Absent, &[])].into_iter().flatten() {
        let scene = Scene::on(daemon);
        scene.source("tree/file", noise(1, 600_000));
        scene.source("tree/sub/new", "new");
        scene.old("tree/file", "old");
        let push = || scene.push().args(["-r", "tree", "."]);
        push().run().exited(0).told("a shell does the work of the SFTP server, which is slower\n");
        assert!(scene.read("tree/file") == noise(1, 600_000) && scene.read("tree/sub/new") == b"new");
        push().run().exited(0).said("0 changed, 4 unchanged\n");
        scene.assert_nothing_left();
    }
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let Some(daemon) = sshd(Sftp::Absent, &[]) else { return };
    let there = disk.path().join("there");
    fs::write(&there, "old").unwrap();
    let scene = Scene::on(daemon);
    scene.source("new", noise(1, 3_000_000));
    scene.push().arg("new").arg(&there).run().exited(1);
    assert_eq!(fs::read(&there).unwrap(), b"old");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
}
