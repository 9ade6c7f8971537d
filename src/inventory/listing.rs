//! The answers of `ansible-inventory`: `--list`, `--host` and `--graph`, in its shapes and its order.
//!
//! Follows Ansible's `cli/inventory.py`. Keys are sorted, and what Ansible sets by itself is left out.

use super::{GroupIndex, HostIndex, Inventory, python};
use serde_json::{Map, Value as Json};
use serde_yaml::Value;
use std::cmp::Ordering;
use std::fmt::Write;

/// Answers about an inventory.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    inventory: &'a Inventory,
}

/// Names that Ansible keeps to itself (`INTERNAL_STATIC_VARS`).
const INTERNAL: [&str; 34] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

impl<'a> Listing<'a> {
    /// Answers about `inventory`.
    pub fn of(inventory: &'a Inventory) -> Self {
        Self { inventory }
    }

    /// `ansible-inventory --list`: every group with its hosts and children, and `_meta.hostvars`.
    pub fn list(&self) -> Json {
        let inventory = self.inventory;
        let mut hostvars = Vec::new();
        let members = inventory.members(Inventory::ALL);
        let mut listed = vec![false; inventory.host_count()];
        for host in members {
            listed[host.index()] = true;
            let variables = self.host(host);
            if variables.as_object().is_some_and(|variables| !variables.is_empty()) {
                hostvars.push((inventory.host_name(host).to_string(), variables));
            }
        }
        let mut groups = vec![("_meta".to_owned(), object(vec![("hostvars".to_owned(), object(hostvars))]))];
        for (index, name) in inventory.groups() {
            let mut group = Vec::new();
            let children = inventory.children(index).iter().map(|child| Json::from(inventory.group_name(*child)));
            group.push(("children".to_owned(), Json::Array(children.collect())));
            if index != Inventory::ALL {
                let hosts = inventory.direct_members(index).iter().filter(|host| listed[host.index()]);
                let hosts = hosts.map(|host| Json::from(inventory.host_name(*host).as_str())).collect();
                group.push(("hosts".to_owned(), Json::Array(hosts)));
            }
            group.retain(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()));
            if !group.is_empty() {
                groups.push((name.to_owned(), object(group)));
            }
        }
        object(groups)
    }

    /// `ansible-inventory --host`: the merged variables of a host.
    pub fn host(&self, host: HostIndex) -> Json {
        let variables = self.inventory.variables(host);
        let shown = variables.iter().filter(|(name, _)| !name.as_str().is_some_and(is_internal));
        object(shown.map(|(name, value)| (key(name), json(value))).collect())
    }

    /// `ansible-inventory --graph`: a group and everything below it as a tree.
    pub fn graph(&self, group: GroupIndex) -> String {
        let mut out = String::new();
        self.draw(group, 0, false, &mut out);
        out
    }

    /// `ansible-inventory --graph --vars`: the tree with the variables of every host and group.
    pub fn graph_with_variables(&self, group: GroupIndex) -> String {
        let mut out = String::new();
        self.draw(group, 0, true, &mut out);
        out
    }

    fn draw(&self, group: GroupIndex, depth: usize, variables: bool, out: &mut String) {
        let inventory = self.inventory;
        branch(out, depth, &format!("@{}:", inventory.group_name(group)));
        for child in inventory.children(group) {
            self.draw(*child, depth + 1, variables, out);
        }
        if group != Inventory::ALL {
            for host in inventory.direct_members(group) {
                branch(out, depth + 1, inventory.host_name(*host).as_str());
                if variables {
                    let merged = inventory.variables(*host);
                    let shown = merged.iter().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)));
                    draw_variables(shown.collect(), depth + 2, out);
                }
            }
        }
        if variables {
            let own = self.group_variables(group);
            draw_variables(own.iter().map(|(name, value)| (name.clone(), value)).collect(), depth + 1, out);
        }
    }

    /// What a group itself says: in inventory files, then in `group_vars`, and its priority.
    fn group_variables(&self, group: GroupIndex) -> Vec<(String, Value)> {
        let group = &self.inventory.groups[group.index()];
        let mut own = group.variables.clone();
        for (_, file) in &group.files {
            own.overlay(file.clone());
        }
        let mut shown: Vec<(String, Value)> = own.iter().map(|v| (v.name.to_string(), v.value.clone())).collect();
        if group.priority != 1 {
            shown.retain(|(name, _)| name != "ansible_group_priority");
            shown.push(("ansible_group_priority".into(), group.priority.into()));
        }
        shown
    }

    /// JSON as Ansible prints it: four spaces, keys in their order, nothing escaped that need not be.
    pub fn text(value: &Json) -> String {
        let mut out = String::new();
        print(value, 0, &mut out);
        out
    }
}

