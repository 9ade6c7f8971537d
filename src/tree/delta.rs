//! What a new file has in common with an old one of which only sums over its blocks are known: [`Index::reused`].
//!
//! The old file is cut into blocks of one size. Of each there is a weak sum, Adler-32 as zlib has it, which a window that
//! moves on by a byte is cheaply brought along with, and a strong one, the first half of SHA-256. What has both sums is
//! taken for the same; whoever puts a file together from that compares the whole.

use adler32::RollingAdler32;
use sha2::{Digest, Sha256};
use std::io;
use std::ops::Range;

/// The prime of Adler-32 (RFC 1950 §8.2).
const ADLER_PRIME: usize = 65_521;
/// What is read at once, beside a block.
const PORTION: usize = 1024 * 1024;
/// Blocks are hashed in vain for at most so many times the bytes that are searched: sums may be made to mislead.
const IN_VAIN: u64 = 4;

/// The sums of a block of the old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sums {
    /// Adler-32; 0 where blocks are searched for at whole blocks only.
    pub weak: u32,
    /// The first 16 bytes of SHA-256.
    pub strong: [u8; 16],
}

/// Where in the new file blocks of the old one are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// At every byte.
    Anywhere,
    /// At multiples of the size of a block.
    Aligned,
}

/// The blocks of an old file, to be looked up.
#[derive(Debug)]
pub struct Index {
    block: usize,
    search: Search,
    sums: Vec<Sums>,
    /// The numbers of the blocks, sorted by their sums.
    order: Vec<u32>,
    /// Bits for the weak sums that there are: most windows are told apart by this alone.
    filter: Vec<u64>,
}

/// Bytes that the new file has in common with the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reused {
    /// Where in the old file.
    pub from: u64,
    /// Where in the new one.
    pub to: u64,
    /// How many.
    pub length: u64,
}

impl Index {
    /// An index over the blocks of an old file, each of `block` bytes, in their order.
    pub fn new(block: u32, search: Search, sums: Vec<Sums>) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(sums.len()).unwrap_or(u32::MAX)).collect();
        // Of equal blocks the first one comes first.
        order.sort_unstable_by_key(|&number| (sums[number as usize], number));
        let mut index = Self {
            block: block.max(1) as usize,
            search,
            filter: vec![0; (sums.len() / 4).next_power_of_two()],
            sums,
            order,
        };
        for number in 0..index.sums.len() {
            let (word, bit) = index.bit(index.sums[number].weak);
            index.filter[word] |= bit;
        }
        index
    }

    /// What of a part of the new file is in the old one, in ascending order. What is found begins in `begins` and does not
    /// reach beyond `end`. `read` fills a buffer with the new file from a place on.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn reused(
        &self,
        begins: Range<u64>,
        end: u64,
        read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Vec<Reused>> {
        let mut searched = Searched {
            ahead: Ahead { bytes: Vec::new(), at: begins.start, end, read },
            found: Vec::new(),
            in_vain: (begins.end.saturating_sub(begins.start)).saturating_mul(IN_VAIN),
        };
        match self.search {
            Search::Anywhere => self.search_anywhere(begins, &mut searched)?,
            Search::Aligned => self.search_aligned(begins, &mut searched)?,
        }
        Ok(searched.found)
    }

    fn search_anywhere<R>(&self, begins: Range<u64>, searched: &mut Searched<R>) -> io::Result<()>
    where
        R: FnMut(&mut [u8], u64) -> io::Result<()>,
    {
        let block = self.block;
        let mut at = begins.start;
        while at < begins.end
            && let Some(bytes) = searched.ahead.from(at, block)?
        {
            let most = usize::try_from(begins.end - at).unwrap_or(usize::MAX);
            let windows = (bytes.len() - block + 1).min(most);
            let mut rolling = RollingAdler32::from_buffer(&bytes[..block]);
            let mut offset = 0;
            let found = loop {
                let weak = rolling.hash();
                if self.may_have(weak) && self.has(weak) {
                    let expected = expected(&searched.found, at + offset as u64, block);
                    match self.find(weak, &bytes[offset..offset + block], expected) {
                        Some(number) => break Some(number),
                        None if searched.in_vain == 0 => return Ok(()),
                        None => searched.in_vain = searched.in_vain.saturating_sub(block as u64),
                    }
                }
                if offset + 1 == windows {
                    break None;
                }
                // The crate subtracts the size from the prime, so it must not be larger.
                rolling.remove(block % ADLER_PRIME, bytes[offset]);
                rolling.update(bytes[offset + block]);
                offset += 1;
            };
            at += offset as u64;
            match found {
                Some(number) => {
                    push(&mut searched.found, number, at, block);
                    at += block as u64;
                }
                None => at += 1,
            }
        }
        Ok(())
    }

    fn search_aligned<R>(&self, begins: Range<u64>, searched: &mut Searched<R>) -> io::Result<()>
    where
        R: FnMut(&mut [u8], u64) -> io::Result<()>,
    {
        let block = self.block;
        let mut at = begins.start.next_multiple_of(block as u64);
        while at < begins.end
            && let Some(bytes) = searched.ahead.from(at, block)?
        {
            let expected = expected(&searched.found, at, block);
            if let Some(number) = self.find(0, &bytes[..block], expected) {
                push(&mut searched.found, number, at, block);
            }
            at += block as u64;
        }
        Ok(())
    }

    fn bit(&self, weak: u32) -> (usize, u64) {
        // Neighbouring sums are spread, and the upper bits of the product depend on all of them.
        let spread = (u64::from(weak).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        ((spread >> 6) & (self.filter.len() - 1), 1 << (spread & 63))
    }

    fn may_have(&self, weak: u32) -> bool {
        let (word, bit) = self.bit(weak);
        self.filter[word] & bit != 0
    }

    fn has(&self, weak: u32) -> bool {
        let place = self.order.partition_point(|&number| self.sums[number as usize].weak < weak);
        self.order.get(place).is_some_and(|&number| self.sums[number as usize].weak == weak)
    }

    /// The number of a block with these bytes; the expected one where that has them.
    fn find(&self, weak: u32, bytes: &[u8], expected: Option<usize>) -> Option<usize> {
        let mut sums = Sums { weak, strong: [0; 16] };
        sums.strong.copy_from_slice(&Sha256::digest(bytes)[..16]);
        if let Some(expected) = expected
            && self.sums.get(expected) == Some(&sums)
        {
            return Some(expected);
        }
        let place = self.order.partition_point(|&number| self.sums[number as usize] < sums);
        let number = *self.order.get(place)? as usize;
        (self.sums[number] == sums).then_some(number)
    }
}

