//! Hosts that print what nobody asked for, that die, that are silent, and that try to be believed.

use super::bridge;
use super::local::{Program, block_on, find};
use crate::sftp::{Attributes, ByteSink, ByteSource, OpenMode, Piece, Sftp, SftpError};
use bytes::Bytes;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// A shell behind a script, such as a login script.
fn after(script: &str) -> Program {
    Program::new(script, &["/bin/sh", "-c", &format!("{script}\nexec /bin/sh")])
}

#[test]
fn what_is_printed_before_the_shell_is_no_answer() {
    for noise in [
        "echo welcome to this machine",
        "printf 'no newline'",
        "printf '\\000\\000\\000\\005\\002\\000\\000\\000\\003'",
        "echo '0123456789abcdef0123456789abcdef 0 0022'",
        "dd if=/dev/urandom bs=1000 count=100 2>/dev/null",
        "echo trouble >&2",
        "export LC_ALL=de_DE.UTF-8 CDPATH=/usr IFS=/ POSIXLY_CORRECT=1 QUOTING_STYLE=shell GLOBIGNORE='*'",
        "umask 777",
    ] {
        let place = TempDir::new().unwrap();
        std::fs::write(place.path().join("file"), "content").unwrap();
        block_on(async {
            let sftp = after(noise).session(place.path()).await.unwrap_or_else(|error| panic!("{noise}: {error}"));
            let known = sftp.lstat(b"file").await.unwrap().get().await.unwrap();
            assert_eq!(known.size, Some(7), "{noise}");
            let mut listing = sftp.list(b".").await.unwrap();
            assert_eq!(&listing.next().await.unwrap().unwrap()[0].name[..], b"file", "{noise}");
        });
    }
}

#[test]
fn a_host_without_a_shell_says_what_it_prints_instead() {
    for (program, expected) in [
        (Program::new("cat", &["cat"]), "does not run what its shell is told"),
        (
            Program::new("echo", &["/bin/sh", "-c", "echo This account is not available."]),
            "This account is not available.",
        ),
        (Program::new("false", &["false"]), "ended with"),
        (Program::new("stderr", &["/bin/sh", "-c", "echo no such thing >&2; exit 127"]), "no such thing"),
        (Program::new("yes", &["yes"]), "without end where its shell should answer: `y`"),
    ] {
        let place = TempDir::new().unwrap();
        block_on(async {
            // Its input ends after the first request: what only echoes it has an end then.
            let (output, words) = program.start(place.path());
            let words = Once(Some(words));
            let (source, sink) = bridge(output, words);
            let Err(error) = Sftp::start(source, sink).await else { panic!("{} is no server", program.name) };
            assert!(error.to_string().contains(expected), "{}: {error}", program.name);
            assert!(matches!(error, SftpError::Unavailable(_)), "{error:?}");
        });
    }
}

/// Takes one piece and ends.
struct Once<S>(Option<S>);

impl<S: ByteSink> ByteSink for Once<S> {
    async fn send(&mut self, bytes: Bytes) -> bool {
        match self.0.take() {
            Some(mut sink) => sink.send(bytes).await,
            None => false,
        }
    }

    async fn finish(&mut self) {
        self.0 = None;
    }
}

