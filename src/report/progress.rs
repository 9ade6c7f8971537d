//! How far the fleet is: a line that tells it, and beneath it the slowest hosts where files are moved.
//!
//! [`Progress`] counts events and composes lines; the [`Console`](super::console::Console) draws them, and wipes them before
//! it writes anything else, so that progress and output never mix. It has no thread and no clock of its own, which is why
//! the times and rates of indicatif, which has one, are not told.

use super::drawing::{columns, cut, room};
use super::line::Line;
use super::rate::Rate;
use super::settings::Terminals;
use super::transfers::Transfers;
use crate::event::{Event, What};
use crate::host::Roster;
use std::time::{Duration, Instant};

/// Terminals that are narrower have no room for a bar.
const BAR_FROM: u16 = 60;
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
    /// Of the fleet.
    line: Line,
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
        let line = Line::new(roster.len() as u64);
        let (rate, transfers) = (Rate::new(now), Transfers::new(now));
        Self { watched, roster, terminals, line, began: now, done: 0, running: 0, failed: 0, rate, transfers }
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
        self.line.set(self.done as u64, self.roster.len() as u64);
        let rate = self.rate.per_second().unwrap_or_default();
        let keys = [
            ("running", self.running.to_string()),
            ("failed", self.failed.to_string()),
            ("elapsed", short(now.saturating_duration_since(self.began))),
            ("rate", format!("{rate:.0}")),
        ];
        let parts = [
            (0, Some("{pos}/{len} done")),
            (1, Some("{running} running")),
            (2, (self.failed > 0).then_some("{failed} failed")),
            (3, Some("{elapsed}")),
            (4, Some("{rate}/s")),
        ];
        self.fitted("[{bar:24}] ", parts, &keys, room)
    }

    /// `[====>    ] 412.0 MiB/1.2 GiB, 96.1 MiB/s, 8s left, 37/50 hosts, 1 failed`.
    fn line_of_bytes(&self, room: usize) -> String {
        let extent = self.transfers.extent(self.roster.len(), self.done);
        self.line.set(self.transfers.moved(), extent.bytes());
        let (rate, left) = (self.transfers.rate(), self.transfers.left(&extent));
        let parts = [
            (0, Some("{bytes}")),
            (4, rate.is_some().then_some("{rate}")),
            (3, left.is_some().then_some("{left} left")),
            (2, (self.roster.len() > 1).then_some("{done}/{hosts} hosts")),
            (1, (self.failed > 0).then_some("{failed} failed")),
        ];
        let keys = [
            ("bytes", self.transfers.bytes(&extent)),
            ("rate", rate.unwrap_or_default()),
            ("left", left.unwrap_or_default()),
            ("done", self.done.to_string()),
            ("hosts", self.roster.len().to_string()),
            ("failed", self.failed.to_string()),
        ];
        self.fitted("[{bar:12}] ", parts, &keys, room)
    }

    /// The line with those of its parts that have room. Each part has its rank: what ranks first is left out last.
    fn fitted<const PARTS: usize>(
        &self,
        bar: &str,
        parts: [(usize, Option<&str>); PARTS],
        keys: &[(&'static str, String)],
        room: usize,
    ) -> String {
        let bar = if self.terminals.width < BAR_FROM { "" } else { bar };
        let up_to = |last: usize| {
            let told: Vec<&str> =
                parts.iter().filter(|(rank, _)| *rank <= last).filter_map(|(_, part)| *part).collect();
            self.line.text(&(bar.to_owned() + &told.join(", ")), keys)
        };
        let has_room = (0..PARTS).rev().map(up_to).find(|line| columns(line) <= room);
        has_room.unwrap_or_else(|| cut(&up_to(0), room))
    }
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
