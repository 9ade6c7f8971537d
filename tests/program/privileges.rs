//! `--sudo` and `ansible_become*`: against a stand-in for sudo with a password, and the real programs.

use crate::bugle::{Bugle, Place, server};
use crate::fleet::openssh::{find, login_name};
use crate::fleet::{Behaviour, Fleet, Login};

/// Behaves as sudo(8) towards a user with the password `open sesame`; `locked` may not become anybody.
const SUDO: &str = r#"#!/bin/sh
ask= prompt='[sudo] password: ' user=root
while [ $# -gt 0 ]; do
  case $1 in
    -n) ask=never ;;
    -S) ask=stdin ;;
    -H) ;;
    -p) prompt=$2; shift ;;
    -u) user=$2; shift ;;
    --) shift; break ;;
    *) break ;;
  esac
  shift
done
[ "$FLEET_HOST" != db01 ] || { echo 'deploy is not in the sudoers file.' >&2; exit 1; }
[ "$ask" != never ] || { echo 'sudo: a password is required' >&2; exit 1; }
for try in 1 2 3; do
  printf %s "$prompt" >&2
  read -r line || { echo 'sudo: no password was provided' >&2; exit 1; }
  [ "$line" != 'open sesame' ] || { BECAME=$user; export BECAME; exec "$@"; }
  echo 'Sorry, try again.' >&2
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"#;

/// A call of hosts that have the stand-in.
fn bugle(fleet: &Fleet, place: &Place) -> Bugle {
    place.file_with_mode("bin/sudo", SUDO, 0o700);
    let path = format!("SetEnv=PATH={}/bin:/usr/bin:/bin", place.path().display());
    Bugle::on(fleet).at(place).args(["-o", &path])
}

const TOLD: &str = "hint: a host with another password: set ansible_become_password for it in the inventory\n";

/// Refuses in the words of sudo(8) where sudoers allows some commands only: they hold the command.
const RESTRICTED: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
echo "Sorry, user deploy is not allowed to execute '$*' as root on web01." >&2
exit 1
"#;

#[test]
fn a_refusal_that_quotes_the_command_is_not_taken_for_its_output() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    place.file_with_mode("bin/sudo", RESTRICTED, 0o700);
    let path = format!("SetEnv=PATH={}/bin:/usr/bin:/bin", place.path().display());
    Bugle::on(&fleet).at(&place).args(["-o", &path, "run", "web01", "--sudo", "echo sudo: not found\nid"]).run().is(
        1,
        "",
        "web01: sudo.refused: sudo refused: user deploy is not allowed to execute `/bin/sh`\n\
         hint: bugle runs every command with /bin/sh -c: sudoers has to allow that, not the command alone\n",
    );
}

#[test]
fn a_right_password_lets_the_command_run_as_another() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    for (option, user) in [("--sudo", "root"), ("--sudo=admin", "admin")] {
        let answer = bugle(&fleet, &place)
            .args(["run", "all", "-f", "1", option, "--sudo-pass-fd", "3", "--env", "A=it's", "--chdir", "/"])
            .arg("echo $BECAME $A $(pwd); echo err >&2")
            .descriptor(3, "open sesame\n")
            .run();
        answer.is(
            0,
            &format!("web01: {user} it's /\nweb02: {user} it's /\n"),
            "web01: err\nweb02: err\n2 hosts in <time>: 2 ok\n",
        );
    }
    let input = bugle(&fleet, &place).args(["run", "web01", "--sudo", "--sudo-pass-fd", "3", "--stdin", "cat; exit 5"]);
    input.descriptor(3, "open sesame\n").stdin("for the command\n").run().is(5, "for the command\n", "");
    let script = place.file("job.sh", "echo \"$BECAME $1\"\n");
    let script = bugle(&fleet, &place).args(["script", "web01", "--sudo", "--sudo-pass-fd", "3"]).arg(script).arg("x");
    script.descriptor(3, "open sesame\n").run().is(0, "root x\n", "");
}

