//! Large files of which the host has an older version, over a slow line: what is sent of them, and that they are right
//! whatever the host says and does.

use crate::bugle::{Answer, Bugle};
use crate::fleet::openssh::{Daemon, find};
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{Sftp, sftp_server, sshd};
use crate::fleet::{Behaviour, Cut};
use crate::modes::with_sudo;
use crate::scene::{Scene, at_once, noise, pick};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// Slow enough for all of this to be worth it.
const SLOW: u64 = 2 << 20;
/// What goes out before a host was understood, and what is sent of a change.
const FEW: u64 = 7 << 20;

/// OpenSSH over a slow line.
fn slow(sftp: Sftp) -> Option<Scene> {
    Some(Scene::on(sshd(sftp, &[])?.behind([Cable::limited(SLOW)])))
}

/// A server without `copy-data` over a slow line.
fn slow_double() -> Scene {
    Scene::of(Behaviour::behind([Cable::limited(SLOW)]))
}

/// What was told to be sent and saved, in bytes.
fn told(answer: &Answer) -> (u64, u64) {
    let lines = answer.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut events = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
    let finished = events.rfind(|event| event["event"] == "transfer_finished").unwrap();
    (finished["bytes"].as_u64().unwrap(), finished["saved"].as_u64().unwrap())
}

/// Pushes `new` over `file` and gives what was sent and saved.
#[track_caller]
fn push(scene: &Scene, new: &[u8], options: &[&str]) -> (u64, u64) {
    scene.source("new", new);
    let answer = scene.push().args(["--output", "json"]).args(options).args(["new", "file"]).run().exited(0);
    assert!(scene.read("file") == new, "{options:?}");
    scene.assert_nothing_left();
    told(&answer)
}

/// The file with something before it, some bytes changed, and some taken out.
fn edited(old: &[u8]) -> Vec<u8> {
    let (middle, end) = (old.len() / 2, old.len() * 3 / 4);
    let mut new = [b"something new in front", &old[..middle], &old[middle + 1000..]].concat();
    new[end..end + 3].fill(b'!');
    new
}

#[test]
fn of_a_changed_file_only_the_changes_are_sent() {
    let old = noise(1, 32 * MIB);
    let new = edited(&old);
    at_once([Sftp::External(""), Sftp::External("-P copy-data"), Sftp::Internal("")], |sftp| {
        let Some(scene) = slow(sftp) else { return };
        scene.old("file", &old);
        let (sent, saved) = push(&scene, &new, &[]);
        assert!(sent < FEW && sent + saved == new.len() as u64, "{sftp:?}: {sent} sent, {saved} saved");
    });
    let scene = slow_double();
    scene.old("file", &old);
    let (sent, saved) = push(&scene, &new, &[]);
    assert!(sent < FEW && sent + saved == new.len() as u64, "{sent} sent, {saved} saved");
    assert!(scene.fleet().relay("host").traffic().to_server < FEW + MIB as u64);
    assert_eq!(scene.host().counts().files.handles, 0);
}

#[test]
fn the_answer_tells_what_was_saved() {
    let scene = slow_double();
    scene.source("new", noise(1, 16 * MIB));
    scene.old("file", noise(1, 16 * MIB));
    let answer = scene.push().args(["new", "file"]).run().exited(0);
    let line = regex::Regex::new(r"^1 changed \(\d\.\d MiB sent, 1\d\.\d MiB saved\)\n$").unwrap();
    assert!(line.is_match(&answer.stdout), "{}", answer.stdout);
}

#[test]
fn files_that_grew_or_shrank_are_as_they_should_be() {
    let long = noise(2, 24 * MIB);
    let short = &long[..12 * MIB + 77];
    at_once([(short, &long[..]), (&long[..], short)], |(old, new)| {
        let scene = slow_double();
        scene.old("file", old);
        let (sent, saved) = push(&scene, new, &[]);
        let most = FEW + (new.len() - short.len()) as u64;
        assert!(sent < most && saved > 6 << 20, "{sent} sent, {saved} saved of {}", new.len());
    });
}

#[test]
fn what_has_nothing_in_common_is_sent_whole() {
    let scene = slow_double();
    scene.old("file", noise(3, 9 * MIB));
    assert_eq!(push(&scene, &noise(4, 9 * MIB), &[]), (9 << 20, 0));
}

#[test]
fn whole_files_are_sent_where_that_is_asked_for_or_small_or_fast() {
    let old = noise(5, 9 * MIB);
    let fast = Scene::serving([]);
    fast.old("file", &old);
    assert_eq!(push(&fast, &old, &[]), (9 << 20, 0));
    at_once([(&old[..], &["-W"][..]), (&old[..7 * MIB], &[])], |(old, options)| {
        let scene = slow_double();
        scene.old("file", old);
        assert_eq!(push(&scene, old, options), (old.len() as u64, 0));
        // It is poured, and nothing sums the old one.
        assert!(scene.host().commands().iter().all(|command| command.contains("cat >&4")));
    });
}

