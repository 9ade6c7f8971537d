//! A command that is ended from here has really ended there: looked for in the process table, never assumed.
//!
//! The servers are on this machine, so their processes can be seen. sshd ignores signal requests where it runs as root;
//! elsewhere it passes them on.

use crate::caller::{Caller, Running};
use crate::fleet::openssh;
use bugle::outcome::{Code, Outcome};
use bugle::scheduler::CancelReason;
use futures::future::join_all;
use rustix::process::{Pid, test_kill_process};
use std::time::Duration;

/// Commands that print the number of each of their processes and `go`, and then never end by themselves.
const STUBBORN: [(&str, &str); 6] = [
    ("a plain process", "echo $$; echo go; exec sleep 1000"),
    ("a shell with a child", "echo $$; sleep 1000 & echo $!; echo go; wait"),
    ("deaf to TERM", "trap '' TERM; echo $$; echo go; while :; do sleep 0.1; done"),
    (
        "deaf to TERM and HUP, with a child that inherits that",
        "trap '' TERM HUP INT; echo $$; sleep 1000 & echo $!; echo go; wait",
    ),
    ("in a process group of its own", "timeout 1000 sh -c 'echo $$; echo go; exec sleep 1000'"),
    (
        "forgotten by its parent",
        "(trap '' TERM; sh -c 'echo $$; exec sleep 1000' &); echo $$; echo go; exec sleep 1000",
    ),
];

/// Waits until a process is gone; a zombie is gone.
pub async fn gone(pid: &str) {
    let number = pid.parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("`{pid}` is no pid"));
    for _ in 0..200 {
        let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        if zombie || test_kill_process(number).is_err() {
            return;
        }
        // The kernel tells nobody but the parent, so it has to be asked again.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} is still there");
}

fn pids(running: &Running) -> Vec<String> {
    let text = running.stdout();
    let numbers: Vec<String> = text.lines().take_while(|line| *line != "go").map(str::to_owned).collect();
    assert!(!numbers.is_empty());
    numbers
}

#[tokio::test]
async fn a_time_limit_ends_every_kind_of_process_on_openssh() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    // Somebody else's session on the same server, which must not be touched.
    let mut neighbour = Caller::daemon(&sshd).start("echo $$; echo go; exec sleep 1000").await;
    neighbour.says("go\n").await;
    let calls = STUBBORN.map(|(kind, command)| {
        let mut caller = Caller::daemon(&sshd);
        // Long enough for a busy machine to start the command.
        caller.timeout = Some(Duration::from_secs(2));
        async move {
            let mut running = caller.start(command).await;
            running.says("go\n").await;
            let pids = pids(&running);
            (kind, running.end().await, pids)
        }
    });
    for (kind, answer, pids) in join_all(calls).await {
        assert!(matches!(answer.outcome(), Outcome::TimedOut(_)), "{kind}: {:?}", answer.ended);
        assert_eq!(answer.code(), Code::Timeout, "{kind}");
        assert_eq!(answer.failure().message, "not done after 2.0 s; its process was ended", "{kind}");
        for pid in pids {
            gone(&pid).await;
        }
    }
    let alive = pids(&neighbour);
    let pid = Pid::from_raw(alive[0].parse().unwrap()).unwrap();
    assert!(test_kill_process(pid).is_ok(), "the neighbour was killed");
    neighbour.outside.cancel.request(CancelReason::Interrupted);
    neighbour.end().await;
    gone(&alive[0]).await;
}

#[tokio::test]
async fn a_cancelled_command_has_ended_on_dropbear_too() {
    let Some(dropbear) = openssh::dropbear(&[]) else { return };
    for (kind, command) in [STUBBORN[0], STUBBORN[2], STUBBORN[4]] {
        let mut running = Caller::daemon(&dropbear).start(command).await;
        running.says("go\n").await;
        let pids = pids(&running);
        running.outside.cancel.request(CancelReason::Deadline);
        let answer = running.end().await;
        assert!(matches!(answer.outcome(), Outcome::Cancelled(_)), "{kind}: {:?}", answer.ended);
        assert_eq!(answer.code(), Code::Deadline, "{kind}");
        assert!(answer.failure().message.ends_with("its process was ended"), "{kind}: {}", answer.failure().message);
        for pid in pids {
            gone(&pid).await;
        }
    }
}

#[tokio::test]
async fn time_limits_and_cancelling_hold_while_the_report_takes_nothing() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let mut caller = Caller::daemon(&sshd);
    for limit in [Some(Duration::from_secs(2)), None] {
        caller.timeout = limit;
        let mut running = caller.start("echo $$; echo go; exec yes").await;
        running.says("go\n").await;
        let pid = pids(&running).remove(0);
        // From here on nothing is taken of what it writes.
        if limit.is_none() {
            running.outside.cancel.request(CancelReason::Interrupted);
        }
        let answer = running.end_unheard().await;
        match limit {
            Some(_) => assert!(matches!(answer.outcome(), Outcome::TimedOut(_)), "{:?}", answer.ended),
            None => assert!(matches!(answer.outcome(), Outcome::Cancelled(_)), "{:?}", answer.ended),
        }
        gone(&pid).await;
    }
}

#[tokio::test]
async fn a_cancelled_connect_leaves_no_connection() {
    use crate::fleet::{Behaviour, Fleet, Reception};
    let fleet = Fleet::one(Behaviour::receiving(Reception::Silent));
    let running = Caller::only(&fleet).start("true").await;
    let host = &fleet.hosts()[0];
    host.until("that it is called", |counts| counts.open == 1).await;
    running.outside.cancel.request(CancelReason::Interrupted);
    let answer = running.end().await;
    assert_eq!(answer.code(), Code::Interrupted);
    host.until("that the connection ends", |counts| counts.open == 0).await;
}
