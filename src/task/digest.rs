//! The SHA-256 of files on a host, or of their beginnings, by whatever the host has for it: [`Digester`].
//!
//! One shell on the host answers for all files of a run there. Those who ask while it is at work are asked for together, and
//! whole files are hashed by one process for hundreds of them: it takes neither a round trip nor a process a file.

use super::inner::Inner;
use super::privilege::Privilege;
use crate::connection::{Connection, Happening, Trace};
use crate::event::Stream;
use crate::outcome::{Code, Failure};
use crate::sftp::{Sftp, SftpError};
use bytes::{Bytes, BytesMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Turn, OnceCell, oneshot};

/// Makes `h` the program there is for SHA-256, and says on a line whether there is one.
pub(super) const HASHING: &str = r#"if command -v sha256sum >/dev/null 2>&1; then h() { sha256sum "$@"; }
elif command -v shasum >/dev/null 2>&1; then h() { shasum -a 256 "$@"; }
elif command -v openssl >/dev/null 2>&1; then h() { openssl dgst -sha256 -r "$@"; }
elif command -v sha256 >/dev/null 2>&1; then h() { sha256 -q "$@"; }
else echo none; exit 0; fi
echo some
"#;

/// `t` prints a line for each file that can be read, and a line that ends them; `w` and `p` print a line for one file, or
/// for its beginning: its digest in hexadecimal, or `-`. OpenSSL begins more slowly than the others and then uses what the
/// processor has for it, which coreutils does only where they were built with OpenSSL.
const ANSWERING: &str = r#"if command -v openssl >/dev/null 2>&1; then l() { openssl dgst -sha256 -r; }; else l() { h; }; fi
d() { if [ "$1" -lt 33554432 ]; then h; else l; fi; }
t() { h "$@" </dev/null 2>/dev/null; echo =; }
w() { if [ -r "$1" ] && r=$(h <"$1"); then printf '%s\n' "${r%% *}"; else echo -; fi; } 2>/dev/null
p() { if [ -r "$2" ] && r=$(head -c "$1" <"$2" | d "$1"); then printf '%s\n' "${r%% *}"; else echo -; fi; } 2>/dev/null
"#;

/// Files and bytes of their paths that one process is given.
const TOGETHER: (usize, usize) = (512, 64 * 1024);
/// What a line may have: a digest and a path of which every byte is written as four.
const LONGEST_LINE: usize = 64 * 1024;

/// A SHA-256.
pub(super) type Sha256 = [u8; 32];

/// A file on the host, or its beginning.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Where it is there.
    pub(super) path: Vec<u8>,
    /// How much of it, in bytes; nothing for all of it.
    pub(super) length: Option<u64>,
}

/// Asks one host.
pub(super) struct Digester<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) privilege: Option<&'a Privilege>,
    sftp: &'a Sftp,
    shell: Turn<State>,
    waiting: Mutex<Vec<Waiting>>,
    /// Where relative paths begin: the SFTP server may have been told to begin elsewhere than a shell does.
    home: OnceCell<Vec<u8>>,
}

/// Somebody who wants to know, and where he is told.
type Waiting = (Part, oneshot::Sender<Option<Sha256>>);

enum State {
    Unopened,
    Open(Box<Shell>),
    /// There is none, or no program.
    Unable,
}

impl<'a> Digester<'a> {
    /// Nothing is started before the first question.
    pub(super) fn new(connection: &'a Arc<Connection>, privilege: Option<&'a Privilege>, sftp: &'a Sftp) -> Self {
        Self {
            connection,
            privilege,
            sftp,
            shell: Turn::new(State::Unopened),
            waiting: Mutex::default(),
            home: OnceCell::new(),
        }
    }

