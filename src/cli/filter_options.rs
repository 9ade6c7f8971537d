//! `--exclude`, `--include` and `--exclude-from`, in the order in which they were typed: the first rule that matches wins.

use super::failure::Failed;
use crate::selection::Selected;
use crate::tree::{Filter, FilterError, FilterRule};
use clap::{Arg as Argument, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Which files of a tree are meant.
#[derive(Debug, Default)]
pub(super) struct FilterOptions {
    rules: Vec<FilterRule>,
}

// The settings of these have names of their own: `exclude` is about hosts there.
const EXCLUDE: &str = "exclude_files";
const INCLUDE: &str = "include_files";
const EXCLUDE_FROM: &str = "exclude_files_from";

impl FilterOptions {
    pub(super) fn filter(&self) -> Result<Filter, FilterError> {
        Filter::new(&self.rules)
    }

    /// `--exclude` is about hosts everywhere else: whoever means that must not move the files of a host that he wants left
    /// out.
    pub(super) fn refuse_hosts(&self, hosts: &[Selected]) -> Result<(), Failed> {
        let mut excluded = self.rules.iter().filter_map(|rule| match rule {
            FilterRule::Exclude(pattern) => Some(&pattern[..]),
            FilterRule::Include(_) | FilterRule::ExcludeFrom(_) => None,
        });
        match excluded.find(|pattern| hosts.iter().any(|host| host.name.as_str().as_bytes() == *pattern)) {
            Some(name) => {
                let name = name.escape_ascii();
                Err(Failed::mistake_text(format!(
                    "`--exclude {name}` leaves files out, and `{name}` is a host that is selected"
                ))
                .hint(format!("-x {name} leaves the host out; `--exclude /{name}` or `**/{name}` the file")))
            }
            None => Ok(()),
        }
    }
}

impl Args for FilterOptions {
    fn augment_args(command: Command) -> Command {
        let list = |name: &'static str, long: &'static str, value: &'static str, help: &'static str| {
            Argument::new(name)
                .long(long)
                .value_name(value)
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString))
                .help_heading("Which files")
                .help(help)
        };
        command
            .arg(list(EXCLUDE, "exclude", "GLOB", "Leave out what matches, in gitignore's syntax [repeatable]"))
            .arg(list(
                INCLUDE,
                "include",
                "GLOB",
                "Keep what matches, where no rule before it leaves it out [repeatable]",
            ))
            .arg(
                list(EXCLUDE_FROM, "exclude-from", "FILE", "Rules from a file, in gitignore's syntax [repeatable]")
                    .value_hint(ValueHint::FilePath),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let mut rules: Vec<(usize, FilterRule)> = Vec::new();
        for name in [EXCLUDE, INCLUDE, EXCLUDE_FROM] {
            let (Some(indices), Some(values)) = (matches.indices_of(name), matches.get_many::<OsString>(name)) else {
                continue;
            };
            rules.extend(indices.zip(values.cloned()).map(|(index, value)| {
                let rule = match name {
                    EXCLUDE => FilterRule::Exclude(value.into_vec()),
                    INCLUDE => FilterRule::Include(value.into_vec()),
                    _ => FilterRule::ExcludeFrom(PathBuf::from(value)),
                };
                (index, rule)
            }));
        }
        rules.sort_by_key(|(index, _)| *index);
        self.rules = rules.into_iter().map(|(_, rule)| rule).collect();
        Ok(())
    }
}
