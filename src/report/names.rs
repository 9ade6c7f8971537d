//! Host names as people read them: folded, counted, cut to a label.

use crate::host::{HostId, Roster};
use crate::nodeset;

/// Longest list of names, in characters, that stands before a line of text.
const LABEL: usize = 48;

/// `web[01-18,20]`.
pub(super) fn folded(roster: &Roster, hosts: &[HostId]) -> String {
    match hosts {
        [one] => roster.name(*one).to_string(),
        many => nodeset::fold(many.iter().map(|&host| roster.name(host).as_str())),
    }
}

/// `web[01-18,20] (19)`; a single host is just named.
pub(super) fn counted(roster: &Roster, hosts: &[HostId]) -> String {
    match hosts {
        [one] => roster.name(*one).to_string(),
        many => format!("{} ({})", folded(roster, many), many.len()),
    }
}

/// The names as a label before a line: cut, with the count, where they are long.
pub(super) fn label(roster: &Roster, hosts: &[HostId]) -> String {
    let names = folded(roster, hosts);
    match names.char_indices().nth(LABEL) {
        Some((cut, _)) => format!("{}\u{2026} ({})", &names[..cut], hosts.len()),
        None => names,
    }
}

/// `1 host`, `20 hosts`.
pub(super) fn hosts(count: usize) -> String {
    match count {
        1 => "1 host".into(),
        many => format!("{many} hosts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostName;

    #[test]
    fn a_label_of_many_unlike_names_is_cut_and_counted() {
        let names = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh", "iiiiiiiii", "jjjjjjjjjj"];
        let roster = Roster::new(names.iter().map(|name| HostName::new(name).unwrap()).collect());
        let hosts: Vec<_> = roster.iter().map(|(host, _)| host).collect();
        let label = label(&roster, &hosts);
        assert!(label.ends_with("\u{2026} (10)"), "{label}");
        assert_eq!(label.chars().count(), LABEL + 6);
        assert_eq!(super::label(&roster, &hosts[..1]), "a");
    }
}
