//! Local files and trees on every host: [`Push`], the work behind `bugle push`.
//!
//! On each host: open SFTP, look at what is there ([`survey`]), compare ([`Plan`]), carry out ([`carry`]). Contents are
//! read once for all hosts ([`content`]). Nothing here decides what is different, nor what anything is called: that is
//! [`crate::tree`].

mod archive;
mod arrival;
mod backup;
mod carry;
mod compare;
mod content;
mod deletions;
mod deliver;
mod delta;
mod identity;
mod leftovers;
mod owner;
mod pace;
mod place;
mod pour;
mod receiver;
mod replace;
mod room;
mod send;
mod spare;
mod stream;
mod survey;

use super::caller::{Caller, OnHost, attempt};
use super::digest::Digester;
use super::file_server::open_sftp;
use super::lanes::{Beside, LANES, Lanes};
use super::privilege::Privilege;
use super::teller::{Teller, Way};
use super::transfer::{CLEARING, Conduct, Extent, IN_FLIGHT, Interrupted, TransferHost, WINDOW, tell_lines};
use super::trouble::Trouble;
use crate::connection::{Connection, Destination, Trace};
use crate::host::HostId;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::{Ended, Unit, Work};
use crate::sftp::{FileKind, Sftp, Window};
use crate::tree::run_lock::RunLock;
use crate::tree::temporary::Role;
use crate::tree::{Extents, Kind, Obstacle, Placement, Plan, Rules, Step, Tree, TreePath, shown};
pub use backup::Backup;
use bytes::Bytes;
use carry::{Carrier, Manner, Proof};
use compare::Comparison;
use content::Contents;
use delta::{Delta, Matches};
use leftovers::{Clearing, Leftover, Restored, leftovers_in};
pub use owner::{Account, Ownership};
pub use pace::Pace;
use place::Places;
use pour::Pour;
use spare::Spare;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
pub use stream::Via;
use survey::{Question, Survey, survey};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

/// Files and trees for every host of a run.
pub struct Push {
    caller: Caller,
    hosts: Vec<TransferHost>,
    order: PushOrder,
    contents: Arc<Contents>,
    matches: Arc<Matches>,
    lock: Arc<RunLock>,
    at_once: usize,
    window: (u64, u64),
    lanes: Arc<Semaphore>,
    /// Hosts on which temporary files may be.
    unclear: AtomicUsize,
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
    /// Whether what is replaced stays under another name.
    pub backup: Backup,
    /// How fast all hosts together are sent to.
    pub pace: Option<Pace>,
    /// What is sent of large files that changed.
    pub sending: Sending,
    /// Which way files go.
    pub via: Via,
    /// What templates came to, host by host; nothing where there are none.
    pub rendered: Vec<Rendered>,
    /// How it is carried out.
    pub conduct: Conduct,
}

/// What is sent of large files of which a host has an older version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// What the older version does not have, where the host can copy the rest and that is faster.
    #[default]
    Changes,
    /// Everything (`--whole-file`).
    WholeFiles,
}

/// What templates came to for one host, by the entries of the tree.
pub type Rendered = HashMap<usize, Bytes>;

impl Push {
    /// A push that is ready to be run.
    pub fn new(caller: Caller, hosts: Vec<TransferHost>, order: PushOrder, lock: Arc<RunLock>) -> Self {
        let contents = Contents::new(Arc::clone(&order.tree), hosts.len(), order.conduct.open_files);
        let at_once = order.conduct.at_once(hosts.len());
        let window = (WINDOW.0, (IN_FLIGHT / at_once as u64).clamp(WINDOW.0, WINDOW.1));
        let lanes = Arc::new(Semaphore::new(LANES));
        let matches = Matches::new(&contents);
        Self { caller, hosts, order, contents, matches, lock, at_once, window, lanes, unclear: AtomicUsize::new(0) }
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // Also where the run was cut short: a host that was being written to has not been cleared up then.
        if self.unclear.load(Ordering::Relaxed) == 0 {
            self.lock.ended_clean();
        }
    }
}

impl Work for Push {
    async fn attempt(&self, unit: Unit) -> Ended {
        attempt(self, unit).await
    }
}

impl OnHost for Push {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn destination(&self, host: HostId) -> &Destination {
        &self.hosts[host.index()].destination
    }

