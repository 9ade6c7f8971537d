//! The tar of a host that takes a stream: [`Extractor`].

use super::archive::{Archive, Chunk};
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
use tokio::task::JoinHandle;

/// Says [`READY`] once it stands in the directory that the first line of its input names, unpacks the rest of it there with
/// exactly the modes that the stream says, and brings all of it to the disk. One line, which every login shell takes.
const SCRIPT: &str = r#"command -v tar >/dev/null 2>&1 || exit 127; IFS= read -r place && place=$(printf %b_ "$place") || exit 126; unset CDPATH TAR_OPTIONS; cd -- "${place%_}" >/dev/null || exit 126; echo bugle-ready; umask 0; tar -xpof - || exit 1; sync -f . 2>/dev/null || sync"#;
const READY: &[u8] = b"bugle-ready";
/// What is sent at once to a host nearby, in bytes.
const PIECE: usize = 64 * 1024;
/// What is kept of what is said before that, and of complaints.
const TALK: usize = 4096;

/// A shell on the host that waits for a directory and a stream.
pub(super) struct Extractor {
    inner: Inner,
    input: Input,
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
    /// Whether little is to wait at the host, which is busier the more does; a way that is long holds more than that.
    pub(super) is_near: bool,
    /// `--limit-rate`
    pub(super) pace: Option<&'a Pace>,
    pub(super) teller: &'a Teller<'a>,
}

/// An extractor that is being started while other things are done. Dropped, it is given up.
pub(super) struct Starting(JoinHandle<Result<Extractor, Refusal>>);

impl Starting {
    /// Waits until it is there.
    pub(super) async fn ready(mut self) -> Result<Extractor, Refusal> {
        (&mut self.0).await.unwrap_or_else(|panic| Err(Refusal::Failed(panic.to_string())))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Extractor {
    /// Starts it, as the user whom the SFTP server runs as.
    pub(super) fn start(connection: &Arc<Connection>, privilege: Option<&Privilege>) -> Starting {
        let (connection, privilege) = (Arc::clone(connection), privilege.cloned());
        Starting(tokio::spawn(async move {
            let inner = Inner::start(connection, SCRIPT, privilege.as_ref(), &mut Trace::default()).await?;
            let input = inner.input();
            Ok(Self { inner, input })
        }))
    }

    /// Sends the archive into this directory and waits until all of it is on the disk there.
    pub(super) async fn extract(
        self,
        directory: &[u8],
        archive: Archive<'_>,
        sending: &Sending<'_>,
    ) -> Result<(), Refusal> {
        let Self { mut inner, input } = self;
        let ended = {
            let mut ended = pin!(ended(&mut inner));
            // Who ends before everything was sent takes nothing any more.
            tokio::select! {
                ended = &mut ended => ended,
                () = feed(&input, directory, archive, sending) => ended.await,
            }
        };
        inner.close().await;
        ended
    }

    /// Lets it go without anything to do.
    pub(super) async fn close(self) {
        self.inner.close().await;
    }
}

/// Sends everything; what becomes of it is said by its end.
async fn feed(input: &Input, directory: &[u8], mut archive: Archive<'_>, sending: &Sending<'_>) {
    if input.write(Bytes::from(line(directory))).await.is_err() {
        return;
    }
    let mut backlog = sending.is_near.then(|| input.backlog());
    let mut next = archive.next().await;
    while let Some(Chunk { bytes, content }) = next {
        let send = async {
            if let Some(pace) = sending.pace {
                pace.wait(content).await;
            }
            let sent = write(input, bytes, backlog.as_mut()).await;
            sending.teller.moved(content).await;
            sent
        };
        let (sent, following) = futures::join!(send, archive.next());
        if sent.is_err() {
            return;
        }
        next = following;
    }
    // As above.
    let _ = input.finish().await;
}

async fn write(input: &Input, mut bytes: Bytes, backlog: Option<&mut Backlog>) -> Result<(), InputClosed> {
    let Some(backlog) = backlog else { return input.write(bytes).await };
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        backlog.room(piece.len() as u64).await;
        input.write(piece).await?;
    }
    Ok(())
}

/// Listens until it ends.
async fn ended(inner: &mut Inner) -> Result<(), Refusal> {
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    loop {
        let exit = match inner.next().await {
            Happening::Output(Stream::Stdout, bytes) => {
                keep(&mut said, &bytes);
                continue;
            }
            Happening::Output(Stream::Stderr, bytes) => {
                keep(&mut complaint, &bytes);
                continue;
            }
            Happening::Refused => {
                return Err(Refusal::Unable("the server runs no commands, and so no tar".into()));
            }
            Happening::Lost(why) => return Err(Refusal::Failed(why)),
            Happening::Ended(exit) => exit,
        };
        let is_ready = said.windows(READY.len()).any(|some| some == READY);
        return match exit {
            RemoteExit::Status(0) if is_ready => Ok(()),
            RemoteExit::Status(127) if !is_ready => Err(Refusal::Unable("there is no tar on the host".into())),
            RemoteExit::Status(126) if !is_ready => {
                Err(Refusal::Unable("commands on the host do not see the files that its SFTP server sees".into()))
            }
            _ if !is_ready => {
                Err(Refusal::Unable("the server runs something else than the command it is given".into()))
            }
            _ => {
                let complaint = String::from_utf8_lossy(&complaint);
                Err(Refusal::Failed(complaint.trim().lines().next().unwrap_or("it said nothing").to_owned()))
            }
        };
    }
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
            let mut shell = Command::new("/bin/sh")
                .arg("-c")
                .arg(SCRIPT)
                .env("TAR_OPTIONS", "--bad")
                .env("CDPATH", "/tmp")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            shell.stdin.take().unwrap().write_all(&input).unwrap();
            let output = shell.wait_with_output().unwrap();
            assert!(output.status.success() && output.stdout == b"bugle-ready\n", "{}", name.escape_ascii());
            assert_eq!(directory.join("0").metadata().unwrap().permissions().mode() & 0o7777, 0o606);
        }
    }
}
