//! The ways into a host that stay open, whichever account's keys are looked after.

use crate::bugle::Bugle;
use crate::fleet::relay::{Cable, Relay};
use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID};
use crate::host::{Host, facts};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::Duration;

/// A host where one file is read for all users; it holds the key of this run.
fn with_one_file_for_all() -> Option<(Host, std::path::PathBuf)> {
    let host = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/team_keys"])?;
    let file = host.daemon.directory().join("team_keys");
    fs::write(&file, host.read("root")).unwrap();
    Some((host, file))
}

#[test]
fn a_file_that_is_read_for_all_users_keeps_the_way_of_this_run() {
    let Some((host, file)) = with_one_file_for_all() else { return };
    let (before, alice) = (fs::read(&file).unwrap(), host.key("alice").unwrap());
    let from = host.place.file("team.keys", format!("{}\n", alice.line));
    for more in [&[][..], &["--dry-run"]] {
        for whose in [&["--for", STRANGER][..], &["--everywhere"]] {
            let answer = host.keys("revoke").arg("user").args(whose).args(more).run().exited(1);
            answer.told("keys.refused: ").told("would ");
            assert_eq!(fs::read(&file).unwrap(), before, "{whose:?} {more:?}");
        }
        let sync = host.keys("sync").arg("--from").arg(&from).args(["--exclusive", "--for", STRANGER]).args(more);
        sync.run().exited(1).told("keys.refused: ").told("this run would have no way in");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    assert!(host.lets_in("root", &host.daemon.key()));
    // Nothing that is done for another is in the way of what is right.
    fs::write(&file, [&before[..], alice.line.as_bytes(), b"\n"].concat()).unwrap();
    let answer = host.keys("revoke").arg("alice").args(["--for", STRANGER]).run().exited(0);
    assert_eq!(answer.stdout, "stranger: removed: SHA256:<fingerprint> alice\n");
    assert_eq!(fs::read(&file).unwrap(), before);
    // Forty accounts read it, and it is changed once.
    fs::write(&file, [&before[..], alice.line.as_bytes(), b"\n"].concat()).unwrap();
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(0);
    assert_eq!(answer.stdout.matches("removed: ").count(), 1, "{}", answer.stdout);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_rotation_in_a_file_that_is_read_for_all_users_is_refused_by_the_dry_run_too() {
    let Some((host, file)) = with_one_file_for_all() else { return };
    let (before, new) = (fs::read(&file).unwrap(), host.key("new").unwrap());
    let rotate = |more: &[&str]| {
        let rotate = host.keys("rotate").arg("--old").arg(host.daemon.key()).arg("--new").arg(&new.private);
        rotate.args(["--for", STRANGER]).args(more).run()
    };
    rotate(&["--dry-run"]).exited(1).told("keys.refused: ").told("this run would have no way in");
    assert_eq!(fs::read(&file).unwrap(), before);
    rotate(&[]).exited(1).told("keys.refused: ").told("this run would have no way in");
    // Who logs in with the new key may.
    fs::write(&file, &before).unwrap();
    let both = [host.daemon.key(), new.private.clone()].map(|key| format!("IdentityFile={}", key.display()));
    let both = ["-o", &both[0], "-o", &both[1]];
    rotate(&[&both[..], &["--dry-run"]].concat()).exited(0);
    rotate(&both).exited(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", new.line));
}

#[test]
fn another_name_of_the_login_users_account_keeps_the_way_of_this_run() {
    let Some(host) = Host::start() else { return };
    host.account("twin", 0, "home");
    let before = (host.read("root"), facts(&host.file("root")));
    let answer = host.keys("revoke").arg("user").args(["--for", "twin", "--dry-run"]).run().exited(1);
    answer.told("this run would have no way in");
    host.keys("revoke").arg("user").args(["--for", "twin"]).run().exited(1).told("this run would have no way in");
    assert_eq!((host.read("root"), facts(&host.file("root"))), before);
    assert!(host.lets_in("root", &host.daemon.key()));
}

#[test]
fn repairs_are_undone_where_the_trial_fails() {
    let Some(host) = Host::with(&["AllowUsers root"]) else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, "# hers\n");
    let (directory, file) = (host.home(STRANGER).join(".ssh"), host.file(STRANGER));
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    chown(&file, Some(48_250), Some(48_250)).unwrap();
    // A repair is another time of change, and no other time of writing.
    let before = [facts(&directory).2, facts(&file).0, facts(&file).1, facts(&file).2];
    let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER, "--repair"]).run();
    deploy.exited(1).told("keys.rolled_back: ").told("the old file stands again");
    assert_eq!([facts(&directory).2, facts(&file).0, facts(&file).1, facts(&file).2], before);
    assert_eq!(host.text(STRANGER), "# hers\n");
    host.assert_nothing_left(STRANGER);
}