    async fn work(&self, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        self.push_to(unit, connection, trace).await
    }
}

impl Push {
    async fn push_to(&self, unit: &Unit, connection: &Arc<Connection>, trace: &mut Trace) -> Outcome {
        let privilege = self.hosts[unit.host.index()].privilege.as_ref();
        let (opened, places) = (OnceCell::new(), OnceCell::new());
        let pushing = async {
            let sftp = opened.get_or_try_init(|| open_sftp(connection, privilege, trace)).await?;
            self.caller.tell(trace.entries(), &unit.events).await;
            self.push(connection, sftp, unit, &places).await
        };
        let outcome = self.order.conduct.bound(unit, pushing).await;
        if let (Some(sftp), Some(places)) = (opened.get(), places.get()) {
            if !places.is_clear() {
                let what = (places, self.order.conduct.interrupted);
                let _ = timeout(CLEARING, clear(what, sftp, connection, privilege)).await;
            }
            if places.is_clear() {
                self.unclear.fetch_sub(1, Ordering::Relaxed);
            }
        }
        match places.get().map(Places::asides).unwrap_or_default() {
            asides if asides.is_empty() => outcome,
            asides => tell_asides(&asides, unit, outcome).await,
        }
    }

    async fn push(
        &self,
        connection: &Arc<Connection>,
        sftp: &Sftp,
        unit: &Unit,
        places: &OnceCell<Places>,
    ) -> Result<Outcome, Trouble> {
        let (tree, contents) = match self.order.rendered.get(unit.host.index()) {
            None => (Arc::clone(&self.order.tree), Arc::clone(&self.contents)),
            Some(rendered) => {
                let tree = Arc::new(with_sizes_of(&self.order.tree, rendered));
                (Arc::clone(&tree), Contents::rendered(tree, rendered.clone()))
            }
        };
        let (tree, contents) = (&tree, &contents);
        let privilege = self.hosts[unit.host.index()].privilege.as_ref();
        let mut rules = self.order.ownership.resolve(connection, privilege, &self.order.rules).await?;
        rules.symlinks_too = sftp.features().lsetstat;
        let question = Question {
            tree,
            destination: &self.order.destination,
            everything: rules.delete,
            listed: AtomicU64::new(0),
        };
        let clearing = Clearing { sftp, lock: &self.lock };
        let Survey { placement, is_destination_link, mut observed, temporaries, has_looked_beside } =
            self.survey(&clearing, &question, unit).await?;
        let window = &Window::new(self.window.0, self.window.1);
        let digester = &Digester::new(connection, privilege, sftp);
        let spare = &Spare::new(sftp);
        let comparison = Comparison { digester, sftp, tree, placement: &placement, contents, window, spare };
        let mut plan = Plan::new(tree, &placement, &observed, &rules);
        // Each is asked about once: what the host cannot tell is noted too.
        while !(plan.needs_content.is_empty() && plan.needs_identity.is_empty()) {
            if plan.needs_identity.is_empty() {
                comparison.fill(&plan.needs_content, &mut observed).await?;
            } else {
                comparison.identify(connection, privilege, &plan.needs_identity, &mut observed).await?;
            }
            plan = Plan::new(tree, &placement, &observed, &rules);
        }
        if self.order.backup == Backup::Tilde {
            let unkept = backup::refusals(sftp, tree, &placement, &plan).await?;
            plan.refuse(unkept.into_iter().map(|(entry, why)| (entry, Obstacle::Unkept(why))).collect());
        }
        if self.order.conduct.extent == Extent::PlanOnly {
            if !observed.contains_key(&TreePath::root()) {
                check_parent(sftp, tree, &placement).await?;
            }
            if !sftp.features().hard_link {
                plan.show_links_as_files();
            }
            return Ok(self.tell_plan(&plan, tree, &placement, unit).await);
        }
        let teller = Teller::new(&unit.events, Way::Sent, plan.unchanged);
        self.announce(&plan, tree, &placement, unit, &teller).await;
        let directory = home_of(tree, &placement);
        let begin = async || {
            self.unclear.fetch_add(1, Ordering::Relaxed);
            Places::new(self.lock.run(), unit.host.index())
        };
        let places = places.get_or_init(begin).await;
        let top = TreePath::root();
        let beside = async {
            // A directory that becomes the destination itself has been looked through.
            match has_looked_beside
                || (0..tree.roots.len()).all(|root| tree.roots[root].is_directory && *placement.prefix(root) == top)
            {
                true => Ok(Vec::new()),
                false => leftovers_in(sftp, &directory).await,
            }
        };
        // What templates come to is one host's alone, and small.
        let sends_changes = self.order.sending == Sending::Changes && self.order.rendered.is_empty();
        let mut leftovers = temporaries;
        let (caller, permits) = (&self.caller, &self.lanes);
        let destination = self.destination(unit.host);
        let lanes = Lanes::new(&Beside { caller, destination, connection, privilege, sftp, permits });
        let mut carrier = Carrier {
            connection,
            privilege,
            sftp,
            tree,
            placement: &placement,
            contents,
            window,
            places,
            teller: &teller,
            comparison: &comparison,
            manner: Manner {
                pace: self.order.pace.as_ref(),
                backup: self.order.backup,
                lanes: (self.order.conduct.interrupted == Interrupted::Remove && self.order.pace.is_none())
                    .then_some(&lanes),
                proof: if rules.checksum { Proof::Content } else { Proof::Length },
                via: self.order.via,
                hosts_at_once: self.at_once,
                is_destination_link,
                leftovers: Vec::new(),
                delta: sends_changes.then(|| Delta::new(&self.matches, connection, privilege)),
            },
            umask: OnceCell::new(),
            pour: Pour::new(),
            unsent: Mutex::default(),
        };
        if self.order.conduct.interrupted == Interrupted::Keep {
            leftovers.extend(beside.await?);
            let is_half = |left: &&Leftover| left.temporary.role == Role::New && !clearing.is_at_work(left);
            carrier.manner.leftovers = leftovers.iter().filter(is_half).cloned().collect();
            carrier.carry(&plan).await?;
        } else {
            // Nothing waits for the clearing up behind others, which may take up the room that is needed.
            let cleared = async {
                clearing.remove(&std::mem::take(&mut leftovers)).await?;
                clearing.remove(&beside.await?).await
            };
            let (carried, cleared) = futures::join!(carrier.carry(&plan), cleared);
            carried?;
            cleared?;
        }
        lanes.close().await;
        leftovers.retain(|left| !places.has_used(&left.path));
        clearing.remove(&leftovers).await?;
        Ok(teller.finish().await)
    }

