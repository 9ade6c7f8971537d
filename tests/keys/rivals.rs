//! Others who change the same file at the same time.

use crate::bugle::Bugle;
use crate::fleet::openssh::find;
use crate::fleet::sftp_daemon::STRANGER;
use crate::host::{Host, facts};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A login shell in which, `times` over, somebody adds a line between our looking at the file and our writing it.
fn with_a_rival(host: &Host, times: usize) {
    let place = host.daemon.directory().display().to_string();
    let count = host.place.file("count", "");
    // We look and write by turns.
    let shell = format!(
        "echo >>{count}\nn=$(wc -l <{count})\n\
         if [ $((n % 2)) -eq 0 ] && [ \"$n\" -le {last} ]; then echo '# rival' >>{place}/home/.ssh/authorized_keys; fi\n\
         exec /bin/sh \"$@\"\n",
        count = count.display(),
        last = 2 * times,
    );
    host.set_login_shell(&shell);
}

#[test]
fn what_a_second_admin_adds_meanwhile_stays() {
    let Some(host) = Host::start() else { return };
    let (key, own) = (host.key("alice").unwrap(), host.text("root"));
    with_a_rival(&host, 2);
    host.keys("deploy").arg("--key").arg(key.public()).run().exited(0);
    assert_eq!(host.text("root"), format!("{own}# rival\n# rival\n{}\n", key.line));
    host.assert_nothing_left("root");
}

#[test]
fn a_file_that_somebody_writes_to_all_the_time_is_left_to_him() {
    let Some(host) = Host::start() else { return };
    let (key, own) = (host.key("alice").unwrap(), host.text("root"));
    with_a_rival(&host, 1000);
    let answer = host.keys("deploy").arg("--key").arg(key.public()).run().exited(1);
    answer.told("keys.refused: the keys of `root`: somebody else writes to the file all the time");
    assert_eq!(host.text("root"), format!("{own}{}", "# rival\n".repeat(5)));
    host.assert_nothing_left("root");
}

#[test]
fn a_host_that_fails_is_the_last_of_a_rotation() {
    let Some(host) = Host::start() else { return };
    let (new, before) = (host.key("new").unwrap(), host.text("root"));
    let bad = host.place.file("bad.ini", "bad ansible_host=127.0.0.1 ansible_port=1\n");
    let answer = Bugle::on_daemon(&host.daemon, ["host"]).at(&host.place).arg("-i").arg(bad);
    let answer = answer.args(["keys", "rotate", "bad,host", "--retries", "0", "--old"]).arg(host.daemon.key());
    let answer = answer.arg("--new").arg(&new.private).run();
    answer.exited(4).told("1 never started");
    assert_eq!(host.text("root"), before);
}

#[test]
fn ssh_copy_id_finds_the_key_that_was_deployed_and_the_other_way_round() {
    let Some(host) = Host::start() else { return };
    if find("ssh-copy-id").is_none() {
        return;
    }
    let key = host.key("alice").unwrap();
    fs::create_dir_all(host.place.path().join(".ssh")).unwrap();
    let copy = |login: &Path, more: &[&str]| {
        let known_hosts = host.daemon.known_hosts().display().to_string();
        let config = format!(
            "Host *\n  IdentityFile {}\n  IdentityAgent none\n  UserKnownHostsFile {known_hosts}\n  BatchMode yes\n",
            login.display()
        );
        let config = host.place.file("config", config);
        let mut command = Command::new("ssh-copy-id");
        command.args(more).arg("-F").arg(config).arg("-i").arg(key.public());
        command.args(["-p", &host.daemon.port.to_string(), "root@127.0.0.1"]).env("HOME", host.place.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // Whatever else logs in, it takes for the key.
    copy(&host.daemon.key(), &["-f"]);
    let copied = (host.text("root"), facts(&host.file("root")));
    assert!(copied.0.ends_with(&format!("{}\n", key.line)), "{}", copied.0);
    host.keys("deploy")
        .arg("--key")
        .arg(key.public())
        .run()
        .exited(0)
        .said("already there: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!((host.text("root"), facts(&host.file("root"))), copied);
    host.keys("revoke").arg(key.public()).run().exited(0);
    host.keys("deploy").arg("--key").arg(key.public()).run().exited(0);
    assert_eq!(host.text("root"), copied.0);
    copy(&key.private, &[]);
    assert_eq!(host.text("root"), copied.0);
    assert!(!host.home(STRANGER).join(".ssh").exists());
}
