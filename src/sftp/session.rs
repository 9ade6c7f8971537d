//! One SFTP session: the requests on their way out, the replies on their way in, and who waits for which.
//!
//! Two tasks do the work. The writer gathers small requests into full SSH packets, so that thousands of small files cost few of
//! them; the reader hands each reply to its [`Answer`]. What is held is bounded by what is asked for.

use super::answer::{Answer, Ended, ending};
use super::carrier::{ByteSink, ByteSource, Piece};
use super::codec::{Reader, Writer};
use super::error::SftpError;
use super::features::{Features, Limits};
use super::frames::{Frames, LARGEST, Packet};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, mpsc, oneshot};

const INIT: u8 = 1;
const VERSION: u8 = 2;
const EXTENDED: u8 = 200;
/// The only version that OpenSSH speaks.
const VERSION_3: u32 = 3;
/// Small requests are gathered up to this size, which is what fits into one SSH packet of OpenSSH's.
const GATHERED: usize = 32 * 1024 - 64;
/// Requests that may wait for the writer.
const OUTGOING: usize = 64;
/// From this round trip on a host is far.
const FAR: Duration = Duration::from_millis(15);
/// Words on standard error that are kept for an error message.
const TALK: usize = 1024;

/// An open session. Clones share it; when the last one is dropped the server is told that nothing follows.
#[derive(Clone)]
pub struct Sftp {
    outgoing: mpsc::Sender<Request>,
    waiting: Arc<Waiting>,
    features: Features,
    limits: Arc<OnceCell<Limits>>,
}

/// A request as bytes: its head, and data that is sent behind it uncopied.
pub(super) struct Request {
    head: Bytes,
    data: Option<Bytes>,
}

/// Who waits for which reply.
#[derive(Default)]
struct Waiting {
    open: Mutex<Open>,
    ended: Ended,
}

#[derive(Default)]
struct Open {
    next: u32,
    answers: HashMap<u32, oneshot::Sender<Packet>>,
    closed: bool,
    /// A request that is under way, and since when; one at a time.
    timed: Option<(u32, Instant)>,
    /// How long the fastest answer was under way.
    fastest: Option<Duration>,
}

impl Open {
    fn take(&mut self, id: u32) -> Option<oneshot::Sender<Packet>> {
        if let Some((_, since)) = self.timed.take_if(|(timed, _)| *timed == id) {
            let took = since.elapsed();
            self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        }
        self.answers.remove(&id)
    }
}

impl Waiting {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, why: SftpError) {
        // The first reason is the cause.
        let _ = self.ended.set(why);
        let mut open = self.open();
        open.closed = true;
        open.answers.clear();
    }
}

impl Sftp {
    /// Begins a session with a server that is being started: says which version is spoken, and hears what it can do.
    ///
    /// # Errors
    /// [`SftpError::Unavailable`] where there is no server, or something prints text in its place.
    pub async fn start(mut source: impl ByteSource, mut sink: impl ByteSink) -> Result<Self, SftpError> {
        let hello = [&5_u32.to_be_bytes()[..], &[INIT], &VERSION_3.to_be_bytes()].concat();
        let mut frames = Frames::default();
        // A server that is not there takes no bytes, and says so itself.
        let greeting = async {
            let _ = sink.send(hello.into()).await;
            pending().await
        };
        let answered = tokio::select! {
            answered = version(&mut source, &mut frames) => answered,
            answered = greeting => answered,
        };
        let features = match answered {
            Ok(features) => features,
            Err(error) => {
                source.close().await;
                return Err(error);
            }
        };
        let waiting = Arc::new(Waiting::default());
        let (outgoing, requests) = mpsc::channel(OUTGOING);
        tokio::spawn(write(requests, sink, Arc::clone(&waiting)));
        tokio::spawn(read(source, frames, Arc::clone(&waiting)));
        Ok(Self { outgoing, waiting, features, limits: Arc::default() })
    }

    /// What the server announced.
    pub fn features(&self) -> Features {
        self.features
    }

    /// How large requests may be; asked for once.
    pub async fn limits(&self) -> Result<Limits, SftpError> {
        if !self.features.limits {
            return Ok(Limits::default());
        }
        let ask = async {
            let asked = self.extended(
                b"limits@openssh.com",
                |writer| writer,
                |packet| Limits::read(&mut super::answer::body(packet, super::answer::EXTENDED_REPLY, "limits")?),
            );
            match asked.await?.get().await {
                // Announced, but not done: the modest ones hold.
                Err(SftpError::Refused(..)) => Ok(Limits::default()),
                other => other,
            }
        };
        self.limits.get_or_try_init(|| ask).await.copied()
    }

