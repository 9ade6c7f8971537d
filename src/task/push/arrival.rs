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
use std::collections::VecDeque;

/// Requests in flight to all hosts together, and to one at least.
const IN_FLIGHT: (usize, usize) = (4096, 512);
/// Files that are proved at once: the host hashes as many with one process.
const MANY_PROVED: usize = 512;

/// How near an access time has to be to the one that is wanted, in seconds, not to be set by a request of its own, which took a
/// quarter of the time of a tree. Systems keep it no more exactly than that (`relatime`, mount(8)).
const ACCESS: u64 = 24 * 60 * 60;

/// A file that arrived in a room, and what it has there.
struct Arrived<'group, 'step> {
    send: &'group Send<'step>,
    number: usize,
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
        let listed = match self.listed(room, sends.len()).await {
            Err(SftpError::Refused(..)) => vec![None; sends.len()],
            listed => listed?,
        };
        let (mut arrived, mut left) = (Vec::with_capacity(sends.len()), Vec::new());
        for (number, (send, found)) in sends.iter().zip(listed).enumerate() {
            let is_whole = |found: &Wire| found.kind() == Some(FileKind::File) && found.size == Some(send.size);
            match found.filter(is_whole) {
                Some(found) => arrived.push(Arrived { send, number, found }),
                None => left.push(send.step),
            }
        }
        let arrived = self.proved(arrived, room, &mut left).await?;
        let ready = self.dressed(arrived, room, umask, &mut left).await?;
        let mut asked: VecDeque<(&Send<'step>, Answer<()>)> = VecDeque::new();
        for number in ready {
            if asked.len() == self.in_flight()
                && let Some((send, answer)) = asked.pop_front()
            {
                self.renamed(send, answer, &mut left).await?;
            }
            let (send, path) = (&sends[number], room.numbered(number));
            let place = self.placement.remote(&self.path_of(send.entry));
            // Nothing was there, so that no file has to make way for it.
            let answer = match self.sftp.features().posix_rename {
                true => self.sftp.posix_rename(&path, &place).await?,
                false => self.sftp.rename(&path, &place).await?,
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
        room: &Room,
        left: &mut Vec<&'step Step>,
    ) -> Result<Vec<Arrived<'group, 'step>>, Trouble> {
        if self.manner.proof == Proof::Length {
            return Ok(arrived);
        }
        let (mut waiting, mut proved) = (arrived.into_iter(), Vec::new());
        let mut proving: FuturesUnordered<_> =
            waiting.by_ref().take(MANY_PROVED).map(|file| self.is_proved(file, room)).collect();
        while let Some(result) = proving.next().await {
            proving.extend(waiting.next().map(|file| self.is_proved(file, room)));
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
        room: &Room,
    ) -> Result<(Arrived<'group, 'step>, bool), Trouble> {
        let compared = self.comparison.whole(file.send.entry, &room.numbered(file.number)).await?;
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
    async fn listed(&self, room: &Room, count: usize) -> Result<Vec<Option<Wire>>, SftpError> {
        let mut listing = self.sftp.list(&room.path).await?;
        listing.expect(count);
        let mut found = vec![None; count];
        while let Some(names) = listing.next().await? {
            for Name { name, attributes } in names {
                if let Some(of) = number(&name).and_then(|number| found.get_mut(number)) {
                    *of = Some(attributes);
                }
            }
        }
        listing.leave().await?;
        Ok(found)
    }

    /// Gives files what tar did not give them; tells the numbers of those that may be renamed now.
    async fn dressed<'step>(
        &self,
        arrived: Vec<Arrived<'_, 'step>>,
        room: &Room,
        umask: u32,
        left: &mut Vec<&'step Step>,
    ) -> Result<Vec<usize>, SftpError> {
        let mut ready = Vec::with_capacity(arrived.len());
        let mut waiting = VecDeque::new();
        for file in arrived {
            let lacks = file.lacks(umask);
            if lacks.is_empty() {
                ready.push(file.number);
                continue;
            }
            if waiting.len() == self.in_flight()
                && let Some((file, answers)) = waiting.pop_front()
            {
                dressed(file, answers, &mut ready, left).await?;
            }
            let mut answers = Vec::with_capacity(lacks.len());
            for wire in &lacks {
                answers.push(self.sftp.setstat(&room.numbered(file.number), wire).await?);
            }
            waiting.push_back((file, answers));
        }
        for (file, answers) in waiting {
            dressed(file, answers, &mut ready, left).await?;
        }
        Ok(ready)
    }

    /// Requests in flight to this host.
    fn in_flight(&self) -> usize {
        (IN_FLIGHT.0 / self.manner.hosts_at_once).max(IN_FLIGHT.1)
    }
}

async fn dressed<'step>(
    file: Arrived<'_, 'step>,
    answers: Vec<Answer<()>>,
    ready: &mut Vec<usize>,
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
        true => ready.push(file.number),
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
