//! `bugle keys deploy`: what stands on the host afterwards, and who gets in.

use crate::fleet::Cut;
use crate::fleet::openssh::agent;
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID, Sftp, dropbear};
use crate::fleet::tmpfs::Tmpfs;
use crate::host::{Host, facts};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

const FOREIGN: &[u8] =
    b"# mine\r\n\n  \t\nnot a key at all\ncommand=\"not closed ssh-ed25519 AAAA\n\xff\xfe\0binary\r\n";

#[test]
fn a_key_is_added_once_and_the_second_run_writes_nothing() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let before = host.text("root");
    host.keys("deploy").arg("--key").arg(key.public()).run().is(0, "added: SHA256:<fingerprint> alice (logs in)\n", "");
    assert_eq!(host.text("root"), format!("{before}{}\n", key.line));
    assert!(host.lets_in("root", &key.private));
    let after = facts(&host.file("root"));
    host.keys("deploy").arg("--key").arg(&key.private).run().is(
        0,
        "already there: SHA256:<fingerprint> alice (logs in)\n",
        "",
    );
    assert_eq!(facts(&host.file("root")), after);
    host.assert_nothing_left("root");
}

#[test]
fn every_foreign_byte_stays_where_it_is() {
    let Some(host) = Host::start() else { return };
    let (key, own) = (host.key("alice").unwrap(), host.read("root"));
    let before = [FOREIGN, &own[..], b"# no line feed at the end"].concat();
    host.write("root", &before);
    fs::set_permissions(host.file("root"), Permissions::from_mode(0o644)).unwrap();
    host.keys("deploy").arg("--key").arg(key.public()).run().exited(0);
    assert_eq!(host.read("root"), [&before[..], b"\n", key.line.as_bytes(), b"\n"].concat());
    assert_eq!(facts(&host.file("root")).2, 0o644);
    let options = ["--options", "from=\"127.0.0.0/8\",no-agent-forwarding"];
    host.keys("deploy").arg("--key").arg(key.public()).args(options).run().is(
        0,
        "options changed: SHA256:<fingerprint> alice (logs in)\n",
        "",
    );
    let line = format!("\n{} {}\n", options[1], key.line);
    assert_eq!(host.read("root"), [&before[..], line.as_bytes()].concat());
}

/// What is longer than a script should be goes behind it.
#[test]
fn a_long_file_keeps_every_byte_too() {
    let Some(host) = Host::start() else { return };
    let (key, own) = (host.key("alice").unwrap(), host.read("root"));
    for length in [16_000, 17_000, 300_000] {
        let before = [&own[..], FOREIGN, b"# ", &b"%s\\'\xff-\t".repeat(length / 7), b"\n"].concat();
        host.write("root", &before);
        host.keys("deploy").arg("--key").arg(key.public()).run().exited(0);
        assert!(host.read("root") == [&before[..], key.line.as_bytes(), b"\n"].concat(), "{length}");
        host.assert_nothing_left("root");
    }
}

#[test]
fn another_account_gets_a_directory_and_a_file_of_its_own() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    host.keys("deploy").arg("--key").arg(key.public()).args(["--for", STRANGER]).run().is(
        0,
        "stranger: added: SHA256:<fingerprint> alice (logs in)\n",
        "",
    );
    assert_eq!(host.text(STRANGER), format!("{}\n", key.line));
    let (owner, group, mode, ..) = facts(&host.file(STRANGER));
    assert_eq!((owner, group, mode), (STRANGER_ID, STRANGER_ID, 0o600));
    let (owner, group, mode, ..) = facts(&host.home(STRANGER).join(".ssh"));
    assert_eq!((owner, group, mode), (STRANGER_ID, STRANGER_ID, 0o700));
    assert!(host.lets_in(STRANGER, &key.private) && !host.lets_in("root", &key.private));
    host.keys("deploy")
        .arg("--key")
        .arg(key.public())
        .args(["--for", "nobodyatall"])
        .run()
        .exited(1)
        .told("keys.refused: the keys of `nobodyatall`: there is no such account\n");
}

