//! `CanonicalizeHostname`: names completed with domains and followed along CNAMEs, by whoever resolves names.

use std::net::ToSocketAddrs as _;
use std::process::{Command, Stdio};

use super::options::AddressFamily;
use super::pattern::{ListMatch, matches_list};

/// Resolves names where the configuration asks for it. Nothing else of the configuration touches the network.
pub trait NameResolver: Send + Sync + std::fmt::Debug {
    /// Whether a name has an address of the family. A name with a dot at its end is complete.
    fn has_address(&self, name: &str, family: AddressFamily) -> bool;

    /// The name that a name is an alias of, if it is one.
    fn canonical_name(&self, name: &str, family: AddressFamily) -> Option<String>;
}

/// The resolver of the system. CNAMEs come from getent(1), since the standard library has no way to ask for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl NameResolver for SystemResolver {
    fn has_address(&self, name: &str, family: AddressFamily) -> bool {
        let addresses = (name, 22).to_socket_addrs();
        addresses.is_ok_and(|mut addresses| {
            addresses.any(|address| match family {
                AddressFamily::Any => true,
                AddressFamily::Inet => address.is_ipv4(),
                AddressFamily::Inet6 => address.is_ipv6(),
            })
        })
    }

    fn canonical_name(&self, name: &str, family: AddressFamily) -> Option<String> {
        let database = match family {
            AddressFamily::Any => "ahosts",
            AddressFamily::Inet => "ahostsv4",
            AddressFamily::Inet6 => "ahostsv6",
        };
        let output = Command::new("getent").args(["--", database, name]).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next()?.split_whitespace().nth(2).map(str::to_owned)
    }
}

/// What the configuration says about canonical names.
pub(super) struct Rules<'a> {
    pub(super) resolver: &'a dyn NameResolver,
    pub(super) family: AddressFamily,
    /// Whether canonicalisation is on for this host at all.
    pub(super) is_on: bool,
    pub(super) largest_dots: u32,
    pub(super) domains: &'a [std::sync::Arc<str>],
    /// Rules of the form `SOURCES:TARGETS`.
    pub(super) permitted: &'a [std::sync::Arc<str>],
    /// Whether a name that no domain has is used as it is.
    pub(super) falls_back: bool,
    /// Whether a CNAME may be followed without a completed name.
    pub(super) follows_bare: bool,
}

/// What became of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has become this one.
    Found(String),
    /// It stays as it is.
    Unchanged,
    /// No domain has it.
    NotFound,
}

impl Rules<'_> {
    /// Completes a name (`resolve_canonicalize` and the bare look-up after it in OpenSSH's ssh.c).
    pub(super) fn canonicalize(&self, host: &str) -> Outcome {
        let completed = if self.is_on { self.complete(host) } else { Outcome::Unchanged };
        let is_final = match completed {
            Outcome::Found(_) => true,
            Outcome::NotFound => !self.falls_back,
            Outcome::Unchanged => false,
        };
        if is_final || !self.follows_bare || self.permitted.is_empty() {
            return completed;
        }
        match self.follow(host, host) {
            Some(name) => Outcome::Found(name),
            None => completed,
        }
    }

    fn complete(&self, host: &str) -> Outcome {
        let try_name = |full: String| {
            self.resolver.has_address(&full, self.family).then(|| {
                let name = full.strip_suffix('.').unwrap_or(&full).to_owned();
                self.follow(&full, &name).unwrap_or(name)
            })
        };
        if host.ends_with('.') {
            return try_name(host.to_owned()).map_or(Outcome::NotFound, Outcome::Found);
        }
        if host.matches('.').count() > self.largest_dots as usize {
            return Outcome::Unchanged;
        }
        let domains = self.domains.iter().take_while(|domain| !domain.eq_ignore_ascii_case("none"));
        let found = domains.map(|domain| format!("{host}.{domain}.")).find_map(try_name);
        found.map_or(Outcome::NotFound, Outcome::Found)
    }

    /// The name behind an alias, where a rule permits to follow it.
    fn follow(&self, asked: &str, name: &str) -> Option<String> {
        if self.permitted.is_empty() {
            return None;
        }
        let alias = self.resolver.canonical_name(asked, self.family)?;
        let alias = alias.strip_suffix('.').unwrap_or(&alias);
        let permits = |rule: &str| {
            let (sources, targets) = rule.split_once(':').unwrap_or((rule, ""));
            matches_list(name, sources) == ListMatch::Matched && matches_list(alias, targets) == ListMatch::Matched
        };
        (alias != name && self.permitted.iter().any(|rule| permits(rule))).then(|| alias.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Zone(&'static [(&'static str, &'static str)]);

    impl NameResolver for Zone {
        fn has_address(&self, name: &str, _: AddressFamily) -> bool {
            self.0.iter().any(|(known, _)| *known == name)
        }
        fn canonical_name(&self, name: &str, _: AddressFamily) -> Option<String> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, canonical)| (*canonical).to_owned())
        }
    }

    #[test]
    fn names_are_completed_with_the_first_domain_that_has_them() {
        let zone = Zone(&[("web.b.example.", "web.b.example"), ("alias.b.example.", "real.c.example")]);
        let domains: Vec<Arc<str>> = vec!["a.example".into(), "b.example".into()];
        let permitted: Vec<Arc<str>> = vec!["*.b.example:*.c.example".into()];
        let rules = Rules {
            resolver: &zone,
            family: AddressFamily::Any,
            is_on: true,
            largest_dots: 1,
            domains: &domains,
            permitted: &permitted,
            falls_back: true,
            follows_bare: false,
        };
        let table = [
            ("web", Outcome::Found("web.b.example".into())),
            ("alias", Outcome::Found("real.c.example".into())),
            ("web.b.example.", Outcome::Found("web.b.example".into())),
            ("db", Outcome::NotFound),
            ("a.b.c", Outcome::Unchanged),
        ];
        for (name, expected) in table {
            assert_eq!(rules.canonicalize(name), expected, "{name}");
        }
        assert_eq!(Rules { is_on: false, ..rules }.canonicalize("web"), Outcome::Unchanged);
    }
}
