//! The keys in an ssh-agent, beside ssh-add: what it does with one agent, bugle does with another.

use crate::bugle::{Answer, Bugle, PATIENCE, Place};
use crate::fleet::openssh::{Agent, agent, keygen, run_keygen};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

const SECRET: &str = "open sesame";

fn call(place: &Place, agent: &Agent) -> Bugle {
    Bugle::alone().at(place).env("SSH_AUTH_SOCK", &agent.socket).arg("agent")
}

/// A place with a key of every kind and a certificate for each; nothing where OpenSSH is not installed.
fn keys() -> Option<(Place, Vec<String>)> {
    let place = Place::new();
    let authority = keygen(&place.path().join("ca"), &["-t", "ed25519"])?.display().to_string();
    let mut files = Vec::new();
    for (name, kind) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        let path = keygen(&place.path().join(name), kind)?.display().to_string();
        run_keygen(&["-s", &authority, "-I", &format!("the {name}"), "-n", "root", &format!("{path}.pub")]);
        files.push(path);
    }
    let plain = place.path().join("without-comment");
    files.push(keygen(&plain, &["-t", "ed25519"])?.display().to_string());
    run_keygen(&["-c", "-C", "", "-f", &plain.display().to_string()]);
    Some((place, files))
}

/// Both did and said the same.
#[track_caller]
fn same(ours: &Answer, theirs: &(i32, String, String), home: &Path) {
    let theirs_said = theirs.2.replace(&home.display().to_string(), "<home>");
    let out = String::from_utf8_lossy(&ours.bytes).into_owned();
    assert_eq!((ours.code(), out, ours.stderr.clone()), (theirs.0, theirs.1.clone(), theirs_said));
}

#[test]
fn keys_are_listed_added_and_removed_in_the_words_of_ssh_add() {
    let Some((place, files)) = keys() else { return };
    let (Some(one), Some(other)) = (agent(), agent()) else { return };
    let compare = |bugle: &[&str], ssh_add: &[&str]| {
        let (bugle, ssh_add): (Vec<&str>, Vec<&str>) = (bugle.to_vec(), ssh_add.to_vec());
        same(&call(&place, &one).args(bugle).run(), &other.ssh_add(&ssh_add), place.path());
        assert_eq!(one.ssh_add(&["-L"]), other.ssh_add(&["-L"]));
    };
    compare(&["list"], &["-l"]);
    compare(&["list", "-L"], &["-L"]);
    for file in &files {
        compare(&["add", file], &[file]);
    }
    compare(&["list"], &["-l"]);
    compare(&["list", "-L"], &["-L"]);
    for file in &files {
        let public = format!("{file}.pub");
        let named = if file.ends_with("rsa") { file } else { &public };
        let removed = call(&place, &one).args(["remove", named]).run().exited(0);
        let (code, _, said) = other.ssh_add(&["-d", file]);
        let said = said.replace(&place.path().display().to_string(), "<home>");
        assert_eq!((code, removed.stderr.replace(".pub ", " ")), (0, said.replace(".pub ", " ")));
        assert_eq!(one.ssh_add(&["-L"]), other.ssh_add(&["-L"]));
    }
    compare(&["list"], &["-l"]);
    let all: Vec<&str> = files.iter().map(String::as_str).collect();
    compare(&[&["add"], &all[..]].concat(), &all);
    compare(&["remove", "--all"], &["-D"]);
}

#[test]
fn keys_that_an_agent_was_given_sign_until_their_time_is_over_and_after_a_yes() {
    let Some((place, files)) = keys() else { return };
    let (Some(one), Some(other)) = (agent(), agent()) else { return };
    for file in &files {
        call(&place, &one).args(["add", file]).run().exited(0);
        let public = format!("{file}.pub");
        let (code, _, said) = one.ssh_add(&["-T", &public]);
        assert_eq!(code, 0, "{file}: {said}");
    }
    for limits in [&["-c"][..], &["-t", "1h"], &["-c", "-t", "90"]] {
        let ours = call(&place, &one).arg("add").args(limits).arg(&files[0]).run();
        same(&ours, &other.ssh_add(&[limits, &[&files[0]]].concat()), place.path());
    }
    let public = format!("{}.pub", files[0]);
    assert_eq!(one.ssh_add(&["-T", &public]).0, other.ssh_add(&["-T", &public]).0);
    assert_ne!(one.ssh_add(&["-T", &public]).0, 0, "nobody is there to say yes");
    call(&place, &one).args(["remove", "--all"]).run().exited(0);
    call(&place, &one).args(["add", "-t", "1s", &files[0]]).run().exited(0);
    let began = Instant::now();
    while call(&place, &one).arg("list").run().code() == 0 {
        assert!(began.elapsed() < PATIENCE, "the key is forgotten");
    }
}

#[test]
fn without_names_the_default_keys_are_taken() {
    let place = Place::new();
    let Some(agent) = agent() else { return };
    let said = "error: there is no key to add: none of id_rsa, id_ecdsa, id_ecdsa_sk, id_ed25519, id_ed25519_sk is in \
                `<home>/.ssh`\nhint: name its file, or make one: bugle keys generate\n";
    call(&place, &agent).arg("add").run().is(1, "", said);
    for kind in ["ed25519", "ecdsa"] {
        Bugle::alone().at(&place).args(["keys", "generate", "-C", "me", "--no-passphrase", "-t", kind]).run().exited(0);
    }
    call(&place, &agent).arg("add").run().is(
        0,
        "",
        "Identity added: <home>/.ssh/id_ecdsa (me)\nIdentity added: <home>/.ssh/id_ed25519 (me)\n",
    );
    call(&place, &agent).args(["add", "-q"]).run().is(0, "", "");
}

