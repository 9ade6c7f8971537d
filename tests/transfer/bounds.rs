//! What a push takes of this machine and of the hosts does not grow with the files and the fleet.

use crate::bugle::{Answer, Bugle, Place, Running};
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::{Behaviour, Cut, Fleet};
use crate::scene::{Scene, noise, pick, wait};
use rustix::process::Signal;
use std::fs;
use std::sync::mpsc;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// The most that a process ever had.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    /// Memory in KiB (`VmHWM`).
    memory: u64,
    /// Open files.
    files: usize,
}

/// Watches a call to its end.
fn watched(running: Running) -> (Answer, Most) {
    let process = format!("/proc/{}", running.id());
    let (done, over) = mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || {
        let mut most = Most::default();
        while matches!(over.recv_timeout(Duration::from_millis(5)), Err(mpsc::RecvTimeoutError::Timeout)) {
            let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
            let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
            most.memory = most.memory.max(memory.and_then(|number| number.parse().ok()).unwrap_or(0));
            let files = fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
            most.files = most.files.max(files);
        }
        most
    });
    let answer = running.wait();
    drop(done);
    (answer, watcher.join().unwrap())
}

#[test]
fn a_large_file_to_many_hosts_takes_little_memory_and_few_files() {
    let fleet = Fleet::of((0..20).map(|number| (format!("h{number:02}"), Behaviour::default())));
    let place = Place::new();
    let content = noise(1, 64 * MIB);
    place.file("large", &content);
    let running =
        Bugle::on(&fleet).at(&place).args(["push", "all", "-f", "20", "--output", "group", "large", "file"]).start();
    let (answer, most) = watched(running);
    let answer = answer.exited(0);
    assert!(
        answer.stdout.ends_with("h[00-19] (20): changed\n---------------\n1 changed (64.0 MiB sent)\n"),
        "{}",
        answer.stdout
    );
    // A shared copy of the file, and a window for each host, would be more.
    assert!(most.memory > 10_000 && most.memory < 160_000, "{most:?}");
    assert!(most.files < 60, "{most:?}");
    for host in fleet.hosts() {
        assert!(fs::read(host.home.join("file")).unwrap() == content, "{}", host.name);
        let files = host.counts().files;
        assert!(files.most_outstanding < 400 && files.most_handles <= 4, "{files:?}");
    }
}

#[test]
fn many_small_files_are_open_in_bounded_numbers_here_and_there() {
    let scene = Scene::serving([]);
    let tree = scene.place.path().join("tree");
    for directory in 0..20 {
        let directory = tree.join(format!("{directory}"));
        fs::create_dir_all(&directory).unwrap();
        (0..40).for_each(|number| fs::write(directory.join(format!("{number}")), noise(number, 1500)).unwrap());
    }
    let running = scene.push().args(["-r", "tree", "."]).start();
    let (answer, most) = watched(running);
    answer.exited(0).said("821 changed (1.1 MiB sent)\n");
    assert!(most.memory < 120_000 && most.files < 320, "{most:?}");
    let files = scene.host().counts().files;
    assert!(files.most_handles <= 300 && files.most_outstanding < 5000, "{files:?}");
}

#[test]
fn hosts_that_take_nothing_any_more_do_not_hold_up_the_others() {
    // Most of them stop somewhere in the middle, each at another place, with as much in flight as there is room for.
    const HOSTS: u64 = 20;
    const GOOD: u64 = 3;
    let fleet = Fleet::of((0..HOSTS).map(|number| {
        let at = 200_000 + pick(number, 18 * MIB as u64);
        let cable = match number {
            0..GOOD => Cable::default(),
            _ => Cable::failing(Direction::ToServer, at, Fault::Cut(Cut::Freeze)),
        };
        (format!("h{number:02}"), Behaviour::behind([cable]))
    }));
    let place = Place::new();
    let content = noise(1, 24 * MIB);
    place.file("large", &content);
    let running = Bugle::on(&fleet).at(&place).args(["push", "all", "-f", "20", "large", "file"]).start();
    let good = &fleet.hosts()[..GOOD as usize];
    for host in good {
        wait(host.until("the file on a good host", |_| host.home.join("file").exists()));
    }
    running.signal(Signal::INT);
    let (answer, most) = watched(running);
    answer.exited(130);
    assert!(most.memory < 200_000, "{most:?}");
    for host in good {
        assert!(fs::read(host.home.join("file")).unwrap() == content, "{}", host.name);
    }
}

/// An inventory in which one host has so many names.
fn names_of(fleet: &Fleet, place: &Place, count: usize) -> std::path::PathBuf {
    let address = fleet.host("one").address;
    let line = |number| format!("h{number:03} ansible_host={} ansible_port={}\n", address.ip(), address.port());
    place.file("names", (0..count).map(line).collect::<String>())
}

#[test]
fn a_pull_from_five_hundred_hosts_does_with_256_open_files() {
    for (limit, hosts) in [("ulimit -n 256", 500), ("ulimit -n 64", 60)] {
        let fleet = Fleet::of([("one", Behaviour::default())]);
        let tree = fleet.host("one").home.join("tree");
        for number in 0..6 {
            fs::create_dir_all(tree.join(format!("{number}"))).unwrap();
            fs::write(tree.join(format!("{number}/small")), noise(number, 100)).unwrap();
        }
        fs::write(tree.join("large"), noise(9, 270_000)).unwrap();
        let place = Place::new();
        let inventory = names_of(&fleet, &place, hosts);
        let call = Bugle::on(&fleet).at(&place).after(limit).arg("-i").arg(inventory);
        let answer = call.args(["pull", "all", "-f", "500", "--output", "group", "-r", "tree", "out"]).run();
        let last = format!("h{:03}", hosts - 1);
        let (rule, all) = ("---------------\n", hosts + 1);
        let said = format!("{rule}h[000-{}],one ({all}): changed\n{rule}14 changed (264.3 KiB received)\n", &last[1..]);
        answer.exited(0).said(&said);
        for host in ["h000", &last] {
            assert!(fs::read(place.path().join("out").join(host).join("tree/large")).unwrap() == noise(9, 270_000));
        }
    }
}

#[test]
fn a_push_to_many_hosts_does_with_64_open_files() {
    let fleet = Fleet::of([("one", Behaviour::default())]);
    let place = Place::new();
    for number in 0..80 {
        place.file(&format!("tree/{number}"), noise(number, 2000));
        place.file(&format!("tree/large{number}"), noise(number, 300_000));
    }
    fs::create_dir(fleet.host("one").home.join("tree")).unwrap();
    let inventory = names_of(&fleet, &place, 10);
    for options in [&["--mode", "0600"][..], &["--checksum"]] {
        let call = Bugle::on(&fleet).at(&place).after("ulimit -n 64").arg("-i").arg(&inventory);
        let answer =
            call.args(["push", "all", "-f", "500", "--output", "group", "-r"]).args(options).args(["tree", "."]);
        answer.run().exited(0);
    }
    assert!(fs::read(fleet.host("one").home.join("tree/large79")).unwrap() == noise(79, 300_000));
}
