//! An SSH public key as files and servers write it: a blob that begins with the name of its own type.
//!
//! The main type is [`PublicKey`]. It compares, names, measures and fingerprints keys; it does no cryptography and
//! knows no private key. Shapes follow RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4 and OpenSSH's
//! PROTOCOL.u2f and PROTOCOL.certkeys.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};

use super::wire::{Wire, put_string};

const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

/// A public key whose shape was checked. Two keys are equal when their blobs are.
///
/// Types that bugle does not know are kept too (so that a known host with only such a key is never taken for a new
/// one); of those only the type name is checked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    blob: Box<[u8]>,
}

impl PublicKey {
    /// Takes a blob as the wire carries it.
    ///
    /// # Errors
    /// When a length points outside of it, the curve contradicts the type, or bytes are left over.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut wire = Wire::new(blob);
        let algorithm = wire.string().ok_or(KeyError::Truncated)?;
        if algorithm.is_empty() || !algorithm.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError::TypeName);
        }
        let algorithm = std::str::from_utf8(algorithm).map_err(|_| KeyError::TypeName)?;
        match algorithm.strip_suffix(CERTIFICATE_SUFFIX) {
            Some(inner) => {
                wire.string().ok_or(KeyError::Truncated)?;
                check_fields(&certified_algorithm(inner), &mut wire)?;
            }
            None => {
                let known = check_fields(algorithm, &mut wire)?;
                if known && !wire.is_empty() {
                    return Err(KeyError::Trailing);
                }
            }
        }
        Ok(Self { blob: blob.into() })
    }

    /// Reads the type and the base64 blob of a line in `known_hosts`, a `.pub` file or a list of revoked keys.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob), and when the type in the text is not the one inside of the blob.
    pub fn from_fields(algorithm: &[u8], base64: &[u8]) -> Result<Self, KeyError> {
        let blob = BASE64.decode(base64).map_err(|_| KeyError::Base64)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm().as_bytes() != algorithm {
            let declared = excerpt(algorithm);
            return Err(KeyError::TypeMismatch { declared, inside: key.algorithm().into() });
        }
        Ok(key)
    }

    /// Reads `TYPE BASE64 [COMMENT]`, as a `.pub` file holds it.
    ///
    /// # Errors
    /// As [`from_fields`](Self::from_fields), and when one of the two fields is missing.
    pub fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        let mut fields = text.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        match (fields.next(), fields.next()) {
            (Some(algorithm), Some(base64)) => Self::from_fields(algorithm, base64),
            _ => Err(KeyError::Missing),
        }
    }

    /// The type: `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, …
    pub fn algorithm(&self) -> &str {
        let name = Wire::new(&self.blob).string().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// The bytes as the wire carries them.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// `SHA256:` and the unpadded base64 digest of the blob (of a certificate: of the key inside), as `ssh-keygen -l`.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(&self.plain().blob)))
    }

    /// The size in bits that `ssh-keygen -l` shows; `None` for a type that bugle does not know.
    pub fn bits(&self) -> Option<u32> {
        let plain = self.plain();
        let mut wire = Wire::new(&plain.blob);
        match std::str::from_utf8(wire.string()?).ok()? {
            "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => Some(256),
            "ecdsa-sha2-nistp256" | "sk-ecdsa-sha2-nistp256@openssh.com" => Some(256),
            "ecdsa-sha2-nistp384" => Some(384),
            "ecdsa-sha2-nistp521" => Some(521),
            "ssh-rsa" => {
                wire.unsigned()?;
                bit_length(wire.unsigned()?)
            }
            "ssh-dss" => bit_length(wire.unsigned()?),
            _ => None,
        }
    }

    /// The family as `ssh-keygen -l` names it: `ED25519`, `RSA`, `ECDSA`, …; the full type where there is no such word.
    pub fn family(&self) -> &str {
        match self.algorithm() {
            "ssh-ed25519" => "ED25519",
            "ssh-rsa" => "RSA",
            "ssh-dss" => "DSA",
            "sk-ssh-ed25519@openssh.com" => "ED25519-SK",
            "sk-ecdsa-sha2-nistp256@openssh.com" => "ECDSA-SK",
            "ssh-ed25519-cert-v01@openssh.com" => "ED25519-CERT",
            "ssh-rsa-cert-v01@openssh.com" => "RSA-CERT",
            "ssh-dss-cert-v01@openssh.com" => "DSA-CERT",
            "sk-ssh-ed25519-cert-v01@openssh.com" => "ED25519-SK-CERT",
            "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => "ECDSA-SK-CERT",
            ecdsa if ecdsa.starts_with("ecdsa-sha2-") && ecdsa.ends_with(CERTIFICATE_SUFFIX) => "ECDSA-CERT",
            ecdsa if ecdsa.starts_with("ecdsa-sha2-") => "ECDSA",
            other => other,
        }
    }

    /// The key itself: a certificate without what its authority signed around it, any other key as it is.
    ///
    /// Revocation compares keys in this form (`sshkey_equal_public` in sshkey.c).
    pub fn plain(&self) -> PublicKey {
        self.certified_key().unwrap_or_else(|| self.clone())
    }

    fn certified_key(&self) -> Option<PublicKey> {
        let inner = certified_algorithm(self.algorithm().strip_suffix(CERTIFICATE_SUFFIX)?);
        let mut wire = Wire::new(&self.blob);
        wire.string()?;
        wire.string()?;
        let mut blob = Vec::with_capacity(self.blob.len());
        put_string(&mut blob, inner.as_bytes());
        for _ in 0..field_count(&inner)? {
            put_string(&mut blob, wire.string()?);
        }
        Some(Self { blob: blob.into() })
    }
}

