//! The keys that a host shows beside those that it is known by.
//!
//! [`Expectation`] is what is known of a host; its [`compare`](Expectation::compare) gives each key its [`Standing`] and names
//! the known keys that were not shown. It trusts nothing: whether a key is good enough to log in is the connection's decision.

use super::hosts::{Place, Problem};
use super::key::PublicKey;
use super::lookup::{HostKeys, KnownKey, Verdict};
use super::revoked::RevokedKeys;

/// What is known of a host that was asked for its keys.
pub struct Expectation<'a> {
    /// What the files say.
    pub host: &'a HostKeys,
    /// The keys that are revoked for everybody.
    pub revoked: &'a RevokedKeys,
    /// RSA keys below this many bits are refused (`RequiredRSASize`).
    pub required_rsa_bits: u32,
    /// The key types that the host was asked for.
    pub asked: &'a [String],
}

/// The keys of a host and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Each key that was shown.
    pub shown: Vec<(PublicKey, Standing)>,
    /// Known keys of the types that were asked for, which the host does not show (any more).
    pub missing: Vec<KnownKey>,
}

/// What a key that is shown is beside what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The host is known by it.
    Same(Place),
    /// Nothing is known of the host.
    New,
    /// The host is known by another key, which it shows too, and by none of this type.
    NewType,
    /// The host is known by other keys.
    Changed(Vec<KnownKey>),
    /// It must never be accepted; the line that says so, unless it is in a file of `RevokedHostKeys`.
    Revoked(Option<Place>),
    /// An RSA key with too few bits.
    Weak(u32),
    /// Lines for the host cannot be understood, so that nothing can be said.
    Damaged(Vec<Problem>),
}

impl Expectation<'_> {
    /// Gives each key its standing.
    pub fn compare(&self, shown: &[PublicKey]) -> Comparison {
        let verdicts: Vec<Verdict> = shown.iter().map(|key| self.host.check(key)).collect();
        let is_proved = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Known { .. }));
        let standings =
            shown.iter().zip(verdicts).map(|(key, verdict)| (key.clone(), self.standing(key, verdict, is_proved)));
        let standings: Vec<(PublicKey, Standing)> = standings.collect();
        let is_told = |known: &KnownKey| {
            standings.iter().any(|(key, standing)| match standing {
                Standing::Changed(others) => others.contains(known),
                _ => *key == known.key,
            })
        };
        let missing =
            self.host.known_keys().filter(|known| self.asked.iter().any(|kind| kind == known.key.algorithm()));
        let missing = missing.filter(|known| !is_told(known)).cloned().collect();
        Comparison { shown: standings, missing }
    }

    fn standing(&self, key: &PublicKey, verdict: Verdict, is_proved: bool) -> Standing {
        if self.revoked.contains(key) {
            return Standing::Revoked(None);
        }
        let bits = key.bits().unwrap_or_default();
        if key.algorithm() == "ssh-rsa" && bits < self.required_rsa_bits && !matches!(verdict, Verdict::Revoked { .. })
        {
            return Standing::Weak(bits);
        }
        match verdict {
            Verdict::Known { place } => Standing::Same(place),
            Verdict::Unknown => Standing::New,
            Verdict::Revoked { place } => Standing::Revoked(Some(place)),
            Verdict::Damaged { problems } => Standing::Damaged(problems),
            Verdict::Changed { known } => {
                let of_type: Vec<KnownKey> =
                    known.iter().filter(|known| known.key.algorithm() == key.algorithm()).cloned().collect();
                match (of_type.is_empty(), is_proved) {
                    (false, _) => Standing::Changed(of_type),
                    (true, true) => Standing::NewType,
                    // Who lacks the known key would show one of another type.
                    (true, false) => Standing::Changed(known),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::wire::put_string;
    use crate::known_hosts::{HostQuery, KnownHosts};

    /// `e1` to `e3` are ed25519 keys, `r1` and `r2` RSA keys of 2048 bits, `s1` is one of 1022.
    fn key(name: &str) -> PublicKey {
        let seed = name.as_bytes()[1];
        let mut blob = Vec::new();
        match &name[..1] {
            "e" => {
                put_string(&mut blob, b"ssh-ed25519");
                put_string(&mut blob, &[seed; 32]);
            }
            kind => {
                put_string(&mut blob, b"ssh-rsa");
                put_string(&mut blob, &[1, 0, 1]);
                put_string(&mut blob, &[seed; 256][..if kind == "r" { 256 } else { 128 }]);
            }
        }
        PublicKey::from_blob(&blob).unwrap()
    }

    fn compared(known: &str, shown: &str) -> String {
        let mut text = known.to_owned();
        for name in ["e1", "e2", "e3", "r1", "r2", "s1"] {
            text = text.replace(name, &key(name).to_string());
        }
        let host =
            KnownHosts::from_text("f", text.as_bytes()).lookup(&HostQuery { host: "h".into(), port: 22, alias: None });
        let expectation = Expectation {
            host: &host,
            revoked: &RevokedKeys::default(),
            required_rsa_bits: 1500,
            asked: &["ssh-ed25519".into(), "ssh-rsa".into()],
        };
        let shown: Vec<PublicKey> = shown.split_whitespace().map(key).collect();
        let comparison = expectation.compare(&shown);
        let mut told: Vec<String> = comparison
            .shown
            .iter()
            .map(|(_, standing)| match standing {
                Standing::Same(place) => format!("same {}", place.line),
                Standing::New => "new".into(),
                Standing::NewType => "new type".into(),
                Standing::Changed(known) => format!("changed {}", known[0].place.line),
                Standing::Revoked(_) => "revoked".into(),
                Standing::Weak(bits) => format!("weak {bits}"),
                Standing::Damaged(_) => "damaged".into(),
            })
            .collect();
        told.extend(comparison.missing.iter().map(|known| format!("missing {}", known.place.line)));
        told.join(", ")
    }

    #[test]
    fn keys_are_told_apart_by_what_is_known() {
        for (known, shown, expected) in [
            ("", "e1 r1", "new, new"),
            ("h e1\nh r1", "e1 r1", "same 1, same 2"),
            ("h e1", "e1 r1", "same 1, new type"),
            ("h e1", "e2", "changed 1"),
            ("h e1", "r1", "changed 1"),
            ("h e1", "e2 r1", "changed 1, changed 1"),
            ("h e1\nh r1", "e2 r1", "changed 1, same 2"),
            ("h e1\nh r1", "e1", "same 1, missing 2"),
            ("h e1\nh e2", "e2", "same 2, missing 1"),
            ("h e1\nh ecdsa-sha2-nistp999 AAAAE2VjZHNhLXNoYTItbmlzdHA5OTk=", "e1", "same 1"),
            ("@revoked * e1\nh r1", "e1 r1", "revoked, same 2"),
            ("h e1", "e1 s1", "same 1, weak 1022"),
            ("h ssh-ed25519 !", "e1", "damaged"),
            ("x e1\n@cert-authority h e2", "e1", "new"),
        ] {
            assert_eq!(compared(known, shown), expected, "{known:?} beside {shown}");
        }
    }
}
