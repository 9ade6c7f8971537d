//! Many hosts on a small machine, and output without an end.

use crate::bugle::{Bugle, Place, calls, server};
use crate::fleet::{Behaviour, Fleet, Reception};

/// What the process may allocate: the kernel refuses it more (RLIMIT_DATA counts all private writable memory).
const MEMORY: &str = "ulimit -d 80000";

#[test]
fn five_thousand_targets_finish_with_64_open_files() {
    let fleet = Fleet::light(1_000, 2);
    // The others share an address at which nobody is.
    let absent = Fleet::of([("nobody", Behaviour::receiving(Reception::Absent))]);
    let address = absent.host("nobody").address;
    let line = |number| format!("far{number:04} ansible_host={} ansible_port={}\n", address.ip(), address.port());
    let place = Place::new();
    let inventory = place.file("others", (1..=4_000).map(line).collect::<String>());
    let answer = Bugle::on(&fleet)
        .at(&place)
        .redact(&address.port().to_string(), "<far>")
        .after("ulimit -n 64")
        .arg("-i")
        .arg(inventory)
        .args(["run", "all", "--output", "group", "echo hello"])
        .run();
    answer.is(
        3,
        "---------------\nhost[00001-01000] (1000)\n---------------\nLinux 6.1.0\nhello from a light fleet\n",
        "far[0001-4000] (4000): tcp.refused: connection refused on port <far>\n\
         hint: is sshd running there, and on that port? -v shows the address\n\
         5000 hosts in <time>: 1000 ok, 4000 unreachable\n",
    );
    assert_eq!(calls(&fleet), 1_000, "each was called once");
}

#[test]
fn a_window_that_the_open_files_do_not_allow_is_told() {
    let fleet = Fleet::start(1);
    let answer =
        Bugle::on(&fleet).after("ulimit -n 64").args(["run", "web01", "-v", "-f", "100", "true"]).run().exited(0);
    answer.told("note: 16 hosts at once instead of 100: a process may have 64 files open here (`ulimit -n`)\n");
    // A soft limit is raised.
    let answer =
        Bugle::on(&fleet).after("ulimit -Sn 64").args(["run", "web01", "-v", "-f", "100", "true"]).run().exited(0);
    assert!(!answer.stderr.contains("note:"), "{}", answer.stderr);
}

#[test]
fn output_without_an_end_takes_no_memory() {
    let Some(sshd) = server() else { return };
    // Less of it where this build, which is not optimised, is slow; far more than the limit anyhow, but for JSON, which
    // is six times as long.
    let cases: [(&str, u64); 5] =
        [("none", 1 << 30), ("raw", 1 << 30), ("group", 1 << 28), ("stream", 1 << 28), ("json", 1 << 25)];
    for (mode, size) in cases {
        let place = Place::new();
        let answer = Bugle::on_daemon(&sshd, ["host"])
            .at(&place)
            .after(MEMORY)
            .after("{ \"$0\" \"$@\"; echo $? >code; } | wc -c; exit 0")
            .args(["run", "host", "-q", "--output", mode])
            .arg(format!("head -c {size} /dev/zero"))
            .run()
            .exited(0)
            .talked("");
        assert_eq!(place.read("code"), "0\n", "{mode}");
        let count: u64 = answer.stdout.trim().parse().expect("wc counts");
        match mode {
            "none" => assert_eq!(count, 0),
            // A zero is six characters there.
            "json" => assert!(count > 6 * size, "{count} bytes"),
            _ => assert!(count >= size && count < size + 10_000, "{mode}: {count} bytes"),
        }
    }
}

#[test]
fn the_limit_of_memory_is_one() {
    // A process that takes more is refused: the test above says something.
    let answer =
        Bugle::alone().after(MEMORY).after("head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null; exit $?").run();
    assert_ne!(answer.code(), 0);
}
