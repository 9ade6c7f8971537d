//! One host in `raw` output against `ssh` on the same server: status, stdout and stderr are the same.

use crate::bugle::{Bugle, Place, server, ssh_config};
use crate::fleet::openssh::{Daemon, find};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command and its standard input.
const CASES: &[(&str, Option<&str>)] = &[
    ("true", None),
    ("false", None),
    ("exit 0", None),
    ("exit 2", None),
    ("exit 42", None),
    ("exit 126", None),
    ("exit 127", None),
    ("exit 128", None),
    ("exit 254", None),
    ("exit 255", None),
    ("exit 256", None),
    ("no-such-command-here", None),
    ("/etc/passwd", None),
    ("/", None),
    ("echo out", None),
    ("echo out; echo err >&2", None),
    ("echo err >&2; exit 3", None),
    ("printf 'no newline'", None),
    ("printf 'no newline' >&2", None),
    ("printf ''", None),
    ("printf '\\0\\001\\177\\200\\377\\r\\n\\033[31m'", None),
    ("head -c 300000 /dev/zero", None),
    ("head -c 300000 /dev/zero >&2", None),
    ("seq 20000", None),
    ("seq 5000; seq 5000 >&2; exit 9", None),
    ("echo $((6*7)) \"a  b\" 'c  d' \\$HOME `echo sub` $(echo sub2)", None),
    ("echo \"$0\" $#", None),
    ("echo a; echo b | cat; (exit 5)", None),
    ("cd / && pwd", None),
    ("echo $SHELL $HOME $USER", None),
    ("test -t 0 || test -t 1 || test -t 2 || echo no terminal", None),
    ("echo 'ünïcödé €'", None),
    ("printf 'one\ntwo\n'\necho three", None),
    ("exec 2>/dev/null; sh -c 'kill -HUP $$'; echo $?", None),
    ("cat", None),
    ("cat", Some("to and fro\n")),
    ("cat >&2", Some("to and fro without end")),
    ("head -n 1", Some("first\nsecond\n")),
    ("wc -c", Some("12345")),
    ("exec 0<&-; echo closed early", Some("nobody reads this\n")),
    ("exec >&-; echo gone; exit 6", None),
    ("exec >&- 2>&-; exit 6", None),
    ("sleep 0.05 & wait; echo waited", None),
    ("(echo from a child; exit 3) & wait $!", None),
    ("set -e; false; echo never", None),
    ("echo ; echo ; printf '\\n\\n'", None),
    ("yes | head -n 3", None),
    (":", None),
    ("#", None),
];

#[derive(PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn outcome(mut command: Command, input: Option<&str>) -> Outcome {
    command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it was found");
    if let Some(input) = input {
        // Who reads nothing of it may be gone.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("it is ours");
    Outcome { status: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}

fn config(place: &Place, daemon: &Daemon) -> std::path::PathBuf {
    place.file("config", format!("Host host\n  HostName 127.0.0.1\n  Port {}\n{}", daemon.port, ssh_config(daemon)))
}

fn by_bugle(config: &Path, home: &Path, command: &str, input: Option<&str>) -> Outcome {
    let mut bugle = Command::new(crate::bugle::PROGRAM);
    bugle.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home).arg("-F").arg(config);
    bugle.args(["run", "host"]).args(input.map(|_| "--stdin")).args(["--", command]);
    outcome(bugle, input)
}

#[test]
fn status_and_both_streams_are_those_of_ssh() {
    let (Some(ssh), Some(sshd)) = (find("ssh"), server()) else { return };
    let place = Place::new();
    let config = config(&place, &sshd);
    // Half of the cases at a time: ssh spends its time on a slow key exchange.
    let differences: Vec<String> = std::thread::scope(|scope| {
        let (config, home, ssh) = (&config, place.path(), &ssh);
        let halves: Vec<_> = CASES
            .chunks(CASES.len().div_ceil(2))
            .map(|cases| {
                scope.spawn(move || {
                    let mut differences = Vec::new();
                    for &(command, input) in cases {
                        let mut theirs = Command::new(ssh);
                        theirs.arg("-F").arg(config).args(["-o", "KexAlgorithms=curve25519-sha256", "host", command]);
                        let (theirs, ours) = (outcome(theirs, input), by_bugle(config, home, command, input));
                        if theirs != ours {
                            let text = |outcome: &Outcome| {
                                let lossy =
                                    |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                                format!(
                                    "{:?} {:?} {:?}",
                                    outcome.status,
                                    lossy(&outcome.stdout),
                                    lossy(&outcome.stderr)
                                )
                            };
                            differences.push(format!(
                                "`{command}`\n  ssh:   {}\n  bugle: {}",
                                text(&theirs),
                                text(&ours)
                            ));
                        }
                    }
                    differences
                })
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().expect("it does not panic")).collect()
    });
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), CASES.len(), differences.join("\n"));
}

#[test]
fn a_command_that_a_signal_ends_is_255_and_the_signal_is_told() {
    let (Some(ssh), Some(sshd)) = (find("ssh"), server()) else { return };
    let place = Place::new();
    let config = config(&place, &sshd);
    for signal in ["TERM", "KILL", "USR1"] {
        let command = format!("echo out; exec sh -c 'kill -{signal} $$'");
        let mut theirs = Command::new(&ssh);
        theirs.arg("-F").arg(&config).args(["host", &command]);
        let (theirs, ours) = (outcome(theirs, None), by_bugle(&config, place.path(), &command, None));
        assert_eq!((theirs.status, &theirs.stdout), (ours.status, &ours.stdout), "{signal}");
        // ssh does not say which; nothing else could tell.
        assert_eq!(String::from_utf8_lossy(&ours.stderr), format!("host: exit.signal: ended by signal {signal}\n"));
    }
}

#[test]
fn a_host_that_is_not_reached_is_255_as_with_ssh() {
    let (Some(ssh), Some(sshd)) = (find("ssh"), server()) else { return };
    let place = Place::new();
    let config = config(&place, &sshd);
    for options in [&["-l", "nobody-of-that-name"][..], &["-o", "UserKnownHostsFile=/dev/null"], &["-o", "Port=1"]] {
        let mut theirs = Command::new(&ssh);
        theirs.arg("-F").arg(&config).args(options).args(["host", "true"]);
        let ours = Bugle::alone().at(&place).arg("-F").arg(&config).args(options).args(["run", "host", "true"]).run();
        assert_eq!((Some(ours.code()), ours.stdout.as_str()), (outcome(theirs, None).status, ""), "{options:?}");
    }
}
