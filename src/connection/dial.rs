//! From a name to a connected TCP socket: name resolution with a limit of its own, then all addresses in the manner of
//! RFC 8305 ("happy eyeballs"), so that a dead address costs a quarter of a second and not the whole deadline.
//!
//! Knows nothing of SSH. Failures are classified here, where the system's error is still at hand.

use crate::outcome::{Code, Failure};
use futures::stream::{FuturesUnordered, StreamExt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long the system's resolver may take: its own default is two tries of 5 s.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Wait before the next address is tried beside the ones under way (RFC 8305 §5, "Connection Attempt Delay").
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Lookups at once; each blocks a thread.
const RESOLVERS: usize = 64;

/// Which address families are dialled (`AddressFamily`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// How sockets are made, from ssh_config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// `AddressFamily`.
    pub family: Family,
    /// `BindAddress`.
    pub bind_address: Option<String>,
    /// `BindInterface`.
    pub bind_interface: Option<String>,
    /// `TCPKeepAlive`.
    pub keepalive: bool,
    /// Unacknowledged data for this long ends the connection (TCP_USER_TIMEOUT).
    pub user_timeout: Option<Duration>,
}

/// The addresses of a name, in the order in which they are tried, and what became of that. Outlives a try that is given up.
pub(super) struct Addresses {
    all: Vec<SocketAddr>,
    failed: Vec<(SocketAddr, Obstacle)>,
}

/// Looks names up without ever holding more than [`RESOLVERS`] threads.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Semaphore>);

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(RESOLVERS)))
    }
}

impl Resolver {
    /// The addresses of `host` in the wanted families, families alternating.
    pub(super) async fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Addresses, Failure> {
        let found = match literal(host, port) {
            Some(address) => vec![address],
            None => self.look_up(host, port).await?,
        };
        let wanted: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| match family {
                Family::Any => true,
                Family::Inet => address.is_ipv4(),
                Family::Inet6 => address.is_ipv6(),
            })
            .collect();
        if !wanted.is_empty() {
            return Ok(Addresses::new(alternate(wanted)));
        }
        Err(match family {
            Family::Any => Failure::new(Code::DnsNxdomain, "the host name has no address"),
            Family::Inet => impossible("AddressFamily", "inet", "the host has no IPv4 address"),
            Family::Inet6 => impossible("AddressFamily", "inet6", "the host has no IPv6 address"),
        })
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let Ok(permit) = Arc::clone(&self.0).acquire_owned().await else {
            return Err(Failure::new(Code::DnsFailed, "the resolver is closed"));
        };
        let name = host.to_owned();
        // The permit goes with the thread: a lookup that is given up on still occupies it.
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
        });
        match timeout(RESOLVE_LIMIT, lookup).await {
            Ok(Ok(Ok(addresses))) => Ok(addresses),
            Ok(Ok(Err(error))) => Err(lookup_failure(&error)),
            Ok(Err(_)) => Err(Failure::new(Code::DnsFailed, "the lookup of the host name was interrupted")),
            Err(_) => Err(Failure::new(
                Code::DnsTimeout,
                format!("no answer to the lookup of the host name in {} s", RESOLVE_LIMIT.as_secs()),
            )
            .hint("check the name servers in /etc/resolv.conf, or give the address with `HostName`")),
        }
    }
}

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    // An IPv6 address with a numeric zone; a named zone needs the system's resolver.
    format!("[{host}]:{port}").parse().ok()
}

fn lookup_failure(error: &io::Error) -> Failure {
    let text = error.to_string();
    let reason = text.rsplit(": ").next().unwrap_or(&text).to_owned();
    // getaddrinfo's codes do not survive in io::Error; these are the texts of glibc and musl for EAI_AGAIN.
    if ["Temporary failure", "Try again"].iter().any(|known| reason.contains(known)) {
        return Failure::new(Code::DnsTimeout, "the name servers gave no answer")
            .hint("check the name servers in /etc/resolv.conf");
    }
    let unknown = ["not known", "No address", "does not resolve", "no address"];
    if unknown.iter().any(|known| reason.contains(known)) {
        return Failure::new(Code::DnsNxdomain, "no such host name").hint(
            "check the spelling, or give its address with `HostName` (ssh_config) or `ansible_host` (inventory)",
        );
    }
    Failure::new(Code::DnsFailed, format!("the lookup of the host name failed: {reason}"))
}

