//! Parts of one file that several lanes move: [`Segments`], and what one of them has in hand: [`Share`].

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a lane takes at once, in bytes: so little that no lane has much left when the others are done, and so much that
/// what it writes or reads is in one piece. Less of smaller files, of which more is left to be [withdrawn](Segments::withdraw).
const SEGMENT: (u64, u64) = (256 * 1024, 8 * 1024 * 1024);
/// Segments that a file has at least, where they are not the smallest.
const PARTS: u64 = 32;

/// Parts of a file that nobody moves yet, in order.
pub(super) struct Segments {
    state: Mutex<State>,
    size: u64,
}

struct State {
    ranges: VecDeque<Range<u64>>,
    done: u64,
}

impl Segments {
    /// These parts of a file.
    pub(super) fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let ranges: VecDeque<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        let size = (ranges.iter().map(length).sum::<u64>() / PARTS).clamp(SEGMENT.0, SEGMENT.1);
        Self { state: Mutex::new(State { ranges, done: 0 }), size }
    }

    /// Bytes that nobody has taken.
    pub(super) fn left(&self) -> u64 {
        self.state().ranges.iter().map(length).sum()
    }

    /// Bytes that are done.
    pub(super) fn done(&self) -> u64 {
        self.state().done
    }

    /// Where the first part begins that nobody has taken.
    pub(super) fn first(&self) -> Option<u64> {
        self.state().ranges.front().map(|range| range.start)
    }

    /// Takes out of what nobody has taken all that lies in this range, and gives it: there is another way for it.
    pub(super) fn withdraw(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let ranges = &mut self.state().ranges;
        let mut withdrawn = Vec::new();
        let mut index = 0;
        while let Some(found) = ranges.get_mut(index) {
            let common = found.start.max(range.start)..found.end.min(range.end);
            if common.is_empty() {
                index += 1;
                continue;
            }
            let behind = common.end..found.end;
            found.end = common.start;
            if !behind.is_empty() {
                ranges.insert(index + 1, behind);
            }
            if ranges[index].is_empty() {
                ranges.remove(index);
            } else {
                index += 1;
            }
            withdrawn.push(common);
        }
        withdrawn
    }

    /// Nothing in hand yet.
    pub(super) fn share(&self) -> Share<'_> {
        Share { segments: self, rest: 0..0, underway: VecDeque::new() }
    }

    /// The next segment, in whole requests of `most` bytes.
    fn take(&self, most: u64) -> Option<Range<u64>> {
        let ranges = &mut self.state().ranges;
        let first = ranges.front_mut()?;
        let taken = first.start..first.end.min(first.start + (self.size / most).max(1) * most);
        first.start = taken.end;
        if first.is_empty() {
            ranges.pop_front();
        }
        Some(taken)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
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
            self.rest = self.segments.take(most.max(1).into())?;
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
        self.segments.state().done += bytes;
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
            let ranges = &mut self.segments.state().ranges;
            left.into_iter().rev().for_each(|range| ranges.push_front(range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u32 = 3 * 1024 * 1024;

    #[test]
    fn what_is_withdrawn_is_not_taken() {
        let segments = Segments::new([0..100, 200..300, 300..301]);
        for (range, expected) in [
            (100..200, vec![]),
            (10..20, vec![(10, 20)]),
            (15..250, vec![(20, 100), (200, 250)]),
            (300..400, vec![(300, 301)]),
        ] {
            let withdrawn: Vec<_> =
                segments.withdraw(&range).into_iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(withdrawn, expected);
        }
        assert_eq!((segments.first(), segments.left()), (Some(0), 60));
        let mut share = segments.share();
        for part in [0..10, 250..300] {
            assert_eq!(share.next(MOST), Some(part.clone()));
            share.begin(part);
        }
        assert_eq!((share.next(MOST), segments.first()), (None, None));
        share.done(25);
        assert_eq!(segments.done(), 25);
    }

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
