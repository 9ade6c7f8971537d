//! Servers that lie: a stable code in bounded time and memory, and nothing is believed.

use crate::fleet::{Answer, Behaviour, Exec, Oddity, When};
use crate::scene::{Scene, noise};
use std::fs;
use std::time::{Duration, Instant};

/// What the process may allocate: the kernel refuses it more (RLIMIT_DATA counts all private writable memory).
const MEMORY: &str = "ulimit -d 150000";

fn from_first(kind: &'static str, answer: Answer) -> Oddity {
    Oddity::Answer(kind, When::From(1), answer)
}

fn scene(oddities: &[Oddity]) -> Scene {
    // No shell stands in.
    let scene = Scene::of(Behaviour { exec: Exec::Refused, ..Behaviour::serving(oddities) });
    scene.source("tree/file", noise(1, 600_000));
    scene.source("tree/new", "new");
    scene.old("tree/file", "old");
    scene
}

/// The push fails with this code and text, soon and in little memory.
#[track_caller]
fn fails(oddity: Oddity, exit: i32, expected: &str) {
    let scene = scene(&[oddity]);
    let begun = Instant::now();
    let push = scene.push().after(MEMORY).args(["-r", "tree", "."]);
    let answer = push.run();
    let took = begun.elapsed();
    assert!(!answer.stderr.contains("panicked"), "{oddity:?}: {}", answer.stderr);
    assert!(answer.stderr.contains(expected), "{oddity:?}: {}", answer.stderr);
    assert!(answer.code() == exit, "{oddity:?}: {} {}", answer.code(), answer.stderr);
    assert!(took < Duration::from_secs(20), "{oddity:?}: {took:?}");
    assert_eq!(scene.read("tree/file"), b"old", "{oddity:?}");
}

#[test]
fn answers_to_what_nobody_asked_end_the_session() {
    for kind in ["lstat", "opendir", "readdir", "open", "write", "fsetstat", "close", "limits"] {
        fails(from_first(kind, Answer::OtherId), 1, "host: transfer.failed: the server answered request ");
    }
}

#[test]
fn answers_of_another_type_are_refused() {
    for (kind, expected) in [
        ("lstat", "instead of attributes"),
        ("opendir", "instead of a handle"),
        ("readdir", "instead of names"),
        ("open", "instead of a handle"),
        ("write", "instead of a status"),
        ("close", "instead of a status"),
        ("limits", "instead of limits"),
    ] {
        fails(from_first(kind, Answer::Type(77)), 1, "host: transfer.failed: the server answered with packet type 77 ");
        fails(from_first(kind, Answer::Type(77)), 1, expected);
    }
}

