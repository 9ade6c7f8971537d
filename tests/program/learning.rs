//! `bugle known-hosts learn` and `check`: the keys that hosts show, beside those that are known.

use crate::bugle::{Bugle, Place, calls, ssh_config};
use crate::fleet::openssh::{Daemon, find, keygen, sshd_prepared};
use crate::fleet::{Behaviour, Fleet, HostKey, Reception, keys, pattern};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// An sshd with a key of each type.
pub fn server_with_all_types() -> Option<Daemon> {
    let make = |directory: &Path| {
        for (name, arguments) in [("rsa", ["-t", "rsa", "-b", "2048"]), ("ecdsa", ["-t", "ecdsa", "-b", "384"])] {
            let path = directory.join(name);
            if !path.exists() {
                let _ = keygen(&path, &arguments);
            }
        }
    };
    sshd_prepared(&["HostKey {}/rsa", "HostKey {}/ecdsa", "MaxStartups 100"], make)
}

/// The public keys of the server, as lines `TYPE BASE64`.
pub fn public_keys(sshd: &Daemon) -> BTreeSet<String> {
    let line = |name: &str| {
        let text = fs::read_to_string(sshd.directory().join(name).with_extension("pub")).expect("it was made");
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    ["rsa", "ecdsa", "host_key"].map(line).into()
}

/// A call that knows the server as `h1` and has a known_hosts file of its own.
fn on(sshd: &Daemon, place: &Place, arguments: &[&str]) -> Bugle {
    let known = format!("UserKnownHostsFile={}/kh", place.path().display());
    let inventory = format!("h1 ansible_host=127.0.0.1 ansible_port={}\n", sshd.port);
    let inventory = place.file("inventory", inventory);
    let config = place.file("config", ssh_config(sshd));
    let call = Bugle::alone().at(place).arg("-i").arg(inventory).arg("-F").arg(config);
    call.args(["-o", &known, "known-hosts"]).args(arguments)
}

#[test]
fn all_types_of_a_server_are_learnt_without_a_login_as_ssh_keyscan_learns_them() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let answer = on(&sshd, &place, &["learn", "h1", "--yes"]).redact(&name, "<name>").run().exited(0);
    assert_eq!(answer.stderr, "3 host keys added to <home>/kh\n");
    assert_eq!(answer.stdout.matches("  h1 (<name>)  ").count(), 3, "{}", answer.stdout);
    let keys = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned).collect()
    };
    assert_eq!(keys(&place.read("kh")), public_keys(&sshd));
    if let Some(ssh_keyscan) = find("ssh-keyscan") {
        let scan = Command::new(ssh_keyscan).args(["-p", &sshd.port.to_string(), "127.0.0.1"]).output();
        let scan = scan.expect("it was found");
        assert_eq!(keys(&String::from_utf8_lossy(&scan.stdout)), public_keys(&sshd));
    }
    assert!(!sshd.log().contains("Accepted") && !sshd.log().contains("Failed"), "nobody logs in: {}", sshd.log());
    on(&sshd, &place, &["learn", "h1"]).run().is(0, "", "nothing to learn: 3 host keys are known already\n");
    on(&sshd, &place, &["check", "h1"]).run().is(0, "h1 (1): same ED25519, ECDSA, RSA\n", "1 host: 1 known\n");
}

#[test]
fn types_can_be_picked_and_a_server_that_has_none_is_no_failure() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    on(&sshd, &place, &["learn", "h1", "--yes", "-t", "rsa,ecdsa", "-q"]).run().exited(0);
    let text = place.read("kh");
    assert!(text.contains("ssh-rsa") && text.contains("ecdsa-sha2-nistp384") && !text.contains("ed25519"), "{text}");
    on(&sshd, &place, &["check", "h1"]).run().is(0, "h1 (1): new type ED25519; same ECDSA, RSA\n", "1 host: 1 known\n");
    let fleet = Fleet::start(1);
    Bugle::on(&fleet).args(["known-hosts", "check", "all", "--type", "rsa"]).run().is(
        0,
        "web01 (1): no key of these types\n",
        "1 host: 1 without such a key\n",
    );
    let call =
        Bugle::on(&fleet).args(["-o", "HostKeyAlgorithms=ssh-ed25519", "known-hosts", "check", "all", "-t", "rsa"]);
    call.run().is(2, "", "error: HostKeyAlgorithms of `web01` allows no key of that type\n");
}

