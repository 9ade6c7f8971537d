//! What was found of keys on hosts, as a table for people and as objects for programs.

use crate::cli::shown::shown;
use crate::keys::authorized::{Entry, Fault, Options};
use crate::known_hosts::PublicKey;
use crate::nodeset::fold;
use crate::task::rollout::Finding;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// RSA keys with fewer bits are weak (NIST SP 800-57 gives up on them after 2013).
const RSA_BITS: u32 = 2048;
/// Characters of options that a row shows: longer ones would move every other row; `--json` has them whole.
const OPTIONS: usize = 40;
/// The columns before the hosts.
const HEADS: [&str; 8] = ["COMMENT", "KEY", "TYPE", "USER", "OPTIONS", "EXPIRES", "FLAGS", "CHANGED"];

/// Everything that was found, and what is to be said of it.
pub(super) struct Table<'a> {
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

/// Where a row is so: the hosts, and the days on which their files were last written to.
#[derive(Default)]
struct Places<'a> {
    hosts: Vec<&'a str>,
    days: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(names: &'a [String], found: &'a [Finding]) -> Self {
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
                    let is_twice =
                        times.get(&(finding.host.0, &finding.user, &entry.key)).is_some_and(|times| *times > 1);
                    let is_over = finding.expiry.as_ref().is_some_and(|(_, is_over)| *is_over == Some(true));
                    let told = [(is_over, "expired"), (is_twice, "duplicate")];
                    let told = told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag.to_owned());
                    let options = Options::found(&entry.options);
                    let unknown = options.unknown().map(|name| format!("ignored: unknown option `{}`", shown(name)));
                    let flags = weakness(&entry.key).into_iter().chain(told).chain(unknown).collect();
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
    pub(super) fn text(&self) -> String {
        let mut lines: BTreeMap<[String; 7], Places<'_>> = BTreeMap::new();
        for found in &self.rows {
            let places = lines.entry(found.cells()).or_default();
            let name = self.host(found.finding);
            // The same twice on one host is one host.
            if places.hosts.last() != Some(&name) {
                places.hosts.push(name);
            }
            places.days.extend(found.finding.written.as_deref().and_then(|written| written.split('T').next()));
        }
        let rows: Vec<([String; 8], String)> = lines.into_iter().map(|(cells, places)| row(cells, &places)).collect();
        let mut widths = HEADS.map(str::len);
        for (cells, _) in &rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        if !rows.is_empty() {
            text += &format!("{}HOSTS\n", padded(&HEADS.map(str::to_owned), &widths));
        }
        for (cells, hosts) in &rows {
            text += &format!("{}{hosts}\n", padded(cells, &widths));
        }
        for (finding, fault) in &self.faults {
            let Finding { user, path, line, .. } = finding;
            text += &format!("not understood: {} {user} {}:{line}: {fault}\n", self.host(finding), shown(path));
        }
        text
    }

    /// An object for each line.
    pub(super) fn objects(&self) -> impl Iterator<Item = Value> {
        let keys = self.rows.iter().map(|Found { finding, entry, flags }| {
            json!({
                "host": self.host(finding), "user": finding.user, "file": finding.path, "line": finding.line,
                "file_changed": finding.written,
                "type": entry.key.algorithm(), "bits": entry.key.bits(), "fingerprint": entry.key.fingerprint(),
                "comment": String::from_utf8_lossy(&entry.comment), "options": String::from_utf8_lossy(&entry.options),
                "expires": finding.expiry.as_ref().map(|(expiry, _)| expiry.to_string()), "flags": flags,
            })
        });
        let faults = self.faults.iter().map(|(finding, fault)| {
            json!({
                "host": self.host(finding), "user": finding.user, "file": finding.path, "line": finding.line,
                "file_changed": finding.written, "fault": fault.to_string(), "flags": ["not understood"],
            })
        });
        keys.chain(faults)
    }
}

impl Found<'_> {
    /// What makes it a row of its own.
    fn cells(&self) -> [String; 7] {
        let Self { finding, entry, flags } = self;
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            if text.is_empty() { "-".to_owned() } else { shown(&text).into_owned() }
        };
        let key = &entry.key;
        let kind = key.bits().map_or(key.family().to_owned(), |bits| format!("{} {bits}", key.family()));
        // Midnight is what a date alone means.
        let expires = finding.expiry.as_ref().map(|(expiry, _)| expiry.to_string().replace("T00:00:00", ""));
        let flags = if flags.is_empty() { "-".into() } else { flags.join(", ") };
        let user = finding.user.clone();
        let expires = expires.unwrap_or_else(|| "-".into());
        [text(&entry.comment), key.fingerprint(), kind, user, text(&entry.options), expires, flags]
    }
}

/// The cells of a row as they are shown, and its hosts.
fn row([comment, key, kind, user, options, expires, flags]: [String; 7], places: &Places<'_>) -> ([String; 8], String) {
    let options = match options.char_indices().nth(OPTIONS) {
        Some((end, _)) => format!("{}…", &options[..end]),
        None => options,
    };
    let changed = match (places.days.iter().min(), places.days.iter().max()) {
        (Some(first), Some(last)) if first == last => (*first).to_owned(),
        (Some(first), Some(last)) => format!("{first}..{last}"),
        _ => "-".into(),
    };
    let hosts = format!("{} ({})", fold(places.hosts.iter().copied()), places.hosts.len());
    ([comment, key, kind, user, options, expires, flags, changed], hosts)
}

fn padded(cells: &[String; 8], widths: &[usize; 8]) -> String {
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
