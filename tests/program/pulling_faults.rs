//! `bugle pull` where something goes wrong: what is here stays whole, and nothing leaves the directory that was named.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use crate::bugle::{Bugle, Place};
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::{Answer, Behaviour, Cut, Exec, Fleet, Host, Oddity, Transit, When};
use crate::pulling::{contents, names};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

/// A file that is read with several requests.
const LARGE: usize = 900_000;

fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + place / 251 + seed) as u8).collect()
}

/// The old content of what is pulled stands in `out/host`.
fn with_old(place: &Place, name: &str) {
    place.file(&format!("out/host/{name}"), "old");
}

/// Nothing but these files is in a directory, no temporary one either.
#[track_caller]
fn only(directory: &Path, expected: &[&str], what: &str) {
    assert_eq!(names(directory), expected, "{what}");
}

fn one(oddities: impl Into<Vec<Oddity>>) -> Fleet {
    Fleet::one(Behaviour::serving(oddities))
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_the_rest_comes() {
    const NAMES: &[&[u8]] = &[
        b"../evil",
        b"../../evil",
        b"/evil",
        b"",
        b"a/b",
        b"nul\0byte",
        b"dir/../../evil",
        b".bugle-abcdefghijklmnop-abcdefg2",
    ];
    for arguments in
        [&["-r", "tree"][..], &["-r", "--flat", "tree/."], &["tree/*"], &["-r", "--links", "follow", "tree"]]
    {
        let fleet = one([Oddity::Names(NAMES)]);
        let tree = fleet.hosts()[0].home.join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("good"), "good").unwrap();
        let place = Place::new();
        let answer = Bugle::on(&fleet).at(&place).args(["pull", "host"]).args(arguments).arg("deep/out").run();
        let found = contents(&place.path().join("deep"));
        assert!(found.values().all(|content| content == "good") && found.len() == 1, "{arguments:?}: {found:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{arguments:?}: deep, and what Bugle wrote");
        if arguments != ["tree/*"] {
            answer.exited(1).told("what is no name of a file: a name has a `/` in it");
        }
    }
}

#[test]
fn a_symlink_that_becomes_a_directory_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let target: &'static str = Box::leak(outside.path().display().to_string().into_boxed_str());
    let fleet = one([Oddity::Trap("trap", target)]);
    fs::create_dir(fleet.hosts()[0].home.join("tree")).unwrap();
    let place = Place::new();
    for arguments in [&["-r"][..], &["-r", "-p"], &["-r", "--links", "follow"], &["-r", "--links", "skip"]] {
        Bugle::on(&fleet).at(&place).args(["pull", "host", "tree", "out"]).args(arguments).run().exited(1);
        only(outside.path(), &[], "outside");
    }
}

#[test]
fn a_symlink_that_is_here_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let fleet = one([]);
    let tree = fleet.hosts()[0].home.join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/file"), "new").unwrap();
    fs::write(tree.join("other"), "new").unwrap();
    let place = Place::new();
    let here = place.file("out/host/tree/x", "").parent().unwrap().to_owned();
    symlink(outside.path(), here.join("sub")).unwrap();
    symlink(outside.path().join("other"), here.join("other")).unwrap();
    let answer = Bugle::on(&fleet).at(&place).args(["pull", "host", "-r", "tree", "out"]).run();
    answer.exited(1).told("there is a symlink at `out/host/tree/sub`, where a directory belongs");
    only(outside.path(), &[], "outside");
    assert_eq!(place.read("out/host/tree/other"), "new");
}

#[test]
fn a_listing_without_end_is_more_than_can_be_held() {
    let fleet = one([Oddity::EndlessListing]);
    fs::create_dir(fleet.hosts()[0].home.join("tree")).unwrap();
    let place = Place::new();
    let call = Bugle::on(&fleet).at(&place).after("ulimit -d 1400000").args(["pull", "host"]);
    let told = "host: transfer.failed: the host lists more than can be held, at last in `tree`\nhint: pull parts of it";
    call.args(["-r", "tree", "out"]).run().exited(1).told(told);
    only(&place.path().join("out"), &[], "out");
}

#[test]
fn a_tree_without_end_ends_somewhere() {
    let fleet = one([]);
    let mut deepest = fleet.hosts()[0].home.join("tree");
    for _ in 0..300 {
        deepest.push("d");
    }
    fs::create_dir_all(&deepest).unwrap();
    let place = Place::new();
    let answer = Bugle::on(&fleet).at(&place).args(["pull", "host", "-r", "tree", "out"]).run();
    answer.exited(1).told("it is more than 256 directories deep").said("256 changed, 1 failed\n");
}

