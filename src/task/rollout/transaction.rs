//! Files on a host replaced on trial, and owners and modes mended with them: [`Transaction`].
//!
//! The script on the host holds each old file beside the new one until it is told to keep the new ones. Whatever ends it before,
//! a word of ours, a lost connection, a controller that was killed or is silent, takes everything back: the host does it by
//! itself. It knows which lines are ours, so that what others have written to the file meanwhile stays.

use super::changes::Changes;
use super::facts::SHELL;
use super::frames::{Frame, Mark};
use crate::connection::{Connection, Happening, Trace};
use crate::event::Stream;
use crate::outcome::{Code, Failure, RemoteExit};
use crate::task::inner::Inner;
use crate::task::privilege::Privilege;
use bytes::Bytes;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often the host hears from us while it waits at most so long.
const BEATS: u32 = 4;

/// What is on trial on one host, and goes again unless it is kept.
pub(super) struct Transaction {
    inner: Inner,
    mark: Mark,
    heard: Vec<u8>,
    /// The pieces of it that were dealt with.
    dealt: usize,
    silence: Duration,
}

/// Why files were not replaced, or not put back.
pub(super) enum Refused {
    /// The host said why; the old files stand.
    ByHost(String),
    /// The session ended otherwise.
    Session(Failure),
}

/// What became of new files that were to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// They do.
    Yes,
    /// Somebody else has written to an old one: that stands again.
    Stale,
}

impl Transaction {
    /// Puts the new files in the place of the old ones, on trial. Nothing is done, and nothing given, where somebody else has
    /// changed an old one since it was read.
    pub(super) async fn begin(
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        changes: &Changes<'_>,
    ) -> Result<Option<Self>, Refused> {
        let mark = Mark::new();
        let mut script = Some(Bytes::from(changes.script(&mark)));
        let mut trace = Trace::default();
        let started = Inner::start(Arc::clone(connection), SHELL, privilege, &mut trace);
        let inner = started.await.map_err(Refused::Session)?;
        let mut transaction = Self { inner, mark, heard: Vec::new(), dealt: 0, silence: changes.silence };
        for file in &changes.files {
            // A file goes only when what is before it is read: a shell may read further than it needs to.
            match transaction.tell(script.take(), &["ready"]).await? {
                (key, _) if key == "ready" => script = Some(Bytes::from(file.document.to_bytes())),
                other => return transaction.without(other),
            }
        }
        match transaction.tell(script, &["end"]).await? {
            (key, _) if key == "end" => {}
            other => return transaction.without(other),
        }
        let frames = transaction.mark.frames(&transaction.heard);
        let mut written = frames.iter().filter(|frame| frame.key == "written").map(|frame| frame.body);
        if changes.files.iter().all(|file| written.next() == Some(&file.document.to_bytes())) {
            return Ok(Some(transaction));
        }
        transaction.put_back().await?;
        Err(Refused::ByHost("the file does not read back as it was written".into()))
    }

    /// It does not come to a trial.
    fn without(self, said: (String, String)) -> Result<Option<Self>, Refused> {
        match said {
            (key, _) if key == "changed" => Ok(None),
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Does something during which the host goes on waiting.
    pub(super) async fn during<Done>(&self, work: impl Future<Output = Done>) -> Done {
        let input = self.inner.input();
        let beats = pin!(async {
            loop {
                sleep(self.silence / BEATS).await;
                // A script that is gone is noticed at the end.
                let _ = input.write(Bytes::from_static(b"hold\n")).await;
            }
        });
        match futures::future::select(pin!(work), beats).await {
            futures::future::Either::Left((done, _)) => done,
            futures::future::Either::Right((never, _)) => never,
        }
    }

    /// Lets the new files stand.
    pub(super) async fn keep(mut self) -> Result<Kept, Refused> {
        let said = self.tell(Some(Bytes::from_static(b"keep\n")), &["kept"]).await;
        self.inner.close().await;
        match said? {
            (key, _) if key == "kept" => Ok(Kept::Yes),
            (key, _) if key == "changed" => Ok(Kept::Stale),
            (key, stands) if key == "restored" => {
                let text = format!("the host heard nothing of this run for {} s; ", self.silence.as_secs().max(1));
                let failure = Failure::new(Code::KeysRolledBack, text + &stands);
                Err(Refused::Session(failure.hint("--connect-timeout sets how long is waited, a third of that")))
            }
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Takes everything back and gives what stands then, in the words of the host.
    pub(super) async fn put_back(mut self) -> Result<String, Refused> {
        let said = self.tell(Some(Bytes::from_static(b"back\n")), &[]).await;
        self.inner.close().await;
        match said? {
            (key, stands) if key == "restored" => Ok(stands),
            (_, why) => Err(Refused::ByHost(why)),
        }
    }

    /// Says something, and listens until one of these is answered, or what ends the script. Gives the answer and what it says.
    async fn tell(&mut self, bytes: Option<Bytes>, awaited: &[&str]) -> Result<(String, String), Refused> {
        let input = self.inner.input();
        let saying = async {
            if let Some(bytes) = bytes {
                // A script that is gone says so by its end.
                let _ = input.write(bytes).await;
            }
        };
        futures::join!(saying, self.hear(awaited)).1
    }

    async fn hear(&mut self, awaited: &[&str]) -> Result<(String, String), Refused> {
        const ENDS: [&str; 4] = ["refused", "changed", "restored", "troubled"];
        let is_said = |frame: &Frame<'_>| awaited.contains(&frame.key) || ENDS.contains(&frame.key);
        loop {
            // The line of a piece is there when its line feed is.
            if self.heard.ends_with(b"\n") {
                let frames = self.mark.frames(&self.heard);
                if let Some(frame) = frames.last().filter(|frame| frames.len() > self.dealt && is_said(frame)) {
                    let said = (frame.key.to_owned(), frame.text());
                    self.dealt = frames.len();
                    return Ok(said);
                }
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