#[test]
fn a_wrong_password_is_told_apart_from_a_command_that_fails() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    let run = |password: &str| {
        let call = bugle(&fleet, &place).args(["run", "all", "--sudo", "--sudo-pass-fd", "3", "echo ran; exit 1"]);
        call.descriptor(3, password).run()
    };
    run("wrong\n").is(
        1,
        "",
        &format!("web[01-02] (2): sudo.password: wrong password for sudo\n{TOLD}2 hosts in <time>: 0 ok, 2 failed\n"),
    );
    run("open sesame\n").exited(1).told("web[01-02] (2): exit.status: exit status 1\n");
    run("\n").is(2, "", "error: file descriptor 3 holds no password\nhint: each secret needs a descriptor of its own: what was read of a pipe is gone\n");
}

#[test]
fn each_host_may_have_its_own_password_in_the_inventory() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    let vars = place.file(
        "vars.ini",
        "web01 ansible_become_password='open sesame'\nweb02 ansible_become_password=wrong\n[web]\nweb01\nweb02\n[web:vars]\nansible_become=true\n",
    );
    let call = bugle(&fleet, &place).arg("-i").arg(vars).args(["run", "all", "-f", "1", "echo $BECAME"]);
    call.run().is(
        1,
        "web01: root\n",
        &format!("web02: sudo.password: wrong password for sudo\n{TOLD}2 hosts in <time>: 1 ok, 1 failed\n"),
    );
}

#[test]
fn who_may_not_become_another_or_has_no_password_is_told_so() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    bugle(&fleet, &place).args(["run", "all", "--sudo", "echo ran"]).run().is(
        1,
        "",
        "web[01-02] (2): sudo.password: sudo needs a password\n\
         hint: -K asks for it once; or set ansible_become_password in the inventory\n\
         db01: sudo.refused: sudo refused to run the command as `root`: deploy is not in the sudoers file.\n\
         hint: is the login user allowed to? see `sudo -l` on the host\n3 hosts in <time>: 0 ok, 3 failed\n",
    );
    // A host without sudo: its PATH leads nowhere else.
    let empty = format!("SetEnv=PATH={}", place.path().join("empty").display());
    Bugle::on(&fleet).args(["-o", &empty, "run", "web", "--sudo", "echo ran"]).run().is(
        1,
        "",
        "web[01-02] (2): sudo.refused: there is no sudo on the host\n\
         hint: log in as that user (-l), or set `ansible_become_method` to what the host has: sudo, su or doas\n\
         2 hosts in <time>: 0 ok, 2 failed\n",
    );
}

#[test]
fn the_real_sudo_and_su_run_commands_as_others() {
    if login_name() != "root" {
        return eprintln!("skipped: not root, so sudo and su would ask for a password");
    }
    let Some(sshd) = server() else { return };
    for (method, user) in [("sudo", "nobody"), ("su", "root")] {
        if find(method).is_none() {
            continue;
        }
        let place = Place::new();
        let vars = place.file("vars.ini", format!("host ansible_become_method={method} ansible_become_user={user}\n"));
        for _ in 0..5 {
            let call = Bugle::on_daemon(&sshd, ["host"]).at(&place).arg("-i").arg(&vars);
            call.args(["run", "host", "--sudo", "id -un; echo err >&2; exit 4"]).run().is(
                4,
                &format!("{user}\n"),
                "err\n",
            );
        }
    }
}

#[test]
fn a_password_that_is_encrypted_is_missed_where_it_is_asked_for() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let vars = place.file("vars.yaml", "all:\n  hosts:\n    web01:\n  vars:\n    ansible_become_pass: !vault x\n");
    let call = || bugle(&fleet, &place).arg("-i").arg(&vars).args(["run", "web01"]);
    call().arg("echo ran").run().is(0, "ran\n", "");
    call().args(["--sudo", "echo ran"]).run().is(
        1,
        "",
        "web01: sudo.password: sudo needs a password, and `ansible_become_pass` is encrypted with Ansible's vault\n\
         hint: -K asks for it once: bugle does not open vaults\n",
    );
    let given = call().args(["--sudo", "--sudo-pass-fd", "3", "echo ran"]);
    given.descriptor(3, "open sesame\n").run().is(0, "ran\n", "");
    let closed = Fleet::of([("web01", Behaviour::letting_in(Login::Nobody))]);
    let vars = place.file("vars.yaml", "all:\n  hosts:\n    web01:\n  vars:\n    ansible_password: !vault x\n");
    let answer = Bugle::on(&closed).at(&place).arg("-i").arg(vars).args(["run", "web01", "true"]).run().exited(255);
    answer.told("; `ansible_password` is encrypted with Ansible's vault\n");
}