#[test]
fn a_listing_without_end_is_ended_by_the_time_limit() {
    let fleet = one([Oddity::EndlessListing]);
    fs::create_dir(fleet.hosts()[0].home.join("tree")).unwrap();
    let place = Place::new();
    let call = Bugle::on(&fleet).at(&place).args(["pull", "host", "--timeout", "1s", "-r", "tree", "out"]);
    call.run().exited(1).told("timeout: not done after");
    only(&place.path().join("out"), &[], "out");
}

#[test]
fn with_checksum_content_that_was_damaged_on_the_way_is_not_taken() {
    for exec in [Exec::Shell, Exec::Refused] {
        let behaviour = Behaviour { exec, ..Behaviour::serving([Oddity::Corrupts(Transit::Read, 300_000)]) };
        let fleet = Fleet::one(behaviour);
        let tree = fleet.hosts()[0].home.join("tree");
        fs::create_dir(&tree).unwrap();
        for (name, size) in [("empty", 0), ("small", 1000), ("large", LARGE)] {
            fs::write(tree.join(name), content(1, size)).unwrap();
        }
        let place = Place::new();
        with_old(&place, "tree/small");
        with_old(&place, "tree/large");
        let call = Bugle::on(&fleet).at(&place).args(["pull", "host", "-r", "--checksum", "tree", "out"]);
        let here = place.path().join("out/host/tree");
        if exec == Exec::Refused {
            // The same wrong bytes come when they are read a second time, and nothing else could tell.
            call.run().exited(0);
            continue;
        }
        let answer = call.run().exited(1);
        for name in ["small", "large"] {
            let told = format!("what came of `out/host/tree/{name}` has another SHA-256 than on the host");
            assert!(answer.stderr.contains(&told), "{}", answer.stderr);
            assert_eq!(fs::read(here.join(name)).unwrap(), b"old");
        }
        only(&here, &["empty", "large", "small"], "what was damaged");
        // Who does not ask is not told.
        Bugle::on(&fleet).at(&place).args(["pull", "host", "-r", "tree", "out"]).run().exited(0);
    }
}

#[test]
fn whatever_a_server_answers_the_old_file_stands_or_the_new_one() {
    let answers = [
        Answer::Status(4, b"no"),
        Answer::Status(1, b""),
        Answer::Data(0),
        Answer::Data(250_000),
        Answer::Data(400_000),
        Answer::OtherId,
        Answer::Type(101),
        Answer::Type(102),
        Answer::Count(0),
        Answer::Count(u32::MAX),
        Answer::Length(0),
        Answer::Length(u32::MAX),
        Answer::Torn,
        Answer::Closes,
        Answer::Exits(1),
        Answer::Cut(Cut::Reset),
        Answer::Cut(Cut::Close),
    ];
    for (name, length) in [("small", 1000), ("large", LARGE)] {
        let new = content(1, length);
        for (request, number) in [("open", 1), ("fstat", 1), ("fstat", 2), ("read", 1), ("read", 3), ("close", 1)] {
            for answer in answers {
                if length == 1000 && number > 1 {
                    continue;
                }
                let fleet = one([Oddity::Answer(request, When::Nth(number), answer)]);
                fs::write(fleet.hosts()[0].home.join(name), &new).unwrap();
                let place = Place::new();
                with_old(&place, name);
                let what = format!("{name}: {request} {number}: {answer:?}");
                let ended = Bugle::on(&fleet).at(&place).args(["pull", "host", name, "out"]).run();
                only(&place.path().join("out"), &[&format!("host/{name}")], &what);
                let found = fs::read(place.path().join("out/host").join(name)).unwrap();
                assert!(found == b"old" || found == new || request == "read" && found.len() == length, "{what}");
                match ended.code() {
                    0 => assert!(found != b"old", "{what}: {}", ended.stdout),
                    1 | 3 => assert!(request == "close" || found == b"old", "{what}: {}", ended.stderr),
                    code => panic!("{what}: {code}\n{}", ended.stderr),
                }
            }
        }
    }
}

#[test]
fn a_server_that_answers_no_more_is_left_when_the_time_is_up() {
    for request in ["open", "fstat", "read", "lstat"] {
        let fleet = one([Oddity::Answer(request, When::From(1), Answer::Nothing)]);
        fs::write(fleet.hosts()[0].home.join("file"), content(1, LARGE)).unwrap();
        let place = Place::new();
        with_old(&place, "file");
        let call = Bugle::on(&fleet).at(&place).args(["pull", "host", "--timeout", "500ms", "file", "out"]);
        call.run().exited(1).told("what was done until then stands");
        only(&place.path().join("out"), &["host/file"], request);
        assert_eq!(place.read("out/host/file"), "old");
    }
}

