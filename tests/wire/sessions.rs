//! Commands on an open connection: what comes back, what goes in, and how many at once.

use crate::caller::Caller;
use crate::fleet::openssh::{self, Daemon};
use crate::fleet::{Behaviour, Exec, Fleet};
use bugle::connection::{Connection, Exec as Command, Happening, Process, Program, Terminal, Trace};
use bugle::event::Stream;
use bugle::outcome::{Code, Outcome, RemoteExit};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// Callers of all servers that are installed here, by name. The servers live as long as the first of the pair.
fn everywhere() -> (Vec<Daemon>, Fleet, Vec<(&'static str, Caller)>) {
    let fleet = Fleet::start(1);
    let mut callers = vec![("the fleet", Caller::only(&fleet))];
    let mut daemons = Vec::new();
    for (name, daemon) in [("openssh", openssh::sshd(&[])), ("dropbear", openssh::dropbear(&[]))] {
        if let Some(daemon) = daemon {
            callers.push((name, Caller::daemon(&daemon)));
            daemons.push(daemon);
        }
    }
    (daemons, fleet, callers)
}

#[tokio::test]
async fn every_server_tells_how_a_command_ended() {
    let (_daemons, _fleet, callers) = everywhere();
    for (server, caller) in callers {
        for status in [1, 2, 126, 127, 128, 137, 255] {
            let answer = caller.run(&format!("exit {status}")).await;
            assert_eq!(answer.code(), Code::ExitStatus, "{server}: exit {status}");
            assert_eq!(answer.failure().exit, Some(RemoteExit::Status(status)), "{server}");
        }
        for signal in ["TERM", "KILL", "HUP"] {
            let answer = caller.run(&format!("kill -{signal} $$")).await;
            assert_eq!(answer.code(), Code::ExitSignal, "{server}: {signal}");
            let Some(RemoteExit::Signal { name, .. }) = &answer.failure().exit else { panic!("{:?}", answer.ended) };
            assert_eq!(name, signal, "{server}");
        }
    }
}

#[tokio::test]
async fn outputs_are_kept_apart_and_complete() {
    let (_daemons, _fleet, callers) = everywhere();
    for (server, caller) in callers {
        let answer = caller.run("printf 'out\\0\\377'; printf 'err\\r' >&2; exit 3").await;
        assert_eq!(answer.stdout, b"out\0\xff", "{server}");
        assert_eq!(answer.stderr, b"err\r", "{server}");
        let answer =
            caller.run("exec 1>&-; i=0; while [ $i -lt 1000 ]; do echo $i >&2; i=$((i+1)); done; exit 4").await;
        assert_eq!(answer.failure().exit, Some(RemoteExit::Status(4)), "{server}: outputs that are closed early");
        assert!(answer.stderr.ends_with(b"\n999\n"), "{server}");
    }
}

#[tokio::test]
async fn stderr_after_the_end_of_stdout_is_not_lost() {
    let fleet = Fleet::one(Behaviour::executing(Exec::LateStderr));
    let answer = Caller::only(&fleet).run("anything").await;
    assert_eq!(answer.stdout, b"out\n");
    assert_eq!(answer.stderr, b"late\n");
    assert_eq!(answer.failure().exit, Some(RemoteExit::Status(3)));
}

#[tokio::test]
async fn a_line_of_a_megabyte_comes_whole() {
    let (_daemons, _fleet, callers) = everywhere();
    for (server, caller) in callers {
        let answer = caller.run("head -c 1000000 /dev/zero | tr '\\0' x").await;
        assert_eq!(answer.outcome(), &Outcome::Ok, "{server}");
        assert_eq!(answer.stdout.len(), 1_000_000, "{server}");
        assert!(answer.stdout.iter().all(|&byte| byte == b'x'), "{server}");
    }
}

/// Bytes of which no two stretches are alike.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test]
async fn ten_megabytes_of_input_arrive_byte_for_byte_on_every_host() {
    let sent = noise(10_000_000);
    let fleet = Fleet::start(2);
    let input = Caller::only(&fleet).sending(sent.clone()).input;
    let calls = fleet.hosts().iter().map(|host| {
        let mut caller = Caller::of(&fleet, host);
        caller.input = input.clone();
        async move { caller.run("cat").await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.outcome(), &Outcome::Ok);
        assert!(answer.stdout == sent, "{} bytes came back", answer.stdout.len());
    }
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let answer = Caller::daemon(&sshd).sending(sent.clone()).run("cat").await;
    assert!(answer.stdout == sent, "{} bytes came back", answer.stdout.len());
}

#[tokio::test]
async fn a_command_that_reads_nothing_does_not_wait_for_its_input() {
    let (_daemons, _fleet, callers) = everywhere();
    for (server, caller) in callers {
        let answer = caller.sending(noise(5_000_000)).run("exec <&-; echo done").await;
        assert_eq!(answer.text(), "done\n", "{server}");
    }
}

#[tokio::test]
async fn without_input_a_command_reads_the_end_at_once() {
    let (_daemons, _fleet, callers) = everywhere();
    for (server, caller) in callers {
        assert_eq!(caller.run("cat; echo end").await.text(), "end\n", "{server}");
    }
}

#[tokio::test]
async fn new_keys_are_made_in_the_middle_of_megabytes_both_ways() {
    let sent = noise(3_000_000);
    let Some(sshd) = openssh::sshd(&["RekeyLimit 64K"]) else { return };
    for cipher in ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"] {
        let caller =
            Caller::daemon(&sshd).with(|profile| Arc::make_mut(&mut profile.algorithms).ciphers = vec![cipher.into()]);
        let answer = caller.sending(sent.clone()).run("cat").await;
        assert_eq!(answer.outcome(), &Outcome::Ok, "{cipher}");
        assert!(answer.stdout == sent, "{cipher}: {} bytes came back", answer.stdout.len());
    }
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let caller = Caller::daemon(&sshd).with(|profile| profile.rekey_bytes = Some(64 * 1024));
    let answer = caller.sending(sent.clone()).run("cat").await;
    assert!(answer.stdout == sent, "ours: {} bytes came back of {:?}", answer.stdout.len(), answer.ended);
}

#[tokio::test]
async fn a_terminal_is_a_terminal() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    if sshd.user != "root" {
        eprintln!("skipped: sshd may not change the owner of a terminal");
        return;
    }
    let mut caller = Caller::daemon(&sshd);
    caller.terminal = Some(Terminal { name: "xterm-mono".into(), columns: 97, rows: 31 });
    let answer = caller.run("test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && echo err >&2").await;
    assert_eq!(answer.text(), "31 97\r\nxterm-mono\r\nerr\r\n");
}

