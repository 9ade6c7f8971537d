//! Logging in: every kind of key and credential, in which order they are offered, and what is said when none fits.

use crate::caller::{Caller, Passphrases, connector};
use crate::fleet::keys::{ALWAYS, Claim};
use crate::fleet::openssh::{self, keygen, run_keygen};
use crate::fleet::{Behaviour, Fleet, Login, PASSWORD};
use bugle::connection::{AddToAgent, Configured, Confirm, IdentitiesOnly, KeyFileError, KeySources, LoginMethod};
use bugle::event::Phase;
use bugle::outcome::{Code, Outcome};
use russh::MethodKind;
use russh::keys::ssh_key::certificate::CertType;
use std::fs;
use std::path::{Path, PathBuf};

const KINDS: [(&str, &[&str]); 7] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa2048", &["-t", "rsa", "-b", "2048"]),
    ("rsa3072", &["-t", "rsa", "-b", "3072"]),
    ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
];

fn public(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote it").trim().to_owned()
}

/// How the login went, as `-v` tells it.
fn login_of(answer: &crate::caller::Answer) -> &str {
    let found = answer.phases.iter().find(|(phase, _)| *phase == Phase::Login);
    found.map_or("no login", |(_, detail)| detail)
}

#[tokio::test]
async fn every_kind_of_key_logs_in_to_openssh() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    for (name, arguments) in KINDS {
        let Some(key) = keygen(&directory.path().join(name), arguments) else { return };
        sshd.authorize(&public(&key));
        let caller = Caller::daemon(&sshd).with(|profile| profile.keys.identity_files = vec![key]);
        assert_eq!(caller.run("echo in").await.text(), "in\n", "{name}");
    }
    assert!(!sshd.log().contains("ssh-rsa "), "signatures with SHA-1 are never made");
}

#[tokio::test]
async fn every_kind_of_key_logs_in_by_the_agent() {
    let (Some(sshd), Some(agent)) = (openssh::sshd(&[]), openssh::agent()) else { return };
    let directory = tempfile::tempdir().unwrap();
    for (name, arguments) in KINDS.into_iter().filter(|(name, _)| *name != "rsa-pem") {
        let Some(key) = keygen(&directory.path().join(name), arguments) else { return };
        sshd.authorize(&public(&key));
        agent.add(&key);
        fs::remove_file(&key).unwrap();
        // The public half alone selects the key that the agent holds.
        let caller = Caller::daemon(&sshd).with(|profile| {
            profile.keys.identity_files = vec![key.with_extension("pub")];
            profile.keys.identities_only = IdentitiesOnly::Yes;
            profile.keys.agent = Some(agent.socket.clone());
        });
        assert_eq!(caller.run("echo in").await.text(), "in\n", "{name}");
    }
}

