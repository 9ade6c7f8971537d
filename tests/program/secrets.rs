//! Passwords are seen by nobody: not in what is shown or written, nor by other processes.

use crate::bugle::{Answer, Bugle, Place};
use crate::fleet::{Behaviour, Fleet, Login, PASSWORD};
use crate::interrupts::Begun;
use russh::MethodKind;
use rustix::process::Signal;
use std::fs;
use std::path::Path;

const CANARY: &str = "canary-0nly-for-the-server";

/// Nothing below this directory holds the secret, but for the files that hand it over.
fn nowhere_below(directory: &Path, secret: &str, holders: &[&str]) {
    for entry in fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is there")) {
        let path = entry.path();
        if path.is_dir() {
            nowhere_below(&path, secret, holders);
        } else if path.is_file() && !holders.iter().any(|holder| path.ends_with(holder)) {
            let bytes = fs::read(&path).expect("it is there");
            assert!(!contains(&bytes, secret), "the secret is in {}", path.display());
        }
    }
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[track_caller]
fn does_not_tell(answer: &Answer, secret: &str) {
    assert!(
        !contains(&answer.bytes, secret) && !answer.stderr.contains(secret),
        "{}\n{}",
        answer.stdout,
        answer.stderr
    );
}

fn passwords_only() -> Behaviour {
    Behaviour::letting_in(Login::Only(MethodKind::Password))
}

#[test]
fn passwords_are_in_no_output_and_no_file() {
    let fleet = Fleet::of([
        ("h1", passwords_only()),
        ("h2", Behaviour::letting_in(Login::Nobody)),
        ("h3", Behaviour::default()),
    ]);
    for (password, code) in [(CANARY, 3), (PASSWORD, 3)] {
        let place = Place::new();
        let vars =
            place.file("vars.ini", format!("h3 ansible_password='{password}' ansible_become_password='{password}'\n"));
        for mode in ["stream", "group", "json"] {
            let answer = Bugle::on(&fleet)
                .at(&place)
                .arg("-i")
                .arg(&vars)
                .args(["run", "all", "-vvv", "--pass-fd", "3", "--sudo-pass-fd", "4", "--output", mode])
                .args(["--json", "run.jsonl", "--junit", "run.xml", "--outdir", "out", "env; cat /proc/$$/cmdline"])
                .descriptor(3, password)
                .descriptor(4, password)
                .run();
            does_not_tell(&answer, password);
            answer.exited(code);
        }
        nowhere_below(place.path(), password, &["vars.ini", "descriptor.3", "descriptor.4"]);
    }
    for host in fleet.hosts() {
        assert!(host.commands().iter().all(|command| !command.contains(CANARY) && !command.contains(PASSWORD)));
    }
}

#[test]
fn passwords_are_in_no_mistake() {
    let fleet = Fleet::one(passwords_only());
    let place = Place::new();
    let vars = place.file(
        "vars.ini",
        format!("host ansible_password={CANARY} ansible_port=abc ansible_become_password={CANARY}\n"),
    );
    for arguments in [
        &["run", "host", "true"][..],
        &["run", "host", "--dry-run", "true"],
        &["inventory", "--check"],
        &["config", "host"],
        &["hosts", "host", "--json", "-"],
    ] {
        does_not_tell(
            &Bugle::on(&fleet)
                .arg("-i")
                .arg(&vars)
                .args(arguments)
                .args(["--pass-fd", "3"])
                .descriptor(3, CANARY)
                .run(),
            CANARY,
        );
    }
}

#[test]
fn other_processes_see_no_password() {
    let fleet = Fleet::of([("host", passwords_only())]);
    let place = Place::new();
    let begun = Begun::new(&place);
    let running = Bugle::on(&fleet)
        .at(&place)
        .args(["run", "host", "--pass-fd", "3", "--sudo-pass-fd", "4"])
        .arg(begun.then("exec sleep 1000"));
    let running = running.descriptor(3, PASSWORD).descriptor(4, CANARY).start();
    let remote = begun.next();
    for process in [running.id().to_string(), remote] {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{process}/{file}")).expect("it runs");
            assert!(!contains(&bytes, PASSWORD) && !contains(&bytes, CANARY), "{file} of {process}");
        }
    }
    running.signal(Signal::INT);
    running.wait().exited(130);
}