    /// The digests of these, each where the host can tell it.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(super) async fn all(&self, parts: &[Part]) -> Result<Vec<Option<Sha256>>, SftpError> {
        let mut shell = self.shell.lock().await;
        self.ask(&mut shell, parts).await
    }

    /// The digest of one, asked for together with those that others wait for.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(super) async fn one(&self, part: Part) -> Result<Option<Sha256>, SftpError> {
        let (told, mut answer) = oneshot::channel();
        lock(&self.waiting).push((part, told));
        let mut shell = self.shell.lock().await;
        // Whoever had his turn before took everybody's question with him.
        match answer.try_recv() {
            Ok(digest) => return Ok(digest),
            Err(oneshot::error::TryRecvError::Closed) => return Err(lost("the connection was lost")),
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        let (parts, told): (Vec<Part>, Vec<_>) = std::mem::take(&mut *lock(&self.waiting)).into_iter().unzip();
        let digests = self.ask(&mut shell, &parts).await?;
        for (told, digest) in told.into_iter().zip(digests) {
            // Who does not wait any more needs no answer.
            let _ = told.send(digest);
        }
        Ok(answer.try_recv().unwrap_or_default())
    }

    /// Ends the shell.
    pub(super) async fn close(&self) {
        if let State::Open(shell) = std::mem::replace(&mut *self.shell.lock().await, State::Unable) {
            shell.inner.close().await;
        }
    }

    async fn ask(&self, state: &mut State, parts: &[Part]) -> Result<Vec<Option<Sha256>>, SftpError> {
        let mut digests = vec![None; parts.len()];
        if parts.is_empty() {
            return Ok(digests);
        }
        if matches!(state, State::Unopened) {
            *state = self.open().await?;
        }
        let State::Open(shell) = state else { return Ok(digests) };
        let home = self.home().await?;
        let paths: Vec<Vec<u8>> = parts.iter().map(|part| quoted(home, &part.path)).collect();
        let mut questions = questions(parts, &paths);
        while !questions.is_empty() {
            let Some(unanswered) = shell.exchange(parts, &paths, &questions, &mut digests).await? else {
                *state = State::Unable;
                break;
            };
            // Where one of many could not be read, nobody knows which line is whose.
            questions = unanswered.into_iter().map(Question::Alone).collect();
        }
        Ok(digests)
    }

    async fn open(&self) -> Result<State, SftpError> {
        let mut trace = Trace::default();
        let started = Inner::start(Arc::clone(self.connection), "exec /bin/sh", self.privilege, &mut trace);
        let mut shell = match started.await {
            Ok(inner) => Shell { inner, heard: BytesMut::new() },
            Err(Failure { code: Code::SessionLost, message, .. }) => return Err(lost(&message)),
            // An account that may do SFTP and nothing else.
            Err(_) => return Ok(State::Unable),
        };
        let input = shell.inner.input();
        let script = Bytes::from([HASHING, ANSWERING].concat());
        let (_, first) = futures::join!(input.write(script), shell.line());
        if first?.as_deref() == Some(b"some") {
            return Ok(State::Open(Box::new(shell)));
        }
        shell.inner.close().await;
        Ok(State::Unable)
    }

    /// Where relative paths of the SFTP server begin.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(super) async fn home(&self) -> Result<&[u8], SftpError> {
        Ok(self.home.get_or_try_init(|| self.find_home()).await?)
    }

    async fn find_home(&self) -> Result<Vec<u8>, SftpError> {
        match self.sftp.real_path(b".").await?.get().await {
            Ok(home) => Ok(home.to_vec()),
            Err(SftpError::Refused(..)) => Ok(b".".to_vec()),
            Err(error) => Err(error),
        }
    }
}

/// A shell on the host that has read the script.
struct Shell {
    inner: Inner,
    heard: BytesMut,
}

/// Something that the shell is asked, by the places of the parts.
enum Question {
    Together(Vec<usize>),
    Alone(usize),
}

impl Shell {
    /// Asks and takes the answers down. Gives what has to be asked by itself; nothing where the shell is of no use any more.
    async fn exchange(
        &mut self,
        parts: &[Part],
        paths: &[Vec<u8>],
        questions: &[Question],
        digests: &mut [Option<Sha256>],
    ) -> Result<Option<Vec<usize>>, SftpError> {
        let mut text = Vec::new();
        for question in questions {
            match question {
                Question::Together(indices) => {
                    text.push(b't');
                    indices.iter().for_each(|&index| text.extend_from_slice(&paths[index]));
                }
                Question::Alone(index) => {
                    text.extend(parts[*index].length.map_or("w".into(), |length| format!("p {length}")).bytes());
                    text.extend_from_slice(&paths[*index]);
                }
            }
            text.push(b'\n');
        }
        let input = self.inner.input();
        let reading = async {
            let mut unanswered = Vec::new();
            for question in questions {
                match question {
                    Question::Together(indices) => {
                        let Some(lines) = self.lines(indices.len()).await? else { return Ok(None) };
                        if lines.len() != indices.len() {
                            unanswered.extend(indices);
                            continue;
                        }
                        indices.iter().zip(lines).for_each(|(&index, line)| digests[index] = digest(&line));
                    }
                    Question::Alone(index) => {
                        let Some(line) = self.line().await? else { return Ok(None) };
                        digests[*index] = digest(&line);
                    }
                }
            }
            Ok(Some(unanswered))
        };
        // Who takes no more input says so by ending.
        futures::join!(input.write(Bytes::from(text)), reading).1
    }

