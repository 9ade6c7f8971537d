//! `bugle pull` where everything goes well: what comes, where it is put, and what is said of it.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use crate::bugle::{Bugle, Place};
use crate::fleet::sftp_daemon::{Sftp, dropbear, sftp_server, sshd};
use crate::fleet::trees::{Aspect, Kind, assert_same, plant};
use crate::fleet::{Answer, Behaviour, Fleet, Oddity, When};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What comes over SFTP. Names of one file come as files, and holes as zeros, which are holes again here.
const KINDS: &[Kind] = &[Kind::Files, Kind::Names, Kind::Times, Kind::Symlinks, Kind::HardLinks, Kind::Holes];
const ASPECTS: &[Aspect] = &[Aspect::Modified, Aspect::LinkModified, Aspect::Holes];

/// Everything beneath a directory but directories, with its content or the text of a symlink.
pub fn contents(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let Ok(entries) = fs::read_dir(directory.join(&below)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                waiting.push(path);
                continue;
            }
            let content = match kind.is_symlink() {
                true => format!("-> {}", fs::read_link(entry.path()).unwrap().display()),
                false => String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned(),
            };
            found.insert(path.display().to_string(), content);
        }
    }
    found
}

/// The names beneath a directory, but those of directories.
pub fn names(directory: &Path) -> Vec<String> {
    contents(directory).into_keys().collect()
}

