//! One word turned into hosts: a name, a group, a range, a position in a group, a pattern.

use super::address::Address;
use super::error::{Fault, Problem};
use super::evaluate::{Evaluation, Login, Purpose};
use super::host_set::HostSet;
use super::matcher::{Matcher, is_glob};
use super::nearest::nearest;
use super::subscript::Subscript;
use crate::host::{check_host, check_user};
use crate::nodeset::{self, Pattern};
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::ops::Range;

/// Groups that exist without being written. A pattern does not match them: `a*` means hosts and groups that somebody
/// gave a name to, not everybody.
const BUILT_IN: [&str; 3] = ["all", "ungrouped", "ssh_config"];

/// A word that means nobody: what is wrong, and at which byte of the word where that is known better.
#[derive(Debug)]
pub(super) struct Miss {
    offset: Option<usize>,
    problem: Problem,
}

impl Miss {
    /// The mistake in an expression that holds the word.
    pub(super) fn within(self, word: &Range<usize>) -> Fault {
        match self.offset {
            Some(offset) if word.start + offset < word.end => {
                let at = word.start + offset;
                Fault::new(at..word.end, self.problem)
            }
            _ => Fault::new(word.clone(), self.problem),
        }
    }
}

impl From<Problem> for Miss {
    fn from(problem: Problem) -> Self {
        Self { offset: None, problem }
    }
}