    /// Looks at the host, once old files that a broken run put aside are back in their places.
    async fn survey(&self, clearing: &Clearing<'_>, question: &Question<'_>, unit: &Unit) -> Result<Survey, Trouble> {
        let (sftp, tree) = (clearing.sftp, question.tree);
        let mut surveyed = survey(sftp, question).await?;
        let puts_aside = !sftp.features().posix_rename || self.order.backup == Backup::Tilde;
        let is_missing = |root: usize| {
            !tree.roots[root].is_directory && !surveyed.observed.contains_key(surveyed.placement.prefix(root))
        };
        let mut roots = 0..tree.roots.len();
        if puts_aside && !tree.roots.iter().all(|root| root.is_directory) || roots.any(is_missing) {
            surveyed.temporaries.extend(leftovers_in(sftp, &home_of(tree, &surveyed.placement)).await?);
            surveyed.has_looked_beside = true;
        }
        let is_look = self.order.conduct.extent == Extent::PlanOnly;
        let restored = match is_look {
            true => Restored { back: clearing.foresee(tree, &mut surveyed), unnamed: Vec::new() },
            false => clearing.restore(tree, &surveyed).await?,
        };
        for path in &restored.unnamed {
            let why = "an old file stays, since the sources have the name under which it was to be kept";
            unit.events.notice(0, &format!("{}: {why}", path.escape_ascii())).await;
        }
        for place in &restored.back {
            let how = if is_look { "would be" } else { "was" };
            let what = "the old file, which a push that broke had put aside,";
            unit.events.notice(0, &format!("{}: {what} {how} brought back first", place.escape_ascii())).await;
        }
        match is_look || restored.back.is_empty() {
            true => Ok(surveyed),
            false => survey(sftp, question).await,
        }
    }

