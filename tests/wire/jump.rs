//! The way to hosts that cannot be reached straight: jump hosts and commands.

use crate::caller::{Caller, connector, run_all};
use crate::fleet::openssh;
use crate::fleet::{Behaviour, Cut, Exec, Fleet, Forwarding, HostKey, Login, Reception, keys};
use bugle::event::Phase;
use bugle::outcome::{Code, Outcome};
use futures::future::join_all;
use russh::{MethodKind, kex};
use std::fs;
use std::time::{Duration, Instant};

fn behind(count: usize, bastion: Behaviour) -> Fleet {
    let hosts = (1..=count).map(|number| (format!("web{number:02}"), Behaviour::default()));
    Fleet::of([("bastion".to_owned(), bastion)].into_iter().chain(hosts))
}

/// Callers of all hosts but the first, through it.
fn through_the_first(fleet: &Fleet) -> Vec<Caller> {
    let bastion = Caller::only(fleet);
    fleet.hosts()[1..].iter().map(|host| Caller::of(fleet, host).through(&[&bastion])).collect()
}

#[tokio::test]
async fn one_connection_to_the_bastion_carries_twenty_hosts() {
    let fleet = behind(20, Behaviour::default());
    let run = run_all(&through_the_first(&fleet), 20, "echo $FLEET_HOST").await;
    for ((host, outcome), output) in fleet.hosts()[1..].iter().zip(&run.outcomes).zip(&run.outputs) {
        assert_eq!(outcome, &Outcome::Ok, "{}", host.name);
        assert_eq!(output, format!("{}\n", host.name).as_bytes());
    }
    let counts = fleet.host("bastion").counts();
    assert_eq!((counts.connections, counts.logins, counts.tunnels), (1, 1, 20));
}

#[tokio::test]
async fn the_way_to_the_bastion_is_a_phase_too() {
    let fleet = behind(1, Behaviour::default());
    let answer = through_the_first(&fleet).remove(0).run("true").await;
    let connects: Vec<_> = answer.phases.iter().filter(|(phase, _)| *phase == Phase::Connect).collect();
    let bastion = Caller::only(&fleet).destination.endpoint;
    let details = [format!("the jump host {bastion}"), format!("through {bastion}")];
    assert_eq!(connects.iter().map(|(_, detail)| detail.as_str()).collect::<Vec<_>>(), details);
}

