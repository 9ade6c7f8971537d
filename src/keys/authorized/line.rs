//! One line of authorized_keys, as `auth_check_authkey_line` in auth2-pubkeyfile.c of OpenSSH reads it.

use super::options::Options;
use crate::known_hosts::{KeyError, PublicKey};
use std::fmt;
use std::ops::Range;

/// Bytes of a line that every sshd reads (sshd(8)).
const LONGEST: usize = 8 * 1024;

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing but blanks.
    Blank,
    /// From `#` on.
    Comment,
    /// A key that may log in, or an authority whose certificates may.
    Key(Entry),
    /// Something that sshd passes over.
    Foreign(Fault),
}

/// A line with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What stands before the key, as it is; empty where there is nothing.
    pub options: Vec<u8>,
    /// The key.
    pub key: PublicKey,
    /// What stands behind the key.
    pub comment: Vec<u8>,
    /// Where the options and the type of the key begin in the line.
    pub(super) place: Range<usize>,
}

/// Why sshd passes over a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A quote in the options is not closed.
    #[error("a quote is not closed")]
    Quote,
    /// There is no key where one should be.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Line {
    /// Reads a line without its line feed. A carriage return at its end and whatever follows a NUL mean nothing.
    pub fn parse(text: &[u8]) -> Self {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let start = skip_blanks(text, 0);
        match text.get(start) {
            None => return Self::Blank,
            Some(b'#') => return Self::Comment,
            Some(_) => {}
        }
        if let Ok((key, comment)) = key_at(text, start) {
            return Self::Key(Entry { options: Vec::new(), key, comment, place: start..start });
        }
        let Some(end) = end_of_options(text, start) else { return Self::Foreign(Fault::Quote) };
        let behind = skip_blanks(text, end);
        match key_at(text, behind) {
            Ok((key, comment)) => {
                Self::Key(Entry { options: text[start..end].to_vec(), key, comment, place: start..behind })
            }
            Err(error) => Self::Foreign(error.into()),
        }
    }
}

impl Entry {
    /// Whether certificates of the key log in, rather than the key (`cert-authority`).
    pub fn is_authority(&self) -> bool {
        Options::found(&self.options).is_authority()
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip_blanks(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|&byte| !is_blank(byte)).map_or(text.len(), |blanks| from + blanks)
}

fn end_of_word(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|&byte| is_blank(byte)).map_or(text.len(), |length| from + length)
}

/// `TYPE BASE64 [COMMENT]`.
fn key_at(text: &[u8], start: usize) -> Result<(PublicKey, Vec<u8>), KeyError> {
    let type_end = end_of_word(text, start);
    let blob = skip_blanks(text, type_end);
    let blob_end = end_of_word(text, blob);
    if blob == blob_end {
        return Err(KeyError::Missing);
    }
    let key = PublicKey::from_fields(&text[start..type_end], &text[blob..blob_end])?;
    Ok((key, text[skip_blanks(text, blob_end)..].trim_ascii_end().to_vec()))
}

/// The end of the options (`sshkey_advance_past_options`): the first blank outside of quotes.
fn end_of_options(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut quoted) = (start, false);
    while at < text.len() && (quoted || !is_blank(text[at])) {
        match text[at] {
            b'\\' if text.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    (at < text.len() || !quoted).then_some(at.min(text.len()))
}

/// A key that is to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    key: PublicKey,
    comment: String,
}

