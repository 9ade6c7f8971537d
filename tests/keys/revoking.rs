//! `bugle keys revoke`: who goes, and who cannot be made to.

use crate::fleet::sftp_daemon::{STRANGER, Sftp, sshd_told};
use crate::host::{Host, facts};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_key_goes_by_any_of_its_names_and_everything_else_stays() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let own = host.text("root");
    let blob = key.line.split(' ').nth(1).unwrap().to_owned();
    for name in [key.public().display().to_string(), key.private.display().to_string(), "alice".into(), blob] {
        host.write("root", format!("# x\r\n{}\n{own}restrict {} again\nnonsense\n", key.line, key.line));
        fs::write(host.home("root").join(".ssh/authorized_keys2"), format!("{}\n# two", key.line)).unwrap();
        // What has another comment is another matter where the comment says what is meant.
        let all = name != "alice";
        let answer = host.keys("revoke").arg(&name).run().exited(0);
        let last = if all { String::new() } else { format!("restrict {} again\n", key.line) };
        assert_eq!(host.text("root"), format!("# x\r\n{own}{last}nonsense\n"), "{name}");
        assert_eq!(fs::read(host.home("root").join(".ssh/authorized_keys2")).unwrap(), b"# two");
        assert!(answer.stdout.starts_with("removed: SHA256:<fingerprint> alice"), "{}", answer.stdout);
        assert_eq!(host.lets_in("root", &key.private), !all);
    }
    let before = facts(&host.file("root"));
    host.keys("revoke").arg("nobody@nowhere").run().is(0, "not there: nobody@nowhere\n", "");
    assert_eq!(facts(&host.file("root")), before);
}

#[test]
fn the_key_of_this_session_stays_unless_another_way_in_is_proved() {
    let Some(host) = Host::start() else { return };
    let before = (host.read("root"), facts(&host.file("root")));
    let revoke = || host.keys("revoke").arg(host.daemon.key());
    revoke()
        .run()
        .exited(1)
        .told("keys.refused: the keys of `root`: without it, this run would have no way in: ")
        .told("--force");
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
    let other = host.key("other").unwrap();
    host.write("root", format!("{}{}\n", String::from_utf8(before.0.clone()).unwrap(), other.line));
    // A way that lets in and runs nothing is none.
    host.write("root", format!("{}command=\"true\" {}\n", String::from_utf8(before.0.clone()).unwrap(), other.line));
    let both = [host.daemon.key(), other.private.clone()].map(|key| format!("IdentityFile={}", key.display()));
    revoke().args(["-o", &both[0], "-o", &both[1]]).run().exited(1).told("keys.refused");
    host.write("root", format!("{}{}\n", String::from_utf8(before.0).unwrap(), other.line));
    revoke()
        .arg("-I")
        .arg(&other.private)
        .run()
        .exited(0)
        .said("removed: SHA256:<fingerprint> user\nrefused: SHA256:<fingerprint> user\n");
    assert_eq!(host.text("root"), format!("{}\n", other.line));
    let last = host.keys("revoke").arg("other").arg("-I").arg(&other.private).arg("--force").run().exited(0);
    last.said("removed: SHA256:<fingerprint> other\nno key is left\nrefused: SHA256:<fingerprint> other\n");
    assert_eq!(host.text("root"), "");
}

#[test]
fn a_person_who_leaves_goes_from_the_files_of_all_users() {
    let Some(host) = Host::start() else { return };
    let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
    let own = host.text("root");
    host.write("root", format!("{own}{}\n", alice.line));
    host.write(STRANGER, format!("{}\nfrom=\"127.0.0.1\" {}\n", bob.line, alice.line));
    let dry = host.keys("revoke").arg(alice.public()).args(["--everywhere", "--dry-run"]).run().exited(0);
    assert_eq!(dry.stdout.matches("\n- ").count(), 2, "{}", dry.stdout);
    let answer = host.keys("revoke").arg(alice.public()).arg("--everywhere").run();
    answer.exited(0).said(
        "removed: SHA256:<fingerprint> alice\nstranger: removed: SHA256:<fingerprint> alice\n\
         refused: SHA256:<fingerprint> alice\nstranger: refused: SHA256:<fingerprint> alice\n",
    );
    assert_eq!((host.text("root"), host.text(STRANGER)), (own, format!("{}\n", bob.line)));
    let again = host.keys("revoke").arg(alice.public()).arg("--everywhere").run();
    again.exited(0).said("not there in any file\n");
}

