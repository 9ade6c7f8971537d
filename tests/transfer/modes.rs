//! Whose the files are, and what may be done with them.

use crate::bugle::Bugle;
use crate::fleet::openssh::{Daemon, login_name};
use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID, Sftp, sftp_server, sshd};
use crate::fleet::{Behaviour, Oddity};
use crate::scene::{Scene, set_time};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A tree with a directory, an empty one, and files.
fn plant(scene: &Scene) {
    let place = scene.place.path();
    for (name, mode) in [("tree/plain", 0o644), ("tree/program", 0o755), ("tree/secret", 0o600), ("tree/odd", 0o4755)] {
        set_mode(&scene.source(name, name), mode);
    }
    fs::create_dir(place.join("tree/empty")).unwrap();
    fs::create_dir(place.join("tree/readonly")).unwrap();
    set_mode(&place.join("tree/empty"), 0o755);
    set_mode(&place.join("tree/readonly"), 0o555);
    set_mode(&place.join("tree"), 0o755);
}

const PATHS: [&str; 7] = ["", "plain", "program", "secret", "odd", "empty", "readonly"];

fn modes(root: &Path) -> [u32; 7] {
    PATHS.map(|path| mode(&root.join(path)))
}

#[test]
fn what_is_new_gets_the_mode_of_its_source_less_the_umask_of_the_host() {
    for (umask, expected) in [
        ("-u 022", [0o755, 0o644, 0o755, 0o600, 0o755, 0o755, 0o555]),
        ("-u 077", [0o700, 0o600, 0o700, 0o600, 0o700, 0o700, 0o500]),
        ("-u 002", [0o755, 0o644, 0o755, 0o600, 0o755, 0o755, 0o555]),
    ] {
        for server in [Sftp::External(umask), Sftp::Internal(umask)] {
            let Some(daemon) = sshd(server, &[]) else { return };
            let scene = Scene::on(daemon);
            plant(&scene);
            scene.push().args(["-r", "tree", "new"]).run().exited(0);
            assert_eq!(modes(&scene.home().join("new")), expected, "{umask}");
            // Directories alone, so that no file tells what the umask is.
            fs::create_dir_all(scene.place.path().join("bare/inside")).unwrap();
            set_mode(&scene.place.path().join("bare/inside"), 0o577);
            set_mode(&scene.place.path().join("bare"), 0o777);
            scene.push().args(["-r", "bare", "bare"]).run().exited(0);
            let mask = u32::from_str_radix(&umask[3..], 8).unwrap();
            assert_eq!(mode(&scene.home().join("bare")), 0o777 & !mask, "{umask}");
            assert_eq!(mode(&scene.home().join("bare/inside")), 0o577 & !mask, "{umask}");
            scene.push().args(["-r", "-p", "tree", "exact"]).run().exited(0);
            assert_eq!(modes(&scene.home().join("exact")), modes(&scene.place.path().join("tree")), "{umask}");
            scene.assert_nothing_left();
        }
    }
}

#[test]
fn the_umask_is_asked_for_where_files_may_be_made() {
    // The destination itself is not the user's, the directory inside it is.
    let Some(daemon) = sshd(Sftp::Internal("-u 027"), &[]).and_then(Daemon::for_stranger) else { return };
    let scene = Scene::on(daemon);
    let (top, inside) = (scene.home().join("top"), scene.home().join("top/site"));
    fs::create_dir_all(&inside).unwrap();
    chown(&inside, Some(STRANGER_ID), Some(STRANGER_ID)).unwrap();
    set_mode(&scene.source("site/new", "new"), 0o666);
    scene.push().args(["-r", "site", "top"]).run().exited(0);
    assert_eq!(mode(&inside.join("new")), 0o640);
    assert_eq!(fs::read_dir(top).unwrap().count(), 1);
}