    /// The lines about files that were asked for together.
    async fn lines(&mut self, most: usize) -> Result<Option<Vec<BytesMut>>, SftpError> {
        let mut lines = Vec::new();
        loop {
            match self.line().await? {
                Some(line) if line == b"="[..] => return Ok(Some(lines)),
                Some(line) if lines.len() < most => lines.push(line),
                _ => return Ok(None),
            }
        }
    }

    /// The next line; nothing where none comes, or none that could be an answer.
    async fn line(&mut self) -> Result<Option<BytesMut>, SftpError> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.heard[looked_at..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.heard.split_to(looked_at + end + 1);
                line.truncate(looked_at + end);
                return Ok(Some(line));
            }
            looked_at = self.heard.len();
            match self.inner.next().await {
                Happening::Output(Stream::Stdout, bytes) if looked_at <= LONGEST_LINE => {
                    self.heard.extend_from_slice(&bytes);
                }
                Happening::Output(Stream::Stderr, _) => {}
                Happening::Lost(why) => return Err(lost(&why)),
                Happening::Output(Stream::Stdout, _) | Happening::Ended(_) | Happening::Refused => return Ok(None),
            }
        }
    }
}

/// How these are best asked for.
fn questions(parts: &[Part], paths: &[Vec<u8>]) -> Vec<Question> {
    let (mut questions, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (index, (part, path)) in parts.iter().zip(paths).enumerate() {
        // Not every program keeps a name with a line break on its line.
        if part.length.is_some() || path.contains(&b'\n') {
            questions.push(Question::Alone(index));
            continue;
        }
        if group.len() == TOGETHER.0 || bytes + path.len() > TOGETHER.1 {
            questions.push(Question::Together(std::mem::take(&mut group)));
            bytes = 0;
        }
        group.push(index);
        bytes += path.len();
    }
    if !group.is_empty() {
        questions.push(Question::Together(group));
    }
    questions
}

/// A path as one word of a shell, whatever bytes are in it, with a space before it.
pub(super) fn quoted(home: &[u8], path: &[u8]) -> Vec<u8> {
    let mut word = b" '".to_vec();
    let start: [&[u8]; 2] = if path.starts_with(b"/") { [b"", b""] } else { [home, b"/"] };
    for &byte in start.into_iter().flatten().chain(path) {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            other => word.push(other),
        }
    }
    word.push(b'\'');
    word
}

fn digest(line: &[u8]) -> Option<Sha256> {
    let line = line.strip_prefix(b"\\").unwrap_or(line);
    let digits = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?.try_into().ok()
}

fn lost(why: &str) -> SftpError {
    SftpError::Lost(why.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_for_together_but_for_beginnings_and_names_of_two_lines() {
        let whole = |path: &str| Part { path: path.into(), length: None };
        let mut parts = vec![whole("a"), Part { path: b"b".to_vec(), length: Some(3) }, whole("c\nd"), whole("e")];
        parts.extend((0..TOGETHER.0).map(|number| whole(&number.to_string())));
        let paths: Vec<Vec<u8>> = parts.iter().map(|part| quoted(b"/home/x", &part.path)).collect();
        assert_eq!(paths[0], b" '/home/x/a'");
        assert_eq!(quoted(b"/home", b"/it's"), br" '/it'\''s'");
        let shape: Vec<String> = questions(&parts, &paths)
            .into_iter()
            .map(|question| match question {
                Question::Together(indices) => format!("{} from {}", indices.len(), indices[0]),
                Question::Alone(index) => format!("only {index}"),
            })
            .collect();
        assert_eq!(shape, ["only 1", "only 2", "512 from 0", "2 from 514"]);
    }

    #[test]
    fn a_digest_is_the_first_word_whatever_the_program_adds() {
        let digits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        for line in [digits.into(), format!("{digits}  a b"), format!("\\{digits}  a\\nb"), format!("{digits} *a")] {
            assert_eq!(digest(line.as_bytes()).map(|digest| digest[0]), Some(0x9f), "{line}");
        }
        for line in ["", "-", "9f86", "sha256sum: a: Permission denied"] {
            assert_eq!(digest(line.as_bytes()), None, "{line}");
        }
    }
}
