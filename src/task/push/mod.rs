//! Local files and trees on every host: [`Push`], the work behind `bugle push`.
//!
//! On each host: open SFTP, look at what is there ([`survey`]), compare ([`Plan`]), carry out ([`carry`]). Contents are
//! read once for all hosts ([`content`]). Nothing here decides what is different, nor what anything is called: that is
//! [`crate::tree`].

mod carry;
mod compare;
mod content;
mod owner;
mod place;
mod send;
mod survey;
mod tell;
mod trouble;

use super::caller::Caller;
use super::inner::Inner;
use super::privilege::Privilege;
use crate::connection::{Connection, Destination, Exec, Process, Program, Trace};
use crate::duration::human;
use crate::event::Stream;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::{Ended, Unit, Work};
use crate::sftp::{Sftp, Window};
use crate::tree::run_lock::{RunLock, RunState};
use crate::tree::{Plan, Rules, Step, Tree};
use bytes::Bytes;
use carry::Carrier;
use compare::Comparison;
use content::Contents;
pub use owner::{Account, Ownership};
use place::Places;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use survey::{Question, Survey, survey};
use tell::Teller;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use trouble::Trouble;

/// Bytes in flight to one host: at first, and at most where few hosts share the memory.
const WINDOW: (u64, u64) = (1024 * 1024, 16 * 1024 * 1024);
/// Bytes in flight to all hosts together.
const IN_FLIGHT: u64 = 48 * 1024 * 1024;
/// What clearing up may take when a push is ended from outside.
const CLEARING: Duration = Duration::from_secs(2);
/// Temporary files of runs that nobody here knows are removed when they are this old, in seconds.
const OLD: u64 = 24 * 60 * 60;

/// Files and trees for every host of a run.
pub struct Push {
    caller: Caller,
    calls: Vec<PushCall>,
    order: PushOrder,
    contents: Arc<Contents>,
    lock: RunLock,
    window: (u64, u64),
}

/// What is pushed, and how.
pub struct PushOrder {
    /// What is sent.
    pub tree: Arc<Tree>,
    /// Where to, as it was typed.
    pub destination: Vec<u8>,
    /// What is asked for beyond content.
    pub rules: Rules,
    /// Whose it is to be.
    pub ownership: Ownership,
    /// Whether anything is done.
    pub extent: PushExtent,
    /// How long the work on one host may take.
    pub timeout: Option<Duration>,
    /// How many hosts are worked on at once.
    pub fanout: usize,
}

/// Whether a push is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushExtent {
    /// It is.
    Whole,
    /// What would be done is told (`--dry-run`).
    PlanOnly,
}

/// One host of a push.
pub struct PushCall {
    /// Where.
    pub destination: Destination,
    /// As whom, where not as the login user.
    pub privilege: Option<Privilege>,
}

impl Push {
    /// A push that is ready to be run.
    pub fn new(caller: Caller, calls: Vec<PushCall>, order: PushOrder, lock: RunLock) -> Self {
        let contents = Contents::new(Arc::clone(&order.tree), calls.len());
        let at_once = order.fanout.min(calls.len()).max(1) as u64;
        let window = (WINDOW.0, (IN_FLIGHT / at_once).clamp(WINDOW.0, WINDOW.1));
        Self { caller, calls, order, contents, lock, window }
    }
}

impl Work for Push {
    async fn attempt(&self, unit: Unit) -> Ended {
        let call = &self.calls[unit.host.index()];
        let mut trace = Trace::default();
        let connection = match self.caller.connect(&call.destination, &unit, &mut trace).await {
            Ok(connection) => connection,
            Err(ended) => return ended,
        };
        let outcome = self.work(call, &unit, &connection, &mut trace).await;
        if matches!(outcome, Outcome::Ok | Outcome::Changed) {
            trace.end("");
        }
        self.caller.tell(&mut trace, &unit.events).await;
        connection.close().await;
        Ended::Done(outcome)
    }
}

impl Push {
    async fn work(&self, call: &PushCall, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        let sftp = match open_sftp(connection, call.privilege.as_ref(), trace).await {
            Ok(sftp) => sftp,
            Err(trouble) => return trouble.outcome(),
        };
        self.caller.tell(trace, &unit.events).await;
        let places = OnceCell::new();
        let outcome = tokio::select! {
            done = self.push(call, connection, &sftp, unit, &places) => done.unwrap_or_else(Trouble::outcome),
            reason = unit.cancel.requested() => Outcome::Cancelled(reason.failure()),
            limit = elapsed(self.order.timeout) => Outcome::TimedOut(timed_out(limit)),
        };
        if let Some(places) = places.get().filter(|places: &&Places| !places.is_clear()) {
            // What stays is removed by the next run.
            let _ = timeout(CLEARING, places.clear(&sftp)).await;
        }
        outcome
    }

