//! `UpdateHostKeys`: keys that a known host announces are learnt and deprecated ones forgotten, as ssh does it.

use crate::bugle::{Answer, Bugle, Place, ssh_config};
use crate::fleet::keys;
use crate::fleet::openssh::{Daemon, find};
use crate::learning::{public_keys, server_with_all_types};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn some_key() -> String {
    let line = keys::line(keys::generate("").public_key());
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The ed25519 key of the server.
fn known_key(sshd: &Daemon) -> String {
    public_keys(sshd).into_iter().find(|key| key.starts_with("ssh-ed25519")).expect("it has one")
}

/// The configuration for a file of the test's own, with more lines before it.
fn config(sshd: &Daemon, place: &Place, lines: &str) -> PathBuf {
    let own = format!("{lines}UserKnownHostsFile {}/kh\n", place.path().display());
    place.file("config", own + &format!("Port {}\n", sshd.port) + &ssh_config(sshd))
}

pub fn run(sshd: &Daemon, place: &Place, lines: &str) -> Answer {
    let config = config(sshd, place, lines);
    Bugle::alone()
        .at(place)
        .arg("-F")
        .arg(config)
        .args(["-v", "run", "127.0.0.1", "--output", "none", "true"])
        .run()
        .exited(0)
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn announced_keys_are_proved_and_learnt_and_deprecated_ones_forgotten_as_ssh_does() {
    let Some(sshd) = server_with_all_types() else { return };
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let former = format!("# mine\n{name} {}\nother {}\n{name} {}\n", some_key(), some_key(), known_key(&sshd));
    let (ours, theirs) = (Place::new(), Place::new());
    ours.file("kh", &former);
    theirs.file("kh", &former);
    let answer = run(&sshd, &ours, "UpdateHostKeys yes\n");
    answer.told("UpdateHostKeys: 2 host keys added, 1 removed in <home>/kh\n");
    let text = ours.read("kh");
    let expected: BTreeSet<String> = public_keys(&sshd).into_iter().map(|key| format!("{name} {key}")).collect();
    assert!(lines(&text).is_superset(&expected), "{text}");
    assert!(text.starts_with("# mine\nother ") && text.lines().count() == 5, "{text}");
    assert_eq!(ours.read("kh.old"), former);
    let again = run(&sshd, &ours, "UpdateHostKeys yes\n");
    assert!(!again.stderr.contains("UpdateHostKeys"), "{}", again.stderr);
    assert_eq!(ours.read("kh"), text);
    let Some(ssh) = find("ssh") else { return };
    let config = config(&sshd, &theirs, "UpdateHostKeys yes\n");
    let output = Command::new(ssh).arg("-F").arg(config).args(["127.0.0.1", "sleep 1"]).output().expect("it was found");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&text), lines(&theirs.read("kh")), "ssh leaves other lines");
}

#[test]
fn keys_are_hashed_where_that_is_configured() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    place.file("kh", format!("[127.0.0.1]:{} {}\n", sshd.port, known_key(&sshd)));
    run(&sshd, &place, "UpdateHostKeys yes\nHashKnownHosts yes\n").told("2 host keys added, 0 removed");
    let text = place.read("kh");
    assert_eq!(text.lines().filter(|line| line.starts_with("|1|")).count(), 2, "{text}");
}

#[test]
fn nothing_is_learnt_where_it_is_not_wanted_or_the_host_is_not_simply_known() {
    let Some(sshd) = server_with_all_types() else { return };
    let (name, key) = (format!("[127.0.0.1]:{}", sshd.port), known_key(&sshd));
    let simple = format!("{name} {key}\n");
    let shared = format!("{name} {key}\nother {key}\n");
    let listed = format!("{name},other {key}\n");
    for (why, options, text) in [
        ("the file is not the usual one, and nothing is configured", "", &simple),
        ("it is switched off", "UpdateHostKeys no\n", &simple),
        ("nobody is asked", "UpdateHostKeys ask\n", &simple),
        ("the key stands under another name", "UpdateHostKeys yes\n", &shared),
        ("the line has two names", "UpdateHostKeys yes\n", &listed),
    ] {
        let place = Place::new();
        place.file("kh", text);
        let answer = run(&sshd, &place, options);
        assert_eq!(&place.read("kh"), text, "{why}");
        if options.contains("ask") {
            answer.told("UpdateHostKeys is left out: nobody is asked in the middle of a run; `yes` learns the keys\n");
        }
    }
    // What a file of the system knows is the system's affair.
    let place = Place::new();
    place.file("kh", "");
    let global = place.file("global", &simple);
    let options = format!("UpdateHostKeys yes\nGlobalKnownHostsFile {}\n", global.display());
    run(&sshd, &place, &options);
    assert_eq!((place.read("kh"), place.read("global")), (String::new(), simple));
}

#[test]
fn a_revoked_key_that_is_announced_is_not_learnt() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    let simple = format!("[127.0.0.1]:{} {}\n", sshd.port, known_key(&sshd));
    place.file("kh", &simple);
    let rsa = public_keys(&sshd).into_iter().find(|key| key.starts_with("ssh-rsa")).expect("it has one");
    let revoked = place.file("revoked", rsa + "\n");
    let options = format!("UpdateHostKeys yes\nRevokedHostKeys {}\n", revoked.display());
    run(&sshd, &place, &options).told("1 host key added, 0 removed");
    assert!(!place.read("kh").contains("ssh-rsa"));
}
