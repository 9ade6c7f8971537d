//! Ansible's INI form of an inventory, and with it plain lists of hosts.
//!
//! Follows `plugins/inventory/ini.py`: lines before the first section are ungrouped hosts; `[group]` has hosts with
//! variables, `[group:children]` groups, `[group:vars]` variables. Every mistake is reported, not only the first.

use super::builder::{Builder, Owner, Text};
use super::problem::{Fault, Problem};
use super::words::{Comments, Word, split};
use super::{GroupIndex, host_pattern, python};
use crate::yaml::Place;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hosts,
    Children,
    Variables,
}

/// Names that stand in `:children` or `:vars` but have no section of their own yet.
#[derive(Default)]
struct Awaited {
    /// Child → the line that first names it, and the parents that do.
    children: BTreeMap<String, (Place, Vec<GroupIndex>)>,
    /// Group with `:vars` only → its line.
    variables: HashMap<String, Place>,
}

/// Reads a text in the INI form.
pub(super) fn read(builder: &mut Builder, text: &Text<'_>) {
    let mut reader = Reader {
        text,
        group: super::Inventory::UNGROUPED,
        kind: Kind::Hosts,
        awaited: Awaited::default(),
        place: Place::default(),
    };
    for (line, number) in lines(text.content).zip(1..) {
        let indentation = line.chars().take_while(|c| c.is_whitespace()).count();
        reader.place = Place { line: number, column: indentation as u32 + 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Err(problem) = reader.line(builder, line) {
            let is_foreign = matches!(*problem.fault, Fault::ForeignForm(_));
            builder.report(problem);
            if is_foreign {
                return;
            }
        }
    }
    reader.end(builder);
}

struct Reader<'a> {
    text: &'a Text<'a>,
    group: GroupIndex,
    kind: Kind,
    awaited: Awaited,
    place: Place,
}

