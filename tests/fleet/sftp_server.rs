//! The SFTP subsystem of a host: takes packets from a session channel, has [`Files`] answer them, and puts in the way
//! whatever the host's [`Oddity`]s say.

use super::host::Host;
use super::oddity::{Answer, Oddity};
use super::process::Session;
use super::sftp_files::{self, EXTENSIONS, Fields, Files, LONGEST_PACKET, Reply, put, status};
use bytes::{Buf, Bytes, BytesMut};
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Answers that are held back at most, to be sent in another order.
const HELD: usize = 16;
/// How long an answer waits for others.
const HOLD: Duration = Duration::from_millis(2);
/// What `sftp-server` exits with when a packet is out of all proportion.
const BAD_PACKET: u32 = 11;
/// Zeros that follow a packet with a false length, at most.
const ZEROS: usize = 1 << 20;

/// Requests by their types. Extended ones go by their names, without what follows `@`.
const KINDS: [(u8, &str); 19] = [
    (1, "init"),
    (3, "open"),
    (4, "close"),
    (5, "read"),
    (6, "write"),
    (7, "lstat"),
    (8, "fstat"),
    (9, "setstat"),
    (10, "fsetstat"),
    (11, "opendir"),
    (12, "readdir"),
    (13, "remove"),
    (14, "mkdir"),
    (15, "rmdir"),
    (16, "realpath"),
    (17, "stat"),
    (18, "rename"),
    (19, "readlink"),
    (20, "symlink"),
];

/// Whether requests of this name are known here.
pub(super) fn is_request(name: &str) -> bool {
    name == "any"
        || KINDS.iter().any(|(_, known)| *known == name)
        || EXTENSIONS.iter().any(|(known, _)| known.split('@').next() == Some(name))
}

/// A packet that came.
struct Request {
    name: String,
    /// The version, for `init`.
    id: u32,
    body: Bytes,
}

/// How a channel ends.
enum End {
    /// As the client wants it, or like `sftp-server`, which ends without complaint where there is nothing more to read.
    Exit(u32),
    /// Without a word.
    Close,
    /// When the client has said everything; up to then nothing is said any more.
    Mute,
}

/// Serves one channel to its end.
pub(super) async fn serve(session: Session, host: &Arc<Host>, oddities: &[Oddity]) {
    let Session { reader, writer, handle, place } = session;
    let id = writer.id();
    let _ = handle.channel_success(id).await;
    let (sender, requests) = mpsc::unbounded_channel();
    // The channel must be read while an answer waits for room, or its whole connection stands still.
    let reading = tokio::spawn(read(reader, Arc::clone(host), sender));
    let mut channel = Channel { host, oddities, writer: &writer, requests, held: Vec::new(), answered: 0 };
    let mut end = channel.serve().await;
    if matches!(end, End::Mute) {
        // A client who has no more to say is not kept.
        while channel.requests.recv().await.is_some() {}
        end = End::Exit(0);
    }
    let answered = channel.answered;
    drop(place);
    match end {
        End::Exit(code) => {
            let _ = writer.eof().await;
            let _ = writer.exit_status(code).await;
            let _ = writer.close().await;
        }
        End::Close | End::Mute => {
            let _ = handle.close(id).await;
        }
    }
    let came = reading.await.unwrap_or(answered);
    // What nobody answers is not waited for any more.
    host.count(|counts| counts.files.outstanding -= came - answered);
}

/// Takes the channel apart into requests until the client closes it, and says how many came. Nothing is sent here.
async fn read(mut reader: ChannelReadHalf, host: Arc<Host>, requests: mpsc::UnboundedSender<Option<Request>>) -> usize {
    let mut requests = Some(requests);
    let (mut gathered, mut came) = (BytesMut::new(), 0);
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                gathered.extend_from_slice(&data);
                let Some(queue) = &requests else { continue };
                while let Some(request) = cut(&mut gathered) {
                    if let Some(request) = &request {
                        came += 1;
                        host.asked_for_files(&request.name, describe(request));
                    }
                    // Who answers no more is on the way to close the channel.
                    let _ = queue.send(request);
                }
            }
            ChannelMsg::Eof => requests = None,
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    came
}

/// The next request, once it is whole; `Some(None)` for what is none.
fn cut(gathered: &mut BytesMut) -> Option<Option<Request>> {
    let length = u32::from_be_bytes(gathered.get(..4)?.try_into().ok()?) as usize;
    if !(5..=LONGEST_PACKET).contains(&length) {
        gathered.clear();
        return Some(None);
    }
    if gathered.len() < 4 + length {
        return None;
    }
    gathered.advance(4);
    let mut body = gathered.split_to(length).freeze();
    let kind = body.get_u8();
    let id = body.get_u32();
    let known = KINDS.iter().find(|(number, _)| *number == kind).map(|(_, name)| (*name).to_owned());
    let name = known.or_else(|| {
        let mut fields = Fields(&body);
        let full = fields.text().ok().filter(|_| kind == 200)?;
        let name = String::from_utf8_lossy(full).split('@').next()?.to_owned();
        body = body.slice_ref(fields.0);
        Some(name)
    });
    Some(Some(Request { name: name.unwrap_or_else(|| format!("type {kind}")), id, body }))
}

/// The request with its path or paths, for those that have one.
fn describe(request: &Request) -> Option<String> {
    let paths = match request.name.as_str() {
        "read" | "write" | "close" | "fstat" | "fsetstat" | "readdir" | "init" | "fsync" | "fstatvfs" | "limits" => 0,
        "rename" | "symlink" | "posix-rename" | "hardlink" => 2,
        _ => 1,
    };
    if matches!(request.name.as_str(), "read" | "write") {
        return None;
    }
    let mut fields = Fields(&request.body);
    let mut line = request.name.clone();
    for _ in 0..paths {
        line.push(' ');
        line.push_str(&String::from_utf8_lossy(fields.text().unwrap_or_default()));
    }
    Some(line)
}

