//! Makes a [`Plan`] of a tree and of what is on a host: [`Plan::new`].
//!
//! A pure function; nothing is asked and nothing is done here.

mod deletions;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::destination::Placement;
use super::entry::{Entry, Kind, RootKind, Tree};
use super::path::TreePath;
use super::plan::{
    Attributes, Change, Conflict, Content, Difference, Found, FoundKind, Identity, ModeWanted, Observed, Obstacle,
    Plan, Rules, Step, Why,
};

/// The bits without which nobody but root can fill a directory.
const FILL: u32 = 0o700;

impl Plan {
    /// Compares a tree with what is on a host.
    ///
    /// A directory that is there already and takes the contents of a source (`SRC/.`) keeps its attributes in any case:
    /// it was not sent, what is in it was.
    pub fn new(tree: &Tree, placement: &Placement, observed: &Observed, rules: &Rules) -> Self {
        let mut comparison = Comparison {
            tree,
            placement,
            observed,
            rules,
            states: Vec::with_capacity(tree.entries.len()),
            directories: Vec::new(),
            contents: Vec::new(),
            hard_links: Vec::new(),
            attributes: Vec::new(),
            blocking: None,
            merged: HashMap::new(),
            touched: HashSet::new(),
            links: HashMap::new(),
            plan: Self::default(),
        };
        for (index, entry) in tree.entries.iter().enumerate() {
            if let Kind::HardLink { of } = entry.kind {
                comparison.links.entry(of).or_default().push(index);
            }
        }
        for index in 0..tree.entries.len() {
            let state = comparison.entry(index);
            comparison.states.push(state);
        }
        comparison.finish()
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is there as it should be, its attributes perhaps excepted.
    There,
    /// It is made or sent.
    Made,
    /// Its content has to be compared.
    Waits,
    /// It cannot be brought there: the index of the conflict.
    Blocked(usize),
    /// Another source brings the same directory.
    Merged,
}

/// A comparison under way: the steps by their place in the order.
struct Comparison<'input> {
    tree: &'input Tree,
    placement: &'input Placement,
    observed: &'input Observed,
    rules: &'input Rules,
    states: Vec<State>,
    directories: Vec<Step>,
    contents: Vec<Step>,
    hard_links: Vec<Step>,
    attributes: Vec<Step>,
    /// The last directory that cannot be made or entered, and its conflict.
    blocking: Option<(TreePath, usize)>,
    /// Directories by their path, where several sources may bring the same.
    merged: HashMap<TreePath, usize>,
    /// Directories whose time changes since something in them does; known under `-p` alone.
    touched: HashSet<TreePath>,
    /// The hard links that a file has in the tree, where it has any.
    links: HashMap<usize, Vec<usize>>,
    plan: Plan,
}

impl<'input> Comparison<'input> {
    fn entry(&mut self, index: usize) -> State {
        let entry = &self.tree.entries[index];
        let path = self.placement.path(entry);
        if let Some((directory, conflict)) = &self.blocking {
            if path.within(directory).is_some_and(|rest| !rest.is_root()) {
                self.plan.conflicts[*conflict].blocked += 1;
                return State::Blocked(*conflict);
            }
            self.blocking = None;
        }
        let found = self.observed.get(&*path);
        match &entry.kind {
            Kind::Directory => self.directory(index, path, found),
            Kind::File { size, .. } => self.file(index, *size, &path, found),
            Kind::Symlink { target } => self.symlink(index, target, &path, found),
            Kind::HardLink { of } => self.hard_link(index, *of, &path, found),
        }
    }

    fn directory(&mut self, index: usize, path: Cow<'_, TreePath>, found: Option<&Found>) -> State {
        if self.tree.roots.len() > 1 {
            let first = *self.merged.entry(path.clone().into_owned()).or_insert(index);
            if first != index {
                if let State::Blocked(conflict) = self.states[first] {
                    self.blocking = Some((path.into_owned(), conflict));
                }
                return State::Merged;
            }
        }
        let obstacle = match found.map(|found| &found.kind) {
            Some(FoundKind::Directory) => return State::There,
            None => {
                let attributes = self.attributes_of_directory(&self.tree.entries[index]);
                self.directories.push(Step::MakeDirectory { entry: index, attributes });
                self.touch(&path);
                return State::Made;
            }
            Some(FoundKind::File { .. }) => Obstacle::File,
            Some(FoundKind::Symlink { .. }) => Obstacle::Symlink,
            Some(FoundKind::Special) => Obstacle::Special,
        };
        let state = self.conflict(index, obstacle);
        self.blocking = Some((path.into_owned(), self.plan.conflicts.len() - 1));
        state
    }

