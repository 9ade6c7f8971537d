//! Lists of algorithms: the names that OpenSSH knows, and what `+`, `-` and `^` do to a list of defaults.

use std::fmt;
use std::sync::Arc;

use super::pattern::{ListMatch, matches, matches_list};

/// What kind of algorithm a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `Ciphers`.
    Cipher,
    /// `MACs`.
    Mac,
    /// `KexAlgorithms`.
    KeyExchange,
    /// Key and signature types; wildcards are allowed.
    Key,
    /// The same without certificates.
    PlainKey,
}

const CIPHERS: &[&str] = &[
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "rijndael-cbc@lysator.liu.se",
];
const MACS: &[&str] = &[
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
];
const KEY_EXCHANGES: &[&str] = &[
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768x25519-sha256",
    "mlkem768nistp256-sha256",
];
const KEYS: &[&str] = &[
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ssh-mldsa44-ed25519@openssh.com",
    "ssh-mldsa44-ed25519-cert-v01@openssh.com",
    "ssh-dss",
    "ssh-dss-cert-v01@openssh.com",
    "ssh-rsa",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
];

impl Family {
    /// Every name that OpenSSH knows or knew.
    pub(super) fn known(self) -> &'static [&'static str] {
        match self {
            Self::Cipher => CIPHERS,
            Self::Mac => MACS,
            Self::KeyExchange => KEY_EXCHANGES,
            Self::Key | Self::PlainKey => KEYS,
        }
    }

    fn accepts(self, name: &str) -> bool {
        let known = self.known();
        match self {
            Self::Cipher | Self::Mac | Self::KeyExchange => known.contains(&name),
            Self::Key => known.iter().any(|key| matches_list(key, name) != ListMatch::Unmatched),
            Self::PlainKey => {
                if known.contains(&name) {
                    !name.contains("-cert-")
                } else {
                    known.iter().any(|key| matches_list(key, name) != ListMatch::Unmatched)
                }
            }
        }
    }
}

/// What a directive does to the list of algorithms that a client would offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AlgorithmList {
    /// No directive: the client's own list.
    #[default]
    Default,
    /// These and no others, in this order; key types may be wildcards.
    Replace(Arc<[String]>),
    /// `+`: these after the defaults.
    Append(Arc<[String]>),
    /// `-`: the defaults without these patterns.
    Remove(Arc<[String]>),
    /// `^`: these before the defaults.
    Prepend(Arc<[String]>),
}

impl AlgorithmList {
    /// Reads a list and checks its names; the error is the name that nothing knows.
    pub(super) fn parse(text: &str, family: Family) -> Result<Self, String> {
        let (modifier, names) = match text.chars().next() {
            Some(modifier @ ('+' | '-' | '^')) => (Some(modifier), &text[1..]),
            _ => (None, text),
        };
        // An empty name ends the list, as it does for OpenSSH.
        let list: Vec<String> = names.split(',').take_while(|name| !name.is_empty()).map(str::to_owned).collect();
        if modifier != Some('-') {
            if names.is_empty() {
                return Err(String::new());
            }
            if let Some(unknown) = list.iter().find(|name| !family.accepts(name)) {
                return Err(unknown.clone());
            }
        }
        let list = list.into();
        Ok(match modifier {
            None => Self::Replace(list),
            Some('+') => Self::Append(list),
            Some('-') => Self::Remove(list),
            Some(_) => Self::Prepend(list),
        })
    }

    /// The list that results from a client's own `defaults`; `supported` is everything that the client can do, which
    /// wildcards choose from (`kex_assemble_names` in OpenSSH).
    pub fn apply<'a>(&'a self, defaults: &[&'a str], supported: &[&'a str]) -> Vec<&'a str> {
        let mut chosen: Vec<&str> = Vec::new();
        let mut add = |name: &'a str| {
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        };
        let named = |list: &'a [String]| {
            list.iter().flat_map(move |pattern| {
                let wild = pattern.contains(['*', '?']);
                let found = supported.iter().copied().filter(move |name| wild && matches(name, pattern));
                found.chain((!wild).then_some(pattern.as_str()))
            })
        };
        match self {
            Self::Default => defaults.iter().copied().for_each(&mut add),
            Self::Replace(list) => named(list).for_each(&mut add),
            Self::Append(list) => defaults.iter().copied().chain(named(list)).for_each(&mut add),
            Self::Prepend(list) => named(list).chain(defaults.iter().copied()).for_each(&mut add),
            Self::Remove(list) => defaults
                .iter()
                .copied()
                .filter(|name| !list.iter().any(|pattern| matches(name, pattern)))
                .for_each(&mut add),
        }
        chosen
    }
}

/// As one would write it; nothing for [`AlgorithmList::Default`].
impl fmt::Display for AlgorithmList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (modifier, names) = match self {
            Self::Default => return Ok(()),
            Self::Replace(names) => ("", names),
            Self::Append(names) => ("+", names),
            Self::Remove(names) => ("-", names),
            Self::Prepend(names) => ("^", names),
        };
        write!(f, "{modifier}{}", names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_change_the_defaults() {
        let defaults = ["aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com"];
        let supported = [&defaults[..], &["aes128-cbc", "3des-cbc"]].concat();
        let table: &[(&str, &[&str])] = &[
            ("aes256-ctr,aes128-cbc", &["aes256-ctr", "aes128-cbc"]),
            ("+aes128-cbc", &["aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com", "aes128-cbc"]),
            ("+aes128-ctr", &["aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com"]),
            ("-aes*", &["chacha20-poly1305@openssh.com"]),
            ("^aes256-ctr", &["aes256-ctr", "aes128-ctr", "chacha20-poly1305@openssh.com"]),
        ];
        for (text, expected) in table {
            let list = AlgorithmList::parse(text, Family::Cipher).unwrap();
            assert_eq!(list.apply(&defaults, &supported), *expected, "{text}");
            assert_eq!(list.to_string(), *text);
        }
        let keys = AlgorithmList::parse("ssh-ed*", Family::Key).unwrap();
        assert_eq!(keys.apply(&[], &["ssh-ed25519", "ssh-rsa"]), ["ssh-ed25519"]);
    }

    #[test]
    fn unknown_names_are_refused_except_after_a_minus() {
        assert_eq!(AlgorithmList::parse("aes128-crt", Family::Cipher), Err("aes128-crt".into()));
        assert_eq!(AlgorithmList::parse("aes*", Family::Cipher), Err("aes*".into()));
        assert!(AlgorithmList::parse("-nonsense", Family::Cipher).is_ok());
        assert!(AlgorithmList::parse("ssh-*", Family::Key).is_ok());
        assert!(AlgorithmList::parse("ssh-rsa-cert-v01@openssh.com", Family::PlainKey).is_err());
        assert!(AlgorithmList::parse("+", Family::Mac).is_err());
    }
}
