//! One command or script on every host: [`RunCommand`], the work behind `bugle run` and `bugle script`.

use super::broadcast::{Broadcast, InputLost};
use super::caller::{Caller, OnHost, attempt};
use super::ending::{Ending, end};
use super::privilege::{Conversation, Privilege, Streams, Turn};
use super::shell::{CommandLine, ScriptFile, in_posix_shell};
use crate::connection::{Connection, Destination, Exec, Happening, Input, Process, Program, Terminal, Trace};
use crate::duration::human;
use crate::event::Stream;
use crate::host::HostId;
use crate::outcome::{Code, Failure, Outcome, RemoteExit};
use crate::scheduler::{Ended, Unit, UnitEvents, Work};
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A command on every host of a run.
pub struct RunCommand {
    /// The way to the hosts.
    pub caller: Caller,
    /// What is done on each host, in the order of the roster.
    pub calls: Vec<Call>,
    /// A local script whose bytes `input` carries; the calls' command lines are not used then.
    pub script: Option<ScriptFile>,
    /// What every host gets on its standard input; nothing means its end at once.
    pub input: Option<Broadcast>,
    /// The terminal that every command gets.
    pub terminal: Option<Terminal>,
    /// How long the command may take.
    pub timeout: Option<Duration>,
}

/// What is done on one host.
#[derive(Clone)]
pub struct Call {
    /// Where.
    pub destination: Destination,
    /// What; shared where all hosts get the same.
    pub command: Arc<CommandLine>,
    /// As whom, where not as the login user.
    pub privilege: Option<Privilege>,
}

impl Work for RunCommand {
    async fn attempt(&self, unit: Unit) -> Ended {
        attempt(self, unit).await
    }
}

impl OnHost for RunCommand {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn destination(&self, host: HostId) -> &Destination {
        &self.calls[host.index()].destination
    }

    async fn work(&self, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        self.run(&self.calls[unit.host.index()], unit, Arc::clone(connection), trace).await
    }
}

impl RunCommand {
    /// Runs the command on an open connection. From here on nothing is tried again: it may have had its effect.
    async fn run(&self, call: &Call, unit: &Unit, connection: Arc<Connection>, trace: &mut Trace) -> Outcome {
        let token = token();
        let exec = self.exec(call, &token);
        let process = match Process::start(connection, &exec, trace).await {
            Ok(process) => process,
            Err(failure) if failure.code == Code::SessionLost => return Outcome::Unreachable(failure),
            Err(failure) => return Outcome::Failed(failure),
        };
        self.caller.tell(trace.entries(), &unit.events).await;
        let run = Running {
            conversation: call.privilege.as_ref().map(|privilege| Conversation::new(privilege, &token, streams(&exec))),
            fed: false,
            feeder: None,
            stdin: self.input.clone(),
            input: process.input(),
            events: &unit.events,
        };
        run.follow(process, call, unit, self.timeout).await
    }

    /// Tells what is over, once.
    fn exec(&self, call: &Call, token: &str) -> Exec {
        let profile = &call.destination.profile;
        let text = match &self.script {
            Some(script) => {
                let line = CommandLine { command: script.loader(token), ..(*call.command).clone() };
                line.text()
            }
            None => call.command.text(),
        };
        let needs_terminal = call.privilege.as_ref().is_some_and(Privilege::needs_terminal);
        let plain = || Terminal { name: "dumb".into(), columns: 80, rows: 24 };
        let terminal = self.terminal.clone().or_else(|| needs_terminal.then(plain));
        let streams = if terminal.is_some() { Streams::OneTerminal } else { Streams::Two };
        let command = match &call.privilege {
            Some(privilege) => privilege.wrap(&text, token, streams),
            None if self.script.is_none() && call.command.is_plain() => text,
            None => in_posix_shell(&text),
        };
        Exec {
            program: Program::Command(command.into_bytes()),
            environment: profile.environment.clone(),
            terminal,
            forward_agent: profile.forward_agent.is_some(),
            display: profile.display.clone(),
        }
    }
}

/// A process and what is said and heard while it runs.
struct Running<'a> {
    conversation: Option<Conversation>,
    fed: bool,
    feeder: Option<JoinHandle<Result<(), InputLost>>>,
    stdin: Option<Broadcast>,
    input: Input,
    events: &'a UnitEvents,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

