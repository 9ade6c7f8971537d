//! Who the hosts are: inventories in Ansible's forms, with groups and variables exactly as Ansible sees them.
//!
//! [`Inventory::load`] reads [`Source`]s (YAML, INI, JSON from a program, lists, directories of them, `group_vars` and
//! `host_vars`) and reports every [`Problem`] with its place. [`Listing`] answers in `ansible-inventory`'s shapes,
//! [`ConnectionVariables`] are the variables that say how a host is reached.
//!
//! Nothing here selects hosts, renders templates or opens a connection.

mod builder;
mod connection;
mod discover;
mod groups;
mod host_pattern;
mod ini;
mod listing;
mod precedence;
mod problem;
mod python;
mod script;
mod source;
mod ssh_arguments;
mod variables;
mod vars_files;
mod words;

use crate::host::HostName;
use builder::Builder;
use precedence::GroupSets;
use serde_yaml::{Mapping, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use connection::{BecomeMethod, ConnectionKind, ConnectionVariables, VariableFault, VariableProblem};
pub use discover::{Discovered, Surroundings, discover};
pub use listing::Listing;
pub use problem::{Fault, InventoryErrors, Problem, Severity};
pub use source::Source;
pub use ssh_arguments::SshArgument;
pub use variables::{Origin, Variable, Variables};

/// The variables that Ansible adds of itself.
pub const MAGIC_VARIABLES: [&str; 5] =
    ["inventory_hostname", "inventory_hostname_short", "group_names", "inventory_file", "inventory_dir"];

/// Hosts, groups and their variables. `Debug` shows no values: they may be secrets.
pub struct Inventory {
    hosts: Vec<Host>,
    host_index: HashMap<HostName, HostIndex>,
    groups: Vec<Group>,
    group_index: HashMap<Arc<str>, GroupIndex>,
    sets: GroupSets,
    files: Vec<Arc<str>>,
    sources: Vec<Arc<str>>,
    warnings: Vec<Problem>,
}

/// A host of one inventory, by its position in the order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostIndex(u32);

/// A group of one inventory, by its position in the order of first mention; `all` is the first, `ungrouped` the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(u32);

impl HostIndex {
    /// The host at a position below [`Inventory::host_count`].
    pub fn new(position: u32) -> Self {
        Self(position)
    }

    /// The position as an index, below [`Inventory::host_count`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl GroupIndex {
    /// The group at a position below [`Inventory::group_count`].
    pub fn new(position: u32) -> Self {
        Self(position)
    }

    /// The position as an index, below [`Inventory::group_count`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

struct Host {
    name: HostName,
    source: u32,
    /// Number of its set of groups.
    groups: u32,
    variables: Variables,
}

impl Host {
    fn new(name: HostName, source: u32) -> Self {
        Self { name, source, groups: 0, variables: Variables::default() }
    }
}

struct Group {
    name: Arc<str>,
    hosts: Vec<HostIndex>,
    children: Vec<GroupIndex>,
    parents: Vec<GroupIndex>,
    depth: u32,
    priority: i64,
    variables: Variables,
    /// What `group_vars` beside each source says; the number of the source, ascending.
    files: Vec<(u32, Variables)>,
}

impl Group {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            hosts: Vec::new(),
            children: Vec::new(),
            parents: Vec::new(),
            depth: 0,
            priority: 1,
            variables: Variables::default(),
            files: Vec::new(),
        }
    }
}

/// How sources are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a program that is a source may take for one call; its process group is killed then.
    pub script_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { script_timeout: Duration::from_secs(30) }
    }
}

impl Inventory {
    /// Reads sources in order; what comes later wins, variable by variable, as in Ansible.
    ///
    /// # Errors
    /// Every problem of every source when one of them is an error; see [`Inventory::warnings`] for the others.
    pub fn load(sources: &[Source], options: &Options) -> Result<Self, InventoryErrors> {
        let mut builder = Builder::new();
        for source in sources {
            source::read(&mut builder, source, options);
        }
        builder.reconcile();
        vars_files::read(&mut builder, sources);
        builder.finish().map_err(InventoryErrors)
    }

    /// An inventory of nobody.
    pub fn empty() -> Self {
        Self::load(&[], &Options::default()).unwrap_or_else(|_| unreachable!("nothing is read"))
    }

