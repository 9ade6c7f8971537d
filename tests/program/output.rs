//! Every way of showing answers, on streams, in files and on a terminal.

use crate::bugle::{Bugle, Place};
use crate::fleet::{Behaviour, Fleet};
use crate::redactor::redacted;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// The hosts `web` say the same, db01 something else, and it fails.
const COMMAND: &str = "echo same; [ $FLEET_HOST != db01 ] || { echo other; echo bad >&2; exit 3; }";
const CLOSING: &str = "db01: exit.status: exit status 3\n3 hosts in <time>: 2 ok, 1 failed\n";

#[test]
fn stream_prefixes_every_line_and_group_shows_the_same_answer_once() {
    let fleet = Fleet::start(3);
    let run = |mode: &str| Bugle::on(&fleet).args(["run", "all", "-f", "1", "--output", mode, COMMAND]).run();
    run("stream").is(1, "web01: same\nweb02: same\ndb01: same\ndb01: other\n", &format!("db01: bad\n{CLOSING}"));
    run("auto").is(1, "web01: same\nweb02: same\ndb01: same\ndb01: other\n", &format!("db01: bad\n{CLOSING}"));
    let group = "\
---------------
web[01-02] (2)
---------------
same
---------------
db01: exit status 3
---------------
same
other
";
    run("group").is(1, group, &format!("db01: bad\n{CLOSING}"));
    let diff = "\
---------------
web[01-02] (2)
---------------
same
---------------
db01: exit status 3
---------------
--- web[01-02] stdout
+++ db01 stdout
@@ -1 +1,2 @@
 same
+other
--- web[01-02] stderr
+++ db01 stderr
@@ -0,0 +1 @@
+bad
";
    run("diff").is(1, diff, CLOSING);
    run("raw").is(1, "same\nsame\nsame\nother\n", &format!("bad\n{CLOSING}"));
    run("none").is(1, "", CLOSING);
}

#[test]
fn json_tells_every_event_of_a_host_in_order() {
    let fleet = Fleet::start(1);
    let answer = Bugle::on(&fleet).args(["run", "web01", "--output", "json", "echo out; exit 3"]).run().exited(1);
    let steps = answer.stdout.lines().filter(|line| {
        !["phase_finished", "noticed"].iter().any(|event| line.contains(&format!("\"event\":\"{event}\"")))
    });
    let expected = [
        r#"{"at":<seconds>,"event":"run_started","schema":1,"verb":"run","title":"echo out; exit 3","fanout":64,"hosts":["web01"]}"#,
        r#"{"at":<seconds>,"event":"host_started","host":"web01"}"#,
        r#"{"at":<seconds>,"event":"output","host":"web01","stream":"stdout","text":"out\n"}"#,
        r#"{"at":<seconds>,"event":"host_finished","host":"web01","outcome":"failed","took":<seconds>,"failure":{"code":"exit.status","message":"exit status 3","status":3,"attempts":1}}"#,
        r#"{"at":<seconds>,"event":"run_finished","tally":{"ok":0,"changed":0,"failed":1,"unreachable":0,"timed_out":0,"skipped":0,"cancelled":0,"never_started":0},"never_started":[],"took":<seconds>}"#,
    ];
    assert_eq!(steps.collect::<Vec<_>>(), expected);
    for phase in ["resolve", "connect", "key_exchange", "login", "open"] {
        assert!(answer.stdout.contains(&format!("\"phase\":\"{phase}\"")), "no {phase}:\n{}", answer.stdout);
    }
    answer.talked("web01: exit.status: exit status 3\n1 host in <time>: 0 ok, 1 failed\n");
}

#[test]
fn the_phases_of_a_host_add_up_to_its_time() {
    const DELAY: Duration = Duration::from_millis(600);
    let fleet = Fleet::one(Behaviour { opening: DELAY, ..Behaviour::default() });
    let between = ["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=sleep 0.6"];
    let answer = Bugle::on(&fleet).args(between).args(["run", "all", "--output", "json", "sleep 0.6"]).run().exited(0);
    let events = std::str::from_utf8(&answer.bytes).expect("JSON").lines();
    let events: Vec<serde_json::Value> = events.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let took = |event: &serde_json::Value| event["took"].as_f64().expect("it is a number");
    let phases: f64 = events.iter().filter(|event| event["event"] == "phase_finished").map(took).sum();
    let total = took(events.iter().find(|event| event["event"] == "host_finished").expect("it has finished"));
    assert!(total > 3.0 * DELAY.as_secs_f64(), "all three delays are in {total}");
    assert!(phases < total + 0.001, "phases overlap: {phases} of {total}");
    // Only what a busy machine loses between the last phase and the end of the host is missing.
    assert!(phases > total - DELAY.as_secs_f64() / 2.0, "a part of {total} is in no phase: {phases}");
}