#[tokio::test]
async fn variables_are_sent_along() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let caller =
        Caller::daemon(&sshd).with(|profile| profile.environment = vec![("GREETING".into(), "it's $HOME".into())]);
    assert_eq!(caller.run("echo \"$GREETING\"").await.text(), "it's $HOME\n");
}

#[tokio::test]
async fn a_refused_command_is_no_failure_of_the_command() {
    let fleet = Fleet::one(Behaviour::executing(Exec::Refused));
    let answer = Caller::only(&fleet).run("true").await;
    assert_eq!(answer.code(), Code::SessionRefused);
    assert!(matches!(answer.outcome(), Outcome::Failed(_)), "{:?}", answer.ended);
    fleet.hosts()[0].until("that the session ends", |counts| counts.sessions == 0).await;
}

#[tokio::test]
async fn a_server_without_a_free_session_refuses_it() {
    let fleet = Fleet::one(Behaviour { max_sessions: 0, ..Behaviour::default() });
    let answer = Caller::only(&fleet).run("true").await;
    assert_eq!(answer.code(), Code::SessionRefused);
    let Some(sshd) = openssh::sshd(&["MaxSessions 0"]) else { return };
    let answer = Caller::daemon(&sshd).run("true").await;
    assert_eq!(answer.code(), Code::SessionRefused);
    assert!(answer.failure().hint.as_deref().unwrap_or_default().contains("MaxSessions"), "{:?}", answer.failure());
}

async fn start(connection: &Arc<Connection>, command: &str) -> Process {
    let exec = Command { program: Program::Command(command.into()), ..Command::default() };
    let started = Process::start(Arc::clone(connection), &exec, &mut Trace::default()).await;
    started.unwrap_or_else(|failure| panic!("`{command}`: {failure:?}"))
}

/// What a command wrote to its standard output.
async fn output(mut process: Process) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match process.next().await {
            Happening::Output(Stream::Stdout, bytes) => all.extend_from_slice(&bytes),
            Happening::Output(..) => {}
            Happening::Ended(_) => break,
            other => panic!("{other:?}"),
        }
    }
    process.close().await;
    all
}

