//! One line of `known_hosts`: an optional marker, host names, a key, a comment.
//!
//! The main type is [`Line`]. Parsing never fails: a line that cannot be used is [`Line::Malformed`] and keeps as much
//! as could be read, because a broken line for a host is a reason to refuse that host, not to forget the line.

use std::fmt;

use super::key::{KeyError, PublicKey, excerpt};
use super::names::Names;

/// What stands in front of the names (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marker {
    /// Nothing: a key of the hosts themselves.
    None,
    /// `@cert-authority`: the key signs the certificates of these hosts.
    CertAuthority,
    /// `@revoked`: the key must never be accepted for these hosts.
    Revoked,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Marker::None => "",
            Marker::CertAuthority => "@cert-authority",
            Marker::Revoked => "@revoked",
        })
    }
}

/// A line that says whose key something is.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the key is for.
    pub marker: Marker,
    /// Whose key it is.
    pub names: Names,
    /// The key.
    pub key: PublicKey,
}

/// A line that says something about hosts which cannot be understood.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// The marker; `None` when it is none of the known ones, so that it may have meant a revocation.
    pub marker: Option<Marker>,
    /// The names, where they could still be read.
    pub names: Option<Names>,
    /// What is wrong.
    pub fault: Fault,
    /// Where in the line the trouble begins, in bytes, counted from 1.
    pub column: usize,
}

/// What a line turned out to be.
#[derive(Clone, Debug)]
pub enum Line {
    /// Blank, or a comment.
    Comment,
    /// A key of SSH protocol 1 (`host bits exponent modulus`), which nothing speaks any more.
    Legacy,
    /// A key.
    Entry(Entry),
    /// Neither.
    Malformed(Malformed),
}

impl Line {
    /// Reads a line without its line feed; a carriage return at the end is not part of it.
    pub fn parse(line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut fields = Fields { line, at: 0 };
        let Some(first) = fields.next().filter(|first| !first.starts_with(b"#")) else {
            return Line::Comment;
        };
        let (marker, names) = match Self::parse_marker(first, &mut fields) {
            Ok(read) => read,
            Err(malformed) => return Line::Malformed(malformed),
        };
        let (names, mut column) = (Names::parse(names), fields.column(names));
        let malformed = |names: Option<Names>, fault: Fault, column| {
            Line::Malformed(Malformed { marker: Some(marker), names, fault, column })
        };
        let names = match names {
            Ok(names) => names,
            Err(fault) => return malformed(None, fault, column),
        };
        let Some(algorithm) = fields.next().filter(|field| !field.starts_with(b"#")) else {
            return malformed(Some(names), Fault::Key(KeyError::Missing), line.len() + 1);
        };
        column = fields.column(algorithm);
        if algorithm.len() < 8 && algorithm.iter().all(u8::is_ascii_digit) {
            return Line::Legacy;
        }
        let Some(base64) = fields.next().filter(|field| !field.starts_with(b"#")) else {
            return malformed(Some(names), Fault::Key(KeyError::Missing), line.len() + 1);
        };
        match PublicKey::from_fields(algorithm, base64) {
            Ok(key) => Line::Entry(Entry { marker, names, key }),
            Err(fault @ KeyError::TypeMismatch { .. }) => malformed(Some(names), Fault::Key(fault), column),
            Err(fault) => malformed(Some(names), Fault::Key(fault), fields.column(base64)),
        }
    }

