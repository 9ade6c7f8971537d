//! Which keys are meant: by the key itself, by fingerprint, by comment.

use super::line::{Entry, NewKey};
use crate::known_hosts::PublicKey;
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// What keys are looked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This key.
    Key(PublicKey),
    /// The key with this `SHA256:…`.
    Sha256(String),
    /// The key with this `MD5:…`, in lower case.
    Md5(String),
    /// Every key with exactly this comment.
    Comment(String),
}

/// Why a text names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// Nothing is there.
    #[error("no key is named")]
    Empty,
    /// It begins as a fingerprint and is none.
    #[error("`{0}` is no fingerprint")]
    Fingerprint(String),
    /// It begins as a key and is none.
    #[error("`{0}` is no key")]
    Key(String),
}

impl Wanted {
    /// Whether a line of a file is meant.
    pub fn matches(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(key) => entry.key == *key,
            Self::Sha256(fingerprint) => entry.key.fingerprint() == *fingerprint,
            Self::Md5(fingerprint) => md5_fingerprint(&entry.key) == *fingerprint,
            Self::Comment(comment) => entry.comment == comment.as_bytes(),
        }
    }
}

/// Reads `SHA256:…`, `MD5:…`, a whole key, its base64 part, or else a comment.
impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WantedError::Empty);
        }
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let is_digest =
                digest.len() == 43 && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
            return if is_digest { Ok(Self::Sha256(text.into())) } else { Err(WantedError::Fingerprint(text.into())) };
        }
        let hex = text.strip_prefix("MD5:").unwrap_or(text).to_ascii_lowercase();
        let is_md5 = hex.len() == 47
            && hex.split(':').count() == 16
            && hex.split(':').all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_md5 {
            return Ok(Self::Md5(format!("MD5:{hex}")));
        }
        if text.starts_with("MD5:") {
            return Err(WantedError::Fingerprint(text.into()));
        }
        if let Ok(key) = NewKey::parse(text.as_bytes()) {
            return Ok(Self::Key(key.key().clone()));
        }
        // Every blob begins with the length of the name of its type.
        if text.starts_with("AAAA") {
            let blob = BASE64.decode(text.as_bytes()).ok().and_then(|blob| PublicKey::from_blob(&blob).ok());
            return blob.map(Self::Key).ok_or_else(|| WantedError::Key(text.into()));
        }
        Ok(Self::Comment(text.into()))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(&key.fingerprint()),
            Self::Sha256(text) | Self::Md5(text) | Self::Comment(text) => f.write_str(text),
        }
    }
}

/// `MD5:` and the digest of the blob as `ssh-keygen -l -E md5` shows it.
pub fn md5_fingerprint(key: &PublicKey) -> String {
    let pairs: Vec<String> = md5::compute(key.plain().blob()).0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("MD5:{}", pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::super::line::Line;
    use super::*;

    const BLOB: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    #[test]
    fn a_key_is_found_by_any_of_its_names() {
        let Line::Key(entry) = Line::parse(format!("restrict ssh-ed25519 {BLOB} me@here").as_bytes()) else { panic!() };
        let md5 = md5_fingerprint(&entry.key);
        for name in [
            &format!("ssh-ed25519 {BLOB}"),
            &format!("ssh-ed25519 {BLOB} another comment"),
            BLOB,
            &entry.key.fingerprint(),
            &md5,
            &md5["MD5:".len()..].to_uppercase(),
            "me@here",
        ] {
            let wanted: Wanted = name.parse().unwrap();
            assert!(wanted.matches(&entry), "{name} is {wanted:?}");
        }
        for name in ["me", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(!name.parse::<Wanted>().unwrap().matches(&entry), "{name}");
        }
        for wrong in ["", "  ", "SHA256:short", "MD5:00", "AAAAwhatever"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }
}
