//! A large file takes several connections, and arrives whole whichever of them breaks.

use crate::bugle::{Bugle, PATIENCE};
use crate::fleet::relay::{Cable, Direction, Fault, Lane, Relay};
use crate::fleet::{Behaviour, Cut};
use crate::scene::{Scene, noise};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const MIB: u64 = 1024 * 1024;

/// Too large for one connection.
fn large() -> Vec<u8> {
    let mut content = noise(5, MIB as usize).repeat(130);
    // No two of its pieces are the same.
    content.chunks_mut(4096).zip(0_u32..).for_each(|(piece, number)| piece[..4].copy_from_slice(&number.to_be_bytes()));
    content
}

// How many connections a host nearby gets depends on how soon a busy machine answers; that it is more than one does not.

/// So slow that others have the time to come, and have the larger part to do.
fn slow() -> Cable {
    Cable::limited(60 * MIB)
}

/// As slow, and far away.
fn slow_and_far() -> Cable {
    let delay = Duration::from_millis(12);
    let narrow = Lane { bytes_per_second: Some(60 * MIB), delay, ..Lane::default() };
    Cable { to_client: narrow, ..Cable::delayed(delay) }
}

fn scene(cables: &[Cable]) -> Scene {
    Scene::of(Behaviour { cables: cables.to_vec(), ..Behaviour::serving([]) })
}

fn connections(scene: &Scene) -> usize {
    scene.fleet().relay("host").traffic().connections
}

#[track_caller]
fn wait_for_two(relay: &Relay) {
    let begun = Instant::now();
    while relay.traffic().connections < 2 {
        assert!(begun.elapsed() < PATIENCE, "no second connection is made");
        thread::yield_now();
    }
}

#[track_caller]
fn comes_over_several(scene: &Scene) {
    let content = large();
    fs::write(scene.home().join("large"), &content).unwrap();
    Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "large", "taken"]).run().exited(0);
    assert!(fs::read(scene.place.path().join("taken/host/large")).unwrap() == content);
    assert!(connections(scene) >= 2);
}

#[track_caller]
fn arrives(scene: &Scene, content: &[u8]) {
    assert!(scene.read("large") == content, "what arrived is not what was sent");
    assert!(scene.left().is_empty(), "{:?}", scene.left());
}

#[test]
fn a_large_file_goes_over_two_connections() {
    let scene = scene(&[slow(), Cable::default()]);
    let content = large();
    scene.source("large", &content);
    scene.push().args(["large", "."]).run().exited(0);
    arrives(&scene, &content);
    assert!(connections(&scene) >= 2);
}

#[test]
fn a_large_file_comes_over_several_connections_from_afar_and_from_nearby() {
    for first in [slow_and_far(), slow()] {
        comes_over_several(&scene(&[first, Cable::default()]));
    }
}

#[test]
fn a_file_is_not_mixed_with_another_that_is_renamed_over_it() {
    let scene = scene(&[slow(), Cable::delayed(Duration::from_millis(20))]);
    let (content, home) = (large(), scene.home().to_path_buf());
    let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    for (name, content) in [("large", &content), ("other", &other)] {
        fs::write(home.join(name), content).unwrap();
        File::options().write(true).open(home.join(name)).unwrap().set_modified(modified).unwrap();
    }
    let relay = scene.fleet().relay("host");
    thread::scope(|scope| {
        scope.spawn(|| {
            // The second connection has still to log in.
            wait_for_two(relay);
            fs::rename(home.join("other"), home.join("large")).unwrap();
        });
        Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "large", "taken"]).run().exited(0);
    });
    assert!(fs::read(scene.place.path().join("taken/host/large")).unwrap() == content);
}

#[test]
fn a_file_is_not_mixed_with_another_whose_directory_takes_the_place_of_its_own_for_a_moment() {
    let content = large();
    let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    for is_link in [true, false] {
        let scene = scene(&[slow(), Cable::delayed(Duration::from_millis(20))]);
        let home = scene.home().to_path_buf();
        for (directory, content) in [("one", &content), ("two", &other)] {
            fs::create_dir(home.join(directory)).unwrap();
            fs::write(home.join(directory).join("large"), content).unwrap();
            File::options()
                .write(true)
                .open(home.join(directory).join("large"))
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        let swap = |from: &str, to: &str| match is_link {
            true => {
                symlink(to, home.join("next")).unwrap();
                fs::rename(home.join("next"), home.join("current")).unwrap();
            }
            false => {
                let _ = fs::rename(home.join("current"), home.join(from));
                fs::rename(home.join(to), home.join("current")).unwrap();
            }
        };
        swap("two", "one");
        let (host, relay) = (scene.host(), scene.fleet().relay("host"));
        thread::scope(|scope| {
            scope.spawn(|| {
                // The second connection has still to log in, and once it has opened the file its answer is on its way.
                wait_for_two(relay);
                swap("one", "two");
                let begun = Instant::now();
                while host.requests_to("open") < 2 && begun.elapsed() < Duration::from_secs(2) {
                    thread::yield_now();
                }
                thread::sleep(Duration::from_millis(3));
                swap("two", "one");
            });
            Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "current/large", "taken"]).run().exited(0);
        });
        assert!(fs::read(scene.place.path().join("taken/host/large")).unwrap() == content, "{is_link}");
    }
}

#[test]
fn what_is_far_gets_four() {
    let delay = Duration::from_millis(12);
    let narrow = Lane { bytes_per_second: Some(30 * MIB), delay, ..Lane::default() };
    let scene = scene(&[Cable { to_server: narrow, ..Cable::delayed(delay) }]);
    let content = large();
    scene.source("large", &content);
    scene.push().args(["large", "."]).run().exited(0);
    arrives(&scene, &content);
    assert_eq!(connections(&scene), 4);
}

#[test]
fn what_a_broken_connection_had_is_sent_over_the_first() {
    let breaks = [
        (Direction::ToServer, 1000, Cut::Close),
        (Direction::ToServer, 20 * MIB + 12_345, Cut::Reset),
        (Direction::ToClient, 9000, Cut::Reset),
    ];
    let content = large();
    for (direction, after, how) in breaks {
        let scene = scene(&[slow(), Cable::failing(direction, after, Fault::Cut(how))]);
        scene.source("large", &content);
        scene.push().args(["large", "."]).run().exited(0);
        arrives(&scene, &content);
        assert!(connections(&scene) >= 2);
    }
}

#[test]
fn what_a_broken_connection_had_is_fetched_over_the_first() {
    for after in [1000, 20 * MIB + 12_345] {
        let scene = scene(&[slow_and_far(), Cable::failing(Direction::ToClient, after, Fault::Cut(Cut::Reset))]);
        comes_over_several(&scene);
    }
}

#[test]
fn the_first_connection_takes_all_of_it_with_it() {
    let scene = scene(&[slow().with(Direction::ToServer, 30 * MIB, Fault::Cut(Cut::Reset)), Cable::limited(MIB)]);
    scene.old("large", "old");
    scene.source("large", large());
    scene.push().args(["large", "."]).run().exited(3);
    assert_eq!(scene.read("large"), b"old");
}

#[test]
fn what_may_be_gone_on_with_and_what_is_held_back_goes_over_one() {
    for options in [&["--resume"][..], &["--limit-rate", "100M"]] {
        let scene = scene(&[Cable::default()]);
        let content = large();
        scene.source("large", &content);
        scene.push().args(options).args(["large", "."]).run().exited(0);
        arrives(&scene, &content);
        assert_eq!(connections(&scene), 1);
    }
}
