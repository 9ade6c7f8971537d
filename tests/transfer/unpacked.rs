//! Many small new files as a stream that the host's tar unpacks: what arrives, and what happens where it does not.

use crate::bugle::{Answer, Bugle, Place};
use crate::fleet::openssh::{Daemon, login_name};
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{Sftp, dropbear, sftp_server, sshd};
use crate::fleet::tmpfs::Tmpfs;
use crate::fleet::trees::{ALL, Aspect, EVERY_ASPECT, Kind, assert_same, plant};
use crate::fleet::{Answer as Reply, Behaviour, Cut, Exec, Fleet, Oddity, When};
use crate::scene::{Scene, left, noise, pick, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// So many are a stream without being asked for.
const MANY: usize = 300;

/// A tree with many small files, and a large one.
fn sources(place: &Place) -> Vec<(String, Vec<u8>)> {
    let small = (0..MANY as u64).map(|number| (format!("tree/{}/{number}", number % 5), noise(number, 1000)));
    let files: Vec<_> = small.chain([("tree/large".into(), noise(1000, 1_500_000))]).collect();
    for (name, content) in &files {
        place.file_with_mode(name, content, 0o644);
    }
    files
}

fn assert_arrived(home: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        assert!(fs::read(home.join(name)).unwrap() == *content, "{name}");
    }
    assert_eq!(left(home), <[PathBuf; 0]>::default());
}

/// How many streams a host was asked to take.
fn streams(scene: &Scene) -> usize {
    scene.host().commands().iter().filter(|command| command.contains("tar -x")).count()
}

/// A tar of the test's own, which is found before the host's.
fn tar(scene: &Scene, script: &str) {
    let path = scene.home().join("bin/tar");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn push(scene: &Scene, options: &[&str]) -> Answer {
    scene.push().args(["--retries", "0", "-r"]).args(options).args(["tree", "."]).run()
}

fn arrives(scene: &Scene, seed: u64, aspects: &[Aspect]) {
    let tree = scene.place.path().join("tree");
    // What has holes or is large goes by itself, and a hole of gigabytes would only be hashed for a minute.
    let kinds: Vec<Kind> = ALL.iter().copied().filter(|kind| *kind != Kind::FarData).collect();
    plant(&tree, seed, &kinds);
    for (copy, options) in [("new", &[][..]), ("there", &["--checksum"])] {
        let copy = scene.home().join(copy);
        if !options.is_empty() {
            fs::create_dir(&copy).unwrap();
            let owner = fs::metadata(scene.home()).unwrap();
            let _ = chown(&copy, Some(owner.uid()), Some(owner.gid()));
        }
        let source = if options.is_empty() { tree.clone() } else { tree.join(".") };
        let push = || scene.push().args(["-r", "-p", "--via", "tar"]).args(options).arg(&source).arg(&copy);
        push().run().exited(0);
        let aspects: Vec<Aspect> =
            aspects.iter().copied().filter(|aspect| options.is_empty() || *aspect != Aspect::Root).collect();
        assert_same(&tree, &copy, &aspects);
        scene.assert_nothing_left();
    }
    let again = scene.push().args(["-r", "-p", "--via", "tar", "--delete"]).arg(tree.join(".")).arg("new").run();
    assert!(again.exited(0).stdout.starts_with("0 changed, "));
}

#[test]
fn trees_arrive_whole_as_streams() {
    for daemon in [sshd(Sftp::External(""), &[]), dropbear(Sftp::External(""), &[])].into_iter().flatten() {
        arrives(&Scene::on(daemon), 11, EVERY_ASPECT);
    }
}

#[test]
fn trees_arrive_whole_as_streams_where_the_user_may_not_do_everything() {
    let Some(daemon) = sshd(Sftp::Internal("-u 077"), &[]).and_then(Daemon::for_stranger) else { return };
    let aspects: Vec<Aspect> = EVERY_ASPECT.iter().copied().filter(|aspect| *aspect != Aspect::Owner).collect();
    arrives(&Scene::on(daemon), 12, &aspects);
}

#[test]
fn trees_arrive_whole_as_streams_at_the_tar_of_busybox() {
    if crate::fleet::openssh::find("busybox").is_none() {
        return;
    }
    for oddities in [vec![], vec![Oddity::NoExtensions], vec![Oddity::Shuffled]] {
        let lacking: &[Aspect] = match oddities[..] {
            [Oddity::NoExtensions] => &[Aspect::HardLinks, Aspect::LinkModified],
            _ => &[],
        };
        let scene = Scene::serving(oddities);
        tar(&scene, "#!/bin/sh\nexec busybox tar \"$@\"\n");
        let aspects: Vec<Aspect> = EVERY_ASPECT.iter().copied().filter(|aspect| !lacking.contains(aspect)).collect();
        arrives(&scene, 13, &aspects);
        assert!(streams(&scene) > 0);
    }
}

#[test]
fn new_files_get_the_umask_of_the_server_and_not_that_of_its_commands() {
    let Some(daemon) = sshd(Sftp::Internal("-u 027"), &[]) else { return };
    let scene = Scene::on(daemon);
    sources(&scene.place);
    push(&scene, &["--via", "tar"]).exited(0);
    let mode = |name: &str| fs::metadata(scene.home().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("tree/1/1"), mode("tree/large")), (0o640, 0o640));
}

