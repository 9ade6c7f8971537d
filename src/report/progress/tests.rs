//! What stands on the terminal while a run goes on, at every size of it.

use super::*;
use crate::event::{Moved, Stream};
use crate::exit_code::Stop;
use crate::host::{HostId, HostName};
use crate::outcome::{Code, Failure, Outcome, Tally};
use crate::report::console::Console;
use crate::report::double::{Glass, Screen};
use crate::report::drawing::columns;
use crate::report::settings::Terminal;
use crate::report::{OutputMode, Report, Settings};

const MIB: u64 = 1 << 20;

/// A run whose progress is looked at.
struct Watch {
    progress: Progress,
    began: Instant,
    now: Instant,
}

impl Watch {
    fn new(hosts: u32, (width, height): (u16, u16)) -> Self {
        let names = (0..hosts).map(|number| format!("web{number:02}")).collect();
        Self::named(names, (width, height))
    }

    fn named(names: Vec<String>, (width, height): (u16, u16)) -> Self {
        let roster = Roster::new(names.iter().map(|name| HostName::new(name).unwrap()).collect());
        let terminals = Terminals { width, height, ..Terminals::default() };
        let now = Instant::now();
        Self { progress: Progress::new(Watched::HostsAndTransfers, roster, terminals, now), began: now, now }
    }

    fn tell(&mut self, what: What) {
        self.progress.handle(&Event { at: self.now - self.began, what }, self.now);
    }

    fn start(&mut self, host: u32) {
        self.tell(What::HostStarted { host: HostId(host) });
    }

    fn plan(&mut self, host: u32, bytes: u64) {
        self.tell(What::TransferPlanned { host: HostId(host), files: 1, bytes });
    }

    fn begin(&mut self, host: u32, bytes: u64) {
        self.start(host);
        self.plan(host, bytes);
    }

    fn moved(&mut self, host: u32, bytes: u64) {
        self.tell(What::BytesMoved { host: HostId(host), bytes });
    }

    fn finish(&mut self, host: u32, outcome: Outcome) {
        self.tell(What::HostFinished { host: HostId(host), outcome, took: Duration::ZERO });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.progress.lines(self.now);
    }

    /// Lets seconds pass in which each of the hosts moves so many bytes a second.
    fn go(&mut self, seconds: u64, rates: &[(u32, u64)]) {
        for _ in 0..seconds {
            rates.iter().for_each(|&(host, bytes)| self.moved(host, bytes));
            self.pass(Duration::from_secs(1));
        }
    }

    fn lines(&mut self) -> Vec<String> {
        self.progress.lines(self.now)
    }
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::new(Code::TransferFailed, "no"))
}

#[test]
fn hosts_are_counted_where_nothing_is_moved() {
    let mut watch = Watch::new(100, (70, 24));
    assert_eq!(watch.lines(), ["[                        ] 0/100 done, 0 running, 0s, 0/s"]);
    for host in 0..100 {
        watch.start(host);
        if host < 50 {
            watch.finish(host, Outcome::Ok);
        }
    }
    watch.pass(Duration::from_secs(2));
    assert_eq!(watch.lines(), ["[============>           ] 50/100 done, 50 running, 2s, 25/s"]);
    for host in 50..100 {
        watch.finish(host, failed());
    }
    for (width, expected) in [
        (80, "[========================] 100/100 done, 0 running, 50 failed, 2s, 25/s"),
        (60, "[========================] 100/100 done, 0 running"),
        (45, "100/100 done, 0 running, 50 failed, 2s"),
        (28, "100/100 done, 0 running"),
        (20, "100/100 done"),
    ] {
        watch.progress.terminals.width = width;
        assert_eq!(watch.lines(), [expected], "{width}");
    }
}

#[test]
fn bytes_are_told_of_all_hosts_and_what_has_no_room_is_left_out_whole() {
    let mut watch = Watch::new(4, (80, 5));
    (0..4).for_each(|host| watch.begin(host, 100 * MIB));
    watch.go(4, &[(0, 25 * MIB), (1, 5 * MIB), (2, 5 * MIB), (3, 5 * MIB)]);
    watch.finish(0, Outcome::Changed);
    for (width, expected) in [
        (80, "[====>       ] 160.0 MiB/400.0 MiB, 40.0 MiB/s, 6s left, 1/4 hosts"),
        (60, "[====>       ] 160.0 MiB/400.0 MiB, 6s left, 1/4 hosts"),
        (59, "160.0 MiB/400.0 MiB, 40.0 MiB/s, 6s left, 1/4 hosts"),
        (45, "160.0 MiB/400.0 MiB, 6s left, 1/4 hosts"),
        (35, "160.0 MiB/400.0 MiB, 1/4 hosts"),
        (28, "160.0 MiB/400.0 MiB"),
        (20, "160.0 MiB/400.0 \u{2026}"),
    ] {
        watch.progress.terminals.width = width;
        assert_eq!(watch.lines(), [expected], "{width}");
    }
}

