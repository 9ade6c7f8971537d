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
