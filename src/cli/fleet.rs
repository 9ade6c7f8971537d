//! What every fleet verb does around its work: get ready, ask what has to be asked, run, show, and say how it went.

use super::failure::Failed;
use super::host_key_question::{About, Answer, HostKeyQuestion, Settled};
use super::options::{ColorChoice, ExitChoice, FanoutOptions, GlobalOptions, TargetOptions};
use super::prompt::{self, Passphrases};
use super::reach::{Reached, Remark};
use crate::connection::{Connector, Destination, KeySources, Keyring, KnownHostsError, Written};
use crate::event::Event;
use crate::exit_code::{self, Stop};
use crate::host::Roster;
use crate::known_hosts::Rotated;
use crate::nodeset::fold;
use crate::report::{FileTarget, Limits, OutputMode, Report, ReportError, Settings, Sinks, Terminal, Terminals, spawn};
use crate::scheduler::{self, DescriptorBudget, LocalFiles, MaxFail, Plan, ReportEnd, RunResult, Signal, Work};
use futures::StreamExt;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// Events that wait between the run and the report; each may hold a packet of 32 KiB.
const EVENTS: usize = 256;
/// What a report that is blocked is given to end after a signal.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the report of an interrupted run is given to show what was gathered.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What the end of the runtime may take.
const STUCK: Duration = Duration::from_millis(100);
/// From this many hosts on a person at a terminal is asked before a run starts.
const WIDE: usize = 100;

/// A verb that is ready to be run on its hosts.
pub(super) struct FleetRun<'a> {
    pub(super) global: &'a GlobalOptions,
    pub(super) options: &'a FanoutOptions,
    pub(super) verb: &'static str,
    /// The work in the user's words.
    pub(super) title: String,
    pub(super) hosts: Vec<Reached>,
    /// Who they are in the user's words.
    pub(super) targets: &'a TargetOptions,
    /// Told at the start, besides what is found here.
    pub(super) remarks: Vec<Remark>,
    /// Files on this machine that the work opens.
    pub(super) local_files: LocalFiles,
    pub(super) traffic: Traffic,
    /// Keys that are logged in with besides those of the hosts.
    pub(super) further_keys: Vec<KeySources>,
    /// What is said on stdout of all hosts together, before the closing line.
    pub(super) epilogue: Option<Epilogue>,
}

/// Gives what is said at the end.
pub(super) type Epilogue = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What goes to and comes from the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Commands and what they print.
    Words,
    /// Files of any size.
    Files,
}