#[test]
fn a_repair_takes_nothing_from_those_who_share_a_directory_of_roots() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    let shared = host.daemon.directory().join("shared");
    fs::create_dir(&shared).unwrap();
    host.account("lodger", 48_241, "shared");
    let deploy =
        |more: &[&str]| host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", "lodger"]).args(more).run();
    for mode in [0o1777, 0o777] {
        fs::set_permissions(&shared, Permissions::from_mode(mode)).unwrap();
        for more in [&[][..], &["--repair"], &["--repair", "--dry-run"]] {
            let answer = deploy(more).exited(1).told("`<daemon>/shared` belongs to root, and others write there");
            assert!(!answer.stderr.contains("--repair does it"), "{}", answer.stderr);
        }
        assert_eq!(facts(&shared).2, mode);
    }
    // What the group may is for sshd to judge.
    chown(&shared, Some(0), Some(48_241)).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o775)).unwrap();
    let answer = deploy(&["--repair"]);
    assert!(!answer.stderr.contains("--repair does it"), "{}", answer.stderr);
    assert_eq!(facts(&shared).2, 0o775);
}

#[test]
fn a_file_with_an_access_control_list_is_not_replaced() {
    let Some(host) = Host::start() else { return };
    let (alice, file) = (host.key("alice").unwrap(), host.file(STRANGER));
    host.write(STRANGER, "# hers\n");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
    // user::rw- user:stranger:r-- group::--- mask::r-- other::---
    let list =
        [(0x01, 6, u32::MAX), (0x02, 4, STRANGER_ID), (0x04, 0, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let entry = |(tag, bits, id): (u16, u16, u32)| format!("{tag},{bits},{id},");
    let program = "import os, struct, sys; words = [int(word) for word in sys.argv[2].split(',') if word]\n\
                   value = struct.pack('<I' + 'HHI' * (len(words) // 3), 2, *words)\n\
                   os.setxattr(sys.argv[1], 'system.posix_acl_access', value)";
    let set =
        std::process::Command::new("python3").args(["-c", program]).arg(&file).arg(list.map(entry).concat()).status();
    if !set.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no access control lists here");
        return;
    }
    let deploy =
        |more: &[&str]| host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER]).args(more).run();
    for more in [&[][..], &["--dry-run"]] {
        let answer = deploy(more).exited(1).told("cannot be replaced: its access control list would be lost");
        answer.told("setfacl -b <daemon>/stranger/.ssh/authorized_keys; chown 48221 ");
    }
    assert_eq!(host.text(STRANGER), "# hers\n");
    // What only is mended is replaced too.
    host.write(STRANGER, format!("{}\n", alice.line));
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    deploy(&["--repair"]).exited(1).told("its access control list would be lost");
    host.keys("list").args(["--for", STRANGER]).run().exited(0);
}

/// Two hosts, `near` and behind it `far`, and what is before the ssh_config: who jumps is the stranger on `near`.
fn two_hosts(
    port_of_near: impl Fn(&Host) -> u16,
    far: impl Fn(Host) -> Host,
) -> Option<(Host, Host, Bugle, std::path::PathBuf)> {
    let (near, far) = (Host::start()?, far(Host::start()?));
    let lab = near.key("lab")?;
    near.write(STRANGER, format!("{}\n", lab.line));
    far.write("root", format!("{}{}\n", far.text("root"), lab.line));
    let known = [near.daemon.known_hosts(), far.daemon.known_hosts()].map(|file| fs::read_to_string(file).unwrap());
    let direct = |port: u16| {
        known[0]
            .lines()
            .map(|line| line.replace(&near.daemon.port.to_string(), &port.to_string()) + "\n")
            .collect::<String>()
    };
    let known = near.place.file("known", direct(port_of_near(&near)) + &known.concat());
    let config = format!(
        "Host near\n  Port {}\n  User root\n  IdentityFile {}\nHost jump\n  Port {}\n  User {STRANGER}\n  IdentityFile {}\n\
         Host far\n  Port {}\n  User root\n  IdentityFile {}\n  ProxyJump jump\nHost *\n  HostName 127.0.0.1\n  \
         IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  BatchMode yes\n",
        port_of_near(&near),
        near.daemon.key().display(),
        near.daemon.port,
        lab.private.display(),
        far.daemon.port,
        far.daemon.key().display(),
        known.display(),
    );
    let config = near.place.file("two", config);
    let lab = lab.private;
    let bugle = Bugle::alone().at(&near.place).arg("-F").arg(config).args(["keys", "revoke", "near,far"]);
    let bugle = bugle.arg(lab.with_extension("pub")).arg("--everywhere");
    Some((near, far, bugle, lab))
}

