//! `bugle keys rotate`: one key in the place of another, whatever happens on the way.

use crate::bugle::PATIENCE;
use crate::fleet::Cut;
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::host::{Host, Key};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Instant;

fn rotate(host: &Host, old: &PathBuf, new: &Key) -> crate::bugle::Bugle {
    host.keys("rotate").arg("--old").arg(old).arg("--new").arg(&new.private)
}

#[test]
fn the_new_key_logs_in_and_the_old_one_is_refused() {
    let Some(host) = Host::start() else { return };
    let (new, old) = (host.key("new").unwrap(), host.daemon.key());
    let line = host.text("root");
    host.write("root", format!("# first\nfrom=\"127.0.0.1\" {line}# last"));
    rotate(&host, &old, &new).run().is(
        0,
        "added: SHA256:<fingerprint> new (logs in)\nremoved: SHA256:<fingerprint> user\nrefused: SHA256:<fingerprint> user\n",
        "",
    );
    // Who takes a place may do no more than who had it.
    assert_eq!(host.text("root"), format!("# first\n# last\nfrom=\"127.0.0.1\" {}\n", new.line));
    assert!(host.lets_in("root", &new.private) && !host.lets_in("root", &old));
    let again = rotate(&host, &old, &new).run().exited(0);
    again.said(
        "already there: SHA256:<fingerprint> new (logs in)\nnot there: SHA256:<fingerprint>\nrefused: SHA256:<fingerprint> user\n",
    );
    host.assert_nothing_left("root");
}

#[test]
fn a_controller_that_is_killed_between_any_two_logins_leaves_a_way_in_and_can_begin_again() {
    // The work, the new key, the way without the old one, the new key again, the way of the run, the old key.
    for fatal in 2..=6 {
        let Some(host) = Host::start() else { return };
        let frozen = Cable::failing(Direction::ToClient, 0, Fault::Cut(Cut::Freeze));
        let cables = (1..fatal).map(|_| Cable::default()).chain([frozen, Cable::default()]);
        let host = host.behind(cables.collect::<Vec<_>>());
        let (new, old) = (host.key("new").unwrap(), host.daemon.key());
        let running = rotate(&host, &old, &new).start();
        let (relay, started) = (host.daemon.relay.as_ref().unwrap(), Instant::now());
        while relay.traffic().connections < fatal {
            assert!(started.elapsed() < PATIENCE, "login {fatal} begins");
            std::thread::yield_now();
        }
        running.signal(Signal::KILL);
        running.wait();
        assert!(host.lets_in("root", &old) || host.lets_in("root", &new.private), "after login {fatal}");
        let again = rotate(&host, &old, &new).run();
        assert_eq!(again.code(), 0, "after login {fatal}: {}", again.stderr);
        assert_eq!(host.text("root"), format!("{}\n", new.line), "after login {fatal}");
        assert!(!host.lets_in("root", &old));
    }
}

#[test]
fn an_old_key_that_still_logs_in_fails_the_rotation() {
    let Some(host) =
        Host::with(&["AuthorizedKeysCommandUser root", "AuthorizedKeysCommand /bin/cat {}/authorized_keys"])
    else {
        return;
    };
    let (new, old) = (host.key("new").unwrap(), host.daemon.key());
    let answer = rotate(&host, &old, &new).run().exited(1);
    answer.told(
        "keys.unproved: the old key SHA256:<fingerprint> user still logs in\nhint: another file, AuthorizedKeysCommand",
    );
    assert_eq!(host.text("root"), format!("{}\n", new.line));
}

#[test]
fn a_new_key_that_cannot_be_proved_is_a_mistake() {
    let Some(host) = Host::start() else { return };
    let (new, old) = (host.key("new").unwrap(), host.daemon.key());
    let before = host.text("root");
    let answer = host.keys("rotate").arg("--old").arg(&old).arg("--new").arg(new.of_a_colleague()).run().exited(2);
    answer.told("is neither in a file here nor in the agent");
    host.keys("rotate").arg("--old").arg(&old).arg("--new").arg(&old).run().exited(2).told("are the same");
    let dry = rotate(&host, &old, &new).arg("--dry-run").run().exited(0);
    assert!(dry.stdout.ends_with(&format!("\n+ {}\n- {}", new.line, before)), "{}", dry.stdout);
    assert_eq!(host.text("root"), before);
}

#[test]
fn a_new_key_with_the_comment_of_the_old_one_stays() {
    let Some(host) = Host::start() else { return };
    let (old, new) = (host.daemon.key(), host.key("new").unwrap());
    let line = new.line.replace(" new", " user");
    std::fs::write(new.public(), format!("{line}\n")).unwrap();
    let rotate = || host.keys("rotate").args(["--old", "user", "--new"]).arg(&new.private).run().exited(0);
    rotate().said("added: SHA256:<fingerprint> user (logs in)\nremoved: SHA256:<fingerprint> user\nrefused: SHA256:<fingerprint> user\n");
    assert_eq!(host.text("root"), format!("{line}\n"));
    assert!(host.lets_in("root", &new.private) && !host.lets_in("root", &old));
    rotate().said("already there: SHA256:<fingerprint> user (logs in)\nnot there: user\n");
    assert_eq!(host.text("root"), format!("{line}\n"));
}
