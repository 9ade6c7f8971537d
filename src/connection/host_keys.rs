//! Whether the server is the one that is meant: the policy over what known_hosts says.
//!
//! [`HostKeyCheck`] is made before the key exchange and judges the key inside of it. Revoked and weak keys come first and
//! are refused whatever else holds. After that four things are good enough: this machine itself where it is exempt, a
//! certificate, a known key, and first sight where the policy takes that; every fault, damage and doubt ends in a
//! [`Failure`]. Keys taken by `accept-new` are gathered in [`Learned`] and written together.

use super::algorithms::KnownTypes;
use super::options::Strictness;
use crate::known_hosts::{
    Addition, Appended, HostCertificate, HostKeys, HostQuery, NameStyle, Place, PublicKey, RevokedKeys, Rotated,
    Rotation, Verdict, WriteError, append, rotate,
};
use crate::outcome::{Code, Failure};
use crate::ssh_config::matches;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKeyOrCertificate};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What is done about the key that a server shows.
pub(super) enum Judge {
    /// It is good enough, or the connection ends.
    Policy(HostKeyCheck),
    /// It is looked at, and the connection ends.
    Look(Arc<Mutex<Option<PublicKey>>>),
}

/// Everything that judges the key of one host.
pub(super) struct HostKeyCheck {
    pub(super) query: HostQuery,
    pub(super) keys: HostKeys,
    pub(super) revoked: Arc<RevokedKeys>,
    pub(super) strictness: Strictness,
    /// Whether the settings let a person be asked.
    pub(super) asks: bool,
    /// RSA keys below this many bits are refused (`RequiredRSASize`).
    pub(super) required_rsa_bits: u32,
    /// Signature algorithms that an authority may use.
    pub(super) ca_signatures: Vec<String>,
    /// Where a new key would be written, and how; `None` where there is no user file.
    pub(super) record: Option<(PathBuf, NameStyle)>,
    pub(super) learned: Arc<Learned>,
    /// The key that nobody vouches for, for the question of the run.
    pub(super) unknown: Arc<Mutex<Option<PublicKey>>>,
    /// It is this machine itself, which need not be known (`NoHostAuthenticationForLocalhost`).
    pub(super) exempt: bool,
}

/// Whether a person at a terminal is asked about a host of which this is known. Where an authority is known, a certificate is
/// expected: nothing is fetched from a whole fleet before each run to see whether it shows one.
pub(super) fn would_ask(keys: &HostKeys) -> bool {
    keys.key_types().is_empty() && keys.authorities().next().is_none()
}

/// A key that is good enough.
pub(super) struct Accepted {
    pub(super) description: String,
    pub(super) remarks: Vec<(u8, String)>,
    /// The plain key and the line that knows it, where that is the reason.
    pub(super) known_by: Option<(PublicKey, Place)>,
}

/// Keys that were taken on first sight, and keys that known hosts announced, until they are written.
#[derive(Default)]
pub struct Learned(Mutex<HashMap<(PathBuf, bool), Waiting>>);

#[derive(Default)]
struct Waiting {
    additions: Vec<Addition>,
    rotations: Vec<Rotation>,
}

/// What was written into a file.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// What became of the keys that were taken on first sight.
    pub appended: Appended,
    /// What became of the keys that known hosts announced (`UpdateHostKeys`).
    pub rotated: Rotated,
}

impl Learned {
    /// Remembers a key for the next [`write`](Self::write).
    pub fn add(&self, file: PathBuf, style: NameStyle, addition: Addition) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry((file, style == NameStyle::Hashed)).or_default().additions.push(addition);
    }

    /// Remembers what a known host announced for the next [`write`](Self::write).
    pub(super) fn rotate(&self, file: PathBuf, style: NameStyle, rotation: Rotation) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry((file, style == NameStyle::Hashed)).or_default().rotations.push(rotation);
    }

    /// Writes what was gathered, each file once, and says how much.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn write(&self) -> Result<Vec<Written>, WriteError> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting
            .into_iter()
            .map(|((file, hashed), Waiting { additions, rotations })| {
                let style = if hashed { NameStyle::Hashed } else { NameStyle::Clear };
                let appended =
                    if additions.is_empty() { Appended::default() } else { append(&file, &additions, style)? };
                let rotated = if rotations.is_empty() { Rotated::default() } else { rotate(&file, &rotations, style)? };
                Ok(Written { file, appended, rotated })
            })
            .collect()
    }
}