#[test]
fn a_dry_run_refuses_what_the_run_would_refuse() {
    let Some(host) = Host::start() else { return };
    let before = (host.read("root"), facts(&host.file("root")));
    let alice = host.key("alice").unwrap();
    let from = host.place.file("team.keys", format!("{}\n", alice.line));
    let revoke = host.keys("revoke").arg(host.daemon.key()).arg("--dry-run").run().exited(1);
    assert!(revoke.stdout.contains("\n- ssh-ed25519 "), "{}", revoke.stdout);
    revoke.told("keys.refused: the keys of `root`: without it, this run would have no way in: ");
    let sync = host.keys("sync").arg("--from").arg(from).args(["--exclusive", "--dry-run"]).run().exited(1);
    sync.told("keys.refused: the keys of `root`: without it, this run would have no way in: ");
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
    host.keys("revoke").arg(host.daemon.key()).args(["--dry-run", "--force"]).run().exited(0);
    // What only a changed file shows is told.
    let own =
        host.keys("deploy").arg("--key").arg(host.daemon.key()).args(["--options", "from=\"192.0.2.1\"", "--dry-run"]);
    own.run().exited(0).told("the options of a key change that may be the way in of this run: only the run proves");
    let other = host.keys("deploy").arg("--key").arg(&alice.private).args(["--options", "restrict", "--dry-run"]).run();
    assert!(!other.exited(0).stderr.contains("only the run proves"));
}

#[test]
fn a_key_that_still_logs_in_is_not_said_to_be_gone() {
    let options = ["AuthorizedKeysCommandUser root", "AuthorizedKeysCommand /bin/cat {}/more"];
    let Some(host) = Host::with(&options) else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let more = host.daemon.directory().join("more");
    host.write("root", format!("{own}{}\n", alice.line));
    fs::write(&more, format!("{}\n", alice.line)).unwrap();
    for _ in 0..2 {
        let answer = host.keys("revoke").arg(alice.public()).run().exited(1);
        answer.told("keys.unproved: the old key SHA256:<fingerprint> alice still logs in");
        assert_eq!(host.text("root"), own);
    }
    fs::write(&more, "").unwrap();
    let answer = host.keys("revoke").arg(alice.public()).run().exited(0);
    assert!(answer.stdout.ends_with("refused: SHA256:<fingerprint> alice\n"), "{}", answer.stdout);
}

#[test]
fn a_file_that_is_a_guess_is_no_success() {
    let options = ["StrictModes no", "Match User stranger", "AuthorizedKeysFile {}/keys/%u", "Match All"];
    let Some(host) = Host::with(&options) else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let directory = host.daemon.directory().join("keys");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(STRANGER), format!("{own}{}\n", alice.line)).unwrap();
    host.write(STRANGER, format!("{own}{}\n", alice.line));
    let as_stranger = |verb: &str| host.keys(verb).args(["-l", STRANGER]);
    let guess = "it is not known which files sshd reads, since only root may ask it";
    as_stranger("revoke")
        .arg(alice.of_a_colleague())
        .run()
        .exited(1)
        .told("keys.unproved: ")
        .told(guess)
        .told("--sudo");
    as_stranger("revoke").arg(alice.public()).run().exited(1).told("keys.unproved: ");
    as_stranger("list").run().exited(0).told(guess);
}