#[tokio::test]
async fn openssh_as_a_bastion_carries_the_fleet() {
    let fleet = Fleet::start(12);
    let Some(sshd) = openssh::sshd(&["MaxSessions 1", "MaxStartups 2:50:4"]) else { return };
    let bastion = Caller::daemon(&sshd);
    let callers: Vec<Caller> = fleet.hosts().iter().map(|host| Caller::of(&fleet, host).through(&[&bastion])).collect();
    let run = run_all(&callers, 12, "head -c 100000 /dev/zero").await;
    assert_eq!(run.result.tally.ok, 12, "{:?}", run.outcomes);
    assert!(run.outputs.iter().all(|output| output.len() == 100_000));
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn names_are_resolved_by_the_bastion() {
    let fleet = behind(1, Behaviour::default());
    let host = fleet.host("web01");
    let known = fleet.directory().join("by_name");
    fs::write(&known, format!("[web01]:{} {}\n", host.address.port(), keys::line(&host.key))).unwrap();
    let mut caller = through_the_first(&fleet).remove(0).with(|profile| profile.user_known_hosts = vec![known]);
    caller.destination.endpoint.address = "web01".into();
    assert_eq!(caller.run("echo $FLEET_HOST").await.text(), "web01\n");
}

#[tokio::test]
async fn a_chain_goes_from_hop_to_hop() {
    let fleet = Fleet::of(["first", "second", "third", "target"].map(|name| (name, Behaviour::default())));
    let [first, second, third] = ["first", "second", "third"].map(|name| Caller::named(&fleet, name));
    let caller = Caller::named(&fleet, "target").through(&[&first, &second, &third]);
    let answer = caller.run("echo $FLEET_HOST").await;
    assert_eq!(answer.text(), "target\n");
    let [first, second, third] = [first, second, third].map(|hop| hop.destination.endpoint);
    let way = format!("the jump hosts {first}, {second}, {third}");
    assert!(answer.phases.contains(&(Phase::Connect, way.clone())), "no `{way}` in {:?}", answer.phases);
    for name in ["first", "second", "third"] {
        let counts = fleet.host(name).counts();
        assert_eq!((counts.connections, counts.tunnels), (1, 1), "{name}");
    }
    assert_eq!(fleet.host("target").counts().connections, 1);
}

#[tokio::test]
async fn hops_that_hosts_have_in_common_are_shared() {
    let names = ["outer", "inner", "web01", "web02", "web03"];
    let fleet = Fleet::of(names.map(|name| (name, Behaviour::default())));
    let (outer, inner) = (Caller::named(&fleet, "outer"), Caller::named(&fleet, "inner"));
    let mut callers: Vec<Caller> =
        ["web01", "web02", "web03"].map(|name| Caller::named(&fleet, name).through(&[&outer, &inner])).into();
    callers.push(inner.clone().through(&[&outer]));
    let run = run_all(&callers, 4, "true").await;
    assert_eq!(run.result.tally.ok, 4, "{:?}", run.outcomes);
    assert_eq!(fleet.host("outer").counts().connections, 1);
}

#[tokio::test]
async fn jump_hosts_at_one_address_are_shared_only_where_nothing_else_differs() {
    let fleet = behind(2, Behaviour::default());
    let own = Caller::only(&fleet);
    let strict = own.clone().with(|profile| profile.user_known_hosts.clear());
    let elsewhere = own.clone().by_way_of("false");
    let mut alias = own.clone();
    alias.destination.host_key_alias = Some("another".into());
    let refused = [(strict, Code::HostKeyUnknown), (elsewhere, Code::ProxyFailed), (alias, Code::HostKeyUnknown)];
    for (other, code) in refused {
        let good = Caller::named(&fleet, "web01").through(&[&own]);
        let bad = Caller::named(&fleet, "web02").through(&[&other]);
        for order in [[&good, &bad], [&bad, &good]] {
            let shared = connector(&order).await.unwrap();
            for caller in order {
                let answer = caller.start_with(shared.clone(), "echo in").end().await;
                match caller.destination.name == good.destination.name {
                    true => assert_eq!(answer.text(), "in\n"),
                    false => assert_eq!(answer.code(), code),
                }
            }
        }
    }
    // The same settings, resolved a second time.
    let same = own.clone().with(|_| {});
    let callers = [Caller::named(&fleet, "web01").through(&[&own]), Caller::named(&fleet, "web02").through(&[&same])];
    let before = fleet.host("bastion").counts().connections;
    assert_eq!(run_all(&callers, 2, "true").await.result.tally.ok, 2);
    assert_eq!(fleet.host("bastion").counts().connections, before + 1);
}

#[tokio::test]
async fn a_bastion_that_refuses_the_login_is_asked_once_for_all() {
    let fleet = behind(10, Behaviour::letting_in(Login::Nobody));
    let run = run_all(&through_the_first(&fleet), 10, "true").await;
    for outcome in &run.outcomes {
        let Outcome::Unreachable(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.code, Code::AuthRefused);
        assert!(failure.message.starts_with("jump host `bastion`: login as"), "{}", failure.message);
    }
    assert_eq!(fleet.host("bastion").counts().connections, 1);
}

#[tokio::test]
async fn what_is_typed_does_not_reach_jump_hosts_and_the_hint_says_so() {
    let key = "-I, -l, -o and passwords do not reach jump hosts: name its key in ssh_config, under `Host bastion` as `IdentityFile PATH`";
    let option = "; -o does not reach jump hosts: write it into ssh_config under `Host bastion`";
    for (bastion, code, words) in [
        (Behaviour::letting_in(Login::Nobody), Code::AuthRefused, key),
        (Behaviour::letting_in(Login::Only(MethodKind::Password)), Code::AuthRefused, key),
        (Behaviour::letting_in(Login::NobodyFor(1)), Code::AuthRefused, key),
        (Behaviour::showing(HostKey::Unknown), Code::HostKeyUnknown, option),
        (Behaviour::taking(&[kex::DH_G1_SHA1], &[], &[]), Code::KexNoCommonKex, option),
    ] {
        let fleet = behind(1, bastion);
        let error = through_the_first(&fleet).remove(0).refused().await;
        assert_eq!(error.failure.code, code, "{error:?}");
        let hint = error.failure.hint.unwrap_or_default();
        assert!(hint.contains(words), "{hint}");
    }
    // Without a key at all, which is what happens where the only one is typed.
    let fleet = behind(1, Behaviour::default());
    let bastion = Caller::only(&fleet).with(|profile| profile.keys.identity_files.clear());
    let error = Caller::named(&fleet, "web01").through(&[&bastion]).refused().await;
    assert_eq!(error.failure.code, Code::AuthNoKey);
    let hint = error.failure.hint.unwrap_or_default();
    assert!(hint.contains(key) && hint.ends_with("or add the key with ssh-add"), "{hint}");
}

#[tokio::test]
async fn a_jump_host_without_an_address_is_sent_to_the_ssh_config() {
    let fleet = behind(1, Behaviour::default());
    let mut bastion = Caller::only(&fleet);
    // No name server is asked about a name with spaces.
    bastion.destination.endpoint.address = "no such name".into();
    let failure = Caller::named(&fleet, "web01").through(&[&bastion]).refused().await.failure;
    assert_eq!(failure.code, Code::DnsNxdomain, "{}", failure.message);
    let hint = failure.hint.unwrap_or_default();
    assert!(hint.ends_with("in ssh_config, under `Host bastion` as `HostName ADDRESS`"), "{hint}");
}

#[tokio::test]
async fn the_hop_that_failed_is_the_one_that_is_named() {
    let names = ["outer", "inner", "web01"];
    let nobody = |name| if name == "outer" { Behaviour::letting_in(Login::Nobody) } else { Behaviour::default() };
    let fleet = Fleet::of(names.map(|name| (name, nobody(name))));
    let (outer, inner) = (Caller::named(&fleet, "outer"), Caller::named(&fleet, "inner"));
    let error = Caller::named(&fleet, "web01").through(&[&outer, &inner]).refused().await;
    assert!(error.failure.message.starts_with("jump host `outer`: login as"), "{}", error.failure.message);
    assert!(error.failure.hint.unwrap_or_default().contains("`Host outer`"));
}

#[tokio::test]
async fn a_bastion_that_says_nothing_costs_one_time_limit_and_not_ten() {
    let fleet = behind(10, Behaviour::receiving(Reception::Silent));
    let limit = Duration::from_millis(700);
    let bastion = Caller::only(&fleet).within(limit);
    let callers: Vec<Caller> =
        fleet.hosts()[1..].iter().map(|host| Caller::of(&fleet, host).within(limit).through(&[&bastion])).collect();
    let began = Instant::now();
    let run = run_all(&callers, 10, "true").await;
    assert!(began.elapsed() < limit * 3, "{:?}", began.elapsed());
    for outcome in &run.outcomes {
        assert_eq!(outcome.failure().map(|failure| failure.code), Some(Code::PreBannerTimeout), "{outcome:?}");
    }
}

#[tokio::test]
async fn what_a_bastion_will_not_or_cannot_reach_is_told_apart() {
    let fleet = behind(1, Behaviour { forwarding: Forwarding::Prohibited, ..Behaviour::default() });
    let error = through_the_first(&fleet).remove(0).refused().await;
    assert_eq!(error.failure.code, Code::JumpFailed);
    assert!(error.failure.hint.as_deref().unwrap_or_default().contains("AllowTcpForwarding"), "{error:?}");

    let fleet = Fleet::of([("bastion", Behaviour::default()), ("gone", Behaviour::receiving(Reception::Absent))]);
    let error = through_the_first(&fleet).remove(0).refused().await;
    assert_eq!(error.failure.code, Code::JumpFailed);
    let words = format!("cannot connect to port {} of the host", fleet.host("gone").address.port());
    assert!(error.failure.message.contains(&words), "{error:?}");
}

#[tokio::test]
async fn what_openssh_says_about_a_tunnel_is_told_for_the_host_that_it_is_about() {
    let fleet = Fleet::of((0..12).map(|number| (format!("gone{number:02}"), Behaviour::receiving(Reception::Absent))));
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let bastion = Caller::daemon(&sshd);
    // Every second one has no name there.
    let callers: Vec<Caller> = (0..)
        .zip(fleet.hosts())
        .map(|(number, host)| {
            let mut caller = Caller::of(&fleet, host).through(&[&bastion]);
            if number % 2 == 1 {
                caller.destination.endpoint.address = "no-such-host.invalid".into();
            }
            caller
        })
        .collect();
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.unwrap();
    let calls = callers.iter().map(|caller| caller.start_with(shared.clone(), "true").end());
    for (number, answer) in join_all(calls).await.iter().enumerate() {
        let failure = answer.failure();
        let (message, hint) = (&failure.message, failure.hint.as_deref().unwrap_or_default());
        if number % 2 == 0 {
            let port = fleet.hosts()[number].address.port();
            assert!(
                message.ends_with(&format!("cannot connect to port {port} of the host: Connection refused")),
                "{message}"
            );
            assert!(hint.contains("is sshd running there"), "{hint}");
            let asked = format!("was asked for deploy@{}", fleet.hosts()[number].address);
            assert!(answer.notices_have(1, &asked), "{:?}", answer.notices);
        } else {
            assert!(message.contains("of `no-such-host.invalid`: ") && !message.contains("refused"), "{message}");
            assert!(hint.contains("the jump host resolves the name"), "{hint}");
        }
    }
}

#[tokio::test]
async fn a_lost_bastion_is_a_lost_session_on_each_host_behind_it() {
    let fleet = behind(2, Behaviour::default());
    let callers = through_the_first(&fleet);
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.unwrap();
    let mut running: Vec<_> =
        callers.iter().map(|caller| caller.start_with(shared.clone(), "echo begun; sleep 1000")).collect();
    for command in &mut running {
        command.says("begun").await;
    }
    fleet.host("bastion").cut(Cut::Reset);
    for command in running {
        assert_eq!(command.end().await.code(), Code::SessionLost);
    }
    // And it is connected to anew for whoever comes next.
    assert_eq!(callers[0].start_with(shared, "echo again").end().await.text(), "again\n");
    assert_eq!(fleet.host("bastion").counts().connections, 2);
}

#[tokio::test]
async fn a_host_that_nobody_listens_to_does_not_stall_its_neighbours_behind_the_bastion() {
    let fleet = behind(2, Behaviour::default());
    let callers = through_the_first(&fleet);
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.unwrap();
    let mut loud = callers[0].start_with(shared.clone(), "yes");
    loud.says("y\n").await;
    // Nobody takes what it says from here on.
    for _ in 0..3 {
        let quiet = callers[1].start_with(shared.clone(), "head -c 300000 /dev/zero").end();
        let answer = tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("the bastion goes on");
        assert_eq!(answer.stdout.len(), 300_000);
    }
}

#[tokio::test]
async fn hosts_behind_a_bastion_are_let_in_eight_at_a_time() {
    let fleet = behind(30, Behaviour { exec: Exec::Answer("x"), ..Behaviour::default() });
    let run = run_all(&through_the_first(&fleet), 30, "true").await;
    assert_eq!(run.result.tally.ok, 30, "{:?}", run.outcomes);
    assert_eq!(fleet.host("bastion").counts().connections, 1);
    assert!(fleet.most_handshakes() <= 8, "{} at once", fleet.most_handshakes());
}

#[tokio::test]
async fn a_command_can_be_the_way() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let program = openssh::find("sshd").unwrap();
    let configuration = sshd.directory().join("sshd_config");
    let line = format!("{} -i -f {}", program.display(), configuration.display());
    let caller = Caller::daemon(&sshd).by_way_of(line);
    let answer = caller.sending(vec![b'x'; 300_000]).run("wc -c").await;
    assert_eq!(answer.text().trim(), "300000");
    assert!(!sshd.log().contains("Connection from"), "the server that listens was not called: {}", sshd.log());
}

