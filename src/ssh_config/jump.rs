//! Jump hosts as `ProxyJump` and `-J` write them.

use std::fmt;

use super::number::port;

/// One host on the way: `[user@]host[:port]` or `ssh://[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Login name, if one is written.
    pub user: Option<String>,
    /// Name or address, without brackets: looked up in the same files.
    pub host: String,
    /// Port, if one is written.
    pub port: Option<u16>,
}

/// The value of a `ProxyJump`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The hosts in the order in which they are visited; empty for `none`.
    pub(super) hops: Vec<Hop>,
    /// All but the last as they were written, which `ssh -G` repeats.
    pub(super) written_before_last: Option<String>,
}

impl Chain {
    /// Reads `none` or a comma-separated list; the error is the hop that does not read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t', '\r', '\n', '\x0c']);
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self { hops: Vec::new(), written_before_last: None });
        }
        let hops = text.split(',').map(|hop| hop.parse().map_err(|BadHop| hop.to_owned()));
        Ok(Self {
            hops: hops.collect::<Result<_, _>>()?,
            written_before_last: text.rsplit_once(',').map(|(before, _)| before.to_owned()),
        })
    }
}

/// A jump host that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form `[user@]host[:port]`")]
pub struct BadHop;

impl std::str::FromStr for Hop {
    type Err = BadHop;

    fn from_str(text: &str) -> Result<Self, BadHop> {
        let (user, place) = match text.strip_prefix("ssh://") {
            Some(address) => {
                let (user, place) = match address.split_once('@') {
                    Some((user, place)) => {
                        let user = user.split(';').next().unwrap_or_default();
                        (Some(decode(user).ok_or(BadHop)?), place)
                    }
                    None => (None, address),
                };
                (user, place.strip_suffix('/').unwrap_or(place))
            }
            None => match text.rsplit_once('@') {
                Some((user, place)) => (Some(user.to_owned()), place),
                None => (None, text),
            },
        };
        if user.as_deref() == Some("") {
            return Err(BadHop);
        }
        let (host, written_port) = match place.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or(BadHop)?;
                match after.chars().next() {
                    None => (host, None),
                    Some(':' | '/') => (host, Some(&after[1..])),
                    Some(_) => return Err(BadHop),
                }
            }
            None => match place.find([':', '/']) {
                Some(at) => (&place[..at], Some(&place[at + 1..])),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err(BadHop);
        }
        let port = match written_port {
            None | Some("") => None,
            Some(written) => Some(port(written).filter(|&port| port > 0).ok_or(BadHop)?),
        };
        Ok(Self { user, host: host.to_owned(), port })
    }
}

/// Undoes the percent encoding of a URI.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
                u8::try_from(value).ok().filter(|&value| value != 0)?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// As `ssh -G` prints it: brackets around what can only be an address.
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let address = self.host.contains(':') || self.host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if address { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// As `ssh -G` prints it.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = &self.written_before_last {
            write!(f, "{before},")?;
        }
        match self.hops.last() {
            Some(hop) => hop.fmt(f),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_read_and_print_as_ssh_does() {
        let table = [
            ("jump", Some("jump")),
            ("u@jump:2200", Some("u@jump:2200")),
            ("u@v@jump", Some("u@v@jump")),
            ("ssh://u%40x@jump:2200", Some("u@x@jump:2200")),
            ("a,b@c:1,ssh://d", Some("a,b@c:1,d")),
            ("10.0.0.1", Some("[10.0.0.1]")),
            ("[fe80::1]:22", Some("[fe80::1]:22")),
            ("jump/22", Some("jump:22")),
            ("none", Some("none")),
            ("jump # comment", Some("jump")),
            ("jump:", Some("jump")),
            ("jump:0", None),
            ("jump:70000", None),
            ("@jump", None),
            ("a,,b", None),
            ("", None),
            (":22", None),
            ("fe80::1", None),
        ];
        for (text, expected) in table {
            let printed = Chain::parse(text).ok().map(|chain| chain.to_string());
            assert_eq!(printed.as_deref(), expected, "{text:?}");
        }
    }
}