#[test]
fn who_jumps_over_a_host_of_the_run_keeps_the_way() {
    let Some((near, far, revoke, lab)) = two_hosts(|near| near.daemon.port, |far| far) else { return };
    let answer = revoke.run();
    assert_ne!(answer.code(), 0, "{}", answer.stdout);
    answer.told("without it, the hosts behind `stranger@127.0.0.1:");
    assert!(near.lets_in(STRANGER, &lab));
    drop(far);
}

#[test]
fn the_proof_of_a_host_behind_another_goes_a_way_of_its_own() {
    let relay = std::cell::RefCell::new(None);
    // Nobody can tell that both ports lead to one host.
    let port_of_near = |near: &Host| {
        let mut relay = relay.borrow_mut();
        let line = relay.get_or_insert_with(|| {
            let server = std::net::SocketAddr::from(([127, 0, 0, 1], near.daemon.port));
            Relay::start(server, [Cable::default()])
        });
        line.address.port()
    };
    // The first look at the host behind takes so long that the key is gone from the other when the proof begins, and the
    // connection that it came by is still there.
    let slow = Cable::delayed(Duration::from_millis(200));
    let found = two_hosts(port_of_near, |far| far.behind([Cable::default(), slow, Cable::default()]));
    let Some((near, far, revoke, lab)) = found else { return };
    let before = far.text("root");
    let answer = revoke.run();
    assert_ne!(answer.code(), 0, "{}", answer.stdout);
    assert!(!near.lets_in(STRANGER, &lab));
    assert_eq!(far.text("root"), before, "{}{}", answer.stdout, answer.stderr);
}

#[test]
fn one_user_who_cannot_be_looked_after_does_not_hide_the_others() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, "");
    fs::remove_file(host.file(STRANGER)).unwrap();
    symlink("/etc/passwd", host.file(STRANGER)).unwrap();
    host.account("zoe", STRANGER_ID, "zoe");
    fs::create_dir(host.home("zoe")).unwrap();
    host.write("zoe", format!("{}\n", alice.line));
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(1);
    assert_eq!(answer.stdout, "zoe: removed: SHA256:<fingerprint> alice\nzoe: no key is left\n");
    answer.told("keys.refused: the keys of `stranger`: ").told("by a link");
    assert_eq!(host.text("zoe"), "");
}

#[test]
fn a_user_without_a_home_has_keys_where_sshd_reads_them_elsewhere() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/keys/%u"]) else { return };
    let directory = host.daemon.directory().join("keys");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("root"), host.read("root")).unwrap();
    host.account("ghost", 48_222, "/nonexistent");
    let alice = host.key("alice").unwrap();
    fs::write(directory.join("ghost"), format!("{}\n", alice.line)).unwrap();
    let listed = host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    assert!(listed.stdout.contains("ghost"), "{}", listed.stdout);
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(0);
    assert_eq!(answer.stdout, "ghost: removed: SHA256:<fingerprint> alice\nghost: no key is left\n");
    assert_eq!(fs::read(directory.join("ghost")).unwrap(), b"");
}

#[test]
fn the_last_key_of_an_account_goes_where_that_is_meant() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, format!("# hers\n{}\n", alice.line));
    let revoke = |more: &[&str]| host.keys("revoke").arg("alice").args(more).run();
    for more in [&[][..], &["--dry-run"]] {
        let answer = revoke(&[&["--for", STRANGER], more].concat()).exited(1);
        answer.told("keys.refused: the keys of `stranger`: its last key would go").told("--force");
    }
    assert_eq!(host.text(STRANGER), format!("# hers\n{}\n", alice.line));
    revoke(&["--for", STRANGER, "--force"]).exited(0);
    assert_eq!(host.text(STRANGER), "# hers\n");
    host.write(STRANGER, format!("{}\n", alice.line));
    let everywhere = revoke(&["--everywhere"]).exited(0);
    assert_eq!(everywhere.stdout, "stranger: removed: SHA256:<fingerprint> alice\nstranger: no key is left\n");
    assert_eq!(host.text(STRANGER), "");
}