#[test]
fn json_goes_into_a_file_beside_what_is_shown() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let answer = Bugle::on(&fleet)
        .at(&place)
        .args(["run", "all", "-f", "1", "--output", "group", "--json", "run.jsonl", "printf '\\377'"])
        .run();
    answer.exited(0);
    let text = place.read("run.jsonl");
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events[0]["event"], "run_started");
    assert_eq!(events[events.len() - 1]["event"], "run_finished");
    let output = events.iter().find(|event| event["event"] == "output").expect("there was output");
    assert_eq!((&output["base64"], &output["text"]), (&"/w==".into(), &serde_json::Value::Null));
}

#[test]
fn json_on_standard_output_stands_alone_unless_answers_are_asked_for() {
    let fleet = Fleet::start(2);
    let run = |arguments: &[&str]| {
        Bugle::on(&fleet).args(["run", "all", "-q", "--json", "-"]).args(arguments).arg("echo out").run().exited(0)
    };
    for arguments in [&[][..], &["--output", "json"]] {
        let stdout = run(arguments).bytes;
        let starts = stdout
            .split(|&byte| byte == b'\n')
            .filter(|line| line.windows(13).any(|part| part == b"\"run_started\""))
            .count();
        let all =
            serde_json::Deserializer::from_slice(&stdout).into_iter::<serde_json::Value>().all(|event| event.is_ok());
        assert!(all && starts == 1, "{arguments:?}: {}", String::from_utf8_lossy(&stdout));
    }
    let both = run(&["--output", "stream"]).stdout;
    assert!(both.contains("\nweb01: out\n") && both.contains("\"text\":\"out\\n\""), "{both}");
}

#[test]
fn junit_has_a_case_for_every_host() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let run = |target: &str| {
        Bugle::on(&fleet)
            .at(&place)
            .args(["run", "all", "-f", "1", "--max-fail", "0", "--output", "none", "--junit", target])
            .arg("echo '<&>'; [ $FLEET_HOST != web02 ] || { printf 'e\\033' >&2; exit 3; }")
            .run()
    };
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bugle" tests="3" failures="1" errors="0" skipped="1" time="<seconds>">
<testsuite name="bugle run: echo '&lt;&amp;&gt;'; [ $FLEET_HOST != web02 ] || { printf 'e\033' &gt;&amp;2; exit 3; }" tests="3" failures="1" errors="0" skipped="1" time="<seconds>">
<testcase classname="bugle.run" name="web01" time="<seconds>"><system-out>&lt;&amp;&gt;
</system-out></testcase>
<testcase classname="bugle.run" name="web02" time="<seconds>"><failure type="exit.status" message="exit status 3">exit.status: exit status 3</failure><system-out>&lt;&amp;&gt;
</system-out><system-err>e\x1b</system-err></testcase>
<testcase classname="bugle.run" name="db01" time="<seconds>"><skipped message="never started"/></testcase>
</testsuite>
</testsuites>
"#;
    run("-").exited(4).said(expected);
    assert!(!place.has("-"), "`-` is standard output, not a file");
    run("report.xml").exited(4).said("");
    assert_eq!(redacted(&place.read("report.xml")), expected);
}

#[test]
fn a_junit_report_never_takes_the_place_of_what_is_no_file() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    place.file("real.xml", "");
    symlink("real.xml", place.path().join("link.xml")).expect("the directory can be written");
    Bugle::on(&fleet).at(&place).args(["run", "web01", "--junit", "link.xml", "true"]).run().exited(0);
    assert!(
        place.path().join("link.xml").symlink_metadata().is_ok_and(|facts| facts.is_symlink()),
        "the link was replaced"
    );
    assert!(place.read("real.xml").contains("<testsuites"), "the report is where the link leads");
}

#[test]
fn outdir_holds_both_streams_of_every_host_byte_for_byte() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let victim = place.file("victim", "untouched");
    fs::create_dir(place.path().join("out")).expect("the directory can be written");
    symlink(&victim, place.path().join("out/web01.out")).expect("the directory can be written");
    let run = || Bugle::on(&fleet).at(&place).args(["run", "all", "--outdir", "out", "--output", "none"]);
    run().arg("printf 'a\\0\\377'; [ $FLEET_HOST = web02 ] || echo e >&2").run().is(0, "", "3 hosts in <time>: 3 ok\n");
    let mut names: Vec<_> = fs::read_dir(place.path().join("out"))
        .expect("it was made")
        .map(|entry| entry.expect("it is there").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["db01.err", "db01.out", "web01.err", "web01.out", "web02.err", "web02.out"]);
    assert_eq!(fs::read(place.path().join("out/web01.out")).expect("it was written"), b"a\0\xff");
    assert_eq!((place.read("out/web01.err"), place.read("out/web02.err")), ("e\n".into(), String::new()));
    assert_eq!(place.read("victim"), "untouched", "a link of an earlier run is not followed");
}

