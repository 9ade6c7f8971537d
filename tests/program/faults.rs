//! Hosts that misbehave: the stable code, the words and the hint that the user gets.

use crate::bugle::{Bugle, Place, server};
use crate::fleet::{Behaviour, Certified, Cut, Exec, Fleet, HostKey, Login, Reception};
use russh::{MethodKind, cipher, kex};
use std::time::{Duration, Instant};

/// Who sits at the other end, which code that is, and what the line and its hint say.
fn table() -> Vec<(&'static str, Behaviour, &'static str, &'static str)> {
    let receiving = Behaviour::receiving;
    let showing = Behaviour::showing;
    vec![
        ("absent", receiving(Reception::Absent), "tcp.refused", "is sshd running there"),
        ("deaf", receiving(Reception::Deaf), "tcp.timeout", "is the host up"),
        ("silent", receiving(Reception::Silent), "pre_banner.timeout", "is that port really sshd's?"),
        (
            "tarpit",
            receiving(Reception::Tarpit(Duration::from_millis(100))),
            "pre_banner.timeout",
            "is that port really sshd's?",
        ),
        (
            "web-server",
            receiving(Reception::Says("HTTP/1.1 400 Bad Request\r\n\r\n")),
            "pre_banner.not_ssh",
            "is this the right port?",
        ),
        ("ancient", receiving(Reception::Says("SSH-1.5-old\r\n")), "pre_banner.not_ssh", "upgrade it"),
        ("throttled", receiving(Reception::Says("Exceeded MaxStartups\r\n")), "pre_banner.throttled", "lower --fanout"),
        (
            "penalised",
            receiving(Reception::Says("Not allowed at this time\r\n")),
            "pre_banner.throttled",
            "PerSourcePenalties",
        ),
        ("closing", receiving(Reception::Closes), "pre_banner.closed", "hosts.deny"),
        ("resetting", receiving(Reception::Resets), "pre_banner.closed", "hosts.deny"),
        ("stuck", receiving(Reception::NamesItself("SSH-2.0-fleet\r\n")), "kex.timeout", "MTU"),
        ("broken-off", receiving(Reception::ResetsInKeyExchange), "kex.failed", ""),
        ("nonsense", receiving(Reception::SpeaksNonsense), "kex.failed", ""),
        (
            "old-kex",
            Behaviour::taking(&[kex::DH_G1_SHA1], &[], &[]),
            "kex.no_common.kex",
            "-o KexAlgorithms=+diffie-hellman-group1-sha1",
        ),
        (
            "old-cipher",
            Behaviour::taking(&[], &[cipher::AES_256_CBC], &[]),
            "kex.no_common.cipher",
            "-o Ciphers=+aes256-cbc",
        ),
        ("unknown", showing(HostKey::Unknown), "hostkey.unknown", "-o StrictHostKeyChecking=accept-new"),
        ("changed", showing(HostKey::Changed), "hostkey.changed", "somebody may be listening in"),
        ("revoked", showing(HostKey::Revoked), "hostkey.revoked", "do not log in"),
        ("elsewhere", showing(HostKey::Certified(Certified::ForAnotherName)), "hostkey.certificate", "ssh-keygen -L"),
        ("expired", showing(HostKey::Certified(Certified::InThePast)), "hostkey.certificate", "ssh-keygen -L"),
        ("locked", Behaviour::letting_in(Login::Nobody), "auth.refused", "authorized_keys"),
        ("passwords", Behaviour::letting_in(Login::Only(MethodKind::Password)), "auth.refused", "--ask-pass"),
        ("stalling", Behaviour::letting_in(Login::Stalls), "auth.timeout", "--connect-timeout gives more time"),
        ("forced", Behaviour::executing(Exec::Refused), "session.refused", "ForceCommand"),
        ("mute", Behaviour::executing(Exec::NoStatus), "session.lost", "look at the host before running it again"),
        (
            "reset",
            Behaviour::executing(Exec::Cut(Cut::Reset)),
            "session.lost",
            "look at the host before running it again",
        ),
        (
            "cut",
            Behaviour::executing(Exec::Cut(Cut::Close)),
            "session.lost",
            "look at the host before running it again",
        ),
    ]
}