#[tokio::test]
async fn a_password_logs_in_by_either_of_its_methods() {
    for method in [MethodKind::Password, MethodKind::KeyboardInteractive] {
        let fleet = Fleet::one(Behaviour::letting_in(Login::Only(method)));
        let answer = Caller::only(&fleet).with_password(PASSWORD).run("echo in").await;
        assert_eq!(answer.text(), "in\n", "{method:?}");
        assert_eq!(fleet.hosts()[0].counts().passwords, 1);
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_never_again() {
    for method in [MethodKind::Password, MethodKind::KeyboardInteractive] {
        let fleet = Fleet::one(Behaviour::letting_in(Login::Only(method)));
        let answer = Caller::only(&fleet).with_password("guess").run("echo in").await;
        assert_eq!(answer.code(), Code::AuthRefused, "{method:?}");
        assert!(matches!(answer.outcome(), Outcome::Unreachable(_)), "{method:?}: {:?}", answer.ended);
        assert!(answer.failure().message.contains("tried a password"), "{}", answer.failure().message);
        assert_eq!(fleet.hosts()[0].counts().passwords, 1, "{method:?}");
        assert_eq!(fleet.hosts()[0].counts().connections, 1, "{method:?}");
    }
}

#[tokio::test]
async fn a_key_and_then_a_password_log_in_where_both_are_wanted() {
    for second in [MethodKind::Password, MethodKind::KeyboardInteractive] {
        let steps: &'static [MethodKind] = match second {
            MethodKind::Password => &[MethodKind::PublicKey, MethodKind::Password],
            _ => &[MethodKind::PublicKey, MethodKind::KeyboardInteractive],
        };
        let fleet = Fleet::one(Behaviour::letting_in(Login::Chain(steps)));
        let mut caller = Caller::only(&fleet);
        caller.destination.password = Some(bugle::secret::Secret::new(PASSWORD.into()));
        let answer = caller.run("echo in").await;
        assert_eq!(answer.text(), "in\n");
        let login = login_of(&answer);
        assert!(login.contains("publickey") && login.contains(" + "), "{login}");
        let half = Caller::only(&fleet).run("echo in").await;
        assert_eq!(half.code(), Code::AuthPartial);
        let failure = half.failure();
        let words = format!("{} {}", failure.message, failure.hint.as_deref().unwrap_or_default());
        let wanted: &str = (&second).into();
        assert!(words.contains(wanted), "it names what is missing: {words}");
    }
}

#[tokio::test]
async fn two_questions_at_once_are_refused_without_giving_the_password_away() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::TwoQuestions));
    let answer = Caller::only(&fleet).with_password(PASSWORD).run("echo in").await;
    assert_eq!(answer.code(), Code::AuthRefused);
    assert!(answer.failure().message.contains("`Password:`, `Code:`"), "{}", answer.failure().message);
    assert_eq!(fleet.hosts()[0].counts().passwords, 0);
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_is_remarked_on() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Everybody));
    let caller = Caller::only(&fleet).with(|profile| profile.keys = KeySources::default());
    let answer = caller.run("echo in").await;
    assert_eq!(answer.text(), "in\n");
    assert!(answer.notices_have(0, "without any authentication"), "{:?}", answer.notices);
}

#[tokio::test]
async fn without_anything_to_offer_the_server_says_what_it_takes() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Only(MethodKind::PublicKey)));
    let caller = Caller::only(&fleet).with(|profile| profile.keys = KeySources::default());
    let answer = caller.run("echo in").await;
    assert_eq!(answer.code(), Code::AuthNoKey);
    assert!(
        answer.failure().hint.as_deref().unwrap_or_default().contains("the server takes publickey"),
        "{:?}",
        answer.failure()
    );
}

#[tokio::test]
async fn a_key_file_that_is_missing_is_named() {
    let fleet = Fleet::start(1);
    let missing = fleet.directory().join("no_such_key");
    let caller = Caller::only(&fleet).with(|profile| profile.keys.identity_files = vec![missing.clone()]);
    let answer = caller.run("echo in").await;
    assert_eq!(answer.code(), Code::AuthNoKey);
    assert!(answer.failure().message.contains(&missing.display().to_string()), "{}", answer.failure().message);
}

#[tokio::test]
async fn the_login_banner_is_told_from_the_first_v_on() {
    let fleet = Fleet::one(Behaviour { banner: Some("Authorised users only\n"), ..Behaviour::default() });
    let answer = Caller::only(&fleet).run("echo in").await;
    assert!(answer.notices_have(1, "Authorised users only"), "{:?}", answer.notices);
    assert_eq!(answer.text(), "in\n");
}

#[tokio::test]
async fn a_certificate_logs_in_where_its_key_alone_would_not() {
    let fleet = Fleet::start(1);
    let with = Caller::only(&fleet).with(|profile| profile.keys.identity_files = vec![fleet.certified_key()]);
    let answer = with.run("echo in").await;
    assert_eq!(answer.text(), "in\n");
    assert!(login_of(&answer).contains("(certificate)"), "{}", login_of(&answer));
    fs::rename(fleet.directory().join("certified-cert.pub"), fleet.directory().join("elsewhere.pub")).unwrap();
    assert_eq!(with.run("echo in").await.code(), Code::AuthRefused);
    let named = with.with(|profile| profile.keys.certificate_files = vec![fleet.directory().join("elsewhere.pub")]);
    assert_eq!(named.run("echo in").await.text(), "in\n", "CertificateFile");
}

