//! `--outdir`: what every host said, byte for byte, in `HOST.out` and `HOST.err`.
//!
//! As with pssh, every host that was worked on has both files, also where it said nothing, and files of an earlier run are
//! replaced. However many hosts speak at once, a bounded number of files is open.

use super::error::ReportError;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};
use crate::host::{HostId, HostName};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

/// Files that are open at most.
const OPEN: usize = 32;

/// Writes the files.
pub(super) struct OutDirectory {
    directory: PathBuf,
    created: HashSet<(HostId, Stream)>,
    /// The file that was written last is last.
    open: Vec<((HostId, Stream), File)>,
}

impl OutDirectory {
    /// Makes the directory where it is missing.
    pub(super) fn new(directory: PathBuf) -> Result<Self, ReportError> {
        match fs::create_dir_all(&directory) {
            Ok(()) => Ok(Self { directory, created: HashSet::new(), open: Vec::new() }),
            Err(source) => Err(ReportError::Create { path: directory, source }),
        }
    }

    fn path(&self, name: &HostName, stream: Stream) -> PathBuf {
        let extension = match stream {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        };
        // A host name has no slash; see `host::check_host`.
        self.directory.join(format!("{name}.{extension}"))
    }

    /// The open file of a host's stream.
    fn file(&mut self, host: HostId, stream: Stream, name: &HostName) -> Result<&mut File, ReportError> {
        let key = (host, stream);
        if let Some(at) = self.open.iter().rposition(|(open, _)| *open == key) {
            self.open[at..].rotate_left(1);
        } else {
            let path = self.path(name, stream);
            if self.open.len() >= OPEN {
                self.open.remove(0);
            }
            let file = match self.created.contains(&key) {
                true => File::options().append(true).open(&path),
                false => replaced(&path),
            };
            let file = file.map_err(|source| ReportError::Create { path, source })?;
            self.created.insert(key);
            self.open.push((key, file));
        }
        let last = self.open.len() - 1;
        Ok(&mut self.open[last].1)
    }

    fn append(&mut self, host: HostId, stream: Stream, bytes: &[u8], stage: &Stage) -> Result<(), ReportError> {
        let name = stage.roster.name(host);
        let written = self.file(host, stream, name)?.write_all(bytes);
        written.map_err(|source| ReportError::Write { path: self.path(name, stream), source })
    }

    /// Makes the files of a host that said nothing, and closes them.
    fn end(&mut self, host: HostId, stage: &Stage) -> Result<(), ReportError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.created.contains(&(host, stream)) {
                self.file(host, stream, stage.roster.name(host))?;
            }
        }
        self.open.retain(|((open, _), _)| *open != host);
        Ok(())
    }
}

/// A new file in the place of an old one. What is there is removed, not written to: it may be a link to elsewhere.
fn replaced(path: &std::path::Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::options().append(true).create_new(true).open(path),
    }
}

impl Reporter for OutDirectory {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::OutputReceived { host, stream, bytes } => self.append(*host, *stream, bytes, stage),
            What::HostFinished { host, .. } => self.end(*host, stage),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Stand;
    use std::os::unix::fs::symlink;

    #[test]
    fn more_hosts_than_open_files_all_get_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..100).map(|number| format!("web{number:03}")).collect();
        let stand = Stand::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut out = OutDirectory::new(directory.path().join("a/b")).unwrap();
        for round in 0..3 {
            for (host, name) in stand.stage.roster.iter() {
                out.append(host, Stream::Stdout, format!("{name} {round}\0\r\n").as_bytes(), &stand.stage).unwrap();
                assert!(out.open.len() <= OPEN);
            }
        }
        for (host, _) in stand.stage.roster.iter() {
            out.end(host, &stand.stage).unwrap();
        }
        assert!(out.open.is_empty());
        for name in names {
            let path = directory.path().join("a/b").join(&name);
            let expected = format!("{name} 0\0\r\n{name} 1\0\r\n{name} 2\0\r\n");
            assert_eq!(fs::read_to_string(path.with_extension("out")).unwrap(), expected);
            assert_eq!(fs::read_to_string(path.with_extension("err")).unwrap(), "");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        symlink(&elsewhere, directory.path().join("a.out")).unwrap();
        let stand = Stand::new(&["a"]);
        let mut out = OutDirectory::new(directory.path().into()).unwrap();
        out.append(HostId(0), Stream::Stdout, b"new", &stand.stage).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        assert_eq!(fs::read_to_string(directory.path().join("a.out")).unwrap(), "new");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a.err")).unwrap();
        let stand = Stand::new(&["a"]);
        let mut out = OutDirectory::new(directory.path().into()).unwrap();
        let error = out.end(HostId(0), &stand.stage).unwrap_err();
        assert!(error.to_string().contains("a.err`"), "{error}");
    }
}