#[test]
fn a_shell_that_dies_while_it_writes_leaves_the_old_file() {
    for dies_at in [1, 3, 7] {
        let place = TempDir::new().unwrap();
        std::fs::write(place.path().join("file"), "old").unwrap();
        block_on(async {
            // Dies at the given write, in front of its data or in the middle of it.
            let script = format!(
                "cat >\"$0\"/dd <<'end'\n#!/bin/sh\ncase \"$*\" in bs=20000*fullblock) echo x >>{place}/.count; \
                 if [ $(wc -l <{place}/.count) -gt {dies_at} ]; then head -c 10000; kill -9 $PPID; exit 1; fi ;; esac\n\
                 exec {dd} \"$@\"\nend\nchmod 755 \"$0\"/dd; PATH=\"$0\":$PATH; export PATH; exec /bin/sh",
                place = place.path().display(),
                dd = find("dd").unwrap().display(),
            );
            let tools = TempDir::new().unwrap();
            let program = Program::new("dies", &["/bin/sh", "-c", &script, tools.path().to_str().unwrap()]);
            let sftp = program.session(place.path()).await.unwrap();
            let private = Attributes { mode: Some(0o600), ..Attributes::default() };
            let handle = sftp.open(b".temporary", OpenMode::CreateNew, &private).await.unwrap().get().await.unwrap();
            let mut answers = Vec::new();
            for index in 0..10 {
                let Ok(answer) = sftp.write(&handle, index * 20_000, Bytes::from(vec![7; 20_000])).await else { break };
                answers.push(answer);
            }
            let replaced = sftp.posix_rename(b".temporary", b"file").await;
            let mut failures = Vec::new();
            for answer in answers {
                failures.extend(answer.get().await.err());
            }
            if let Ok(replaced) = replaced {
                failures.push(replaced.get().await.unwrap_err());
            }
            assert!(!failures.is_empty());
            assert!(failures.iter().all(|error| matches!(error, SftpError::Lost(_))), "{failures:?}");
            assert!(failures.last().unwrap().to_string().contains("ended"), "{failures:?}");
        });
        assert_eq!(std::fs::read(place.path().join("file")).unwrap(), b"old");
        let mode = std::fs::metadata(place.path().join(".temporary")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut names: Vec<_> =
            std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        assert_eq!(names, [".count", ".temporary", "file"]);
    }
}

/// Puts a line between what is sent, once something was written.
struct Meddling<S>(S);

impl<S: ByteSink> ByteSink for Meddling<S> {
    async fn send(&mut self, bytes: Bytes) -> bool {
        let told = bytes.windows(5).any(|window| window == b"put 4");
        self.0.send(bytes).await && (!told || self.0.send(Bytes::from_static(b"x token=y; : >told\n: >told\n")).await)
    }

    async fn finish(&mut self) {
        self.0.finish().await;
    }
}

#[test]
fn a_line_without_the_secret_is_never_a_command() {
    let place = TempDir::new().unwrap();
    block_on(async {
        let (output, words) = Program::new("sh", &["/bin/sh"]).start(place.path());
        let (source, sink) = bridge(output, Meddling(words));
        let sftp = Sftp::start(source, sink).await.unwrap();
        let handle =
            sftp.open(b"file", OpenMode::CreateNew, &Attributes::default()).await.unwrap().get().await.unwrap();
        sftp.write(&handle, 0, Bytes::from_static(b"data")).await.unwrap().get().await.unwrap();
        let error = match sftp.close(&handle).await {
            Ok(answer) => answer.get().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(&error, SftpError::Lost(why) if why.contains("ended")), "{error:?}");
    });
    assert!(!place.path().join("told").exists());
}

/// A host that prints what the test says.
struct Scripted(mpsc::UnboundedReceiver<Piece>);

impl ByteSource for Scripted {
    async fn next(&mut self) -> Piece {
        match self.0.recv().await {
            Some(piece) => piece,
            None => std::future::pending().await,
        }
    }

    async fn close(self) {}
}

/// What such a host is told.
struct Told(mpsc::UnboundedSender<String>);

impl ByteSink for Told {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.0.send(String::from_utf8_lossy(&bytes).into_owned()).is_ok()
    }

    async fn finish(&mut self) {}
}

/// The token that a line names.
fn token(text: &str) -> &str {
    &text.split_once("token=").unwrap().1[..32]
}

