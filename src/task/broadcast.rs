//! Our standard input, for every host: read once, kept in a temporary file, replayed from the start for each reader.
//!
//! A host that is started late misses nothing, and the fleet's size does not matter to memory.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;

const CHUNK: usize = 32 * 1024;

/// A stream that any number of readers replay.
#[derive(Clone)]
pub struct Broadcast {
    spool: Arc<File>,
    progress: watch::Receiver<Progress>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    length: u64,
    ended: bool,
}

impl Broadcast {
    /// Begins to read `source` on a thread of its own.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn of(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let spool = tempfile::tempfile()?;
        let mut sink = spool.try_clone()?;
        let (sender, progress) = watch::channel(Progress { length: 0, ended: false });
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut buffer = vec![0; CHUNK];
            // A fault ends the stream: the hosts see its end, as they would of a pipe that breaks.
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                if sink.write_all(&buffer[..length]).is_err() {
                    break;
                }
                sender.send_modify(|progress| progress.length += length as u64);
            }
            sender.send_modify(|progress| progress.ended = true);
        })?;
        Ok(Self { spool: Arc::new(spool), progress })
    }

    /// A stream of known bytes.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        Self::of(io::Cursor::new(bytes))
    }

    /// What follows from `position` on, at most one chunk; `None` at the end.
    pub(super) async fn read_at(&mut self, position: u64) -> Option<Bytes> {
        let available = loop {
            let progress = *self.progress.borrow_and_update();
            if progress.length > position {
                break progress.length - position;
            }
            if progress.ended || self.progress.changed().await.is_err() {
                return None;
            }
        };
        let mut buffer = vec![0; usize::try_from(available).unwrap_or(CHUNK).min(CHUNK)];
        // Just written, so it comes from the page cache.
        let length = self.spool.read_at(&mut buffer, position).ok()?;
        buffer.truncate(length);
        (length > 0).then(|| buffer.into())
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
            while let Some(bytes) = source.read_at(all.len() as u64).await {
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
    }
}
