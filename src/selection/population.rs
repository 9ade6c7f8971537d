//! Whom one can select from: hosts and groups by number.

use crate::host::HostName;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Hosts and groups as selection needs them. Hosts are numbered from 0 in the order of the inventory, groups likewise.
pub trait Population {
    /// Number of hosts.
    fn host_total(&self) -> u32;

    /// Name of a host.
    ///
    /// # Panics
    /// May panic where there is no such host; selection asks only for numbers that the population gave it.
    fn host_name(&self, host: u32) -> &HostName;

    /// The host of a name.
    fn host_index(&self, name: &str) -> Option<u32>;

    /// Number of groups, with `all` and `ungrouped` where they are kept as groups.
    fn group_total(&self) -> u32;

    /// Name of a group.
    ///
    /// # Panics
    /// As [`Population::host_name`].
    fn group_name(&self, group: u32) -> &str;

    /// The group of a name.
    fn group_index(&self, name: &str) -> Option<u32>;

    /// Hosts of a group and of all groups below it, in the order that Ansible gives them, each once.
    ///
    /// The members of a group named `all` are what `all` and `*` select; without such a group they select every host.
    fn members(&self, group: u32) -> Cow<'_, [u32]>;

    /// Whether the user has an inventory. Without one every name is a host that DNS or ssh_config may know; with one a
    /// bare name that is not in it is a slip.
    fn has_inventory(&self) -> bool;
}

/// A population held in memory.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    hosts: Vec<HostName>,
    host_indexes: HashMap<HostName, u32>,
    groups: Vec<(String, Vec<u32>)>,
    group_indexes: HashMap<String, u32>,
    inventory: bool,
}

impl HostTable {
    /// The hosts of an inventory, in its order. A name that is there already is not added again.
    pub fn of_inventory(hosts: impl IntoIterator<Item = HostName>) -> Self {
        let mut table = Self { inventory: true, ..Self::default() };
        for host in hosts {
            let index = table.host_total();
            if let Entry::Vacant(entry) = table.host_indexes.entry(host.clone()) {
                entry.insert(index);
                table.hosts.push(host);
            }
        }
        table
    }

    /// Adds a group with the numbers of its hosts in order, or replaces the members of the group of that name.
    pub fn set_group(&mut self, name: &str, members: Vec<u32>) {
        let index = *self.group_indexes.entry(name.into()).or_insert_with(|| {
            self.groups.push((name.into(), Vec::new()));
            self.groups.len() as u32 - 1
        });
        self.groups[index as usize].1 = members;
    }
}

impl Population for HostTable {
    fn host_total(&self) -> u32 {
        self.hosts.len() as u32
    }

    fn host_name(&self, host: u32) -> &HostName {
        &self.hosts[host as usize]
    }

    fn host_index(&self, name: &str) -> Option<u32> {
        self.host_indexes.get(name).copied()
    }

    fn group_total(&self) -> u32 {
        self.groups.len() as u32
    }

    fn group_name(&self, group: u32) -> &str {
        &self.groups[group as usize].0
    }

    fn group_index(&self, name: &str) -> Option<u32> {
        self.group_indexes.get(name).copied()
    }

    fn members(&self, group: u32) -> Cow<'_, [u32]> {
        Cow::Borrowed(&self.groups[group as usize].1)
    }

    fn has_inventory(&self) -> bool {
        self.inventory
    }
}
