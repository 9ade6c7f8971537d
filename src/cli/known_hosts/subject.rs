//! Whose keys `list` and `remove` are about: hosts by their targets, or names as they stand in the files.

use crate::cli::failure::Failed;
use crate::cli::options::{GlobalOptions, TargetOptions};
use crate::cli::reach::Reach;
use crate::cli::sources::Known;
use crate::known_hosts::{Document, NameStyle, WriteError};
use crate::ssh_config::Request;
use clap::{Args, ValueHint};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Stands for whatever host when files are looked for that belong to none: only what holds for all hosts holds for it.
const ANY_HOST: &str = "*";

/// Which file.
#[derive(Args, Debug)]
pub(super) struct FileOptions {
    /// This file instead of those that ssh_config names (UserKnownHostsFile)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

/// Whose keys.
#[derive(Args, Debug)]
pub(super) struct SubjectOptions {
    /// Of the hosts that an argument selects, keep only those that this selects too [repeatable]
    #[arg(long, value_name = "EXPR")]
    limit: Vec<String>,
    /// Of the hosts that an argument selects, leave these out [repeatable]
    #[arg(short = 'x', long, value_name = "EXPR")]
    exclude: Vec<String>,
    #[command(flatten)]
    pub(super) files: FileOptions,
}

/// The files of a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Files {
    /// Ours, which may be edited.
    pub(super) user: Vec<PathBuf>,
    /// Those of the system.
    pub(super) global: Vec<PathBuf>,
}

/// Somebody whose keys are looked for.
#[derive(Debug)]
pub(super) struct Subject {
    /// As the user knows it.
    pub(super) label: String,
    /// As files have it, in lower case; more than one where an argument is a host and a name at once.
    pub(super) names: Vec<String>,
}

/// Everybody who is looked for, by the files.
pub(super) type Subjects = BTreeMap<Files, Vec<Subject>>;

impl FileOptions {
    /// The files of a name that is no host of anybody's, or of any host at all, and how names are written into them.
    pub(super) fn of(&self, known: &Known, name: Option<&str>) -> Result<(Files, NameStyle), Failed> {
        let effective = known.ssh_config.resolve(&Request::new(name.unwrap_or(ANY_HOST)))?;
        let options = &effective.options;
        let style = if options.hash_known_hosts { NameStyle::Hashed } else { NameStyle::Clear };
        let (user, global) = (options.user_known_hosts_files.clone(), options.global_known_hosts_files.clone());
        Ok((self.chosen(Files { user, global }), style))
    }

    fn chosen(&self, files: Files) -> Files {
        match &self.file {
            Some(file) => Files { user: vec![file.clone()], global: Vec::new() },
            None => files,
        }
    }

    /// The file that was typed has to be there.
    pub(super) fn require(&self) -> Result<(), Failed> {
        match &self.file {
            Some(file) if !file.exists() => Err(Failed::mistake_text(format!("there is no file `{}`", file.display()))),
            _ => Ok(()),
        }
    }
}