impl FleetRun<'_> {
    /// Runs the work that `work` makes of the connections and gives the exit code.
    pub(super) fn run<W: Work>(
        self,
        work: impl FnOnce(Arc<Connector>, Vec<Reached>) -> Result<W, Failed>,
    ) -> Result<u8, Failed> {
        let terminals = terminals(self.global.color);
        let dash = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        let mode = match self.options.output {
            // Answers in between would make it unreadable for the program that asked for it.
            OutputMode::Auto if dash(&self.options.json) || dash(&self.options.junit) => OutputMode::None,
            chosen => chosen.resolve(self.hosts.len(), terminals.stdout),
        };
        if dash(&self.options.junit) && (dash(&self.options.json) || mode == OutputMode::Json) {
            return Err(
                Failed::mistake_text("JSON and JUnit cannot both have standard output").hint("give one of them a file")
            );
        }
        if !self.options.yes && self.hosts.len() >= WIDE && prompt::is_interactive() && io::stdin().is_terminal() {
            let names = fold(self.hosts.iter().map(|host| host.destination.name.as_str()));
            if !prompt::confirm(&format!("{} `{}` on {} hosts ({names})?", self.verb, self.title, self.hosts.len()))? {
                return Err(Failed::mistake_text("nothing was started").hint("--yes does not ask"));
            }
        }
        // One connection is the work of one thread; a second one would only be woken up by it.
        let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(self.hosts.len()).max(1);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).enable_all().build().map_err(Failed::fault)?;
        let keyring = Arc::new(self.keyring(&runtime)?);
        let missing: Vec<String> = keyring.missing().into_iter().map(str::to_owned).collect();
        let Settled { mut connector, spent } = self.settle(&runtime, keyring, terminals.width)?;
        connector.learn_keys_by(self.global.learning_line(self.targets));
        if self.traffic == Traffic::Files {
            connector.expect_files();
        }
        let connector = Arc::new(connector);
        let settings = self.settings(mode, terminals);
        let plan = self.plan(spent, missing);
        let (exit, epilogue) = (self.options.exit, self.epilogue);
        // As with ssh: one host's command, and its own status.
        let is_single = mode == OutputMode::Raw && self.hosts.len() == 1 && matches!(self.verb, "run" | "script");
        let work = Arc::new(work(Arc::clone(&connector), self.hosts)?);
        let sinks = Sinks { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
        let mut report = Report::new(settings, sinks).map_err(report_failed)?;
        if let Some(epilogue) = epilogue {
            report = report.with_epilogue(epilogue);
        }
        let (events, thread) = spawn(report, EVENTS).map_err(Failed::fault)?;
        // On a worker, where the units are: every event that crosses threads wakes one up.
        let run = async { tokio::spawn(execute(plan, work, events, thread)).await };
        let (result, shown) = runtime.block_on(run).map_err(Failed::fault)?.map_err(Failed::fault)?;
        // What runs beside the hosts ends here, and with it the commands that it started. A thread that is stuck in the
        // system must not hold up the exit.
        runtime.shutdown_timeout(STUCK);
        write_learned(&connector, self.global.verbose);
        if let Some(shown) = shown {
            shown?;
        }
        Ok(match exit {
            Some(ExitChoice::Remote) => result.remote_exit_code(),
            None if is_single => result.remote_exit_code(),
            _ => result.exit_code(),
        })
    }

    /// Keys are unlocked here, and unknown host keys are put before the user in [`settle`](Self::settle), so that nobody has
    /// to wait for a person while a server's clock is running.
    fn keyring(&self, runtime: &Runtime) -> Result<Keyring, Failed> {
        let person = Passphrases { allowed: self.may_ask(), quiet: self.global.quiet, deadline: self.options.deadline };
        let of_hosts = self.hosts.iter().flat_map(|host| host.destination.key_sources());
        let sources = of_hosts.chain(self.further_keys.iter().cloned());
        Ok(runtime.block_on(Keyring::prepare(sources, &person))?)
    }

    fn may_ask(&self) -> bool {
        self.hosts.iter().all(|host| !host.destination.profile.batch_mode)
    }

    fn settle(&self, runtime: &Runtime, keyring: Arc<Keyring>, width: u16) -> Result<Settled, Failed> {
        let all: Vec<&Destination> = self.hosts.iter().map(|host| &host.destination).collect();
        let waited = keyring.waited;
        let connector = Connector::new(Arc::clone(&keyring), all.iter().copied())?;
        if !self.may_ask() || !prompt::is_interactive() {
            return Ok(Settled { connector, spent: waited });
        }
        let question = HostKeyQuestion {
            keyring,
            destinations: &all,
            about: About::Everybody,
            answer: Answer::Person,
            fanout: self.options.fanout.get(),
            deadline: self.options.deadline.map(|deadline| deadline.saturating_sub(waited)),
            width: (!self.global.quiet).then_some(width),
        };
        let settled = question.settle(connector, runtime)?;
        Ok(Settled { spent: settled.spent + waited, ..settled })
    }

    /// The plan, of whose deadline this much is spent.
    fn plan(&self, spent: Duration, missing_keys: Vec<String>) -> Plan {
        let options = self.options;
        let roster = Roster::new(self.hosts.iter().map(|host| host.destination.name.clone()).collect());
        let mut plan = Plan::new(self.verb, self.title.clone(), roster);
        let per_host = if self.hosts.iter().any(|host| host.destination.uses_a_command()) { 4 } else { 2 };
        let LocalFiles { per_host: files, shared } = self.local_files;
        let per_host = NonZeroUsize::new(per_host + files).unwrap_or(NonZeroUsize::MIN);
        let window = DescriptorBudget::raised().without(shared).window(options.fanout, per_host);
        plan.fanout = window.fanout;
        plan.serial = options.serial.clone();
        plan.pause = options.pause.unwrap_or_default();
        plan.max_fail = options.max_fail.or(options.fail_fast.then_some(MaxFail::FAIL_FAST));
        plan.deadline = options.deadline.map(|deadline| deadline.saturating_sub(spent));
        plan.retries = options.retries;
        plan.seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        if self.global.verbose > 0 {
            plan.notices.extend(window.notice);
            plan.notices.extend(missing_keys);
        }
        let told = self.remarks.iter().filter(|(level, _)| *level <= self.global.verbose);
        plan.notices.extend(told.map(|(_, remark)| remark.clone()));
        plan
    }

    fn settings(&self, mode: OutputMode, terminals: Terminals) -> Settings {
        let options = self.options;
        Settings {
            mode,
            terminals,
            verbosity: self.global.verbose,
            quiet: self.global.quiet,
            // What only tells may be cut off; hosts that are to become something are not left half done.
            goes_on_unheard: !matches!(self.verb, "run" | "script" | "keys list"),
            outdir: options.outdir.clone(),
            json: options.json.as_deref().map(file_target),
            junit: options.junit.as_deref().map(file_target),
            limits: Limits::default(),
        }
    }
}

