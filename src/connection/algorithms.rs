//! What is offered in a key exchange: our defaults, ssh_config's lists applied to them, and host key types ordered by
//! what is known of the host.
//!
//! Names are OpenSSH's. A name that russh does not implement is left out of the offer and reported once; an offer that
//! would be empty is an error before anything is contacted.

use crate::known_hosts::is_certificate_algorithm;
use crate::outcome::{Code, Failure};
use russh::keys::{Algorithm, HashAlg};
use russh::{AlgorithmKind, Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

/// Key exchanges, best first: post-quantum, then curve25519, then what older and hardened servers insist on.
pub const KEX: &[&str] = &[
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
];

/// Ciphers, best first: AES-GCM costs a third of chacha20's time on processors with AES instructions.
pub const CIPHERS: &[&str] = &[
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];

/// MACs for the ciphers that need one, best first.
pub const MACS: &[&str] = &[
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1",
];

/// Host key types, best first. SHA-1 signatures are offered only where `HostKeyAlgorithms` names `ssh-rsa`.
pub const HOST_KEYS: &[&str] = &[
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// What is implemented and too weak to be offered unasked, best first.
const WEAK_KEX: &[&str] =
    &["diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group1-sha1"];
/// The same among the ciphers.
const WEAK_CIPHERS: &[&str] = &["aes256-cbc", "aes192-cbc", "aes128-cbc"];
/// The same among the host key types: signatures with SHA-1.
const WEAK_HOST_KEYS: &[&str] = &["ssh-rsa"];

/// Signatures that our RSA keys may make, best first; other key types have only one.
pub const PUBKEYS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// The lists of one host, as names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// `KexAlgorithms` over [`KEX`].
    pub kex: Vec<String>,
    /// `Ciphers` over [`CIPHERS`].
    pub ciphers: Vec<String>,
    /// `MACs` over [`MACS`].
    pub macs: Vec<String>,
    /// `HostKeyAlgorithms` over [`HOST_KEYS`].
    pub host_keys: Vec<String>,
    /// `PubkeyAcceptedAlgorithms` over [`PUBKEYS`].
    pub pubkeys: Vec<String>,
    /// `CASignatureAlgorithms`, for host certificates.
    pub ca_signatures: Vec<String>,
    /// `Compression`.
    pub compression: bool,
}

impl Default for Algorithms {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            kex: owned(KEX),
            ciphers: owned(CIPHERS),
            macs: owned(MACS),
            host_keys: owned(HOST_KEYS),
            pubkeys: owned(PUBKEYS),
            ca_signatures: owned(PUBKEYS),
            compression: false,
        }
    }
}

/// Which host key types a host is known by, to ask for those first (OpenSSH's order_hostkeyalgs): a server that has
/// another key as well must not look like one whose key has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownTypes {
    /// Types of the plain keys.
    pub(super) keys: Vec<String>,
    /// An authority for the host is known, so that certificates can be judged.
    pub(super) authority: bool,
}

impl Algorithms {
    /// The offer for a host.
    ///
    /// # Errors
    /// A list of which nothing is left, naming it.
    pub(super) fn offer(&self, known: &KnownTypes) -> Result<Preferred, Failure> {
        let (certificates, keys) = self.host_key_order(known);
        self.preferred(certificates, keys)
    }