#[tokio::test]
async fn user_certificates_log_in_to_openssh_from_a_file_and_from_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let Some(authority) = keygen(&place.join("ca"), &["-t", "ed25519"]) else { return };
    let ca = public(&authority);
    let prepare = |at: &Path| fs::write(at.join("user_ca"), &ca).unwrap();
    let Some(sshd) = openssh::sshd_prepared(&["TrustedUserCAKeys {}/user_ca"], prepare) else { return };
    let Some(agent) = openssh::agent() else { return };
    for (name, arguments) in [KINDS[0], KINDS[1], KINDS[4]] {
        let Some(key) = keygen(&place.join(name), arguments) else { return };
        let (ca, key_public) = (authority.display().to_string(), key.with_extension("pub").display().to_string());
        run_keygen(&["-s", &ca, "-I", "tester", "-n", &sshd.user, &key_public]);
        let from_file = Caller::daemon(&sshd).with(|profile| profile.keys.identity_files = vec![key.clone()]);
        let answer = from_file.run("echo in").await;
        assert_eq!(answer.text(), "in\n", "{name}");
        assert!(login_of(&answer).contains("(certificate)"), "{name}: {}", login_of(&answer));
        agent.add(&key);
    }
    let from_agent = Caller::daemon(&sshd).with(|profile| {
        profile.keys = KeySources { agent: Some(agent.socket.clone()), ..KeySources::default() };
    });
    assert_eq!(from_agent.run("echo in").await.text(), "in\n");
    assert!(sshd.log().contains("ID tester"), "{}", sshd.log());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_the_plain_key_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let Some(authority) = keygen(&directory.path().join("ca"), &["-t", "ed25519"]) else { return };
    let ca = public(&authority);
    let prepare = |at: &Path| fs::write(at.join("user_ca"), &ca).unwrap();
    let Some(sshd) = openssh::sshd_prepared(&["TrustedUserCAKeys {}/user_ca"], prepare) else { return };
    let Some(key) = keygen(&directory.path().join("key"), &["-t", "ed25519"]) else { return };
    let (ca, key_public) = (authority.display().to_string(), key.with_extension("pub").display().to_string());
    run_keygen(&["-s", &ca, "-I", "tester", "-n", &sshd.user, "-V", "19990101:20000101", &key_public]);
    let caller = Caller::daemon(&sshd).with(|profile| profile.keys.identity_files = vec![key.clone()]);
    assert_eq!(caller.run("echo in").await.code(), Code::AuthRefused);
    sshd.authorize(&public(&key));
    assert_eq!(caller.run("echo in").await.text(), "in\n");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_told() {
    let fleet = Fleet::start(1);
    let beside = fleet.directory().join("certified-cert.pub");
    fs::write(&beside, "garbage\n").unwrap();
    let caller = Caller::only(&fleet).with(|profile| profile.keys.identity_files = vec![fleet.certified_key()]);
    let told = caller.run("true").await.failure().message.clone();
    assert!(told.contains(&format!("`{}` is not a certificate: ", beside.display())), "{told}");

    let missing = fleet.directory().join("nowhere-cert.pub");
    let named = |path: &Path| caller.clone().with(|profile| profile.keys.certificate_files = vec![path.into()]);
    let told = named(&missing).run("true").await.failure().message.clone();
    assert!(told.contains(&format!("there is no certificate file `{}`", missing.display())), "{told}");
    // What is named and cannot be used ends it before anything is contacted.
    let before = fleet.hosts()[0].counts().connections;
    let error = named(&beside).prepare().await.err().expect("it is no certificate");
    assert!(matches!(&error, KeyFileError::NotACertificate { path, .. } if *path == beside), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("ssh-keygen -L -f ")));
    assert_eq!(fleet.hosts()[0].counts().connections, before);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_with_what_to_do() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Nobody));
    let key = crate::fleet::keys::generate("certified");
    let path = fleet.directory().join("flawed");
    crate::fleet::keys::write(&path, &key);
    let good = || Claim { kind: CertType::User, principals: &["deploy"], valid: ALWAYS, sources: None };
    let far = 4_000_000_000;
    let flaws = [
        (Claim { kind: CertType::Host, ..good() }, "is a host's and not a user's", "without -h"),
        (
            Claim { valid: 1..2, ..good() },
            "expired ",
            "renew the certificate; where it should hold, compare the clocks",
        ),
        (Claim { valid: far..u64::MAX, ..good() }, "is not valid before ", "compare the clocks"),
        (Claim { principals: &["other", "root"], ..good() }, "is for `other`, `root`, not for `deploy`", "-l"),
        (Claim { principals: &[], ..good() }, "names no user", "-n deploy"),
        (
            Claim { sources: Some("192.0.2.0/24"), ..good() },
            "only for connections from `192.0.2.0/24`",
            "as the host sees it",
        ),
        (good(), "tried ssh-ed25519", "is the public key in authorized_keys of `deploy`"),
    ];
    for (claim, words, hint) in flaws {
        let certificate = fleet.certify_user(key.public_key(), &claim).to_openssh().unwrap();
        fs::write(fleet.directory().join("flawed-cert.pub"), certificate).unwrap();
        let caller = Caller::only(&fleet).with(|profile| profile.keys.identity_files = vec![path.clone()]);
        let answer = caller.run("true").await;
        let failure = answer.failure();
        assert_eq!(failure.code, Code::AuthRefused, "{words}");
        assert!(failure.message.contains(words), "{words}: {}", failure.message);
        assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{hint}: {failure:?}");
    }
}

