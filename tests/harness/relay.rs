//! A relay delays, limits, cuts, freezes and corrupts where it was told to, and nowhere else.

use crate::fleet::relay::{Cable, Direction, Fault, Lane, Relay};
use crate::fleet::{Behaviour, Cut, Fleet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// What a server heard of one connection, up to its end.
type Heard = (Vec<u8>, Option<ErrorKind>);

/// A server that says a text to each caller and then hears them out.
async fn server(says: Vec<u8>) -> (SocketAddr, mpsc::UnboundedReceiver<Heard>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (says, sender) = (says.clone(), sender.clone());
            tokio::spawn(async move {
                let _ = stream.write_all(&says).await;
                let _ = sender.send(hear(&mut stream).await);
            });
        }
    });
    (address, heard)
}

async fn hear(stream: &mut TcpStream) -> Heard {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end.err().map(|error| error.kind()))
}

fn assert_heard(heard: &Heard, length: usize, end: Option<ErrorKind>) {
    assert_eq!((heard.0.len(), heard.1), (length, end));
    assert_eq!(heard.0, text(length));
}

/// Bytes of which each tells its place.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

#[tokio::test]
async fn a_good_cable_passes_everything_on_and_tells_each_end_of_the_other_s() {
    let (address, mut heard) = server(text(300_000)).await;
    let relay = Relay::start(address, [Cable::default()]);
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(&text(1_000_000)).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), (text(1_000_000), None));
    assert_eq!(hear(&mut stream).await, (text(300_000), None));
    relay.until("the end", |traffic| traffic.open == 0).await;
    assert_eq!((relay.traffic().to_server, relay.traffic().to_client), (1_000_000, 300_000));
}

#[tokio::test]
async fn delay_is_latency_and_not_bandwidth() {
    let (address, mut heard) = server(Vec::new()).await;
    let delay = Duration::from_millis(200);
    let relay = Relay::start(address, [Cable::delayed(delay)]);
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let begun = Instant::now();
    // A relay that waits for one chunk after the other would take a hundred times as long.
    let chunk = text(256 * 1024);
    for _ in 0..100 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    assert_eq!(heard.recv().await.unwrap().0.len(), 100 * chunk.len());
    let there = begun.elapsed();
    assert!(there >= delay, "{there:?}");
    // The server closes when it has heard the end, and the news of that takes as long again.
    assert_eq!(hear(&mut stream).await, (Vec::new(), None));
    let back = begun.elapsed();
    assert!(back >= 2 * delay && back < 20 * delay, "{back:?}");
}

#[tokio::test]
async fn a_limited_lane_takes_its_time() {
    let (address, mut heard) = server(text(1000)).await;
    let limited = Lane { bytes_per_second: Some(1_000_000), ..Lane::default() };
    let relay = Relay::start(address, [Cable { to_server: limited, ..Cable::default() }]);
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let begun = Instant::now();
    stream.write_all(&text(500_000)).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), (text(500_000), None));
    let taken = begun.elapsed();
    // All but the first piece wait.
    assert!(taken >= Duration::from_millis(480), "{taken:?}");
}

#[tokio::test]
async fn each_fault_happens_at_its_byte_and_the_last_cable_is_for_all_that_follow() {
    const AT: usize = 70_000;
    for (how, end) in [(Cut::Reset, Some(ErrorKind::ConnectionReset)), (Cut::Close, None)] {
        // Whoever is told of a reset while he writes is not told again when he reads: only one side writes.
        let (address, mut heard) = server(Vec::new()).await;
        let cable = Cable::failing(Direction::ToServer, AT as u64, Fault::Cut(how));
        let relay = Relay::start(address, [cable, Cable::default()]);
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        let _ = stream.write_all(&text(200_000)).await;
        assert_heard(&heard.recv().await.unwrap(), AT, end);
        for _ in 0..2 {
            let mut stream = TcpStream::connect(relay.address).await.unwrap();
            stream.write_all(&text(200_000)).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_heard(&heard.recv().await.unwrap(), 200_000, None);
        }

        let (address, _heard) = server(text(200_000)).await;
        let cable = Cable::failing(Direction::ToClient, AT as u64, Fault::Cut(how));
        let relay = Relay::start(address, [cable, Cable::default()]);
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        assert_heard(&hear(&mut stream).await, AT, end);
        for _ in 0..2 {
            let mut stream = TcpStream::connect(relay.address).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_heard(&hear(&mut stream).await, 200_000, None);
        }
    }
}

#[tokio::test]
async fn one_byte_is_corrupted_and_no_other() {
    for at in [0, 1, 65_535, 99_999] {
        let (address, _heard) = server(text(100_000)).await;
        let relay = Relay::start(address, [Cable::failing(Direction::ToClient, at as u64, Fault::Corrupt)]);
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut expected = text(100_000);
        expected[at] = !expected[at];
        assert_eq!(hear(&mut stream).await, (expected, None), "{at}");
    }
}

#[tokio::test]
async fn a_frozen_connection_passes_nothing_on_until_it_is_cut() {
    let (address, mut heard) = server(text(10)).await;
    let relay = Relay::start(address, [Cable::failing(Direction::ToServer, 100, Fault::Cut(Cut::Freeze))]);
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let mut greeting = [0; 10];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(&text(500)).await.unwrap();
    relay.until("the fault", |traffic| traffic.to_server == 100).await;
    // Nothing is heard of the end, neither here nor there.
    stream.shutdown().await.unwrap();
    let limit = Duration::from_millis(200);
    assert!(tokio::time::timeout(limit, stream.read_u8()).await.is_err());
    assert!(heard.try_recv().is_err());
    assert_eq!(relay.traffic().open, 1);
    relay.cut(Cut::Reset);
    assert_eq!(heard.recv().await.unwrap(), (text(100), Some(ErrorKind::ConnectionReset)));
    assert_eq!(hear(&mut stream).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() {
    // Taken, so that the relay does not get its port, and not listening.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let relay = Relay::start(nobody.local_addr().unwrap(), []);
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    assert_eq!(hear(&mut stream).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn hosts_of_a_fleet_can_be_behind_a_relay() {
    let cables = [Cable::failing(Direction::ToClient, 4, Fault::Cut(Cut::Close)), Cable::default()];
    let fleet = Fleet::one(Behaviour::behind(cables));
    let address = fleet.hosts()[0].address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(hear(&mut stream).await, (b"SSH-".into(), None));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut version = [0; 8];
    stream.read_exact(&mut version).await.unwrap();
    assert_eq!(&version, b"SSH-2.0-");
    assert_eq!(fleet.relay("host").traffic().connections, 2);
}
