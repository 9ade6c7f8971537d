//! Key pairs on this machine, beside ssh-keygen and ssh in both directions.

use crate::bugle::{Bugle, Place, server};
use crate::fleet::openssh::{find, keygen, run_keygen};
use crate::fleet::{Behaviour, Fleet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SECRET: &str = "open sesame";

/// Every kind that is made, with its arguments for bugle and for ssh-keygen alike. Small, so that tests are fast.
const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "2048"]),
];

/// What ssh-keygen says, if it is content.
fn ssh_keygen(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).stdin(Stdio::null()).env_remove("DISPLAY").env_remove("SSH_ASKPASS");
    let output = command.output().expect("ssh-keygen is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

fn keys(place: &Place) -> Bugle {
    Bugle::alone().at(place).args(["keys", "-F", "none"])
}

/// What `keys show` says of a file, without the lines of MD5.
fn shown(place: &Place, path: &Path) -> String {
    let answer = keys(place).args(["show"]).arg(path).run().exited(0);
    let text = String::from_utf8(answer.bytes).expect("it is text");
    text.lines().filter(|line| !line.starts_with("MD5:")).map(|line| format!("{line}\n")).collect()
}

/// Type and key of the public half of a key.
fn public_fields(path: &str) -> String {
    let text = fs::read_to_string(format!("{path}.pub")).expect("it was written");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn ssh_keygen_reads_every_key_that_is_made_and_changes_its_passphrase() {
    if find("ssh-keygen").is_none() {
        return;
    }
    for (name, kind) in KINDS {
        for secret in ["", SECRET] {
            let place = Place::new();
            let key = place.path().join(name);
            let call = keys(&place).arg("generate").args(kind).args(["-C", "me @ here", "-a", "2", "-f", name]);
            let call = if secret.is_empty() {
                call.arg("--no-passphrase")
            } else {
                call.args(["--passphrase-fd", "3"]).descriptor(3, secret)
            };
            let answer = call.run().exited(0).talked("");
            let path = text(&key);
            let summary = ssh_keygen(&["-lf", &path]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(String::from_utf8_lossy(&answer.bytes), format!("{name}: {summary}"));
            assert_eq!((mode(&key), mode(&key.with_extension("pub"))), (0o600, 0o644));
            let read = ssh_keygen(&["-y", "-P", secret, "-f", &path]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read, fs::read_to_string(key.with_extension("pub")).expect("it was written"), "{name}");
            ssh_keygen(&["-p", "-P", secret, "-N", "another", "-a", "2", "-f", &path])
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            if !secret.is_empty() {
                assert!(ssh_keygen(&["-y", "-P", secret, "-f", &path]).is_err());
            }
            let changed = keys(&place).args(["passphrase", name, "--old-passphrase-fd", "3", "--no-passphrase"]);
            changed.descriptor(3, "another\n").run().is(0, &format!("{name} has no passphrase now\n"), "");
            assert_eq!(ssh_keygen(&["-y", "-P", "", "-f", &path]).as_deref(), Ok(read.as_str()));
        }
    }
}

#[test]
fn keys_of_every_form_get_a_passphrase_that_ssh_keygen_takes_and_keep_their_comment() {
    let place = Place::new();
    for (name, kind) in KINDS {
        let forms: &[&[&str]] = if name == "ed25519" { &[&[]] } else { &[&[], &["-m", "PEM"], &["-m", "PKCS8"]] };
        for (number, form) in forms.iter().enumerate() {
            for old in ["", "old one"] {
                let file = format!("{name}.{number}.{}", old.len());
                let arguments = [kind, form, &["-N", old]].concat();
                let Some(key) = keygen(&place.path().join(&file), &arguments) else { return };
                let call = keys(&place).args(["passphrase", &file, "--passphrase-fd", "4", "-a", "2"]);
                let call = call.args(["--old-passphrase-fd", "3"]).descriptor(3, "old one").descriptor(4, SECRET);
                call.run().is(0, &format!("{file} has a new passphrase\n"), "");
                let read = ssh_keygen(&["-y", "-P", SECRET, "-f", &text(&key)]);
                let beside = fs::read_to_string(text(&key) + ".pub").expect("it was written");
                assert_eq!(read.as_deref(), Ok(beside.as_str()), "{file}");
                assert!(ssh_keygen(&["-y", "-P", old, "-f", &text(&key)]).is_err());
                assert_eq!(mode(&key), 0o600);
            }
        }
    }
}

#[test]
fn a_wrong_passphrase_leaves_the_file_alone() {
    let place = Place::new();
    let Some(key) = keygen(&place.path().join("key"), &["-t", "ed25519", "-N", SECRET]) else { return };
    let (before, written) = (fs::read(&key).expect("it is there"), fs::metadata(&key).expect("it is there"));
    let call = keys(&place).args(["passphrase", "key", "--old-passphrase-fd", "3", "--no-passphrase"]);
    call.descriptor(3, "guess").run().is(2, "", "error: wrong passphrase for the key file `key`\n");
    let asked = keys(&place).args(["passphrase", "key", "--no-passphrase"]);
    if let Some(screen) = asked.run_on_terminal(&["guess", "another", "a third"]) {
        screen.exited(2).said(
            "passphrase for key `key`: \nwrong passphrase, once more. passphrase for key `key`: \n\
             wrong passphrase, once more. passphrase for key `key`: \nerror: wrong passphrase for the key file `key`\n",
        );
    }
    let now = fs::metadata(&key).expect("it is there");
    assert_eq!((now.ino(), now.mtime_nsec()), (written.ino(), written.mtime_nsec()));
    assert_eq!(fs::read(&key).expect("it is there"), before);
}

#[test]
fn keys_are_shown_as_ssh_keygen_shows_them() {
    let place = Place::new();
    let authority = match keygen(&place.path().join("ca"), &["-t", "ed25519"]) {
        Some(key) => text(&key),
        None => return,
    };
    for (name, kind) in KINDS {
        let key = keygen(&place.path().join(name), kind).expect("it was there before");
        let public = text(&key) + ".pub";
        run_keygen(&["-s", &authority, "-I", "somebody", "-n", "root", &public]);
        for file in [text(&key), public, text(&key) + "-cert.pub"] {
            assert_eq!(Ok(shown(&place, Path::new(&file))), ssh_keygen(&["-lvf", &file]), "{file}");
            let quiet = keys(&place).args(["show", "-q", &file]).run().exited(0);
            assert_eq!(Ok(String::from_utf8_lossy(&quiet.bytes).into_owned()), ssh_keygen(&["-lf", &file]));
            let md5 = ssh_keygen(&["-E", "md5", "-lf", &file]).expect("it is a key");
            let all = keys(&place).args(["show", &file]).run().exited(0).stdout;
            assert!(md5.contains(all.lines().nth(1).expect("three parts")), "{all}");
        }
    }
    let locked = keygen(&place.path().join("locked"), &["-t", "ed25519", "-N", SECRET]).expect("it was there before");
    assert_eq!(Ok(shown(&place, &locked)), ssh_keygen(&["-lvf", &text(&locked)]));
}

#[test]
fn files_with_several_keys_are_shown_whole() {
    let place = Place::new();
    let mut lines = "# the team\n\n".to_owned();
    for (number, (name, kind)) in KINDS.into_iter().cycle().take(20).enumerate() {
        let name = format!("{name}.{number}");
        let kind = if kind[1] == "rsa" { &["-t", "ed25519"][..] } else { kind };
        let Some(key) = keygen(&place.path().join(&name), kind) else { return };
        let before = ["", "restrict,command=\"echo \\\"a b\\\"\" ", "web01,10.0.0.1 "][number % 3];
        lines += &format!("{before}{} user {number}\n", public_fields(&text(&key)));
    }
    let all = place.file("keys", lines + "not a key\n");
    assert_eq!(Ok(shown(&place, &all)), ssh_keygen(&["-lvf", &text(&all)]));
    let json = keys(&place).args(["show", "--json", "-", "keys"]).run().exited(0);
    let list: serde_json::Value = serde_json::from_slice(&json.bytes).expect("it is JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(20));
    assert_eq!((&list[4]["line"], &list[4]["comment"], &list[4]["bits"]), (&7.into(), &"user 4".into(), &256.into()));
    let piped = keys(&place).args(["show", "-q", "-"]).stdin(fs::read(&all).expect("it is there")).run().exited(0);
    assert_eq!(Ok(String::from_utf8_lossy(&piped.bytes).into_owned()), ssh_keygen(&["-lf", &text(&all)]));
}

#[test]
fn a_file_that_is_none_keeps_no_other_from_being_shown() {
    let place = Place::new();
    place.file("junk", "hello\n");
    let key = crate::fleet::keys::line(crate::fleet::keys::generate("me").public_key());
    place.file("good.pub", format!("{key}  \t \r\n"));
    let one = keys(&place).args(["show", "-q", "good.pub"]).run();
    one.is(0, "256 SHA256:<fingerprint> me  \t  (ED25519)\n", "");
    let answer = keys(&place).args(["show", "-q", "junk", "good.pub", "none"]).run().exited(2);
    let answer = answer.said("good.pub: 256 SHA256:<fingerprint> me  \t  (ED25519)\n");
    answer.told("error: `junk` holds no key\n").told("error: cannot read `none`: ");
}

#[test]
fn ssh_and_bugle_log_in_with_the_keys_that_are_made() {
    let Some(daemon) = server() else { return };
    let place = Place::new();
    let askpass = place.file_with_mode("askpass", format!("#!/bin/sh\necho '{SECRET}'\n"), 0o700);
    for (name, kind) in KINDS {
        keys(&place)
            .arg("generate")
            .args(kind)
            .args(["-a", "1", "-f", name, "--passphrase-fd", "3"])
            .descriptor(3, SECRET)
            .run()
            .exited(0);
        let key = place.path().join(name);
        daemon.authorize(fs::read_to_string(key.with_extension("pub")).expect("it was written").trim_end());
        let output = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                "IdentityAgent=none",
                "-p",
                &daemon.port.to_string(),
            ])
            .args(["-o", &format!("UserKnownHostsFile={}", text(&daemon.known_hosts()))])
            .args(["-o", "PreferredAuthentications=publickey", "-i", &text(&key)])
            .args([&format!("{}@127.0.0.1", daemon.user), "echo in"])
            .envs([("SSH_ASKPASS", text(&askpass)), ("SSH_ASKPASS_REQUIRE", "force".into())])
            .stdin(Stdio::null())
            .output()
            .expect("ssh is there");
        assert_eq!(output.stdout, b"in\n", "{name}: {}", String::from_utf8_lossy(&output.stderr));
        keys(&place)
            .args(["passphrase", name, "--old-passphrase-fd", "3", "--no-passphrase"])
            .descriptor(3, SECRET)
            .run()
            .exited(0);
        let config = place.file(
            "ssh_config",
            format!(
                "Host *\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {}\n",
                daemon.user,
                text(&key),
                text(&daemon.known_hosts())
            ),
        );
        let address = format!("127.0.0.1:{}", daemon.port);
        Bugle::alone().at(&place).arg("-F").arg(config).args(["run", &address, "echo in"]).run().is(0, "in\n", "");
    }
}

#[test]
fn a_passphrase_is_asked_for_twice_and_its_absence_is_said_aloud() {
    let place = Place::new();
    let generate = || keys(&place).args(["generate", "-a", "1", "-C", "me", "-f", "key"]);
    let Some(screen) = generate().run_on_terminal(&[SECRET, "open sesami", SECRET, SECRET]) else { return };
    screen.exited(0).said(
        "new passphrase for `key`: \nthe same passphrase again: \nthe two differ, once more\n\
         new passphrase for `key`: \nthe same passphrase again: \nkey: 256 SHA256:<fingerprint> me (ED25519)\n",
    );
    let place = Place::new();
    let generate = || keys(&place).args(["generate", "-f", "key"]);
    if let Some(screen) = generate().run_on_terminal(&[""]) {
        screen.exited(2).said(
            "new passphrase for `key`: \nerror: no passphrase was given\n\
             hint: --no-passphrase leaves the key unencrypted on purpose\n",
        );
    }
    assert!(!place.has("key") && !place.has("key.pub"));
}

#[test]
fn keys_that_are_there_stay_unless_they_are_to_be_replaced() {
    for there in ["key", "key.pub"] {
        let place = Place::new();
        place.file(there, "mine");
        let generate = || keys(&place).args(["generate", "--no-passphrase", "-f", "key"]);
        let said = format!("error: `{there}` is there already\nhint: --yes replaces keys that are there\n");
        generate().run().is(2, "", &said);
        for variable in ["BUGLE_YES", "BUGLE_REPLACE_KEYS"] {
            generate().env(variable, "true").run().is(2, "", &said);
        }
        let config = place.file("config.yaml", "yes: true\n");
        generate().arg("--config").arg(&config).run().is(2, "", &said);
        place.file("config.yaml", "replace-keys: true\n");
        generate().arg("--config").arg(&config).run().exited(2).told("`replace-keys` is no option");
        assert_eq!(place.read(there), "mine");
        assert_eq!(place.has("key"), there == "key");
        generate().arg("--yes").run().exited(0);
        assert!(place.read("key").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(place.read("key.pub").starts_with("ssh-ed25519 "));
    }
}

#[test]
fn rsa_of_the_default_size_is_read_by_ssh_keygen() {
    if find("ssh-keygen").is_none() {
        return;
    }
    let place = Place::new();
    keys(&place).args(["generate", "-t", "rsa", "-C", "me", "--no-passphrase", "-f", "key"]).run().exited(0);
    let key = text(&place.path().join("key"));
    assert!(ssh_keygen(&["-lf", &key]).is_ok_and(|line| line.starts_with("4096 SHA256:")));
    assert_eq!(ssh_keygen(&["-y", "-f", &key]), Ok(place.read("key.pub")));
}

#[test]
fn a_dsa_key_in_pem_is_shown_by_its_public_half_or_said_to_be_one() {
    let place = Place::new();
    let pem = place.path().join("pem");
    // OpenSSH 10 makes none any more.
    if ssh_keygen(&["-q", "-t", "dsa", "-m", "PEM", "-N", "", "-f", &text(&pem)]).is_err() {
        return;
    }
    assert_eq!(Ok(shown(&place, &pem)), ssh_keygen(&["-lvf", &text(&pem)]));
    let said = "error: `pem` is a DSA key in PEM, which bugle does not read\n\
                hint: sshd takes no such key since OpenSSH 7; ssh-keygen -l -f pem tells of it\n";
    keys(&place).args(["passphrase", "pem", "--no-passphrase"]).run().is(2, "", said);
    fs::remove_file(text(&pem) + ".pub").expect("it is there");
    keys(&place).args(["show", "pem"]).run().is(2, "", said);
}

#[test]
fn without_a_file_a_key_goes_into_the_home_with_the_name_that_ssh_looks_for() {
    let place = Place::new();
    keys(&place).args(["generate", "--no-passphrase"]).run().exited(0);
    keys(&place).args(["generate", "--no-passphrase", "-t", "ecdsa"]).run().exited(0);
    assert!(place.has(".ssh/id_ed25519") && place.has(".ssh/id_ed25519.pub") && place.has(".ssh/id_ecdsa"));
    assert_eq!(mode(&place.path().join(".ssh")), 0o700);
    let comment = place.read(".ssh/id_ecdsa.pub").split_whitespace().nth(2).map(str::to_owned);
    assert!(comment.is_some_and(|comment| comment.contains('@')));
}

#[test]
fn every_host_gets_a_pair_of_its_own() {
    let place = Place::new();
    place.file("hosts", "[web]\nweb[01:12]\n[db]\ndb01\n");
    let generate = |targets: &str| {
        keys(&place).args(["generate", "--no-passphrase", "-i", "hosts", "-f", "keys", "--per-host", targets])
    };
    let answer = generate("all").args(["-x", "web03"]).run().exited(0).talked("");
    assert_eq!(answer.stdout.lines().count(), 12);
    assert!(answer.stdout.starts_with("keys/web01: 256 SHA256:<fingerprint> "), "{}", answer.stdout);
    let mut keys: Vec<_> = fs::read_dir(place.path().join("keys"))
        .expect("it was made")
        .map(|entry| entry.expect("it is there"))
        .collect();
    assert_eq!(keys.len(), 24);
    keys.sort_by_key(|entry| entry.file_name());
    assert_eq!((keys[0].file_name(), keys[1].file_name()), ("db01".into(), "db01.pub".into()));
    assert_eq!((mode(&keys[0].path()), mode(&place.path().join("keys"))), (0o600, 0o700));
    let public: Vec<String> = keys
        .iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some())
        .map(|path| fs::read_to_string(path).expect("it is there"))
        .collect();
    assert!(public[0].ends_with(" for db01\n"), "{}", public[0]);
    let distinct: std::collections::BTreeSet<_> = public.iter().map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(distinct.len(), 12, "no key is there twice");
    let refused = generate("web[01-03]").run().exited(2).said("");
    assert_eq!(
        refused.stderr,
        "error: `keys/web01` is there already\nerror: `keys/web02` is there already\nhint: --yes replaces keys that are there\n"
    );
    assert!(!place.has("keys/web03"), "nothing is written where one is there");
    place.file("hosts", "a\na.pub\n");
    generate("all").run().is(
        2,
        "",
        "error: two hosts would have the same file `keys/a.pub`\nhint: leave one of them out with --exclude\n",
    );
}

#[test]
fn mistakes_are_told_and_write_nothing() {
    let place = Place::new();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let open: PathBuf = place.file_with_mode("open", locked, 0o644);
    place.file("junk", "hello\n");
    place.file("broken", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    place.file("secret", "");
    place.file("some.pub", crate::fleet::keys::line(crate::fleet::keys::generate("me").public_key()) + "\n");
    fs::set_permissions(place.path().join("junk"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let batch = "error: nobody can be asked for a passphrase: there is no terminal\n\
                 hint: hand it over with --passphrase-fd 3 3<FILE, or do without it: --no-passphrase\n";
    let open_key = "error: the key file `open` has mode 0644: others can read it\nhint: chmod 600 open\n";
    let no_key = "error: `broken` is not a private key: SshKey: length invalid\n\
                  hint: ssh-keygen -y -f broken shows whether OpenSSH reads it\n";
    for (arguments, expected) in [
        (&["generate", "-f", "key"][..], batch),
        (
            &["generate", "-f", "key", "-t", "ed25519", "-b", "512"],
            "error: an ed25519 key always has 256 bits, not 512\n",
        ),
        (
            &["generate", "-f", "key", "-t", "ecdsa", "-b", "512"],
            "error: an ecdsa key has 256, 384 or 521 bits, not 512\n",
        ),
        (&["generate", "-f", "key", "-t", "rsa", "-b", "1024"], "error: an rsa key has 2048 to 16384 bits, not 1024\n"),
        (
            &["generate", "-f", "key", "-t", "rsa", "-b", "2049"],
            "error: an rsa key has an even number of bits, not 2049\n",
        ),
        (
            &["generate", "-f", "key", "--no-passphrase", "--limit", "web"],
            "error: --limit is about hosts, and there are none here\nhint: --per-host TARGETS makes a pair for every host\n",
        ),
        (
            &["generate", "-f", "key", "--no-passphrase", "-x", "web"],
            "error: --exclude is about hosts, and there are none here\nhint: --per-host TARGETS makes a pair for every host\n",
        ),
        (&["generate", "-f", "key", "-C", "a\nb"], "error: the comment `a\\nb` is not one line of text\n"),
        (
            &["generate", "-f", "key", "--passphrase-fd", "3"],
            "error: file descriptor 3 holds no passphrase\nhint: each secret needs a descriptor of its own: what was read of a pipe is gone\n",
        ),
        (
            &["generate", "-f", "a/b/key", "--no-passphrase"],
            "error: cannot create the directory `a/b`\ncaused by: No such file or directory (os error 2)\n",
        ),
        (&["show", "open"], open_key),
        (&["passphrase", "open", "--no-passphrase"], open_key),
        (
            &["show", "junk"],
            "error: `junk` holds no key\nhint: a line with a key is `TYPE BASE64 [COMMENT]`, perhaps with options or names of hosts before it\n",
        ),
        (&["show", "none"], "error: cannot read `none`: No such file or directory (os error 2)\n"),
        (&["passphrase", "none"], "error: there is no key file `none`\n"),
        (
            &["passphrase", "some.pub", "--no-passphrase"],
            "error: `some.pub` is a public key, and the private one is needed\nhint: name the file without `.pub`: some\n",
        ),
        (
            &["passphrase", "junk", "--no-passphrase"],
            "error: `junk` is not a private key: no `-----BEGIN … PRIVATE KEY-----` in it that bugle knows\nhint: ssh-keygen -y -f junk shows whether OpenSSH reads it\n",
        ),
        (&["passphrase", "broken", "--no-passphrase"], no_key),
    ] {
        let call = keys(&place).args(arguments).descriptor(3, "\n");
        let code = if expected.contains("cannot create") { 5 } else { 2 };
        call.run().is(code, "", expected);
        assert!(!place.has("key") && !place.has("key.pub") && !place.has("a"), "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(&open).expect("it is there"), locked);
    let Some(_) = keygen(&place.path().join("locked"), &["-t", "ed25519", "-N", SECRET]) else { return };
    keys(&place).args(["passphrase", "locked", "--no-passphrase"]).run().is(
        2,
        "",
        "error: `locked` has a passphrase, and nobody can be asked for it\n\
         hint: hand it over with --old-passphrase-fd 3 3<FILE\n",
    );
}

#[test]
fn a_named_pipe_is_not_waited_for_and_a_handed_over_one_is_read() {
    let fleet = Fleet::of([("one", Behaviour::default())]);
    let place = Place::new();
    let pipe = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("every system has it").success());
    let pipe = pipe.display().to_string();
    let known_hosts = format!("UserKnownHostsFile={pipe}");
    let calls: [&[&str]; 5] = [
        &["keys", "show", &pipe],
        &["keys", "deploy", "one", "--key", &pipe],
        &["keys", "sync", "one", "--from", &pipe],
        &["run", "one", "-I", &pipe, "true"],
        &["run", "one", "-o", &known_hosts, "true"],
    ];
    for call in calls {
        let answer = Bugle::on(&fleet).at(&place).args(call).run().exited(2);
        assert!(answer.stderr.contains("it is a named pipe, which may never end"), "{call:?}: {}", answer.stderr);
    }
    let key = crate::fleet::keys::line(crate::fleet::keys::generate("me").public_key());
    let key = place.file("key.pub", format!("{key}\n"));
    let line = format!("'{}' keys show <(cat '{}')", env!("CARGO_BIN_EXE_bugle"), key.display());
    let Some(bash) = crate::fleet::openssh::find("bash") else { return };
    let shown = Command::new(bash).args(["-c", &line]).env("HOME", place.path()).output().expect("it was found");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
}
