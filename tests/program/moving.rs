//! `bugle push` and `bugle pull` are verbs like every other: their events, batches, limits, retries and exit codes.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use crate::bugle::{Answer, Bugle, Place, calls};
use crate::fleet::{Behaviour, Fleet, Login, Reception};
use std::fs;

/// A verb with options, on targets.
type Call<'a> = &'a dyn Fn(&Fleet, &[&str]) -> Answer;

/// One host is shown as many are, unless it says how.
fn shown(options: &[&str]) -> &'static [&'static str] {
    if options.contains(&"--output") { &[] } else { &["--output", "stream"] }
}

/// Each verb with work that succeeds on hosts with a directory `here`, and fails on others.
fn with_each_verb(check: impl Fn(&str, Call<'_>)) {
    let run = |fleet: &Fleet, options: &[&str]| {
        Bugle::on(fleet).arg("run").args(shown(options)).args(options).arg("[ -d here ]").run()
    };
    let push = |fleet: &Fleet, options: &[&str]| {
        let place = Place::new();
        place.file("file", "content");
        let call = Bugle::on(fleet).at(&place).arg("push").args(shown(options));
        call.args(options).args(["file", "here/"]).run()
    };
    let pull = |fleet: &Fleet, options: &[&str]| {
        let place = Place::new();
        let call = Bugle::on(fleet).at(&place).arg("pull").args(shown(options));
        call.args(options).args(["-r", "here", "out"]).run()
    };
    let verbs: [(&str, Call<'_>); 3] = [("run", &run), ("push", &push), ("pull", &pull)];
    verbs.into_iter().for_each(|(verb, call)| check(verb, call));
}

fn make(fleet: &Fleet, but: &[&str]) {
    for host in fleet.hosts().iter().filter(|host| !but.contains(&host.name.as_str())) {
        fs::create_dir(host.home.join("here")).unwrap();
    }
}

#[test]
fn exit_codes_say_the_same_of_every_verb() {
    with_each_verb(|verb, call| {
        let fleet = Fleet::of([
            ("good", Behaviour::default()),
            ("bad", Behaviour::default()),
            ("absent", Behaviour::receiving(Reception::Absent)),
            ("closed", Behaviour::letting_in(Login::Nobody)),
        ]);
        make(&fleet, &["bad"]);
        for (code, options) in [
            (0, &["good"][..]),
            (1, &["bad"]),
            (1, &["good,bad"]),
            (2, &["nobody-knows"]),
            (2, &["good", "--fanout", "0"]),
            (2, &["good", if verb == "run" { "-x" } else { "--exclude-hosts" }, "good"]),
            (2, &["good", "--limit", "bad"]),
            (3, &["good,absent"]),
            (3, &["closed"]),
            (4, &["bad,good", "-f", "1", "--fail-fast"]),
            (255, &["absent", "--exit", "remote"]),
        ] {
            let answer = call(&fleet, options);
            assert_eq!(answer.code(), code, "{verb} {options:?}\n{}", answer.stderr);
        }
    });
}

/// The closing lines, without what is said of a host itself.
fn closing(answer: &Answer) -> String {
    let told = ["note: ", "batch ", "never started: ", "6 hosts in ", "3 hosts in ", "1 host in "];
    answer.stderr.lines().filter(|line| told.iter().any(|start| line.starts_with(start))).collect::<Vec<_>>().join("\n")
}

#[test]
fn batches_and_limits_of_failures_stop_every_verb_alike() {
    for (options, code) in [
        (&["all", "--serial", "1,2,100%", "-v"][..], 1),
        (&["all", "--serial", "1,2,100%", "--max-fail", "0"], 4),
        (&["all", "-f", "1", "--max-fail", "0"], 4),
        (&["all", "-f", "1", "--max-fail", "50%"], 1),
        (&["web02", "--serial", "1"], 1),
        (&["all", "--limit", "web", "--limit", "!web03"], 1),
    ] {
        let expected = std::cell::RefCell::new(None);
        with_each_verb(|verb, call| {
            let fleet = Fleet::start(6);
            make(&fleet, &["web02"]);
            let answer = call(&fleet, options);
            assert_eq!(answer.code(), code, "{verb} {options:?}\n{}", answer.stderr);
            // What succeeds is a change to one verb and none to another.
            let closing = closing(&answer).replace(" changed", " ok").replace("0 ok, ", "");
            let expected = expected.borrow_mut().get_or_insert_with(|| closing.clone()).clone();
            assert_eq!(closing, expected, "{verb} {options:?}");
        });
    }
}

#[test]
fn every_verb_tries_again_where_nothing_was_begun() {
    with_each_verb(|verb, call| {
        let throttled = Behaviour::receiving(Reception::SaysAtFirst("Exceeded MaxStartups\r\n", 2));
        for (options, code, connections) in [(&["host"][..], 0, 3), (&["host", "--retries", "0"], 3, 1)] {
            let fleet = Fleet::one(throttled.clone());
            make(&fleet, &[]);
            assert_eq!((call(&fleet, options).code(), calls(&fleet)), (code, connections), "{verb}");
        }
        let fleet = Fleet::one(Behaviour::default());
        assert_eq!(
            (call(&fleet, &["host", "--retries", "5"]).code(), calls(&fleet)),
            (1, 1),
            "{verb}: the work failed"
        );
    });
}

/// The events of a call: their names, with the phase or the outcome where they have one.
fn events(answer: &Answer) -> Vec<String> {
    let text = std::str::from_utf8(&answer.bytes).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let word = |event: serde_json::Value| {
        let further = ["phase", "stream", "outcome", "verb"].iter().find_map(|field| event[*field].as_str());
        [event["event"].as_str().unwrap(), further.unwrap_or_default()].join(" ").trim().to_owned()
    };
    events.map(word).collect()
}

#[test]
fn every_verb_tells_the_same_events_and_transfers_tell_what_was_moved() {
    const BEGUN: [&str; 8] = [
        "host_started",
        "phase_finished wait",
        "phase_finished resolve",
        "phase_finished connect",
        "phase_finished key_exchange",
        "phase_finished login",
        "phase_finished open",
        "phase_finished work",
    ];
    with_each_verb(|verb, call| {
        let fleet = Fleet::one(Behaviour::default());
        make(&fleet, &[]);
        let told = events(&call(&fleet, &["host", "--output", "json"]).exited(0));
        let without: Vec<&str> = told
            .iter()
            .map(String::as_str)
            .filter(|event| {
                !event.starts_with("transfer_") && !event.starts_with("output ") && !event.starts_with("noticed")
            })
            .collect();
        let outcome = if verb == "run" { "host_finished ok" } else { "host_finished changed" };
        let expected: Vec<String> = [&[format!("run_started {verb}")], &BEGUN.map(String::from)[..]].concat();
        assert_eq!(without[..9], expected, "{verb}: {told:?}");
        assert_eq!(without[9..], [outcome, "run_finished"], "{verb}: {told:?}");
        let moved: Vec<&str> = told.iter().map(String::as_str).filter(|event| event.starts_with("transfer_")).collect();
        let expected: &[&str] = if verb == "run" { &[] } else { &["transfer_planned", "transfer_finished"] };
        assert_eq!(moved, expected, "{verb}");
    });
}
