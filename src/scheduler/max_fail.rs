//! `--max-fail`: how many failed hosts are too many.

use std::fmt;
use std::str::FromStr;

/// The most hosts that may fail, unreachable ones included, before no further host is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxFail {
    /// So many of the run, and of each batch.
    Hosts(usize),
    /// Such a part of the run, and of each batch.
    Percent(u8),
}

impl MaxFail {
    /// `--fail-fast`: the first failure is one too many.
    pub const FAIL_FAST: Self = Self::Hosts(0);

    /// Whether `failures` among `hosts` are too many: more than the limit, as Ansible's `max_fail_percentage` (equal is
    /// allowed; lib/ansible/plugins/strategy/linear.py).
    pub fn is_exceeded(self, failures: usize, hosts: usize) -> bool {
        match self {
            Self::Hosts(most) => failures > most,
            Self::Percent(percent) => failures.saturating_mul(100) > hosts.saturating_mul(percent.into()),
        }
    }
}

/// `--max-fail` is neither a number nor a percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a limit of failures: write a number of hosts such as `3`, or a part of them such as `10%`")]
pub struct MaxFailError(String);

impl FromStr for MaxFail {
    type Err = MaxFailError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let limit = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|&percent| percent <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Hosts),
        };
        limit.ok_or_else(|| MaxFailError(text.into()))
    }
}

impl fmt::Display for MaxFail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(most) => write!(f, "{most}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_percentages_are_read_and_nothing_else() {
        for (text, limit) in [
            ("0", MaxFail::Hosts(0)),
            ("12", MaxFail::Hosts(12)),
            ("0%", MaxFail::Percent(0)),
            ("30%", MaxFail::Percent(30)),
            ("100%", MaxFail::Percent(100)),
        ] {
            assert_eq!(text.parse(), Ok(limit));
            assert_eq!(limit.to_string(), text);
        }
        for bad in ["", "%", "-1", "101%", "1.5", "ten", "5 %", "%5"] {
            assert_eq!(bad.parse::<MaxFail>(), Err(MaxFailError(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_exceeded_by_more_and_not_by_as_many() {
        for (limit, failures, hosts, exceeded) in [
            (MaxFail::FAIL_FAST, 0, 10, false),
            (MaxFail::FAIL_FAST, 1, 10, true),
            (MaxFail::Hosts(3), 3, 10, false),
            (MaxFail::Hosts(3), 4, 10, true),
            (MaxFail::Percent(30), 3, 10, false),
            (MaxFail::Percent(30), 4, 10, true),
            (MaxFail::Percent(0), 1, 1000, true),
            (MaxFail::Percent(100), 10, 10, false),
            (MaxFail::Percent(33), 1, 3, true),
            (MaxFail::Percent(50), usize::MAX / 2, usize::MAX, false),
        ] {
            assert_eq!(limit.is_exceeded(failures, hosts), exceeded, "{limit}: {failures} of {hosts}");
        }
    }
}