#[test]
fn what_sshd_would_ignore_is_refused_and_mended_on_request() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let directory = host.home(STRANGER).join(".ssh");
    host.write(STRANGER, "# hers\n");
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    chown(host.file(STRANGER), Some(48_250), Some(48_250)).unwrap();
    let deploy = || host.keys("deploy").arg("--key").arg(key.public()).args(["--for", STRANGER]);
    deploy().run().is(
        1,
        "",
        "host: keys.refused: the keys of `stranger`: sshd would ignore the keys (StrictModes) until this is done: \
         chown 48221 <daemon>/stranger/.ssh/authorized_keys; chmod go-w <daemon>/stranger/.ssh\nhint: --repair does it\n",
    );
    assert_eq!(host.text(STRANGER), "# hers\n");
    let mended = deploy().arg("--repair").run();
    mended.exited(0).said(
        "stranger: repaired: chown 48221 <daemon>/stranger/.ssh/authorized_keys\nstranger: repaired: chmod go-w <daemon>/stranger/.ssh\n\
         stranger: added: SHA256:<fingerprint> alice (logs in)\n",
    );
    assert_eq!(facts(&directory).2, 0o755);
    assert!(host.lets_in(STRANGER, &key.private));
}

#[test]
fn who_may_not_write_the_central_file_of_his_keys_is_told_so() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/keys/%u"]) else { return };
    let directory = host.daemon.directory().join("keys");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
    let hers = directory.join(STRANGER);
    fs::write(&hers, format!("{}\n", alice.line)).unwrap();
    fs::set_permissions(&hers, Permissions::from_mode(0o644)).unwrap();
    let before = facts(&hers);
    let alone = |verb: &str| host.keys(verb).args(["-l", STRANGER, "-I"]).arg(&alice.private);
    for look in [&["--dry-run"][..], &[]] {
        let deployed = alone("deploy").arg("--key").arg(bob.public()).args(look).run().exited(1);
        deployed.told("keys/stranger` cannot be replaced: it belongs to user 0, which only --sudo can keep");
        let revoked = alone("revoke").args(["alice", "--force"]).args(look).run().exited(1);
        revoked.told("keys/stranger` cannot be replaced: it belongs to user 0, which only --sudo can keep");
    }
    assert_eq!(facts(&hers), before);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    let listed = alone("list").run().exited(0).stdout;
    assert!(listed.contains("alice") && !listed.contains("bob"), "{listed}");
}

#[test]
fn the_file_is_the_one_that_sshd_reads() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/keys/%u.%U {}/more/%u"]) else { return };
    let directory = host.daemon.directory();
    fs::create_dir(directory.join("keys")).unwrap();
    fs::set_permissions(directory.join("keys"), Permissions::from_mode(0o755)).unwrap();
    let own = directory.join("keys/root.0");
    fs::copy(host.file("root"), &own).unwrap();
    let (unused, before) = (host.read("root"), fs::read_to_string(&own).unwrap());
    let key = host.key("alice").unwrap();
    host.keys("deploy")
        .arg("--key")
        .arg(key.public())
        .run()
        .exited(0)
        .said("added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(fs::read_to_string(&own).unwrap(), format!("{before}{}\n", key.line));
    assert_eq!(host.read("root"), unused);
    host.keys("deploy").arg("--key").arg(key.public()).args(["--for", STRANGER]).run().exited(0);
    let theirs = directory.join("keys").join(format!("stranger.{STRANGER_ID}"));
    assert_eq!(fs::read_to_string(&theirs).unwrap(), format!("{}\n", key.line));
    // What root keeps for users elsewhere is not theirs to edit.
    assert_eq!((facts(&theirs).0, facts(&theirs).1, facts(&theirs).2), (0, 0, 0o644));
    assert!(host.lets_in(STRANGER, &key.private));
    // A key is there in whichever file it is.
    fs::create_dir(directory.join("more")).unwrap();
    let other = host.key("bob").unwrap();
    fs::write(directory.join("more/root"), format!("{}\n", other.line)).unwrap();
    host.keys("deploy")
        .arg("--key")
        .arg(other.public())
        .run()
        .exited(0)
        .said("already there: SHA256:<fingerprint> bob (logs in)\n");
}

