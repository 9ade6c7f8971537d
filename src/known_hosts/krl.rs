//! OpenSSH's binary lists of revoked keys and certificates (PROTOCOL.krl).
//!
//! The main function is [`read`]: it adds a list to a [`RevokedKeys`]. Anything that it does not understand is an error,
//! since a revocation that is not read is a key that is accepted. It never verifies the deprecated signatures of a list:
//! a list with one is refused, as OpenSSH does since 9.4.

use super::revoked::{RevokedCertificates, RevokedKeys};
use super::wire::Wire;

const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT: u32 = 1;

/// OpenSSH's limit for a number, which a bitmap of serials is (`SSHBUF_MAX_BIGNUM`).
const BITMAP_LIMIT: usize = 2048;

/// Whether a file is such a list.
pub(crate) fn is_krl(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Adds what the list revokes.
pub(crate) fn read(bytes: &[u8], revoked: &mut RevokedKeys) -> Result<(), KrlError> {
    let mut wire = Wire::new(bytes);
    wire.take(MAGIC.len()).ok_or(KrlError::Truncated)?;
    let format = wire.u32().ok_or(KrlError::Truncated)?;
    if format != FORMAT {
        return Err(KrlError::Format(format));
    }
    for _version_date_flags in 0..3 {
        wire.u64().ok_or(KrlError::Truncated)?;
    }
    for _reserved_comment in 0..2 {
        wire.string().ok_or(KrlError::Truncated)?;
    }
    while !wire.is_empty() {
        let (kind, section) = section(&mut wire)?;
        match kind {
            1 => certificates(section, revoked)?,
            2 => {
                for key in strings(section) {
                    revoked.keys.insert(key?.into());
                }
            }
            3 => {
                for digest in strings(section) {
                    revoked.sha1.insert(digest?.try_into().map_err(|_| KrlError::Digest)?);
                }
            }
            5 => {
                for digest in strings(section) {
                    revoked.sha256.insert(digest?.try_into().map_err(|_| KrlError::Digest)?);
                }
            }
            4 => return Err(KrlError::Signed),
            255 => extension(section)?,
            other => return Err(KrlError::Section(other)),
        }
    }
    Ok(())
}

fn certificates(mut wire: Wire<'_>, revoked: &mut RevokedKeys) -> Result<(), KrlError> {
    let authority = wire.string().ok_or(KrlError::Truncated)?;
    wire.string().ok_or(KrlError::Truncated)?;
    let certificates = revoked.certificates.entry(authority.into()).or_default();
    while !wire.is_empty() {
        let (kind, mut section) = section(&mut wire)?;
        match kind {
            0x20 => {
                while !section.is_empty() {
                    let serial = section.u64().ok_or(KrlError::Truncated)?;
                    certificates.serials.push((serial, serial));
                }
            }
            0x21 => match (section.u64(), section.u64()) {
                (Some(low), Some(high)) if low <= high => certificates.serials.push((low, high)),
                (Some(_), Some(_)) => return Err(KrlError::Serials),
                _ => return Err(KrlError::Truncated),
            },
            0x22 => bitmap(&mut section, certificates)?,
            0x23 => {
                for identity in strings(section) {
                    certificates.identities.insert(identity?.into());
                }
                continue;
            }
            0x39 => {
                extension(section)?;
                continue;
            }
            other => return Err(KrlError::Section(other)),
        }
        if !section.is_empty() {
            return Err(KrlError::Trailing);
        }
    }
    Ok(())
}

/// A number whose bit N, counted from the lowest, revokes the serial `offset + N`.
fn bitmap(section: &mut Wire<'_>, certificates: &mut RevokedCertificates) -> Result<(), KrlError> {
    let offset = section.u64().ok_or(KrlError::Truncated)?;
    let bits = section.unsigned().ok_or(KrlError::Truncated)?;
    if bits.len() > BITMAP_LIMIT {
        return Err(KrlError::Serials);
    }
    for (position, byte) in (0u64..).zip(bits.iter().rev()) {
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            let serial = offset.checked_add(position * 8 + bit).ok_or(KrlError::Serials)?;
            match certificates.serials.last_mut() {
                Some((_, high)) if high.checked_add(1) == Some(serial) => *high = serial,
                _ => certificates.serials.push((serial, serial)),
            }
        }
    }
    Ok(())
}

fn extension(mut wire: Wire<'_>) -> Result<(), KrlError> {
    let name = wire.string().ok_or(KrlError::Truncated)?;
    let critical = wire.u8().ok_or(KrlError::Truncated)?;
    wire.string().ok_or(KrlError::Truncated)?;
    if !wire.is_empty() {
        return Err(KrlError::Trailing);
    }
    match critical {
        0 => Ok(()),
        _ => Err(KrlError::Extension(String::from_utf8_lossy(name).into_owned())),
    }
}

fn section<'a>(wire: &mut Wire<'a>) -> Result<(u8, Wire<'a>), KrlError> {
    let kind = wire.u8().ok_or(KrlError::Truncated)?;
    Ok((kind, Wire::new(wire.string().ok_or(KrlError::Truncated)?)))
}

/// Every string until the section ends.
fn strings(mut wire: Wire<'_>) -> impl Iterator<Item = Result<&[u8], KrlError>> {
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || wire.is_empty() {
            return None;
        }
        let string = wire.string().ok_or(KrlError::Truncated);
        broken = string.is_err();
        Some(string)
    })
}

/// Why a binary list of revoked keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// It ends in the middle of a field.
    #[error("the revocation list is cut off")]
    Truncated,
    /// A section holds more than its fields.
    #[error("a section of the revocation list has bytes left over")]
    Trailing,
    /// Not version 1 of the format.
    #[error("the revocation list has format {0}; only 1 is known")]
    Format(u32),
    /// A section of a kind that OpenSSH does not write.
    #[error("the revocation list has a section of the unknown type {0}")]
    Section(u8),
    /// A fingerprint of the wrong length.
    #[error("a fingerprint in the revocation list has the wrong length")]
    Digest,
    /// A range that ends before it begins, or a bitmap beyond all serials.
    #[error("a range of serial numbers in the revocation list is impossible")]
    Serials,
    /// An extension that must be understood.
    #[error("the revocation list needs the extension `{}`, which is not known", .0.escape_debug())]
    Extension(String),
    /// A signature inside.
    #[error("the revocation list carries a signature, which OpenSSH does not support either")]
    Signed,
}
