//! What is told on stderr while a run goes on: notices, what an interrupt met, and with `-v` every step of every host.

use super::error::ReportError;
use super::names;
use super::settings::Settings;
use super::{Reporter, Stage};
use crate::duration::human;
use crate::event::{Event, Phase, What};
use crate::host::HostId;
use crate::outcome::{Failure, Outcome};
use std::time::Duration;

/// Tells what happens.
pub(super) struct Narration {
    /// Notices above this level are not told; below 0 none is.
    level: i16,
}

impl Narration {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { level: if settings.quiet { -1 } else { i16::from(settings.verbosity) } }
    }

    fn is_verbose(&self) -> bool {
        self.level >= 1
    }
}

impl Reporter for Narration {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::InterruptReceived { running, waiting, at_once } => {
                stage.console.talk(&interrupt(running, *waiting, *at_once, stage))?;
                // Whoever pressed the keys is waiting for it.
                stage.console.flush()
            }
            What::Noticed { host, level, message } if i16::from(*level) <= self.level => match host {
                Some(host) => tell_lines(*host, message, stage),
                None => stage.console.talk(&format!("note: {message}")),
            },
            // Hardly anybody has to wait; that nobody did is not worth a line a host.
            What::PhaseFinished { phase: Phase::Wait, took, .. } if took.as_millis() == 0 && self.level < 3 => Ok(()),
            What::PhaseFinished { host, phase, took, detail } if self.is_verbose() => {
                tell(*host, &step(*phase, detail, *took), stage)
            }
            What::AttemptFailed { host, attempt, failure, retry_in } if self.is_verbose() => {
                let Failure { code, message, .. } = failure;
                tell(*host, &format!("try {attempt}: {code}: {message}; next try in {}", human(*retry_in)), stage)
            }
            What::HostFinished { host, outcome, took } if self.is_verbose() => {
                tell(*host, &ending(outcome, *took), stage)
            }
            What::BatchStarted { number, of, hosts } if self.is_verbose() => {
                let names = names::counted(&stage.roster, hosts);
                stage.console.talk(&format!("batch {number} of {of}: {names}"))
            }
            _ => Ok(()),
        }
    }
}

fn tell(host: HostId, message: &str, stage: &mut Stage) -> Result<(), ReportError> {
    let line = format!("{}: {message}", stage.roster.name(host));
    stage.console.talk(&line)
}

/// A notice may have several lines, as banners do: each stands under the name.
fn tell_lines(host: HostId, message: &str, stage: &mut Stage) -> Result<(), ReportError> {
    message.trim_end().lines().try_for_each(|line| tell(host, line, stage))
}

fn step(phase: Phase, detail: &str, took: Duration) -> String {
    let took = human(took);
    let (what, joint) = match phase {
        Phase::Wait => return format!("waited {took} for a free handshake slot"),
        Phase::Resolve => ("resolved", "to"),
        Phase::Connect => ("connected", "to"),
        Phase::Login => ("logged in", "as"),
        Phase::KeyExchange => ("exchanged keys", ""),
        Phase::Open => ("opened a session", ""),
        Phase::Work => ("did the work", ""),
    };
    match (joint, detail) {
        (_, "") => format!("{what} in {took}"),
        ("", detail) => format!("{what} in {took}: {detail}"),
        (_, way) if way.starts_with("through ") => format!("{what} {way} in {took}"),
        (joint, detail) => format!("{what} {joint} {detail} in {took}"),
    }
}

fn ending(outcome: &Outcome, took: Duration) -> String {
    let (word, took) = (outcome.word().replace('_', " "), human(took));
    match (outcome, outcome.failure()) {
        (_, Some(failure)) => format!("{word} after {took}: {}: {}", failure.code, failure.message),
        (Outcome::Skipped(reason), _) => format!("{word}: {reason}"),
        _ => format!("{word} in {took}"),
    }
}

fn interrupt(running: &[HostId], waiting: usize, at_once: bool, stage: &Stage) -> String {
    let mut parts = Vec::new();
    match running {
        [] => parts.push("nothing is running".into()),
        running => parts.push(format!("running on {}", names::counted(&stage.roster, running))),
    }
    if waiting > 0 {
        parts.push(format!("{} will not be started", names::hosts(waiting)));
    }
    parts.push(if at_once { "ending at once".into() } else { "interrupt again to end at once".into() });
    format!("interrupted: {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_host_is_told_in_words() {
        for (detail, expected) in [
            ("10.0.0.1:22", "connected to 10.0.0.1:22 in 12 ms"),
            ("the jump host ada@hop:22", "connected to the jump host ada@hop:22 in 12 ms"),
            ("through ada@hop:22", "connected through ada@hop:22 in 12 ms"),
        ] {
            assert_eq!(step(Phase::Connect, detail, Duration::from_millis(12)), expected);
        }
    }
}