#[test]
fn a_host_without_files_of_keys_is_refused() {
    let Some(host) = Host::with(&["Match User stranger", "AuthorizedKeysFile none", "Match All"]) else { return };
    let key = host.key("alice").unwrap();
    let answer = host.keys("deploy").arg("--key").arg(key.public()).args(["--for", STRANGER]).run();
    answer.exited(1).told("keys.refused: the keys of `stranger`: sshd reads no keys from files");
}

#[test]
fn a_key_that_does_not_log_in_is_taken_back_with_all_that_was_made() {
    let Some(host) = Host::with(&["AllowUsers root"]) else { return };
    let key = host.key("alice").unwrap();
    let deploy = || host.keys("deploy").arg("--key").arg(key.public());
    let answer = deploy().args(["--for", STRANGER]).run().exited(1);
    assert!(answer.stdout.is_empty());
    answer
        .told("host: keys.rolled_back: SHA256:<fingerprint> alice does not log in: ")
        .told("the old file stands again");
    assert!(!host.home(STRANGER).join(".ssh").exists());

    host.write(STRANGER, "# hers\n");
    let before = facts(&host.file(STRANGER));
    deploy().args(["--for", STRANGER]).run().exited(1).told("keys.rolled_back");
    assert_eq!((host.text(STRANGER).as_str(), facts(&host.file(STRANGER))), ("# hers\n", before));
    host.assert_nothing_left(STRANGER);

    let before = (host.read("root"), facts(&host.file("root")));
    deploy().args(["--options", "from=\"192.0.2.0/24\""]).run().exited(1).told("keys.rolled_back");
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
}

#[test]
fn a_command_in_front_of_our_own_key_does_not_shut_us_out() {
    let Some(host) = Host::start() else { return };
    let before = (host.read("root"), facts(&host.file("root")));
    let own = host.daemon.key();
    let answer = host.keys("deploy").arg("--key").arg(own).args(["--options", "command=\"echo \\\"no\\\"\""]).run();
    answer.exited(1).told("keys.rolled_back: after it, there is no way in for this run: ");
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
    host.keys("deploy").arg("--key").arg(host.daemon.key()).run().exited(0);
}

#[test]
fn a_key_whose_private_half_is_elsewhere_is_added_and_said_to_be_unproved() {
    let Some(host) = Host::start() else { return };
    let key = host.key("bob").unwrap();
    host.keys("deploy").arg("--key").arg(key.of_a_colleague()).run().is(
        0,
        "added: SHA256:<fingerprint> bob (not proved: the private half is not here)\n",
        "",
    );
    assert!(host.lets_in("root", &key.private));
}

#[test]
fn a_dry_run_shows_the_lines_and_writes_nothing() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let before = (host.read("root"), facts(&host.file("root")));
    let answer = host.keys("deploy").arg("--key").arg(key.public()).args(["--dry-run", "--options", "restrict"]).run();
    let answer = answer.exited(0);
    assert!(
        answer.stdout.ends_with(&format!("/home/.ssh/authorized_keys\n+ restrict {}\n", key.line)),
        "{}",
        answer.stdout
    );
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
}

#[test]
fn root_follows_no_link_of_a_user() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let secret = host.place.file("secret", "root's own\n");
    host.write(STRANGER, "");
    fs::remove_file(host.file(STRANGER)).unwrap();
    symlink(&secret, host.file(STRANGER)).unwrap();
    let deploy = || host.keys("deploy").arg("--key").arg(key.public()).args(["--for", STRANGER]).run();
    deploy().exited(1).told("by a link, which root does not follow");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "root's own\n");
}