#[test]
fn quiet_leaves_answers_and_failures() {
    let fleet = Fleet::start(3);
    let answer = Bugle::on(&fleet).args(["run", "all", "-q", "-f", "1", COMMAND]).run();
    answer.is(
        1,
        "web01: same\nweb02: same\ndb01: same\ndb01: other\n",
        "db01: bad\ndb01: exit.status: exit status 3\n",
    );
}

#[test]
fn verbose_tells_every_step_with_its_time() {
    let fleet = Fleet::start(1);
    for level in ["-v", "-vv", "-vvv"] {
        let answer = Bugle::on(&fleet).args(["run", "web01", level, "true"]).run().exited(0).said("");
        let mut from = 0;
        for step in [
            "web01: resolved to 127.1.0.1 in <time>\n",
            "web01: connected to 127.1.0.1:<port> in <time>\n",
            "web01: exchanged keys in <time>: SSH-2.0-russh_",
            "; host key ED25519 SHA256:<fingerprint>, known from <fleet>/known_hosts:1\n",
            "web01: logged in as deploy by publickey ssh-ed25519 SHA256:<fingerprint> (<fleet>/id_ed25519) in <time>\n",
            "web01: opened a session in <time>",
            "web01: ok in <time>\n",
        ] {
            let found = answer.stderr[from..].find(step);
            from +=
                found.unwrap_or_else(|| panic!("{level}: no `{step}` after {from} in\n{}", answer.stderr)) + step.len();
        }
    }
}

#[test]
fn a_line_of_a_megabyte_is_kept_whole() {
    let fleet = Fleet::start(2);
    let answer = Bugle::on(&fleet).args(["run", "all", "head -c 1000000 /dev/zero | tr '\\0' x"]).run().exited(0);
    let mut lines: Vec<&str> = answer.stdout.lines().collect();
    lines.sort_unstable();
    let whole = "x".repeat(1_000_000);
    assert!(lines == [format!("web01: {whole}"), format!("web02: {whole}")], "{} lines", lines.len());
}

#[test]
fn a_terminal_gets_groups_progress_and_no_control_sequences_of_hosts() {
    let fleet = Fleet::start(3);
    let hostile = "printf 'a\\033[31mb\\rweb09: forged\\n'";
    let Some(screen) = Bugle::on(&fleet).args(["run", "all", hostile]).run_on_terminal(&[]) else { return };
    assert!(screen.stdout.contains("/3 done"), "no progress: {}", screen.stdout);
    let shown = screen.stdout.rsplit("\u{1b}[2K").next().unwrap_or_default();
    assert_eq!(
        shown,
        "---------------\ndb01,web[01-02] (3)\n---------------\na\\x1b[31mb\\rweb09: forged\n3 hosts in <time>: 3 ok\n"
    );
    let Some(screen) = Bugle::on(&fleet).args(["run", "web01", hostile]).run_on_terminal(&[]) else { return };
    assert_eq!(screen.bytes, b"a\x1b[31mb\rweb09: forged\r\n", "one host is raw, as with ssh");
    let Some(screen) = Bugle::on(&fleet).args(["run", "all", "-q", "--output", "none", "true"]).run_on_terminal(&[])
    else {
        return;
    };
    assert_eq!(screen.stdout, "", "quiet has no progress");
}

#[test]
fn colour_only_where_it_is_wanted() {
    let fleet = Fleet::start(2);
    let run = |arguments: &[&str]| {
        Bugle::on(&fleet).args(arguments).args(["run", "all", "--output", "group", "exit 3"]).run().stderr
    };
    assert!(run(&["--color", "always"]).contains("\u{1b}["));
    for arguments in [&[][..], &["--color", "never"], &["--color", "auto"]] {
        assert!(!run(arguments).contains('\u{1b}'), "{arguments:?}");
    }
    let coloured = |name: &str, value: &str| {
        let bugle = Bugle::on(&fleet).env("TERM", "xterm").env(name, value);
        bugle
            .args(["run", "all", "--output", "group", "exit 3"])
            .run_on_terminal(&[])
            .map(|screen| screen.stdout.contains("\u{1b}[3"))
    };
    let Some(plain) = coloured("NO_COLOR", "1") else { return };
    assert_eq!((plain, coloured("NO_COLOR", "")), (false, Some(true)));
}