#[tokio::test]
async fn a_command_that_fails_says_why() {
    let fleet = Fleet::start(1);
    for (command, code, words) in [
        (
            "sh -c 'echo first >&2; echo the gate is shut >&2; exit 7'",
            Code::ProxyFailed,
            "the ProxyCommand `PROXY` ended with status 7 before a server answered: the gate is shut",
        ),
        ("/no/such/program --option", Code::ProxyFailed, "no/such/program"),
        ("true", Code::ProxyFailed, "ended with status 0 before a server answered: it said nothing"),
        ("sh -c 'kill -9 $$'", Code::ProxyFailed, "was ended by signal 9 before a server answered: it said nothing"),
        // It is no longer heard long before it complains.
        ("sh -c 'exec >&-; sleep 0.1; echo late >&2; exit 3'", Code::ProxyFailed, "ended with status 3"),
        ("sh -c 'exec >&-; sleep 0.1; echo late >&2; exit 3'", Code::ProxyFailed, ": late"),
        ("sh -c 'exec >&-; exec sleep 1000'", Code::ProxyFailed, "closed its output before a server answered"),
        ("echo hello", Code::PreBannerNotSsh, "`PROXY` brought something that is not SSH: `hello`"),
    ] {
        let error = Caller::only(&fleet).by_way_of(command).refused().await;
        assert_eq!(error.failure.code, code, "{command}: {error:?}");
        assert!(error.failure.message.contains(words), "{command}: {}", error.failure.message);
        let hint = error.failure.hint.unwrap_or_default();
        assert!(hint.contains("run the command by hand"), "{command}: {hint}");
    }
    assert_eq!(fleet.hosts()[0].counts().connections, 0);
}