    /// Whether the host is so far away that the way, and not the machines at its ends, decides how fast things are: by how
    /// long the fastest answer was under way: where much is done at once, most of them wait for a processor. As near counts
    /// who has not answered yet.
    pub fn is_far(&self) -> bool {
        self.round_trip().is_some_and(|round_trip| round_trip >= FAR)
    }

    /// How long the fastest answer was under way, once there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.waiting.open().fastest
    }

    /// Sends a request and gives its answer-to-come. Waits only while the connection takes nothing.
    pub(super) async fn request<T>(
        &self,
        kind: u8,
        body: impl FnOnce(Writer) -> Writer,
        read: fn(Packet) -> Result<T, SftpError>,
    ) -> Result<Answer<T>, SftpError> {
        self.request_with(kind, body, None, read).await
    }

    /// As [`request`](Self::request), with data at the end of the packet.
    pub(super) async fn request_with<T>(
        &self,
        kind: u8,
        body: impl FnOnce(Writer) -> Writer,
        data: Option<Bytes>,
        read: fn(Packet) -> Result<T, SftpError>,
    ) -> Result<Answer<T>, SftpError> {
        // Whoever asks may be dropped while this waits, and has asked for nothing then.
        let Ok(place) = self.outgoing.reserve().await else { return Err(ending(&self.waiting.ended)) };
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut open = self.waiting.open();
            if open.closed {
                return Err(ending(&self.waiting.ended));
            }
            // Ids come round after 2^32 requests, long after their answers.
            let id = open.next;
            open.next = open.next.wrapping_add(1);
            open.answers.insert(id, sender);
            open.timed.get_or_insert_with(|| (id, Instant::now()));
            id
        };
        let head = body(Writer::packet(kind, id)).finish(data.as_ref().map_or(0, Bytes::len));
        place.send(Request { head, data });
        Ok(Answer::new(receiver, Arc::clone(&self.waiting.ended), read))
    }

    /// Sends a request of an extension.
    pub(super) async fn extended<T>(
        &self,
        name: &'static [u8],
        body: impl FnOnce(Writer) -> Writer,
        read: fn(Packet) -> Result<T, SftpError>,
    ) -> Result<Answer<T>, SftpError> {
        self.request(EXTENDED, |writer| body(writer.string(name)), read).await
    }
}

/// Waits for the VERSION packet.
async fn version(source: &mut impl ByteSource, frames: &mut Frames) -> Result<Features, SftpError> {
    let mut talk = Vec::new();
    loop {
        match source.next().await {
            Piece::Data(bytes) => frames.push(bytes),
            Piece::Talk(bytes) => keep(&mut talk, &bytes),
            Piece::Refused => return Err(SftpError::Unavailable("the server has no SFTP subsystem".into())),
            Piece::Ended(why) => {
                let said = String::from_utf8_lossy(&talk);
                let said = said.trim();
                return Err(SftpError::Unavailable(match said.is_empty() {
                    true => format!("no SFTP server answered: {why}"),
                    false => format!("no SFTP server answered: {said}"),
                }));
            }
        }
        let mut start = [0; 120];
        let count = frames.peek(&mut start);
        // No packet of ours to come is longer: what stands here is text, from a login script perhaps.
        if count >= 4 && u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize > LARGEST {
            let text = String::from_utf8_lossy(&start[..count]);
            let line = text.lines().next().unwrap_or_default();
            return Err(SftpError::Unavailable(format!(
                "the host prints `{line}` where its SFTP server should answer"
            )));
        }
        let Some(packet) = frames.next()? else { continue };
        if packet.kind != VERSION || packet.id != VERSION_3 {
            return Err(SftpError::protocol(match packet.kind {
                VERSION => format!("the server speaks version {} of SFTP, not 3", packet.id),
                kind => format!("the server began with packet type {kind} instead of its version"),
            }));
        }
        return Features::read(&mut Reader::new(packet.into_bytes()));
    }
}