fn file_target(path: &Path) -> FileTarget {
    if path == Path::new("-") { FileTarget::Stdout } else { FileTarget::File(PathBuf::from(path)) }
}

/// What the report came to; nothing where it was not waited for.
type Shown = Option<Result<(), Failed>>;

/// Runs the plan, then waits for the report, and hears signals until both are over: a report that is blocked on a
/// terminal or pipe which nobody reads any more must not keep the process alive.
async fn execute<W: Work>(
    plan: Plan,
    work: Arc<W>,
    events: Sender<Event>,
    report: JoinHandle<Result<(), ReportError>>,
) -> io::Result<(RunResult, Shown)> {
    let mut signals = Box::pin(scheduler::listen()?);
    let mut result = scheduler::run(plan, work, events, &mut signals).await;
    if result.report == ReportEnd::CutShort {
        return Ok((result, None));
    }
    let mut ended = tokio::task::spawn_blocking(move || match report.join() {
        Ok(shown) => shown.map_err(Some),
        Err(_) => Err(None),
    });
    let was_interrupted = matches!(result.stop, Some(Stop::Interrupted | Stop::Terminated));
    let shown = tokio::select! {
        shown = &mut ended => shown?,
        // Whoever has interrupted the run once does not wait for long.
        () = sleep(LAST_WORDS), if was_interrupted => return Ok((result, None)),
        Some(signal) = signals.next() => {
            result.stop = Some(match signal {
                Signal::Interrupt => Stop::Interrupted,
                Signal::Terminate | Signal::Hangup => Stop::Terminated,
            });
            match timeout(PATIENCE, ended).await {
                Ok(shown) => shown?,
                Err(_) => return Ok((result, None)),
            }
        }
    };
    Ok((
        result,
        Some(shown.map_err(|error| match error {
            Some(error) => report_failed(error),
            None => Failed::fault(io::Error::other("the report ended unexpectedly")),
        })),
    ))
}

fn report_failed(error: ReportError) -> Failed {
    match error {
        ReportError::ClosedPipe => Failed::silent(exit_code::SUCCESS),
        ReportError::Create { .. } => Failed::mistake(error),
        other => Failed::fault(other).hint("what the hosts answered after that is lost; the work itself may be done"),
    }
}

impl From<KnownHostsError> for Failed {
    fn from(error: KnownHostsError) -> Self {
        let hint = error.hint();
        Self::mistake(error).hints(hint)
    }
}

/// Writes the host keys that were taken on first sight. A run whose work is done is not failed by this.
fn write_learned(connector: &Connector, verbose: u8) {
    let written = match connector.learned().write() {
        Ok(written) => written,
        Err(error) => {
            return Failed::fault(error).hint("the new host keys were not remembered").warn(&mut io::stderr());
        }
    };
    for Written { file, rotated: Rotated { added, removed }, .. } in written {
        if verbose > 0 && added + removed > 0 {
            let keys = if added == 1 { "host key" } else { "host keys" };
            let text = format!("UpdateHostKeys: {added} {keys} added, {removed} removed in {}", file.display());
            // There is nobody left to tell that stderr is closed.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// What the standard streams are.
pub(super) fn terminals(choice: ColorChoice) -> Terminals {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let terminal = |present: bool| Terminal {
        present,
        color: match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => present && !plain,
        },
    };
    let (width, height) = rustix::termios::tcgetwinsize(io::stderr()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    // A serial line does not know its size.
    let or = |told: u16, usual: u16| if told > 0 { told } else { usual };
    let usual = Terminals::default();
    Terminals {
        stdout: terminal(io::stdout().is_terminal()),
        stderr: terminal(io::stderr().is_terminal()),
        width: or(width, usual.width),
        height: or(height, usual.height),
    }
}