/// IPv6, IPv4, IPv6, … beginning with the family that the system put first (RFC 8305 §4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    ours.reverse();
    others.reverse();
    let mut order = Vec::with_capacity(ours.len() + others.len());
    while let Some(address) = ours.pop() {
        order.push(address);
        order.extend(others.pop());
    }
    order.extend(others.into_iter().rev());
    order
}

impl Addresses {
    fn new(all: Vec<SocketAddr>) -> Self {
        Self { all, failed: Vec::new() }
    }

    /// Connects to the first address that answers. The caller bounds the time.
    pub(super) async fn connect(&mut self, options: &SocketOptions) -> Result<(TcpStream, SocketAddr), Failure> {
        self.failed.clear();
        let mut waiting = self.all.iter().copied();
        let mut under_way = FuturesUnordered::new();
        if let Some(address) = waiting.next() {
            under_way.push(connect_one(address, options));
        }
        loop {
            tokio::select! {
                Some((address, result)) = under_way.next() => match result {
                    Ok(stream) => return Ok((stream, address)),
                    Err(obstacle) => {
                        self.failed.push((address, obstacle));
                        match waiting.next() {
                            Some(next) => under_way.push(connect_one(next, options)),
                            None if under_way.is_empty() => break,
                            None => {}
                        }
                    }
                },
                () = sleep(NEXT_ADDRESS), if waiting.len() > 0 => {
                    under_way.extend(waiting.next().map(|next| connect_one(next, options)));
                }
                else => break,
            }
        }
        Err(self.failure())
    }

    /// Why no address could be connected to: the reason of the first, and that of each where they differ.
    fn failure(&self) -> Failure {
        // An option that fits one address may not fit another: what the network says counts for more.
        let by_network = self.refusals();
        let Some((_, first)) = by_network.first() else {
            return match self.failed.first() {
                Some((_, Obstacle::Option(failure))) => failure.clone(),
                _ => Failure::new(Code::DnsNxdomain, "the name has no address"),
            };
        };
        let mut failure = first.clone();
        if by_network.iter().any(|(_, other)| other.message != failure.message) {
            failure.message = each(&by_network);
        }
        failure
    }

    /// The time is over, and this is what is known.
    pub(super) fn unanswered(&self, limit: &str) -> Failure {
        let is_silent = |address: &&SocketAddr| self.failed.iter().all(|(failed, _)| failed != *address);
        let silent: Vec<String> = self.all.iter().filter(is_silent).map(|address| address.ip().to_string()).collect();
        if silent.is_empty() {
            // Between two tries.
            return self.failure();
        }
        let by_network = self.refusals();
        let mut failure = tcp_timeout(self.all.first().map_or(0, SocketAddr::port));
        failure.message.push_str(&format!(" in {limit}"));
        if !by_network.is_empty() {
            failure.message = format!("{}: {}; {}", silent.join(", "), failure.message, each(&by_network));
        }
        failure
    }

    fn refusals(&self) -> Vec<(SocketAddr, Failure)> {
        let failed = self.failed.iter().filter_map(|(address, obstacle)| match obstacle {
            Obstacle::Network(error) => Some((*address, connect_failure(address.port(), error))),
            Obstacle::Option(_) => None,
        });
        failed.collect()
    }

