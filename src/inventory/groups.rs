//! Groups written as data: Ansible's YAML form of an inventory, and the JSON that inventory programs print.
//!
//! Follows `plugins/inventory/yaml.py` and the first half of `plugins/inventory/script.py`. Where Ansible skips with a
//! warning what it does not understand, this is an error: a group that is silently left out is a host silently not called.

use super::GroupIndex;
use super::builder::{Builder, Owner, Text, key_text};
use super::host_pattern::{self, HostPattern};
use super::problem::{Fault, Problem};
use crate::yaml::{Data, Document, Node, nearest};

const SECTIONS: [&str; 3] = ["hosts", "vars", "children"];

/// Reads a document in the YAML form: groups with `hosts`, `vars` and `children`, and groups inside groups.
pub(super) fn read_yaml(builder: &mut Builder, document: &Document, text: &Text<'_>) {
    report_duplicates(builder, document, text);
    let root = &document.root;
    let Some(groups) = root.as_mapping() else {
        builder.report(if root.is_null() {
            text.warning(root.place, Fault::Empty)
        } else {
            wrong_kind(text, root, "the inventory", "a mapping of groups")
        });
        return;
    };
    if root.get("plugin").is_some_and(|plugin| plugin.as_str().is_some()) {
        let fault =
            Fault::ForeignForm("is the configuration of an Ansible inventory plugin, which is a program of Ansible's");
        builder.report(text.error(root.place, fault).hint(
            "use a program that prints the hosts as JSON: a script with `exec ansible-inventory -i FILE --list`",
        ));
        return;
    }
    for (name, group) in groups {
        read_group(builder, name, group, text);
    }
}

/// Tells of keys that are written twice.
pub(super) fn report_duplicates(builder: &mut Builder, document: &Document, text: &Text<'_>) {
    for duplicate in &document.duplicates {
        let fault = Fault::DuplicateKey { key: duplicate.key.clone(), first: duplicate.first.line };
        builder.report(text.warning(duplicate.place, fault));
    }
}

fn read_group(builder: &mut Builder, name: &Node, group: &Node, text: &Text<'_>) -> Option<GroupIndex> {
    let Some(known_name) = name.as_str() else {
        builder.report(wrong_kind(text, name, "the name of a group", "a string").hint("put it in quotes"));
        return None;
    };
    let index = match builder.add_group(known_name, text, name.place) {
        Ok(index) => index,
        Err(problem) => {
            builder.report(problem);
            return None;
        }
    };
    let sections = match &group.data {
        Data::Null => return Some(index),
        Data::Mapping(sections) => sections,
        _ => {
            let what = format!("group `{known_name}`");
            builder.report(wrong_kind(text, group, &what, "a mapping with `hosts`, `vars` and `children`"));
            return Some(index);
        }
    };
    for (key, section) in sections.iter() {
        match key.as_str() {
            Some("vars") => set_variables(builder, Owner::Group(index), section, "`vars`", text),
            Some("hosts") => read_hosts(builder, index, section, text),
            Some("children") => read_children(builder, index, section, text),
            _ => {
                let key_name = key_text(key);
                let near = nearest(&key_name, SECTIONS);
                let hint = match (near, section.as_mapping()) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, Some(_)) => {
                        "a group inside a group stands below `children:`, a variable below `vars:`".into()
                    }
                    (None, None) => "a variable stands below `vars:`".into(),
                };
                let fault = Fault::UnknownKey { key: key_name, group: known_name.to_owned() };
                builder.report(text.error(key.place, fault).hint(hint));
            }
        }
    }
    Some(index)
}

/// The entries of a section; one name alone stands for itself with nothing below it.
fn entries(section: &Node) -> Option<Vec<(Node, Node)>> {
    match &section.data {
        Data::Null => Some(Vec::new()),
        Data::Mapping(entries) => Some(entries.to_vec()),
        Data::String(_) => Some(vec![(section.clone(), Node { data: Data::Null, place: section.place })]),
        _ => None,
    }
}

fn read_children(builder: &mut Builder, parent: GroupIndex, section: &Node, text: &Text<'_>) {
    let Some(children) = entries(section) else {
        let problem = wrong_kind(text, section, "`children`", "a mapping of groups");
        builder.report(problem.hint("write each group as a key: `web:`, without a dash"));
        return;
    };
    for (name, group) in &children {
        if let Some(child) = read_group(builder, name, group, text) {
            builder.add_child(parent, child, text.origin(name.place));
        }
    }
}

fn read_hosts(builder: &mut Builder, group: GroupIndex, section: &Node, text: &Text<'_>) {
    let Some(hosts) = entries(section) else {
        let problem = wrong_kind(text, section, "`hosts`", "a mapping of hosts");
        builder.report(problem.hint("write each host as a key: `web01:`, without a dash"));
        return;
    };
    for (name, variables) in &hosts {
        let Some(pattern) = name.as_str() else {
            builder.report(wrong_kind(text, name, "the name of a host", "a string").hint("put it in quotes"));
            continue;
        };
        let HostPattern { names, port } = match host_pattern::parse(pattern) {
            Ok(pattern) => pattern,
            Err((fault, hint)) => {
                builder.report(Problem { hint, ..text.error(name.place, fault) });
                continue;
            }
        };
        let port = port.map(|port| (port, text.origin(name.place)));
        for host in &names {
            match builder.add_host(host, port) {
                Ok(host) => {
                    builder.add_member(group, host);
                    if !says_nothing(variables) {
                        let owner = builder.owner(host);
                        set_variables(builder, owner, variables, "what is below a host", text);
                    }
                }
                Err(fault) => {
                    builder.report(text.error(name.place, fault));
                    break;
                }
            }
        }
    }
}

