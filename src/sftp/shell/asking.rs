//! From requests to lines for the shell.

use super::commands::{Line, Subject, beginning, change, make_directory, open_new, real_path};
use super::exchange::{Asked, Exchange, word};
use super::handles::{FILES, Handles};
use super::listening::Welcome;
use super::replies::{Code, Expected, limits, names, status};
use super::requests::{Links, Request, read};
use crate::sftp::carrier::{ByteSink, Piece};
use crate::sftp::frames::{Frames, LARGEST, Packet};
use crate::sftp::operations::OpenMode;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const INIT: u8 = 1;
/// Data in one READ or WRITE: enough to make a process on the host worth its start.
const DATA: u32 = 128 * 1024;
/// The unit in which the host reads files.
const BLOCK: u64 = 32 * 1024;
/// Lines that are sent together.
const GATHERED: usize = 32 * 1024 - 64;
/// Names in one reply.
const NAMES: usize = 100;
/// What `Limits` sets aside for listings, which need no descriptor here.
const SET_ASIDE: u64 = 4;

/// What becomes of a request.
enum Plan {
    /// The shell is told a line, with data behind it.
    Tell { line: Line, data: Option<Bytes>, expected: Expected },
    /// The reply is known.
    Reply(Bytes),
}

/// Tells the shell what it is to do, until the client says that nothing follows. Fails where the client's packets are
/// not ones.
pub(super) async fn ask(
    mut requests: mpsc::Receiver<Bytes>,
    mut sink: impl ByteSink,
    exchange: &Exchange,
    replies: &mpsc::Sender<Piece>,
    welcomed: oneshot::Receiver<Welcome>,
) -> Result<(), String> {
    let mut frames = Frames::default();
    while frames.next().map_err(|error| error.to_string())?.is_none_or(|packet| packet.kind != INIT) {
        match requests.recv().await {
            Some(bytes) => frames.push(bytes),
            None => {
                sink.finish().await;
                return Ok(());
            }
        }
    }
    // A shell that is gone says so itself.
    sink.send(beginning(&exchange.secret, &exchange.first).into()).await;
    // Shells read ahead what comes before the loop: nothing may follow it too soon.
    let Ok(Welcome { mask }) = welcomed.await else { return Ok(()) };
    let mut asker = Asker { sink, exchange, replies, mask, gathered: BytesMut::new() };
    loop {
        while let Some(packet) = frames.next().map_err(|error| error.to_string())? {
            asker.take(packet).await?;
        }
        asker.flush().await;
        match requests.recv().await {
            Some(bytes) => frames.push(bytes),
            None => break,
        }
    }
    asker.sink.finish().await;
    Ok(())
}

struct Asker<'a, S> {
    sink: S,
    exchange: &'a Exchange,
    replies: &'a mpsc::Sender<Piece>,
    mask: u32,
    gathered: BytesMut,
}