    /// What was odd but usable.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Number of hosts.
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// Number of groups, `all` and `ungrouped` among them.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Every host in the order of first mention. Ansible's order of `all` is `members(Inventory::ALL)`.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = (HostIndex, &HostName)> {
        self.hosts.iter().enumerate().map(|(index, host)| (HostIndex(index as u32), &host.name))
    }

    /// Every group in the order of first mention, `all` and `ungrouped` first.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (GroupIndex, &str)> {
        self.groups.iter().enumerate().map(|(index, group)| (GroupIndex(index as u32), &*group.name))
    }

    /// The group of everybody.
    pub const ALL: GroupIndex = GroupIndex(0);
    /// The group of those in no other group.
    pub const UNGROUPED: GroupIndex = GroupIndex(1);

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<HostIndex> {
        self.host_index.get(name).copied()
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<GroupIndex> {
        self.group_index.get(name).copied()
    }

    /// The name of a host.
    pub fn host_name(&self, host: HostIndex) -> &HostName {
        &self.hosts[host.index()].name
    }

    /// The name of a group.
    pub fn group_name(&self, group: GroupIndex) -> &str {
        &self.groups[group.index()].name
    }

    /// Hosts named in the group itself, in order.
    pub fn direct_members(&self, group: GroupIndex) -> &[HostIndex] {
        &self.groups[group.index()].hosts
    }

    /// Groups named as children, in order.
    pub fn children(&self, group: GroupIndex) -> &[GroupIndex] {
        &self.groups[group.index()].children
    }

    /// Every host of a group and of the groups below it, each once: its own first, then level by level, as Ansible's
    /// `groups` variable.
    pub fn members(&self, group: GroupIndex) -> Vec<HostIndex> {
        let mut seen_hosts = vec![false; self.hosts.len()];
        let mut seen_groups = vec![false; self.groups.len()];
        let mut members = Vec::new();
        let mut level = vec![group];
        seen_groups[group.index()] = true;
        while !level.is_empty() {
            let mut below = Vec::new();
            for group in level {
                let group = &self.groups[group.index()];
                members
                    .extend(group.hosts.iter().filter(|host| !std::mem::replace(&mut seen_hosts[host.index()], true)));
                below.extend(
                    group.children.iter().filter(|child| !std::mem::replace(&mut seen_groups[child.index()], true)),
                );
            }
            level = below;
        }
        members
    }

    /// The groups of a host, those above them too, without `all`: weakest first, in the order their variables are merged.
    pub fn groups_of(&self, host: HostIndex) -> &[GroupIndex] {
        self.sets.groups(self.hosts[host.index()].groups, &self.groups)
    }

    /// The variables that a host sees, merged by Ansible's precedence, templates unrendered. Hosts of the same groups
    /// without variables of their own share one map.
    pub fn variables(&self, host: HostIndex) -> Arc<Mapping> {
        let host = &self.hosts[host.index()];
        let shared = self.sets.mapping(host.groups, &self.groups);
        if host.variables.is_empty() {
            return shared.clone();
        }
        let mut own = Mapping::clone(shared);
        for variable in host.variables.iter() {
            own.insert(Value::String(variable.name.to_string()), variable.value.clone());
        }
        Arc::new(own)
    }

    /// One variable of a host and where it was set, without merging the others.
    pub fn variable(&self, host: HostIndex, name: &str) -> Option<&Variable> {
        let host = &self.hosts[host.index()];
        host.variables.get(name).or_else(|| self.sets.variable(host.groups, name, &self.groups))
    }

    /// The file or other source where a variable was set, as the user named it.
    pub fn file(&self, origin: Origin) -> &str {
        self.files.get(origin.file as usize).map_or("", |file| &**file)
    }

    /// Where a variable was set, as `file:line:column`.
    pub fn describe(&self, origin: Origin) -> String {
        let file = self.file(origin);
        match origin.line {
            0 => file.to_owned(),
            line => format!("{file}:{line}:{}", origin.column),
        }
    }

    /// One of [`MAGIC_VARIABLES`] of a host.
    pub fn magic_variable(&self, host: HostIndex, name: &str) -> Option<Value> {
        let text = |text: &str| Value::String(text.to_owned());
        let own = self.host_name(host).as_str();
        let source = || self.sources.get(self.hosts[host.index()].source as usize).map(|source| &**source);
        Some(match name {
            "inventory_hostname" => text(own),
            "inventory_hostname_short" if own.parse::<std::net::IpAddr>().is_ok() => text(own),
            "inventory_hostname_short" => text(own.split('.').next().unwrap_or(own)),
            "group_names" => {
                let mut groups: Vec<&str> = self.groups_of(host).iter().map(|group| self.group_name(*group)).collect();
                groups.sort_unstable();
                groups.into_iter().map(text).collect::<Vec<_>>().into()
            }
            "inventory_file" => source().map_or(Value::Null, text),
            "inventory_dir" => {
                let path = source().map(std::path::Path::new).filter(|path| path.exists());
                let directory = path.and_then(|path| std::path::absolute(path.parent()?).ok());
                directory.map_or(Value::Null, |path| text(&path.to_string_lossy()))
            }
            _ => return None,
        })
    }

    /// Adds hosts as members of a group below `all`, such as the concrete names of the ssh_config. Known hosts keep their
    /// other groups and their variables; new ones come last.
    pub fn add_group_of_hosts(&mut self, name: &str, hosts: impl IntoIterator<Item = HostName>) -> GroupIndex {
        let group = self.group(name).unwrap_or_else(|| {
            let index = GroupIndex(self.groups.len() as u32);
            let mut group = Group::new(name.into());
            group.depth = 1;
            group.parents.push(Self::ALL);
            self.group_index.insert(group.name.clone(), index);
            self.groups.push(group);
            self.groups[Self::ALL.index()].children.push(index);
            index
        });
        self.sources.push(name.into());
        let source = self.sources.len() as u32 - 1;
        for name in hosts {
            let host = self.host(name.as_str()).unwrap_or_else(|| {
                let index = HostIndex(self.hosts.len() as u32);
                let mut host = Host::new(name.clone(), source);
                host.groups = self.sets.intern(&[]);
                self.host_index.insert(name, index);
                self.hosts.push(host);
                index
            });
            let mut groups = self.sets.direct(self.hosts[host.index()].groups).to_vec();
            if let Err(position) = groups.binary_search(&group) {
                groups.insert(position, group);
                self.hosts[host.index()].groups = self.sets.intern(&groups);
                self.groups[group.index()].hosts.push(host);
            }
        }
        group
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inventory({} hosts, {} groups)", self.hosts.len(), self.groups.len())
    }
}

#[cfg(test)]
mod tests;