    /// The offer that asks a server for its plain key, one of these signature algorithms.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub(super) fn offer_for_keys(&self, names: &[&str]) -> Result<Preferred, Failure> {
        self.preferred(Vec::new(), names.iter().filter_map(|name| algorithm(name)).collect())
    }

    /// The signature algorithms in `HostKeyAlgorithms` that a plain host key can be asked for with.
    pub fn plain_host_keys(&self) -> Vec<&str> {
        let is_plain = |name: &&str| !is_certificate_algorithm(name) && algorithm(name).is_some();
        self.host_keys.iter().map(String::as_str).filter(is_plain).collect()
    }

    fn preferred(&self, certificates: Vec<Algorithm>, keys: Vec<Algorithm>) -> Result<Preferred, Failure> {
        let mut kex: Vec<kex::Name> = implemented(&self.kex);
        require(!kex.is_empty(), "KexAlgorithms", &self.kex)?;
        // Left out, they would silently switch off server-sig-algs and the defence against Terrapin.
        kex.extend([kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
        let cipher: Vec<cipher::Name> = implemented(&self.ciphers);
        require(!cipher.is_empty(), "Ciphers", &self.ciphers)?;
        let mac: Vec<mac::Name> = implemented(&self.macs);
        require(!mac.is_empty(), "MACs", &self.macs)?;
        require(!keys.is_empty() || !certificates.is_empty(), "HostKeyAlgorithms", &self.host_keys)?;
        let compression = if self.compression {
            vec![compression::ZLIB_LEGACY, compression::ZLIB, compression::NONE]
        } else {
            vec![compression::NONE]
        };
        Ok(Preferred {
            kex: Cow::Owned(kex),
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Owned(certificates),
            cipher: Cow::Owned(cipher),
            mac: Cow::Owned(mac),
            compression: Cow::Owned(compression),
        })
    }

    fn host_key_order(&self, known: &KnownTypes) -> (Vec<Algorithm>, Vec<Algorithm>) {
        let mut certificates = Vec::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for name in &self.host_keys {
            if let Some(plain) = name.strip_suffix("-cert-v01@openssh.com") {
                let plain = if plain == "ssh-rsa" { None } else { algorithm(plain) };
                certificates.extend(plain.filter(|_| known.authority));
            } else if let Some(algorithm) = algorithm(name) {
                let is_known = known.keys.iter().any(|kind| kind == key_type(name));
                if is_known { first.push(algorithm) } else { rest.push(algorithm) }
            }
        }
        first.append(&mut rest);
        (certificates, first)
    }

    /// Hashes for our RSA signatures, best first.
    pub(super) fn rsa_hashes(&self) -> Vec<HashAlg> {
        let hash = |name: &String| match name.as_str() {
            "rsa-sha2-512" => Some(HashAlg::Sha512),
            "rsa-sha2-256" => Some(HashAlg::Sha256),
            _ => None,
        };
        self.pubkeys.iter().filter_map(hash).collect()
    }

    /// Names in the lists that russh does not implement, with the keyword of the list.
    pub fn unimplemented(&self) -> Vec<(&'static str, &str)> {
        let missing = |list: &'static str, names: &'_ [String], known: fn(&str) -> bool| {
            names.iter().filter(|name| !known(name)).map(|name| (list, name.clone())).collect::<Vec<_>>()
        };
        let mut all = missing("KexAlgorithms", &self.kex, |name| kex::Name::try_from(name).is_ok());
        all.extend(missing("Ciphers", &self.ciphers, |name| cipher::Name::try_from(name).is_ok()));
        all.extend(missing("MACs", &self.macs, |name| mac::Name::try_from(name).is_ok()));
        let borrowed = |(list, name): (&'static str, String)| {
            [&self.kex, &self.ciphers, &self.macs]
                .into_iter()
                .flatten()
                .find(|own| **own == name)
                .map(|own| (list, own.as_str()))
        };
        all.into_iter().filter_map(borrowed).collect()
    }
}

/// An offer in words, for `-vvv`.
pub(super) fn describe(offer: &Preferred) -> String {
    let joined = |names: Vec<&str>| names.join(",");
    format!(
        "we offer key exchanges {}; ciphers {}; MACs {}; host keys {}",
        joined(offer.kex.iter().map(AsRef::as_ref).collect()),
        joined(offer.cipher.iter().map(AsRef::as_ref).collect()),
        joined(offer.mac.iter().map(AsRef::as_ref).collect()),
        joined(offer.key.iter().map(Algorithm::as_str).collect()),
    )
}

fn implemented<N: for<'a> TryFrom<&'a str>>(names: &[String]) -> Vec<N> {
    names.iter().filter_map(|name| N::try_from(name.as_str()).ok()).collect()
}

fn require(holds: bool, keyword: &str, names: &[String]) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    let code = match keyword {
        "KexAlgorithms" => Code::KexNoCommonKex,
        "Ciphers" => Code::KexNoCommonCipher,
        "MACs" => Code::KexNoCommonMac,
        _ => Code::KexNoCommonHostKey,
    };
    Err(Failure::new(code, format!("bugle implements none of the configured {keyword}: {}", names.join(",")))
        .hint(format!("add one that it has, such as -o {keyword}=+{}", first_default(keyword))))
}