#[test]
fn cut_at_any_byte_the_old_file_stands_or_the_new_one() {
    const TIMES: u64 = 40;
    let (small, large) = (content(2, 3000), content(3, LARGE));
    let mut random = 42_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let cuts = [Cut::Reset, Cut::Close];
    let cables: Vec<Cable> = (0..TIMES)
        .map(|number| {
            // Half of them near the beginning, where listings and small files are.
            let after = 2000 + next(if number % 2 == 0 { 20_000 } else { LARGE as u64 });
            let fault = Fault::Cut(cuts[(number % 2) as usize]);
            Cable::failing(Direction::ToClient, after, fault)
        })
        .collect();
    let fleet = Fleet::one(Behaviour::behind(cables));
    let home = &fleet.hosts()[0].home;
    fs::create_dir(home.join("tree")).unwrap();
    fs::write(home.join("tree/small"), &small).unwrap();
    fs::write(home.join("tree/large"), &large).unwrap();
    let (mut whole, mut old) = (0, 0);
    for number in 0..TIMES {
        let place = Place::new();
        with_old(&place, "tree/small");
        with_old(&place, "tree/large");
        let call = Bugle::on(&fleet).at(&place).args(["pull", "host", "--retries", "0", "-r", "tree", "out"]);
        let code = call.run().code();
        for (name, new) in [("small", &small), ("large", &large)] {
            let found = fs::read(place.path().join("out/host/tree").join(name)).unwrap();
            assert!(found == b"old" || found == *new, "{number}: {name} has {} bytes", found.len());
            assert!(code != 0 || found == *new, "{number}: {name}");
            whole += usize::from(found == *new);
            old += usize::from(found == b"old");
        }
        only(&place.path().join("out"), &["host/tree/large", "host/tree/small"], &number.to_string());
    }
    assert!(whole > 0 && old > 0, "{whole} new and {old} old files");
}

#[test]
fn a_disk_that_is_full_leaves_the_old_file() {
    for (number, length) in [(1, 3 << 20), (400, 10_000)] {
        let Some(disk) = Tmpfs::new(1 << 20) else { return };
        let fleet = one([]);
        let tree = fleet.hosts()[0].home.join("tree");
        fs::create_dir(&tree).unwrap();
        for file in 0..number {
            fs::write(tree.join(format!("f{file:03}")), content(file, length)).unwrap();
        }
        let old = disk.path().join("host/tree/f000");
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, "old").unwrap();
        let call = Bugle::on(&fleet).args(["pull", "host", "-r", "tree"]).arg(disk.path());
        let answer = call.run().exited(5).told("No space left on device");
        answer.told("host: local.full: ").told("hint: the file system is full");
        for (path, found) in contents(disk.path()) {
            assert!(found.len() == 3 || found.chars().count() > 1000, "{path} has {} bytes", found.len());
            assert!(!path.contains(".bugle-"), "{path}");
        }
        if number == 1 {
            assert_eq!(fs::read(&old).unwrap(), b"old");
        }
    }
}

/// Waits until a host was asked for so many of these.
fn until_asked(host: &Host, request: &str, times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system has threads");
    runtime.block_on(host.until(request, |_| host.requests_to(request) >= times));
}

/// A file that takes its time to come.
fn slow() -> Fleet {
    let fleet = Fleet::one(Behaviour::behind([Cable::limited(2_000_000)]));
    fs::write(fleet.hosts()[0].home.join("file"), content(4, 3_000_000)).unwrap();
    fleet
}

#[test]
fn a_file_that_grows_or_shrinks_meanwhile_is_not_taken() {
    for length in [3_000_100, 1000] {
        let fleet = slow();
        let host = &fleet.hosts()[0];
        let place = Place::new();
        with_old(&place, "file");
        let running = Bugle::on(&fleet).at(&place).args(["pull", "host", "file", "out"]).start();
        until_asked(host, "read", 1);
        let file = fs::File::options().write(true).open(host.home.join("file")).unwrap();
        file.set_len(length).unwrap();
        running.wait().exited(1).told("file: it was changed while it was being read");
        only(&place.path().join("out"), &["host/file"], "out");
        assert_eq!(place.read("out/host/file"), "old");
    }
}

#[test]
fn an_interrupted_pull_leaves_the_old_file_and_nothing_else() {
    for signal in [Signal::INT, Signal::TERM] {
        let fleet = slow();
        let place = Place::new();
        with_old(&place, "file");
        let running = Bugle::on(&fleet).at(&place).args(["pull", "host", "file", "out"]).start();
        until_asked(&fleet.hosts()[0], "read", 2);
        running.signal(signal);
        let code = running.wait().code();
        assert_eq!(code, if signal == Signal::INT { 130 } else { 143 });
        only(&place.path().join("out"), &["host/file"], "out");
        assert_eq!(place.read("out/host/file"), "old");
    }
}

