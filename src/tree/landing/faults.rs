//! Full disks, killed runs, and runs beside each other: what has a final name is whole.

use super::tests::*;
use super::*;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// What tells a test that it runs as a child of itself, and where.
const CHILD: &str = "BUGLE_LANDING_CHILD";

fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This test once more, in a process of its own, behind `before` arguments.
fn child(test: &str, directory: &Path, before: &[&str]) -> Command {
    let myself = std::env::current_exe().unwrap();
    let mut command = match before {
        [] => Command::new(myself),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(myself);
            command
        }
    };
    let name = format!("tree::landing::faults::{test}");
    command.args([&name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, directory);
    command
}

/// A child that found no test to run would end well too.
fn assert_passed(child: &Output) {
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&child.stderr));
}

/// The content of a version: its own number, again and again.
fn version(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(9000)
}

fn begin(state: &Path) -> Arc<RunLock> {
    Arc::new(RunLock::acquire_in(Some(state.into())).unwrap())
}

/// Writes version after version, and tells of every step, until somebody ends it.
fn write_for_ever(directory: &Path) -> io::Result<()> {
    let lock = begin(&directory.join("state"));
    let landing = Landing::open(&directory.join("out"), BY_HOST, lock).map_err(io::Error::other)?;
    let place = landing.place(&host("h"));
    let mut number = 0;
    let step = || writeln!(io::stdout(), "step");
    loop {
        number += 1;
        let content = version(number);
        let incoming = place.incoming(&path("victim"), Holes::Fill).map_err(io::Error::other)?;
        step()?;
        for (index, chunk) in content.chunks(20_000).enumerate() {
            incoming.write_at(index as u64 * 20_000, &[chunk]).map_err(io::Error::other)?;
            step()?;
        }
        incoming.finish(content.len() as u64, &PLAIN).map_err(io::Error::other)?;
        place.symlink(&path("link"), &number.to_le_bytes().map(|byte| byte | 1), &PLAIN).map_err(io::Error::other)?;
        step()?;
    }
}