#[test]
fn files_get_what_the_directory_hands_down_that_they_are_made_in() {
    if login_name() != "root" {
        return eprintln!("skipped: not root");
    }
    let scene = Scene::serving([]);
    for number in 0..MANY * 2 {
        scene.source(&format!("tree/{}/{number}", number % 2), "content");
    }
    for (directory, group) in [("tree", 7), ("tree/0", 8)] {
        let path = scene.home().join(directory);
        fs::create_dir(&path).unwrap();
        chown(&path, None, Some(group)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2775)).unwrap();
    }
    push(&scene, &[]).exited(0);
    assert_eq!(streams(&scene), 2);
    let group = |name: &str| fs::metadata(scene.home().join(name)).unwrap().gid();
    assert_eq!((group("tree/0/2"), group("tree/1"), group("tree/1/1")), (8, 7, 7));
    scene.assert_nothing_left();
}

#[test]
fn owners_are_given_to_what_a_stream_brought() {
    if login_name() != "root" {
        return eprintln!("skipped: not root");
    }
    let scene = Scene::serving([]);
    let files = sources(&scene.place);
    push(&scene, &["--owner", "1234", "--mode", "D2750,F4750"]).exited(0);
    assert_eq!(streams(&scene), 1);
    assert_arrived(scene.home(), &files);
    for (name, _) in &files {
        let found = fs::metadata(scene.home().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 0, 0o4750), "{name}");
    }
}

#[test]
fn the_way_is_chosen_by_how_many_there_are_or_by_the_user() {
    for (count, options, expected) in [
        (MANY, &[][..], 1),
        (MANY, &["--via", "auto"], 1),
        (MANY, &["--via", "sftp"], 0),
        (MANY, &["--template"], 1),
        (20, &[], 0),
        (20, &["--via", "tar"], 1),
    ] {
        let scene = Scene::serving([]);
        (0..count).for_each(|number| drop(scene.source(&format!("tree/{number}"), number.to_string())));
        let answer = push(&scene, options).exited(0);
        assert!(answer.stdout.starts_with(&format!("{} changed", count + 1)), "{}", answer.stdout);
        assert_eq!(streams(&scene), expected, "{count} {options:?}");
        // There is nothing new any more.
        push(&scene, options).exited(0);
        assert_eq!(streams(&scene), expected, "{count} {options:?}");
    }
}

