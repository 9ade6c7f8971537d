//! A command on an open connection: one session channel (RFC 4254 §6).
//!
//! A channel that nobody reads stops its whole connection inside russh. So each has a pump that reads it into a queue of
//! at most [`QUEUE`] bytes; only when that is full does a slow reader slow its host down, which is then what is wanted.
//! Every path ends in [`Process::close`] or in dropping the connection. Nothing here knows what the bytes mean.

use super::backlog::Backlog;
use super::trace::Trace;
use super::{Connection, Display};
use crate::event::{Phase, Stream};
use crate::outcome::{Code, Failure, RemoteExit};
use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Session channels on one connection; sshd's default MaxSessions is 10.
pub(super) const SESSIONS: usize = 8;
/// Output that waits for its reader, in bytes a session.
const QUEUE: usize = 1024 * 1024;

/// What is asked of the server for one command.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// What is started.
    pub program: Program,
    /// Variables that are sent along (`SendEnv`, `SetEnv`); the server may ignore them.
    pub environment: Vec<(String, String)>,
    /// A terminal, where one is wanted.
    pub terminal: Option<Terminal>,
    /// Lets the host use our agent.
    pub forward_agent: bool,
    /// Lets the host open windows here.
    pub display: Option<Display>,
}

/// What a session runs (RFC 4254 §6.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A command line, for the login shell of the user there.
    Command(Vec<u8>),
    /// A server that sshd knows by this name, such as `sftp`.
    Subsystem(&'static str),
}

impl Default for Program {
    fn default() -> Self {
        Self::Command(Vec::new())
    }
}

/// The terminal that a command is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// `TERM`.
    pub name: String,
    /// Columns.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
}

/// A command that was started.
pub struct Process {
    messages: UnboundedReceiver<Queued>,
    /// The bytes that the server takes still, as it said last.
    window: watch::Receiver<u32>,
    writer: Arc<ChannelWriteHalf<Msg>>,
    _permit: OwnedSemaphorePermit,
    connection: Arc<Connection>,
    /// Requests that the server still has to answer, in order (RFC 4254 §4).
    unanswered: VecDeque<Request>,
    remark: Option<&'static str>,
    exit: Option<RemoteExit>,
    closed: bool,
}

/// What a server is asked, where its answer matters.
enum Request {
    /// To let windows through.
    Display,
    /// To start the program.
    Program,
}

/// A message of the channel with its share of the queue.
struct Queued {
    message: ChannelMsg,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a channel until it ends or nobody wants it any more. The queue is bounded by the shares, not by its length.
fn pump(mut channel: ChannelReadHalf) -> (UnboundedReceiver<Queued>, watch::Receiver<u32>) {
    let (sender, receiver) = unbounded_channel();
    let (granted, window) = watch::channel(0);
    let space = Arc::new(Semaphore::new(QUEUE));
    tokio::spawn(async move {
        while let Some(message) = channel.wait().await {
            let size = match &message {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => data.len().min(QUEUE),
                // It takes no place in the queue: the last word is enough.
                ChannelMsg::WindowAdjusted { new_size } => {
                    granted.send_replace(*new_size);
                    continue;
                }
                _ => 0,
            };
            let share = match u32::try_from(size) {
                Ok(size @ 1..) => tokio::select! {
                    share = Arc::clone(&space).acquire_many_owned(size) => share.ok(),
                    () = sender.closed() => return,
                },
                _ => None,
            };
            if sender.send(Queued { message, _share: share }).is_err() {
                return;
            }
        }
    });
    (receiver, window)
}

/// What a process does next.
#[derive(Debug)]
pub enum Happening {
    /// It wrote something.
    Output(Stream, Bytes),
    /// It ended and everything that it wrote was delivered.
    Ended(RemoteExit),
    /// The server would not start it.
    Refused,
    /// The channel or the connection ended without saying how the process did.
    Lost(String),
}

/// Writes to a process.
#[derive(Clone)]
pub struct Input {
    writer: Arc<ChannelWriteHalf<Msg>>,
    window: watch::Receiver<u32>,
}

impl Input {
    /// Sends bytes; waits while the host takes none. An error means that the process or the connection is gone.
    pub async fn write(&self, bytes: Bytes) -> Result<(), InputClosed> {
        self.writer.data_bytes(bytes).await.map_err(|_| InputClosed)
    }

    /// Watches what waits at the host, of which there may be so many bytes, for [`Backlog::room`] before each
    /// [`write`](Self::write).
    pub fn backlog(&self, most: u64) -> Backlog {
        Backlog::new(self.window.clone(), most)
    }