#[test]
fn a_rate_limit_is_as_good_as_a_slow_line() {
    let old = noise(6, 32 * MIB);
    let scene = Scene::serving([]);
    scene.old("file", &old);
    let (sent, saved) = push(&scene, &edited(&old), &["--limit-rate", "4M"]);
    assert!(sent < FEW && saved > 24 << 20, "{sent} sent, {saved} saved");
}

#[test]
fn holes_stay_holes() {
    let scene = slow_double();
    let old = [noise(7, 12 * MIB), vec![0; 16 * MIB], noise(8, 4 * MIB), vec![0; 8 * MIB]].concat();
    scene.old("file", &old);
    let new = scene.source("new", b"");
    let file = fs::File::options().write(true).open(&new).unwrap();
    file.write_all_at(&old[..12 * MIB], 0).unwrap();
    file.write_all_at(&old[28 * MIB..32 * MIB], 28 << 20).unwrap();
    file.set_len(40 << 20).unwrap();
    let answer = scene.push().args(["--output", "json", "new", "file"]).run().exited(0);
    assert!(scene.read("file") == old);
    let (sent, saved) = told(&answer);
    assert!(sent + saved == 16 << 20 && sent < FEW, "{sent} sent, {saved} saved");
    let blocks = |path: PathBuf| fs::metadata(path).unwrap().blocks();
    let there = blocks(scene.home().join("file"));
    assert!(there <= blocks(new) + 64, "{there} blocks there");
}

#[test]
fn the_old_file_is_looked_at_with_the_rights_of_the_server() {
    if sftp_server().is_none() {
        return;
    }
    let (old, scene) = (noise(16, 16 * MIB), slow_double());
    let content = edited(&old);
    scene.source("new", &content);
    scene.old("it's a file", &old);
    let answer = with_sudo(&scene).args(["--sudo", "--output", "json", "new", "it's a file"]).run().exited(0);
    assert!(scene.read("it's a file") == content);
    // How much depends on how soon a busy host has summed it; without its rights it would be nothing.
    assert!(told(&answer).1 > 2 << 20, "{:?}", told(&answer));
    let log = fs::read_to_string(scene.home().join("sudo.log")).unwrap();
    assert!(log.contains("exec /bin/sh") && scene.host().requests_to("write") == 0, "{log}");
}

#[test]
fn hosts_with_the_same_old_file_are_served_alike() {
    let old = noise(9, 24 * MIB);
    let new = edited(&old);
    let behaviour = || Behaviour::behind([Cable::limited(SLOW)]);
    let fleet = crate::fleet::Fleet::of((0..4).map(|number| (format!("h{number}"), behaviour())));
    for host in fleet.hosts() {
        fs::write(host.home.join("file"), &old).unwrap();
    }
    let place = crate::bugle::Place::new();
    place.file("new", &new);
    let answer = Bugle::on(&fleet).at(&place).args(["push", "all", "--output", "json", "new", "file"]).run().exited(0);
    for host in fleet.hosts() {
        assert!(fs::read(host.home.join("file")).unwrap() == new, "{}", host.name);
        assert!(fleet.relay(&host.name).traffic().to_server < FEW + MIB as u64, "{}", host.name);
    }
    assert!(told(&answer).1 > 16 << 20);
}

/// OpenSSH over a line of this rate, whose commands find these programs and no others: by name, what they are a link to or, where
/// that begins with `#!`, what is in them.
fn with_programs(sftp: Sftp, programs: &[(&str, &str)], rate: u64) -> Option<(Scene, TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    for (name, what) in programs {
        let path = folder.path().join(name);
        match what.starts_with("#!") {
            true => {
                fs::write(&path, what).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            }
            false => symlink(what, &path).unwrap(),
        }
    }
    let daemon: Daemon = sshd(sftp, &[&format!("SetEnv PATH={}", folder.path().display())])?;
    Some((Scene::on(daemon.behind([Cable::limited(rate)])), folder))
}

const COREUTILS: [(&str, &str); 3] =
    [("dd", "/usr/bin/dd"), ("head", "/usr/bin/head"), ("sha256sum", "/usr/bin/sha256sum")];

#[test]
fn without_python_whole_blocks_are_compared() {
    let old = noise(10, 24 * MIB);
    let mut new = old.clone();
    new[20 * MIB..20 * MIB + 5].fill(b'!');
    new.extend(b"and more");
    let Some((scene, _programs)) = with_programs(Sftp::External(""), &COREUTILS, SLOW) else { return };
    scene.old("file", &old);
    let (sent, saved) = push(&scene, &new, &[]);
    assert!(sent < FEW && sent + saved == new.len() as u64, "{sent} sent, {saved} saved");
}

#[test]
fn without_anybody_who_copies_or_sums_the_file_is_sent_whole() {
    let old = noise(11, 9 * MIB);
    at_once([(Sftp::External("-P copy-data"), &COREUTILS[..]), (Sftp::External(""), &[])], |(sftp, programs)| {
        let Some((scene, _programs)) = with_programs(sftp, programs, 3 * SLOW) else { return };
        scene.old("file", &old);
        assert_eq!(push(&scene, &old, &[]), (9 << 20, 0), "{sftp:?}");
    });
}

