//! A program on a host that takes a stream: [`Receiver`].

use super::pace::Pace;
use crate::connection::{Backlog, Connection, Happening, Input, InputClosed, Trace};
use crate::event::Stream;
use crate::outcome::{Code, Failure, RemoteExit};
use crate::task::inner::Inner;
use crate::task::privilege::Privilege;
use crate::task::teller::Teller;
use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Says [`READY`] once it stands in the directory that the first line of its input names, unpacks the rest of it there with
/// exactly the modes that the stream says, and brings all of it to the disk. One line, which every login shell takes.
const UNPACK: &str = r#"command -v tar >/dev/null 2>&1 || exit 127; IFS= read -r place && place=$(printf %b_ "$place") || exit 126; unset CDPATH TAR_OPTIONS; cd -- "${place%_}" >/dev/null || exit 126; echo bugle-ready; umask 0; tar -xpof - || exit 1; sync -f . 2>/dev/null || sync"#;
/// Says the same once it has opened the file that the first line names, which has to be there and empty, and writes the rest
/// into it. It is opened for reading and by that once more for writing: whoever puts a symlink into its place has no other
/// file made.
const FILL: &str = r#"IFS= read -r place && place=$(printf %b_ "$place") || exit 126; place=${place%_}; [ -f "$place" ] || exit 126; exec 3<"$place" 4>>/dev/fd/3 || exit 126; [ "$place" -ef /dev/fd/4 ] || exit 126; [ -L "$place" ] || [ -s /dev/fd/4 ] && exit 126; echo bugle-ready; exec cat >&4"#;
const READY: &[u8] = b"bugle-ready";
/// What is sent at once, in bytes.
pub(super) const PIECE: usize = 64 * 1024;
/// What is kept of what is said before that, and of complaints.
const TALK: usize = 4096;
/// How long a program may take to say that it is ready: the menu of some login shells waits for a choice for ever.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a receiver does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Unpacks a tar stream in a directory.
    Unpack,
    /// Writes it into an empty file.
    Fill,
}

/// Where a stream comes from, part by part.
pub(super) trait Source {
    /// What follows; nothing after the end.
    async fn next(&mut self) -> Option<Chunk>;
}

/// A part of a stream.
pub(super) struct Chunk {
    /// As the receiver reads them.
    pub(super) bytes: Bytes,
    /// How many of them are content of files.
    pub(super) content: u64,
}

/// A shell on the host that waits for a place and a stream.
pub(super) struct Receiver {
    inner: Inner,
    input: Input,
    said: Vec<u8>,
    complaint: Vec<u8>,
}

/// Why a stream was not unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The host cannot do it, and nothing was done.
    Unable(String),
    /// It was begun and failed, in the words of the host.
    Failed(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure.code {
            Code::SessionLost => Self::Failed(failure.message),
            _ => Self::Unable(failure.message),
        }
    }
}

/// How a stream is sent.
pub(super) struct Sending<'a> {
    /// How many bytes may wait at the host, which is busier the more do; a way that is long holds some of them.
    pub(super) waiting: u64,
    /// `--limit-rate`
    pub(super) pace: Option<&'a Pace>,
    pub(super) teller: &'a Teller<'a>,
}

/// A receiver that is being started while other things are done. Dropped, it is given up.
pub(super) struct Starting(JoinHandle<Result<Receiver, Refusal>>);

