//! Runs as text: a case file holds settings, events and what is expected on each stream.
//!
//! ```text
//! mode group                      settings, one a line
//! hosts web[01-04] db01           the roster
//! ---
//! web[01-04] started              events; a node set stands for an event a host
//! web[01-03] out hello\n          escapes: \n \r \t \\ \xNN
//! db01 unreachable tries=3 tcp.refused connection refused | start sshd
//! end                             the tally is counted
//! === stdout
//! === stderr
//! ```

use bugle::event::{Event, Phase, Stream, What};
use bugle::exit_code::Stop;
use bugle::host::{HostId, HostName, Roster};
use bugle::nodeset;
use bugle::outcome::{Code, Failure, Outcome, RemoteExit, Tally};
use bugle::report::{Report, Settings, Sinks, Terminal};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One stream that is written to memory.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both streams.
#[derive(Clone, Default)]
pub struct Desk {
    pub stdout: Paper,
    pub stderr: Paper,
}

impl Desk {
    pub fn sinks(&self) -> Sinks {
        Sinks { stdout: Box::new(self.stdout.clone()), stderr: Box::new(self.stderr.clone()) }
    }
}

/// The events of a run, written by hand.
pub struct Script {
    pub roster: Roster,
    pub events: Vec<Event>,
    tally: Tally,
    finished: Vec<bool>,
}

impl Script {
    /// Begins a run over a node set.
    pub fn new(hosts: &str) -> Self {
        let names: Vec<_> = hosts.split_whitespace().flat_map(|set| nodeset::expand(set).unwrap()).collect();
        let roster = Roster::new(names.iter().map(|name| HostName::new(name).unwrap()).collect());
        let finished = vec![false; names.len()];
        let mut script = Self { roster: roster.clone(), events: Vec::new(), tally: Tally::default(), finished };
        script.push(What::RunStarted { verb: "run", title: "uptime".into(), roster, fanout: 64 });
        script
    }

    pub fn push(&mut self, what: What) {
        let at = Duration::from_millis(10) * u32::try_from(self.events.len()).unwrap();
        self.events.push(Event { at, what });
    }

    /// Adds events of one line.
    pub fn line(&mut self, line: &str) {
        let (whom, rest) = line.split_once(' ').unwrap_or((line, ""));
        match whom {
            "end" => self.end(rest),
            "interrupt" => {
                let (waiting, hosts) = rest.split_once(' ').unwrap_or((rest, ""));
                let (waiting, at_once) = match waiting.strip_suffix('!') {
                    Some(waiting) => (waiting, true),
                    None => (waiting, false),
                };
                self.push(What::InterruptReceived {
                    running: self.hosts(hosts),
                    waiting: waiting.parse().unwrap(),
                    at_once,
                });
            }
            "batch" => {
                let words: Vec<_> = rest.splitn(3, ' ').collect();
                let (number, of) = (words[0].parse().unwrap(), words[1].parse().unwrap());
                self.push(What::BatchStarted { number, of, hosts: self.hosts(words[2]) });
            }
            "*" => self.notice(None, rest.strip_prefix("notice ").unwrap()),
            hosts => {
                for host in self.hosts(hosts) {
                    self.host_event(host, rest);
                }
            }
        }
    }

    fn hosts(&self, sets: &str) -> Vec<HostId> {
        let wanted: Vec<_> = sets.split_whitespace().flat_map(|set| nodeset::expand(set).unwrap()).collect();
        let position =
            |name: &String| self.roster.iter().find(|(_, known)| known.as_str() == name).map(|(host, _)| host);
        wanted.iter().map(|name| position(name).unwrap_or_else(|| panic!("{name} is not in the roster"))).collect()
    }

