//! What a person at a terminal is asked, and what happens where there is none.

use crate::bugle::{Bugle, Place, calls};
use crate::fleet::keys::line;
use crate::fleet::{Behaviour, Fleet, HostKey, Reception, pattern};
use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

fn fleet() -> Fleet {
    let unknown = || Behaviour::showing(HostKey::Unknown);
    Fleet::of([("web01", unknown()), ("web02", unknown()), ("db01", Behaviour::default())])
}

const TABLE: &str = "\
Nobody vouches for these host keys yet:
  web01 ([127.1.0.1]:<port>)  ED25519  SHA256:<fingerprint>
  web02 ([127.1.0.2]:<port>)  ED25519  SHA256:<fingerprint>
Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.
Trust these 2 host keys and remember them? [yes/no] ";

#[test]
fn unknown_host_keys_are_asked_about_once_and_remembered_when_trusted() {
    let fleet = fleet();
    let before = fs::read_to_string(fleet.known_hosts()).expect("it was written");
    let run = |answers: &[&str]| {
        Bugle::on(&fleet)
            .args(["run", "all", "-f", "1", "--output", "stream", "-q", "echo ran"])
            .run_on_terminal(answers)
    };
    let Some(screen) = run(&["yes"]) else { return };
    let expected = format!("{TABLE}yes\n2 host keys added to <fleet>/known_hosts\nweb01: ran\nweb02: ran\ndb01: ran\n");
    assert_eq!(screen.exited(0).stdout, expected);
    let after = fs::read_to_string(fleet.known_hosts()).expect("it is there");
    assert!(after.starts_with(&before), "what stood there stays");
    assert_eq!(after.lines().count(), before.lines().count() + 2, "{after}");
    for host in ["web01", "web02"] {
        let host = fleet.host(host);
        let key: Vec<_> = line(&host.key).split_whitespace().take(2).map(str::to_owned).collect();
        assert!(after.contains(&format!("{} {}\n", pattern(host), key.join(" "))), "{after}");
    }
    let Some(screen) = run(&[]) else { return };
    assert_eq!(screen.exited(0).stdout, "web01: ran\nweb02: ran\ndb01: ran\n");
}

#[test]
fn nothing_is_started_when_the_keys_are_not_trusted() {
    for answer in ["no", "", "YES PLEASE"] {
        let fleet = fleet();
        let before = fs::read(fleet.known_hosts()).expect("it was written");
        let Some(screen) = Bugle::on(&fleet).args(["run", "all", "-q", "echo ran"]).run_on_terminal(&[answer]) else {
            return;
        };
        let expected = format!(
            "{TABLE}{answer}\nerror: the host keys were not trusted; nothing was started\n\
             hint: leave the unknown hosts out with --exclude, or collect their keys in a trusted way into known_hosts\n"
        );
        assert_eq!(screen.exited(2).stdout, expected);
        assert!(fleet.hosts().iter().all(|host| host.commands().is_empty()));
        assert_eq!(fs::read(fleet.known_hosts()).expect("it is there"), before);
    }
}

#[test]
fn one_server_of_two_names_is_asked_about_once() {
    let fleet = Fleet::one(Behaviour::showing(HostKey::Unknown));
    let address = fleet.host("host").address;
    let alias = |name: &str| format!("{name} ansible_host={} ansible_port={}\n", address.ip(), address.port());
    let place = Place::new();
    let inventory = place.file("aliases", alias("a") + &alias("b"));
    let call =
        Bugle::on(&fleet).at(&place).arg("-i").arg(inventory).args(["run", "a,b", "-q", "--output", "none", "true"]);
    let Some(screen) = call.run_on_terminal(&["yes"]) else { return };
    assert_eq!(
        screen.exited(0).stdout,
        "Nobody vouches for these host keys yet:\n  a ([127.1.0.1]:<port>)  ED25519  SHA256:<fingerprint>\n\
         Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.\n\
         Trust this host key and remember it? [yes/no] yes\n1 host key added to <fleet>/known_hosts\n"
    );
}

#[test]
fn a_key_that_several_hosts_share_is_pointed_out() {
    // All hosts of a light fleet have one key.
    let fleet = Fleet::light(2, 1);
    let place = Place::new();
    let known = format!("UserKnownHostsFile={}/known_hosts", place.path().display());
    let call = Bugle::on(&fleet).at(&place).args(["-o", &known, "run", "all", "-q", "--output", "group", "true"]);
    let Some(screen) = call.run_on_terminal(&["yes"]) else { return };
    assert_eq!(
        screen.exited(0).stdout,
        "Nobody vouches for these host keys yet:\n\
         \x20 host00001 ([127.1.0.1]:<port>)  ED25519  SHA256:<fingerprint>  <- the same key on 2 hosts\n\
         \x20 host00002 ([127.1.0.2]:<port>)  ED25519  SHA256:<fingerprint>  <- the same key on 2 hosts\n\
         Compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the hosts.\n\
         Trust these 2 host keys and remember them? [yes/no] yes\n2 host keys added to <home>/known_hosts\n\
         ---------------\nhost[00001-00002] (2)\n---------------\nLinux 6.1.0\nhello from a light fleet\n"
    );
}

