//! What a stream brought, from its [`Room`] to its places: proved whole by a listing, dressed, renamed.

use super::carry::{Carrier, Proof};
use super::compare::Compared;
use super::place::{attributes_to_set, wants_half, with_both};
use super::room::{Room, number};
use super::stream::Send;
use crate::sftp::{Answer, Attributes as Wire, FileKind, Name, SftpError};
use crate::task::trouble::Trouble;
use crate::tree::Step;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{HashMap, VecDeque};

/// Requests in flight.
const IN_FLIGHT: usize = 4096;
/// Files that are proved at once: the host hashes as many with one process.
const MANY_PROVED: usize = 512;

/// How near an access time has to be to the one that is wanted, in seconds, not to be set by a request of its own, which took a
/// quarter of the time of a tree. Systems keep it no more exactly than that (`relatime`, mount(8)).
const ACCESS: u64 = 24 * 60 * 60;

/// A file that arrived in a room, and what it has there.
struct Arrived<'group, 'step> {
    send: &'group Send<'step>,
    path: Vec<u8>,
    found: Wire,
}

impl Carrier<'_> {
    /// Brings what arrived whole to its place, and gives back the rest.
    pub(super) async fn put<'step>(
        &self,
        room: &Room,
        sends: &[Send<'step>],
        umask: u32,
    ) -> Result<Vec<&'step Step>, Trouble> {
        let mut listed = match self.listed(room, sends.len()).await {
            Err(SftpError::Refused(..)) => HashMap::new(),
            listed => listed?,
        };
        let (mut arrived, mut left) = (Vec::with_capacity(sends.len()), Vec::new());
        for (number, send) in sends.iter().enumerate() {
            let is_whole = |found: &Wire| found.kind() == Some(FileKind::File) && found.size == Some(send.size);
            match listed.remove(&number).filter(is_whole) {
                Some(found) => arrived.push(Arrived { send, path: room.member(number.to_string().as_bytes()), found }),
                None => left.push(send.step),
            }
        }
        let arrived = self.proved(arrived, &mut left).await?;
        let arrived = self.dressed(arrived, umask, &mut left).await?;
        let mut asked: VecDeque<(&Send<'step>, Answer<()>)> = VecDeque::new();
        for Arrived { send, path, .. } in &arrived {
            if asked.len() == IN_FLIGHT
                && let Some((send, answer)) = asked.pop_front()
            {
                self.renamed(send, answer, &mut left).await?;
            }
            let place = self.placement.remote(&self.path_of(send.entry));
            // Nothing was there, so that no file has to make way for it.
            let answer = match self.sftp.features().posix_rename {
                true => self.sftp.posix_rename(path, &place).await?,
                false => self.sftp.rename(path, &place).await?,
            };
            asked.push_back((send, answer));
        }
        let closing = room.close(self.sftp).await?;
        for (send, answer) in asked {
            self.renamed(send, answer, &mut left).await?;
        }
        room.closed(closing, self.sftp).await?;
        Ok(left)
    }

    /// Those that have the right content, where more than the length is to prove a file.
    async fn proved<'group, 'step>(
        &self,
        arrived: Vec<Arrived<'group, 'step>>,
        left: &mut Vec<&'step Step>,
    ) -> Result<Vec<Arrived<'group, 'step>>, Trouble> {
        if self.manner.proof == Proof::Length {
            return Ok(arrived);
        }
        let (mut waiting, mut proved) = (arrived.into_iter(), Vec::new());
        let mut proving: FuturesUnordered<_> =
            waiting.by_ref().take(MANY_PROVED).map(|file| self.is_proved(file)).collect();
        while let Some(result) = proving.next().await {
            proving.extend(waiting.next().map(|file| self.is_proved(file)));
            match result? {
                (file, true) => proved.push(file),
                (file, false) => left.push(file.send.step),
            }
        }
        Ok(proved)
    }

    async fn is_proved<'group, 'step>(
        &self,
        file: Arrived<'group, 'step>,
    ) -> Result<(Arrived<'group, 'step>, bool), Trouble> {
        let compared = self.comparison.whole(file.send.entry, &file.path).await?;
        Ok((file, compared == Compared::Same))
    }

    async fn renamed<'step>(
        &self,
        send: &Send<'step>,
        answer: Answer<()>,
        left: &mut Vec<&'step Step>,
    ) -> Result<(), SftpError> {
        match answer.get().await {
            Ok(()) => self.done(send.step),
            Err(SftpError::Refused(..)) => left.push(send.step),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What is in a room, by its numbers; of those that were given only.
    async fn listed(&self, room: &Room, count: usize) -> Result<HashMap<usize, Wire>, SftpError> {
        let mut listing = self.sftp.list(&room.path).await?;
        listing.expect(count);
        let mut found = HashMap::with_capacity(count);
        while let Some(names) = listing.next().await? {
            let known =
                |Name { name, attributes }: Name| Some((number(&name).filter(|number| *number < count)?, attributes));
            found.extend(names.into_iter().filter_map(known));
        }
        listing.leave().await?;
        Ok(found)
    }

    /// Gives files what tar did not give them; gives those that may be renamed now.
    async fn dressed<'group, 'step>(
        &self,
        arrived: Vec<Arrived<'group, 'step>>,
        umask: u32,
        left: &mut Vec<&'step Step>,
    ) -> Result<Vec<Arrived<'group, 'step>>, SftpError> {
        let mut ready = Vec::with_capacity(arrived.len());
        let mut waiting = VecDeque::new();
        for file in arrived {
            let lacks = file.lacks(umask);
            if lacks.is_empty() {
                ready.push(file);
                continue;
            }
            if waiting.len() == IN_FLIGHT
                && let Some((file, answers)) = waiting.pop_front()
            {
                dressed(file, answers, &mut ready, left).await?;
            }
            let mut answers = Vec::with_capacity(lacks.len());
            for wire in &lacks {
                answers.push(self.sftp.setstat(&file.path, wire).await?);
            }
            waiting.push_back((file, answers));
        }
        for (file, answers) in waiting {
            dressed(file, answers, &mut ready, left).await?;
        }
        Ok(ready)
    }
}

async fn dressed<'group, 'step>(
    file: Arrived<'group, 'step>,
    answers: Vec<Answer<()>>,
    ready: &mut Vec<Arrived<'group, 'step>>,
    left: &mut Vec<&'step Step>,
) -> Result<(), SftpError> {
    let mut is_done = true;
    for answer in answers {
        match answer.get().await {
            Ok(()) => {}
            Err(SftpError::Refused(..)) => is_done = false,
            Err(error) => return Err(error),
        }
    }
    match is_done {
        true => ready.push(file),
        false => left.push(file.send.step),
    }
    Ok(())
}

impl Arrived<'_, '_> {
    /// What is to be set yet, in this order.
    fn lacks(&self, umask: u32) -> Vec<Wire> {
        let wanted = match wants_half(self.send.attributes) {
            true => with_both(self.send.attributes, &self.found),
            false => *self.send.attributes,
        };
        let mut wire = attributes_to_set(&wanted, || umask);
        let owner = wire.owner.take().filter(|owner| self.found.owner != Some(*owner));
        let has_mode = self.found.mode.map(|mode| mode & 0o7777) == wire.mode;
        let has_times = self.found.times.map(|(_, modified)| modified) == wire.times.map(|(_, modified)| modified);
        // tar gives no time of access.
        let accessed = self.found.times.map_or(0, |(accessed, _)| i64::from(accessed));
        let has_atime = wanted.atime.is_none_or(|wanted| accessed.abs_diff(wanted) < ACCESS);
        // chown(2) takes setuid and setgid away.
        let is_dressed = owner.is_none() && has_mode && has_times && has_atime;
        let owner = owner.map(|owner| Wire { owner: Some(owner), ..Wire::default() });
        owner.into_iter().chain((!is_dressed).then_some(wire)).collect()
    }
}