    fn file(&mut self, index: usize, size: u64, path: &TreePath, found: Option<&Found>) -> State {
        let entry = &self.tree.entries[index];
        let why = match self.compare_file(entry, size, found) {
            Compared::Same(found) => match self.set_attributes_of_file(index, path, found) {
                None => return State::There,
                Some(difference) => Why::Replaced(difference),
            },
            Compared::Waits => {
                self.plan.needs_content.push(index);
                return State::Waits;
            }
            Compared::Blocked(obstacle) => return self.conflict(index, obstacle),
            Compared::Differs(why) => why,
        };
        // A file that is replaced keeps what it had, unless something else is asked for.
        let replaced = found.filter(|found| matches!(found.kind, FoundKind::File { .. }));
        let asked = self.rules.file_mode.or(self.rules.preserve.then_some(entry.mode));
        let kept = asked.or(replaced.map(|found| found.mode));
        let attributes = Attributes {
            mode: Some(kept.map_or(ModeWanted::Masked(entry.mode & 0o777), ModeWanted::Exact)),
            owner: self.rules.owner.or(replaced.map(|found| found.uid)),
            group: self.rules.group.or(replaced.map(|found| found.gid)),
            mtime: Some(entry.mtime),
            atime: self.rules.preserve.then_some(entry.atime),
        };
        self.contents.push(Step::Send { entry: index, why, attributes });
        self.touch(path);
        State::Made
    }

    fn symlink(&mut self, index: usize, target: &[u8], path: &TreePath, found: Option<&Found>) -> State {
        let entry = &self.tree.entries[index];
        let attributes = Attributes {
            mode: None,
            owner: self.rules.owner,
            group: self.rules.group,
            mtime: self.rules.preserve.then_some(entry.mtime),
            atime: self.rules.preserve.then_some(entry.atime),
        };
        let why = match found.map(|found| &found.kind) {
            None => Why::New,
            Some(FoundKind::Symlink { target: Some(there) }) if there == target => {
                self.set_attributes_of_symlink(index, attributes, found);
                return State::There;
            }
            Some(FoundKind::Symlink { target: there }) => Why::Replaced(Difference::Target { from: there.clone() }),
            Some(FoundKind::File { .. }) => Why::Replaced(Difference::WasFile),
            Some(FoundKind::Directory) => return self.conflict(index, Obstacle::Directory),
            Some(FoundKind::Special) => return self.conflict(index, Obstacle::Special),
        };
        self.contents.push(Step::MakeSymlink { entry: index, why, attributes });
        self.touch(path);
        State::Made
    }

    fn set_attributes_of_symlink(&mut self, index: usize, wanted: Attributes, found: Option<&Found>) {
        let changed = found.filter(|_| self.rules.symlinks_too).map(|found| what_changes(wanted, found));
        match changed {
            Some((attributes, changes)) if !changes.is_empty() => {
                let attributes = Attributes { mode: None, ..attributes };
                self.attributes.push(Step::SetAttributes { entry: index, attributes, changes });
            }
            _ => self.plan.unchanged += 1,
        }
    }

    fn hard_link(&mut self, index: usize, of: usize, path: &TreePath, found: Option<&Found>) -> State {
        let size = self.tree.file(of).map_or(0, |(size, _)| size);
        let entry = &self.tree.entries[index];
        let why = match (self.compare_file(entry, size, found), self.states[of]) {
            (Compared::Blocked(obstacle), _) => return self.conflict(index, obstacle),
            (_, State::Blocked(_)) => return self.conflict(index, Obstacle::LinkedFile),
            (Compared::Differs(why), _) => why,
            (_, State::Made) => Why::Replaced(Difference::NotLinked),
            (compared, _) => match self.are_linked(path, found, of) {
                Some(false) => Why::Replaced(Difference::NotLinked),
                None if compared == Compared::Waits => {
                    self.plan.needs_content.push(index);
                    return State::Waits;
                }
                _ => {
                    self.plan.unchanged += 1;
                    return State::There;
                }
            },
        };
        self.hard_links.push(Step::HardLink { entry: index, of, why });
        self.touch(path);
        State::Made
    }