#[test]
fn names_are_hashed_where_that_is_configured() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    let hashing = place.file("hashing", "HashKnownHosts yes\n".to_owned() + &ssh_config(&sshd));
    let call = on(&sshd, &place, &["learn", "h1", "--yes", "-F"]).arg(hashing);
    call.run().exited(0);
    let text = place.read("kh");
    assert!(text.lines().count() == 3 && text.lines().all(|line| line.starts_with("|1|")), "{text}");
    on(&sshd, &place, &["learn", "h1"]).run().is(0, "", "nothing to learn: 3 host keys are known already\n");
}

fn fleet() -> Fleet {
    let unknown = || Behaviour::showing(HostKey::Unknown);
    Fleet::of([("web01", unknown()), ("web02", unknown()), ("db01", Behaviour::default())])
}

const TABLE: &str = "\
Nobody vouches for these host keys yet:
  web01 ([127.1.0.1]:<port>)  ED25519  SHA256:<fingerprint>
  web02 ([127.1.0.2]:<port>)  ED25519  SHA256:<fingerprint>
Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.
1 more are known already.
";

#[test]
fn one_question_decides_about_all_keys_and_nobody_is_asked_twice() {
    let fleet = fleet();
    let before = fs::read_to_string(fleet.known_hosts()).expect("it was written");
    let learn =
        |answers: &[&str]| Bugle::on(&fleet).args(["known-hosts", "learn", "all", "-q"]).run_on_terminal(answers);
    let question = "Trust these 2 host keys and remember them? [yes/no] ";
    let Some(screen) = learn(&["no"]) else { return };
    let refused = "error: the host keys were not trusted; nothing was written\n";
    assert_eq!(screen.exited(2).stdout, format!("{TABLE}{question}no\n{refused}"));
    assert_eq!(fs::read_to_string(fleet.known_hosts()).expect("it is there"), before);
    let Some(screen) = learn(&["yes"]) else { return };
    assert_eq!(screen.exited(0).stdout, format!("{TABLE}{question}yes\n2 host keys added to <fleet>/known_hosts\n"));
    let after = fs::read_to_string(fleet.known_hosts()).expect("it is there");
    let key = |host: &str| keys::line(&fleet.host(host).key).split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let line = |host: &str| format!("{} {}\n", pattern(fleet.host(host)), key(host));
    assert_eq!(after, before + &line("web01") + &line("web02"));
    let Some(screen) = learn(&[]) else { return };
    assert_eq!(screen.exited(0).stdout, "");
    assert!(fleet.hosts().iter().all(|host| host.counts().offers == 0), "nobody logs in");
}

#[test]
fn without_a_terminal_keys_are_shown_and_taken_only_with_yes() {
    let fleet = fleet();
    let before = fs::read_to_string(fleet.known_hosts()).expect("it was written");
    let learn = |options: &[&str]| Bugle::on(&fleet).args(["known-hosts", "learn", "all"]).args(options).run();
    learn(&[]).is(
        2,
        TABLE,
        "error: nobody can be asked about these host keys: there is no terminal; nothing was written\n\
         hint: compare them, then take them with --yes\n",
    );
    learn(&["--dry-run"]).is(0, TABLE, "");
    learn(&["--dry-run", "--yes"]).is(0, TABLE, "");
    assert_eq!(fs::read_to_string(fleet.known_hosts()).expect("it is there"), before);
    learn(&["--yes"]).is(0, TABLE, "2 host keys added to <fleet>/known_hosts\n");
    learn(&["--yes"]).is(0, "", "nothing to learn: 3 host keys are known already\n");
}