#[test]
fn a_full_or_read_only_disk_leaves_the_old_file_whole() {
    let Some(disk) = Tmpfs::new(2 * 4096) else { return };
    let place = format!("AuthorizedKeysFile {}/%u", disk.path().display());
    let Some(host) = Host::with(&["StrictModes no", &place]) else { return };
    let (key, own) = (host.key("alice").unwrap(), disk.path().join("root"));
    fs::copy(host.file("root"), &own).unwrap();
    fs::write(disk.path().join("filler"), [0; 4096]).unwrap();
    let before = (fs::read(&own).unwrap(), facts(&own));
    let deploy = || host.keys("deploy").arg("--key").arg(key.public()).run();
    deploy().exited(1).told("keys.refused: the keys of `root`: ").told("No space left on device");
    fs::remove_file(disk.path().join("filler")).unwrap();
    let remount = |how: &str| {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk.path()).status().unwrap();
        assert!(mounted.success());
    };
    remount("ro");
    deploy().exited(1).told("Read-only file system");
    assert_eq!((fs::read(&own).unwrap(), facts(&own)), before);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
    remount("rw");
    deploy().exited(0);
}

#[test]
fn a_controller_that_is_killed_before_the_proof_leaves_the_old_file() {
    let Some(host) = Host::start() else { return };
    // The second connection, which proves the key, hears nothing.
    let host = host.behind([Cable::default(), Cable::failing(Direction::ToClient, 0, Fault::Cut(Cut::Freeze))]);
    let key = host.key("alice").unwrap();
    let before = (host.read("root"), facts(&host.file("root")));
    let running = host.keys("deploy").arg("--key").arg(key.public()).start();
    let relay = host.daemon.relay.as_ref().unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let started = std::time::Instant::now();
        while !is_so() {
            assert!(started.elapsed() < crate::bugle::PATIENCE, "{what}");
            std::thread::yield_now();
        }
    };
    until("the second login begins", &|| relay.traffic().connections == 2);
    assert!(host.text("root").ends_with(&format!("{}\n", key.line)), "the key is on trial");
    let rooms = fs::read_dir(host.home("root").join(".ssh")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = rooms.map(|room| room.join("old/authorized_keys")).filter(|old| old.exists()).collect();
    assert_eq!(kept.len(), 1, "the old file is beside it");
    assert_eq!(fs::read(&kept[0]).unwrap(), before.0);
    running.signal(Signal::KILL);
    until("the host puts the old file back", &|| host.read("root") == before.0);
    assert_eq!(facts(&host.file("root")), before.1);
    until("nothing is left of the trial", &|| {
        let names = fs::read_dir(host.home("root").join(".ssh")).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".bugle")).count() == 0
    });
}

#[test]
fn dropbear_reads_the_file_that_was_written() {
    let Some(daemon) = dropbear(Sftp::Absent, &[]) else { return };
    let Some(host) = Host::of(daemon) else { return };
    let key = host.key("alice").unwrap();
    for user in ["root", STRANGER] {
        let answer = host.keys("deploy").arg("--key").arg(key.public()).args(["--for", user]).run().exited(0);
        assert!(answer.stdout.ends_with("added: SHA256:<fingerprint> alice (logs in)\n"), "{}", answer.stdout);
        assert!(host.lets_in(user, &key.private));
    }
}

