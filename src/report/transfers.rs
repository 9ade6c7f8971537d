//! What is moved to and from the hosts: how much of how much, how fast, and which hosts hold the run up.
//!
//! [`Transfers`] counts bytes and makes the words about them; [`Progress`](super::progress::Progress) puts these together.

use super::drawing::{columns, cut};
use super::line::Line;
use super::progress::short;
use super::rate::Rate;
use super::sanitize::visible;
use crate::event::{Event, What};
use crate::host::{HostId, Roster};
use crate::size::human;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many hosts are shown on lines of their own.
const SHOWN: usize = 3;
/// Hosts are shown when files have been moved for so long.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// How long the same hosts are shown, so that a line can be read.
const KEPT: Duration = Duration::from_secs(1);
/// Columns that a host's name has at least, beside more than a percentage.
const NAME: usize = 8;
/// What is told of a host, the first of these that has room beside its name.
const FIGURES: [&str; 3] = ["{bytes:19}  {rate}", "{bytes}  {rate}", "{bytes}"];
/// Where none of them has.
const SHARE: &str = "{percent}%";

/// Counts what is moved.
pub(super) struct Transfers {
    /// Bytes that are known to be moved in the end, and those that are.
    planned: u64,
    moved: u64,
    /// Hosts that told what is to be moved.
    told: usize,
    /// Those of them that are not done.
    going: BTreeMap<HostId, Going>,
    rate: Rate,
    began: Option<Instant>,
    /// The hosts that are shown, and since when.
    shown: (Vec<(HostId, Line)>, Option<Instant>),
}

/// What is moved to or from one host.
struct Going {
    planned: u64,
    moved: u64,
    rate: Rate,
}

/// How much there is to be moved in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extent {
    /// Every host told.
    Known(u64),
    /// Some did not, and are taken for what the others are on average.
    Estimated(u64),
    /// At least so much: nobody is done yet, so nobody is an example.
    AtLeast(u64),
}

impl Transfers {
    pub(super) fn new(now: Instant) -> Self {
        let (going, rate) = (BTreeMap::new(), Rate::new(now));
        Self { planned: 0, moved: 0, told: 0, going, rate, began: None, shown: (Vec::new(), None) }
    }

    /// Counts an event.
    pub(super) fn handle(&mut self, event: &Event, now: Instant) {
        match &event.what {
            What::TransferPlanned { host, bytes, .. } => {
                if *bytes > 0 && self.began.is_none() {
                    self.began = Some(now);
                    self.rate = Rate::new(now);
                }
                self.told += 1;
                self.planned += bytes;
                let going = Going { planned: *bytes, moved: 0, rate: Rate::new(now) };
                if let Some(before) = self.going.insert(*host, going) {
                    self.told -= 1;
                    self.planned -= before.left();
                }
            }
            What::BytesMoved { host, bytes } => {
                let Some(going) = self.going.get_mut(host) else { return };
                self.moved += bytes;
                going.moved += bytes;
                // A file that grew in the meantime.
                let more = going.moved.saturating_sub(going.planned);
                going.planned += more;
                self.planned += more;
            }
            What::BytesSpared { host, bytes } => {
                let Some(going) = self.going.get_mut(host) else { return };
                let spared = going.left().min(*bytes);
                going.planned -= spared;
                self.planned -= spared;
            }
            // What has not been moved will not be.
            What::TransferFinished { host, .. } => {
                if let Some(going) = self.going.get_mut(host) {
                    self.planned -= going.left();
                    going.planned = going.moved;
                }
            }
            What::HostFinished { host, .. } => {
                if let Some(going) = self.going.remove(host) {
                    self.planned -= going.left();
                }
            }
            _ => {}
        }
    }

    /// Whether anything is moved.
    pub(super) fn has_bytes(&self) -> bool {
        self.began.is_some()
    }

    /// Takes the rates as they are now.
    pub(super) fn sample(&mut self, now: Instant) {
        self.rate.sample(self.moved, now);
        for going in self.going.values_mut() {
            going.rate.sample(going.moved, now);
        }
    }

    /// How much there is in all, where so many of so many hosts are done.
    pub(super) fn extent(&self, hosts: usize, done: usize) -> Extent {
        let silent = hosts.saturating_sub(done + self.going.len());
        match silent {
            0 => Extent::Known(self.planned),
            _ if self.told <= self.going.len() => Extent::AtLeast(self.planned),
            silent => Extent::Estimated(self.planned + (self.planned / self.told as u64).saturating_mul(silent as u64)),
        }
    }