#[test]
fn much_goes_in_several_streams_at_once_as_far_as_the_host_has_sessions() {
    for (max_sessions, way) in [(10, "auto"), (2, "auto"), (2, "tar")] {
        let scene = Scene::of(Behaviour { max_sessions, ..Behaviour::default() });
        let sizes = || (0..MANY as u64).map(|number| (format!("tree/{number}"), noise(number, 30_000)));
        sizes().for_each(|(name, content)| drop(scene.source(&name, content)));
        push(&scene, &["--via", way]).exited(0).talked("");
        assert_arrived(scene.home(), &sizes().collect::<Vec<_>>());
        assert_eq!(scene.host().counts().most_sessions, max_sessions.min(5));
        assert!((1..=4).contains(&streams(&scene)));
    }
}

#[test]
fn a_host_that_is_alone_in_its_batch_gets_as_many_streams_as_one_that_is_alone() {
    for (options, most) in [(&["--serial", "1"][..], 5), (&[], 2)] {
        let fleet = Fleet::start(4);
        let place = Place::new();
        (0..MANY as u64).for_each(|number| drop(place.file(&format!("tree/{number}"), noise(number, 30_000))));
        Bugle::on(&fleet).at(&place).args(["push", "all", "-r"]).args(options).args(["tree", "."]).run().exited(0);
        for host in fleet.hosts() {
            assert_eq!(host.counts().most_sessions, most, "{options:?}");
        }
    }
}

#[test]
fn with_sudo_tar_runs_as_the_same_user_as_the_sftp_server() {
    if login_name() != "root" || sftp_server().is_none() {
        return eprintln!("skipped: not root, or no sftp-server");
    }
    let scene = Scene::serving([]);
    let script =
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift\nprintf '[x] ' >&2\nBECAME=yes exec \"$@\"\n";
    tar(&scene, "#!/bin/sh\necho \"$BECAME\" >>\"$HOME/became\"\nPATH=/usr/bin:/bin exec tar \"$@\"\n");
    let sudo = scene.home().join("bin/sudo");
    fs::write(&sudo, script).unwrap();
    fs::set_permissions(sudo, fs::Permissions::from_mode(0o755)).unwrap();
    let files = sources(&scene.place);
    push(&scene, &["--sudo", "--via", "tar"]).exited(0);
    assert_eq!(fs::read_to_string(scene.home().join("became")).unwrap(), "yes\n");
    assert_arrived(scene.home(), &files);
}

#[test]
fn a_host_that_cannot_take_streams_gets_the_files_one_by_one_unless_a_stream_was_asked_for() {
    let other = "the server runs something else than the command it is given";
    let doubles = [
        (Behaviour::executing(Exec::Refused), "the server runs no commands, and so no tar"),
        (Behaviour::executing(Exec::Answer("This account is for files only.\n")), other),
        (Behaviour { max_sessions: 1, ..Behaviour::default() }, "the server refused a session: open failed"),
    ];
    let real = [("SetEnv PATH=/nowhere", "there is no tar on the host"), ("ForceCommand internal-sftp", other)];
    let real = real.into_iter().filter_map(|(line, why)| Some((Scene::on(sshd(Sftp::Internal(""), &[line])?), why)));
    for (scene, why) in doubles.into_iter().map(|(behaviour, why)| (Scene::of(behaviour), why)).chain(real) {
        let files = sources(&scene.place);
        let answer = push(&scene, &["--via", "tar"]).exited(1);
        answer.told(&format!("host: transfer.unavailable: {why}\nhint: without --via the files go one by one"));
        push(&scene, &[]).exited(0).talked("");
        assert_arrived(scene.home(), &files);
    }
}

#[test]
fn a_host_whose_sftp_server_is_a_shell_takes_streams_too() {
    let Some(daemon) = sshd(Sftp::Absent, &[]) else { return };
    let scene = Scene::on(daemon);
    let files = sources(&scene.place);
    push(&scene, &["--via", "tar"]).exited(0);
    assert_arrived(scene.home(), &files);
}