impl Running<'_> {
    async fn follow(mut self, mut process: Process, call: &Call, unit: &Unit, limit: Option<Duration>) -> Outcome {
        let began = Instant::now();
        let deadline = limit.map(|limit| began + limit);
        if self.conversation.is_none() {
            self.feed().await;
        }
        loop {
            let happening = tokio::select! {
                happening = process.next() => happening,
                reason = unit.cancel.requested() => {
                    let ending = end(process, call.privilege.as_ref()).await;
                    let mut failure = reason.failure();
                    failure.message = ending.describe();
                    return Outcome::Cancelled(failure);
                }
                () = sleep_until(deadline.unwrap_or(began)), if deadline.is_some() => {
                    let ending = end(process, call.privilege.as_ref()).await;
                    return Outcome::TimedOut(timed_out(limit.unwrap_or_default(), ending));
                }
                lost = lost_input(&mut self.feeder) => {
                    // Half of an input must not pass for all of it: the process never sees its end.
                    let ending = end(process, call.privilege.as_ref()).await;
                    let mut failure = Failure::from(lost);
                    failure.message.push_str(&format!("; {}", ending.describe()));
                    return Outcome::Failed(failure);
                }
            };
            if let Some(remark) = process.remark() {
                self.events.notice(0, remark).await;
            }
            let outcome = match happening {
                Happening::Output(stream, bytes) => match self.take(stream, bytes, deadline, unit).await {
                    None => continue,
                    Some(failure) => {
                        process.close().await;
                        return Outcome::Failed(failure);
                    }
                },
                Happening::Ended(exit) => self.ended(exit),
                Happening::Refused => Outcome::Failed(
                    Failure::new(Code::SessionRefused, "the server refused to start the command")
                        .hint("check ForceCommand in its sshd_config and `command=` in authorized_keys"),
                ),
                Happening::Lost(why) => Outcome::Unreachable(
                    Failure::new(Code::SessionLost, why)
                        .hint("whether the command finished is unknown: look at the host before running it again"),
                ),
            };
            process.close().await;
            return outcome;
        }
    }

    /// Shows output; a failure ends the work. While the report is slow this waits, and with it the host.
    async fn take(&mut self, stream: Stream, bytes: Bytes, deadline: Option<Instant>, unit: &Unit) -> Option<Failure> {
        let shown = match &mut self.conversation {
            None => bytes,
            Some(conversation) => match conversation.hear(stream, bytes) {
                Turn::Listen => return None,
                Turn::Answer(password) => {
                    // A process that is gone says so itself.
                    let _ = self.input.write(Bytes::from(format!("{}\n", password.expose()))).await;
                    return None;
                }
                Turn::Over(failure) => return Some(failure),
                Turn::Runs(own) => {
                    self.feed().await;
                    own
                }
            },
        };
        // The time limit and Ctrl-C hold also while nobody reads us.
        tokio::select! {
            () = self.events.output(stream, shown) => {}
            _ = unit.cancel.requested() => {}
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
        }
        None
    }

    /// Sends standard input from now on; called again, it goes on.
    async fn feed(&mut self) {
        if std::mem::replace(&mut self.fed, true) {
            return;
        }
        // A process that takes no input says how it ended in its own time.
        let Some(mut stdin) = self.stdin.take() else {
            let _ = self.input.finish().await;
            return;
        };
        let input = self.input.clone();
        self.feeder = Some(tokio::spawn(async move {
            let mut position = 0;
            while let Some(bytes) = stdin.read_at(position).await? {
                position += bytes.len() as u64;
                if input.write(bytes).await.is_err() {
                    return Ok(());
                }
            }
            let _ = input.finish().await;
            Ok(())
        }));
    }

    fn ended(&self, exit: RemoteExit) -> Outcome {
        if let Some(conversation) = self.conversation.as_ref().filter(|conversation| !conversation.runs()) {
            let status = match exit {
                RemoteExit::Status(status) => Some(status),
                RemoteExit::Signal { .. } => None,
            };
            return Outcome::Failed(conversation.ended(status));
        }
        match exit {
            RemoteExit::Status(0) => Outcome::Ok,
            RemoteExit::Status(status) => {
                let failure = Failure::new(Code::ExitStatus, format!("exit status {status}"));
                let failure = match status {
                    126 => failure.hint("126: found, but not executable"),
                    127 => failure
                        .hint("127: no such command on the host, or not in the PATH of a login without a terminal"),
                    _ => failure,
                };
                Outcome::Failed(failure.exit(RemoteExit::Status(status)))
            }
            RemoteExit::Signal { name, core_dumped } => {
                let dumped = if core_dumped { ", core dumped" } else { "" };
                let failure = Failure::new(Code::ExitSignal, format!("ended by signal {name}{dumped}"));
                Outcome::Failed(failure.exit(RemoteExit::Signal { name, core_dumped }))
            }
        }
    }
}

/// Waits until the input breaks off; for ever where it does not.
async fn lost_input(feeder: &mut Option<JoinHandle<Result<(), InputLost>>>) -> InputLost {
    if let Some(feeding) = feeder {
        let fed = feeding.await;
        *feeder = None;
        if let Ok(Err(lost)) = fed {
            return lost;
        }
    }
    pending().await
}

fn streams(exec: &Exec) -> Streams {
    if exec.terminal.is_some() { Streams::OneTerminal } else { Streams::Two }
}

fn timed_out(limit: Duration, ending: Ending) -> Failure {
    Failure::new(Code::Timeout, format!("not done after {}; {}", human(limit), ending.describe()))
        .hint("--timeout sets how long a command may take")
}

/// A number from 0 to 1, another each time.
pub(super) fn chance() -> f64 {
    let mut byte = [0];
    // Where there is none, everybody has the same one.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / f64::from(u8::MAX)
}

/// Names that nobody can guess: for temporary files, prompts and marks.
pub(super) fn token() -> String {
    let mut bytes = [0; 10];
    // The system's source of randomness does not fail once the system is up; a guessable name would still be refused
    // by `mkdir` where somebody was first.
    let _ = getrandom::fill(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}
