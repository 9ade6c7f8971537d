//! Who is next: hosts whose wait before another try is over, then hosts that were not started yet, batch by batch.
//!
//! Hosts are started in the order of the roster, so what is left is a range, and a queue of 100,000 costs nothing.

use crate::host::HostId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use tokio::time::Instant;

/// The hosts that are not being worked on and not finished.
#[derive(Debug)]
pub(super) struct Queue {
    /// Sizes of all batches.
    batches: Vec<usize>,
    /// How many batches were opened.
    opened: usize,
    /// What is left of the open batch.
    fresh: Range<u32>,
    /// Number of hosts of the run.
    hosts: u32,
    /// Hosts between two tries, by the time of the next one.
    retries: BinaryHeap<Reverse<(Instant, HostId)>>,
}

/// A batch that was just opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// From 1.
    pub(super) number: usize,
    /// How many there are.
    pub(super) of: usize,
    /// Its hosts.
    pub(super) hosts: Vec<HostId>,
}

impl Queue {
    /// A queue of the first hosts of a roster in batches of these sizes; none is open.
    pub(super) fn new(mut batches: Vec<usize>) -> Self {
        batches.retain(|&size| size > 0);
        let hosts = u32::try_from(batches.iter().sum::<usize>()).expect("a roster is indexed by `HostId`, a `u32`");
        Self { batches, opened: 0, fresh: 0..0, hosts, retries: BinaryHeap::new() }
    }

    /// Opens the next batch, if there is one. The one before has been handed out.
    pub(super) fn open_batch(&mut self) -> Option<Batch> {
        let size = *self.batches.get(self.opened)?;
        self.opened += 1;
        // Sizes add up to `hosts`, which fits.
        self.fresh = self.fresh.end..self.fresh.end + size as u32;
        Some(Batch { number: self.opened, of: self.batches.len(), hosts: self.fresh.clone().map(HostId).collect() })
    }

    /// Whether every host of the open batch was taken and none was put back.
    pub(super) fn batch_is_taken(&self) -> bool {
        self.fresh.is_empty() && self.retries.is_empty()
    }

    /// Whether hosts are left to be taken, of this batch or a later one.
    pub(super) fn has_more(&self) -> bool {
        self.opened < self.batches.len() || !self.batch_is_taken()
    }

    /// Takes the next host to work on.
    pub(super) fn take(&mut self, now: Instant) -> Option<HostId> {
        if self.next_retry().is_some_and(|due| due <= now) {
            return self.retries.pop().map(|Reverse((_, host))| host);
        }
        self.fresh.next().map(HostId)
    }

    /// Puts a host back until its next try.
    pub(super) fn put_back(&mut self, host: HostId, due: Instant) {
        self.retries.push(Reverse((due, host)));
    }

    /// When the next host that was put back is due.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes out everybody that was put back, in the order of the roster.
    pub(super) fn take_retries(&mut self) -> Vec<HostId> {
        let mut hosts: Vec<_> = self.retries.drain().map(|Reverse((_, host))| host).collect();
        hosts.sort_unstable();
        hosts
    }

    /// The hosts that were never taken, of all batches.
    pub(super) fn never_started(&self) -> Range<u32> {
        self.fresh.start..self.hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_hosts_come_before_fresh_ones_and_others_wait() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![3]);
        assert_eq!(queue.take(now), None, "no batch is open");
        queue.open_batch();
        assert_eq!(queue.take(now), Some(HostId(0)));
        queue.put_back(HostId(0), now + Duration::from_secs(1));
        assert_eq!(queue.take(now), Some(HostId(1)));
        assert_eq!(queue.take(now + Duration::from_secs(1)), Some(HostId(0)));
        assert_eq!(queue.take(now), Some(HostId(2)));
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn the_host_that_is_due_first_comes_first() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![]);
        for (host, seconds) in [(0, 3), (1, 1), (2, 2)] {
            queue.put_back(HostId(host), now + Duration::from_secs(seconds));
        }
        assert_eq!(queue.next_retry(), Some(now + Duration::from_secs(1)));
        assert_eq!(queue.take(now + Duration::from_secs(9)), Some(HostId(1)));
        assert_eq!(queue.take_retries(), [HostId(0), HostId(2)]);
        assert_eq!(queue.next_retry(), None);
    }

    #[test]
    fn batches_are_consecutive_and_what_is_left_counts_all_of_them() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![1, 2]);
        assert_eq!(queue.open_batch(), Some(Batch { number: 1, of: 2, hosts: vec![HostId(0)] }));
        assert_eq!(queue.never_started(), 0..3);
        assert_eq!(queue.take(now), Some(HostId(0)));
        assert_eq!(queue.take(now), None, "the second batch is not open");
        assert!(queue.batch_is_taken() && queue.has_more());
        assert_eq!(queue.never_started(), 1..3);
        assert_eq!(queue.open_batch(), Some(Batch { number: 2, of: 2, hosts: vec![HostId(1), HostId(2)] }));
        assert!(queue.has_more());
        queue.take(now);
        queue.take(now);
        assert!(!queue.has_more());
        assert_eq!(queue.open_batch(), None);
    }
}