#[test]
fn what_lets_nobody_in_is_not_the_key_that_is_left() {
    let Some(host) = Host::start() else { return };
    let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
    let from = host.place.file("team.keys", format!("{}\n", bob.line));
    let revoke = |more: &[&str]| host.keys("revoke").args(["alice", "--for", STRANGER]).args(more).run();
    let sync = |options: &str| {
        fs::write(&from, format!("{options} {}\n", bob.line)).unwrap();
        host.keys("sync").arg("--from").arg(&from).args(["--for", STRANGER, "--exclusive"]).run()
    };
    let refused = "keys.refused: the keys of `stranger`: its last key would go but such as have expired, are for certificates, \
                   have `from=` or are ignored by sshd, and no login with those is proved";
    for options in ["expiry-time=\"20200101\"", "cert-authority", "from=\"192.0.2.1\"", "from=\"127.0.0.1\""] {
        let text = format!("{}\n{options} {}\n", alice.line, bob.line);
        host.write(STRANGER, &text);
        revoke(&[]).exited(1).told(refused).told("--force");
        revoke(&["--dry-run"]).exited(1).told(refused);
        match options {
            "expiry-time=\"20200101\"" => {
                sync(options).exited(2).told("team.keys:1: no key logs in with these options")
            }
            _ => sync(options).exited(1).told(refused),
        };
        assert_eq!(host.text(STRANGER), text, "{options}");
        // What shuts nobody out is done.
        host.keys("revoke").args(["bob", "--for", STRANGER]).run().exited(0);
    }
    let text = format!("{}\nfrom=\"127.0.0.1\" {}\n", alice.line, bob.line);
    host.write(STRANGER, &text);
    let identities = [host.daemon.key(), bob.private.clone()].map(|key| format!("IdentityFile={}", key.display()));
    let proved = ["-o", &identities[0], "-o", &identities[1]];
    revoke(&[&proved[..], &["--dry-run"]].concat()).exited(0);
    revoke(&proved).exited(0);
    assert_eq!(host.text(STRANGER), format!("from=\"127.0.0.1\" {}\n", bob.line));
    // Who goes came from the same places, or came no more.
    for options in ["from=\"192.0.2.1\"", "expiry-time=\"20200101\""] {
        host.write(STRANGER, format!("{options} {}\nfrom=\"192.0.2.1\" {}\n", alice.line, bob.line));
        revoke(&[]).exited(0);
    }
    host.write(STRANGER, &text);
    let everywhere = host.keys("revoke").args(["alice", "--everywhere"]).run().exited(0);
    everywhere.said(
        "stranger: removed: SHA256:<fingerprint> alice\n\
         stranger: no key is left but such as have expired, are for certificates, have `from=` or are ignored by sshd\n",
    );
}

#[test]
fn a_key_that_sshd_ignores_is_not_the_one_that_is_left() {
    let refused = "keys.refused: the keys of `stranger`: its last key would go but such as have expired, are for certificates, \
                   have `from=` or are ignored by sshd";
    let places = ["AuthorizedKeysFile .ssh/authorized_keys {}/central"];
    // What all may write, and what the account may not read.
    for (options, file, mode) in
        [(&[][..], "stranger/.ssh/authorized_keys2", 0o666), (&["StrictModes no", places[0]], "central", 0o600)]
    {
        let Some(host) = Host::with(options) else { return };
        let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
        let (one, two) = (format!("{}\n", alice.line), format!("{}\n", bob.line));
        let revoke = |more: &[&str]| host.keys("revoke").args(["alice", "--for", STRANGER]).args(more).run();
        let file = host.daemon.directory().join(file);
        host.write(STRANGER, &one);
        fs::write(&file, &two).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert!(!host.lets_in(STRANGER, &bob.private));
        for more in [&["--dry-run"][..], &[]] {
            revoke(more).exited(1).told(refused);
        }
        assert_eq!(host.text(STRANGER), one);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(host.lets_in(STRANGER, &bob.private));
        revoke(&["--dry-run"]).exited(0);
        fs::remove_file(file).unwrap();
        host.write(STRANGER, format!("{one}frobnicate,restrict {two}"));
        assert!(!host.lets_in(STRANGER, &bob.private));
        revoke(&[]).exited(1).told(refused);
        let list = host.keys("list").args(["--for", STRANGER, "--key", "bob"]).run().exited(0);
        assert!(list.stdout.contains("ignored: unknown option `frobnicate`"), "{}", list.stdout);
        // Nobody loses what he did not have.
        host.write(STRANGER, format!("{one}{two}"));
        fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o666)).unwrap();
        revoke(&[]).exited(0);
        assert_eq!(host.text(STRANGER), two);
    }
}

