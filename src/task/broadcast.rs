//! What every host gets on its standard input: our own, read once, kept in a temporary file and replayed from the start for
//! each reader; or bytes that are in memory anyway.
//!
//! A host that is started late misses nothing, and the fleet's size does not matter to memory. An input that cannot be read or
//! kept to its end is never taken for a shorter one: its readers are told.

use crate::outcome::{Code, Failure};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;

const CHUNK: usize = 32 * 1024;

/// A stream that any number of readers replay.
#[derive(Clone)]
pub struct Broadcast(Kept);

#[derive(Clone)]
enum Kept {
    Memory(Bytes),
    Spool { file: Arc<File>, progress: watch::Receiver<Progress> },
}

#[derive(Clone, Debug)]
struct Progress {
    length: u64,
    /// How the source ended, once it did.
    end: Option<Result<(), InputLost>>,
}

/// Why the rest of an input is not there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InputLost {
    /// The source.
    #[error("standard input could not be read to its end: {0}")]
    Read(Arc<io::Error>),
    /// The temporary file.
    #[error("standard input could not be kept in a temporary file in `{place}`: {0}", place = std::env::temp_dir().display())]
    Keep(Arc<io::Error>),
}

impl InputLost {
    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => None,
            Self::Keep(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("name a directory that is there in TMPDIR")
            }
            Self::Keep(_) => Some("name a directory with more room in TMPDIR"),
        }
    }
}

impl From<InputLost> for Failure {
    fn from(lost: InputLost) -> Self {
        let failure = Failure::new(Code::LocalInput, lost.to_string());
        match lost.hint() {
            None => failure,
            Some(hint) => failure.hint(hint),
        }
    }
}

impl Broadcast {
    /// Begins to read `source` on a thread of its own.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn of(source: impl Read + Send + 'static) -> Result<Self, InputLost> {
        let keeps = |error| InputLost::Keep(Arc::new(error));
        let spool = tempfile::tempfile().map_err(keeps)?;
        let sink = spool.try_clone().map_err(keeps)?;
        let (sender, progress) = watch::channel(Progress { length: 0, end: None });
        let reader = std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let end = keep(source, sink, |length| sender.send_modify(|progress| progress.length += length));
            sender.send_modify(|progress| progress.end = Some(end));
        });
        reader.map_err(keeps)?;
        Ok(Self(Kept::Spool { file: Arc::new(spool), progress }))
    }

    /// A stream of known bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Kept::Memory(bytes.into()))
    }

    /// What follows from `position` on, at most one chunk; `None` at the end.
    pub(super) async fn read_at(&mut self, position: u64) -> Result<Option<Bytes>, InputLost> {
        let (file, progress) = match &mut self.0 {
            Kept::Memory(bytes) => {
                let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let to = from.saturating_add(CHUNK).min(bytes.len());
                return Ok((from < to).then(|| bytes.slice(from..to)));
            }
            Kept::Spool { file, progress } => (file, progress),
        };
        let known = progress.wait_for(|known| known.length > position || known.end.is_some()).await;
        let available = match known.as_deref() {
            Ok(known) if known.length > position => known.length - position,
            Ok(Progress { end: Some(Err(lost)), .. }) => return Err(lost.clone()),
            Ok(_) => return Ok(None),
            Err(_) => return Err(InputLost::Read(Arc::new(ErrorKind::BrokenPipe.into()))),
        };
        drop(known);
        let mut buffer = vec![0; usize::try_from(available).unwrap_or(CHUNK).min(CHUNK)];
        // Just written, so it comes from the page cache.
        file.read_exact_at(&mut buffer, position).map_err(|error| InputLost::Keep(Arc::new(error)))?;
        Ok(Some(buffer.into()))
    }
}

/// Copies a source to its end; what stands in the sink is told as it grows.
fn keep(mut source: impl Read, mut sink: File, mut grown: impl FnMut(u64)) -> Result<(), InputLost> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(InputLost::Read(Arc::new(error))),
        };
        sink.write_all(&buffer[..length]).map_err(|error| InputLost::Keep(Arc::new(error)))?;
        grown(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reader_gets_everything_also_a_late_one() {
        let (reader, mut writer) = io::pipe().unwrap();
        let source = Broadcast::of(reader).unwrap();
        let read_all = |mut source: Broadcast| async move {
            let mut all = Vec::new();
            while let Some(bytes) = source.read_at(all.len() as u64).await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            all
        };
        let early = tokio::spawn(read_all(source.clone()));
        let expected: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let text = expected.clone();
        std::thread::spawn(move || writer.write_all(&text).unwrap()).join().unwrap();
        assert_eq!(early.await.unwrap(), expected);
        assert_eq!(read_all(source).await, expected);
        assert_eq!(read_all(Broadcast::from_bytes(expected.clone())).await, expected);
    }

    #[tokio::test]
    async fn an_input_that_breaks_off_has_no_end() {
        struct Breaks;
        impl Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::IsADirectory.into())
            }
        }
        let mut source = Broadcast::of(io::Cursor::new("begun").chain(Breaks)).unwrap();
        assert_eq!(source.read_at(0).await.unwrap().as_deref(), Some(&b"begun"[..]));
        let failure = Failure::from(source.read_at(5).await.unwrap_err());
        assert_eq!(failure.code, Code::LocalInput);
        assert!(failure.message.contains("is a directory"), "{}", failure.message);
    }
}
