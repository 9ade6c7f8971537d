//! What `--delete` removes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::Comparison;
use crate::tree::path::TreePath;
use crate::tree::plan::{FoundKind, Step};
use crate::tree::temporary;

impl Comparison<'_> {
    /// What is below the directories that are sent and not in them, the deepest first. What is excluded, a backup under
    /// `--backup`, what is a temporary name, and the directories that these are in, are left alone.
    pub(super) fn deletions(&self) -> Vec<Step> {
        let directories = || self.tree.roots.iter().enumerate().filter(|(_, root)| root.is_directory);
        let (all, named): (Vec<usize>, Vec<usize>) =
            directories().map(|(index, _)| index).partition(|index| self.placement.prefix(*index).is_root());
        let named: HashMap<&[u8], usize> =
            named.into_iter().map(|index| (self.placement.prefix(index).as_bytes(), index)).collect();
        // The roots that a path is below, and what it is called there.
        let places = |path: &TreePath| -> Vec<(usize, TreePath)> {
            let top = path.ancestors().next().and_then(|top| named.get(top));
            all.iter().chain(top).filter_map(|root| Some((*root, path.within(self.placement.prefix(*root))?))).collect()
        };
        let entries = self.tree.entries.iter().map(|entry| self.placement.path(entry));
        let remarks = self.tree.remarks.iter().map(|remark| self.placement.below(remark.root, &remark.path));
        let sent: HashSet<Cow<'_, TreePath>> = entries.chain(remarks).collect();
        let mut strangers: Vec<&TreePath> =
            self.observed.keys().filter(|path| !path.is_root() && !sent.contains(*path)).collect();
        strangers.sort_unstable_by(|left, right| right.cmp(left));
        let mut kept: HashSet<TreePath> = HashSet::new();
        let mut steps = Vec::new();
        for path in strangers {
            let places = places(path);
            let is_directory = self.observed[path].kind == FoundKind::Directory;
            let is_excluded =
                || places.iter().any(|(root, path)| self.tree.roots[*root].filter.is_excluded(path, is_directory));
            if places.is_empty() {
                continue;
            }
            // What is in a directory of that name is left alone with it, unless the sources have that directory.
            let is_in_backup =
                |directory: &[u8]| directory.ends_with(b"~") && !sent.contains(&TreePath::from_bytes(directory));
            let is_backup = self.rules.backup && (path.name().ends_with(b"~") || path.ancestors().any(is_in_backup));
            if kept.contains(path) || is_backup || temporary::recognise(path.name()).is_some() || is_excluded() {
                kept.extend(path.parent());
            } else {
                steps.push(Step::Delete { path: path.clone(), is_directory });
            }
        }
        steps
    }
}