#[test]
fn what_is_replaced_keeps_its_owner_group_and_mode() {
    let Some(daemon) = sshd(Sftp::External("-u 077"), &[]) else { return };
    let scene = Scene::on(daemon);
    let is_root = login_name() == "root";
    for (number, old) in [0o644, 0o600, 0o4755, 0o2750, 0o666, 0o000, 0o1777].into_iter().enumerate() {
        let name = format!("file{number}");
        let path = scene.old(&name, "old");
        if is_root {
            chown(&path, Some(1234), Some(4321)).unwrap();
        }
        set_mode(&path, old);
        let before = owner(&path);
        scene.source("new", format!("new {number}"));
        scene.push().args(["new", &name]).run().exited(0);
        assert_eq!((mode(&path), owner(&path)), (old, before), "{old:o}");
        // With -p the mode is that of the source.
        scene.source("new", format!("newer {number}"));
        scene.push().args(["-p", "new", &name]).run().exited(0);
        assert_eq!((mode(&path), owner(&path)), (0o644, before), "{old:o}");
    }
    scene.assert_nothing_left();
}

#[test]
fn modes_are_set_as_they_were_asked_for() {
    let scene = Scene::serving([]);
    plant(&scene);
    for (option, directory, file) in
        [("0640", 0o750, 0o640), ("D2755,F0604", 0o2755, 0o604), ("4711", 0o4711, 0o4711), ("F600,D711", 0o711, 0o600)]
    {
        let expected = [directory, file, file, file, file, directory, directory];
        scene.push().args(["-r", "--mode", option, "tree", option]).run().exited(0);
        let copy = scene.home().join(option);
        let found = modes(&copy);
        assert_eq!(found[1..5], expected[1..5], "{option}");
        assert_eq!((found[0], found[5]), (expected[0], expected[5]), "{option}");
        // What stands there with another mode gets this one, and is not sent again.
        set_mode(&copy.join("plain"), 0o777);
        let writes = scene.host().requests_to("write");
        scene.push().args(["-r", "--mode", option, "tree/.", option]).run().exited(0);
        assert_eq!(mode(&copy.join("plain")), file);
        assert_eq!(scene.host().requests_to("write"), writes, "{option}");
    }
}

/// A call with the stand-in for sudo, by which the user of this process becomes herself.
pub(crate) fn with_sudo(scene: &Scene) -> Bugle {
    let sudo = "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -u|-p) shift 2;; --) shift; break;; -*) shift;; *) break;; esac; done\n\
                echo \"$*\" >>\"$HOME/sudo.log\"; exec \"$@\"\n";
    let path = scene.home().join("bin/sudo");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, sudo).unwrap();
    set_mode(&path, 0o755);
    scene.push()
}

#[test]
fn owners_and_groups_are_set_by_name_and_by_number_with_sudo() {
    if login_name() != "root" || sftp_server().is_none() {
        return eprintln!("skipped: not root, or no sftp-server");
    }
    let scene = Scene::serving([]);
    plant(&scene);
    let entry = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap().to_owned();
        line.split(':').nth(2).unwrap().parse::<u32>().unwrap()
    };
    let (nobody, daemon) = (entry("/etc/passwd", "nobody"), entry("/etc/group", "daemon"));
    for (number, (arguments, expected)) in [
        (&["--owner", "nobody", "--group", "daemon"][..], (nobody, daemon)),
        (&["--owner", "1234", "--group", "4321"], (1234, 4321)),
        (&["--group", "daemon"], (0, daemon)),
        (&["--owner", "nobody"], (nobody, 0)),
        (&["--owner", "nobody", "--group", "4321", "--mode", "D2750,F4750"], (nobody, 4321)),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = scene.home().join(format!("copy{number}"));
        let push = || with_sudo(&scene).args(["--sudo", "-r"]).args(arguments).arg("tree/.").arg(&copy).run();
        push().exited(0);
        for path in PATHS {
            assert_eq!(owner(&copy.join(path)), expected, "{arguments:?} {path}");
        }
        if arguments.contains(&"--mode") {
            assert_eq!(mode(&copy.join("plain")), 0o4750, "the owner is set before the mode");
            assert_eq!(mode(&copy.join("empty")), 0o2750);
        }
        // A second push finds nothing to do; what belongs to somebody else is given back and not sent again.
        let unchanged = push().exited(0);
        assert_eq!(unchanged.stdout, "0 changed, 7 unchanged\n", "{arguments:?}");
        chown(copy.join("plain"), Some(77), Some(78)).unwrap();
        let expected_again =
            (if expected.0 == 0 { 77 } else { expected.0 }, if expected.1 == 0 { 78 } else { expected.1 });
        let answer = push().exited(0);
        assert_eq!(answer.stdout, "1 changed, 6 unchanged\n", "{arguments:?}");
        assert_eq!(owner(&copy.join("plain")), expected_again, "{arguments:?}");
        assert!(crate::scene::left(&copy).is_empty());
    }
    assert!(fs::read_to_string(scene.home().join("sudo.log")).unwrap().contains("sftp-server"));
    let answer = with_sudo(&scene).args(["--sudo", "--owner", "no-such-user", "tree/plain", "file"]).run().exited(1);
    answer.told("host: transfer.place: there is no user `no-such-user` on the host\n");
    let answer = with_sudo(&scene).args(["--sudo", "--group", "no-such-group", "tree/plain", "file"]).run().exited(1);
    answer.told("host: transfer.place: there is no group `no-such-group` on the host\n");
    assert!(!scene.home().join("file").exists());
}