#[test]
fn a_failed_host_is_counted_and_its_rest_is_not_waited_for() {
    let mut watch = Watch::new(2, (80, 24));
    (0..2).for_each(|host| watch.begin(host, 100 * MIB));
    watch.go(1, &[(0, 50 * MIB), (1, 50 * MIB)]);
    watch.finish(0, failed());
    assert_eq!(watch.lines(), ["[========>   ] 100.0 MiB/150.0 MiB, 100.0 MiB/s, 1s left, 1/2 hosts, 1 failed"]);
    watch.tell(What::TransferFinished { host: HostId(1), moved: Moved::default() });
    assert_eq!(watch.lines(), ["[============] 100.0 MiB/100.0 MiB, 100.0 MiB/s, 0s left, 1/2 hosts, 1 failed"]);
}

#[test]
fn what_a_host_has_already_is_not_waited_for() {
    let mut watch = Watch::new(1, (80, 24));
    watch.begin(0, 100 * MIB);
    watch.go(1, &[(0, 20 * MIB)]);
    watch.tell(What::BytesSpared { host: HostId(0), bytes: 60 * MIB });
    assert_eq!(watch.lines(), ["[======>     ] 20.0 MiB/40.0 MiB, 20.0 MiB/s, 1s left"]);
    watch.go(1, &[(0, 20 * MIB)]);
    assert_eq!(watch.lines(), ["[============] 40.0 MiB/40.0 MiB, 20.0 MiB/s, 0s left"]);
    // It was not what it seemed to be, and is sent after all.
    watch.go(1, &[(0, 20 * MIB)]);
    assert_eq!(watch.lines(), ["[============] 60.0 MiB/60.0 MiB, 20.0 MiB/s, 0s left"]);
}

#[test]
fn a_plan_is_not_known_before_everybody_told_and_estimated_when_somebody_is_done() {
    let mut watch = Watch::new(4, (80, 5));
    watch.begin(0, 100 * MIB);
    watch.begin(1, 100 * MIB);
    watch.start(2);
    watch.go(2, &[(0, 50 * MIB), (1, 25 * MIB)]);
    assert_eq!(watch.lines(), ["[=========>  ] 150.0 MiB/\u{2265}200.0 MiB, 75.0 MiB/s, 0/4 hosts"]);
    watch.finish(0, Outcome::Changed);
    assert_eq!(watch.lines(), ["[====>       ] 150.0 MiB/\u{2265}200.0 MiB, 75.0 MiB/s, ~3s left, 1/4 hosts"]);
    watch.plan(2, 0);
    watch.finish(2, Outcome::Ok);
    watch.finish(3, Outcome::Unreachable(Failure::new(Code::TcpRefused, "no")));
    assert_eq!(watch.lines(), ["[=========>  ] 150.0 MiB/200.0 MiB, 75.0 MiB/s, 1s left, 3/4 hosts, 1 failed"]);
}

#[test]
fn the_slowest_hosts_are_shown_once_it_takes_long() {
    let mut watch = Watch::new(6, (80, 24));
    (0..6).for_each(|host| watch.begin(host, 24 * MIB));
    let rates = [(0, 5 * MIB), (1, MIB / 2), (2, 2 * MIB), (4, 4 * MIB), (5, MIB)];
    watch.go(1, &rates);
    assert_eq!(watch.lines().len(), 1);
    watch.go(2, &rates);
    assert_eq!(
        watch.lines()[1..],
        [
            "  web03  0 B/24.0 MiB         0 B/s",
            "  web01  1.5 MiB/24.0 MiB     512.0 KiB/s",
            "  web05  3.0 MiB/24.0 MiB     1.0 MiB/s",
        ]
    );
    watch.finish(3, failed());
    let names: Vec<_> = watch.lines()[1..].iter().map(|line| line[2..7].to_owned()).collect();
    assert_eq!(names, ["web01", "web05", "web02"], "who is done makes room at once");
    for (size, expected) in [
        ((45, 24), "  web01  1.5 MiB/24.0 MiB     512.0 KiB/s"),
        ((41, 24), "  web01  1.5 MiB/24.0 MiB  512.0 KiB/s"),
        ((28, 24), "  web01  1.5 MiB/24.0 MiB"),
        ((20, 24), "  web01  6%"),
        ((10, 24), "  \u{2026}  6%"),
    ] {
        (watch.progress.terminals.width, watch.progress.terminals.height) = size;
        let lines = watch.lines();
        assert_eq!(lines[1].trim_end(), expected, "{size:?}");
    }
    watch.progress.terminals.height = 5;
    assert_eq!(watch.lines().len(), 1, "a low terminal has no room for them");
}

