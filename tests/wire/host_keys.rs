//! Whom a server may claim to be.

use crate::caller::{Caller, connector};
use crate::fleet::openssh::{self, keygen, run_keygen};
use crate::fleet::{Behaviour, Fleet, HostKey, Login, PASSWORD, keys, pattern};
use bugle::connection::Strictness;
use bugle::outcome::Code;
use russh::MethodKind;
use std::fs;

#[tokio::test]
async fn accept_new_writes_each_key_once() {
    let fleet = Fleet::of((0..4).map(|number| (format!("new{number}"), Behaviour::showing(HostKey::Unknown))));
    let file = fleet.directory().join("learned");
    let caller = |host| {
        Caller::of(&fleet, host).with(|profile| {
            profile.strictness = Strictness::AcceptNew;
            profile.user_known_hosts = vec![file.clone()];
        })
    };
    let callers: Vec<Caller> = fleet.hosts().iter().chain(fleet.hosts()).map(|host| caller(host)).collect();
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.unwrap();
    for caller in &callers {
        assert_eq!(caller.start_with(shared.clone(), "echo in").end().await.text(), "in\n");
    }
    shared.learned().write().unwrap();
    let mut expected: Vec<String> = fleet
        .hosts()
        .iter()
        .map(|host| format!("{} {}", pattern(host), keys::line(&host.key).rsplit_once(' ').unwrap().0))
        .collect();
    let text = fs::read_to_string(&file).unwrap();
    let mut written: Vec<&str> = text.lines().collect();
    expected.sort();
    written.sort_unstable();
    assert_eq!(written, expected);
    // From now on they are known, also to the strict.
    let strict = caller(&fleet.hosts()[0]).with(|profile| profile.strictness = Strictness::Yes);
    assert_eq!(strict.run("echo in").await.text(), "in\n");
}

#[tokio::test]
async fn a_changed_key_is_refused_in_every_mode() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Changed));
    let before = fs::read(fleet.known_hosts()).unwrap();
    for strictness in [Strictness::Yes, Strictness::Ask, Strictness::AcceptNew, Strictness::No] {
        let error = Caller::only(&fleet).with(|profile| profile.strictness = strictness).refused().await;
        assert_eq!(error.failure.code, Code::HostKeyChanged, "{strictness:?}");
        let hint = error.failure.hint.unwrap_or_default();
        assert!(hint.contains(&format!("ssh-keygen -R '{}'", pattern(&fleet.hosts()[0]))), "{hint}");
    }
    assert_eq!(fleet.hosts()[0].counts().offers, 0, "nothing is offered to an impostor");
    assert_eq!(fs::read(fleet.known_hosts()).unwrap(), before, "known_hosts is as it was");
}

#[tokio::test]
async fn a_changed_key_gets_no_password_and_no_agent() {
    let fleet =
        Fleet::one(Behaviour { login: Login::Only(MethodKind::Password), ..Behaviour::showing(HostKey::Changed) });
    let caller = Caller::only(&fleet).with_password(PASSWORD).with(|profile| {
        profile.strictness = Strictness::No;
        profile.forward_agent = Some(fleet.directory().join("agent"));
    });
    assert_eq!(caller.refused().await.failure.code, Code::HostKeyChanged);
    assert_eq!(caller.run("echo in").await.code(), Code::HostKeyChanged);
    let counts = fleet.hosts()[0].counts();
    assert_eq!((counts.offers, counts.passwords, counts.agent_requests), (0, 0, 0));
}

#[tokio::test]
async fn an_unknown_key_is_handed_to_the_question_of_the_run() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Unknown));
    let host = &fleet.hosts()[0];
    let asking = Caller::only(&fleet).with(|profile| profile.strictness = Strictness::Ask);
    let hints = |hint: Option<String>| hint.unwrap_or_default().contains("from a terminal");
    let batch = asking.refused().await;
    assert!(!hints(batch.failure.hint), "BatchMode");
    let asking = asking.with(|profile| profile.batch_mode = false);
    let nowhere = asking.clone().with(|profile| profile.user_known_hosts.clear()).refused().await;
    assert!(!hints(nowhere.failure.hint), "UserKnownHostsFile none");
    let error = asking.refused().await;
    assert!(hints(error.failure.hint));
    let (query, key) = *error.unknown_key.expect("the key is handed on");
    assert_eq!(query.lookup_name(), pattern(host));
    assert!(keys::line(&host.key).starts_with(&key.to_string()), "{key}");
    assert_eq!(host.counts().offers, 0);
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_either_file() {
    let fleet = Fleet::start(1);
    let file = fleet.directory().join("revoked");
    fs::write(&file, keys::line(&fleet.hosts()[0].key) + "\n").unwrap();
    let error = Caller::only(&fleet).with(|profile| profile.revoked_host_keys = vec![file]).refused().await;
    assert_eq!(error.failure.code, Code::HostKeyRevoked);
    let marked = Fleet::one(Behaviour::showing(HostKey::Revoked));
    let error = Caller::only(&marked).with(|profile| profile.strictness = Strictness::AcceptNew).refused().await;
    assert_eq!(error.failure.code, Code::HostKeyRevoked);
}