#[tokio::test]
async fn an_encrypted_key_is_asked_about_once_however_many_hosts_need_it() {
    let fleet = Fleet::start(3);
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("locked");
    fs::copy(fleet.key(), &key).unwrap();
    if keygen_passphrase(&key, "", "open sesame").is_none() {
        return;
    }
    let passphrases = Passphrases::new(&["wrong", "open sesame"]);
    let callers: Vec<Caller> = fleet
        .hosts()
        .iter()
        .map(|host| {
            let mut caller = Caller::of(&fleet, host).with(|profile| profile.keys.identity_files = vec![key.clone()]);
            caller.passphrases = passphrases.clone();
            caller
        })
        .collect();
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(passphrases.asked(), [key.clone(), key.clone()], "one wrong answer, one right");
    for caller in &callers {
        let answer = caller.start_with(shared.clone(), "echo in").end().await;
        assert_eq!(answer.text(), "in\n");
    }
}

#[tokio::test]
async fn three_wrong_passphrases_end_it_before_anything_is_contacted() {
    let fleet = Fleet::start(1);
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("locked");
    fs::copy(fleet.key(), &key).unwrap();
    if keygen_passphrase(&key, "", "open sesame").is_none() {
        return;
    }
    let mut caller = Caller::only(&fleet).with(|profile| profile.keys.identity_files = vec![key.clone()]);
    caller.passphrases = Passphrases::new(&["a", "b", "c"]);
    assert!(matches!(caller.prepare().await, Err(KeyFileError::WrongPassphrase(path)) if path == key));
    caller.passphrases = Passphrases::new(&[]);
    let answer = caller.run("echo in").await;
    assert_eq!(answer.code(), Code::AuthNoKey, "nobody answers");
    assert!(answer.failure().message.contains("is encrypted and was not unlocked"), "{}", answer.failure().message);
}

#[tokio::test]
async fn a_locked_key_that_the_agent_holds_is_not_asked_about() {
    let fleet = Fleet::start(1);
    let Some(agent) = openssh::agent() else { return };
    agent.add(&fleet.key());
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("locked");
    fs::copy(fleet.key(), &key).unwrap();
    fs::copy(fleet.key().with_extension("pub"), key.with_extension("pub")).unwrap();
    if keygen_passphrase(&key, "", "open sesame").is_none() {
        return;
    }
    let caller = Caller::only(&fleet).with(|profile| {
        profile.keys.identity_files = vec![key];
        profile.keys.agent = Some(agent.socket.clone());
    });
    assert_eq!(caller.run("echo in").await.text(), "in\n");
    assert!(caller.passphrases.asked().is_empty());
}