#[test]
fn nothing_is_ever_wider_than_the_terminal_nor_deceives_it() {
    let names = ["a".repeat(300), "b\u{202e}moc.knab".into(), "\u{65e5}\u{672c}.example.com".into(), "c".into()];
    let mut watch = Watch::named(names.into(), (80, 24));
    (0..4).for_each(|host| watch.begin(host, 1 << 40));
    watch.go(3, &[(0, 1), (1, 1 << 10), (2, 1 << 20), (3, 1 << 30)]);
    for width in [0, 1, 2, 3, 4, 5, 10, 20, 28, 45, 59, 60, 61, 80, 200] {
        watch.progress.terminals.width = width;
        let lines = watch.lines();
        assert_eq!(lines.len(), 4);
        for line in lines {
            assert!(columns(&line) < usize::from(width.max(2)), "{width}: {line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
    }
}

#[test]
fn lines_are_wiped_before_anything_else_is_written_and_in_the_end() {
    let present = Terminal { present: true, color: false };
    let terminals = Terminals { stdout: present, stderr: present, width: 60, height: 8 };
    let mut watch = Watch::new(3, (60, 8));
    (0..3).for_each(|host| watch.begin(host, 100 * MIB));
    watch.go(3, &[(0, MIB), (1, MIB), (2, MIB)]);
    let (screen, mut glass) = (Screen::default(), Glass::new(60, 8));
    let mut shows = |screen: &Screen| {
        glass.write(&screen.both());
        screen.forget();
        glass.everything()
    };
    let mut console = Console::new(screen.sinks(), terminals);
    let mut now = watch.now;
    console.begin_progress(watch.progress);
    console.redraw(now).unwrap();
    let drawn = shows(&screen);
    assert_eq!(drawn.len(), 4, "{drawn:?}");
    assert!(drawn[0].starts_with("[>") || drawn[0].starts_with("[ "), "{drawn:?}");
    for said in ["one", "two"] {
        console.talk(said).unwrap();
        console.flush().unwrap();
        now += Duration::from_millis(100);
        console.redraw(now).unwrap();
    }
    assert_eq!(shows(&screen)[..2], ["one", "two"]);
    console.write(Stream::Stdout, b"no newline").unwrap();
    console.flush().unwrap();
    now += Duration::from_millis(100);
    console.redraw(now).unwrap();
    assert_eq!(shows(&screen), ["one", "two", "no newline"], "an unfinished line is not wiped");
    console.write(Stream::Stdout, b"\n").unwrap();
    console.redraw(now).unwrap();
    assert_eq!(shows(&screen).len(), 7);
    console.redraw(now + Duration::from_millis(99)).unwrap();
    assert_eq!(screen.both(), "", "nothing is drawn more than ten times a second");
    console.end_progress().unwrap();
    assert_eq!(shows(&screen), ["one", "two", "no newline"]);
}

#[test]
fn one_host_in_raw_output_shows_its_transfer_and_nothing_else() {
    let present = Terminal { present: true, color: false };
    let host = HostId(0);
    let run = |settings: Settings, bytes: u64| {
        let roster = Roster::new(vec![HostName::new("web01").unwrap()]);
        let screen = Screen::default();
        let mut report = Report::new(settings, screen.sinks()).unwrap();
        let mut has_progress = Vec::new();
        for what in [
            What::RunStarted { verb: "push", title: "a b".into(), roster, fanout: 1 },
            What::HostStarted { host },
            What::TransferPlanned { host, files: 1, bytes },
            What::HostFinished { host, outcome: Outcome::Changed, took: Duration::ZERO },
            What::RunFinished {
                tally: Tally { changed: 1, ..Tally::default() },
                never_started: Vec::new(),
                stop: None::<Stop>,
                took: Duration::ZERO,
            },
        ] {
            report.handle(Event { at: Duration::ZERO, what }).unwrap();
            has_progress.push(report.has_progress());
        }
        report.finish().unwrap();
        let mut glass = Glass::new(80, 24);
        glass.write(&screen.both());
        assert_eq!(glass.everything(), [""; 0], "nothing stays");
        (screen.both(), has_progress)
    };
    let terminals = Terminals { stderr: present, ..Terminals::default() };
    let settings = Settings { mode: OutputMode::Raw, terminals, ..Settings::default() };
    let (shown, has_progress) = run(settings.clone(), 3 * MIB);
    assert!(shown.contains("[            ] 0 B/3.0 MiB") && !shown.contains("hosts"), "{shown:?}");
    assert_eq!(has_progress, [false, false, true, true, false]);
    for (silent, bytes) in [
        (settings.clone(), 0),
        (Settings { quiet: true, ..settings.clone() }, MIB),
        (Settings { terminals: Terminals::default(), ..settings }, MIB),
    ] {
        assert_eq!(run(silent, bytes), (String::new(), vec![false; 5]));
    }
}
