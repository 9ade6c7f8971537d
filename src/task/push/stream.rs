//! Many small new files as streams: unpacked by the host's tar in a [`Room`] each, proved whole by a listing, and renamed
//! into their places from there.
//!
//! To send a small file by itself costs seven requests, of which the host does one after the other; this way it is one.
//! Whatever does not come whole, or may not be renamed, is handed back to be sent by itself, which then tells why.

use super::archive::{Archive, Member};
use super::carry::{Carrier, FILES};
use super::deliver::WORTH_RESUMING;
use super::place::{attributes_to_set, split};
use super::receiver::{Does, Receiver, Refusal, Sending, Starting};
use super::room::Room;
use crate::outcome::{Code, Failure};
use crate::sftp::SftpError;
use crate::task::trouble::Trouble;
use crate::tree::{Attributes, Extents, Plan, Step, TreePath, Why};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};

/// Files that are worth a stream where nobody asked for one: as many as go one by one in one go ([`FILES`]) are there as
/// soon that way, and no shell has to be started for them.
const MANY: usize = FILES;
/// Content of one stream, in bytes: there are several where there is enough for them.
const CONTENT: (u64, u64) = (2 * 1024 * 1024, 32 * 1024 * 1024);
/// Files of one stream.
const MOST: usize = 8_000;
/// Streams to one host at once; each takes a session and a process. While one is unpacked another is put into its places;
/// and each has a window of its own (2 MiB with OpenSSH), which is little on a long way.
const STREAMS: usize = 4;

/// Bytes that wait at a host nearby until tar takes them.
const WAITING: u64 = 256 * 1024;
/// Bytes that are on the way to all hosts that are far, or wait there.
const ON_THE_WAY: u64 = 24 * 1024 * 1024;

/// Which way files go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Many new small ones as streams where the host has tar, large ones into `cat`, and all else by SFTP.
    #[default]
    Auto,
    /// All by SFTP.
    Sftp,
    /// As `Auto`, new small ones as streams however few; a host that cannot take them fails.
    Tar,
}

/// What is sent, by the way that it goes.
#[derive(Default)]
pub(super) struct Sorted<'step> {
    pub(super) streams: Vec<Group<'step>>,
    pub(super) others: Vec<&'step Step>,
}

/// Files of one stream.
pub(super) struct Group<'step> {
    /// Some place in the directory that the room is made in.
    beside: Vec<u8>,
    sends: Vec<Send<'step>>,
    ready: Option<Ready>,
}

/// What a stream needs on the host, as far as it was asked for before.
struct Ready {
    starting: Starting,
    made: Option<Result<(Room, Option<u32>), SftpError>>,
}

/// What came of a stream.
struct Streamed<'step> {
    /// What has to go by itself.
    left: Vec<&'step Step>,
    refusal: Option<Refusal>,
}

/// A file that goes with a stream.
#[derive(Clone, Copy)]
pub(super) struct Send<'step> {
    pub(super) step: &'step Step,
    pub(super) entry: usize,
    pub(super) attributes: &'step Attributes,
    /// As SFTP and tar say it.
    pub(super) mtime: u32,
    pub(super) size: u64,
}

impl<'step> Group<'step> {
    /// The same in streams of a bounded size.
    fn parts(mut self, streams: usize) -> Vec<Self> {
        let all: u64 = self.sends.iter().map(|send| send.size).sum();
        let most = (all / streams as u64 + 1).clamp(CONTENT.0, CONTENT.1);
        if all < most && self.sends.len() <= MOST {
            self.sends.shrink_to_fit();
            return vec![self];
        }
        let mut parts: Vec<Self> = Vec::new();
        let mut content = 0;
        for send in self.sends {
            match parts.last_mut().filter(|part| part.sends.len() < MOST && content < most) {
                Some(part) => part.sends.push(send),
                None => {
                    parts.push(Self { beside: self.beside.clone(), sends: vec![send], ready: None });
                    content = 0;
                }
            }
            content += send.size;
        }
        parts
    }
}