#[test]
fn one_passphrase_opens_all_keys_that_have_it() {
    let place = Place::new();
    let Some(agent) = agent() else { return };
    for name in ["one", "two"] {
        if keygen(&place.path().join(name), &["-t", "ed25519", "-N", SECRET]).is_none() {
            return;
        }
    }
    let add = || call(&place, &agent).args(["add", "one", "two"]);
    add().args(["--passphrase-fd", "3"]).descriptor(3, SECRET).run().is(
        0,
        "",
        "Identity added: one (test)\nIdentity added: two (test)\n",
    );
    call(&place, &agent).args(["remove", "--all", "-q"]).run().is(0, "", "");
    if let Some(screen) = add().run_on_terminal(&["guess", SECRET]) {
        screen.exited(0).said(
            "passphrase for key `one`: \nwrong passphrase, once more. passphrase for key `one`: \n\
             Identity added: one (test)\nIdentity added: two (test)\n",
        );
    }
    let nobody = |name| {
        format!(
            "error: `{name}` has a passphrase, and nobody can be asked for it\nhint: hand it over with --passphrase-fd 3 3<FILE\n"
        )
    };
    add().run().is(1, "", &(nobody("one") + &nobody("two")));
    add().args(["--passphrase-fd", "3"]).descriptor(3, "guess").run().is(
        1,
        "",
        "error: wrong passphrase for the key file `one`\nerror: wrong passphrase for the key file `two`\n",
    );
}

#[test]
fn keys_that_cannot_be_used_are_told_and_the_others_are_added() {
    let Some((place, files)) = keys() else { return };
    let Some(agent) = agent() else { return };
    place.file_with_mode("open", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o640);
    place.file("junk", "hello");
    std::fs::copy(format!("{}-cert.pub", files[1]), format!("{}-cert.pub", files[5])).expect("there is room");
    call(&place, &agent).args(["add", "open", "junk", "none", &files[5]]).run().is(
        1,
        "",
        "error: the key file `open` has mode 0640: others can read it\nhint: chmod 600 open\n\
         error: `junk` is not a private key: no `-----BEGIN … PRIVATE KEY-----` in it that bugle knows\n\
         hint: ssh-keygen -y -f junk shows whether OpenSSH reads it\n\
         error: there is no key file `none`\n\
         Identity added: <home>/without-comment (<home>/without-comment)\n\
         error: the certificate `<home>/without-comment-cert.pub` is not of the key `<home>/without-comment`\n",
    );
    call(&place, &agent).args(["add", "ed25519.pub"]).run().is(
        1,
        "",
        "error: `ed25519.pub` is a public key, and the private one is needed\nhint: name the file without `.pub`: ed25519\n",
    );
    call(&place, &agent).arg("list").run().exited(0);
    call(&place, &agent).args(["remove", "ed25519", "junk", &files[5]]).run().is(
        1,
        "",
        "error: could not remove `ed25519`: the agent refused\n\
         error: `junk` is not a private key: no `-----BEGIN … PRIVATE KEY-----` in it that bugle knows\n\
         hint: ssh-keygen -y -f junk shows whether OpenSSH reads it\n\
         Identity removed: <home>/without-comment ED25519 (<home>/without-comment.pub)\n",
    );
    call(&place, &agent).arg("list").run().is(1, "The agent has no identities.\n", "");
}

#[test]
fn without_an_agent_the_code_is_two_and_none_is_started() {
    const HINT: &str = "hint: eval \"$(ssh-agent)\" starts one for this shell; bugle starts none by itself\n";
    let place = Place::new();
    for verb in [&["list"][..], &["add", "key"], &["remove", "--all"]] {
        let call = || Bugle::alone().at(&place).arg("agent").args(verb);
        call().run().is(2, "", &format!("error: there is no agent: SSH_AUTH_SOCK is not set\n{HINT}"));
        let gone = place.path().join("gone");
        call().env("SSH_AUTH_SOCK", gone).run().is(
            2,
            "",
            &format!("error: cannot reach the agent at `<home>/gone`\ncaused by: No such file or directory (os error 2)\n{HINT}"),
        );
    }
    let silent = place.path().join("silent");
    let _listens = UnixListener::bind(&silent).expect("the directory can be written");
    let answer = Bugle::alone().at(&place).env("SSH_AUTH_SOCK", silent).args(["agent", "list"]).run().exited(2);
    assert!(answer.stderr.starts_with("error: the agent does not answer\n"), "{}", answer.stderr);
    answer.told(
        "hint: it is stuck, or something else listens where SSH_AUTH_SOCK points: `ssh-add -l` asks it as well\n",
    );
}

#[test]
fn a_key_is_given_to_the_agent_where_somebody_says_so_before_any_host_is_called() {
    let Some(agent) = agent() else { return };
    let fleet = crate::fleet::Fleet::of([("one", Default::default()), ("two", Default::default())]);
    for (answer, count) in [("no", 0), ("yes", 1), ("", 1)] {
        let call = Bugle::on(&fleet).env("SSH_AUTH_SOCK", &agent.socket).args(["run", "all", "-q"]);
        let call = call.args(["-o", "AddKeysToAgent=ask", "-o", "IdentityAgent=SSH_AUTH_SOCK", "true"]);
        let answers: &[&str] = if answer.is_empty() { &[] } else { &[answer] };
        let Some(screen) = call.run_on_terminal(answers) else { return };
        let answer = screen.exited(0);
        // Once for both hosts, and not for what it holds.
        let asked = answer.stdout.matches("` to the agent once a host takes it? [yes/no]").count();
        assert_eq!(asked, answers.len(), "{}", answer.stdout);
        let (_, held, _) = agent.ssh_add(&["-l"]);
        assert_eq!(held.matches("(ED25519)").count(), count, "{held}");
    }
}
