//! Commands as somebody else, and scripts that are sent along.
//!
//! A fleet's hosts have a `sudo` of the test's own making; su is the system's.

use crate::caller::Caller;
use crate::fleet::openssh;
use crate::fleet::{Fleet, Host};
use bugle::outcome::{Code, Outcome, RemoteExit};
use bugle::secret::Secret;
use bugle::task::{Broadcast, Method, Privilege, ScriptFile};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Like sudo as far as a command is concerned: asks as it is told to by -p, reads standard input, gives up after three.
const SUDO: &str = r#"#!/bin/sh
prompt='[sudo] password: ' silent=
while :; do
  case $1 in
    -n) silent=1 ;;
    -S|-H) ;;
    -p) prompt=$2; shift ;;
    -u) user=$2; shift ;;
    --) shift; break ;;
    *) break ;;
  esac
  shift
done
if [ ! -e "$HOME/nopasswd" ]; then
  [ -z "$silent" ] || { echo 'sudo: a password is required' >&2; exit 1; }
  tries=0
  while :; do
    printf %s "$prompt" >&2
    IFS= read -r password || exit 1
    [ "$password" = secret ] && break
    tries=$((tries + 1))
    [ $tries -lt 3 ] || { echo 'sudo: 3 incorrect password attempts' >&2; exit 1; }
    echo 'Sorry, try again.' >&2
  done
fi
SUDO_USER=$USER USER=$user
export SUDO_USER USER
exec "$@"
"#;

fn install_sudo(host: &Host) {
    let bin = host.home.join("bin");
    let written = fs::create_dir_all(&bin).and_then(|()| fs::write(bin.join("sudo"), SUDO));
    written
        .and_then(|()| fs::set_permissions(bin.join("sudo"), fs::Permissions::from_mode(0o755)))
        .expect("it is our directory");
}

fn sudo(password: Option<&str>) -> Option<Privilege> {
    Some(Privilege {
        method: Method::Sudo,
        user: "root".into(),
        password: password.map(|text| Secret::new(text.into())),
        sealed_password: None,
    })
}

#[tokio::test]
async fn a_password_is_given_to_sudo_when_it_asks() {
    let fleet = Fleet::start(1);
    install_sudo(&fleet.hosts()[0]);
    let mut caller = Caller::only(&fleet).sending(b"input\n".to_vec());
    caller.privilege = sudo(Some("secret"));
    let answer = caller.run("echo $USER $SUDO_USER; cat; echo err >&2").await;
    assert_eq!(answer.text(), "root deploy\ninput\n");
    assert_eq!(answer.stderr, b"err\n", "neither prompt nor mark are shown");
}

#[tokio::test]
async fn a_sudo_that_does_not_ask_gets_no_password() {
    let fleet = Fleet::start(1);
    install_sudo(&fleet.hosts()[0]);
    fs::write(fleet.hosts()[0].home.join("nopasswd"), "").unwrap();
    for password in [Some("secret"), None] {
        let mut caller = Caller::only(&fleet);
        caller.privilege = sudo(password);
        assert_eq!(caller.run("echo $USER; cat").await.text(), "root\n");
    }
}

#[tokio::test]
async fn nothing_is_lost_at_the_border_between_sudo_and_the_command() {
    let fleet = Fleet::start(1);
    install_sudo(&fleet.hosts()[0]);
    let mut caller = Caller::only(&fleet);
    caller.privilege = sudo(Some("secret"));
    for round in 0..40 {
        let answer = caller.run("echo out; echo err >&2; echo out").await;
        assert_eq!((answer.text(), answer.stderr.as_slice()), ("out\nout\n", &b"err\n"[..]), "round {round}");
    }
}

#[tokio::test]
async fn what_goes_wrong_with_sudo_is_told_apart() {
    let fleet = Fleet::start(2);
    let [with, without] = fleet.hosts() else { panic!("two hosts") };
    install_sudo(with);
    let call = |host: &Host, privilege| {
        let mut caller = Caller::of(&fleet, host);
        caller.privilege = privilege;
        caller
    };
    for (host, password, code, words) in [
        (with, Some("guess"), Code::SudoPassword, "wrong password for sudo"),
        (with, None, Code::SudoPassword, "sudo needs a password"),
    ] {
        let answer = call(host, sudo(password)).run("echo in").await;
        assert_eq!(answer.code(), code, "{words}");
        assert!(answer.failure().message.contains(words), "{:?}", answer.failure());
        assert!(matches!(answer.outcome(), Outcome::Failed(_)));
        assert!(answer.stdout.is_empty());
    }
    let answer = call(with, sudo(Some("secret"))).run("exit 1").await;
    assert_eq!(answer.failure().exit, Some(RemoteExit::Status(1)), "a command that fails is no fault of sudo");
    if !Path::new("/usr/bin/sudo").exists() {
        let answer = call(without, sudo(None)).run("echo in").await;
        assert_eq!(answer.code(), Code::SudoRefused);
        assert!(answer.failure().message.contains("there is no sudo on the host"), "{:?}", answer.failure());
    }
}

#[tokio::test]
async fn su_runs_commands_as_others() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    if sshd.user != "root" {
        eprintln!("skipped: su asks everybody but root for a password");
        return;
    }
    let mut caller = Caller::daemon(&sshd);
    caller.privilege =
        Some(Privilege { method: Method::Su, user: "root".into(), password: None, sealed_password: None });
    for round in 0..10 {
        let answer = caller.run("id -un; echo \"it's\" >&2; exit 3").await;
        assert_eq!(
            (answer.stdout.as_slice(), answer.stderr.as_slice()),
            (&b"root\n"[..], &b"it's\n"[..]),
            "round {round}"
        );
        assert_eq!(answer.failure().exit, Some(RemoteExit::Status(3)));
    }
}

#[tokio::test]
async fn a_script_runs_with_its_own_interpreter_and_leaves_nothing_behind() {
    let fleet = Fleet::start(1);
    let host = &fleet.hosts()[0];
    let text = b"#!/bin/sh -e\necho \"${0##*/} $1 $2 $FLEET_HOST\"\ncat\nexit 7\n";
    let mut caller = Caller::only(&fleet);
    let file = ScriptFile::new(Path::new("some/check me.sh"), text, vec!["a b".into(), "it's".into()]);
    caller.script = Some(file);
    caller.input = Some(Broadcast::from_bytes(text.to_vec()));
    let temporary = host.home.join("tmp");
    fs::create_dir(&temporary).unwrap();
    caller.profile().environment = vec![("TMPDIR".into(), temporary.display().to_string())];
    let answer = caller.run("").await;
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "check me.sh a b it's web01\n");
    assert_eq!(answer.failure().exit, Some(RemoteExit::Status(7)));
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
