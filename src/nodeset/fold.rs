//! Names folded back to node sets.
//!
//! Names that differ only in their numbers form a family. The numbers of a family with one number become ranges here;
//! those of a family with several are merged in [`super::axes`].

use super::axes::{self, Block};
use super::range::MAX_DIGITS;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write;

/// Names as node sets, joined with commas: `db1,web[01-18,20]`. Each name counts once.
///
/// What is written is what ClusterShell's `nodeset -f` writes: families in the order of their text, numbers in theirs,
/// padding kept. Names that hold brackets or commas themselves are never folded.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    fold_sets(names).join(",")
}

/// As [`fold`], each node set for itself, so that a caller can wrap or count them.
pub fn fold_sets<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut families: HashMap<String, Vec<Number>> = HashMap::new();
    let mut template = String::new();
    let mut numbers = Vec::new();
    for name in names {
        take_apart(name, &mut template, &mut numbers);
        match families.get_mut(&template) {
            Some(family) => family.extend_from_slice(&numbers),
            None => {
                families.insert(template.clone(), numbers.clone());
            }
        }
    }
    let mut families: Vec<_> = families.into_iter().collect();
    families.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut sets = Vec::with_capacity(families.len());
    for (template, mut numbers) in families {
        match template.matches(PLACE).count() {
            0 => sets.push(fill(&template, &[])),
            1 => {
                numbers.sort_unstable();
                numbers.dedup();
                sets.push(fill(&template, &[&numbers]));
            }
            count => sets.extend(axes::merge(&numbers, count).iter().map(|block| fill_block(&template, block))),
        }
    }
    sets
}

/// One number of a name, as it is written: the width counts its padding.
///
/// Ordered as ClusterShell orders padded numbers: shorter ones first, then by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number {
    pub(super) width: u32,
    pub(super) value: u64,
}

impl Number {
    /// Nothing where the digits are too many to be counted with, or are no digits.
    fn new(digits: &str) -> Option<Self> {
        let width = u32::try_from(digits.len()).ok().filter(|_| digits.len() <= MAX_DIGITS)?;
        Some(Self { width, value: digits.parse().ok()? })
    }

    fn is_padded(self) -> bool {
        self.width > self.value.checked_ilog10().map_or(1, |log| log + 1)
    }

    /// The order of the digits as text, in which `10` comes before `9`.
    pub(super) fn text_order(self, other: Self) -> Ordering {
        let digits = |number: Self| (number.value * 10_u64.pow(MAX_DIGITS as u32 - number.width), number.width);
        digits(self).cmp(&digits(other))
    }
}

/// Stands in a template where a name has a number. `%` of the name itself is doubled, so the two can't be mistaken, and
/// templates sort as ClusterShell's do.
const PLACE: &str = "%s";

/// Splits a name into its text, with a place for each number, and the numbers.
fn take_apart(name: &str, template: &mut String, numbers: &mut Vec<Number>) {
    template.clear();
    numbers.clear();
    let foldable = !name.contains(['[', ']', ',']);
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (head, tail) = rest.split_at(if digits > 0 { digits } else { first.len_utf8() });
        rest = tail;
        if let Some(number) = Number::new(head).filter(|_| foldable) {
            numbers.push(number);
            template.push_str(PLACE);
        } else if first == '%' {
            template.push_str("%%");
        } else {
            template.push_str(head);
        }
    }
}

fn fill_block(template: &str, block: &Block) -> String {
    let axes: Vec<&[Number]> = block.axes().collect();
    fill(template, &axes)
}

/// Writes a template with sorted numbers in its places.
fn fill(template: &str, axes: &[&[Number]]) -> String {
    let mut set = String::with_capacity(template.len() + 16);
    let mut axes = axes.iter();
    let mut characters = template.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            set.push(character);
            continue;
        }
        match (characters.next(), axes.as_slice()) {
            (Some('s'), [numbers, ..]) => {
                axes.next();
                match numbers {
                    [number] => write_number(&mut set, number.value, number.width),
                    numbers => {
                        set.push('[');
                        write_ranges(&mut set, numbers);
                        set.push(']');
                    }
                }
            }
            _ => set.push('%'),
        }
    }
    set
}

/// A stretch of numbers that is written `first-last`.
struct Stretch {
    first: u64,
    last: u64,
    /// Width when padded: every member then has it.
    width: Option<u32>,
}

impl Stretch {
    /// Whether a number may be written with the padding of this stretch.
    fn pads_like(&self, number: Number) -> bool {
        match self.width {
            Some(width) => number.width == width,
            None => !number.is_padded(),
        }
    }

    fn write(&self, out: &mut String) {
        let width = self.width.unwrap_or(1);
        write_number(out, self.first, width);
        if self.last > self.first {
            out.push('-');
            write_number(out, self.last, width);
        }
    }
}

fn write_ranges(out: &mut String, numbers: &[Number]) {
    let mut current: Option<Stretch> = None;
    for &number in numbers {
        let width = match &mut current {
            Some(stretch) if stretch.pads_like(number) => {
                if number.value == stretch.last + 1 {
                    stretch.last = number.value;
                    continue;
                }
                // ClusterShell goes on in a padded mood after a lone padded number: `08,10-99,100-120`.
                if stretch.first == stretch.last { stretch.width } else { None }
            }
            _ => None,
        };
        if let Some(stretch) = &current {
            stretch.write(out);
            out.push(',');
        }
        let width = width.or_else(|| number.is_padded().then_some(number.width));
        current = Some(Stretch { first: number.value, last: number.value, width });
    }
    if let Some(stretch) = &current {
        stretch.write(out);
    }
}

fn write_number(out: &mut String, value: u64, width: u32) {
    write!(out, "{value:0width$}", width = width as usize).expect("a string takes everything");
}
