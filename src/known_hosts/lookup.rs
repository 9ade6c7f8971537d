//! One host's share of `known_hosts`, and what it says about a key.
//!
//! The main type is [`HostKeys`]. It owns what it holds, so that a connection carries it along without the index.
//! It says what is so; whether an unknown key is asked about, taken or refused is the connection's decision.

use super::hosts::{Place, Problem};
use super::key::{PublicKey, is_certificate_algorithm, key_type_of};
use super::line::Marker;
use crate::host::{NameError, check_host};

/// Whose key is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostQuery {
    /// The name or address that the connection is for: what `HostName` made of it, without brackets.
    pub host: String,
    /// The port that is dialled.
    pub port: u16,
    /// `HostKeyAlias`: stands for host and port.
    pub alias: Option<String>,
}

impl HostQuery {
    /// The name as lines have it, in lower case: the alias, `host` on port 22, else `[host]:port`
    /// (`get_hostfile_hostname_ipaddr` in sshconnect.c).
    pub fn lookup_name(&self) -> String {
        match &self.alias {
            Some(alias) => alias.to_ascii_lowercase(),
            None if self.port == 22 => self.host.to_ascii_lowercase(),
            None => format!("[{}]:{}", self.host.to_ascii_lowercase(), self.port),
        }
    }

    /// The name without its port, which is tried where the one with the port is unknown.
    pub(crate) fn bare_name(&self) -> Option<String> {
        (self.alias.is_none() && self.port != 22).then(|| self.host.to_ascii_lowercase())
    }

    /// The lookup name, once it is sure to be read back as one name.
    ///
    /// # Errors
    /// As [`check_host`], and for the characters that OpenSSH records no name with (`check_host_key`).
    pub fn record_name(&self) -> Result<String, RecordError> {
        let name = self.alias.as_ref().unwrap_or(&self.host);
        check_host(name)?;
        match name.chars().find(|&character| "@?*#[]!".contains(character)) {
            Some(character) => Err(RecordError::Character { name: name.clone(), character }),
            None => Ok(self.lookup_name()),
        }
    }
}

/// Why a host's key is not recorded under its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No name at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A line with it would mean something else.
    #[error("`{}` cannot stand in known_hosts: `{character}` has a meaning of its own there", name.escape_debug())]
    Character {
        /// The name.
        name: String,
        /// The first such character.
        character: char,
    },
}

/// A key with the line that knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Where it stands.
    pub place: Place,
    /// The key.
    pub key: PublicKey,
}

/// What `known_hosts` says about a key that a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The host, or its authority, is known by it.
    Known {
        /// The line that says so.
        place: Place,
    },
    /// Nothing is known of the host. The only verdict that may be asked about or accepted.
    Unknown,
    /// The host is known by other keys only, be they of the same type or of others: OpenSSH's `HOST_CHANGED`. An
    /// impostor who lacks the known key would show one of another type.
    Changed {
        /// Those keys, in the order of files and lines; never empty.
        known: Vec<KnownKey>,
    },
    /// The key, or the authority that signed it, is revoked for the host.
    Revoked {
        /// The line that says so.
        place: Place,
    },
    /// Lines for the host cannot be understood, so that nothing may be concluded from their silence.
    Damaged {
        /// What is wrong with them; never empty.
        problems: Vec<Problem>,
    },
}

/// A line that matched the host.
#[derive(Clone, Debug)]
pub(crate) enum Finding {
    /// It holds a key.
    Key { marker: Marker, known: KnownKey },
    /// It is malformed.
    Damage { marker: Option<Marker>, problem: Problem },
}

/// All that is known of one host.
#[derive(Clone, Debug, Default)]
pub struct HostKeys {
    /// Lines for the lookup name.
    pub(crate) named: Vec<Finding>,
    /// Lines for the name without its port: they can make a key known or revoked, never changed.
    pub(crate) bare: Vec<Finding>,
}

impl HostKeys {
    /// Judges a plain host key (`check_host_key` in sshconnect.c).
    ///
    /// A certificate is judged by [`check_certificate`](Self::check_certificate) first; where that says
    /// [`Verdict::Unknown`], its plain key is judged here.
    pub fn check(&self, key: &PublicKey) -> Verdict {
        if let Some(refusal) = self.refusal([key]) {
            return refusal;
        }
        if let Some(known) = keys(&self.named, Marker::None).find(|known| known.key == *key) {
            return Verdict::Known { place: known.place.clone() };
        }
        let known: Vec<_> = keys(&self.named, Marker::None).cloned().collect();
        if !known.is_empty() {
            return Verdict::Changed { known };
        }
        let problems: Vec<_> = damages(&self.named).map(|(_, problem)| problem.clone()).collect();
        if !problems.is_empty() {
            return Verdict::Damaged { problems };
        }
        match keys(&self.bare, Marker::None).find(|known| known.key == *key) {
            Some(known) => Verdict::Known { place: known.place.clone() },
            None => Verdict::Unknown,
        }
    }

