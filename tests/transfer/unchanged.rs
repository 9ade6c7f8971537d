//! Which files count as unchanged: by size and time, or by content.

use crate::fleet::relay::Cable;
use crate::fleet::sftp_daemon::{Sftp, sshd};
use crate::fleet::{Answer, Behaviour, Exec, Oddity, Transit, When};
use crate::scene::{Scene, noise, set_time};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const OLD: u64 = 1_500_000_000;
const NEW: u64 = 1_600_000_000;

/// What is there, and how a push treats it: (content, time, sent by time, sent by content).
const CASES: [(&str, &str, u64, bool, bool); 5] = [
    ("same", "content A", NEW, false, false),
    ("older", "content A", OLD, true, false),
    ("touched", "content B", NEW, false, true),
    ("different", "content B", OLD, true, true),
    ("longer", "content A and more", NEW, true, true),
];

fn plant(scene: &Scene) {
    for (name, content, time, ..) in CASES {
        set_time(&scene.source(&format!("tree/{name}"), "content A"), NEW);
        set_time(&scene.old(&format!("tree/{name}"), content), time);
    }
}

#[test]
fn size_and_time_decide_unless_the_content_is_asked_for() {
    for checksum in [false, true] {
        let scene = Scene::serving([]);
        plant(&scene);
        let inode = |name: &str| fs::metadata(scene.home().join("tree").join(name)).unwrap().ino();
        let before = CASES.map(|(name, ..)| inode(name));
        let options: &[&str] = if checksum { &["--checksum"] } else { &[] };
        scene.push().arg("-r").args(options).args(["tree", "."]).run().exited(0);
        for ((name, content, _, by_time, by_content), before) in CASES.into_iter().zip(before) {
            let is_sent = if checksum { by_content } else { by_time };
            assert_eq!(inode(name) != before, is_sent, "{name}, {checksum}");
            let expected = if is_sent { "content A" } else { content };
            assert_eq!(scene.read(&format!("tree/{name}")), expected.as_bytes(), "{name}, {checksum}");
        }
        let again = scene.push().arg("-r").args(options).args(["tree", "."]).run();
        again.is(0, "0 changed, 6 unchanged\n", "");
    }
}

#[test]
fn contents_are_read_over_the_wire_where_the_host_cannot_hash() {
    for (behaviour, reads) in [
        (Behaviour::default(), false),
        (Behaviour::executing(Exec::Refused), true),
        (Behaviour::executing(Exec::Answer("none\n")), true),
        (Behaviour::executing(Exec::Answer("nonsense\nand more\n")), true),
        (Behaviour::executing(Exec::Answer("some\nshort\n")), true),
        (Behaviour { max_sessions: 1, ..Behaviour::default() }, true),
    ] {
        let shown = format!("{:?} {}", behaviour.exec, behaviour.max_sessions);
        let scene = Scene::of(behaviour);
        plant(&scene);
        // Many requests long, and a wrong byte at the end.
        let large = noise(1, 900_000);
        set_time(&scene.source("tree/large", &large), NEW);
        set_time(&scene.source("tree/large-too", &large), NEW);
        let (last, rest) = large.split_last().unwrap();
        set_time(&scene.old("tree/large", [rest, &[!last]].concat()), NEW);
        set_time(&scene.old("tree/large-too", &large), OLD);
        let answer = scene.push().args(["-r", "--checksum", "tree", "."]).run().exited(0);
        assert!(answer.stdout.starts_with("4 changed "), "{shown}: {}", answer.stdout);
        assert!(scene.read("tree/large") == large && scene.read("tree/touched") == b"content A", "{shown}");
        assert_eq!(scene.host().requests_to("read") > 0, reads, "{shown}");
        assert_eq!(scene.host().counts().files.handles, 0, "{shown}");
        scene.assert_nothing_left();
    }
}

#[test]
fn a_real_host_without_any_program_for_hashing_is_compared_all_the_same() {
    let Some(daemon) = sshd(Sftp::Internal(""), &["SetEnv PATH=/nonexistent"]) else { return };
    let scene = Scene::on(daemon);
    plant(&scene);
    let answer = scene.push().args(["-r", "--checksum", "tree", "."]).run().exited(0);
    assert!(answer.stdout.starts_with("3 changed "), "{}", answer.stdout);
    assert_eq!(scene.read("tree/touched"), b"content A");
}

#[test]
fn what_cannot_be_read_back_is_sent() {
    for oddity in [
        Oddity::Answer("read", When::Nth(1), Answer::Half),
        Oddity::Answer("read", When::Nth(1), Answer::Status(4, b"")),
        Oddity::Answer("read", When::Nth(1), Answer::Status(1, b"")),
    ] {
        let scene = Scene::of(Behaviour { exec: Exec::Refused, ..Behaviour::serving([oddity]) });
        set_time(&scene.source("new", "content"), NEW);
        set_time(&scene.old("file", "content"), OLD);
        scene.push().args(["--checksum", "new", "file"]).run().exited(0).said("1 changed (7 B sent)\n");
        assert_eq!(scene.read("file"), b"content");
    }
}

