//! `bugle keys sync`: what is declared is what is there.

use crate::fleet::sftp_daemon::STRANGER;
use crate::host::{Host, facts};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn the_declared_keys_are_there_with_their_options_and_others_only_where_they_may_stay() {
    let Some(host) = Host::start() else { return };
    let (alice, bob, eve) = (host.key("alice").unwrap(), host.key("bob").unwrap(), host.key("eve").unwrap());
    host.write(STRANGER, format!("# hers\n{}\nnonsense\nrestrict {}\n", eve.line, alice.line));
    let from = host.place.file("team.keys", format!("# the team\n{}\nrestrict,pty {}\n", alice.line, bob.line));
    let sync = || host.keys("sync").arg("--from").arg(&from).args(["--for", STRANGER]);
    let dry = sync().args(["--exclusive", "--dry-run"]).run().exited(0);
    let lines = format!("\n- {2}\n- restrict {0}\n+ {0}\n+ restrict,pty {1}\n", alice.line, bob.line, eve.line);
    assert!(dry.stdout.ends_with(&lines), "{}", dry.stdout);
    dry.told("authorized_keys: stays, since it is no key that bugle understands: line 3\n");
    let kept = sync().run().exited(0);
    kept.said(
        "stranger: options changed: SHA256:<fingerprint> alice (not proved: the private half is not here)\n\
         stranger: added: SHA256:<fingerprint> bob (not proved: the private half is not here)\n",
    );
    let team = |others: &str| format!("# hers\n{others}nonsense\n{}\nrestrict,pty {}\n", alice.line, bob.line);
    assert_eq!(host.text(STRANGER), team(&format!("{}\n", eve.line)));
    let exclusive = sync().arg("--exclusive").run().exited(0);
    assert!(exclusive.stdout.ends_with("stranger: removed: SHA256:<fingerprint> eve\n"), "{}", exclusive.stdout);
    assert_eq!(host.text(STRANGER), team(""));
    let before = facts(&host.file(STRANGER));
    sync().arg("--exclusive").run().exited(0);
    assert_eq!(facts(&host.file(STRANGER)), before);
}

#[test]
fn a_directory_declares_the_keys_of_each_user_and_nobody_shuts_himself_out() {
    let Some(host) = Host::start() else { return };
    let (alice, own) = (host.key("alice").unwrap(), host.text("root"));
    host.place.file("keys.d/stranger", format!("{}\n", alice.line));
    let root = host.place.file("keys.d/root", format!("{}\n", alice.line));
    let from = host.place.path().join("keys.d");
    let sync = || host.keys("sync").arg("--from").arg(&from).arg("--exclusive");
    sync().run().exited(1).told("keys.refused: the keys of `root`: without it, this run would have no way in");
    assert_eq!(host.text("root"), own);
    std::fs::write(&root, format!("{own}{}\n", alice.line)).unwrap();
    sync().run().exited(0);
    assert_eq!(
        (host.text("root"), host.text(STRANGER)),
        (format!("{own}{}\n", alice.line), format!("{}\n", alice.line))
    );
    for (content, words) in [
        ("hello\n", "root:1: no key"),
        (&*format!("ptty {}\n", alice.line), "root:1: "),
        (&format!("{0}\n{0}\n", alice.line), "root:2: the key stands there for a second time"),
    ] {
        std::fs::write(&root, content).unwrap();
        sync().run().exited(2).told(words);
    }
}

#[test]
fn with_exclusive_exactly_what_is_declared_is_there() {
    let Some(host) = Host::start() else { return };
    let (alice, bob) = (host.key("alice").unwrap(), host.key("bob").unwrap());
    host.write(
        STRANGER,
        format!(
            "# hers\ncert-authority {0}\nrestrict {0}\n{0}\nno-pty {0} again\n{1}\nno-pty,restrict {1}\nnonsense\n",
            alice.line, bob.line
        ),
    );
    fs::write(host.home(STRANGER).join(".ssh/authorized_keys2"), format!("{}\n", alice.line)).unwrap();
    let from = host.place.file("team.keys", format!("{}\nrestrict,no-pty {}\n", alice.line, bob.line));
    let sync = || host.keys("sync").arg("--from").arg(&from).args(["--for", STRANGER, "--exclusive"]).run().exited(0);
    let stays = "(another line of it stays)\nstranger: removed: SHA256:<fingerprint>";
    sync().said(&format!(
        "stranger: already there: SHA256:<fingerprint> alice (not proved: the private half is not here)\n\
         stranger: already there: SHA256:<fingerprint> bob (not proved: the private half is not here)\n\
         stranger: removed: cert-authority SHA256:<fingerprint> alice\nstranger: removed: SHA256:<fingerprint> alice {stays} \
         alice again {stays} bob {stays} alice (another line of it stays)\n"
    ));
    assert_eq!(host.text(STRANGER), format!("# hers\n{}\nno-pty,restrict {}\nnonsense\n", alice.line, bob.line));
    assert_eq!(fs::read(host.home(STRANGER).join(".ssh/authorized_keys2")).unwrap(), b"");
    let before = facts(&host.file(STRANGER));
    sync();
    assert_eq!(facts(&host.file(STRANGER)), before);
}

