//! Large files of which the host has an older version: what did not change is copied there.
//!
//! A file is sent from its beginning as any other. Where that is going to take longer than it takes the host to read its old
//! file and to compare the new one, the host is asked for the sums over the blocks of that meanwhile ([`signature`]); once they are there, what was
//! not taken to be sent yet is searched for these blocks ([`matches`]), and what is found is withdrawn from what is to be
//! sent and copied on the host ([`copier`]). So a delta never delays what goes faster without. As the old file may change all the
//! while, the new one is compared as a whole before it gets its name.

mod copier;
mod matches;
mod program;
mod signature;

use super::carry::{Carrier, Fault};
use super::deliver::Begun;
use super::send::SendError;
use crate::connection::Connection;
use crate::sftp::{Attributes, Handle, OpenMode, Sftp, SftpError};
use crate::task::privilege::Privilege;
use crate::task::segments::Segments;
use crate::tree::delta::Reused;
use crate::tree::{Difference, Why};
use copier::{By, Copier, NotCopied};
use matches::Match;
pub(super) use matches::Matches;
use program::Program;
use signature::{Copies, Request};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Smaller files are sent whole.
const WORTH_LOOKING: u64 = 8 * 1024 * 1024;
/// How often it is judged whether the old file is worth a look.
const JUDGED: Duration = Duration::from_millis(250);
/// What a host reads and sums in a second, and what it takes to begin.
const SUMMED: f64 = 300.0 * 1024.0 * 1024.0;
const BEGINNING: Duration = Duration::from_millis(500);
/// Old files that are looked at on one host at once: each takes a session and a handle more.
const AT_ONCE: usize = 3;

/// What one host needs for sending changes only.
pub(super) struct Delta<'a> {
    matches: Arc<Matches>,
    connection: &'a Arc<Connection>,
    privilege: Option<&'a Privilege>,
    room: Semaphore,
}

/// How the content of a file got to the host.
enum Sent {
    /// Every byte was sent.
    Plainly,
    /// So many bytes were copied there.
    Pieced(u64),
    /// A copy was refused.
    Torn,
}

impl<'a> Delta<'a> {
    /// For one host.
    pub(super) fn new(
        matches: &Arc<Matches>,
        connection: &'a Arc<Connection>,
        privilege: Option<&'a Privilege>,
    ) -> Self {
        Self { matches: Arc::clone(matches), connection, privilege, room: Semaphore::new(AT_ONCE) }
    }
}

impl Carrier<'_> {
    /// Brings the content of a file to the host: all of it, or what its old file does not have.
    pub(super) async fn bring_content(&self, begun: &Begun<'_>) -> Result<(), Fault> {
        let Some((size, extents)) = self.tree.file(begun.entry) else { return Ok(()) };
        let segments = |from: u64| {
            Segments::new(extents.ranges(size).map(move |range| range.start.max(from)..range.end.max(from)))
        };
        let old = match begun.why {
            Why::Replaced(Difference::Size { from, .. }) => *from,
            Why::Replaced(Difference::Mtime { .. } | Difference::Content | Difference::Shared) => size,
            Why::New | Why::Replaced(_) => 0,
        };
        let all = segments(begun.start);
        let sent = match &self.manner.delta {
            Some(delta) if old.min(all.left()) >= WORTH_LOOKING => {
                let place = self.placement.remote(&self.path_of(begun.entry));
                Changed { carrier: self, delta, begun, place, size: old, segments: all }.send().await?
            }
            _ if self.has_poured(begun).await => return Ok(()),
            _ => return Ok(self.send_content(begun, &all).await?),
        };
        match sent {
            Sent::Plainly => return Ok(()),
            Sent::Pieced(copied) => {
                // A hole at the end belongs to what is compared.
                self.resize(begun.handle, size).await?;
                if self.is_whole(begun, size).await? {
                    self.teller.saved(copied);
                    return Ok(());
                }
            }
            Sent::Torn => {}
        }
        // The old file is not what it was: nothing of it is relied on.
        self.resize(begun.handle, 0).await?;
        self.send_content(begun, &segments(0)).await?;
        self.resize(begun.handle, size).await?;
        // Whoever copied may have gone on for a moment.
        match self.is_whole(begun, size).await? {
            true => Ok(()),
            false => Err(Fault::Words("what arrived is not what was sent: what was there still stands".into())),
        }
    }

    async fn is_whole(&self, begun: &Begun<'_>, size: u64) -> Result<bool, Fault> {
        let path = &begun.temporary.path;
        self.comparison.is_beginning(begun.entry, path, size).await.map_err(Fault::Trouble)
    }

    async fn resize(&self, handle: &Handle, size: u64) -> Result<(), SftpError> {
        let attributes = Attributes { size: Some(size), ..Attributes::default() };
        self.sftp.fsetstat(handle, &attributes).await?.get().await
    }
}

/// A large file of which an older version is there.
struct Changed<'a> {
    carrier: &'a Carrier<'a>,
    delta: &'a Delta<'a>,
    begun: &'a Begun<'a>,
    /// Where it is.
    place: Vec<u8>,
    /// How large it is.
    size: u64,
    /// What is to be brought there.
    segments: Segments,
}

/// What was begun on the host to look at the old file, and has to be ended.
#[derive(Default)]
struct Look<'a> {
    room: Option<SemaphorePermit<'a>>,
    spare: Option<SemaphorePermit<'a>>,
    program: Option<Program>,
    opening: Option<JoinHandle<Result<Handle, SftpError>>>,
    handle: Option<Handle>,
}