fn keep(talk: &mut Vec<u8>, bytes: &[u8]) {
    let room = TALK.saturating_sub(talk.len());
    talk.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Sends requests until nobody has any more.
async fn write(mut requests: mpsc::Receiver<Request>, mut sink: impl ByteSink, waiting: Arc<Waiting>) {
    let mut gathered = BytesMut::new();
    let mut next = requests.recv().await;
    while let Some(Request { head, data }) = next.take() {
        gathered.extend_from_slice(&head);
        let apart = match data {
            Some(data) if gathered.len() + data.len() <= GATHERED => {
                gathered.extend_from_slice(&data);
                None
            }
            other => other,
        };
        let is_full = apart.is_some() || gathered.len() >= GATHERED;
        if !is_full && let Ok(request) = requests.try_recv() {
            next = Some(request);
            continue;
        }
        let mut sent = sink.send(gathered.split().freeze()).await;
        if let Some(data) = apart {
            sent = sent && sink.send(data).await;
        }
        if !sent {
            waiting.end(SftpError::Lost("the connection to the SFTP server ended".into()));
            return;
        }
        next = match requests.try_recv() {
            Ok(request) => Some(request),
            Err(_) => requests.recv().await,
        };
    }
    sink.finish().await;
}

/// Hands replies to those who wait for them until the server ends.
async fn read(mut source: impl ByteSource, mut frames: Frames, waiting: Arc<Waiting>) {
    let mut talk = Vec::new();
    let why = loop {
        match hand_out(&mut frames, &waiting) {
            Ok(()) => {}
            Err(error) => break error,
        }
        match source.next().await {
            Piece::Data(bytes) => frames.push(bytes),
            Piece::Talk(bytes) => keep(&mut talk, &bytes),
            Piece::Refused => break SftpError::protocol("the server refused a request that it had granted"),
            Piece::Ended(why) => {
                let said = String::from_utf8_lossy(&talk);
                let said = said.trim();
                break SftpError::Lost(if said.is_empty() { why } else { format!("{why}: {said}") });
            }
        }
    };
    waiting.end(why);
    source.close().await;
}

fn hand_out(frames: &mut Frames, waiting: &Waiting) -> Result<(), SftpError> {
    while let Some(packet) = frames.next()? {
        let Some(answer) = waiting.open().take(packet.id) else {
            return Err(SftpError::protocol(format!("the server answered request {}, which was not made", packet.id)));
        };
        // Whoever asked may have gone.
        let _ = answer.send(packet);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    struct Greeting(Option<Bytes>);

    impl ByteSource for Greeting {
        async fn next(&mut self) -> Piece {
            match self.0.take() {
                Some(bytes) => Piece::Data(bytes),
                None => pending().await,
            }
        }

        async fn close(self) {}
    }

    /// Takes nothing.
    struct Stuck;

    impl ByteSink for Stuck {
        async fn send(&mut self, _: Bytes) -> bool {
            pending().await
        }

        async fn finish(&mut self) {}
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_before_it_is_sent_leaves_nothing_behind() {
        let version = [&5_u32.to_be_bytes()[..], &[VERSION], &VERSION_3.to_be_bytes()].concat();
        let sftp = Sftp::start(Greeting(Some(version.into())), Stuck).await.unwrap();
        let mut sent = 0;
        while let Some(answer) = sftp.lstat(b"file").now_or_never() {
            drop(answer.unwrap());
            sent += 1;
        }
        assert_eq!(sftp.waiting.open().answers.len(), sent);
        sftp.waiting.open().take(0).unwrap();
        assert!(sftp.lstat(b"file").now_or_never().is_none());
        let open = sftp.waiting.open();
        assert!(open.timed.is_none() && open.answers.len() == sent - 1);
    }

    #[test]
    fn one_answer_at_a_time_is_timed_and_the_fastest_counts() {
        let mut open = Open::default();
        let before = |milliseconds| Instant::now() - Duration::from_millis(milliseconds);
        open.timed = Some((1, before(40)));
        open.take(7);
        assert_eq!(open.fastest, None, "nobody timed that one");
        open.take(1);
        assert!(open.fastest.is_some_and(|took| took >= FAR) && open.timed.is_none());
        open.timed = Some((2, Instant::now() + FAR));
        open.take(2);
        assert_eq!(open.fastest, Some(Duration::ZERO));
        open.timed = Some((3, before(40)));
        open.take(3);
        assert_eq!(open.fastest, Some(Duration::ZERO));
    }
}
