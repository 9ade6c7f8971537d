//! Files and trees from every host: [`Pull`], the work behind `bugle pull`.
//!
//! On each host: open SFTP, find what the sources stand for ([`find`]) and all that is in it ([`walk`]), compare it with
//! what is here ([`judge`]), and bring it ([`carry`]): many files in flight at once ([`fetch`]), small ones written
//! together ([`parcel`]), large ones while more is coming ([`receiving`]). Where and how files are put is decided in
//! [`crate::tree::landing`] alone.

mod carry;
mod commit;
mod fetch;
mod find;
mod inventory;
mod judge;
mod parcel;
mod receiving;
mod source;
mod underway;
mod version;
mod walk;

use super::caller::{Caller, OnHost, attempt};
use super::digest::{Digester, Part, Sha256};
use super::file_server::open_sftp;
use super::lanes::{Beside, LANES, Lanes};
use super::streamed::streamed;
use super::teller::{Teller, Way};
use super::transfer::{CLEARING, Conduct, Extent, IN_FLIGHT, TransferHost, WINDOW, most_in_flight, tell_lines};
use super::trouble::Trouble;
use crate::connection::{Connection, Destination, Trace};
use crate::host::HostId;
use crate::outcome::Outcome;
use crate::scheduler::{Ended, Unit, Work};
use crate::sftp::{Attributes, OpenMode, Sftp, SftpError, Window};
use crate::tree::landing::{Landing, LandingError, Place};
use crate::tree::run_lock::RunLock;
use crate::tree::{Filter, Links};
use carry::{BATCH, Carrier, PER_FILE, here_failed};
use commit::Committer;
use fetch::Fetcher;
use futures::{StreamExt, stream};
use inventory::{Inventory, Kind, LeftOut};
use judge::{Verdict, judge, line};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use underway::{Underway, fault};
use walk::{Question, walk};

pub use judge::Comparison;
pub use source::{Source, SourceError};

/// Bytes in flight from a host where many share the memory.
const NARROW: u64 = 64 * 1024;
/// Large files that are open here at once, of all hosts together, and at most of one.
const LARGE_FILES: (usize, usize) = (64, 8);
/// Sources that are looked for at once.
const SOURCES: usize = 16;
/// Files that are read for a look at once, where a host cannot tell their digests; a shell in the place of a server has room
/// for six.
const LOOKS: usize = 4;

/// Files and trees from every host of a run.
pub struct Pull {
    caller: Caller,
    hosts: Vec<TransferHost>,
    order: PullOrder,
    lock: Arc<RunLock>,
    committer: Arc<Committer>,
    open_files: Arc<Semaphore>,
    lanes: Arc<Semaphore>,
    at_once: usize,
}

/// What is fetched, and how.
pub struct PullOrder {
    /// What, on each host.
    pub sources: Vec<Source>,
    /// Where to. None where that is not there yet and nothing is done.
    pub landing: Option<Arc<Landing>>,
    /// Whether directories are fetched with all that is in them.
    pub recursive: bool,
    /// Modes and times are those of the host (`-p`).
    pub preserve: bool,
    /// How what is here already is compared.
    pub comparison: Comparison,
    /// What is done about symlinks.
    pub links: Links,
    /// Which files are meant.
    pub filter: Filter,
    /// How it is carried out.
    pub conduct: Conduct,
}

impl Pull {
    /// A pull that is ready to be run.
    pub fn new(caller: Caller, hosts: Vec<TransferHost>, order: PullOrder, lock: Arc<RunLock>) -> Self {
        let at_once = order.conduct.at_once(hosts.len());
        let open_files = Arc::new(Semaphore::new(order.conduct.open_files));
        let lanes = Arc::new(Semaphore::new(LANES));
        Self { caller, hosts, order, lock, committer: Arc::default(), open_files, lanes, at_once }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        // Whoever still holds on to it may still write.
        let is_clean = |landing: &Arc<Landing>| Arc::strong_count(landing) == 1 && landing.left_behind() == 0;
        if self.order.landing.as_ref().is_none_or(is_clean) {
            self.lock.ended_clean();
        }
    }
}

impl Work for Pull {
    async fn attempt(&self, unit: Unit) -> Ended {
        attempt(self, unit).await
    }
}

impl OnHost for Pull {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn destination(&self, host: HostId) -> &Destination {
        &self.hosts[host.index()].destination
    }

    async fn work(&self, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        self.pull_from(unit, connection, trace).await
    }
}

/// What the work on one host has in its hands.
struct Host<'a> {
    sftp: &'a Sftp,
    digester: &'a Digester<'a>,
    lanes: &'a Lanes<'a>,
    place: Option<&'a Arc<Place>>,
    underway: &'a Underway,
    unit: &'a Unit,
}