/// A session with a host that has greeted, what it is told, and how it answers.
async fn greeted() -> (Sftp, mpsc::UnboundedReceiver<String>, mpsc::UnboundedSender<Piece>) {
    let ((prints, printed), (told, mut hears)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let (source, sink) = bridge(Scripted(printed), Told(told));
    let answer = async {
        let beginning: String = hears.recv().await.unwrap();
        prints.send(Piece::Data(format!("{} 0 0022 sync\n", token(&beginning)).into())).unwrap();
    };
    let (sftp, ()) = tokio::join!(Sftp::start(source, sink), answer);
    (sftp.unwrap(), hears, prints)
}

#[tokio::test]
async fn garbage_in_the_place_of_an_answer_ends_the_session() {
    for (garbage, expected) in [
        ("T\n", "garbles its answers"),
        ("T zero\n", "garbles its answers"),
        ("T 0\nmore\n", "prints `more` where nothing was asked"),
        ("LONG", "more than an answer can hold"),
    ] {
        let (sftp, mut hears, prints) = greeted().await;
        let asked = sftp.lstat(b"x").await.unwrap();
        let line = hears.recv().await.unwrap();
        let garbage = garbage.replace('T', token(&line)).replace("LONG", &"x".repeat(100_000));
        prints.send(Piece::Data(garbage.into())).unwrap();
        let mut error = asked.get().await.unwrap_err();
        if matches!(error, SftpError::Refused(..)) {
            // That answer was one; it is the rest that is not.
            error = match sftp.lstat(b"y").await {
                Ok(answer) => answer.get().await.unwrap_err(),
                Err(error) => error,
            };
        }
        assert!(matches!(&error, SftpError::Lost(why) if why.contains(expected)), "{error:?}");
    }
}

#[tokio::test]
async fn answers_in_strange_words_fail_their_request_and_no_other() {
    let (sftp, mut hears, prints) = greeted().await;
    for answer in ["", "81a4\n", "-\n", "0 0 0 0 0 0 0 0\u{fffd}"] {
        let asked = sftp.lstat(b"x").await.unwrap();
        let line = hears.recv().await.unwrap();
        prints.send(Piece::Data(format!("{answer}{} 0\n", token(&line)).into())).unwrap();
        let got = asked.get().await;
        assert!(matches!(&got, Err(SftpError::Refused(..))) || answer.starts_with('0'), "{answer}: {got:?}");
    }
    let asked = sftp.open_dir(b"x").await.unwrap();
    let line = hears.recv().await.unwrap();
    prints.send(Piece::Data(format!("./a\0./b\0no end{} 0\n", token(&line)).into())).unwrap();
    assert!(matches!(asked.get().await, Err(SftpError::Refused(..))));
}

#[tokio::test]
async fn tokens_are_never_the_same_and_an_old_one_is_worth_nothing() {
    let (sftp, mut hears, prints) = greeted().await;
    let (first, second) = (sftp.lstat(b"a").await.unwrap(), sftp.lstat(b"b").await.unwrap());
    let mut lines = String::new();
    while lines.matches("look").count() < 2 {
        lines.push_str(&hears.recv().await.unwrap());
    }
    let tokens: Vec<&str> = lines.lines().map(token).collect();
    assert_ne!(tokens[0], tokens[1]);
    let forged = format!("81a4 1 0 0 1 1\n{} 0\n81a4 9 0 0 1 1\n{} 0\n", tokens[0], tokens[0]);
    prints.send(Piece::Data(forged.into())).unwrap();
    assert_eq!(first.get().await.unwrap().size, Some(1));
    prints.send(Piece::Data(format!("81a4 2 0 0 1 1\n{} 0\n", tokens[1]).into())).unwrap();
    // The forged lines stand in front of the real one, where only the first line is read.
    assert_ne!(second.get().await.map(|known| known.size), Ok(Some(2)));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session_and_idleness_does_not() {
    let (sftp, mut hears, prints) = greeted().await;
    // The clock of this test is its own: a day of it passes at once, with every timer that would end in it.
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    let asked = sftp.lstat(b"x").await.unwrap();
    let line = hears.recv().await.unwrap();
    prints.send(Piece::Data(format!("81a4 1 0 0 1 1\n{} 0\n", token(&line)).into())).unwrap();
    assert_eq!(asked.get().await.unwrap().size, Some(1));
    let begun = Instant::now();
    let error = sftp.lstat(b"x").await.unwrap().get().await.unwrap_err();
    assert!(matches!(&error, SftpError::Lost(why) if why.contains("said nothing for 5 minutes")), "{error:?}");
    assert!((290..=340).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_never_greets_is_given_up() {
    let ((_prints, printed), (told, _hears)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let (source, sink) = bridge(Scripted(printed), Told(told));
    let started = timeout(Duration::from_secs(400), Sftp::start(source, sink)).await.unwrap();
    assert!(matches!(started, Err(SftpError::Unavailable(why)) if why.contains("said nothing")));
}

#[test]
fn a_session_that_is_dropped_ends_its_shell() {
    let place = TempDir::new().unwrap();
    block_on(async {
        let (output, words) = Program::new("sh", &["/bin/sh"]).start(place.path());
        let (ended, mut end) = mpsc::unbounded_channel();
        let (source, sink) = bridge(Watched(output, ended), words);
        let sftp = Sftp::start(source, sink).await.unwrap();
        drop(sftp.lstat(b"x").await.unwrap());
        drop(sftp);
        let why: String = timeout(Duration::from_secs(60), end.recv()).await.unwrap().unwrap();
        assert!(why.contains("unix_wait_status(0)"), "{why}");
    });
}

/// Tells how its source ends.
struct Watched<S>(S, mpsc::UnboundedSender<String>);

impl<S: ByteSource> ByteSource for Watched<S> {
    async fn next(&mut self) -> Piece {
        let piece = self.0.next().await;
        if let Piece::Ended(why) = &piece {
            let _ = self.1.send(why.clone());
        }
        piece
    }

    async fn close(self) {
        self.0.close().await;
    }
}