#[test]
fn what_a_tar_loses_or_spoils_is_noticed_and_sent_again() {
    for (damage, is_told) in [
        ("rm 7", false),
        (": >7", false),
        ("echo more >>7; rm 8", false),
        ("rm 7; mkdir 7", false),
        ("rm 7; ln -s 8 7", false),
        ("chmod 777 7; touch -d @1 8", false),
        ("touch stranger; rm stranger", false),
        ("rm -f *", false),
        ("exit 3", true),
        ("kill -9 $$", true),
    ] {
        for way in ["auto", "tar"] {
            let scene = Scene::serving([]);
            tar(&scene, &format!("#!/bin/sh\nPATH=/usr/bin:/bin\ntar \"$@\"\n{damage}\nexit 0\n"));
            let files = sources(&scene.place);
            let answer = push(&scene, &["--via", way]).exited(0);
            let told = answer.stderr.contains("the files are sent one by one");
            assert_eq!(told, is_told && way == "tar", "{damage}: {}", answer.stderr);
            for (name, content) in &files {
                assert!(scene.read(name) == *content, "{damage}: {name}");
                assert_eq!(fs::metadata(scene.home().join(name)).unwrap().mode() & 0o7777, 0o644, "{damage}: {name}");
            }
            // What was put into the room and is not ours is never removed.
            assert_eq!(scene.left().len(), usize::from(damage.contains("mkdir")), "{damage}");
            assert_eq!(answer.stdout.split(' ').next(), Some("307"), "{}", answer.stdout);
        }
    }
}

