//! A bad line to any server: a [`Relay`] takes connections on a port of its own and passes their bytes on, late, slowly,
//! changed, or not to the end. What each connection is like says a [`Cable`].
//!
//! Delay is latency and not bandwidth: bytes wait in a queue until each is due, and what follows them is read meanwhile.
//! It is a relay of bytes and not of packets: TCP's own handshake and acknowledgements are those of loopback.

use super::behaviour::Cut;
use super::doors;
use super::line::reset_when_closed;
use bytes::{BufMut, Bytes, BytesMut};
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// What is read at once at most.
const CHUNK: usize = 256 * 1024;
/// Bytes under way on a lane without a limit: 640 MiB/s at 100 ms.
const UNDER_WAY: usize = 64 << 20;
/// A limited lane is written to so many times a second, so that its pace is even.
const PIECES: u64 = 100;
/// Buffers of the sockets at a limited lane: who sends shall not believe that all of it has left.
const SOCKET_BUFFER: usize = 64 * 1024;
/// How long a reset waits for a receiver who has no room.
const SEND_OFF: Duration = Duration::from_secs(1);
/// What [`Relay::until`] waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one connection is like. `Cable::default()` passes everything on at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cable {
    /// From whoever connected.
    pub to_server: Lane,
    /// To them.
    pub to_client: Lane,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lane {
    /// How long each byte is under way.
    pub delay: Duration,
    /// How many bytes a second it takes at most.
    pub bytes_per_second: Option<u64>,
    /// What happens once so many bytes were passed on.
    pub fault: Option<(u64, Fault)>,
}

/// What happens on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This happens to both ends of the connection. A reset takes with it what the receiver has no room for.
    Cut(Cut),
    /// The next byte is passed on with all its bits turned over.
    Corrupt,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected.
    ToServer,
    /// To them.
    ToClient,
}

impl Cable {
    /// Every byte takes so long, each way.
    pub fn delayed(delay: Duration) -> Self {
        let lane = Lane { delay, ..Lane::default() };
        Self { to_server: lane, to_client: lane }
    }

    /// So many bytes a second, each way.
    pub fn limited(bytes_per_second: u64) -> Self {
        let lane = Lane { bytes_per_second: Some(bytes_per_second), ..Lane::default() };
        Self { to_server: lane, to_client: lane }
    }

    /// A good one on which this happens after so many bytes.
    pub fn failing(direction: Direction, after: u64, fault: Fault) -> Self {
        Self::default().with(direction, after, fault)
    }

    /// The same, on which this happens too.
    pub fn with(mut self, direction: Direction, after: u64, fault: Fault) -> Self {
        let lane = match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        };
        lane.fault = Some((after, fault));
        self
    }
}

/// What passed a relay up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were accepted.
    pub connections: usize,
    /// Connections that are there; a frozen one is.
    pub open: usize,
    /// Bytes that were passed on to the server.
    pub to_server: u64,
    /// Bytes that were passed on to clients.
    pub to_client: u64,
}

/// A relay; it ends, and with it all its connections, when it is dropped.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    line: Arc<Line>,
    /// `None` where it lives in the runtime of somebody else.
    runtime: Option<Runtime>,
}

/// What all connections of a relay know.
struct Line {
    server: SocketAddr,
    cables: Vec<Cable>,
    traffic: watch::Sender<Traffic>,
    orders: watch::Sender<Option<Cut>>,
}