/// Pushes a file over itself to a host with this python3, and gives what was sent and saved.
#[track_caller]
fn push_with(sftp: Sftp, python: &str, rate: u64, content: &[u8]) -> (u64, u64) {
    let programs = [&COREUTILS[..], &[("python3", python)]].concat();
    let (scene, _programs) = with_programs(sftp, &programs, rate).unwrap();
    scene.old("file", content);
    push(&scene, content, &[])
}

/// A python3 that sums what the old file was, after this was done to it: `$7` is the old file, `$8` the new one.
fn python_after(what: &str) -> String {
    format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin; cp \"$7\" \"$7.was\"; {what}\nexec python3 -I -S -c \"$4\" \"$5\" \"$6\" \"$7.was\" \"$8\"\n"
    )
}

#[test]
fn an_old_file_that_changes_meanwhile_is_not_relied_on() {
    if sftp_server().is_none() || find("sshd").is_none() {
        return;
    }
    let old = noise(12, 10 * MIB);
    let cases = [
        ("printf x | dd of=\"$7\" bs=1 seek=9000000 conv=notrunc 2>/dev/null", false),
        ("dd if=/dev/null of=\"$7\" bs=1 seek=9000000 2>/dev/null", false),
        // It is open, so that it does not matter whether its name is still there.
        ("mv \"$7\" \"$7.gone\"", true),
    ];
    at_once(cases, |(what, is_relied_on)| {
        let (sent, saved) = push_with(Sftp::External(""), &python_after(what), SLOW, &old);
        let is_right = if is_relied_on { sent < FEW && saved > 0 } else { sent > old.len() as u64 && saved == 0 };
        assert!(is_right, "{what}: {sent} sent, {saved} saved");
    });
}

#[test]
fn a_host_that_says_nonsense_gets_the_whole_file() {
    if sftp_server().is_none() || find("sshd").is_none() {
        return;
    }
    let old = noise(13, 9 * MIB);
    let pythons = [
        "#!/bin/sh\nexec /usr/bin/yes anywhere\n",
        "#!/bin/sh\nexec /usr/bin/yes nonsense\n",
        "#!/bin/sh\nexec /bin/cat /dev/zero\n",
        "#!/bin/sh\necho anywhere; exec /bin/cat /dev/zero\n",
        "#!/bin/sh\necho some; exec /bin/cat /dev/zero\n",
        "#!/bin/sh\necho anywhere; echo too little\n",
        "#!/bin/sh\nexec /bin/sleep 1000\n",
        "#!/bin/sh\nkill -9 $$\n",
    ];
    at_once(pythons, |python| {
        assert_eq!(push_with(Sftp::External(""), python, 3 * SLOW, &old), (9 << 20, 0), "{python}");
    });
}

#[test]
fn a_copier_that_ends_early_or_lies_does_no_harm() {
    if sftp_server().is_none() || find("sshd").is_none() {
        return;
    }
    let old = noise(14, 9 * MIB);
    // It signs as it should, and then says that all is copied, or goes away.
    at_once(["for line in sys.stdin: out.write(b'.'); out.flush()", "sys.stdin.readline()"], |rest| {
        let python = format!(
            "#!/bin/sh\nprogram=${{4%%for line*}}\nexec /usr/bin/python3 -I -S -c \"${{program}}{rest}\" \"$5\" \"$6\" \"$7\" \"$8\"\n"
        );
        let (sent, saved) = push_with(Sftp::External("-P copy-data"), &python, SLOW, &old);
        assert!(sent > old.len() as u64 && saved == 0, "{rest}: {sent} sent, {saved} saved");
    });
}

#[test]
fn an_interrupted_delta_leaves_the_old_file_and_is_cleared_up_by_the_next() {
    let old = noise(15, 12 * MIB);
    let new = edited(&old);
    at_once(0..6, |number| {
        let (direction, at) = match number % 2 {
            0 => (Direction::ToServer, pick(6000 + number, 4 << 20)),
            _ => (Direction::ToClient, pick(6000 + number, 80_000)),
        };
        let cable = Cable::limited(2 * SLOW).with(
            direction,
            at,
            Fault::Cut(if number % 3 == 0 { Cut::Close } else { Cut::Reset }),
        );
        let sftp = if number % 4 < 2 { "" } else { "-P copy-data" };
        let Some(daemon) = sshd(Sftp::External(sftp), &[]) else { return };
        let scene = Scene::on(daemon.behind([cable, Cable::default()]));
        scene.old("file", &old);
        scene.source("new", &new);
        let cut = scene.push().args(["--retries", "0", "new", "file"]).run();
        assert!(!cut.stderr.contains("panicked"), "{}", cut.stderr);
        let found = scene.read("file");
        assert!(found == old || found == new, "{direction:?} {at}");
        scene.push().args(["new", "file"]).run().exited(0);
        assert!(scene.read("file") == new, "{direction:?} {at}");
        scene.assert_nothing_left();
    });
}
