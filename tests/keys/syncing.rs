//! `bugle keys sync`: what is declared is what is there.

use crate::fleet::sftp_daemon::STRANGER;
use crate::host::{Host, facts};

#[test]
fn the_declared_keys_are_there_with_their_options_and_others_only_where_they_may_stay() {
    let Some(host) = Host::start() else { return };
    let (alice, bob, eve) = (host.key("alice").unwrap(), host.key("bob").unwrap(), host.key("eve").unwrap());
    host.write(STRANGER, format!("# hers\n{}\nnonsense\nrestrict {}\n", eve.line, alice.line));
    let from = host.place.file("team.keys", format!("# the team\n{}\nrestrict,pty {}\n", alice.line, bob.line));
    let sync = || host.keys("sync").arg("--from").arg(&from).args(["--for", STRANGER]);
    let dry = sync().args(["--exclusive", "--dry-run"]).run().exited(0);
    let lines = format!("\n- restrict {0}\n+ {0}\n+ restrict,pty {1}\n- {2}\n", alice.line, bob.line, eve.line);
    assert!(dry.stdout.ends_with(&lines), "{}", dry.stdout);
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
