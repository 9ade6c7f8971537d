//! A command in `/bin/sh`, joined to a session channel: what sshd does after the login, without changing the user.

use super::host::{Host, Sitting};
use super::server::Ends;
use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

const STDERR: u32 = 1;

/// What was asked for before the command was.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) environment: Vec<(String, String)>,
    /// `TERM`, where a terminal was asked for. There is none: only both outputs are one then.
    pub(super) terminal: Option<String>,
}

/// The two halves of a session channel and the handle of its connection.
pub(super) struct Session {
    pub(super) reader: ChannelReadHalf,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) handle: Handle,
    /// Given back before the channel is closed: whoever hears of the end may open the next one at once.
    pub(super) place: Place,
}

/// The place of a session among those of its connection and its host.
pub(super) struct Place {
    pub(super) _of_the_connection: Arc<()>,
    pub(super) _of_the_host: Sitting,
}

/// Runs a command to its end, or until the caller goes away.
pub(super) async fn run(session: Session, host: &Arc<Host>, ends: Ends, setup: &Setup, command: &[u8]) {
    let Session { mut reader, writer, handle, place } = session;
    let mut child = match spawn(host, ends, setup, command) {
        Ok(child) => child,
        Err(_) => {
            let _ = handle.channel_failure(writer.id()).await;
            return;
        }
    };
    let _ = handle.channel_success(writer.id()).await;
    let group = child.id().map_or(0, |id| id.cast_signed());
    let mut input = child.stdin.take().map(feed);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outputs = async {
        tokio::join!(copy(stdout, &writer, None), copy(stderr, &writer, Some(STDERR)));
        child.wait().await
    };
    tokio::pin!(outputs);
    let status = loop {
        tokio::select! {
            status = &mut outputs => break status,
            message = reader.wait() => match message {
                Some(ChannelMsg::Data { data }) => {
                    if let Some(input) = &input {
                        // A process that reads no more is none of the channel's business.
                        let _ = input.send(data);
                    }
                }
                Some(ChannelMsg::Eof) => input = None,
                Some(ChannelMsg::Signal { signal }) => {
                    if let Some(signal) = signal_of(&signal) {
                        kill(group, signal);
                    }
                }
                Some(ChannelMsg::Close) | None => {
                    // As sshd without a terminal: the pipes break, and nobody is killed.
                    return;
                }
                Some(_) => {}
            },
        }
    };
    if let Ok(status) = status {
        tell(&writer, &handle, status).await;
    }
    drop(place);
    let _ = writer.close().await;
}

fn spawn(host: &Host, ends: Ends, setup: &Setup, command: &[u8]) -> std::io::Result<Child> {
    let text = String::from_utf8_lossy(command);
    let text = if setup.terminal.is_some() { format!("exec 2>&1\n{text}") } else { text.into_owned() };
    let Ends { peer, local } = ends;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(text).current_dir(&host.home).env_clear();
    // A test puts programs of its own into `bin`: a sudo, say.
    let path = format!("{}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", host.home.display());
    shell.env("PATH", path).env("SHELL", "/bin/sh");
    shell.env("HOME", &host.home).env("USER", super::USER).env("LOGNAME", super::USER);
    shell.env("FLEET_HOST", &host.name).env("HOSTNAME", &host.name);
    shell.env("SSH_CONNECTION", format!("{} {} {} {}", peer.ip(), peer.port(), local.ip(), local.port()));
    shell.env("SSH_CLIENT", format!("{} {} {}", peer.ip(), peer.port(), local.port()));
    shell.envs(setup.terminal.iter().map(|name| ("TERM", name)));
    shell.envs(setup.environment.iter().map(|(name, value)| (name, value)));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    shell.spawn()
}

/// Writes to the process in its own time. The channel must be read meanwhile, or its whole connection stands still; so
/// this queue has no end, and tests send what fits into memory.
fn feed(mut stdin: ChildStdin) -> mpsc::UnboundedSender<Bytes> {
    let (sender, mut queue) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    sender
}

async fn copy(source: Option<impl AsyncRead + Unpin>, writer: &ChannelWriteHalf<Msg>, stream: Option<u32>) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        let sent = match stream {
            None => writer.data_bytes(bytes).await,
            Some(stream) => writer.extended_data_bytes(stream, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// How it ended.
async fn tell(writer: &ChannelWriteHalf<Msg>, handle: &Handle, status: ExitStatus) {
    let _ = writer.eof().await;
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            let _ = writer.exit_status(code.cast_unsigned()).await;
        }
        (None, number) => {
            let signal = name_of(number.unwrap_or_default());
            let _ = handle
                .exit_signal_request(writer.id(), signal, status.core_dumped(), String::new(), String::new())
                .await;
        }
    }
}

/// Kills every process that was started through connections to this address: nothing outlives the servers of a test,
/// whatever its parents and groups have become.
pub(super) fn sweep(address: SocketAddr) {
    let end = format!(" {} {}", address.ip(), address.port());
    // A process may have had a child while the others were looked at.
    while kill_those_from(&end) {}
}

/// Kills the processes whose `SSH_CONNECTION` ends so; whether there were any.
fn kill_those_from(end: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let mut any = false;
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // The dead have no environment any more.
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        let is_ours = variables.any(|one| one.starts_with(b"SSH_CONNECTION=") && one.ends_with(end.as_bytes()));
        if let Some(pid) = pid.filter(|_| is_ours) {
            any |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    any
}

/// Signals a process group; one that is gone is no matter.
fn kill(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = kill_process_group(group, signal);
    }
}

const SIGNALS: [(Sig, Signal); 8] = [
    (Sig::ABRT, Signal::ABORT),
    (Sig::HUP, Signal::HUP),
    (Sig::INT, Signal::INT),
    (Sig::KILL, Signal::KILL),
    (Sig::QUIT, Signal::QUIT),
    (Sig::SEGV, Signal::SEGV),
    (Sig::TERM, Signal::TERM),
    (Sig::USR1, Signal::USR1),
];

fn signal_of(wanted: &Sig) -> Option<Signal> {
    let same = |known: &Sig| std::mem::discriminant(known) == std::mem::discriminant(wanted);
    SIGNALS.into_iter().find(|(known, _)| same(known)).map(|(_, signal)| signal)
}

fn name_of(number: i32) -> Sig {
    let known = SIGNALS.into_iter().find(|(_, signal)| signal.as_raw() == number);
    known.map_or_else(|| Sig::Custom(format!("{number}@fleet")), |(name, _)| name)
}