#[test]
fn what_is_in_the_way_of_one_file_fails_that_file_only() {
    let refused = Oddity::Answer("posix-rename", When::Nth(5), Reply::Status(4, b""));
    let scene = Scene::serving([refused]);
    let files = sources(&scene.place);
    // By itself it is not refused a second time.
    push(&scene, &[]).exited(0);
    assert_arrived(scene.home(), &files);
    for kind in ["mkdir", "rmdir", "opendir", "readdir", "lstat"] {
        let scene = Scene::serving([Oddity::Answer(kind, When::From(7), Reply::Status(4, b""))]);
        let files = sources(&scene.place);
        fs::create_dir_all(scene.home().join("tree")).unwrap();
        (0..5).for_each(|number| fs::create_dir(scene.home().join(format!("tree/{number}"))).unwrap());
        let answer = push(&scene, &["--via", "tar"]);
        assert!([0, 1].contains(&answer.code()), "{kind}: {}", answer.stderr);
        if answer.code() == 0 {
            files.iter().for_each(|(name, content)| assert!(scene.read(name) == *content, "{kind}: {name}"));
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_or_changes_is_told_as_ever() {
    let scene = Scene::of(Behaviour::behind([Cable::limited(1 << 20)]));
    let files = sources(&scene.place);
    let running = scene.push().args(["-r", "tree", "."]).start();
    wait(scene.host().until("a stream", |_| streams(&scene) == 1));
    // What was scanned is not what is there any more; it may have been read by now.
    fs::write(scene.place.path().join("tree/4/299"), "changed").unwrap();
    let answer = running.wait();
    let failed = answer.code() == 1;
    assert!(!failed || answer.stderr.contains("was changed while it was being sent"), "{}", answer.stderr);
    for (name, content) in &files {
        if !failed || name != "tree/4/299" {
            assert!(scene.read(name) == *content, "{name}");
        }
    }
    scene.assert_nothing_left();
}

#[test]
fn a_full_disk_is_named_whatever_tar_says_of_it() {
    for way in ["auto", "tar"] {
        let scene = Scene::serving([]);
        let place = scene.home().join("small");
        fs::create_dir(&place).unwrap();
        let Some(_disk) = Tmpfs::over(&place, 1 << 20) else { return };
        let sizes = || (0..MANY as u64).map(|number| (format!("tree/{number}"), noise(number, 7_000)));
        sizes().for_each(|(name, content)| drop(scene.source(&name, content)));
        let answer = scene.push().args(["-r", "--via", way, "tree", "small"]).run().exited(1);
        assert_eq!(streams(&scene), 1);
        answer.told("host: transfer.no_space: ");
        for (name, content) in sizes() {
            let found = fs::read(place.join(name));
            assert!(found.is_err() || found.unwrap() == content);
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn ctrl_c_and_time_limits_leave_nothing_of_a_stream() {
    for limits in [&[][..], &["--resume"], &["--timeout", "1500ms"]] {
        let scene = Scene::of(Behaviour::behind([Cable::limited(3 << 20)]));
        // Some of it is unpacked, and then nothing goes on.
        tar(&scene, "#!/bin/sh\nPATH=/usr/bin:/bin\nhead -c 60000 | tar \"$@\"\nexec sleep 1000\n");
        sources(&scene.place);
        let running = scene.push().args(limits).args(["-r", "tree", "."]).start();
        let is_filled = |room: &PathBuf| room.is_dir() && fs::read_dir(room).is_ok_and(|all| all.count() > 3);
        wait(scene.fleet().relay("host").until("some files", |_| scene.left().iter().any(is_filled)));
        if !limits.contains(&"--timeout") {
            running.signal(Signal::INT);
        }
        let answer = running.wait();
        assert!([1, 130].contains(&answer.code()), "{}", answer.stderr);
        let rooms: Vec<PathBuf> = scene.left().into_iter().filter(|path| path.is_dir()).collect();
        assert_eq!(rooms, <[PathBuf; 0]>::default(), "{limits:?}");
    }
}

#[test]
fn what_a_killed_stream_left_is_secret_and_removed_by_the_next_run() {
    let scene = Scene::of(Behaviour::behind([Cable::limited(150_000), Cable::default()]));
    let files = sources(&scene.place);
    let room = || scene.left().into_iter().find(|path| path.is_dir());
    let running = scene.push().args(["-r", "tree", "."]).start();
    let has_some = || room().is_some_and(|room| fs::read_dir(room).is_ok_and(|all| all.count() > 3));
    wait(scene.fleet().relay("host").until("some files", |_| has_some()));
    let dead = room().unwrap();
    assert_eq!(fs::metadata(&dead).unwrap().mode() & 0o7777, 0o700);
    // Another one beside it leaves what is alive alone, and is not disturbed.
    push(&scene, &["--delete"]).exited(0);
    assert!(dead.exists());
    let _ = kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), Signal::KILL);
    drop(running);
    // Nobody here made these: one is young, one has something in it that no run puts there.
    let stranger = dead.with_file_name(".bugle-aaaaaaaaaaaaaaaa-bbbbbbbb");
    fs::create_dir(&stranger).unwrap();
    fs::write(dead.join("notes"), "theirs").unwrap();
    push(&scene, &["--delete"]).exited(0);
    assert!(stranger.exists());
    let found: Vec<_> = fs::read_dir(&dead).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(found, ["notes"]);
    fs::remove_file(dead.join("notes")).unwrap();
    push(&scene, &["--delete"]).exited(0);
    assert!(!dead.exists());
    fs::remove_dir(&stranger).unwrap();
    assert_arrived(scene.home(), &files);
}

#[test]
fn a_tree_that_was_to_become_the_destination_leaves_nothing_when_it_is_pushed_again() {
    let scene = Scene::of(Behaviour::behind([Cable::limited(150_000), Cable::default()]));
    sources(&scene.place);
    let args = ["-r", "tree", "new"];
    let running = scene.push().args(args).start();
    wait(scene.fleet().relay("host").until("some files", |_| {
        let mut left = scene.left().into_iter().filter(|path| path.is_dir());
        left.any(|room| fs::read_dir(room).is_ok_and(|all| all.count() > 3))
    }));
    let _ = kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), Signal::KILL);
    drop(running);
    // The destination is there by now, so that the tree goes into it.
    scene.push().args(args).run().exited(0);
    assert!(scene.home().join("new/tree").is_dir());
    assert!(scene.left().is_empty(), "{:?}", scene.left());
}

/// Each host's line breaks at another byte.
fn breaks(how: Cut, seed: u64) {
    const HOSTS: u64 = 16;
    let traffic = {
        let scene = Scene::of(Behaviour::behind([Cable::default()]));
        sources(&scene.place);
        push(&scene, &[]).exited(0);
        scene.fleet().relay("host").traffic()
    };
    let hosts = (0..HOSTS).map(|number| {
        let (direction, all) = match number % 4 {
            3 => (Direction::ToClient, traffic.to_client),
            _ => (Direction::ToServer, traffic.to_server),
        };
        let at = pick(seed * 1000 + number, all);
        (
            format!("h{number:02}-{direction:?}-{at}"),
            Behaviour::behind([Cable::failing(direction, at, Fault::Cut(how)), Cable::default()]),
        )
    });
    let fleet = Fleet::of(hosts);
    let place = Place::new();
    let files = sources(&place);
    let push =
        || Bugle::on(&fleet).at(&place).args(["push", "all", "-f", "32", "--retries", "0", "-r", "tree", "."]).run();
    let answer = push();
    assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    for host in fleet.hosts() {
        for (name, content) in &files {
            assert!(fs::read(host.home.join(name)).map_or(true, |found| found == *content), "{}: {name}", host.name);
        }
        wait(host.until("the end of the lost sessions", |counts| counts.sessions == 0));
    }
    push().exited(0);
    for host in fleet.hosts() {
        assert_arrived(&host.home, &files);
    }
}

#[test]
fn a_reset_at_any_byte_of_a_stream_leaves_whole_files_only() {
    breaks(Cut::Reset, 21);
}

#[test]
fn an_end_at_any_byte_of_a_stream_leaves_whole_files_only() {
    breaks(Cut::Close, 22);
}

#[test]
fn two_streams_to_one_place_at_once_do_not_disturb_each_other() {
    let scene = Scene::serving([]);
    let files = sources(&scene.place);
    let running = [0; 2].map(|_| scene.push().args(["-r", "--via", "tar", "tree", "."]).start());
    for running in running {
        // Who comes second finds directories that were not there when it looked.
        let answer = running.wait();
        assert!([0, 1].contains(&answer.code()), "{}", answer.stderr);
    }
    push(&scene, &[]).exited(0);
    assert_arrived(scene.home(), &files);
}

#[test]
fn a_rate_holds_for_streams_too() {
    let scene = Scene::serving([]);
    (0..MANY as u64).for_each(|number| drop(scene.source(&format!("tree/{number}"), noise(number, 3_000))));
    let began = std::time::Instant::now();
    push(&scene, &["--limit-rate", "1M"]).exited(0).said("301 changed (878.9 KiB sent)\n");
    // The last part need not be waited for.
    assert!(began.elapsed().as_millis() > 600, "{:?}", began.elapsed());
    assert_eq!(streams(&scene), 1);
}

#[test]
fn times_of_access_are_kept_to_the_day_and_exactly_where_they_are_older() {
    let Some(daemon) = sshd(Sftp::External(""), &[]) else { return };
    let scene = Scene::on(daemon);
    let files = sources(&scene.place);
    let (old, fresh) = (&files[0].0, &files[1].0);
    let accessed = |root: &Path, name: &str| fs::metadata(root.join(name)).unwrap().atime();
    for (name, age) in [(old, 86_400 * 30), (fresh, 3600)] {
        let source = fs::File::open(scene.place.path().join(name)).unwrap();
        let time = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        source.set_times(FileTimes::new().set_accessed(time(age)).set_modified(time(age))).unwrap();
    }
    let wanted = accessed(scene.place.path(), fresh);
    let wanted_old = accessed(scene.place.path(), old);
    push(&scene, &["-p", "--via", "tar"]).exited(0);
    assert_eq!(accessed(scene.home(), old), wanted_old);
    assert!(accessed(scene.home(), fresh).abs_diff(wanted) < 86_400);
    assert_arrived(scene.home(), &files);
}
