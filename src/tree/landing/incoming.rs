//! One file that comes: [`Incoming`].

use super::LandingError;
use super::draft::Draft;
use super::place::{Place, Target, digest};
use super::sealed::Sealed;
use rustix::fs::{Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What file systems give space to at once, and so the least that a hole can be.
const BLOCK: usize = 4096;
/// Buffers that pwritev(2) takes at once.
const BUFFERS: usize = 1024;

/// What is done with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// They are written like everything else.
    Fill,
    /// Blocks of them are left out, and become holes where the file system has such.
    Leave,
}

/// What an entry has beside its content, as the host told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits. Of them, 0777 count; set-user-ID, set-group-ID and sticky never do. None: those of what is new.
    pub mode: Option<u32>,
    /// Last modification, in seconds since 1970. A file always gets it: the next run knows by it what is unchanged.
    pub mtime: Option<i64>,
    /// Last access, in seconds since 1970.
    pub atime: Option<i64>,
    /// `-p`: the mode whatever the umask, both times, and those of directories and symlinks too.
    pub preserve: bool,
}

impl Attributes {
    /// The permission bits to set.
    pub(super) fn mode(&self, new: u32, umask: u32) -> u32 {
        match self.mode {
            Some(mode) if self.preserve => mode & 0o777,
            mode => mode.unwrap_or(new) & 0o777 & !umask,
        }
    }

    /// The times to set; what is not told stays as it is.
    pub(super) fn times(&self) -> Timestamps {
        let time = |seconds: Option<i64>| match seconds {
            Some(seconds) => Timespec { tv_sec: seconds, tv_nsec: 0 },
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        Timestamps { last_access: time(self.atime.filter(|_| self.preserve)), last_modification: time(self.mtime) }
    }
}

/// A file that is being written, under a temporary name, for this user alone. Dropped, it is removed, and what has the
/// final name stays.
///
/// Parts of it may be written by many threads at once, in any order, each once.
#[derive(Debug)]
pub struct Incoming {
    place: Arc<Place>,
    target: Target,
    draft: Draft,
    file: File,
    holes: Holes,
    kept: u64,
    /// Bytes that came.
    written: AtomicU64,
    /// Where the last of them ends.
    end: AtomicU64,
}

impl Incoming {
    pub(super) fn new(place: &Arc<Place>, target: Target, draft: Draft, file: File, holes: Holes) -> Self {
        let kept = file.metadata().map_or(0, |metadata| metadata.len());
        let (written, end) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { place: Arc::clone(place), target, draft, file, holes, kept, written, end }
    }

    /// How many bytes an earlier run wrote. Where its writes came in no order, zeros may be in between.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// The SHA-256 of the first `length` bytes of what is there now.
    ///
    /// # Errors
    /// Where they cannot be read or are not there.
    pub fn sha256(&self, length: u64) -> Result<[u8; 32], LandingError> {
        let failed = |error| self.failed("read", error);
        let (read, digest) = digest(Part { file: &self.file, at: 0, end: length }).map_err(failed)?;
        if read == length { Ok(digest) } else { Err(self.length_error(length, read)) }
    }

    /// Whether what was written has this SHA-256: the file has it on the host, with `length` bytes.
    ///
    /// # Errors
    /// Where it has another, and where it cannot be read.
    pub fn check(&self, length: u64, expected: [u8; 32]) -> Result<(), LandingError> {
        // A hole at the end comes into being with its length.
        self.file.set_len(length).map_err(|error| self.failed("write to", error))?;
        if self.sha256(length)? == expected {
            return Ok(());
        }
        Err(LandingError::Content { path: self.place.landing().shown(self.target.path.as_bytes()) })
    }

    /// Takes the first `length` bytes that an earlier run wrote as they are, and drops the rest. Before anything is
    /// written.
    ///
    /// # Errors
    /// Where so much is not there.
    pub fn go_on_from(&mut self, length: u64) -> Result<(), LandingError> {
        if length > self.kept {
            return Err(self.length_error(length, self.kept));
        }
        self.file.set_len(length).map_err(|error| self.failed("write to", error))?;
        self.kept = length;
        *self.written.get_mut() = length;
        *self.end.get_mut() = length;
        Ok(())
    }

