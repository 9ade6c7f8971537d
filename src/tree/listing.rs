//! A [`Plan`] as `--dry-run` shows it: [`Plan::lines`].

use std::borrow::Cow;
use std::time::Duration;

use crate::duration;
use crate::size;

use super::destination::Placement;
use super::entry::{Kind, Tree};
use super::path::{TreePath, shown};
use super::plan::{Change, Difference, Plan, Step, Why};

impl Plan {
    /// The plan in the order of the paths: one line a step, without line feeds at their ends. Names are made
    /// visible ([`shown`]), whatever bytes are in them.
    ///
    /// `+` is new, `~` is replaced, `l` is a symlink, `h` a hard link, `=` has other attributes, `-` is removed, `?` has to be
    /// compared, `!` cannot be done.
    pub fn lines(&self, tree: &Tree, placement: &Placement) -> Vec<String> {
        let listing = Listing { tree, placement };
        let mut lines: Vec<(Cow<'_, TreePath>, String)> =
            self.steps.iter().filter_map(|step| listing.step(step)).collect();
        lines.extend(self.needs_content.iter().map(|entry| listing.line('?', *entry, "", "content is not compared")));
        lines.extend(self.conflicts.iter().map(|conflict| {
            let words = match conflict.blocked {
                0 => conflict.obstacle.to_string(),
                blocked => format!("{}; {blocked} below it cannot be sent either", conflict.obstacle),
            };
            listing.line('!', conflict.entry, "", &words)
        }));
        lines.sort_by(|(left, _), (right, _)| left.cmp(right));
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

struct Listing<'input> {
    tree: &'input Tree,
    placement: &'input Placement,
}

impl<'input> Listing<'input> {
    fn step<'step>(&self, step: &'step Step) -> Option<(Cow<'step, TreePath>, String)>
    where
        'input: 'step,
    {
        Some(match step {
            Step::MakeDirectory { entry, .. } => self.line('+', *entry, "/", ""),
            Step::Send { entry, why: Why::New, .. } => {
                let size = self.tree.file(*entry).map_or(0, |(size, _)| size);
                self.line('+', *entry, "", &size::human(size))
            }
            Step::Send { entry, why: Why::Replaced(difference), .. } => self.line('~', *entry, "", &words(difference)),
            Step::MakeSymlink { entry, why, .. } => {
                let Kind::Symlink { target } = &self.tree.entries[*entry].kind else { return None };
                self.link('l', *entry, target, why)
            }
            Step::HardLink { entry, of, why } => {
                let of = self.placement.remote(&self.placement.path(&self.tree.entries[*of]));
                self.link('h', *entry, &of, why)
            }
            Step::SetAttributes { changes, .. } if changes.is_empty() => return None,
            Step::SetAttributes { entry, changes, .. } => {
                let words: Vec<String> = changes.iter().map(change).collect();
                self.line('=', *entry, "", &words.join(", "))
            }
            Step::Delete { path, is_directory } => {
                let slash = if *is_directory { "/" } else { "" };
                (Cow::Borrowed(path), format!("- {}{slash}", shown(&self.placement.remote(path))))
            }
        })
    }

    fn line(&self, sign: char, entry: usize, suffix: &str, words: &str) -> (Cow<'input, TreePath>, String) {
        let path = self.placement.path(&self.tree.entries[entry]);
        let mut line = format!("{sign} {}", shown(&self.placement.remote(&path)));
        if !line.ends_with('/') {
            line.push_str(suffix);
        }
        if !words.is_empty() {
            line.push_str(&format!(" ({words})"));
        }
        (path, line)
    }

    fn link(&self, sign: char, entry: usize, target: &[u8], why: &Why) -> (Cow<'input, TreePath>, String) {
        let (path, mut line) = self.line(sign, entry, "", "");
        line.push_str(&format!(" → {}", shown(target)));
        match why {
            Why::New => {}
            Why::Replaced(Difference::Target { from: Some(from) }) => {
                line.push_str(&format!(" (was {})", shown(from)));
            }
            Why::Replaced(difference) => line.push_str(&format!(" ({})", words(difference))),
        }
        (path, line)
    }
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::WasFile => "was a file".into(),
        Difference::WasSymlink => "was a symlink".into(),
        Difference::Size { from, to } => format!("size {from} → {to}"),
        Difference::Mtime { from, to } => {
            const DAY: u64 = 86_400;
            let seconds = from.abs_diff(*to);
            let span = match seconds / DAY {
                0 | 1 => duration::human(Duration::from_secs(seconds)),
                days => format!("{days} days"),
            };
            format!("{span} {}", if to > from { "newer" } else { "older" })
        }
        Difference::Content => "content".into(),
        Difference::Target { .. } => "was another".into(),
        Difference::NotLinked => "was another file".into(),
        Difference::Shared => "has other names".into(),
    }
}

fn change(change: &Change) -> String {
    match change {
        Change::Mode { from, to } => format!("mode {from:04o} → {to:04o}"),
        Change::Owner { from, to } => format!("owner {from} → {to}"),
        Change::Group { from, to } => format!("group {from} → {to}"),
        Change::Mtime { from, to } => words(&Difference::Mtime { from: *from, to: *to }),
    }
}
