//! What the sources are called on a host is what scp would call them, and what is in the way stays.

use crate::bugle::Answer;
use crate::fleet::Behaviour;
use crate::fleet::relay::Cable;
use crate::fleet::sftp_daemon::{Sftp, sshd};
use crate::scene::Scene;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

fn scenes() -> Vec<Scene> {
    let real = sshd(Sftp::External(""), &[]).map(Scene::on);
    [Some(Scene::serving([])), real].into_iter().flatten().collect()
}

#[test]
fn sources_get_the_names_that_scp_gives_them() {
    for scene in scenes() {
        scene.source("one", "1");
        scene.source("two", "2");
        scene.source("dir/file", "f");
        for (number, (arguments, there, expected)) in [
            (&["one", "D"][..], "dir", &["D/one"][..]),
            (&["one", "D/"], "dir", &["D/one"]),
            (&["one", "D//"], "dir", &["D/one"]),
            (&["one", "D/./"], "dir", &["D/one"]),
            (&["one", "D"], "nothing", &["D"]),
            (&["one", "D"], "file", &["D"]),
            (&["one", "two", "D"], "dir", &["D/one", "D/two"]),
            (&["-r", "dir", "D"], "dir", &["D/dir/file"]),
            (&["-r", "dir/", "D"], "dir", &["D/dir/file"]),
            (&["-r", "dir", "D"], "nothing", &["D/file"]),
            (&["-r", "dir/.", "D"], "dir", &["D/file"]),
            (&["-r", "dir/.", "D"], "nothing", &["D/file"]),
            (&["-r", "dir", "one", "dir/.", "D/"], "dir", &["D/dir/file", "D/file", "D/one"]),
            (&["one", "~/D"], "nothing", &["D"]),
            (&["one", "~"], "nothing", &["one"]),
            (&["one", "."], "nothing", &["one"]),
            (&["one", "$HOME-D 'x'"], "nothing", &["$HOME-D 'x'"]),
        ]
        .into_iter()
        .enumerate()
        {
            let place = format!("case{number}");
            let home = scene.home().to_owned();
            let destination = *arguments.last().unwrap();
            let root =
                if destination.starts_with('~') || destination == "." { home.clone() } else { home.join(&place) };
            fs::create_dir_all(home.join(&place)).unwrap();
            match there {
                "dir" => fs::create_dir(home.join(&place).join("D")).unwrap(),
                "file" => fs::write(home.join(&place).join("D"), "old").unwrap(),
                _ => {}
            }
            let destination = match root == home {
                true => destination.to_owned(),
                false => format!("{place}/{destination}"),
            };
            let (_, sources) = arguments.split_last().unwrap();
            scene.push().args(sources).arg(&destination).run().exited(0);
            for path in expected {
                assert!(root.join(path).is_file(), "{arguments:?}, {there}: no {path}");
                if root == home {
                    fs::remove_file(root.join(path)).unwrap();
                }
            }
            scene.assert_nothing_left();
        }
    }
}

#[test]
fn a_destination_that_has_to_be_a_directory_is_asked_for_before_anything_is_sent() {
    for scene in scenes() {
        scene.source("one", "1");
        scene.source("two", "2");
        scene.source("dir/file", "f");
        scene.old("old", "old");
        for (arguments, expected) in [
            (
                &["one", "new/"][..],
                "host: transfer.place: `new/` is not there, and the slash at its end asks for a directory\n\
                 hint: make the directory first, or leave the slash at the end out\n",
            ),
            (
                &["one", "two", "new"],
                "host: transfer.place: `new` is not there, and several sources need a directory to go into\n\
                 hint: make the directory first\n",
            ),
            (
                &["one", "two", "old"],
                "host: transfer.place: `old` is not a directory, and several sources need a directory to go into\n\
                 hint: name a directory as the destination\n",
            ),
            (
                &["-r", "dir", "old"],
                "host: transfer.place: `old` is not a directory, and a directory cannot take its place\n\
                 hint: name a directory as the destination\n",
            ),
        ] {
            let answer = scene.push().args(arguments).run().exited(1).said("");
            assert!(answer.stderr.starts_with(expected), "{arguments:?}: {}", answer.stderr);
        }
        assert_eq!(scene.read("old"), b"old");
        assert!(!scene.home().join("new").exists());
    }
}

#[test]
fn a_symlink_that_was_typed_is_followed_and_stays_one() {
    for scene in scenes() {
        scene.source("new", "new");
        let home = scene.home();
        scene.old("real/file", "old");
        fs::create_dir(home.join("target")).unwrap();
        for (link, target) in [("file", "real/file"), ("directory", "target"), ("nowhere", "real/nothing")] {
            symlink(target, home.join(link)).unwrap();
        }
        scene.push().args(["new", "file"]).run().exited(0);
        scene.push().args(["new", "directory"]).run().exited(0);
        assert!(home.join("file").is_symlink() && home.join("directory").is_symlink());
        assert_eq!((scene.read("real/file"), scene.read("target/new")), (b"new".to_vec(), b"new".to_vec()));
        let answer = scene.push().args(["new", "nowhere"]).run().exited(1);
        answer.told("host: transfer.place: `nowhere` is a symlink to nothing\n");
        assert!(!home.join("real/nothing").exists());
        scene.assert_nothing_left();
    }
}

