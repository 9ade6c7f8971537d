//! The table of exit codes, and ends that have nothing to do with hosts: a reader that goes away, a disk that is full.

use crate::bugle::{Bugle, Place, calls, server};
use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::{Behaviour, Fleet, Login, Reception};
use std::fs::File;

fn mixed_fleet() -> Fleet {
    Fleet::of([
        ("good", Behaviour::default()),
        ("absent", Behaviour::receiving(Reception::Absent)),
        ("closed", Behaviour::letting_in(Login::Nobody)),
    ])
}

#[test]
fn the_exit_code_says_how_the_run_went() {
    let fleet = mixed_fleet();
    for (code, arguments) in [
        (0, &["good", "--output", "stream", "true"][..]),
        (1, &["good", "--output", "stream", "exit 9"]),
        (1, &["all", "exit 9"]),
        (2, &["nobody-knows", "true"]),
        (2, &["all", "--fanout", "0", "true"]),
        (2, &["good", "-x", "good", "true"]),
        (3, &["all", "true"]),
        (3, &["absent", "--output", "stream", "true"]),
        (3, &["closed", "--output", "stream", "true"]),
        (4, &["all", "-f", "1", "--fail-fast", "true"]),
        (255, &["absent", "true"]),
        (255, &["all", "--exit", "remote", "true"]),
        (9, &["good", "exit 9"]),
    ] {
        let answer = Bugle::on(&fleet).arg("run").args(arguments).run();
        assert_eq!(answer.code(), code, "{arguments:?}\n{}", answer.stderr);
    }
}

#[test]
fn nobody_is_called_where_the_code_is_2() {
    let fleet = mixed_fleet();
    for arguments in
        [&["good", "--timeout", "x", "true"][..], &["good&absent", "true"], &["all", "--outdir", "/proc/none", "true"]]
    {
        Bugle::on(&fleet).arg("run").args(arguments).run().exited(2).said("");
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let Some(sshd) = server() else { return };
    for (targets, mode, first) in [("h1", "auto", "y\n"), ("h1,h2", "stream", "h1: y\n"), ("h1,h2", "json", "{")] {
        let place = Place::new();
        let answer = Bugle::on_daemon(&sshd, ["h1", "h2"])
            .at(&place)
            .after("{ \"$0\" \"$@\"; echo $? >code; } | head -n 1; exit 0")
            .args(["run", "-f", "1", targets, "--output", mode, "yes"])
            .run()
            .exited(0)
            .talked("");
        assert!(answer.stdout.starts_with(first), "{mode}: {}", answer.stdout);
        assert_eq!(place.read("code"), "0\n", "{mode}");
    }
    let place = Place::new();
    let inventory = place.file("hosts", "host[00001:20000]\n");
    let listing = Bugle::alone()
        .at(&place)
        .after("{ \"$0\" \"$@\"; echo $? >code; } | head -n 1; exit 0")
        .arg("-i")
        .arg(inventory);
    listing.args(["-F", "none", "hosts", "all"]).run().is(0, "host00001\n", "");
    assert_eq!(place.read("code"), "0\n");
}

#[test]
fn hosts_that_are_to_become_something_do_so_whether_anybody_reads_of_it_or_not() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let source = place.file("source", "content");
    for (destination, code) in [("there", "0\n"), ("absent/there", "1\n")] {
        let push = Bugle::on_daemon(&sshd, ["h1", "h2", "h3"]).at(&place);
        push.after("{ \"$0\" \"$@\"; echo $? >code; } | true; exit 0")
            .args(["push", "-f", "1", "--json", "events", "h1,h2,h3"])
            .arg(&source)
            .arg(place.path().join(destination))
            .run()
            .exited(0);
        assert_eq!(place.read("code"), code, "{destination}");
        assert!(place.read("events").contains("\"h3\""), "{destination}");
    }
    assert_eq!(place.read("there"), "content");
}

#[test]
fn a_full_disk_behind_standard_output_is_a_fault_that_says_so() {
    let fleet = Fleet::start(3);
    let full = || File::options().write(true).open("/dev/full").expect("the system has it");
    for mode in ["stream", "group", "raw", "json"] {
        let answer = Bugle::on(&fleet).args(["run", "all", "--output", mode, "echo x"]).run_into(full()).exited(5);
        answer.told("error: cannot write to stdout\ncaused by: No space left on device (os error 28)\n");
    }
    for arguments in [&["hosts", "all"][..], &["inventory", "--list"], &["config", "web01"], &["completions", "bash"]] {
        let answer = Bugle::on(&fleet).args(arguments).run_into(full());
        answer.is(5, "", "error: cannot write to stdout\ncaused by: No space left on device (os error 28)\n");
    }
    Bugle::alone().arg("--help").run_into(full()).exited(5);
}

