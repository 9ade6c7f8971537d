//! Targets: which hosts an expression such as `web[01-20]&@prod!^down.txt` means.
//!
//! [`select`] takes what the user wrote (a [`Request`]) and the hosts and groups that there are (a [`Population`]) and
//! answers a [`Selection`]: every host once, in the order in which the expression names them.
//!
//! The way of an expression: `expression` splits it into words and operators, `evaluate` does what the operators say,
//! and `resolve` turns a word into hosts. How a host is reached and whether it answers is nothing that selection knows.

mod address;
mod error;
mod evaluate;
mod expression;
mod host_set;
mod lists;
mod matcher;
mod nearest;
mod population;
mod resolve;
mod strangers;
mod subscript;

pub use address::Address;
pub use error::{Place, Problem, SelectionError};
pub use lists::{ListSource, Lists, SystemLists};
pub use population::{HostTable, Population};

use crate::host::HostName;
use evaluate::{Evaluation, Purpose};
use host_set::HostSet;
use std::collections::HashMap;

/// What the user wrote about whom to call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The targets.
    pub targets: &'a str,
    /// Each `--limit`: only hosts that all of them select are kept.
    pub limits: &'a [String],
    /// Each `--exclude`: hosts that any of them selects are left out.
    pub excludes: &'a [String],
}

/// The hosts of a run. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Every host once, in the order in which the targets name them; members of a group in the order of the inventory.
    pub hosts: Vec<Selected>,
}

impl Selection {
    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().map(|host| &host.name)
    }
}

/// One host of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The name to show, different for every host of the selection.
    pub name: HostName,
    /// Where the host comes from.
    pub origin: Origin,
    /// The user written with it (`deploy@web01`), over the inventory's.
    pub user: Option<String>,
    /// The port written with it (`web01:2222`), over the inventory's.
    pub port: Option<u16>,
}

/// Where a selected host comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The number of a host of the population.
    Inventory(u32),
    /// A host that no inventory has: the ssh_config alias, name or address to call, without user, port and brackets.
    Implicit(HostName),
}

/// Selects the hosts that a request means.
///
/// The targets are worked out first, then every limit is applied, then every exclusion. An address, a name with a dot
/// and anything written as `user@`, `:port` or `ssh://` is a host even where the population lacks it; so is every name
/// where there is no inventory.
///
/// # Errors
/// Where an expression can't be read, where a name means nobody, and where no host is left. Nothing is skipped silently.
pub fn select(
    population: &dyn Population,
    request: &Request<'_>,
    lists: &mut dyn Lists,
) -> Result<Selection, SelectionError> {
    let mut evaluation = Evaluation::new(population, lists);
    let targets = evaluation.expression(request.targets, &Place::Targets, Purpose::Call)?;
    let mut hosts = targets.hosts;
    if hosts.is_empty() {
        let whole = || whole(request.targets, Problem::Nobody(request.targets.trim().into()));
        return Err(targets.emptied.unwrap_or_else(whole).at(request.targets, &Place::Targets));
    }
    for limit in request.limits {
        let limited = evaluation.expression(limit, &Place::Limit, Purpose::Keep)?;
        if let (true, Some(emptied)) = (limited.hosts.is_empty(), limited.emptied) {
            return Err(emptied.at(limit, &Place::Limit));
        }
        hosts.intersect(&limited.hosts);
        if hosts.is_empty() {
            let reason = format!("none of the hosts of `{}` is in `{}`", request.targets.trim(), limit.trim());
            return Err(whole(limit, Problem::NobodyLeft { reason }).at(limit, &Place::Limit));
        }
    }
    for exclude in request.excludes {
        hosts.subtract(&evaluation.expression(exclude, &Place::Exclude, Purpose::Leave)?.hosts);
        if hosts.is_empty() {
            let reason = format!("`{}` takes away every host", exclude.trim());
            return Err(whole(exclude, Problem::NobodyLeft { reason }).at(exclude, &Place::Exclude));
        }
    }
    Ok(Selection { hosts: selected(evaluation, &hosts) })
}

fn whole(expression: &str, problem: Problem) -> error::Fault {
    error::Fault::new(0..expression.len(), problem)
}

fn selected(mut evaluation: Evaluation<'_>, hosts: &HostSet) -> Vec<Selected> {
    let mut calls: HashMap<HostName, usize> = HashMap::new();
    for stranger in hosts.as_slice().iter().filter_map(|&host| evaluation.strangers.get(host)) {
        *calls.entry(stranger.host.clone()).or_default() += 1;
    }
    let of = |host: u32| match evaluation.strangers.get(host) {
        None => {
            let login = evaluation.logins.remove(&host).unwrap_or_default();
            let name = evaluation.population.host_name(host).clone();
            Selected { name, origin: Origin::Inventory(host), user: login.user, port: login.port }
        }
        Some(stranger) => {
            let name = if calls.get(&stranger.host) == Some(&1) { stranger.host.clone() } else { stranger.full_name() };
            let origin = Origin::Implicit(stranger.host.clone());
            Selected { name, origin, user: stranger.user.clone(), port: stranger.port }
        }
    };
    hosts.as_slice().iter().copied().map(of).collect()
}

#[cfg(test)]
mod tests;