    /// Tells what is going to be done, and what cannot be.
    async fn announce(&self, plan: &Plan, tree: &Tree, placement: &Placement, unit: &Unit, teller: &Teller<'_>) {
        let sends = plan.steps.iter().filter_map(|step| match step {
            Step::Send { entry, .. } => tree.file(*entry),
            _ => None,
        });
        let (files, bytes) = sends.fold((0, 0), |(files, bytes), (size, data)| (files + 1, bytes + data.length(size)));
        unit.events.transfer_planned(files, bytes).await;
        for conflict in &plan.conflicts {
            let path = placement.remote(&placement.path(&tree.entries[conflict.entry]));
            teller.failed(&path, &conflict.obstacle.to_string()).await;
            teller.missing(conflict.blocked);
        }
        teller.withheld(plan.withheld);
    }

    /// Tells what would be done. What is in the way fails a look as it would fail the push.
    async fn tell_plan(&self, plan: &Plan, tree: &Tree, placement: &Placement, unit: &Unit) -> Outcome {
        let teller = Teller::new(&unit.events, Way::Sent, plan.unchanged);
        for conflict in &plan.conflicts {
            let path = placement.remote(&placement.path(&tree.entries[conflict.entry]));
            teller.would_fail(&path, Failure::new(Code::TransferFailed, conflict.obstacle.to_string()));
            teller.missing(conflict.blocked);
        }
        let mut lines = plan.lines(tree, placement);
        if plan.withheld > 0 {
            lines.push(format!("! {} would not be removed because of the failures", plan.withheld));
        }
        tell_lines(lines, unit).await;
        teller.outcome()
    }
}

/// Tells which old files may be out of their places, since the session was lost in between.
async fn tell_asides(asides: &[(Vec<u8>, Vec<u8>)], unit: &Unit, outcome: Outcome) -> Outcome {
    for (aside, place) in asides {
        let beside = shown(place::split(aside).1);
        let text = format!("{}: may be missing now: the old file is `{beside}` beside it then", place.escape_ascii());
        unit.events.notice(0, &text).await;
    }
    outcome.hint("push again: old files that are out of their places are brought back first")
}

/// Removes what may still be there. Where the session is of no use any more, another one does it.
async fn clear(
    (places, interrupted): (&Places, Interrupted),
    sftp: &Sftp,
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
) {
    places.clear(sftp, interrupted).await;
    if !places.is_clear() && !connection.is_closed() {
        // The next run removes what stays all the same.
        if let Ok(another) = open_sftp(connection, privilege, &mut Trace::default()).await {
            places.clear(&another, interrupted).await;
        }
    }
}

/// Whether a destination that is not there can be made: a push finds that out by itself.
async fn check_parent(sftp: &Sftp, tree: &Tree, placement: &Placement) -> Result<(), Trouble> {
    let home = home_of(tree, placement);
    let parent = if has_directory(tree) { place::directory_of(&home, &TreePath::root()) } else { &home };
    let found = sftp.stat(parent).await?.get().await;
    match found.map_err(|error| Trouble::about(parent, &error))?.kind() {
        Some(FileKind::Directory) | None => Ok(()),
        Some(_) => Err(Trouble::Place {
            message: format!("`{}` is no directory", parent.escape_ascii()),
            hint: "name a place in a directory that is there".into(),
        }),
    }
}

/// The directory on the host that something is made in first.
fn home_of(tree: &Tree, placement: &Placement) -> Vec<u8> {
    if has_directory(tree) {
        return placement.base().to_vec();
    }
    let place = placement.remote(placement.prefix(0));
    place::directory_of(&place, &TreePath::root()).to_vec()
}

/// Whether the destination is a directory, and not the one file's own place.
fn has_directory(tree: &Tree) -> bool {
    tree.roots.len() > 1 || tree.roots.iter().all(|root| root.is_directory)
}

/// The tree with what the templates came to for one host.
fn with_sizes_of(tree: &Tree, rendered: &Rendered) -> Tree {
    let mut tree = tree.clone();
    for (&entry, text) in rendered {
        if let Some(entry) = tree.entries.get_mut(entry) {
            entry.kind = Kind::File { size: text.len() as u64, data: Extents::All };
        }
    }
    tree
}
