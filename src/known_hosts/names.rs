//! Whose key a line holds: a list of patterns, or one hashed name.
//!
//! The main type is [`Names`]. Matching is OpenSSH's (`match_hostname` in match.c, `host_hash` in hostfile.c): `*` and
//! `?` over the whole of `[host]:port`, `!` vetoes, letters are compared in lower case. It never resolves names.

use std::fmt;

use data_encoding::BASE64;

use super::hmac::{Message, Salted};
use super::line::Fault;

/// The names of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// `web01,10.0.0.1,*.example.com,!bad.example.com`, in lower case.
    Patterns(Box<[u8]>),
    /// `|1|salt|hash`.
    Hashed(HashedName),
}

impl Names {
    /// Reads the field.
    ///
    /// # Errors
    /// [`Fault::HashedName`] and [`Fault::LongName`].
    pub fn parse(field: &[u8]) -> Result<Self, Fault> {
        if field.starts_with(b"|") {
            return HashedName::parse(field).map(Names::Hashed).ok_or(Fault::HashedName);
        }
        let limit = 1022;
        if field.len() > limit && field.split(|&byte| byte == b',').any(|name| name.len() > limit) {
            return Err(Fault::LongName);
        }
        Ok(Names::Patterns(field.to_ascii_lowercase().into()))
    }

    /// Whether they cover `name`, given in lower case as `host` or `[host]:port`.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Names::Hashed(hashed) => hashed.matches(name),
            Names::Patterns(list) => matches_list(list, name.as_bytes()),
        }
    }

    /// The names, when they are plain ones: neither hashed nor with `*`, `?` or `!`.
    pub fn exact(&self) -> Option<impl Iterator<Item = &[u8]>> {
        match self {
            Names::Patterns(list) if !list.iter().any(|byte| matches!(byte, b'*' | b'?' | b'!')) => {
                Some(list.split(|&byte| byte == b',').filter(|name| !name.is_empty()))
            }
            _ => None,
        }
    }
}

/// The field as a file holds it, in lower case.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Names::Patterns(list) => f.write_str(&String::from_utf8_lossy(list)),
            Names::Hashed(hashed) => hashed.fmt(f),
        }
    }
}

/// A name that only somebody who knows it recognises: its HMAC-SHA1 under a random salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashedName {
    salt: [u8; 20],
    hash: [u8; 20],
}

impl HashedName {
    /// Hashes a name, in lower case as `host` or `[host]:port`, under a fresh salt.
    pub fn new(name: &str, salt: [u8; 20]) -> Self {
        Self { salt, hash: Salted::new(&salt).hash(&Message::new(name)) }
    }

    fn parse(field: &[u8]) -> Option<Self> {
        let (salt, hash) = std::str::from_utf8(field.strip_prefix(b"|1|")?).ok()?.split_once('|')?;
        let decode = |text: &str| BASE64.decode(text.as_bytes()).ok()?.try_into().ok();
        Some(Self { salt: decode(salt)?, hash: decode(hash)? })
    }

    /// Whether it is the hash of `name`.
    pub fn matches(&self, name: &str) -> bool {
        Salted::new(&self.salt).hash(&Message::new(name)) == self.hash
    }

    /// The salt, made ready for many names, and the hash to compare with.
    pub(crate) fn prepared(&self) -> (Salted, [u8; 20]) {
        (Salted::new(&self.salt), self.hash)
    }

    /// Whether both were hashed under the same salt.
    pub(crate) fn same_salt(&self, other: &HashedName) -> bool {
        self.salt == other.salt
    }
}

impl fmt::Display for HashedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "|1|{}|{}", BASE64.encode_display(&self.salt), BASE64.encode_display(&self.hash))
    }
}

fn matches_list(list: &[u8], name: &[u8]) -> bool {
    let mut found = false;
    for item in list.split(|&byte| byte == b',') {
        match item.strip_prefix(b"!") {
            Some(veto) if matches_glob(veto, name) => return false,
            Some(_) => {}
            None => found = found || matches_glob(item, name),
        }
    }
    found
}

/// `*` is any run of bytes and `?` any single one. Only the last `*` is ever retried, so that the time is bounded by the
/// product of the lengths.
fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((star_at, star_read)) => {
                    star = Some((star_at, star_read + 1));
                    (at, read) = (star_at + 1, star_read + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_as_openssh_matches_them() {
        let table = [
            ("web01", "web01", true),
            ("WEB01", "web01", true),
            ("web0?", "web01", true),
            ("web0?", "web0", false),
            ("web*", "web", true),
            ("*", "[web]:2222", true),
            ("[*.x]:2222", "[a.x]:2222", true),
            ("[*.x]:2222", "[a.x]:2223", false),
            ("[*]:22??", "[a]:2222", true),
            ("*.x", "[a.x]:2222", false),
            ("*.x,!a.x", "a.x", false),
            ("!a.x,*.x", "a.x", false),
            ("*.x,!a.x", "b.x", true),
            ("!a.x", "b.x", false),
            ("a,b,c", "c", true),
            ("a,,c", "", true),
            ("a,c", "", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c", "xxaxxbxxcxx", false),
            ("a[12]", "a1", false),
            ("!!a,*", "!a", false),
            ("::1,fe80::1%eth0", "fe80::1%eth0", true),
        ];
        for (list, name, expected) in table {
            assert_eq!(Names::parse(list.as_bytes()).unwrap().matches(name), expected, "{list} on {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_backtrack_ends_at_once() {
        let pattern = "*a".repeat(300);
        assert!(!Names::parse(pattern.as_bytes()).unwrap().matches(&"a".repeat(250)));
    }

    #[test]
    fn a_hashed_name_is_recognised_by_its_name_alone() {
        let hashed = HashedName::new("[web01]:2222", [7; 20]);
        let read = Names::parse(hashed.to_string().as_bytes()).unwrap();
        assert_eq!(read, Names::Hashed(hashed));
        assert!(read.matches("[web01]:2222"));
        assert!(!read.matches("web01"));
    }

    #[test]
    fn damaged_hashes_are_told_from_names() {
        for bad in ["|1|", "|1|AAAA|AAAA", "|2|x|y", "|", "|1|====|===="] {
            assert_eq!(Names::parse(bad.as_bytes()), Err(Fault::HashedName), "{bad}");
        }
    }

    #[test]
    fn a_name_that_openssh_would_give_up_on_spoils_its_line() {
        let list = format!("web01,{}", "x".repeat(1023));
        assert_eq!(Names::parse(list.as_bytes()), Err(Fault::LongName));
        let list = format!("web01,{}", "x".repeat(1022));
        assert!(Names::parse(list.as_bytes()).unwrap().matches("web01"));
    }
}