/// What a run that was killed left in `out/host`.
fn killed(fleet: &Fleet, place: &Place) -> u64 {
    let running = Bugle::on(fleet).at(place).args(["pull", "host", "file", "out"]).start();
    let left = || {
        let entries = fs::read_dir(place.path().join("out/host")).ok()?;
        let names = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(".bugle-"));
        names.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).max()
    };
    let begun = Instant::now();
    while left().unwrap_or_default() < 500_000 {
        assert!(begun.elapsed() < crate::bugle::PATIENCE, "nothing is written");
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    drop(running.wait());
    left().unwrap()
}

#[test]
fn what_a_killed_pull_left_is_removed_by_the_next() {
    let fleet = slow();
    let place = Place::new();
    killed(&fleet, &place);
    fs::write(fleet.hosts()[0].home.join("other"), "x").unwrap();
    Bugle::on(&fleet).at(&place).args(["pull", "host", "other", "out"]).run().exited(0);
    only(&place.path().join("out"), &["host/other"], "out");
}

#[test]
fn an_interrupted_pull_is_resumed_where_the_beginning_is_the_same() {
    for changes in [false, true] {
        let fleet = slow();
        let home = &fleet.hosts()[0].home;
        let place = Place::new();
        let left = killed(&fleet, &place);
        if changes {
            fs::write(home.join("file"), content(5, 3_000_000)).unwrap();
        }
        let answer = Bugle::on(&fleet).at(&place).args(["pull", "host", "--resume", "file", "out"]).run().exited(0);
        assert_eq!(fs::read(place.path().join("out/host/file")).unwrap(), fs::read(home.join("file")).unwrap());
        assert_eq!(answer.stdout.contains("saved"), !changes, "{left} were left: {}", answer.stdout);
        only(&place.path().join("out"), &["host/file"], "out");
    }
}

#[test]
fn with_resume_an_interrupted_pull_keeps_what_came() {
    let fleet = slow();
    let place = Place::new();
    let call = || Bugle::on(&fleet).at(&place).args(["pull", "host", "--resume", "file", "out"]);
    let told = |answer: &crate::bugle::Answer| answer.stdout.contains("saved");
    call().args(["--timeout", "1s"]).run().exited(1).told("timeout");
    assert_eq!(names(&place.path().join("out")).len(), 1, "it is kept");
    let answer = call().run().exited(0);
    assert!(told(&answer), "{}", answer.stdout);
    only(&place.path().join("out"), &["host/file"], "out");
}

#[test]
fn where_the_host_cannot_hash_files_are_read_twice_and_compared() {
    for behaviour in [
        Behaviour { exec: Exec::Refused, ..Behaviour::default() },
        Behaviour { exec: Exec::Answer("none\n"), ..Behaviour::default() },
        Behaviour { max_sessions: 1, ..Behaviour::default() },
    ] {
        let fleet = Fleet::one(behaviour);
        let tree = fleet.hosts()[0].home.join("tree");
        fs::create_dir(&tree).unwrap();
        for (name, size) in [("empty", 0), ("small", 1000), ("large", LARGE)] {
            fs::write(tree.join(name), content(1, size)).unwrap();
        }
        let place = Place::new();
        let pull = || Bugle::on(&fleet).at(&place).args(["pull", "host", "-r", "--checksum", "tree", "out"]).run();
        let answer = pull().exited(0);
        assert!(answer.stdout.starts_with("4 changed ") && answer.stderr.is_empty(), "{}", answer.stderr);
        assert_eq!(fs::read(place.path().join("out/host/tree/large")).unwrap(), content(1, LARGE));
        // What is here has the same content, whatever its time.
        place.file("out/host/tree/small", content(1, 1000));
        pull().is(0, "0 changed, 4 unchanged\n", "");
    }
}

#[test]
fn what_came_otherwise_when_it_was_read_again_is_not_taken() {
    for read in [1, 2] {
        let damaged = Oddity::Answer("read", When::Nth(read), Answer::Data(7));
        let fleet = Fleet::one(Behaviour { exec: Exec::Refused, ..Behaviour::serving([damaged]) });
        fs::write(fleet.hosts()[0].home.join("file"), "content").unwrap();
        let place = Place::new();
        with_old(&place, "file");
        let call = || Bugle::on(&fleet).at(&place).args(["pull", "host", "--checksum", "file", "out"]).run();
        call().exited(1).told("what came of `out/host/file` has another SHA-256 than on the host");
        assert_eq!(place.read("out/host/file"), "old");
        call().exited(0);
        assert_eq!(place.read("out/host/file"), "content");
    }
}