impl HostKeyCheck {
    /// What the host is known by, to order the offer.
    pub(super) fn known_types(&self) -> KnownTypes {
        KnownTypes {
            keys: self.keys.key_types().into_iter().map(str::to_owned).collect(),
            authority: self.keys.authorities().next().is_some(),
        }
    }

    /// Judges what the server showed; the key exchange has proved that it holds the private half.
    pub(super) fn check(&self, presented: &PublicKeyOrCertificate) -> Result<Accepted, Box<Failure>> {
        let key = plain(presented).map_err(Box::new)?;
        let what = described(&key);
        if key.algorithm() == "ssh-rsa" && key.bits().is_none_or(|bits| bits < self.required_rsa_bits) {
            let bits = key.bits().unwrap_or_default();
            return Err(Box::new(
                Failure::new(
                    Code::HostKeyWeak,
                    format!("the host's RSA key has {bits} bits, RequiredRSASize is {}", self.required_rsa_bits),
                )
                .hint("give the host an Ed25519 key: ssh-keygen -A, then restart its sshd"),
            ));
        }
        self.refuse_revoked(&key, presented.certificate()).map_err(Box::new)?;
        if self.exempt {
            return Ok(Accepted {
                description: format!("{what}, not checked: a loopback address"),
                remarks: Vec::new(),
                known_by: None,
            });
        }
        if let Some(certificate) = presented.certificate()
            && let Some(accepted) = self.check_certificate(&key, certificate).map_err(Box::new)?
        {
            return Ok(accepted);
        }
        match self.keys.check(&key) {
            Verdict::Known { place } => {
                let description = format!("{what}, known from {place}");
                Ok(Accepted { description, remarks: Vec::new(), known_by: Some((key, place)) })
            }
            Verdict::Unknown => self.first_sight(key, &what).map_err(Box::new),
            Verdict::Revoked { place } => Err(Box::new(self.revoked_failure(&what, &place.to_string()))),
            Verdict::Changed { known } => {
                let old: Vec<String> = known
                    .iter()
                    .map(|known| format!("{} {} ({})", known.key.family(), known.key.fingerprint(), known.place))
                    .collect();
                Err(Box::new(
                    Failure::new(
                        Code::HostKeyChanged,
                        format!("THE HOST KEY HAS CHANGED: it shows {what}, known is {}", old.join(", ")),
                    )
                    .hint(format!(
                        "somebody may be listening in. Only if you know why it changed: ssh-keygen -R '{}' -f {}",
                        self.query.lookup_name(),
                        known[0].place.file.display()
                    )),
                ))
            }
            Verdict::Damaged { problems } => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                Err(Box::new(
                    Failure::new(
                        Code::HostKeyUnknown,
                        format!("a line of known_hosts for this host cannot be read: {first}"),
                    )
                    .hint("mend or remove that line"),
                ))
            }
        }
    }

    /// What nothing outweighs: a key, certificate or authority that was revoked, be it for a host that is exempt.
    fn refuse_revoked(&self, key: &PublicKey, certificate: Option<&Certificate>) -> Result<(), Failure> {
        let refused = |what: String, place: String| Err(self.revoked_failure(&what, &place));
        if self.revoked.contains(key) {
            return refused(described(key), "RevokedHostKeys".into());
        }
        if let Some(place) = self.keys.revocation(key) {
            return refused(described(key), place.to_string());
        }
        let Some(certificate) = certificate else { return Ok(()) };
        let authority = authority_of(certificate)?;
        let revocation = HostCertificate {
            key,
            authority: &authority,
            serial: certificate.serial(),
            identity: certificate.key_id().as_bytes(),
        };
        let what = format!("certificate `{}`", certificate.key_id());
        if self.revoked.contains_certificate(&revocation) {
            return refused(what, "RevokedHostKeys".into());
        }
        match self.keys.revocation(&authority) {
            Some(place) => refused(what, place.to_string()),
            None => Ok(()),
        }
    }

    fn revoked_failure(&self, what: &str, place: &str) -> Failure {
        Failure::new(Code::HostKeyRevoked, format!("the host key {what} is REVOKED ({place})"))
            .hint("do not log in: whoever holds this key may be an impostor")
    }

    fn first_sight(&self, key: PublicKey, what: &str) -> Result<Accepted, Failure> {
        let name = self.query.lookup_name();
        match self.strictness {
            Strictness::Yes | Strictness::Ask => {
                *self.unknown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
                Err(Failure::new(Code::HostKeyUnknown, format!("nobody vouches for the host key {what} of `{name}`"))
                    .hint(self.how_to_vouch()))
            }
            Strictness::AcceptNew | Strictness::No => {
                let mut remarks = Vec::new();
                match &self.record {
                    Some((file, style)) => match Addition::new(self.query.clone(), vec![key]) {
                        Ok(addition) => {
                            self.learned.add(file.clone(), *style, addition);
                            remarks.push((1, format!("new host key {what} of `{name}` added to {}", file.display())));
                        }
                        Err(error) => remarks.push((0, format!("the host key {what} is not recorded: {error}"))),
                    },
                    None => remarks.push((1, format!("new host key {what} of `{name}` taken, and recorded nowhere"))),
                }
                Ok(Accepted { description: format!("{what}, new"), remarks, known_by: None })
            }
        }
    }

    fn how_to_vouch(&self) -> String {
        let certified = match self.keys.authorities().next() {
            Some(_) => "it shows no certificate of an authority that known_hosts has for it: sign its key, or ",
            None => "",
        };
        let then = match self.asks && would_ask(&self.keys) {
            true => "run again from a terminal to be asked, or",
            false => "add it to known_hosts, or run again",
        };
        format!(
            "{certified}compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host; then {then} \
             with -o StrictHostKeyChecking=accept-new"
        )
    }

    /// A host certificate (PROTOCOL.certkeys): of a known authority, for this host, now, and signed well. `None` where
    /// the authority is a stranger's: then the key inside is judged like any other.
    fn check_certificate(&self, key: &PublicKey, certificate: &Certificate) -> Result<Option<Accepted>, Failure> {
        let refused = |why: String| does_not_hold(certificate, &why);
        let authority = authority_of(certificate)?;
        match self.keys.check_certificate(key, &authority) {
            Verdict::Known { place } => {
                self.validate(certificate).map_err(refused)?;
                Ok(Some(Accepted {
                    description: format!(
                        "certificate `{}` by {} {}, known from {place}",
                        certificate.key_id(),
                        authority.family(),
                        authority.fingerprint()
                    ),
                    remarks: Vec::new(),
                    known_by: None,
                }))
            }
            Verdict::Revoked { place } => Err(self.revoked_failure("certificate", &place.to_string())),
            Verdict::Damaged { problems } => {
                Err(refused(problems.first().map(ToString::to_string).unwrap_or_default()))
            }
            Verdict::Unknown | Verdict::Changed { .. } => Ok(None),
        }
    }

    fn validate(&self, certificate: &Certificate) -> Result<(), String> {
        if certificate.cert_type() != CertType::Host {
            return Err("it is a user's certificate".into());
        }
        if let Some((name, _)) = certificate.critical_options().iter().next() {
            return Err(format!("it has the critical option `{name}`, which hosts' certificates do not have"));
        }
        let algorithm = certificate.signature().algorithm();
        if !self.ca_signatures.iter().any(|allowed| allowed == algorithm.as_str()) {
            return Err(format!(
                "it is signed with {}, which CASignatureAlgorithms does not allow",
                algorithm.as_str()
            ));
        }
        let host = self.query.alias.as_deref().unwrap_or(&self.query.host).to_ascii_lowercase();
        let names = certificate.valid_principals();
        if !names.iter().any(|pattern| matches(&host, &pattern.to_ascii_lowercase())) {
            return Err(format!("it is for `{}`, not for `{host}`", names.join(",")));
        }
        let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
        certificate.validate([&authority]).map_err(|error| {
            match (certificate.valid_after_time(), certificate.valid_before_time()) {
                (Some(after), _) if after > std::time::SystemTime::now() => "it is not valid yet".into(),
                (_, Some(before)) if before < std::time::SystemTime::now() => "it has expired".into(),
                _ => error.to_string(),
            }
        })
    }
}

