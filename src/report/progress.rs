//! How far the fleet is: a line that tells it, and beneath it the slowest hosts where files are moved.
//!
//! [`Progress`] counts events and composes lines; the [`Console`](super::console::Console) draws them, and wipes them before
//! it writes anything else, so that progress and output never mix. It has no thread and no clock of its own.

use super::drawing::{columns, cut, room};
use super::rate::Rate;
use super::settings::Terminals;
use super::transfers::Transfers;
use crate::event::{Event, What};
use crate::host::Roster;
use std::time::{Duration, Instant};

/// Terminals that are narrower have no room for a bar.
const BAR_FROM: u16 = 60;
/// Columns of the bar over hosts, and of that over bytes, beside which more is told.
const BAR: (usize, usize) = (24, 12);
/// Terminals that are lower show no lines of hosts.
const HOSTS_FROM: u16 = 6;

/// What of a run is worth progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// How many hosts are done, and what is moved.
    HostsAndTransfers,
    /// What is moved.
    Transfers,
}

/// The progress of a run.
pub(super) struct Progress {
    watched: Watched,
    roster: Roster,
    terminals: Terminals,
    began: Instant,
    done: usize,
    running: usize,
    failed: usize,
    /// Of the hosts that are done.
    rate: Rate,
    transfers: Transfers,
}

impl Progress {
    /// The progress of a run that begins now.
    pub(super) fn new(watched: Watched, roster: Roster, terminals: Terminals, now: Instant) -> Self {
        let transfers = Transfers::new(now);
        Self { watched, roster, terminals, began: now, done: 0, running: 0, failed: 0, rate: Rate::new(now), transfers }
    }

    /// Counts an event.
    pub(super) fn handle(&mut self, event: &Event, now: Instant) {
        match &event.what {
            What::HostStarted { .. } => self.running += 1,
            What::HostFinished { outcome, .. } => {
                self.running = self.running.saturating_sub(1);
                self.failed += usize::from(outcome.counts_as_failure());
                self.done += 1;
            }
            _ => {}
        }
        self.transfers.handle(event, now);
    }

    /// Whether there is anything to tell.
    pub(super) fn has_lines(&self) -> bool {
        self.watched == Watched::HostsAndTransfers || self.transfers.has_bytes()
    }

    /// What is told now, no line wider than the terminal.
    pub(super) fn lines(&mut self, now: Instant) -> Vec<String> {
        let room = room(self.terminals.width);
        if self.transfers.has_bytes() {
            self.transfers.sample(now);
            let mut lines = vec![self.line_of_bytes(room)];
            if self.terminals.height >= HOSTS_FROM && self.roster.len() > 1 {
                lines.extend(self.transfers.slowest(&self.roster, room, now));
            }
            lines
        } else if self.watched == Watched::HostsAndTransfers {
            self.rate.sample(self.done as u64, now);
            vec![self.line_of_hosts(room, now)]
        } else {
            Vec::new()
        }
    }

    /// `[====>    ] 17/50 done, 33 running, 1 failed, 4s, 5/s`.
    fn line_of_hosts(&self, room: usize, now: Instant) -> String {
        let bar = self.bar(BAR.0, self.done as f64 / self.roster.len().max(1) as f64);
        let rate = self.rate.per_second().unwrap_or_default();
        let parts = [
            format!("{}/{} done", self.done, self.roster.len()),
            format!("{} running", self.running),
            some(self.failed, "failed"),
            short(now.saturating_duration_since(self.began)),
            format!("{rate:.0}/s"),
        ];
        fitted(bar, &parts, [0, 1, 2, 3, 4], room)
    }

    /// `[====>    ] 412.0 MiB/1.2 GiB, 96.1 MiB/s, 8s left, 37/50 hosts, 1 failed`.
    fn line_of_bytes(&self, room: usize) -> String {
        let extent = self.transfers.extent(self.roster.len(), self.done);
        let bar = self.bar(BAR.1, self.transfers.share(&extent));
        let hosts = match self.roster.len() {
            1 => String::new(),
            hosts => format!("{}/{hosts} hosts", self.done),
        };
        let parts = [
            self.transfers.bytes(&extent),
            self.transfers.rate().unwrap_or_default(),
            self.transfers.left(&extent).unwrap_or_default(),
            hosts,
            some(self.failed, "failed"),
        ];
        fitted(bar, &parts, [0, 4, 3, 2, 1], room)
    }

    fn bar(&self, columns: usize, share: f64) -> String {
        if self.terminals.width < BAR_FROM {
            return String::new();
        }
        let full = ((share * columns as f64) as usize).min(columns);
        let head = if full < columns && full > 0 { ">" } else { "" };
        format!("[{:columns$}] ", "=".repeat(full - head.len()) + head)
    }
}

/// `3 failed`; nothing where there is none.
fn some(count: usize, word: &str) -> String {
    if count > 0 { format!("{count} {word}") } else { String::new() }
}

/// A line of the parts that have room, taken in the order of their importance.
fn fitted<const PARTS: usize>(
    bar: String,
    parts: &[String; PARTS],
    by_importance: [usize; PARTS],
    room: usize,
) -> String {
    let mut is_told = [false; PARTS];
    let mut used = columns(&bar);
    for (rank, part) in by_importance.into_iter().enumerate().filter(|&(_, part)| !parts[part].is_empty()) {
        used += columns(&parts[part]) + if rank > 0 { 2 } else { 0 };
        if used > room && rank > 0 {
            break;
        }
        is_told[part] = true;
    }
    let told: Vec<&str> =
        parts.iter().zip(is_told).filter(|(_, is_told)| *is_told).map(|(part, _)| part.as_str()).collect();
    cut(&(bar + &told.join(", ")), room)
}

/// `8s`, `1m 03s`, `2h 05m`: short, and of one width while it counts down.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests;