#[test]
fn a_run_that_is_killed_anywhere_leaves_whole_files_and_the_next_one_clears_up() {
    if let Some(directory) = child_directory() {
        write_for_ever(&directory).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (out, state) = (directory.path().join("out"), directory.path().join("state"));
    let mut half_written = 0;
    for round in 0..16 {
        let test = "a_run_that_is_killed_anywhere_leaves_whole_files_and_the_next_one_clears_up";
        let mut writer = child(test, directory.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        // A point that moves over all the steps, and within each by what the machine does meanwhile.
        let steps = 3 + round * 7 % 23;
        assert_eq!(lines.by_ref().filter(|line| line.ends_with("step")).take(steps).count(), steps);
        writer.kill().unwrap();
        writer.wait().unwrap();
        // Until here somebody listened, so that it did not end by itself.
        drop(lines);
        if let Ok(content) = fs::read(out.join("h/victim")) {
            assert_eq!(content, version(u64::from_le_bytes(content[..8].try_into().unwrap())), "a whole version");
        }
        half_written += temporary_names(&out);
        let landing = Landing::open(&out, BY_HOST, begin(&state)).unwrap();
        put(&landing.place(&host("h")), "other", b"x").unwrap();
        assert_eq!(temporary_names(&out), 0, "{:?}", names(&out));
    }
    assert!(half_written > 0, "some were killed while they wrote");
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let (content, half) = (version(1), 40_000);
    let length = content.len() as u64;
    if let Some(directory) = child_directory() {
        let landing = Landing::open(&directory.join("out"), BY_HOST, begin(&directory.join("state"))).unwrap();
        let incoming = landing.place(&host("h")).incoming(&path("victim"), Holes::Fill).unwrap();
        incoming.write_at(0, &[&content[..half]]).unwrap();
        writeln!(io::stdout(), "step").unwrap();
        // Until it is killed.
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut writer = child("a_run_that_was_killed_is_gone_on_with", directory.path(), &[]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert_eq!(lines.map_while(Result::ok).filter(|line| line.ends_with("step")).take(1).count(), 1);
    let resume = || {
        let options = LandingOptions { half_written: HalfWritten::Keep, ..BY_HOST };
        let landing = Landing::open(&out, options, begin(&directory.path().join("state"))).unwrap();
        landing.place(&host("h")).resume(&path("victim"), length, Holes::Fill).unwrap()
    };
    // What the other one writes while it lives is left alone.
    assert_eq!(resume().kept(), 0);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let mut incoming = resume();
    assert_eq!(incoming.kept(), half as u64);
    incoming.go_on_from(half as u64).unwrap();
    incoming.write_at(half as u64, &[&content[half..]]).unwrap();
    incoming.finish(length, &PLAIN).unwrap();
    assert_eq!(fs::read(out.join("h/victim")).unwrap(), content);
    assert_eq!(temporary_names(&out), 0);
}

#[test]
fn two_runs_that_write_the_same_file_leave_one_of_both() {
    let directory = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let (out, state) = (directory.path(), state.path());
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            scope.spawn(move || {
                for round in 0..20 {
                    let landing = Landing::open(out, BY_HOST, begin(state)).unwrap();
                    let place = landing.place(&host("h"));
                    put(&place, "d/f", &version(writer * 1000 + round)).unwrap();
                    place.symlink(&path("d/s"), format!("{writer}").as_bytes(), &PLAIN).unwrap();
                    assert!(place.settle().is_empty());
                    landing.settle().unwrap();
                    let content = fs::read(out.join("h/d/f")).unwrap();
                    let number = u64::from_le_bytes(content[..8].try_into().unwrap());
                    assert_eq!(content, version(number));
                }
            });
        }
    });
    assert_eq!(names(out), [&b"d"[..], b"f", b"h", b"s"]);
}

#[test]
fn one_run_that_gets_a_name_twice_at_once_writes_both() {
    let directory = tempfile::tempdir().unwrap();
    let place = landing(directory.path(), BY_HOST).place(&host("h"));
    let all: Vec<_> = (0..3).map(|_| place.incoming(&path("f"), Holes::Fill).unwrap()).collect();
    assert_eq!(temporary_names(directory.path()), 3);
    for (index, incoming) in all.into_iter().enumerate() {
        incoming.write_at(0, &[&[b'0' + index as u8]]).unwrap();
        incoming.finish(1, &PLAIN).unwrap();
    }
    assert_eq!(fs::read_to_string(directory.path().join("h/f")).unwrap(), "2");
    assert_eq!(temporary_names(directory.path()), 0);
}

/// A small file system of its own.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where nothing may be mounted.
    fn mount(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        match disk.run(&["mount", "-t", "tmpfs", "-o", options, "tmpfs"]) {
            true => Some(disk),
            false => {
                eprintln!("skipped: no file system can be mounted");
                None
            }
        }
    }

    fn run(&self, command: &[&str]) -> bool {
        let command = Command::new(command[0]).args(&command[1..]).arg(self.0.path()).output();
        command.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run(&["umount", "-l"]);
    }
}

#[test]
fn a_full_disk_fails_the_file_says_so_and_keeps_the_old_one() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let landing = landing(disk.0.path(), BY_HOST);
    let place = landing.place(&host("h"));
    put(&place, "f", &[b'o'; 300_000]).unwrap();
    for chunk in [1000, 4096, 100_000, 2_000_000] {
        let incoming = place.incoming(&path("f"), Holes::Fill).unwrap();
        let content = vec![b'n'; 2_000_000];
        let failed = content
            .chunks(chunk)
            .enumerate()
            .find_map(|(index, bytes)| incoming.write_at((index * chunk) as u64, &[bytes]).err())
            .expect("the disk is full");
        assert!(failed.to_string().starts_with("cannot write to `"), "{failed}");
        assert!(failed.to_string().ends_with("/h/f`"), "{failed}");
        assert!(failed.hint().is_some_and(|hint| hint.contains("full")), "{failed:?}");
        assert!(incoming.finish(2_000_000, &PLAIN).is_err(), "half a file is not finished");
        assert_eq!(fs::read(disk.0.path().join("h/f")).unwrap(), [b'o'; 300_000]);
        assert_eq!(temporary_names(disk.0.path()), 0);
    }
    // What is removed gives its space back.
    put(&place, "f", &[b'n'; 600_000]).unwrap();
    assert!(place.settle().is_empty());
}

#[test]
fn a_disk_without_room_for_names_says_so() {
    let Some(disk) = SmallDisk::mount("size=1m,nr_inodes=6") else { return };
    let place = landing(disk.0.path(), BY_HOST).place(&host("h"));
    let failed = (0..6).find_map(|number| put(&place, &format!("f{number}"), b"").err()).expect("the disk is full");
    assert!(failed.hint().is_some_and(|hint| hint.contains("df -i")), "{failed:?}");
    let failed = place.directory(&path("d"), &PLAIN).unwrap_err();
    assert!(failed.hint().is_some_and(|hint| hint.contains("df -i")), "{failed:?}");
    let failed = place.symlink(&path("s"), b"x", &PLAIN).unwrap_err();
    assert!(failed.hint().is_some_and(|hint| hint.contains("df -i")), "{failed:?}");
}