impl Pull {
    async fn pull_from(&self, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        let TransferHost { destination, privilege } = &self.hosts[unit.host.index()];
        let privilege = privilege.as_ref();
        let place = self.order.landing.as_ref().map(|landing| landing.place(&destination.name));
        let (underway, all_ended) = Underway::new();
        let pulling = async {
            let sftp = &open_sftp(connection, privilege, trace).await?;
            self.caller.tell(trace.entries(), &unit.events).await;
            let digester = &Digester::new(connection, privilege, sftp);
            let (caller, permits, destination) = (&self.caller, &self.lanes, self.destination(unit.host));
            let lanes = &Lanes::new(&Beside { caller, destination, connection, privilege, sftp, permits });
            self.pull(&Host { sftp, digester, lanes, place: place.as_ref(), underway: &underway, unit }).await
        };
        let outcome = self.order.conduct.bound(unit, pulling).await;
        // What is being written removes itself, if it may: the process must not end before that.
        drop(underway);
        let _ = timeout(CLEARING, all_ended.wait()).await;
        // What came before the end is here to stay. Where all came, this is done already.
        self.settle(place.as_ref()).await;
        outcome
    }

    async fn pull(&self, host: &Host<'_>) -> Result<Outcome, Trouble> {
        let events = &host.unit.events;
        let teller = Teller::new(events, Way::Received, 0);
        let inventory = Arc::new(self.look(host, &teller).await?);
        let why = ["are no files", "have names that bugle gives to files on their way"];
        for (LeftOut { count, first }, why) in [&inventory.passed_over, &inventory.temporary].into_iter().zip(why) {
            if *count > 0 {
                events.notice(0, format!("{count} left out that {why}, such as `{}`", first.escape_ascii())).await;
            }
        }
        let verdicts = self.judge(host, &inventory).await?;
        if self.order.conduct.extent == Extent::PlanOnly {
            let told = |(index, verdict): &(usize, Verdict)| line(&inventory, &inventory.entries[*index], verdict);
            tell_lines(verdicts.iter().filter_map(told).collect(), host.unit).await;
            // What is in the way fails a look as it would fail the pull.
            for (index, verdict) in verdicts {
                if let Verdict::Blocked(error) = verdict {
                    teller.would_fail(&inventory.remote(&inventory.entries[index]), here_failed(&error));
                }
            }
            return Ok(teller.outcome());
        }
        let Some(place) = host.place else { return Ok(teller.outcome()) };
        let work = self.plan(&inventory, verdicts, &teller).await;
        let size = |index: &usize| inventory.entries[*index].size();
        events.transfer_planned(work.fetch.len() as u64, work.fetch.iter().map(size).sum()).await;
        let widest = (IN_FLIGHT / self.at_once as u64).clamp(NARROW, most_in_flight(host.sftp));
        let fetcher = Fetcher {
            sftp: host.sftp,
            digester: host.digester,
            comparison: self.order.comparison,
            again: &self.again(),
            place,
            inventory: &inventory,
            committer: &self.committer,
            window: &Window::new(WINDOW.0.min(widest), widest),
            widest,
            teller: &teller,
            preserve: self.order.preserve,
            interrupted: self.order.conduct.interrupted,
            underway: host.underway,
            lanes: host.lanes,
        };
        let open_files = self.order.conduct.open_files;
        let larges = (LARGE_FILES.0.min(open_files) / self.at_once).clamp(1, LARGE_FILES.1);
        let batch = BATCH.min(open_files / PER_FILE);
        Carrier { fetcher, larges, batch, open_files: &self.open_files }.carry(work).await?;
        host.lanes.close().await;
        host.digester.close().await;
        for error in self.settle(Some(place)).await {
            teller.failed_with(b"at the end", here_failed(&error)).await;
        }
        Ok(teller.finish().await)
    }

    /// Finds everything that the sources stand for.
    async fn look(&self, host: &Host<'_>, teller: &Teller<'_>) -> Result<Inventory, Trouble> {
        let PullOrder { sources, recursive, links, filter, .. } = &self.order;
        let finding = stream::iter(sources.clone()).map(|source| find::find(host.sftp, source));
        let found: Vec<_> = finding.buffered(SOURCES).collect().await;
        let mut roots = Vec::new();
        for (source, found) in sources.iter().zip(found) {
            match found? {
                Ok(found) => roots.extend(found),
                Err(failure) => teller.failed_with(source.as_bytes(), failure).await,
            }
        }
        let question = Question { recursive: *recursive, links: *links, filter };
        walk(host.sftp, &question, roots, teller).await
    }

