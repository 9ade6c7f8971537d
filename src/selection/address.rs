//! A host as it is written: `web01`, `deploy@web01:2222`, `ssh://u@h:22`, `[::1]:22`, `::1`.

use super::error::Problem;
use super::expression::{SSH, is_ipv6, outside_brackets};

/// The parts of a word that names hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The name or address, without the brackets of IPv6; may hold ranges.
    pub host: &'a str,
    /// Byte offset of `host` in the word.
    pub(super) offset: usize,
    /// What stands before `@`.
    pub user: Option<&'a str>,
    /// What stands after `:`.
    pub port: Option<u16>,
    /// Written as `ssh://`.
    scheme: bool,
}

impl<'a> Address<'a> {
    /// Takes a word apart.
    ///
    /// # Errors
    /// A port that is none, or something after the brackets of IPv6.
    pub fn parse(word: &'a str) -> Result<Self, Problem> {
        let (scheme, rest) = match word.strip_prefix(SSH) {
            Some(rest) => (true, rest.strip_suffix('/').unwrap_or(rest)),
            None => (false, word),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (host, port) = split_port(rest)?;
        let offset = host.as_ptr().addr() - word.as_ptr().addr();
        Ok(Self { host, offset, user, port, scheme })
    }

    /// Whether the way it is written says that this is a host: nothing else has a user, a port or a scheme.
    pub(super) fn is_explicit(&self) -> bool {
        self.scheme || self.user.is_some() || self.port.is_some()
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), Problem> {
    if is_ipv6(text) {
        return Ok((text, None));
    }
    if let Some((inner, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && is_ipv6(inner)
    {
        return match after.strip_prefix(':') {
            Some(digits) => Ok((inner, Some(port(digits)?))),
            None if after.is_empty() => Ok((inner, None)),
            None => Err(Problem::AfterAddress(after.into())),
        };
    }
    match outside_brackets(text, |c| c == ':') {
        Some(colon) => Ok((&text[..colon], Some(port(&text[colon + 1..])?))),
        None => Ok((text, None)),
    }
}

fn port(digits: &str) -> Result<u16, Problem> {
    digits.parse().ok().filter(|&port| port > 0).ok_or_else(|| Problem::Port(digits.into()))
}
