//! `bugle inventory`: the inventory in Ansible's shapes, and what is wrong with it.

use super::failure::Failed;
use super::options::GlobalOptions;
use super::sources::{Known, load_inventory, ssh_config, tell};
use super::variables::{Mistakes, inventory_reach};
use crate::exit_code;
use crate::inventory::{Inventory, Listing, Severity};
use crate::yaml;
use clap::{ArgGroup, Args};
use std::io::{self, BufWriter, Write};

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
        None => failed.hint("`bugle inventory --graph` shows all of them"),
    }
}

/// Reports errors and warnings alike, also about the variables that say how hosts are reached; only errors make the code 2.
fn check(global: &GlobalOptions) -> Result<u8, Failed> {
    let quiet = GlobalOptions { quiet: true, ..global.clone() };
    let (inventory, found) = load_inventory(&quiet)?;
    let (hosts, groups) = (inventory.host_count(), groups(&inventory));
    let known = Known::of(inventory, found, ssh_config(&quiet)?);
    let (mut errors, mut warnings) = (Mistakes::default(), Mistakes::default());
    for (host, name) in known.inventory.hosts().take(hosts) {
        let reach = inventory_reach(&known, host);
        errors.add(name.as_str(), reach.errors);
        warnings.add(name.as_str(), reach.warnings);
        warnings.add(name.as_str(), reach.remarks);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let of_sources = known.inventory.warnings().iter().filter(|problem| problem.severity == Severity::Warning);
    let warnings = warnings.failures(&known.inventory);
    let mut told = warnings.len();
    for warning in of_sources {
        told += 1;
        tell(&mut out, warning)?;
    }
    warnings.into_iter().for_each(|warning| warning.warn(&mut out));
    out.flush()?;
    let unusable = errors.failures(&known.inventory);
    if !unusable.is_empty() {
        return Err(Failed::several(unusable, usize::MAX));
    }
    if found {
        let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let (hosts, groups) = (counted(hosts, "host"), counted(groups, "group"));
        writeln!(out, "{hosts} in {groups}, {}", counted(told, "warning"))?;
    } else {
        writeln!(out, "there is no inventory")?;
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}

/// Without the two that are always there.
fn groups(inventory: &Inventory) -> usize {
    inventory.groups().filter(|(_, name)| !matches!(*name, "all" | "ungrouped")).count()
}
