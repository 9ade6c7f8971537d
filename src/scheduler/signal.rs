//! The signals that end a run, as a stream. What they do is decided by the dispatcher.

use futures::Stream;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{self, SignalKind};

/// A signal that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::Hangup];

    fn kind(self) -> SignalKind {
        match self {
            Self::Interrupt => SignalKind::interrupt(),
            Self::Terminate => SignalKind::terminate(),
            Self::Hangup => SignalKind::hangup(),
        }
    }
}

/// Hears SIGINT, SIGTERM and SIGHUP from now on, in place of their default of ending the process.
///
/// Those that the process was started to ignore stay ignored: SIGHUP under `nohup`, SIGINT in a shell's background.
/// Needs the runtime; fails when the system refuses a handler.
pub fn listen() -> io::Result<impl Stream<Item = Signal>> {
    let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_mask(&status));
    let mut heard = Vec::new();
    for signal in Signal::ALL {
        if ignored & (1 << (signal.kind().as_raw_value() - 1)) == 0 {
            heard.push((signal, unix::signal(signal.kind())?));
        }
    }
    Ok(futures::stream::poll_fn(move |context| {
        for (signal, receiver) in &mut heard {
            if receiver.poll_recv(context).is_ready() {
                return Poll::Ready(Some(*signal));
            }
        }
        Poll::Pending
    }))
}

/// The ignored signals out of `/proc/self/status` (proc_pid_status(5)): bit 0 is signal 1. Where a system has no such
/// file, none are taken for ignored.
fn ignored_mask(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use rustix::process::{getpid, kill_process};

    #[tokio::test]
    async fn signals_to_the_process_come_out_of_the_stream() {
        let mut signals = listen().expect("handlers are allowed");
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_mask(&status));
        for (sent, heard) in
            [(rustix::process::Signal::TERM, Signal::Terminate), (rustix::process::Signal::HUP, Signal::Hangup)]
        {
            if ignored & (1 << (heard.kind().as_raw_value() - 1)) != 0 {
                eprintln!("skipped: this process was started to ignore {heard:?}");
                continue;
            }
            kill_process(getpid(), sent).expect("this process may signal itself");
            assert_eq!(signals.next().await, Some(heard));
        }
    }

    #[test]
    fn the_mask_of_ignored_signals_is_found() {
        let status = "Name:\tbugle\nSigBlk:\t0000000000000004\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert_eq!(ignored_mask(status), 0x1001, "SIGHUP and SIGPIPE");
        assert_eq!(ignored_mask(""), 0);
        assert_eq!(ignored_mask("SigIgn:\tnonsense\n"), 0);
    }
}