#[test]
fn options_that_shut_out_the_last_key_of_an_account_are_refused() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    let text = format!("# hers\n{}\n", alice.line);
    host.write(STRANGER, &text);
    let (far, near) = ("from=\"192.0.2.1\"", "from=\"127.0.0.1\"");
    let deploy = |key: &std::path::Path, options: &str, more: &[&str]| {
        let deploy = host.keys("deploy").args(["--for", STRANGER, "--options", options]).arg("--key").arg(key);
        deploy.args(more).run()
    };
    let colleague = alice.of_a_colleague();
    for more in [&["--dry-run"][..], &[]] {
        deploy(&colleague, far, more)
            .exited(1)
            .told("keys.refused: the keys of `stranger`: its last key")
            .told("--force");
    }
    let from = host.place.file("team.keys", format!("{far} {}\n", alice.line));
    let sync = host.keys("sync").arg("--from").arg(&from).args(["--for", STRANGER]).run();
    sync.exited(1).told("its last key would go but such as");
    assert_eq!(host.text(STRANGER), text);
    // Whoever is proved to log in still has a key, and what was so already is no loss.
    let proved = deploy(&alice.private, near, &[]).exited(0);
    proved.said("stranger: options changed: SHA256:<fingerprint> alice (logs in)\n");
    deploy(&colleague, &format!("{near},no-pty"), &[]).exited(0);
    deploy(&colleague, far, &["--force"]).exited(0);
    assert_eq!(host.text(STRANGER), format!("# hers\n{far} {}\n", alice.line));
}

#[test]
fn a_key_that_has_ended_is_not_let_in() {
    let Some(host) = Host::start() else { return };
    let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
    let key = bob.of_a_colleague();
    let deploy =
        |options: &[&str]| host.keys("deploy").args(["--for", STRANGER]).arg("--key").arg(&key).args(options).run();
    host.write(STRANGER, format!("{}\n", alice.line));
    let called = || host.daemon.log().matches("Connection from").count();
    let before = called();
    let answer = deploy(&["--options", "restrict,expiry-time=\"20200101\""]).exited(2);
    answer.told("their `expiry-time` (<date>) has passed").told("bugle keys revoke");
    assert_eq!(called(), before);
    // What may not have passed everywhere is held against the clock of the host.
    let recently =
        std::process::Command::new("date").args(["-d", "2 hours ago", "+expiry-time=\"%Y%m%d%H%M\""]).output();
    let recently = String::from_utf8(recently.unwrap().stdout).unwrap();
    deploy(&["--options", recently.trim()])
        .exited(1)
        .told("keys.refused: ")
        .told("bob would not log in: its `expiry-time`");
    assert_eq!(host.text(STRANGER), format!("{}\n", alice.line));
    // What is there already is told.
    let ended = format!("{}\nexpiry-time=\"20200101\" {}\n", alice.line, bob.line);
    host.write(STRANGER, &ended);
    deploy(&[]).exited(0).told("bob does not log in: its `expiry-time` (<date>) has passed");
    assert_eq!(host.text(STRANGER), ended);
    // Who takes its place would get its end.
    host.write(STRANGER, format!("{ended}{}", host.text("root")));
    let rotate = host.keys("rotate").arg("--old").arg(&bob.private).arg("--new").arg(&host.key("new").unwrap().private);
    rotate.args(["--for", STRANGER]).run().exited(1).told("new would not log in: its `expiry-time`");
    // Another time lets it in again.
    deploy(&["--options", "expiry-time=\"20991231\""]).exited(0);
}

#[test]
fn a_new_key_goes_into_the_first_file_that_can_be_made() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/absent/%u/keys .ssh/authorized_keys"])
    else {
        return;
    };
    let alice = host.key("alice").unwrap();
    let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER]).run().exited(0);
    deploy.said("stranger: added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(host.text(STRANGER), format!("{}\n", alice.line));
}
