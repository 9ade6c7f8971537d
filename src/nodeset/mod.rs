//! Node sets: `web[01-20]` expanded to names, and names folded back for headers.
//!
//! [`Pattern`] is one name with ranges in brackets; [`expand`] takes a comma-separated list of them; [`fold`] writes many
//! names as briefly as ClusterShell's `nodeset -f` does. Both spellings of a range are read: ClusterShell's
//! `[01-20/2]`, `[1-4,7]` and Ansible's `[01:20:2]`, `[a:f]`.
//!
//! Nothing here knows hosts, groups or operators: that is `selection`.

mod axes;
mod fold;
mod pattern;
mod range;

use std::collections::HashSet;

pub use fold::{fold, fold_sets};
pub use pattern::{MAX_NAMES, Names, Pattern, PatternError, Problem};

/// Names of a comma-separated list of patterns, in the order written and each once.
///
/// # Errors
/// Where a bracket or a range is wrong, and where the list means more than [`MAX_NAMES`] names.
pub fn expand(list: &str) -> Result<Vec<String>, PatternError> {
    let mut patterns = Vec::new();
    let mut total: u64 = 0;
    for (offset, text) in split_list(list) {
        let pattern = Pattern::parse(text).map_err(|error| error.within(list, offset))?;
        total += pattern.len();
        if total > MAX_NAMES {
            return Err(PatternError::new(list, offset, Problem::TooManyNames(total.into())));
        }
        patterns.push(pattern);
    }
    let mut seen = HashSet::new();
    Ok(patterns.iter().flat_map(Pattern::names).filter(|name| seen.insert(name.clone())).collect())
}

/// The patterns of a list with their byte offsets: commas inside brackets separate nothing.
fn split_list(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 0_u32;
    let mut start = 0;
    let mut pieces = Vec::new();
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                pieces.push((start, &list[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push((start, &list[start..]));
    pieces.into_iter()
}

#[cfg(test)]
mod tests;