/// What Python holds for false stands for no variables below a host, as in Ansible.
fn says_nothing(node: &Node) -> bool {
    match &node.data {
        Data::Null | Data::Bool(false) => true,
        Data::Number(number) => number.as_f64() == Some(0.0),
        Data::String(text) => text.is_empty(),
        Data::Sequence(items) => items.is_empty(),
        _ => false,
    }
}

/// Sets every variable of a mapping.
fn set_variables(builder: &mut Builder, owner: Owner, section: &Node, what: &str, text: &Text<'_>) {
    match &section.data {
        Data::Mapping(variables) => {
            for (name, value) in variables.iter() {
                let origin = text.origin(name.place);
                if let Err(fault) = builder.set(owner, &key_text(name), value.to_value(), origin) {
                    builder.report(text.error(value.place, fault));
                }
            }
        }
        Data::Null => {}
        _ => {
            let problem = wrong_kind(text, section, what, "a mapping of variables");
            builder.report(problem.hint("write each variable as `name: value`"));
        }
    }
}

/// Reads what an inventory program prints for `--list`: groups as lists of hosts or as objects, and `_meta`. Gives back
/// the variables of hosts in `_meta.hostvars` if there are any, and the hosts named in groups.
pub(super) fn read_list<'a>(builder: &mut Builder, root: &'a Node, text: &Text<'_>) -> (Option<&'a Node>, Vec<String>) {
    let mut hosts = Vec::new();
    let mut meta = None;
    let Some(groups) = root.as_mapping() else {
        builder.report(wrong_kind(text, root, "the answer to `--list`", "an object of groups"));
        return (None, hosts);
    };
    for (name, group) in groups {
        if name.as_str() == Some("_meta") {
            meta = group.get("hostvars").or(meta);
        } else {
            match read_listed_group(builder, name, group, text) {
                Ok(named) => hosts.extend(named),
                Err(problem) => builder.report(problem),
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    (meta, hosts)
}

/// Adds one group of an answer to `--list`; gives back the hosts that it names.
fn read_listed_group(
    builder: &mut Builder,
    name: &Node,
    group: &Node,
    text: &Text<'_>,
) -> Result<Vec<String>, Problem> {
    let mut hosts = Vec::new();
    let group_name = name.as_str().unwrap_or("");
    let index = builder.add_group(group_name, text, name.place)?;
    let wrong =
        |node: &Node, part: &str, wanted| wrong_kind(text, node, &format!("{part} of group `{group_name}`"), wanted);
    let mut add = |builder: &mut Builder, host: &Node| -> Result<(), Problem> {
        let host_name = host.as_str().ok_or_else(|| wrong(host, "a host", "a string"))?;
        let added = builder.add_host(host_name, None).map_err(|fault| text.error(host.place, fault))?;
        builder.add_member(index, added);
        hosts.push(host_name.to_owned());
        Ok(())
    };
    let Some(sections) = group.as_mapping() else {
        let listed = group.as_sequence().ok_or_else(|| wrong(group, "the content", "a list of hosts or an object"))?;
        listed.iter().try_for_each(|host| add(builder, host))?;
        return Ok(hosts);
    };
    if !sections.iter().any(|(key, _)| SECTIONS.iter().any(|section| key.as_str() == Some(section))) {
        // The short form: the name is that of a host too, and everything is its variables.
        add(builder, name)?;
        set_variables(builder, Owner::Group(index), group, "variables", text);
        return Ok(hosts);
    }
    if let Some(listed) = group.get("hosts") {
        let listed = listed.as_sequence().ok_or_else(|| wrong(listed, "`hosts`", "a list"))?;
        listed.iter().try_for_each(|host| add(builder, host))?;
    }
    if let Some(variables) = group.get("vars") {
        if variables.as_mapping().is_none() {
            return Err(wrong(variables, "`vars`", "an object"));
        }
        set_variables(builder, Owner::Group(index), variables, "`vars`", text);
    }
    if let Some(children) = group.get("children") {
        for child in children.as_sequence().ok_or_else(|| wrong(children, "`children`", "a list"))? {
            let child_name = child.as_str().ok_or_else(|| wrong(child, "a child", "a string"))?;
            let child_index = builder.add_group(child_name, text, child.place)?;
            builder.add_child(index, child_index, text.origin(child.place));
        }
    }
    Ok(hosts)
}

/// Sets the variables of one host from an inventory program.
pub(super) fn set_host_variables(builder: &mut Builder, host: &str, variables: &Node, text: &Text<'_>) {
    match builder.add_host(host, None) {
        Ok(index) => {
            let owner = builder.owner(index);
            set_variables(builder, owner, variables, &format!("the variables of host `{host}`"), text);
        }
        Err(fault) => builder.report(text.error(variables.place, fault)),
    }
}

/// A value of the wrong shape.
pub(super) fn wrong_kind(text: &Text<'_>, node: &Node, what: &str, wanted: &'static str) -> Problem {
    text.error(node.place, Fault::WrongKind { what: what.to_owned(), wanted, found: node.kind() })
}