#[test]
fn keys_that_changed_or_were_revoked_are_shown_loudly_and_never_taken() {
    let behaviours = [("web01", HostKey::Changed), ("web02", HostKey::Revoked), ("web03", HostKey::Unknown)];
    let fleet = Fleet::of(behaviours.map(|(name, key)| (name, Behaviour::showing(key))));
    let before = fs::read_to_string(fleet.known_hosts()).expect("it was written");
    let answer = Bugle::on(&fleet).args(["known-hosts", "learn", "all", "--yes"]).run().exited(1);
    let answer = answer.talked("1 host key added to <fleet>/known_hosts\n");
    let told = "These are NOT taken, and somebody may be listening in:\n  web01 ([127.1.0.1]:<port>)  ED25519  \
                SHA256:<fingerprint>  CHANGED, known is ED25519 SHA256:<fingerprint> (<fleet>/known_hosts:";
    assert!(answer.stdout.contains(told), "{}", answer.stdout);
    assert!(answer.stdout.contains("  REVOKED (<fleet>/known_hosts:"), "{}", answer.stdout);
    let after = fs::read_to_string(fleet.known_hosts()).expect("it is there");
    let added = after.strip_prefix(&before).expect("what stood there stays");
    assert!(added.lines().count() == 1 && added.starts_with(&pattern(fleet.host("web03"))), "{added}");

    let answer = Bugle::on(&fleet).args(["known-hosts", "check", "all"]).run().exited(1);
    assert!(answer.stdout.starts_with("web03 (1): same ED25519\n"), "what is wrong comes last: {}", answer.stdout);
    assert!(answer.stdout.contains("web01 (1): CHANGED ED25519\n  web01: ED25519 SHA256:"), "{}", answer.stdout);
    assert_eq!(answer.stderr, "3 hosts: 1 known, 1 changed, 1 revoked\n");
    let json = Bugle::on(&fleet).args(["known-hosts", "check", "all", "--json", "-"]).run().exited(1);
    let document: serde_json::Value = serde_json::from_slice(&json.bytes).expect("it is JSON");
    let standing = |host: usize| document[host]["keys"][0]["standing"].as_str().map(str::to_owned);
    assert_eq!([0, 1, 2].map(standing), ["changed", "revoked", "same"].map(|text| Some(text.to_owned())));
    assert_eq!(document[0]["keys"][0]["known"][0]["file"], fleet.known_hosts().display().to_string());
}

#[test]
fn a_key_that_several_hosts_share_is_one_line_and_pointed_out() {
    // All hosts of a light fleet have one key.
    let fleet = Fleet::light(3, 1);
    let place = Place::new();
    let known = format!("UserKnownHostsFile={}/kh", place.path().display());
    let call = Bugle::on(&fleet).at(&place).args(["-o", &known, "known-hosts", "learn", "all", "--yes"]);
    call.run().is(
        0,
        "Nobody vouches for these host keys yet:\n\
         \x20 host[00001-00003]  ED25519  SHA256:<fingerprint>  <- the same key on 3 hosts\n\
         Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.\n",
        "3 host keys added to <home>/kh\n",
    );
    assert_eq!(place.read("kh").lines().count(), 3);
}