#[test]
fn what_is_in_the_way_is_told_and_left_alone() {
    for scene in scenes() {
        for name in ["tree/a", "tree/b", "tree/sub/inside", "tree/linked/inside", "tree/good"] {
            scene.source(name, "new");
        }
        let home = scene.home();
        fs::create_dir_all(home.join("tree/a/kept")).unwrap();
        scene.old("tree/sub", "a file");
        scene.old("elsewhere/inside", "theirs");
        scene.old("tree/stranger", "theirs");
        symlink("../elsewhere", home.join("tree/linked")).unwrap();
        symlink("../elsewhere/inside", home.join("tree/b")).unwrap();
        let answer = scene.push().args(["-r", "--delete", "tree", "."]).run().exited(1);
        let Answer { stdout, stderr, .. } = &answer;
        assert_eq!(stdout, "2 changed (6 B sent), 1 unchanged, 5 failed, 2 not removed because of the failures\n");
        for line in [
            "./tree/a: a directory is in its place\n",
            "./tree/linked: a symlink is in its place, and is not followed\n",
            "./tree/sub: a file is in its place\n",
        ] {
            assert!(stderr.contains(line), "{stderr}");
        }
        assert!(home.join("tree/a/kept").is_dir());
        assert_eq!(scene.read("tree/sub"), b"a file");
        assert_eq!(scene.read("elsewhere/inside"), b"theirs");
        assert_eq!(scene.read("tree/stranger"), b"theirs");
        assert_eq!(scene.read("tree/good"), b"new");
        // A symlink in the place of a file is replaced, and what it led to stands.
        assert!(home.join("tree/b").is_file() && !home.join("tree/b").is_symlink());
        scene.assert_nothing_left();
    }
}

#[test]
fn a_directory_that_was_missing_for_one_file_only_fails_that_one() {
    for scene in scenes() {
        scene.source("one", "1");
        scene.push().args(["one", "no/such/place"]).run().exited(1).told("no such file or directory");
        scene.old("file", "old");
        scene.push().args(["one", "file/below"]).run().exited(1);
        assert_eq!(scene.read("file"), b"old");
    }
}

#[test]
fn many_sources_take_no_round_trip_each() {
    let scene = Scene::of(Behaviour::behind([Cable::delayed(Duration::from_millis(25))]));
    let names: Vec<String> = (0..100).map(|number| format!("file{number}")).collect();
    names.iter().for_each(|name| drop(scene.source(name, name)));
    let begun = Instant::now();
    scene.push().args(&names).arg(".").run().exited(0);
    // One after the other they would take five seconds to be looked at alone.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(names.iter().all(|name| scene.read(name) == name.as_bytes()));
}

#[test]
fn with_backup_what_was_kept_is_not_deleted_by_the_next_mirror() {
    let scene = Scene::serving([]);
    scene.source("tree/file", "one");
    scene.old("tree/file", "zero");
    scene.old("tree/gone~", "the backup of a file that is no more");
    scene.old("tree/old/inside~", "and of one in a directory that is no more");
    scene.old("tree/old/inside", "theirs");
    let push = |options: &[&str]| scene.push().args(["-r", "--delete"]).args(options).args(["tree", "."]).run();
    push(&["--backup"]).exited(0).said("1 changed (3 B sent), 1 unchanged, 1 removed\n");
    push(&["--backup"]).exited(0).said("0 changed, 2 unchanged\n");
    assert_eq!((scene.read("tree/file"), scene.read("tree/file~")), (b"one".to_vec(), b"zero".to_vec()));
    assert!(scene.home().join("tree/gone~").exists() && scene.home().join("tree/old/inside~").exists());
    // Who asks for no backups has none.
    push(&[]).exited(0).said("0 changed, 2 unchanged, 4 removed\n");
}

#[test]
fn a_dry_run_fails_where_the_directory_above_is_not_there() {
    let scene = Scene::serving([]);
    scene.source("file", "content");
    scene.source("tree/file", "content");
    scene.old("taken", "a file");
    for (source, destination, words) in [
        (&["file"][..], "absent/file", "transfer.place: `absent/`: no such file"),
        (&["-r", "tree"], "absent/tree", "transfer.place: `absent/`: no such file"),
        (&["-r", "tree"], "taken/tree/", "transfer.place: `taken"),
    ] {
        scene.push().arg("--dry-run").args(source).arg(destination).run().exited(1).told(words);
        scene.push().args(source).arg(destination).run().exited(1);
    }
    for (source, destination) in [(&["file"][..], "new"), (&["-r", "tree"], "other")] {
        scene.push().arg("--dry-run").args(source).arg(destination).run().exited(0);
    }
}
