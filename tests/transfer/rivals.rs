//! Somebody else is at work at the same time: another push, or an editor in the source.

use crate::bugle::Bugle;
use crate::fleet::relay::Cable;
use crate::fleet::{Behaviour, Fleet};
use crate::scene::{Scene, left, noise, wait};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

#[test]
fn of_two_pushes_to_one_path_one_wins_with_all_its_bytes() {
    let scene = Scene::serving([]);
    let contents = [noise(1, 2_000_000), noise(2, 1_900_000)];
    contents.iter().enumerate().for_each(|(number, content)| drop(scene.source(&format!("new{number}"), content)));
    for _ in 0..6 {
        let running = ["new0", "new1"].map(|source| scene.push().args([source, "file"]).start());
        for running in running {
            running.wait().exited(0);
        }
        assert!(contents.contains(&scene.read("file")));
        scene.assert_nothing_left();
    }
}

#[test]
fn two_pushes_of_one_tree_at_once_do_no_harm() {
    let scene = Scene::serving([]);
    for number in 0..60 {
        scene.source(&format!("tree/{:02}/{number}", number % 7), noise(number, 2000));
    }
    let running = [0; 2].map(|_| scene.push().args(["-r", "--delete", "tree", "."]).start());
    for running in running {
        // Who comes second finds directories that were not there when it looked.
        let answer = running.wait();
        assert!([0, 1].contains(&answer.code()), "{}", answer.stderr);
    }
    scene.push().args(["-r", "--delete", "tree", "."]).run().exited(0);
    for number in 0..60 {
        assert!(scene.read(&format!("tree/{:02}/{number}", number % 7)) == noise(number, 2000));
    }
    scene.assert_nothing_left();
}

#[test]
fn a_machine_that_is_named_twice_gets_the_file_whole() {
    let fleet = Fleet::of([("one", Behaviour::default())]);
    let host = fleet.host("one");
    let place = crate::bugle::Place::new();
    let content = noise(1, 2_000_000);
    place.file("new", &content);
    let line = |name: &str| format!("{name} ansible_host={} ansible_port={}\n", host.address.ip(), host.address.port());
    let inventory = place.file("twice", [line("one"), line("alias")].concat());
    // The second replaces what the first has sent, or both send at once.
    for options in [&[][..], &[], &[], &["--serial", "1"]] {
        Bugle::on(&fleet)
            .at(&place)
            .arg("-i")
            .arg(&inventory)
            .args(["push", "all"])
            .args(options)
            .args(["new", "file"])
            .run()
            .exited(0);
        assert!(fs::read(host.home.join("file")).unwrap() == content);
        assert!(left(&host.home).is_empty());
        fs::remove_file(host.home.join("file")).unwrap();
    }
}

/// Pushes a file on a slow line, does this to the source in the middle, and gives what was told.
fn changed_by(change: impl FnOnce(&Path)) -> (i32, String, Scene) {
    let scene = Scene::of(Behaviour::behind([Cable::limited(6 << 20)]));
    let source = scene.source("tree/file", noise(1, 8 << 20));
    scene.source("tree/other", "other");
    scene.old("tree/file", "old");
    let running = scene.push().args(["-r", "tree", "."]).start();
    wait(scene.fleet().relay("host").until("a megabyte", |traffic| traffic.to_server > 1 << 20));
    change(&source);
    let answer = running.wait();
    (answer.code(), answer.stderr, scene)
}

#[test]
fn a_source_that_changes_while_it_is_sent_fails_and_the_old_file_stands() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("the last byte", |source| {
            File::options().write(true).open(source).unwrap().write_all_at(b"?", (8 << 20) - 1).unwrap();
        }),
        ("the first byte", |source| {
            File::options().write(true).open(source).unwrap().write_all_at(b"?", 0).unwrap();
        }),
        ("truncated", |source| File::options().write(true).open(source).unwrap().set_len(100).unwrap()),
        ("longer", |source| File::options().write(true).open(source).unwrap().set_len(9 << 20).unwrap()),
    ];
    for (name, change) in changes {
        let (code, stderr, scene) = changed_by(change);
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(stderr.contains("was changed while it was being sent"), "{name}: {stderr}");
        assert_eq!(scene.read("tree/file"), b"old", "{name}");
        assert_eq!(scene.read("tree/other"), b"other", "{name}");
        scene.assert_nothing_left();
    }
}

#[test]
fn nothing_is_deleted_through_a_directory_that_became_a_symlink_meanwhile() {
    for (swapped, code, summary) in [
        ("tree/sub", 1, "1 changed (8.0 MiB sent), 5 unchanged, 1 failed, 2 not removed because of the failures\n"),
        ("tree", 1, ""),
        ("nothing", 0, "1 changed (8.0 MiB sent), 5 unchanged, 2 removed\n"),
    ] {
        let scene = Scene::of(Behaviour::behind([Cable::limited(6 << 20)]));
        scene.source("tree/file", noise(1, 8 << 20));
        scene.source("tree/sub/kept", "kept");
        scene.source("tree/here/kept", "kept");
        for directory in ["tree/sub", "tree/here", "outside", "outside/sub", "outside/here"] {
            scene.old(&format!("{directory}/stranger"), "theirs");
        }
        let kept = |directory: &str| {
            let content =
                fs::copy(scene.place.path().join(directory).join("kept"), scene.home().join(directory).join("kept"));
            content.unwrap();
            let time = fs::metadata(scene.place.path().join(directory).join("kept")).unwrap().modified().unwrap();
            File::options()
                .write(true)
                .open(scene.home().join(directory).join("kept"))
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        ["tree/sub", "tree/here"].into_iter().for_each(kept);
        let running = scene.push().args(["-r", "--delete", "tree/.", "tree"]).start();
        wait(scene.fleet().relay("host").until("a megabyte", |traffic| traffic.to_server > 1 << 20));
        if swapped != "nothing" {
            fs::rename(scene.home().join(swapped), scene.home().join("moved")).unwrap();
            symlink(scene.home().join("outside"), scene.home().join(swapped)).unwrap();
        }
        let answer = running.wait();
        assert_eq!(answer.code(), code, "{swapped}: {}", answer.stderr);
        for path in ["outside/stranger", "outside/sub/stranger", "outside/here/stranger"] {
            assert_eq!(scene.read(path), b"theirs", "{swapped}: {path}");
        }
        if code == 1 {
            let told = format!("{swapped}: it was a directory and is a symlink now\n");
            assert!(swapped == "tree" || answer.stderr.contains(&told), "{}", answer.stderr);
        }
        assert!(answer.stdout.ends_with(summary), "{swapped}: {}", answer.stdout);
    }
}

#[test]
fn a_source_that_is_replaced_while_it_is_sent_is_sent_as_it_was_or_fails() {
    let (code, stderr, scene) = changed_by(|source| {
        let beside = source.with_file_name("../beside");
        fs::write(&beside, noise(2, 8 << 20)).unwrap();
        fs::rename(beside, source).unwrap();
    });
    let found = scene.read("tree/file");
    match code {
        0 => assert!(found == noise(1, 8 << 20)),
        _ => assert!(found == b"old" && stderr.contains("was changed while it was being sent"), "{stderr}"),
    }
    scene.assert_nothing_left();
}