impl Relay {
    /// A relay on 127.0.0.1 to a server. The first connection gets the first cable, and so on; the last is for all that
    /// come after.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(server: SocketAddr, cables: impl IntoIterator<Item = Cable>) -> Self {
        let runtime = super::runtime(2);
        let listener = {
            let _context = runtime.enter();
            doors::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free")
        };
        let mut relay = Self::spawn(&runtime, listener, server, cables);
        relay.runtime = Some(runtime);
        relay
    }

    /// A relay in the runtime of a fleet.
    pub(super) fn spawn(
        runtime: &Runtime,
        listener: TcpListener,
        server: SocketAddr,
        cables: impl IntoIterator<Item = Cable>,
    ) -> Self {
        let line = Line {
            server,
            cables: cables.into_iter().collect(),
            traffic: watch::Sender::default(),
            orders: watch::Sender::default(),
        };
        let relay = Self { address: listener.local_addr().expect("it is bound"), line: Arc::new(line), runtime: None };
        runtime.spawn(accept(listener, Arc::clone(&relay.line)));
        relay
    }

    /// What passed up to now.
    pub fn traffic(&self) -> Traffic {
        *self.line.traffic.borrow()
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When it does not come to be so.
    pub async fn until(&self, what: &str, is_so: impl FnMut(&Traffic) -> bool) {
        let mut traffic = self.line.traffic.subscribe();
        let waiting = timeout(PATIENCE, traffic.wait_for(is_so)).await.map(|seen| seen.is_ok());
        assert!(matches!(waiting, Ok(true)), "{what} did not come to pass: {:?}", self.traffic());
    }

    /// Does this to every connection that is open, also to those that are frozen.
    pub fn cut(&self, how: Cut) {
        let _ = self.line.orders.send(Some(how));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also from inside another runtime, where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    let mut cables = line.cables.iter().copied();
    let mut cable = cables.next().unwrap_or_default();
    while let Ok((client, _)) = listener.accept().await {
        let orders = line.orders.subscribe();
        tokio::spawn(connect(client, cable, Arc::clone(&line), orders));
        cable = cables.next().unwrap_or(cable);
    }
}

async fn connect(client: TcpStream, cable: Cable, line: Arc<Line>, orders: watch::Receiver<Option<Cut>>) {
    line.traffic.send_modify(|traffic| {
        traffic.connections += 1;
        traffic.open += 1;
    });
    match TcpStream::connect(line.server).await {
        Ok(server) => carry(client, server, cable, &line, orders).await,
        // The nearest thing to a refusal that is left.
        Err(_) => reset_when_closed(&client),
    }
    line.traffic.send_modify(|traffic| traffic.open -= 1);
}

/// Carries a connection from its beginning to its end.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    cable: Cable,
    line: &Line,
    mut orders: watch::Receiver<Option<Cut>>,
) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    for (lane, source, sink) in [(cable.to_server, &client, &server), (cable.to_client, &server, &client)] {
        if lane.bytes_per_second.is_some() {
            let _ = SockRef::from(source).set_recv_buffer_size(SOCKET_BUFFER);
            let _ = SockRef::from(sink).set_send_buffer_size(SOCKET_BUFFER);
        }
    }
    let carried = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = |length| line.traffic.send_modify(|traffic| traffic.to_server += length);
        let down = |length| line.traffic.send_modify(|traffic| traffic.to_client += length);
        let both = async {
            tokio::try_join!(
                cable.to_server.carry(from_client, to_server, up),
                cable.to_client.carry(from_server, to_client, down)
            )
        };
        tokio::select! {
            carried = both => carried.map(drop),
            how = next(&mut orders) => Err(Ended::Cut(how)),
        }
    };
    let mut how = match carried {
        // Both ends have heard of the other's end.
        Ok(()) => return,
        Err(Ended::Cut(how)) => how,
        Err(Ended::Broken(_)) => Cut::Reset,
    };
    if how == Cut::Freeze {
        how = loop {
            let order = next(&mut orders).await;
            if order != Cut::Freeze {
                break order;
            }
        };
    }
    if how == Cut::Reset {
        tokio::join!(send_off(&client), send_off(&server));
        reset_when_closed(&client);
        reset_when_closed(&server);
    } else {
        // Closing a socket with unread bytes would be a reset.
        tokio::join!(hang_up(&mut client), hang_up(&mut server));
    }
}

async fn next(orders: &mut watch::Receiver<Option<Cut>>) -> Cut {
    loop {
        if orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(how) = *orders.borrow_and_update() {
            return how;
        }
    }
}