#[tokio::test]
async fn a_server_with_several_keys_is_asked_for_the_one_that_is_known() {
    let mut known = Vec::new();
    let make = |directory: &std::path::Path| {
        for (name, arguments) in [("rsa", ["-t", "rsa", "-b", "2048"]), ("ecdsa", ["-t", "ecdsa", "-b", "384"])] {
            let path = directory.join(name);
            if !path.exists() {
                let _ = keygen(&path, &arguments);
            }
        }
    };
    let Some(sshd) = openssh::sshd_prepared(&["HostKey {}/rsa", "HostKey {}/ecdsa"], make) else { return };
    for name in ["rsa", "ecdsa", "host_key"] {
        let public = fs::read_to_string(sshd.directory().join(name).with_extension("pub")).unwrap();
        let file = sshd.directory().join(format!("known_{name}"));
        fs::write(&file, format!("[127.0.0.1]:{} {public}", sshd.port)).unwrap();
        known.push((name, file));
    }
    for (name, file) in known {
        let caller = Caller::daemon(&sshd).with(|profile| profile.user_known_hosts = vec![file]);
        assert_eq!(caller.run("echo in").await.text(), "in\n", "known by its {name} key");
    }
}

#[tokio::test]
async fn host_certificates_of_openssh_are_judged() {
    let directory = tempfile::tempdir().unwrap();
    let Some(authority) = keygen(&directory.path().join("ca"), &["-t", "ecdsa"]) else { return };
    let ca = authority.display().to_string();
    let ca_line = fs::read_to_string(authority.with_extension("pub")).unwrap();
    for (principals, validity, code) in [
        ("127.0.0.1", "always:forever", None),
        ("127.0.0.*,elsewhere", "always:forever", None),
        ("elsewhere", "always:forever", Some(Code::HostKeyCertificate)),
        ("127.0.0.1", "19990101:20000101", Some(Code::HostKeyCertificate)),
        ("127.0.0.1", "20980101:20990101", Some(Code::HostKeyCertificate)),
    ] {
        let sign = |at: &std::path::Path| {
            let key = at.join("host_key.pub").display().to_string();
            run_keygen(&["-s", &ca, "-I", "the host", "-h", "-n", principals, "-V", validity, &key]);
        };
        let Some(sshd) = openssh::sshd_prepared(&["HostCertificate {}/host_key-cert.pub"], sign) else { return };
        let trusted = sshd.directory().join("trusted");
        fs::write(&trusted, format!("@cert-authority [127.0.0.1]:{} {ca_line}", sshd.port)).unwrap();
        let caller = Caller::daemon(&sshd).with(|profile| profile.user_known_hosts = vec![trusted.clone()]);
        match code {
            None => assert_eq!(caller.run("echo in").await.text(), "in\n", "{principals} {validity}"),
            Some(code) => assert_eq!(caller.refused().await.failure.code, code, "{principals} {validity}"),
        }
        if code.is_none() {
            let text = fs::read_to_string(&trusted).unwrap();
            fs::write(&trusted, format!("{text}@revoked * {ca_line}")).unwrap();
            assert_eq!(caller.refused().await.failure.code, Code::HostKeyRevoked, "a revoked authority");
        }
    }
}

/// Whoever is called is nobody's acquaintance, and need not be one where it is this machine itself.
fn trusting_localhost(caller: Caller) -> Caller {
    caller.with(|profile| {
        profile.user_known_hosts = Vec::new();
        profile.trust_localhost = true;
    })
}

#[tokio::test]
async fn a_loopback_address_need_not_be_known_only_where_it_is_dialled_from_here() {
    let sshd = openssh::sshd(&[]);
    let fleet = Fleet::of(["bastion", "host"].map(|name| (name, Behaviour::default())));
    let direct = trusting_localhost(Caller::named(&fleet, "host"));
    assert_eq!(direct.run("echo in").await.text(), "in\n");

    let mut alias = direct.clone();
    alias.destination.host_key_alias = Some("another".into());
    let bastion = Caller::named(&fleet, "bastion");
    let through = direct.clone().through(&[&bastion]);
    let chained = Caller::named(&fleet, "host").through(&[&bastion, &direct]);
    let mut ways = vec![("an alias", alias), ("a jump host", through), ("a second jump host", chained)];
    if let (Some(sshd), Some(program)) = (&sshd, openssh::find("sshd")) {
        let configuration = sshd.directory().join("sshd_config");
        let line = format!("{} -i -f {}", program.display(), configuration.display());
        ways.push(("a command", trusting_localhost(Caller::daemon(sshd)).by_way_of(line)));
    }
    for (way, caller) in ways {
        assert_eq!(caller.refused().await.failure.code, Code::HostKeyUnknown, "{way}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_where_it_need_not_be_known_too() {
    let fleet = Fleet::start(1);
    let file = fleet.directory().join("revoked");
    fs::write(&file, keys::line(&fleet.hosts()[0].key) + "\n").unwrap();
    let listed = trusting_localhost(Caller::only(&fleet)).with(|profile| profile.revoked_host_keys = vec![file]);
    let fleet = Fleet::one(Behaviour::showing(HostKey::Revoked));
    let marked = Caller::only(&fleet).with(|profile| profile.trust_localhost = true);
    for caller in [listed, marked] {
        assert_eq!(caller.refused().await.failure.code, Code::HostKeyRevoked);
    }
}
