//! Port forwardings as `LocalForward`, `RemoteForward` and `DynamicForward` write them.

use std::fmt;

use super::number::port;

/// Which directive a forwarding came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// `LocalForward`.
    Local,
    /// `RemoteForward`.
    Remote,
    /// `DynamicForward`.
    Dynamic,
}

/// One forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where connections are taken.
    pub listen: ListenAt,
    /// Where they go.
    pub connect: ConnectTo,
}

/// Where a forwarding takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// A TCP port.
    Port {
        /// Address to bind; none leaves it to `GatewayPorts`, empty and `*` mean every interface.
        host: Option<String>,
        /// The port; 0 lets the server choose, for remote forwardings only.
        port: u16,
    },
    /// A Unix socket.
    Socket(String),
}

/// Where a forwarding sends connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectTo {
    /// A host and port.
    Host {
        /// Name or address, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket.
    Socket(String),
    /// Where each connection asks for by SOCKS.
    Socks,
}

/// Longest path of a Unix socket, with its closing NUL.
const LONGEST_SOCKET: usize = 108;
/// Longest host name, with its closing NUL.
const LONGEST_HOST: usize = 1025;

impl Forward {
    /// Reads `[listen:]port:host:port` and its kin, environment variables already expanded (`parse_forward` in OpenSSH).
    pub(super) fn parse(text: &str, direction: Direction) -> Option<Self> {
        let dynamic = direction == Direction::Dynamic;
        let fields = fields(text.trim_start())?;
        let any_port = |field: &Field| port(&field.text);
        let listen_port = |host: Option<&Field>, field: &Field| {
            Some(ListenAt::Port { host: host.map(|host| host.text.clone()), port: any_port(field)? })
        };
        let socket = |field: &Field| field.text.clone();
        let target = |host: &Field, field: &Field| {
            let port = any_port(field).filter(|&port| port > 0)?;
            Some(ConnectTo::Host { host: host.text.clone(), port })
        };
        let (listen, connect) = match &fields[..] {
            [listen] if dynamic && listen.is_path => (ListenAt::Socket(socket(listen)), ConnectTo::Socks),
            [listen] if dynamic => (listen_port(None, listen)?, ConnectTo::Socks),
            [host, listen] if dynamic && !host.is_path && !listen.is_path => {
                (listen_port(Some(host), listen)?, ConnectTo::Socks)
            }
            _ if dynamic => return None,
            [listen, connect] if listen.is_path && connect.is_path => {
                (ListenAt::Socket(socket(listen)), ConnectTo::Socket(socket(connect)))
            }
            [listen, connect] if connect.is_path => (listen_port(None, listen)?, ConnectTo::Socket(socket(connect))),
            [listen, host, port] if listen.is_path => (ListenAt::Socket(socket(listen)), target(host, port)?),
            [host, listen, connect] if connect.is_path => {
                (listen_port(Some(host), listen)?, ConnectTo::Socket(socket(connect)))
            }
            [listen, host, port] => (listen_port(None, listen)?, target(host, port)?),
            [bind, listen, host, port] => (listen_port(Some(bind), listen)?, target(host, port)?),
            _ => return None,
        };
        let fits = match &listen {
            ListenAt::Port { host, port } => {
                // Port 0 asks the other side to choose, which only a server can.
                (*port > 0 || direction == Direction::Remote)
                    && host.as_ref().is_none_or(|host| host.len() < LONGEST_HOST)
            }
            ListenAt::Socket(path) => path.len() < LONGEST_SOCKET,
        } && match &connect {
            ConnectTo::Host { host, .. } => host.len() < LONGEST_HOST,
            ConnectTo::Socket(path) => path.len() < LONGEST_SOCKET,
            ConnectTo::Socks => true,
        };
        fits.then_some(Self { listen, connect })
    }

    /// Reads `RemoteForward` without a target: the server's side of SOCKS.
    pub(super) fn parse_remote_socks(text: &str) -> Option<Self> {
        let forward = Self::parse(text, Direction::Dynamic);
        forward.or_else(|| match &fields(text)?[..] {
            [listen] if port(&listen.text) == Some(0) => {
                Some(Self { listen: ListenAt::Port { host: None, port: 0 }, connect: ConnectTo::Socks })
            }
            [host, listen] if !host.is_path && port(&listen.text) == Some(0) => Some(Self {
                listen: ListenAt::Port { host: Some(host.text.clone()), port: 0 },
                connect: ConnectTo::Socks,
            }),
            _ => None,
        })
    }
}

struct Field {
    text: String,
    is_path: bool,
}

/// Splits at `:`, with brackets around addresses and `\` before literal characters; at most four fields.
fn fields(text: &str) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && fields.len() < 4 {
        if let Some(inner) = rest.strip_prefix('[') {
            let (field, after) = inner.split_once(']')?;
            rest = match after.strip_prefix(':') {
                Some(after) => after,
                None if after.is_empty() => after,
                None => return None,
            };
            fields.push(Field { text: field.to_owned(), is_path: field.contains('/') });
            continue;
        }
        let mut field = Field { text: String::new(), is_path: false };
        let mut characters = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => field.text.push(characters.next()?.1),
                ':' => {
                    end = at + 1;
                    break;
                }
                _ => {
                    field.is_path |= character == '/';
                    field.text.push(character);
                }
            }
        }
        rest = &rest[end..];
        fields.push(field);
    }
    rest.is_empty().then_some(fields)
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host: None, port } => write!(f, "{port}"),
            Self::Port { host: Some(host), port } => write!(f, "[{host}]:{port}"),
            Self::Socket(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "[{host}]:{port}"),
            Self::Socket(path) => f.write_str(path),
            Self::Socks => f.write_str("[socks]:0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwardings_read_and_print_as_ssh_does() {
        use Direction::{Dynamic, Local, Remote};
        let table = [
            (Local, "8080:localhost:80", Some("8080 [localhost]:80")),
            (Local, "127.0.0.1:8080:localhost:80", Some("[127.0.0.1]:8080 [localhost]:80")),
            (Local, "[::1]:8080:[fe80::1]:80", Some("[::1]:8080 [fe80::1]:80")),
            (Local, ":8080:h:80", Some("[]:8080 [h]:80")),
            (Local, "*:8080:h:80", Some("[*]:8080 [h]:80")),
            (Local, "/tmp/a:/tmp/b", Some("/tmp/a /tmp/b")),
            (Local, "/tmp/a:h:80", Some("/tmp/a [h]:80")),
            (Local, "8080:/tmp/b", Some("8080 /tmp/b")),
            (Local, "h:8080:/tmp/b", Some("[h]:8080 /tmp/b")),
            (Local, "8080", None),
            (Local, "0:h:80", None),
            (Local, "8080:h:0", None),
            (Local, "8080:h:80:x:y", None),
            (Local, "[::1:8080:h:80", None),
            (Local, "70000:h:80", None),
            (Remote, "0:h:80", Some("0 [h]:80")),
            (Dynamic, "1080", Some("1080 [socks]:0")),
            (Dynamic, "[::1]:1080", Some("[::1]:1080 [socks]:0")),
            (Dynamic, "1080:h:80", None),
            (Dynamic, "0", None),
            (Dynamic, "", None),
        ];
        for (direction, text, expected) in table {
            let forward = Forward::parse(text, direction);
            let printed = forward.map(|forward| format!("{} {}", forward.listen, forward.connect));
            assert_eq!(printed.as_deref(), expected, "{text}");
        }
        let socks = Forward::parse_remote_socks("0").unwrap();
        assert_eq!(socks.listen.to_string(), "0");
    }
}
