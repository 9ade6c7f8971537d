//! Files go through the bridge and stay what they are; what goes wrong on the way leaves the session in step.

use super::local::{Program, block_on, find, shells};
use crate::sftp::{Attributes, ByteSource, Handle, OpenMode, Piece, Sftp, Status};
use bytes::Bytes;
use std::collections::VecDeque;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Bytes that look like nothing, with lines that look like requests.
fn content(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let mut bytes: Vec<u8> = (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        })
        .collect();
    for line in bytes.chunks_mut(1000) {
        let told = b"\ntouch told; exit\n";
        let count = told.len().min(line.len());
        line[..count].copy_from_slice(&told[..count]);
    }
    bytes.into()
}

async fn create(sftp: &Sftp, name: &str) -> Handle {
    sftp.open(name.as_bytes(), OpenMode::CreateNew, &Attributes::default()).await.unwrap().get().await.unwrap()
}

/// Writes pieces in this order, all of them in flight.
async fn write(sftp: &Sftp, handle: &Handle, bytes: &Bytes, size: usize, order: impl Iterator<Item = usize>) {
    let mut answers = Vec::new();
    for index in order {
        let (start, end) = (index * size, bytes.len().min((index + 1) * size));
        answers.push(sftp.write(handle, start as u64, bytes.slice(start..end)).await.unwrap());
    }
    for answer in answers {
        answer.get().await.unwrap();
    }
}

async fn read(sftp: &Sftp, handle: &Handle, length: usize, size: u32) -> Vec<u8> {
    let mut answers = VecDeque::new();
    for offset in (0..length as u64).step_by(size as usize) {
        answers.push_back(sftp.read(handle, offset, size).await.unwrap());
    }
    let mut found = Vec::new();
    for answer in answers {
        found.extend(answer.get().await.unwrap().unwrap().concat());
    }
    found
}

#[test]
fn content_survives_both_ways_in_every_shell() {
    let made_up = TempDir::new().unwrap();
    let bytes = content(1_000_003);
    for program in shells(&made_up) {
        let place = TempDir::new().unwrap();
        block_on(async {
            let sftp = program.session(place.path()).await.unwrap();
            let size = sftp.limits().await.unwrap().write as usize;
            let count = bytes.len().div_ceil(size);
            let orders: [(&str, Vec<usize>); 2] =
                [("forward", (0..count).collect()), ("back", (0..count).rev().collect())];
            for (name, order) in orders {
                let handle = create(&sftp, name).await;
                write(&sftp, &handle, &bytes, size, order.into_iter()).await;
                assert_eq!(std::fs::read(place.path().join(name)).unwrap(), bytes, "{}: {name}", program.name);
                for size in [100_000, 131_072, 33_333] {
                    assert_eq!(read(&sftp, &handle, bytes.len(), size).await, bytes, "{}: by {size}", program.name);
                }
                sftp.close(&handle).await.unwrap().get().await.unwrap();
            }
            assert!(!place.path().join("told").exists(), "{}", program.name);
        });
    }
}

