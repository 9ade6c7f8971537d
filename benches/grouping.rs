//! How much processor time the report takes to group many long answers: `cargo bench --bench grouping -- FILE`.
//!
//! The file has lines `HOST: TEXT`, as `dshbak` and `clubak` read them, the lines of a host together. They become the
//! events of a run, every host's output in packets that come by turns with those of the others, and go through a
//! report in `--output group`. Prints the seconds of processor time of that alone.

#![allow(clippy::print_stdout, missing_docs)]

use bugle::event::{Event, Stream, What};
use bugle::host::{HostId, HostName, Roster};
use bugle::outcome::{Outcome, Tally};
use bugle::report::{OutputMode, Report, Settings, Sinks};
use bytes::Bytes;
use std::fs::{self, File};
use std::time::Duration;

/// What an SSH packet carries.
const PACKET: usize = 32 << 10;

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some(path) = path else {
        println!("skipped: no file of answers was named");
        return;
    };
    let (names, answers) = read(&fs::read_to_string(path).expect("the answers can be read"));
    let events = events(names, answers);
    let null = || Box::new(File::create("/dev/null").expect("there is a /dev/null"));
    let settings = Settings { mode: OutputMode::Group, ..Settings::default() };
    let mut report = Report::new(settings, Sinks { stdout: null(), stderr: null() }).expect("no file is opened");
    let began = processor_time();
    for event in events {
        report.handle(event).expect("nothing is lost");
    }
    report.finish().expect("nothing is lost");
    println!("{:.4}", (processor_time() - began).as_secs_f64());
}

/// The hosts and what each said.
fn read(text: &str) -> (Vec<HostName>, Vec<Bytes>) {
    let mut hosts: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let (host, line) = line.split_once(": ").expect("every line names its host");
        if hosts.last().is_none_or(|(last, _)| *last != host) {
            hosts.push((host, String::new()));
        }
        if let Some((_, answer)) = hosts.last_mut() {
            answer.push_str(line);
            answer.push('\n');
        }
    }
    hosts.into_iter().map(|(host, answer)| (HostName::new(host).expect("a host name"), Bytes::from(answer))).unzip()
}

/// The run in which they were said.
fn events(names: Vec<HostName>, answers: Vec<Bytes>) -> Vec<Event> {
    let hosts = names.len();
    let id = |index: usize| HostId(u32::try_from(index).expect("not that many hosts"));
    let mut all =
        vec![What::RunStarted { verb: "run", title: "cat".into(), roster: Roster::new(names), fanout: hosts }];
    all.extend((0..hosts).map(|index| What::HostStarted { host: id(index) }));
    let longest = answers.iter().map(Bytes::len).max().unwrap_or_default();
    for begin in (0..longest).step_by(PACKET) {
        for (index, answer) in answers.iter().enumerate().filter(|(_, answer)| begin < answer.len()) {
            let bytes = answer.slice(begin..answer.len().min(begin + PACKET));
            all.push(What::OutputReceived { host: id(index), stream: Stream::Stdout, bytes });
        }
    }
    let took = Duration::from_secs(1);
    all.extend((0..hosts).map(|index| What::HostFinished { host: id(index), outcome: Outcome::Ok, took }));
    let tally = Tally { ok: hosts, ..Tally::default() };
    all.push(What::RunFinished { tally, never_started: Vec::new(), stop: None, took });
    all.into_iter().map(|what| Event { at: took, what }).collect()
}

/// Of this thread, to the nanosecond (proc(5), `schedstat`).
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long a thread ran");
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("its first word is the time"))
}