    /// Whether what is there is a hard link of what is there in the place of `of`, where the host tells.
    fn are_linked(&mut self, path: &TreePath, found: Option<&Found>, of: usize) -> Option<bool> {
        let first = self.placement.path(&self.tree.entries[of]);
        let (one, other) = (found?.identity, self.observed.get(&*first)?.identity);
        for (path, identity) in [(&*first, other), (path, one)] {
            if identity == Identity::Unknown {
                self.plan.needs_identity.push(path.clone());
            }
        }
        let is_known = |identity| matches!(identity, Identity::Known { .. });
        (is_known(one) && is_known(other)).then_some(one == other)
    }

    fn compare_file<'found>(&self, entry: &Entry, size: u64, found: Option<&'found Found>) -> Compared<'found> {
        let Some(found) = found else { return Compared::Differs(Why::New) };
        let (there, content) = match found.kind {
            FoundKind::File { size, content } => (size, content),
            FoundKind::Symlink { .. } => return Compared::Differs(Why::Replaced(Difference::WasSymlink)),
            FoundKind::Directory => return Compared::Blocked(Obstacle::Directory),
            FoundKind::Special => return Compared::Blocked(Obstacle::Special),
        };
        if there != size {
            return Compared::Differs(Why::Replaced(Difference::Size { from: there, to: size }));
        }
        if self.rules.checksum {
            return match content {
                Content::Different => Compared::Differs(Why::Replaced(Difference::Content)),
                Content::Unknown if size > 0 => Compared::Waits,
                Content::Unknown | Content::Same => Compared::Same(found),
            };
        }
        if !is_same_time(found.mtime, entry.mtime) {
            return Compared::Differs(Why::Replaced(Difference::Mtime { from: found.mtime, to: entry.mtime }));
        }
        Compared::Same(found)
    }

    /// What is different where it cannot be given them as it is.
    fn set_attributes_of_file(&mut self, index: usize, path: &TreePath, found: &Found) -> Option<Difference> {
        let entry = &self.tree.entries[index];
        let wanted = Attributes {
            mode: self.rules.file_mode.or(self.rules.preserve.then_some(entry.mode)).map(ModeWanted::Exact),
            owner: self.rules.owner,
            group: self.rules.group,
            mtime: self.rules.preserve.then_some(entry.mtime),
            atime: self.rules.preserve.then_some(entry.atime),
        };
        let (attributes, changes) = what_changes(wanted, found);
        if changes.is_empty() {
            self.plan.unchanged += 1;
            return None;
        }
        match found.identity {
            // What is its other name would have them too, and the next push would set them back.
            Identity::Known { names, .. } if names > 1 && names > self.names_of(index, found.identity) => {
                return Some(Difference::Shared);
            }
            Identity::Unknown => self.plan.needs_identity.push(path.clone()),
            Identity::Known { .. } | Identity::Untold => {}
        }
        self.attributes.push(Step::SetAttributes { entry: index, attributes, changes });
        None
    }

    /// How many of the names that a file has in the tree are names of this one on the host.
    fn names_of(&mut self, index: usize, identity: Identity) -> u64 {
        let mut names = 1;
        for link in self.links.get(&index).into_iter().flatten() {
            let path = self.placement.path(&self.tree.entries[*link]);
            match self.observed.get(&*path).map(|found| found.identity) {
                Some(Identity::Unknown) => self.plan.needs_identity.push(path.into_owned()),
                Some(other) if other == identity => names += 1,
                _ => {}
            }
        }
        names
    }

    fn attributes_of_directory(&self, entry: &Entry) -> Attributes {
        let exact = self.rules.directory_mode.or(self.rules.preserve.then_some(entry.mode));
        Attributes {
            mode: Some(exact.map_or(ModeWanted::Masked(entry.mode & 0o777), ModeWanted::Exact)),
            owner: self.rules.owner,
            group: self.rules.group,
            mtime: self.rules.preserve.then_some(entry.mtime),
            atime: self.rules.preserve.then_some(entry.atime),
        }
    }

    /// What a directory gets after everything in it was done.
    fn set_attributes_of_directory(&mut self, index: usize) -> Option<Step> {
        let entry = &self.tree.entries[index];
        let wanted = self.attributes_of_directory(entry);
        let path = self.placement.path(entry);
        if self.states[index] == State::Made {
            let Some(ModeWanted::Exact(mode) | ModeWanted::Masked(mode)) = wanted.mode else { return None };
            let is_exact = matches!(wanted.mode, Some(ModeWanted::Exact(_)));
            let is_complete = !is_exact && mode & FILL == FILL && wanted.owner.is_none() && wanted.group.is_none();
            let changes = Vec::new();
            return (!is_complete).then_some(Step::SetAttributes { entry: index, attributes: wanted, changes });
        }
        let takes_contents = entry.path.is_root() && self.tree.roots[entry.root].kind == RootKind::Contents;
        let found = self.observed.get(&*path).filter(|_| !takes_contents);
        let Some(found) = found else {
            self.plan.unchanged += 1;
            return None;
        };
        let mode = wanted.mode.filter(|mode| matches!(mode, ModeWanted::Exact(_)));
        let (mut attributes, changes) = what_changes(Attributes { mode, ..wanted }, found);
        if changes.is_empty() {
            self.plan.unchanged += 1;
            if !self.touched.contains(&*path) {
                return None;
            }
        }
        attributes.mtime = wanted.mtime;
        attributes.atime = wanted.atime;
        Some(Step::SetAttributes { entry: index, attributes, changes })
    }

    /// Notes that something in the directory of this path changes.
    fn touch(&mut self, path: &TreePath) {
        if self.rules.preserve {
            self.touched.extend(path.parent());
        }
    }

    fn conflict(&mut self, entry: usize, obstacle: Obstacle) -> State {
        self.plan.conflicts.push(Conflict { entry, obstacle, blocked: 0 });
        State::Blocked(self.plan.conflicts.len() - 1)
    }

    fn finish(mut self) -> Plan {
        self.plan.needs_identity.sort_unstable();
        self.plan.needs_identity.dedup();
        let deletions = if self.rules.delete { self.deletions() } else { Vec::new() };
        let deletions = if self.plan.conflicts.is_empty() {
            deletions
        } else {
            self.plan.withheld = deletions.len();
            Vec::new()
        };
        for step in &deletions {
            if let Step::Delete { path, .. } = step {
                self.touch(path);
            }
        }
        let is_present = |index: &usize| {
            self.tree.entries[*index].kind == Kind::Directory
                && matches!(self.states[*index], State::There | State::Made)
        };
        let directories: Vec<usize> = (0..self.tree.entries.len()).rev().filter(is_present).collect();
        let late: Vec<Step> =
            directories.into_iter().filter_map(|index| self.set_attributes_of_directory(index)).collect();
        let parts = [self.directories, self.contents, self.hard_links, self.attributes, deletions, late];
        // Every host has a plan: no room is left over in it.
        self.plan.steps.reserve_exact(parts.iter().map(Vec::len).sum());
        self.plan.steps.extend(parts.into_iter().flatten());
        self.plan
    }
}