fn is_internal(name: &str) -> bool {
    INTERNAL.binary_search(&name).is_ok()
}

fn branch(out: &mut String, depth: usize, name: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    if depth > 0 {
        out.push_str(&"  |".repeat(depth));
        out.push_str("--");
    }
    out.push_str(name);
}

fn draw_variables(mut variables: Vec<(String, &Value)>, depth: usize, out: &mut String) {
    variables.retain(|(name, _)| !is_internal(name));
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in variables {
        branch(out, depth, &format!("{{{name} = {}}}", python::show(value)));
    }
}

/// A key as JSON writes it.
pub(super) fn key(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => python::number_text(number),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => "null".into(),
        Value::Tagged(tagged) => key(&tagged.value),
        Value::Sequence(_) | Value::Mapping(_) => python::show(value),
    }
}

/// An object with its keys sorted.
fn object(mut entries: Vec<(String, Json)>) -> Json {
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Json::Object(entries.into_iter().collect::<Map<_, _>>())
}

/// A value as Ansible writes it in JSON: `!vault` and `!unsafe` as objects that name them.
fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(integer)) => integer.into(),
            (None, None) => number.as_f64().into(),
        },
        Value::String(text) => Json::String(text.clone()),
        Value::Sequence(items) => Json::Array(items.iter().map(json).collect()),
        Value::Mapping(mapping) => {
            let mut entries: Vec<(&Value, &Value)> = mapping.iter().collect();
            entries.sort_by(|a, b| compare_keys(a.0, b.0));
            Json::Object(entries.into_iter().map(|(name, value)| (key(name), json(value))).collect())
        }
        Value::Tagged(tagged) if tagged.tag == "vault" || tagged.tag == "unsafe" => {
            let name = if tagged.tag == "vault" { "__ansible_vault" } else { "__ansible_unsafe" };
            object(vec![(name.to_owned(), json(&tagged.value))])
        }
        Value::Tagged(tagged) => json(&tagged.value),
    }
}

/// Numbers by size, the rest by their text.
fn compare_keys(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => key(a).cmp(&key(b)),
    }
}

fn print(value: &Json, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    };
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                line(out, depth + 1);
                print(item, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        Json::Object(entries) if !entries.is_empty() => {
            out.push('{');
            for (position, (name, item)) in entries.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                line(out, depth + 1);
                let _ = write!(out, "{}: ", Json::String(name.clone()));
                print(item, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Json::Number(number) if number.is_f64() => {
            out.push_str(&python::number_text(&number.as_f64().unwrap_or_default().into()));
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_names_are_sorted_for_the_search() {
        assert!(INTERNAL.is_sorted());
    }

    #[test]
    fn json_is_printed_as_python_prints_it() {
        let value: Json =
            serde_json::from_str(r#"{"a": [], "b": {}, "c": [1, 1e22, 0.5, "é\n\u0001\"", null]}"#).unwrap();
        assert_eq!(
            Listing::text(&value),
            "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1,\n        1e+22,\n        0.5,\n        \"é\\n\\u0001\\\"\",\n        null\n    ]\n}"
        );
    }
}