#[test]
fn every_way_to_fail_has_its_code_and_a_hint() {
    let fleet = Fleet::of(table().into_iter().map(|(name, behaviour, ..)| (name, behaviour)));
    // Side by side: some of them take their time.
    let calls: Vec<_> = table()
        .into_iter()
        .map(|(name, _, code, hint)| {
            let arguments = ["run", name, "--connect-timeout", "3s", "--retries", "0", "--output", "none", "echo ran"];
            (name, code, hint, Bugle::on(&fleet).args(arguments).start())
        })
        .collect();
    for (name, code, hint, running) in calls {
        let answer = running.wait();
        let said = &answer.stderr;
        assert!(said.starts_with(&format!("{name}: {code}: ")), "{name}: {said}");
        let hinted = said.lines().any(|line| line.starts_with("hint: ") && line.contains(hint));
        assert!(hinted || hint.is_empty(), "{name}: no hint with `{hint}`: {said}");
        let expected = if code == "session.refused" { 1 } else { 3 };
        assert_eq!(answer.code(), expected, "{name}: {said}");
        let last = said.lines().next_back().unwrap_or_default();
        assert!(last.starts_with("1 host in <time>: 0 ok, 1 "), "{name}: {said}");
    }
    for (name, _, code, _) in table() {
        let commands = fleet.host(name).commands().len();
        assert_eq!(commands, usize::from(code.starts_with("session.")), "{name}: a command is sent once or never");
    }
}

#[test]
fn one_unreachable_host_does_not_stop_the_others() {
    let members =
        [("h1", Behaviour::default()), ("h2", Behaviour::receiving(Reception::Absent)), ("h3", Behaviour::default())];
    let fleet = Fleet::of(members);
    Bugle::on(&fleet).args(["run", "all", "-f", "1", "echo ran"]).run().is(
        3,
        "h1: ran\nh3: ran\n",
        "h2: tcp.refused: connection refused on port <port>\nhint: is sshd running there, and on that port? -v shows the address\n\
         3 hosts in <time>: 2 ok, 1 unreachable\n",
    );
}

#[test]
fn a_server_that_is_killed_under_a_command_is_lost_and_never_called_again() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let command = format!("echo once >>{}/ran; echo begun; kill -9 $PPID; sleep 1000", place.path().display());
    let answer = Bugle::on_daemon(&sshd, ["h1"])
        .at(&place)
        .args(["run", "h1", "--output", "stream", "--retries", "5", &command])
        .run();
    assert_eq!(place.read("ran"), "once\n");
    let answer = answer.exited(3);
    assert!(answer.stderr.starts_with("h1: session.lost: "), "{}", answer.stderr);
    answer.told("hint: whether the command finished is unknown: look at the host before running it again\n1 host in <time>: 0 ok, 1 unreachable\n");
}

#[test]
fn the_same_failure_of_many_hosts_is_one_line() {
    let fleet = Fleet::of((1..=40).map(|number| (format!("web{number:02}"), Behaviour::receiving(Reception::Absent))));
    Bugle::on(&fleet).args(["run", "all", "true"]).run().is(
        3,
        "",
        "web[01-40] (40): tcp.refused: connection refused on port <port>\n\
         hint: is sshd running there, and on that port? -v shows the address\n40 hosts in <time>: 0 ok, 40 unreachable\n",
    );
}

#[test]
fn options_that_cannot_be_followed_are_named_and_not_tried_again() {
    let fleet = Fleet::start(2);
    let call = |options: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]);
        Bugle::on(&fleet).args(options).args(["run", "web", "--retries", "5", "true"]).run().exited(3).said("")
    };
    let local = |option: &str, why: &str| {
        format!(
            "web[01-02] (2): local.option: `{option}` cannot be followed: {why}\nhint: correct the option or leave it \
             out; `bugle config HOST --explain` shows where it is set\n2 hosts in <time>: 0 ok, 2 unreachable\n"
        )
    };
    call(&["BindAddress=192.0.2.1", "ConnectionAttempts=3"])
        .talked(&local("BindAddress 192.0.2.1", "this machine has no such address"));
    call(&["BindInterface=nosuch"]).talked(&local("BindInterface nosuch", "this machine has no such device"));
    call(&["AddressFamily=inet6"]).talked(&local("AddressFamily inet6", "the host has no IPv6 address"));
    assert_eq!(crate::bugle::calls(&fleet), 0);

    for (option, code) in [
        ("KexAlgorithms=diffie-hellman-group1-sha1", "kex"),
        ("Ciphers=aes256-cbc", "cipher"),
        ("HostKeyAlgorithms=rsa-sha2-256", "host_key"),
    ] {
        let keyword = option.split('=').next().unwrap_or_default();
        let answer = call(&[option]).told(&format!("hint: `{keyword}` is set to a list of your own, "));
        assert!(answer.stderr.starts_with(&format!("web[01-02] (2): kex.no_common.{code}: ")), "{}", answer.stderr);
        assert!(!answer.stderr.contains("weaker"), "{}", answer.stderr);
    }
}