#[tokio::test]
async fn many_commands_share_a_connection_eight_at_a_time() {
    let fleet = Fleet::start(1);
    let connection = Caller::only(&fleet).connected().await;
    let commands = (0..40).map(|number| {
        let connection = &connection;
        async move { output(start(connection, &format!("echo {number}; cat /dev/zero | head -c 50000")).await).await }
    });
    for (number, said) in join_all(commands).await.into_iter().enumerate() {
        assert!(said.starts_with(format!("{number}\n").as_bytes()));
        assert_eq!(said.len(), 50_000 + format!("{number}\n").len());
    }
    let counts = fleet.hosts()[0].counts();
    assert_eq!((counts.connections, counts.most_sessions), (1, 8));
    fleet.hosts()[0].until("that every session ends", |counts| counts.sessions == 0).await;
}

#[tokio::test]
async fn sessions_are_given_back_on_every_path() {
    let fleet = Fleet::one(Behaviour { max_sessions: 1, ..Behaviour::default() });
    let connection = Caller::only(&fleet).connected().await;
    let host = &fleet.hosts()[0];
    for _ in 0..3 {
        for unfinished in ["sleep 1000", "yes", "cat"] {
            start(&connection, unfinished).await.close().await;
            host.until("that the session ends", |counts| counts.sessions == 0).await;
        }
        let mut killed = start(&connection, "echo x; kill -9 $$").await;
        while !matches!(killed.next().await, Happening::Ended(_)) {}
        killed.close().await;
        host.until("that the session ends", |counts| counts.sessions == 0).await;
    }
    // Three times as many as OpenSSH allows at once; `cat` ends with its channel.
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let connection = Caller::daemon(&sshd).connected().await;
    for number in 0..30 {
        start(&connection, "cat").await.close().await;
        assert_eq!(output(start(&connection, &format!("echo {number}")).await).await, format!("{number}\n").as_bytes());
    }
}

#[tokio::test]
async fn a_command_that_nobody_listens_to_does_not_stall_the_others() {
    let fleet = Fleet::start(1);
    let connection = Caller::only(&fleet).connected().await;
    // Up to a megabyte waits for its reader.
    let unread = start(&connection, "head -c 900000 /dev/zero").await;
    for number in 0..5 {
        let other = async { output(start(&connection, &format!("echo {number}")).await).await };
        let said = tokio::time::timeout(Duration::from_secs(5), other).await;
        assert_eq!(said.expect("the connection goes on"), format!("{number}\n").as_bytes());
    }
    assert_eq!(output(unread).await.len(), 900_000);
}

#[tokio::test]
async fn our_agent_is_lent_only_where_it_was_asked_for() {
    let Some(agent) = openssh::agent() else { return };
    let fleet = Fleet::start(1);
    agent.add(&fleet.key());
    let mut caller = Caller::only(&fleet).with(|profile| profile.keys.agent = Some(agent.socket.clone()));
    assert_eq!(caller.run("echo in").await.text(), "in\n");
    assert_eq!(fleet.hosts()[0].counts().agent_requests, 0);
    caller.profile().forward_agent = Some(agent.socket.clone());
    assert_eq!(caller.run("echo in").await.text(), "in\n");
    assert_eq!(fleet.hosts()[0].counts().agent_requests, 1);

    let Some(sshd) = openssh::sshd(&[]) else { return };
    let mut caller = Caller::daemon(&sshd);
    let look = "test -n \"$SSH_AUTH_SOCK\" && ssh-add -l && ssh-add -l";
    assert_eq!(caller.run(look).await.code(), Code::ExitStatus);
    caller.profile().forward_agent = Some(agent.socket.clone());
    let answer = caller.run(look).await;
    assert_eq!(answer.text().lines().count(), 2, "{}", answer.text());
    assert!(answer.text().contains("ED25519"));
}

#[tokio::test]
async fn what_is_compressed_is_the_same_afterwards() {
    let Some(sshd) = openssh::sshd(&["Compression yes"]) else { return };
    let sent = [noise(500_000), vec![b'a'; 500_000]].concat();
    let caller = Caller::daemon(&sshd).with(|profile| Arc::make_mut(&mut profile.algorithms).compression = true);
    let answer = caller.sending(sent.clone()).run("cat").await;
    assert!(answer.stdout == sent, "{} bytes came back of {:?}", answer.stdout.len(), answer.ended);
}

#[tokio::test]
async fn connections_come_from_the_address_that_is_configured() {
    let fleet = Fleet::start(1);
    let caller = Caller::only(&fleet).with(|profile| profile.socket.bind_address = Some("127.9.8.7".into()));
    let answer = caller.run("echo ${SSH_CLIENT%% *}").await;
    assert_eq!(answer.text(), "127.9.8.7\n");
}