    /// The addresses as text, for messages.
    pub(super) fn list(&self) -> String {
        self.all.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What became of each address.
fn each(failed: &[(SocketAddr, Failure)]) -> String {
    let told = failed.iter().map(|(address, failure)| format!("{}: {}", address.ip(), failure.message));
    told.collect::<Vec<_>>().join("; ")
}

/// Why an address could not be connected to.
enum Obstacle {
    /// The system or the network.
    Network(io::Error),
    /// An option of the configuration, which will be as impossible at the next try.
    Option(Failure),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::Network(error)
    }
}

async fn connect_one(address: SocketAddr, options: &SocketOptions) -> (SocketAddr, Result<TcpStream, Obstacle>) {
    let connected = async {
        let stream = socket(address, options)?.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    (address, connected.await)
}

fn socket(address: SocketAddr, options: &SocketOptions) -> Result<TcpSocket, Obstacle> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = &options.bind_interface {
        let refused = |error: io::Error| match error.raw_os_error() {
            Some(ENODEV) => impossible("BindInterface", interface, "this machine has no such device"),
            _ => impossible("BindInterface", interface, &error.to_string()),
        };
        socket.bind_device(Some(interface.as_bytes())).map_err(|error| Obstacle::Option(refused(error)))?;
    }
    if let Some(source) = &options.bind_address {
        let refused = |why: &str| Obstacle::Option(impossible("BindAddress", source, why));
        let mut ours = (source.as_str(), 0).to_socket_addrs().map_err(|error| refused(&error.to_string()))?;
        let ours = ours.find(|ours| ours.is_ipv4() == address.is_ipv4());
        let ours = ours.ok_or_else(|| refused("it is not of the address family of the host"))?;
        socket.bind(&ours.into()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => refused("this machine has no such address"),
            // Any port would do: there is none.
            io::ErrorKind::AddrInUse => Obstacle::Network(error),
            _ => refused(&error.to_string()),
        })?;
    }
    let settings = SockRef::from(&socket);
    if options.keepalive {
        settings.set_tcp_keepalive(&TcpKeepalive::new())?;
    }
    settings.set_tcp_user_timeout(options.user_timeout)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// An option of the configuration that this machine or the host cannot follow.
fn impossible(option: &str, value: &str, why: &str) -> Failure {
    Failure::new(Code::LocalOption, format!("`{option} {value}` cannot be followed: {why}"))
        .hint("correct the option or leave it out; `bugle config HOST --explain` shows where it is set")
}

/// Names a failed connect: code, words, and what to do. The words leave the address out, so that a hundred hosts that
/// fail alike are one line of the report.
fn connect_failure(port: u16, error: &io::Error) -> Failure {
    use io::ErrorKind::{
        AddrInUse, AddrNotAvailable, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        PermissionDenied, TimedOut,
    };
    match error.kind() {
        ConnectionRefused => Failure::new(Code::TcpRefused, format!("connection refused on port {port}"))
            .hint("is sshd running there, and on that port? -v shows the address"),
        TimedOut => tcp_timeout(port),
        HostUnreachable | NetworkUnreachable => Failure::new(Code::TcpUnreachable, "no route to the host")
            .hint("check the network, the VPN and the address"),
        ConnectionReset => closed_unheard(),
        AddrNotAvailable | AddrInUse => {
            Failure::new(Code::LocalExhausted, format!("no local address or port is free: {error}"))
                .hint("lower --fanout, or widen net.ipv4.ip_local_port_range")
        }
        PermissionDenied => Failure::new(Code::TcpFailed, format!("connecting is not permitted: {error}")),
        _ if matches!(error.raw_os_error(), Some(code) if code == EMFILE || code == ENFILE) => {
            Failure::new(Code::LocalExhausted, "too many open files on this machine")
                .hint("lower --fanout or raise `ulimit -n`")
        }
        _ => Failure::new(Code::TcpFailed, format!("connecting failed: {error}"))
            .hint("-v shows the address that was tried"),
    }
}

/// The server closed or reset the connection before it said a word.
pub(super) fn closed_unheard() -> Failure {
    Failure::new(Code::PreBannerClosed, "the server closed the connection before it said anything")
        .hint("it may be overloaded (MaxStartups), starting up, or refuse this address (hosts.deny, fail2ban)")
}

const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();

/// Nobody answered in time.
pub(super) fn tcp_timeout(port: u16) -> Failure {
    Failure::new(Code::TcpTimeout, format!("no answer on port {port}")).hint(
        "is the host up, and does a firewall let this machine through? a slow link needs a longer --connect-timeout",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use tokio::net::TcpListener;

    fn v4(last: u8) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, last), 22).into()
    }

    fn v6(last: u16) -> SocketAddr {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 22).into()
    }

    #[test]
    fn families_alternate_beginning_with_the_systems_choice() {
        assert_eq!(alternate(vec![v6(1), v6(2), v4(1), v4(2), v4(3)]), [v6(1), v4(1), v6(2), v4(2), v4(3)]);
        assert_eq!(alternate(vec![v4(1), v6(1), v6(2)]), [v4(1), v6(1), v6(2)]);
        assert_eq!(alternate(vec![v4(1)]), [v4(1)]);
    }

    #[test]
    fn addresses_are_read_without_a_lookup() {
        assert_eq!(literal("192.0.2.1", 22), Some(v4(1)));
        assert_eq!(literal("2001:db8::1", 22), Some(v6(1)));
        assert!(literal("fe80::1%2", 22).is_some());
        assert_eq!(literal("web01", 22), None);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let closed = SocketAddr::new(alive.ip(), 1);
        let options = SocketOptions::default();
        let (_stream, reached) = Addresses::new(vec![closed, alive]).connect(&options).await.unwrap();
        assert_eq!(reached, alive);
        let refused = Addresses::new(vec![closed, closed]).connect(&options).await.unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (Code::TcpRefused, "connection refused on port 1"));
    }

    #[tokio::test]
    async fn addresses_that_fail_differently_are_told_each() {
        let closed = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        // Nothing is connected to many.
        let many = SocketAddr::new(Ipv4Addr::new(224, 0, 0, 1).into(), 1);
        let mut addresses = Addresses::new(vec![closed, many]);
        let failure = addresses.connect(&SocketOptions::default()).await.unwrap_err();
        let told = "127.0.0.1: connection refused on port 1; 224.0.0.1: no route to the host";
        assert_eq!((failure.code, failure.message.as_str()), (Code::TcpRefused, told));

        addresses.all.push(v6(1));
        addresses.failed.pop();
        let failure = addresses.unanswered("3.0 s");
        let told = "224.0.0.1, 2001:db8::1: no answer on port 1 in 3.0 s; 127.0.0.1: connection refused on port 1";
        assert_eq!((failure.code, failure.message.as_str()), (Code::TcpTimeout, told));
        let failure = Addresses::new(vec![v4(1), v6(1)]).unanswered("3.0 s");
        assert_eq!(failure.message, "no answer on port 22 in 3.0 s");
    }

    #[tokio::test]
    async fn a_family_that_the_name_lacks_is_said() {
        let failure = Resolver::default().resolve("127.0.0.1", 22, Family::Inet6).await.err().unwrap();
        assert_eq!(failure.code, Code::LocalOption);
        assert_eq!(failure.message, "`AddressFamily inet6` cannot be followed: the host has no IPv6 address");
    }

    #[tokio::test]
    async fn options_that_this_machine_cannot_follow_are_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let bound = |address: &str| SocketOptions { bind_address: Some(address.into()), ..SocketOptions::default() };
        let device = SocketOptions { bind_interface: Some("nosuchdevice".into()), ..SocketOptions::default() };
        for (options, message) in [
            (bound("192.0.2.1"), "`BindAddress 192.0.2.1` cannot be followed: this machine has no such address"),
            (bound("::1"), "`BindAddress ::1` cannot be followed: it is not of the address family of the host"),
            (device, "`BindInterface nosuchdevice` cannot be followed: this machine has no such device"),
        ] {
            let failure = Addresses::new(vec![alive]).connect(&options).await.unwrap_err();
            assert_eq!((failure.code, failure.message.as_str()), (Code::LocalOption, message));
        }
        // What fits one of the addresses is no mistake, and what the network says of that one is told.
        let (v6, closed) = (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 1), SocketAddr::new(alive.ip(), 1));
        let (_stream, reached) = Addresses::new(vec![v6, alive]).connect(&bound("127.0.0.1")).await.unwrap();
        assert_eq!(reached, alive);
        for order in [vec![v6, closed], vec![closed, v6]] {
            let failure = Addresses::new(order).connect(&bound("127.0.0.1")).await.unwrap_err();
            assert_eq!(failure.code, Code::TcpRefused);
        }
    }

    #[test]
    fn lookup_errors_are_told_apart() {
        let of = |text: &str| {
            lookup_failure(&io::Error::other(format!("failed to lookup address information: {text}"))).code
        };
        assert_eq!(of("Name or service not known"), Code::DnsNxdomain);
        assert_eq!(of("Name does not resolve"), Code::DnsNxdomain);
        assert_eq!(of("Temporary failure in name resolution"), Code::DnsTimeout);
        assert_eq!(of("System error"), Code::DnsFailed);
    }
}