#[test]
fn success_instead_of_an_answer_is_refused() {
    for kind in ["lstat", "opendir", "readdir", "open", "limits", "fstat"] {
        fails(from_first(kind, Answer::Status(0, b"")), 1, "host: transfer.failed: ");
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_before_memory_is_taken() {
    for kind in ["lstat", "readdir", "open", "write"] {
        for length in [u32::MAX, 0x7FFF_FFFF, 262_145, 4, 0] {
            fails(from_first(kind, Answer::Length(length)), 1, "host: transfer.failed: the server sent a packet of ");
        }
    }
    for kind in ["opendir", "readdir", "open"] {
        for count in [u32::MAX, 0x4000_0000] {
            fails(from_first(kind, Answer::Count(count)), 1, "host: transfer.failed: ");
        }
    }
    // All flags are set, and what they announce is not there.
    fails(from_first("lstat", Answer::Count(u32::MAX)), 1, "host: transfer.failed: ");
}

#[test]
fn a_server_that_ends_in_the_middle_is_lost() {
    for kind in ["lstat", "readdir", "open", "write", "fsync", "close"] {
        for answer in [Answer::Torn, Answer::Closes, Answer::Exits(3)] {
            fails(from_first(kind, answer), 3, "host: session.lost: ");
        }
    }
}

#[test]
fn what_is_no_sftp_is_told_with_its_first_line() {
    fails(
        Oddity::Noise("Welcome to \x1b[31mthis machine\nand more\n"),
        1,
        "host: transfer.unavailable: the host prints `Welcome to ",
    );
    fails(
        Oddity::Noise("x\n"),
        1,
        "host: transfer.unavailable: the host prints `x` where its SFTP server should answer",
    );
    fails(Oddity::Version(2), 1, "host: transfer.failed: the server speaks version 2 of SFTP, not 3");
    fails(Oddity::Version(6), 1, "host: transfer.failed: the server speaks version 6 of SFTP, not 3");
    fails(from_first("init", Answer::Type(101)), 1, "host: transfer.failed: the server began with packet type 101 ");
    fails(from_first("init", Answer::Closes), 1, "host: transfer.unavailable: ");
    fails(from_first("init", Answer::Exits(1)), 1, "host: transfer.unavailable: ");
    fails(from_first("init", Answer::Torn), 1, "host: transfer.unavailable: ");
}

#[test]
fn a_listing_without_an_end_takes_little_memory_and_a_time_limit_ends_it() {
    for (memory, options) in [("ulimit -d 60000", &[][..]), (MEMORY, &["--delete"])] {
        let scene = scene(&[Oddity::EndlessListing]);
        let push = scene.push().after(memory).args(["-r", "--timeout", "2s"]).args(options);
        let answer = push.args(["tree", "."]).run().exited(1);
        assert!(answer.stderr.starts_with("host: t"), "{}", answer.stderr);
        assert_eq!(scene.read("tree/file"), b"old");
        scene.assert_nothing_left();
    }
}

#[test]
fn a_listing_without_an_end_ends_the_push_where_all_of_it_counts() {
    for oddities in [&[Oddity::EndlessListing][..], &[Oddity::EndlessListing, Oddity::Shuffled]] {
        let scene = scene(oddities);
        let push = scene.push().after("ulimit -d 600000").args(["-r", "--delete", "tree", "."]);
        push.run().exited(1).told("host: transfer.place: `./tree` lists more names than can be compared\nhint: ");
        assert_eq!(scene.read("tree/file"), b"old");
        scene.assert_nothing_left();
    }
}

#[test]
fn handles_of_256_bytes_and_absurd_limits_are_no_fault() {
    for oddity in [
        Oddity::BinaryHandles,
        Oddity::Limits([u64::MAX; 4]),
        Oddity::Limits([0; 4]),
        Oddity::Limits([1; 4]),
        Oddity::Limits([34_000, 32_768, 5_000, 5]),
        from_first("limits", Answer::Status(4, b"")),
    ] {
        let scene = scene(&[oddity]);
        for number in 0..30 {
            scene.source(&format!("tree/more{number}"), number.to_string());
        }
        scene.push().args(["-r", "tree", "."]).run().exited(0);
        assert!(scene.read("tree/file") == noise(1, 600_000), "{oddity:?}");
        if oddity == Oddity::Limits([34_000, 32_768, 5_000, 5]) {
            assert!(scene.host().counts().files.most_handles <= 5, "{:?}", scene.host().counts().files);
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn names_that_lead_elsewhere_are_never_removed() {
    let names: &[&[u8]] = &[b"../outside", b"..", b"/outside", b"a/../../outside", b"", b".", b"a\0b"];
    let scene = scene(&[Oddity::Names(names)]);
    scene.old("outside", "theirs");
    scene.push().args(["-r", "--delete", "tree", "."]).run().exited(0);
    let strange = scene.host().requests().into_iter().find(|line| {
        let kind = line.split(' ').next().unwrap_or_default();
        ["remove", "rmdir"].contains(&kind) && !line.contains(".bugle-")
    });
    assert_eq!(strange, None);
    assert_eq!(scene.read("outside"), b"theirs");
}

#[test]
fn a_name_that_is_a_link_and_then_a_directory_leads_nowhere() {
    let scene = scene(&[Oddity::Trap("trap", "/somewhere/else")]);
    scene.source("tree/trap/file", "new");
    let answer = scene.push().args(["-r", "tree", "."]).run();
    assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    assert!(fs::symlink_metadata("/somewhere/else").is_err());
}