#[tokio::test]
async fn commands_that_lead_to_different_hosts_do_not_wait_for_each_other() {
    const HOSTS: usize = 12;
    let fleet = Fleet::start(1);
    let place = fleet.directory().join("meeting");
    fs::create_dir(&place).unwrap();
    // Nobody goes before all have come, though all have one address.
    let ways = (0..HOSTS).map(|number| {
        let line = "sh -c 'cd {} && : >{} && until [ $(ls | wc -l) -ge {} ]; do sleep 0.05; done; exit 7'";
        let line = line.replacen("{}", &place.display().to_string(), 1).replacen("{}", &number.to_string(), 1);
        Caller::only(&fleet).by_way_of(line.replacen("{}", &HOSTS.to_string(), 1))
    });
    let callers: Vec<Caller> = ways.collect();
    let run = run_all(&callers, HOSTS, "true").await;
    for outcome in &run.outcomes {
        let message = outcome.failure().map(|failure| failure.message.as_str()).unwrap_or_default();
        assert!(message.contains("ended with status 7"), "{outcome:?}");
    }
}

#[tokio::test]
async fn no_complaint_of_a_command_is_lost_to_its_end() {
    let fleet = Fleet::start(1);
    let command = "sh -c 'echo the gate is shut >&2; exit 7'";
    let calls = (0..40).map(|_| async { Caller::only(&fleet).by_way_of(command).refused().await.failure.message });
    for message in join_all(calls).await {
        assert!(message.ends_with("ended with status 7 before a server answered: the gate is shut"), "{message}");
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_told_by_its_name_and_ended_with_its_time_limit() {
    let fleet = Fleet::start(1);
    let file = fleet.directory().join("pid");
    for (says, words) in [
        ("true", "the ProxyCommand `PROXY` brought no answer of a server in 700 ms: it said nothing"),
        ("echo knocking >&2", "brought no answer of a server in 700 ms: knocking"),
        ("printf Password:", "brought no version line of a server but `Password:` in 700 ms"),
    ] {
        let line = format!("sh -c 'echo $$ >{}; {says}; exec sleep 1000'", file.display());
        let error = Caller::only(&fleet).within(Duration::from_millis(700)).by_way_of(line).refused().await;
        assert_eq!(error.failure.code, Code::ProxyFailed, "{error:?}");
        assert!(error.failure.message.contains(words), "{}", error.failure.message);
        let pid = fs::read_to_string(&file).unwrap();
        crate::ending::gone(pid.trim()).await;
    }
}
