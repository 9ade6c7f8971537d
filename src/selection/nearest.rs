//! The names that a mistyped name may have meant.

use std::collections::BinaryHeap;

/// Up to three candidates, the nearest first, that are a few slips away from a word: letters left out, added, changed or
/// swapped, in the same or the other case.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    const MOST: usize = 3;
    let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    let limit = (letters.len() / 3).clamp(1, 3);
    let mut best: BinaryHeap<(usize, &str)> = BinaryHeap::new();
    let mut rows = Rows::default();
    for candidate in candidates {
        if let Some(distance) = rows.distance(&letters, candidate, limit)
            && !best.iter().any(|&(_, other)| other == candidate)
        {
            best.push((distance, candidate));
            if best.len() > MOST {
                best.pop();
            }
        }
    }
    let mut best = best.into_vec();
    best.sort_unstable();
    best.into_iter().map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Working memory of the distance, kept from one candidate to the next.
#[derive(Default)]
struct Rows {
    candidate: Vec<char>,
    last_but_one: Vec<usize>,
    last: Vec<usize>,
    current: Vec<usize>,
}

impl Rows {
    /// Optimal string alignment distance where it is within a limit.
    fn distance(&mut self, word: &[char], candidate: &str, limit: usize) -> Option<usize> {
        self.candidate.clear();
        self.candidate.extend(candidate.chars().flat_map(char::to_lowercase));
        if self.candidate.len().abs_diff(word.len()) > limit {
            return None;
        }
        self.last.clear();
        self.last.extend(0..=self.candidate.len());
        for (row, &letter) in word.iter().enumerate() {
            self.current.clear();
            self.current.push(row + 1);
            for (column, &other) in self.candidate.iter().enumerate() {
                let change = self.last[column] + usize::from(letter != other);
                let mut best = change.min(self.last[column + 1] + 1).min(self.current[column] + 1);
                if row > 0 && column > 0 && letter == self.candidate[column - 1] && other == word[row - 1] {
                    best = best.min(self.last_but_one[column - 1] + 1);
                }
                self.current.push(best);
            }
            if self.current.iter().all(|&distance| distance > limit) {
                return None;
            }
            std::mem::swap(&mut self.last_but_one, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.current);
        }
        self.last.last().copied().filter(|&distance| distance <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_far_ones_not_at_all() {
        let names = ["web01", "web02", "db", "database", "prod", "canary", "Web"];
        for (word, expected) in [
            ("wbe01", vec!["web01"]),
            ("web1", vec!["Web", "web01"]),
            ("WEB01", vec!["web01", "web02"]),
            ("dbb", vec!["db"]),
            ("databse", vec!["database"]),
            ("caanry", vec!["canary"]),
            ("nothing", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nearest(word, names.into_iter()), expected, "{word}");
        }
    }
}