    /// Writes the buffers one behind the other, the first at `offset`.
    ///
    /// # Errors
    /// Where the system refuses: the disk is full, the quota used up, the file too large.
    pub fn write_at(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), LandingError> {
        let length: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        if offset.checked_add(length).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(self.failed("write to", Errno::FBIG));
        }
        let mut at = offset;
        match self.holes {
            Holes::Fill => {
                for buffers in buffers.chunks(BUFFERS) {
                    let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
                    at += self.write_all(at, &mut slices)?;
                }
            }
            Holes::Leave => {
                let (mut slices, mut start, mut end) = (Vec::new(), at, at);
                for buffer in buffers {
                    for (from, data) in data_of(at, buffer) {
                        if from != end || slices.len() == BUFFERS {
                            self.write_all(start, &mut slices)?;
                            slices.clear();
                        }
                        if slices.is_empty() {
                            start = from;
                        }
                        slices.push(IoSlice::new(data));
                        end = from + data.len() as u64;
                    }
                    at += buffer.len() as u64;
                }
                self.write_all(start, &mut slices)?;
            }
        }
        self.came(offset, length);
        Ok(())
    }

    /// Leaves a hole: the host says that there are `length` zeros at `offset`.
    pub fn leave_hole(&self, offset: u64, length: u64) {
        self.came(offset, length);
    }

    /// Ends the file, which has `length` bytes on the host, and gives it its name: [`seal`](Self::seal) and
    /// [`commit`](Sealed::commit).
    ///
    /// # Errors
    /// Where not everything came, and where the system refuses. The temporary file is removed then.
    pub fn finish(self, length: u64, attributes: &Attributes) -> Result<(), LandingError> {
        self.seal(length, attributes)?.commit()
    }

    /// Ends the file, which has `length` bytes on the host, and gives it its attributes. Many that are small are best sealed
    /// and then [committed together](Sealed::commit_all).
    ///
    /// # Errors
    /// Where not everything came, and where the system refuses. The temporary file is removed then.
    pub fn seal(self, length: u64, attributes: &Attributes) -> Result<Sealed, LandingError> {
        let (written, end) = (self.written.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
        if written != length || end != length {
            return Err(self.length_error(length, if end == length { written } else { end }));
        }
        if self.file.metadata().map_err(|error| self.failed("look at", error))?.len() != length {
            self.file.set_len(length).map_err(|error| self.failed("write to", error))?;
        }
        let mode = Mode::from_raw_mode(attributes.mode(0o666, self.place.landing().options.umask));
        rustix::fs::fchmod(&self.file, mode).map_err(|error| self.failed("set the mode of", error))?;
        rustix::fs::futimens(&self.file, &attributes.times())
            .map_err(|error| self.failed("set the times of", error))?;
        let Self { place, target, draft, file, .. } = self;
        Ok(Sealed { place, target, draft, file })
    }

    /// Leaves what came under its temporary name, for a run that [resumes](Place::resume). It counts as
    /// [left behind](super::Landing::left_behind).
    pub fn keep(self) {
        self.draft.keep();
    }

    fn write_all(&self, offset: u64, mut slices: &mut [IoSlice<'_>]) -> Result<u64, LandingError> {
        let mut written = 0;
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(&self.file, slices, offset + written) {
                Ok(0) => return Err(self.failed("write to", ErrorKind::WriteZero)),
                Ok(count) => {
                    written += count as u64;
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("write to", error)),
            }
        }
        Ok(written)
    }

    fn came(&self, offset: u64, length: u64) {
        self.written.fetch_add(length, Ordering::AcqRel);
        self.end.fetch_max(offset.saturating_add(length), Ordering::AcqRel);
    }

    fn failed(&self, action: &'static str, error: impl Into<io::Error>) -> LandingError {
        LandingError::system(action, self.place.landing().shown(self.target.path.as_bytes()), error)
    }

    fn length_error(&self, expected: u64, found: u64) -> LandingError {
        LandingError::Length { path: self.place.landing().shown(self.target.path.as_bytes()), expected, found }
    }
}

/// The parts of a buffer, each with its place in the file, between blocks of zeros. A block that a buffer has a part of
/// counts by that part: where neither buffer has more than zeros, all of it becomes a hole.
fn data_of(offset: u64, buffer: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    // Blocks are those of the file, so the first one may be cut.
    let first = (BLOCK as u64 - offset % BLOCK as u64) as usize % BLOCK;
    let mut at = 0;
    std::iter::from_fn(move || {
        let block_at = |at: usize| if at < first { first.min(buffer.len()) } else { (at + BLOCK).min(buffer.len()) };
        while at < buffer.len() && is_hole(&buffer[at..block_at(at)]) {
            at = block_at(at);
        }
        let from = at;
        while at < buffer.len() && !is_hole(&buffer[at..block_at(at)]) {
            at = block_at(at);
        }
        (from < at).then(|| (offset + from as u64, &buffer[from..at]))
    })
}

fn is_hole(block: &[u8]) -> bool {
    // The whole is looked at without a branch, which the compiler makes wide; most data ends it at its first byte.
    block.first() == Some(&0) && block.iter().fold(0, |all, byte| all | byte) == 0
}

/// A part of a file to read, wherever others read and write.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl io::Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
