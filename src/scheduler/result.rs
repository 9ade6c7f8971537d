//! What a run came to: the count, why it stopped, and the exit code.

use crate::exit_code::{self, Stop};
use crate::outcome::{Outcome, RemoteExit, Tally};
use std::time::Duration;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// How many hosts ended how.
    pub tally: Tally,
    /// Why the run stopped early, if it did.
    pub stop: Option<Stop>,
    /// Wall time.
    pub took: Duration,
    /// The largest status that a remote command returned, and what stands for one where there is none.
    pub largest_status: u8,
    /// Whether the report has everything. Unless it does, it may be blocked: nobody should wait for it.
    pub report: ReportEnd,
}

/// How much of a run its report was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportEnd {
    /// It was handed every event, `RunFinished` last. Whether it could write them is its own to tell.
    Complete,
    /// It did not take everything in the short time that is left after a second Ctrl-C.
    CutShort,
    /// It ended before the run.
    Lost,
}

impl RunResult {
    /// The exit code of [`exit_code::of_run`].
    pub fn exit_code(&self) -> u8 {
        exit_code::of_run(&self.tally, self.stop)
    }

    /// The exit code of `--exit remote`: the largest status of a remote command, as `pdsh -S`; 255 where a host was not
    /// reached or never started. A run that was interrupted, or lost its report or its input, tells that instead.
    pub fn remote_exit_code(&self) -> u8 {
        match self.stop {
            Some(Stop::Interrupted | Stop::Terminated | Stop::ReportLost) => self.exit_code(),
            _ if self.tally.faults > 0 => self.exit_code(),
            _ if self.tally.never_started > 0 => exit_code::REMOTE_NOT_REACHED,
            _ => self.largest_status,
        }
    }
}

/// What `--exit remote` makes of one host: the status; 255 where it was not reached or was cut off, and for a command that a
/// signal ended, as ssh; 1 where it was reached and the command did not run or was out of time.
pub(super) fn remote_status(outcome: &Outcome) -> u8 {
    let Some(failure) = outcome.failure() else { return exit_code::SUCCESS };
    match (outcome, &failure.exit) {
        // A status is eight bits on every system; a server that sends more must not come out as 0.
        (Outcome::Failed(_), Some(RemoteExit::Status(status))) => (*status).clamp(1, 255) as u8,
        (Outcome::Failed(_), None) | (Outcome::TimedOut(_), _) => exit_code::WORK_FAILED,
        _ => exit_code::REMOTE_NOT_REACHED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Code, Failure};

    #[test]
    fn one_host_becomes_the_status_that_ssh_would_have_had() {
        let failed = |exit| Outcome::Failed(Failure::new(Code::ExitStatus, "it failed").exit(exit));
        let signal = RemoteExit::Signal { name: "KILL".into(), core_dumped: false };
        for (outcome, status) in [
            (Outcome::Ok, 0),
            (Outcome::Changed, 0),
            (Outcome::Skipped("not wanted".into()), 0),
            (failed(RemoteExit::Status(7)), 7),
            (failed(RemoteExit::Status(255)), 255),
            (failed(RemoteExit::Status(512)), 255),
            (failed(signal), 255),
            (Outcome::Failed(Failure::new(Code::SudoPassword, "wrong password")), 1),
            (Outcome::Unreachable(Failure::new(Code::TcpRefused, "refused")), 255),
            (Outcome::TimedOut(Failure::new(Code::Timeout, "slow").exit(RemoteExit::Status(0))), 1),
            (Outcome::Cancelled(Failure::new(Code::Deadline, "late")), 255),
        ] {
            assert_eq!(remote_status(&outcome), status, "{outcome:?}");
        }
    }

    #[test]
    fn a_run_exits_with_its_largest_status_unless_it_was_ended() {
        let result = RunResult {
            tally: Tally { ok: 1, failed: 2, ..Tally::default() },
            stop: None,
            took: Duration::ZERO,
            largest_status: 7,
            report: ReportEnd::Complete,
        };
        assert_eq!(result.remote_exit_code(), 7);
        assert_eq!(result.exit_code(), exit_code::WORK_FAILED);
        let interrupted = RunResult { stop: Some(Stop::Interrupted), ..result.clone() };
        assert_eq!(interrupted.remote_exit_code(), exit_code::INTERRUPTED);
        let tally = Tally { never_started: 1, ..result.tally };
        let stopped = RunResult { tally, stop: Some(Stop::TooManyFailures), ..result };
        assert_eq!(stopped.remote_exit_code(), exit_code::REMOTE_NOT_REACHED);
    }
}
