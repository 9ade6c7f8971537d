//! Which value of a variable a host sees, by Ansible's rules for inventories (`vars/manager.py`).
//!
//! From weak to strong: variables of `all` in inventory files, of the other groups (by depth, then
//! `ansible_group_priority`, then name), `group_vars/all`, `group_vars` of the other groups (source by source), the host's
//! own in inventory files, `host_vars`. Dictionaries are replaced, never merged.
//!
//! Hosts of the same groups share one merged map.

use super::variables::{Variable, Variables};
use super::{Group, GroupIndex};
use serde_yaml::{Mapping, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Every combination of groups that some host is in.
#[derive(Default)]
pub(super) struct GroupSets {
    sets: Vec<GroupSet>,
    index: HashMap<Arc<[GroupIndex]>, u32>,
}

struct GroupSet {
    direct: Arc<[GroupIndex]>,
    merged: OnceLock<Merged>,
    mapping: OnceLock<Arc<Mapping>>,
}

/// What the groups of a set say together: for each variable the layer whose word counts, in the order of first mention.
struct Merged {
    groups: Vec<GroupIndex>,
    names: Vec<Arc<str>>,
    layers: HashMap<Arc<str>, Layer>,
}

/// A group's variables in inventory files (no file) or in its n-th set of `group_vars`.
#[derive(Clone, Copy)]
struct Layer {
    group: GroupIndex,
    file: Option<usize>,
}

impl GroupSets {
    /// The number of a set of sorted groups.
    pub(super) fn intern(&mut self, groups: &[GroupIndex]) -> u32 {
        if let Some(known) = self.index.get(groups) {
            return *known;
        }
        let number = self.sets.len() as u32;
        let direct: Arc<[GroupIndex]> = groups.into();
        self.index.insert(direct.clone(), number);
        self.sets.push(GroupSet { direct, merged: OnceLock::new(), mapping: OnceLock::new() });
        number
    }

    /// The groups whose direct members the hosts of a set are.
    pub(super) fn direct(&self, set: u32) -> &[GroupIndex] {
        &self.sets[set as usize].direct
    }

    /// All groups of a set but `all`, weakest first.
    pub(super) fn groups<'a>(&'a self, set: u32, groups: &[Group]) -> &'a [GroupIndex] {
        &self.merged(set, groups).groups
    }

    /// What the groups say about a variable.
    pub(super) fn variable<'a>(&self, set: u32, name: &str, groups: &'a [Group]) -> Option<&'a Variable> {
        let layer = self.merged(set, groups).layers.get(name)?;
        layer.variables(groups)?.get(name)
    }

    /// All that the groups say.
    pub(super) fn mapping(&self, set: u32, groups: &[Group]) -> &Arc<Mapping> {
        self.sets[set as usize].mapping.get_or_init(|| {
            let merged = self.merged(set, groups);
            let mut mapping = Mapping::with_capacity(merged.names.len());
            for name in &merged.names {
                let variable = merged.layers.get(name).and_then(|layer| layer.variables(groups)?.get(name));
                if let Some(variable) = variable {
                    mapping.insert(Value::String(name.to_string()), variable.value.clone());
                }
            }
            Arc::new(mapping)
        })
    }

    fn merged(&self, set: u32, groups: &[Group]) -> &Merged {
        let set = &self.sets[set as usize];
        set.merged.get_or_init(|| Merged::of(&set.direct, groups))
    }
}

impl Merged {
    fn of(direct: &[GroupIndex], groups: &[Group]) -> Self {
        let all = GroupIndex(0);
        let sorted = weakest_first(direct, groups);
        let mut merged = Self { groups: Vec::new(), names: Vec::new(), layers: HashMap::new() };
        for group in std::iter::once(&all).chain(&sorted) {
            merged.add(Layer { group: *group, file: None }, groups);
        }
        for file in 0..groups[all.index()].files.len() {
            merged.add(Layer { group: all, file: Some(file) }, groups);
        }
        let mut layers: Vec<(u32, Layer)> = Vec::new();
        for group in &sorted {
            let files = groups[group.index()].files.iter().enumerate();
            layers.extend(files.map(|(file, (source, _))| (*source, Layer { group: *group, file: Some(file) })));
        }
        layers.sort_by_key(|(source, _)| *source);
        for (_, layer) in layers {
            merged.add(layer, groups);
        }
        merged.groups = sorted;
        merged
    }

    fn add(&mut self, layer: Layer, groups: &[Group]) {
        for variable in layer.variables(groups).into_iter().flat_map(Variables::iter) {
            if self.layers.insert(variable.name.clone(), layer).is_none() {
                self.names.push(variable.name.clone());
            }
        }
    }
}

impl Layer {
    fn variables<'a>(&self, groups: &'a [Group]) -> Option<&'a Variables> {
        let group = groups.get(self.group.index())?;
        match self.file {
            None => Some(&group.variables),
            Some(file) => group.files.get(file).map(|(_, variables)| variables),
        }
    }
}

/// The given groups and all above them but `all`, by depth, priority and name.
fn weakest_first(direct: &[GroupIndex], groups: &[Group]) -> Vec<GroupIndex> {
    let mut seen: HashSet<GroupIndex> = HashSet::from([GroupIndex(0)]);
    let mut open: Vec<GroupIndex> = direct.to_vec();
    let mut sorted = Vec::new();
    while let Some(group) = open.pop() {
        if seen.insert(group) {
            sorted.push(group);
            open.extend(&groups[group.index()].parents);
        }
    }
    sorted.sort_by_cached_key(|group| {
        let group = &groups[group.index()];
        (group.depth, group.priority, group.name.clone())
    });
    sorted
}
