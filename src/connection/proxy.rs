//! `ProxyCommand`: a child process whose standard input and output are the connection.

use super::options::ProxyCommand;
use super::wire::Carrier;
use crate::outcome::{Code, Failure};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How much of what the child complains about is kept.
const COMPLAINT_LIMIT: usize = 4096;
/// How much of what it wrote instead of SSH is shown.
const SHOWN: usize = 80;
/// How long a child may take to end and to finish its complaint, once it has ended its output or is needed no more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The pipes of the child. When they are dropped it has a moment for its last words, then it is killed.
struct Proxy {
    /// Dropped with it, which tells the child's keeper that nobody needs the child any more.
    _needed: oneshot::Sender<()>,
    input: ChildStdin,
    output: ChildStdout,
}

/// What is known of the child, and the words for what it does wrong.
pub(super) struct Watch {
    /// The command as it was written: hosts with one setting fail alike in the report.
    written: Arc<str>,
    said: Arc<Mutex<Vec<u8>>>,
    /// How it ended; closed when its standard error is too, or when it is no longer waited for.
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Watch {
    /// The child ended its output before a server was heard. Its standard error and its end may come after that, so they
    /// are waited for.
    pub(super) async fn ended_early(&self) -> Failure {
        let mut ended = self.ended.clone();
        let status = timeout(LAST_WORDS * 2, ended.wait_for(Option::is_some)).await;
        let how = match status {
            Ok(Ok(status)) => status.map(in_words).unwrap_or_default(),
            Ok(Err(_)) | Err(_) => "closed its output".into(),
        };
        self.failed(format!("{how} before a server answered: {}", self.complaint()))
    }

    /// The time is over and no server has named itself.
    pub(super) fn silent(&self, limit: &str, greeting: &[u8]) -> Failure {
        let heard = if greeting.is_empty() {
            "brought no answer of a server".to_owned()
        } else {
            format!("brought no version line of a server but `{}`", shown(greeting))
        };
        self.failed(format!("{heard} in {limit}: {}", self.complaint()))
    }

    /// What it brought does not come from an SSH server.
    pub(super) fn not_ssh(&self, greeting: &[u8]) -> Failure {
        let mut failure = self.failed(format!("brought something that is not SSH: `{}`", shown(greeting)));
        failure.code = Code::PreBannerNotSsh;
        failure
    }

    fn failed(&self, what: String) -> Failure {
        Failure::new(Code::ProxyFailed, format!("the ProxyCommand `{}` {what}", self.written))
            .hint("run the command by hand; `bugle config HOST --explain` shows where it comes from")
    }

    /// The last line of its standard error that is not empty.
    fn complaint(&self) -> String {
        let bytes = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        last.unwrap_or("it said nothing").to_owned()
    }
}

/// The first line, cut to what a message bears.
fn shown(greeting: &[u8]) -> String {
    let text = String::from_utf8_lossy(greeting);
    text.trim().lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Starts the command in the user's shell, replacing the shell, as ssh does (`ssh_proxy_connect` in sshconnect.c).
/// Host and user names in it were checked before they were expanded.
pub(super) fn start(command: &ProxyCommand) -> Result<(Carrier, Watch), Failure> {
    let ProxyCommand { written, line } = command;
    let failed = |reason: String| {
        Failure::new(Code::ProxyFailed, format!("cannot start the ProxyCommand `{written}`: {reason}"))
    };
    let mut child = Command::new(user_shell())
        .arg("-c")
        .arg(format!("exec {line}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for us: the terminal must not end the proxies of a run that is ending in order.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("its pipes are missing".into()));
    };
    let said = Arc::default();
    let (ending, ended) = watch::channel(None);
    let watch = Watch { written: Arc::clone(written), said: Arc::clone(&said), ended };
    let (needed, mut unneeded) = oneshot::channel();
    tokio::spawn(async move {
        // Killed when this task is over, or dropped.
        let mut leash = Leash(child);
        let over = async { tokio::join!(leash.0.wait(), listen(errors, &said)).0 };
        tokio::pin!(over);
        let status = tokio::select! {
            status = &mut over => Some(status),
            // What carries no connection any more has a moment to say why.
            _ = &mut unneeded => timeout(LAST_WORDS, over).await.ok(),
        };
        if let Some(Ok(status)) = status {
            // Nobody may wait for it.
            let _ = ending.send(Some(status));
        }
    });
    Ok((Carrier::Other(Box::new(Proxy { _needed: needed, input, output })), watch))
}

/// A child that does not outlive this, nor does what it started: both are one process group.
struct Leash(Child);

impl Drop for Leash {
    fn drop(&mut self) {
        // One that has ended has no number any more.
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads standard error to its end and keeps the last of it.
async fn listen(mut errors: ChildStderr, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = errors.read(&mut buffer).await {
        let mut kept = said.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..length]);
        let excess = kept.len().saturating_sub(COMPLAINT_LIMIT);
        kept.drain(..excess);
    }
}

/// The shell that commands of the configuration are for.
fn user_shell() -> OsString {
    std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| OsString::from("/bin/sh"))
}

/// Runs `LocalCommand` to its end (`ssh_local_cmd` in sshconnect.c). Standard output is the run's data, so what the command
/// prints goes to standard error. How it ended, where that was not well.
pub(super) async fn run_local(command: &str) -> Option<String> {
    let ended = Command::new(user_shell())
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .kill_on_drop(true)
        .status()
        .await;
    match ended {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("LocalCommand ended with {status}")),
        Err(error) => Some(format!("LocalCommand cannot be started: {error}")),
    }
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Proxy {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
