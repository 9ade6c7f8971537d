//! `--serial`: rolling batches, explicit stages above the sliding window.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// The sizes of the batches, the last one repeated until everybody had a turn (Ansible's `serial`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hosts(NonZeroUsize),
    Percent(u8),
}

impl Serial {
    /// The size of the largest batch of `hosts` hosts.
    pub fn largest(&self, hosts: usize) -> usize {
        self.batches(hosts).into_iter().max().unwrap_or_default()
    }

    /// The sizes of the batches of `hosts` hosts. A percentage is of all hosts, rounded down, and at least one host
    /// (lib/ansible/utils/helpers.py, `pct_to_int`).
    pub fn batches(&self, hosts: usize) -> Vec<usize> {
        let mut steps = self.0.iter();
        let mut size = hosts;
        let mut left = hosts;
        let mut batches = Vec::new();
        while left > 0 {
            if let Some(step) = steps.next() {
                size = match *step {
                    Step::Hosts(count) => count.get(),
                    Step::Percent(percent) => (hosts.saturating_mul(percent.into()) / 100).max(1),
                };
            }
            let batch = size.min(left);
            batches.push(batch);
            left -= batch;
        }
        batches
    }
}

/// `--serial` holds something that is no size of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size of a batch: write a number of hosts from 1 up, or a part from `1%` to `100%`")]
pub struct SerialError(String);

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::trim).map(Step::from_str).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Step {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let step = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self::Percent),
            None => text.parse().ok().map(Self::Hosts),
        };
        step.ok_or_else(|| SerialError(text.into()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match step {
                Step::Hosts(count) => write!(f, "{count}")?,
                Step::Percent(percent) => write!(f, "{percent}%")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_those_of_ansible() {
        for (spec, hosts, batches) in [
            ("2", 5, vec![2, 2, 1]),
            ("1,10%,100%", 30, vec![1, 3, 26]),
            ("1,5", 12, vec![1, 5, 5, 1]),
            ("30%", 10, vec![3, 3, 3, 1]),
            ("1%", 10, vec![1; 10]),
            ("100%", 7, vec![7]),
            ("50", 7, vec![7]),
            ("49%", 3, vec![1, 1, 1]),
            ("5,1", 3, vec![3]),
            ("3", 0, vec![]),
        ] {
            let serial: Serial = spec.parse().expect("a good spec");
            assert_eq!(serial.largest(hosts), batches.iter().copied().max().unwrap_or_default());
            assert_eq!(serial.batches(hosts), batches, "{spec} of {hosts}");
            assert_eq!(serial.to_string(), spec);
        }
    }

    #[test]
    fn spaces_after_commas_are_allowed() {
        assert_eq!("1, 10%".parse::<Serial>(), "1,10%".parse());
    }

    #[test]
    fn a_batch_of_nobody_or_of_more_than_everybody_is_refused() {
        for (spec, wrong) in [
            ("", ""),
            ("0", "0"),
            ("1,,2", ""),
            ("0%", "0%"),
            ("101%", "101%"),
            ("1,x", "x"),
            ("-1", "-1"),
            ("1.5", "1.5"),
        ] {
            assert_eq!(spec.parse::<Serial>(), Err(SerialError(wrong.into())), "{spec}");
        }
    }
}
