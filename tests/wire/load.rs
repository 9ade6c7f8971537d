//! Many hosts at one address, and more output than fits anywhere.

use crate::caller::{Caller, run_all};
use crate::fleet::openssh;
use crate::fleet::{Behaviour, Fleet, Login, Reception};
use bugle::outcome::Outcome;

#[tokio::test]
async fn a_server_that_throttles_is_not_overrun() {
    let Some(sshd) = openssh::sshd(&["MaxStartups 2:50:4"]) else { return };
    let callers: Vec<Caller> = (0..60).map(|_| Caller::daemon(&sshd)).collect();
    let run = run_all(&callers, 60, "echo in").await;
    let failed: Vec<_> = run.outcomes.iter().filter(|outcome| **outcome != Outcome::Ok).collect();
    assert!(failed.is_empty(), "{} of 60 failed after {} retries: {:?}", failed.len(), run.retries, failed[0]);
    assert!(run.outputs.iter().all(|output| output == b"in\n"));
}

#[tokio::test]
async fn one_address_sees_no_more_than_eight_handshakes_at_once() {
    let fleet = Fleet::start(1);
    let callers: Vec<Caller> = (0..50).map(|_| Caller::only(&fleet)).collect();
    let run = run_all(&callers, 50, "true").await;
    assert_eq!(run.result.tally.ok, 50, "{:?}", run.outcomes);
    let counts = fleet.hosts()[0].counts();
    assert_eq!(counts.connections, 50);
    assert!(counts.most_handshakes <= 8, "{counts:?}");
}

#[tokio::test]
async fn a_server_that_is_throttled_at_first_is_reached_in_the_end() {
    let throttled = Behaviour::receiving(Reception::SaysAtFirst("Exceeded MaxStartups\r\n", 2));
    let fleet = Fleet::of([("crowded", throttled), ("refusing", Behaviour::letting_in(Login::Nobody))]);
    let callers: Vec<Caller> = fleet.hosts().iter().map(|host| Caller::of(&fleet, host)).collect();
    let run = run_all(&callers, 2, "true").await;
    assert_eq!(run.outcomes[0], Outcome::Ok);
    assert_eq!(run.retries, 2);
    assert_eq!(fleet.host("crowded").counts().connections, 3);
    assert_eq!(fleet.host("refusing").counts().connections, 1, "a refused login is never tried again");
}

#[tokio::test]
async fn hundreds_of_addresses_behind_one_listener_are_hosts_of_their_own() {
    let fleet = Fleet::light(300, 1);
    let callers: Vec<Caller> = fleet.hosts().iter().map(|host| Caller::of(&fleet, host)).collect();
    let run = run_all(&callers, 100, "uname -sr").await;
    assert_eq!(run.result.tally.ok, 300);
    assert!(run.outputs.iter().all(|output| output.ends_with(b"hello from a light fleet\n")));
    assert!(fleet.hosts().iter().all(|host| host.counts().logins == 1 && host.commands() == ["uname -sr"]));
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc_pid_status(5) has it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1024
}

#[tokio::test]
async fn a_gigabyte_passes_through_in_constant_memory() {
    const LENGTH: u64 = 1 << 30;
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let caller = Caller::daemon(&sshd);
    caller.run("true").await;
    let before = resident();
    let (mut seen, mut most) = (0, 0);
    let mut running = caller.start(&format!("head -c {LENGTH} /dev/zero")).await;
    while seen < LENGTH {
        match running.outside.said().await {
            Some(bugle::event::What::OutputReceived { bytes, .. }) => {
                let block = seen >> 26;
                seen += bytes.len() as u64;
                if seen >> 26 > block {
                    most = most.max(resident());
                }
            }
            Some(_) => {}
            None => panic!("it ended after {seen} bytes"),
        }
    }
    assert_eq!(running.end().await.outcome(), &Outcome::Ok);
    assert!(most < before + (24 << 20), "{} KiB became {} KiB", before >> 10, most >> 10);
}