/// Why a text is no key that could be let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewKeyError {
    /// It is not a public key.
    #[error("not a public key")]
    NotAKey(#[source] KeyError),
    /// There is something before the key.
    #[error("`{0}` stands before the key")]
    Options(String),
    /// The comment would not stay on its line, or would deceive a terminal.
    #[error("the comment of the key holds a control character or is not UTF-8")]
    Comment,
    /// It is a certificate; the file takes keys.
    #[error("it is a certificate, and authorized_keys takes the key of its authority")]
    Certificate,
    /// sshd would not read the line.
    #[error(transparent)]
    TooLong(#[from] LineTooLong),
}

/// A line that sshd does not promise to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line would have {0} bytes, and sshd reads lines of at most {LONGEST}")]
pub struct LineTooLong(usize);

impl NewKey {
    /// Takes a key with its comment.
    ///
    /// # Errors
    /// A certificate, a comment with control characters, and a line that is too long.
    pub fn new(key: PublicKey, comment: &str) -> Result<Self, NewKeyError> {
        let comment = comment.trim();
        if comment.chars().any(char::is_control) {
            return Err(NewKeyError::Comment);
        }
        if key.plain() != key {
            return Err(NewKeyError::Certificate);
        }
        let new = Self { key, comment: comment.to_owned() };
        new.line(None)?;
        Ok(new)
    }

    /// Reads a line of a `.pub` file, `TYPE BASE64 [COMMENT]`.
    ///
    /// # Errors
    /// As [`new`](Self::new), and what is not a key, or has options.
    pub fn parse(text: &[u8]) -> Result<Self, NewKeyError> {
        match Line::parse(text) {
            Line::Key(entry) if !entry.options.is_empty() => {
                Err(NewKeyError::Options(String::from_utf8_lossy(&entry.options).into_owned()))
            }
            Line::Key(entry) => {
                let comment = String::from_utf8(entry.comment).map_err(|_| NewKeyError::Comment)?;
                Self::new(entry.key, &comment)
            }
            Line::Foreign(Fault::Key(error)) => Err(NewKeyError::NotAKey(error)),
            Line::Blank | Line::Comment | Line::Foreign(Fault::Quote) => Err(NewKeyError::NotAKey(KeyError::Missing)),
        }
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its comment, or nothing.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The line that lets it in, without its end.
    ///
    /// # Errors
    /// Where sshd would not read it.
    pub fn line(&self, options: Option<&Options>) -> Result<Vec<u8>, LineTooLong> {
        let mut line = Vec::new();
        if let Some(options) = options.filter(|options| !options.is_empty()) {
            line.extend_from_slice(options.as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(self.key.to_string().as_bytes());
        if !self.comment.is_empty() {
            line.push(b' ');
            line.extend_from_slice(self.comment.as_bytes());
        }
        checked(line)
    }
}

/// `SHA256:… COMMENT`, as answers name a key.
impl fmt::Display for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key.fingerprint())?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

/// A line that is short enough, without its end.
pub(super) fn checked(line: Vec<u8>) -> Result<Vec<u8>, LineTooLong> {
    // With its line feed.
    if line.len() < LONGEST { Ok(line) } else { Err(LineTooLong(line.len() + 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    fn entry(text: &str) -> Entry {
        match Line::parse(text.as_bytes()) {
            Line::Key(entry) => entry,
            other => panic!("`{text}` is {other:?}"),
        }
    }

    #[test]
    fn a_line_has_options_key_and_comment() {
        for (before, options) in [
            ("", ""),
            (" \t", ""),
            ("restrict ", "restrict"),
            ("  command=\"echo \\\"a b\\\"\",no-pty \t", "command=\"echo \\\"a b\\\"\",no-pty"),
            ("from=\"a,b c\" ", "from=\"a,b c\""),
            ("nonsense ", "nonsense"),
        ] {
            for (behind, comment) in
                [("", ""), (" me@here", "me@here"), ("\t a b \r", "a b"), ("\r", ""), (" x\0y", "x")]
            {
                let found = entry(&format!("{before}{KEY}{behind}"));
                assert_eq!(String::from_utf8_lossy(&found.options), options, "{before:?}");
                assert_eq!(String::from_utf8_lossy(&found.comment), comment, "{behind:?}");
                assert_eq!(found.key.to_string(), KEY);
            }
        }
    }

    #[test]
    fn what_is_no_key_is_blank_comment_or_foreign() {
        for blank in ["", "  ", "\t\r", "\r", "\0what"] {
            assert_eq!(Line::parse(blank.as_bytes()), Line::Blank, "{blank:?}");
        }
        assert_eq!(Line::parse(format!("  #{KEY}").as_bytes()), Line::Comment);
        let quote = Line::parse(format!("command=\"x {KEY}").as_bytes());
        assert_eq!(quote, Line::Foreign(Fault::Quote));
        for foreign in ["hello", "ssh-ed25519", "ssh-ed25519 AAAA", "restrict", "a b c", "ssh-rsa \u{fffd}"] {
            assert!(matches!(Line::parse(foreign.as_bytes()), Line::Foreign(Fault::Key(_))), "{foreign}");
        }
        let other = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        assert!(matches!(Line::parse(other.as_bytes()), Line::Foreign(Fault::Key(_))));
    }

    #[test]
    fn only_what_every_sshd_reads_is_written() {
        let key = NewKey::parse(format!("{KEY} me@here\n").trim_end().as_bytes()).unwrap();
        assert_eq!(key.line(None).unwrap(), format!("{KEY} me@here").into_bytes());
        let options: Options = "restrict,pty".parse().unwrap();
        assert_eq!(key.line(Some(&options)).unwrap(), format!("restrict,pty {KEY} me@here").into_bytes());
        let long = NewKey::parse(format!("{KEY} {}", "x".repeat(LONGEST)).as_bytes());
        assert!(matches!(long, Err(NewKeyError::TooLong(_))), "{long:?}");
        let command: Options = format!("command=\"{}\"", "x".repeat(LONGEST)).parse().unwrap();
        assert!(key.line(Some(&command)).is_err());
        assert!(matches!(NewKey::parse(format!("restrict {KEY}").as_bytes()), Err(NewKeyError::Options(_))));
        assert!(matches!(NewKey::parse(format!("{KEY} a\x1b[2Jb").as_bytes()), Err(NewKeyError::Comment)));
        assert!(matches!(NewKey::parse(b"-----BEGIN OPENSSH PRIVATE KEY-----"), Err(NewKeyError::NotAKey(_))));
    }
}
