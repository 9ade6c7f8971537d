//! An inventory while its sources are read: the operations that Ansible's parsers use, and what is settled at the end.
//!
//! Follows Ansible's `inventory/data.py`, `group.py` and `host.py`. The order in which things are added is kept: it is the
//! order in which hosts are listed and called.

use super::precedence::GroupSets;
use super::problem::{Fault, Problem};
use super::variables::{Origin, Variable, Variables};
use super::{Group, GroupIndex, Host, HostIndex, Inventory};
use crate::host::HostName;
use crate::yaml::{Node, Place, nearest};
use serde_yaml::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a target expression would not read as part of a name.
const NOT_IN_GROUP_NAMES: &str = ",:&!^@~*?[](){}\"'\\ ";

/// The inventory so far, and every problem met.
pub(super) struct Builder {
    hosts: Vec<Host>,
    host_index: HashMap<HostName, HostIndex>,
    groups: Vec<Group>,
    group_index: HashMap<Arc<str>, GroupIndex>,
    /// Direct groups of each host.
    memberships: Vec<Vec<GroupIndex>>,
    /// Edges from parent to child, and where each was first written.
    edges: HashMap<(GroupIndex, GroupIndex), Origin>,
    names: HashSet<Arc<str>>,
    files: Vec<Arc<str>>,
    sources: Vec<Arc<str>>,
    problems: Vec<Problem>,
}

/// After this many problems no more are told: the first ones explain the others.
const MOST_PROBLEMS: usize = 1000;

/// A text that is being read, as problems name it.
pub(super) struct Text<'a> {
    /// The file or other source, as the user named it.
    pub file: &'a str,
    /// What is in it.
    pub content: &'a str,
    /// Its number among the inventory's files.
    pub number: u32,
}

impl Text<'_> {
    pub(super) fn error(&self, place: Place, fault: Fault) -> Problem {
        Problem::error(self.file, fault).at(place, self.content)
    }

    pub(super) fn warning(&self, place: Place, fault: Fault) -> Problem {
        Problem::warning(self.file, fault).at(place, self.content)
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        Origin { file: self.number, line: place.line, column: place.column }
    }
}

/// Whose variables are set.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    Group(GroupIndex),
    Host(HostIndex),
}

impl Builder {
    pub(super) fn new() -> Self {
        let mut builder = Self {
            hosts: Vec::new(),
            host_index: HashMap::new(),
            groups: Vec::new(),
            group_index: HashMap::new(),
            memberships: Vec::new(),
            edges: HashMap::new(),
            names: HashSet::new(),
            files: Vec::new(),
            sources: Vec::new(),
            problems: Vec::new(),
        };
        let all = builder.insert_group("all");
        let ungrouped = builder.insert_group("ungrouped");
        builder.add_child(all, ungrouped, Origin::default());
        builder
    }

    /// Notes a problem.
    pub(super) fn report(&mut self, problem: Problem) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// The source that new hosts come from: what `inventory_file` and `inventory_dir` say of them.
    pub(super) fn begin_source(&mut self, name: &str) {
        self.sources.push(name.into());
    }

    /// A file in whose lines variables will be set.
    pub(super) fn add_file(&mut self, name: &str) -> u32 {
        self.files.push(name.into());
        self.files.len() as u32 - 1
    }

    pub(super) fn group(&self, name: &str) -> Option<GroupIndex> {
        self.group_index.get(name).copied()
    }

    /// A group that was most likely meant by the name of another.
    pub(super) fn nearest_group_but(&self, wrong: &str) -> Option<String> {
        let others = self.group_names().filter(|name| *name != wrong);
        nearest(wrong, others).map(|near| format!("did you mean `{near}`?"))
    }

    pub(super) fn name_of(&self, group: GroupIndex) -> &str {
        &self.groups[group.index()].name
    }

