//! Hosts that are called although no inventory has them.

use super::address::Address;
use crate::host::{HostName, NameError, check_user};
use std::collections::HashMap;

/// A host that no inventory has. The same name with another user or port is another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stranger {
    pub(super) host: HostName,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
}

/// The strangers of a selection, numbered after the hosts of the population.
#[derive(Debug)]
pub(super) struct Strangers {
    first: u32,
    all: Vec<Stranger>,
    numbers: HashMap<Stranger, u32>,
    by_name: HashMap<HostName, Vec<u32>>,
}

impl Strangers {
    pub(super) fn after(population: u32) -> Self {
        Self { first: population, all: Vec::new(), numbers: HashMap::new(), by_name: HashMap::new() }
    }

    /// The number of a name as it is written, a new one where it is met for the first time.
    pub(super) fn call(&mut self, name: &str, address: &Address<'_>) -> Result<u32, NameError> {
        if let Some(user) = address.user {
            check_user(user)?;
        }
        let stranger =
            Stranger { host: HostName::new(name)?, user: address.user.map(String::from), port: address.port };
        if let Some(&number) = self.numbers.get(&stranger) {
            return Ok(number);
        }
        let number = self.first + self.all.len() as u32;
        self.by_name.entry(stranger.host.clone()).or_default().push(number);
        self.numbers.insert(stranger.clone(), number);
        self.all.push(stranger);
        Ok(number)
    }

    /// Those that are called already and that a name means: with any user and port where it names none.
    pub(super) fn known<'a>(&'a self, name: &str, address: &'a Address<'_>) -> impl Iterator<Item = u32> + 'a {
        let numbers = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().copied().filter(|&number| {
            self.get(number).is_some_and(|stranger| {
                address.user.is_none_or(|user| stranger.user.as_deref() == Some(user))
                    && address.port.is_none_or(|port| stranger.port == Some(port))
            })
        })
    }

    /// The stranger of a number; nothing for hosts of the population.
    pub(super) fn get(&self, number: u32) -> Option<&Stranger> {
        self.all.get(number.checked_sub(self.first)? as usize)
    }

    /// All of them with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Stranger)> {
        (self.first..).zip(&self.all)
    }
}

impl Stranger {
    /// The name with the user and the port that are written with it, for hosts that share a name.
    pub(super) fn full_name(&self) -> HostName {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let full = match self.port {
            Some(port) if self.host.as_str().contains(':') => format!("{user}[{}]:{port}", self.host),
            Some(port) => format!("{user}{}:{port}", self.host),
            None => format!("{user}{}", self.host),
        };
        // A user name may hold what a host name may not (`/`); the name alone is safe then.
        HostName::new(&full).unwrap_or_else(|_| self.host.clone())
    }
}
