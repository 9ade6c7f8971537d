//! Files on a host replaced on trial, and owners and modes mended with them: [`Transaction`].
//!
//! What the host cannot do for one account it leaves, and says so ([`Left`]); the others go on.
//!
//! The script on the host holds each old file beside the new one until it is told to keep the new ones. Whatever ends it
//! before, a word of ours, a lost connection, a controller that was killed or is silent, takes everything back: the host
//! does it by itself, or another shell where that one was killed. It knows which lines are ours, so that what others have
//! written to the file meanwhile stays.

use super::changes::Changes;
use super::facts::SHELL;
use super::frames::Mark;
use super::rescue::Rescue;
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
    rescue: Rescue,
    /// What was not dealt with yet.
    heard: Vec<u8>,
    silence: Duration,
    /// The numbers of the accounts that are as they were, and why.
    pub(super) left: Vec<(usize, Left)>,
}

/// Why the files of an account were left as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Somebody else has changed one since it was read.
    Changed,
    /// Another run has files beside them on trial.
    Busy,
    /// The host said why.
    Refused(String),
}

/// Why files were not replaced, or not put back.
pub(super) enum Refused {
    /// The host said why; the old files stand.
    ByHost(String),
    /// The session ended otherwise.
    Session(Failure),
}

/// What the script says.
struct Said {
    key: String,
    text: String,
    body: Vec<u8>,
}

impl Transaction {
    /// Puts the new files in the place of the old ones, on trial.
    pub(super) async fn begin(
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        changes: &Changes<'_>,
    ) -> Result<Self, Refused> {
        let mark = Mark::new();
        let script = changes.script(&mark);
        let mut next = Some(Bytes::from(script.put()));
        let rescue = Rescue { connection: Arc::clone(connection), privilege: privilege.cloned(), script };
        let mut trace = Trace::default();
        let started = Inner::start(Arc::clone(connection), SHELL, privilege, &mut trace);
        let inner = started.await.map_err(Refused::Session)?;
        let (silence, heard, left) = (changes.silence, Vec::new(), Vec::new());
        let mut transaction = Self { inner, mark, rescue, heard, silence, left };
        let mut is_whole = true;
        loop {
            let said = transaction.tell(next.take(), &["ready", "written", "end"]).await?;
            let file = said.text.parse().ok().and_then(|number: usize| changes.files.get(number.checked_sub(1)?));
            match (said.key.as_str(), file) {
                // A file goes only when what is before it is read: a shell may read further than it needs to.
                ("ready", Some(file)) => next = Some(Bytes::from(file.document.to_bytes())),
                ("written", Some(file)) => is_whole &= said.body == file.document.to_bytes(),
                ("end", _) if is_whole => return Ok(transaction),
                ("end", _) => {
                    transaction.put_back().await?;
                    return Err(Refused::ByHost("the file does not read back as it was written".into()));
                }
                _ => return Err(Refused::ByHost(said.text)),
            }
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

    /// Lets the new files stand, and gives the accounts of which they do not.
    pub(super) async fn keep(mut self) -> Result<Vec<(usize, Left)>, Refused> {
        let said = self.tell(Some(Bytes::from_static(b"keep\n")), &["kept"]).await;
        self.inner.close().await;
        match said? {
            said if said.key == "kept" => Ok(self.left),
            said if said.key == "restored" => {
                let text = format!("the host heard nothing of this run for {} s; ", self.silence.as_secs().max(1));
                let failure = Failure::new(Code::KeysRolledBack, text + &said.text);
                Err(Refused::Session(failure.hint("--connect-timeout sets how long is waited, a third of that")))
            }
            said => Err(Refused::ByHost(said.text)),
        }
    }

    /// Takes everything back and gives what stands then, in the words of the host.
    pub(super) async fn put_back(mut self) -> Result<String, Refused> {
        let said = self.tell(Some(Bytes::from_static(b"back\n")), &[]).await;
        self.inner.close().await;
        match said? {
            said if said.key == "restored" => Ok(said.text),
            said => Err(Refused::ByHost(said.text)),
        }
    }

    /// Says something, and listens until one of these is answered, or what ends the script.
    async fn tell(&mut self, bytes: Option<Bytes>, awaited: &[&str]) -> Result<Said, Refused> {
        let input = self.inner.input();
        let saying = async {
            if let Some(bytes) = bytes {
                // A script that is gone says so by its end.
                let _ = input.write(bytes).await;
            }
        };
        futures::join!(saying, self.hear(awaited)).1
    }

    async fn hear(&mut self, awaited: &[&str]) -> Result<Said, Refused> {
        loop {
            while let Some(said) = self.next_said() {
                match said.key.as_str() {
                    "left" => self.left.extend(Left::read(&said.text)),
                    "restored" | "troubled" => return Ok(said),
                    key if awaited.contains(&key) => return Ok(said),
                    _ => {}
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
                    return Err(Refused::ByHost(self.rescue.take_back(&self.mark, &text).await));
                }
                Happening::Refused => {
                    let failure = Failure::new(Code::SessionRefused, "the server refused to start a program");
                    return Err(Refused::Session(failure));
                }
                Happening::Lost(why) => return Err(Refused::Session(Failure::new(Code::SessionLost, why))),
            }
        }
    }

    /// The next piece of what was heard. It is there when its line feed is, and a file when something follows it.
    fn next_said(&mut self) -> Option<Said> {
        if !self.heard.ends_with(b"\n") {
            return None;
        }
        let frames = self.mark.frames(&self.heard);
        let frame = frames.first().filter(|frame| frames.len() > 1 || frame.key != "written")?;
        let said = Said { key: frame.key.to_owned(), text: frame.text(), body: frame.body.to_vec() };
        let rest = frames.get(1).map_or(self.heard.len(), |next| next.start);
        self.heard.drain(..rest);
        Some(said)
    }
}

impl Left {
    /// `NUMBER changed|refused|troubled WHY`.
    fn read(text: &str) -> Option<(usize, Self)> {
        let mut words = text.splitn(3, ' ');
        let (number, kind) = (words.next()?.parse().ok()?, words.next()?);
        let why = words.next().unwrap_or_default().to_owned();
        let left = match kind {
            "changed" => Self::Changed,
            "busy" => Self::Busy,
            _ => Self::Refused(why),
        };
        Some((number, left))
    }
}
