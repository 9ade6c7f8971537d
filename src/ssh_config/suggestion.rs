//! "Did you mean": the nearest of some known words.

/// The known word nearest to a mistyped one, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let known: Vec<&str> = known.into_iter().collect();
    let distances = known.iter().map(|&candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate));
    let near = distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance);
    let holds_it = |candidate: &&str| word.len() >= 4 && candidate.to_ascii_lowercase().contains(&word);
    near.map(|(_, candidate)| candidate).or_else(|| known.into_iter().find(holds_it))
}

/// Letters to insert, drop, replace or swap (restricted Damerau-Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["StrictHostKeyChecking", "HostName", "Host", "Port"];
        assert_eq!(nearest("stricthostkeychcking", known), Some("StrictHostKeyChecking"));
        assert_eq!(nearest("hostnmae", known), Some("HostName"));
        assert_eq!(nearest("prot", known), Some("Port"));
        assert_eq!(nearest("ed25519", ["rsa", "ssh-ed25519"]), Some("ssh-ed25519"));
        assert_eq!(nearest("frobnicate", known), None);
    }
}