/// A `dd` that knows nothing beyond POSIX, in front of the real one.
fn plain_dd(made_up: &Path) -> Option<Program> {
    let (dd, sh) = (find("dd")?, find("dash")?);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *flag=*) echo unknown operand >&2; exit 1 ;; esac\nexec {} \"$@\"\n",
        dd.display()
    );
    for name in ["cat", "chmod", "ls", "mv", "rm", "stat", "touch"] {
        symlink(find(name)?, made_up.join(name)).unwrap();
    }
    std::fs::write(made_up.join("dd"), script).unwrap();
    std::fs::set_permissions(made_up.join("dd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Some(Program::new("plain dd", &[sh.to_str().unwrap()]).with_path(made_up))
}

#[test]
fn a_dd_of_posix_is_enough() {
    let (made_up, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(program) = plain_dd(made_up.path()) else { return };
    let bytes = content(100_000);
    block_on(async {
        let sftp = program.session(place.path()).await.unwrap();
        assert!(!sftp.features().copy_data && !sftp.features().fsync && !sftp.features().statvfs);
        let handle = create(&sftp, "file").await;
        write(&sftp, &handle, &bytes, 30_000, [0, 1, 3, 2].into_iter()).await;
        assert_eq!(read(&sftp, &handle, bytes.len(), 50_000).await, bytes);
        assert_eq!(std::fs::read(place.path().join("file")).unwrap(), bytes);
    });
}

#[test]
fn a_write_that_fails_leaves_no_data_behind_as_commands() {
    let (made_up, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let limited = |name: &str, shell: &str| {
        Program::new(name, &["/bin/sh", "-c", &format!("trap '' XFSZ; ulimit -f 128; exec {shell}")])
    };
    let mut programs = vec![limited("sh", "/bin/sh")];
    if let Some(plain) = plain_dd(made_up.path()) {
        programs.push(limited("plain dd", find("dash").unwrap().to_str().unwrap()).with_path(made_up.path()));
        drop(plain);
    }
    for program in programs {
        // 64 KiB in blocks of 512 bytes.
        let bytes = content(200_000);
        block_on(async {
            let sftp = program.session(place.path()).await.unwrap();
            let handle = create(&sftp, &program.name).await;
            let mut answers = Vec::new();
            for start in (0..bytes.len()).step_by(20_000) {
                answers.push(sftp.write(&handle, start as u64, bytes.slice(start..start + 20_000)).await.unwrap());
            }
            let listed = sftp.lstat(program.name.as_bytes()).await.unwrap();
            for (index, answer) in answers.into_iter().enumerate() {
                let answer = answer.get().await;
                assert_eq!(answer.is_ok(), index < 3, "{}: {index} {answer:?}", program.name);
                if let Err(error) = answer {
                    assert_eq!(error.status(), Some(Status::Failure));
                    assert!(error.to_string().contains("File too large"), "{error}");
                }
            }
            assert_eq!(listed.get().await.unwrap().size, Some(65_536), "{}", program.name);
            // The session is in step, and the place in the file is found again.
            sftp.write(&handle, 0, Bytes::from_static(b"again")).await.unwrap().get().await.unwrap();
            let found = std::fs::read(place.path().join(&program.name)).unwrap();
            assert!(found[..5] == b"again"[..] && found[5..] == bytes[5..65_536], "{}", program.name);
            assert!(!place.path().join("told").exists(), "{}", program.name);
        });
    }
}

#[test]
fn six_files_are_open_at_once_and_the_seventh_is_refused() {
    let place = TempDir::new().unwrap();
    block_on(async {
        let sftp = Program::new("sh", &["/bin/sh"]).session(place.path()).await.unwrap();
        assert_eq!(sftp.limits().await.unwrap().handles, 6);
        let mut handles = Vec::new();
        for index in 0..6 {
            handles.push(create(&sftp, &index.to_string()).await);
        }
        let many = sftp.open(b"more", OpenMode::CreateNew, &Attributes::default()).await.unwrap().get().await;
        assert_eq!(many.unwrap_err().status(), Some(Status::Failure));
        for handle in handles.drain(..) {
            let (written, closed) =
                (sftp.write(&handle, 0, Bytes::from_static(b"x")).await.unwrap(), sftp.close(&handle).await.unwrap());
            written.get().await.unwrap();
            closed.get().await.unwrap();
            // What is closed is closed, also when its descriptor is another file's.
            let next = create(&sftp, "next").await;
            let late = sftp.write(&handle, 0, Bytes::from_static(b"late")).await.unwrap().get().await;
            assert_eq!(late.unwrap_err().status(), Some(Status::Failure));
            sftp.close(&next).await.unwrap().get().await.unwrap();
            assert_eq!(std::fs::read(place.path().join("next")).unwrap(), b"");
            sftp.remove(b"next").await.unwrap().get().await.unwrap();
        }
    });
}

#[test]
fn an_open_file_stays_itself_when_its_name_is_taken_by_another() {
    let place = TempDir::new().unwrap();
    block_on(async {
        let sftp = Program::new("sh", &["/bin/sh"]).session(place.path()).await.unwrap();
        let handle = create(&sftp, "file").await;
        std::fs::write(place.path().join("victim"), "untouched").unwrap();
        std::fs::rename(place.path().join("file"), place.path().join("kept")).unwrap();
        symlink("victim", place.path().join("file")).unwrap();
        let mode = Attributes { mode: Some(0o777), size: Some(10), ..Attributes::default() };
        write(&sftp, &handle, &Bytes::from_static(b"0123456789ab"), 4, [0, 2, 1].into_iter()).await;
        sftp.fsetstat(&handle, &mode).await.unwrap().get().await.unwrap();
        sftp.fsync(&handle).await.unwrap().get().await.unwrap();
        assert_eq!(read(&sftp, &handle, 10, 10).await, b"0123456789");
        assert_eq!(std::fs::read(place.path().join("kept")).unwrap(), b"0123456789");
        assert_eq!(std::fs::read(place.path().join("victim")).unwrap(), b"untouched");
        let known = std::fs::metadata(place.path().join("victim")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&known.permissions()) & 0o111, 0);
    });
}

#[test]
fn thousands_of_names_are_listed_whole() {
    let made_up = TempDir::new().unwrap();
    for program in shells(&made_up) {
        let place = TempDir::new().unwrap();
        for index in 0..650 {
            std::fs::write(place.path().join(format!("{}{index}", ["", ".", "..", "-"][index % 4])), "x").unwrap();
        }
        block_on(async {
            let sftp = program.session(place.path()).await.unwrap();
            let mut listing = sftp.list(b".").await.unwrap();
            let mut count = 0;
            while let Some(names) = listing.next().await.unwrap() {
                assert!(names.iter().all(|name| name.attributes.size == Some(1)), "{}", program.name);
                count += names.len();
            }
            listing.close().await.unwrap();
            assert_eq!(count, 650, "{}", program.name);
        });
    }
}

#[test]
fn a_host_without_readlink_tells_only_what_it_can_tell() {
    let (made_up, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(program) = plain_dd(made_up.path()) else { return };
    symlink("a b -> c", place.path().join("plain -> link")).unwrap();
    symlink("what?", place.path().join("odd")).unwrap();
    block_on(async {
        let sftp = program.session(place.path()).await.unwrap();
        let plain = sftp.read_link(b"plain -> link").await.unwrap().get().await.unwrap();
        assert_eq!(&plain[..], b"a b -> c");
        let odd = sftp.read_link(b"odd").await.unwrap().get().await.unwrap_err();
        assert!(odd.to_string().contains("readlink is missing"), "{odd}");
    });
}

/// A host that is so far away that whatever it prints comes late.
struct Late(mpsc::UnboundedReceiver<(Instant, Piece)>);

impl Late {
    fn behind(mut source: impl ByteSource, delay: Duration) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let piece = source.next().await;
                let is_last = matches!(piece, Piece::Ended(_));
                if sender.send((Instant::now() + delay, piece)).is_err() || is_last {
                    return;
                }
            }
        });
        Self(receiver)
    }
}

impl ByteSource for Late {
    async fn next(&mut self) -> Piece {
        let (due, piece) = self.0.recv().await.unwrap();
        sleep_until(due).await;
        piece
    }

    async fn close(self) {}
}

#[test]
fn a_long_way_costs_no_round_trip_a_request() {
    const DELAY: Duration = Duration::from_millis(200);
    let place = TempDir::new().unwrap();
    block_on(async {
        let (output, words) = Program::new("sh", &["/bin/sh"]).start(place.path());
        let (source, sink) = super::bridge(Late::behind(output, DELAY), words);
        let sftp = Sftp::start(source, sink).await.unwrap();
        let handle = create(&sftp, "file").await;
        let bytes = content(200_000);
        let begun = Instant::now();
        write(&sftp, &handle, &bytes, 10_000, 0..20).await;
        let found = read(&sftp, &handle, bytes.len(), 10_000).await;
        assert_eq!(found, bytes);
        // Forty requests in two rounds, however slow the machine is: one by one they would take eight seconds.
        assert!(begun.elapsed() < DELAY * 20, "{:?}", begun.elapsed());
    });
}