#[test]
fn a_configuration_that_is_closed_to_the_user_makes_a_guess() {
    let Some(host) = Host::start() else { return };
    let (own, alice, place) = (host.text("root"), host.key("alice").unwrap(), host.daemon.directory());
    let (config, at) = (place.join("sshd_config"), place.display());
    // It says one thing.
    let delivered =
        fs::read_to_string(&config).unwrap().replace(&format!("AuthorizedKeysFile {at}/authorized_keys\n"), "");
    for (path, text, mode) in [
        ("open.d/nothing.conf", "X11Forwarding no\n".to_owned(), 0o644),
        ("open.d/no.d/more.conf", format!("Include {at}/root.conf"), 0o644),
        ("root.d/more.conf", String::new(), 0o644),
        ("root.conf", format!("AuthorizedKeysFile {at}/keys/%u\n"), 0o600),
    ] {
        fs::create_dir_all(place.join(path).parent().unwrap()).unwrap();
        fs::write(place.join(path), text).unwrap();
        fs::set_permissions(place.join(path), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(place.join("root.d"), Permissions::from_mode(0o700)).unwrap();
    let guess = "it is not known which files sshd reads, since only root may ask it";
    let as_stranger = |verb: &str| host.keys(verb).args(["-l", STRANGER]);
    let give = || host.write(STRANGER, format!("{own}{}\n", alice.line));
    for (line, is_sure) in [
        (format!("Include {at}/open.d/*.conf {at}/none.d/*"), true),
        (format!("Include {at}/root.conf"), false),
        (format!("Include \"../..{at}/root.conf\""), false),
        (format!("include={at}/open.d/*/*.conf"), false),
        (format!("Include {at}/root.d/*.conf"), false),
        (format!("Include {at}/*.d/more.conf"), false),
        (format!("Include {at}/root.d/nothing"), false),
    ] {
        fs::write(&config, format!("{line}\n{delivered}")).unwrap();
        give();
        let list = as_stranger("list").run().exited(0);
        assert_eq!(list.stderr.contains(guess), !is_sure, "{line}: {}", list.stderr);
        for more in [&["--dry-run"][..], &[]] {
            let answer = as_stranger("revoke").arg(alice.of_a_colleague()).args(more).run();
            assert_eq!(answer.stderr.contains(guess), !is_sure, "{line} {more:?}: {}", answer.stderr);
            answer.exited(u8::from(!is_sure).into());
        }
    }
    // The file itself.
    fs::write(&config, &delivered).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
    give();
    as_stranger("list").run().exited(0).told(guess);
    as_stranger("revoke").arg(alice.of_a_colleague()).run().exited(1).told("keys.unproved: ").told(guess);
}

#[test]
fn what_is_included_counts_in_its_place() {
    let Some(host) = Host::start() else { return };
    let (own, alice, place) = (host.text("root"), host.key("alice").unwrap(), host.daemon.directory());
    let config = place.join("sshd_config");
    let delivered = fs::read_to_string(&config).unwrap();
    // What a Match in it begins ends with it.
    let text = format!("AuthorizedKeysFile {}/keys/%u\nMatch User root\n  X11Forwarding no\n", place.display());
    fs::write(place.join("more.conf"), text).unwrap();
    fs::write(&config, format!("Include {}/more.conf\n{delivered}", place.display())).unwrap();
    fs::create_dir(place.join("keys")).unwrap();
    fs::write(place.join("keys").join(STRANGER), format!("{}\n", alice.line)).unwrap();
    host.write(STRANGER, own);
    let listed = host.keys("list").args(["-l", STRANGER, "--key", "alice"]).run().exited(0);
    assert!(listed.stdout.contains(STRANGER) && listed.stderr.is_empty(), "{}{}", listed.stdout, listed.stderr);
}

#[test]
fn the_options_that_sshd_was_started_with_count() {
    let options = ["StrictModes no", "AuthorizedKeysFile .ssh/authorized_keys"];
    let daemon = sshd_told(Sftp::Absent, &options, &["-o", "AuthorizedKeysFile={}/keys/%u {}/more/%u"]);
    let Some(host) = daemon.and_then(Host::of) else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let directory = host.daemon.directory().join("more");
    fs::create_dir(&directory).unwrap();
    for user in ["root", STRANGER] {
        fs::write(directory.join(user), format!("{own}{}\n", alice.line)).unwrap();
        host.keys("revoke").arg(alice.public()).args(["-l", user]).run().exited(if user == "root" { 0 } else { 1 });
        host.keys("revoke").arg(alice.public()).args(["--for", user]).run().exited(0);
        assert_eq!(fs::read_to_string(directory.join(user)).unwrap(), own, "{user}");
        assert!(!host.lets_in(user, &alice.private));
    }
}
