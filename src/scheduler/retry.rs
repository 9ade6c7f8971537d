//! `--retries`: how often and how soon a host is tried again.
//!
//! Main type: [`Backoff`]. What may be tried again is decided by the work, with [`Ended::Retry`](super::Ended::Retry).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The bound of the first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The bound of the longest wait.
const LONGEST: Duration = Duration::from_secs(8);

/// How often a host is tried again after the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries(u32);

impl Retries {
    /// Every host is tried once.
    pub const NONE: Self = Self(0);

    /// Whether another try follows the one with this number, from 1.
    pub fn allow_after(self, attempt: u32) -> bool {
        attempt <= self.0
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self(3)
    }
}

/// `--retries` is not a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of retries from 0 up")]
pub struct RetriesError(String);

impl FromStr for Retries {
    type Err = RetriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| RetriesError(text.into()))
    }
}

impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How soon a host may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// As the back-off says.
    Backoff,
    /// Not before this has passed; the back-off comes on top. sshd's penalties (`Not allowed at this time`,
    /// PerSourcePenalties in sshd_config(5)) last 15 s and more.
    AtLeast(Duration),
}

/// Makes the waits between tries: random in a range that doubles from 0.5 s to 8 s, so that hosts which failed together
/// do not come back together.
#[derive(Debug)]
pub struct Backoff {
    state: u64,
}

impl Backoff {
    /// A generator that makes the same waits from the same seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The wait after the try with this number, from 1.
    pub fn wait(&mut self, attempt: u32, after: RetryAfter) -> Duration {
        let range = FIRST.saturating_mul(1 << (attempt - 1).min(8)).min(LONGEST);
        let floor = match after {
            RetryAfter::Backoff => Duration::ZERO,
            RetryAfter::AtLeast(floor) => floor,
        };
        floor.saturating_add(self.up_to(range))
    }

    fn up_to(&mut self, range: Duration) -> Duration {
        let nanoseconds = (u128::from(self.random()) * range.as_nanos()) >> 64;
        // Not more than `range`, which is a few seconds.
        Duration::from_nanos(nanoseconds as u64)
    }

    /// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_number() {
        for (text, retries) in [("0", Retries::NONE), ("3", Retries::default()), ("10", Retries(10))] {
            assert_eq!(text.parse(), Ok(retries));
            assert_eq!(retries.to_string(), text);
        }
        for bad in ["", "-1", "many", "1.5"] {
            assert_eq!(bad.parse::<Retries>(), Err(RetriesError(bad.into())));
        }
        assert!(!Retries::NONE.allow_after(1));
        assert!(Retries(2).allow_after(2));
        assert!(!Retries(2).allow_after(3));
    }

    #[test]
    fn the_generator_is_splitmix64() {
        let mut backoff = Backoff::new(1_234_567);
        assert_eq!(backoff.random(), 6_457_827_717_110_365_317, "the published sequence of this seed");
        assert_eq!(backoff.random(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn waits_fill_a_range_that_doubles_up_to_eight_seconds() {
        for (attempt, milliseconds) in
            [(1, 500), (2, 1_000), (3, 2_000), (4, 4_000), (5, 8_000), (6, 8_000), (99, 8_000)]
        {
            let range = Duration::from_millis(milliseconds);
            let mut backoff = Backoff::new(7);
            let waits: Vec<_> = (0..1_000).map(|_| backoff.wait(attempt, RetryAfter::Backoff)).collect();
            assert!(waits.iter().all(|&wait| wait <= range), "try {attempt}");
            let mean = waits.iter().sum::<Duration>() / 1_000;
            assert!(mean > range * 2 / 5 && mean < range * 3 / 5, "try {attempt}: the mean is {mean:?}");
        }
    }

    #[test]
    fn a_floor_is_kept_and_jitter_comes_on_top() {
        let floor = Duration::from_secs(15);
        let mut backoff = Backoff::new(7);
        for attempt in 1..20 {
            let wait = backoff.wait(attempt, RetryAfter::AtLeast(floor));
            assert!(wait > floor && wait <= floor + LONGEST, "{wait:?}");
        }
        assert_eq!(backoff.wait(1, RetryAfter::AtLeast(Duration::MAX)), Duration::MAX);
    }
}
