//! What listens for the hosts of a fleet: a socket each, all on the same port, so that the failures of many hosts read
//! the same. A port that was found stays bound, so nobody else can take it.

use super::behaviour::{Behaviour, Reception};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Ports that are tried until one is free on all addresses.
const PORT_TRIES: usize = 50;

/// A socket that only has to exist.
pub(super) enum Prop {
    /// Its port is taken and nobody listens.
    Bound(TcpSocket),
    /// Its queue is full, so that nobody gets in.
    Full(TcpListener, std::net::TcpStream),
}

/// What listens for a host.
pub(super) enum Door {
    Listener(TcpListener),
    Closed(Prop),
}

/// Opens all doors on one port.
pub(super) fn open(runtime: &Runtime, members: &[(String, Behaviour)]) -> io::Result<(u16, Vec<Door>)> {
    let _context = runtime.enter();
    let mut last = io::Error::other("no member");
    for _ in 0..PORT_TRIES {
        // Held while the others are opened on its port.
        let first = listen((Ipv4Addr::new(127, 0, 255, 1), 0).into())?;
        let port = first.local_addr()?.port();
        let doors = members.iter().enumerate().map(|(index, (_, behaviour))| {
            open_door(SocketAddr::new(super::address(index), port), behaviour.reception)
        });
        match doors.collect::<io::Result<Vec<_>>>() {
            Ok(doors) => return Ok((port, doors)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_door(address: SocketAddr, reception: Reception) -> io::Result<Door> {
    match reception {
        Reception::Absent => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            Ok(Door::Closed(Prop::Bound(socket)))
        }
        Reception::Deaf => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            // A queue of none has room for one; the next caller's SYN is dropped.
            let listener = socket.listen(0)?;
            let filler = std::net::TcpStream::connect(address)?;
            Ok(Door::Closed(Prop::Full(listener, filler)))
        }
        _ => Ok(Door::Listener(listen(address)?)),
    }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
