//! The end of a run on stderr: failures with their reasons, folded over the hosts that share them, the hosts that were
//! never started, and the closing line.
//!
//! [`Summary`] speaks of one host as ssh does: an exit status is told by the exit code alone.

use super::error::ReportError;
use super::names;
use super::style::Style;
use super::{Reporter, Stage};
use crate::duration::human;
use crate::event::{Event, What};
use crate::exit_code::Stop;
use crate::host::HostId;
use crate::outcome::{Code, Failure, Outcome, Tally};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Different messages of one code that are listed; the rest is one line with one example.
const MESSAGES: usize = 10;

/// How much is said in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Failures, skipped hosts, hosts never started, the closing line.
    Full,
    /// Failures and hosts never started (`--quiet`).
    Failures,
    /// What an exit code cannot tell, for one host in raw output.
    Unspoken,
}

/// Collects endings and tells them.
pub(super) struct Summary {
    extent: Extent,
    failures: BTreeMap<Code, HashMap<String, Reason>>,
    skipped: BTreeMap<String, Vec<HostId>>,
    tally: Tally,
    told: bool,
}

/// Hosts that failed with one code and one message.
#[derive(Default)]
struct Reason {
    hosts: Vec<HostId>,
    hint: Option<String>,
    hints_differ: bool,
    attempts: (u32, u32),
}

impl Summary {
    pub(super) fn new(extent: Extent) -> Self {
        Self { extent, failures: BTreeMap::new(), skipped: BTreeMap::new(), tally: Tally::default(), told: false }
    }

    fn count(&mut self, host: HostId, outcome: &Outcome) {
        self.tally.add(outcome);
        if let Outcome::Skipped(reason) = outcome {
            self.skipped.entry(reason.clone()).or_default().push(host);
        }
        if let Some(failure) = outcome.failure() {
            let spoken = matches!(failure.code, Code::ExitStatus | Code::Interrupted);
            if !(spoken && self.extent == Extent::Unspoken) {
                let reasons = self.failures.entry(failure.code).or_default();
                match reasons.get_mut(&failure.message) {
                    Some(reason) => reason.add(host, failure),
                    None => reasons.entry(failure.message.clone()).or_default().add(host, failure),
                }
            }
        }
    }

    fn tell_failures(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        let mut hinted = HashSet::new();
        for (code, reasons) in std::mem::take(&mut self.failures) {
            let mut reasons: Vec<_> = reasons.into_iter().collect();
            for (_, reason) in &mut reasons {
                reason.hosts.sort_unstable();
            }
            reasons.sort_by_key(|(_, reason)| (Reverse(reason.hosts.len()), reason.hosts[0]));
            let rest = if reasons.len() > MESSAGES { reasons.split_off(MESSAGES - 1) } else { Vec::new() };
            for (message, reason) in &reasons {
                reason.tell(&format!("{code}: {message}"), &mut hinted, stage)?;
            }
            if let Some((example, _)) = rest.first() {
                let text = format!("{code}: {} different messages, such as: {example}", rest.len());
                Reason::merged(&rest).tell(&text, &mut hinted, stage)?;
            }
        }
        Ok(())
    }

    fn tell_skipped(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        for (reason, mut hosts) in std::mem::take(&mut self.skipped) {
            hosts.sort_unstable();
            let names = names::counted(&stage.roster, &hosts);
            stage.console.talk(&format!("{names}: skipped: {reason}"))?;
        }
        Ok(())
    }

    /// The end of a run of which no end was told: the report or the run broke off.
    fn tell_broken_off(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        self.tell_failures(stage)?;
        let (finished, all) = (self.tally.finished(), names::hosts(stage.roster.len()));
        stage.console.talk_styled(Style::Failure, &format!("broken off: {finished} of {all} finished"))
    }
}

impl Reporter for Summary {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::HostFinished { host, outcome, .. } => {
                self.count(*host, outcome);
                Ok(())
            }
            What::RunFinished { tally, never_started, stop, took } => {
                self.told = true;
                if self.extent == Extent::Full {
                    self.tell_skipped(stage)?;
                }
                self.tell_failures(stage)?;
                if !never_started.is_empty() {
                    let names = names::counted(&stage.roster, never_started);
                    stage.console.talk_styled(Style::Failure, &format!("never started: {names}"))?;
                }
                match self.extent {
                    Extent::Full => stage.console.talk(&closing_line(tally, *stop, *took, stage.roster.len())),
                    Extent::Failures | Extent::Unspoken => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        if std::mem::replace(&mut self.told, true) { Ok(()) } else { self.tell_broken_off(stage) }
    }
}

impl Reason {
    fn add(&mut self, host: HostId, failure: &Failure) {
        let (least, most) = self.attempts;
        self.attempts = match self.hosts.is_empty() {
            true => (failure.attempts, failure.attempts),
            false => (least.min(failure.attempts), most.max(failure.attempts)),
        };
        self.hints_differ |= !self.hosts.is_empty() && self.hint != failure.hint;
        if self.hint.is_none() {
            self.hint.clone_from(&failure.hint);
        }
        self.hosts.push(host);
    }

    /// All hosts of several reasons.
    fn merged(reasons: &[(String, Self)]) -> Self {
        let mut all = Self { attempts: (u32::MAX, 0), ..Self::default() };
        for (_, reason) in reasons {
            all.hosts.extend_from_slice(&reason.hosts);
            all.attempts = (all.attempts.0.min(reason.attempts.0), all.attempts.1.max(reason.attempts.1));
            if all.hint.is_none() {
                all.hint.clone_from(&reason.hint);
            }
            all.hints_differ |= reason.hints_differ || all.hint != reason.hint;
        }
        all.hosts.sort_unstable();
        all
    }

    fn tell(&self, text: &str, hinted: &mut HashSet<String>, stage: &mut Stage) -> Result<(), ReportError> {
        let names = names::counted(&stage.roster, &self.hosts);
        let tries = match self.attempts {
            (_, 0 | 1) => String::new(),
            (least, most) if least == most => format!(" (after {most} tries)"),
            (_, most) => format!(" (after up to {most} tries)"),
        };
        stage.console.talk_styled(Style::Failure, &format!("{names}: {text}{tries}"))?;
        match &self.hint {
            Some(hint) if hinted.insert(hint.clone()) => {
                let others = if self.hints_differ { " (for the others likewise)" } else { "" };
                stage.console.talk_styled(Style::Hint, &format!("hint: {hint}{others}"))
            }
            _ => Ok(()),
        }
    }
}

/// `20 hosts in 3.2 s: 17 ok, 3 unreachable`.
fn closing_line(tally: &Tally, stop: Option<Stop>, took: Duration, hosts: usize) -> String {
    let counts = [
        (tally.changed, "changed"),
        (tally.failed, "failed"),
        (tally.unreachable, "unreachable"),
        (tally.timed_out, "timed out"),
        (tally.skipped, "skipped"),
        (tally.cancelled, "cancelled"),
        (tally.never_started, "never started"),
    ];
    let mut line = format!("{} in {}: {} ok", names::hosts(hosts), human(took), tally.ok);
    for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
        line.push_str(&format!(", {count} {word}"));
    }
    let reason = match stop {
        None => return line,
        Some(Stop::TooManyFailures) => "stopped early: more hosts failed than allowed",
        Some(Stop::Deadline) => "stopped early: the deadline passed",
        Some(Stop::Interrupted) => "interrupted",
        Some(Stop::Terminated) => "terminated",
        Some(Stop::ReportLost) => "stopped early: the report could not be written",
    };
    format!("{line}; {reason}")
}