    /// Judges the authority of a host certificate: `Known` where it may sign for the host, `Revoked` where it or the
    /// certified key is revoked, `Unknown` for an authority of others; never `Changed`.
    ///
    /// The caller verifies signature, validity, principals and options.
    pub fn check_certificate(&self, key: &PublicKey, authority: &PublicKey) -> Verdict {
        if let Some(refusal) = self.refusal([key, authority]) {
            return refusal;
        }
        match self.authority_keys().find(|known| known.key == *authority) {
            Some(known) => Verdict::Known { place: known.place.clone() },
            None => Verdict::Unknown,
        }
    }

    /// The keys that may sign certificates of the host.
    pub fn authorities(&self) -> impl Iterator<Item = &PublicKey> {
        self.authority_keys().map(|known| &known.key)
    }

    /// The keys that stand under the host's own name, in the order of files and lines.
    pub fn known_keys(&self) -> impl Iterator<Item = &KnownKey> {
        keys(&self.named, Marker::None)
    }

    /// The types of the host's known keys in the order of files and lines, each one once; those of the name without its
    /// port where the lookup name itself is unknown.
    pub fn key_types(&self) -> Vec<&str> {
        let usable = |findings| {
            let mut types: Vec<&str> = Vec::new();
            for known in keys(findings, Marker::None).filter(|known| self.revocation(&known.key).is_none()) {
                if !types.contains(&known.key.algorithm()) {
                    types.push(known.key.algorithm());
                }
            }
            types
        };
        let named = usable(&self.named);
        if named.is_empty() { usable(&self.bare) } else { named }
    }

    /// Brings those of the offered host key algorithms to the front that the host can prove itself with, so that it does
    /// not show a key that nobody knows (`order_hostkeyalgs` in sshconnect2.c): certificates where an authority is
    /// known, and known types. The offer stays as it is where its first type is known already.
    pub fn order_algorithms<'a>(&self, offered: &[&'a str]) -> Vec<&'a str> {
        let types = self.key_types();
        let is_known = |algorithm: &str| types.contains(&key_type_of(algorithm).as_str());
        if offered.first().is_some_and(|best| is_known(best)) {
            return offered.to_vec();
        }
        let has_authority = self.authorities().next().is_some();
        let (mut first, last): (Vec<_>, Vec<_>) = offered
            .iter()
            .partition(|algorithm| is_known(algorithm) || has_authority && is_certificate_algorithm(algorithm));
        first.extend(last);
        first
    }

    /// The malformed lines that speak of the host.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        damages(&self.named).chain(damages(&self.bare)).map(|(_, problem)| problem)
    }

    /// Where a key is revoked for the host, also as the key inside of a certificate.
    pub fn revocation(&self, key: &PublicKey) -> Option<&Place> {
        let plain = key.plain();
        self.everywhere(Marker::Revoked).find(|known| known.key.plain() == plain).map(|known| &known.place)
    }

    /// What refuses keys however well they are known: a revocation, or a line that may have meant one.
    fn refusal<const N: usize>(&self, keys: [&PublicKey; N]) -> Option<Verdict> {
        if let Some(place) = keys.iter().find_map(|key| self.revocation(key)) {
            return Some(Verdict::Revoked { place: place.clone() });
        }
        let problems: Vec<_> = damages(&self.named)
            .chain(damages(&self.bare))
            .filter(|(marker, _)| matches!(marker, None | Some(Marker::Revoked)))
            .map(|(_, problem)| problem.clone())
            .collect();
        (!problems.is_empty()).then_some(Verdict::Damaged { problems })
    }

    fn authority_keys(&self) -> impl Iterator<Item = &KnownKey> {
        self.everywhere(Marker::CertAuthority)
    }

    fn everywhere(&self, marker: Marker) -> impl Iterator<Item = &KnownKey> {
        keys(&self.named, marker).chain(keys(&self.bare, marker))
    }
}

fn keys(findings: &[Finding], wanted: Marker) -> impl Iterator<Item = &KnownKey> {
    findings.iter().filter_map(move |finding| match finding {
        Finding::Key { marker, known } if *marker == wanted => Some(known),
        _ => None,
    })
}

