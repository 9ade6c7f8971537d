//! When sshd stops letting a key in: `expiry-time`, held against the clock of the host that decides about it.

use super::options::Options;
use crate::calendar;
use std::fmt;

/// Digits of `YYYYMMDDHHMMSS`.
const DIGITS: usize = 14;
/// By how many seconds the last zone is behind UTC.
const WESTERNMOST: u64 = 12 * 3600;

/// The time from which on a key is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    /// `YYYYMMDDHHMMSS`.
    digits: String,
    zone: Zone,
}

/// Whose time is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    /// That of the host, which sshd takes where no `Z` is said.
    Host,
    Utc,
}

/// What a host takes the time to be, each as `YYYYMMDDHHMMSS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// In the host's zone.
    pub local: String,
    /// In UTC.
    pub utc: String,
}

impl HostClock {
    /// What every host that keeps time takes the time to be, wherever it is: nothing is later here than there.
    pub fn anywhere(seconds: u64) -> Self {
        Self { local: calendar::digits(seconds.saturating_sub(WESTERNMOST)), utc: calendar::digits(seconds) }
    }
}

impl Expiry {
    /// The earliest `expiry-time` of a line, which is the one that counts; nothing where there is none that sshd understands.
    pub fn of(options: &Options) -> Option<Self> {
        let times = options.iter().filter(|option| option.name == "expiry-time");
        times.filter_map(|option| Self::read(option.value.as_deref()?)).min()
    }

    fn read(value: &str) -> Option<Self> {
        let (digits, zone) = value.strip_suffix(['Z', 'z']).map_or((value, Zone::Host), |digits| (digits, Zone::Utc));
        let is_time = matches!(digits.len(), 8 | 12 | DIGITS) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_time.then(|| Self { digits: format!("{digits:0<DIGITS$}"), zone })
    }

    /// Whether the host refuses the key already; nothing where its clock is not known.
    pub fn is_over(&self, clock: &HostClock) -> Option<bool> {
        let now = match self.zone {
            Zone::Host => &clock.local,
            Zone::Utc => &clock.utc,
        };
        (now.len() == DIGITS).then(|| self.digits < *now)
    }
}

/// `2030-01-31T12:00:00`, with `Z` for UTC and without for the host's own time.
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |from: usize, to: usize| self.digits.get(from..to).unwrap_or_default();
        let zone = if self.zone == Zone::Utc { "Z" } else { "" };
        let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)].join("-"), [part(8, 10), part(10, 12), part(12, 14)]);
        write!(f, "{date}T{}{zone}", time.join(":"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_held_against_the_clock_that_it_means() {
        let clock = HostClock { local: "20300131120000".into(), utc: "20300131100000".into() };
        for (options, shown, over) in [
            ("expiry-time=\"20300131\"", "2030-01-31T00:00:00", true),
            ("expiry-time=\"20300201\"", "2030-02-01T00:00:00", false),
            ("expiry-time=\"203001311100\"", "2030-01-31T11:00:00", true),
            ("expiry-time=\"203001311100Z\"", "2030-01-31T11:00:00Z", false),
            ("expiry-time=\"20300131120000\"", "2030-01-31T12:00:00", false),
            ("expiry-time=\"20400101\",EXPIRY-TIME=\"20200101Z\"", "2020-01-01T00:00:00Z", true),
        ] {
            let expiry = Expiry::of(&Options::found(options.as_bytes())).unwrap();
            assert_eq!((expiry.to_string().as_str(), expiry.is_over(&clock)), (shown, Some(over)), "{options}");
            assert_eq!(expiry.is_over(&HostClock::default()), None);
        }
        for none in ["", "restrict", "expiry-time=\"soon\"", "expiry-time"] {
            assert_eq!(Expiry::of(&Options::found(none.as_bytes())), None, "{none}");
        }
    }
}
