//! `--dry-run` says what a push would do, and does nothing.

use crate::bugle::Bugle;
use crate::fleet::trees::{Aspect, Kind, differences, plant};
use crate::fleet::{Fleet, Oddity};
use crate::scene::{Scene, set_time};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const ASPECTS: &[Aspect] = &[Aspect::Mode, Aspect::Modified, Aspect::Root];

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

#[test]
fn every_line_says_what_it_is_and_why() {
    let scene = Scene::serving([]);
    for name in ["new", "longer", "newer", "same", "sub/inside", "blocked"] {
        set_time(&scene.source(&format!("tree/{name}"), "content"), 1_600_000_000);
    }
    let tree = scene.place.path().join("tree");
    symlink("same", tree.join("link")).unwrap();
    symlink("same", tree.join("link-elsewhere")).unwrap();
    fs::hard_link(tree.join("new"), tree.join("zweiter")).unwrap();
    set_time(&scene.old("tree/longer", "longer content"), 1_600_000_000);
    set_time(&scene.old("tree/newer", "content"), 1_600_000_000 - 3 * 86_400);
    set_time(&scene.old("tree/same", "content"), 1_600_000_000);
    scene.old("tree/stranger/inside", "theirs");
    symlink("elsewhere", scene.home().join("tree/link-elsewhere")).unwrap();
    let push = |options: &[&str]| scene.push().args(["-r", "--delete"]).args(options).args(["tree", "."]).run();
    let before = scene.changing_requests();
    let expected = "+ ./tree/blocked (7 B)\n\
                    l ./tree/link → same\n\
                    l ./tree/link-elsewhere → same (was elsewhere)\n\
                    ~ ./tree/longer (size 14 → 7)\n\
                    + ./tree/new (7 B)\n\
                    ~ ./tree/newer (3 days newer)\n\
                    - ./tree/stranger/\n\
                    - ./tree/stranger/inside\n\
                    + ./tree/sub/\n\
                    + ./tree/sub/inside (7 B)\n\
                    h ./tree/zweiter → ./tree/new\n";
    push(&["--dry-run"]).is(0, expected, "");
    assert_eq!(scene.changing_requests(), before);
    push(&[]).exited(0);
    push(&["--dry-run"]).is(0, "nothing to do\n", "");
    // What is in the way is said too, and that nothing is deleted then.
    fs::remove_file(scene.home().join("tree/blocked")).unwrap();
    fs::create_dir(scene.home().join("tree/blocked")).unwrap();
    scene.old("tree/stranger", "theirs");
    let expected = "! ./tree/blocked (a directory is in its place)\n! 1 would not be removed because of the failures\n";
    let answer = push(&["--dry-run"]).exited(1).said(expected);
    let failure = "host: transfer.failed: 1 of 11 failed, such as ./tree/blocked: a directory is in its place\n";
    assert!(answer.stderr.starts_with(failure), "{}", answer.stderr);
    let answer = push(&[]).exited(1);
    assert!(answer.stderr.contains(failure), "{}", answer.stderr);
}

#[test]
fn a_host_that_makes_no_hard_links_is_shown_to_get_files() {
    let scene = Scene::serving([Oddity::Without("hardlink")]);
    let tree = scene.source("tree/file", "content").parent().unwrap().to_owned();
    fs::hard_link(tree.join("file"), tree.join("linked")).unwrap();
    let look = scene.push().args(["-r", "--dry-run", "tree", "."]).run();
    look.is(0, "+ ./tree/\n+ ./tree/file (7 B)\n+ ./tree/linked (7 B)\n", "");
}