fn described(key: &PublicKey) -> String {
    format!("{} {}", key.family(), key.fingerprint())
}

fn does_not_hold(certificate: &Certificate, why: &str) -> Failure {
    let text = format!("the host certificate `{}` does not hold: {why}", certificate.key_id());
    Failure::new(Code::HostKeyCertificate, text)
        .hint("ssh-keygen -L -f on the host's certificate shows its names and its time; compare the clocks")
}

fn authority_of(certificate: &Certificate) -> Result<PublicKey, Failure> {
    let encoded = russh::keys::PublicKey::new(certificate.signature_key().clone(), "").to_bytes();
    let authority = encoded.ok().and_then(|blob| PublicKey::from_blob(&blob).ok());
    authority.ok_or_else(|| does_not_hold(certificate, "its authority cannot be read"))
}

/// The key that was shown, without what an authority signed around it.
pub(super) fn plain(presented: &PublicKeyOrCertificate) -> Result<PublicKey, Failure> {
    let unreadable = |why: String| Failure::new(Code::KexFailed, format!("the host key cannot be read: {why}"));
    let blob = presented.public_key().to_bytes().map_err(|error| unreadable(error.to_string()))?;
    PublicKey::from_blob(&blob).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::KnownHosts;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn check(known: &str, strictness: Strictness) -> Result<Accepted, Box<Failure>> {
        let query = HostQuery { host: "web01".into(), port: 22, alias: None };
        let policy = HostKeyCheck {
            keys: KnownHosts::from_text("known_hosts", known.as_bytes()).lookup(&query),
            query,
            revoked: Arc::default(),
            strictness,
            asks: strictness == Strictness::Ask,
            required_rsa_bits: 1024,
            ca_signatures: Vec::new(),
            record: None,
            learned: Arc::default(),
            unknown: Arc::default(),
            exempt: false,
        };
        let key = russh::keys::PublicKey::from_openssh(ED25519).unwrap();
        policy.check(&PublicKeyOrCertificate::from(key))
    }

    #[test]
    fn every_policy_meets_every_verdict() {
        use Strictness::{AcceptNew, Ask, No, Yes};
        let known = format!("web01 {ED25519}\n");
        let changed = format!("web01 {OTHER}\n");
        let revoked = format!("web01 {ED25519}\n@revoked * {ED25519}\n");
        let damaged = "web01 ssh-ed25519 AAAA\n".to_owned();
        let code = |text: &str, strictness| check(text, strictness).map(|_| ()).map_err(|failure| failure.code);
        for strictness in [Yes, Ask, AcceptNew, No] {
            assert_eq!(code(&known, strictness), Ok(()));
            assert_eq!(code(&revoked, strictness), Err(Code::HostKeyRevoked), "{strictness:?}");
            assert_eq!(code(&damaged, strictness), Err(Code::HostKeyUnknown), "{strictness:?}");
        }
        for strictness in [Yes, Ask, AcceptNew, No] {
            assert_eq!(code(&changed, strictness), Err(Code::HostKeyChanged), "{strictness:?}");
        }
        assert_eq!(code("", Yes), Err(Code::HostKeyUnknown));
        assert_eq!(code("", Ask), Err(Code::HostKeyUnknown));
        assert_eq!(code("", AcceptNew), Ok(()));
        assert_eq!(code("", No), Ok(()));
    }

    #[test]
    fn nobody_is_sent_to_a_terminal_where_no_question_is_asked() {
        let hint = |known: &str, strictness| check(known, strictness).err().and_then(|failure| failure.hint).unwrap();
        assert!(hint("", Strictness::Ask).contains("run again from a terminal to be asked"));
        let added = "then add it to known_hosts, or run again with -o StrictHostKeyChecking=accept-new";
        assert!(hint("", Strictness::Yes).ends_with(added));
        let authority = hint(&format!("@cert-authority * {OTHER}\n"), Strictness::Ask);
        assert!(
            authority.starts_with("it shows no certificate of an authority") && authority.ends_with(added),
            "{authority}"
        );
    }

    #[test]
    fn a_changed_key_is_loud_and_says_what_to_type() {
        let failure = check(&format!("web01 {OTHER}\n"), Strictness::AcceptNew).err().unwrap();
        assert!(
            failure.message.contains("CHANGED") && failure.message.contains("known_hosts:1"),
            "{}",
            failure.message
        );
        assert!(failure.hint.unwrap().contains("ssh-keygen -R 'web01' -f known_hosts"));
    }
}