impl Starting {
    /// Waits until it is there.
    pub(super) async fn ready(mut self) -> Result<Receiver, Refusal> {
        (&mut self.0).await.unwrap_or_else(|panic| Err(Refusal::Failed(panic.to_string())))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Receiver {
    /// Starts it, as the user whom the SFTP server runs as.
    pub(super) fn start(does: Does, connection: &Arc<Connection>, privilege: Option<&Privilege>) -> Starting {
        let (connection, privilege) = (Arc::clone(connection), privilege.cloned());
        let script = match does {
            Does::Unpack => UNPACK,
            Does::Fill => FILL,
        };
        Starting(tokio::spawn(async move {
            let inner = Inner::start(connection, script, privilege.as_ref(), &mut Trace::default()).await?;
            let input = inner.input();
            Ok(Self { inner, input, said: Vec::new(), complaint: Vec::new() })
        }))
    }

    /// Sends a stream to this place and waits until the host has done with it what it is to do. Nothing of it is sent before
    /// the host has said that it is the one that was asked for: what else listens may take it for commands.
    pub(super) async fn take(
        mut self,
        place: &[u8],
        source: &mut impl Source,
        sending: &Sending<'_>,
    ) -> Result<(), Refusal> {
        // Whoever is gone says so by its end.
        let _ = self.input.write(Bytes::from(line(place))).await;
        let exit = timeout(PATIENCE, self.ready()).await.unwrap_or_else(|_| Err(something_else()));
        let ended = match exit {
            Ok(None) => {
                let input = self.input.clone();
                let mut ended = pin!(self.ended());
                // Who ends before everything was sent takes nothing any more.
                tokio::select! {
                    ended = &mut ended => ended,
                    () = feed(&input, source, sending) => ended.await,
                }
            }
            Ok(Some(exit)) => self.verdict(&exit),
            Err(refusal) => Err(refusal),
        };
        self.inner.close().await;
        ended
    }

    /// Lets it go without anything to do.
    pub(super) async fn close(self) {
        self.inner.close().await;
    }

    fn is_ready(&self) -> bool {
        self.said.windows(READY.len()).any(|some| some == READY)
    }

    /// Listens until it is ready, or gives how it ended.
    async fn ready(&mut self) -> Result<Option<RemoteExit>, Refusal> {
        let mut exit = None;
        while exit.is_none() && !self.is_ready() {
            exit = self.listen().await?;
        }
        Ok(exit)
    }

    /// Listens until it ends.
    async fn ended(&mut self) -> Result<(), Refusal> {
        loop {
            if let Some(exit) = self.listen().await? {
                return self.verdict(&exit);
            }
        }
    }

    /// Keeps what it says next, or gives how it ended.
    async fn listen(&mut self) -> Result<Option<RemoteExit>, Refusal> {
        match self.inner.next().await {
            Happening::Output(Stream::Stdout, bytes) => keep(&mut self.said, &bytes),
            Happening::Output(Stream::Stderr, bytes) => keep(&mut self.complaint, &bytes),
            Happening::Refused => {
                return Err(Refusal::Unable("the server runs no commands, and so no tar".into()));
            }
            Happening::Lost(why) => return Err(Refusal::Failed(why)),
            Happening::Ended(exit) => return Ok(Some(exit)),
        }
        Ok(None)
    }

    /// What its end means.
    fn verdict(&self, exit: &RemoteExit) -> Result<(), Refusal> {
        match exit {
            RemoteExit::Status(0) if self.is_ready() => Ok(()),
            _ if self.is_ready() => {
                let complaint = String::from_utf8_lossy(&self.complaint);
                Err(Refusal::Failed(complaint.trim().lines().next().unwrap_or("it said nothing").to_owned()))
            }
            RemoteExit::Status(127) => Err(Refusal::Unable("there is no tar on the host".into())),
            RemoteExit::Status(126) => {
                Err(Refusal::Unable("commands on the host do not see the files that its SFTP server sees".into()))
            }
            _ => Err(something_else()),
        }
    }
}

fn something_else() -> Refusal {
    Refusal::Unable("the server runs something else than the command it is given".into())
}

/// Sends everything; what becomes of it is said by its end.
async fn feed(input: &Input, source: &mut impl Source, sending: &Sending<'_>) {
    let mut backlog = input.backlog(sending.waiting);
    let mut next = source.next().await;
    while let Some(Chunk { bytes, content }) = next {
        let send = async {
            if let Some(pace) = sending.pace {
                pace.wait(content).await;
            }
            let sent = write(input, bytes, &mut backlog).await;
            sending.teller.moved(content).await;
            sent
        };
        let (sent, following) = futures::join!(send, source.next());
        if sent.is_err() {
            return;
        }
        next = following;
    }
    // As above.
    let _ = input.finish().await;
}

async fn write(input: &Input, mut bytes: Bytes, backlog: &mut Backlog) -> Result<(), InputClosed> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        backlog.room(piece.len() as u64).await;
        input.write(piece).await?;
    }
    Ok(())
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = TALK.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// A path as one line for `read` and `printf %b`, whatever bytes are in it.
fn line(path: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(path.len() + 1);
    for &byte in path {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) => line.push(byte),
            byte => line.extend_from_slice(format!("\\0{byte:03o}").as_bytes()),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    #[test]
    fn only_an_empty_file_that_is_there_is_filled() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| place.path().join(OsStr::from_bytes(name));
        type Case<'a> = (&'a [u8], &'a dyn Fn(&std::path::Path), Option<&'a [u8]>);
        let places: [Case<'_>; 7] = [
            (b"-e \n it's \xff", &|path| std::fs::write(path, "").unwrap(), Some(b"content")),
            (b"two\nlines\n", &|path| std::fs::write(path, "").unwrap(), Some(b"content")),
            (b"filled", &|path| std::fs::write(path, "old").unwrap(), Some(b"old")),
            (b"missing", &|_| (), None),
            (b"link", &|path| std::os::unix::fs::symlink("victim", path).unwrap(), Some(b"")),
            (b"dangling", &|path| std::os::unix::fs::symlink("nothing", path).unwrap(), None),
            (b"directory", &|path| std::fs::create_dir(path).unwrap(), None),
        ];
        std::fs::write(path(b"victim"), "").unwrap();
        for (name, make, expected) in places {
            make(&path(name));
            let output = fed(FILL, &[&line(path(name).as_os_str().as_bytes()), &b"content"[..]].concat());
            let shown = name.escape_ascii();
            assert_eq!(output.status.success(), expected == Some(b"content"), "{shown}");
            assert_eq!(output.stdout == b"bugle-ready\n", output.status.success(), "{shown}");
            assert_eq!(std::fs::read(path(name)).ok().as_deref(), expected, "{shown}");
        }
        assert!(!path(b"nothing").exists() && std::fs::read(path(b"victim")).unwrap().is_empty());
    }

    /// What a script says to this input.
    fn fed(script: &str, input: &[u8]) -> std::process::Output {
        let mut shell = Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .env("TAR_OPTIONS", "--bad")
            .env("CDPATH", "/tmp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A shell that has ended takes nothing.
        let _ = shell.stdin.take().unwrap().write_all(input);
        shell.wait_with_output().unwrap()
    }

    #[test]
    fn the_script_goes_into_every_directory_whatever_its_name() {
        let place = tempfile::tempdir().unwrap();
        for name in
            [&b"plain"[..], b" a b ", b"two\nlines\n", b"-", b"it's \"$HOME\" `id` \\0101 \\", b"\xff\xfe%s", b"_"]
        {
            let directory = place.path().join(OsStr::from_bytes(name));
            std::fs::create_dir(&directory).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_path("0").unwrap();
            header.set_mode(0o606);
            header.set_cksum();
            let input = [&line(directory.as_os_str().as_bytes()), &header.as_bytes()[..], &[0; 1024]].concat();
            let output = fed(UNPACK, &input);
            assert!(output.status.success() && output.stdout == b"bugle-ready\n", "{}", name.escape_ascii());
            assert_eq!(directory.join("0").metadata().unwrap().permissions().mode() & 0o7777, 0o606);
        }
    }
}
