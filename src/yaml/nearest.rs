//! The known name that a mistyped one most likely stands for.

/// The nearest of `known` to `wrong`, or nothing when none is near: at most a third of its letters differ
/// (insertions, deletions, changes and swaps of neighbours each count one).
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong: Vec<char> = wrong.chars().flat_map(char::to_lowercase).take(64).collect();
    let limit = (wrong.len() / 3).max(1);
    known
        .into_iter()
        .filter(|name| name.chars().count().abs_diff(wrong.len()) <= limit)
        .map(|name| (distance(&wrong, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Optimal string alignment distance, without regard to case.
fn distance(wrong: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in wrong.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in name.iter().enumerate() {
            let mut cost = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == name[j - 1] && wrong[i - 1] == *b {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[name.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["hosts", "vars", "children"];
        for (wrong, expected) in [
            ("host", Some("hosts")),
            ("hsots", Some("hosts")),
            ("Vars", Some("vars")),
            ("childern", Some("children")),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), expected, "{wrong}");
        }
    }
}