/// Waits until the kernel has sent what was written: a reset would throw it away.
async fn send_off(stream: &TcpStream) {
    // From now on the socket counts as writable only while nothing is unsent.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(1);
    // What the runtime knows of the socket is older than that, so it is asked about anew.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let Ok(socket) = TcpStream::from_std(socket.into()) else { return };
    let _ = timeout(SEND_OFF, socket.writable()).await;
}

async fn hang_up(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Why a connection was not carried to the end that its two ends gave it.
enum Ended {
    Cut(Cut),
    /// One end is gone; the other hears of it as a reset.
    Broken(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Bytes, when they are due, and their room in the queue.
type Waiting<'a> = (Instant, Bytes, SemaphorePermit<'a>);

impl Lane {
    /// Carries one direction until its source ends, and then ends its sink.
    async fn carry(self, source: ReadHalf<'_>, sink: WriteHalf<'_>, passed: impl Fn(u64)) -> Result<(), Ended> {
        let room = Semaphore::new(self.under_way());
        let (sender, queue) = mpsc::unbounded_channel();
        tokio::try_join!(self.take(source, sender, &room), self.give(queue, sink, passed)).map(drop)
    }

    /// Bytes that wait at most.
    fn under_way(self) -> usize {
        match self.bytes_per_second {
            Some(rate) => CHUNK + (self.delay.as_secs_f64() * rate as f64) as usize,
            None => UNDER_WAY,
        }
    }

    async fn take<'a>(
        self,
        mut source: ReadHalf<'_>,
        queue: mpsc::UnboundedSender<Waiting<'a>>,
        room: &'a Semaphore,
    ) -> Result<(), Ended> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let length = source.read_buf(&mut (&mut buffer).limit(CHUNK)).await?;
            let due = Instant::now() + self.delay;
            let length = u32::try_from(length).expect("it is a chunk at most");
            let place = room.acquire_many(length).await.expect("the queue is never closed");
            // Who gives is only gone together with us.
            let _ = queue.send((due, buffer.split().freeze(), place));
            // The end takes its time too.
            if length == 0 {
                return Ok(());
            }
        }
    }

    async fn give(
        self,
        mut queue: mpsc::UnboundedReceiver<Waiting<'_>>,
        mut sink: WriteHalf<'_>,
        passed: impl Fn(u64),
    ) -> Result<(), Ended> {
        let (mut given, mut free) = (0, Instant::now());
        self.cut_at(given)?;
        while let Some((due, mut bytes, _place)) = queue.recv().await {
            wait_for(due).await;
            while !bytes.is_empty() {
                let mut piece = bytes.split_to(self.piece(given, bytes.len()));
                let length = piece.len() as u64;
                if self.fault == Some((given, Fault::Corrupt)) {
                    piece = piece.iter().map(|byte| !byte).collect();
                }
                if let Some(rate) = self.bytes_per_second {
                    wait_for(free).await;
                    free = free.max(Instant::now()) + Duration::from_secs_f64(length as f64 / rate as f64);
                }
                sink.write_all(&piece).await?;
                given += length;
                passed(length);
                self.cut_at(given)?;
            }
        }
        Ok(sink.shutdown().await?)
    }

    /// How many bytes are passed on at once: up to the place of the fault, the one byte there, and the rest.
    fn piece(self, given: u64, length: usize) -> usize {
        let pace = self.bytes_per_second.map_or(u64::MAX, |rate| (rate / PIECES).max(1));
        let place = match self.fault {
            Some((at, _)) if given < at => at - given,
            Some((at, Fault::Corrupt)) if given == at => 1,
            _ => u64::MAX,
        };
        length.min(usize::try_from(pace.min(place)).unwrap_or(usize::MAX))
    }

    fn cut_at(self, given: u64) -> Result<(), Ended> {
        match self.fault {
            Some((at, Fault::Cut(how))) if at == given => Err(Ended::Cut(how)),
            _ => Ok(()),
        }
    }
}

async fn wait_for(moment: Instant) {
    if moment > Instant::now() {
        sleep_until(moment).await;
    }
}
