//! Every way in which a host can fail to be reached has a code of its own, words, and leaves nothing behind.

use crate::caller::Caller;
use crate::fleet::{Behaviour, Certified, Fleet, HostKey, Login, Reception};
use bugle::connection::Again;
use bugle::event::Phase;
use bugle::outcome::Code;
use futures::future::join_all;
use russh::{cipher, kex, mac};
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(1500);
const PENALTY: Again = Again::AfterAtLeast(Duration::from_secs(15));

struct Row {
    name: &'static str,
    behaviour: Behaviour,
    code: Code,
    again: Again,
    phase: Phase,
    words: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |name, behaviour, code, again, phase, words| Row { name, behaviour, code, again, phase, words };
    let receives = |name, reception, code, again, phase, words| {
        row(name, Behaviour::receiving(reception), code, again, phase, words)
    };
    let shows =
        |name, key, code, words| row(name, Behaviour::showing(key), code, Again::Never, Phase::KeyExchange, words);
    let logs_in =
        |name, login, code, words| row(name, Behaviour::letting_in(login), code, Again::Never, Phase::Login, words);
    use Again::{Backoff, Never};
    use Phase::{Connect, KeyExchange};
    vec![
        receives("absent", Reception::Absent, Code::TcpRefused, Never, Connect, "connection refused on port"),
        receives("deaf", Reception::Deaf, Code::TcpTimeout, Never, Connect, "no answer on port"),
        receives("silent", Reception::Silent, Code::PreBannerTimeout, Never, KeyExchange, "said nothing in 1.5 s"),
        receives(
            "tarpit",
            Reception::Tarpit(Duration::from_millis(100)),
            Code::PreBannerTimeout,
            Never,
            KeyExchange,
            "did not finish its version line",
        ),
        receives(
            "web",
            Reception::Says("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            Code::PreBannerNotSsh,
            Never,
            KeyExchange,
            "it says `HTTP/1.1 400 Bad Request`",
        ),
        receives(
            "garbage",
            Reception::Says("\u{1}\u{2}\u{3}garbage"),
            Code::PreBannerNotSsh,
            Never,
            KeyExchange,
            "does not speak SSH",
        ),
        receives("old", Reception::Says("SSH-1.5-old\r\n"), Code::PreBannerNotSsh, Never, KeyExchange, "SSH-1.5-old"),
        receives(
            "patient",
            Reception::NamesItself("SSH-1.5-old\r\n"),
            Code::PreBannerNotSsh,
            Never,
            KeyExchange,
            "the server speaks `SSH-1.5-old`, not SSH 2.0",
        ),
        receives(
            "crowded",
            Reception::Says("Exceeded MaxStartups\r\n"),
            Code::PreBannerThrottled,
            Backoff,
            KeyExchange,
            "Exceeded MaxStartups",
        ),
        receives(
            "penalty",
            Reception::Says("Not allowed at this time\r\n"),
            Code::PreBannerThrottled,
            PENALTY,
            KeyExchange,
            "Not allowed at this time",
        ),
        receives("closes", Reception::Closes, Code::PreBannerClosed, Backoff, KeyExchange, "before it said anything"),
        receives("resets", Reception::Resets, Code::PreBannerClosed, Backoff, KeyExchange, "before it said anything"),
        receives(
            "named",
            Reception::NamesItself("SSH-2.0-fleet\r\n"),
            Code::KexTimeout,
            Never,
            KeyExchange,
            "the key exchange did not end in 1.5 s",
        ),
        receives(
            "breaks",
            Reception::ResetsInKeyExchange,
            Code::KexFailed,
            Backoff,
            KeyExchange,
            "the key exchange with SSH-2.0-fleet broke off",
        ),
        receives("nonsense", Reception::SpeaksNonsense, Code::KexFailed, Never, KeyExchange, "broke off"),
        row(
            "kex",
            Behaviour::taking(&[kex::DH_G1_SHA1], &[], &[]),
            Code::KexNoCommonKex,
            Never,
            KeyExchange,
            "the server takes diffie-hellman-group1-sha1, we offer mlkem768x25519-sha256,",
        ),
        row(
            "cipher",
            Behaviour::taking(&[], &[cipher::AES_256_CBC], &[]),
            Code::KexNoCommonCipher,
            Never,
            KeyExchange,
            "the server takes aes256-cbc, we offer aes128-gcm@openssh.com,",
        ),
        row(
            "mac",
            Behaviour::taking(&[], &[cipher::AES_256_CTR], &[mac::NONE]),
            Code::KexNoCommonMac,
            Never,
            KeyExchange,
            "the server takes none, we offer hmac-sha2-256-etm@openssh.com,",
        ),
        shows("stranger", HostKey::Unknown, Code::HostKeyUnknown, "nobody vouches for the host key ED25519 SHA256:"),
        shows("changed", HostKey::Changed, Code::HostKeyChanged, "THE HOST KEY HAS CHANGED"),
        shows("revoked", HostKey::Revoked, Code::HostKeyRevoked, "is REVOKED"),
        shows(
            "misnamed",
            HostKey::Certified(Certified::ForAnotherName),
            Code::HostKeyCertificate,
            "it is for `elsewhere.example.com`",
        ),
        shows("expired", HostKey::Certified(Certified::InThePast), Code::HostKeyCertificate, "it has expired"),
        shows(
            "userlike",
            HostKey::Certified(Certified::AsUser),
            Code::HostKeyCertificate,
            "it is a user's certificate",
        ),
        logs_in("nobody", Login::Nobody, Code::AuthRefused, "login as `deploy` refused (publickey,password)"),
        logs_in("stalls", Login::Stalls, Code::AuthTimeout, "the login did not end in 1.5 s"),
    ]
}

#[tokio::test]
async fn every_fault_has_its_code_and_its_words_and_leaves_nothing_behind() {
    let rows = rows();
    let fleet = Fleet::of(rows.iter().map(|row| (row.name, row.behaviour.clone())));
    let calls = rows.iter().map(|row| {
        let caller = Caller::named(&fleet, row.name).within(LIMIT);
        async move {
            let (made, trace) = caller.connect().await;
            (made.err(), trace.phase)
        }
    });
    let mut faults = Vec::new();
    for (row, (error, phase)) in rows.iter().zip(join_all(calls).await) {
        let Some(error) = error else {
            faults.push(format!("{}: let us in", row.name));
            continue;
        };
        let seen = (error.failure.code, error.again, phase);
        if seen != (row.code, row.again, row.phase) || !error.failure.message.contains(row.words) {
            faults.push(format!(
                "{}: {seen:?} `{}`, expected {:?} `{}`",
                row.name, error.failure.message, row.code, row.words
            ));
        }
        if error.failure.hint.is_none() && row.code != Code::KexFailed {
            faults.push(format!("{}: no hint with `{}`", row.name, error.failure.message));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for row in rows.iter().filter(|row| row.behaviour.login != Login::Stalls) {
        fleet.host(row.name).until("that the connection ends", |counts| counts.open == 0).await;
    }
    no_task_is_left().await;
}

/// russh keeps the task of a stalled handshake, unless its bytes are taken from it.
async fn no_task_is_left() {
    let metrics = tokio::runtime::Handle::current().metrics();
    // Tasks end as soon as they run once more.
    for _ in 0..10_000 {
        if metrics.num_alive_tasks() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} tasks are left", metrics.num_alive_tasks());
}

#[tokio::test]
async fn a_stalled_login_ends_its_socket_too() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Stalls));
    let error = Caller::only(&fleet).within(Duration::from_millis(500)).refused().await;
    assert_eq!(error.failure.code, Code::AuthTimeout);
    no_task_is_left().await;
}