    pub(super) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| &*group.name)
    }

    pub(super) fn host_names(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().map(|host| &host.name)
    }

    /// The group of that name, new or known.
    ///
    /// # Errors
    /// An empty name. A name that no target expression could spell is a warning.
    pub(super) fn add_group(&mut self, name: &str, text: &Text<'_>, place: Place) -> Result<GroupIndex, Problem> {
        if let Some(known) = self.group(name) {
            return Ok(known);
        }
        if name.is_empty() {
            return Err(text.error(place, Fault::EmptyGroupName));
        }
        if let Some(character) = name.chars().find(|c| NOT_IN_GROUP_NAMES.contains(*c) || c.is_control()) {
            self.report(text.warning(place, Fault::GroupName { name: name.to_owned(), character }));
        }
        Ok(self.insert_group(name))
    }

    fn insert_group(&mut self, name: &str) -> GroupIndex {
        let index = GroupIndex(self.groups.len() as u32);
        let name: Arc<str> = name.into();
        self.group_index.insert(name.clone(), index);
        self.groups.push(Group::new(name));
        index
    }

    /// The host of that name, new or known, as a member of `group`. The port counts for a new host only, as in Ansible.
    ///
    /// # Errors
    /// A name that is refused; see [`crate::host::check_host`].
    pub(super) fn add_host(&mut self, name: &str, port: Option<(u64, Origin)>) -> Result<HostIndex, Fault> {
        if let Some(known) = self.host_index.get(name) {
            return Ok(*known);
        }
        let name = HostName::new(name).map_err(Fault::HostName)?;
        let index = HostIndex(self.hosts.len() as u32);
        let mut host = Host::new(name.clone(), self.sources.len() as u32 - 1);
        if let Some((port, origin)) = port.filter(|(port, _)| *port != 0) {
            let name = self.intern("ansible_port");
            host.variables.set(Variable { name, value: Value::from(port), origin });
        }
        self.host_index.insert(name, index);
        self.hosts.push(host);
        self.memberships.push(Vec::new());
        Ok(index)
    }

    /// Makes a host a direct member of a group.
    pub(super) fn add_member(&mut self, group: GroupIndex, host: HostIndex) {
        let groups = &mut self.memberships[host.index()];
        if !groups.contains(&group) {
            groups.push(group);
            self.groups[group.index()].hosts.push(host);
        }
    }

    /// Makes a group a child of another. Cycles are found at the end.
    pub(super) fn add_child(&mut self, parent: GroupIndex, child: GroupIndex, origin: Origin) {
        if let std::collections::hash_map::Entry::Vacant(free) = self.edges.entry((parent, child)) {
            free.insert(origin);
            self.groups[parent.index()].children.push(child);
            self.groups[child.index()].parents.push(parent);
        }
    }

    /// Whose variables a host's variables become: Ansible looks for a group of that name first.
    pub(super) fn owner(&self, host: HostIndex) -> Owner {
        self.group(self.hosts[host.index()].name.as_str()).map_or(Owner::Host(host), Owner::Group)
    }

    pub(super) fn intern(&mut self, name: &str) -> Arc<str> {
        match self.names.get(name) {
            Some(known) => known.clone(),
            None => {
                let name: Arc<str> = name.into();
                self.names.insert(name.clone());
                name
            }
        }
    }

    /// Sets a variable that an inventory file gives.
    ///
    /// # Errors
    /// A group's `ansible_group_priority` that is no whole number.
    pub(super) fn set(&mut self, owner: Owner, name: &str, value: Value, origin: Origin) -> Result<(), Fault> {
        match owner {
            Owner::Group(group) if name == "ansible_group_priority" => {
                self.groups[group.index()].priority = priority(&value).ok_or(Fault::Priority)?;
            }
            Owner::Group(group) => {
                let name = self.intern(name);
                self.groups[group.index()].variables.set(Variable { name, value, origin });
            }
            Owner::Host(host) => {
                let name = self.intern(name);
                self.hosts[host.index()].variables.set(Variable { name, value, origin });
            }
        }
        Ok(())
    }

    /// The entries of a mapping of variables.
    pub(super) fn variables(&mut self, entries: &[(Node, Node)], text: &Text<'_>) -> Variables {
        let mut variables = Variables::default();
        for (key, value) in entries {
            let name = self.intern(&key_text(key));
            variables.set(Variable { name, value: value.to_value(), origin: text.origin(key.place) });
        }
        variables
    }

    /// Adds what files in `group_vars` say about a group; `source` counts the sources that may have such files.
    pub(super) fn add_group_file(&mut self, name: &str, source: u32, variables: Variables) {
        if let Some(group) = self.group(name) {
            let files = &mut self.groups[group.index()].files;
            match files.last_mut().filter(|(last, _)| *last == source) {
                Some((_, known)) => known.overlay(variables),
                None => files.push((source, variables)),
            }
        }
    }

    /// Adds what files in `host_vars` say about a host: they win over what inventories say.
    pub(super) fn add_host_file(&mut self, name: &str, variables: Variables) {
        if let Some(host) = self.host_index.get(name) {
            self.hosts[host.index()].variables.overlay(variables);
        }
    }

    /// Gives every group and host its place (`reconcile_inventory`): all below `all`, hosts without a group in `ungrouped`.
    pub(super) fn reconcile(&mut self) {
        let (all, ungrouped) = (GroupIndex(0), GroupIndex(1));
        for index in (1..self.groups.len() as u32).map(GroupIndex) {
            if self.groups[index.index()].parents.is_empty() {
                self.add_child(all, index, Origin::default());
            }
        }
        let mut regrouped = HashSet::new();
        for index in (0..self.hosts.len() as u32).map(HostIndex) {
            let groups = &mut self.memberships[index.index()];
            let has_own_group = groups.iter().any(|group| *group != all && *group != ungrouped);
            let is_ungrouped = groups.contains(&ungrouped);
            if has_own_group && is_ungrouped {
                groups.retain(|group| *group != ungrouped);
                regrouped.insert(index);
            }
            let name = self.hosts[index.index()].name.as_str();
            if let Some(group) = self.group_index.get(name).copied() {
                let source = &self.sources[self.hosts[index.index()].source as usize];
                let problem = Problem::warning(source, Fault::GroupAndHost(name.to_owned()));
                self.report(problem);
                // Ansible adds the group, not the host: it looks for a group of that name first.
                if !has_own_group && !is_ungrouped {
                    self.add_child(ungrouped, group, Origin::default());
                }
            } else if !has_own_group && !is_ungrouped {
                self.add_member(ungrouped, index);
            }
        }
        self.groups[ungrouped.index()].hosts.retain(|host| !regrouped.contains(host));
    }

    /// Freezes the inventory.
    pub(super) fn finish(mut self) -> Result<Inventory, Vec<Problem>> {
        self.settle_depths();
        self.sort_problems();
        if self.problems.iter().any(|problem| problem.severity == super::Severity::Error) {
            return Err(self.problems);
        }
        let mut sets = GroupSets::default();
        for (host, mut groups) in self.hosts.iter_mut().zip(self.memberships) {
            groups.sort_unstable();
            host.groups = sets.intern(&groups);
            host.variables.shrink();
        }
        Ok(Inventory {
            hosts: self.hosts,
            host_index: self.host_index,
            groups: self.groups,
            group_index: self.group_index,
            sets,
            files: self.files,
            sources: self.sources,
            warnings: self.problems,
        })
    }

    /// Errors first, those of one file together and by line.
    fn sort_problems(&mut self) {
        let mut files: HashMap<String, usize> = HashMap::new();
        for problem in &self.problems {
            let position = files.len();
            files.entry(problem.file.clone()).or_insert(position);
        }
        self.problems.sort_by_key(|problem| {
            (std::cmp::Reverse(problem.severity), files[&problem.file], problem.place.line, problem.place.column)
        });
    }

    /// Depth is the longest way down from `all`; groups that cannot be reached without a circle are the cycles.
    fn settle_depths(&mut self) {
        let mut waiting: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        let mut ready: Vec<usize> = (0..self.groups.len()).filter(|index| waiting[*index] == 0).collect();
        let mut done = 0;
        while let Some(index) = ready.pop() {
            done += 1;
            let below = self.groups[index].depth + 1;
            for child in self.groups[index].children.clone() {
                let group = &mut self.groups[child.index()];
                group.depth = group.depth.max(below);
                waiting[child.index()] -= 1;
                if waiting[child.index()] == 0 {
                    ready.push(child.index());
                }
            }
        }
        if done < self.groups.len() {
            self.report_cycle(&waiting);
        }
    }

    /// Walks up from a group that waits for ever until a group comes again.
    fn report_cycle(&mut self, waiting: &[usize]) {
        let Some(mut at) = waiting.iter().position(|count| *count > 0) else { return };
        let mut way: Vec<usize> = Vec::new();
        let mut seen = HashMap::new();
        while !seen.contains_key(&at) {
            seen.insert(at, way.len());
            way.push(at);
            let up = self.groups[at].parents.iter().find(|parent| waiting[parent.index()] > 0);
            let Some(up) = up else { return };
            at = up.index();
        }
        let mut circle: Vec<usize> = way.split_off(seen[&at]);
        circle.push(at);
        circle.reverse();
        let names = circle.iter().map(|index| self.groups[*index].name.to_string()).collect();
        let closing = circle
            .windows(2)
            .filter_map(|pair| self.edges.get(&(GroupIndex(pair[0] as u32), GroupIndex(pair[1] as u32))))
            .filter(|origin| origin.line > 0)
            .max_by_key(|origin| (origin.file, origin.line))
            .copied()
            .unwrap_or_default();
        let file = self.files.get(closing.file as usize).map_or("inventory", |file| &**file);
        let place = Place { line: closing.line, column: closing.column };
        // The text is gone by now; what is no file any more is shown without its line.
        let content = std::fs::read_to_string(file).unwrap_or_default();
        let problem = Problem::error(file, Fault::Cycle(names)).at(place, &content);
        self.report(problem);
    }
}

/// The name of a variable: keys that are no strings are written as Ansible's JSON writes them.
pub(super) fn key_text(key: &Node) -> String {
    super::listing::key(&key.to_value())
}

fn priority(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.trim().replace('_', "").parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}
