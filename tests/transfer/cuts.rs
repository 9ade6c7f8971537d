//! A line that breaks at any byte leaves the old content or the new one on the host, and the next run clears up.

use crate::bugle::{Answer, Bugle, Place};
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{Sftp, sshd};
use crate::fleet::{Answer as Odd, Behaviour, Cut, Fleet, Oddity, When};
use crate::scene::{Scene, left, noise, pick, wait};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Long enough for many packets, short enough to be sent often.
const LENGTH: usize = 700_000;

fn sources(place: &Place) -> [(&'static str, Vec<u8>); 3] {
    let files = [("tree/large", noise(1, LENGTH)), ("tree/sub/small", noise(2, 3000)), ("tree/empty", Vec::new())];
    for (name, content) in &files {
        place.file(name, content);
    }
    files
}

/// Bytes to the server and to the client of a push on a good line.
fn traffic(oddities: &[Oddity], options: &[&str]) -> (u64, u64) {
    let behaviour = Behaviour { cables: vec![Cable::default()], ..Behaviour::serving(oddities) };
    let fleet = Fleet::one(behaviour);
    let place = Place::new();
    sources(&place);
    prepare(&fleet.hosts()[0].home);
    push(&fleet, &place, options).exited(0);
    let traffic = fleet.relay("host").traffic();
    (traffic.to_server, traffic.to_client)
}

fn prepare(home: &Path) {
    fs::create_dir_all(home.join("tree/sub")).unwrap();
    fs::write(home.join("tree/large"), "old large").unwrap();
    fs::write(home.join("tree/sub/small"), "old small").unwrap();
}

fn push(fleet: &Fleet, place: &Place, limits: &[&str]) -> Answer {
    let bugle = Bugle::on(fleet).at(place).args(["push", "all", "-f", "32", "--retries", "0"]);
    bugle.args(limits).args(["-r", "tree", "."]).run()
}

/// Each host's line breaks at another byte; `seed` says where.
fn breaks(how: Cut, oddities: &[Oddity], seed: u64) {
    breaks_with(&[], how, oddities, seed);
}

/// The same with these options, and then the hosts.
fn breaks_with(options: &[&str], how: Cut, oddities: &[Oddity], seed: u64) -> Fleet {
    const HOSTS: u64 = 20;
    let (to_server, to_client) = traffic(oddities, options);
    let hosts = (0..HOSTS).map(|number| {
        let (direction, all) = match number % 2 {
            0 => (Direction::ToServer, to_server),
            _ => (Direction::ToClient, to_client),
        };
        let at = pick(seed * 1000 + number, all);
        let cables = vec![Cable::failing(direction, at, Fault::Cut(how)), Cable::default()];
        (format!("h{number:02}-{direction:?}-{at}"), Behaviour { cables, ..Behaviour::serving(oddities) })
    });
    let fleet = Fleet::of(hosts);
    let place = Place::new();
    let files = sources(&place);
    fleet.hosts().iter().for_each(|host| prepare(&host.home));
    // Only silence has to be waited for.
    let limits: &[&str] = if how == Cut::Freeze { &["--timeout", "1s", "--connect-timeout", "1s"] } else { &[] };
    let answer = push(&fleet, &place, &[options, limits].concat());
    assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    for host in fleet.hosts() {
        for (name, content) in &files {
            match fs::read(host.home.join(name)) {
                Ok(found) => {
                    assert!(found == *content || found.starts_with(b"old "), "{}: {name} is neither", host.name)
                }
                // Without posix-rename the old file is put aside for a moment.
                Err(error) => {
                    let has_aside = left(&host.home).iter().any(|path| is_aside(path));
                    assert!(*name == "tree/empty" || has_aside, "{}: {name}: {error}", host.name);
                }
            }
        }
    }
    if how != Cut::Freeze {
        for host in fleet.hosts() {
            wait(host.until("the end of the lost sessions", |counts| counts.sessions == 0));
        }
    }
    push(&fleet, &place, options).exited(0);
    for host in fleet.hosts() {
        for (name, content) in &files {
            assert!(fs::read(host.home.join(name)).unwrap() == *content, "{}: {name} is not the new one", host.name);
        }
        let left = left(&host.home);
        assert!(left.is_empty(), "{}: {left:?}", host.name);
    }
    fleet
}

/// Whether this is an old file that was put aside, whole: only a server without posix-rename needs that, or a backup without
/// hard links.
fn is_aside(path: &Path) -> bool {
    let path_ends = |end: &[u8]| path.as_os_str().as_encoded_bytes().ends_with(end);
    (path_ends(b".old") || path_ends(b".kept")) && fs::read(path).unwrap().starts_with(b"old ")
}

#[test]
fn a_reset_at_any_byte_leaves_the_old_file_or_the_new_one() {
    breaks(Cut::Reset, &[], 1);
}

#[test]
fn an_end_at_any_byte_leaves_the_old_file_or_the_new_one() {
    breaks(Cut::Close, &[], 2);
}

#[test]
fn silence_at_any_byte_leaves_the_old_file_or_the_new_one() {
    breaks(Cut::Freeze, &[], 3);
}

#[test]
fn without_posix_rename_a_reset_leaves_the_old_file_or_the_new_one_too() {
    breaks(Cut::Reset, &[Oddity::Without("posix-rename")], 6);
}

#[test]
fn with_backup_the_old_file_is_kept_wherever_the_line_breaks() {
    for (seed, oddities) in [(7, &[][..]), (8, &[Oddity::Without("hardlink")]), (9, &[Oddity::Without("posix-rename")])]
    {
        let hosts = breaks_with(&["--backup"], Cut::Reset, oddities, seed);
        for host in hosts.hosts() {
            for (name, content) in [("tree/large~", "old large"), ("tree/sub/small~", "old small")] {
                assert_eq!(fs::read(host.home.join(name)).unwrap(), content.as_bytes(), "{}: {name}", host.name);
            }
        }
    }
}

/// The session ends with the nth request to rename, which is not done.
fn ends_at_rename(nth: usize) -> [Oddity; 2] {
    [Oddity::Without("posix-rename"), Oddity::Answer("rename", When::Nth(nth), Odd::Cut(Cut::Reset))]
}

#[test]
fn an_old_file_that_was_put_aside_is_brought_back_before_anything_else() {
    // First the new file is refused, then the old one goes aside, then the place is filled.
    for (nth, stands) in [(1, true), (2, true), (3, false)] {
        for (source, old, arguments) in
            [("tree/file", "tree/file", &["-r", "--delete", "tree", "."][..]), ("new", "file", &["new", "file"])]
        {
            let scene = Scene::serving(ends_at_rename(nth));
            scene.source(source, "new");
            let path = scene.old(old, "old content");
            fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
            scene.push().args(["--retries", "0"]).args(arguments).run().exited(3);
            assert_eq!(path.exists(), stands, "{nth}");
            let aside = scene.left().iter().filter(|path| is_aside(path)).count();
            assert_eq!(aside, usize::from(!stands), "{nth}: {:?}", scene.left());
            scene.push().args(["--dry-run"]).args(arguments).run();
            assert_eq!(path.exists(), stands, "a dry run touches nothing");
            scene.push().args(arguments).run().exited(0);
            assert_eq!(fs::read(&path).unwrap(), b"new");
            // It is the old one that was replaced.
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
            scene.assert_nothing_left();
        }
    }
}

#[test]
fn an_old_file_whose_place_is_filled_is_removed_and_one_of_nobody_stays() {
    let scene = Scene::serving([
        Oddity::Without("posix-rename"),
        // The last of an old file is not removed.
        Oddity::Answer("remove", When::From(1), Odd::Cut(Cut::Reset)),
    ]);
    scene.source("tree/file", "new");
    scene.old("tree/file", "old content");
    let push = |scene: &Scene| scene.push().args(["--retries", "0", "-r", "--delete", "tree", "."]).run();
    push(&scene).exited(0);
    assert_eq!(scene.read("tree/file"), b"new");
    let left = scene.left();
    assert!(left.len() == 1 && is_aside(&left[0]), "{left:?}");
    let strange = left[0].with_file_name(".bugle-aaaaaaaaaaaaaaaa-bbbbbbbb-3.old");
    fs::write(&strange, "the only copy").unwrap();
    let mut again = Scene::serving([Oddity::Without("posix-rename")]);
    fs::rename(scene.home().join("tree"), again.home().join("tree")).unwrap();
    again.place = scene.place;
    push(&again).exited(0);
    assert_eq!(again.left(), [again.home().join("tree").join(strange.file_name().unwrap())]);
}

#[test]
fn a_corrupted_byte_anywhere_leaves_the_old_file_or_the_new_one() {
    let (to_server, to_client) = traffic(&[], &[]);
    let hosts = (0..12).map(|number| {
        let (direction, all) = match number % 2 {
            0 => (Direction::ToServer, to_server),
            _ => (Direction::ToClient, to_client),
        };
        let at = pick(4000 + number, all);
        let cable = Cable::failing(direction, at, Fault::Corrupt);
        (format!("h{number:02}-{direction:?}-{at}"), Behaviour::behind([cable, Cable::default()]))
    });
    let fleet = Fleet::of(hosts);
    let place = Place::new();
    let files = sources(&place);
    fleet.hosts().iter().for_each(|host| prepare(&host.home));
    push(&fleet, &place, &["--timeout", "3s", "--connect-timeout", "3s"]);
    for host in fleet.hosts() {
        let found = fs::read(host.home.join("tree/large")).unwrap();
        assert!(found == files[0].1 || found == b"old large", "{}", host.name);
    }
    push(&fleet, &place, &[]).exited(0);
    assert!(fleet.hosts().iter().all(|host| left(&host.home).is_empty()));
}

#[test]
fn one_file_is_whole_however_a_real_server_is_lost() {
    let content = noise(5, LENGTH);
    let measured = || {
        let scene = Scene::on(sshd(Sftp::External(""), &[])?.behind([Cable::default()]));
        scene.source("new", &content);
        scene.push().args(["new", "file"]).run().exited(0);
        Some(LENGTH as u64 + 20_000)
    };
    let Some(all) = measured() else { return };
    for number in 0..6 {
        let (direction, at) = match number % 3 {
            2 => (Direction::ToClient, pick(5000 + number, 8_000)),
            _ => (Direction::ToServer, pick(5000 + number, all)),
        };
        let how = if number % 2 == 0 { Cut::Reset } else { Cut::Close };
        let Some(daemon) = sshd(Sftp::External(""), &[]) else { return };
        let cable = Cable::failing(direction, at, Fault::Cut(how));
        let scene = Scene::on(daemon.behind([cable, Cable::default()]));
        scene.source("new", &content);
        scene.old("file", "old");
        let push = || scene.push().args(["--retries", "0", "new", "file"]).run();
        push();
        let found = scene.read("file");
        assert!(found == b"old" || found == content, "{direction:?} {at}");
        push().exited(0);
        assert!(scene.read("file") == content, "{direction:?} {at}");
        scene.assert_nothing_left();
    }
}
