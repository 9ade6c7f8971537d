//! How many hosts at once: what is asked for ([`Fanout`]), and what the open files of this process allow
//! ([`DescriptorBudget`]).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// The width of the sliding window: how many hosts are worked on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fanout(NonZeroUsize);

impl Fanout {
    /// So many hosts; `None` for nobody.
    pub fn new(hosts: usize) -> Option<Self> {
        NonZeroUsize::new(hosts).map(Self)
    }

    /// The number of hosts.
    pub fn get(self) -> usize {
        self.0.get()
    }
}

impl Default for Fanout {
    fn default() -> Self {
        const HOSTS: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
        Self(HOSTS)
    }
}

/// `--fanout` is not a number of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of hosts from 1 up")]
pub struct FanoutError(String);

impl FromStr for Fanout {
    type Err = FanoutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| FanoutError(text.into()))
    }
}

impl fmt::Display for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Descriptors that are not a host's: the three standard streams, the runtime's, name lookups, the agent, report files,
/// known_hosts and a few bastions.
const RESERVE: u64 = 32;

/// How many files this process may have open (RLIMIT_NOFILE in getrlimit(2)), shared out to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorBudget {
    limit: u64,
    /// Of them, those that are not for hosts.
    taken: u64,
}

/// Descriptors of files on this machine that some work needs beside its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalFiles {
    /// While it works on one host.
    pub per_host: usize,
    /// That all hosts share.
    pub shared: usize,
}

/// What a budget allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many hosts at once.
    pub fanout: Fanout,
    /// What to tell the user when that is fewer than were asked for: a lowercase fragment.
    pub notice: Option<String>,
}

impl DescriptorBudget {
    /// Raises the soft limit of this process to the hard one and takes what is allowed then. A system that refuses
    /// leaves it as it was.
    pub fn raised() -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => before.maximum,
            Err(_) => before.current,
        };
        Self::of(current.unwrap_or(u64::MAX))
    }

    /// A budget of so many open files.
    pub fn of(limit: u64) -> Self {
        Self { limit, taken: RESERVE }
    }

    /// How many of them files on this machine may have that hosts share, up to so many; at least 4.
    pub fn share(self, most: usize) -> usize {
        let quarter = usize::try_from(self.limit.saturating_sub(RESERVE) / 4).unwrap_or(usize::MAX);
        quarter.min(most).max(4)
    }

    /// What is left beside so many.
    #[must_use]
    pub fn without(self, taken: usize) -> Self {
        Self { taken: self.taken.saturating_add(taken as u64), ..self }
    }

    /// The widest window up to `wanted` in which every host has `per_host` descriptors; never less than one host.
    pub fn window(self, wanted: Fanout, per_host: NonZeroUsize) -> Window {
        let room = self.limit.saturating_sub(self.taken) / per_host.get() as u64;
        let room = usize::try_from(room).ok().and_then(Fanout::new).unwrap_or(Fanout(NonZeroUsize::MIN));
        if room >= wanted {
            return Window { fanout: wanted, notice: None };
        }
        let notice = format!(
            "{room} hosts at once instead of {wanted}: a process may have {} files open here (`ulimit -n`)",
            self.limit
        );
        Window { fanout: room, notice: Some(notice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fanout_is_a_number_of_hosts() {
        assert_eq!("1".parse::<Fanout>().map(Fanout::get), Ok(1));
        assert_eq!("5000".parse::<Fanout>().map(Fanout::get), Ok(5000));
        assert_eq!(Fanout::default().to_string(), "64");
        for bad in ["", "0", "-1", "all", "1.5"] {
            assert_eq!(bad.parse::<Fanout>(), Err(FanoutError(bad.into())), "{bad}");
        }
    }

    #[test]
    fn files_on_this_machine_take_from_what_hosts_have() {
        for (limit, share, fanout) in [(32, 4, 1), (64, 8, 8), (256, 56, 56), (1_024, 248, 248), (1 << 20, 512, 1_000)]
        {
            let budget = DescriptorBudget::of(limit);
            assert_eq!(budget.share(512), share, "{limit}");
            let window =
                budget.without(share).window(Fanout::new(1_000).expect("hosts"), NonZeroUsize::new(3).expect("3"));
            assert_eq!(window.fanout.get(), fanout, "{limit}");
        }
    }

    #[test]
    fn the_window_is_what_the_open_files_allow() {
        for (limit, wanted, per_host, fanout) in [
            (64, 5_000, 1, 32),
            (64, 64, 3, 10),
            (64, 10, 3, 10),
            (1_024, 64, 4, 64),
            (1_024, 500, 2, 496),
            (20, 64, 2, 1),
            (0, 64, 2, 1),
            (33, 64, 100, 1),
            (u64::MAX, 5_000, 4, 5_000),
        ] {
            let wanted = Fanout::new(wanted).expect("hosts");
            let window = DescriptorBudget::of(limit).window(wanted, NonZeroUsize::new(per_host).expect("descriptors"));
            assert_eq!(window.fanout.get(), fanout, "limit {limit}, {wanted} wanted, {per_host} each");
            assert_eq!(window.notice.is_some(), window.fanout < wanted, "a lowered window is told");
        }
    }

    #[test]
    fn the_notice_says_what_limits_and_how_it_is_named() {
        let window = DescriptorBudget::of(64).window(Fanout::default(), NonZeroUsize::MIN);
        assert_eq!(
            window.notice.as_deref(),
            Some("32 hosts at once instead of 64: a process may have 64 files open here (`ulimit -n`)")
        );
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let budget = DescriptorBudget::raised();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(budget.limit, after.current.unwrap_or(u64::MAX));
        if cfg!(target_os = "linux") {
            assert_eq!(after.current, after.maximum);
        }
    }
}