#[tokio::test]
async fn lines_before_the_version_are_no_fault() {
    let fleet = Fleet::one(Behaviour::receiving(Reception::Chatty(
        "Welcome to the machine\r\nUnauthorised use is forbidden\r\n",
    )));
    assert_eq!(Caller::only(&fleet).run("echo hello").await.text(), "hello\n");
}

#[tokio::test]
async fn a_certified_host_is_known_by_its_authority() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Certified(Certified::Rightly)));
    let answer = Caller::only(&fleet).run("echo hello").await;
    assert_eq!(answer.text(), "hello\n");
    assert!(
        answer.phases.iter().any(|(_, detail)| detail.contains("certificate `fleet` by ED25519")),
        "{:?}",
        answer.phases
    );
}

#[tokio::test]
async fn names_that_do_not_exist_are_told_apart() {
    let fleet = Fleet::start(1);
    let mut caller = Caller::only(&fleet);
    caller.destination.endpoint.address = "no-such-host.invalid".into();
    let error = caller.refused().await;
    // Where there is no resolver at all, the system says so differently.
    assert!(matches!(error.failure.code, Code::DnsNxdomain | Code::DnsTimeout | Code::DnsFailed), "{error:?}");
    assert!(error.failure.message.contains("host name"), "{}", error.failure.message);
}