#[test]
fn a_read_only_disk_says_so_and_hinders_nobody_from_looking() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    put(&landing(disk.0.path(), BY_HOST).place(&host("h")), "f", b"x").unwrap();
    assert!(disk.run(&["mount", "-o", "remount,ro"]));
    let place = landing(disk.0.path(), BY_HOST).place(&host("h"));
    assert!(place.is_unchanged(&path("f"), 1, 1).unwrap());
    for failed in [
        put(&place, "f", b"y").unwrap_err(),
        place.directory(&path("d"), &PLAIN).unwrap_err(),
        place.symlink(&path("s"), b"x", &PLAIN).unwrap_err(),
        place.link(&path("f"), &path("g")).unwrap_err(),
        put(&landing(disk.0.path(), BY_HOST).place(&host("new")), "f", b"y").unwrap_err(),
        Landing::open(&disk.0.path().join("new"), BY_HOST, run()).unwrap_err(),
    ] {
        assert!(failed.hint().is_some_and(|hint| hint.contains("read-only")), "{failed:?}");
    }
    assert_eq!(fs::read_to_string(disk.0.path().join("h/f")).unwrap(), "x");
}

#[test]
fn a_limit_on_the_length_of_files_says_so() {
    let test = "a_limit_on_the_length_of_files_says_so";
    if let Some(directory) = child_directory() {
        let place = landing(&directory, BY_HOST).place(&host("h"));
        let incoming = place.incoming(&path("f"), Holes::Fill).unwrap();
        let failed = incoming.write_at(0, &[&[1; 100_000]]).unwrap_err();
        assert!(failed.hint().is_some_and(|hint| hint.contains("ulimit -f")), "{failed:?}");
        drop(incoming);
        assert_eq!(temporary_names(&directory), 0);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // The signal that comes with the error is for programs that do not look at errors.
    let shell = ["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"];
    let ended = child(test, directory.path(), &shell).output().unwrap();
    assert_passed(&ended);
}

#[test]
fn a_user_who_is_not_root_fills_directories_that_may_not_be_written() {
    let test = "a_user_who_is_not_root_fills_directories_that_may_not_be_written";
    if let Some(directory) = child_directory() {
        let closed = Attributes { mode: Some(0o500), preserve: true, ..PLAIN };
        for round in 0..2 {
            let place = landing(&directory, BY_HOST).place(&host("h"));
            place.directory(&path("d"), &closed).unwrap();
            place.directory(&path("d/e"), &closed).unwrap();
            put(&place, &format!("d/e/{round}"), b"x").unwrap();
            put(&place, &format!("d/{round}"), b"x").unwrap();
            assert!(place.settle().is_empty());
            assert_eq!(fs::metadata(directory.join("h/d/e")).unwrap().mode() & 0o7777, 0o500);
        }
        // A directory that hides what is in it is closed after that.
        let hidden = Attributes { mode: Some(0), ..closed };
        let place = landing(&directory, BY_HOST).place(&host("h"));
        place.directory(&path("hidden"), &hidden).unwrap();
        place.directory(&path("hidden/d"), &closed).unwrap();
        put(&place, "hidden/d/f", b"x").unwrap();
        let problems = place.settle();
        assert!(problems.is_empty(), "{problems:?}");
        // And where nothing may be done about it, it says so.
        let place = landing(&directory, BY_HOST).place(&host("h"));
        let failed = put(&place, "d/f", b"x").unwrap_err();
        assert!(failed.hint().is_some_and(|hint| hint.contains("must be allowed to write")), "{failed:?}");
        for closed in ["d", "d/e", "hidden", "hidden/d"] {
            // So that the test's directory can be removed.
            fs::set_permissions(directory.join("h").join(closed), fs::Permissions::from_mode(0o700)).unwrap();
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = child(test, directory.path(), &[]);
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65534;
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        child.uid(NOBODY).gid(NOBODY);
    }
    match child.current_dir("/").output() {
        Ok(ended) => assert_passed(&ended),
        Err(error) => eprintln!("skipped: another user cannot run this program: {error}"),
    }
}