impl Evaluation<'_> {
    /// Adds the hosts that a word means.
    pub(super) fn names(&mut self, word: &str, purpose: Purpose, hosts: &mut HostSet) -> Result<(), Miss> {
        if let Some(host) = self.population.host_index(word) {
            if purpose == Purpose::Call {
                self.log_in(word, host, Login::default())?;
            }
            hosts.insert(host);
            return Ok(());
        }
        if let Some(expression) = word.strip_prefix('~') {
            return self.matching(word, &Matcher::regex(expression)?, purpose, hosts);
        }
        if word.contains(['{', '}']) {
            return Err(Problem::Braces.into());
        }
        if let Some(group) = word.strip_prefix('@') {
            return self.groups(group, purpose, hosts);
        }
        if self.group(word, purpose, hosts) {
            return Ok(());
        }
        let address = Address::parse(word)?;
        if address.is_explicit() {
            if is_glob(address.host) {
                return Err(Problem::LoginOnMany(address.host.into()).into());
            }
        } else {
            if let Some((base, subscript)) = Subscript::split(word)
                && let Some(members) = self.subscripted(base, purpose)?
            {
                hosts.extend(subscript.of(base, members.as_slice())?.iter().copied());
                return Ok(());
            }
            if is_glob(address.host) {
                return self.matching(word, &Matcher::glob(address.host)?, purpose, hosts);
            }
        }
        let pattern = Pattern::parse(address.host).map_err(|error| Miss {
            offset: Some(address.offset + error.offset),
            problem: Problem::Pattern(error.problem),
        })?;
        let mut unknown = Vec::new();
        for name in pattern.names() {
            if !self.name(&name, &address, purpose, hosts)? {
                unknown.push(name);
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(self.unknown(address.host, &pattern, &unknown, purpose).into()) }
    }

    /// Adds the hosts of one name. False where nobody is called so.
    fn name(
        &mut self,
        name: &str,
        address: &Address<'_>,
        purpose: Purpose,
        hosts: &mut HostSet,
    ) -> Result<bool, Problem> {
        if let Some(host) = self.population.host_index(name) {
            if purpose == Purpose::Call {
                let login = Login { user: address.user.map(String::from), port: address.port };
                self.log_in(name, host, login)?;
            }
            hosts.insert(host);
            return Ok(true);
        }
        if name == "all" || self.population.group_index(name).is_some() {
            if address.is_explicit() {
                return Err(Problem::LoginOnMany(name.into()));
            }
            return Ok(self.group(name, purpose, hosts));
        }
        if purpose == Purpose::Call {
            let known_elsewhere = name.contains(['.', ':']) || name == "localhost" || !self.population.has_inventory();
            if known_elsewhere || address.is_explicit() {
                hosts.insert(self.strangers.call(name, address).map_err(Problem::Name)?);
                return Ok(true);
            }
            check_host(name).map_err(Problem::Name)?;
            return Ok(false);
        }
        let before = hosts.len();
        hosts.extend(self.strangers.known(name, address));
        Ok(hosts.len() > before || (purpose == Purpose::Leave && !self.open.is_empty()))
    }

    /// Notes the user and port that are written with a host of the inventory, or that none are: by its name a host is called
    /// in one way, while one of a group may be called in another way than the rest.
    fn log_in(&mut self, name: &str, host: u32, login: Login) -> Result<(), Problem> {
        if let Some(user) = &login.user {
            check_user(user).map_err(Problem::Name)?;
        }
        match self.logins.entry(host) {
            Entry::Vacant(entry) => {
                entry.insert(login);
                Ok(())
            }
            Entry::Occupied(entry) if *entry.get() == login => Ok(()),
            Entry::Occupied(_) => Err(Problem::TwoLogins(name.into())),
        }
    }

    /// Adds the members of a group, or everybody. False where there is no such group.
    fn group(&self, name: &str, purpose: Purpose, hosts: &mut HostSet) -> bool {
        if name == "all" || name == "*" {
            self.everybody(purpose, hosts);
            return true;
        }
        let group = self.population.group_index(name);
        if let Some(group) = group {
            hosts.extend(self.population.members(group).iter().copied());
        }
        group.is_some()
    }

    /// Adds the hosts of `@name`, where a name, range, pattern or subscript is that of groups only.
    fn groups(&self, word: &str, purpose: Purpose, hosts: &mut HostSet) -> Result<(), Miss> {
        if self.group(word, purpose, hosts) {
            return Ok(());
        }
        if let Some((base, subscript)) = Subscript::split(word) {
            let mut members = HostSet::default();
            if self.group(base, purpose, &mut members) {
                hosts.extend(subscript.of(base, members.as_slice())?.iter().copied());
                return Ok(());
            }
        }
        if is_glob(word) {
            let matcher = Matcher::glob(word)?;
            return if self.matching_groups(&matcher, hosts) {
                Ok(())
            } else {
                Err(Problem::NoMatch(format!("@{word}")).into())
            };
        }
        let pattern = Pattern::parse(word)
            .map_err(|error| Miss { offset: Some(1 + error.offset), problem: Problem::Pattern(error.problem) })?;
        for name in pattern.names() {
            if !self.group(&name, purpose, hosts) {
                if let Some(positions) = self.positions(word) {
                    let nearest = vec![format!("@{positions}")];
                    return Err(Problem::UnknownGroup { name: word.into(), nearest }.into());
                }
                let nearest = nearest(&name, self.group_names());
                return Err(Problem::UnknownGroup { name, nearest }.into());
            }
        }
        Ok(())
    }

    /// What a subscript counts in: a group, everybody, or the matches of a pattern. Nothing for any other name.
    fn subscripted(&self, base: &str, purpose: Purpose) -> Result<Option<HostSet>, Miss> {
        let mut members = HostSet::default();
        if self.group(base, purpose, &mut members) {
            return Ok(Some(members));
        }
        if !is_glob(base) {
            return Ok(None);
        }
        self.matching(base, &Matcher::glob(base)?, purpose, &mut members)?;
        Ok(Some(members))
    }

    /// Adds the hosts of all groups that match, then all hosts that match, as Ansible does.
    fn matching(&self, word: &str, matcher: &Matcher, purpose: Purpose, hosts: &mut HostSet) -> Result<(), Miss> {
        let mut any = self.matching_groups(matcher, hosts);
        for host in 0..self.population.host_total() {
            if matcher.matches(self.population.host_name(host).as_str()) {
                any = true;
                hosts.insert(host);
            }
        }
        if purpose != Purpose::Call {
            for (number, stranger) in self.strangers.iter() {
                if matcher.matches(stranger.host.as_str()) {
                    any = true;
                    hosts.insert(number);
                }
            }
        }
        if any { Ok(()) } else { Err(Problem::NoMatch(word.into()).into()) }
    }

    fn matching_groups(&self, matcher: &Matcher, hosts: &mut HostSet) -> bool {
        let mut any = false;
        for group in 0..self.population.group_total() {
            let name = self.population.group_name(group);
            if !BUILT_IN.contains(&name) && matcher.matches(name) {
                any = true;
                hosts.extend(self.population.members(group).iter().copied());
            }
        }
        any
    }

    /// What to write for positions in a group that are written as if they were a range.
    fn positions(&self, word: &str) -> Option<String> {
        let (base, meant) = Subscript::meant(word)?;
        (base == "all" || self.population.group_index(base).is_some()).then_some(meant)
    }

    fn unknown(&self, word: &str, pattern: &Pattern, unknown: &[String], purpose: Purpose) -> Problem {
        let missing: HashSet<&str> = unknown.iter().map(String::as_str).collect();
        let known: Vec<String> = pattern.names().filter(|name| !missing.contains(name.as_str())).collect();
        let known = nodeset::fold(known.iter().map(String::as_str));
        // Where nobody of a range is there, what was typed says it best.
        let names = if known.is_empty() { word.into() } else { nodeset::fold(unknown.iter().map(String::as_str)) };
        let hosts = (0..self.population.host_total()).map(|host| self.population.host_name(host).as_str());
        let strangers = self.strangers.iter().map(|(_, stranger)| stranger.host.as_str());
        // The first missing name stands for all of a range.
        let nearest = match self.positions(word) {
            Some(positions) => vec![positions],
            None => nearest(&unknown[0], self.group_names().chain(hosts).chain(strangers)),
        };
        if purpose != Purpose::Call && unknown[0].contains(['.', ':']) {
            return Problem::NotSelected { names, nearest };
        }
        Problem::Unknown { names, nearest, known, callable: purpose == Purpose::Call }
    }

    fn group_names(&self) -> impl Iterator<Item = &str> {
        (0..self.population.group_total()).map(|group| self.population.group_name(group))
    }
}