fn keygen_passphrase(key: &Path, old: &str, new: &str) -> Option<()> {
    openssh::find("ssh-keygen")?;
    run_keygen(&["-p", "-P", old, "-N", new, "-f", &key.display().to_string()]);
    Some(())
}

/// Which keys were refused, in the order in which they were offered: `-vv`.
fn refusals(answer: &crate::caller::Answer) -> Vec<String> {
    let refused = answer.notices.iter().filter(|(level, text)| *level == 2 && text.contains(" refused; "));
    refused.map(|(_, text)| text.split(['(', ')']).nth(1).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn keys_are_offered_in_the_order_of_openssh() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Nobody));
    let Some(agent) = openssh::agent() else { return };
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str| keygen(&directory.path().join(name), &["-t", "ed25519", "-C", name]);
    let (Some(held), Some(other), Some(file)) = (make("held"), make("other"), make("file")) else { return };
    agent.add(&other);
    agent.add(&held);
    let mut caller = Caller::only(&fleet).with(|profile| {
        profile.keys.identity_files = vec![file.clone(), held.clone()];
        profile.keys.agent = Some(agent.socket.clone());
    });
    let file_name = file.display().to_string();
    let order = refusals(&caller.run("true").await);
    assert_eq!(
        order,
        ["agent: held", "agent: other", &file_name],
        "configured and in the agent, the agent's others, files"
    );
    caller.profile().keys.identities_only = IdentitiesOnly::Yes;
    let order = refusals(&caller.run("true").await);
    assert_eq!(order, ["agent: held", &file_name], "IdentitiesOnly");
}

#[tokio::test]
async fn no_more_keys_are_offered_than_a_stock_server_bears() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::Nobody));
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<PathBuf> = (0..8)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            crate::fleet::keys::write(&path, &crate::fleet::keys::generate("spare"));
            path
        })
        .collect();
    let answer = Caller::only(&fleet).with(|profile| profile.keys.identity_files = keys.clone()).run("true").await;
    assert_eq!(answer.code(), Code::AuthRefused);
    assert_eq!(fleet.hosts()[0].counts().offers, 5);
    assert!(answer.failure().message.contains("3 more keys were not offered"), "{}", answer.failure().message);

    // OpenSSH's own way of losing patience.
    let Some(sshd) = openssh::sshd(&["MaxAuthTries 2"]) else { return };
    let answer = Caller::daemon(&sshd).with(|profile| profile.keys.identity_files = keys).run("true").await;
    assert_eq!(answer.code(), Code::AuthTooMany, "{:?}", answer.ended);
    assert!(answer.failure().hint.as_deref().unwrap_or_default().contains("IdentitiesOnly"), "{:?}", answer.failure());
    assert!(matches!(answer.outcome(), Outcome::Unreachable(_)));
}

#[tokio::test]
async fn a_server_that_ends_the_login_is_not_tried_again() {
    let fleet = Fleet::one(Behaviour::letting_in(Login::NobodyFor(2)));
    let directory = tempfile::tempdir().unwrap();
    let keys = ["a", "b", "c", "d"].map(|name| {
        let path = directory.path().join(name);
        crate::fleet::keys::write(&path, &crate::fleet::keys::generate(name));
        path
    });
    let answer = Caller::only(&fleet).with(|profile| profile.keys.identity_files = keys.into()).run("true").await;
    assert_eq!(answer.code(), Code::AuthTooMany);
    assert!(matches!(answer.outcome(), Outcome::Unreachable(_)));
    assert_eq!(fleet.hosts()[0].counts().connections, 1);
}

#[tokio::test]
async fn methods_that_are_switched_off_are_not_used() {
    let fleet = Fleet::start(1);
    let caller = Caller::only(&fleet).with(|profile| profile.methods = vec![LoginMethod::Password]);
    let answer = caller.run("true").await;
    assert!(matches!(answer.code(), Code::AuthRefused | Code::AuthNoKey), "{:?}", answer.ended);
    assert_eq!(fleet.hosts()[0].counts().offers, 0);
}

