//! Parts of one file that several lanes move: [`Segments`], and what one of them has in hand: [`Share`].

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a lane takes at once, in bytes: so little that no lane has much left when the others are done, and so much that
/// what it writes or reads is in one piece.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// Parts of a file that nobody moves yet, in order.
pub(super) struct Segments(Mutex<VecDeque<Range<u64>>>);

impl Segments {
    /// These parts of a file.
    pub(super) fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self(Mutex::new(ranges.into_iter().filter(|range| !range.is_empty()).collect()))
    }

    /// Bytes that nobody has taken.
    pub(super) fn left(&self) -> u64 {
        self.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// Nothing in hand yet.
    pub(super) fn share(&self) -> Share<'_> {
        Share { segments: self, rest: 0..0, underway: VecDeque::new() }
    }

    fn take(&self) -> Option<Range<u64>> {
        let mut ranges = self.ranges();
        let first = ranges.front_mut()?;
        let taken = first.start..first.end.min(first.start + SEGMENT);
        first.start = taken.end;
        if first.is_empty() {
            ranges.pop_front();
        }
        Some(taken)
    }

    fn ranges(&self) -> MutexGuard<'_, VecDeque<Range<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one lane has in hand. Dropped, what is not done of it is there for others.
pub(super) struct Share<'a> {
    segments: &'a Segments,
    rest: Range<u64>,
    underway: VecDeque<Range<u64>>,
}

impl Share<'_> {
    /// The part that comes next, of `most` bytes at most. It stays the next one until it is [begun](Self::begin).
    pub(super) fn next(&mut self, most: u32) -> Option<Range<u64>> {
        if self.rest.is_empty() {
            self.rest = self.segments.take()?;
        }
        Some(self.rest.start..self.rest.end.min(self.rest.start + u64::from(most)))
    }

    /// The part that [`next`](Self::next) gave is under way.
    pub(super) fn begin(&mut self, part: Range<u64>) {
        self.rest.start = part.end;
        self.underway.push_back(part);
    }

    /// So many bytes more are done, in the order in which they were begun.
    pub(super) fn done(&mut self, mut bytes: u64) {
        while let Some(first) = self.underway.front_mut() {
            let done = bytes.min(first.end - first.start);
            first.start += done;
            bytes -= done;
            if !first.is_empty() {
                return;
            }
            self.underway.pop_front();
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let left = self.underway.drain(..).chain([self.rest.clone()]).filter(|range| !range.is_empty());
        let left: Vec<_> = left.collect();
        if !left.is_empty() {
            let mut ranges = self.segments.ranges();
            left.into_iter().rev().for_each(|range| ranges.push_front(range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u32 = 3 * 1024 * 1024;

    proptest! {
        /// Lanes that break at any time leave all that they have not done, and nothing that they have.
        #[test]
        fn every_byte_is_done_once_whoever_breaks(
            ends in prop::collection::vec(1..40_u64, 1..6),
            lanes in prop::collection::vec(prop::collection::vec(0..3_u8, 0..30), 0..6),
        ) {
            let mut at = 0;
            let ranges: Vec<Range<u64>> = ends.iter().map(|length| {
                let range = at..at + length * 1024 * 1024;
                at = range.end + 1;
                range
            }).collect();
            let segments = Segments::new(ranges.clone());
            let mut done: Vec<Range<u64>> = Vec::new();
            let mut work = |share: &mut Share<'_>, steps: &[u8]| {
                let mut waiting = VecDeque::new();
                for step in steps {
                    match (step, waiting.front().cloned()) {
                        (0, Some(part)) => {
                            let part: Range<u64> = part;
                            let half = part.start + (part.end - part.start) / 2;
                            share.done(half - part.start);
                            done.push(part.start..half);
                            waiting[0] = half..part.end;
                        }
                        (1, Some(part)) => {
                            share.done(part.end - part.start);
                            done.push(part);
                            waiting.pop_front();
                        }
                        _ => if let Some(part) = share.next(MOST) {
                            share.begin(part.clone());
                            waiting.push_back(part);
                        }
                    }
                }
            };
            for steps in &lanes {
                work(&mut segments.share(), steps);
            }
            let mut last = segments.share();
            let steps = [2, 1].repeat(1000);
            work(&mut last, &steps);
            prop_assert_eq!(segments.left(), 0);
            done.retain(|range| !range.is_empty());
            done.sort_by_key(|range| range.start);
            let mut merged: Vec<Range<u64>> = Vec::new();
            for range in done {
                match merged.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => merged.push(range),
                }
            }
            prop_assert_eq!(merged, ranges);
        }
    }
}
