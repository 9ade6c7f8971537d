//! The first rollout: nobody has a key yet, and passwords open the doors and sudo.

use crate::bugle::{Bugle, Place};
use crate::fleet::openssh::{Daemon, find};
use crate::fleet::sftp_daemon::{STRANGER, STRANGERS_PASSWORD};
use crate::host::{Host, facts};
use std::fmt::Write as _;
use std::fs;
use std::thread;

const PASSWORDS: &str = "PasswordAuthentication yes";
/// No key is offered.
const BY_PASSWORD: [&str; 6] = ["-l", STRANGER, "-o", "IdentityFile=none", "-o", "PreferredAuthentications=password"];

/// Real servers, each with files and accounts of its own.
fn fleet(count: usize) -> Option<Vec<Host>> {
    let started: Vec<Option<Daemon>> = thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(|| crate::host::daemon(&[PASSWORDS]))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    started.into_iter().map(|daemon| Host::of(daemon?)).collect()
}

/// A call of all of them, h01, h02 and so on, with these variables of the inventory.
fn bugle(hosts: &[Host], place: &Place, variables: &str) -> Bugle {
    let (mut inventory, mut known_hosts) = (String::new(), String::new());
    for (number, host) in (1..).zip(hosts) {
        writeln!(inventory, "h{number:02} ansible_host=127.0.0.1 ansible_port={}", host.daemon.port).unwrap();
        known_hosts += &fs::read_to_string(host.daemon.known_hosts()).unwrap();
    }
    let known_hosts = place.file("known_hosts", known_hosts);
    let config = format!(
        "Host *\n  IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  BatchMode yes\n",
        known_hosts.display()
    );
    let config = place.file("ssh_config", config);
    let inventory = place.file("inventory.ini", format!("{inventory}{variables}"));
    Bugle::alone().at(place).arg("-i").arg(inventory).arg("-F").arg(config)
}

#[test]
fn twenty_hosts_that_know_only_a_password_get_a_key_that_logs_in() {
    let Some(hosts) = fleet(20) else { return };
    let (place, key) = (Place::new(), hosts[0].key("alice").unwrap());
    let deploy = || {
        let call = bugle(&hosts, &place, "").args(["keys", "deploy", "all"]).args(BY_PASSWORD);
        call.arg("--key").arg(&key.private).args(["--pass-fd", "3"]).descriptor(3, &format!("{STRANGERS_PASSWORD}\n"))
    };
    let answer = deploy().args(["--output", "group"]).run().exited(0);
    assert!(answer.stdout.contains("h[01-20] (20): changed\n"), "{}", answer.stdout);
    assert!(answer.stdout.ends_with("added: SHA256:<fingerprint> alice (logs in)\n"), "{}", answer.stdout);
    let written: Vec<_> = hosts.iter().map(|host| facts(&host.file(STRANGER))).collect();
    for host in &hosts {
        assert_eq!(host.text(STRANGER), format!("{}\n", key.line));
    }
    assert!(hosts[0].lets_in(STRANGER, &key.private) && hosts[19].lets_in(STRANGER, &key.private));
    deploy().run().exited(0).told("20 hosts in <time>: 20 ok\n");
    assert_eq!(hosts.iter().map(|host| facts(&host.file(STRANGER))).collect::<Vec<_>>(), written);
}

#[test]
fn each_host_may_have_its_own_password_in_the_inventory_and_a_wrong_one_stops_no_other() {
    let Some(hosts) = fleet(2) else { return };
    let (place, key) = (Place::new(), hosts[0].key("alice").unwrap());
    let variables = format!("h01 ansible_password='{STRANGERS_PASSWORD}'\nh02 ansible_password=wrong\n");
    let call = bugle(&hosts, &place, &variables).args(["keys", "deploy", "all"]).args(BY_PASSWORD);
    let answer = call.arg("--key").arg(&key.private).run().exited(3);
    answer.told("h02: auth.refused: ").told("the password was refused").told("1 changed, 1 unreachable");
    assert_eq!(hosts[0].text(STRANGER), format!("{}\n", key.line));
    assert!(!hosts[1].home(STRANGER).join(".ssh").exists());
}

#[test]
fn keys_of_others_are_deployed_through_sudo_with_a_password_and_without() {
    let Some(host) = Host::with(&[PASSWORDS]) else { return };
    if find("sudo").is_none() {
        return;
    }
    let (key, own) = (host.key("alice").unwrap(), host.text("root"));
    let deploy = || {
        let call = host.keys("deploy").args(BY_PASSWORD).args(["--pass-fd", "3", "--sudo", "--for", "root", "--key"]);
        call.arg(&key.private).descriptor(3, &format!("{STRANGERS_PASSWORD}\n"))
    };
    deploy()
        .args(["--sudo-pass-fd", "4"])
        .descriptor(4, "open sesame\n")
        .run()
        .exited(1)
        .told("not in the sudoers file");
    host.allow(&format!("{STRANGER} ALL=(ALL:ALL) ALL"));
    deploy().run().exited(1).told("sudo.password: sudo needs a password\n");
    deploy().args(["--sudo-pass-fd", "4"]).descriptor(4, "wrong\n").run().exited(1).told("wrong password for sudo");
    assert_eq!(host.text("root"), own);
    let answer = deploy().args(["--sudo-pass-fd", "4"]).descriptor(4, "open sesame\n").run().exited(0);
    answer.said("root: added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(host.text("root"), format!("{own}{}\n", key.line));
    assert_eq!((facts(&host.file("root")).0, facts(&host.file("root")).2), (0, 0o600));

    host.allow(&format!("{STRANGER} ALL=(ALL:ALL) NOPASSWD: ALL"));
    host.write("root", &own);
    deploy().run().exited(0).said("root: added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(host.text("root"), format!("{own}{}\n", key.line));
    // As herself, through sudo: the file is hers afterwards.
    let call = host.keys("deploy").args(BY_PASSWORD).args(["--pass-fd", "3", "--sudo", "--key"]).arg(&key.private);
    call.descriptor(3, "open sesame\n").run().exited(0).said("added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(facts(&host.file(STRANGER)).0, crate::fleet::sftp_daemon::STRANGER_ID);
}

#[test]
fn where_sshd_asks_for_more_than_a_key_a_key_that_it_accepts_is_proved() {
    let Some(host) = Host::with(&[PASSWORDS, "AuthenticationMethods publickey,password"]) else { return };
    let (old, new) = (host.key("old").unwrap(), host.key("new").unwrap());
    host.write(STRANGER, format!("{}\n", old.line));
    let keys = |verb: &str| {
        let call = host.keys(verb).args(["-l", STRANGER, "--pass-fd", "3"]).arg("-I").arg(&old.private);
        call.descriptor(3, &format!("{STRANGERS_PASSWORD}\n"))
    };
    let answer = keys("deploy").arg("--key").arg(&new.private).run().exited(0);
    answer.said("added: SHA256:<fingerprint> new (accepted; sshd asks for more than a key)\n");
    // A key that it does not accept is not one, whatever more is asked for.
    let answer = keys("deploy").arg("--key").arg(host.daemon.key()).args(["--options", "from=\"192.0.2.0/24\""]).run();
    answer.exited(1).told("keys.rolled_back").told("PermitRootLogin, AuthenticationMethods");
    let rotated = keys("rotate").arg("--old").arg(&old.private).arg("--new").arg(&new.private).run().exited(0);
    assert!(rotated.stdout.ends_with("refused: SHA256:<fingerprint> old\n"), "{}", rotated.stdout);
    assert_eq!(host.text(STRANGER), format!("{}\n", new.line));
}