#[test]
fn a_dead_host_is_waited_for_once_and_meanwhile_the_progress_is_shown() {
    let unknown = |reception| Behaviour { reception, ..Behaviour::showing(HostKey::Unknown) };
    let fleet = Fleet::of([("web01", unknown(Reception::Ssh)), ("web02", unknown(Reception::Silent))]);
    let call = Bugle::on(&fleet).args(["run", "all", "--connect-timeout", "2s", "--output", "stream", "echo ran"]);
    let began = Instant::now();
    let Some(screen) = call.run_on_terminal(&["yes"]) else { return };
    let screen = screen.exited(3).stdout;
    assert!(began.elapsed() < Duration::from_millis(3900), "{:?}", began.elapsed());
    assert_eq!(fleet.host("web02").counts().connections, 1, "it is not called a second time");
    let (before, after) = screen.split_once("Nobody vouches").expect("a question");
    assert!(before.contains("fetching host keys 1/2, ") && before.ends_with("\r\x1b[2K"), "{before:?}");
    assert!(!after.contains("fetching"), "{after}");
    assert!(after.contains("web01: ran\n"), "{after}");
    assert!(after.contains("web02: pre_banner.timeout: connected to port <port>, but it said nothing in "), "{after}");
}

#[test]
fn the_deadline_holds_while_host_keys_are_fetched() {
    let unknown = |reception| Behaviour { reception, ..Behaviour::showing(HostKey::Unknown) };
    let fleet = Fleet::of([("web01", unknown(Reception::Ssh)), ("web02", unknown(Reception::Silent))]);
    let call = Bugle::on(&fleet).args(["run", "all", "--deadline", "1s", "--connect-timeout", "50s", "echo ran"]);
    let began = Instant::now();
    let Some(screen) = call.run_on_terminal(&[]) else { return };
    let screen = screen.exited(4).stdout;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(!screen.contains("Nobody vouches"), "nobody is asked about a run that will not be: {screen}");
    assert!(screen.contains("never started: web[01-02] (2)\n"), "{screen}");
    assert!(fleet.hosts().iter().all(|host| host.commands().is_empty()));
    assert_eq!(calls(&fleet), 2, "each was called for its key alone");
}

#[test]
fn in_batch_nobody_is_asked_and_the_next_command_is_told() {
    let fleet = fleet();
    let refused = |bugle: Bugle| bugle.args(["run", "web", "--output", "none", "true"]);
    let answer = refused(Bugle::on(&fleet)).run().exited(3).said("");
    let files = "-F <fleet>/ssh_config -i <fleet>/inventory.ini";
    answer
        .told("web01: hostkey.unknown: nobody vouches for the host key ED25519 SHA256:<fingerprint> of `[127.1.0.1]:<port>`\n")
        .told(&format!("\nhint: `bugle known-hosts learn web {files}` shows it, asks and remembers it; compare it with"));
    let gate = fleet.host("web01").address.to_string();
    let call = Bugle::on(&fleet).args(["-J", &gate, "run", "web02", "-x", "db*", "true"]).run().exited(255);
    call.told("web02: hostkey.unknown: jump host `127.1.0.1`: nobody vouches for").told(
        "\nhint: `bugle known-hosts learn web02 -F <fleet>/ssh_config -J 127.1.0.1:<port> -i <fleet>/inventory.ini -x 'db*'` shows",
    );
    let Some(screen) = refused(Bugle::on(&fleet).args(["-o", "BatchMode=yes"])).run_on_terminal(&[]) else { return };
    screen.exited(3);
}

#[test]
fn wide_work_is_asked_about_at_a_terminal() {
    let fleet = Fleet::light(120, 2);
    let run = |arguments: &[&str], answers: &[&str]| {
        Bugle::on(&fleet)
            .args(["run", "all", "-q", "--output", "group"])
            .args(arguments)
            .arg("reboot now")
            .run_on_terminal(answers)
    };
    let question = "run `reboot now` on 120 hosts (host[00001-00120])? [yes/no] ";
    let Some(screen) = run(&[], &["no"]) else { return };
    assert_eq!(
        screen.exited(2).stdout,
        format!("{question}no\nerror: nothing was started\nhint: --yes does not ask\n")
    );
    assert_eq!(calls(&fleet), 0);
    let answer = "---------------\nhost[00001-00120] (120)\n---------------\nLinux 6.1.0\nhello from a light fleet\n";
    let Some(screen) = run(&["--yes"], &[]) else { return };
    assert_eq!(screen.exited(0).stdout, answer);
    let Some(screen) = run(&[], &["yes"]) else { return };
    assert_eq!(screen.exited(0).stdout, format!("{question}yes\n{answer}"));
}

#[test]
fn an_agent_that_never_answers_is_told_and_counts_for_the_deadline() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let socket = place.path().join("agent");
    // Connections wait in the queue of the socket for ever.
    let _agent = UnixListener::bind(&socket).expect("the directory can be written");
    let agent = format!("IdentityAgent={}", socket.display());
    let run = |deadline: &str| {
        let began = Instant::now();
        let call = Bugle::on(&fleet).at(&place).args(["-o", &agent, "run", "all", "-v", "--output", "stream"]);
        (call.args(["--deadline", deadline, "echo ran"]).run(), began.elapsed())
    };
    let (answer, took) = run("2s");
    let answer =
        answer.exited(4).said("").told("warning: the key agent at `<home>/agent` does not answer; waiting for ");
    answer.told("the agent at `<home>/agent` does not answer: not in ").told("never started: web01");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let (answer, took) = run("30s");
    answer.exited(0).said("web01: ran\n").told("the agent at `<home>/agent` does not answer: not in ");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