/// How a file compares with what is in its place.
#[derive(Debug, PartialEq, Eq)]
enum Compared<'found> {
    Same(&'found Found),
    Waits,
    Differs(Why),
    Blocked(Obstacle),
}

/// Whether a time of a host is that of a source. SFTP and some file systems hold 32 bits without a sign.
fn is_same_time(there: i64, source: i64) -> bool {
    there == source || there == source.clamp(0, u32::MAX.into())
}

/// Of what is wanted, what is different: as something to set, and as something to tell.
fn what_changes(wanted: Attributes, found: &Found) -> (Attributes, Vec<Change>) {
    let mut changes = Vec::new();
    let mut set = Attributes::default();
    if let Some(ModeWanted::Exact(to)) = wanted.mode.filter(|mode| *mode != ModeWanted::Exact(found.mode)) {
        changes.push(Change::Mode { from: found.mode, to });
        set.mode = wanted.mode;
    }
    if let Some(to) = wanted.owner.filter(|owner| *owner != found.uid) {
        changes.push(Change::Owner { from: found.uid, to });
        set.owner = wanted.owner;
    }
    if let Some(to) = wanted.group.filter(|group| *group != found.gid) {
        changes.push(Change::Group { from: found.gid, to });
        set.group = wanted.group;
    }
    if set.owner.is_some() || set.group.is_some() {
        // chown(2) takes setuid and setgid away.
        set.mode = Some(wanted.mode.unwrap_or(ModeWanted::Exact(found.mode)));
    }
    if let Some(to) = wanted.mtime.filter(|mtime| !is_same_time(found.mtime, *mtime)) {
        changes.push(Change::Mtime { from: found.mtime, to });
        (set.mtime, set.atime) = (wanted.mtime, wanted.atime);
    }
    (set, changes)
}
