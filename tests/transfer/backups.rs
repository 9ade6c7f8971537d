//! `--backup`: whatever is replaced, and whatever the server can do, the old one stays as `NAME~`.

use crate::fleet::sftp_daemon::{Sftp, sshd};
use crate::fleet::{Answer, Cut, Oddity, When};
use crate::scene::{Scene, noise, wait};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Servers that can do everything, and those that lack what a backup is best made with.
fn scenes() -> Vec<Scene> {
    let lacking = ["posix-rename", "hardlink", "readlink"].map(|name| Scene::serving([Oddity::Without(name)]));
    let real = [
        Sftp::External(""),
        Sftp::External("-P posix-rename"),
        Sftp::External("-P hardlink"),
        Sftp::External("-P posix-rename,hardlink"),
        Sftp::Absent,
    ];
    let real = real.into_iter().filter_map(|sftp| sshd(sftp, &[])).map(Scene::on);
    [Scene::serving([]), Scene::serving([Oddity::NoExtensions])].into_iter().chain(lacking).chain(real).collect()
}

fn target(path: &Path) -> PathBuf {
    fs::read_link(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn whatever_is_replaced_stays_under_its_other_name_once_and_again() {
    for scene in scenes() {
        let tree = scene.place.path().join("tree");
        let there = scene.home().join("tree");
        let push = || scene.push().args(["-r", "--backup", "tree", "."]).run().exited(0);
        for round in ["first", "second"] {
            let _ = fs::remove_dir_all(&tree);
            scene.source("tree/file", format!("new of the {round}"));
            scene.source("tree/was-link", format!("new of the {round}"));
            fs::hard_link(tree.join("file"), tree.join("linked")).unwrap();
            symlink(format!("new-of-{round}"), tree.join("was-file")).unwrap();
            symlink(format!("new-of-{round}"), tree.join("was-other")).unwrap();
            for name in ["linked", "was-file", "file"] {
                let _ = fs::remove_file(there.join(name));
                scene.old(&format!("tree/{name}"), format!("old {name} of {round}"));
            }
            for name in ["was-link", "was-other"] {
                let _ = fs::remove_file(there.join(name));
                symlink(format!("old-of-{round}"), there.join(name)).unwrap();
            }
            push();
            for name in ["linked", "was-file", "file"] {
                let kept = there.join(format!("{name}~"));
                assert!(!kept.is_symlink(), "{name}");
                assert_eq!(fs::read_to_string(kept).unwrap(), format!("old {name} of {round}"));
            }
            for name in ["was-link~", "was-other~"] {
                assert_eq!(target(&there.join(name)), Path::new(&format!("old-of-{round}")), "{name}");
            }
            assert_eq!(scene.read("tree/was-link"), format!("new of the {round}").into_bytes());
            assert_eq!(scene.read("tree/linked"), format!("new of the {round}").into_bytes());
            assert_eq!(target(&there.join("was-file")), Path::new(&format!("new-of-{round}")));
            assert_eq!(fs::read_dir(&there).unwrap().count(), 10, "each has its other name and nothing more is there");
        }
    }
}

#[test]
fn a_file_that_cannot_have_a_second_name_is_put_aside_and_kept() {
    // Its file system makes no hard links, or the file is somebody else's (protected_hardlinks, proc(5)).
    for refusal in [4, 3] {
        let scene = Scene::serving([Oddity::Answer("hardlink", When::From(1), Answer::Status(refusal, b""))]);
        scene.source("new", "new");
        scene.old("file", "old");
        scene.old("file~", "older");
        scene.push().args(["--backup", "new", "file"]).run().exited(0);
        assert_eq!((scene.read("file"), scene.read("file~")), (b"new".to_vec(), b"old".to_vec()));
        scene.assert_nothing_left();
    }
}

#[test]
fn an_other_name_that_the_old_file_has_already_is_no_hindrance() {
    for scene in scenes() {
        scene.source("new", "new");
        let old = scene.old("file", "old");
        fs::hard_link(&old, scene.home().join("file~")).unwrap();
        scene.push().args(["--backup", "new", "file"]).run().exited(0);
        assert_eq!((scene.read("file"), scene.read("file~")), (b"new".to_vec(), b"old".to_vec()));
        assert_eq!(fs::metadata(scene.home().join("file~")).unwrap().nlink(), 1);
        scene.assert_nothing_left();
    }
}

#[test]
fn where_the_new_file_cannot_take_the_place_the_old_one_is_put_back_at_once() {
    // It goes aside, the place is filled, it gets its other name: refused, and once more with another one in the way of that.
    for (nth, expected) in [(1, ("old", "older")), (2, ("old", "older"))] {
        let refused = Oddity::Answer("rename", When::Nth(nth), Answer::Status(4, b""));
        let scene = Scene::serving([Oddity::Without("posix-rename"), refused]);
        scene.source("new", "new");
        scene.old("file", "old");
        scene.old("file~", "older");
        scene.push().args(["--backup", "new", "file"]).run().exited(1);
        assert_eq!((&scene.read("file")[..], &scene.read("file~")[..]), (expected.0.as_bytes(), expected.1.as_bytes()));
        scene.assert_nothing_left();
    }
    // The third is onto the older one, the fourth where that was. Then the new one goes, and the old one comes back, unless that
    // is refused too.
    let stands = "file: the new file stands, but the old one cannot be called `file~`";
    for (when, told, file) in
        [(When::Nth(4), "file: cannot keep the old file as `file~`", "old"), (When::From(4), stands, "new")]
    {
        let scene =
            Scene::serving([Oddity::Without("posix-rename"), Oddity::Answer("rename", when, Answer::Status(4, b""))]);
        scene.source("new", "new");
        scene.old("file", "old");
        scene.old("file~", "older");
        let push = || scene.push().args(["--backup", "new", "file"]).run();
        push().exited(1).told(told);
        assert_eq!(scene.read("file"), file.as_bytes());
        let left: Vec<_> = scene.left().iter().map(|path| fs::read(path).unwrap()).collect();
        if file == "new" {
            assert_eq!(left, [b"old"]);
            continue;
        }
        assert!(left.is_empty());
        push().exited(0);
        assert_eq!((scene.read("file"), scene.read("file~")), (b"new".to_vec(), b"old".to_vec()));
        scene.assert_nothing_left();
    }
}

#[test]
fn a_break_at_any_step_leaves_what_the_next_push_ends() {
    for without in ["posix-rename", "hardlink"] {
        for (source, old, arguments) in
            [("tree/file", "tree/file", &["-r", "--delete", "tree", "."][..]), ("new", "file", &["new", "file"])]
        {
            for (kind, nth) in [("rename", 1), ("rename", 2), ("rename", 3), ("rename", 4), ("remove", 1)] {
                let cut = Oddity::Answer(kind, When::Nth(nth), Answer::Cut(Cut::Reset));
                let scene = Scene::serving([Oddity::Without(without), cut]);
                scene.source(source, "new");
                scene.old(old, "old");
                scene.old(&format!("{old}~"), "older");
                let push = || scene.push().args(["--retries", "0", "--backup"]).args(arguments).run();
                push();
                push().exited(0);
                assert_eq!(scene.read(old), b"new", "{without} {kind} {nth}");
                assert_eq!(scene.read(&format!("{old}~")), b"old", "{without} {kind} {nth}");
                scene.assert_nothing_left();
            }
        }
    }
}

#[test]
fn a_session_that_breaks_and_not_the_connection_is_made_good_by_another_at_once() {
    for nth in [2, 3] {
        let closes = Oddity::Answer("rename", When::Nth(nth), Answer::Closes);
        let scene = Scene::serving([Oddity::Without("posix-rename"), closes]);
        scene.source("new", "new");
        scene.old("file", "old");
        let code = scene.push().args(["--backup", "--retries", "0", "new", "file"]).run().code();
        assert_ne!(code, 0);
        match nth {
            2 => assert_eq!(scene.read("file"), b"old"),
            _ => assert_eq!((scene.read("file"), scene.read("file~")), (b"new".to_vec(), b"old".to_vec())),
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn ctrl_c_between_two_names_loses_neither_file() {
    // The place is emptied, is filled, and the old file gets its other name: done each time, and never answered.
    for nth in [1, 2, 3] {
        let silent = Oddity::Answer("rename", When::Nth(nth), Answer::Nothing);
        let scene = Scene::serving([Oddity::Without("posix-rename"), silent]);
        scene.source("new", "new");
        scene.old("file", "old");
        let running = scene.push().args(["--backup", "new", "file"]).start();
        wait(scene.host().until("the last rename", |_| scene.host().requests_to("rename") >= nth.max(2)));
        running.signal(Signal::INT);
        running.wait().exited(130);
        assert_eq!((scene.read("file"), scene.read("file~")), (b"new".to_vec(), b"old".to_vec()), "{nth}");
        scene.assert_nothing_left();
    }
}

#[test]
fn without_backup_a_session_that_breaks_with_an_empty_place_is_made_good_too() {
    let closes = Oddity::Answer("rename", When::Nth(3), Answer::Closes);
    let scene = Scene::serving([Oddity::Without("posix-rename"), closes]);
    scene.source("new", "new");
    scene.old("file", "old");
    scene.push().args(["--retries", "0", "new", "file"]).run();
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

#[test]
fn a_look_says_what_would_not_be_replaced_and_what_would_not_be_removed() {
    let scene = Scene::serving([]);
    let tree = scene.place.path().join("tree");
    scene.source("tree/d1/f", "new");
    fs::hard_link(tree.join("d1/f"), tree.join("g")).unwrap();
    symlink("elsewhere", tree.join("link")).unwrap();
    scene.source("tree/new", "new");
    for name in ["d1/f", "g", "link", "zzz"] {
        scene.old(&format!("tree/{name}"), "old content");
    }
    for name in ["d1/f~", "link~"] {
        fs::create_dir_all(scene.home().join("tree").join(name)).unwrap();
    }
    let push =
        |options: &[&str]| scene.push().args(["-r", "--backup", "--delete"]).args(options).args(["tree", "."]).run();
    let expected = "! ./tree/d1/f (cannot keep the old file as `f~` (a directory has that name): it still stands)\n\
                    ! ./tree/g (the file that it is a hard link of cannot be sent)\n\
                    ! ./tree/link (cannot keep the old file as `link~` (a directory has that name): it still stands)\n\
                    + ./tree/new (3 B)\n\
                    ! 1 would not be removed because of the failures\n";
    push(&["--dry-run"]).exited(1).said(expected);
    let answer = push(&[]).exited(1);
    assert_eq!(answer.stdout, "1 changed (3 B sent), 2 unchanged, 3 failed, 1 not removed because of the failures\n");
    for name in ["d1/f", "g", "link", "zzz"] {
        assert_eq!(scene.read(&format!("tree/{name}")), b"old content");
    }
    scene.assert_nothing_left();
}

#[test]
fn where_a_file_cannot_be_sent_no_hard_link_is_made_of_the_old_one() {
    let scene = Scene::serving([Oddity::Answer("open", When::Nth(1), Answer::Status(3, b""))]);
    scene.source("tree/file", noise(1, 3000));
    fs::hard_link(scene.place.path().join("tree/file"), scene.place.path().join("tree/linked")).unwrap();
    scene.old("tree/file", "old");
    scene.old("tree/linked", "theirs");
    let answer = scene.push().args(["-r", "tree", "."]).run().exited(1);
    answer.told("./tree/linked: the file that it is a hard link of cannot be sent\n");
    assert_eq!((scene.read("tree/file"), scene.read("tree/linked")), (b"old".to_vec(), b"theirs".to_vec()));
    scene.push().args(["-r", "tree", "."]).run().exited(0);
    assert_eq!(scene.read("tree/linked"), noise(1, 3000));
}

#[test]
fn what_would_be_kept_under_a_name_that_the_sources_have_is_not_replaced() {
    for scene in scenes() {
        for (name, content) in [("f", "new"), ("f~", "from the sources"), ("g", "new"), ("h~/file", "new")] {
            scene.source(&format!("tree/{name}"), content);
        }
        scene.source("tree/h", "new");
        for name in ["f", "g", "h"] {
            scene.old(&format!("tree/{name}"), "precious");
        }
        for is_dry in [true, false] {
            let push = scene.push().args(["-r", "--backup", "tree", "."]);
            let answer = if is_dry { push.arg("--dry-run") } else { push }.run().exited(1);
            answer.told("cannot keep the old file as `f~` (the sources have that name too): it still stands");
            for name in ["tree/f", "tree/h"] {
                assert_eq!(scene.read(name), b"precious");
            }
        }
        let read = |name| scene.read(name);
        assert_eq!((read("tree/f~"), read("tree/g~")), (b"from the sources".to_vec(), b"precious".to_vec()));
        scene.assert_nothing_left();
    }
}

#[test]
fn an_old_file_that_stands_beside_its_place_is_told_and_brought_back_by_any_push() {
    let cut = Oddity::Answer("rename", When::Nth(2), Answer::Cut(Cut::Reset));
    let scene = Scene::serving([Oddity::Without("hardlink"), cut]);
    scene.source("new", "newer");
    fs::set_permissions(scene.old("file", "old"), fs::Permissions::from_mode(0o600)).unwrap();
    let push = |options: &[&str]| scene.push().args(options).args(["new", "file"]).run();
    let lost = push(&["--retries", "0", "--backup"]).exited(3);
    let lost = lost.told("file: may be missing now: the old file is `.bugle-");
    lost.told("push again: old files that are out of their places are brought back first");
    assert!(!scene.home().join("file").exists());
    let look = push(&["--dry-run"]).exited(0);
    let look = look.said("~ file (size 3 → 5)\n");
    look.told("file: the old file, which a push that broke had put aside, would be brought back first");
    assert!(!scene.home().join("file").exists());
    push(&[]).exited(0).told("file: the old file, which a push that broke had put aside, was brought back first");
    assert_eq!(scene.read("file"), b"newer");
    assert_eq!(fs::metadata(scene.home().join("file")).unwrap().mode() & 0o777, 0o600);
    scene.assert_nothing_left();
}

#[test]
fn an_old_file_that_was_put_aside_does_not_take_a_name_that_the_sources_have() {
    let cut = Oddity::Answer("posix-rename", When::Nth(1), Answer::Cut(Cut::Reset));
    let scene = Scene::serving([Oddity::Without("hardlink"), cut]);
    scene.source("tree/file", "new");
    scene.old("tree/file", "old");
    let push = || scene.push().args(["-r", "--retries", "0", "--backup", "tree", "."]).run();
    push().exited(3);
    scene.source("tree/file~", "from the sources");
    push().exited(0).told("an old file stays, since the sources have the name under which it was to be kept");
    assert_eq!((scene.read("tree/file"), scene.read("tree/file~")), (b"new".to_vec(), b"from the sources".to_vec()));
    assert_eq!(scene.left().iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), [b"old"]);
}
