//! A file on a host replaced on trial: [`Transaction`].
//!
//! The script on the host holds the old file beside the new one until it is told to keep the new one. Whatever ends it before,
//! a word of ours, a lost connection, a controller that was killed, puts the old file back: the host does it by itself.

use super::facts::{Account, KeyFile, SHELL};
use super::frames::{Frame, Mark};
use super::strict::mended;
use crate::connection::{Connection, Happening, Trace};
use crate::event::Stream;
use crate::outcome::{Code, Failure, RemoteExit};
use crate::task::inner::Inner;
use crate::task::privilege::Privilege;
use crate::task::shell::quote;
use bytes::Bytes;
use std::sync::Arc;

const SCRIPT: &str = include_str!("put.sh");

/// A file that stands in its place, and goes again unless it is kept.
pub(super) struct Transaction {
    inner: Inner,
    mark: Mark,
    heard: Vec<u8>,
}

/// Why a file was not replaced, or not put back.
pub(super) enum Refused {
    /// The host said why; the old file stands.
    ByHost(String),
    /// The session ended otherwise.
    Session(Failure),
}

/// What is written.
pub(super) struct Replacement<'a> {
    pub(super) account: &'a Account,
    pub(super) file: &'a KeyFile,
    pub(super) bytes: Vec<u8>,
}

impl Replacement<'_> {
    fn script(&self, mark: &Mark) -> String {
        let Self { account, file, bytes } = self;
        // A file that was there keeps its owner and its mode, as they are once they are mended; a new one is its user's alone.
        let (mode, uid, gid) = file.own_part().map_or((0o600, account.uid, account.gid), |part| {
            let part = mended(account, part);
            (part.mode & 0o777, part.uid, part.gid)
        });
        let owner = if account.looked_as == 0 { format!("{uid}:{gid}") } else { String::new() };
        let expected = file.content.as_ref().map_or("none", |content| content.sum.as_str());
        format!(
            "{{\ntoken={} directory={} make={} name={} expected={} length={} mask={:03o} owner={owner}\n{SCRIPT}exit 0\n}}\n",
            mark.0,
            quote(&file.directory),
            quote(&file.make),
            quote(&file.name),
            quote(expected),
            bytes.len(),
            0o777 & !mode,
        )
    }
}

impl Transaction {
    /// Puts the new file in the place of the old one, on trial. Nothing is done, and nothing given, where somebody else has
    /// changed the old one since it was read.
    pub(super) async fn begin(
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        replacement: &Replacement<'_>,
    ) -> Result<Option<Self>, Refused> {
        let mark = Mark::new();
        let script = replacement.script(&mark);
        let mut trace = Trace::default();
        let started = Inner::start(Arc::clone(connection), SHELL, privilege, &mut trace);
        let inner = started.await.map_err(Refused::Session)?;
        let mut transaction = Self { inner, mark, heard: Vec::new() };
        let input = transaction.inner.input();
        // The file goes only when the script is read: a shell may read further than it needs to.
        let (_, ready) = futures::join!(input.write(Bytes::from(script)), transaction.hear(&["refused", "ready"]));
        ready?;
        let bytes = Bytes::from(replacement.bytes.clone());
        let (_, answer) = futures::join!(input.write(bytes), transaction.hear(&["refused", "changed", "end"]));
        let frames = transaction.mark.frames(&transaction.heard);
        let last = frames.last().map(|frame| (frame.key, frame.text()));
        let whole = frames.iter().any(|frame| frame.key == "written" && frame.body == replacement.bytes);
        answer?;
        match last.as_ref().map(|(key, why)| (*key, why)) {
            Some(("end", _)) if whole => Ok(Some(transaction)),
            Some(("changed", _)) => Ok(None),
            Some(("refused", why)) => Err(Refused::ByHost(why.clone())),
            _ => {
                transaction.put_back().await?;
                Err(Refused::ByHost("the file does not read back as it was written".into()))
            }
        }
    }

    /// Lets the new file stand.
    pub(super) async fn keep(mut self) -> Result<(), Refused> {
        let said = self.finish("keep\n", &["kept"]).await;
        self.inner.close().await;
        said.map(drop)
    }

    /// Puts the old file back.
    pub(super) async fn put_back(mut self) -> Result<(), Refused> {
        let said = self.finish("back\n", &["restored", "foreign", "stuck"]).await;
        self.inner.close().await;
        match said?.as_str() {
            "restored" => Ok(()),
            "foreign" => {
                Err(Refused::ByHost("somebody else has changed the file meanwhile; it stands as it is".into()))
            }
            other => Err(Refused::ByHost(format!("the old file could not be put back: {other}"))),
        }
    }

    async fn finish(&mut self, word: &'static str, ends: &[&str]) -> Result<String, Refused> {
        // A script that is gone says so by its end.
        let _ = self.inner.input().write(Bytes::from_static(word.as_bytes())).await;
        self.hear(ends).await?;
        let frames = self.mark.frames(&self.heard);
        Ok(frames.last().map(|frame| frame.key.to_owned() + &frame.text()).unwrap_or_default())
    }

    /// Listens until one of these is said.
    async fn hear(&mut self, ends: &[&str]) -> Result<(), Refused> {
        let is_said = |frame: &Frame<'_>| ends.contains(&frame.key);
        loop {
            // The line of a piece is there when its line feed is.
            if self.heard.ends_with(b"\n") && self.mark.frames(&self.heard).last().is_some_and(is_said) {
                return Ok(());
            }
            match self.inner.next().await {
                Happening::Output(Stream::Stdout, bytes) => self.heard.extend_from_slice(&bytes),
                Happening::Output(Stream::Stderr, _) => {}
                Happening::Ended(exit) => {
                    let text = match exit {
                        RemoteExit::Status(status) => format!("the script ended with status {status}"),
                        RemoteExit::Signal { name, .. } => format!("the script was ended by signal {name}"),
                    };
                    return Err(Refused::ByHost(text));
                }
                Happening::Refused => {
                    let failure = Failure::new(Code::SessionRefused, "the server refused to start a program");
                    return Err(Refused::Session(failure));
                }
                Happening::Lost(why) => return Err(Refused::Session(Failure::new(Code::SessionLost, why))),
            }
        }
    }
}