/// `TYPE BASE64`, as files hold it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), BASE64.encode_display(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.fingerprint())
    }
}

/// The type of a plain key that signs with `algorithm`, as host key negotiation names it: `rsa-sha2-512` and
/// `ssh-rsa-cert-v01@openssh.com` both belong to `ssh-rsa` (`sshkey_type_from_name`, `sshkey_type_plain`).
pub fn key_type_of(algorithm: &str) -> String {
    let plain = algorithm.strip_suffix(CERTIFICATE_SUFFIX).map(certified_algorithm);
    match plain.as_deref().unwrap_or(algorithm) {
        "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa".into(),
        other => other.into(),
    }
}

/// A word of a line, for showing: as much of it as could be one.
pub(super) fn excerpt(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(80)]).into_owned()
}

/// Whether host key negotiation means a certificate by `algorithm`.
pub fn is_certificate_algorithm(algorithm: &str) -> bool {
    algorithm.ends_with(CERTIFICATE_SUFFIX)
}

/// FIDO types carry their `@openssh.com` behind `-cert-v01`, so that stripping the suffix takes one too many.
fn certified_algorithm(stem: &str) -> String {
    if stem.starts_with("sk-") { format!("{stem}@openssh.com") } else { stem.into() }
}

/// How many strings follow the type; `None` for an unknown type.
fn field_count(algorithm: &str) -> Option<usize> {
    match algorithm {
        "ssh-ed25519" => Some(1),
        "ssh-rsa" | "sk-ssh-ed25519@openssh.com" => Some(2),
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => Some(2),
        "sk-ecdsa-sha2-nistp256@openssh.com" => Some(3),
        "ssh-dss" => Some(4),
        _ => None,
    }
}

/// Reads the fields behind the type; answers whether the type is known.
fn check_fields(algorithm: &str, wire: &mut Wire<'_>) -> Result<bool, KeyError> {
    match algorithm {
        "ssh-ed25519" => ed25519_point(wire)?,
        "sk-ssh-ed25519@openssh.com" => {
            ed25519_point(wire)?;
            wire.string().ok_or(KeyError::Truncated)?;
        }
        "ecdsa-sha2-nistp256" => nist_point(wire, "nistp256", 32)?,
        "ecdsa-sha2-nistp384" => nist_point(wire, "nistp384", 48)?,
        "ecdsa-sha2-nistp521" => nist_point(wire, "nistp521", 66)?,
        "sk-ecdsa-sha2-nistp256@openssh.com" => {
            nist_point(wire, "nistp256", 32)?;
            wire.string().ok_or(KeyError::Truncated)?;
        }
        "ssh-rsa" => numbers(wire, 2)?,
        "ssh-dss" => numbers(wire, 4)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn ed25519_point(wire: &mut Wire<'_>) -> Result<(), KeyError> {
    match wire.string().ok_or(KeyError::Truncated)?.len() {
        32 => Ok(()),
        _ => Err(KeyError::Malformed),
    }
}

fn nist_point(wire: &mut Wire<'_>, curve: &str, coordinate: usize) -> Result<(), KeyError> {
    if wire.string().ok_or(KeyError::Truncated)? != curve.as_bytes() {
        return Err(KeyError::Curve);
    }
    match wire.string().ok_or(KeyError::Truncated)? {
        [0x04, coordinates @ ..] if coordinates.len() == 2 * coordinate => Ok(()),
        _ => Err(KeyError::Malformed),
    }
}

fn numbers(wire: &mut Wire<'_>, count: usize) -> Result<(), KeyError> {
    for _ in 0..count {
        let mut ahead = *wire;
        wire.string().ok_or(KeyError::Truncated)?;
        if ahead.unsigned().is_none_or(<[u8]>::is_empty) {
            return Err(KeyError::Malformed);
        }
    }
    Ok(())
}

fn bit_length(magnitude: &[u8]) -> Option<u32> {
    let bytes = u32::try_from(magnitude.len()).ok()?;
    Some(bytes * 8 - magnitude.first()?.leading_zeros())
}

/// Why bytes or text are not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The type or the blob is not there.
    #[error("the key or its type is missing")]
    Missing,
    /// The blob is not padded base64.
    #[error("the key is not valid base64")]
    Base64,
    /// A length points behind the end of the blob.
    #[error("the key is cut off")]
    Truncated,
    /// More bytes than the type has.
    #[error("bytes are left over behind the key")]
    Trailing,
    /// The blob's own type is empty or holds something else than printable ASCII.
    #[error("the type inside of the key is not a name")]
    TypeName,
    /// Text and blob disagree.
    #[error("the line says `{}`, but the key is of type `{inside}`", declared.escape_debug())]
    TypeMismatch {
        /// The type before the blob.
        declared: String,
        /// The type inside of the blob.
        inside: String,
    },
    /// The curve is not the one in the type's name.
    #[error("the curve of the key is not the one that its type names")]
    Curve,
    /// A number or point that no key of the type has.
    #[error("the key does not have the shape of its type")]
    Malformed,
}
