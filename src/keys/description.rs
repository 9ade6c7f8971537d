//! What is told of a public key: size, fingerprints, comment, type, picture, as `ssh-keygen -l` tells it.
//!
//! The main type is [`Description`]; [`described`] finds the keys in a file of public keys.

use super::authorized::md5_fingerprint;
use super::randomart;
use crate::known_hosts::PublicKey;

/// A key and what stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The key, or the certificate.
    pub key: PublicKey,
    /// The comment, where there is one.
    pub comment: Option<String>,
    /// The line of the file that it stands on, from 1; nothing for a file that is one key.
    pub line: Option<usize>,
}

impl Description {
    /// The line of `ssh-keygen -l` and `ssh-add -l`.
    pub fn summary(&self) -> String {
        summary(&self.key, self.comment.as_deref().unwrap_or("no comment"))
    }

    /// The fingerprint of servers and lists that are older than SHA-256 in OpenSSH (6.8).
    pub fn md5(&self) -> String {
        md5_fingerprint(&self.key)
    }

    /// The picture, in eleven lines.
    pub fn randomart(&self) -> String {
        randomart::randomart(&self.key)
    }
}

/// `256 SHA256:… comment (ED25519)`; 0 bits where the type is not known.
pub fn summary(key: &PublicKey, comment: &str) -> String {
    format!("{} {} {comment} ({})", key.bits().unwrap_or_default(), key.fingerprint(), key.family())
}

/// The keys of a text that holds a key a line: `.pub` files, certificates, authorized_keys, known_hosts. As
/// `do_fingerprint` in ssh-keygen.c: one word before a key (options, names of hosts) is passed over and stands for a comment
/// where there is none; other lines are not meant.
pub fn described(text: &[u8]) -> Vec<Description> {
    let lines = text.split(|&byte| byte == b'\n').zip(1..);
    lines.filter_map(|(line, number)| describe(line, number)).collect()
}

fn describe(line: &[u8], number: usize) -> Option<Description> {
    // Blanks behind a comment are of the comment, as with ssh-keygen.
    let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
    if line.is_empty() || line[0] == b'#' {
        return None;
    }
    let described = |(key, rest): (PublicKey, &[u8]), before: &[u8]| {
        let comment = if rest.is_empty() || rest[0] == b'#' { before } else { rest };
        let comment = (!comment.is_empty()).then(|| String::from_utf8_lossy(comment).into_owned());
        Description { key, comment, line: Some(number) }
    };
    match key(line) {
        Some(found) => Some(described(found, b"")),
        None => {
            let (before, rest) = line.split_at(first_word(line));
            Some(described(key(rest.trim_ascii_start())?, before))
        }
    }
}

/// `TYPE BASE64`, and what follows it.
fn key(text: &[u8]) -> Option<(PublicKey, &[u8])> {
    let (algorithm, rest) = word(text)?;
    let (base64, rest) = word(rest)?;
    Some((PublicKey::from_fields(algorithm, base64).ok()?, rest))
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_ascii_start()))
}

/// How long the first word is, blanks between quotes included.
fn first_word(text: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b' ' | b'\t' if !quoted => break,
            b'\\' if text.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    #[test]
    fn keys_are_found_behind_options_and_names() {
        for (line, comment) in [
            (KEY.into(), None),
            (format!("{KEY} me@here"), Some("me@here")),
            (format!("\t{KEY}  two  words \r"), Some("two  words ")),
            (format!(r#"from="10.0.0.0/8",command="echo \"a b\"" {KEY} me"#), Some("me")),
            (format!(r#"restrict,command="a b" {KEY}"#), Some(r#"restrict,command="a b""#)),
            (format!("web01,10.0.0.1 {KEY}"), Some("web01,10.0.0.1")),
            (format!("web01 {KEY} # found by hand"), Some("web01")),
        ] {
            let found = described(format!("# head\n\n{line}\n").as_bytes());
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!((found[0].comment.as_deref(), found[0].line), (comment, Some(3)), "{line}");
        }
    }

    #[test]
    fn what_is_no_key_is_passed_over() {
        for line in ["", "#", "hello", "ssh-ed25519", "ssh-ed25519 AAAA", "a b c", r#"command="never closed"#, "\\\""] {
            assert_eq!(described(line.as_bytes()), [], "{line}");
        }
        assert_eq!(described(&[0xff, 0xfe, b'\n', 0]), []);
    }

    #[test]
    fn a_summary_is_the_line_of_ssh_keygen() {
        let found = described(KEY.as_bytes()).remove(0);
        let expected = "256 SHA256:RXm/ruZ0eTzRXKwi1AQEDynB0VgHQ2ac9KPSFdf/YnA no comment (ED25519)";
        assert_eq!(found.summary(), expected);
    }
}