impl SubjectOptions {
    /// Everybody whom the arguments mean: each is a selection of hosts or a name, or one host that is both, or a pattern that
    /// selects hosts and stands in a file.
    pub(super) fn subjects(
        &self,
        known: &Known,
        global: &GlobalOptions,
        arguments: &[String],
    ) -> Result<Subjects, Failed> {
        let mut subjects = Subjects::new();
        let mut reach = Reach::new(known, None, None);
        for argument in arguments {
            let name = entry_name(argument);
            let pattern = self.pattern(known, argument)?;
            let is_pattern = pattern.is_some();
            if let Some((files, subject)) = pattern {
                subjects.entry(files).or_default().push(subject);
            }
            let targets =
                TargetOptions { targets: argument.clone(), limit: self.limit.clone(), exclude: self.exclude.clone() };
            let selection = match (known.select(&targets), &name) {
                (Ok(selection), _) => selection,
                (Err(_), Some(name)) => {
                    let (files, _) = self.files.of(known, host_of(name))?;
                    let subject = Subject { label: argument.clone(), names: vec![name.clone()] };
                    subjects.entry(files).or_default().push(subject);
                    continue;
                }
                (Err(_), None) if is_pattern => continue,
                (Err(failed), None) => return Err(failed),
            };
            let is_one = selection.hosts.len() == 1;
            for host in reach.all(&selection.hosts, None)? {
                let destination = host.destination;
                let profile = &destination.profile;
                let files = self.files.chosen(Files {
                    user: profile.user_known_hosts.clone(),
                    global: profile.global_known_hosts.clone(),
                });
                let mut names = vec![destination.host_query().lookup_name()];
                let is_it = is_one && destination.name.as_str().eq_ignore_ascii_case(argument);
                names.extend(name.clone().filter(|name| is_it && *name != names[0]));
                subjects.entry(files).or_default().push(Subject { label: destination.name.to_string(), names });
            }
        }
        if !global.quiet {
            reach.warnings().for_each(|warning| warning.warn(&mut io::stderr()));
        }
        Ok(subjects)
    }

    /// The argument as a pattern that lines of the files have, as `ssh-keygen -R` looks for it.
    fn pattern(&self, known: &Known, argument: &str) -> Result<Option<(Files, Subject)>, Failed> {
        let Some(name) = pattern_name(argument) else { return Ok(None) };
        let (files, _) = self.files.of(known, None)?;
        for path in files.user.iter().chain(&files.global) {
            let document = Document::read(path).map_err(Failed::mistake)?;
            if document.is_some_and(|document| document.find(&name).next().is_some()) {
                return Ok(Some((files, Subject { label: argument.to_owned(), names: vec![name] })));
            }
        }
        Ok(None)
    }
}

/// The argument as one name of a file, where it could be one: `host` or `[host]:port`.
fn entry_name(argument: &str) -> Option<String> {
    one_name(argument).filter(|name| !name.contains(['*', '?']))
}

/// The argument as one pattern of names, where it could be one.
fn pattern_name(argument: &str) -> Option<String> {
    one_name(argument).filter(|name| name.contains(['*', '?']))
}

fn one_name(argument: &str) -> Option<String> {
    let host = host_of(argument)?;
    let is_name = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "[],!&^~@|/".contains(c));
    let is_plain = !host.contains(':') || host.parse::<Ipv6Addr>().is_ok();
    (is_name && is_plain && !host.starts_with('-')).then(|| argument.to_ascii_lowercase())
}

/// `host` of `host` and `[host]:port`.
fn host_of(name: &str) -> Option<&str> {
    match name.strip_prefix('[') {
        None => Some(name),
        Some(rest) => rest.split_once("]:").filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host),
    }
}

/// A file was not edited.
impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Read(error) => Self::mistake(error),
            other => Self::fault(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_from_expressions() {
        for (argument, name) in [
            ("web01", Some("web01")),
            ("Web01.example.com", Some("web01.example.com")),
            ("::1", Some("::1")),
            ("[web01]:2222", Some("[web01]:2222")),
            ("[::1]:2222", Some("[::1]:2222")),
            ("web[01-20]", None),
            ("web01:2222", None),
            ("[web01]", None),
            ("[web01]:ssh", None),
            ("web*", None),
            ("a,b", None),
            ("user@web01", None),
            ("^list", None),
            ("-", None),
        ] {
            assert_eq!(entry_name(argument).as_deref(), name, "{argument}");
        }
        for (argument, name) in [
            ("*.Example.com", Some("*.example.com")),
            ("[10.0.0.?]:2222", Some("[10.0.0.?]:2222")),
            ("web01", None),
            ("web*,db", None),
            ("!web*", None),
            ("web[1-2]*", None),
        ] {
            assert_eq!(pattern_name(argument).as_deref(), name, "{argument}");
        }
    }
}
