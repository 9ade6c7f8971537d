//! Names with several numbers, as few node sets as ClusterShell finds: `r[1-3]n[1-4],r2n9`.
//!
//! A [`Block`] is one node set: a set of numbers for each place of the name. Two blocks that differ in one place only
//! are one. Which pairs are joined first decides the answer, so the passes and their order are ClusterShell's
//! (`RangeSetND`), while partners are looked up instead of compared pair by pair: its last pass is quadratic.

use super::fold::Number;
use std::cmp::Ordering;

/// One node set: the numbers that stand in each place, every combination of them a name.
#[derive(Debug)]
pub(super) struct Block(Box<[Axis]>);

impl Block {
    /// The sorted numbers of each place.
    pub(super) fn axes(&self) -> impl Iterator<Item = &[Number]> {
        self.0.iter().map(Axis::numbers)
    }

    /// Number of names.
    fn size(&self) -> usize {
        self.0.iter().map(|axis| axis.numbers().len()).product()
    }

    /// The only place in which two blocks differ.
    fn only_difference(&self, other: &Self) -> Option<usize> {
        let mut places = (0..self.0.len()).filter(|&place| self.0[place].mark != other.0[place].mark);
        let place = places.next()?;
        places.next().is_none().then_some(place)
    }

    fn absorb(&mut self, place: usize, other: &Self) {
        self.0[place].absorb(&other.0[place]);
    }

    fn settle(&mut self) {
        self.0.iter_mut().for_each(Axis::settle);
    }

    /// A mark of everything but one place, the same for blocks that can be joined there.
    fn mark_without(&self, place: usize) -> u128 {
        let mut mark = u128::from(scramble(place as u64));
        for (at, axis) in self.0.iter().enumerate() {
            if at != place {
                mark = mark.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ axis.mark;
            }
        }
        mark
    }

    /// Bigger blocks first, then longer sets, then the text of the first and last numbers.
    fn order(&self, other: &Self) -> Ordering {
        other.size().cmp(&self.size()).then_with(|| {
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, other)| one.order(other))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }
}

/// The numbers of one place. Sorted, except while a pass adds to them.
#[derive(Debug)]
struct Axis {
    one: Number,
    /// All numbers where there are several; empty for a single one, which needs no memory of its own.
    several: Vec<Number>,
    /// Sum of a 128-bit hash of each number: equal sets have equal marks, and adding numbers adds to it.
    mark: u128,
}

impl Axis {
    fn new(number: Number) -> Self {
        let low = scramble(number.value ^ u64::from(number.width).rotate_right(8));
        let high = scramble(low ^ number.value.wrapping_add(u64::from(number.width)));
        Self { one: number, several: Vec::new(), mark: u128::from(high) << 64 | u128::from(low) }
    }

    fn numbers(&self) -> &[Number] {
        if self.several.is_empty() { std::slice::from_ref(&self.one) } else { &self.several }
    }

    fn absorb(&mut self, other: &Self) {
        if self.several.is_empty() {
            self.several.push(self.one);
        }
        self.several.extend_from_slice(other.numbers());
        self.mark = self.mark.wrapping_add(other.mark);
    }

    fn settle(&mut self) {
        self.several.sort_unstable();
    }

    fn order(&self, other: &Self) -> Ordering {
        let (one, other) = (self.numbers(), other.numbers());
        other
            .len()
            .cmp(&one.len())
            .then_with(|| one[0].text_order(other[0]))
            .then_with(|| one[one.len() - 1].text_order(other[other.len() - 1]))
    }
}

/// SplitMix64's finalizer: spreads neighbouring numbers over all 64 bits.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Blocks for names given as `places` numbers each, one name after the other.
pub(super) fn merge(numbers: &[Number], places: usize) -> Vec<Block> {
    let mut names: Vec<&[Number]> = numbers.chunks_exact(places).collect();
    names.sort_unstable();
    names.dedup();
    let block = |name: &[Number]| Block(name.iter().map(|&number| Axis::new(number)).collect());
    let mut blocks: Vec<Block> = names.into_iter().map(block).collect();
    // Neighbours are joined as long as that helps; then every pair, as long as that does.
    for pass in [join_neighbours, join_all] {
        loop {
            blocks.sort_by(Block::order);
            let before = blocks.len();
            blocks = pass(blocks);
            if blocks.len() == before {
                break;
            }
            blocks.iter_mut().for_each(Block::settle);
        }
    }
    blocks
}

/// Joins each block with those that follow it directly.
fn join_neighbours(blocks: Vec<Block>) -> Vec<Block> {
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        match joined.last_mut().and_then(|last| Some((last.only_difference(&block)?, last))) {
            Some((place, last)) => last.absorb(place, &block),
            None => joined.push(block),
        }
    }
    joined
}

/// Joins each block with every later one that fits what it has become by then.
fn join_all(blocks: Vec<Block>) -> Vec<Block> {
    let places = blocks.first().map_or(0, |block| block.0.len());
    let mut partners: Vec<(u128, usize)> = blocks
        .iter()
        .enumerate()
        .flat_map(|(at, block)| (0..places).map(move |place| (block.mark_without(place), at)))
        .collect();
    partners.sort_unstable();
    let mut blocks: Vec<Option<Block>> = blocks.into_iter().map(Some).collect();
    let mut joined = Vec::new();
    for at in 0..blocks.len() {
        let Some(mut block) = blocks[at].take() else { continue };
        let mut reached = at;
        loop {
            let next = (0..places)
                .filter_map(|place| {
                    let mark = block.mark_without(place);
                    let start = partners.partition_point(|&partner| partner <= (mark, reached));
                    partners[start..]
                        .iter()
                        .take_while(|&&(other, _)| other == mark)
                        .find(|&&(_, later)| blocks[later].is_some())
                        .map(|&(_, later)| (later, place))
                })
                .min();
            let Some((later, place)) = next else { break };
            if let Some(other) = blocks[later].take() {
                block.absorb(place, &other);
            }
            reached = later;
        }
        joined.push(block);
    }
    joined
}