#[test]
fn who_may_not_give_files_away_is_told_and_the_old_file_stands() {
    let Some(daemon) = sshd(Sftp::Internal(""), &[]).and_then(Daemon::for_stranger) else { return };
    let scene = Scene::on(daemon);
    scene.source("new", "new");
    let old = scene.old("file", "old");
    chown(&old, Some(0), Some(0)).unwrap();
    let answer = scene.push().args(["new", "file"]).run().exited(1);
    answer.told("cannot keep or set its owner: permission denied; --sudo may");
    assert_eq!(scene.read("file"), b"old");
    assert_eq!(owner(&old), (0, 0));
    let answer = scene.push().args(["--owner", "root", "new", "other"]).run().exited(1);
    answer.told("cannot keep or set its owner: permission denied; --sudo may");
    assert!(!scene.home().join("other").exists());
    // It is known before anything is sent.
    scene.source("large", vec![1; 3_000_000]);
    let answer = scene.push().args(["--owner", "root", "large", "other"]).run().exited(1);
    assert_eq!(answer.stdout, "0 changed, 1 failed\n");
    // Her own, by name.
    scene.push().args(["--owner", STRANGER, "--group", STRANGER, "new", "own"]).run().exited(0);
    assert_eq!(owner(&scene.home().join("own")), (STRANGER_ID, STRANGER_ID));
    scene.assert_nothing_left();
}

#[test]
fn a_shell_in_the_place_of_a_server_makes_files_that_nobody_may_open() {
    let Some(daemon) = sshd(Sftp::Absent, &[]).and_then(Daemon::for_stranger) else { return };
    let scene = Scene::on(daemon);
    scene.source("new", "new");
    let file = scene.home().join("file");
    for bits in ["0", "200"] {
        scene.push().args(["--mode", bits, "new", "file"]).run().exited(0);
        assert_eq!(mode(&file), u32::from_str_radix(bits, 8).unwrap());
        assert_eq!(scene.read("file"), b"new");
        scene.source("new", "another");
        scene.push().args(["--mode", bits, "new", "file"]).run().exited(0);
        assert_eq!((mode(&file), scene.read("file")), (u32::from_str_radix(bits, 8).unwrap(), b"another".to_vec()));
        fs::remove_file(&file).unwrap();
        scene.source("new", "new");
    }
    scene.assert_nothing_left();
}

#[test]
fn without_lsetstat_modes_and_times_are_set_all_the_same() {
    let scene = Scene::of(Behaviour::serving([Oddity::Without("lsetstat"), Oddity::Without("fsync")]));
    plant(&scene);
    set_time(&scene.place.path().join("tree/plain"), 1_000_000_000);
    scene.push().args(["-r", "-p", "tree", "copy"]).run().exited(0);
    assert_eq!(modes(&scene.home().join("copy")), modes(&scene.place.path().join("tree")));
    assert_eq!(fs::metadata(scene.home().join("copy/plain")).unwrap().mtime(), 1_000_000_000);
}
