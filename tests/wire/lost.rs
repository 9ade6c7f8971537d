//! A connection that ends while its command runs: `session.lost`, never ok, never a second time.

use crate::caller::{Caller, run_all};
use crate::fleet::openssh;
use crate::fleet::{Behaviour, Cut, Exec, Fleet};
use bugle::outcome::{Code, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_lost_command_is_never_run_again() {
    let hosts = [("closed", Cut::Close), ("reset", Cut::Reset)];
    let fleet = Fleet::of(hosts.map(|(name, cut)| (name, Behaviour::executing(Exec::Cut(cut)))));
    let callers: Vec<Caller> = fleet.hosts().iter().map(|host| Caller::of(&fleet, host)).collect();
    let run = run_all(&callers, 2, "do it once").await;
    assert_eq!(run.retries, 0);
    for ((host, outcome), output) in fleet.hosts().iter().zip(&run.outcomes).zip(&run.outputs) {
        let Outcome::Unreachable(failure) = outcome else { panic!("{}: {outcome:?}", host.name) };
        assert_eq!(failure.code, Code::SessionLost, "{}", host.name);
        assert!(failure.message.contains("the connection"), "{}: {}", host.name, failure.message);
        assert!(failure.hint.as_deref().unwrap_or_default().contains("unknown"), "{failure:?}");
        assert_eq!(host.commands(), ["do it once"], "{}", host.name);
        assert_eq!(output, b"begun\n", "{}", host.name);
    }
    assert_eq!(run.result.tally.unreachable, 2);
}

#[tokio::test]
async fn a_channel_without_a_status_is_lost_and_not_ok() {
    let fleet = Fleet::one(Behaviour::executing(Exec::NoStatus));
    let answer = Caller::only(&fleet).run("true").await;
    assert_eq!(answer.code(), Code::SessionLost);
    assert!(matches!(answer.outcome(), Outcome::Unreachable(_)), "{:?}", answer.ended);
}

#[tokio::test]
async fn a_machine_that_hangs_is_noticed_by_its_silence() {
    let fleet = Fleet::one(Behaviour::executing(Exec::Cut(Cut::Freeze)));
    let caller = Caller::only(&fleet).with(|profile| {
        profile.alive_interval = Some(Duration::from_millis(200));
        profile.alive_count = 2;
    });
    let began = Instant::now();
    let answer = caller.run("hang").await;
    assert_eq!(answer.code(), Code::SessionLost, "{:?}", answer.ended);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(
        answer.failure().message.contains("keepalive") || answer.failure().message.contains("answer"),
        "{:?}",
        answer.failure()
    );
}

#[tokio::test]
async fn a_quiet_command_outlives_many_intervals_of_silence() {
    let fleet = Fleet::start(1);
    let caller = Caller::only(&fleet).with(|profile| {
        profile.alive_interval = Some(Duration::from_millis(50));
        profile.alive_count = 2;
    });
    assert_eq!(caller.run("sleep 1; echo done").await.text(), "done\n");
}

#[tokio::test]
async fn a_server_process_that_is_killed_is_a_lost_connection() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let mut running = Caller::daemon(&sshd).start("echo $PPID $$ go; exec sleep 1000").await;
    running.says("go\n").await;
    let pids: Vec<i32> = running.stdout().split(' ').take(2).map(|pid| pid.parse().unwrap()).collect();
    kill_process(Pid::from_raw(pids[0]).unwrap(), Signal::KILL).unwrap();
    let answer = running.end().await;
    assert_eq!(answer.code(), Code::SessionLost);
    kill_process(Pid::from_raw(pids[1]).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_connection_that_is_lost_while_input_is_sent_is_lost() {
    let fleet = Fleet::start(1);
    let mut running = Caller::only(&fleet)
        .sending(vec![7; 5_000_000])
        .start("echo begun; head -c 100000 >/dev/null; sleep 1000")
        .await;
    running.says("begun").await;
    fleet.hosts()[0].cut(Cut::Reset);
    assert_eq!(running.end().await.code(), Code::SessionLost);
}