#[test]
fn a_full_disk_behind_a_file_stops_the_run_and_names_the_file() {
    let fleet = Fleet::start(1);
    let run = |arguments: &[&str]| {
        let bugle = Bugle::on(&fleet)
            .with_own_mounts()?
            .after("mkdir small && mount -t tmpfs -o size=64k none small || exit 99");
        Some(bugle.args(["run", "web01", "--output", "none"]).args(arguments).run())
    };
    let flood = "head -c 1000000 /dev/zero | tr '\\0' x";
    for (option, target, named) in [
        ("--outdir", "small/out", "small/out/web01.out"),
        ("--json", "small/run.jsonl", "small/run.jsonl"),
        ("--junit", "/dev/full", "/dev/full"),
    ] {
        let Some(answer) = run(&[option, target, flood]) else { return };
        let answer = answer.exited(5).said("");
        answer.told(&format!("error: cannot write `{named}`\ncaused by: No space left on device (os error 28)\n"));
    }
    Bugle::on(&fleet)
        .args(["run", "web01", "--json", "/dev/full", "echo x"])
        .run()
        .exited(5)
        .told("error: cannot write `/dev/full`\n");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_anybody_is_called() {
    let fleet = Fleet::start(1);
    for option in ["--json", "--junit"] {
        Bugle::on(&fleet).args(["run", "web01", option, "/nonexistent/file", "true"]).run().is(
            2,
            "",
            "error: cannot create `/nonexistent/file`\ncaused by: No such file or directory (os error 2)\n",
        );
    }
    Bugle::on(&fleet).args(["run", "web01", "--outdir", "/proc/none", "true"]).run().is(
        2,
        "",
        "error: cannot create `/proc/none`\ncaused by: No such file or directory (os error 2)\n",
    );
    assert_eq!(calls(&fleet), 0);
}

/// Sends this file to `wc -c` on hosts.
fn counting(fleet: &Fleet, hosts: &str, input: &str) -> Bugle {
    Bugle::on(fleet).after(&format!("exec <{input}")).args(["run", hosts, "--stdin", "wc -c; echo counted"])
}

#[test]
fn an_input_that_breaks_off_is_never_taken_for_a_shorter_one() {
    let fleet = Fleet::start(2);
    for hosts in ["web01", "web01,web02"] {
        let answer = counting(&fleet, hosts, "/").run().exited(5).said("");
        answer.told(
            "local.input: standard input could not be read to its end: Is a directory (os error 21); its process",
        );
    }
    let place = Place::new();
    place.file("input", "text");
    let nowhere = place.path().join("nowhere");
    let answer = counting(&fleet, "web01", "input").at(&place).env("TMPDIR", &nowhere).run().exited(5).said("");
    answer
        .told("could not be kept in a temporary file in `<home>/nowhere`")
        .told("hint: name a directory that is there in TMPDIR\n");
    let Some(disk) = Tmpfs::new(96 * 1024) else { return };
    for hosts in ["web01", "web01,web02"] {
        let place = Place::new();
        place.file("input", vec![b'x'; 1 << 20]);
        let call = counting(&fleet, hosts, "input").at(&place).env("TMPDIR", disk.path());
        let answer =
            call.run().exited(5).said("").told("local.input: standard input could not be kept in a temporary file");
        answer.told("No space left on device (os error 28)").told("hint: name a directory with more room in TMPDIR\n");
    }
}

#[test]
fn a_script_needs_no_room_on_this_machine() {
    let fleet = Fleet::start(1);
    let Some(disk) = Tmpfs::new(8 * 1024) else { return };
    let place = Place::new();
    let script = place.file("job.sh", format!("# {}\necho done\n", "long ".repeat(10_000)));
    let call = Bugle::on(&fleet).at(&place).env("TMPDIR", disk.path()).args(["script", "web01"]).arg(script);
    // The host has room of its own.
    call.args(["-o", "SetEnv=TMPDIR=/tmp"]).run().is(0, "done\n", "");
}
