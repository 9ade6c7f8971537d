//! `bugle inventory`: the inventory in Ansible's shapes, and what is wrong with it.

use super::failure::Failed;
use super::options::GlobalOptions;
use super::reach::inventory_layers;
use super::sources::{Known, load_inventory};
use crate::exit_code;
use crate::inventory::{HostIndex, Inventory, Listing, Severity};
use crate::yaml;
use clap::{ArgGroup, Args};
use std::io::{self, Write};

#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("shape").required(true),
    after_help = "Examples:
  bugle inventory --list
  bugle inventory --host web01
  bugle inventory --graph web --vars
  bugle inventory --check -i inventory/"
)]
pub(super) struct Arguments {
    /// Everything, as `ansible-inventory --list`
    #[arg(long, group = "shape")]
    list: bool,
    /// The variables of one host, as `ansible-inventory --host`
    #[arg(long, value_name = "HOST", group = "shape")]
    host: Option<String>,
    /// The groups as a tree, as `ansible-inventory --graph`
    #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = "all", group = "shape")]
    graph: Option<String>,
    /// Every problem of every source, with its place
    #[arg(long, group = "shape")]
    check: bool,
    /// With --graph: variables too
    #[arg(long, requires = "graph")]
    vars: bool,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    // A shape that is typed is stronger than a check that the configuration file asks for.
    if arguments.check && !arguments.list && arguments.host.is_none() && arguments.graph.is_none() {
        return check(global);
    }
    let (inventory, _) = load_inventory(global)?;
    let listing = Listing::of(&inventory);
    let text = if let Some(host) = &arguments.host {
        let index = inventory
            .host(host)
            .ok_or_else(|| unknown("host", host, inventory.hosts().map(|(_, name)| name.as_str())))?;
        Listing::text(&listing.host(index)) + "\n"
    } else if let Some(group) = &arguments.graph {
        let index =
            inventory.group(group).ok_or_else(|| unknown("group", group, inventory.groups().map(|(_, name)| name)))?;
        if arguments.vars { listing.graph_with_variables(index) } else { listing.graph(index) }
    } else {
        Listing::text(&listing.list()) + "\n"
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failed {
    let failed = Failed::mistake_text(format!("the inventory has no {kind} `{name}`"));
    match yaml::nearest(name, known) {
        Some(near) => failed.hint(format!("did you mean `{near}`?")),
        None => failed,
    }
}

/// Problems with the variables that say how hosts are reached; the first ones explain the others.
const PROBLEMS_SHOWN: usize = 100;

/// Reports errors and warnings alike; only errors make the code 2.
fn check(global: &GlobalOptions) -> Result<u8, Failed> {
    let quiet = GlobalOptions { quiet: true, ..global.clone() };
    let (inventory, found) = load_inventory(&quiet)?;
    let warnings: Vec<_> =
        inventory.warnings().iter().filter(|problem| problem.severity == Severity::Warning).collect();
    let mut out = io::stdout().lock();
    for warning in &warnings {
        writeln!(out, "warning: {warning}")?;
        if let Some(hint) = &warning.hint {
            writeln!(out, "hint: {hint}")?;
        }
    }
    let known = Known::load(&quiet)?;
    let hosts = (0..inventory.host_count()).map(|host| HostIndex::new(host as u32));
    let unusable: Vec<Failed> = hosts.filter_map(|host| inventory_layers(&known, host).err()).collect();
    if !unusable.is_empty() {
        return Err(Failed::several(unusable, PROBLEMS_SHOWN));
    }
    if found {
        let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let hosts = counted(inventory.host_count(), "host");
        writeln!(out, "{hosts} in {}, {}", counted(groups(&inventory), "group"), counted(warnings.len(), "warning"))?;
    } else {
        writeln!(out, "there is no inventory")?;
    }
    Ok(exit_code::SUCCESS)
}

/// Without the two that are always there.
fn groups(inventory: &Inventory) -> usize {
    inventory.groups().filter(|(_, name)| !matches!(*name, "all" | "ungrouped")).count()
}