#[test]
fn a_key_that_is_known_under_another_name_is_pointed_out() {
    let fleet = fleet();
    let place = Place::new();
    let key = keys::line(&fleet.host("web01").key).split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    place.file("kh", format!("# mine\nold,10.0.0.9 {key}\n|1|{0}|{0} {key}\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    let known = format!("UserKnownHostsFile={}/kh", place.path().display());
    let learn = |options: &[&str]| {
        let call = Bugle::on(&fleet).at(&place).args(["-o", &known, "known-hosts", "learn", "web[01-02]", "--dry-run"]);
        call.args(options).run().exited(0)
    };
    learn(&[]).said(
        "Nobody vouches for these host keys yet:\n\
         \x20 web01 ([127.1.0.1]:<port>)  ED25519  SHA256:<fingerprint>  <- known as old,10.0.0.9 (<home>/kh:2) and in 1 more line\n\
         \x20 web02 ([127.1.0.2]:<port>)  ED25519  SHA256:<fingerprint>\n\
         Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.\n",
    );
    let document: serde_json::Value = serde_json::from_slice(&learn(&["--json", "-"]).bytes).expect("it is JSON");
    let elsewhere = &document[0]["keys"][0]["elsewhere"];
    assert_eq!((&elsewhere[0]["names"], &elsewhere[1]["line"]), (&"old,10.0.0.9".into(), &3.into()));
    assert_eq!(document[1]["keys"][0]["elsewhere"], serde_json::json!([]));
}

#[test]
fn a_key_that_was_left_out_is_not_said_to_be_learnt() {
    // Two machines under one name: only one of their keys can be its key.
    let fleet = fleet();
    let place = Place::new();
    let known = format!("UserKnownHostsFile={}/kh", place.path().display());
    let call = Bugle::on(&fleet).at(&place).args(["-o", &known, "-o", "HostKeyAlias=both"]);
    let call = call.args(["known-hosts", "learn", "web[01-02]", "--yes", "--json", "-"]);
    let answer = call.run().exited(1).told("of both is left out: something else is known by now\n");
    let document: serde_json::Value = serde_json::from_slice(&answer.bytes).expect("it is JSON");
    let learnt: Vec<bool> = (0..2).filter_map(|host| document[host]["keys"][0]["learnt"].as_bool()).collect();
    assert_eq!(learnt.iter().filter(|learnt| **learnt).count(), 1, "{learnt:?}");
    assert_eq!(place.read("kh").lines().count(), 1);
}

#[test]
fn known_keys_that_are_not_shown_any_more_are_missing() {
    let Some(sshd) = server_with_all_types() else { return };
    let place = Place::new();
    on(&sshd, &place, &["learn", "h1", "--yes", "-q"]).run().exited(0);
    let more = keys::line(keys::generate("").public_key());
    let more = more.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let text = place.read("kh");
    place.file("kh", format!("{text}[127.0.0.1]:{} {more}\n", sshd.port));
    on(&sshd, &place, &["check", "h1"]).run().exited(0).said("h1 (1): same ED25519, ECDSA, RSA; missing ED25519\n");
}

#[test]
fn hosts_that_are_not_reached_are_told_and_the_others_are_learnt() {
    let unknown = |reception| Behaviour { reception, ..Behaviour::showing(HostKey::Unknown) };
    let fleet = Fleet::of([("web01", unknown(Reception::Ssh)), ("web02", unknown(Reception::Silent))]);
    let call = |options: &[&str]| Bugle::on(&fleet).args(["known-hosts", "learn", "all", "--yes"]).args(options).run();
    let answer = call(&["--connect-timeout", "1s"]).exited(3).told("error: web02: pre_banner.timeout: ");
    answer.told("1 host key added to");
    let began = Instant::now();
    let answer = call(&["--connect-timeout", "50s", "--deadline", "1s"]).exited(4);
    answer.told("no answer before the deadline: web02 (1)\n");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn keys_come_over_the_jump_host_that_is_really_used() {
    let fleet = Fleet::of([("gate", Behaviour::default()), ("db01", Behaviour::showing(HostKey::Unknown))]);
    let place = Place::new();
    let gate = fleet.host("gate").address.to_string();
    let learn = |options: &[&str]| {
        Bugle::on(&fleet).at(&place).args(["-J", &gate, "known-hosts", "learn", "db01", "--yes"]).args(options).run()
    };
    learn(&[]).exited(0).told("1 host key added to <fleet>/known_hosts\n");
    assert_eq!(fleet.host("gate").counts().logins, 1, "one connection carries all handshakes");
    assert!(fleet.host("gate").counts().tunnels >= 1);
    assert_eq!(fleet.host("db01").counts().logins, 0);
    learn(&[]).is(0, "", "nothing to learn: 1 host key is known already\n");
}

#[test]
fn a_jump_host_that_nobody_vouches_for_is_asked_about_first() {
    let fleet =
        || Fleet::of([("gate", Behaviour::showing(HostKey::Unknown)), ("db01", Behaviour::showing(HostKey::Unknown))]);
    let learn = |fleet: &Fleet, options: &[&str]| {
        let gate = fleet.host("gate").address.to_string();
        Bugle::on(fleet).args(["-J", &gate, "known-hosts", "learn", "db01"]).args(options)
    };
    let strict = fleet();
    for options in [&[][..], &["--dry-run"]] {
        let answer = learn(&strict, options).run().exited(3);
        let answer = answer.told("db01: hostkey.unknown: jump host `127.1.0.1`: nobody vouches");
        answer.told(
            "hint: `bugle known-hosts learn` asks about jump hosts at a terminal, and takes their keys with --yes, unless \
             with --dry-run\n",
        );
    }
    let taking = fleet();
    learn(&taking, &["--yes"]).run().exited(0).told("Nobody vouches for these host keys yet:\n  127.1.0.1 (");
    assert_eq!(taking.host("gate").counts().logins, 1);
    let asking = fleet();
    let Some(screen) = learn(&asking, &[]).run_on_terminal(&["yes", "yes"]) else { return };
    let screen = screen.exited(0).stdout;
    assert_eq!(screen.matches("Trust this host key and remember it? [yes/no] yes").count(), 2, "{screen}");
    assert_eq!(asking.host("gate").counts().connections, 2, "once for its key and once to go through it");
}

#[test]
fn keys_that_could_be_written_nowhere_are_not_fetched() {
    let fleet = fleet();
    let call = Bugle::on(&fleet).args(["-o", "UserKnownHostsFile=none", "known-hosts", "learn", "web01", "--yes"]);
    call.run().exited(2).told("the keys of `web01` would be written nowhere");
    assert_eq!(calls(&fleet), 0);
}