fn first_default(keyword: &str) -> &'static str {
    match keyword {
        "KexAlgorithms" => KEX[1],
        "Ciphers" => CIPHERS[0],
        "MACs" => MACS[0],
        _ => "ssh-ed25519",
    }
}

/// A signature algorithm by its name; those that need hardware or are gone are not offered.
fn algorithm(name: &str) -> Option<Algorithm> {
    match Algorithm::new(name).ok()? {
        Algorithm::Other(_) | Algorithm::Dsa => None,
        known => Some(known),
    }
}

/// The key type behind a signature algorithm: all RSA signatures are made by `ssh-rsa` keys.
pub(super) fn key_type(algorithm: &str) -> &str {
    if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm }
}

/// Both sides' lists, when they have nothing in common.
pub(super) fn no_common(kind: &AlgorithmKind, ours: &[String], theirs: &[String]) -> Failure {
    let (code, what, keyword) = match kind {
        AlgorithmKind::Kex => (Code::KexNoCommonKex, "key exchange", "KexAlgorithms"),
        AlgorithmKind::Key => (Code::KexNoCommonHostKey, "host key type", "HostKeyAlgorithms"),
        AlgorithmKind::Cipher => (Code::KexNoCommonCipher, "cipher", "Ciphers"),
        AlgorithmKind::Mac => (Code::KexNoCommonMac, "MAC", "MACs"),
        AlgorithmKind::Compression => (Code::KexNoCommonCompression, "compression", "Compression"),
    };
    let shown = |list: &[String]| {
        let real: Vec<&str> = list
            .iter()
            .map(String::as_str)
            .filter(|name| !name.starts_with("kex-strict-") && !name.starts_with("ext-info-"))
            .collect();
        if real.is_empty() { "nothing".to_owned() } else { real.join(",") }
    };
    let failure = Failure::new(
        code,
        format!("no {what} in common; the server takes {}, we offer {}", shown(theirs), shown(ours)),
    );
    let is_one_of = |names: &[&str]| theirs.iter().find(|name| names.contains(&name.as_str()));
    let (defaults, addable) = match kind {
        AlgorithmKind::Kex => (KEX, WEAK_KEX),
        AlgorithmKind::Key => (HOST_KEYS, WEAK_HOST_KEYS),
        AlgorithmKind::Cipher => (CIPHERS, WEAK_CIPHERS),
        AlgorithmKind::Mac => (MACS, &[] as &[&str]),
        AlgorithmKind::Compression => (&[] as &[&str], &[] as &[&str]),
    };
    failure.hint(if let Some(name) = is_one_of(defaults) {
        format!(
            "`{keyword}` is set to a list of your own, without which bugle would offer {name}: leave it out or add to it; \
             `bugle config HOST --explain` shows where it is set"
        )
    } else if let Some(name) = is_one_of(addable) {
        format!("if the host cannot be upgraded: -o {keyword}=+{name} (weaker; for this host only)")
    } else {
        format!("bugle implements none of the server's; allow more in its sshd_config ({keyword})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(types: &[&str]) -> KnownTypes {
        KnownTypes { keys: types.iter().map(|&kind| kind.to_owned()).collect(), authority: false }
    }

    #[test]
    fn every_default_is_implemented() {
        assert_eq!(Algorithms::default().unimplemented(), []);
        let offer = Algorithms::default().offer(&KnownTypes::default()).unwrap();
        assert_eq!(offer.cipher.len(), CIPHERS.len());
        assert_eq!(offer.mac.len(), MACS.len());
    }

    #[test]
    fn strict_key_exchange_is_asked_for_whatever_is_configured() {
        let algorithms = Algorithms { kex: vec!["curve25519-sha256".into()], ..Algorithms::default() };
        let offer = algorithms.offer(&KnownTypes::default()).unwrap();
        assert!(offer.kex.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
        assert!(offer.kex.contains(&kex::EXTENSION_SUPPORT_AS_CLIENT));
    }

    #[test]
    fn known_host_key_types_come_first() {
        let offer = Algorithms::default().offer(&known(&["ssh-rsa"])).unwrap();
        assert_eq!(offer.key[0].as_str(), "rsa-sha2-512");
        assert_eq!(offer.key[1].as_str(), "rsa-sha2-256");
        assert_eq!(offer.key[2].as_str(), "ssh-ed25519");
        assert!(offer.host_key_certificates.is_empty(), "no authority, no certificates");
        let trusted = KnownTypes { authority: true, ..KnownTypes::default() };
        assert_eq!(Algorithms::default().offer(&trusted).unwrap().host_key_certificates.len(), 6);
    }

    #[test]
    fn a_list_without_anything_we_have_is_refused_before_connecting() {
        let algorithms = Algorithms { ciphers: vec!["arcfour".into()], ..Algorithms::default() };
        let failure = algorithms.offer(&KnownTypes::default()).unwrap_err();
        assert_eq!(failure.code, Code::KexNoCommonCipher);
        assert!(failure.message.contains("arcfour"));
        assert_eq!(algorithms.unimplemented(), [("Ciphers", "arcfour")]);
    }

    #[test]
    fn nothing_in_common_shows_both_lists_and_what_to_add() {
        let failure = no_common(&AlgorithmKind::Cipher, &["aes128-ctr".into()], &["aes256-cbc".into()]);
        assert_eq!(failure.code.as_str(), "kex.no_common.cipher");
        assert!(failure.message.contains("aes256-cbc") && failure.message.contains("aes128-ctr"));
        assert!(failure.hint.unwrap().contains("Ciphers=+aes256-cbc (weaker;"));
    }

    #[test]
    fn a_narrow_list_of_ours_is_not_blamed_on_the_server() {
        for (kind, keyword, ours, theirs) in [
            (AlgorithmKind::Kex, "KexAlgorithms", "diffie-hellman-group1-sha1", "curve25519-sha256"),
            (AlgorithmKind::Cipher, "Ciphers", "aes256-cbc", "aes256-ctr"),
            (AlgorithmKind::Mac, "MACs", "hmac-sha2-512", "hmac-sha2-256"),
            (AlgorithmKind::Key, "HostKeyAlgorithms", "ssh-rsa", "ssh-ed25519"),
        ] {
            let hint = no_common(&kind, &[ours.into()], &["none".into(), theirs.into()]).hint.unwrap();
            assert!(hint.contains(&format!("`{keyword}` is set to a list of your own")), "{hint}");
            assert!(hint.contains(theirs) && !hint.contains("weaker"), "{hint}");
        }
    }

    #[test]
    fn what_may_be_added_is_implemented_and_not_offered_unasked() {
        let algorithms = Algorithms {
            kex: WEAK_KEX.iter().map(|&name| name.into()).collect(),
            ciphers: WEAK_CIPHERS.iter().map(|&name| name.into()).collect(),
            ..Algorithms::default()
        };
        assert_eq!(algorithms.unimplemented(), []);
        assert!(WEAK_HOST_KEYS.iter().all(|name| algorithm(name).is_some()));
        let defaults = [KEX, CIPHERS, MACS, HOST_KEYS].concat();
        assert!([WEAK_KEX, WEAK_CIPHERS, WEAK_HOST_KEYS].concat().iter().all(|name| !defaults.contains(name)));
        let nothing = no_common(&AlgorithmKind::Mac, &["hmac-sha1".into()], &["none".into()]).hint.unwrap();
        assert!(nothing.starts_with("bugle implements none"), "a server without any protection is not complied with");
    }
}