    fn host_event(&mut self, host: HostId, text: &str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let what = match word {
            "started" => What::HostStarted { host },
            "out" => What::OutputReceived { host, stream: Stream::Stdout, bytes: unescaped(rest).into() },
            "err" => What::OutputReceived { host, stream: Stream::Stderr, bytes: unescaped(rest).into() },
            "notice" => return self.notice(Some(host), rest),
            "phase" => {
                let words: Vec<_> = rest.splitn(3, ' ').collect();
                let phases = [
                    Phase::Wait,
                    Phase::Resolve,
                    Phase::Connect,
                    Phase::KeyExchange,
                    Phase::Login,
                    Phase::Open,
                    Phase::Work,
                ];
                let phase = phases.into_iter().find(|phase| phase.as_str() == words[0]).unwrap();
                let detail = words.get(2).copied().unwrap_or_default().to_owned();
                What::PhaseFinished { host, phase, took: Duration::from_millis(words[1].parse().unwrap()), detail }
            }
            "retry" => {
                let failure = failure(rest);
                What::AttemptFailed { host, attempt: failure.attempts, failure, retry_in: Duration::from_millis(1500) }
            }
            "ok" => return self.finish(host, Outcome::Ok),
            "changed" => return self.finish(host, Outcome::Changed),
            "skipped" => return self.finish(host, Outcome::Skipped(rest.into())),
            "failed" => return self.finish(host, Outcome::Failed(failure(rest))),
            "unreachable" => return self.finish(host, Outcome::Unreachable(failure(rest))),
            "timed_out" => return self.finish(host, Outcome::TimedOut(failure(rest))),
            "cancelled" => return self.finish(host, Outcome::Cancelled(failure(rest))),
            other => panic!("no event is called {other}"),
        };
        self.push(what);
    }

    pub fn finish(&mut self, host: HostId, outcome: Outcome) {
        self.tally.add(&outcome);
        self.finished[host.index()] = true;
        self.push(What::HostFinished { host, outcome, took: Duration::from_millis(340) });
    }

    fn notice(&mut self, host: Option<HostId>, text: &str) {
        let (level, message) = text.split_once(' ').unwrap();
        let message = String::from_utf8(unescaped(message)).unwrap();
        self.push(What::Noticed { host, level: level.parse().unwrap(), message });
    }

    /// Ends the run: who has not finished was never started.
    pub fn end(&mut self, stop: &str) {
        let stop = match stop {
            "" => None,
            "too_many_failures" => Some(Stop::TooManyFailures),
            "deadline" => Some(Stop::Deadline),
            "interrupted" => Some(Stop::Interrupted),
            "terminated" => Some(Stop::Terminated),
            "report_lost" => Some(Stop::ReportLost),
            other => panic!("no reason to stop is called {other}"),
        };
        let never_started: Vec<_> =
            self.roster.iter().map(|(host, _)| host).filter(|host| !self.finished[host.index()]).collect();
        let tally = Tally { never_started: never_started.len(), ..self.tally };
        self.push(What::RunFinished { tally, never_started, stop, took: Duration::from_millis(3210) });
    }

    /// Shows the run.
    pub fn show(self, settings: Settings) -> Desk {
        let desk = Desk::default();
        let mut report = Report::new(settings, desk.sinks()).unwrap();
        for event in self.events {
            report.handle(event).unwrap();
        }
        report.finish().unwrap();
        desk
    }
}

/// `[tries=N] [status=N] [signal=NAME] CODE MESSAGE [| HINT]`
fn failure(text: &str) -> Failure {
    let (mut rest, mut exit, mut attempts) = (text, None, 1);
    let code = loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        match word.split_once('=') {
            Some(("tries", number)) => attempts = number.parse().unwrap(),
            Some(("status", number)) => exit = Some(RemoteExit::Status(number.parse().unwrap())),
            Some(("signal", name)) => exit = Some(RemoteExit::Signal { name: name.into(), core_dumped: false }),
            _ => break *Code::ALL.iter().find(|code| code.as_str() == word).unwrap(),
        }
    };
    let text = String::from_utf8(unescaped(rest)).unwrap();
    let (message, hint) = match text.split_once(" | ") {
        Some((message, hint)) => (message, Some(hint.to_owned())),
        None => (text.as_str(), None),
    };
    Failure { hint, exit, attempts, ..Failure::new(code, message) }
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {other:?} in {text}"),
        });
    }
    out
}

/// Reads the settings and events of a case.
pub fn parse(text: &str) -> (Settings, Script) {
    let (head, events) = text.split_once("\n---\n").expect("settings and events are apart by ---");
    let mut settings = Settings::default();
    let mut script = None;
    for line in head.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let terminal = Terminal { present: value.contains("terminal"), color: value.contains("color") };
        match key {
            "mode" => settings.mode = value.parse().unwrap(),
            "stdout" => settings.terminals.stdout = terminal,
            "stderr" => settings.terminals.stderr = terminal,
            "verbosity" => settings.verbosity = value.parse().unwrap(),
            "quiet" => settings.quiet = true,
            "hosts" => script = Some(Script::new(value)),
            "gathered_per_host" => settings.limits.gathered_per_host = value.parse().unwrap(),
            "line" => settings.limits.line = value.parse().unwrap(),
            other => panic!("no setting is called {other}"),
        }
    }
    let mut script = script.expect("a case names its hosts");
    for line in events.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        script.line(line);
    }
    (settings, script)
}