#[test]
fn hosts_behind_one_proxy_command_fail_alike_by_its_name() {
    let place = Place::new();
    let call = |command: &str| {
        let config = place.file("config", format!("Host *\n  User deploy\n  ProxyCommand {command}\n"));
        Bugle::alone().at(&place).arg("-F").arg(config).args(["run", "h1,h2", "--connect-timeout", "1s", "true"]).run()
    };
    let hint = "hint: run the command by hand; `bugle config HOST --explain` shows where it comes from\n";
    call("sh -c 'echo no >&2; exit 3' %h").is(
        3,
        "",
        &format!(
            "h[1-2] (2): proxy.failed: the ProxyCommand `sh -c 'echo no >&2; exit 3' %h` ended with status 3 before a \
             server answered: no\n{hint}2 hosts in <time>: 0 ok, 2 unreachable\n"
        ),
    );
    call("sh -c 'exec sleep 100' %h").is(
        3,
        "",
        &format!(
            "h[1-2] (2): proxy.failed: the ProxyCommand `sh -c 'exec sleep 100' %h` brought no answer of a server in <time>: it \
             said nothing\n{hint}2 hosts in <time>: 0 ok, 2 unreachable\n"
        ),
    );
}

#[test]
fn no_proxy_command_outlives_the_run() {
    let place = Place::new();
    let mark = place.path().display().to_string();
    let command = format!("sh -c 'sleep 100; : {mark}' %h");
    let config = place.file("config", format!("Host *\n  User deploy\n  ProxyCommand {command}\n"));
    let call = Bugle::alone().at(&place).arg("-F").arg(config);
    call.args(["run", "h[1-20]", "--connect-timeout", "200ms", "true"]).run().exited(3);
    // A process that was killed may take a moment to be gone; one that was forgotten takes 100 seconds.
    let patience = Instant::now() + Duration::from_secs(10);
    while is_in_a_command_line(&mark) {
        assert!(Instant::now() < patience, "a ProxyCommand still runs");
        std::thread::yield_now();
    }
}

fn is_in_a_command_line(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    processes.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
}

#[test]
fn a_changed_host_key_is_shown_loudly_and_never_taken() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Changed));
    let before = std::fs::read(fleet.known_hosts()).expect("it was written");
    for strictness in ["yes", "accept-new", "ask", "no"] {
        let option = format!("StrictHostKeyChecking={strictness}");
        Bugle::on(&fleet).args(["-o", &option, "run", "host", "echo ran"]).run().is(
            255,
            "",
            "host: hostkey.changed: THE HOST KEY HAS CHANGED: it shows ED25519 SHA256:<fingerprint>, known is ED25519 \
             SHA256:<fingerprint> (<fleet>/known_hosts:1)\n\
             hint: somebody may be listening in. Only if you know why it changed: ssh-keygen -R '[127.1.0.1]:<port>' -f <fleet>/known_hosts\n",
        );
    }
    assert_eq!(std::fs::read(fleet.known_hosts()).expect("it is there"), before);
    assert!(fleet.host("host").commands().is_empty());
}

#[test]
fn text_of_a_server_cannot_pass_for_talk_of_ours() {
    let behaviour = Behaviour::receiving(Reception::Says("HTTP\x1b[2J\rhost: ok\n5 hosts: 5 ok\r\n"));
    let fleet = Fleet::one(behaviour);
    let answer = Bugle::on(&fleet).args(["run", "host", "--retries", "0", "true"]).run().exited(255).said("");
    assert!(
        answer.stderr.starts_with("host: pre_banner.not_ssh: ") && !answer.stderr.contains(['\x1b', '\r']),
        "{}",
        answer.stderr
    );
    assert!(!answer.stderr.contains("\n5 hosts") && !answer.stderr.contains("\nhost: ok"), "{}", answer.stderr);
}

#[test]
fn keys_that_cannot_be_remembered_are_a_warning_and_no_failure() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Unknown));
    let options = ["-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=/proc/nothing"];
    Bugle::on(&fleet).args(options).args(["run", "host", "echo ran"]).run().is(
        0,
        "ran\n",
        "warning: cannot write `/proc/nothing`\ncaused by: No such file or directory (os error 2)\n\
         hint: the new host keys were not remembered\n",
    );
}

#[test]
fn unknown_keys_are_taken_on_first_sight_where_that_is_configured() {
    let fleet = Fleet::of([("h1", Behaviour::showing(HostKey::Unknown)), ("h2", Behaviour::showing(HostKey::Unknown))]);
    let run = |strictness: &str| {
        let option = format!("StrictHostKeyChecking={strictness}");
        Bugle::on(&fleet).args(["-o", &option, "run", "all", "-f", "1", "echo ran"]).run()
    };
    run("yes").exited(3).said("");
    run("accept-new").exited(0).said("h1: ran\nh2: ran\n");
    run("yes").is(0, "h1: ran\nh2: ran\n", "2 hosts in <time>: 2 ok\n");
}