/// A search up to now.
struct Searched<R> {
    ahead: Ahead<R>,
    found: Vec<Reused>,
    /// Bytes that may still be hashed in vain.
    in_vain: u64,
}

/// The block that follows the one before this place, where that was found.
fn expected(found: &[Reused], at: u64, block: usize) -> Option<usize> {
    let last = found.last().filter(|last| last.to + last.length == at)?;
    usize::try_from((last.from + last.length) / block as u64).ok()
}

fn push(found: &mut Vec<Reused>, number: usize, to: u64, block: usize) {
    let (from, length) = (number as u64 * block as u64, block as u64);
    match found.last_mut() {
        Some(last) if last.from + last.length == from && last.to + last.length == to => last.length += length,
        _ => found.push(Reused { from, to, length }),
    }
}

/// A part of the new file that is in memory.
struct Ahead<R> {
    bytes: Vec<u8>,
    /// Where it begins.
    at: u64,
    end: u64,
    read: R,
}

impl<R: FnMut(&mut [u8], u64) -> io::Result<()>> Ahead<R> {
    /// What follows a place, at least so much; nothing where there is less. Places only grow.
    fn from(&mut self, at: u64, least: usize) -> io::Result<Option<&[u8]>> {
        if at.saturating_add(least as u64) > self.end {
            return Ok(None);
        }
        let mut skip = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        if skip.saturating_add(least) > self.bytes.len() {
            self.bytes.drain(..skip.min(self.bytes.len()));
            (self.at, skip) = (at, 0);
            let known = self.bytes.len();
            let wanted = (least + PORTION.max(4 * least)) as u64;
            let length = wanted.min(self.end - at) as usize;
            self.bytes.resize(length, 0);
            (self.read)(&mut self.bytes[known..], at + known as u64)?;
        }
        Ok(Some(&self.bytes[skip..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(old: &[u8], block: u32, search: Search) -> Index {
        let sums = old.chunks_exact(block as usize).map(|bytes| Sums {
            weak: if search == Search::Anywhere { RollingAdler32::from_buffer(bytes).hash() } else { 0 },
            strong: Sha256::digest(bytes)[..16].try_into().unwrap(),
        });
        Index::new(block, search, sums.collect())
    }

    /// What is found when a file is searched in pieces of this size, and that it is so.
    fn found(old: &[u8], new: &[u8], index: &Index, piece: usize) -> Vec<Reused> {
        let read = |bytes: &mut [u8], at: u64| {
            bytes.copy_from_slice(&new[at as usize..at as usize + bytes.len()]);
            Ok(())
        };
        let (end, mut all) = (new.len() as u64, Vec::new());
        for start in (0..end).step_by(piece) {
            let piece = start..(start + piece as u64).min(end);
            let found = index.reused(piece.clone(), end, read).unwrap();
            for reused in &found {
                let Reused { from, to, length } = *reused;
                let (from, to, length) = (from as usize, to as usize, length as usize);
                assert!(piece.contains(&reused.to) && length > 0);
                assert!(old[from..from + length] == new[to..to + length]);
            }
            assert!(found.is_sorted_by(|left, right| left.to + left.length <= right.to));
            all.extend(found);
        }
        all
    }

    fn covered(found: &[Reused]) -> u64 {
        let mut reached = 0;
        let mut all = 0;
        for Reused { to, length, .. } in found {
            all += (to + length).saturating_sub(reached.max(*to));
            reached = reached.max(to + length);
        }
        all
    }

    fn noise(length: usize) -> Vec<u8> {
        (0..length as u64 / 8 + 1)
            .flat_map(|word| Sha256::digest(word.to_le_bytes())[..8].to_vec())
            .take(length)
            .collect()
    }

    #[test]
    fn what_moved_is_found_wherever_it_is_and_once_for_a_run_of_blocks() {
        let old = noise(1 << 20);
        let index = index(&old, 4096, Search::Anywhere);
        assert_eq!(found(&old, &old, &index, 1 << 20), [Reused { from: 0, to: 0, length: 1 << 20 }]);
        let new = [b"in front", &old[..500_000], b"in the middle", &old[500_000..]].concat();
        let all = found(&old, &new, &index, 1 << 21);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(covered(&all), (1 << 20) - 4096);
        assert_eq!(found(&old, &old[..4095], &index, 1 << 20), []);
        assert_eq!(found(&old, b"", &index, 1 << 20), []);
    }

    #[test]
    fn pieces_lose_nothing_that_reaches_over_their_ends() {
        let old = noise(1 << 20);
        let index = index(&old, 4096, Search::Anywhere);
        let new = [b"in front", &old[..]].concat();
        assert_eq!(covered(&found(&old, &new, &index, 10_000)), 1 << 20);
    }

    #[test]
    fn blocks_may_be_larger_than_the_prime() {
        let old = noise(1 << 20);
        for block in [65_520, 65_521, 65_522, 131_072] {
            let index = index(&old, block, Search::Anywhere);
            let new = [b"in front", &old[..]].concat();
            assert_eq!(covered(&found(&old, &new, &index, 1 << 21)), (1 << 20) / u64::from(block) * u64::from(block));
        }
    }

    #[test]
    fn whole_blocks_are_found_at_whole_blocks() {
        let old = noise(100_000);
        let index = index(&old, 1000, Search::Aligned);
        let new = [&old[50_000..], &old[..50_000], b"more"].concat();
        let expected = [Reused { from: 50_000, to: 0, length: 50_000 }, Reused { from: 0, to: 50_000, length: 50_000 }];
        assert_eq!(found(&old, &new, &index, 1 << 20), expected);
        assert_eq!(found(&old, &new[1..], &index, 1 << 20), []);
    }

    #[test]
    fn equal_blocks_are_taken_from_where_the_last_one_was() {
        let old = vec![7; 64 * 1024];
        let index = index(&old, 4096, Search::Anywhere);
        assert_eq!(found(&old, &old, &index, 1 << 20), [Reused { from: 0, to: 0, length: 64 * 1024 }]);
    }

    #[test]
    fn weak_sums_that_mislead_cost_no_more_than_a_few_passes() {
        // Every window of zeros has the weak sum of a block, and never its strong one.
        let weak = RollingAdler32::from_buffer(&[0; 4096]).hash();
        let sums = vec![Sums { weak, strong: [1; 16] }; 10_000];
        let index = Index::new(4096, Search::Anywhere, sums);
        let mut read = 0;
        let found = index.reused(0..4 << 20, 4 << 20, |bytes, _| {
            bytes.fill(0);
            read += bytes.len();
            Ok(())
        });
        assert_eq!(found.unwrap(), []);
        assert!(read < 4 << 20, "the search was given up: {read}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let index = index(&noise(10_000), 1000, Search::Anywhere);
        let failed = index.reused(0..10_000, 10_000, |_, _| Err(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn however_a_file_is_edited_what_is_found_is_there(
            length in 0_usize..20_000,
            // Few different bytes have sums that collide.
            letters in 1_u8..=255,
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..400, prop::collection::vec(any::<u8>(), 0..400)), 0..8),
            block in 1_u32..2000,
            piece in 1_usize..9000,
            aligned: bool,
        ) {
            let old: Vec<u8> = noise(length).into_iter().map(|byte| byte % letters).collect();
            let mut new = old.clone();
            for (place, removed, inserted) in &edits {
                let start = place.index(new.len() + 1);
                let end = (start + removed).min(new.len());
                new.splice(start..end, inserted.iter().copied());
            }
            let index = index(&old, block, if aligned { Search::Aligned } else { Search::Anywhere });
            let all = found(&old, &new, &index, piece);
            // An edit may cost the blocks that it touches, and the two in which it makes a window wait for the next.
            let changed: usize = edits.iter().map(|(_, removed, inserted)| removed + inserted.len()).sum();
            let lost = (changed + (3 * edits.len() + 1) * block as usize) as u64;
            if !aligned && letters > 100 && block > 8 {
                prop_assert!(covered(&all) + lost >= new.len() as u64, "{} of {}", covered(&all), new.len());
            }
        }
    }
}