#[test]
fn without_a_named_key_the_agents_keys_are_meant_else_the_newest_of_ones_own() {
    let Some(host) = Host::start() else { return };
    let Some(agent) = agent() else { return };
    host.keys("deploy").run().exited(2).told("there is no key to roll out");
    let (one, two) = (host.key("one").unwrap(), host.key("two").unwrap());
    for (name, key, age) in [("id_old", &two, 3600), ("id_new", &one, 60)] {
        let path = host.place.file(&format!(".ssh/{name}"), fs::read(&key.private).unwrap());
        let public = path.with_extension("pub");
        fs::copy(key.public(), &public).unwrap();
        let file = fs::File::options().write(true).open(&public).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    host.keys("deploy").run().exited(0).said("added: SHA256:<fingerprint> one (logs in)\n");
    let socket = format!("IdentityAgent={}", agent.socket.display());
    let deploy = || host.keys("deploy").args(["-o", &socket]).run().exited(0);
    deploy().said("already there: SHA256:<fingerprint> one (logs in)\n");
    agent.add(&two.private);
    deploy().said("added: SHA256:<fingerprint> two (logs in)\n");
    // The agent proves what no file here could.
    let old = host.daemon.key();
    let rotate = host.keys("rotate").args(["-o", &socket, "--old", "one", "--new"]).arg(two.of_a_colleague()).run();
    rotate.exited(0).said("already there: SHA256:<fingerprint> two (logs in)\nremoved: SHA256:<fingerprint> one\n");
    assert!(host.lets_in("root", &old) && !host.lets_in("root", &one.private));
}

#[test]
fn who_is_not_root_looks_after_his_own_keys_only() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    host.write(STRANGER, host.read("root"));
    let as_stranger = |verb: &str| host.keys(verb).args(["-l", STRANGER]);
    let told =
        "only root may look after the keys of another account\nhint: --sudo looks after the keys of other accounts";
    let everywhere = as_stranger("revoke").arg(key.public()).arg("--everywhere").run();
    everywhere.exited(1).told("keys.refused").told(told);
    as_stranger("list").arg("--everywhere").run().exited(1).told(told);
    as_stranger("deploy").arg("--key").arg(key.public()).args(["--for", "root"]).run().exited(1).told(told);
    let own = as_stranger("deploy").arg("--key").arg(key.public()).run().exited(0);
    own.said("added: SHA256:<fingerprint> alice (logs in)\n");
    assert!(host.lets_in(STRANGER, &key.private));
}

#[test]
fn a_place_of_keys_that_is_roots_is_told_with_what_opens_it() {
    let Some(host) = Host::start() else { return };
    host.write(STRANGER, host.read("root"));
    let directory = host.home(STRANGER).join(".ssh");
    chown(&directory, Some(0), Some(0)).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let key = host.key("alice").unwrap();
    let answer = host.keys("deploy").args(["-l", STRANGER]).arg("--key").arg(key.public()).run().exited(1);
    answer.told(
        "host: keys.refused: the keys of `stranger`: cannot write in <daemon>/stranger/.ssh: Permission denied\n\
         hint: --sudo looks after it as root\n",
    );
    assert_eq!(host.read(STRANGER), host.read("root"));
}

#[test]
fn one_account_that_cannot_be_looked_after_does_not_keep_a_person_in_all_the_others() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let own = host.text("root");
    host.write(STRANGER, format!("{}\n", key.line));
    let file = host.file("root");
    fs::write(&file, format!("{own}{}\n", key.line)).unwrap();
    // A link that root does not follow, in a home that comes before hers.
    let passwd = host.daemon.directory().join("passwd");
    let home = host.daemon.directory().join("first");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    symlink("/etc/hostname", home.join(".ssh/authorized_keys")).unwrap();
    let text = fs::read_to_string(&passwd).unwrap();
    fs::write(&passwd, format!("first:x:48300:48300::{}:/bin/sh\n{text}", home.display())).unwrap();
    let answer = host.keys("revoke").arg(key.public()).arg("--everywhere").run().exited(1);
    answer.told("keys.refused: the keys of `first`: ").told("by a link, which root does not follow");
    assert_eq!((host.text("root"), host.text(STRANGER)), (own, String::new()));
}