#[test]
fn what_cannot_be_read_back_after_it_was_sent_is_not_said_to_be_another() {
    let refused = Oddity::Answer("read", When::From(1), Answer::Status(4, b"no"));
    let scene = Scene::of(Behaviour { exec: Exec::Refused, ..Behaviour::serving([refused]) });
    scene.source("new", "content");
    scene.old("file", "old");
    let answer = scene.push().args(["--checksum", "new", "file"]).run().exited(1);
    answer.told("what arrived could not be read back to be compared (the server says only `Failure` (`no`)): what was there still stands");
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

#[test]
fn paths_are_one_word_to_the_shell_of_the_host() {
    let scene = Scene::serving([]);
    for name in ["it's", "$(touch oops)", "`touch oops`", "a b", "-n", "*", "new\nline", "back\\slash", "~"] {
        set_time(&scene.source(&format!("tree/{name}"), "content"), NEW);
        set_time(&scene.old(&format!("tree/{name}"), "content"), OLD);
    }
    scene.push().args(["-r", "--checksum", "tree", "."]).run().is(0, "0 changed, 10 unchanged\n", "");
    assert!(!scene.home().join("oops").exists());
    assert_eq!(scene.host().requests_to("read"), 0);
}

#[test]
fn attributes_and_deletions_take_no_round_trip_each() {
    let scene = Scene::of(Behaviour::behind([Cable::delayed(Duration::from_millis(25))]));
    for number in 0..60 {
        let name = format!("tree/{}/{number}", number % 10);
        set_time(&scene.source(&name, "content"), NEW);
        set_time(&scene.old(&name, "content"), NEW);
        scene.old(&format!("tree/{}/old/{number}", number % 10), "theirs");
    }
    let begun = Instant::now();
    let answer = scene.push().args(["-r", "--delete", "--mode", "0640", "tree", "."]).run();
    // One after the other they would take seven seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    answer.exited(0).said("71 changed, 70 removed\n");
    scene.push().args(["-r", "--delete", "--mode", "0640", "tree", "."]).run().is(0, "0 changed, 71 unchanged\n", "");
}

#[test]
fn with_checksum_content_that_was_damaged_on_the_way_gets_no_name() {
    // The lengths are right, so nothing else shows it.
    let corrupts = Oddity::Corrupts(Transit::Written, 100_000);
    for exec in [Exec::Shell, Exec::Refused] {
        for (sizes, damaged) in [(vec![10, 500, 70_000], 3), (vec![900_000, 10], 2), (vec![0], 0)] {
            let scene = Scene::of(Behaviour { exec, ..Behaviour::serving([corrupts]) });
            for (number, size) in sizes.iter().enumerate() {
                scene.source(&format!("tree/{number}"), noise(1, *size));
                scene.old(&format!("tree/{number}"), "old");
            }
            let answer =
                scene.push().args(["-r", "--checksum", "tree", "."]).run().exited(u8::from(damaged > 0).into());
            let told = answer.stderr.matches("what arrived has another SHA-256 than the source").count();
            assert_eq!(told, if damaged > 0 { damaged + 1 } else { 0 }, "{sizes:?}: {}", answer.stderr);
            for (number, size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
                assert_eq!(scene.read(&format!("tree/{number}")), b"old", "{size}");
            }
            scene.assert_nothing_left();
            // Who does not ask is not told.
            scene.push().args(["-r", "tree", "."]).run().exited(0);
        }
    }
}

#[test]
fn thousands_of_files_are_verified_by_a_few_processes_and_round_trips() {
    // A session for files, one for digests, and one for a tar.
    for (via, sessions) in [("sftp", 2), ("auto", 3)] {
        let scene = Scene::of(Behaviour::behind([Cable::delayed(Duration::from_millis(25))]));
        for number in 0..800 {
            scene.source(&format!("tree/{}/{number}", number % 10), noise(number, 100));
        }
        let push = || scene.push().args(["-r", "--checksum", "--via", via, "tree", "."]);
        let begun = Instant::now();
        push().run().exited(0).said("811 changed (78.1 KiB sent)\n");
        // A round trip a file would take 40 seconds.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(scene.host().requests_to("read"), 0);
        assert!(scene.host().counts().most_sessions <= sessions);
        let begun = Instant::now();
        push().run().is(0, "0 changed, 811 unchanged\n", "");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_server_that_begins_elsewhere_than_a_shell_is_asked_about_the_right_files() {
    let elsewhere = tempfile::tempdir().unwrap();
    let Some(daemon) = sshd(Sftp::Internal(&format!("-d {}", elsewhere.path().display())), &[]) else { return };
    let scene = Scene::on(daemon);
    set_time(&scene.source("new", "right"), NEW);
    // The one that a shell would find has the content already.
    scene.old("file", "right");
    fs::write(elsewhere.path().join("file"), "wrong").unwrap();
    scene.push().args(["--checksum", "new", "file"]).run().exited(0);
    assert_eq!(fs::read(elsewhere.path().join("file")).unwrap(), b"right");
}