#[tokio::test]
async fn keys_log_in_to_dropbear() {
    let Some(dropbear) = openssh::dropbear(&[]) else { return };
    let answer = Caller::daemon(&dropbear).run("echo in; echo err >&2; exit 0").await;
    assert_eq!(answer.text(), "in\n");
    assert_eq!(answer.stderr, b"err\n");
}

#[tokio::test]
async fn a_key_that_is_unlocked_is_given_to_the_agent_where_the_configuration_says_so() {
    let fleet = Fleet::start(1);
    let Some(agent) = openssh::agent() else { return };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("locked");
    fs::copy(fleet.key(), &key).unwrap();
    run_keygen(&["-c", "-C", "me @ here", "-f", &key.display().to_string()]);
    if keygen_passphrase(&key, "", "open sesame").is_none() {
        return;
    }
    for (add_to_agent, holds, signs) in [
        (AddToAgent::No, false, false),
        (AddToAgent::Yes { lifetime: None, confirm: Confirm::No }, true, true),
        (AddToAgent::Yes { lifetime: Some(600), confirm: Confirm::Yes }, true, false),
    ] {
        let mut caller = Caller::only(&fleet).with(|profile| {
            profile.keys = KeySources {
                identity_files: vec![key.clone()],
                configured: Configured::Yes,
                agent: Some(agent.socket.clone()),
                add_to_agent,
                ..KeySources::default()
            };
        });
        caller.passphrases = Passphrases::new(&["open sesame"]);
        assert_eq!(caller.run("echo in").await.text(), "in\n");
        let (_, held, _) = agent.ssh_add(&["-l"]);
        assert_eq!(held.ends_with(" me @ here (ED25519)\n"), holds, "{add_to_agent:?}: {held}");
        let public = format!("{}.pub", key.display());
        assert_eq!(agent.ssh_add(&["-T", &public]).0 == 0, signs, "{add_to_agent:?}");
        agent.ssh_add(&["-D"]);
    }
}

#[tokio::test]
async fn a_key_without_a_passphrase_is_given_to_the_agent_when_a_host_takes_it() {
    let fleet = Fleet::start(1);
    let Some(agent) = openssh::agent() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (taken, refused) = (directory.path().join("taken"), directory.path().join("refused"));
    fs::copy(fleet.key(), &taken).unwrap();
    run_keygen(&["-c", "-C", "me @ here", "-f", &taken.display().to_string()]);
    openssh::keygen(&refused, &["-t", "ed25519"]).unwrap();
    let yes = |lifetime, confirm| AddToAgent::Yes { lifetime, confirm };
    for (add_to_agent, identity_files, expected, signs) in [
        (yes(None, Confirm::No), vec![refused.clone(), taken.clone()], 1, true),
        (yes(None, Confirm::Yes), vec![taken.clone()], 1, false),
        (yes(Some(600), Confirm::No), vec![taken.clone()], 1, true),
        (AddToAgent::No, vec![taken.clone()], 0, false),
        // Nobody is there to say yes.
        (AddToAgent::Ask, vec![taken.clone()], 0, false),
    ] {
        let caller = Caller::only(&fleet).with(|profile| {
            profile.keys = KeySources {
                identity_files: identity_files.clone(),
                configured: Configured::Yes,
                agent: Some(agent.socket.clone()),
                add_to_agent,
                ..KeySources::default()
            };
        });
        assert_eq!(caller.run("echo in").await.text(), "in\n");
        let (_, held, _) = agent.ssh_add(&["-l"]);
        assert_eq!(held.matches(" me @ here (ED25519)\n").count(), expected, "{add_to_agent:?}: {held}");
        assert_eq!(held.matches("(ED25519)").count(), expected, "{add_to_agent:?}: {held}");
        let public = format!("{}.pub", taken.display());
        assert_eq!(agent.ssh_add(&["-T", &public]).0 == 0, signs, "{add_to_agent:?}");
        agent.ssh_add(&["-D"]);
    }
}