    /// Says that nothing follows.
    pub async fn finish(&self) -> Result<(), InputClosed> {
        self.writer.eof().await.map_err(|_| InputClosed)
    }
}

/// Nobody reads what is written.
#[derive(Debug, thiserror::Error)]
#[error("the process takes no more input")]
pub struct InputClosed;

impl Process {
    /// Opens a channel and starts the command. Does not wait for the server's answer: it comes as the first
    /// [`Happening`], which saves a round trip.
    pub async fn start(connection: Arc<Connection>, exec: &Exec, trace: &mut Trace) -> Result<Self, Failure> {
        let Ok(permit) = Arc::clone(&connection.sessions).acquire_owned().await else {
            return Err(lost(&connection, "before the command was started"));
        };
        trace.begin(Phase::Open);
        connection.monitor.hurry();
        let channel = match connection.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(why)) => return Err(open_refused(&why)),
            Err(_) => return Err(lost(&connection, "before the command was started")),
        };
        trace.end("session channel");
        trace.begin(Phase::Work);
        let (reader, writer) = channel.split();
        let (messages, window) = pump(reader);
        let mut process = Self {
            messages,
            window,
            writer: Arc::new(writer),
            _permit: permit,
            connection,
            unanswered: VecDeque::new(),
            remark: None,
            exit: None,
            closed: false,
        };
        process.request(exec).await.map_err(|_| lost(&process.connection, "before the command was started"))?;
        Ok(process)
    }

    async fn request(&mut self, exec: &Exec) -> Result<(), russh::Error> {
        let channel = &self.writer;
        if exec.forward_agent {
            channel.agent_forward(false).await?;
        }
        if let Some(terminal) = &exec.terminal {
            channel.request_pty(false, &terminal.name, terminal.columns, terminal.rows, 0, 0, &[]).await?;
        }
        if let Some(display) = &exec.display {
            let told = display.announcement();
            self.unanswered.push_back(Request::Display);
            channel.request_x11(true, false, told.protocol, told.cookie, told.screen).await?;
        }
        for (name, value) in &exec.environment {
            channel.set_env(false, name.as_str(), value.as_str()).await?;
        }
        self.unanswered.push_back(Request::Program);
        match &exec.program {
            Program::Command(line) => channel.exec(true, line.as_slice()).await,
            Program::Subsystem(name) => channel.request_subsystem(true, *name).await,
        }
    }

    /// Where its standard input is written.
    pub fn input(&self) -> Input {
        Input { writer: Arc::clone(&self.writer), window: self.window.clone() }
    }

    /// Asks the server to signal the process. sshd ignores this for root, and some servers always.
    pub async fn signal(&self, signal: Sig) {
        // A connection that is gone is noticed by `next`.
        let _ = self.writer.signal(signal).await;
    }

    /// What is to be told of the start, once.
    pub fn remark(&mut self) -> Option<&'static str> {
        self.remark.take()
    }

    /// What happens next. Not to be called again after anything but `Output`.
    pub async fn next(&mut self) -> Happening {
        loop {
            match self.messages.recv().await.map(|queued| queued.message) {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => return Happening::Output(Stream::Stdout, data),
                // RFC 4254 §5.2 knows one kind of extended data: stderr.
                Some(ChannelMsg::ExtendedData { data, .. }) if !data.is_empty() => {
                    return Happening::Output(Stream::Stderr, data);
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Some(RemoteExit::Status(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, core_dumped, .. }) => {
                    self.exit = Some(RemoteExit::Signal { name: signal_text(&signal_name), core_dumped });
                }
                Some(ChannelMsg::Success) => drop(self.unanswered.pop_front()),
                Some(ChannelMsg::Failure) => match self.unanswered.pop_front() {
                    Some(Request::Display) => {
                        self.remark = Some("the host forwards no windows: it needs X11Forwarding yes, and xauth");
                    }
                    Some(Request::Program) | None => return Happening::Refused,
                },
                // Output may follow the status, and even EOF: only the end of the channel is the end.
                Some(ChannelMsg::Close) => {
                    self.closed = true;
                    return match self.exit.take() {
                        Some(exit) => Happening::Ended(exit),
                        None => Happening::Lost("the host closed the session without an exit status".into()),
                    };
                }
                Some(_) => {}
                None => {
                    return match self.exit.take() {
                        Some(exit) => Happening::Ended(exit),
                        None => Happening::Lost(self.connection.why_ended()),
                    };
                }
            }
        }
    }

    /// Gives the channel back to the server.
    pub async fn close(self) {
        if !self.closed {
            let _ = self.writer.close().await;
        }
    }

    /// The connection it runs on.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Connection {
    /// Opens a session and closes it again: nothing is run in it.
    ///
    /// # Errors
    /// Where the server refuses it, or the connection is lost.
    pub async fn try_session(&self) -> Result<(), Failure> {
        self.monitor.hurry();
        match self.handle.channel_open_session().await {
            Ok(channel) => {
                // One that cannot be closed goes with its connection.
                let _ = channel.close().await;
                Ok(())
            }
            Err(russh::Error::ChannelOpenFailure(why)) => Err(open_refused(&why)),
            Err(_) => Err(lost(self, "before a session was opened")),
        }
    }
}

fn signal_text(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

fn open_refused(why: &ChannelOpenFailure) -> Failure {
    let reason = match why {
        ChannelOpenFailure::Other { reason, .. } if !reason.is_empty() => reason.clone(),
        ChannelOpenFailure::AdministrativelyProhibited => "administratively prohibited".into(),
        ChannelOpenFailure::ConnectFailed => "open failed".into(),
        ChannelOpenFailure::ResourceShortage => "out of resources".into(),
        _ => "unknown channel type".into(),
    };
    Failure::new(Code::SessionRefused, format!("the server refused a session: {reason}"))
        .hint("check MaxSessions and ForceCommand in the host's sshd_config, and the account's shell")
}

/// The connection is gone; what that means for the work is the caller's to say.
pub(super) fn lost(connection: &Connection, when: &str) -> Failure {
    Failure::new(Code::SessionLost, format!("the connection was lost {when}: {}", connection.why_ended()))
}
