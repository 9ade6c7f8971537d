//! The files of `RevokedHostKeys`: keys that no host may show.
//!
//! The main type is [`RevokedKeys`]. A file is a binary list ([`krl`](super::krl)) or text with one public key a line
//! (`sshkey_check_revoked` in authfile.c). A file that is missing or cannot be understood in full is an error, and so
//! refuses all hosts.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::document::split_lines;
use super::key::{KeyError, PublicKey};
use super::krl::{self, KrlError};
use super::trusted::{ReadError, read_trusted};

/// Everything that the files revoke.
#[derive(Clone, Debug, Default)]
pub struct RevokedKeys {
    pub(crate) keys: HashSet<Box<[u8]>>,
    pub(crate) sha1: HashSet<[u8; 20]>,
    pub(crate) sha256: HashSet<[u8; 32]>,
    /// By the blob of the authority; the empty one stands for all authorities.
    pub(crate) certificates: HashMap<Box<[u8]>, RevokedCertificates>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RevokedCertificates {
    /// First and last of each range.
    pub(crate) serials: Vec<(u64, u64)>,
    pub(crate) identities: HashSet<Box<[u8]>>,
}

/// What revocation asks about a host certificate.
#[derive(Clone, Copy, Debug)]
pub struct HostCertificate<'a> {
    /// The certified key, or the certificate itself.
    pub key: &'a PublicKey,
    /// The key that signed it.
    pub authority: &'a PublicKey,
    /// Its serial number; 0 means none.
    pub serial: u64,
    /// Its key id.
    pub identity: &'a [u8],
}

impl RevokedKeys {
    /// Reads all files.
    ///
    /// # Errors
    /// When one is missing, may not be trusted or is not understood to its end.
    pub fn load<P: AsRef<Path>>(files: &[P]) -> Result<Self, RevokedKeysError> {
        let mut revoked = Self::default();
        for path in files {
            let path = path.as_ref();
            let bytes = read_trusted(path)?.ok_or_else(|| RevokedKeysError::Missing { path: path.into() })?;
            revoked.add_bytes(path, &bytes)?;
        }
        Ok(revoked)
    }

    /// Takes the bytes of one file under the name that errors will show.
    ///
    /// # Errors
    /// When they are not understood to their end.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, RevokedKeysError> {
        let mut revoked = Self::default();
        revoked.add_bytes(path, bytes)?;
        Ok(revoked)
    }

    /// Whether a key is revoked; of a certificate, the key inside.
    pub fn contains(&self, key: &PublicKey) -> bool {
        let plain = key.plain();
        self.keys.contains(plain.blob())
            || !self.sha1.is_empty() && self.sha1.contains(&<[u8; 20]>::from(Sha1::digest(plain.blob())))
            || !self.sha256.is_empty() && self.sha256.contains(&<[u8; 32]>::from(Sha256::digest(plain.blob())))
    }

    /// Whether a host certificate is revoked: by its key, its authority, its serial number or its key id
    /// (`is_key_revoked`, `is_cert_revoked` in krl.c).
    pub fn contains_certificate(&self, certificate: &HostCertificate<'_>) -> bool {
        let listed = |authority: &[u8]| {
            self.certificates.get(authority).is_some_and(|revoked| {
                let within = |&(low, high): &(u64, u64)| (low..=high).contains(&certificate.serial);
                revoked.identities.contains(certificate.identity)
                    || certificate.serial != 0 && revoked.serials.iter().any(within)
            })
        };
        self.contains(certificate.key)
            || self.contains(certificate.authority)
            || listed(certificate.authority.blob())
            || listed(b"")
    }

    fn add_bytes(&mut self, path: &Path, bytes: &[u8]) -> Result<(), RevokedKeysError> {
        if krl::is_krl(bytes) {
            return krl::read(bytes, self).map_err(|source| RevokedKeysError::Krl { path: path.into(), source });
        }
        for (number, (_, line)) in (1..).zip(split_lines(bytes)) {
            let text = line.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = PublicKey::from_text(text).map_err(|source| RevokedKeysError::Line {
                path: path.into(),
                line: number,
                text: String::from_utf8_lossy(line).into_owned(),
                source,
            })?;
            self.keys.insert(key.plain().blob().into());
        }
        Ok(())
    }
}

/// Why a file of revoked keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RevokedKeysError {
    /// It is not believed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such file, so that nobody knows what it revoked.
    #[error("the file of revoked host keys `{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A line that is no key.
    #[error("{}:{line}: not a public key", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line itself, for showing.
        text: String,
        /// What is wrong.
        source: KeyError,
    },
    /// A binary list that is not understood.
    #[error("cannot read `{}`", path.display())]
    Krl {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KrlError,
    },
}
