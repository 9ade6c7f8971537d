//! What the process exits with: documented constants and the one rule from a run's tally to a code.

use crate::outcome::Tally;

/// Everything succeeded on every host.
pub const SUCCESS: u8 = 0;
/// The work failed or timed out on some host.
pub const WORK_FAILED: u8 = 1;
/// Nothing was started: usage, inventory, playbook or selection is wrong.
pub const USAGE: u8 = 2;
/// Some host could not be reached or logged in to, or its connection was lost, and none failed as in [`WORK_FAILED`].
pub const UNREACHABLE: u8 = 3;
/// Stopped early by `--max-fail`, `--fail-fast` or `--deadline`: some hosts were never started.
pub const STOPPED: u8 = 4;
/// A fault of bugle itself or of this machine.
pub const FAULT: u8 = 5;
/// Ended by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub const TERMINATED: u8 = 143;
/// `--exit remote`: what stands for a host that was not reached, as ssh's own 255.
pub const REMOTE_NOT_REACHED: u8 = 255;

/// Why a run started no further hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// More hosts failed than `--max-fail` or `--fail-fast` allows.
    TooManyFailures,
    /// `--deadline` passed.
    Deadline,
    /// SIGINT.
    Interrupted,
    /// SIGTERM or SIGHUP.
    Terminated,
    /// The report could not be written (disk full, closed pipe): going on would lose answers.
    ReportLost,
}

/// The code of a finished run.
pub fn of_run(tally: &Tally, stop: Option<Stop>) -> u8 {
    match stop {
        Some(Stop::Interrupted) => INTERRUPTED,
        Some(Stop::Terminated) => TERMINATED,
        Some(Stop::ReportLost) => FAULT,
        _ if tally.faults > 0 => FAULT,
        Some(Stop::TooManyFailures | Stop::Deadline) if tally.never_started > 0 => STOPPED,
        _ if tally.failed + tally.timed_out > 0 => WORK_FAILED,
        _ if tally.unreachable > 0 => UNREACHABLE,
        _ if tally.cancelled > 0 => STOPPED,
        _ => SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_holds() {
        let clean = Tally { ok: 3, ..Tally::default() };
        let unreachable = Tally { unreachable: 1, ..clean };
        let failed = Tally { failed: 1, ..unreachable };
        let early = Tally { never_started: 2, ..failed };
        assert_eq!(of_run(&clean, None), SUCCESS);
        assert_eq!(of_run(&unreachable, None), UNREACHABLE);
        assert_eq!(of_run(&failed, None), WORK_FAILED);
        assert_eq!(of_run(&Tally { timed_out: 1, ..clean }, None), WORK_FAILED);
        assert_eq!(of_run(&Tally { faults: 1, ..failed }, None), FAULT);
        assert_eq!(of_run(&Tally { faults: 1, ..early }, Some(Stop::TooManyFailures)), FAULT);
        assert_eq!(of_run(&early, Some(Stop::TooManyFailures)), STOPPED);
        assert_eq!(of_run(&early, Some(Stop::Deadline)), STOPPED);
        assert_eq!(of_run(&failed, Some(Stop::TooManyFailures)), WORK_FAILED, "every host had started");
        assert_eq!(of_run(&early, Some(Stop::Interrupted)), INTERRUPTED);
        assert_eq!(of_run(&early, Some(Stop::Terminated)), TERMINATED);
    }
}
