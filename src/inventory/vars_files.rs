//! `group_vars` and `host_vars` beside a source: files of variables by the name of a group or host.
//!
//! Follows `find_vars_files` in Ansible's `parsing/dataloader.py`: `NAME`, `NAME.yml`, `NAME.yaml`, `NAME.json`, the first
//! that is there; `NAME` may be a directory, read in the order of names. Only files of known groups and hosts are read.

use super::builder::{Builder, Text};
use super::groups::{report_duplicates, wrong_kind};
use super::problem::{Fault, Problem};
use super::source::{Source, is_vault, sorted_entries};
use super::variables::Variables;
use crate::yaml::{self, Data};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 4] = ["", ".yml", ".yaml", ".json"];
const DEEPEST_DIRECTORY: usize = 16;

/// Adds the files beside every source, in the order of the sources.
pub(super) fn read(builder: &mut Builder, sources: &[Source]) {
    let bases: Vec<PathBuf> = sources.iter().filter_map(base).collect();
    for (number, base) in bases.iter().enumerate() {
        // The last mention of a directory decides, the earlier ones would say the same more weakly.
        if bases[number + 1..].contains(base) {
            continue;
        }
        for kind in [Kind::Groups, Kind::Hosts] {
            read_kind(builder, &base.join(kind.directory()), kind, number as u32);
        }
    }
}

/// The directory that a source's files stand in; a list of hosts and standard input have none.
fn base(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Hosts(_) | Source::StandardInput => None,
        Source::Path(path) if path.is_dir() => Some(path.clone()),
        Source::Path(path) => {
            let parent = path.parent()?;
            Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Groups,
    Hosts,
}

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Self::Groups => "group_vars",
            Self::Hosts => "host_vars",
        }
    }
}

fn read_kind(builder: &mut Builder, directory: &Path, kind: Kind, source: u32) {
    if !directory.is_dir() {
        return;
    }
    let entries: HashSet<OsString> = match sorted_entries(directory) {
        Ok(entries) => entries.into_iter().collect(),
        Err(fault) => return builder.report(Problem::error(&directory.to_string_lossy(), fault)),
    };
    let names: Vec<String> = match kind {
        Kind::Groups => builder.group_names().map(str::to_owned).collect(),
        Kind::Hosts if entries.is_empty() => return,
        Kind::Hosts => builder.host_names().map(|name| name.as_str().to_owned()).collect(),
    };
    for name in names {
        let found = EXTENSIONS.iter().map(|extension| OsString::from(format!("{name}{extension}")));
        let Some(entry) = found.into_iter().find(|entry| entries.contains(entry)) else { continue };
        let mut variables = Variables::default();
        read_entry(builder, &directory.join(entry), &mut variables, 0);
        if variables.is_empty() {
            continue;
        }
        match kind {
            Kind::Groups => builder.add_group_file(&name, source, variables),
            Kind::Hosts => builder.add_host_file(&name, variables),
        }
    }
}

fn read_entry(builder: &mut Builder, path: &Path, variables: &mut Variables, depth: usize) {
    if !path.is_dir() {
        return read_file(builder, path, variables);
    }
    let name = path.to_string_lossy();
    if depth >= DEEPEST_DIRECTORY {
        let reason = format!("directories are nested deeper than {DEEPEST_DIRECTORY} levels");
        return builder.report(Problem::error(&name, Fault::Unreadable(reason)));
    }
    let entries = match sorted_entries(path) {
        Ok(entries) => entries,
        Err(fault) => return builder.report(Problem::error(&name, fault)),
    };
    for entry in entries {
        let name = entry.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let inside = path.join(&entry);
        let extension = inside.extension().map(|extension| extension.to_string_lossy());
        let is_yaml = matches!(extension.as_deref(), Some("yml" | "yaml" | "json"));
        match (inside.is_dir(), extension.is_some()) {
            (true, false) => read_entry(builder, &inside, variables, depth + 1),
            (false, has_extension) if is_yaml || !has_extension => read_file(builder, &inside, variables),
            _ => {}
        }
    }
}

fn read_file(builder: &mut Builder, path: &Path, variables: &mut Variables) {
    let name = path.to_string_lossy();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return builder.report(Problem::error(&name, Fault::Unreadable(error.to_string()))),
    };
    if is_vault(&bytes) {
        let problem = Problem::warning(&name, Fault::VaultFile);
        return builder
            .report(problem.hint("variables that connections need must stand in a file that is not encrypted"));
    }
    let Ok(content) = String::from_utf8(bytes) else {
        return builder.report(Problem::error(&name, Fault::NotUtf8));
    };
    let document = match yaml::parse(&content, &name) {
        Ok(document) => document,
        Err(error) => return builder.report(error.into()),
    };
    let text = Text { file: &name, content: &content, number: builder.add_file(&name) };
    report_duplicates(builder, &document, &text);
    match &document.root.data {
        Data::Mapping(entries) => {
            let found = builder.variables(entries, &text);
            variables.overlay(found);
        }
        Data::Null => {}
        _ => builder.report(wrong_kind(&text, &document.root, "a file of variables", "a mapping")),
    }
}
