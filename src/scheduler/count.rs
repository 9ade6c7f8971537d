//! The count of a run and of its open batch, which `--max-fail` and the exit code are judged by.

use super::max_fail::MaxFail;
use super::result::remote_status;
use crate::outcome::{Outcome, Tally};

/// Finished hosts of a run, and of the batch that is open.
#[derive(Debug)]
pub(super) struct Count {
    hosts: usize,
    tally: Tally,
    batch_hosts: usize,
    batch_failures: usize,
    largest_status: u8,
}

impl Count {
    /// Nothing yet, of a run of so many hosts.
    pub(super) fn new(hosts: usize) -> Self {
        Self { hosts, tally: Tally::default(), batch_hosts: 0, batch_failures: 0, largest_status: 0 }
    }

    /// Begins to count a batch.
    pub(super) fn begin_batch(&mut self, hosts: usize) {
        self.batch_hosts = hosts;
        self.batch_failures = 0;
    }

    /// Counts one more host.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.tally.add(outcome);
        self.batch_failures += usize::from(outcome.counts_as_failure());
        self.largest_status = self.largest_status.max(remote_status(outcome));
    }

    /// Whether the failures of the batch or of the whole run are too many.
    pub(super) fn exceeds(&self, limit: MaxFail) -> bool {
        limit.is_exceeded(self.batch_failures, self.batch_hosts) || limit.is_exceeded(self.tally.failures(), self.hosts)
    }

    /// Whether every host of the batch failed.
    pub(super) fn whole_batch_failed(&self) -> bool {
        self.batch_failures == self.batch_hosts
    }

    /// The count over the run.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The largest exit status that any host stands for.
    pub(super) fn largest_status(&self) -> u8 {
        self.largest_status
    }
}
