//! `bugle hosts TARGETS`: who is selected.

use super::failure::Failed;
use super::options::{GlobalOptions, TargetOptions};
use super::shown::write_json;
use super::sources::Known;
use crate::exit_code;
use crate::inventory::HostIndex;
use crate::nodeset::fold;
use crate::selection::{Origin, Selected};
use clap::Args;
use serde_json::json;
use std::io::{self, BufWriter, Write};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle hosts all
  bugle hosts 'web[01-20]!web07' --fold
  bugle hosts 'web:&prod' --count
  bugle hosts db01 --groups
  bugle hosts '@web' --json -")]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: TargetOptions,
    /// As one node set, such as `web[01-20]`
    #[arg(long, conflicts_with_all = ["count", "groups", "json"])]
    fold: bool,
    /// Only how many
    #[arg(long, conflicts_with_all = ["groups", "json"])]
    count: bool,
    /// Each host with the groups that it is in
    #[arg(long, conflicts_with = "json")]
    groups: bool,
    /// As JSON: a list of names with their groups; `-` is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<String>,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let known = Known::load(global)?;
    let selection = known.select(&arguments.targets)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.count {
        writeln!(out, "{}", selection.hosts.len())?;
    } else if arguments.fold {
        writeln!(out, "{}", fold(selection.names().map(|name| name.as_str())))?;
    } else if let Some(target) = &arguments.json {
        let list = selection
            .hosts
            .iter()
            .map(|host| json!({ "name": host.name.as_str(), "groups": groups_of(&known, host), "user": host.user, "port": host.port }))
            .collect();
        write_json(target, &list)?;
    } else {
        for host in &selection.hosts {
            if arguments.groups {
                writeln!(out, "{}: {}", host.name, groups_of(&known, host).join(" "))?;
            } else {
                writeln!(out, "{}", host.name)?;
            }
        }
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}

/// The groups of a host by name, without `all`.
fn groups_of<'a>(known: &'a Known, host: &Selected) -> Vec<&'a str> {
    let Origin::Inventory(index) = host.origin else { return Vec::new() };
    let groups = known.inventory.groups_of(HostIndex::new(index)).iter();
    let mut names: Vec<&str> =
        groups.map(|&group| known.inventory.group_name(group)).filter(|name| *name != "all").collect();
    names.sort_unstable();
    names
}
