//! Large files that are poured into a program of the host: when they are, what arrives, and what happens where it does not.

use crate::bugle::Bugle;
use crate::fleet::openssh::login_name;
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{Sftp, dropbear, sftp_server, sshd};
use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::{Answer as Reply, Behaviour, Cut, Exec, Fleet, Oddity, When};
use crate::scene::{Scene, left, noise, pick, wait};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

/// Large enough, and no multiple of anything.
const LARGE: usize = 4_500_001;

/// How often a host was asked to take a file this way.
fn pours(scene: &Scene) -> usize {
    scene.host().commands().iter().filter(|command| command.contains("cat >&4")).count()
}

/// A program of the test's own, which is found before the host's.
fn program(scene: &Scene, name: &str, script: &str) {
    let path = scene.home().join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_large_file_is_poured_unless_it_is_wanted_otherwise() {
    for (length, options, expected) in [
        (LARGE, &[][..], 1),
        (LARGE, &["--checksum", "--mode", "0640"], 1),
        (LARGE, &["--resume"], 1),
        (LARGE, &["--via", "sftp"], 0),
        (LARGE, &["--limit-rate", "100M"], 0),
        (4_000_000, &[], 0),
    ] {
        let scene = Scene::serving([]);
        scene.source("new", noise(1, length));
        scene.old("file", "old");
        let push = |name| scene.push().args(options).args(["new", name]).run().exited(0).talked("");
        for name in ["file", "other"] {
            push(name);
            assert!(scene.read(name) == noise(1, length), "{options:?}");
        }
        assert_eq!(pours(&scene), 2 * expected, "{length} {options:?}");
        assert_eq!(scene.host().requests_to("write") == 0, expected == 1, "{options:?}");
        assert!(push("file").stdout.starts_with("0 changed"));
        assert_eq!(pours(&scene), 2 * expected, "{options:?}");
        scene.assert_nothing_left();
    }
}

#[test]
fn files_with_any_name_and_mode_are_poured_at_real_servers() {
    let names = [&b"plain"[..], b" two\nlines\n", b"-e \\0101 \\", b"it's \"$HOME\" `id` %s \xff", &[b'n'; 200]];
    let daemons = [
        sshd(Sftp::External(""), &[]),
        sshd(Sftp::Internal("-u 077"), &[]).and_then(|daemon| daemon.for_stranger()),
        dropbear(Sftp::External(""), &[]),
        sshd(Sftp::Absent, &[]),
    ];
    for daemon in daemons.into_iter().flatten() {
        let scene = Scene::on(daemon);
        for (number, name) in (0..).zip(names) {
            let path = scene.place.path().join("tree").join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, noise(number, LARGE)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o540)).unwrap();
        }
        scene.push().args(["-r", "-p", "tree", "."]).run().exited(0);
        for (number, name) in (0..).zip(names) {
            let path = scene.home().join("tree").join(OsStr::from_bytes(name));
            assert!(fs::read(&path).unwrap() == noise(number, LARGE), "{}", name.escape_ascii());
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o540, "{}", name.escape_ascii());
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn a_host_that_takes_none_is_asked_once_and_gets_them_by_sftp() {
    let doubles = [
        Behaviour::executing(Exec::Refused),
        Behaviour::executing(Exec::Answer("This account is for files only.\n")),
        Behaviour { max_sessions: 1, ..Behaviour::default() },
    ];
    let real = [
        sshd(Sftp::Internal(""), &["ForceCommand internal-sftp"]),
        sshd(Sftp::Internal(""), &["SetEnv PATH=/nowhere"]),
    ];
    let doubles = doubles.into_iter().map(|behaviour| (Scene::of(behaviour), true));
    for (scene, is_double) in doubles.chain(real.into_iter().flatten().map(|daemon| (Scene::on(daemon), false))) {
        (0..3).for_each(|number| drop(scene.source(&format!("tree/{number}"), noise(number, LARGE))));
        scene.push().args(["-r", "tree", "."]).run().exited(0).talked("");
        (0..3).for_each(|number| assert!(scene.read(&format!("tree/{number}")) == noise(number, LARGE)));
        assert!(!is_double || pours(&scene) <= 1);
        scene.assert_nothing_left();
    }
}

/// A login shell that shows a menu takes nothing of the file for a choice.
#[test]
fn nothing_is_poured_into_what_does_not_say_that_it_is_ready() {
    let Some(server) = sftp_server() else { return };
    let menu = format!(
        "ForceCommand case $SSH_ORIGINAL_COMMAND in *sftp-server*) exec {} ;; esac; exec cat >>\"$HOME/heard\"",
        server.display()
    );
    let Some(daemon) = sshd(Sftp::External(""), &[&menu]) else { return };
    let scene = Scene::on(daemon);
    scene.source("new", noise(1, LARGE));
    scene.push().args(["new", "file"]).run().exited(0).talked("");
    assert!(scene.read("file") == noise(1, LARGE));
    let heard = scene.read("heard");
    assert!(heard.ends_with(b"\n") && heard.len() < 300, "{}", heard.escape_ascii());
}

#[test]
fn what_is_not_poured_whole_is_sent_by_sftp_or_fails() {
    for (script, code) in [
        ("#!/bin/sh\nhead -c 100000\nexit 3\n", 0),
        ("#!/bin/sh\nhead -c 100000 >/dev/null\nkill -9 $$\n", 0),
        ("#!/bin/sh\nexit 0\n", 0),
        ("#!/bin/sh\nPATH=/usr/bin:/bin\nhead -c 100000\nexec cat >/dev/null\n", 1),
        ("#!/bin/sh\nPATH=/usr/bin:/bin\ncat\necho more\n", 1),
    ] {
        let scene = Scene::serving([]);
        program(&scene, "cat", script);
        scene.source("new", noise(1, LARGE));
        scene.old("file", "old");
        let answer = scene.push().args(["new", "file"]).run().exited(code);
        assert_eq!(pours(&scene), 1);
        match code {
            0 => assert!(scene.read("file") == noise(1, LARGE), "{script}"),
            _ => {
                assert!(answer.stderr.contains("bytes arrived of 4500001: what was there still stands"), "{script}");
                assert_eq!(scene.read("file"), b"old", "{script}");
            }
        }
        scene.assert_nothing_left();
    }
    let scene = Scene::serving([]);
    program(&scene, "cat", "#!/bin/sh\nPATH=/usr/bin:/bin\nexec tr a b\n");
    scene.source("new", noise(1, LARGE));
    scene.push().args(["--checksum", "new", "file"]).run().exited(1).told("has another SHA-256 than the source");
    assert!(!scene.home().join("file").exists());
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    let scene = Scene::serving([]);
    let place = scene.home().join("small");
    fs::create_dir(&place).unwrap();
    let Some(_disk) = Tmpfs::over(&place, 1 << 20) else { return };
    scene.source("new", noise(1, LARGE));
    scene.old("small/file", "old");
    let answer = scene.push().args(["new", "small/file"]).run().exited(1);
    assert!(answer.stderr.contains("its file system is full"), "{}", answer.stderr);
    assert_eq!((scene.read("small/file"), pours(&scene)), (b"old".to_vec(), 1));
    scene.assert_nothing_left();
}

#[test]
fn a_source_that_changes_is_told_and_the_old_file_stands() {
    let scene = Scene::serving([]);
    // It takes the rest when it is told to, of which most cannot have been read before.
    program(&scene, "cat", "#!/bin/sh\nPATH=/usr/bin:/bin\nhead -c 1000000\nread line <\"$HOME/go\"\nexec cat\n");
    assert!(Command::new("mkfifo").arg(scene.home().join("go")).status().unwrap().success());
    scene.source("new", noise(1, 4 * LARGE));
    scene.old("file", "old");
    let running = scene.push().args(["new", "file"]).start();
    wait(scene.host().until("a pour", |counts| counts.most_sessions == 2));
    fs::write(scene.place.path().join("new"), noise(2, 4 * LARGE)).unwrap();
    fs::write(scene.home().join("go"), "\n").unwrap();
    running.wait().exited(1).told("was changed while it was being sent");
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

#[test]
fn with_sudo_it_is_poured_as_the_same_user_as_the_sftp_server_runs_as() {
    if login_name() != "root" || sftp_server().is_none() {
        return eprintln!("skipped: not root, or no sftp-server");
    }
    let scene = Scene::serving([]);
    let sudo = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift\nprintf '[x] ' >&2\nBECAME=yes exec \"$@\"\n";
    program(&scene, "sudo", sudo);
    program(&scene, "cat", "#!/bin/sh\necho \"$BECAME\" >>\"$HOME/became\"\nPATH=/usr/bin:/bin exec cat\n");
    scene.source("new", noise(1, LARGE));
    scene.push().args(["--sudo", "new", "file"]).run().exited(0);
    assert_eq!(scene.read("became"), b"yes\n");
    assert!(scene.read("file") == noise(1, LARGE));
    scene.assert_nothing_left();
}

/// Each host's line breaks at another byte of what is poured.
#[test]
fn a_line_that_breaks_leaves_the_old_file_or_the_new_one() {
    for (how, seed) in [(Cut::Reset, 1), (Cut::Close, 2)] {
        let fleet = Fleet::of((0..8).map(|number| {
            let at = pick(seed * 100 + number, LARGE as u64 + 20_000);
            let cables = vec![Cable::failing(Direction::ToServer, at, Fault::Cut(how)), Cable::default()];
            (format!("h{number}-{at}"), Behaviour { cables, ..Behaviour::serving([]) })
        }));
        let place = crate::bugle::Place::new();
        place.file("new", noise(1, LARGE));
        fleet.hosts().iter().for_each(|host| fs::write(host.home.join("file"), "old").unwrap());
        let push = || Bugle::on(&fleet).at(&place).args(["push", "all", "--retries", "0", "new", "file"]).run();
        push();
        for host in fleet.hosts() {
            let found = fs::read(host.home.join("file")).unwrap();
            assert!(found == b"old" || found == noise(1, LARGE), "{}", host.name);
            wait(host.until("the end of the lost sessions", |counts| counts.sessions == 0));
        }
        push().exited(0);
        for host in fleet.hosts() {
            assert!(fs::read(host.home.join("file")).unwrap() == noise(1, LARGE), "{}", host.name);
            assert_eq!(left(&host.home), <[PathBuf; 0]>::default());
        }
    }
}

#[test]
fn what_was_poured_before_a_break_is_gone_on_with() {
    let half = Cable::failing(Direction::ToServer, 3_000_000, Fault::Cut(Cut::Reset));
    let scene = Scene::of(Behaviour { cables: vec![half, Cable::default()], ..Behaviour::serving([]) });
    scene.source("new", noise(1, LARGE));
    let push = || scene.push().args(["--resume", "--retries", "0", "new", "file"]).run();
    push().exited(3);
    wait(scene.host().until("the end of the lost sessions", |counts| counts.sessions == 0));
    let kept = fs::metadata(&scene.left()[0]).unwrap().len();
    assert!(kept > 2_000_000, "{kept}");
    push().exited(0);
    assert!(scene.read("file") == noise(1, LARGE));
    assert!(scene.fleet().relay("host").traffic().to_server < 3_000_000 + LARGE as u64 - kept + 100_000);
    scene.assert_nothing_left();
}

#[test]
fn a_server_that_refuses_what_follows_leaves_nothing() {
    for kind in ["fsetstat", "fsync", "fstat", "posix-rename"] {
        let scene = Scene::serving([Oddity::Answer(kind, When::From(1), Reply::Status(4, b"no"))]);
        scene.source("new", noise(1, LARGE));
        scene.push().args(["--mode", "0600", "new", "file"]).run().exited(1);
        assert_eq!((scene.home().join("file").exists(), pours(&scene)), (false, 1), "{kind}");
        scene.assert_nothing_left();
    }
}