/// What is known of an old file.
struct Looked<'a> {
    /// What the new one has of it.
    known: Arc<Match>,
    /// Who copies from it.
    by: By<'a>,
    /// How long it is going to take to compare the new file, going by what the host took for the sums.
    comparing: Duration,
}

impl<'a> Changed<'a> {
    async fn send(&self) -> Result<Sent, SendError> {
        let mut look = Look::default();
        let sent = self.send_looking(&mut look).await;
        look.end(self.carrier.sftp).await?;
        sent
    }

    async fn send_looking(&self, look: &mut Look<'a>) -> Result<Sent, SendError> {
        let copied = AtomicU64::new(0);
        let mut sending = pin!(self.carrier.send_content(self.begun, &self.segments));
        let mut following = pin!(self.follow(&copied, look));
        let (sent, followed) = tokio::select! {
            // First, so that its first question is not behind the file.
            biased;
            followed = &mut following => (None, followed),
            sent = &mut sending => (Some(sent?), Ok(())),
        };
        let copies = || copied.load(Ordering::Relaxed);
        let followed = match sent {
            // What nothing was taken of need not be known any more.
            Some(()) if copies() == 0 => return Ok(Sent::Plainly),
            Some(()) => following.await,
            None if followed.is_ok() => sending.await.map(|()| followed)?,
            None => followed,
        };
        match (followed, copies()) {
            (Ok(()), 0) => Ok(Sent::Plainly),
            (Ok(()), copied) => Ok(Sent::Pieced(copied)),
            (Err(NotCopied::Refused), _) => Ok(Sent::Torn),
            (Err(NotCopied::Session(error)), _) => Err(error.into()),
        }
    }

    /// Has copied on the host what nobody sends yet, once its old file is known. Ends early where nothing can come of that.
    async fn follow(&self, copied: &AtomicU64, look: &mut Look<'a>) -> Result<(), NotCopied> {
        let began = Instant::now();
        let Some(Looked { known, by, comparing }) = self.look(look).await else { return Ok(()) };
        let mut copier = Copier::new(by, self.carrier.teller);
        let mut place = 0;
        while let Some(first) = self.segments.first()
            && let Some((found, next)) = self.delta.matches.piece(&known, first.max(place)).await
        {
            place = next;
            if copied.load(Ordering::Relaxed) == 0 && !found.is_empty() {
                // What comes too late to win anything would still cost the comparison.
                if self.rest(began) <= 2 * comparing {
                    break;
                }
            }
            for reused in found.iter() {
                for range in self.segments.withdraw(&(reused.to..reused.to + reused.length)) {
                    let (from, length) = (reused.from + (range.start - reused.to), range.end - range.start);
                    copied.fetch_add(length, Ordering::Relaxed);
                    copier.copy(Reused { from, to: range.start, length }).await?;
                }
            }
        }
        copier.finish().await
    }

    /// How long the rest takes at the pace up to now; for ever where the host has taken nothing yet.
    fn rest(&self, began: Instant) -> Duration {
        let (left, done) = (self.segments.left() as f64, self.segments.done() as f64);
        Duration::try_from_secs_f64(left * began.elapsed().as_secs_f64() / done).unwrap_or(Duration::MAX)
    }

    /// Learns what the old file is, once that is worth it, and who can copy from it. A session that ended is heard of by
    /// the one who sends.
    async fn look<'l>(&'l self, look: &'l mut Look<'a>) -> Option<Looked<'l>> {
        let (began, sftp, old, size) = (Instant::now(), self.carrier.sftp, &self.place[..], self.size);
        look.room = Some(self.delta.room.acquire().await.ok()?);
        // What may be needed is begun before the line is full of the file.
        let copies = if sftp.features().copy_data { Copies::Server } else { Copies::Program };
        if copies == Copies::Server {
            look.spare = Some(self.carrier.comparison.spare.take().await.ok()?);
            let opening = sftp.open(old, OpenMode::Read, &Attributes::default()).await.ok()?;
            look.opening = Some(tokio::spawn(opening.get()));
        }
        let mut program = Program::start(self.delta.connection, self.delta.privilege).await?;
        let home = self.carrier.comparison.digester.home().await.ok()?;
        let (new_size, _) = self.carrier.tree.file(self.begun.entry)?;
        let takes = BEGINNING + summed(size) + summed(new_size);
        while began.elapsed() < JUDGED || self.rest(began) <= takes {
            sleep(JUDGED).await;
        }
        let request = Request { home, old, size, new: &self.begun.temporary.path, copies };
        program.write(request.script()).await?;
        if copies == Copies::Server {
            program.finish().await?;
        }
        let signature = request.read(&mut program).await?;
        let comparing = match signature.took {
            Some(took) => took.mul_f64(new_size as f64 / size as f64),
            None => summed(new_size),
        };
        let known = self.delta.matches.of(self.begun.entry, signature);
        let by = match look.opening.take() {
            None => By::Program(look.program.insert(program)),
            Some(opening) => {
                let opened = look.opening.insert(opening).await;
                look.opening = None;
                let old = &*look.handle.insert(opened.ok()?.ok()?);
                By::Server { sftp, old, new: self.begun.handle, answers: VecDeque::new() }
            }
        };
        Some(Looked { known, by, comparing })
    }
}

/// How long a host takes for the sums of so many bytes.
fn summed(bytes: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / SUMMED)
}

impl Look<'_> {
    async fn end(self, sftp: &Sftp) -> Result<(), SftpError> {
        let opened = match self.opening {
            Some(opening) => opening.await.ok().and_then(Result::ok),
            None => self.handle,
        };
        if let Some(handle) = opened {
            // Nothing was written that an answer could be about.
            drop(sftp.close(&handle).await?);
        }
        Ok(())
    }
}