#[test]
fn names_of_a_host_can_neither_forge_a_line_nor_reach_the_terminal() {
    let scene = Scene::serving([]);
    fs::create_dir(scene.place.path().join("tree")).unwrap();
    symlink("b\u{fc}cher", scene.place.path().join("tree/link")).unwrap();
    let there = scene.home().join("tree");
    scene.old("tree/x\n+ .\u{1b}[2J", "theirs");
    scene.old("tree/gr\u{fc}n\u{202e}txt", "theirs");
    fs::write(there.join(OsStr::from_bytes(b"y\xff")), "theirs").unwrap();
    symlink("a\nb\r", there.join("link")).unwrap();
    let expected = "l ./tree/link → b\u{fc}cher (was a\\nb\\r)\n\
                    - ./tree/gr\u{fc}n\\u{202e}txt\n\
                    - ./tree/x\\n+ .\\u{1b}[2J\n\
                    - ./tree/y\\xff\n";
    let mut lines: Vec<&str> = expected.split_inclusive('\n').collect();
    let answer = scene.push().args(["-r", "--delete", "--dry-run", "tree", "."]).run().exited(0);
    let mut told: Vec<&str> = answer.stdout.split_inclusive('\n').collect();
    lines.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, lines);
    // Pull lists what the same host has.
    fs::remove_file(there.join("gr\u{fc}n\u{202e}txt")).unwrap();
    let pull = Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "-r", "--dry-run", "tree", "out"]).run();
    let expected = "+ tree/\nl tree/link → a\\nb\\r\n+ tree/x\\n+ .\\u{1b}[2J (6 B)\n+ tree/y\\xff (6 B)\n";
    pull.is(0, expected, "");
}

#[test]
fn what_is_listed_is_what_the_next_push_changes() {
    for seed in 0..3 {
        let scene = Scene::serving([]);
        let tree = scene.place.path().join("tree");
        let kinds = &[Kind::Files, Kind::Modes, Kind::Times, Kind::Symlinks, Kind::Holes];
        plant(&tree, seed, kinds);
        // Another tree is there with many of the same names.
        let there = scene.home().join("tree");
        plant(&there, if seed == 0 { 0 } else { seed + 100 }, if seed == 2 { &kinds[..3] } else { kinds });
        let before = scene.home().join("before");
        copy(&there, &before);
        let push =
            |options: &[&str]| scene.push().args(["-r", "-p", "--delete"]).args(options).args(["tree", "."]).run();
        let requests = scene.changing_requests();
        let listed = push(&["--dry-run"]);
        assert_eq!(scene.changing_requests(), requests);
        assert_eq!(differences(&before, &there, ASPECTS), <[String; 0]>::default());
        let listed: BTreeSet<String> = listed
            .stdout
            .lines()
            .filter_map(|line| line[2..].split([' ', '(']).next()?.strip_prefix("./tree"))
            .map(|path| path.trim_matches('/').to_owned())
            .collect();
        push(&[]).exited(0);
        let changed: BTreeSet<String> = differences(&before, &there, ASPECTS)
            .iter()
            .filter_map(|line| Some(line.split('`').nth(1)?.to_owned()))
            .collect();
        // A link may be made anew with the text that it had, which no difference shows.
        let silent: Vec<&String> = changed.difference(&listed).collect();
        assert!(silent.is_empty(), "{seed}: changed and not listed: {silent:?}");
        let idle: Vec<&String> = listed.difference(&changed).filter(|path| !there.join(path).is_symlink()).collect();
        assert!(idle.is_empty(), "{seed}: listed and not changed: {idle:?}");
        push(&["--dry-run"]).is(0, "nothing to do\n", "");
    }
}

#[test]
fn equal_hosts_are_shown_once() {
    let fleet = Fleet::start(4);
    let place = crate::bugle::Place::new();
    place.file("new", "content");
    fs::write(fleet.host("web02").home.join("file"), "other").unwrap();
    let answer =
        Bugle::on(&fleet).at(&place).args(["push", "all", "--dry-run", "--output", "group", "new", "file"]).run();
    let rule = "---------------\n";
    let expected = format!("{rule}db01,web[01,03] (3)\n{rule}+ file (7 B)\n{rule}web02\n{rule}~ file (size 5 → 7)\n");
    assert_eq!(answer.exited(0).stdout, expected);
    assert!(fleet.hosts().iter().all(|host| host.requests_to("open") == 0));
}
