//! `bugle keys list TARGETS`: a table of keys, users and hosts.

use super::revoke::wanted;
use super::rollout::RolloutOptions;
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::shown;
use crate::keys::authorized::{Entry, Fault, Wanted};
use crate::known_hosts::PublicKey;
use crate::nodeset::fold;
use crate::task::rollout::{Finding, KeyListing, Whose};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// RSA keys with fewer bits are weak (NIST SP 800-57 gives up on them after 2013).
const RSA_BITS: u32 = 2048;

#[derive(Args, Debug)]
#[command(after_help = "--json writes an object a line instead of the table.

Examples:
  bugle keys list all
  bugle keys list all --sudo --everywhere --key alice.pub
  bugle keys list all --sudo --everywhere --json - | jq 'select(.flags | length > 0)'")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// Only this key: a key file, SHA256:… or MD5:…, a comment, or the key itself [repeatable]
    #[arg(long, value_name = "KEY", id = "only", help_heading = "Which keys")]
    key: Vec<String>,
    /// In the files of all users (with --sudo, unless root logs in)
    #[arg(long, conflicts_with = "for")]
    everywhere: bool,
}

pub(super) fn run(global: &GlobalOptions, mut arguments: Arguments) -> Result<u8, Failed> {
    let only = wanted(&arguments.key)?;
    let whose = if arguments.everywhere { Whose::Everyone } else { arguments.rollout.whose()? };
    // It is the keys that are asked for, not the events.
    let json = arguments.rollout.fanout.json.take();
    let ready = arguments.rollout.reach(global, "keys list")?;
    let names: Vec<String> = ready.called.hosts.iter().map(|host| host.destination.name.to_string()).collect();
    let (found, conduct) = (Arc::new(Mutex::default()), arguments.rollout.conduct());
    let listing = Arc::clone(&found);
    let code = ready
        .work(title(&only), &[], |caller, hosts| Ok(KeyListing { caller, hosts, whose, conduct, found: listing }))?;
    let mut found: Vec<Finding> = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    found.retain(|finding| match &finding.key {
        Ok(entry) => only.is_empty() || only.iter().any(|wanted| wanted.matches(entry)),
        Err(_) => only.is_empty(),
    });
    found.sort_by(|one, other| {
        (one.host, &one.user, &one.path, one.line).cmp(&(other.host, &other.user, &other.path, other.line))
    });
    let table = Table::new(&names, &found);
    match json {
        Some(path) => write_json(&path, &table)?,
        None => table.print(&mut BufWriter::new(io::stdout().lock()))?,
    }
    Ok(code)
}

fn title(only: &[Wanted]) -> String {
    let keys: Vec<String> = only.iter().map(ToString::to_string).collect();
    if keys.is_empty() { "all keys".into() } else { keys.join(", ") }
}

/// Everything that was found, and what is to be said of it.
struct Table<'a> {
    names: &'a [String],
    rows: Vec<Found<'a>>,
    faults: Vec<(&'a Finding, &'a Fault)>,
}

/// A key in a file.
struct Found<'a> {
    finding: &'a Finding,
    entry: &'a Entry,
    flags: Vec<String>,
}

impl<'a> Table<'a> {
    fn new(names: &'a [String], found: &'a [Finding]) -> Self {
        let mut times: HashMap<(u32, &str, &PublicKey), usize> = HashMap::new();
        for finding in found {
            if let Ok(entry) = &finding.key {
                *times.entry((finding.host.0, &finding.user, &entry.key)).or_default() += 1;
            }
        }
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for finding in found {
            match &finding.key {
                Ok(entry) => {
                    let mut flags: Vec<String> = weakness(&entry.key).into_iter().collect();
                    if times.get(&(finding.host.0, &finding.user, &entry.key)).is_some_and(|times| *times > 1) {
                        flags.push("duplicate".into());
                    }
                    rows.push(Found { finding, entry, flags });
                }
                Err(fault) => faults.push((finding, fault)),
            }
        }
        Self { names, rows, faults }
    }

    fn host(&self, finding: &Finding) -> &'a str {
        &self.names[finding.host.index()]
    }

    /// A line for each key, user, comment and options, with the hosts where that is so.
    fn print(&self, out: &mut dyn Write) -> Result<(), Failed> {
        let mut lines: BTreeMap<[String; 6], Vec<&str>> = BTreeMap::new();
        for Found { finding, entry, flags } in &self.rows {
            let text = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes);
                if text.is_empty() { "-".to_owned() } else { shown(&text).into_owned() }
            };
            let key = &entry.key;
            let kind = key.bits().map_or(key.family().to_owned(), |bits| format!("{} {bits}", key.family()));
            let flags = if flags.is_empty() { "-".into() } else { flags.join(", ") };
            let cells =
                [text(&entry.comment), key.fingerprint(), kind, finding.user.clone(), text(&entry.options), flags];
            let hosts = lines.entry(cells).or_default();
            let name = self.host(finding);
            // The same twice on one host is one host.
            if hosts.last() != Some(&name) {
                hosts.push(name);
            }
        }
        let heads = ["COMMENT", "KEY", "TYPE", "USER", "OPTIONS", "FLAGS"];
        let mut widths = heads.map(str::len);
        for cells in lines.keys() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !lines.is_empty() {
            writeln!(out, "{}HOSTS", row(&heads.map(str::to_owned), &widths))?;
        }
        for (cells, hosts) in &lines {
            writeln!(out, "{}{} ({})", row(cells, &widths), fold(hosts.iter().copied()), hosts.len())?;
        }
        for (finding, fault) in &self.faults {
            let Finding { user, path, line, .. } = finding;
            writeln!(out, "not understood: {} {user} {}:{line}: {fault}", self.host(finding), shown(path))?;
        }
        out.flush()?;
        Ok(())
    }

    fn objects(&self) -> impl Iterator<Item = Value> {
        let keys = self.rows.iter().map(|Found { finding, entry, flags }| {
            json!({
                "host": self.host(finding), "user": finding.user, "file": finding.path, "line": finding.line,
                "type": entry.key.algorithm(), "bits": entry.key.bits(), "fingerprint": entry.key.fingerprint(),
                "comment": String::from_utf8_lossy(&entry.comment), "options": String::from_utf8_lossy(&entry.options),
                "flags": flags,
            })
        });
        let faults = self.faults.iter().map(|(finding, fault)| {
            json!({
                "host": self.host(finding), "user": finding.user, "file": finding.path, "line": finding.line,
                "fault": fault.to_string(), "flags": ["not understood"],
            })
        });
        keys.chain(faults)
    }
}

fn row(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let padded =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count() + 2)));
    padded.collect()
}

/// Why a key should not be used any more.
fn weakness(key: &PublicKey) -> Option<String> {
    match (key.algorithm(), key.bits()) {
        ("ssh-dss", _) => Some("weak: DSA".into()),
        ("ssh-rsa", Some(bits)) if bits < RSA_BITS => Some(format!("weak: RSA of {bits} bits")),
        _ => None,
    }
}

fn write_json(path: &Path, table: &Table<'_>) -> Result<(), Failed> {
    let mut out: Box<dyn Write> = if path == Path::new("-") {
        Box::new(io::stdout().lock())
    } else {
        let create = |path: &PathBuf| File::create(path);
        let file = create(&path.to_path_buf())
            .map_err(|error| Failed::mistake_text(format!("cannot write `{}`: {error}", path.display())))?;
        Box::new(file)
    };
    let mut text = String::new();
    for object in table.objects() {
        text += &object.to_string();
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
