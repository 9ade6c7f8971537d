//! `bugle known-hosts list [NAME|TARGETS…]`: what is known, with its place.

use super::subject::{Subject, SubjectOptions};
use crate::cli::failure::{Failed, warn};
use crate::cli::options::GlobalOptions;
use crate::cli::shown::{shown, write_json};
use crate::cli::sources::Known;
use crate::exit_code;
use crate::known_hosts::{Document, Entry, Line, Marker, Names, ReadError};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts list
  bugle known-hosts list web01 '[web01]:2222'
  bugle known-hosts list '@web' --json -
  bugle known-hosts list --file /etc/ssh/ssh_known_hosts")]
pub(super) struct Arguments {
    /// Names as files have them, hashed ones too, or targets; without any, whole files
    #[arg(value_name = "NAME|TARGETS")]
    names: Vec<String>,
    #[command(flatten)]
    subjects: SubjectOptions,
    /// As JSON; `-` is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<String>,
}

/// A line of a file that is shown.
pub(super) struct Found {
    /// Who was looked for; nobody where a whole file is shown.
    subject: Option<String>,
    path: PathBuf,
    line: usize,
    entry: Entry,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let options = &arguments.subjects;
    options.files.require()?;
    let known = Known::load(global)?;
    let mut opened = Opened::default();
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    if arguments.names.is_empty() {
        let (files, _) = options.files.of(&known, None)?;
        for path in files.user.iter().chain(&files.global) {
            found.extend(opened.read(path)?.into_iter().flat_map(|document| whole(path, document)));
        }
    }
    for (files, subjects) in options.subjects(&known, global, &arguments.names)? {
        let mut counts = vec![0; subjects.len()];
        let mut own = Vec::new();
        for path in files.user.iter().chain(&files.global) {
            let Some(document) = opened.read(path)? else { continue };
            for (number, found) in of_subjects(path, document, &subjects) {
                counts[number] += 1;
                own.push((number, found));
            }
        }
        own.sort_by_key(|(number, _)| *number);
        found.extend(own.into_iter().map(|(_, found)| found));
        unknown.extend(subjects.into_iter().zip(counts).filter(|(_, count)| *count == 0).map(|(subject, _)| subject));
    }
    let mut stderr = io::stderr().lock();
    if !global.quiet {
        opened.problems().try_for_each(|problem| warn(&mut stderr, problem))?;
    }
    match &arguments.json {
        Some(target) => write_json(target, &Value::Array(found.iter().map(Found::document).collect()))?,
        None => write_table(&mut BufWriter::new(io::stdout().lock()), &found)?,
    }
    for subject in &unknown {
        writeln!(stderr, "nothing is known of {}", subject.shown())?;
    }
    // As `ssh-keygen -F`.
    Ok(if unknown.is_empty() { exit_code::SUCCESS } else { exit_code::WORK_FAILED })
}

/// Files that were read, once each.
#[derive(Default)]
struct Opened(BTreeMap<PathBuf, Option<Document>>);

impl Opened {
    fn read(&mut self, path: &Path) -> Result<Option<&Document>, Failed> {
        if !self.0.contains_key(path) {
            let document = Document::read(path).map_err(|error: ReadError| Failed::mistake(error))?;
            self.0.insert(path.into(), document);
        }
        Ok(self.0.get(path).and_then(Option::as_ref))
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        let files = self.0.iter().filter_map(|(path, document)| Some((path, document.as_ref()?)));
        files.flat_map(|(path, document)| document.problems(path)).map(|problem| problem.to_string())
    }
}

fn whole(path: &Path, document: &Document) -> Vec<Found> {
    let entries = document.lines().filter_map(|line| match line.content {
        Line::Entry(entry) => Some((line.number, entry)),
        _ => None,
    });
    let found = |(line, entry): (usize, &Entry)| Found { subject: None, path: path.into(), line, entry: entry.clone() };
    entries.map(found).collect()
}

/// The lines about the subjects, with the position of the subject.
pub(super) fn of_subjects(path: &Path, document: &Document, subjects: &[Subject]) -> Vec<(usize, Found)> {
    let names: Vec<&str> = subjects.iter().flat_map(|subject| subject.names.iter().map(String::as_str)).collect();
    let mut lines = document.find_all(&names).into_iter();
    let all: Vec<_> = document.lines().collect();
    let mut found = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        let mut own: Vec<usize> = lines.by_ref().take(subject.names.len()).flatten().collect();
        own.sort_unstable();
        own.dedup();
        for line in own {
            if let Line::Entry(entry) = all[line - 1].content {
                found.push((
                    number,
                    Found { subject: Some(subject.shown()), path: path.into(), line, entry: entry.clone() },
                ));
            }
        }
    }
    found
}

impl Subject {
    /// `web01 (10.0.0.1)`, or only the name where files have that.
    pub(super) fn shown(&self) -> String {
        match self.names.iter().find(|name| !name.eq_ignore_ascii_case(&self.label)) {
            Some(name) => format!("{} ({name})", self.label),
            None => self.label.clone(),
        }
    }
}

impl Found {
    /// Whether it is a key of hosts, and neither an authority nor a revocation.
    pub(super) fn is_unmarked(&self) -> bool {
        self.entry.marker == Marker::None
    }

    fn label(&self) -> String {
        match (&self.subject, &self.entry.names) {
            (Some(subject), _) => subject.clone(),
            (None, Names::Hashed(_)) => "(hashed)".into(),
            (None, names) => names.to_string(),
        }
    }

    /// For the output as JSON.
    pub(super) fn document(&self) -> Value {
        let key = &self.entry.key;
        let (names, hashed) = match &self.entry.names {
            Names::Hashed(_) => (None, true),
            names => (Some(names.to_string().split(',').map(str::to_owned).collect::<Vec<_>>()), false),
        };
        json!({
            "host": self.subject,
            "names": names,
            "hashed": hashed,
            "marker": (self.entry.marker != Marker::None).then(|| self.entry.marker.to_string()),
            "type": key.algorithm(),
            "bits": key.bits(),
            "fingerprint": key.fingerprint(),
            "key": key.to_string(),
            "file": self.path.display().to_string(),
            "line": self.line,
        })
    }
}

/// A key a line: whose, its type and fingerprint, where it stands, and its marker.
pub(super) fn write_table(out: &mut dyn Write, found: &[Found]) -> io::Result<()> {
    let widest = |text: &dyn Fn(&Found) -> usize| found.iter().map(text).max().unwrap_or(0);
    let width = widest(&|found| found.label().chars().count()).min(60);
    let family = widest(&|found| found.entry.key.family().len());
    for one in found {
        let (Found { path, line, entry, .. }, label) = (one, one.label());
        let key = &entry.key;
        let marker = if entry.marker == Marker::None { String::new() } else { format!("  {}", entry.marker) };
        let text = format!(
            "{label:width$}  {:<family$}  {}  {}:{line}{marker}",
            key.family(),
            key.fingerprint(),
            path.display()
        );
        writeln!(out, "{}", shown(&text))?;
    }
    out.flush()
}