    /// The marker and the field of the names. OpenSSH splits at blanks before tabs here, so that a tab behind a marker
    /// makes the whole line invalid; a tab is a blank for bugle, so that a revocation counts.
    fn parse_marker<'a>(first: &'a [u8], fields: &mut Fields<'a>) -> Result<(Marker, &'a [u8]), Malformed> {
        if !first.starts_with(b"@") {
            return Ok((Marker::None, first));
        }
        let mut column = fields.column(first);
        let next = fields.next();
        let marker = match first {
            b"@cert-authority" => Some(Marker::CertAuthority),
            b"@revoked" => Some(Marker::Revoked),
            _ => None,
        };
        let fault = match (marker, next) {
            (Some(marker), Some(names)) if !names.starts_with(b"@") => return Ok((marker, names)),
            (Some(_), Some(second)) => {
                column = fields.column(second);
                Fault::SecondMarker
            }
            (Some(_), None) => Fault::Key(KeyError::Missing),
            (None, _) => Fault::Marker(excerpt(first)),
        };
        let names = next.filter(|names| !names.starts_with(b"@")).or_else(|| fields.next());
        let names = names.and_then(|names| Names::parse(names).ok());
        Err(Malformed { marker: marker.filter(|_| fault != Fault::SecondMarker), names, fault, column })
    }

    /// Whether the line speaks of `name` (lower case; `host` or `[host]:port`), even where it is malformed.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Line::Entry(entry) => entry.names.matches(name),
            Line::Malformed(Malformed { names: Some(names), .. }) => names.matches(name),
            Line::Malformed(_) | Line::Comment | Line::Legacy => false,
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `@something`.
    #[error("`{}` is no marker; there are `@cert-authority` and `@revoked`", .0.escape_debug())]
    Marker(String),
    /// A line has one marker at most.
    #[error("a second marker")]
    SecondMarker,
    /// `|1|salt|hash` that does not decode to two SHA-1 digests.
    #[error("the hashed host name is damaged")]
    HashedName,
    /// OpenSSH gives up on a list with such a name, so that the line matches no host.
    #[error("a host name of more than 1022 bytes")]
    LongName,
    /// The key of an authority is a plain one.
    #[error("a certificate, where the key of the authority belongs that signs such")]
    Certificate,
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Fields separated by blanks and tabs.
struct Fields<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let rest = &self.line[self.at..];
        let start = self.at + rest.iter().position(|byte| !blank(byte))?;
        let length = self.line[start..].iter().position(blank).unwrap_or(self.line.len() - start);
        self.at = start + length;
        Some(&self.line[start..self.at])
    }

    /// Where the field read last begins, counted from 1.
    fn column(&self, field: &[u8]) -> usize {
        self.at - field.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGS8uu1P/77G/89uat7mvcY7SBPkzorGPolzg10l996h";

    #[test]
    fn faults_are_named_with_their_column() {
        let table = [
            ("@revocked h ssh-ed25519 KEY", "1: `@revocked` is no marker; there are `@cert-authority` and `@revoked`"),
            ("@revoked @cert-authority h ssh-ed25519 KEY", "10: a second marker"),
            ("@revoked", "1: the key or its type is missing"),
            ("h", "2: the key or its type is missing"),
            ("h # note", "9: the key or its type is missing"),
            ("h ssh-ed25519", "14: the key or its type is missing"),
            (" h ssh-rsa KEY", "4: the line says `ssh-rsa`, but the key is of type `ssh-ed25519`"),
            ("h ssh-ed25519 AAAA!", "15: the key is not valid base64"),
            ("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "15: the key is cut off"),
            ("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAWQ=", "15: the key does not have the shape of its type"),
            ("|1|x|y ssh-ed25519 KEY", "1: the hashed host name is damaged"),
        ];
        for (line, expected) in table {
            match Line::parse(line.replace("KEY", KEY).as_bytes()) {
                Line::Malformed(malformed) => {
                    assert_eq!(format!("{}: {}", malformed.column, malformed.fault), expected)
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn blanks_tabs_and_comments_are_read_as_openssh_reads_them() {
        for comment in ["", " ", "\t", "# h", "  # h", "\r", "#"] {
            assert!(matches!(Line::parse(comment.as_bytes()), Line::Comment), "{comment:?}");
        }
        for entry in ["h ssh-ed25519 KEY", "\th\tssh-ed25519 \t KEY\t# note", "h ssh-ed25519 KEY two words\r"] {
            assert!(matches!(Line::parse(entry.replace("KEY", KEY).as_bytes()), Line::Entry(_)), "{entry:?}");
        }
        assert!(matches!(Line::parse(b"h 1024 35 123"), Line::Legacy));
    }
}
