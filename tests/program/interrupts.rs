//! Ctrl-C and SIGTERM while hosts are worked on, seen from both ends.

use crate::bugle::{Bugle, Place, server};
use crate::fleet::{Behaviour, Fleet, Reception};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A command that says its process id to the test once it runs.
pub struct Begun {
    pipe: String,
    said: mpsc::Receiver<String>,
}

impl Begun {
    pub fn new(place: &Place) -> Self {
        let path = place.path().join("begun");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the directory can be written");
        // Opened for both, so that it does not end between two writers.
        let pipe = File::options().read(true).write(true).open(&path).expect("it was just made");
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { pipe: path.display().to_string(), said }
    }

    /// Tells, and then does this.
    pub fn then(&self, command: &str) -> String {
        format!("echo $$ >{}; {command}", self.pipe)
    }

    /// The process id of the next one that runs.
    #[track_caller]
    pub fn next(&self) -> String {
        self.said.recv_timeout(Duration::from_secs(30)).expect("the command began")
    }
}

/// Nothing runs any more under these process ids.
#[track_caller]
pub fn gone(pids: &str) {
    for pid in pids.split_whitespace() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "process {pid} is still there: {stat}");
    }
}

/// Waits until nothing runs under this process id.
#[track_caller]
fn until_gone(pid: &str) {
    let started = Instant::now();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(started.elapsed() < Duration::from_secs(30), "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(pid: &str) {
    if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[test]
fn the_first_ctrl_c_ends_what_runs_and_names_who_was_never_started() {
    for (signal, code, word) in
        [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated"), (Signal::HUP, 143, "terminated")]
    {
        let Some(sshd) = server() else { return };
        let place = Place::new();
        let begun = Begun::new(&place);
        let running = Bugle::on_daemon(&sshd, ["h1", "h2", "h3"]).at(&place).args(["run", "all", "-f", "2"]);
        let running = running.arg(begun.then("exec sleep 1000")).start();
        let pids = [begun.next(), begun.next()];
        running.signal(signal);
        running.wait().is(
            code,
            "",
            &format!(
                "interrupted: running on h[1-2] (2); 1 host will not be started; interrupt again to end at once\n\
                 h[1-2] (2): interrupted: its process was ended\nnever started: h3\n\
                 3 hosts in <time>: 0 ok, 2 cancelled, 1 never started; {word}\n"
            ),
        );
        pids.iter().for_each(|pid| gone(pid));
    }
}

#[test]
fn what_was_gathered_before_ctrl_c_is_shown() {
    let Some(sshd) = server() else { return };
    let mut running = Bugle::on_daemon(&sshd, ["h1", "h2"])
        .args(["run", "all", "--output", "group", "--json", "/dev/stderr", "echo gathered; exec sleep 1000"])
        .start();
    for host in ["h1", "h2"] {
        running.wait_for_talk(&format!("\"event\":\"output\",\"host\":\"{host}\""));
    }
    running.signal(Signal::INT);
    running
        .wait()
        .exited(130)
        .said("---------------\nh[1-2] (2): cancelled (interrupted)\n---------------\ngathered\n");
}

#[test]
fn processes_that_ignore_signals_are_ended_too() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let begun = Begun::new(&place);
    let command = begun.then("trap '' TERM INT HUP; while :; do sleep 0.1; done");
    let running = Bugle::on_daemon(&sshd, ["host"]).at(&place).args(["run", "host", &command]).start();
    let pid = begun.next();
    running.signal(Signal::INT);
    running.wait().is(130, "", "interrupted: running on host; interrupt again to end at once\n");
    gone(&pid);
}

#[test]
fn the_second_ctrl_c_ends_at_once() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let begun = Begun::new(&place);
    let command = begun.then("trap '' TERM INT HUP; while :; do sleep 0.1; done");
    let mut running =
        Bugle::on_daemon(&sshd, ["h1", "h2"]).at(&place).args(["run", "all", "-f", "1", &command]).start();
    let pid = begun.next();
    running.signal(Signal::INT);
    running.wait_for_talk("interrupt again to end at once\n");
    running.signal(Signal::INT);
    let answer = running.wait();
    kill(&pid);
    answer.is(
        130,
        "",
        "interrupted: running on h1; 1 host will not be started; interrupt again to end at once\n\
         interrupted: running on h1; 1 host will not be started; ending at once\n\
         h1: interrupted: ended at once by a second signal: what it started may still run there\n\
         never started: h2\n2 hosts in <time>: 0 ok, 1 cancelled, 1 never started; interrupted\n",
    );
}

#[test]
fn a_reader_that_stalls_holds_up_neither_a_time_limit_nor_ctrl_c() {
    let Some(sshd) = server() else { return };
    for arguments in [&["h1"][..], &["h1,h2", "--output", "stream"], &["h1,h2", "--output", "json"]] {
        let start = |options: &[&str]| {
            let place = Place::new();
            let begun = Begun::new(&place);
            let bugle =
                Bugle::on_daemon(&sshd, ["h1", "h2"]).at(&place).args(["run", "-f", "1"]).args(arguments).args(options);
            let running = bugle.arg(begun.then("exec yes")).start_unread();
            let pid = begun.next();
            (running, pid)
        };
        let (running, pid) = start(&["--timeout", "500ms", "--fail-fast"]);
        until_gone(&pid);
        let answer = running.wait();
        assert!(answer.bytes.len() > 65_536 && answer.code() != 0, "{arguments:?}: {}", answer.stderr);
        let (mut running, pid) = start(&[]);
        running.signal(Signal::INT);
        until_gone(&pid);
        running.signal(Signal::INT);
        assert_eq!(running.wait_unread(), Some(130), "{arguments:?}");
    }
}

#[test]
fn ctrl_c_ends_a_run_that_only_waits() {
    use crate::fleet::{Behaviour, Fleet, Reception};
    let fleet = Fleet::one(Behaviour::receiving(Reception::Says("Not allowed at this time\r\n")));
    let mut running = Bugle::on(&fleet).args(["run", "host", "-v", "true"]).start();
    running.wait_for_talk("next try in ");
    running.signal(Signal::INT);
    running.wait().exited(130).said("").told("while it waited for another try after: the server refuses this address");
    let fleet = Fleet::one(Behaviour::receiving(Reception::Silent));
    let running = Bugle::on(&fleet).args(["run", "host", "true"]).start();
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system has threads");
    waiting.block_on(fleet.host("host").until("a call", |counts| counts.open == 1));
    running.signal(Signal::INT);
    running.wait().is(130, "", "interrupted: running on host; interrupt again to end at once\n");
}

#[test]
fn ctrl_c_is_not_heard_by_who_was_told_to_ignore_it() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let begun = Begun::new(&place);
    let go = place.path().join("go");
    mknodat(CWD, &go, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the directory can be written");
    let command = begun.then(&format!("read line <{}; echo $line", go.display()));
    let running =
        Bugle::on_daemon(&sshd, ["host"]).at(&place).after("trap '' INT").args(["run", "host", &command]).start();
    begun.next();
    running.signal(Signal::INT);
    std::fs::write(&go, "went on\n").expect("somebody reads it");
    running.wait().is(0, "went on\n", "");
}

#[test]
fn how_far_a_host_came_is_told_while_it_hangs_and_not_lost_by_an_interrupt() {
    let stuck = Behaviour::receiving(Reception::NamesItself("SSH-2.0-fleet\r\n"));
    let fleet = Fleet::of([("stuck", stuck)]);
    let call = Bugle::on(&fleet).args(["run", "stuck", "-vvv", "--connect-timeout", "50s", "true"]);
    let mut running = call.start();
    // Live: nothing else ends the wait in this test's time.
    running.wait_for_talk("stuck: we offer ");
    running.signal(Signal::INT);
    running.wait().exited(130).told("stuck: connected to ").told("interrupted: ended before the work was begun");
}