    async fn push(
        &self,
        call: &PushCall,
        connection: &Arc<Connection>,
        sftp: &Sftp,
        unit: &Unit,
        places: &OnceCell<Places>,
    ) -> Result<Outcome, Trouble> {
        let PushOrder { tree, destination, .. } = &self.order;
        let privilege = call.privilege.as_ref();
        let rules = self.order.ownership.resolve(connection, privilege, &self.order.rules).await?;
        let question = Question { tree, destination, everything: rules.delete };
        let Survey { placement, mut observed, temporaries } = survey(sftp, &question).await?;
        let mut plan = Plan::new(tree, &placement, &observed, &rules);
        if !plan.needs_content.is_empty() {
            let contents = &self.contents;
            let comparison = Comparison { connection, privilege, sftp, tree, placement: &placement, contents };
            comparison.fill(&plan.needs_content, &mut observed).await?;
            plan = Plan::new(tree, &placement, &observed, &rules);
        }
        if self.order.extent == PushExtent::PlanOnly {
            return Ok(self.tell_plan(&plan, &placement, unit).await);
        }
        let sends = plan.steps.iter().filter_map(|step| match step {
            Step::Send { entry, .. } => tree.file(*entry),
            _ => None,
        });
        let (files, bytes) = sends.fold((0, 0), |(files, bytes), (size, data)| (files + 1, bytes + data.length(size)));
        unit.events.transfer_planned(files, bytes).await;
        let teller = Teller::new(&unit.events, plan.unchanged);
        for conflict in &plan.conflicts {
            let path = placement.remote(&placement.path(&tree.entries[conflict.entry]));
            teller.failed(&path, &conflict.obstacle.to_string()).await;
            teller.missing(conflict.blocked);
        }
        teller.withheld(plan.withheld);
        self.remove_left_behind(sftp, &temporaries).await?;
        let directory = if tree.roots.iter().all(|root| root.is_directory) || tree.roots.len() > 1 {
            placement.base().to_vec()
        } else {
            let place = placement.remote(placement.prefix(0));
            place::directory_of(&place, &crate::tree::TreePath::root()).to_vec()
        };
        let places = places.get_or_init(|| async { Places::new(self.lock.run(), directory) }).await;
        let carrier = Carrier {
            sftp,
            tree,
            placement: &placement,
            contents: &self.contents,
            window: &Window::new(self.window.0, self.window.1),
            places,
            teller: &teller,
            umask: OnceCell::new(),
        };
        carrier.carry(&plan).await?;
        Ok(teller.finish().await)
    }

    async fn tell_plan(&self, plan: &Plan, placement: &crate::tree::Placement, unit: &Unit) -> Outcome {
        let lines = plan.lines(&self.order.tree, placement);
        let text = if lines.is_empty() { b"nothing to do".to_vec() } else { lines.join(&b'\n') };
        unit.events.output(Stream::Stdout, Bytes::from([text, b"\n".to_vec()].concat())).await;
        Outcome::Ok
    }

    /// Removes what runs left behind that were killed.
    async fn remove_left_behind(
        &self,
        sftp: &Sftp,
        found: &[(crate::tree::temporary::Temporary, Vec<u8>, crate::sftp::Attributes)],
    ) -> Result<(), Trouble> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let mut answers = Vec::new();
        for (temporary, path, attributes) in found {
            let is_old = || attributes.times.is_some_and(|(_, modified)| u64::from(modified) + OLD < now);
            let is_left = match self.lock.state_of(temporary.run) {
                RunState::Dead => true,
                RunState::Unknown => is_old(),
                RunState::Alive => false,
            };
            if is_left {
                answers.push(sftp.remove(path).await?);
            }
        }
        for answer in answers {
            // Whoever may not remove it is not kept from pushing.
            let _ = answer.get().await;
        }
        Ok(())
    }
}

/// The SFTP server of a host, as the login user or as somebody else.
async fn open_sftp(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    trace: &mut Trace,
) -> Result<Sftp, Trouble> {
    match privilege {
        None => {
            let exec = Exec { program: Program::Subsystem("sftp"), ..Exec::default() };
            let process = Process::start(Arc::clone(connection), &exec, trace).await?;
            let input = process.input();
            Ok(Sftp::start(process, input).await?)
        }
        Some(privilege) => {
            let inner = Inner::start(Arc::clone(connection), SERVER, Some(privilege), trace).await?;
            let input = inner.input();
            Ok(Sftp::start(inner, input).await?)
        }
    }
}

/// Starts the SFTP server program, wherever it is: distributions do not agree.
const SERVER: &str = "for server in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server \
    /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server /usr/lib64/ssh/sftp-server \
    /usr/local/libexec/sftp-server; do [ -x \"$server\" ] && exec \"$server\"; done; \
    echo 'no sftp-server program was found' >&2; exit 127";

/// Waits for a time limit; for ever where there is none.
async fn elapsed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn timed_out(limit: Duration) -> Failure {
    let message = format!("not done after {}; what was there still stands", human(limit));
    Failure::new(Code::Timeout, message).hint("--timeout sets how long the work on a host may take")
}
