//! `ProxyCommand`: a child process whose standard input and output are the connection.

use super::wire::Carrier;
use crate::outcome::{Code, Failure};
use std::ffi::OsString;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How much of what the child complains about is kept.
const COMPLAINT_LIMIT: usize = 4096;
/// How long a child that has ended its output may take to finish its complaint.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The pipes of the child. When they are dropped it has a moment for its last words, then it is killed.
struct Proxy {
    /// Dropped with it, which tells the child's keeper that nobody needs the child any more.
    _needed: oneshot::Sender<()>,
    input: ChildStdin,
    output: ChildStdout,
}

/// What the child wrote to its standard error.
pub(super) struct Complaint {
    said: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<()>,
}

impl Complaint {
    /// The last line that is not empty, once the child has closed its standard error or had a moment to do so: its
    /// standard output, which the connection hears first, may end before.
    pub(super) async fn last_line(&self) -> Option<String> {
        // The sender is dropped at the end; nothing is ever sent.
        let _ = timeout(LAST_WORDS + LAST_WORDS, self.ended.clone().changed()).await;
        let bytes = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }
}

/// Starts the command in the user's shell, replacing the shell, as ssh does (`ssh_proxy_connect` in sshconnect.c).
/// Host and user names in it were checked before they were expanded.
pub(super) fn start(command: &str) -> Result<(Carrier, Complaint), Failure> {
    let shell = user_shell();
    let failed = |reason: String| {
        Failure::new(Code::ProxyFailed, format!("cannot start the ProxyCommand `{command}`: {reason}"))
    };
    let mut child = Command::new(&shell)
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for us: the terminal must not end the proxies of a run that is ending in order.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (Some(input), Some(output), Some(mut errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("its pipes are missing".into()));
    };
    let said = Arc::new(Mutex::new(Vec::new()));
    let (ending, ended) = watch::channel(());
    let complaint = Complaint { said: Arc::clone(&said), ended };
    let (needed, mut unneeded) = oneshot::channel();
    tokio::spawn(async move {
        // Killed when this task is over.
        let _child = child;
        let listening = async {
            let mut buffer = [0; 512];
            while let Ok(length @ 1..) = errors.read(&mut buffer).await {
                let mut kept = said.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..length]);
                let excess = kept.len().saturating_sub(COMPLAINT_LIMIT);
                kept.drain(..excess);
            }
        };
        tokio::pin!(listening);
        let is_over = tokio::select! {
            () = &mut listening => true,
            _ = &mut unneeded => false,
        };
        if is_over {
            drop(ending);
            // A child that closed its standard error may still carry the connection.
            let _ = unneeded.await;
        } else {
            let _ = timeout(LAST_WORDS, listening).await;
            drop(ending);
        }
    });
    Ok((Carrier::Other(Box::new(Proxy { _needed: needed, input, output })), complaint))
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