    /// Compares all of it with what is here.
    async fn judge(&self, host: &Host<'_>, inventory: &Arc<Inventory>) -> Result<Vec<(usize, Verdict)>, Trouble> {
        let all = 0..inventory.entries.len();
        let Some(place) = host.place else { return Ok(all.map(|index| (index, Verdict::New)).collect()) };
        let (here, what, comparison) = (Arc::clone(place), Arc::clone(inventory), self.order.comparison);
        let judging = host.underway.blocking(move || Ok(judge(&here, &what, comparison)));
        let mut verdicts = judging.await.map_err(|error| here_failed(&error))?;
        let open = verdicts.iter_mut().filter(|(_, verdict)| matches!(verdict, Verdict::SameSize));
        let open: Vec<&mut (usize, Verdict)> = open.collect();
        if open.is_empty() {
            return Ok(verdicts);
        }
        let part = |(index, _): &&mut (usize, Verdict)| {
            let entry = &inventory.entries[*index];
            Part { path: inventory.remote(entry), length: None }
        };
        let parts: Vec<Part> = open.iter().map(part).collect();
        let told = host.digester.all(&parts).await?;
        let (sftp, again) = (host.sftp, &self.again());
        let sizes = open.iter().map(|(index, _)| inventory.entries[*index].size());
        let asked: Vec<(Part, u64, Option<Sha256>)> =
            parts.into_iter().zip(sizes).zip(told).map(|((part, size), told)| (part, size, told)).collect();
        let read = stream::iter(asked).map(|(part, size, told)| async move {
            match told {
                Some(told) => Ok(Some(told)),
                // It is read for a look: what has the same content is not fetched then.
                None => read_digest(sftp, &part.path, size, again).await,
            }
        });
        let read: Vec<Result<Option<Sha256>, SftpError>> = read.buffered(LOOKS).collect().await;
        for ((index, verdict), there) in open.into_iter().zip(read) {
            let there = there?;
            let (place, inventory, index) = (Arc::clone(place), Arc::clone(inventory), *index);
            let here = host.underway.blocking(move || {
                let entry = &inventory.entries[index];
                let Kind::File { size } = entry.kind else { return Ok(None) };
                place.sha256(&entry.path, size)
            });
            *verdict = match here.await {
                Ok(here) if here.is_some() && here == there => Verdict::Same,
                Ok(_) => Verdict::Differs("content".into()),
                Err(error) => Verdict::Blocked(error),
            };
        }
        Ok(verdicts)
    }

    /// What may be in flight of what is read for its digest alone: that is dropped as it comes.
    fn again(&self) -> Arc<Window> {
        let widest = (IN_FLIGHT / 4 / self.at_once as u64).clamp(NARROW, WINDOW.1);
        Window::new(WINDOW.0.min(widest), widest)
    }

    /// What has to be done.
    async fn plan(&self, inventory: &Inventory, verdicts: Vec<(usize, Verdict)>, teller: &Teller<'_>) -> carry::Work {
        let mut work = carry::Work::default();
        let adjusts = self.order.preserve;
        for (index, verdict) in verdicts {
            let entry = &inventory.entries[index];
            match (&entry.kind, verdict) {
                (Kind::Directory | Kind::Symlink { .. }, _) => work.frame.push(index),
                (Kind::File { .. }, Verdict::Same) if adjusts => work.adjust.push(index),
                (Kind::File { .. }, Verdict::Same) => teller.count(0, 1),
                (Kind::File { .. }, Verdict::New | Verdict::Differs(_) | Verdict::SameSize) => work.fetch.push(index),
                (Kind::File { .. }, Verdict::Blocked(error)) => {
                    teller.failed_with(&inventory.remote(entry), here_failed(&error)).await;
                }
            }
        }
        work
    }

    /// Directories get their modes and times, and everything lasts over a loss of power.
    async fn settle(&self, place: Option<&Arc<Place>>) -> Vec<LandingError> {
        let (Some(landing), Some(place), Extent::Whole) = (&self.order.landing, place, self.order.conduct.extent)
        else {
            return Vec::new();
        };
        let (landing, place) = (Arc::clone(landing), Arc::clone(place));
        let settled = spawn_blocking(move || {
            let mut failed = place.settle();
            failed.extend(landing.settle().err());
            failed
        });
        settled.await.unwrap_or_else(|panic| vec![fault(panic)])
    }
}

/// The digest of a file on the host, read over the wire; nothing where it cannot be read, which is told when it is fetched.
async fn read_digest(sftp: &Sftp, path: &[u8], size: u64, window: &Arc<Window>) -> Result<Option<Sha256>, SftpError> {
    let handle = match sftp.open(path, OpenMode::Read, &Attributes::default()).await?.get().await {
        Ok(handle) => handle,
        Err(SftpError::Refused(..)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = streamed(sftp, &handle, size, window).await;
    // Nothing was written that an answer could be about.
    drop(sftp.close(&handle).await?);
    match read {
        Err(SftpError::Refused(..)) => Ok(None),
        read => read,
    }
}