impl Carrier<'_> {
    /// Which way everything goes that is sent. A directory that was there before has a stream of its own, so that files
    /// come from where they would have been made. The host begins to get ready for the first streams.
    pub(super) fn sorted<'step>(&self, plan: &'step Plan) -> Sorted<'step> {
        let sent = plan.steps.iter().filter(|step| matches!(step, Step::Send { .. } | Step::MakeSymlink { .. }));
        if self.manner.via == Via::Sftp {
            return Sorted { streams: Vec::new(), others: sent.collect() };
        }
        let made = plan.steps.iter().filter_map(|step| match step {
            Step::MakeDirectory { entry, .. } => Some(self.path_of(*entry)),
            _ => None,
        });
        let made: HashSet<TreePath> = made.collect();
        let mut others = Vec::new();
        let mut groups: HashMap<Vec<u8>, Group<'step>> = HashMap::new();
        for step in sent {
            let Some(send) = self.as_send(step) else {
                others.push(step);
                continue;
            };
            let beside = self.beside(send.entry, &made);
            let new = || Group { beside: beside.clone(), sends: Vec::new(), ready: None };
            groups.entry(split(&beside).0.to_vec()).or_insert_with(new).sends.push(send);
        }
        let is_worth_it = |group: &Group| self.manner.via == Via::Tar || group.sends.len() >= MANY;
        let (many, few): (Vec<_>, Vec<_>) = groups.into_values().partition(is_worth_it);
        others.extend(few.iter().flat_map(|group| &group.sends).map(|send| send.step));
        let at_once = self.streams_at_once();
        let mut streams: Vec<Group> = many.into_iter().flat_map(|group| group.parts(at_once)).collect();
        for group in streams.iter_mut().take(at_once) {
            group.ready = Some(self.ready());
        }
        Sorted { streams, others }
    }

    /// How many bytes of a stream may wait at the host: so many where it is near. What is on a long way counts as well.
    pub(super) fn may_wait(&self, near: u64) -> u64 {
        match self.sftp.is_far() {
            true => near.max(ON_THE_WAY / self.manner.hosts_at_once as u64),
            false => near,
        }
    }

    /// Streams to this host at once: of several hosts one unpacks while another puts into places.
    fn streams_at_once(&self) -> usize {
        STREAMS.div_ceil(self.manner.hosts_at_once)
    }

    fn ready(&self) -> Ready {
        Ready { starting: Receiver::start(Does::Unpack, self.connection, self.privilege), made: None }
    }

    /// Makes the rooms of the first streams: their directories are there, or are being made by requests that were sent.
    pub(super) async fn rooms(&self, groups: &mut [Group<'_>]) {
        let making = groups.iter_mut().filter_map(|group| Some((group.ready.as_mut()?, &group.beside)));
        let making = making.map(async |(ready, beside)| ready.made = Some(self.room(beside).await));
        futures::future::join_all(making).await;
    }

    /// A room and the umask, or no umask where it cannot be used.
    async fn room(&self, beside: &[u8]) -> Result<(Room, Option<u32>), SftpError> {
        let room = self.places.room(beside);
        match room.make(self.sftp).await {
            Ok(umask) => Ok((room, umask)),
            // Where no directory may be made, files may.
            Err(SftpError::Refused(..)) => Ok((room, None)),
            Err(error) => Err(error),
        }
    }

    /// The step, where a tar can do it: a new small file without holes, at a time that SFTP can tell.
    fn as_send<'step>(&self, step: &'step Step) -> Option<Send<'step>> {
        let Step::Send { entry, why: Why::New, attributes } = step else { return None };
        let (size, Extents::All) = self.tree.file(*entry)? else { return None };
        let mtime = u32::try_from(attributes.mtime?).ok()?;
        attributes.mode?;
        (size < WORTH_RESUMING).then_some(Send { step, entry: *entry, attributes, mtime, size })
    }

    /// Some place in the lowest directory above a file that was there before, or in the source's own where that is made
    /// too: the next run looks there for what this one leaves.
    fn beside(&self, entry: usize, made: &HashSet<TreePath>) -> Vec<u8> {
        let path = self.path_of(entry);
        let root = self.tree.entries[entry].root;
        if !self.tree.roots[root].is_directory {
            return self.placement.remote(&path);
        }
        let top = self.placement.prefix(root);
        let mut directory = path.parent().unwrap_or_default();
        while directory != *top && made.contains(&directory) {
            directory = directory.parent().unwrap_or_default();
        }
        self.placement.remote(&directory.join(b"0"))
    }

    /// Sends these, and gives back what has to go by itself.
    pub(super) async fn streams<'step>(
        &self,
        groups: Vec<Group<'step>>,
        lost: &HashSet<TreePath>,
    ) -> Result<Vec<&'step Step>, Trouble> {
        let mut left = Vec::new();
        let (mut refusals, mut any) = (Vec::new(), false);
        let mut waiting = groups.into_iter();
        let mut streams: FuturesUnordered<_> =
            waiting.by_ref().take(self.streams_at_once()).map(|group| self.stream(group, lost)).collect();
        while let Some(streamed) = streams.next().await {
            let streamed = streamed?;
            streams.extend(waiting.next().map(|group| self.stream(group, lost)));
            left.extend(streamed.left);
            any |= streamed.refusal.is_none();
            refusals.extend(streamed.refusal);
        }
        if self.manner.via == Via::Tar {
            // A host may take one, and not several at once.
            self.tell(refusals.into_iter().filter(|refusal| !any || matches!(refusal, Refusal::Failed(_)))).await?;
        }
        Ok(left)
    }

    /// What streams that were not taken mean to somebody who asked for them.
    async fn tell(&self, mut refusals: impl Iterator<Item = Refusal>) -> Result<(), Trouble> {
        match refusals.next() {
            None => Ok(()),
            Some(Refusal::Unable(why)) => Err(Failure::new(Code::TransferUnavailable, why)
                .hint("without --via the files go one by one where a host takes no stream")
                .into()),
            Some(Refusal::Failed(why)) => {
                self.teller.remark(&format!("tar failed (`{why}`): the files are sent one by one")).await;
                Ok(())
            }
        }
    }

    async fn stream<'step>(
        &self,
        mut group: Group<'step>,
        lost: &HashSet<TreePath>,
    ) -> Result<Streamed<'step>, Trouble> {
        let all: Vec<&Step> = group.sends.iter().map(|send| send.step).collect();
        let Ready { starting, made } = group.ready.take().unwrap_or_else(|| self.ready());
        let make = async {
            match made {
                Some(made) => made,
                None => self.room(&group.beside).await,
            }
        };
        let (made, started) = futures::join!(make, starting.ready());
        let (room, umask) = made?;
        group.sends.retain(|send| !self.is_lost(send.step, lost));
        let (umask, receiver) = match (umask, started) {
            (Some(umask), Ok(receiver)) if !group.sends.is_empty() => (umask, receiver),
            (_, started) => {
                room.clear(self.sftp).await?;
                let refusal = match started {
                    Ok(receiver) => {
                        receiver.close().await;
                        None
                    }
                    Err(refusal) => Some(refusal),
                };
                return Ok(Streamed { left: all, refusal });
            }
        };
        // Whoever is first; it is the same for all.
        let _ = self.umask.set(umask);
        let sending = Sending { waiting: self.may_wait(WAITING), pace: self.manner.pace, teller: self.teller };
        let extracted = {
            let members: Vec<Member> = group.sends.iter().map(|send| send.member(umask)).collect();
            let mut archive = Archive::new(self.contents, &members, self.manner.hosts_at_once);
            receiver.take(&room.path, &mut archive, &sending).await
        };
        if let Err(refusal) = extracted {
            // What fills a disk is to be away before anything else is sent, and a lost connection is told as such.
            room.clear(self.sftp).await?;
            return Ok(Streamed { left: all, refusal: Some(refusal) });
        }
        let mut left = self.put(&room, &group.sends, umask).await?;
        // What has no directory to go into is counted with the rest.
        left.extend(all.into_iter().filter(|step| self.is_lost(step, lost)));
        Ok(Streamed { left, refusal: None })
    }
}

impl Send<'_> {
    fn member(&self, umask: u32) -> Member {
        let mode = attributes_to_set(self.attributes, || umask).mode.unwrap_or(0o600);
        Member { entry: self.entry, size: self.size, mode, mtime: self.mtime }
    }
}
