//! A program on a host that bugle itself talks to: as the login user or, through sudo, as somebody else.
//!
//! [`Inner`] is a [`Process`] whose conversation with sudo is over once [`Inner::start`] returns. [`ask`] runs a small
//! script and gives what it says. Neither has anything to do with the commands of users.

use super::command::token;
use super::privilege::{Conversation, Privilege, Streams, Turn};
use super::shell::in_posix_shell;
use crate::connection::{Connection, Exec, Happening, Input, Process, Program, Trace};
use crate::event::Stream;
use crate::outcome::{Code, Failure, RemoteExit};
use crate::sftp::{ByteSource, Piece};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a script of ours may say; the answers are short lines.
const ANSWER: usize = 64 * 1024 * 1024;

/// A program that runs.
pub(super) struct Inner {
    process: Process,
    input: Input,
    conversation: Option<Conversation>,
    /// What came while sudo was talked to.
    early: VecDeque<(Stream, Bytes)>,
}

impl Inner {
    /// Starts a script for `/bin/sh` and waits until it runs: passwords are asked for and given before that.
    pub(super) async fn start(
        connection: Arc<Connection>,
        script: &str,
        privilege: Option<&Privilege>,
        trace: &mut Trace,
    ) -> Result<Self, Failure> {
        let token = token();
        let command = match privilege {
            // A terminal would change the bytes.
            Some(privilege) if privilege.needs_terminal() => {
                return Err(Failure::new(Code::SudoRefused, "doas asks for its password on a terminal only")
                    .hint("allow it without one (`permit nopass`), or use sudo"));
            }
            Some(privilege) => privilege.wrap(script, &token, Streams::Two),
            None => in_posix_shell(script),
        };
        let exec = Exec { program: Program::Command(command.into_bytes()), ..Exec::default() };
        let process = Process::start(connection, &exec, trace).await?;
        let input = process.input();
        let conversation = privilege.map(|privilege| Conversation::new(privilege, &token, Streams::Two));
        let mut inner = Self { process, input, conversation, early: VecDeque::new() };
        while inner.conversation.as_ref().is_some_and(|conversation| !conversation.runs()) {
            if let Some(heard) = inner.hear().await? {
                inner.early.push_back(heard);
            }
        }
        Ok(inner)
    }

    /// Where its standard input is written.
    pub(super) fn input(&self) -> Input {
        self.input.clone()
    }

    /// One step of the conversation; bytes that are the program's own, where there are any.
    async fn hear(&mut self) -> Result<Option<(Stream, Bytes)>, Failure> {
        let Some(conversation) = &mut self.conversation else { return Ok(None) };
        match self.process.next().await {
            Happening::Output(stream, bytes) => match conversation.hear(stream, bytes) {
                Turn::Listen => Ok(None),
                Turn::Answer(password) => {
                    // A process that is gone says so itself.
                    let _ = self.input.write(Bytes::from(format!("{}\n", password.expose()))).await;
                    Ok(None)
                }
                Turn::Over(failure) => Err(failure),
                Turn::Runs(own) => Ok(Some((stream, own))),
            },
            Happening::Ended(RemoteExit::Status(status)) => Err(conversation.ended(Some(status))),
            Happening::Ended(RemoteExit::Signal { .. }) => Err(conversation.ended(None)),
            Happening::Refused => Err(refused()),
            Happening::Lost(why) => Err(Failure::new(Code::SessionLost, why)),
        }
    }

    /// What it does next.
    pub(super) async fn next(&mut self) -> Happening {
        loop {
            if let Some((stream, bytes)) = self.early.pop_front() {
                if bytes.is_empty() {
                    continue;
                }
                return Happening::Output(stream, bytes);
            }
            match (self.process.next().await, &mut self.conversation) {
                // The mark on the other stream comes late.
                (Happening::Output(stream, bytes), Some(conversation)) => match conversation.hear(stream, bytes) {
                    Turn::Runs(own) => self.early.push_back((stream, own)),
                    Turn::Listen | Turn::Answer(_) | Turn::Over(_) => {}
                },
                (happening, _) => return happening,
            }
        }
    }

    /// Gives its channel back.
    pub(super) async fn close(self) {
        self.process.close().await;
    }
}

impl ByteSource for Inner {
    async fn next(&mut self) -> Piece {
        Piece::from(Inner::next(self).await)
    }

    async fn close(self) {
        Inner::close(self).await;
    }
}

fn refused() -> Failure {
    Failure::new(Code::SessionRefused, "the server refused to start a program")
        .hint("check ForceCommand in its sshd_config and `command=` in authorized_keys")
}

/// Runs a script of ours, which reads `input`, and gives its standard output.
///
/// # Errors
/// Where it cannot be run, or ends with another status than 0.
pub(super) async fn ask(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    script: &str,
    input: Bytes,
) -> Result<Vec<u8>, Failure> {
    let mut inner = Inner::start(Arc::clone(connection), script, privilege, &mut Trace::default()).await?;
    let writer = inner.input();
    let writing = async {
        // A script that reads no further says how it ended in its own time.
        let _ = writer.write(input).await;
        let _ = writer.finish().await;
    };
    let reading = async {
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        loop {
            match inner.next().await {
                Happening::Output(Stream::Stdout, bytes) if answer.len() + bytes.len() <= ANSWER => {
                    answer.extend_from_slice(&bytes);
                }
                Happening::Output(Stream::Stdout, _) => {
                    return Err(Failure::new(Code::SessionRefused, "the host talks on without an end"));
                }
                Happening::Output(Stream::Stderr, bytes) => {
                    complaint.extend_from_slice(&bytes[..bytes.len().min(1024)]);
                    complaint.truncate(4096);
                }
                Happening::Ended(RemoteExit::Status(0)) => return Ok(answer),
                Happening::Ended(exit) => {
                    let said = String::from_utf8_lossy(&complaint);
                    let line = said.trim().lines().next_back().unwrap_or("it said nothing").to_owned();
                    let text = format!("a script that bugle runs on the host failed: {line}");
                    return Err(Failure::new(Code::ExitStatus, text).exit(exit));
                }
                Happening::Refused => return Err(refused()),
                Happening::Lost(why) => return Err(Failure::new(Code::SessionLost, why)),
            }
        }
    };
    let ((), answered) = futures::join!(writing, reading);
    inner.close().await;
    answered
}