/// Writes files, each with its own path in it.
fn files(home: &Path, paths: &[&str]) {
    for path in paths {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
}

/// Hosts on which there are these files.
fn fleet(hosts: &[&str], paths: &[&str]) -> Fleet {
    let fleet = Fleet::of(hosts.iter().map(|host| (*host, Behaviour::default())));
    fleet.hosts().iter().for_each(|host| files(&host.home, paths));
    fleet
}

fn pull(fleet: &Fleet, place: &Place, arguments: &[&str]) -> crate::bugle::Answer {
    Bugle::on(fleet).at(place).arg("pull").args(arguments).run()
}

#[test]
fn a_tree_that_is_pulled_is_the_tree_whatever_the_server_can_do() {
    let read = |answer| Oddity::Answer("read", When::From(1), answer);
    for (seed, oddities) in [
        vec![],
        vec![Oddity::NoExtensions],
        vec![Oddity::Shuffled, Oddity::BinaryHandles],
        vec![read(Answer::Half)],
        vec![Oddity::Limits([34_000, 16_000, 1024, 5])],
        vec![Oddity::Answer("limits", When::From(1), Answer::Status(8, b"no"))],
    ]
    .into_iter()
    .enumerate()
    {
        let fleet = Fleet::one(Behaviour::serving(oddities.clone()));
        let source = fleet.hosts()[0].home.join("tree");
        plant(&source, seed as u64, KINDS);
        let place = Place::new();
        pull(&fleet, &place, &["host", "-r", "-p", "tree", "out"]).exited(0);
        assert_same(&source, &place.path().join("out/host/tree"), ASPECTS);
        let again = pull(&fleet, &place, &["host", "-r", "-p", "tree", "out"]).exited(0);
        assert!(again.stdout.starts_with("0 changed, "), "{oddities:?}: {}", again.stdout);
        let limit = if oddities.iter().any(|oddity| matches!(oddity, Oddity::Limits(_))) { 5 } else { 300 };
        let handles = fleet.hosts()[0].counts().files.most_handles;
        assert!(handles <= limit, "{handles} were open");
    }
}

#[test]
fn a_tree_of_a_real_server_is_the_tree() {
    let servers = [
        sshd(Sftp::Internal(""), &[]),
        sshd(Sftp::External(""), &["RekeyLimit 1M"]),
        sshd(Sftp::External("-R"), &["MaxSessions 1"]),
        sshd(Sftp::External("-P limits,fstatvfs,expand-path@openssh.com"), &[]),
        dropbear(Sftp::External(""), &[]),
    ];
    for (seed, daemon) in servers.into_iter().flatten().enumerate() {
        plant(&daemon.home.join("tree"), seed as u64, KINDS);
        let place = Place::new();
        for checked in [&["-p"][..], &["-p", "--checksum"]] {
            let call = Bugle::on_daemon(&daemon, ["h"]).at(&place).args(["pull", "h", "-r", "tree", "out"]);
            call.args(checked).run().exited(0);
            assert_same(&daemon.home.join("tree"), &place.path().join("out/h/tree"), ASPECTS);
        }
    }
}

#[test]
fn what_two_hosts_have_does_not_collide() {
    let fleet = fleet(&["a", "b"], &["x"]);
    fs::write(fleet.host("b").home.join("x"), "of b").unwrap();
    let place = Place::new();
    pull(&fleet, &place, &["all", "x", "out"]).exited(0);
    pull(&fleet, &place, &["all", "--flat", "x", "out"]).exited(0);
    let expected = [("a/x", "x"), ("b/x", "of b"), ("x.a", "x"), ("x.b", "of b")];
    let expected = expected.map(|(path, content)| (path.to_owned(), content.to_owned()));
    assert_eq!(contents(&place.path().join("out")), expected.into());
}

#[test]
fn two_hosts_that_would_have_one_name_are_told_apart() {
    let fleet = Fleet::of([("c", Behaviour::default()), ("b.c", Behaviour::default())]);
    files(&fleet.host("c").home, &["a.b", "both"]);
    files(&fleet.host("b.c").home, &["a", "both"]);
    let place = Place::new();
    let answer = pull(&fleet, &place, &["all", "--flat", "a*", "both", "out"]).exited(1);
    answer.told("is the name of what came from").told("without `--flat` every host has a directory of its own");
    assert_eq!(names(&place.path().join("out")), ["a.b.c", "both.b.c", "both.c"]);
}

#[test]
fn a_source_says_what_comes_and_what_it_is_called() {
    let fleet = fleet(&["h"], &["dir/sub/f", "dir/g", "other/g2", "f", "back\\slash", ".hidden"]);
    symlink("dir", fleet.host("h").home.join("to-dir")).unwrap();
    symlink("f", fleet.host("h").home.join("to-f")).unwrap();
    let home = fleet.host("h").home.display().to_string();
    for (sources, expected) in [
        (&["f"][..], &["f"][..]),
        (&["./f", "dir//g"], &["f", "g"]),
        (&["~/f"], &["f"]),
        (&["to-f"], &["to-f"]),
        (&["-r", "dir"], &["dir/g", "dir/sub/f"]),
        (&["-r", "dir/"], &["dir/g", "dir/sub/f"]),
        (&["-r", "dir/."], &["g", "sub/f"]),
        (&["-r", "dir/sub/.."], &["g", "sub/f"]),
        (&["-r", "dir/.", "other/."], &["g", "g2", "sub/f"]),
        (&["-r", "to-dir"], &["to-dir"]),
        (&["-r", "to-dir/"], &["to-dir/g", "to-dir/sub/f"]),
        (&["-r", "--links", "follow", "to-dir", "to-f"], &["to-dir/g", "to-dir/sub/f", "to-f"]),
        (&["-r", "--links", "skip", "to-dir", "f"], &["f"]),
        (&["back\\slash"], &["back\\slash"]),
        (&["-r", "--exclude", "sub/", "dir"], &["dir/g"]),
        (&["-r", "--include", "f", "--exclude", "/g", "dir"], &["dir/sub/f"]),
    ] {
        let place = Place::new();
        let arguments = [&["h"][..], sources, &["out"]].concat();
        pull(&fleet, &place, &arguments).exited(0);
        assert_eq!(names(&place.path().join("out/h")), expected, "{sources:?}");
    }
    let place = Place::new();
    pull(&fleet, &place, &["h", &format!("{home}/f"), "out"]).exited(0);
    assert_eq!(names(&place.path().join("out/h")), ["f"]);
}

#[test]
fn patterns_are_matched_over_listings_and_by_no_shell() {
    let paths = ["a1", "a2", "b1", ".a3", "d/x1", "d/y1", "e/x1", "e/x2", "q*", "[z]", "new\nline", "$(touch owned)"];
    let fleet = fleet(&["h"], &paths);
    fs::create_dir(fleet.host("h").home.join("empty")).unwrap();
    for (source, expected) in [
        ("a*", &["a1", "a2"][..]),
        ("a?", &["a1", "a2"]),
        ("[ab]1", &["a1", "b1"]),
        ("[!a]1", &["b1"]),
        (".a*", &[".a3"]),
        ("*/y1", &["y1"]),
        ("[de]/x2", &["x2"]),
        ("./d/*", &["x1", "y1"]),
        ("~/a*", &["a1", "a2"]),
        ("q*", &["q*"]),
        ("[z]", &["[z]"]),
        ("q\\*", &["q*"]),
        ("new*", &["new\nline"]),
        ("$*", &["$(touch owned)"]),
        ("$(touch owned)", &["$(touch owned)"]),
    ] {
        let place = Place::new();
        pull(&fleet, &place, &["h", source, "out"]).exited(0);
        assert_eq!(names(&place.path().join("out/h")), expected, "{source}");
    }
    assert!(fleet.host("h").commands().is_empty());
    for source in ["c*", "*/z", "a1/*", "nothing/*", "[", "empty/*"] {
        let answer = pull(&fleet, &Place::new(), &["h", source, "out"]).exited(1);
        assert!(answer.stderr.contains(&format!("{source}: n")), "{source}: {}", answer.stderr);
    }
    let twice = pull(&fleet, &Place::new(), &["h", "*/x1", "out"]).exited(1);
    twice.told("e/x1: `d/x1` has the same name here");
}

#[test]
fn a_second_pull_moves_nothing_and_a_changed_file_comes_alone() {
    let fleet = fleet(&["h"], &["d/a", "d/b", "d/c"]);
    let place = Place::new();
    pull(&fleet, &place, &["h", "-r", "d", "out"]).is(0, "4 changed (3 B received)\n", "");
    let reads = fleet.host("h").requests_to("read");
    pull(&fleet, &place, &["h", "-r", "d", "out"]).is(0, "0 changed, 4 unchanged\n", "");
    assert_eq!(fleet.host("h").requests_to("read"), reads);
    fs::write(fleet.host("h").home.join("d/b"), "longer").unwrap();
    let later = SystemTime::now() - Duration::from_secs(500);
    fs::File::open(fleet.host("h").home.join("d/c")).unwrap().set_modified(later).unwrap();
    pull(&fleet, &place, &["h", "-r", "d", "out"]).is(0, "2 changed (7 B received), 2 unchanged\n", "");
    assert_eq!(place.read("out/h/d/b"), "longer");
}

#[test]
fn with_checksum_the_content_decides() {
    let fleet = fleet(&["h"], &["d/same", "d/other"]);
    let place = Place::new();
    pull(&fleet, &place, &["h", "-r", "d", "out"]).exited(0);
    let touched = SystemTime::now() - Duration::from_secs(5000);
    for name in ["same", "other"] {
        let path = place.file(&format!("out/h/d/{name}"), name);
        fs::File::open(path).unwrap().set_modified(touched).unwrap();
    }
    let here = fs::metadata(fleet.host("h").home.join("d/other")).unwrap().modified().unwrap();
    let other = place.file("out/h/d/other", "OTHER");
    fs::File::open(other).unwrap().set_modified(here).unwrap();
    pull(&fleet, &place, &["h", "-r", "d", "out"]).is(0, "1 changed (4 B received), 2 unchanged\n", "");
    assert_eq!(place.read("out/h/d/other"), "OTHER");
    pull(&fleet, &place, &["h", "-r", "--checksum", "d", "out"]).is(0, "1 changed (5 B received), 2 unchanged\n", "");
    assert_eq!(place.read("out/h/d/other"), "other");
}

#[test]
fn modes_are_the_hosts_less_the_umask_or_exactly_and_never_the_three_high_bits() {
    let fleet = Fleet::one(Behaviour::default());
    let home = &fleet.hosts()[0].home;
    plant(&home.join("tree"), 7, &[Kind::Modes]);
    for (option, masked) in [(&["-r"][..], 0o027), (&["-r", "-p"], 0)] {
        let place = Place::new();
        let call = Bugle::on(&fleet).at(&place).after("umask 027").arg("pull").args(option);
        call.args(["host", "tree", "out"]).run().exited(0);
        let mut compared = 0;
        for name in names(&home.join("tree")).into_iter().chain(["modes".into()]) {
            let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
            let (there, here) =
                (mode(home.join("tree").join(&name)), mode(place.path().join("out/host/tree").join(&name)));
            assert_eq!(here, there & 0o777 & !masked, "{name} {there:o}");
            compared += usize::from(there > 0o777);
        }
        assert!(compared > 2, "{compared} of them had high bits");
    }
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let fleet = fleet(&["a", "b", "c"], &["d/new", "d/sub/longer", "d/same"]);
    fleet.hosts().iter().for_each(|host| symlink("new", host.home.join("d/link")).unwrap());
    let place = Place::new();
    let told = "+ d/\n+ d/link\n+ d/new (3 B)\n+ d/same (4 B)\n+ d/sub/\n+ d/sub/longer (6 B)\n";
    let told = told.replace("+ d/link", "l d/link → new");
    let all = format!("---------------\na,b,c (3)\n---------------\n{told}");
    let dry = ["all", "--dry-run", "--output", "group", "-r", "d", "out"];
    pull(&fleet, &place, &dry).is(0, &all, "3 hosts in <time>: 3 ok\n");
    assert!(!place.has("out"));
    pull(&fleet, &place, &["all", "-r", "d", "out"]).exited(0);
    fs::remove_file(place.path().join("out/b/d/new")).unwrap();
    place.file("out/b/d/sub/longer", "short");
    fs::remove_file(place.path().join("out/b/d/same")).unwrap();
    fs::create_dir(place.path().join("out/b/d/same")).unwrap();
    let before = contents(&place.path().join("out"));
    let answer = pull(&fleet, &place, &["a,b", "--dry-run", "--output", "stream", "-f", "1", "-r", "d", "out"]);
    let blocked = "there is a directory at `out/b/d/same`, where a file belongs";
    let expected =
        format!("a: nothing to do\nb: + d/new (3 B)\nb: ! d/same ({blocked})\nb: ~ d/sub/longer (size 5 → 6)\n");
    // As the pull itself would.
    let told = format!(
        "b: local.io: d/same: {blocked}\nhint: move it away, or choose another directory\n\
         2 hosts in <time>: 1 ok, 1 failed\n"
    );
    answer.is(1, &expected, &told);
    assert_eq!(contents(&place.path().join("out")), before);
}

#[test]
fn with_sudo_the_server_runs_as_another_user() {
    const SUDO: &str = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";
    let fleet = fleet(&["a", "b"], &["d/f", "g"]);
    if sftp_server().is_none() {
        return;
    }
    for host in fleet.hosts() {
        fs::create_dir(host.home.join("bin")).unwrap();
        fs::write(host.home.join("bin/sudo"), SUDO).unwrap();
        fs::set_permissions(host.home.join("bin/sudo"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let place = Place::new();
    pull(&fleet, &place, &["all", "--sudo", "-r", "d", "./g", "out"]).exited(0);
    assert_eq!(names(&place.path().join("out")), ["a/d/f", "a/g", "b/d/f", "b/g"]);
    for host in fleet.hosts() {
        assert_eq!(host.requests_to("open"), 0, "the server of sshd itself has another user");
        assert!(host.commands().iter().any(|command| command.contains("sudo -n -H -u root")));
    }
}

#[test]
fn a_file_that_may_not_be_read_says_what_to_do() {
    let Some(daemon) = sshd(Sftp::Internal(""), &[]) else { return };
    let secret = daemon.directory().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let Some(daemon) = daemon.for_stranger() else { return };
    let place = Place::new();
    let refused = Bugle::on_daemon(&daemon, ["h"]).at(&place).args(["pull", "h"]).arg(&secret).arg("out").run();
    refused.exited(1).told("permission denied").told("hint: log in as a user who may (-l), or use --sudo");
    assert_eq!(names(&place.path().join("out")), [""; 0]);
}

#[test]
fn a_directory_that_may_not_be_listed_fails_alone() {
    let Some(daemon) = sshd(Sftp::External(""), &[]) else { return };
    let Some(daemon) = daemon.for_stranger() else { return };
    files(&daemon.home, &["d/closed/x", "d/open/y", "d/unreadable", "d/z"]);
    for path in ["d/closed", "d/unreadable"] {
        fs::set_permissions(daemon.home.join(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let place = Place::new();
    let answer = Bugle::on_daemon(&daemon, ["h"]).at(&place).args(["pull", "h", "-r", "d", "out"]).run().exited(1);
    answer.told("d/closed: cannot list the directory: permission denied").told("d/unreadable: permission denied");
    assert_eq!(names(&place.path().join("out/h")), ["d/open/y", "d/z"]);
}

#[test]
fn mistakes_are_told_before_anybody_is_called() {
    let fleet = fleet(&["h"], &["f"]);
    for (arguments, told) in [
        (&["h", "f"][..], "a source and a directory are needed"),
        (&["h", "a/f", "b/f", "out"], "`a/f` and `b/f` have the same name here"),
        (&["h", "", "out"], "a source is empty"),
        (&["h", "f", ""], "the directory to write to is empty"),
        (&["h", "f", "file"], "cannot create `file`"),
        (&["h", "f", "out", "--exclude", "h"], "`--exclude h` leaves files out"),
        (&["h", "-r", "f", "out", "--exclude", "["], "the `[` has no `]`"),
    ] {
        let place = Place::new();
        place.file("file", "");
        let answer = pull(&fleet, &place, arguments).exited(2);
        assert!(answer.stderr.contains(told), "{arguments:?}: {}", answer.stderr);
    }
    assert_eq!(crate::bugle::calls(&fleet), 0);
}

#[test]
fn what_cannot_come_is_told_and_the_rest_comes() {
    let fleet = fleet(&["h"], &["d/f", "x"]);
    let home = &fleet.host("h").home;
    let special = std::process::Command::new("mkfifo").arg(home.join("d/pipe")).status();
    assert!(special.unwrap().success());
    let place = Place::new();
    let answer = pull(&fleet, &place, &["h", "-r", "d", "x", "out"]).exited(0);
    answer.told("1 left out that are no files, such as `d/pipe`");
    let answer = pull(&fleet, &place, &["h", "d", "d/pipe", "nothing", "/proc/cpuinfo", "x", "again"]).exited(1);
    let answer = answer.told("d: it is a directory").told("nothing: no such file or directory");
    answer.told("d/pipe: it is a device, socket or FIFO").told("/proc/cpuinfo: it has content though its size is 0");
    assert_eq!(names(&place.path().join("again/h")), ["x"]);
}

#[test]
fn symlinks_that_lead_back_are_followed_once() {
    let fleet = fleet(&["h"], &["d/e/f"]);
    let home = &fleet.host("h").home;
    symlink("..", home.join("d/e/up")).unwrap();
    symlink(".", home.join("d/here")).unwrap();
    symlink("nowhere", home.join("d/loose")).unwrap();
    let place = Place::new();
    let answer = pull(&fleet, &place, &["h", "-r", "--links", "follow", "d", "out"]).exited(1);
    let answer = answer.told("d/e/up: the symlink leads back to").told("d/here: the symlink leads back to");
    answer.told("d/loose: a symlink that leads nowhere");
    assert_eq!(names(&place.path().join("out/h")), ["d/e/f"]);
}