impl<S: ByteSink> Asker<'_, S> {
    async fn take(&mut self, packet: Packet) -> Result<(), String> {
        let id = packet.id;
        let request = read(packet).map_err(|error| error.to_string())?;
        let plan = plan(id, request, &mut self.exchange.state().handles, self.mask);
        match plan {
            Plan::Tell { line, .. } if line.holds_nul() => {
                self.reply(status(id, Code::BadMessage, "a name holds a NUL")).await;
            }
            Plan::Tell { line, data, expected } => self.tell(id, line, data, expected).await?,
            Plan::Reply(packet) => self.reply(packet).await,
        }
        Ok(())
    }

    async fn reply(&mut self, packet: Bytes) {
        // Whoever asked may have gone.
        let _ = self.replies.send(Piece::Data(packet)).await;
    }

    async fn tell(&mut self, id: u32, line: Line, data: Option<Bytes>, expected: Expected) -> Result<(), String> {
        let room = match Arc::clone(&self.exchange.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => {
                // What makes room is to be sent first.
                self.flush().await;
                let room = Arc::clone(&self.exchange.room).acquire_owned().await;
                room.map_err(|_| "the bridge to the shell was closed")?
            }
        };
        let token = word().map_err(|error| format!("the system gives no random numbers ({error})"))?;
        self.gathered.extend_from_slice(&line.finish(&self.exchange.secret, &token));
        self.exchange.state().asked.push_back(Asked { id, token, expected, _room: room });
        match data {
            Some(data) if self.gathered.len() + data.len() > GATHERED => {
                self.flush().await;
                self.sink.send(data).await;
                self.exchange.moved();
            }
            data => {
                self.gathered.extend_from_slice(&data.unwrap_or_default());
                if self.gathered.len() > GATHERED {
                    self.flush().await;
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) {
        if !self.gathered.is_empty() {
            // A shell that is gone says so itself.
            self.sink.send(self.gathered.split().freeze()).await;
            self.exchange.moved();
        }
    }
}

fn plan(id: u32, request: Request, handles: &mut Handles, mask: u32) -> Plan {
    let tell = |line: Line, expected: Expected| Plan::Tell { line, data: None, expected };
    let refuse = |code: Code, why: &str| Plan::Reply(status(id, code, why));
    let no_such_handle = || refuse(Code::Failure, "no such handle");
    match request {
        Request::Open { path, mode, permissions } => {
            let Some(descriptor) = handles.reserve() else {
                return refuse(Code::Failure, "too many open files");
            };
            let line = match mode {
                OpenMode::Read => Line::call(&format!("open_to_read {descriptor}")).path(&path),
                OpenMode::Write => Line::call(&format!("open_to_write {descriptor}")).path(&path),
                OpenMode::CreateNew => open_new(descriptor, &path, permissions.unwrap_or(0o666) & 0o7777 & !mask),
            };
            if line.holds_nul() {
                handles.release(descriptor);
            }
            tell(line, Expected::Opened(descriptor))
        }
        Request::Close(handle) => match handles.close_file(&handle) {
            Some(descriptor) => tell(Line::call(&format!("shut {descriptor}")), Expected::Nothing),
            None if handles.close_directory(&handle) => Plan::Reply(status(id, Code::Ok, "")),
            None => no_such_handle(),
        },
        Request::Read { handle, offset, length } => {
            let Some(descriptor) = handles.descriptor(&handle) else { return no_such_handle() };
            let (before, length) = (offset % BLOCK, u64::from(length.min(DATA)));
            let (first, count) = (offset / BLOCK, (before + length).div_ceil(BLOCK));
            // Both are below a few hundred KiB.
            let expected = Expected::Data { before: before as usize, length: length as usize };
            tell(Line::call(&format!("on {descriptor} blocks {first} {count}")), expected)
        }
        Request::Write { handle, offset, data } => {
            let Some(descriptor) = handles.descriptor(&handle) else { return no_such_handle() };
            let length = data.len() as u64;
            if length == 0 {
                return Plan::Reply(status(id, Code::Ok, ""));
            }
            let Some(end) = offset.checked_add(length) else {
                return refuse(Code::Failure, "File too large");
            };
            let line = Line::call(&format!("put {descriptor} {offset} {end} {length}"));
            Plan::Tell { line, data: Some(data), expected: Expected::Nothing }
        }
        Request::Describe { path, links } => {
            let call = if links == Links::Follow { "look_through" } else { "look" };
            tell(Line::call(call).path(&path), Expected::Attributes)
        }
        Request::DescribeOpen(handle) => match handles.descriptor(&handle) {
            Some(descriptor) => tell(Line::call(&format!("on {descriptor} look_through")), Expected::Attributes),
            None => no_such_handle(),
        },
        Request::Change { attributes, links: Links::Keep, .. } if attributes.size.is_some() => {
            refuse(Code::BadMessage, "a symbolic link has no size to set")
        }
        Request::Change { path, attributes, links } => {
            tell(change(&Subject::Path(&path, links), &attributes), Expected::Nothing)
        }
        Request::ChangeOpen { handle, attributes } => match handles.descriptor(&handle) {
            Some(descriptor) => tell(change(&Subject::Descriptor(descriptor), &attributes), Expected::Nothing),
            None => no_such_handle(),
        },
        Request::OpenDirectory(path) => tell(Line::call("list").path(&path), Expected::Listing),
        Request::ReadDirectory(handle) => match handles.listing(&handle) {
            Some(listing) => {
                let some: Vec<_> = listing.take(NAMES).collect();
                match some.is_empty() {
                    true => refuse(Code::Eof, ""),
                    false => Plan::Reply(names(id, &some)),
                }
            }
            None => no_such_handle(),
        },
        Request::MakeDirectory { path, permissions } => {
            tell(make_directory(&path, permissions.unwrap_or(0o777) & 0o7777 & !mask), Expected::Nothing)
        }
        Request::RemoveDirectory(path) => tell(Line::call("rmdir").path(&path), Expected::Nothing),
        Request::Remove(path) => tell(Line::call("rm").path(&path), Expected::Nothing),
        Request::RealPath { path, tilde } => tell(real_path(&path, tilde), Expected::Path),
        Request::ReadLink(path) => tell(Line::call("target").path(&path), Expected::Path),
        Request::Rename { from, to } => tell(Line::call("rename").path(&from).path(&to), Expected::Nothing),
        Request::Replace { from, to } => tell(Line::call("replace").path(&from).path(&to), Expected::Nothing),
        Request::Symlink { target, path } => tell(Line::call("symlink").word(&target).path(&path), Expected::Nothing),
        Request::HardLink { existing, path } => tell(Line::call("link").path(&existing).path(&path), Expected::Nothing),
        Request::Sync(handle) => match handles.descriptor(&handle) {
            Some(descriptor) => tell(Line::call(&format!("on {descriptor} bring")), Expected::Nothing),
            None => no_such_handle(),
        },
        Request::Space(path) => tell(Line::call("space").path(&path), Expected::Space),
        Request::Copy { from, at, length, to, to_at } => {
            let (Some(from), Some(to)) = (handles.descriptor(&from), handles.descriptor(&to)) else {
                return no_such_handle();
            };
            tell(Line::call(&format!("copy {from} {at} {length} {to} {to_at}")), Expected::Nothing)
        }
        Request::Limits => {
            let data = u64::from(DATA);
            Plan::Reply(limits(id, [LARGEST as u64, data, data, FILES + SET_ASIDE]))
        }
        Request::Unknown => refuse(Code::Unsupported, "the shell does not do this"),
    }
}