#[test]
fn a_declared_key_is_proved_by_what_this_run_logs_in_with() {
    let Some(host) = Host::start() else { return };
    let from = host.place.file("team.keys", host.text("root"));
    let sync = host.keys("sync").arg("--from").arg(&from).args(["--exclusive"]).run().exited(0);
    sync.said("already there: SHA256:<fingerprint> user (logs in)\n");
    // A declared key that does not log in is taken back.
    let bob = host.key("bob").unwrap();
    fs::write(&from, format!("{}from=\"192.0.2.1\" {}\n", host.text("root"), bob.line)).unwrap();
    let sync = host.keys("sync").arg("--from").arg(&from).arg("-I").arg(&bob.private).arg("-I").arg(host.daemon.key());
    sync.run().exited(1).told("keys.rolled_back: SHA256:<fingerprint> bob does not log in");
}

#[test]
fn an_account_that_is_not_there_does_not_stop_the_others() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    for user in ["another", "nosuch", STRANGER] {
        host.place.file(&format!("keys.d/{user}"), format!("{}\n", alice.line));
    }
    let answer = host.keys("sync").arg("--from").arg(host.place.path().join("keys.d")).run().exited(1);
    answer.told(
        "host: keys.refused: the keys of `another`: there is no such account; the keys of `nosuch`: there is no such account\n",
    );
    assert_eq!(host.text(STRANGER), format!("{}\n", alice.line));
}

#[test]
fn a_file_with_two_names_is_edited_once() {
    let Some(host) = Host::with(&["AuthorizedKeysFile .ssh/authorized_keys .ssh/more {}/seen/.ssh/authorized_keys"])
    else {
        return;
    };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let (home, more) = (host.home("root"), host.home("root").join(".ssh/more"));
    let from = host.place.file("team.keys", format!("{own}{}\n", alice.line));
    let sync = || host.keys("sync").arg("--from").arg(&from).arg("--exclusive").run().exited(0);
    let first = "already there: SHA256:<fingerprint> user (logs in)\n";
    let there = "already there: SHA256:<fingerprint> alice (not proved: the private half is not here)\n";
    let linked = || symlink("authorized_keys", &more).unwrap();
    let led = || {
        fs::rename(home.join(".ssh"), home.join("elsewhere")).unwrap();
        symlink("elsewhere", home.join(".ssh")).unwrap();
        symlink(host.home("root").join("elsewhere/authorized_keys"), &more).unwrap();
    };
    let seen = host.daemon.directory().join("seen");
    let mounted = || {
        fs::create_dir(&seen).unwrap();
        host.mount(&["--bind", &home.display().to_string(), &seen.display().to_string()]);
    };
    for make in [&linked as &dyn Fn(), &led, &mounted] {
        let _ = fs::remove_file(&more);
        make();
        host.write("root", &own);
        sync().said(&format!("{first}added: SHA256:<fingerprint> alice (not proved: the private half is not here)\n"));
        let before = facts(&host.file("root"));
        sync().said(&format!("{first}{there}"));
        assert_eq!(host.text("root"), format!("{own}{}\n", alice.line));
        assert_eq!(facts(&host.file("root")), before);
    }
    host.keys("revoke").arg("alice").run().exited(0).said("removed: SHA256:<fingerprint> alice\n");
    assert_eq!(host.text("root"), own);
    // Names that part when one of them becomes another file are two.
    let _ = fs::remove_file(&more);
    fs::hard_link(host.file("root"), &more).unwrap();
    fs::write(&from, &own).unwrap();
    sync();
    sync().said(first);
    assert_eq!((host.text("root"), fs::read(&more).unwrap()), (own, Vec::new()));
}
