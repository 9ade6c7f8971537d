//! More ways to a host for a large file: [`Lanes`].
//!
//! At the other end one connection is one process, which deciphers on one core; and OpenSSH takes in at most 2 MiB of a
//! channel before it says that there is room (channels.h, `CHAN_SES_WINDOW_DEFAULT`), so that an upload over 50 ms gets
//! 40 MiB/s however wide the line is. A second connection has both once more. What is moved, and how, is not known here.

use super::caller::Caller;
use super::file_server::open_sftp;
use super::privilege::Privilege;
use super::segments::Segments;
use super::transfer::most_in_flight;
use crate::connection::{Connection, Destination, Trace};
use crate::sftp::{Sftp, Window};
use futures::future::join_all;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};

/// Lanes beside the first connection that all hosts of a run have together.
pub(super) const LANES: usize = 8;
/// From this many bytes on a file is worth another login.
const WORTHWHILE: u64 = 128 * 1024 * 1024;
/// Bytes in flight on one of them: at first, and at most.
const WINDOW: (u64, u64) = (1024 * 1024, 8 * 1024 * 1024);
/// Lanes to a host nearby, where one process that deciphers is what holds a transfer up.
const NEAR: usize = 1;
/// Lanes to a host that is far, where what may be under way in one channel is what holds a transfer up.
const FAR: usize = 3;

/// The further connections to one host. They are made when the first large file needs them.
pub(super) struct Lanes<'a> {
    caller: &'a Caller,
    destination: &'a Destination,
    privilege: Option<&'a Privilege>,
    main: &'a Sftp,
    permits: Arc<Semaphore>,
    is_possible: bool,
    opened: [OnceCell<Option<Lane>>; FAR],
}

/// A further connection with an SFTP session of its own.
pub(super) struct Lane {
    pub(super) sftp: Sftp,
    /// What is in flight on it, which is no matter of the other lanes.
    pub(super) window: Arc<Window>,
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

/// What lanes go beside.
pub(super) struct Beside<'a> {
    pub(super) caller: &'a Caller,
    pub(super) destination: &'a Destination,
    pub(super) connection: &'a Connection,
    pub(super) privilege: Option<&'a Privilege>,
    pub(super) sftp: &'a Sftp,
    /// Of [`LANES`], for all hosts of the run.
    pub(super) permits: &'a Arc<Semaphore>,
}

impl<'a> Lanes<'a> {
    /// Lanes beside a connection. Nobody is to be asked anything a second time: where a person had a part in logging in,
    /// and where a LocalCommand follows each login, there are none.
    pub(super) fn new(beside: &Beside<'a>) -> Self {
        let Beside { caller, destination, connection, privilege, sftp: main, permits } = *beside;
        let is_possible = connection.logged_in_unattended() && destination.profile.local_command.is_none();
        let (permits, opened) = (Arc::clone(permits), [const { OnceCell::const_new() }; FAR]);
        Self { caller, destination, privilege, main, permits, is_possible, opened }
    }

    /// Whether a file of so many bytes may be shared.
    pub(super) fn are_worth(&self, size: u64) -> bool {
        self.is_possible && size >= WORTHWHILE
    }

    /// Moves a file: over the first connection, and over the others too where that pays. What a lane that breaks has not
    /// done is done by the first. `first` and `further` move what they can get of the segments.
    pub(super) async fn share<'s, Error, First, Further>(
        &'s self,
        segments: &Segments,
        first: impl Fn() -> First,
        further: impl Fn(&'s Lane) -> Further,
    ) -> Result<(), Error>
    where
        First: Future<Output = Result<(), Error>>,
        Further: Future<Output = ()>,
    {
        if !self.are_worth(segments.left()) {
            return first().await;
        }
        let (all_taken, nothing_left) = watch::channel(false);
        let own = async {
            first().await?;
            all_taken.send_replace(true);
            Ok(())
        };
        let others = join_all((0..FAR).map(|number| {
            let (further, mut nothing_left) = (&further, nothing_left.clone());
            async move {
                // Whoever is not there in time is not waited for.
                let lane = tokio::select! {
                    lane = self.lane(number) => lane,
                    _ = nothing_left.wait_for(|nothing_left| *nothing_left) => None,
                };
                if let Some(lane) = lane {
                    further(lane).await;
                }
            }
        }));
        let others = async {
            others.await;
            Ok(())
        };
        futures::try_join!(own, others)?;
        if segments.left() > 0 { first().await } else { Ok(()) }
    }

    /// A lane, if it is to be had.
    async fn lane(&self, number: usize) -> Option<&Lane> {
        if number >= self.count() {
            return None;
        }
        let lane = self.opened[number].get_or_init(|| async { self.open().await });
        lane.await.as_ref()
    }

    fn count(&self) -> usize {
        match self.main.is_far() {
            true => FAR,
            false => NEAR,
        }
    }

    /// A lane that is not to be had is no matter: all goes over the first connection then.
    async fn open(&self) -> Option<Lane> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let trace = &mut Trace::default();
        let connection = self.caller.connector.connect(self.destination, trace).await.ok()?;
        let sftp = open_sftp(&connection, self.privilege, trace).await.ok()?;
        let window = Window::new(WINDOW.0, most_in_flight(self.main).min(WINDOW.1));
        Some(Lane { sftp, window, connection, _permit: permit })
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        for lane in self.opened.iter().filter_map(|lane| lane.get()?.as_ref()) {
            lane.connection.close().await;
        }
    }
}
