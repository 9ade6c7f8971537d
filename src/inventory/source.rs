//! Where an inventory comes from, and which form a source has.
//!
//! Ansible lets its plugins try one after the other; the same files get the same reading here, but the form is settled
//! first, so that a mistake is reported once and in the right words: programs are run, `.yaml`, `.yml` and `.json` are
//! YAML, other extensions INI, and a file without one is what its first line looks like. A plain list is INI.

use super::builder::{Builder, Text};
use super::problem::{Fault, Problem};
use super::{Options, groups, host_pattern, ini, script};
use crate::yaml::{self, Place};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One `-i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, a program or a directory of them.
    Path(PathBuf),
    /// Hosts written out, separated by commas: `web01,web[02-05],`.
    Hosts(String),
    /// `-`: the standard input of the process, which can be read once.
    StandardInput,
}

impl Source {
    /// What an argument means: a list of hosts where it holds a comma and no file has that name, standard input where it is
    /// `-`, a path otherwise. `~/` is the home directory.
    pub fn parse(argument: &str) -> Self {
        if argument == "-" {
            return Self::StandardInput;
        }
        let path = match argument.strip_prefix("~/").zip(std::env::home_dir()) {
            Some((rest, home)) => home.join(rest),
            None => PathBuf::from(argument),
        };
        if argument.contains(',') && !path.exists() { Self::Hosts(argument.to_owned()) } else { Self::Path(path) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Hosts(hosts) => f.write_str(hosts),
            Self::StandardInput => f.write_str(STANDARD_INPUT),
        }
    }
}

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// What Ansible leaves out of a directory of inventories (`INVENTORY_IGNORE_EXTS`).
const IGNORED_EXTENSIONS: [&str; 13] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".ini", ".cfg", ".retry"];

/// Directories may be nested this deep: a link to a directory above would never end.
const DEEPEST_DIRECTORY: usize = 16;

/// Adds a source to the inventory.
pub(super) fn read(builder: &mut Builder, source: &Source, options: &Options) {
    match source {
        Source::Hosts(hosts) => read_hosts(builder, hosts),
        Source::Path(path) => read_path(builder, path, options, 0),
        Source::StandardInput => read_standard_input(builder),
    }
}

fn read_standard_input(builder: &mut Builder) {
    let mut bytes = Vec::new();
    builder.begin_source(STANDARD_INPUT);
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    let read = read.map_err(|error| Fault::Unreadable(error.to_string()));
    if let Err(fault) = read.and_then(|_| read_text(builder, Path::new(STANDARD_INPUT), &bytes)) {
        builder.report(Problem::error(STANDARD_INPUT, fault));
    }
}

fn read_hosts(builder: &mut Builder, hosts: &str) {
    builder.begin_source(hosts);
    let text = Text { file: hosts, content: "", number: builder.add_file(hosts) };
    let place = Place::default();
    // A comma inside brackets belongs to a range.
    let mut depth = 0usize;
    let separates = |c: char| {
        depth = match c {
            '[' => depth + 1,
            ']' => depth.saturating_sub(1),
            _ => depth,
        };
        c == ',' && depth == 0
    };
    for host in hosts.split(separates).map(str::trim).filter(|host| !host.is_empty()) {
        let pattern = match host_pattern::parse(host) {
            Ok(pattern) => pattern,
            Err((fault, hint)) => {
                builder.report(Problem { hint, ..text.error(place, fault) });
                continue;
            }
        };
        let port = pattern.port.map(|port| (port, text.origin(place)));
        for name in &pattern.names {
            match builder.add_host(name, port) {
                Ok(host) => builder.add_member(super::Inventory::UNGROUPED, host),
                Err(fault) => builder.report(text.error(place, fault)),
            }
        }
    }
}

fn read_path(builder: &mut Builder, path: &Path, options: &Options, depth: usize) {
    let name = path.to_string_lossy();
    let result = match std::fs::metadata(path) {
        Ok(about) if about.is_dir() && depth >= DEEPEST_DIRECTORY => {
            Err(Fault::Unreadable(format!("directories are nested deeper than {DEEPEST_DIRECTORY} levels")))
        }
        Ok(about) if about.is_dir() => read_directory(builder, path, options, depth),
        Ok(about) => read_file(builder, path, about.permissions().mode(), options),
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    };
    if let Err(fault) = result {
        builder.report(Problem::error(&name, fault));
    }
}

/// The entries of a directory in the order of their names (by bytes, as Ansible).
pub(super) fn sorted_entries(path: &Path) -> Result<Vec<OsString>, Fault> {
    let entries = std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let mut names: Vec<OsString> = entries.map_err(|error: std::io::Error| Fault::Unreadable(error.to_string()))?;
    names.sort();
    Ok(names)
}

fn read_directory(builder: &mut Builder, path: &Path, options: &Options, depth: usize) -> Result<(), Fault> {
    for entry in sorted_entries(path)? {
        let name = entry.to_string_lossy();
        if name.starts_with('.') || matches!(&*name, "host_vars" | "group_vars" | "vars_plugins") {
            continue;
        }
        match IGNORED_EXTENSIONS.iter().find(|extension| name.ends_with(**extension)) {
            Some(extension @ (&".ini" | &".cfg" | &".txt")) => {
                let fault = Fault::IgnoredExtension((*extension).to_owned());
                let problem = Problem::warning(&path.join(&entry).to_string_lossy(), fault);
                builder.report(problem.hint("name the file without an extension, or give it with `-i` itself"));
            }
            Some(_) => {}
            None => read_path(builder, &path.join(&entry), options, depth + 1),
        }
    }
    Ok(())
}

/// A program that the system can start: `#!` or an executable's own mark, and the permission.
fn is_program(path: &Path, bytes: &[u8]) -> bool {
    (bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"))
        && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn read_file(builder: &mut Builder, path: &Path, mode: u32, options: &Options) -> Result<(), Fault> {
    let bytes = std::fs::read(path).map_err(|error| Fault::Unreadable(error.to_string()))?;
    builder.begin_source(&path.to_string_lossy());
    if is_program(path, &bytes) {
        if mode & 0o002 != 0 {
            return Err(Fault::WritableByOthers { mode: mode & 0o7777, owner: "a program to be run".into() });
        }
        script::read(builder, path, options);
        return Ok(());
    }
    read_text(builder, path, &bytes)
}

/// Reads a text; the path says what it is called, and by its extension perhaps which form it has.
fn read_text(builder: &mut Builder, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let name = path.to_string_lossy();
    if is_vault(bytes) {
        let hint = "decrypt it with `ansible-vault decrypt`, or keep only its secret variables encrypted";
        builder.report(Problem::error(&name, Fault::VaultInventory).hint(hint));
        return Ok(());
    }
    let form = Form::of(path, bytes)?;
    let content = match decode(bytes, form) {
        Ok(content) => content,
        Err(line) => {
            builder.report(Problem { place: Place { line, column: 0 }, ..Problem::error(&name, Fault::NotUtf8) });
            return Ok(());
        }
    };
    let text = Text { file: &name, content: &content, number: builder.add_file(&name) };
    match form {
        Form::Ini => ini::read(builder, &text),
        // What is called JSON gets JSON's words for its mistakes.
        Form::Yaml => match if name.ends_with(".json") { yaml::parse_json } else { yaml::parse }(&content, &name) {
            Ok(document) => groups::read_yaml(builder, &document, &text),
            Err(error) => builder.report(error.into()),
        },
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Yaml,
    Ini,
}

impl Form {
    fn of(path: &Path, bytes: &[u8]) -> Result<Self, Fault> {
        let start = &bytes[..bytes.len().min(64 * 1024)];
        let start = String::from_utf8_lossy(start);
        let first = start.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        let first = first.unwrap_or("");
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        match extension.as_deref() {
            Some("toml") => Err(Fault::ForeignForm("is TOML, which is not read; write it as YAML or INI")),
            Some("json") => Ok(Self::Yaml),
            _ if first.starts_with('[') => Ok(Self::Ini),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some(_) => Ok(Self::Ini),
            None => Ok(if looks_like_yaml(first) { Self::Yaml } else { Self::Ini }),
        }
    }
}

/// Whether a first line is a mapping's: `all:`, `web: # comment`, `{`, `---`.
fn looks_like_yaml(line: &str) -> bool {
    let key = line.split(" #").next().unwrap_or(line).trim_end();
    line.starts_with(['{', '%'])
        || line.starts_with("---")
        || (key.ends_with(':') || key.contains(": ")) && !key.contains('=')
}

/// The text of a file. In INI, lines that are comments may hold bytes of another encoding, as Ansible allows.
///
/// # Errors
/// The number of the first line that is not UTF-8.
fn decode(bytes: &[u8], form: Form) -> Result<Cow<'_, str>, u32> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)));
    }
    let is_comment = |line: &[u8]| form == Form::Ini && (line.starts_with(b"#") || line.starts_with(b";"));
    let mut lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    match lines.find(|(line, _)| !is_comment(line) && std::str::from_utf8(line).is_err()) {
        Some((_, number)) => Err(number),
        None => Ok(String::from_utf8_lossy(bytes)),
    }
}

/// Whether a whole file is encrypted by Ansible's vault.
pub(super) fn is_vault(bytes: &[u8]) -> bool {
    bytes.starts_with(b"$ANSIBLE_VAULT")
}
