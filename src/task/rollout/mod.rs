//! Keys on one host: who may log in is made what it should be, and proved by logins of its own.
//!
//! [`Rollout`] lets keys in and shuts keys out, with [`RolloutOrder`] saying which; [`KeyListing`] only looks. A file is edited
//! here, as a document, and replaced on trial (`transaction.rs`): it stands only once a new login has shown that nobody is
//! shut out who should not be.

mod changes;
mod facts;
mod frames;
mod intent;
mod listing;
mod obstacle;
mod order;
mod plan;
mod proof;
mod proving;
mod rescue;
mod rest;
mod script;
mod site;
mod strict;
#[cfg(test)]
mod swaps;
mod telling;
mod transaction;
#[cfg(test)]
mod trials;

pub use listing::{Finding, KeyListing};
pub use order::{Absent, Admission, Bearer, Caution, Errand, Repair, RolloutOrder, Sequence, Whose, Wish};
pub use proof::sources;

use super::caller::{Caller, OnHost, attempt};
use super::privilege::Privilege;
use crate::connection::{Connection, Destination, Trace};
use crate::host::HostId;
use crate::outcome::Outcome;
use crate::scheduler::{Ended, Unit, Work};
use facts::Accounts;
use site::Site;
use std::sync::Arc;

/// A host whose keys are looked after.
pub struct RolloutHost {
    /// Where.
    pub destination: Destination,
    /// As whom, where not as the login user.
    pub privilege: Option<Privilege>,
}

/// Keys let in and shut out on every host of a run.
pub struct Rollout {
    /// The way to the hosts.
    pub caller: Caller,
    /// The hosts, in the order of the roster.
    pub hosts: Vec<RolloutHost>,
    /// What is done.
    pub order: RolloutOrder,
}

impl Work for Rollout {
    async fn attempt(&self, unit: Unit) -> Ended {
        attempt(self, unit).await
    }
}

impl OnHost for Rollout {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn destination(&self, host: HostId) -> &Destination {
        &self.hosts[host.index()].destination
    }

    async fn work(&self, unit: &Unit, connection: &Arc<Connection>, _: &mut Trace) -> Outcome {
        let site = Site { rollout: self, host: &self.hosts[unit.host.index()], connection, unit };
        self.order.conduct.bound(unit, Box::pin(site.all())).await
    }
}

/// Whose files are looked at.
fn accounts_of(host: &RolloutHost, whose: &Whose) -> Accounts {
    match whose {
        Whose::Everyone => Accounts::Everyone,
        Whose::User(user) => Accounts::Named(vec![user.clone()]),
        Whose::Login if host.privilege.is_some() => Accounts::Named(vec![host.destination.endpoint.user.clone()]),
        Whose::Login => Accounts::Own,
    }
}