fn damages(findings: &[Finding]) -> impl Iterator<Item = (Option<Marker>, &Problem)> {
    findings.iter().filter_map(|finding| match finding {
        Finding::Damage { marker, problem } => Some((*marker, problem)),
        Finding::Key { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::KnownHosts;
    use crate::known_hosts::wire::put_string;

    fn key(algorithm: &str, seed: u8) -> PublicKey {
        let mut blob = Vec::new();
        put_string(&mut blob, algorithm.as_bytes());
        match algorithm {
            "ssh-ed25519" => put_string(&mut blob, &[seed; 32]),
            "ssh-rsa" => {
                put_string(&mut blob, &[1, 0, 1]);
                put_string(&mut blob, &[seed; 256]);
            }
            other => panic!("no key of type {other}"),
        }
        PublicKey::from_blob(&blob).unwrap()
    }

    /// The text with `{a}`, `{b}` (ed25519) and `{r}` (rsa) replaced by keys, and a lookup of `name` (`host`, `host:port`
    /// or `=alias`) in it.
    fn host_keys(text: &str, name: &str) -> HostKeys {
        let text = ["a", "b"].iter().zip(1..).fold(text.to_owned(), |text, (letter, seed)| {
            text.replace(&format!("{{{letter}}}"), &key("ssh-ed25519", seed).to_string())
        });
        let text = text.replace("{r}", &key("ssh-rsa", 1).to_string());
        let query = match (name.strip_prefix('='), name.split_once(':')) {
            (Some(alias), _) => HostQuery { host: "host".into(), port: 2222, alias: Some(alias.into()) },
            (None, Some((host, port))) => HostQuery { host: host.into(), port: port.parse().unwrap(), alias: None },
            (None, None) => HostQuery { host: name.into(), port: 22, alias: None },
        };
        KnownHosts::from_text("f", text.as_bytes()).lookup(&query)
    }

    fn shown(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Known { place } => format!("known {}", place.line),
            Verdict::Unknown => "unknown".into(),
            Verdict::Revoked { place } => format!("revoked {}", place.line),
            Verdict::Changed { known } => {
                let lines: Vec<_> = known.iter().map(|known| known.place.line.to_string()).collect();
                format!("changed {}", lines.join(","))
            }
            Verdict::Damaged { problems } => {
                let lines: Vec<_> = problems.iter().map(|problem| problem.place.line.to_string()).collect();
                format!("damaged {}", lines.join(","))
            }
        }
    }

    #[test]
    fn the_key_a_is_judged_as_openssh_judges_it_or_more_strictly() {
        let table = [
            ("no line", "", "h", "unknown"),
            ("the line", "h {a}", "h", "known 1"),
            ("letters", "H {a}", "h", "known 1"),
            ("letters of the query", "h {a}", "H", "known 1"),
            ("others' lines", "x {a}", "h", "unknown"),
            ("another key", "h {b}", "h", "changed 1"),
            ("another type only", "h {r}", "h", "changed 1"),
            ("one of several", "h {b}\nh {r}\nh {a}", "h", "known 3"),
            ("the first of equal lines", "h {b}\n* {a}\nh {a}", "h", "known 2"),
            ("all others are named", "h {b}\n#\n*,!x {r}", "h", "changed 1,3"),
            ("veto", "*,!h {a}", "h", "unknown"),
            ("revoked alone", "@revoked h {a}", "h", "revoked 1"),
            ("revoked after being known", "h {a}\n@revoked * {a}", "h", "revoked 2"),
            ("revoked with a tab", "h {a}\n@revoked\t* {a}", "h", "revoked 2"),
            ("revoked for others", "h {a}\n@revoked x {a}", "h", "known 1"),
            ("another key is revoked", "h {a}\n@revoked h {b}", "h", "known 1"),
            ("an authority is no host key", "@cert-authority h {a}", "h", "unknown"),
            ("port", "[h]:2222 {a}", "h:2222", "known 1"),
            ("port 22 has no brackets", "[h]:22 {a}", "h", "unknown"),
            ("another port", "[h]:2223 {a}", "h:2222", "unknown"),
            ("bare name for a port", "h {a}", "h:2222", "known 1"),
            ("bare name, another key", "h {b}", "h:2222", "unknown"),
            ("the port's key differs from the bare one's", "h {a}\n[h]:2222 {b}", "h:2222", "changed 2"),
            ("bare name, revoked", "@revoked h {a}", "h:2222", "revoked 1"),
            ("alias", "me {a}", "=me", "known 1"),
            ("alias in letters", "me {a}", "=Me", "known 1"),
            ("an alias hides host and port", "host {a}\n[host]:2222 {a}\n[me]:2222 {a}", "=me", "unknown"),
            ("cut off", "h ssh-ed25519", "h", "damaged 1"),
            ("no base64", "h ssh-ed25519 !", "h", "damaged 1"),
            ("broken for others", "x ssh-ed25519 !", "h", "unknown"),
            ("broken beside a good line", "h ssh-ed25519 !\nh {a}", "h", "known 2"),
            ("broken beside another key", "h ssh-ed25519 !\nh {b}", "h", "changed 2"),
            ("broken bare name", "h ssh-ed25519 !", "h:2222", "unknown"),
            ("broken revocation", "h {a}\n@revoked h ssh-ed25519 !", "h", "damaged 2"),
            ("broken revocation of the bare name", "[h]:2222 {a}\n@revoked h !", "h:2222", "damaged 2"),
            ("what may be a revocation", "h {a}\n@revoke h {a}", "h", "damaged 2"),
            ("two markers", "h {a}\n@revoked @revoked h {a}", "h", "damaged 2"),
            ("broken authority", "@cert-authority * !", "h", "damaged 1"),
            ("broken authority beside a good line", "h {a}\n@cert-authority * !", "h", "known 1"),
            ("protocol 1", "h 1024 35 12345", "h", "unknown"),
            ("a type from the future", "h ssh-new AAAAB3NzaC1uZXc=", "h", "changed 1"),
            ("CRLF", "h {a}\r\nx {b}\r\n", "h", "known 1"),
        ];
        for (case, text, name, expected) in table {
            let verdict = host_keys(text, name).check(&key("ssh-ed25519", 1));
            assert_eq!(shown(&verdict), expected, "{case}");
        }
    }

    #[test]
    fn the_authority_a_of_a_certificate_for_b_is_judged_with_both_keys() {
        let table = [
            ("no line", "", "h", "unknown"),
            ("the authority", "@cert-authority *.x,h {a}", "h", "known 1"),
            ("somebody else's authority", "@cert-authority *.x {a}", "h", "unknown"),
            ("another authority", "@cert-authority h {r}", "h", "unknown"),
            ("a host key signs nothing", "h {a}", "h", "unknown"),
            ("the authority of the bare name", "@cert-authority h {a}", "h:2222", "known 1"),
            ("a revoked authority", "@cert-authority h {a}\n@revoked h {a}", "h", "revoked 2"),
            ("a revoked key", "@cert-authority h {a}\n@revoked h {b}", "h", "revoked 2"),
            ("a broken revocation", "@cert-authority h {a}\n@revoked h x", "h", "damaged 2"),
        ];
        for (case, text, name, expected) in table {
            let verdict = host_keys(text, name).check_certificate(&key("ssh-ed25519", 2), &key("ssh-ed25519", 1));
            assert_eq!(shown(&verdict), expected, "{case}");
        }
    }

    #[test]
    fn what_a_host_can_prove_comes_first_in_the_offer() {
        let offer =
            ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"];
        let table = [
            ("nothing known", "", "h", [0, 1, 2, 3, 4]),
            ("the best type known", "h {r}\nh {a}", "h", [0, 1, 2, 3, 4]),
            ("rsa known", "h {r}", "h", [3, 4, 0, 1, 2]),
            ("an authority", "@cert-authority h {r}", "h", [0, 1, 2, 3, 4]),
            ("an authority and rsa", "@cert-authority h {a}\nh {r}", "h", [0, 3, 4, 1, 2]),
            ("only a revoked key", "h {r}\n@revoked h {r}", "h", [0, 1, 2, 3, 4]),
            ("the bare name", "h {r}", "h:2222", [3, 4, 0, 1, 2]),
            ("the port before the bare name", "h {a}\n[h]:2222 {r}", "h:2222", [3, 4, 0, 1, 2]),
        ];
        for (case, text, name, expected) in table {
            assert_eq!(host_keys(text, name).order_algorithms(&offer), expected.map(|index| offer[index]), "{case}");
        }
    }

    #[test]
    fn types_are_told_in_the_order_of_the_lines() {
        assert_eq!(
            host_keys("* {r}\nh {a}\nh {b}\n@cert-authority h {a}", "h").key_types(),
            ["ssh-rsa", "ssh-ed25519"]
        );
        assert_eq!(host_keys("@cert-authority h {a}", "h").authorities().count(), 1);
    }

    #[test]
    fn names_that_would_mean_something_else_in_the_file_are_not_recorded() {
        let query =
            |host: &str, port, alias: Option<&str>| HostQuery { host: host.into(), port, alias: alias.map(Into::into) };
        for bad in ["", "a b", "a,b", "#a", "|1|x", "a\nb", "*", "web?", "!a", "[a]", "@revoked", "-a", "a\tb"] {
            assert!(query(bad, 22, None).record_name().is_err(), "{bad:?}");
            assert!(query("good", 22, Some(bad)).record_name().is_err(), "{bad:?}");
        }
        let table = [
            (query("Web01", 22, None), "web01"),
            (query("Web01", 2222, None), "[web01]:2222"),
            (query("::1", 22, None), "::1"),
            (query("fe80::1%eth0", 2222, None), "[fe80::1%eth0]:2222"),
            (query("10.0.0.1", 2222, Some("Db")), "db"),
        ];
        for (query, name) in table {
            assert_eq!(query.record_name().as_deref(), Ok(name));
        }
    }
}