    /// Bytes that were moved.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// `412.0 MiB/1.2 GiB`; `≥` before what is not all that will be planned.
    pub(super) fn bytes(&self, extent: &Extent) -> String {
        let sign = if matches!(extent, Extent::Known(_)) { "" } else { "\u{2265}" };
        format!("{}/{sign}{}", human(self.moved), human(self.planned))
    }

    /// `96.1 MiB/s`.
    pub(super) fn rate(&self) -> Option<String> {
        self.rate.per_second().map(a_second)
    }

    /// How long it takes: `8s`, `~4m 10s` by an estimate.
    pub(super) fn left(&self, extent: &Extent) -> Option<String> {
        let (sign, all) = match *extent {
            Extent::Known(all) => ("", all),
            Extent::Estimated(all) => ("~", all),
            Extent::AtLeast(_) => return None,
        };
        let seconds = all.saturating_sub(self.moved) as f64 / self.rate.per_second()?;
        let left = Duration::try_from_secs_f64(seconds.round()).ok()?;
        Some(format!("{sign}{}", short(left)))
    }

    /// A line for each of the hosts that will take longest.
    pub(super) fn slowest(&mut self, roster: &Roster, room: usize, now: Instant) -> Vec<String> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) < SHOWN_AFTER) {
            return Vec::new();
        }
        let (hosts, since) = &self.shown;
        let is_stale = since.is_none_or(|since| now.saturating_duration_since(since) >= KEPT);
        if is_stale || hosts.iter().any(|(host, _)| self.going.get(host).is_none_or(|going| going.left() == 0)) {
            let chosen = self.choose().into_iter().map(|host| (host, Line::new(self.going[&host].planned)));
            self.shown = (chosen.collect(), Some(now));
        }
        let shown = &self.shown.0;
        let names: Vec<_> = shown.iter().map(|(host, _)| visible(roster.name(*host).as_str())).collect();
        let widest = names.iter().map(|name| columns(name)).max().unwrap_or_default();
        let told = names.iter().zip(shown);
        told.map(|(name, (host, line))| self.going[host].line(line, name, widest, room)).collect()
    }

    /// The hosts that will take longest, the slowest first.
    fn choose(&self) -> Vec<HostId> {
        let mut hosts: Vec<_> = self
            .going
            .iter()
            .filter(|(_, going)| going.left() > 0)
            .map(|(host, going)| (going.seconds_left(), going.left(), *host))
            .collect();
        let slower = |(seconds, left, host): &(f64, u64, HostId), other: &(f64, u64, HostId)| {
            other.0.total_cmp(seconds).then(other.1.cmp(left)).then(host.cmp(&other.2))
        };
        if hosts.len() > SHOWN {
            hosts.select_nth_unstable_by(SHOWN - 1, slower);
            hosts.truncate(SHOWN);
        }
        hosts.sort_unstable_by(slower);
        hosts.into_iter().map(|(.., host)| host).collect()
    }
}

impl Extent {
    /// The bytes, by what is known.
    pub(super) fn bytes(&self) -> u64 {
        let (Self::Known(bytes) | Self::Estimated(bytes) | Self::AtLeast(bytes)) = *self;
        bytes
    }
}

impl Going {
    fn left(&self) -> u64 {
        self.planned - self.moved
    }

    fn seconds_left(&self) -> f64 {
        self.left() as f64 / self.rate.per_second().unwrap_or_default()
    }

    /// `  web07  12.0 MiB/24.0 MiB  1.1 MiB/s`, without what has no room.
    fn line(&self, line: &Line, name: &str, widest: usize, room: usize) -> String {
        line.set(self.moved, self.planned);
        let keys = [
            ("bytes", format!("{}/{}", human(self.moved), human(self.planned))),
            ("rate", a_second(self.rate.per_second().unwrap_or_default())),
        ];
        let told = |template| {
            let figures = line.text(template, &keys);
            let room_of_name = room.checked_sub(4 + figures.len());
            (figures, room_of_name)
        };
        let has_name = |(_, left): &(String, Option<usize>)| left.is_some_and(|left| left >= NAME.min(widest));
        let (figures, left) = FIGURES.into_iter().map(told).find(has_name).unwrap_or_else(|| told(SHARE));
        let left = left.unwrap_or_default();
        let shown = cut(name, left);
        let padding = widest.min(left).saturating_sub(columns(&shown));
        cut(&format!("  {shown}{:padding$}  {figures}", ""), room)
    }
}

/// `1.1 MiB/s`.
fn a_second(rate: f64) -> String {
    format!("{}/s", human(rate as u64))
}