impl Reader<'_> {
    fn error(&self, fault: Fault) -> Problem {
        self.text.error(self.place, fault)
    }

    /// A place further right on the current line.
    fn column(&self, line: &str, byte: usize) -> Place {
        let characters = line.get(..byte).map_or(0, |before| before.chars().count());
        Place { column: self.place.column + characters as u32, ..self.place }
    }

    fn line(&mut self, builder: &mut Builder, line: &str) -> Result<(), Problem> {
        if let Some((name, kind)) = section(line) {
            return self.section(builder, name, kind);
        }
        if line.starts_with('[') && line.ends_with(']') {
            let hint = "a section is `[group]`, `[group:children]` or `[group:vars]`, without spaces";
            return Err(self.error(Fault::SectionHeader(line.to_owned())).hint(hint));
        }
        match self.kind {
            Kind::Hosts => self.host(builder, line),
            Kind::Children => self.child(builder, line),
            Kind::Variables => self.variable(builder, line),
        }
    }

    fn section(&mut self, builder: &mut Builder, name: &str, kind: Option<&str>) -> Result<(), Problem> {
        let kind = match kind {
            None | Some("hosts") => Kind::Hosts,
            Some("children") => Kind::Children,
            Some("vars") => Kind::Variables,
            Some(other) => {
                let near = crate::yaml::nearest(other, ["hosts", "children", "vars"]);
                let problem = self.error(Fault::SectionKind(other.to_owned()));
                // What follows belongs to a section that is not understood; reading it as hosts would only add noise.
                self.kind = Kind::Variables;
                return Err(match near {
                    Some(near) => problem.hint(format!("did you mean `[{name}:{near}]`?")),
                    None => problem,
                });
            }
        };
        let is_new = builder.group(name).is_none();
        self.group = builder.add_group(name, self.text, self.place)?;
        self.kind = kind;
        if kind == Kind::Variables {
            if is_new && !self.awaited.children.contains_key(name) {
                self.awaited.variables.insert(name.to_owned(), self.place);
            }
            return Ok(());
        }
        self.awaited.variables.remove(name);
        self.settle(builder, name);
        Ok(())
    }

    /// Joins a group, now that it is declared, to the parents that named it before.
    fn settle(&mut self, builder: &mut Builder, name: &str) {
        let Some(child) = builder.group(name) else { return };
        if let Some((place, parents)) = self.awaited.children.remove(name) {
            for parent in parents {
                builder.add_child(parent, child, self.text.origin(place));
            }
        }
    }

    fn host(&mut self, builder: &mut Builder, line: &str) -> Result<(), Problem> {
        let words = split(line, Comments::Skipped).map_err(|reason| self.error(Fault::Quoting(reason)))?;
        let Some((first, rest)) = words.split_first() else { return Ok(()) };
        if first.text.trim() == "---" {
            let fault = Fault::ForeignForm("begins with `---`, so it is YAML");
            return Err(self.error(fault).hint("call the file .yaml"));
        }
        let pattern = host_pattern::parse(&first.text).map_err(|(fault, hint)| {
            let yaml = || "a file that reads `name:` is YAML: call it .yaml".to_owned();
            let hint = if matches!(fault, Fault::NoPort(_)) { hint.or_else(|| Some(yaml())) } else { hint };
            Problem { hint, ..self.error(fault) }
        })?;
        let mut variables = Vec::with_capacity(rest.len());
        for Word { text: word, at } in rest {
            let place = self.column(line, *at);
            let (name, value) = word.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                let problem = self.text.error(place, Fault::NotAVariable(word.clone()));
                problem.hint(format!("one host a line; a login name is written `ansible_user={word}`"))
            })?;
            variables.push((name, python::value(value), self.text.origin(place)));
        }
        let port = pattern.port.map(|port| (port, self.text.origin(self.place)));
        for name in &pattern.names {
            let host = builder.add_host(name, port).map_err(|fault| self.error(fault))?;
            builder.add_member(self.group, host);
            let owner = builder.owner(host);
            for (name, value, origin) in &variables {
                builder.set(owner, name, value.clone(), *origin).map_err(|fault| self.error(fault))?;
            }
        }
        Ok(())
    }

    fn child(&mut self, builder: &mut Builder, line: &str) -> Result<(), Problem> {
        let name = group_name(line).ok_or_else(|| self.error(Fault::NotAGroupName(line.to_owned())))?;
        match builder.group(name) {
            Some(child) => builder.add_child(self.group, child, self.text.origin(self.place)),
            None => {
                let awaited = self.awaited.children.entry(name.to_owned());
                awaited.or_insert_with(|| (self.place, Vec::new())).1.push(self.group);
            }
        }
        Ok(())
    }

    fn variable(&mut self, builder: &mut Builder, line: &str) -> Result<(), Problem> {
        let (name, value) = line.split_once('=').ok_or_else(|| self.error(Fault::NotAnAssignment(line.to_owned())))?;
        let (name, value) = (name.trim(), python::value(value.trim()));
        builder
            .set(Owner::Group(self.group), name, value, self.text.origin(self.place))
            .map_err(|fault| self.error(fault))
    }

    /// Tells of names that were never declared.
    fn end(self, builder: &mut Builder) {
        let text = self.text;
        for (group, place) in self.awaited.variables {
            let hint = builder.nearest_group_but(&group);
            let problem = text.error(place, Fault::VariablesOfUnknownGroup(group));
            builder.report(Problem { hint, ..problem });
        }
        for (child, (place, parents)) in self.awaited.children {
            // A `[child:vars]` section makes the group, but does not declare it.
            let hint = builder.nearest_group_but(&child);
            let parent = parents.first().map_or_else(String::new, |parent| builder.name_of(*parent).to_owned());
            builder.report(Problem { hint, ..text.error(place, Fault::UnknownChild { parent, child }) });
        }
    }
}

/// Lines as Python's `splitlines` finds them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split(['\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'])
    })
}

/// `[name]` or `[name:kind]`, perhaps with a comment after it.
fn section(line: &str) -> Option<(&str, Option<&str>)> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    let after = after.trim_start();
    if !(after.is_empty() || after.starts_with('#')) {
        return None;
    }
    let (name, kind) = inside.split_once(':').map_or((inside, None), |(name, kind)| (name, Some(kind)));
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    let is_word = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && kind.is_none_or(is_word)).then_some((name, kind))
}

/// The name of a group, perhaps with a comment after it.
fn group_name(line: &str) -> Option<&str> {
    let end = line.find(|c: char| c == ':' || c == ']' || c.is_whitespace()).unwrap_or(line.len());
    let after = line[end..].trim_start();
    (end > 0 && (after.is_empty() || after.starts_with('#'))).then(|| &line[..end])
}