struct Channel<'a> {
    host: &'a Host,
    oddities: &'a [Oddity],
    writer: &'a ChannelWriteHalf<Msg>,
    requests: mpsc::UnboundedReceiver<Option<Request>>,
    /// Answers that others may overtake.
    held: Vec<Bytes>,
    answered: usize,
}

impl Channel<'_> {
    async fn serve(&mut self) -> End {
        let mut files = Files::new(&self.host.home, self.oddities);
        let mut handles = Handles { host: self.host, open: 0 };
        for oddity in self.oddities {
            if let Oddity::Noise(text) = oddity
                && self.send(Bytes::from_static(text.as_bytes())).await.is_err()
            {
                return End::Mute;
            }
        }
        loop {
            let request = if self.held.is_empty() {
                self.requests.recv().await
            } else {
                match timeout(HOLD, self.requests.recv()).await {
                    Ok(request) if self.held.len() < HELD => request,
                    late => {
                        self.release().await;
                        match late {
                            Ok(request) => request,
                            Err(_) => continue,
                        }
                    }
                }
            };
            let Some(request) = request else {
                self.release().await;
                return End::Exit(0);
            };
            let Some(request) = request else { return End::Exit(BAD_PACKET) };
            let ended = self.answer(&mut files, &request).await;
            handles.are(files.handles());
            self.answered += 1;
            self.host.count(|counts| counts.files.outstanding -= 1);
            if let Err(end) = ended {
                return end;
            }
        }
    }

    async fn answer(&mut self, files: &mut Files, request: &Request) -> Result<(), End> {
        let Request { name, id, body } = request;
        let odd = self.host.oddity_for(name, self.oddities);
        let reply = match odd {
            Some(Answer::Status(code, text)) => status(code, text),
            Some(Answer::Data(length)) => sftp_files::data_of(&vec![b'x'; length]),
            Some(Answer::Closes) => return Err(End::Close),
            Some(Answer::Exits(code)) => return Err(End::Exit(code)),
            Some(Answer::Cut(how)) => {
                self.host.cut(how);
                return Err(End::Mute);
            }
            _ if name == "init" => self.version(files),
            _ => files.answer(name, body),
        };
        let Reply { mut kind, mut body } = reply;
        let mut id = *id;
        match odd {
            Some(Answer::Half) if kind == sftp_files::DATA => {
                body = sftp_files::data_of(&body[4..4 + (body.len() - 4).div_ceil(2)]).body;
            }
            Some(Answer::OtherId) => id = id.wrapping_add(0x5EED),
            Some(Answer::Type(other)) => kind = other,
            Some(Answer::Count(count)) => {
                body.splice(..4.min(body.len()), count.to_be_bytes());
            }
            Some(Answer::Nothing) => return Ok(()),
            _ => {}
        }
        let mut packet = vec![0; 4];
        packet.push(kind);
        if name != "init" {
            packet.extend_from_slice(&id.to_be_bytes());
        }
        packet.append(&mut body);
        let mut length = (packet.len() - 4) as u32;
        if let Some(Answer::Length(claimed)) = odd {
            length = claimed;
            packet.resize(packet.len().max(4 + ZEROS.min(claimed as usize)), 0);
        }
        packet[..4].copy_from_slice(&length.to_be_bytes());
        if odd == Some(Answer::Torn) {
            packet.truncate(packet.len() / 2);
        }
        if self.oddities.contains(&Oddity::Shuffled) && name != "init" {
            self.held.push(packet.into());
        } else {
            self.send(packet.into()).await.map_err(|()| End::Mute)?;
        }
        match odd {
            Some(Answer::Length(_)) => Err(End::Mute),
            Some(Answer::Torn) => Err(End::Close),
            _ => Ok(()),
        }
    }

    fn version(&self, files: &Files) -> Reply {
        let claimed = self.oddities.iter().find_map(|oddity| match oddity {
            Oddity::Version(version) => Some(*version),
            _ => None,
        });
        let mut body = claimed.unwrap_or(3).to_be_bytes().to_vec();
        for (name, version) in EXTENSIONS {
            if name.split('@').next().is_some_and(|short| files.has(short)) {
                put(&mut body, name.as_bytes());
                put(&mut body, version.as_bytes());
            }
        }
        Reply { kind: sftp_files::VERSION, body }
    }

    /// Sends what was held back: the last first, and of the rest every other one.
    async fn release(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.reverse();
        let (even, odd): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(place, _)| place % 2 == 0);
        for (_, packet) in even.into_iter().chain(odd) {
            // Who is gone is heard of by the one who reads.
            let _ = self.send(packet).await;
        }
    }

    async fn send(&self, bytes: Bytes) -> Result<(), ()> {
        self.writer.data_bytes(bytes).await.map_err(drop)
    }
}

/// The open handles of a channel, as the host counts them.
struct Handles<'a> {
    host: &'a Host,
    open: usize,
}

impl Handles<'_> {
    fn are(&mut self, open: usize) {
        let before = std::mem::replace(&mut self.open, open);
        if before != open {
            self.host.count(|counts| {
                counts.files.handles = counts.files.handles + open - before;
                counts.files.most_handles = counts.files.most_handles.max(counts.files.handles);
            });
        }
    }
}

impl Drop for Handles<'_> {
    fn drop(&mut self) {
        self.are(0);
    }
}
